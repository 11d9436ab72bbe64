//! The parts: what is run, what is required.

use anyhow::Result;
use interop_tests::{
    marks::Row,
    probe::{Line, find, run},
};

/// What the rows of the rules beside ours begin with.
const LINEAR: &str = "linear chains, ";
/// By so much what a packet costs may differ.
const FLAT: f64 = 1.2;

/// Changes of a large cluster, and the start in it.
pub fn changes(scale: f64) -> Result<Vec<Row>> {
    // A smaller cluster has not all kinds of endpoints on one node.
    let [cluster, local] = [(10_000.0, 1000.0), (250.0, 25.0)]
        .map(|(full, least): (f64, f64)| (full * scale).max(least).ceil().to_string());
    let lines = run("policy", &["changes".into(), cluster.clone(), cluster, local], None)?;
    let mut rows = Vec::new();
    let start = find(&lines, "start until")?;
    let seconds = start.figure("s")?;
    rows.push(Row {
        what: start.what.clone(),
        mark: "< 2 s".into(),
        amount: format!("{seconds:.2} s"),
        met: Some(seconds < 2.0),
        ..Row::default()
    });
    let all = find(&lines, "all by nft -f")?;
    let amount = format!("{:.2} s", all.figure("s")?);
    rows.push(Row { what: all.what.clone(), amount, ..Row::default() });
    for line in lines.iter().filter(|line| line.has("p50_ms")) {
        rows.push(change(line)?);
    }
    let memory = find(&lines, "memory in the end")?;
    let (now, most) = (memory.figure("mb")?, memory.figure("most_mb")?);
    rows.push(Row {
        what: "memory of the daemon".into(),
        mark: "< 150 MB".into(),
        amount: format!("{now} MB, at most {most} MB"),
        met: Some(now < 150.0),
        ..Row::default()
    });
    Ok(rows)
}

/// How long a change took, the bound it has if it is ours.
fn change(line: &Line) -> Result<Row> {
    let bounds = [("an address more", 1.0), ("is edited", 20.0), ("a pod", 10.0)];
    let bound = bounds.iter().find(|(words, _)| line.what.contains(words));
    let bound = bound.map(|(_, bound)| *bound).filter(|_| !line.what.starts_with(LINEAR));
    let median = line.figure("p50_ms")?;
    Ok(Row {
        what: line.what.clone(),
        mark: bound.map(|bound| format!("< {bound} ms")).unwrap_or_default(),
        amount: format!("at most {:.2} ms", line.figure("most_ms")?),
        median: format!("{median:.2} ms"),
        met: bound.map(|bound| median < bound),
        ..Row::default()
    })
}

/// What packets cost.
pub fn packets(scale: f64) -> Result<Vec<Row>> {
    let sizes = [10.0, 100.0, 1000.0, 10_000.0].into_iter();
    let sizes: Vec<f64> = sizes.filter(|size| *size <= (10_000.0 * scale).max(100.0)).collect();
    let mut arguments = vec!["packets".to_owned()];
    arguments.extend(sizes.iter().map(f64::to_string));
    let lines = run("policy", &arguments, None)?;
    let mut rows = Vec::new();
    let alone = find(&lines, "tracking alone")?;
    for (figure, packet) in
        [("known_ns", "a packet of a known connection"), ("first_ns", "the first of a connection")]
    {
        rows.push(Row {
            what: format!("{packet}: {}", alone.what),
            median: micros(alone.figure(figure)?),
            ..Row::default()
        });
        for words in ["policies of others", "policies of one pod"] {
            for keeper in ["margay, ", LINEAR] {
                let of = |line: &&Line| line.what.starts_with(keeper) && line.what.ends_with(words);
                let costs = lines.iter().filter(of).map(|line| line.figure(figure));
                let costs = costs.collect::<Result<Vec<f64>>>()?;
                rows.push(flat(
                    format!("{packet}: {keeper}{words}"),
                    &sizes,
                    &costs,
                    keeper != LINEAR,
                ));
            }
        }
    }
    Ok(rows)
}

/// A row over all numbers of policies.
fn flat(what: String, sizes: &[f64], costs: &[f64], is_marked: bool) -> Row {
    let each = sizes.iter().zip(costs).map(|(size, cost)| format!("{size}: {}", micros(*cost)));
    let (least, most) = costs
        .iter()
        .fold((f64::INFINITY, 0.0_f64), |(least, most), cost| (least.min(*cost), most.max(*cost)));
    Row {
        what,
        mark: if is_marked { "flat within 20 %".into() } else { String::new() },
        amount: each.collect::<Vec<_>>().join(", "),
        met: (is_marked && !costs.is_empty()).then_some(most <= least * FLAT),
        ..Row::default()
    }
}

fn micros(nanoseconds: f64) -> String {
    format!("{:.2} µs", nanoseconds / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_that_grows_with_policies_is_not_flat() {
        let row = |costs: &[f64]| flat("packets".into(), &[10.0, 100.0], costs, true);
        assert_eq!(row(&[5000.0, 5900.0]).met, Some(true));
        assert_eq!(row(&[5900.0, 5000.0]).met, Some(true));
        assert_eq!(row(&[5000.0, 6100.0]).met, Some(false));
        assert_eq!(row(&[]).met, None);
    }
}
