//! How long the index takes for one change: 10,000 label sets, 1,000 selectors.
//!
//! `cargo run --release -p margay-model --example selector_index -- [SETS] [SELECTORS]`

#![expect(clippy::disallowed_methods, reason = "an example measures time, the library never does")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use margay_model::{Selector, selector::Index};

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

/// A line of what it took, in microseconds.
fn tell(what: &str, mut times: Vec<Duration>, events: usize) {
    times.sort();
    let us = |part: usize| {
        let at = times.get(times.len() * part / 1000).or(times.last());
        at.map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    println!(
        "{what}: count={} events={events} p50_us={:.1} p99_us={:.1} max_us={:.1}",
        times.len(),
        us(500),
        us(990),
        us(1000)
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |or| arguments.next().map_or(or, |text| text.parse().expect("a number"));
    let (sets, selectors) = (number(10_000), number(1_000));
    let mut index = Index::new();
    for set in 0..sets {
        index.set_labels(set, labels(set, 0));
    }
    let timed = |change: &mut dyn FnMut() -> usize| {
        let start = Instant::now();
        let events = change();
        (start.elapsed(), events)
    };
    let (mut times, mut events) = (Vec::new(), 0);
    for number in 0..selectors {
        let expression = selector(number).expression().clone();
        let (took, some) = timed(&mut || index.set_selector(number, expression.clone()).len());
        times.push(took);
        events += some;
    }
    tell("a selector added", times, events);
    let (mut times, mut events) = (Vec::new(), 0);
    for set in 0..sets {
        let labels = labels(set, 1);
        let (took, some) = timed(&mut || index.set_labels(set, labels.clone()).len());
        times.push(took);
        events += some;
    }
    tell("a label set changed", times, events);
}
