//! `cargo xtask bench policy`: the marks of network policy.
//!
//! What measures is an example of `margay-policy-dp`, which plays the node's daemon for the real
//! dataplane and loads the same policies as plain rules with `nft -f`, all in network namespaces of
//! its own.

mod part;

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::Parser;
use interop_tests::{docs, marks};

/// The marks of network policy, as root.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask bench policy",
    after_help = "Parts: changes, packets.\n\nResult: target/bench/PROFILE/policy.md."
)]
struct Options {
    /// Parts, with commas between; all without
    #[arg(long, value_delimiter = ',', default_value = "changes,packets")]
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
    if !testkit::have_root("bench policy") {
        bail!("the benchmark makes network namespaces: run it as root");
    }
    let mut rows = Vec::new();
    for part in &options.part {
        println!("{part}");
        let some = match part.as_str() {
            "changes" => part::changes(options.scale),
            "packets" => part::packets(options.scale),
            _ => bail!("{part:?} is no part"),
        };
        let some = some.with_context(|| part.clone())?;
        some.iter().for_each(|row| println!("  {}", row.brief()));
        rows.extend(some);
    }
    let text = marks::table(&rows, &options.profile, &[]);
    print!("\n{text}");
    let folder = marks::folder(&options.profile, options.scale)?;
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let file = folder.join("policy.md");
    fs::write(&file, &text).with_context(|| format!("writing {}", file.display()))?;
    println!("\nwritten: {}", file.display());
    if options.write_docs {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
        let old = fs::read_to_string(&file)?;
        fs::write(&file, docs::POLICY.with_table(&old, &text))?;
        println!("written: {}", file.display());
    }
    Ok(())
}
