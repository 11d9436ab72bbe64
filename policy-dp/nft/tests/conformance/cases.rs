//! Case files: a line is one thing.
//!
//! - `= NAME` begins a case: the nine pods of `x`, `y`, `z` and what the lines below say. `+ NAME`
//!   goes on from the case above, while it is in force.
//! - `knp`, `np`, `gnp`, `tier`, `set`, `gset`, `profile`, `slice NAME SPEC`: a resource; a slice
//!   is one of the service before the dot of its name. `namespace NAME`,
//!   `account NS/NAME`, `pod NS/NAME` with their labels; `profiles` and `ports NS/NAME` with a list.
//!   `gone WORD NAME` takes it away.
//! - `no FROM > TO : PROBES` and `ok` the same: the truth table, by hand. At first everything comes
//!   through; later lines win. Patterns are lists of `x/a`, `x/*`, `*/a`, `*`; probes are
//!   beginnings or ends of their names (`tcp`, `80`, `icmp8`), all if left out.

use std::collections::BTreeMap;

use crate::wire::{PROBES, Seen, places, pod};

/// A case: resources by word and name, and what is expected of them.
#[derive(Clone)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The text of each resource.
    pub objects: BTreeMap<(String, String), String>,
    /// What comes through, by hand.
    pub table: Seen,
}

impl Default for Case {
    fn default() -> Self {
        Self { name: String::new(), objects: BTreeMap::new(), table: Seen::all() }
    }
}

/// The cases of a file.
pub fn read(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().map(str::trim) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if matches!(word, "=" | "+") {
            let before = cases.last().filter(|_| word == "+").map(|case| case.objects.clone());
            let objects = before.unwrap_or_default();
            cases.push(Case { name: rest.into(), objects, table: Seen::all() });
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        match word {
            "" | "#" => {}
            "ok" | "no" => say(&mut case.table, rest, word == "ok"),
            "gone" => {
                let (word, name) = rest.split_once(' ').expect("gone WORD NAME");
                let was = case.objects.remove(&(word.to_owned(), name.to_owned()));
                assert!(was.is_some(), "{}: no {rest}", case.name);
            }
            _ => {
                let (name, spec) = rest.split_once(' ').expect("WORD NAME SPEC");
                case.objects.insert((word.to_owned(), name.to_owned()), spec.to_owned());
            }
        }
    }
    cases
}

fn say(table: &mut Seen, line: &str, came: bool) {
    let (pairs, probes) = line.split_once(" : ").unwrap_or((line, ""));
    let (sources, destinations) = pairs.split_once(" > ").expect("FROM > TO");
    let mut said = false;
    for (from, to, probe) in places() {
        let name = PROBES[probe].name;
        let mut words = probes.split_whitespace();
        let meant =
            probes.is_empty() || words.any(|word| name.starts_with(word) || name.ends_with(word));
        if meant && is_meant(sources, &pod(from)) && is_meant(destinations, &pod(to)) {
            table.set(from, to, probe, came);
            said = true;
        }
    }
    assert!(said, "this says nothing: {line}");
}

fn is_meant(patterns: &str, pod: &str) -> bool {
    patterns.split_whitespace().any(|pattern| match pattern.split_once('*') {
        Some((start, end)) => pod.starts_with(start) && pod.ends_with(end),
        None => pattern == pod,
    })
}
