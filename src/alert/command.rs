//! Telling by a command: it gets an alert on standard input, and has to end well within its time.
//!
//! It is given nothing but `PATH`: none of the other variables, which may hold secrets or lead to them. What it puts out
//! goes to our stderr. It leads a process group of its own, which is killed as a whole when its time is up.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// Why a command has not told anybody.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// It names no program that can be started.
    #[error("the command cannot be started: {0}")]
    Start(std::io::Error),
    /// What became of it cannot be found out.
    #[error("the command cannot be waited for: {0}")]
    Wait(std::io::Error),
    /// It says that it failed.
    #[error("the command ended with {0}")]
    Failed(ExitStatus),
    /// It went on for too long.
    #[error("the command took longer than {} s and was killed", .0.as_secs())]
    TimedOut(Duration),
}

/// Runs `command`, a program and its arguments, with `json` on standard input. It is killed when this takes longer than
/// `limit`, or is dropped.
pub(super) async fn run(command: &[String], json: &str, limit: Duration) -> Result<(), CommandError> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let stderr = || std::io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from);
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| (OsString::from("PATH"), path)))
        .stdin(Stdio::piped())
        .stdout(stderr())
        .stderr(stderr())
        .process_group(0)
        .spawn()
        .map_err(CommandError::Start)?;
    let group = Group(Some(Pid::from_child(&child)));
    let json = json.to_owned();
    let ended = tokio::task::spawn_blocking(move || hand_over(&mut child, &json));
    match tokio::time::timeout(limit, ended).await {
        Ok(ended) => {
            let status = ended.map_err(|panic| CommandError::Wait(panic.into()))?.map_err(CommandError::Wait)?;
            group.spare();
            if status.success() { Ok(()) } else { Err(CommandError::Failed(status)) }
        }
        Err(_) => Err(CommandError::TimedOut(limit)),
    }
}

/// Gives the child its input and waits for its end.
fn hand_over(child: &mut Child, json: &str) -> std::io::Result<ExitStatus> {
    if let Some(mut stdin) = child.stdin.take() {
        // Whoever does not read it need not.
        let _ = writeln!(stdin, "{json}");
    }
    child.wait()
}

/// A process group that is killed when this is dropped.
struct Group(Option<Pid>);

impl Group {
    /// Its leader has ended: what it left behind is meant to go on.
    fn spare(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // That there is nobody left is fine.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Instant;

    use super::*;

    async fn shell(script: &str, limit: Duration) -> Result<(), CommandError> {
        run(&["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()], r#"{"event":"held"}"#, limit).await
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn it_gets_the_alert_and_no_variable_but_path() {
        let folder = tempfile::tempdir().unwrap();
        let (input, environment) = (folder.path().join("input"), folder.path().join("environment"));
        shell(&format!("cat > {}; env > {}", input.display(), environment.display()), LONG).await.unwrap();
        assert_eq!(std::fs::read_to_string(input).unwrap(), "{\"event\":\"held\"}\n");
        let environment = std::fs::read_to_string(environment).unwrap();
        // The shell adds these itself.
        let names: Vec<_> = environment.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        assert!(names.iter().all(|name| ["PATH", "PWD", "SHLVL", "_", "OLDPWD"].contains(name)), "{environment}");
        // Cargo sets some for this test.
        assert!(std::env::vars().any(|(name, _)| name.starts_with("CARGO")));
    }

    #[tokio::test]
    async fn one_that_does_not_read_has_told_all_the_same() {
        shell("exec <&-; true", LONG).await.unwrap();
    }

    #[tokio::test]
    async fn failures_are_told_apart() {
        let missing = run(&["/no/such/program".to_owned()], "{}", LONG).await.unwrap_err();
        assert!(matches!(missing, CommandError::Start(_)), "{missing}");
        assert_eq!(shell("exit 3", LONG).await.unwrap_err().to_string(), "the command ended with exit status: 3");
    }

    #[tokio::test]
    async fn one_that_hangs_is_killed_with_all_that_it_began() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        let script = format!("sleep 1000 & echo $! $$ > {}; wait", pids.display());
        let started = Instant::now();
        let hung = shell(&script, Duration::from_millis(500)).await.unwrap_err();
        assert!(matches!(hung, CommandError::TimedOut(_)), "{hung}");
        assert!(started.elapsed() < LONG);
        let pids = std::fs::read_to_string(pids).unwrap();
        let pids: Vec<_> = pids.split_whitespace().collect();
        assert_eq!(pids.len(), 2);
        let lives = |pid: &&str| {
            let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
            // A killed process whose parent is gone waits for process 1.
            !stat.is_empty() && !stat.contains(") Z ")
        };
        while pids.iter().any(lives) {
            assert!(started.elapsed() < LONG, "{pids:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
