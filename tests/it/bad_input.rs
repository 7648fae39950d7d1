//! Bad input, through the real executable: a clear message, the documented exit code, and nothing lost.
//!
//! Every story ends with a good pass, which brings what there is, and with one more, which has nothing left to do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use bcsync::simulator::{Fault, FaultKind, FaultMatch, Settings};

use crate::databases::{Database, Engine};
use crate::scene::{Ran, Scene, TARGET};

const SOURCE: &str = r#"
[sources.crm]
type = "sqlite"
path = "@FOLDER@/crm.db"
"#;

const JOB: &str = r#"
[jobs.customers]
source = "crm"
entity = "customers"
query = "SELECT id, code, name, city, email, terms FROM account"
key = "id"
match_on = "number"
on_conflict = "source_wins"

[jobs.customers.fields]
number = "code"
displayName = "name"
city = "city"
email = "email"
paymentTermsId = "lookup('paymentTerms', terms)"
"#;

const ACCOUNTS: &str = "
CREATE TABLE account (id INTEGER, code TEXT, name TEXT, city TEXT, email TEXT, terms TEXT);
INSERT INTO account VALUES (1, 'K1', 'Ann', 'York', 'ann@one.example', '14 DAYS');
INSERT INTO account VALUES (2, 'K2', 'Bob', 'Leeds', 'bob@two.example', 'COD');";

fn good() -> String {
    [TARGET, SOURCE, JOB].concat()
}

/// The good configuration with `from` replaced by `to`.
fn changed(from: &str, to: &str) -> String {
    let good = good();
    assert!(good.contains(from), "{from:?} is not in the configuration");
    good.replacen(from, to, 1)
}

async fn scene() -> Scene {
    let scene = Scene::new(&good()).await;
    scene.crm(ACCOUNTS).await;
    scene
}

/// The good configuration again: everything arrives, and then there is nothing left to do.
#[track_caller]
fn recovers(scene: &Scene) -> impl Future<Output = ()> {
    let left = scene.nothing_is_left();
    async move {
        scene.configure(&good());
        scene.run(&["run"]).await.exits(0);
        assert_eq!(scene.column("customers", "number"), ["K1", "K2"]);
        left.await;
    }
}

