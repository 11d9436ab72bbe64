//! One table of everything, and the section of `docs/performance.md`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use interop_tests::{
    docs,
    marks::{self, Row},
};

/// Where, what, and the table.
pub fn text(rows: &[Row], profile: &str) -> String {
    let etcd = etcd_version().map(|version| format!("etcd: {version}"));
    marks::table(rows, profile, etcd.as_slice())
}

/// Puts the table into the document; returns where.
///
/// # Errors
/// When the file cannot be read or written.
pub fn write_docs(table: &str) -> Result<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
    let old = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    fs::write(&file, docs::IPAM.with_table(&old, table))
        .with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

fn etcd_version() -> Option<String> {
    let output = Command::new("etcd").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().and_then(|line| line.split_once(": ")).map(|(_, v)| v.to_owned())
}
