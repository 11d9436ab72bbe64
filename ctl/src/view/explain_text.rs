//! `margay routes explain` as a text to read from top to bottom: which paths there are, how the
//! best was found, what the kernel got, and who was told what.

use std::io::{self, Write};

use margay_proto::v1::StepOutcome;

use super::{
    explain::{Advertisement, Comparison, Explanation, Path, PolicyTrace, RuleHit, Step},
    route::Route,
    tame,
};
use crate::{
    output::{
        Sheet,
        table::{Paint, Tone},
    },
    values::{as_path_text, duration, list},
};

impl Sheet for Explanation {
    fn text(&self, _wide: bool, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "{}: {}", paint.tone(Tone::Strong, self.prefix.as_str()), self.headline())?;
        if !self.paths.is_empty() {
            title(to, paint, "PATHS")?;
        }
        for (index, path) in self.paths.iter().enumerate() {
            self.path(index, path, paint, to)?;
        }
        if !self.decision.is_empty() {
            title(to, paint, "DECISION")?;
        }
        for comparison in &self.decision {
            self.comparison(comparison, paint, to)?;
        }
        if !self.paths.is_empty() || self.fib.is_some() {
            title(to, paint, "KERNEL")?;
            let note = self.fib_note.as_deref().unwrap_or("nothing was asked for");
            let text = self.fib.as_ref().map_or_else(|| tame(note), |fib| fib.summary());
            writeln!(to, "  {text}")?;
        }
        if !self.advertisements.is_empty() {
            title(to, paint, "ADVERTISED")?;
        }
        let width = self.advertisements.iter().map(|told| told.peer.chars().count()).max();
        for told in &self.advertisements {
            advertisement(told, width.unwrap_or(0), paint, to)?;
        }
        Ok(())
    }
}

impl Explanation {
    fn headline(&self) -> String {
        let best = self.paths.iter().position(|path| path.route.best);
        let count = match self.paths.len() {
            1 => "1 path".to_owned(),
            count => format!("{count} paths"),
        };
        let Some(best) = best else { return format!("{count}, none of them is eligible") };
        let reason = match self.paths.get(best).and_then(|path| path.route.reason) {
            Some("only-path") => ", the only eligible one".to_owned(),
            Some(reason) => format!(", preferred by {reason}"),
            None => String::new(),
        };
        format!("{count}, best is {}{reason}", self.name(best))
    }

    /// `[1] tor1`: paths are counted from 1 for humans.
    fn name(&self, index: usize) -> String {
        let whence = self.paths.get(index).map_or("?".to_owned(), |path| whence(&path.route));
        format!("[{}] {whence}", index + 1)
    }

    fn path(&self, index: usize, path: &Path, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        let route = &path.route;
        let (verdict, tone) = self.verdict(index, path);
        let id = route.path_id.map(|id| format!(" path-id {id}")).unwrap_or_default();
        let name = format!("{}{id}", self.name(index));
        writeln!(to, "  {}  {}", paint.tone(Tone::Strong, name), paint.tone(tone, verdict))?;
        let next_hop = match (path.next_hop_reachable, path.igp_metric) {
            (Some(true), Some(metric)) => format!(", reachable with metric {metric}"),
            (Some(true), None) => ", reachable".to_owned(),
            (Some(false), _) => format!(", {}", paint.tone(Tone::Bad, "unreachable")),
            (None, _) => String::new(),
        };
        writeln!(to, "      next hop {}{next_hop}", next_hops(route))?;
        writeln!(to, "      {}", attributes(route))?;
        for line in optional_attributes(route) {
            writeln!(to, "      {line}")?;
        }
        let installed = if route.installed { ", installed" } else { "" };
        let stale = if route.stale { ", stale" } else { "" };
        writeln!(to, "      age {}{installed}{stale}", duration(route.age_seconds))?;
        match &path.import {
            Some(trace) => policy("import", trace, 6, paint, to),
            None => Ok(()),
        }
    }

