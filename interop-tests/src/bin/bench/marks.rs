//! Where Margay must stand, and whether it does.

use std::fmt;

use crate::{
    daemon::Kind,
    report::{least, main_figure, memory_figure},
    results::Results,
    scenario::Scenario,
};

/// One requirement with its measurement.
#[derive(Debug, Clone)]
pub struct Mark {
    /// What is required, in words.
    pub what: String,
    /// What was measured, in words.
    pub measured: String,
    /// Whether that is good enough.
    pub met: bool,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.met { "met" } else { "MISSED" };
        write!(f, "mark {verdict}: {} ({})", self.what, self.measured)
    }
}

/// Less is better, `bound` is the most it may be.
fn at_most(what: impl Into<String>, value: f64, bound: f64, unit: &str) -> Mark {
    let digits = if bound >= 10.0 { 1 } else { 4 };
    Mark {
        what: what.into(),
        measured: format!("{value:.digits$}{unit}, may be {bound:.digits$}{unit}"),
        met: value <= bound,
    }
}

/// The marks of a scenario that its results allow to judge.
pub fn of(scenario: &Scenario, results: &Results) -> Vec<Mark> {
    let ours = |path: &str| results.median(scenario, Kind::Margay, path);
    let main = main_figure(scenario).path;
    let Some(value) = ours(&main) else {
        let failed = results.error(scenario, Kind::Margay).map(|why| Mark {
            what: "a result at all".into(),
            measured: why.into(),
            met: false,
        });
        return failed.into_iter().collect();
    };
    let fastest = least(scenario, results, &main);
    let floor = results.median(scenario, Kind::Floor, &main);
    let memory = memory_figure(scenario).path;
    let mut marks = Vec::new();
    let third =
        fastest.map(|f| at_most("time at most 1/3 of the fastest peer", value, f / 3.0, " s"));
    match scenario.name {
        "1" | "2" | "3" | "4" | "5" | "6" | "13" => marks.extend(third),
        "7" => {
            // The larger of the two bounds.
            let bounds = [fastest.map(|f| f / 3.0), floor.map(|f| f * 1.2)];
            let bound = bounds.into_iter().flatten().max_by(f64::total_cmp);
            let what = "time at most 1/3 of the fastest peer or 1.2 x the generator alone";
            marks.extend(bound.map(|bound| at_most(what, value, bound, " s")));
        }
        "8" => marks.push(at_most("probe delay p99 below 50 ms", value, 50.0, " ms")),
        "9" => {
            if let Some(raw) = results.median(scenario, Kind::Raw, &main) {
                marks.push(Mark {
                    what: "at least 90% of the raw batched netlink rate".into(),
                    measured: format!("{:.0}%", raw / value * 100.0),
                    met: value * 0.9 <= raw,
                });
            }
        }
        "10" => {
            let what = "kernel forwards over the surviving next hop in under 50 ms";
            marks.push(at_most(what, value * 1e3, 50.0, " ms"));
        }
        "11" => {
            let up = ours_all(results, scenario, "/phases/reload/keeper_up");
            marks.push(Mark {
                what: "no session bounced".into(),
                measured: format!("{} sessions with a hold time of 3 s stayed up", up.len()),
                met: !up.is_empty() && up.iter().all(|up| *up),
            });
            if let Some(silence) = ours("/phases/reload/keeper_silence_s") {
                let what = "a keep-alive never late (one a second, a quarter of tolerance)";
                marks.push(at_most(what, silence, 1.25, " s"));
            }
            if let Some(load) = ours("/phases/load/seconds") {
                let what = "new policy out in less than twice the time of the load";
                marks.push(at_most(what, value, 2.0 * load, " s"));
            }
        }
        "idle" => {
            marks.push(at_most("resident memory below 15 MB", value, 15.0, " MB"));
            if let Some(wakeups) = ours("/phases/idle/wakeups_per_s") {
                // Two sessions get a keep-alive every 20 s, and send one every 30 s.
                let what = "no wake-up without cause (a keep-alive may wake a few threads)";
                marks.push(at_most(what, wakeups, 1.0, " a second"));
            }
        }
        _ => {}
    }
    if let ("2", Some(floor)) = (scenario.name, floor) {
        let what = "time at most twice the generator talking to itself";
        marks.push(at_most(what, value, 2.0 * floor, " s"));
    }
    let bound = match scenario.name {
        "2" | "3" | "4" => results
            .median(scenario, Kind::Bird, &memory)
            .map(|bird| ("peak memory at most BIRD's", bird)),
        "5" | "6" | "13" => least(scenario, results, &memory)
            .map(|least| ("peak memory at most the leanest peer's", least)),
        _ => None,
    };
    if let (Some((what, bound)), Some(memory)) = (bound, ours(&memory)) {
        marks.push(at_most(what, memory, bound, " MB"));
    }
    marks
}

fn ours_all(results: &Results, scenario: &Scenario, path: &str) -> Vec<bool> {
    results.of(scenario, Kind::Margay).filter_map(|r| r.pointer(path)?.as_bool()).collect()
}
