//! The node daemon: configuration, wiring, gRPC, health. Decides nothing itself.

#![forbid(unsafe_code)]

mod api;
mod args;
mod config;
mod daemon;
mod datastore;
mod exposition;
mod http;
mod lock;
mod logging;
mod metrics;
mod mirror;
mod reload;
mod resources;
mod route_lock;
mod socket;

use std::process::ExitCode;

use clap::Parser;

/// Exit code for usage errors and invalid configurations.
const INVALID: u8 = 2;

fn main() -> ExitCode {
    // With tables that grow bit by bit huge pages cost more to clear than they save (measured: 1M
    // routes in 150 MB and 1.5 s of CPU time, without them 110 MB and 1.15 s). A kernel that does
    // not know the switch goes on as it is.
    let _ = nix::sys::prctl::set_thp_disable(true);
    let args = args::Args::parse();
    let mut source = config::Source::new(args.config.clone());
    source.settle();
    let parsed = match source.load() {
        Ok(parsed) => parsed,
        Err(error) => {
            eprint!("{}", error.render());
            return ExitCode::from(INVALID);
        }
    };
    if args.check {
        for warning in &parsed.warnings {
            eprint!("{}", warning.render());
        }
        return ExitCode::SUCCESS;
    }
    logging::start(&args);
    for warning in &parsed.warnings {
        tracing::warn!(file = %warning.file, line = warning.line, key = %warning.path, err = %warning.text, "configuration");
    }
    match daemon::run(source, parsed.desired) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