    /// What became of a path.
    fn verdict(&self, index: usize, path: &Path) -> (String, Tone) {
        let route = &path.route;
        let reason = route.reason.unwrap_or("unknown reason");
        if route.best {
            return ("best".to_owned(), Tone::Good);
        }
        if !path.eligible {
            return (format!("not eligible: {reason}"), Tone::Bad);
        }
        let beaten_by = self.decision.iter().find(|comparison| comparison.loser as usize == index);
        let beaten_by =
            beaten_by.map(|comparison| format!(" against [{}]", u64::from(comparison.winner) + 1));
        let lost = format!("lost by {reason}{}", beaten_by.unwrap_or_default());
        if route.multipath {
            (format!("used beside the best (multipath); {lost}"), Tone::Good)
        } else {
            (lost, Tone::Plain)
        }
    }

    fn comparison(
        &self,
        comparison: &Comparison,
        paint: Paint,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        let Comparison { winner, loser, neighbor_asn, steps } = comparison;
        let (winner, loser) = (self.name(*winner as usize), self.name(*loser as usize));
        let among = neighbor_asn.map(|asn| format!(", among the paths of AS {asn}"));
        writeln!(to, "  {winner} against {loser}{}", among.unwrap_or_default())?;
        let width = |text: fn(&Step) -> &str, least: usize| {
            steps.iter().map(|step| text(step).chars().count()).max().unwrap_or(0).max(least)
        };
        let (short_winner, short_loser) = (bracketed(&winner), bracketed(&loser));
        let step_width = width(|step| step.step.unwrap_or("?"), 4);
        let winner_width = width(|step| &step.winner_value, short_winner.len());
        let loser_width = width(|step| &step.loser_value, short_loser.len());
        let line = |step: &str, winner: &str, loser: &str, outcome: &str| {
            let (winner, loser) = (tame(winner), tame(loser));
            format!(
                "      {step:<step_width$}  {winner:>winner_width$}  {loser:>loser_width$}  {outcome}"
            )
        };
        writeln!(
            to,
            "{}",
            paint.tone(Tone::Dim, line("step", short_winner, short_loser, "outcome"))
        )?;
        for step in steps {
            let name = step.step.unwrap_or("?");
            let note = step.note.as_deref().map(|note| format!(" ({})", tame(note)));
            let note = note.unwrap_or_default();
            let (outcome, tone) = match step.outcome {
                Some(outcome) if outcome == StepOutcome::Decided.name() => {
                    (format!("decided: {short_winner} wins{note}"), Tone::Good)
                }
                Some(outcome) if outcome == StepOutcome::Skipped.name() => {
                    (format!("skipped{note}"), Tone::Dim)
                }
                _ => (format!("equal{note}"), Tone::Plain),
            };
            let text = line(name, &step.winner_value, &step.loser_value, &outcome);
            writeln!(to, "{}", paint.tone(tone, text))?;
        }
        Ok(())
    }
}

fn advertisement(
    told: &Advertisement,
    width: usize,
    paint: Paint,
    to: &mut dyn Write,
) -> io::Result<()> {
    let peer = tame(&told.peer);
    let text = told.text.as_deref().or(told.reason.as_deref()).map(tame);
    if told.sent {
        writeln!(to, "  {peer:<width$}  {}", paint.tone(Tone::Good, "sent"))?;
        for (index, route) in told.routes.iter().enumerate() {
            let from = told.from_paths.get(index);
            let from = from.map(|from| format!("from [{}]: ", u64::from(*from) + 1));
            let id = route.path_id.map(|id| format!("path-id {id}, ")).unwrap_or_default();
            let next_hop = next_hops(route);
            writeln!(to, "      {}{id}next hop {next_hop}", from.unwrap_or_default())?;
            writeln!(to, "      {}", attributes(route))?;
            for line in optional_attributes(route) {
                writeln!(to, "      {line}")?;
            }
        }
        if let Some(text) = text {
            writeln!(to, "      {text}")?;
        }
    } else {
        let why = text.unwrap_or_else(|| "for a reason the daemon does not tell".to_owned());
        writeln!(to, "  {peer:<width$}  {}: {why}", paint.tone(Tone::Warn, "not sent"))?;
    }
    match &told.export {
        Some(trace) => policy("export", trace, 6, paint, to),
        None => Ok(()),
    }
}