/// A mistake in the configuration: what is changed, what is pointed at, what is told.
struct Mistake {
    from: &'static str,
    to: &'static str,
    at: &'static str,
    told: &'static [&'static str],
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        from: "key = \"id\"",
        to: "key = \"id\"\nschedul = \"@daily\"",
        at: "schedul ",
        told: &["unknown key `schedul` in `jobs.customers`", "did you mean `schedule`?"],
    },
    Mistake {
        from: "attempts = 2",
        to: "attempts = \"two\"",
        at: "\"two\"",
        told: &["expected a whole number, found a string", "`retry.attempts`"],
    },
    Mistake { from: "[retry]", to: "[retry\n", at: "\n\nattempts", told: &["expected `]`"] },
    Mistake {
        from: "BC_CLIENT_SECRET",
        to: "NOT_THERE",
        at: "{ env = \"NOT_THERE\" }",
        told: &["the environment variable `NOT_THERE` is not set", "`targets.main.client_secret`"],
    },
    Mistake {
        from: "{ env = \"BC_CLIENT_SECRET\" }",
        to: "{ file = \"@FOLDER@/open\" }",
        at: "{ file = ",
        told: &["/open is open to everyone (mode 0644)", "chmod o= "],
    },
    Mistake {
        from: "{ env = \"BC_CLIENT_SECRET\" }",
        to: "\"simulator-secret\"",
        at: "client_secret",
        told: &["secrets are never written into the configuration", "if this file was ever shared, change the secret"],
    },
    Mistake {
        from: "key = \"id\"",
        to: "key = \"idd\"",
        at: "\"idd\"",
        told: &["the query has no column `idd`, which `key` names", "did you mean `id`?"],
    },
    Mistake {
        from: "key = \"id\"",
        to: "key = \"id\"\ncursor = \"updated_at\"",
        at: "\"updated_at\"",
        told: &[
            "the query has no column `updated_at`, which `cursor` names",
            "the query gives id, code, name, city, email, terms",
        ],
    },
    Mistake {
        from: "city = \"city\"",
        to: "citty = \"city\"",
        at: "citty = ",
        told: &["customers have no property `citty`", "did you mean `city`?"],
    },
    Mistake {
        from: "city = \"city\"",
        to: "balanceDue = \"city\"",
        at: "balanceDue = ",
        told: &["`balanceDue` of customers cannot be written"],
    },
    Mistake {
        from: "\"email\"\n",
        to: "\"email | lowr\"\n",
        at: "lowr",
        told: &["there is no filter `lowr`", "did you mean `lower`?"],
    },
    Mistake {
        from: "\"email\"\n",
        to: "\"e_mail_address\"\n",
        at: "e_mail_address",
        told: &["the source has no column `e_mail_address`", "the query gives id, code, name, city, email, terms"],
    },
    Mistake {
        from: "lookup('paymentTerms', terms)",
        to: "link('terms', terms)",
        at: "'terms'",
        told: &["there is no job `terms` to link to; there is `customers`"],
    },
    Mistake {
        from: "lookup('paymentTerms', terms)",
        to: "lookup('paymntTerms', terms)",
        at: "'paymntTerms'",
        told: &["did you mean `paymentTerms`?"],
    },
    Mistake {
        from: "on_conflict = \"source_wins\"\n",
        to: "",
        at: "[jobs.customers]",
        told: &["`on_conflict` is missing", "source_wins, bc_wins, hold"],
    },
    Mistake {
        from: "source = \"crm\"",
        to: "source = \"crn\"",
        at: "\"crn\"",
        told: &["there is no source `crn`", "did you mean `crm`?"],
    },
];

#[tokio::test]
async fn a_mistake_in_the_configuration_is_pointed_at_before_anything_is_begun() {
    let scene = scene().await;
    fs::write(scene.path("open"), "simulator-secret").unwrap();
    fs::set_permissions(scene.path("open"), fs::Permissions::from_mode(0o644)).unwrap();
    for Mistake { from, to, at, told } in MISTAKES {
        let text = scene.fill(&changed(from, to));
        scene.configure(&text);
        let start = text.find(at).unwrap_or_else(|| panic!("{at:?} is not in {text}"));
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let place = format!("config.toml:{}:{}", text[..start].matches('\n').count() + 1, start - line_start + 1);
        for command in ["check", "run"] {
            let mut ran = scene.run(&[command]).await.exits(78).says(&place);
            for text in *told {
                ran = ran.says(text);
            }
            assert!(ran.out.is_empty() && ran.err.ends_with('\n'), "{ran}");
        }
    }
    assert!(!scene.path("ledger.db").exists(), "nothing was begun");
    assert_eq!(scene.simulator.stats().tokens, 0);
    recovers(&scene).await;
}

/// Something about Entra ID or Business Central that a person has to set right: how it is brought about, how the run
/// ends, what is told, and the words that no other trouble is told with.
struct Trouble {
    from: &'static str,
    to: &'static str,
    switch: fn(&mut Settings),
    exit: i32,
    told: &'static str,
    fix: &'static str,
}

const AS_IT_IS: fn(&mut Settings) = |_| {};

