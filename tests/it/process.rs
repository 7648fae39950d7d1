//! Processes under test, and what is waited for: nothing is waited for without end. A story that would hang fails, and says
//! what hung.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tokio::time::timeout;

/// Longer than anything takes, also where many others want the processor.
const PATIENCE: Duration = Duration::from_mins(3);

/// The result of `what`, which must come.
pub(crate) async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what}: it does not end"))
}

/// What the command puts out, and how it ends.
pub(crate) async fn output_of(mut command: Command) -> Output {
    ended(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()).await
}

/// What the process put out, and how it ended. One that does not end is killed, and told with what its threads wait for.
pub(crate) async fn ended(child: Child) -> Output {
    let process = child.id();
    let mut output = tokio::task::spawn_blocking(|| child.wait_with_output());
    if let Ok(output) = timeout(PATIENCE, &mut output).await {
        return output.unwrap().unwrap();
    }
    let threads = threads(process);
    let _ = Command::new("kill").args(["-KILL", &process.to_string()]).status();
    // Past the harness, which shows nothing before the test has ended: something else may hold the pipes open.
    let _ = writeln!(std::io::stderr(), "process {process} does not end:\n{threads}");
    let output = output.await.unwrap().unwrap();
    panic!("the process did not end: {}\n{threads}", String::from_utf8_lossy(&output.stderr));
}

/// What each thread of a process is called and waits for.
fn threads(process: u32) -> String {
    let mut told = String::new();
    for task in fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default().trim().to_owned();
        let _ = writeln!(told, "{} in {} ({})", read("comm"), read("wchan"), read("syscall"));
    }
    told
}
