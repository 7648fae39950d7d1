//! The scheduler: runs the passes of all jobs when they are due, for as long as the process lives.

mod catch_up;
mod keeping;
mod pause;
mod planner;
mod scheduler;
mod service;
mod systemd;
mod ticks;
#[cfg(test)]
mod traps;
mod trigger;
mod work;
#[cfg(test)]
mod year;

pub use pause::Pause;
pub use planner::{Deed, JobPlan, pass_request};
pub use scheduler::SchedulerError;
pub use service::{Daemon, DaemonError, Reload};
pub use ticks::Triggers;
pub use trigger::{ClockChange, Effect, Trigger};
pub use work::{CarryOut, Order, Stage, Work};

#[cfg(test)]
mod made_up {
    //! Times and triggers for tests.

    use chrono::{DateTime, Utc};
    use croner::parser::{CronParser, Seconds, Year};

    use super::Trigger;

    /// The moment that `text` names.
    pub(super) fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// The trigger that the configuration makes of `text`.
    pub(super) fn trigger(text: &str, zone: &str) -> Trigger {
        let cron = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build().parse(text).unwrap();
        Trigger { text: text.to_owned(), cron, zone: zone.parse().unwrap() }
    }
}
