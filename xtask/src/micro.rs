//! `bench --micro`: instructions of small fixed workloads, compared with those on record, so that a
//! regression shows on any machine, however busy.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};

use crate::{
    packages,
    step::{self, cargo},
    target_dir,
};

/// The figures on record, with the compiler they hold for.
const RECORD: &str = "bgpd/core/examples/micro.txt";
/// By so much of itself a figure may grow or shrink.
const TOLERANCE: f64 = 0.05;

/// Counts, compares and says what moved; with `update`, puts the new figures on record.
///
/// # Errors
/// When the workloads do not build or run.
pub fn run(update: bool) -> Result<ExitCode> {
    packages::install(packages::MICRO)?;
    let build = ["build", "--profile", "lab", "-p", "bgp-core", "--example", "micro"];
    step::run("build of the workloads", &mut cargo(&build))?;
    let target = target_dir()?;
    let program = target.join("lab/examples/micro");
    let names = said(Command::new(&program).arg("--list"))?;
    let mut now = BTreeMap::new();
    for name in names.lines() {
        now.insert(name.to_owned(), count(&program, name, &target.join("micro.callgrind"))?);
    }
    let compiler = said(Command::new("rustc").arg("--version"))?.trim().to_owned();
    if update {
        fs::write(RECORD, record(&compiler, &now))?;
        println!("written to {RECORD}");
        return Ok(ExitCode::SUCCESS);
    }
    let text = fs::read_to_string(RECORD).with_context(|| format!("reading {RECORD}"))?;
    let (theirs, before) = parse(&text).with_context(|| format!("{RECORD} is not understood"))?;
    let same = theirs == compiler;
    let mut moved = 0;
    for (name, count) in &now {
        let Some(known) = before.get(name) else {
            println!("{name:<14} {count:>12} instructions, none on record");
            moved += 1;
            continue;
        };
        let change = *count as f64 / *known as f64 - 1.0;
        let verdict = match () {
            () if !same => "",
            () if change > TOLERANCE => "  REGRESSION",
            () if change < -TOLERANCE => "  better: put it on record with --update",
            () => "",
        };
        moved += usize::from(!verdict.is_empty());
        println!("{name:<14} {count:>12} instructions, {:+.1} %{verdict}", change * 100.0);
    }
    if !same {
        println!(
            "NOT COMPARED: the record is of {theirs:?}, this is {compiler:?}. Check out what it is \
             of, and record it anew: cargo xtask bench --micro --update"
        );
        return Ok(ExitCode::SUCCESS);
    }
    Ok(if moved == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Instructions of one workload, without what prepares it.
fn count(program: &Path, name: &str, out: &Path) -> Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind", "--toggle-collect=*measured*"]);
    valgrind.arg(format!("--callgrind-out-file={}", out.display())).arg(program).arg(name);
    said(&mut valgrind)?;
    let text = fs::read_to_string(out).with_context(|| format!("reading {}", out.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total: u64 = total.context("callgrind says no total")?.trim().parse()?;
    if total == 0 {
        bail!("{name}: nothing was counted");
    }
    Ok(total)
}

fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn record(compiler: &str, counts: &BTreeMap<String, u64>) -> String {
    let mut text = format!("{compiler}\n");
    for (name, count) in counts {
        let _ = writeln!(text, "{name} {count}");
    }
    text
}

/// The inverse of [`record`].
fn parse(text: &str) -> Option<(String, BTreeMap<String, u64>)> {
    let mut lines = text.lines();
    let compiler = lines.next()?.to_owned();
    let entry = |line: &str| {
        let (name, count) = line.split_once(' ')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    Some((compiler, lines.map(entry).collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back() {
        let counts = BTreeMap::from([("decode".to_owned(), 5), ("insert-known".to_owned(), 7)]);
        let text = record("rustc 1.95.0", &counts);
        assert_eq!(parse(&text), Some(("rustc 1.95.0".to_owned(), counts)));
        assert_eq!(parse("rustc 1.95.0\ndecode five\n"), None);
    }
}
