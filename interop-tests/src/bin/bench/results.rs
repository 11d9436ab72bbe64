//! Results as lines of JSON: one a run, kept until the same scenario is run again with the same
//! daemon, so that a long benchmark can be made in pieces.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{daemon::Kind, scenario::Scenario};

/// All runs of one build and one scale.
#[derive(Debug)]
pub struct Results {
    file: PathBuf,
    records: Vec<Value>,
}

impl Results {
    /// What the file holds; nothing when there is none.
    pub fn open(file: &Path) -> Result<Self> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
            Err(e) => return Err(e).with_context(|| format!("reading {}", file.display())),
        };
        let records = text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .with_context(|| format!("{} is damaged: remove it", file.display()))?;
        Ok(Self { file: file.to_owned(), records })
    }

    /// Forgets what a new run replaces.
    pub fn forget(&mut self, scenario: &Scenario, kind: Kind) {
        self.records.retain(|r| r["scenario"] != scenario.name || r["daemon"] != kind.name());
    }

    /// Adds a run and writes the file.
    pub fn add(&mut self, record: Value) -> Result<()> {
        self.records.push(record);
        let text: String = self.records.iter().map(|record| format!("{record}\n")).collect();
        fs::write(&self.file, text).with_context(|| format!("writing {}", self.file.display()))
    }

    /// Runs of a daemon in a scenario, in the order they were made.
    pub fn of(&self, scenario: &Scenario, kind: Kind) -> impl Iterator<Item = &Value> {
        self.records
            .iter()
            .filter(move |r| r["scenario"] == scenario.name && r["daemon"] == kind.name())
    }

    /// The median of a figure over the good runs, by its path from the record.
    pub fn median(&self, scenario: &Scenario, kind: Kind, figure: &str) -> Option<f64> {
        median(&self.good(scenario, kind, figure))
    }

    /// The figure of every good run.
    pub fn good(&self, scenario: &Scenario, kind: Kind, figure: &str) -> Vec<f64> {
        self.of(scenario, kind)
            .filter(|r| r["error"].is_null())
            .filter_map(|r| r.pointer(figure)?.as_f64())
            .collect()
    }

    /// Why a daemon has no result, if it was tried.
    pub fn error(&self, scenario: &Scenario, kind: Kind) -> Option<&str> {
        self.of(scenario, kind).find_map(|r| r["error"].as_str())
    }

    /// The time of the first and the last run, as they were noted.
    pub fn span(&self) -> Option<(&str, &str)> {
        let mut times: Vec<&str> = self.records.iter().filter_map(|r| r["when"].as_str()).collect();
        times.sort_unstable();
        Some((times.first()?, times.last()?))
    }

    /// Is there anything of this scenario?
    pub fn has(&self, scenario: &Scenario) -> bool {
        self.records.iter().any(|r| r["scenario"] == scenario.name)
    }
}

/// The middle value, or the mean of the middle two.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(*upper);
    }
    values.get(middle.checked_sub(1)?).map(|lower| f64::midpoint(*lower, *upper))
}
