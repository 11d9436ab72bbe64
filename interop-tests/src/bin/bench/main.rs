//! `cargo xtask bench`: Margay beside other BGP daemons, same input, same machine, same run.
//!
//! A daemon runs in one network namespace, `bgpload` plays its peers from another. Every figure is
//! taken outside the daemon: what a monitor session was told and when, and what `/proc` says its
//! processes used. Daemons take turns within a scenario, so that a noisy minute does not fall on
//! one of them alone; the table shows medians, and ratios to the fastest peer.

mod daemon;
mod report;
mod scenario;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};

use daemon::Kind;
use report::Report;
use scenario::{SCENARIOS, Scenario};

const USAGE: &str = "\
usage: cargo xtask bench [--runs N] [--timeout SECONDS] [SCENARIO…] [DAEMON…]

Scenarios (default: all):
  same      2 peers x 100k, the same prefixes, 1 monitor
  full      1 peer x 1M, 1 monitor
  reflect   route reflector, 50 iBGP clients x 1k, each must get the others' 49k
Daemons (default: floor margay bird gobgp):
  floor margay bird gobgp frr
`floor` copies without looking: what is measured against it is the load generator.
";

struct Options {
    runs: usize,
    timeout: u32,
    scenarios: Vec<&'static Scenario>,
    daemons: Vec<Kind>,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)) {
        Ok(None) => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("error: {e:#}\n{USAGE}");
            ExitCode::from(2)
        }
        Ok(Some(options)) => match run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("error: {e:#}");
                ExitCode::FAILURE
            }
        },
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>> {
    let mut options = Options { runs: 3, timeout: 60, scenarios: Vec::new(), daemons: Vec::new() };
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<u32> {
            let text = arguments.next().with_context(|| format!("{argument} wants a number"))?;
            text.parse().with_context(|| format!("{argument} {text}"))
        };
        match argument.as_str() {
            "-h" | "--help" => return Ok(None),
            "--runs" => options.runs = number()? as usize,
            "--timeout" => options.timeout = number()?,
            name => {
                if let Some(scenario) = SCENARIOS.iter().find(|s| s.name == name) {
                    options.scenarios.push(scenario);
                } else if let Some(kind) = Kind::ALL.into_iter().find(|k| k.name() == name) {
                    options.daemons.push(kind);
                } else {
                    bail!("{name:?} is no scenario, daemon or option");
                }
            }
        }
    }
    if options.scenarios.is_empty() {
        options.scenarios.extend(SCENARIOS);
    }
    if options.daemons.is_empty() {
        options.daemons.extend([Kind::Floor, Kind::Margay, Kind::Bird, Kind::Gobgp]);
    }
    Ok(Some(options))
}

fn run(options: &Options) -> Result<()> {
    if !testkit::have_root("bench") {
        bail!("the benchmark makes network namespaces: run it as root");
    }
    let binaries = binaries()?;
    let mut report = Report::default();
    for scenario in &options.scenarios {
        println!("\n{}: {}", scenario.name, scenario.title);
        // A daemon that failed or ran out of time once is not waited for again.
        let mut out = Vec::new();
        for turn in 1..=options.runs {
            for &kind in &options.daemons {
                if out.contains(&kind) {
                    continue;
                }
                let result = scenario.run(kind, &binaries, options.timeout);
                match &result {
                    Ok(sample) => println!("  run {turn} {:<7} {sample}", kind.name()),
                    Err(e) => {
                        println!("  run {turn} {:<7} {e:#}", kind.name());
                        out.push(kind);
                    }
                }
                report.add(scenario, kind, result.map_err(|e| format!("{e:#}")));
            }
        }
        print!("\n{}", report.table(scenario));
    }
    let folder = binaries.join("../bench");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("results.md");
    std::fs::write(&file, report.markdown(&options.daemons))
        .with_context(|| format!("writing {}", file.display()))?;
    println!("\nwritten to target/bench/results.md");
    Ok(())
}

/// Where `margay-bgpd` and `bgpload` lie: beside this program, or in `MARGAY_BIN_DIR`.
fn binaries() -> Result<PathBuf> {
    let folder = match std::env::var_os("MARGAY_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let me = std::env::current_exe()?;
            me.parent().map(PathBuf::from).context("this program lies nowhere")?
        }
    };
    for name in ["margay-bgpd", "bgpload"] {
        if !folder.join(name).exists() {
            bail!("{} is missing; `cargo xtask bench` builds it", folder.join(name).display());
        }
    }
    Ok(folder)
}
