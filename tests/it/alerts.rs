//! What people are told, by passes that a command makes: each change once, and nothing of what records hold.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use bcsync::simulator::{Deed, Fault, FaultKind};
use serde_json::Value;

use crate::bed::{TestBed, bed, writes};
use crate::listener::Listener;

/// Adds `[alerts]` with a command that keeps what it gets in the file `told`, and with more keys.
pub(crate) fn alerts(bed: &mut TestBed, more: &str) {
    let script = bed.folder().join("tell.sh");
    std::fs::write(&script, format!("cat >> {}", bed.folder().join("told").display())).unwrap();
    let command = format!("command = [\"/bin/sh\", \"{}\"]", script.display());
    bed.configure("[ledger]", &format!("[alerts]\n{command}\n{more}\n\n[ledger]"));
}

/// The alerts that the command got so far.
pub(crate) fn told(bed: &TestBed) -> Vec<Value> {
    let text = std::fs::read_to_string(bed.folder().join("told")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Each of the alerts as event, condition and what it is about.
pub(crate) fn in_short(alerts: &[Value]) -> Vec<String> {
    let word = |alert: &Value, name: &str| alert[name].as_str().unwrap_or_default().to_owned();
    let short = |alert: &Value| {
        let about = word(alert, "job") + &word(alert, "target");
        format!("{} {} {about}", word(alert, "event"), word(alert, "condition"))
    };
    alerts.iter().map(short).collect()
}

#[tokio::test]
async fn a_job_that_fails_is_told_of_once_and_so_is_its_recovery() {
    bed(async |bed| {
        alerts(bed, "");
        bed.configure("SELECT * FROM account", "SELECT *, 'canary-query' AS note FROM account");
        bed.accounts(1..=2).await;
        bed.run().await.exits(0);
        assert_eq!(told(bed), [Value::Null; 0]);

        bed.crm("ALTER TABLE account RENAME TO elsewhere").await;
        bed.run().await.exits(78);
        assert_eq!(in_short(&told(bed)), ["failing failing customers"]);
        let alert = told(bed)[0].clone();
        let message = alert["message"].as_str().unwrap();
        assert!(message.starts_with("job customers is failing, its last pass (refused: "), "{message}");
        assert!(alert["text"].as_str().unwrap().ends_with(message), "{alert}");
        assert!(alert["since"].as_str() <= alert["at"].as_str(), "{alert}");
        bed.run().await.exits(78);
        bed.run().await.exits(78);
        assert_eq!(told(bed).len(), 1);
        assert_eq!(bed.ledger_value("SELECT job || ' ' || passes FROM failing").await, "customers 3");

        bed.crm("ALTER TABLE elsewhere RENAME TO account").await;
        bed.run().await.exits(0);
        bed.run().await.exits(0);
        assert_eq!(in_short(&told(bed)), ["failing failing customers", "recovered failing customers"]);
        let recovered = told(bed)[1].clone();
        assert_eq!(recovered["since"], alert["since"]);
        assert!(!told(bed).iter().any(|alert| alert.to_string().contains("canary")));
    })
    .await;
}

/// A job of which the ledger has nothing yet fails like any other.
#[tokio::test]
async fn a_secret_that_never_worked_is_told_of() {
    bed(async |bed| {
        alerts(bed, "");
        bed.accounts([1]).await;
        let wrong = format!("file = \"{}\"", secret_file(bed, "wrong", "canary"));
        let right = "env = \"BCSYNC_TEST_SECRET\"";
        bed.configure(right, &wrong);
        bed.run().await.exits(77);
        bed.run().await.exits(77);
        assert_eq!(in_short(&told(bed)), ["failing failing customers", "failing failing orders"]);
        assert!(told(bed)[0]["message"].as_str().unwrap().contains("denied: credentials"), "{:?}", told(bed));
        assert!(!told(bed).iter().any(|alert| alert.to_string().contains("canary")));
        bed.configure(&wrong, right);
        bed.run().await.exits(0);
        assert_eq!(told(bed).len(), 4);
    })
    .await;
}

#[tokio::test]
async fn what_the_brake_holds_is_told_of_until_it_goes() {
    bed(async |bed| {
        alerts(bed, "");
        bed.configure(
            "[jobs.customers.fields]",
            "[jobs.customers.brake]\ncreates = { max = 2 }\n\n[jobs.customers.fields]",
        );
        bed.accounts(1..=3).await;
        bed.run().await.exits(4);
        bed.run().await.exits(4);
        assert_eq!(in_short(&told(bed)), ["held held customers"]);
        let message = told(bed)[0]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("3 creates") && message.contains("`bcsync approve customers --plan "), "{message}");
        bed.output(&["approve", "customers"]).await;
        bed.run().await.exits(0);
        assert_eq!(in_short(&told(bed)), ["held held customers", "recovered held customers"]);
    })
    .await;
}

#[tokio::test]
async fn a_row_that_is_gone_without_an_explanation_is_told_of() {
    bed(async |bed| {
        alerts(bed, "");
        bed.accounts(1..=2).await;
        bed.orders(1..=2, 1).await;
        bed.run().await.exits(0);
        for lost in [1, 2] {
            bed.person("salesOrders", &bed.order(lost), Deed::Delete);
            bed.crm(&format!("UPDATE order_line SET text = 'canary' WHERE order_id = {lost}")).await;
            bed.run().await.exits(0);
            bed.run().await.exits(0);
            assert_eq!(
                in_short(&told(bed)),
                vec!["closed_unexplained closed_unexplained orders"; usize::try_from(lost).unwrap()]
            );
        }
        assert!(told(bed)[1]["message"].as_str().unwrap().starts_with("job orders has lost 2 rows"));
        bed.configure("on_conflict = \"hold\"", "on_conflict = \"hold\"\non_missing = \"recreate\"");
        bed.run().await.exits(0);
        assert_eq!(in_short(&told(bed))[2..], ["recovered closed_unexplained orders"]);
        assert!(!told(bed).iter().any(|alert| alert.to_string().contains("canary")));
    })
    .await;
}

#[tokio::test]
async fn records_that_are_pending_for_days_are_told_of() {
    bed(async |bed| {
        alerts(bed, "");
        bed.accounts(1..=2).await;
        let kind = FaultKind::Drop { committed: false, after_operations: 0 };
        bed.simulator.inject(Fault { times: None, every: Some(1), ..Fault::once(kind, writes("POST", "customers")) });
        bed.run().await;
        let before = told(bed).len();
        bed.write_ledger("UPDATE outbox SET staged_at = '2020-01-01T00:00:00.000Z' WHERE state = 'pending'").await;
        bed.run().await;
        bed.run().await;
        assert_eq!(in_short(&told(bed)[before..]), ["backlog backlog customers"]);
        assert!(told(bed)[before]["message"].as_str().unwrap().contains("2 pending records"), "{:?}", told(bed));
        bed.simulator.clear_faults();
        bed.let_time_pass(1300);
        bed.run().await.exits(0);
        assert!(in_short(&told(bed)).contains(&"recovered backlog customers".to_owned()), "{:?}", told(bed));
    })
    .await;
}

#[tokio::test]
async fn a_secret_that_expires_soon_is_told_of_and_shown() {
    bed(async |bed| {
        alerts(bed, "");
        bed.configure("login_url", "secret_expires = 2020-02-01\nlogin_url");
        bed.run().await.exits(0);
        bed.run().await.exits(0);
        assert_eq!(in_short(&told(bed)), ["secret_expires secret_expires main"]);
        let status = bed.bcsync(&["status"]).await;
        let said = String::from_utf8(status.stderr).unwrap();
        assert!(said.contains("the secret of target main expired on 2020-02-01; make a new one"), "{said}");
        bed.configure("2020-02-01", "2999-02-01");
        bed.run().await.exits(0);
        assert_eq!(in_short(&told(bed))[1..], ["recovered secret_expires main"]);
        // A job that is taken out is of no concern any more.
        bed.configure("2999-02-01", "2020-02-01");
        bed.run().await.exits(0);
        bed.configure("secret_expires = 2020-02-01\n", "");
        bed.run().await.exits(0);
        assert_eq!(told(bed).len(), 3);
    })
    .await;
}

/// What the command has told is not told by it again, however long the webhook is away.
#[tokio::test]
async fn a_webhook_that_is_away_gets_its_alert_with_a_later_pass() {
    bed(async |bed| {
        let listener = Listener::start();
        let hook = secret_file(bed, "hook", &listener.url("/canary/hook?sig=canary"));
        let beat = secret_file(bed, "beat", &listener.url("/canary/beat"));
        alerts(bed, &format!("webhook = {{ file = \"{hook}\" }}\nheartbeat = {{ file = \"{beat}\" }}"));
        bed.configure("[jobs.orders]\n", "[jobs.orders]\nenabled = false\n");
        let told_by = |listener: &Listener| listener.calls("/canary/hook?sig=canary");
        let beats = |listener: &Listener| listener.calls("/canary/beat").len();
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        assert_eq!((beats(&listener), told_by(&listener).len()), (1, 0));

        listener.answer(503);
        bed.crm("ALTER TABLE account RENAME TO elsewhere").await;
        for attempts in 1..=2 {
            let output = bed.bcsync(&["run", "-vvv"]).await;
            let log = String::from_utf8(output.stderr).unwrap();
            assert!(log.contains("is tried again after the next pass: http://127.0.0.1:"), "{log}");
            assert!(log.contains("answered with status 503"), "{log}");
            assert!(!log.contains("canary"), "{log}");
            assert_eq!(told_by(&listener).len(), attempts);
        }
        listener.answer(302);
        bed.run().await.exits(78);
        listener.answer(204);
        bed.run().await.exits(78);
        bed.run().await.exits(78);
        assert_eq!(in_short(&told(bed)), ["failing failing customers"]);
        let calls = told_by(&listener);
        assert_eq!(calls.len(), 4);
        assert_eq!(
            (calls[3].what.split(' ').next(), calls[3].content_type.as_str()),
            (Some("POST"), "application/json")
        );
        let alert: Value = serde_json::from_str(&calls[3].body).unwrap();
        assert!(alert["message"].as_str().unwrap().contains("its last 4 passes"), "{alert}");
        // Nothing worked.
        assert_eq!(beats(&listener), 1);

        bed.crm("ALTER TABLE elsewhere RENAME TO account").await;
        bed.run().await.exits(0);
        assert_eq!((beats(&listener), told_by(&listener).len(), told(bed).len()), (2, 5, 2));
        assert_eq!(listener.calls("/canary/beat")[1].what, "GET /canary/beat");
        let ledger = std::fs::read(bed.folder().join("ledger.db")).unwrap();
        assert!(!ledger.windows(6).any(|window| window == b"canary"));
        bed.configure("enabled = false\n", "");
    })
    .await;
}

/// Nobody can be told, which is no reason to do nothing.
#[tokio::test]
async fn a_command_that_fails_disturbs_no_pass() {
    bed(async |bed| {
        alerts(bed, "");
        std::fs::write(bed.folder().join("tell.sh"), "env > $(dirname $0)/environment; exit 9").unwrap();
        bed.configure("login_url", "secret_expires = 2020-02-01\nlogin_url");
        bed.accounts([1]).await;
        for _ in 0..2 {
            let output = bed.bcsync(&["run"]).await;
            assert_eq!(output.status.code(), Some(0));
            let log = String::from_utf8(output.stderr).unwrap();
            assert!(log.contains("is tried again after the next pass: the command ended with exit status: 9"), "{log}");
        }
        // The bed looks for the client secret in there.
        assert!(bed.folder().join("environment").exists());
        assert_eq!(bed.ledger("SELECT * FROM told_alert").await, [""; 0]);
    })
    .await;
}

/// Writes a secret into a file of the bed that nobody else can read, and gives its path.
pub(crate) fn secret_file(bed: &TestBed, name: &str, secret: &str) -> String {
    let path = bed.folder().join(name);
    std::fs::write(&path, secret).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}
