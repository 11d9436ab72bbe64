//! The interop matrix: every scenario with every peer, and the table that stands in the README.
//!
//! `cargo test -p interop-tests --test matrix -- frr` plays one column; `UPDATE_GOLDEN=1` writes
//! the table of a full run into the README.

use std::{env, path::Path, process::ExitCode, time::Instant};

use anyhow::{Context, Result, bail};
use interop_tests::{
    harness::{self, Outcome},
    matrix,
};

const BEGIN: &str = "<!-- interop table: written by tests/matrix.rs -->\n";
const END: &str = "<!-- end of interop table -->";

/// Most of a scenario is waiting for other people's timers.
const WORKERS: usize = 4;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let filters: Vec<String> =
        arguments.iter().filter(|argument| !argument.starts_with('-')).cloned().collect();
    let cases = matrix::cases();
    if arguments.iter().any(|argument| argument == "--list") {
        for case in &cases {
            println!("{}: test", case.name());
        }
        return ExitCode::SUCCESS;
    }
    if !testkit::have_root("the interop matrix") {
        return ExitCode::SUCCESS;
    }
    let start = Instant::now();
    let mut report = harness::run(&cases, &filters, WORKERS);
    if filters.is_empty() {
        let table = harness::table(&cases, &report);
        println!("\n{table}");
        let readme = readme(&table).map(|()| Outcome::Passed);
        report.push(("readme::the_same_table".into(), readme));
    }
    if harness::close(&report, start) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Compares the table with the README's, or writes it there.
fn readme(table: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(&path).context("reading README.md")?;
    let (before, rest) = text.split_once(BEGIN).context("README.md has no interop table")?;
    let (old, after) = rest.split_once(END).context("README.md's table has no end")?;
    if env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}"))?;
        return Ok(());
    }
    if let Some(difference) = testkit::golden::first_difference(old, table) {
        bail!("README.md's table: {difference}; UPDATE_GOLDEN=1 rewrites it");
    }
    Ok(())
}
