//! `man`: the manual page, made from the very arguments that the program takes.
//!
//! One page for all commands, so that one search finds an option; a command that is added is in it by itself.

use std::io::Write as _;

use clap::{Arg, Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::args::{Args, EXIT_CODES};
use super::exit::{Exit, Failed};

/// Names and meanings of the files.
const FILES: &[(&str, &str)] = &[
    (
        "/etc/bcsync/config.toml",
        "The configuration of the service, and of every command that finds neither --config, $BCSYNC_CONFIG nor \
         ./config.toml. Every key is described in it.",
    ),
    (
        "/etc/bcsync/credentials/",
        "Secrets, one a file, readable by root only. systemd hands those to the service that LoadCredential= of its unit \
         names.",
    ),
    (
        "/var/lib/bcsync/ledger.db",
        "The ledger: what was sent, what Business Central answered, and the history. A SQLite file that members of the \
         group bcsync may read; its tables and views are described in its schema.",
    ),
    ("/var/lib/bcsync/ledger.db.lock", "Held by the one process that may write the ledger."),
];

/// Names and meanings of the environment variables.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("BCSYNC_CONFIG", "The configuration file, where --config names none."),
    (
        "STATE_DIRECTORY",
        "The folder of the ledger, where the configuration names none. Set by systemd (StateDirectory=).",
    ),
    (
        "CREDENTIALS_DIRECTORY",
        "Where { credential = \"NAME\" } in the configuration finds its file. Set by systemd (LoadCredential=).",
    ),
    (
        "HTTPS_PROXY, NO_PROXY",
        "The proxy to Business Central, where the configuration names none, and what goes past it.",
    ),
    ("NO_COLOR", "Set: no colours, also on a terminal."),
];

/// Prints the manual page, in the language of man(7).
pub(super) fn man() -> Result<Exit, Failed> {
    anstream::stdout().write_all(&page()?)?;
    Ok(Exit::Done)
}

fn page() -> std::io::Result<Vec<u8>> {
    // What comes after the help is a section of its own here; the command `help` says nothing that the page does not.
    let mut command = Args::command().after_help("").disable_help_subcommand(true);
    command.build();
    let man = Man::new(command.clone()).section("1");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;

    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    for command in command.get_subcommands() {
        describe(&mut roff, command);
    }
    roff.control("SH", ["EXIT STATUS"]);
    list(&mut roff, exit_codes());
    roff.control("SH", ["FILES"]);
    list(&mut roff, FILES.iter().copied());
    roff.control("SH", ["ENVIRONMENT"]);
    list(&mut roff, ENVIRONMENT.iter().copied());
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold("systemctl"), roman("(1), "), bold("journalctl"), roman("(1), "), bold("sqlite3"), roman("(1)")]);
    roff.to_writer(&mut page)?;
    Ok(page)
}

/// A command with its options, or the commands inside it.
fn describe(roff: &mut Roff, command: &Command) {
    if command.has_subcommands() {
        for inner in command.get_subcommands() {
            describe(roff, inner);
        }
        return;
    }
    let usage = command.clone().render_usage().to_string();
    roff.control("SS", [usage.trim_start_matches("Usage: ").trim_end()]);
    if let Some(about) = command.get_about() {
        roff.text([roman(format!("{about}."))]);
    }
    // The options of every command have their own section.
    for argument in command.get_arguments().filter(|argument| !argument.is_global_set() && argument.get_id() != "help")
    {
        roff.control("TP", []);
        roff.text([bold(argument.to_string())]);
        roff.text([roman(explained(argument))]);
    }
}

/// The help of an argument, with its default.
fn explained(argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    match argument.get_default_values() {
        [] => help,
        // A switch that is off by default says so by not being given.
        _ if !argument.get_action().takes_values() => help,
        values => {
            let values: Vec<_> = values.iter().map(|value| value.to_string_lossy()).collect();
            format!("{help} [default: {}]", values.join(", "))
        }
    }
}

/// The table of `--help`, as pairs.
fn exit_codes() -> impl Iterator<Item = (&'static str, &'static str)> {
    EXIT_CODES.lines().filter_map(|line| line.trim().split_once("  "))
}

fn list<'a>(roff: &mut Roff, entries: impl Iterator<Item = (&'a str, &'a str)>) {
    for (name, meaning) in entries {
        roff.control("TP", []);
        roff.text([bold(name)]);
        roff.text([roman(meaning)]);
    }
}