const TROUBLES: &[Trouble] = &[
    Trouble {
        from: "{ env = \"BC_CLIENT_SECRET\" }",
        to: "{ env = \"WRONG\" }",
        switch: AS_IT_IS,
        exit: 77,
        told: "AADSTS7000215",
        fix: "Set the secret's value (not its id) of this very application",
    },
    Trouble {
        from: "11111111-2222",
        to: "99999999-2222",
        switch: AS_IT_IS,
        exit: 77,
        told: "AADSTS700016",
        fix: "Check `client_id` and `tenant`; an application of another tenant needs an administrator's consent",
    },
    Trouble {
        from: "contoso.on",
        to: "fabrikam.on",
        switch: AS_IT_IS,
        exit: 77,
        told: "AADSTS90002",
        fix: "No such tenant: check `tenant`",
    },
    Trouble {
        from: "\"production\"",
        to: "\"sandbox\"",
        switch: AS_IT_IS,
        exit: 77,
        told: "Environment 'sandbox' not found. There is nothing at this address",
        fix: "check `tenant`, `environment` and `base_url`",
    },
    Trouble {
        from: "base_url",
        to: "scope = \"https://other.example/.default\"\nbase_url",
        switch: AS_IT_IS,
        exit: 77,
        told: "AADSTS500011",
        fix: "check `tenant` and `scope`",
    },
    Trouble {
        from: "CRONUS USA",
        to: "CRONUS",
        switch: AS_IT_IS,
        exit: 78,
        told: "there is no company `CRONUS, Inc.` in environment production",
        fix: "the application sees only `CRONUS USA, Inc.`. Put `company` of the target right",
    },
    Trouble {
        from: "",
        to: "",
        switch: |settings| settings.app_enabled = false,
        exit: 77,
        told: "The server has rejected the client credentials. Business Central does not know the application",
        fix: "on its page `Microsoft Entra applications` add the client id and set State to Enabled",
    },
    Trouble {
        from: "",
        to: "",
        switch: |settings| settings.consent = false,
        exit: 77,
        told: "The server has rejected the client credentials. The token carries no application permission",
        fix: "add API.ReadWrite.All (Application) for Dynamics 365 Business Central to the app registration and grant \
              admin consent",
    },
    Trouble {
        from: "",
        to: "",
        switch: |settings| settings.denied = ["customers".to_owned()].into(),
        exit: 77,
        told: "looking up customers by number: Business Central answered: Sorry, the current permissions prevented the action",
        fix: "give it the permission sets for this page and table",
    },
    Trouble {
        from: "",
        to: "",
        switch: |settings| settings.read_only = ["customers".to_owned()].into(),
        exit: 77,
        told: "writing customers: Business Central answered: Sorry, the current permissions prevented the action",
        fix: "The application may not write this entity: give it the permission sets for its page and tables",
    },
    Trouble {
        from: "base_url = \"@BC@\"",
        to: "base_url = \"http://127.0.0.1:9\"",
        switch: AS_IT_IS,
        exit: 3,
        told: "reading the list of companies: could not connect to http://127.0.0.1:9",
        fix: "check host and port, and that the server runs",
    },
    Trouble {
        from: "login_url = \"@BC@\"",
        to: "login_url = \"http://127.0.0.1:9\"",
        switch: AS_IT_IS,
        exit: 3,
        told: "Could not get a token for application 11111111-2222-3333-4444-555555555555 in tenant contoso",
        fix: "check host and port, and that the server runs",
    },
];

/// Brings the trouble about, sees it told, and takes it away again.
async fn troubled(scene: &Scene, trouble: &Trouble) -> Ran {
    scene.configure(&changed(trouble.from, trouble.to));
    scene.simulator.configure(trouble.switch);
    let ran = scene.run(&["run"]).await.exits(trouble.exit).says(trouble.told).says(trouble.fix);
    scene.simulator.configure(|settings| *settings = Settings::default());
    ran
}

#[tokio::test]
async fn set_up_troubles_are_told_apart_with_their_fix() {
    for trouble in TROUBLES {
        let mut scene = scene().await;
        scene.set("WRONG", "mistaken");
        let ran = troubled(&scene, trouble).await;
        for other in TROUBLES.iter().filter(|other| other.told != trouble.told) {
            assert!(!ran.out.contains(other.told), "this is not `{}`: {ran}", other.told);
        }
        recovers(&scene).await;
    }
}

