//! The benchmark in small: every scenario runs and ends with the reference's table.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::{Lab, have_root, margay::bin};

/// Runs scenarios at a hundredth of their size; returns the records.
fn bench(scenarios: &str, daemons: &str) -> Result<Vec<Value>> {
    let lab = Lab::new("bench-smoke")?;
    let program = bin("bgpload")?;
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["--scale", "0.01", "--runs", "1", "--timeout", "20", "--profile", "lab"])
        .args(["--scenario", scenarios, "--peers", daemons])
        .env("MARGAY_BIN_DIR", program.parent().context("a folder")?)
        .env("MARGAY_BENCH_DIR", lab.dir())
        .output()
        .context("running bench")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "bench {scenarios}: {complaint}\n{said}");
    let folder = lab.dir().join("lab-0.01");
    for scenario in scenarios.split(',') {
        let chart = fs::read_to_string(folder.join(format!("scenario-{scenario}.svg")))?;
        ensure!(chart.contains("margay"), "no bar for margay in {chart}");
    }
    let text = fs::read_to_string(folder.join("results.jsonl"))?;
    text.lines().map(|line| serde_json::from_str(line).context("a line of JSON")).collect()
}

/// Each of the scenarios, with each of the daemons, has a result of its phase.
fn has_all(records: &[Value], scenarios: &str, daemons: &str, figure: &str) -> Result<()> {
    for scenario in scenarios.split(',') {
        for daemon in daemons.split(',') {
            let record = records
                .iter()
                .find(|r| r["scenario"] == scenario && r["daemon"] == daemon)
                .with_context(|| format!("no record of {daemon} in {scenario}"))?;
            ensure!(record["error"].is_null(), "{scenario} {daemon}: {record}");
            ensure!(record.pointer(figure).is_some(), "no {figure} in {record}");
        }
    }
    Ok(())
}

#[test]
fn loads_reach_the_reference_from_few_peers_and_many() -> Result<()> {
    if !have_root("loads_reach_the_reference_from_few_peers_and_many") {
        return Ok(());
    }
    let records = bench("1,2,3,4,5,6,12,13", "margay")?;
    has_all(&records, "1,2,3,4,5,6,12,13", "margay", "/phases/load/seconds")
}

#[test]
fn withdrawal_churn_kernel_failover_reload_and_idling_are_measured() -> Result<()> {
    if !have_root("withdrawal_churn_kernel_failover_reload_and_idling_are_measured") {
        return Ok(());
    }
    let records = bench("7,8,9,10,11,idle", "margay,margay-keep,raw")?;
    has_all(&records, "7", "margay", "/phases/withdraw/seconds")?;
    has_all(&records, "8", "margay", "/phases/churn/probe/p99_ms")?;
    has_all(&records, "9", "margay,raw", "/phases/load/fib_s")?;
    has_all(&records, "10", "margay,margay-keep", "/phases/drop/fib_s")?;
    has_all(&records, "11", "margay", "/phases/reload/keeper_silence_s")?;
    has_all(&records, "idle", "margay", "/phases/idle/wakeups_per_s")
}

#[test]
fn peers_take_the_policies_of_the_route_server_and_the_reload() -> Result<()> {
    if !have_root("peers_take_the_policies_of_the_route_server_and_the_reload") {
        return Ok(());
    }
    let records = bench("6,11", "margay,bird,frr,openbgpd")?;
    has_all(&records, "6", "bird,frr,openbgpd", "/phases/load/seconds")?;
    has_all(&records, "11", "bird,frr,openbgpd", "/phases/reload/seconds")
}
