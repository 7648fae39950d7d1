//! Reading from real databases. Every scenario runs against every engine unless it is about one of them.

use std::time::Duration;

use bcsync::model::{Problem, Record, Value};
use bcsync::source::{
    CursorSpec, LinesSpec, Overlap, Page, ReadSummary, Reject, ShapeError, SourceError, SqlSource, SqlStream, Start,
    StreamSpec,
};
use secrecy::SecretString;

use crate::databases::{Database, Engine, PASSWORD};

/// Runs `scenario` in an empty database of `engine`.
async fn on(engine: Engine, scenario: impl AsyncFnOnce(Database)) {
    if let Some(database) = Database::start(engine).await {
        scenario(database).await;
    }
}

/// A SQLite file costs nothing: a test for each scenario. A server is started once for all of them, because test runners
/// give each test a process.
macro_rules! on_every_engine {
    ($($scenario:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $scenario() { super::on(super::Engine::Sqlite, super::$scenario).await })+
        }
        #[tokio::test]
        async fn every_scenario_on_postgres() {
            let _running = Database::start(Engine::Postgres).await;
            $(println!("{}", stringify!($scenario)); on(Engine::Postgres, $scenario).await;)+
        }
        #[tokio::test]
        async fn every_scenario_on_mariadb() {
            let _running = Database::start(Engine::MariaDb).await;
            $(println!("{}", stringify!($scenario)); on(Engine::MariaDb, $scenario).await;)+
        }
    };
}

on_every_engine!(
    every_key_comes_once_whatever_the_page_size,
    keys_that_a_collation_takes_for_equal_are_different_records,
    values_keep_every_digit_and_letter,
    rows_with_one_key_are_rejected_across_a_page_boundary,
    a_page_full_of_one_key_does_not_stop_the_read,
    rows_without_a_key_are_rejected,
    a_late_commit_within_the_overlap_is_found,
    the_cursor_never_passes_the_clock_of_the_source,
    an_incremental_read_notices_a_key_repeated_outside_it,
    an_integer_cursor_takes_a_number_as_overlap,
    a_query_may_page_itself,
    lines_come_with_their_parent_in_the_order_of_their_keys,
    lines_that_cannot_be_told_apart_reject_their_parent,
    parents_and_lines_are_of_one_moment,
    a_query_may_end_in_a_comment,
    a_query_may_have_many_columns,
    mistakes_are_explained,
    nothing_can_be_written,
);

fn source(database: &Database) -> SqlSource {
    match database.engine() {
        Engine::Sqlite => SqlSource::Sqlite { path: database.url().into() },
        Engine::Postgres => SqlSource::Postgres { url: SecretString::from(database.url()) },
        Engine::MariaDb => SqlSource::MySql { url: SecretString::from(database.url()) },
    }
}

fn spec(query: &str, page_size: usize) -> StreamSpec {
    StreamSpec {
        name: "customers".to_owned(),
        query: query.to_owned(),
        key: "id".to_owned(),
        cursor: None,
        lines: None,
        page_size,
    }
}

fn cursor(column: &str) -> CursorSpec {
    CursorSpec {
        column: column.to_owned(),
        overlap: Overlap::Time(Duration::from_mins(5)),
        lag: Duration::from_secs(10),
        timezone: None,
    }
}

/// Everything that a read gave.
#[derive(Debug, Default)]
struct Read {
    records: Vec<Record>,
    rejects: Vec<Reject>,
    checkpoints: Vec<Option<String>>,
    summary: ReadSummary,
}

impl Read {
    fn keys(&self) -> Vec<&str> {
        self.records.iter().map(|record| record.key.as_str()).collect()
    }

    fn rejected(&self) -> Vec<Option<&str>> {
        self.rejects.iter().map(|reject| reject.key.as_deref()).collect()
    }
}

async fn try_read(database: &Database, spec: StreamSpec, start: Start) -> Result<Read, SourceError> {
    let mut stream = SqlStream::open(&source(database), spec, start).await?;
    let mut read = Read::default();
    while let Some(Page { records, rejects, checkpoint }) = stream.next_page().await? {
        read.records.extend(records);
        read.rejects.extend(rejects);
        read.checkpoints.push(checkpoint);
    }
    read.summary = stream.summary();
    assert!(read.summary.complete);
    Ok(read)
}

async fn read(database: &Database, spec: StreamSpec, start: Start) -> Read {
    try_read(database, spec, start).await.unwrap()
}

async fn refusal(database: &Database, spec: StreamSpec) -> SourceError {
    try_read(database, spec, Start::Full).await.unwrap_err()
}

async fn every_key_comes_once_whatever_the_page_size(mut database: Database) {
    database.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(20))").await;
    for id in [9, 10, 100, -1, 5_000_000_000_i64, 2, 1] {
        database.execute(&format!("INSERT INTO t VALUES ({id}, 'n{id}')")).await;
    }
    for page_size in 1..=9 {
        let read = read(&database, spec("SELECT id, name FROM t", page_size), Start::Full).await;
        assert_eq!(read.keys(), ["-1", "1", "2", "9", "10", "100", "5000000000"], "{page_size} rows a page");
        assert_eq!(read.checkpoints.len(), 7_usize.div_ceil(page_size));
    }
    database.execute("DELETE FROM t").await;
    let read = read(&database, spec("SELECT id, name FROM t", 3), Start::Full).await;
    assert!(read.records.is_empty() && read.checkpoints.is_empty());
}

