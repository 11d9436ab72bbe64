//! Runs the fuzz targets. They are built by plain cargo: `RUSTC_BOOTSTRAP` opens the sanitizer
//! coverage flags of the stable compiler, so neither a nightly nor cargo-fuzz is needed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
};

use anyhow::{Context, Result, anyhow, bail};

use crate::{
    packages,
    step::{self, Tally, cargo},
};

/// The crates with fuzz targets.
const FOLDERS: &[&str] = &[
    "bgpd/packet/fuzz",
    "bgpd/desired/fuzz",
    "cni/fuzz",
    "policy-dp/nft/fuzz",
    "proto/model/fuzz",
];

/// What libFuzzer needs of the compiler.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Ccodegen-units=1";

const HOST: &str = "x86_64-unknown-linux-gnu";

/// Every target for `seconds`.
pub fn all(seconds: u32) -> Result<ExitCode> {
    packages::install(packages::BUILD)?;
    let mut tally = Tally::default();
    steps(&mut tally, seconds);
    Ok(if tally.close() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Adds a build step per crate, then a step per pair of targets: the machines this runs on have
/// two cores.
pub fn steps(tally: &mut Tally, seconds: u32) {
    let mut all = Vec::new();
    for folder in FOLDERS {
        tally.work(&format!("build the fuzz targets of {folder}"), || {
            let names = targets(Path::new(folder))?;
            build(folder)?;
            all.extend(names.into_iter().map(|name| (*folder, name)));
            Ok(())
        });
    }
    for pair in all.chunks(2) {
        let names: Vec<&str> = pair.iter().map(|(_, name)| name.as_str()).collect();
        tally.work(&format!("fuzz {} for {seconds} s", names.join(" and ")), || {
            thread::scope(|scope| {
                let runs: Vec<_> = pair
                    .iter()
                    .map(|(folder, name)| scope.spawn(move || run(folder, name, seconds)))
                    .collect();
                runs.into_iter().try_for_each(|run| {
                    run.join().map_err(|_| anyhow!("the fuzzing thread panicked"))?
                })
            })
        });
    }
}

/// Each file in `fuzz_targets/` is one target.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let sources = folder.join("fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&sources).with_context(|| format!("reading {}", sources.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    if names.is_empty() {
        bail!("no targets in {}", sources.display());
    }
    names.sort();
    Ok(names)
}

fn build(folder: &str) -> Result<()> {
    let manifest = format!("{folder}/Cargo.toml");
    let mut command = cargo(&["build", "--release", "--bins", "--target", HOST]);
    command
        .args(["--manifest-path", &manifest])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", RUSTFLAGS)
        .env("CARGO_TARGET_DIR", format!("{folder}/target"));
    step::run(&format!("cargo build in {folder}"), &mut command)
}

fn run(folder: &str, target: &str, seconds: u32) -> Result<()> {
    let folder = PathBuf::from(folder);
    let program = folder.join("target").join(HOST).join("release").join(target);
    let artifacts = folder.join("artifacts").join(target);
    // Finds go to a scratch corpus first; the seed corpus in the repository stays as it is.
    let scratch = folder.join("target/corpus").join(target);
    for made in [&artifacts, &scratch] {
        fs::create_dir_all(made)?;
    }
    let mut command = Command::new(program);
    command
        .arg(&scratch)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-print_final_stats=1", "-timeout=10", "-rss_limit_mb=2048"]);
    let seeds = folder.join("corpus").join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    let output = command.output().with_context(|| format!("starting {target}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        bail!("{target}: {}\n{said}", output.status);
    }
    let executed =
        said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    println!("{target}: {} inputs, no find", executed.unwrap_or("?").trim());
    Ok(())
}
