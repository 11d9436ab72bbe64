//! The node daemon: configuration, wiring, gRPC, health. Decides nothing itself.

#![forbid(unsafe_code)]

mod api;
mod args;
mod cluster;
mod config;
mod daemon;
mod datastore;
mod durable;
mod exposition;
mod follow;
mod http;
mod ipam;
mod listening;
mod lock;
mod logging;
mod memory;
mod metrics;
mod mirror;
mod node;
mod offline;
mod origin;
mod picture;
mod ready;
mod reload;
mod resources;
mod restart;
mod route_lock;
mod upstream;
mod workload;
mod written;

use std::process::ExitCode;

use clap::Parser;
use margay_datastore::Existing;

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
    let Ok(parsed) = load(&source) else { return ExitCode::from(INVALID) };
    if args.check {
        for warning in &parsed.warnings {
            eprint!("{}", warning.render());
        }
        if let Err(error) = upstream::check(&parsed.desired) {
            eprintln!("error: {}: {error:#}", source.path().display());
            return ExitCode::from(INVALID);
        }
        return ExitCode::SUCCESS;
    }
    match task(&args) {
        Ok(None) => {}
        Ok(Some(task)) => return ended(offline::run(&task, &parsed.desired)),
        Err(Invalid) => return ExitCode::from(INVALID),
    }
    let logging = logging::Logging::start(&args, parsed.desired.node.log_level);
    for warning in &parsed.warnings {
        tracing::warn!(file = %warning.file, line = warning.line, key = %warning.path, err = %warning.text, "configuration");
    }
    ended(daemon::run(source, parsed.desired, logging))
}

/// A configuration that cannot be used, and was told to be so.
struct Invalid;

fn load(source: &config::Source) -> Result<bgp_desired::Parsed, Invalid> {
    source.load().map_err(|error| {
        eprint!("{}", error.render());
        Invalid
    })
}

/// What is to be done with the datastore instead of running.
fn task(args: &args::Args) -> Result<Option<offline::Task>, Invalid> {
    if let Some(path) = &args.migrate_to {
        let to = load(&config::Source::new(Some(path.clone())))?;
        return Ok(Some(offline::Task::Migrate(Box::new(to.desired))));
    }
    let existing = if args.replace { Existing::Replace } else { Existing::Refuse };
    let import = args.import.clone().map(|from| offline::Task::Import {
        from,
        existing,
        dry_run: args.dry_run,
    });
    Ok(args.export.clone().map(offline::Task::Export).or(import))
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