async fn keys_that_a_collation_takes_for_equal_are_different_records(mut database: Database) {
    let keys = ["a", "A", "á", "Á", "b", "B ", "b ", "B", "z", "Z", "ß", "ss", "10", "9", "a-b", "ab", "😀", ""];
    let (table, escape) = match database.engine() {
        Engine::Sqlite => ("CREATE TABLE t (id TEXT COLLATE NOCASE, n INTEGER)", ""),
        Engine::Postgres => (
            "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false); \
             CREATE TABLE t (id TEXT COLLATE loose, n INTEGER); CREATE TABLE plain (id TEXT, n INTEGER)",
            "",
        ),
        Engine::MariaDb => ("CREATE TABLE t (id VARCHAR(20) COLLATE utf8mb4_general_ci, n INTEGER, KEY (id))", ""),
    };
    database.execute(table).await;
    let mut tables = vec!["t"];
    if database.engine() == Engine::Postgres {
        tables.push("plain");
    }
    for table in &tables {
        for (n, key) in keys.iter().enumerate() {
            database.execute(&format!("INSERT INTO {table} VALUES ('{key}{escape}', {n})")).await;
        }
    }
    let mut expected = keys.to_vec();
    expected.sort_unstable();
    for table in tables {
        for page_size in [5, 6, 7, 20] {
            let read = read(&database, spec(&format!("SELECT id, n FROM {table}"), page_size), Start::Full).await;
            let mut found = read.keys();
            found.sort_unstable();
            assert_eq!(found, expected, "{table}, {page_size} rows a page");
            assert!(read.rejects.is_empty());
        }
    }
}

async fn values_keep_every_digit_and_letter(mut database: Database) {
    let (columns, values, expected) = match database.engine() {
        Engine::Sqlite => (
            "id INTEGER PRIMARY KEY, price TEXT, paid BOOLEAN, day DATE, at DATETIME, big INTEGER, x REAL, absent TEXT",
            "1, '12345678901234567890.12345678', 1, '2026-01-31', '2026-01-31 12:00:00.5', 9223372036854775807, \
             19.99, NULL",
            r#"{"id":1,"price":"12345678901234567890.12345678","paid":1,"day":"2026-01-31","at":"2026-01-31 12:00:00.5","big":9223372036854775807,"x":19.99,"absent":null,"#,
        ),
        Engine::Postgres => (
            "id INTEGER PRIMARY KEY, price NUMERIC(30,8), paid BOOLEAN, day DATE, at TIMESTAMPTZ, big BIGINT, \
             x DOUBLE PRECISION, absent TEXT",
            "1, 12345678901234567890.12345678, true, '2026-01-31', '2026-01-31 12:00:00.5+02', 9223372036854775807, \
             0.1::float8 + 0.2::float8, NULL",
            r#"{"id":1,"price":12345678901234567890.12345678,"paid":true,"day":"2026-01-31","at":"2026-01-31T10:00:00.5+00:00","big":9223372036854775807,"x":0.30000000000000004,"absent":null,"#,
        ),
        Engine::MariaDb => (
            "id INTEGER PRIMARY KEY, price DECIMAL(30,8), paid BOOLEAN, day DATE, at DATETIME(6), \
             big BIGINT UNSIGNED, x DOUBLE, absent TEXT",
            "1, 12345678901234567890.12345678, true, '2026-01-31', '2026-01-31 12:00:00.5', 18446744073709551615, \
             0.1e0 + 0.2e0, NULL",
            r#"{"id":1,"price":12345678901234567890.12345678,"paid":1,"day":"2026-01-31","at":"2026-01-31 12:00:00.500000","big":18446744073709551615,"x":0.30000000000000004,"absent":null,"#,
        ),
    };
    let text = r#"{"json": ["looking", 1]} it's "quoted", 日本語 😀 / \ end"#;
    let literal = text.replace('\'', "''");
    let literal = if database.engine() == Engine::MariaDb { literal.replace('\\', "\\\\") } else { literal };
    let big_type = if database.engine() == Engine::MariaDb { "TEXT" } else { "VARCHAR(200)" };
    database.execute(&format!("CREATE TABLE t ({columns}, note {big_type})")).await;
    database.execute(&format!("INSERT INTO t VALUES ({values}, '{literal}')")).await;
    let read = read(&database, spec("SELECT * FROM t", 10), Start::Full).await;
    let fields = read.records[0].fields().unwrap();
    assert!(fields.to_json().starts_with(expected), "{}", fields.to_json());
    assert_eq!(fields.get("note"), Some(&Value::from(text)));
}

