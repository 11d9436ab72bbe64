//! The programs that measure for a benchmark, and what they say.
//!
//! Each prints lines of `WHAT: NAME=NUMBER NAME=NUMBER …`, which a person reads as well.

use std::{collections::BTreeMap, process::Command};

use anyhow::{Context, Result, bail};
use testkit::{Host, margay::bin};

/// Seconds after which a program that measures is given up.
const PATIENCE: &str = "600";

/// What one line says.
#[derive(Debug)]
pub struct Line {
    /// What was measured.
    pub what: String,
    figures: BTreeMap<String, f64>,
}

impl Line {
    /// Whether it has a figure of that name.
    pub fn has(&self, name: &str) -> bool {
        self.figures.contains_key(name)
    }

    /// The figure of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn figure(&self, name: &str) -> Result<f64> {
        let figure = self.figures.get(name).copied();
        figure.with_context(|| format!("no {name} in the line {:?}", self.what))
    }
}

/// Runs an example to its end, in a namespace if one is given.
///
/// # Errors
/// When it fails, or says something else than lines.
pub fn run(example: &str, arguments: &[String], host: Option<&Host>) -> Result<Vec<Line>> {
    let program = bin(&format!("examples/{example}"))?;
    if !program.exists() {
        bail!("{} is missing; `cargo xtask bench` builds it with what runs it", program.display());
    }
    let mut command = Command::new("timeout");
    command.arg(PATIENCE).arg(program).args(arguments);
    let output = match host {
        Some(host) => host.output(&mut command)?,
        None => command.output().with_context(|| format!("running {example}"))?,
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{example}: {}: {}", output.status, said.trim());
    }
    let text = String::from_utf8(output.stdout).context("UTF-8")?;
    text.lines()
        .map(|text| line(text).with_context(|| format!("{example} says {text:?}")))
        .collect()
}

fn line(text: &str) -> Result<Line> {
    let (what, rest) = text.split_once(": ").context("a colon is missing")?;
    let figure = |text: &str| -> Result<(String, f64)> {
        let (name, number) = text.split_once('=').context("no figure")?;
        Ok((name.to_owned(), number.parse()?))
    };
    let figures = rest.split_whitespace().map(figure).collect::<Result<_>>()?;
    Ok(Line { what: what.to_owned(), figures })
}

/// The first line about something.
///
/// # Errors
/// When there is none.
pub fn find<'a>(lines: &'a [Line], about: &str) -> Result<&'a Line> {
    let found = lines.iter().find(|line| line.what.contains(about));
    found.with_context(|| format!("nothing was said about {about:?}"))
}
