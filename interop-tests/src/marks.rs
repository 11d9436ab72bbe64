//! What the benchmarks with marks share: a measurement, what is required of it, and the table of all.

use std::{fmt::Write as _, path::PathBuf};

use anyhow::{Context, Result};

use crate::docs;

/// Where results go: those of different builds and sizes do not mix.
///
/// # Errors
/// When the program does not know where it lies.
pub fn folder(profile: &str, scale: f64) -> Result<PathBuf> {
    let mut name = profile.to_owned();
    if scale < 1.0 {
        name += &format!("-{scale}");
    }
    if let Some(folder) = std::env::var_os("MARGAY_BENCH_DIR") {
        return Ok(PathBuf::from(folder).join(name));
    }
    let me = std::env::current_exe()?;
    let built = me.parent().context("this program lies nowhere")?;
    Ok(built.join("../bench").join(name))
}

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
    /// Whether the mark is met; `None` where there is none, or where nothing was measured that could
    /// be held against it.
    pub met: Option<bool>,
}

impl Row {
    /// For the console, while it runs.
    pub fn brief(&self) -> String {
        let verdict = match self.met {
            Some(true) => ": met",
            Some(false) => ": MISSED",
            None if self.mark.is_empty() => "",
            None => ": NOT MEASURED",
        };
        let figures = [&self.amount, &self.median, &self.p99].map(String::as_str);
        let figures: Vec<&str> = figures.into_iter().filter(|text| !text.is_empty()).collect();
        format!("{}: {}{verdict}", self.what, figures.join(", "))
    }
}

/// Where, what, and the table; `more` are lines about what else took part.
pub fn table(rows: &[Row], profile: &str, more: &[String]) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let measured = format!("measured: {}, margay {version}, profile {profile}", docs::now());
    let mut text = String::new();
    for line in docs::machine().iter().chain([&measured]).chain(more) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "- {line}");
    }
    text += "\n| what | mark | amount | median | p99 | |\n|---|---|--:|--:|--:|---|\n";
    for row in rows {
        let verdict = match row.met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None if row.mark.is_empty() => "",
            None => "**not measured**",
        };
        let Row { what, mark, amount, median, p99, .. } = row;
        let _ = writeln!(text, "| {what} | {mark} | {amount} | {median} | {p99} | {verdict} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_nothing_was_held_against_is_said_to_be_open() {
        let row = |mark: &str, met| Row { mark: mark.to_owned(), met, ..Row::default() };
        for (row, brief, cell) in [
            (row("< 4 kB", Some(true)), ": met", "| met |"),
            (row("< 4 kB", Some(false)), ": MISSED", "| **missed** |"),
            (row("< 4 kB", None), ": NOT MEASURED", "| **not measured** |"),
            (row("", None), ": ", "|  |"),
        ] {
            assert!(row.brief().ends_with(brief), "{}", row.brief());
            let table = table(&[row], "lab", &[]);
            assert!(table.trim_end().ends_with(cell), "{table}");
        }
    }
}
