//! How long the index takes for one change: 10,000 label sets, 1,000 selectors.
//!
//! `cargo run --release -p margay-model --example selector_index`

#![expect(clippy::disallowed_methods, reason = "an example measures time, the library never does")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use margay_model::{Selector, selector::Index};

const SETS: u32 = 10_000;
const SELECTORS: u32 = 1_000;

/// A pod: one of 50 namespaces, 200 applications, 4 roles.
fn labels(set: u32, generation: u32) -> BTreeMap<String, String> {
    [
        ("projectcalico.org/namespace".to_owned(), format!("ns-{}", set % 50)),
        ("app".to_owned(), format!("app-{}", (set + generation) % 200)),
        ("role".to_owned(), format!("role-{}", set % 4)),
        ("pcns.team".to_owned(), format!("team-{}", set % 10)),
        ("pod-template-hash".to_owned(), format!("{set:x}")),
    ]
    .into()
}

/// Mostly applications of a namespace, some wide ones, a few negative ones.
fn selector(number: u32) -> Selector {
    let text = match number % 10 {
        0 => format!("pcns.team == 'team-{}' && role in {{'role-1', 'role-2'}}", number % 7),
        1 if number % 100 == 1 => format!("!has(quarantine) && app != 'app-{}'", number % 200),
        _ => format!(
            "app == 'app-{}' && projectcalico.org/namespace == 'ns-{}'",
            number % 200,
            number % 50
        ),
    };
    text.parse().expect("these are selectors")
}

fn main() {
    let mut index = Index::new();
    let mut slowest = Duration::ZERO;
    for set in 0..SETS {
        index.set_labels(set, labels(set, 0));
    }
    let start = Instant::now();
    for number in 0..SELECTORS {
        index.set_selector(number, selector(number).expression().clone());
    }
    println!("a selector added: {:?} on average", start.elapsed() / SELECTORS);
    let (mut events, start) = (0, Instant::now());
    for set in 0..SETS {
        let before = Instant::now();
        events += index.set_labels(set, labels(set, 1)).len();
        slowest = slowest.max(before.elapsed());
    }
    println!(
        "a label set changed: {:?} on average, {slowest:?} at most, {events} events",
        start.elapsed() / SETS
    );
}
