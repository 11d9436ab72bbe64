//! The policy dataplane of a node: what `margay-bgpd` tells of policy, in force in the kernel.
//!
//! Owns the wiring: [`link`] hears the resources, [`enforcer`] knows what they ask for, [`kernel`]
//! makes it so, [`witness`] hears what becomes of packets, [`http`] tells how it stands, [`api`] what is in
//! force and what it did. Decides nothing itself.

#![deny(unsafe_code)]

mod again;
mod api;
mod args;
mod daemon;
mod enforcer;
mod flows;
mod guard;
mod http;
mod kernel;
mod link;
mod lock;
mod status;
#[allow(unsafe_code, reason = "waiting for a descriptor and the allocator have no safe wrapper")]
mod sys;
mod witness;

use std::{fs, io, path::PathBuf, process::ExitCode};

use bgp_desired::{
    Fault,
    dataplane::{self, Parsed},
};
use clap::Parser;

use args::{Args, Backend};

/// Exit code for usage errors and invalid configurations.
const INVALID: u8 = 2;
const DEFAULT_FILE: &str = "/etc/margay/policy-dp.toml";

fn main() -> ExitCode {
    let args = Args::parse();
    if args.backend == Some(Backend::Ebpf) {
        eprintln!("error: --backend ebpf: not supported in this version");
        return ExitCode::from(INVALID);
    }
    let (path, parsed) = match load(&args) {
        Ok(loaded) => loaded,
        Err(text) => {
            eprint!("{text}");
            return ExitCode::from(INVALID);
        }
    };
    if args.check {
        for warning in &parsed.warnings {
            eprint!("{}", warning.render());
        }
        return ExitCode::SUCCESS;
    }
    args.log(parsed.dataplane.log_level);
    for warning in &parsed.warnings {
        tracing::warn!(file = %warning.file, line = warning.line, key = %warning.path, err = %warning.text, "configuration");
    }
    let reread = || load(&args).map(|(_, parsed)| parsed.dataplane);
    match daemon::run(&parsed.dataplane, &path, &reread) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Reads and checks the file; without one, everything is at its default. What keeps it from being
/// used is given as it is to be told.
fn load(args: &Args) -> Result<(PathBuf, Parsed), String> {
    let path = args.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    let name = path.display().to_string();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && args.config.is_none() => {
            String::new()
        }
        Err(error) => return Err(format!("error: cannot read {name}: {error}\n")),
    };
    match dataplane::parse(&text, &name) {
        Ok(parsed) => Ok((path, parsed)),
        Err(faults) => Err(faults.iter().map(Fault::render).collect()),
    }
}
