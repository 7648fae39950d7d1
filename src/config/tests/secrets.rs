//! Secrets: where they are taken from, which files are refused, and that none is ever shown.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use secrecy::ExposeSecret;

use super::{SMALL, Surroundings, changed, load_text, report_on};
use crate::config::{Environment, Purpose, SecretError, SecretRef, Severity, SourceText, check, load, load_to_look};

fn file_with(directory: &Path, name: &str, text: &str, mode: u32) -> SecretRef {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    SecretRef::File(path)
}

#[test]
fn a_secret_is_the_text_without_its_last_newline() {
    let directory = tempfile::tempdir().unwrap();
    let none = Surroundings::with(&[]);
    for (text, expected) in
        [("s3cret", "s3cret"), ("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), ("a\nb\n\n", "a\nb\n"), (" s ", " s ")]
    {
        let secret = file_with(directory.path(), "secret", text, 0o600).resolve(&none).unwrap();
        assert_eq!(secret.expose_secret(), expected, "{text:?}");
    }
    let surroundings =
        Surroundings::with(&[("A", "from variable"), ("CREDENTIALS_DIRECTORY", directory.path().to_str().unwrap())]);
    let from = |secret: SecretRef| secret.resolve(&surroundings).unwrap().expose_secret().to_owned();
    assert_eq!(from(SecretRef::Variable("A".to_owned())), "from variable");
    assert_eq!(from(SecretRef::Credential("secret".to_owned())), " s ");
}

#[test]
fn a_file_that_others_can_reach_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let none = Surroundings::with(&[]);
    for (mode, part) in [
        (0o600, None),
        (0o400, None),
        (0o640, None),
        (0o644, Some("open to everyone (mode 0644)")),
        (0o604, Some("open to everyone")),
        (0o602, Some("open to everyone")),
        (0o660, Some("written by its group (mode 0660)")),
        (0o620, Some("written by its group")),
    ] {
        let error = file_with(directory.path(), "secret", "x", mode).resolve(&none).err();
        let message = error.map(|error| error.to_string());
        match part {
            None => assert_eq!(message, None, "{mode:o}"),
            Some(part) => {
                assert!(message.as_ref().is_some_and(|message| message.contains(part)), "{mode:o} {message:?}");
            }
        }
    }
}

/// The process is in no group but this one.
struct InGroup(u32);

impl Environment for InGroup {
    fn variable(&self, _: &str) -> Option<std::ffi::OsString> {
        None
    }

    fn groups(&self) -> Vec<u32> {
        vec![self.0]
    }
}

#[test]
fn a_file_of_a_foreign_group_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let secret = file_with(directory.path(), "secret", "x", 0o640);
    let own = fs::metadata(directory.path().join("secret")).unwrap().gid();
    assert!(secret.resolve(&InGroup(own)).is_ok());
    match (own, secret.resolve(&InGroup(own + 1))) {
        // Root's group is never foreign; the next assertion gives the file to another one.
        (0, answer) => assert!(answer.is_ok()),
        (_, answer) => assert!(matches!(answer, Err(SecretError::ForeignGroup { group, .. }) if group == own)),
    }
    // Only root may give a file to a group it is not in; nobody else meets this case while running the tests.
    if std::os::unix::fs::chown(directory.path().join("secret"), None, Some(own + 4_711)).is_ok() {
        let answer = secret.resolve(&InGroup(own));
        assert!(matches!(answer, Err(SecretError::ForeignGroup { group, .. }) if group == own + 4_711), "{answer:?}");
        assert!(secret.resolve(&InGroup(own + 4_711)).is_ok());
    }
}

