//! The arguments, as clap reads them and as `--help` shows them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::model::Take;

/// What the exit codes mean, as `--help` and the manual page show it.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
    0  done; every record is synced, unchanged, filtered, closed, locked, pending or waiting
    1  done, but some records need a person: quarantined or in conflict, now or before
    2  wrong usage
    3  not done: the source, Business Central or the daemon could not be reached or gave up
    4  held by the brake: nothing changes until `bcsync approve`
   75  another process holds the ledger and took no request
   77  denied: credentials, consent or permissions
   78  configuration, query or ledger must be put right by a person
  130  interrupted (143 by SIGTERM), and left consistent";

/// Keeps Business Central in step with a CRM, shop or database.
#[derive(Debug, Parser)]
#[command(name = "bcsync", version, about, after_help = EXIT_CODES)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Options of every command.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct Global {
    /// Configuration file [default: `$BCSYNC_CONFIG`, ./config.toml, /etc/bcsync/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Say more on stderr (-vv for everything)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make one pass of each job now, in the order of `after`
    Run(Run),
    /// Run the jobs when they are due, until SIGTERM; SIGHUP reads the configuration again
    Daemon,
    /// Check the configuration, offline
    Check,
    /// Show when each job runs next, in its own time zone and in UTC
    Schedule,
    /// Show where each job stands
    Status(Status),
    /// Show the passes made, what changed, what failed or what is pending
    History(History),
    /// Let the next run of a job do what the brake holds of it: that much, and no more
    Approve(Approve),
    /// Let the next pass try again what is quarantined, waiting or locked
    Retry(Retry),
    /// Say who is right about a record that somebody changed in Business Central
    Resolve(Resolve),
    /// Write a copy of the ledger, also while it is in use
    Backup(Backup),
    /// Bind a target to another company than before, or to one that was restored from a backup
    Rebind(Rebind),
    /// Import or export which record is which row in Business Central
    #[command(subcommand)]
    Links(Links),
    /// Run a Business Central and an Entra ID that behave like the real ones, on this machine
    Simulate(Simulate),
    /// Show the whole thing at work, with a simulator and a CRM made up for it; takes seconds and needs nothing
    Demo(Demo),
    /// Print the completions for a shell
    Completions(Completions),
    /// Print the manual page
    Man,
}

/// `run`.
#[derive(Debug, ClapArgs)]
pub(super) struct Run {
    /// Jobs to run; all that are enabled when none is named
    #[arg(value_name = "JOB")]
    pub(super) jobs: Vec<String>,
    /// Read everything, also where a cursor would do, and look for rows that Business Central no longer has
    #[arg(long)]
    pub(super) full: bool,
}

/// `status`.
#[derive(Debug, ClapArgs)]
pub(super) struct Status {
    /// Only this job
    #[arg(value_name = "JOB")]
    pub(super) job: Option<String>,
}

/// `history`.
#[derive(Debug, ClapArgs)]
pub(super) struct History {
    /// Only this job
    #[arg(value_name = "JOB")]
    pub(super) job: Option<String>,
    /// Show which properties changed, from what to what
    #[arg(long, group = "what")]
    pub(super) fields: bool,
    /// Show the records that a person must look at
    #[arg(long, group = "what")]
    pub(super) failed: bool,
    /// Show the records that are not in Business Central yet
    #[arg(long, group = "what")]
    pub(super) pending: bool,
    /// Rows at most
    #[arg(long, default_value_t = 20, value_name = "ROWS")]
    pub(super) limit: u32,
}

/// `approve`.
#[derive(Debug, ClapArgs)]
pub(super) struct Approve {
    /// The job; `bcsync run JOB` applies it afterwards
    #[arg(value_name = "JOB")]
    pub(super) job: String,
    /// The plan, as the held run named it: when another one is held by now, nothing is approved. Without it the plan that
    /// is held is shown, and approved once you agree, or at once where nobody can be asked
    #[arg(long, value_name = "HASH")]
    pub(super) plan: Option<String>,
}

