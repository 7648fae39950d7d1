//! What a correct configuration becomes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime};
use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::{SMALL, Surroundings, changed, load_text, problems};
use crate::config::{
    Config, LinesOrigin, LogFormat, LogLevel, NoConfig, Overlap, SecretRef, SignIn, SourceKind, find, load,
};
use crate::model::{Adopt, BrakeLimit, EntityName, Mode, OnConflict, OnDelete, OnMissing};

fn loaded(text: &str) -> Config {
    load_text(text).unwrap_or_else(|report| panic!("{report}"))
}

#[test]
fn the_example_is_right() {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("bc-client-secret", "s3cret\n"),
        ("crm-url", "postgres://reader:pw@db.example/crm\n"),
        ("heartbeat", "https://alive.example/1\n"),
    ] {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    }
    let surroundings = Surroundings::with(&[("CREDENTIALS_DIRECTORY", directory.path().to_str().unwrap())]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml.example");
    let report = load(&path, &surroundings).unwrap_err();
    let [problem] = report.problems() else { panic!("{report}") };
    assert_eq!(
        (problem.path.as_str(), problem.message.as_str()),
        ("targets.main.client_id", "this is still the example's")
    );

    let mine = fs::read_to_string(&path).unwrap().replace("11111111-2222-3333-4444-555555555555", "mine");
    let path = directory.path().join("config.toml");
    fs::write(&path, mine).unwrap();
    let config = load(&path, &surroundings).unwrap_or_else(|report| panic!("{report}"));
    assert!(config.report.problems().is_empty(), "{}", config.report);

    assert_eq!(config.ledger.path, Path::new("/var/lib/bcsync/ledger.db"));
    assert_eq!(config.ledger.redact, ["email", "phoneNumber"]);
    let target = config.target("main").unwrap();
    assert_eq!(target.company.value, "CRONUS USA, Inc.");
    assert_eq!(target.secret_expires, NaiveDate::from_ymd_opt(2027, 2, 1));
    let pause = target.pause.unwrap();
    assert_eq!((pause.from, pause.timezone), (NaiveTime::from_hms_opt(22, 0, 0).unwrap(), Tz::Europe__Berlin));
    assert_eq!(config.sources.iter().map(|s| s.name.value.as_str()).collect::<Vec<_>>(), ["crm", "old_crm"]);

    let customers = config.job("customers").unwrap();
    let properties: Vec<_> = customers.fields.iter().map(|field| field.property.value.as_str()).collect();
    assert_eq!(properties[..4], ["number", "displayName", "type", "addressLine1"], "in the order of the file");
    assert_eq!(customers.brake.updates, BrakeLimit { max: Some(2_000), percent: Some(Decimal::from(20)) });
    assert_eq!((customers.retry.attempts, customers.retry.max), (3, Duration::from_mins(1)));
    let cursor = customers.stream.cursor.as_ref().unwrap();
    assert_eq!(cursor.overlap, Overlap::Time(Duration::from_mins(5)));
    assert_eq!(customers.create_only[0].expression.value, "'WEB'");
    assert_eq!(config.maps[0].codes["Canada"].value, "CA");

    let orders = config.job("orders").unwrap();
    assert_eq!((orders.target.as_str(), orders.adopt), ("main", Adopt::Never));
    assert_eq!(
        orders.timezone,
        Tz::Europe__Berlin,
        "a job without a schedule takes the zone of the job it comes after"
    );
    let check_total = &orders.check_total.as_ref().unwrap().value;
    assert_eq!(check_total.tolerance, Decimal::new(5, 2));
    let lines = orders.lines.as_ref().unwrap();
    assert!(matches!(&lines.origin, LinesOrigin::Query { parent, .. } if parent.value == "order_id"));
}

