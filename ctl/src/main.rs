//! `margay`: the command line of the node daemon.
//!
//! Owns what can be asked and how answers look. Leaves to the daemon, reached over its Unix socket,
//! everything that is true: no decision is made here.

#![forbid(unsafe_code)]

mod calicoctl;
mod cli;
mod client;
mod commands;
mod error;
mod manifests;
mod objects;
mod output;
mod values;
mod view;

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, error::ErrorKind};

use crate::{cli::Cli, error::Failure};

fn main() -> ExitCode {
    if calicoctl::is_meant(env::args_os().next().as_deref()) {
        return calicoctl::main();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    if let Err(failure) = cli.check() {
        return tell(&failure);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tell(&Failure::failed(format!("cannot start: {error}"))),
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => tell(&failure),
    }
}

fn tell(failure: &Failure) -> ExitCode {
    // With stderr gone there is nobody to tell.
    let _ = io::stderr().write_all(failure.text().as_bytes());
    failure.exit_code()
}

/// Answers `--help` and `--version`, or says what is wrong with the command line.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that went away has read enough.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => {
            let failure = cli::usage_failure(error);
            tell(&failure)
        }
    }
}
