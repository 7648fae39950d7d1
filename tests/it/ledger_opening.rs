//! Which ledgers are opened and which are refused: what is not whole, not ours or not alone is never written to, and never
//! quietly begun anew.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bcsync::clock::SystemClock;
use bcsync::ledger::{Ledger, LedgerError, OpenOptions};
use bcsync::model::RunResult;
use bcsync::simulator::FaultKind;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};

use crate::bed::{TestBed, bed};
use crate::process::{ended, in_time};

/// Opens the ledger at `path` as a process of its own would.
async fn open(path: &Path) -> Result<Ledger, LedgerError> {
    let options = OpenOptions { path: path.to_owned(), store_values: true, redact: Vec::new() };
    Ledger::open(options, Arc::new(SystemClock)).await
}

/// The same once nobody else holds it. Until another test's new process executes its program, it holds whatever is open
/// in this one, also the lock of a ledger that was just closed.
async fn open_alone(path: &Path) -> Result<Ledger, LedgerError> {
    in_time("opening the ledger", async {
        loop {
            match open(path).await {
                Err(LedgerError::Busy { .. }) => tokio::task::yield_now().await,
                opened => return opened,
            }
        }
    })
    .await
}

/// A bed with two customers, one order, and something to send.
async fn something_to_send(bed: &mut TestBed) {
    bed.accounts([1, 2]).await;
    bed.orders([1], 2).await;
    bed.run().await.exits(0);
    bed.crm("UPDATE account SET credit = '7' WHERE id = 2").await;
    bed.simulator.reset_stats();
}

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

#[tokio::test]
async fn a_ledger_whose_process_died_while_closing_it_is_opened() {
    bed(async |bed| {
        something_to_send(bed).await;
        let path = bed.folder().join("ledger.db");
        let journal = bed.folder().join("ledger.db-journal");
        // What is on the disk in the middle of a transaction is what a process leaves that dies there. It has to be more
        // than fits into memory, or nothing would be there yet.
        let mut connection = connect(&path).await;
        let much = "WITH RECURSIVE row(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM row WHERE n < 500) \
                    INSERT INTO junk SELECT hex(randomblob(1000)) FROM row";
        for sql in ["PRAGMA cache_size = 1", "BEGIN", "CREATE TABLE junk (text)", much] {
            connection.execute(sql).await.unwrap();
        }
        let left = [&path, &journal].map(|path| fs::read(path).unwrap());
        connection.execute("ROLLBACK").await.unwrap();
        connection.close().await.unwrap();
        let half_done = || {
            for (path, left) in [&path, &journal].into_iter().zip(&left) {
                fs::write(path, left).unwrap();
            }
        };
        for arguments in [&["status"][..], &["history"], &["links", "export"]] {
            half_done();
            let output = bed.bcsync(arguments).await;
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        }
        half_done();
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 updated");
        assert_eq!(bed.ledger("SELECT name FROM sqlite_schema WHERE name = 'junk'").await, [""; 0]);
    })
    .await;
}

async fn change(path: &Path, sql: &str) {
    let mut connection = connect(path).await;
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap();
    connection.close().await.unwrap();
}

/// Puts another ledger into the place of one that a refused run may have left open, as if there had been no other.
fn replace(path: &Path, bytes: &[u8]) {
    for ending in ["-wal", "-shm", ".lock"] {
        let _ = fs::remove_file(format!("{}{ending}", path.display()));
    }
    fs::write(path, bytes).unwrap();
}