async fn rows_with_one_key_are_rejected_across_a_page_boundary(mut database: Database) {
    database.execute("CREATE TABLE t (id VARCHAR(10), n INTEGER)").await;
    for (n, id) in ["a", "b", "c", "c", "c", "d", "e", "f", "f"].into_iter().enumerate() {
        database.execute(&format!("INSERT INTO t VALUES ('{id}', {n})")).await;
    }
    for page_size in 3..=10 {
        let read = read(&database, spec("SELECT id, n FROM t", page_size), Start::Full).await;
        assert_eq!(read.keys(), ["a", "b", "d", "e"], "{page_size} rows a page");
        assert_eq!(read.rejected(), [Some("c"), Some("c"), Some("c"), Some("f"), Some("f")]);
        let Problem { property, message } = &read.rejects[0].problem;
        assert_eq!(property.as_deref(), Some("id"));
        assert!(message.contains("more than one row"), "{message}");
        assert!(read.rejects.iter().any(|reject| reject.body.replace(' ', "") == r#"["c",2]"#));
    }
}

async fn a_page_full_of_one_key_does_not_stop_the_read(mut database: Database) {
    database.execute("CREATE TABLE t (id INTEGER)").await;
    database.execute("INSERT INTO t VALUES (1), (2), (2), (2), (2), (2), (2), (3)").await;
    let read = read(&database, spec("SELECT id FROM t", 2), Start::Full).await;
    assert_eq!(read.keys(), ["1", "3"]);
    assert!(read.rejected().iter().all(|key| *key == Some("2")) && !read.rejects.is_empty());
}

async fn rows_without_a_key_are_rejected(mut database: Database) {
    database.execute("CREATE TABLE t (id INTEGER, name VARCHAR(20))").await;
    database.execute("INSERT INTO t VALUES (NULL, 'x'), (1, 'y'), (NULL, 'z')").await;
    let read = read(&database, spec("SELECT id, name FROM t", 5), Start::Full).await;
    assert_eq!(read.keys(), ["1"]);
    assert_eq!(read.rejected(), [None, None]);
    assert!(read.rejects[0].problem.message.contains("null"));
    assert!(read.rejects.iter().any(|reject| reject.body.contains("\"x\"")));
}

/// The type of a time stamp without zone, and `seconds` before now in UTC.
fn stamp(engine: Engine, seconds: u32) -> (&'static str, String) {
    match engine {
        Engine::Sqlite => ("TEXT", format!("strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-{seconds} seconds')")),
        Engine::Postgres => ("TIMESTAMPTZ", format!("now() - interval '{seconds} seconds'")),
        Engine::MariaDb => ("DATETIME(3)", format!("UTC_TIMESTAMP(3) - INTERVAL {seconds} SECOND")),
    }
}

async fn insert(database: &mut Database, id: u32, seconds: u32) {
    let (_, at) = stamp(database.engine(), seconds);
    database.execute(&format!("INSERT INTO t VALUES ({id}, {at})")).await;
}

async fn a_late_commit_within_the_overlap_is_found(mut database: Database) {
    let (kind, late) = stamp(database.engine(), 700);
    database.execute(&format!("CREATE TABLE t (id INTEGER PRIMARY KEY, at {kind})")).await;
    insert(&mut database, 1, 3000).await;
    insert(&mut database, 2, 600).await;
    database.execute("INSERT INTO t VALUES (9, NULL)").await;
    if database.engine() == Engine::Sqlite {
        database.execute("PRAGMA journal_mode = WAL").await;
    }

    // Stamped before the newest row, committed after it was read.
    let mut slow = database.second_writer().await;
    slow.execute("BEGIN").await;
    slow.execute(&format!("INSERT INTO t VALUES (3, {late})")).await;

    let stream = || StreamSpec { cursor: Some(cursor("at")), ..spec("SELECT id, at FROM t", 1) };
    let full = read(&database, stream(), Start::Full).await;
    assert_eq!(full.keys(), ["1", "2", "9"]);
    assert_eq!(full.summary.null_cursors, 1);
    let next = full.summary.next_cursor.clone().unwrap();
    assert_eq!(full.summary.max_cursor.as_ref(), Some(&next));
    assert_eq!(full.checkpoints, [None, None, Some(next.clone())]);

    slow.execute("COMMIT").await;
    let changes = read(&database, stream(), Start::Since(next.clone())).await;
    assert_eq!(changes.keys(), ["3", "2"]);
    assert_eq!(changes.summary.next_cursor, Some(next.clone()));

    let narrow = CursorSpec { overlap: Overlap::Time(Duration::ZERO), ..cursor("at") };
    let changes = read(&database, StreamSpec { cursor: Some(narrow), ..stream() }, Start::Since(next)).await;
    assert_eq!(changes.keys(), ["2"], "the bound itself is included, and nothing before it");
}

async fn the_cursor_never_passes_the_clock_of_the_source(mut database: Database) {
    let (kind, _) = stamp(database.engine(), 0);
    database.execute(&format!("CREATE TABLE t (id INTEGER PRIMARY KEY, at {kind})")).await;
    insert(&mut database, 1, 3600).await;
    insert(&mut database, 2, 1).await;
    let future = match database.engine() {
        Engine::Sqlite => "'2999-01-01T00:00:00.000Z'",
        _ => "'2999-01-01 00:00:00'",
    };
    database.execute(&format!("INSERT INTO t VALUES (3, {future})")).await;
    let stream = || StreamSpec { cursor: Some(cursor("at")), ..spec("SELECT id, at FROM t", 1) };
    let full = read(&database, stream(), Start::Full).await;
    assert!(full.summary.max_cursor.unwrap().starts_with("2999-01-01"));
    let next = full.summary.next_cursor.unwrap();
    let first = read(&database, stream(), Start::Since(next.clone())).await;
    assert_eq!(first.keys(), ["2", "3"], "from {next}");
    // Each page of an incremental read brings its own checkpoint, none of them beyond the clock.
    assert_eq!(first.checkpoints.len(), 2);
    assert!(
        first.checkpoints.iter().flatten().all(|checkpoint| *checkpoint >= next && !checkpoint.starts_with("2999"))
    );
}

async fn an_incremental_read_notices_a_key_repeated_outside_it(mut database: Database) {
    let (kind, _) = stamp(database.engine(), 0);
    database.execute(&format!("CREATE TABLE t (id INTEGER, at {kind})")).await;
    insert(&mut database, 1, 9000).await;
    insert(&mut database, 1, 100).await;
    insert(&mut database, 2, 100).await;
    let stream = || StreamSpec { cursor: Some(cursor("at")), ..spec("SELECT id, at FROM t", 5) };
    let next = read(&database, stream(), Start::Full).await.summary.next_cursor.unwrap();
    let changes = read(&database, stream(), Start::Since(next)).await;
    assert_eq!(changes.keys(), ["2"]);
    assert_eq!(changes.rejected(), [Some("1")]);
}

async fn an_integer_cursor_takes_a_number_as_overlap(mut database: Database) {
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, version BIGINT)").await;
    database.execute("INSERT INTO t VALUES (1, 100), (2, 99), (3, 98), (4, 5), (5, NULL)").await;
    let stream = |overlap| {
        let cursor = CursorSpec { overlap, ..cursor("version") };
        StreamSpec { cursor: Some(cursor), ..spec("SELECT id, version FROM t", 2) }
    };
    let full = read(&database, stream(Overlap::Count(2)), Start::Full).await;
    assert_eq!(full.summary.next_cursor.as_deref(), Some("100"));
    let changes = read(&database, stream(Overlap::Count(2)), Start::Since("100".to_owned())).await;
    assert_eq!(changes.keys(), ["3", "2", "1"]);

    let overlap = Overlap::Time(Duration::from_secs(1));
    let error = try_read(&database, stream(overlap), Start::Full).await.unwrap_err();
    assert!(error.to_string().contains("`overlap` must be a number"), "{error}");
}

async fn a_query_may_page_itself(mut database: Database) {
    let (kind, _) = stamp(database.engine(), 0);
    database.execute(&format!("CREATE TABLE t (id INTEGER PRIMARY KEY, at {kind})")).await;
    for (id, seconds) in [(1, 500), (2, 400), (3, 10_000), (4, 600), (5, 500)] {
        insert(&mut database, id, seconds).await;
    }
    let query = "SELECT id, at FROM t WHERE :cursor IS NULL OR at > :cursor \
                 OR (at = :cursor AND (:key IS NULL OR id > :key)) ORDER BY at, id LIMIT :limit -- :nothing";
    let stream = |page_size| StreamSpec { cursor: Some(cursor("at")), ..spec(query, page_size) };
    for page_size in [1, 2, 5, 6] {
        let mut full = read(&database, stream(page_size), Start::Full).await;
        full.records.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(full.keys(), ["1", "2", "3", "4", "5"], "{page_size} rows a page");
        let next = full.summary.next_cursor.unwrap();
        let changes = read(&database, stream(page_size), Start::Since(next)).await;
        assert_eq!(changes.records.len(), 4, "{page_size} rows a page: {:?}", changes.keys());
    }
    let stuck = StreamSpec {
        cursor: Some(cursor("at")),
        ..spec("SELECT id, at FROM t WHERE id > 0 OR id = :key LIMIT :limit", 2)
    };
    let error = refusal(&database, stuck).await;
    assert!(error.to_string().contains("cannot be paged"), "{error}");
    let whole = spec("SELECT id FROM t WHERE :key IS NULL", 2);
    assert_eq!(read(&database, whole, Start::Full).await.records.len(), 5);
}

fn with_lines(page_size: usize) -> StreamSpec {
    let lines = LinesSpec {
        query: "SELECT order_id, line_no, qty FROM line".to_owned(),
        parent: "order_id".to_owned(),
        key: "line_no".to_owned(),
    };
    StreamSpec { lines: Some(lines), ..spec("SELECT id, total FROM header", page_size) }
}

async fn lines_come_with_their_parent_in_the_order_of_their_keys(mut database: Database) {
    database.execute("CREATE TABLE header (id VARCHAR(9) PRIMARY KEY, total INTEGER)").await;
    database.execute("CREATE TABLE line (order_id VARCHAR(9), line_no VARCHAR(9), qty INTEGER)").await;
    database.execute("INSERT INTO header VALUES ('o''1', 1), ('o\"2', 2), ('o3', 3)").await;
    database
        .execute(
            "INSERT INTO line VALUES ('o''1', 'b', 1), ('o3', 'x', 9), ('o''1', 'B', 2), ('o''1', 'a', 3), \
             ('none', 'a', 7), (NULL, 'a', 8), ('O3', 'y', 6)",
        )
        .await;
    for page_size in [1, 2, 10] {
        let mut read = read(&database, with_lines(page_size), Start::Full).await;
        read.records.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(read.keys(), ["o\"2", "o'1", "o3"]);
        let lines: Vec<String> =
            read.records.iter().map(|record| record.fields().unwrap().get("lines").unwrap().to_json()).collect();
        assert_eq!(lines[0], "[]");
        let line = |no, qty| format!(r#"{{"order_id":"o'1","line_no":"{no}","qty":{qty}}}"#);
        assert_eq!(lines[1], format!("[{},{},{}]", line("B", 2), line("a", 3), line("b", 1)));
        assert_eq!(lines[2], r#"[{"order_id":"o3","line_no":"x","qty":9}]"#);
    }

    // Integers are sorted by value.
    database.execute("CREATE TABLE h2 (id INTEGER PRIMARY KEY)").await;
    database.execute("CREATE TABLE l2 (order_id INTEGER, line_no INTEGER)").await;
    database.execute("INSERT INTO h2 VALUES (1)").await;
    database.execute("INSERT INTO l2 VALUES (1, 10), (1, 9), (1, 100)").await;
    let lines = LinesSpec { query: "SELECT * FROM l2;".to_owned(), ..with_lines(1).lines.unwrap() };
    let read = read(&database, StreamSpec { lines: Some(lines), ..spec("SELECT id FROM h2", 5) }, Start::Full).await;
    let numbers: Vec<String> = read.records[0].lines.iter().map(|line| line.replace(' ', "")).collect();
    assert_eq!(numbers, ["[1,9]", "[1,10]", "[1,100]"]);
    assert_eq!(read.records[0].line_columns.as_ref(), ["order_id", "line_no"]);
}

async fn lines_that_cannot_be_told_apart_reject_their_parent(mut database: Database) {
    database.execute("CREATE TABLE header (id INTEGER PRIMARY KEY, total INTEGER)").await;
    database.execute("CREATE TABLE line (order_id INTEGER, line_no INTEGER, qty INTEGER)").await;
    database.execute("INSERT INTO header VALUES (1, 1), (2, 2), (3, 3)").await;
    database.execute("INSERT INTO line VALUES (1, 1, 1), (1, 1, 2), (2, NULL, 1), (3, 1, 1), (3, 2, 2)").await;
    let read = read(&database, with_lines(10), Start::Full).await;
    assert_eq!(read.keys(), ["3"]);
    assert_eq!(read.rejected(), [Some("1"), Some("2")]);
    assert_eq!(read.rejects[0].problem.message, "more than one line has the `line_no` 1");
    assert_eq!(read.rejects[1].problem.message, "a line has no `line_no`, by which lines are told apart");
}

async fn parents_and_lines_are_of_one_moment(mut database: Database) {
    database.execute("CREATE TABLE header (id INTEGER PRIMARY KEY, total INTEGER)").await;
    database.execute("CREATE TABLE line (order_id INTEGER, line_no INTEGER, qty INTEGER)").await;
    database.execute("INSERT INTO header VALUES (1, 0)").await;
    database.execute("INSERT INTO line VALUES (1, 1, 0)").await;
    if database.engine() == Engine::Sqlite {
        database.execute("PRAGMA journal_mode = WAL").await;
        database.execute("PRAGMA synchronous = OFF").await;
    }
    let mut writer = database.second_writer().await;
    let writing = async {
        for n in 1..=300 {
            writer.execute("BEGIN").await;
            writer.execute(&format!("UPDATE header SET total = {n}")).await;
            writer.execute(&format!("UPDATE line SET qty = {n}")).await;
            writer.execute("COMMIT").await;
        }
    };
    let reading = async {
        let mut totals = std::collections::BTreeSet::new();
        while totals.last() != Some(&300) {
            let read = read(&database, with_lines(10), Start::Full).await;
            let fields = read.records[0].fields().unwrap();
            let Some(Value::List(lines)) = fields.get("lines") else { panic!("no lines") };
            assert_eq!(fields.get("total"), lines[0].get("qty"));
            let Some(Value::Int(total)) = fields.get("total") else { panic!("no total") };
            totals.insert(*total);
        }
    };
    tokio::join!(writing, reading);
}

async fn a_query_may_end_in_a_comment(mut database: Database) {
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    database.execute("INSERT INTO t VALUES (1), (2)").await;
    for query in ["SELECT id FROM t;", "SELECT id FROM t -- all of them", "SELECT id FROM t /* x */ ; \n-- :key\n"] {
        assert_eq!(read(&database, spec(query, 1), Start::Full).await.keys(), ["1", "2"], "{query}");
    }
}

async fn a_query_may_have_many_columns(mut database: Database) {
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    database.execute("INSERT INTO t VALUES (1)").await;
    let columns: Vec<String> = (0..300).map(|n| format!("id + {n} AS c{n}")).collect();
    let read = read(&database, spec(&format!("SELECT id, {} FROM t", columns.join(", ")), 1), Start::Full).await;
    assert_eq!(read.records[0].columns.len(), 301);
    assert_eq!(read.records[0].fields().unwrap().get("c299"), Some(&Value::Int(300)));
}

async fn mistakes_are_explained(mut database: Database) {
    let (kind, _) = stamp(database.engine(), 0);
    database.execute(&format!("CREATE TABLE t (id INTEGER PRIMARY KEY, at {kind}, name VARCHAR(9))")).await;
    let shape = async |spec| match refusal(&database, spec).await {
        SourceError::Shape { stream, problem } if stream == "customers" => problem,
        error => panic!("{error}"),
    };
    let error = shape(StreamSpec { key: "ID".to_owned(), ..spec("SELECT id, name FROM t", 1) }).await;
    assert_eq!(error.to_string(), "the query has no column `ID`, which `key` names; its columns are `id`, `name`");
    let error = shape(StreamSpec { cursor: Some(cursor("changed")), ..spec("SELECT id FROM t", 1) }).await;
    assert!(matches!(error, ShapeError::MissingColumn { setting: "cursor", .. }), "{error}");
    let error = shape(spec("SELECT id, name, at AS name FROM t", 1)).await;
    assert_eq!(error, ShapeError::DuplicateColumns(vec!["name".to_owned()]));
    let error = shape(spec("SELECT id FROM t WHERE id > 0 LIMIT :limit", 1)).await;
    assert!(matches!(error, ShapeError::Paging(_)), "{error}");

    let error = refusal(&database, spec("SELECT id FROM nowhere", 1)).await;
    assert!(matches!(&error, SourceError::Refused { what: "the query", .. }), "{error}");
    assert!(error.to_string().contains("nowhere"), "{error}");
    let error = refusal(&database, spec("SELECT id,\n  nonsense\nFROM t", 1)).await;
    assert!(error.to_string().contains("nonsense"), "{error}");
    if database.engine() == Engine::Postgres {
        assert!(error.to_string().ends_with("(query line 2, column 3)"), "{error}");
    }
    let lines = LinesSpec { query: "SELECT x FROM t".to_owned(), ..with_lines(1).lines.unwrap() };
    let error = refusal(&database, StreamSpec { lines: Some(lines), ..spec("SELECT id FROM t", 1) }).await;
    assert!(matches!(&error, SourceError::Refused { what: "the query of the lines", .. }), "{error}");
    let lines = LinesSpec { query: "SELECT id FROM t WHERE id = :key".to_owned(), ..with_lines(1).lines.unwrap() };
    let error = shape(StreamSpec { lines: Some(lines), ..spec("SELECT id FROM t", 1) }).await;
    assert_eq!(error, ShapeError::PlaceholderInLines);
    let parameter = if database.engine() == Engine::Postgres { "$1" } else { "?" };
    let error = shape(spec(&format!("SELECT id FROM t WHERE id = {parameter}"), 1)).await;
    assert_eq!(error, ShapeError::Parameters(1));

    let unfit = Start::Since("yesterday".to_owned());
    let error =
        try_read(&database, StreamSpec { cursor: Some(cursor("at")), ..spec("SELECT id, at FROM t", 1) }, unfit).await;
    assert!(matches!(error, Err(SourceError::Shape { problem: ShapeError::StoredCursor { .. }, .. })), "{error:?}");
}

async fn nothing_can_be_written(mut database: Database) {
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    for query in ["INSERT INTO t VALUES (1)", "DELETE FROM t", "SELECT 1 AS id; DELETE FROM t"] {
        let error = refusal(&database, spec(query, 1)).await;
        assert!(matches!(error, SourceError::Refused { .. } | SourceError::Shape { .. }), "{query}: {error}");
    }
    if database.engine() == Engine::Postgres {
        database
            .execute("CREATE FUNCTION sneak() RETURNS INTEGER LANGUAGE sql AS 'INSERT INTO t VALUES (7) RETURNING id'")
            .await;
        let error = refusal(&database, spec("SELECT sneak() AS id", 1)).await;
        assert!(error.to_string().contains("read-only"), "{error}");
    }
    assert!(read(&database, spec("SELECT id FROM t", 1), Start::Full).await.records.is_empty());
}

#[tokio::test]
async fn keys_of_every_type_can_be_paged() {
    const POSTGRES: &[(&str, [&str; 3])] = &[
        ("SMALLINT", ["-1", "2", "10"]),
        ("NUMERIC(30)", ["9", "10", "123456789012345678901234567890"]),
        (
            "UUID",
            [
                "00000000-0000-0000-0000-00000000000a",
                "123e4567-e89b-12d3-a456-426614174000",
                "f0000000-0000-0000-0000-000000000000",
            ],
        ),
        ("CHAR(5)", ["a", "ab", "b"]),
        ("NAME", ["a", "b", "c"]),
        ("DATE", ["2026-01-31", "2026-02-01", "2026-10-01"]),
        ("mood", ["happy", "ok", "sad"]),
    ];
    const MARIADB: &[(&str, [&str; 3])] = &[
        ("TINYINT", ["-1", "2", "10"]),
        ("BIGINT UNSIGNED", ["9", "10", "18446744073709551615"]),
        ("DECIMAL(30,0)", ["9", "10", "123456789012345678901234567890"]),
        ("CHAR(5)", ["a", "ab", "b"]),
        ("VARCHAR(5) CHARACTER SET latin1", ["a", "ä", "b"]),
        ("DATE", ["2026-01-31", "2026-02-01", "2026-10-01"]),
        ("ENUM('sad', 'ok', 'happy')", ["happy", "ok", "sad"]),
    ];
    for (engine, types) in [(Engine::Postgres, POSTGRES), (Engine::MariaDb, MARIADB)] {
        on(engine, async |mut database| {
            if engine == Engine::Postgres {
                database.execute("CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')").await;
            }
            for (n, (kind, keys)) in types.iter().enumerate() {
                database.execute(&format!("CREATE TABLE t{n} (id {kind}, x INTEGER)")).await;
                for key in keys.iter().rev() {
                    database.execute(&format!("INSERT INTO t{n} VALUES ('{key}', 1)")).await;
                }
                let lines = LinesSpec {
                    query: format!("SELECT id AS parent, x FROM t{n}"),
                    parent: "parent".to_owned(),
                    key: "x".to_owned(),
                };
                let cursor = CursorSpec { overlap: Overlap::Count(1), ..cursor("x") };
                let query = format!("SELECT id, x FROM t{n}");
                let stream =
                    || StreamSpec { lines: Some(lines.clone()), cursor: Some(cursor.clone()), ..spec(&query, 1) };
                for start in [Start::Full, Start::Since("1".to_owned())] {
                    let read = read(&database, stream(), start.clone()).await;
                    let mut found = read.keys();
                    found.sort_by_key(|key| keys.iter().position(|expected| expected == key));
                    assert_eq!(found, keys, "{kind}, {start:?}: {:?}", read.rejects);
                    assert!(read.records.iter().all(|record| record.lines.len() == 1), "{kind}");
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_real_that_json_would_round_is_rejected() {
    on(Engine::Sqlite, async |mut database| {
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a REAL, b DECIMAL(10,2), c, d TEXT)").await;
        database.execute("INSERT INTO t VALUES (1, 19.99, 0.1, 1e300, 0.1), (2, 0.1+0.2, 1, 2, 3)").await;
        database.execute("INSERT INTO t VALUES (3, 1, 1e999, -1e999, 'x'), (4, 1.0/3, 2.0/3, 5, NULL)").await;
        let read = read(&database, spec("SELECT * FROM t", 10), Start::Full).await;
        assert_eq!(read.keys(), ["1"]);
        let named: Vec<_> = read.rejects.iter().map(|reject| reject.problem.property.as_deref().unwrap()).collect();
        assert_eq!(named, ["a", "b, c", "a, b"]);
    })
    .await;
}

#[tokio::test]
async fn a_blob_is_an_error_that_names_its_column() {
    on(Engine::Sqlite, async |mut database| {
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, photo BLOB)").await;
        database.execute("INSERT INTO t VALUES (1, 'a', NULL), (2, 'b', x'00ff')").await;
        let error = refusal(&database, spec("SELECT * FROM t", 10)).await;
        assert!(error.to_string().contains("`photo` has the type BLOB"), "{error}");
    })
    .await;
    for (engine, kind) in [(Engine::Postgres, "BYTEA"), (Engine::MariaDb, "BLOB"), (Engine::MariaDb, "BINARY")] {
        on(engine, async |mut database| {
            database.execute(&format!("CREATE TABLE t (id INTEGER PRIMARY KEY, photo {kind})")).await;
            let error = refusal(&database, spec("SELECT * FROM t", 10)).await;
            assert!(error.to_string().contains(&format!("`photo` has the type {kind}")), "{error}");
        })
        .await;
    }
}

#[tokio::test]
async fn stamps_in_sqlite_keep_the_form_in_which_they_are_stored() {
    on(Engine::Sqlite, async |mut database| {
        for (table, now) in [
            ("a", "strftime('%Y-%m-%d %H:%M:%S', 'now')"),
            ("b", "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"),
            ("c", "strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now')"),
            ("d", "strftime('%Y-%m-%d', 'now')"),
        ] {
            database.execute(&format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY, at DATETIME)")).await;
            database.execute(&format!("INSERT INTO {table} VALUES (1, '2020-01-01'), (2, {now})")).await;
            database.execute(&format!("DELETE FROM {table} WHERE length(at) = 10 AND id = 1")).await;
            let stream = || StreamSpec { cursor: Some(cursor("at")), ..spec(&format!("SELECT * FROM {table}"), 5) };
            let full = read(&database, stream(), Start::Full).await;
            let (greatest, next) = (full.summary.max_cursor.unwrap(), full.summary.next_cursor.unwrap());
            assert_eq!(greatest.len(), next.len(), "{table}: {greatest} and {next}");
            assert!(next <= greatest && greatest[10..].get(..1) == next[10..].get(..1), "{table}: {greatest}, {next}");
            assert_eq!(read(&database, stream(), Start::Since(next)).await.keys(), ["2"], "{table}");
        }

        database.execute("CREATE TABLE mixed (id INTEGER PRIMARY KEY, at TEXT)").await;
        database
            .execute(
                "INSERT INTO mixed VALUES (1, '2026-01-02 03:04:05'), (2, '2026-01-02T03:04:05'), (3, 'soon'), \
                 (4, ''), (5, 1767323045), (6, '2026-01-02 03:04:05.25')",
            )
            .await;
        let stream = StreamSpec { cursor: Some(cursor("at")), ..spec("SELECT * FROM mixed", 10) };
        let full = read(&database, stream, Start::Full).await;
        assert_eq!(full.keys(), ["1", "2", "3", "4", "5", "6"]);
        assert_eq!(full.summary.null_cursors, 5);
    })
    .await;
}

#[tokio::test]
async fn a_cursor_that_cannot_be_one_is_refused() {
    on(Engine::Postgres, async |mut database| {
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, ok BOOLEAN, x DOUBLE PRECISION)").await;
        let error = refusal(&database, StreamSpec { cursor: Some(cursor("ok")), ..spec("SELECT * FROM t", 1) }).await;
        assert!(error.to_string().contains("`ok` has the type BOOL, which cannot be a cursor"), "{error}");
        let error = refusal(&database, StreamSpec { key: "x".to_owned(), ..spec("SELECT * FROM t", 1) }).await;
        assert!(error.to_string().contains("`x` has the type FLOAT8, which cannot be a key"), "{error}");
    })
    .await;
    on(Engine::Sqlite, async |mut database| {
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, at REAL)").await;
        database.execute("INSERT INTO t VALUES (1, 2461000.5)").await;
        let error = refusal(&database, StreamSpec { cursor: Some(cursor("at")), ..spec("SELECT * FROM t", 1) }).await;
        assert!(error.to_string().contains("`at` has the type number that is no 64-bit integer"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_source_that_does_not_answer_is_told_from_one_that_refuses() {
    for engine in [Engine::Postgres, Engine::MariaDb] {
        on(engine, async |database| {
            let open = async |url: String| {
                let url = SecretString::from(url);
                let source = match engine {
                    Engine::Postgres => SqlSource::Postgres { url },
                    _ => SqlSource::MySql { url },
                };
                let error = SqlStream::open(&source, spec("SELECT 1 AS id", 1), Start::Full).await.unwrap_err();
                let said = format!("{error} {error:?} {source:?}");
                assert!(!said.contains(PASSWORD) && !said.contains("wr0ng"), "{said}");
                error
            };
            let port = url_port(database.url());
            let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let error = open(database.url().replace(&format!(":{port}/"), &format!(":{nobody}/"))).await;
            assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
            let error = open(database.url().replace(PASSWORD, "wr0ng")).await;
            assert!(matches!(error, SourceError::Refused { what: "the connection", .. }), "{error}");
            let error = open(format!("{}://x:wr0ng@:y", &database.url()[..5])).await;
            assert!(matches!(error, SourceError::Refused { what: "the connection", .. }), "{error}");
            // The servers of these tests have no certificate.
            let encrypted = if engine == Engine::Postgres { "sslmode=require" } else { "ssl-mode=REQUIRED" };
            let error = open(format!("{}?{encrypted}", database.url())).await;
            assert!(matches!(error, SourceError::Refused { what: "the connection", .. }), "{error}");
        })
        .await;
    }
    let missing = SqlSource::Sqlite { path: "/nonexistent/crm.db".into() };
    let error = SqlStream::open(&missing, spec("SELECT 1 AS id", 1), Start::Full).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("/nonexistent/crm.db"), "{error}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("crm.db");
    std::fs::write(&path, "This is no database, but long enough to be taken for the header of one. ".repeat(20))
        .unwrap();
    let error = SqlStream::open(&SqlSource::Sqlite { path }, spec("SELECT 1 AS id", 1), Start::Full).await.unwrap_err();
    assert!(matches!(error, SourceError::Refused { .. }), "{error}");
}

fn url_port(url: &str) -> String {
    url.rsplit(':').next().unwrap().split('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_connection_lost_in_the_middle_is_an_interruption() {
    on(Engine::Postgres, async |mut database| {
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
        database.execute("INSERT INTO t SELECT generate_series(1, 10)").await;
        let mut stream = SqlStream::open(&source(&database), spec("SELECT id FROM t", 3), Start::Full).await.unwrap();
        assert_eq!(stream.next_page().await.unwrap().unwrap().records.len(), 3);
        database
            .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bcsync'")
            .await;
        let error = stream.next_page().await.unwrap_err();
        assert!(matches!(error, SourceError::Interrupted { .. }), "{error}");
        assert!(stream.next_page().await.unwrap().is_none());
        assert!(!stream.summary().complete && stream.summary().next_cursor.is_none());
    })
    .await;
}
