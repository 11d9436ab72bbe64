//! The benchmark of policy in small: every part runs and comes out as it must. How long anything takes
//! is not looked at.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use testkit::{Lab, have_root, margay::bin};

#[test]
fn every_part_of_the_policy_benchmark_comes_to_a_row_of_its_table() -> Result<()> {
    if !have_root("every_part_of_the_policy_benchmark_comes_to_a_row_of_its_table") {
        return Ok(());
    }
    let lab = Lab::new("bench-policy-smoke")?;
    let daemon = bin("margay-policy-dp")?;
    let output = Command::new(env!("CARGO_BIN_EXE_bench-policy"))
        .args(["--scale", "0.01", "--profile", "lab"])
        .env("MARGAY_BIN_DIR", daemon.parent().context("a folder")?)
        .env("MARGAY_BENCH_DIR", lab.dir())
        .output()
        .context("running bench-policy")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "bench-policy: {complaint}\n{said}");
    let table = fs::read_to_string(lab.dir().join("lab-0.01/policy.md"))?;
    for row in [
        "| start until all is in force | < 2 s |",
        "| linear chains, all by nft -f |",
        "| a remote endpoint gets an address more | < 1 ms |",
        "| linear chains, a remote endpoint gets an address more |",
        "| a policy of a namespace is edited | < 20 ms |",
        "| a pod with policies comes, until it is reported | < 10 ms |",
        "| memory of the daemon | < 150 MB |",
        "| a packet of a known connection: no policies, tracking alone |",
        "| a packet of a known connection: margay, policies of one pod | flat within 20 % | 10: ",
        "| the first of a connection: linear chains, policies of others |  | 10: ",
    ] {
        ensure!(table.contains(row), "no row {row:?} in\n{table}");
    }
    Ok(())
}