fn policy(
    direction: &str,
    trace: &PolicyTrace,
    indent: usize,
    paint: Paint,
    to: &mut dyn Write,
) -> io::Result<()> {
    let (verdict, tone) =
        if trace.accepted { ("accepted", Tone::Good) } else { ("rejected", Tone::Bad) };
    let verdict = paint.tone(tone, verdict);
    let note = trace.note.as_deref().map(|note| format!(" ({})", tame(note))).unwrap_or_default();
    match &trace.policy {
        Some(name) => writeln!(to, "{:indent$}{direction} policy {name}: {verdict}{note}", "")?,
        None => writeln!(to, "{:indent$}no {direction} policy: {verdict}{note}", "")?,
    }
    for RuleHit { index, name, action, changes } in &trace.rules {
        let rule = match (index, name) {
            (Some(index), Some(name)) => format!("rule {index} {name:?}"),
            (Some(index), None) => format!("rule {index}"),
            (None, _) => "default".to_owned(),
        };
        let action = action.unwrap_or("?");
        let changes = if changes.is_empty() {
            String::new()
        } else {
            format!(", sets {}", list(changes, ", "))
        };
        writeln!(to, "{:indent$}  {rule}: {action}{changes}", "")?;
    }
    Ok(())
}

/// What every route has.
fn attributes(route: &Route) -> String {
    let path = as_path_text(&route.as_path);
    let path = if path.is_empty() { "empty".to_owned() } else { path };
    let number = |value: Option<u32>| value.map_or("-".to_owned(), |value| value.to_string());
    let mut text = format!(
        "as path {path}, origin {}, local-pref {}, med {}",
        route.origin.unwrap_or("?"),
        number(route.local_pref),
        number(route.med)
    );
    if route.weight > 0 {
        text.push_str(&format!(", weight {}", route.weight));
    }
    text
}

/// What only some routes have, a line each.
fn optional_attributes(route: &Route) -> Vec<String> {
    let mut lines = Vec::new();
    for (label, values) in [
        ("communities", &route.communities),
        ("large communities", &route.large_communities),
        ("extended communities", &route.ext_communities),
    ] {
        if !values.is_empty() {
            lines.push(format!("{label} {}", list(values, " ")));
        }
    }
    if let Some(originator) = &route.originator_id {
        let clusters = list(&route.cluster_list, " ");
        lines.push(format!("reflected: originator {originator}, cluster list {clusters}"));
    }
    if let Some(aggregator) = &route.aggregator {
        let atomic = if route.atomic_aggregate { ", atomic" } else { "" };
        lines.push(format!("aggregated by AS {} {}{atomic}", aggregator.asn, aggregator.address));
    }
    if let Some(rpki) = route.rpki {
        lines.push(format!("rpki {rpki}"));
    }
    lines
}

fn next_hops(route: &Route) -> String {
    match (&route.next_hop, &route.next_hop_link_local) {
        (Some(global), Some(link_local)) => format!("{global} ({link_local})"),
        (Some(address), None) | (None, Some(address)) => address.clone(),
        (None, None) if route.peer.is_none() => "ourselves".to_owned(),
        (None, None) => "none".to_owned(),
    }
}

fn whence(route: &Route) -> String {
    match (&route.peer, route.source) {
        (Some(peer), _) => tame(peer),
        (None, Some(source)) => format!("our own ({source})"),
        (None, None) => "our own".to_owned(),
    }
}

/// The `[1]` of `[1] tor1`.
fn bracketed(name: &str) -> &str {
    name.split_once(' ').map_or(name, |(bracketed, _)| bracketed)
}

fn title(to: &mut dyn Write, paint: Paint, title: &'static str) -> io::Result<()> {
    writeln!(to, "\n{}", paint.tone(Tone::Strong, title))
}
