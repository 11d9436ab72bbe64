//! `cargo xtask bench cni`: pods through the CNI plugin, beside the reference plugins.
//!
//! Plugins are called as a runtime does it, a process a call, and timed from its start to its end.

mod part;
mod pods;

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use interop_tests::{docs, marks};

/// Pods through the CNI plugin, as root.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask bench cni",
    after_help = "Parts: floor, burst, sequence, many.\n\nResult: target/bench/PROFILE/cni.md."
)]
struct Options {
    /// Parts, with commas between; all without
    #[arg(long, value_delimiter = ',', default_value = "floor,burst,sequence,many")]
    part: Vec<String>,
    /// Multiplies how many calls and pods there are, to try the benchmark itself
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// The build that runs: its results have a folder of their own
    #[arg(long, default_value = "release")]
    profile: String,
    /// Write the section of docs/performance.md
    #[arg(long)]
    write_docs: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    if !testkit::have_root("bench cni") {
        bail!("the benchmark makes network namespaces: run it as root");
    }
    let mut rows = Vec::new();
    for part in &options.part {
        println!("{part}");
        let some = match part.as_str() {
            "floor" => part::floor(options.scale),
            "burst" => part::burst(options.scale),
            "sequence" => part::sequence(options.scale),
            "many" => part::many(options.scale),
            _ => bail!("{part:?} is no part"),
        };
        let some = some.with_context(|| part.clone())?;
        some.iter().for_each(|row| println!("  {}", row.brief()));
        rows.extend(some);
    }
    let text = marks::table(&rows, &options.profile, &[reference()]);
    print!("\n{text}");
    let folder = marks::folder(&options.profile, options.scale)?;
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let file = folder.join("cni.md");
    fs::write(&file, &text).with_context(|| format!("writing {}", file.display()))?;
    println!("\nwritten: {}", file.display());
    if options.write_docs {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
        let old = fs::read_to_string(&file)?;
        fs::write(&file, docs::CNI.with_table(&old, &text))?;
        println!("written: {}", file.display());
    }
    Ok(())
}

/// Which reference plugins took part.
fn reference() -> String {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${Version}", "containernetworking-plugins"]);
    let output = query.output().ok().filter(|output| output.status.success());
    match output {
        Some(output) => {
            let version = String::from_utf8_lossy(&output.stdout);
            format!("reference: bridge and host-local of containernetworking-plugins {version}")
        }
        None => "reference: none, containernetworking-plugins is not installed".to_owned(),
    }
}