/// Who has to be called in the night is told by what the text says is to be done.
#[tokio::test]
async fn support_gets_the_ids_it_asks_for() {
    let mut scene = scene().await;
    scene.set("WRONG", "mistaken");
    for trouble in TROUBLES.iter().filter(|trouble| trouble.exit == 77) {
        troubled(&scene, trouble).await.says("For Microsoft's support:").says("correlation id ");
    }
}

#[tokio::test]
async fn what_was_read_before_a_refusal_is_kept() {
    let scene = scene().await;
    scene.simulator.configure(|settings| settings.denied = ["customers".to_owned()].into());
    scene.run(&["run"]).await.exits(77).says("read  2 = 2 staged");
    scene.run(&["history", "--pending"]).await.exits(0).says("pending");
    // Whatever becomes of the source meanwhile.
    fs::rename(scene.path("crm.db"), scene.path("gone.db")).unwrap();
    scene.simulator.configure(|settings| *settings = Settings::default());
    scene.run(&["run"]).await.exits(3).says("taken 2 = 2 created");
    fs::rename(scene.path("gone.db"), scene.path("crm.db")).unwrap();
    recovers(&scene).await;
}

#[tokio::test]
async fn an_answer_that_is_not_json_loses_nothing() {
    let of = |method: &str, set: &str| FaultMatch {
        method: Some(method.to_owned()),
        set: Some(set.to_owned()),
        ..FaultMatch::default()
    };
    for (matching, exit, told) in [
        (of("GET", "companies"), 3, "reading the list of companies: the answer cannot be understood"),
        (of("GET", "customers"), 3, "looking up customers by number: the answer cannot be understood"),
    ] {
        let scene = scene().await;
        scene.simulator.inject(Fault::once(FaultKind::MalformedJson, matching));
        scene.run(&["run"]).await.exits(exit).says(told).says("check that `base_url` is Business Central's");
        recovers(&scene).await;
    }
    // The rows are made, but the answer does not say so: found again, and not made twice.
    let scene = scene().await;
    scene.simulator.inject(Fault::once(FaultKind::MalformedJson, of("POST", "customers")));
    scene.run(&["run"]).await;
    assert_eq!(scene.simulator.count("customers"), Ok(2));
    recovers(&scene).await;
}

#[tokio::test]
async fn a_source_that_cannot_be_read_is_told_with_its_reason() {
    let scene = scene().await;
    fs::write(
        scene.path("notes.txt"),
        "not a database, but long enough to be looked into as if it were one\n".repeat(9),
    )
    .unwrap();
    let all = "SELECT * FROM account";
    for (changes, exit, told) in [
        (vec![("crm.db", "none.db")], 3, vec!["cannot be reached", "/none.db", "there is no such file"]),
        (vec![("/crm.db", "")], 78, vec!["it is a folder"]),
        (vec![("crm.db", "notes.txt")], 78, vec!["/notes.txt", "file is not a database"]),
        (vec![("FROM account", "FROM acount")], 78, vec!["refuses the query", "no such table: acount"]),
        (vec![("FROM account", "FORM account")], 78, vec!["refuses the query", "near \"account\": syntax error"]),
        (
            vec![("SELECT id, code, name, city, email, terms FROM account", all), ("key = \"id\"", "key = \"idd\"")],
            78,
            vec!["the query has no column `idd`, which `key` names; its columns are `id`, `code`"],
        ),
        (
            vec![
                ("SELECT id, code, name, city, email, terms FROM account", all),
                ("key = \"id\"", "key = \"id\"\ncursor = \"updated_at\""),
            ],
            78,
            vec!["the query has no column `updated_at`, which `cursor` names"],
        ),
        (
            vec![
                ("SELECT id, code, name, city, email, terms FROM account", all),
                ("city = \"city\"", "city = \"town\""),
            ],
            78,
            vec!["fields.city: the source has no column `town`"],
        ),
    ] {
        let config = changes.iter().fold(good(), |config, (from, to)| {
            assert!(config.contains(from), "{from}");
            config.replacen(from, to, 1)
        });
        scene.configure(&config);
        let mut ran = scene.run(&["run"]).await.exits(exit).says("job customers");
        for text in told {
            ran = ran.says(text);
        }
    }
    recovers(&scene).await;
}

