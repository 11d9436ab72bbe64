//! The benchmark of addresses and resources in small: every part runs and comes out as it must. How
//! long anything takes is not looked at.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use testkit::{Lab, have_root, margay::bin};

#[test]
fn every_part_of_the_ipam_benchmark_comes_to_a_row_of_its_table() -> Result<()> {
    if !have_root("every_part_of_the_ipam_benchmark_comes_to_a_row_of_its_table") {
        return Ok(());
    }
    let lab = Lab::new("bench-ipam-smoke")?;
    let daemon = bin("margay-bgpd")?;
    let output = Command::new(env!("CARGO_BIN_EXE_bench-ipam"))
        .args(["--scale", "0.01", "--profile", "lab"])
        .env("MARGAY_BIN_DIR", daemon.parent().context("a folder")?)
        .env("MARGAY_BENCH_DIR", lab.dir())
        .output()
        .context("running bench-ipam")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "bench-ipam: {complaint}\n{said}");
    let table = fs::read_to_string(lab.dir().join("lab-0.01/ipam.md"))?;
    for row in [
        "| floor: embedded, 64 commits at once |",
        "| embedded: 50 a second asked for |",
        "| embedded: 32 callers | at least 500/s |",
        "| etcd: 50 a second asked for |",
        "| etcd: 32 callers | at least 500/s |",
        "| 20 nodes claim 100 blocks of one pool |",
        "| 50 nodes, one more: merge and diff | < 50 ms |",
        "| a BGPPeer written, until the node has the peer or has it no more | < 100 ms |",
        "| 2 other sessions meanwhile | none ends |",
        "| 100 label sets, 10 selectors: a label set changed | < 100 µs |",
        "| 5 snapshots of 500 resources |",
        "| a change, one does not read to every other reader |",
        "| the slow one reads again: told 20 once each |",
    ] {
        ensure!(table.contains(row), "no row {row:?} in\n{table}");
    }
    // A simulation in virtual time comes out the same on every machine.
    let claims = table.lines().find(|line| line.contains("nodes claim")).context("claims")?;
    ensure!(claims.ends_with("| met |"), "{claims}");
    Ok(())
}