#[test]
fn what_is_left_out_has_its_documented_default() {
    let config = loaded(SMALL);
    assert_eq!(config.ledger.path, Path::new("./ledger.db"));
    assert_eq!((config.ledger.keep_history, config.ledger.store_values), (Duration::from_hours(400 * 24), true));
    assert_eq!((config.log.format, config.log.level), (LogFormat::Auto, LogLevel::Info));
    assert!(config.monitor.is_none());
    assert_eq!((config.retry.attempts, config.retry.waiting_for), (5, Duration::from_hours(14 * 24)));

    let target = &config.targets[0];
    assert_eq!(target.login_url.as_str(), "https://login.microsoftonline.com/");
    assert_eq!(target.base_url.as_str(), "https://api.businesscentral.dynamics.com/");
    assert_eq!(target.scope, "https://api.businesscentral.dynamics.com/.default");
    assert_eq!(target.settle_window, Duration::from_mins(20));
    let limits = target.limits;
    assert_eq!((limits.concurrency, limits.requests_per_5_minutes), (4, 5_400));
    assert_eq!((limits.batch_size, limits.batch_cost), (100, 1));

    let job = &config.jobs[0];
    assert_eq!((job.enabled, job.catch_up, job.rename), (true, true, false));
    assert_eq!((job.mode, job.adopt), (Mode::Upsert, Adopt::Update));
    assert_eq!((job.on_delete, job.on_missing), (OnDelete::Keep, OnMissing::Close));
    assert_eq!((job.timezone, job.jitter), (Tz::UTC, Duration::ZERO));
    let unlimited = BrakeLimit { max: None, percent: None };
    let few = BrakeLimit { max: Some(25), percent: None };
    assert_eq!((job.brake.creates, job.brake.updates), (unlimited, unlimited));
    assert_eq!((job.brake.deletes, job.brake.closes), (few, few));
    assert!(job.stream.cursor.is_none() && job.schedule.is_none() && job.lines.is_none());
}

#[test]
fn the_ledger_is_in_the_first_state_directory_if_there_is_one() {
    for (variable, expected) in
        [("/var/lib/bcsync", "/var/lib/bcsync/ledger.db"), ("/a:/b", "/a/ledger.db"), ("", "./ledger.db")]
    {
        let surroundings = Surroundings::with(&[("SECRET", "s"), ("STATE_DIRECTORY", variable)]);
        let config =
            super::check(super::SourceText::new("c", SMALL), &surroundings, crate::config::Purpose::Work).unwrap();
        assert_eq!(config.ledger.path, Path::new(expected), "{variable:?}");
    }
}

#[test]
fn every_choice_means_what_it_says() {
    let job = |line: &str| loaded(&changed("key = 'id'", &format!("key = 'id'\n{line}"))).jobs.remove(0);
    assert_eq!(job("adopt = 'if_equal'").adopt, Adopt::IfEqual);
    assert_eq!(job("adopt = 'never'").adopt, Adopt::Never);
    assert_eq!(job("mode = 'create_only'").mode, Mode::CreateOnly);
    assert_eq!(job("on_delete = 'block'").on_delete, OnDelete::Block);
    assert_eq!(job("on_delete = 'delete'").on_delete, OnDelete::Delete);
    assert_eq!(job("on_missing = 'recreate'").on_missing, OnMissing::Recreate);
    assert_eq!(job("cursor = 'n'\noverlap = 100").stream.cursor.unwrap().overlap, Overlap::Count(100));
    assert_eq!(job("where = 'active'").condition.unwrap().value, "active");
    assert_eq!(
        job("brake.deletes = { percent = 2.5 }").brake.deletes,
        BrakeLimit { max: Some(25), percent: Some(Decimal::new(25, 1)) }
    );
    for (word, meaning) in
        [("source_wins", OnConflict::SourceWins), ("bc_wins", OnConflict::BcWins), ("hold", OnConflict::Hold)]
    {
        let config = loaded(&changed("'hold'", &format!("'{word}'")));
        assert_eq!(config.jobs[0].on_conflict, Some(meaning));
    }
}

#[test]
fn entities_are_standard_sets_or_custom_pages() {
    let entity = |name: &str| loaded(&changed("'customers'", &format!("'{name}'"))).jobs.remove(0).entity.value;
    for name in ["salesOrders", "contoso/crm/v1.0/accounts", "contoso/crm/beta/accounts"] {
        assert_eq!(Some(entity(name)), EntityName::parse(name));
    }
}

#[test]
fn documents_are_not_adopted_unless_the_job_says_so() {
    let adopt = |name: &str| loaded(&changed("'customers'", &format!("'{name}'"))).jobs[0].adopt;
    for (name, expected) in [
        ("items", Adopt::Update),
        ("salesOrders", Adopt::Never),
        ("salesInvoices", Adopt::Never),
        ("contoso/crm/v1.0/salesOrders", Adopt::Update),
    ] {
        assert_eq!(adopt(name), expected, "{name}");
    }
}