/// A run is refused because of the ledger, says so, and neither signs in nor writes.
async fn refused(bed: &mut TestBed, said: &str) {
    for arguments in [&["run"][..], &["run", "--full"]] {
        let output = bed.bcsync(arguments).await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
    assert_eq!(bed.simulator.stats().tokens, 0);
}

#[tokio::test]
async fn a_ledger_that_is_gone_or_empty_is_begun_anew_on_request_only() {
    bed(async |bed| {
        something_to_send(bed).await;
        let (path, lock) = (bed.folder().join("ledger.db"), bed.folder().join("ledger.db.lock"));
        let whole = fs::read(&path).unwrap();
        fs::write(&path, "").unwrap();
        refused(bed, "ledger.db.lock says that there was one").await;
        assert_eq!(fs::read(&path).unwrap(), b"");
        fs::remove_file(&path).unwrap();
        refused(bed, "ledger.db.lock says that there was one").await;
        assert!(!path.exists());
        // A log without its file says the same.
        fs::remove_file(&lock).unwrap();
        fs::write(bed.folder().join("ledger.db-wal"), "a log").unwrap();
        refused(bed, "ledger.db-wal says that there was one").await;
        fs::remove_file(bed.folder().join("ledger.db-wal")).unwrap();
        fs::write(&path, whole).unwrap();
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 updated");
    })
    .await;
}

#[tokio::test]
async fn a_ledger_of_a_newer_version_is_left_as_it_is() {
    bed(async |bed| {
        something_to_send(bed).await;
        let path = bed.folder().join("ledger.db");
        let newer = "INSERT INTO _sqlx_migrations SELECT 99, 'newer', installed_on, success, checksum, execution_time \
                     FROM _sqlx_migrations";
        change(&path, newer).await;
        let before = fs::read(&path).unwrap();
        refused(bed, "was written by a newer bcsync (its tables are version 99, this program knows 1)").await;
        assert_eq!(fs::read(&path).unwrap(), before);
        change(&path, "DELETE FROM _sqlx_migrations WHERE version = 99").await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 updated");
    })
    .await;
}

#[tokio::test]
async fn a_file_of_another_program_is_left_as_it_is() {
    bed(async |bed| {
        something_to_send(bed).await;
        let path = bed.folder().join("ledger.db");
        let whole = fs::read(&path).unwrap();
        replace(&path, &b"key;value\n".repeat(1_000));
        refused(bed, "is not a bcsync ledger (no SQLite file)").await;
        for application in [0, 7] {
            let other = bed.folder().join(format!("other-{application}.db"));
            drop(fs::File::create(&other).unwrap());
            change(&other, &format!("PRAGMA application_id = {application}; CREATE TABLE customer (no TEXT)")).await;
            let others = fs::read(&other).unwrap();
            replace(&path, &others);
            let said = format!("is not a bcsync ledger (a SQLite file with application id {application})");
            refused(bed, &said).await;
            assert_eq!(fs::read(&path).unwrap(), others);
        }
        replace(&path, &whole);
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 updated");
    })
    .await;
}

#[tokio::test]
async fn a_part_of_a_ledger_is_refused_wherever_it_was_cut() {
    bed(async |bed| {
        something_to_send(bed).await;
        let path = bed.folder().join("ledger.db");
        let whole = fs::read(&path).unwrap();
        let part = bed.folder().join("part.db");
        for length in (0..whole.len()).step_by(4096).flat_map(|boundary| [boundary + 1, boundary + 4096]) {
            if length >= whole.len() {
                continue;
            }
            fs::write(&part, &whole[..length]).unwrap();
            let error = open(&part).await.unwrap_err();
            assert!(matches!(error, LedgerError::Damaged { .. }), "{length}: {error}");
        }
        // A page of zeros in the midst: SQLite finds it when it looks at all pages.
        for page in 1..whole.len() / 4096 {
            let mut damaged = whole.clone();
            damaged[page * 4096..(page + 1) * 4096].fill(0);
            replace(&path, &damaged);
            let output = bed.bcsync(&["run"]).await;
            assert_eq!(output.status.code(), Some(78), "{page}: {}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(bed.simulator.stats().writes(), 0, "page {page}");
        }
        replace(&path, &whole);
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 updated");
    })
    .await;
}

#[tokio::test]
async fn a_record_that_rests_by_mistake_and_an_approval_that_nobody_gave_are_told_of() {
    bed(async |bed| {
        bed.accounts([1]).await;
        let refuse = FaultKind::Refuse {
            status: 400,
            code: "Application_DialogException".to_owned(),
            message: "Not like this.".to_owned(),
        };
        bed.strike("POST", "customers", refuse);
        bed.run().await.exits(1);
        bed.configure(
            "[jobs.customers.fields]",
            "[jobs.customers.brake]\ncreates = { max = 1 }\n\n[jobs.customers.fields]",
        );
        bed.accounts([2, 3]).await;
        bed.run().await.exits(4).did("customers", "1 queued, 2 staged, 2 held");
        let path = bed.folder().join("ledger.db");
        let whole = fs::read(&path).unwrap();
        // The disk changes a row and leaves its index alone, which SQLite does only when it does not know of that.
        let forget = "PRAGMA writable_schema = ON; \
                      CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE name = 'outbox_once_more'; \
                      DELETE FROM sqlite_schema WHERE name = 'outbox_once_more'";
        let remember = "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema SELECT * FROM kept; DROP TABLE kept";
        for (damage, told) in [
            ("outbox SET refused = 1 WHERE key = '1'", "the ledger is damaged ("),
            ("outbox SET refused = 1 WHERE key = '2'", "the ledger is damaged ("),
            ("outbox SET retry_at = '2089-11-12T13:14:15.161Z' WHERE key = '1'", "the ledger is damaged ("),
            ("outbox SET retry_at = '2089-11-12T13:14:15.161Z' WHERE key = '2'", "the ledger is damaged ("),
            ("outbox SET waiting_since = '2001-01-01T00:00:00.000Z'", "the ledger is damaged ("),
            ("outbox SET decision = 'source'", "the ledger is damaged ("),
            ("outbox SET seen_etag = 'another'", "the ledger is damaged ("),
            ("held_plan SET creates = creates + 64", "the row of 1 in its table `held_plan` is not as it was written"),
            ("held_plan SET approved_at = '1'", "the row of 1 in its table `held_plan` is not as it was written"),
        ] {
            for sql in [forget, &format!("UPDATE {damage}"), remember] {
                change(&path, sql).await;
            }
            let pass = bed.run().await.exits(78);
            assert!(pass.message("customers").contains(told), "{damage}: {}", pass.details());
            assert_eq!(bed.rows("customers").len(), 0, "{damage}");
            replace(&path, &whole);
        }
        bed.output(&["approve", "customers"]).await;
        bed.run().await.exits(1).did("customers", "3 queued, 2 created");
    })
    .await;
}

#[tokio::test]
async fn after_an_unclean_stop_the_file_is_checked_before_anything_else() {
    bed(async |bed| {
        something_to_send(bed).await;
        let path = bed.folder().join("ledger.db");
        let whole = fs::read(&path).unwrap();
        let other = bed.folder().join("other.db");
        let mut found_late = 0;
        for page in 1..whole.len() / 4096 {
            let mut damaged = whole.clone();
            damaged[page * 4096..(page + 1) * 4096].fill(0);
            fs::write(&other, &damaged).unwrap();
            if let Ok(ledger) = open_alone(&other).await {
                ledger.close().await;
                found_late += 1;
            }
            // As a process leaves it that was killed: marked as having a log.
            damaged[18..20].fill(2);
            fs::write(&other, &damaged).unwrap();
            let error = open_alone(&other).await.unwrap_err();
            assert!(matches!(error, LedgerError::Damaged { .. }), "page {page}: {error}");
        }
        assert!(found_late > 5, "of {} pages, {found_late} were looked at later", whole.len() / 4096);
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 updated");
    })
    .await;
}

#[tokio::test]
async fn a_process_that_was_overtaken_writes_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let first = open(&path).await.unwrap();
    assert!(matches!(open(&path).await.unwrap_err(), LedgerError::Busy { .. }));
    // Whoever removes the lock takes the protection away; the epoch is the second one.
    fs::remove_file(folder.path().join("ledger.db.lock")).unwrap();
    let second = open(&path).await.unwrap();
    let error = first.record_failure("customers", "command", RunResult::Failed, "too late").await.unwrap_err();
    assert!(matches!(error, LedgerError::Fenced), "{error}");
    second.prune_history(std::time::Duration::ZERO).await.unwrap();
    first.close().await;
    second.close().await;
}

#[tokio::test]
async fn a_file_that_was_replaced_is_not_written_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = open(&path).await.unwrap();
    let moved = folder.path().join("moved.db");
    fs::rename(&path, &moved).unwrap();
    let keep = std::time::Duration::ZERO;
    assert!(matches!(ledger.prune_history(keep).await.unwrap_err(), LedgerError::Replaced { .. }));
    fs::copy(&moved, &path).unwrap();
    assert!(matches!(ledger.prune_history(keep).await.unwrap_err(), LedgerError::Replaced { .. }));
    fs::rename(&moved, &path).unwrap();
    ledger.prune_history(keep).await.unwrap();
    ledger.close().await;
}

#[tokio::test]
async fn a_lock_of_another_program_is_waited_for_and_told_when_it_stays() {
    bed(async |bed| {
        something_to_send(bed).await;
        let path = bed.folder().join("ledger.db");
        let mut other = connect(&path).await;
        other.execute("BEGIN EXCLUSIVE").await.unwrap();
        let output = bed.bcsync(&["run"]).await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(75), "{stderr}");
        assert!(stderr.contains("another program keeps the ledger locked"), "{stderr}");
        assert_eq!(bed.simulator.stats().writes(), 0);

        let child = bed.command(&["run", "--json"]).spawn().unwrap();
        let mut ended = Box::pin(ended(child));
        let second = std::time::Duration::from_secs(1);
        assert!(tokio::time::timeout(second, &mut ended).await.is_err(), "it did not wait for the lock");
        other.execute("ROLLBACK").await.unwrap();
        other.close().await.unwrap();
        let pass = crate::bed::pass_of(&ended.await);
        pass.exits(0).did("customers", "1 unchanged, 1 staged, 1 updated");
    })
    .await;
}