/// What a server says is handed on, with the place in the configured query where it tells one.
#[tokio::test]
async fn a_database_server_that_refuses_is_told_with_its_reason() {
    for engine in [Engine::Postgres, Engine::MariaDb] {
        let Some(mut database) = Database::start(engine).await else { continue };
        database.execute(&ACCOUNTS.replace("INTEGER", "INT").replace("code TEXT", "code VARCHAR(20)")).await;
        let (kind, url) =
            if engine == Engine::Postgres { ("postgres", database.url()) } else { ("mysql", database.url()) };
        let source = format!("[sources.crm]\ntype = \"{kind}\"\nurl = {{ env = \"CRM\" }}\n");
        let good = [TARGET, &source, JOB].concat();
        let port = url.split(':').nth(3).and_then(|rest| rest.split('/').next()).unwrap();
        let mut scene = Scene::new(&good).await;

        for (wrong, exit, told) in [
            (url.replace(crate::databases::PASSWORD, "mistaken"), 78, "refuses the connection"),
            (url.replace(&format!(":{port}/"), ":9/"), 3, "cannot be reached"),
            (url.replace("/crm", "/nowhere_crm"), 78, "nowhere_crm"),
        ] {
            scene.set("CRM", &wrong);
            scene.run(&["run"]).await.exits(exit).says("job customers").says(told).never_says("mistaken");
        }
        scene.set("CRM", url);
        scene.configure(&good.replace("city, email", "town, email").replace("\"city\"", "\"town\""));
        let ran = scene.run(&["run"]).await.exits(78).says("refuses the query").says("town");
        if engine == Engine::Postgres {
            ran.says("(query line 1, column 24)");
        }
        scene.configure(&good);
        scene.run(&["run"]).await.exits(0);
        scene.nothing_is_left().await;
    }
}

/// A record that cannot be sent: how the CRM spoils it, how it is told, how the CRM mends it.
const SPOILT: &[(&str, &str, &str)] = &[
    ("id = NULL", "id: the key is null; a record needs one, by which it is found again", "id = 9"),
    ("id = 1", "id: more than one row of the query has this key", "id = 9"),
    ("code = ' k1 '", "record 1 of job customers already has the same value of `match_on`", "code = 'K9'"),
    ("code = NULL", "number: it is blank, but rows are matched on it", "code = 'K9'"),
    ("name = NULL", "displayName: it is blank, but a value is needed", "name = 'Nina'"),
    (
        "city = 'Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch'",
        "city: 58 characters, at most 30 fit; shorten it, e.g. `… | truncate(30)`",
        "city = 'Llanfair PG'",
    ),
    ("email = 'nina at nine'", "email: it is not an e-mail address", "email = 'nina@nine.example'"),
    ("kind = 'Firm'", "type: it is none of the allowed words; allowed are Company, Person", "kind = 'Person'"),
    ("credit = 'ten'", "creditLimit: it is text that is not a plain number such as -1234.50", "credit = '10'"),
    (
        "country = 'Atlantis'",
        "country: the value is not in the table [maps.country]; add it there",
        "country = 'Wales'",
    ),
];

const MORE_FIELDS: &str = r#"
type = "kind"
creditLimit = "credit"
country = "country | translate('country')"

[maps.country]
"Wales" = "GB"
"#;

const MORE_COLUMNS: &str = "
ALTER TABLE account ADD COLUMN kind TEXT DEFAULT 'Company';
ALTER TABLE account ADD COLUMN credit TEXT DEFAULT '0';
ALTER TABLE account ADD COLUMN country TEXT DEFAULT 'Wales';
INSERT INTO account (id, code, name, city, email) VALUES (9, 'K9', 'Nina', 'Cardiff', 'nina@nine.example');";

