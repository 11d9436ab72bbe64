//! `calicoctl`: that tool's arguments, messages, tables and exit codes.
//!
//! Owns how things are said: the commands themselves are those of `margay`, and what cannot be
//! done is refused by name. Errors stand on standard error without a label, and every error is
//! exit code 1. Where the original leaves half of a set of files written, this does as it does:
//! object by object; but only after every file was read and found valid.

mod boxed;
mod cli;
mod config;
mod convert;
mod datastore;
mod ipam;
mod node;
mod refused;
mod resources;
mod session;
mod table;
mod tally;
mod unsupported;
mod version;

use std::{
    env,
    ffi::OsStr,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use clap::{CommandFactory, Parser, error::ErrorKind};

use self::{
    cli::{Cli, Command},
    refused::Refused,
    session::Session,
    tally::Action,
};
use crate::cli::usage_failure;

pub use version::VERSION;

/// Under this name the program is this tool.
pub const NAME: &str = "calicoctl";

/// Whether the program was called by this tool's name.
pub fn is_meant(program: Option<&OsStr>) -> bool {
    program.and_then(|program| Path::new(program).file_stem()).is_some_and(|stem| stem == NAME)
}

/// Runs a command line to its end.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return answer(&error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Refused::new(format!("cannot start: {error}")).tell(),
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refused) => refused.tell(),
    }
}

/// The definition of the command line, for completions.
pub fn command() -> clap::Command {
    Cli::command()
}

async fn run(cli: Cli) -> Result<(), Refused> {
    let session = Session::of(&cli.global)?;
    match cli.command {
        Command::Create(args) => {
            let skip = args.skip_exists;
            resources::write(Action::Create { skip }, args.into(), &session).await
        }
        Command::Apply(args) => resources::write(Action::Apply, args, &session).await,
        Command::Replace(args) => resources::write(Action::Replace, args, &session).await,
        Command::Delete(args) => resources::delete(args, &session).await,
        Command::Get(args) => resources::get(args, &session).await,
        Command::Patch(args) => resources::patch(args, &session).await,
        Command::Label(args) => resources::label(args, &session).await,
        Command::Validate(args) => resources::validate(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Version(args) => version::run(&args, &session).await,
        Command::Ipam(command) => ipam::run(command, &session).await,
        Command::Node(command) => node::run(command, &session).await,
        Command::Cluster(args) => Err(unsupported::cluster(&args.words)),
        Command::Datastore(command) => datastore::run(command, &session).await,
    }
}

/// Answers `--help`, or says that there is no such command line.
fn answer(error: &clap::Error) -> ExitCode {
    if error.kind() == ErrorKind::DisplayHelp {
        // A reader that went away has read enough.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let words: Vec<_> = env::args_os().skip(1).collect();
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    Refused::new(usage(&words.join(" "), error)).tell()
}

/// The original's words for a command line that is none, then the reason.
fn usage(words: &str, error: &clap::Error) -> String {
    let failure = usage_failure(error);
    let reason = failure.message();
    format!(
        "Invalid option: '{NAME} {words}'. Use flag '--help' to read about a specific \
         subcommand.\n{reason}"
    )
}

/// Prints to standard output.
fn print(text: &str) -> Result<(), Refused> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Refused::from)
}

#[cfg(test)]
mod tests;