#[test]
fn what_is_not_there_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let none = Surroundings::with(&[("EMPTY", "")]);
    let empty = file_with(path, "empty", "\n", 0o600);
    let binary = path.join("binary");
    fs::write(&binary, [0xff, 0xfe]).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o600)).unwrap();
    for (secret, expected) in [
        (SecretRef::Variable("NOPE".to_owned()), "the environment variable `NOPE` is not set".to_owned()),
        (SecretRef::Variable("EMPTY".to_owned()), "the secret in the environment variable `EMPTY` is empty".to_owned()),
        (
            SecretRef::Credential("x".to_owned()),
            "the credential `x` cannot be found: $CREDENTIALS_DIRECTORY is not set".to_owned(),
        ),
        (SecretRef::File(path.join("nope")), format!("the secret file {} does not exist", path.join("nope").display())),
        (SecretRef::File(path.to_owned()), format!("the secret file {} is not a regular file", path.display())),
        (empty, format!("the secret in {} is empty", path.join("empty").display())),
        (SecretRef::File(binary.clone()), format!("the secret in {} is not UTF-8 text", binary.display())),
    ] {
        assert_eq!(secret.resolve(&none).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_secret_of_an_enabled_job_is_looked_for_when_loading() {
    let directory = tempfile::tempdir().unwrap();
    file_with(directory.path(), "secret", "x", 0o644);
    let text = changed("{ env = 'SECRET' }", &format!("{{ file = '{}/secret' }}", directory.path().display()));
    let report = report_on(&text);
    let problem = &report.problems()[0];
    assert!(problem.message.contains("is open to everyone"), "{report}");
    assert!(problem.hint.as_ref().unwrap().starts_with("chmod o= "), "{report}");
    assert_eq!((problem.path.as_str(), report.position(problem).unwrap().line), ("targets.main.client_secret", 7));
}

#[test]
fn who_only_looks_needs_no_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    fs::write(&path, SMALL).unwrap();
    let nothing = Surroundings::with(&[]);
    assert!(load(&path, &nothing).unwrap_err().to_string().contains("`SECRET` is not set"));
    assert_eq!(load_to_look(&path, &nothing).unwrap().report.problems(), []);
}

#[test]
fn credentials_are_only_warned_of_where_there_cannot_be_any() {
    let text = changed("{ env = 'SECRET' }", "{ credential = 'x' }");
    let report = load_text(&text).unwrap().report;
    let problem = &report.problems()[0];
    assert_eq!((problem.severity, problem.path.as_str()), (Severity::Warning, "targets.main.client_secret"));
    assert!(problem.hint.as_ref().unwrap().contains("LoadCredential=x:"), "{report}");

    let directory = tempfile::tempdir().unwrap();
    let within = Surroundings::with(&[("CREDENTIALS_DIRECTORY", directory.path().to_str().unwrap())]);
    let report = check(SourceText::new("config.toml", text), &within, Purpose::Work).unwrap_err();
    assert!(report.problems()[0].message.contains("does not exist"), "{report}");
}

/// Every way to write a secret where none belongs. `hunter2` is the secret.
const WRITTEN: [&str; 17] = [
    "client_secret = \"hunter2\"",
    "client_secret = 'hunter2' # note",
    "client_secret = [\"hunter2\"]",
    "client_secret = { value = \"hunter2\" }",
    "client_secret = { env = \"hunter2!\" }",
    "client_secret = { credential = \"a/hunter2\" }",
    "client_secret = { env = [\"hunter2\"] }",
    "client_secret = \"\"\"\nhunter2\"\"\"",
    "client_secrt = \"hunter2\"",
    "password = \"hunter2\"",
    "auth = { kind = 'x', password = \"hunter2\" }",
    "certificate = \"hunter2\"",
    "certificate = { file = '/x', key = \"hunter2\" }",
    "base_url = \"https://user:hunter2@host\"\nclient_secret = { env = 'SECRET' }",
    "proxy = \"socks5://user:hunter2@host\"\nclient_secret = { env = 'SECRET' }",
    "client_secret = \"hunter2",
    "client_secret = hunter2",
];

#[test]
fn a_secret_in_the_wrong_place_is_told_but_never_shown() {
    for line in WRITTEN {
        let report = load_text(&changed("client_secret = { env = 'SECRET' }", line)).expect_err(line);
        for shown in [report.render(false), report.render(true), format!("{report:?}")] {
            assert!(!shown.contains("hunter2"), "{line}\n{shown}");
        }
    }
    // All in one line, and a second problem beside it.
    let text = SMALL.replace("[targets.main]", "[targets.other]");
    let inline = "targets = { main = { tenant = 5, client_secret = \"hunter2\", proxy = 1 } }";
    let rest = text.split_once("[sources.crm]").unwrap().1;
    let shown = report_on(&format!("{inline}\n[sources.crm]{rest}")).to_string();
    assert!(!shown.contains("hunter2") && shown.contains("tenant = 5, client_secret = \"***\", proxy = 1"), "{shown}");
}

#[test]
fn an_inline_secret_is_explained() {
    let report = report_on(&changed("{ env = 'SECRET' }", "\"hunter2\""));
    let expected = r#"error: secrets are never written into the configuration
 --> config.toml:7:1
  |
7 | client_secret = "***"
  | ^^^^^^^^^^^^^ `targets.main.client_secret`
  |
  = note: allowed: { env = "VARIABLE" }, { file = "/path" } or { credential = "name" }
  = help: name the place instead; if this file was ever shared, change the secret"#;
    assert_eq!(report.to_string(), expected);
}

#[test]
fn an_address_found_in_a_secret_is_checked_but_never_shown() {
    let surroundings = Surroundings::with(&[("SECRET", "hunter2"), ("URL", "http://hunter2.example/x")]);
    let text = changed("type = 'sqlite'\npath = 'crm.db'", "type = 'postgres'\nurl = { env = 'URL' }");
    let text = format!("{text}[alerts]\nwebhook = {{ env = 'URL' }}\n");
    let report = check(SourceText::new("config.toml", text), &surroundings, Purpose::Work).unwrap_err();
    assert_eq!(
        report.problems().iter().map(|p| p.path.as_str()).collect::<Vec<_>>(),
        ["sources.crm.url", "alerts.webhook"]
    );
    assert!(!report.to_string().contains("hunter2"), "{report}");
}

#[test]
fn a_file_that_is_not_text_shows_no_secret_either() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    fs::write(&path, b"client_secret = 'hunter2' # \xff\n").unwrap();
    let report = load(&path, &Surroundings::with(&[])).unwrap_err().to_string();
    assert!(report.contains("not UTF-8") && !report.contains("hunter2"), "{report}");
}