#[tokio::test]
async fn a_record_that_cannot_be_sent_is_kept_with_its_reason_and_holds_up_no_other() {
    for (spoil, reason, mend) in SPOILT {
        let config =
            [good().replace("email, terms", "email, terms, kind, credit, country").as_str(), MORE_FIELDS].concat();
        let scene = Scene::new(&config).await;
        scene.crm(ACCOUNTS).await;
        scene.crm(MORE_COLUMNS).await;
        scene.crm(&format!("UPDATE account SET {spoil} WHERE name = 'Nina'")).await;
        scene.run(&["run"]).await.exits(1).says("`bcsync history customers --failed` tells why");
        // Two rows with one key are one riddle: neither is sent.
        let arrived: &[&str] = if *spoil == "id = 1" { &["K2"] } else { &["K1", "K2"] };
        assert_eq!(scene.column("customers", "number"), arrived, "{spoil}");
        scene.run(&["history", "--failed"]).await.exits(0).says(reason);
        // Still there, not taken anew, and told again.
        scene.run(&["run"]).await.exits(1);

        scene.crm(&format!("UPDATE account SET {mend} WHERE email LIKE 'nina%'")).await;
        scene.run(&["run"]).await.exits(0);
        assert_eq!(scene.column("customers", "number"), ["K1", "K2", "K9"], "{spoil}");
        scene.nothing_is_left().await;
    }
}

#[tokio::test]
async fn all_that_is_wrong_with_a_record_is_told_at_once() {
    let config = [good().replace("email, terms", "email, terms, kind, credit, country").as_str(), MORE_FIELDS].concat();
    let scene = Scene::new(&config).await;
    scene.crm(ACCOUNTS).await;
    scene.crm(MORE_COLUMNS).await;
    scene.crm("UPDATE account SET name = '', email = '?', kind = '?', credit = '?', country = '?' WHERE id = 9").await;
    scene.run(&["run"]).await.exits(1);
    let ran = scene.run(&["history", "--failed", "--json"]).await.exits(0);
    let row: serde_json::Value = serde_json::from_str(ran.out.trim()).unwrap();
    assert_eq!(row["key"], "9");
    for property in ["displayName: ", "email: ", "type: ", "creditLimit: ", "country: "] {
        assert!(row["reason"].as_str().unwrap().contains(property), "{property}: {row}");
    }
}

#[tokio::test]
async fn a_record_that_failed_and_left_the_source_is_forgotten() {
    let scene = scene().await;
    scene.crm("INSERT INTO account (id, code, name) VALUES (3, 'K3', ''), (4, 'K4', '')").await;
    scene.run(&["run"]).await.exits(1).says("2 records need a person");
    scene.crm("DELETE FROM account WHERE id = 3").await;
    scene.run(&["run"]).await.exits(1).says("1 records need a person");
    // Everything is gone all of a sudden: that is no reason to forget.
    scene.crm("ALTER TABLE account RENAME TO all_accounts; CREATE TABLE account AS SELECT * FROM all_accounts WHERE false").await;
    scene.run(&["run"]).await.exits(3).says("1 records need a person");
    scene.crm("DROP TABLE account; ALTER TABLE all_accounts RENAME TO account; DELETE FROM account WHERE id = 4").await;
    scene.run(&["run"]).await.exits(0);
    scene.run(&["history", "--failed"]).await.exits(0).says("nothing to show");
    scene.nothing_is_left().await;
}

/// Of two records with one match value the first one waits for a code, and is deleted: the second one may have the value.
#[tokio::test]
async fn a_match_value_is_free_again_when_its_owner_left_the_source() {
    let scene = scene().await;
    scene.crm("UPDATE account SET code = 'K9', terms = iif(id = 1, '45 DAYS', '')").await;
    scene.run(&["run"]).await.exits(1).says("1 waiting");
    scene.run(&["history", "--failed"]).await.says("record 1 of job customers already has the same value");
    scene.crm("DELETE FROM account WHERE id = 1").await;
    scene.run(&["run"]).await;
    scene.run(&["run"]).await.exits(0);
    assert_eq!(
        (scene.column("customers", "number"), scene.column("customers", "displayName")),
        (vec!["K9".to_owned()], vec!["Bob".to_owned()])
    );
    scene.nothing_is_left().await;
}

