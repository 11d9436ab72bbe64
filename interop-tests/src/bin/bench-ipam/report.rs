//! One table of everything, and the section of `docs/performance.md`.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use interop_tests::docs;

/// One measurement, and the mark it is held against if there is one.
#[derive(Debug, Default)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// What is required, in words.
    pub mark: String,
    /// How often a second, or how much, with its unit.
    pub amount: String,
    /// The median, with its unit.
    pub median: String,
    /// The 99th percentile, with its unit.
    pub p99: String,
    /// Whether the mark is met; `None` where there is none.
    pub met: Option<bool>,
}

impl Row {
    /// For the console, while it runs.
    pub fn brief(&self) -> String {
        let verdict = match self.met {
            Some(true) => ": met",
            Some(false) => ": MISSED",
            None => "",
        };
        let figures = [&self.amount, &self.median, &self.p99].map(String::as_str);
        let figures: Vec<&str> = figures.into_iter().filter(|text| !text.is_empty()).collect();
        format!("{}: {}{verdict}", self.what, figures.join(", "))
    }
}

/// Where, what, and the table.
pub fn text(rows: &[Row], profile: &str) -> String {
    let mut text = String::new();
    for line in docs::machine() {
        let _ = writeln!(text, "- {line}");
    }
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(text, "- measured: {}, margay {version}, profile {profile}", docs::now());
    if let Some(etcd) = etcd_version() {
        let _ = writeln!(text, "- etcd: {etcd}");
    }
    text += "\n| what | mark | amount | median | p99 | |\n|---|---|--:|--:|--:|---|\n";
    for row in rows {
        let verdict = match row.met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        let Row { what, mark, amount, median, p99, .. } = row;
        let _ = writeln!(text, "| {what} | {mark} | {amount} | {median} | {p99} | {verdict} |");
    }
    text
}

/// Puts the table into the document; returns where.
///
/// # Errors
/// When the file cannot be read or written.
pub fn write_docs(table: &str) -> Result<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
    let old = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    fs::write(&file, docs::with_ipam_table(&old, table))
        .with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

fn etcd_version() -> Option<String> {
    let output = Command::new("etcd").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().and_then(|line| line.split_once(": ")).map(|(_, v)| v.to_owned())
}
