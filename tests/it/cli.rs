//! The command line as people meet it: help, mistakes, a look before the first run, the simulator, the demo.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::scene::{Ran, Scene, TARGET};

const COMMANDS: [&str; 10] =
    ["run", "check", "status", "history", "retry", "links", "simulate", "demo", "completions", "man"];

const JOB: &str = r#"
[sources.crm]
type = "sqlite"
path = "@FOLDER@/crm.db"

[jobs.customers]
source = "crm"
entity = "customers"
query = "SELECT id, name FROM account"
key = "id"
match_on = "number"
on_conflict = "source_wins"

[jobs.customers.fields]
number = "'K' ~ id"
displayName = "name"
"#;

async fn scene() -> Scene {
    let scene = Scene::new(&[TARGET, JOB].concat()).await;
    scene.crm("CREATE TABLE account (id INTEGER, name TEXT); INSERT INTO account VALUES (1, 'Ann'), (2, '')").await;
    scene
}

/// The lines of JSON that a command gave.
fn json(ran: &Ran) -> Vec<Value> {
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {ran}"))).collect()
}

#[tokio::test]
async fn every_command_has_help_and_there_is_a_version() {
    let scene = scene().await;
    let ran = scene.run(&["--help"]).await.exits(0).says("Usage: bcsync [OPTIONS] <COMMAND>").says("Exit codes:");
    for command in COMMANDS {
        assert!(ran.out.contains(&format!("\n  {command} ")), "{command}: {ran}");
        // The help of `simulate` names its well-known secret.
        let help = scene.run_to_end(&[command, "--help"]).await.exits(0).says(&format!("Usage: bcsync {command}"));
        assert!(help.err.is_empty(), "{help}");
        help.says("Options of every command:").says("--config <FILE>");
    }
    for command in [&["links", "export", "--help"][..], &["links", "import", "--help"], &["help", "run"]] {
        scene.run(command).await.exits(0).says("Usage: bcsync ");
    }
    let version = scene.run(&["--version"]).await.exits(0);
    assert_eq!(version.out, concat!("bcsync ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[tokio::test]
async fn wrong_usage_is_told_on_stderr_with_exit_code_2() {
    let scene = scene().await;
    for (arguments, told) in [
        (&[][..], "Usage: bcsync [OPTIONS] <COMMAND>"),
        (&["frobnicate"], "unrecognized subcommand 'frobnicate'"),
        (&["run", "--fulll"], "a similar argument exists: '--full'"),
        (&["history", "--fields", "--failed"], "cannot be used with '--failed'"),
        (&["history", "--limit", "many"], "invalid value 'many' for '--limit <ROWS>'"),
        (&["run", "--quiet", "--verbose"], "cannot be used with '--verbose...'"),
        (&["links"], "Usage: bcsync links"),
        (&["links", "import"], "<JOB>"),
        (&["simulate", "--listen", "everywhere"], "invalid value 'everywhere' for '--listen <ADDRESS>'"),
        (&["simulate", "--listen", "0.0.0.0:0"], "the simulator listens on loopback addresses only, not on 0.0.0.0"),
        (&["simulate", "--secret-env", "NOT_THERE"], "NOT_THERE"),
    ] {
        let ran = scene.run(arguments).await.exits(2).says(told);
        assert!(ran.out.is_empty(), "{ran}");
    }
}

#[tokio::test]
async fn check_tells_people_and_programs() {
    let scene = scene().await;
    let ran = scene.run(&["check"]).await.exits(0).says("config.toml: in order; 1 of 1 jobs enabled");
    assert!(ran.err.is_empty(), "{ran}");
    let ran = scene.run(&["check", "--json"]).await.exits(0);
    assert_eq!(json(&ran), [serde_json::json!({ "ok": true, "file": "config.toml", "problems": [] })]);

    // A secret that is missing hides nothing else.
    let wrong = [TARGET, JOB].concat().replace("BC_CLIENT_SECRET", "NOT_THERE").replace("= \"id\"", "= \"idd\"");
    let wrong = wrong.replace("\"name\"", "\"nmae\"");
    scene.configure(&wrong);
    let ran = scene.run(&["check", "--json"]).await.exits(78);
    let report = &json(&ran)[0];
    assert_eq!(report["ok"], false);
    let problems = report["problems"].as_array().unwrap();
    let keys: Vec<_> = problems.iter().map(|problem| problem["key"].as_str().unwrap()).collect();
    assert_eq!(
        keys,
        ["targets.main.client_secret", "jobs.customers.key", "jobs.customers.fields.displayName"],
        "all of them, in the order of the file"
    );
    let line = 1 + wrong[..wrong.find("key =").unwrap()].matches('\n').count();
    assert_eq!((&problems[1]["line"], &problems[1]["column"]), (&line.into(), &"key = \"".len().into()));
    assert_eq!((&problems[1]["hint"], &problems[1]["severity"]), (&"did you mean `id`?".into(), &"error".into()));
    assert_eq!(problems[2]["allowed"], "the query gives id, name");
}

#[tokio::test]
async fn before_the_first_run_there_is_nothing_to_show_and_nothing_wrong() {
    let scene = scene().await;
    for arguments in [&["status"][..], &["history"], &["history", "--failed"], &["history", "--pending"]] {
        let ran =
            scene.run(arguments).await.exits(0).says("there is no ledger").says("the first `bcsync run` makes it");
        assert_eq!(ran.out, "nothing to show\n");
        let ran = scene.run(&[arguments, &["--json"]].concat()).await.exits(0);
        assert!(ran.out.is_empty(), "{ran}");
    }
    assert!(!scene.path("ledger.db").exists(), "looking makes no ledger");
}

#[tokio::test]
async fn what_was_done_is_shown_to_people_and_programs() {
    let scene = scene().await;
    let ran = scene.run(&["run", "--json"]).await.exits(1);
    let report = &json(&ran)[0];
    assert_eq!(
        (&report["job"], &report["result"], &report["failed"]),
        (&"customers".into(), &"attention".into(), &1.into())
    );
    assert_eq!(report["counters"]["created"], 1);

    let ran = scene.run(&["status", "--json"]).await.exits(0);
    let status = &json(&ran)[0];
    assert_eq!((&status["linked"], &status["quarantined"]), (&1.into(), &1.into()), "counts are numbers");
    scene.run(&["status"]).await.exits(0).says("LINKED").says("attention");
    scene.run(&["status", "nobody"]).await.exits(0).says("nothing to show");

    scene.run(&["history"]).await.exits(0).says("STARTED_AT").says("CREATED");
    let failed = scene.run(&["history", "--failed"]).await.exits(0).says("displayName: it is blank");
    assert!(failed.out.lines().all(|line| line == line.trim_end() && line.len() < 160), "it fits a screen: {failed}");
    let ran = scene.run(&["history", "--failed", "--json"]).await.exits(0);
    assert_eq!(json(&ran)[0]["record"], r#"{"id":2,"name":""}"#);

    let ran = scene.run(&["links", "export"]).await.exits(0);
    assert!(ran.out.starts_with("job,key,number,id\ncustomers,1,K1,"), "{ran}");
}

/// As in `bcsync history | head`.
#[tokio::test]
async fn a_reader_who_has_seen_enough_is_no_failure() {
    let scene = scene().await;
    scene.run(&["run"]).await.exits(1);
    for arguments in [&["history"][..], &["status", "--json"], &["check"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = scene.command(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A simulator in a process of its own, which has said what belongs into a configuration.
struct Simulating {
    child: Child,
    told: String,
}

impl Simulating {
    fn start(scene: &Scene, arguments: &[&str]) -> Self {
        let mut command = scene.command(&[&["simulate"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut told = String::new();
        while !told.contains("Ctrl-C ends it") {
            assert_ne!(out.read_line(&mut told).unwrap(), 0, "it ended: {told}");
        }
        Self { child, told }
    }

    fn stop(mut self, signal: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

#[tokio::test]
async fn what_simulate_tells_is_a_target_and_a_signal_ends_it_well() {
    for signal in ["-INT", "-TERM"] {
        let scene = scene().await;
        let rows = scene.path("rows.jsonl");
        let simulating = Simulating::start(&scene, &["--listen", "127.0.0.1:0", "--data", rows.to_str().unwrap()]);
        scene.configure(&[&simulating.told, JOB, "[ledger]\npath = \"@FOLDER@/ledger.db\"\n"].concat());
        scene.run(&["check"]).await.exits(0);
        scene.run(&["run"]).await.exits(1).says("1 created");
        assert_eq!(simulating.stop(signal), Some(0), "{signal}");
        assert!(fs::read_to_string(&rows).unwrap().contains("\"K1\""), "the rows are kept");

        // The rows are there again: another ledger adopts them.
        let simulating = Simulating::start(&scene, &["--listen", "127.0.0.1:0", "--data", rows.to_str().unwrap()]);
        scene.configure(&[&simulating.told, JOB, "[ledger]\npath = \"@FOLDER@/second.db\"\n"].concat());
        scene.run(&["run"]).await.exits(1).says("1 adopted");
        simulating.stop(signal);
    }
}

#[tokio::test]
async fn simulate_says_when_its_address_is_taken() {
    let scene = scene().await;
    let taken = scene.simulator.base_url().replace("http://", "");
    let ran = scene.run(&["simulate", "--listen", &taken]).await.exits(3).says("something listens on");
    assert!(ran.out.is_empty(), "{ran}");
}

/// What follows `bcsync ` in the last line that has it.
fn printed_command<'a>(ran: &'a Ran, command: &str) -> Vec<&'a str> {
    let line = ran.out.lines().rfind(|line| line.contains(command)).unwrap_or_else(|| panic!("{command}: {ran}"));
    line.split_once("bcsync ").unwrap().1.split_whitespace().collect()
}

#[tokio::test]
async fn the_demo_ends_by_itself_and_what_it_says_at_the_end_works() {
    let mut scene = scene().await;
    let folder = scene.folder().to_owned();
    scene.set("TMPDIR", folder.to_str().unwrap());
    // It needs nothing: no configuration, no secret, no certificate that is trusted.
    fs::remove_file(scene.path("config.toml")).unwrap();
    for (name, value) in [("BC_CLIENT_SECRET", ""), ("SSL_CERT_FILE", "/nowhere"), ("SSL_CERT_DIR", "/nowhere")] {
        scene.set(name, value);
    }
    let ran = scene.run_to_end(&["demo"]).await.exits(0);
    let ran = ran.says("First pass: everything").says("Second pass: exactly those").says("Third pass: nothing");
    let writes = ran.out.lines().find(|line| line.contains("writes: ")).unwrap();
    assert!(writes.ends_with(" + 0."), "the third pass writes nothing: {ran}");

    // In another terminal, as it says.
    scene.set("BC_CLIENT_SECRET", "simulator-secret");
    let simulate = printed_command(&ran, "bcsync simulate");
    let simulating = Simulating::start(&scene, &simulate[1..]);
    let run = printed_command(&ran, "bcsync --config");
    let again = scene.run(&run).await.exits(1);
    again.says("301 = 299 unchanged + 2 queued").says("401 = 396 unchanged + 5 queued").never_says("created");
    assert_eq!(simulating.stop("-INT"), Some(0));

    let [config, path] = [run[0], run[1]];
    scene.set("BC_CLIENT_SECRET", "");
    scene.run(&[config, path, "history", "--failed"]).await.exits(0).says("email: ");
    scene.run(&[config, path, "status"]).await.exits(0).says("salesOrders");
}

#[tokio::test]
async fn the_demo_leaves_a_folder_alone_that_is_not_empty() {
    let scene = scene().await;
    let folder = scene.path("mine");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("config.toml"), "mine").unwrap();
    scene.run(&["demo", "--dir", "mine"]).await.exits(2).says("mine is not empty; give `--dir` a new folder");
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["config.toml"]);
    assert_eq!(fs::read_to_string(folder.join("config.toml")).unwrap(), "mine");
    scene.run_to_end(&["demo", "--dir", "new/one"]).await.exits(0);
    assert!(scene.path("new/one/ledger.db").is_file());
}
