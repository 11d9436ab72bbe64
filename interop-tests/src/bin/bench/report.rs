//! Medians and ratios, as Markdown.

use std::fmt::Write as _;

use crate::{
    daemon::Kind,
    scenario::{Sample, Scenario},
};

/// Everything measured so far, in the order it came.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<(&'static str, &'static str, Kind, Result<Sample, String>)>,
}

impl Report {
    /// Takes the outcome of one run.
    pub fn add(&mut self, scenario: &Scenario, kind: Kind, result: Result<Sample, String>) {
        self.rows.push((scenario.name, scenario.title, kind, result));
    }

    /// The table of one scenario.
    pub fn table(&self, scenario: &Scenario) -> String {
        let of = |kind: Kind| {
            self.rows.iter().filter(move |r| r.0 == scenario.name && r.2 == kind).map(|r| &r.3)
        };
        let good = |kind: Kind| -> Vec<Sample> {
            of(kind).filter_map(|r| r.as_ref().ok()).copied().collect()
        };
        let is_peer = |kind: &Kind| !matches!(kind, Kind::Floor | Kind::Margay);
        let fastest = Kind::ALL
            .into_iter()
            .filter(is_peer)
            .filter_map(|kind| median(&good(kind), |s| s.seconds))
            .min_by(f64::total_cmp);
        let mut text = format!(
            "### {}\n\n| daemon | seconds | min-max | x fastest peer | CPU s | peak MB | UPDATEs | runs |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|\n",
            scenario.title
        );
        for kind in Kind::ALL {
            let samples = good(kind);
            let Some(seconds) = median(&samples, |s| s.seconds) else {
                if let Some(Err(why)) = of(kind).next() {
                    let _ = writeln!(text, "| {} | {why} | | | | | | 0 |", kind.name());
                }
                continue;
            };
            let show = |field: fn(&Sample) -> f64| median(&samples, field).unwrap_or(f64::NAN);
            let least = samples.iter().map(|s| s.seconds).fold(f64::INFINITY, f64::min);
            let most = samples.iter().map(|s| s.seconds).fold(0.0, f64::max);
            let ratio = fastest.map_or("-".to_owned(), |f| format!("{:.2}", seconds / f));
            let _ = writeln!(
                text,
                "| {} | {seconds:.3} | {least:.3}-{most:.3} | {ratio} | {:.2} | {:.0} | {:.0} | {} |",
                kind.name(),
                show(|s| s.cpu_seconds),
                show(|s| s.peak_mb),
                show(|s| s.updates),
                samples.len()
            );
        }
        text
    }

    /// Everything, with versions.
    pub fn markdown(&self, daemons: &[Kind]) -> String {
        let mut text = "# Benchmark\n\n".to_owned();
        for kind in daemons {
            let _ = writeln!(text, "- {}: {}", kind.name(), kind.version());
        }
        for scenario in crate::SCENARIOS {
            if self.rows.iter().any(|r| r.0 == scenario.name) {
                let _ = write!(text, "\n{}", self.table(scenario));
            }
        }
        text
    }
}

fn median(samples: &[Sample], field: impl Fn(&Sample) -> f64) -> Option<f64> {
    let mut values: Vec<f64> = samples.iter().map(field).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(*upper);
    }
    values.get(middle.checked_sub(1)?).map(|lower| (lower + upper) / 2.0)
}
