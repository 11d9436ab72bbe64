//! `cargo xtask bench`: Margay beside other BGP daemons, same input, same machine, same run.
//!
//! A daemon runs in one network namespace, `bgpload` plays its peers from another. Every figure is
//! taken outside the daemon: what a monitor session was told and when, what the kernel answers,
//! and what `/proc` says the daemon's processes used. Daemons take turns within a scenario, so
//! that a noisy minute does not fall on one of them alone; the tables show medians, and ratios to
//! the fastest peer.

mod chart;
mod daemon;
mod docs;
mod marks;
mod report;
mod results;
mod scenario;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::{Value, json};

use daemon::Kind;
use results::Results;
use scenario::{Conditions, SCENARIOS, Scenario};

/// Margay beside other BGP daemons, in network namespaces, as root.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", after_help = list())]
struct Options {
    /// Scenarios, with commas between; all without
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<String>,
    /// Daemons, with commas between, of: floor raw margay margay-keep bird frr gobgp openbgpd;
    /// all without
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// How often each daemon runs each scenario
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Seconds a phase may last; without, 120 (180 with 1000 peers, half for GoBGP)
    #[arg(long)]
    timeout: Option<u32>,
    /// Multiplies the sizes, to try the benchmark itself
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// The build that runs: its results have a folder of their own
    #[arg(long, default_value = "release")]
    profile: String,
    /// Keep earlier runs of these scenarios and daemons, and add to them
    #[arg(long)]
    append: bool,
    /// Run nothing, only make tables and charts from the results there are
    #[arg(long)]
    report: bool,
    /// Write docs/performance.md from the results
    #[arg(long)]
    write_docs: bool,
}

fn list() -> String {
    let rows: Vec<String> =
        SCENARIOS.iter().map(|s| format!("  {:<5} {}", s.name, s.title)).collect();
    format!(
        "Scenarios:\n{}\n\n`floor` copies without looking: what is measured against it is the load \
         generator.\nResults: target/bench/PROFILE/results.jsonl, results.md and a chart a scenario.",
        rows.join("\n")
    )
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// False when Margay failed a scenario.
fn run(options: &Options) -> Result<bool> {
    let scenarios = chosen(&options.scenario)?;
    let kinds: Vec<Kind> = options
        .peers
        .iter()
        .map(|name| Kind::named(name).with_context(|| format!("{name:?} is no daemon we know")))
        .collect::<Result<_>>()?;
    let binaries = binaries()?;
    let folder = folder(&binaries, options);
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let mut results = Results::open(&folder.join("results.jsonl"))?;
    let mut good = true;
    if !options.report {
        if !testkit::have_root("bench") {
            bail!("the benchmark makes network namespaces: run it as root");
        }
        let conditions =
            Conditions { binaries: &binaries, timeout: options.timeout, scale: options.scale };
        for kind in Kind::ALL {
            if !kind.installed() && (kinds.is_empty() || kinds.contains(&kind)) {
                println!("NOT INSTALLED, LEFT OUT: {}", kind.name());
            }
        }
        for scenario in &scenarios {
            good &= measure(scenario, &kinds, options, &conditions, &mut results)?;
            print!("\n{}", report::section(scenario, &results));
        }
    }
    report::write(&folder, &results)?;
    println!("\ntables and charts: {}", folder.display());
    if options.write_docs {
        let file = docs::write(&results, &options.profile)?;
        println!("written: {}", file.display());
    }
    Ok(good)
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(SCENARIOS.iter().collect());
    }
    let find = |name: &String| SCENARIOS.iter().find(|s| s.name == name);
    names.iter().map(|n| find(n).with_context(|| format!("{n:?} is no scenario"))).collect()
}

/// Runs one scenario with everybody; a daemon that failed is not waited for again.
fn measure(
    scenario: &Scenario,
    kinds: &[Kind],
    options: &Options,
    conditions: &Conditions<'_>,
    results: &mut Results,
) -> Result<bool> {
    let asked = |kind: &Kind| kinds.is_empty() || kinds.contains(kind);
    let takes_part = |kind: &Kind| kind.is_peer() || scenario.company.contains(kind);
    let mut playing: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| asked(kind) && takes_part(kind) && kind.installed())
        .collect();
    if !options.append {
        playing.iter().for_each(|kind| results.forget(scenario, *kind));
    }
    println!("\n{}: {}", scenario.name, scenario.title);
    let mut good = true;
    for turn in 1..=options.runs {
        for kind in playing.clone() {
            let mut record = match scenario.run(kind, conditions) {
                Ok(result) => result,
                Err(e) => json!({ "error": format!("{e:#}") }),
            };
            record["scenario"] = scenario.name.into();
            record["daemon"] = kind.name().into();
            record["run"] = turn.into();
            record["when"] = interop_tests::docs::now().into();
            println!("  run {turn} {:<11} {}", kind.name(), report::brief(scenario, &record));
            let failed = !record["error"].is_null();
            if failed {
                playing.retain(|other| *other != kind);
            }
            let ours = matches!(kind, Kind::Margay | Kind::MargayKeep);
            good &= !ours || (!failed && faithful(&record));
            results.add(record)?;
        }
    }
    Ok(good)
}

/// Did every comparison with the reference come out clean?
fn faithful(record: &Value) -> bool {
    let phases = record["phases"].as_object();
    phases.into_iter().flatten().all(|(_, phase)| {
        let compared = &phase["compared"];
        compared.is_null() || (compared["invented"] == 0 && compared["altered"] == 0)
    })
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

/// Results of different builds and sizes do not mix.
fn folder(binaries: &Path, options: &Options) -> PathBuf {
    let mut name = options.profile.clone();
    if options.scale < 1.0 {
        name += &format!("-{}", options.scale);
    }
    match std::env::var_os("MARGAY_BENCH_DIR") {
        Some(folder) => PathBuf::from(folder).join(name),
        None => binaries.join("../bench").join(name),
    }
}
