//! The benchmark of pods in small: every part runs and comes out as it must. How long anything takes
//! is not looked at.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use testkit::{Lab, have_root, margay::bin};

#[test]
fn every_part_of_the_cni_benchmark_comes_to_a_row_of_its_table() -> Result<()> {
    if !have_root("every_part_of_the_cni_benchmark_comes_to_a_row_of_its_table") {
        return Ok(());
    }
    let lab = Lab::new("bench-cni-smoke")?;
    let daemon = bin("margay-bgpd")?;
    let output = Command::new(env!("CARGO_BIN_EXE_bench-cni"))
        .args(["--scale", "0.02", "--profile", "lab"])
        .env("MARGAY_BIN_DIR", daemon.parent().context("a folder")?)
        .env("MARGAY_BENCH_DIR", lab.dir())
        .output()
        .context("running bench-cni")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "bench-cni: {complaint}\n{said}");
    let table = fs::read_to_string(lab.dir().join("lab-0.02/cni.md"))?;
    for row in [
        "| ADD, 8 at once, 2 rounds | median < 30 ms, p99 < 100 ms |",
        "| ADD, 2 one after the other: margay |",
        "| the plugin's start: VERSION, 4 one after the other | median < 5 ms |",
        "| ADD, 20 pods, 10 at once |",
        "| memory of the daemon for a pod, 20 pods | < 4 kB |",
    ] {
        ensure!(table.contains(row), "no row {row:?} in\n{table}");
    }
    let leaks = table.lines().find(|line| line.contains("files left")).context("leaks")?;
    ensure!(leaks.ends_with("| met |"), "{leaks}");
    Ok(())
}
