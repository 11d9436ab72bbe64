//! Medians and ratios, as Markdown.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    chart,
    daemon::Kind,
    marks,
    results::Results,
    scenario::{SCENARIOS, Scenario},
};

/// A column: its heading, the path of the figure in a record, digits after the point.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Heading, with the unit.
    pub title: &'static str,
    /// As [`Value::pointer`] takes it.
    pub path: String,
    /// Digits after the point.
    pub digits: usize,
}

fn figure(title: &'static str, phase: &str, field: &str, digits: usize) -> Figure {
    Figure { title, path: format!("/phases/{phase}/{field}"), digits }
}

/// The figure a scenario is about: less is better.
pub fn main_figure(scenario: &Scenario) -> Figure {
    match scenario.name {
        "8" => figure("probe p99 ms", "churn", "probe/p99_ms", 1),
        "9" => figure("seconds until in the kernel", "load", "fib_s", 3),
        "10" => figure("seconds until the kernel forwards", "drop", "fib_s", 4),
        "idle" => figure("RSS MB", "idle", "rss_mb", 1),
        _ => figure("seconds", scenario.phase, "seconds", 3),
    }
}

/// The daemon's highest resident set.
pub fn memory_figure(scenario: &Scenario) -> Figure {
    figure("peak MB", scenario.phase, "peak_mb", 0)
}

fn other_figures(scenario: &Scenario) -> Vec<Figure> {
    let phase = scenario.phase;
    let mut columns = match scenario.name {
        "8" => vec![
            figure("p50 ms", phase, "probe/p50_ms", 1),
            figure("max ms", phase, "probe/max_ms", 1),
            figure("lost", phase, "probe/lost", 0),
        ],
        "9" => vec![figure("monitor s", phase, "seconds", 3)],
        "10" => vec![
            figure("first s", phase, "fib_first_s", 4),
            figure("last wrong s", phase, "fib_wrong_s", 4),
            figure("monitor s", phase, "seconds", 3),
        ],
        "11" => vec![
            figure("load s", "load", "seconds", 3),
            figure("longest silence, load s", "load", "keeper_silence_s", 2),
            figure("reload s", phase, "keeper_silence_s", 2),
        ],
        "idle" => vec![
            figure("wake-ups/s", phase, "wakeups_per_s", 1),
            figure("CPU ms/s", phase, "cpu_ms_per_s", 2),
        ],
        _ => vec![figure("UPDATEs told", phase, "updates", 0)],
    };
    if scenario.name != "idle" {
        columns.push(figure("CPU s", phase, "cpu_s", 2));
        columns.push(figure("others' CPU s", phase, "other_cpu_s", 1));
    }
    columns.push(memory_figure(scenario));
    columns
}

/// The least main figure among other people's daemons.
pub fn best_peer(scenario: &Scenario, results: &Results) -> Option<f64> {
    least(scenario, results, &main_figure(scenario).path)
}

/// The least of a figure among other people's daemons.
pub fn least(scenario: &Scenario, results: &Results, path: &str) -> Option<f64> {
    Kind::ALL
        .into_iter()
        .filter(|kind| kind.is_peer())
        .filter_map(|kind| results.median(scenario, kind, path))
        .min_by(f64::total_cmp)
}

/// One run in a line.
pub fn brief(scenario: &Scenario, record: &Value) -> String {
    if let Some(why) = record["error"].as_str() {
        return why.to_owned();
    }
    let mut text = String::new();
    for figure in [main_figure(scenario)].iter().chain(&other_figures(scenario)) {
        if let Some(value) = record.pointer(&figure.path).and_then(Value::as_f64) {
            let _ = write!(text, "{} {value:.*}  ", figure.title, figure.digits);
        }
    }
    if let Some(differs) = differs(record) {
        text += &differs;
    }
    text
}

/// What the comparison with the reference found, if anything.
fn differs(record: &Value) -> Option<String> {
    for (name, phase) in record["phases"].as_object()? {
        let compared = &phase["compared"];
        let (altered, invented) = (compared["altered"].as_u64(), compared["invented"].as_u64());
        let (altered, invented) = (altered.unwrap_or(0), invented.unwrap_or(0));
        if altered + invented > 0 {
            return Some(format!(
                "after {name}, of {} paths {altered} have other attributes than were sent, \
                 {invented} are nobody's",
                compared["paths"]
            ));
        }
    }
    None
}

/// The table of one scenario, its marks below.
pub fn section(scenario: &Scenario, results: &Results) -> String {
    let (first, others) = (main_figure(scenario), other_figures(scenario));
    let best = best_peer(scenario, results);
    let mut text = format!("### {}: {}\n\n", scenario.name, scenario.title);
    let mut rule = String::from("|---|--:|--:|--:|");
    let _ = write!(text, "| daemon | {} | min-max | x best peer |", first.title);
    for figure in &others {
        let _ = write!(text, " {} |", figure.title);
        rule += "--:|";
    }
    let _ = write!(text, " runs |\n{rule}--:|\n");
    let mut notes = Vec::new();
    for kind in Kind::ALL {
        let values = results.good(scenario, kind, &first.path);
        let Some(middle) = crate::results::median(&values) else {
            if let Some(why) = results.error(scenario, kind) {
                notes.push(format!("{}: {}", kind.name(), one_line(why)));
            }
            continue;
        };
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        let ratio = best.map_or("-".to_owned(), |best| format!("{:.2}", middle / best));
        let _ = write!(
            text,
            "| {} | {middle:.*} | {least:.*}-{most:.*} | {ratio} |",
            kind.name(),
            first.digits,
            first.digits,
            first.digits
        );
        for figure in &others {
            let value = results.median(scenario, kind, &figure.path);
            let _ = match value {
                Some(value) => write!(text, " {value:.*} |", figure.digits),
                None => write!(text, " - |"),
            };
        }
        let _ = writeln!(text, " {} |", values.len());
        notes.extend(
            results.of(scenario, kind).find_map(differs).map(|d| format!("{}: {d}", kind.name())),
        );
    }
    text.push('\n');
    for note in notes {
        let _ = writeln!(text, "- {note}");
    }
    for mark in marks::of(scenario, results) {
        let _ = writeln!(text, "- {mark}");
    }
    text
}

fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(200).collect()
}

/// Writes `results.md` and a chart for each scenario that has results.
pub fn write(folder: &Path, results: &Results) -> Result<()> {
    let mut text = String::from("# Benchmark\n");
    for scenario in SCENARIOS.iter().filter(|s| results.has(s)) {
        let _ = write!(text, "\n{}", section(scenario, results));
        let file = folder.join(format!("scenario-{}.svg", scenario.name));
        fs::write(&file, chart::svg(scenario, results))
            .with_context(|| format!("writing {}", file.display()))?;
    }
    let file = folder.join("results.md");
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))
}
