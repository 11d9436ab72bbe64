//! `cargo xtask bench ipam`: the marks of addresses, resources and the datastore.
//!
//! Seven parts, each a program of its own that measures (the examples of the crates) and a rig for
//! it: a daemon, real etcd, or nothing. What is measured through a daemon is measured by its
//! clients; what its datastore can do at most is measured in the same run beside it.

mod effect;
mod part;
mod report;

use std::{fs, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::Parser;

use part::{PARTS, Part};

/// The marks of addresses, resources and the datastore, as root.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench ipam", after_help = list())]
struct Options {
    /// Parts, with commas between; all without
    #[arg(long, value_delimiter = ',')]
    part: Vec<String>,
    /// Multiplies the sizes, to try the benchmark itself
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// The build that runs: its results have a folder of their own
    #[arg(long, default_value = "release")]
    profile: String,
    /// Write the section of docs/performance.md
    #[arg(long)]
    write_docs: bool,
}

fn list() -> String {
    let rows: Vec<String> =
        PARTS.iter().map(|part| format!("  {:<10} {}", part.name, part.title)).collect();
    format!("Parts:\n{}\n\nResult: target/bench/PROFILE/ipam.md.", rows.join("\n"))
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// False when a part came to no result. A mark that is missed is a result.
fn run(options: &Options) -> Result<bool> {
    let parts = chosen(&options.part)?;
    if !testkit::have_root("bench ipam") {
        bail!("the benchmark makes network namespaces: run it as root");
    }
    let mut rows = Vec::new();
    let mut good = true;
    for part in parts {
        println!("{}: {}", part.name, part.title);
        match part.measure(options.scale) {
            Ok(some) => {
                some.iter().for_each(|row| println!("  {}", row.brief()));
                rows.extend(some);
            }
            Err(e) => {
                eprintln!("error: {}: {e:#}", part.name);
                good = false;
            }
        }
    }
    let text = report::text(&rows, &options.profile);
    print!("\n{text}");
    let folder = interop_tests::marks::folder(&options.profile, options.scale)?;
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let file = folder.join("ipam.md");
    fs::write(&file, &text).with_context(|| format!("writing {}", file.display()))?;
    println!("\nwritten: {}", file.display());
    if options.write_docs {
        if !good {
            bail!("a part has no result: docs/performance.md stays as it is");
        }
        println!("written: {}", report::write_docs(&text)?.display());
    }
    Ok(good)
}

fn chosen(names: &[String]) -> Result<Vec<&'static Part>> {
    if names.is_empty() {
        return Ok(PARTS.iter().collect());
    }
    let find = |name: &String| PARTS.iter().find(|part| part.name == name);
    names.iter().map(|n| find(n).with_context(|| format!("{n:?} is no part"))).collect()
}