#[test]
fn a_certificate_takes_the_place_of_the_secret() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let line = format!("certificate = {{ file = '{}', key = {{ env = 'SECRET' }} }}", file.path().display());
    let config = loaded(&changed("client_secret = { env = 'SECRET' }", &line));
    let SignIn::Certificate(certificate) = &config.targets[0].sign_in else { panic!("not a certificate") };
    assert_eq!(certificate.value.file, file.path());
    assert_eq!(certificate.value.key.value, SecretRef::Variable("SECRET".to_owned()));
}

#[test]
fn a_database_has_its_address_in_a_secret() {
    let config = loaded(&changed("type = 'sqlite'\npath = 'crm.db'", "type = 'mysql'\nurl = { env = 'DATABASE' }"));
    assert!(
        matches!(&config.sources[0].kind, SourceKind::Mysql(url) if url.value == SecretRef::Variable("DATABASE".to_owned()))
    );
}

#[test]
fn jobs_come_in_the_order_that_after_demands() {
    let job = |name: &str, after: &str| {
        let table = SMALL.split_once("[jobs.customers]").unwrap().1.replace("jobs.customers", &format!("jobs.{name}"));
        format!("[jobs.{name}]\nafter = [{after}]{table}")
    };
    let head = SMALL.split_once("[jobs.customers]").unwrap().0;
    let text = format!(
        "{head}{}{}{}{}",
        job("lines", "'orders', 'items'"),
        job("orders", "'customers'"),
        job("customers", ""),
        job("items", "")
    );
    let config = loaded(&text);
    let names = |jobs: Vec<&crate::config::Job>| jobs.iter().map(|job| job.name.value.clone()).collect::<Vec<_>>();
    assert_eq!(names(config.jobs.iter().collect()), ["lines", "orders", "customers", "items"]);
    assert_eq!(names(config.jobs_in_order()), ["customers", "orders", "items", "lines"]);
}

#[test]
fn the_zone_of_a_job_is_its_own_or_that_of_the_job_before_it() {
    for (line, expected) in
        [("", Tz::Asia__Tokyo), ("timezone = 'Europe/Paris'", Tz::Europe__Paris), ("schedule = '@daily'", Tz::UTC)]
    {
        let text = changed("key = 'id'", "key = 'id'\nschedule = '@hourly'\ntimezone = 'Asia/Tokyo'");
        let second = SMALL.split_once("[jobs.customers]").unwrap().1.replace("jobs.customers", "jobs.second");
        let config = loaded(&format!("{text}[jobs.second]\nafter = ['customers']\n{line}{second}"));
        assert_eq!(config.job("second").unwrap().timezone, expected, "{line}");
    }
}

#[test]
fn a_disabled_job_needs_no_secret_yet() {
    let text = changed("{ env = 'SECRET' }", "{ env = 'NOT_YET' }");
    assert_eq!(problems(&text), ["7:17 the environment variable `NOT_YET` is not set"]);
    assert_eq!(problems(&text.replace("source = 'crm'", "source = 'crm'\nenabled = false")), Vec::<String>::new());
}

#[test]
fn an_offset_in_an_expression_leads_to_the_file() {
    let config = loaded(&changed("'no'", "'no | lwer'"));
    let expression = &config.jobs[0].fields[0].expression;
    let span = config.report.source().span_within(expression, 5..9);
    let position = config.report.source().position(span.start);
    assert_eq!((position.line, position.column), (22, 16));
    let mut report = config.report.clone();
    report.push(super::Problem::error(span, &*expression.path, "unknown filter `lwer`"));
    assert!(report.has_errors() && report.to_string().contains("^^^^ `jobs.customers.fields.number`"), "{report}");
}

#[test]
fn the_configuration_is_the_one_that_was_named() {
    let surroundings = Surroundings::with(&[("BCSYNC_CONFIG", "/from/variable.toml")]);
    assert_eq!(find(Some(Path::new("given.toml")), &surroundings).ok(), Some(PathBuf::from("given.toml")));
    assert_eq!(find(None, &surroundings).ok(), Some(PathBuf::from("/from/variable.toml")));
    assert!(NoConfig.to_string().contains("/etc/bcsync/config.toml"));
}