/// `retry`.
#[derive(Debug, ClapArgs)]
pub(super) struct Retry {
    /// Only this job
    #[arg(value_name = "JOB")]
    pub(super) job: Option<String>,
    /// Only these records; each of them is tried, whatever others have the same error
    #[arg(value_name = "KEY", requires = "job")]
    pub(super) keys: Vec<String>,
}

/// `resolve`.
#[derive(Debug, ClapArgs)]
pub(super) struct Resolve {
    /// The job
    #[arg(value_name = "JOB")]
    pub(super) job: String,
    /// The record
    #[arg(value_name = "KEY")]
    pub(super) key: String,
    /// Whose values stand; the source's only as long as the row in Business Central is as it was found in conflict
    #[arg(long, value_name = "WHOSE")]
    pub(super) take: Whose,
}

/// Whose values stand.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Whose {
    /// The source's: they are sent once
    Source,
    /// Business Central's: nothing is sent until the source changes again
    Bc,
}

impl Whose {
    /// The same in the program's own words.
    pub(super) fn model(self) -> Take {
        match self {
            Self::Source => Take::Source,
            Self::Bc => Take::Bc,
        }
    }
}

/// `backup`.
#[derive(Debug, ClapArgs)]
pub(super) struct Backup {
    /// The copy; nothing must have that name yet
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
}

/// `rebind`.
#[derive(Debug, ClapArgs)]
pub(super) struct Rebind {
    /// The target, as in `[targets.NAME]`; its configuration says which company it is to be
    #[arg(value_name = "TARGET")]
    pub(super) target: String,
    /// It is the same company, restored from a backup: what is missing there is made again
    #[arg(long)]
    pub(super) restored: bool,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
}

/// `links`.
#[derive(Debug, Subcommand)]
pub(super) enum Links {
    /// Write the links as CSV: job, key, number, id
    Export {
        /// Only this job
        #[arg(value_name = "JOB")]
        job: Option<String>,
    },
    /// Read CSV with the columns `key` and `number` or `id`: these records are these rows already
    Import {
        /// The job whose records they are
        #[arg(value_name = "JOB")]
        job: String,
        /// The CSV; standard input when left out
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// `simulate`.
#[derive(Debug, ClapArgs)]
pub(super) struct Simulate {
    /// Loopback address to listen on
    #[arg(long, default_value = "127.0.0.1:7048", value_name = "ADDRESS")]
    pub(super) listen: SocketAddr,
    /// Keep the rows in this file
    #[arg(long, value_name = "FILE")]
    pub(super) data: Option<PathBuf>,
    /// Tenant in the URLs
    #[arg(long, default_value = "contoso.onmicrosoft.com")]
    pub(super) tenant: String,
    /// Environment in the URLs
    #[arg(long, default_value = "production")]
    pub(super) environment: String,
    /// Name of the company; may be given several times
    #[arg(long = "company", default_value = "CRONUS USA, Inc.", value_name = "NAME")]
    pub(super) companies: Vec<String>,
    /// Client id of the app registration
    #[arg(long, default_value = "11111111-2222-3333-4444-555555555555")]
    pub(super) client_id: String,
    /// Environment variable with its client secret [default secret: simulator-secret]
    #[arg(long, value_name = "VARIABLE")]
    pub(super) secret_env: Option<String>,
    /// Number series refuse numbers of the caller
    #[arg(long)]
    pub(super) no_manual_numbers: bool,
    /// Time that each operation inside a batch takes, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(super) operation_ms: u64,
    /// Time that each request takes, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(super) request_ms: u64,
    /// No limit on requests per five minutes
    #[arg(long)]
    pub(super) no_rate_limit: bool,
}

/// `demo`.
#[derive(Debug, ClapArgs)]
pub(super) struct Demo {
    /// Folder to make and leave behind [default: a new one in the folder for temporary files]
    #[arg(long, value_name = "FOLDER")]
    pub(super) dir: Option<PathBuf>,
}

/// `completions`.
#[derive(Debug, ClapArgs)]
pub(super) struct Completions {
    /// Shell to complete for
    #[arg(value_name = "SHELL")]
    pub(super) shell: Shell,
}