/// A stamp is missing: a full read brings the record all the same, and says that other reads will not see it.
#[tokio::test]
async fn a_record_without_a_stamp_is_brought_by_full_reads() {
    let config = changed("key = \"id\"", "key = \"id\"\ncursor = \"updated_at\"");
    let scene = Scene::new(&config.replace("email, terms", "email, terms, updated_at")).await;
    scene.crm(ACCOUNTS).await;
    scene.crm("ALTER TABLE account ADD COLUMN updated_at TEXT; UPDATE account SET updated_at = '2026-01-01T00:00:00Z' WHERE id = 1").await;
    scene.run(&["run"]).await.exits(0).says("1 records have no cursor value; only full reads see them");
    assert_eq!(scene.column("customers", "number"), ["K1", "K2"]);
    scene.crm("UPDATE account SET name = 'Robert' WHERE id = 2").await;
    scene.run(&["run"]).await.exits(0).says("incremental");
    assert_eq!(scene.column("customers", "displayName"), ["Ann", "Bob"]);
    scene.run(&["run", "--full"]).await.exits(0).says("1 updated");
    assert_eq!(scene.column("customers", "displayName"), ["Ann", "Robert"]);
    scene.nothing_is_left().await;
}

/// What Business Central does not have yet is waited for, and the wait ends by itself.
#[tokio::test]
async fn a_code_that_business_central_does_not_have_is_waited_for() {
    let scene = scene().await;
    scene.crm("UPDATE account SET terms = '45 DAYS' WHERE id = 2").await;
    scene.run(&["run"]).await.exits(0).says("1 created + 1 waiting");
    scene.run(&["history", "--pending"]).await.exits(0).says("paymentTerms").says("45 DAYS");
    scene.simulator.load("paymentTerms", r#"[{"code": "45 DAYS", "displayName": "Net 45 days"}]"#).unwrap();
    scene.run(&["run"]).await.exits(0);
    assert_eq!(scene.column("customers", "number"), ["K1", "K2"]);
    scene.nothing_is_left().await;
}

#[tokio::test]
async fn a_ledger_that_cannot_be_used_is_named_and_left_as_it_is() {
    let scene = scene().await;
    fs::write(
        scene.path("notes.txt"),
        "not a database, but long enough to be looked into as if it were one\n".repeat(9),
    )
    .unwrap();
    let before = (fs::read(scene.path("crm.db")).unwrap(), fs::read(scene.path("notes.txt")).unwrap());
    for (name, told) in [
        ("", "it is a folder; `path` in [ledger] names a file"),
        ("/crm.db", "is not a bcsync ledger (a SQLite file with application id 0)"),
        ("/notes.txt", "is not a bcsync ledger (no SQLite file)"),
        ("/nowhere/ledger.db", "there is no folder "),
    ] {
        scene.configure(&changed("/ledger.db", name));
        for command in ["run", "status"] {
            if (command, name) != ("status", "/nowhere/ledger.db") {
                scene.run(&[command]).await.exits(78).says("ledger").says(told);
            }
        }
    }
    assert_eq!(before, (fs::read(scene.path("crm.db")).unwrap(), fs::read(scene.path("notes.txt")).unwrap()));
    assert!(!scene.path("crm.db.lock").exists() && !scene.path("notes.txt.lock").exists());
    assert_eq!(scene.simulator.stats().tokens, 0);
    recovers(&scene).await;
}

#[tokio::test]
async fn a_second_process_does_not_write_to_the_ledger() {
    let scene = scene().await;
    let lock = fs::File::create(scene.path("ledger.db.lock")).unwrap();
    lock.lock().unwrap();
    scene.run(&["run"]).await.exits(75).says("another bcsync process works with the ledger").says("ledger.db");
    drop(lock);
    recovers(&scene).await;
}

#[tokio::test]
async fn a_ledger_never_serves_another_company() {
    let scene = scene().await;
    scene.run(&["run"]).await.exits(0);
    scene.simulator.reset_stats();
    // The same ledger beside a copied environment.
    let copy = bcsync::simulator::Options { environment: "sandbox".to_owned(), ..Default::default() };
    let copy = bcsync::simulator::Simulator::start(copy).await.unwrap();
    let config = changed("\"production\"", "\"sandbox\"").replace("@BC@", &copy.base_url());
    scene.configure(&config);
    scene.run(&["run"]).await.exits(78).says("is bound to company").says("nothing is written");
    assert_eq!(copy.count("customers"), Ok(0));
    recovers(&scene).await;
}

#[tokio::test]
async fn a_job_never_changes_what_it_writes() {
    let scene = scene().await;
    scene.run(&["run"]).await.exits(0);
    scene.configure(&good().replace("targets.main", "targets.other"));
    let ran = scene.run(&["run"]).await.exits(78);
    ran.says("job `customers` of this ledger wrote customers of target `main` up to now").says("nothing is written");
    recovers(&scene).await;
}

#[tokio::test]
async fn names_on_the_command_line_are_checked_against_the_configuration() {
    let scene = scene().await;
    scene.run(&["run", "customer"]).await.exits(2).says("there is no job `customer`; did you mean `customers`?");
    scene.run(&["run", "stock"]).await.exits(2).says("there is no job `stock`; the configuration has `customers`");
    scene.configure(&changed("[jobs.customers]", "[jobs.customers]\nenabled = false"));
    scene.run(&["run", "customers"]).await.exits(2).says("job `customers` is switched off");
    recovers(&scene).await;
}

#[tokio::test]
async fn without_a_configuration_it_is_told_where_one_was_looked_for() {
    let mut scene = scene().await;
    fs::remove_file(scene.path("config.toml")).unwrap();
    scene.run(&["run"]).await.exits(78).says("there is no configuration").says("./config.toml").says("--config");
    scene.run(&["--config", "mine.toml", "run"]).await.exits(78).says("cannot be read").says("mine.toml");
    scene.set("BCSYNC_CONFIG", "ours.toml");
    scene.run(&["run"]).await.exits(78).says("cannot be read").says("ours.toml");
    scene.set("BCSYNC_CONFIG", "config.toml");
    recovers(&scene).await;
}

/// Who may look at the ledger need not have the secrets.
#[tokio::test]
async fn looking_needs_no_secret() {
    let mut scene = scene().await;
    scene.run(&["run"]).await.exits(0);
    scene.set("BC_CLIENT_SECRET", "");
    for arguments in [&["status"][..], &["history"], &["history", "--failed"], &["links", "export"]] {
        scene.run(arguments).await.exits(0);
    }
    scene.run(&["run"]).await.exits(78).says("the environment variable `BC_CLIENT_SECRET` is empty");
    // In a person's shell there are no credentials of the service.
    scene.configure(&changed("{ env = \"BC_CLIENT_SECRET\" }", "{ credential = \"bc\" }"));
    scene.run(&["check"]).await.exits(0).says("warning: the credential `bc` cannot be found");
    scene
        .run(&["run"])
        .await
        .exits(78)
        .says("target main: the credential `bc` cannot be found")
        .says("LoadCredential=bc:");
}

/// Whoever counts on being told must not find out otherwise on the day it matters.
#[tokio::test]
async fn sections_without_effect_are_warned_of() {
    let scene = scene().await;
    scene.run(&["check"]).await.exits(0).says("in order");
    scene.configure(&changed("[ledger]", "[monitor]\nlisten = \"127.0.0.1:9187\"\n[ledger]"));
    scene.run(&["check"]).await.exits(0).says("warning: [monitor] has no effect in this version");
}
