//! One SVG a scenario: a bar for each daemon, time above, memory below.

use std::fmt::Write as _;

use crate::{
    daemon::Kind,
    report::{Figure, main_figure, memory_figure},
    results::{Results, median},
    scenario::Scenario,
};

const WIDTH: f64 = 760.0;
const NAMES: f64 = 110.0;
const VALUES: f64 = 120.0;
const ROW: f64 = 26.0;

struct Bar {
    kind: Kind,
    value: f64,
    least: f64,
    most: f64,
}

/// A daemon without a figure, and why.
struct Missing<'a>(Kind, &'a str);

/// The chart of a scenario. Long bars are cut at twenty times the shortest daemon's, and say so.
pub fn svg(scenario: &Scenario, results: &Results) -> String {
    let mut figures = vec![main_figure(scenario)];
    if scenario.name != "idle" {
        figures.push(memory_figure(scenario));
    }
    let mut body = String::new();
    let mut y = 34.0;
    for figure in &figures {
        y = panel(&mut body, y, figure, &bars(scenario, results, figure));
    }
    for Missing(kind, why) in missing(scenario, results) {
        let why: String = why.chars().take(90).collect();
        let _ = writeln!(
            body,
            "<text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{}</text>\n\
             <text x=\"{NAMES}\" y=\"{y}\" fill=\"#555\">{}</text>",
            NAMES - 8.0,
            kind.name(),
            escape(&why)
        );
        y += ROW;
    }
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" \
         height=\"{y}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{y}\" fill=\"white\"/>\n"
    );
    let title = format!("{}: {}", scenario.name, scenario.title);
    let _ =
        writeln!(text, "<text x=\"10\" y=\"22\" font-weight=\"bold\">{}</text>", escape(&title));
    text + &body + "</svg>\n"
}

fn missing<'a>(scenario: &'a Scenario, results: &'a Results) -> Vec<Missing<'a>> {
    let path = main_figure(scenario).path;
    Kind::ALL
        .into_iter()
        .filter(|kind| results.good(scenario, *kind, &path).is_empty())
        .filter_map(|kind| Some(Missing(kind, results.error(scenario, kind)?)))
        .collect()
}

fn bars(scenario: &Scenario, results: &Results, figure: &Figure) -> Vec<Bar> {
    let bar = |kind: Kind| {
        let values = results.good(scenario, kind, &figure.path);
        Some(Bar {
            kind,
            value: median(&values)?,
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            most: values.iter().copied().fold(0.0, f64::max),
        })
    };
    Kind::ALL.into_iter().filter_map(bar).collect()
}

fn panel(out: &mut String, top: f64, figure: &Figure, bars: &[Bar]) -> f64 {
    let _ = writeln!(
        out,
        "<text x=\"10\" y=\"{}\" fill=\"#555\">{}, less is better</text>",
        top + 14.0,
        escape(figure.title)
    );
    let shortest = bars
        .iter()
        .filter(|b| !matches!(b.kind, Kind::Floor | Kind::Raw))
        .map(|b| b.value)
        .fold(f64::INFINITY, f64::min);
    let longest = bars.iter().map(|b| b.most).fold(0.0, f64::max);
    let limit = longest.min(shortest * 20.0).max(f64::MIN_POSITIVE);
    let room = WIDTH - NAMES - VALUES;
    let x = |value: f64| NAMES + room * (value / limit).min(1.0);
    let mut y = top + 22.0;
    for bar in bars {
        let middle = y + ROW / 2.0;
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            NAMES - 8.0,
            middle + 4.0,
            bar.kind.name()
        );
        let width = (x(bar.value) - NAMES).max(1.0);
        let _ = writeln!(
            out,
            "<rect x=\"{NAMES}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" fill=\"{}\"/>",
            y + 4.0,
            ROW - 8.0,
            colour(bar.kind)
        );
        let cut = bar.value > limit;
        if !cut && bar.most > bar.least {
            // The runs, from the best to the worst.
            let (from, to) = (x(bar.least), x(bar.most));
            let _ = writeln!(
                out,
                "<path d=\"M{from:.1} {middle} H{to:.1} M{from:.1} {} v8 M{to:.1} {} v8\" \
                 stroke=\"black\" fill=\"none\"/>",
                middle - 4.0,
                middle - 4.0
            );
        }
        let end = x(if cut { limit } else { bar.most.max(bar.value) });
        let note = if cut { " (cut)" } else { "" };
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{}\">{:.*}{note}</text>",
            end + 6.0,
            middle + 4.0,
            figure.digits,
            bar.value
        );
        y += ROW;
    }
    y + 14.0
}

fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Floor | Kind::Raw => "#c8c8c8",
        Kind::Margay | Kind::MargayKeep => "#d9622b",
        _ => "#5b84b1",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
