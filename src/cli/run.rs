//! `run`: progress on a terminal, a summary whose counters add up, an exit code.

use std::io::Write;
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::{Global, Run};
use super::exit::{Exit, Failed};
use super::interrupt::Interrupt;
use super::outside::load;
use crate::app::{self, App, AppError, Finished, RunOptions};
use crate::config::ProcessEnvironment;
use crate::model::{OnDelete, Progress};

/// Makes one pass of each job.
pub(super) async fn run(global: &Global, command: &Run) -> Result<Exit, Failed> {
    let mut config = load(global, &ProcessEnvironment)?;
    let mappings = app::check(&mut config).map_err(|failed| AppError::Check(*failed))?;
    let app = App::new(&config, &ProcessEnvironment);
    let interrupt = Interrupt::watch();
    let bar = Bar::new(global.quiet || global.json);
    let options = RunOptions {
        jobs: &command.jobs,
        full: command.full,
        cause: "command",
        cancel: interrupt.token(),
        progress: &|job, progress| bar.show(job, progress),
    };
    let finished = app::run(&app, mappings, options, |finished| {
        bar.clear();
        let mut out = anstream::stdout();
        let _ = if global.json { writeln!(out, "{}", json(finished)) } else { tell(&mut out, finished) };
    })
    .await?;
    let exit = finished.iter().map(exit_of).fold(Exit::Done, Exit::gravest);
    Ok(interrupt.exit().unwrap_or(exit))
}

/// What a pass means for the exit code.
pub(super) fn exit_of(finished: &Finished) -> Exit {
    match &finished.outcome {
        Ok(report) => Exit::of(report.result),
        Err(failure) => Exit::of(failure.result),
    }
}

/// One line of progress, on a terminal only.
struct Bar(Mutex<ProgressBar>);

impl Bar {
    fn new(hidden: bool) -> Self {
        let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed}") {
            bar.set_style(style);
        }
        Self(Mutex::new(bar))
    }

    fn show(&self, job: &str, progress: Progress) {
        let bar = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match progress {
            Progress::Read(read) => bar.set_message(format!("{job}: {read} read")),
            Progress::Applied { done, of } => {
                bar.set_message(format!("{job}: to Business Central"));
                bar.set_length(of.max(done));
                bar.set_position(done);
            }
        }
    }

    fn clear(&self) {
        let bar = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        bar.set_message("");
        bar.finish_and_clear();
        bar.reset();
    }
}

/// The summary of one job, for people. Only counters that are not 0 are named; all of them add up.
pub(super) fn tell(out: &mut impl Write, finished: &Finished) -> std::io::Result<()> {
    let report = match &finished.outcome {
        Ok(report) => report,
        Err(failure) => return writeln!(out, "{}: {}\n  {}", finished.job, failure.result.as_str(), failure.message),
    };
    let mode = if report.full { "full" } else { "incremental" };
    writeln!(out, "{}: {} ({mode} read, {} requests)", report.job, report.result.as_str(), report.requests)?;
    let named = report.counters.named();
    // What was read and what was taken up, each followed by what it comes to.
    let taken = named.iter().position(|(name, _)| *name == "taken").unwrap_or(named.len());
    let (read, taken) = named.split_at(taken);
    let list = |counted: &[(&str, u64)]| {
        let parts: Vec<_> = counted
            .iter()
            .skip(1)
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        if parts.is_empty() { String::new() } else { format!(" = {}", parts.join(" + ")) }
    };
    writeln!(out, "  read  {}{}", report.counters.read, list(read))?;
    if report.counters.taken > 0 {
        writeln!(out, "  taken {}{}", report.counters.taken, list(taken))?;
    }
    if let Some(message) = &report.message {
        writeln!(out, "  {message}")?;
    }
    if let Some(missing @ 1..) = report.missing {
        let rows = match report.on_delete {
            OnDelete::Keep => "their rows in Business Central stay",
            OnDelete::Block => "their rows in Business Central are to be blocked",
            OnDelete::Delete => "their rows in Business Central are to be deleted",
        };
        writeln!(out, "  {missing} linked records are no longer in the source; {rows}")?;
    }
    if let Some(vanished @ 1..) = report.vanished {
        writeln!(
            out,
            "  {vanished} linked rows are no longer in Business Central: posted, deleted, or it was restored"
        )?;
    }
    if report.null_cursors > 0 {
        writeln!(out, "  {} records have no cursor value; only full reads see them", report.null_cursors)?;
    }
    if report.failed > 0 {
        let (failed, job) = (report.failed, &report.job);
        writeln!(out, "  {failed} records need a person: `bcsync history {job} --failed` tells why")?;
    }
    Ok(())
}

fn json(finished: &Finished) -> serde_json::Value {
    match &finished.outcome {
        Ok(report) => {
            let counters: serde_json::Map<_, _> =
                report.counters.named().into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect();
            serde_json::json!({
                "job": report.job,
                "result": report.result.as_str(),
                "full": report.full,
                "requests": report.requests,
                "missing": report.missing,
                "vanished": report.vanished,
                "null_cursors": report.null_cursors,
                "failed": report.failed,
                "message": report.message,
                "counters": counters,
            })
        }
        Err(failure) => serde_json::json!({
            "job": finished.job,
            "result": failure.result.as_str(),
            "message": failure.message,
        }),
    }
}
