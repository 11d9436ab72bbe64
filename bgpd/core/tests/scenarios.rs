//! Golden scenarios of the RIB: `scenarios/<name>/{topology.txt,input.jsonl,expected.jsonl}`.
//!
//! Each is played as written, and must end the same when it is played batched, hurried, to blocked
//! peers, squashed to what is left of it, reversed, shuffled, with every session torn down in
//! between, with peers that come late, and over several shards. `UPDATE_GOLDEN=1` rewrites what is
//! expected.

mod common;
#[path = "scenario/input.rs"]
mod input;
#[path = "scenario/outcome.rs"]
mod outcome;
#[path = "scenario/play.rs"]
mod play;
#[path = "scenario/rules.rs"]
mod rules;
#[path = "scenario/topology.rs"]
mod topology;

use std::{fs, path::Path};

use input::{Net, Step};
use play::{Pace, Player};
use testkit::{golden, order};
use topology::Topology;

/// One way to the same end.
struct Way {
    name: String,
    steps: Vec<Step>,
    pace: Pace,
    shards: usize,
}

impl Way {
    fn new(name: &str, steps: Vec<Step>) -> Self {
        Self { name: name.to_owned(), steps, pace: Pace::Settled, shards: 1 }
    }
}

fn ways(topology: &Topology, written: &[Step]) -> Vec<Way> {
    let as_written = |name, pace, shards| Way { pace, shards, ..Way::new(name, written.to_vec()) };
    let mut ways = vec![
        as_written("over three shards", Pace::Settled, 3),
        as_written("to blocked peers", Pace::Blocked, 1),
    ];
    if topology.order_matters {
        return ways;
    }
    ways.push(as_written("batched", Pace::Batched, 1));
    ways.push(as_written("hurried", Pace::Hurried, 2));
    ways.push(as_written("with late next hops", Pace::NextHopsLate, 1));

    let net = Net::of(written);
    let from_ground = |parts: &[Vec<Step>]| [net.ground(), parts.concat()].concat();
    let reversed = |steps: Vec<Step>| steps.into_iter().rev().collect::<Vec<_>>();
    let squashed = from_ground(&[net.ups(), net.routes()]);
    ways.push(Way::new("squashed", squashed.clone()));
    ways.push(Way { pace: Pace::Batched, ..Way::new("squashed and batched", squashed) });
    let steps = from_ground(&[reversed(net.ups()), reversed(net.routes())]);
    ways.push(Way::new("reversed", steps));
    for (number, routes) in order::orders(&net.routes(), 6).into_iter().enumerate() {
        let steps = from_ground(&[net.ups(), routes]);
        ways.push(Way::new(&format!("in order {number}"), steps));
    }

    // Each session with its routes after the one before, so that most come up to a full table.
    let mut late = Vec::new();
    for peer in net.up.iter().rev() {
        late.push(Step::PeerUp(*peer));
        late.extend(net.announced_by(*peer));
    }
    let local: Vec<_> = net.local.values().cloned().collect();
    ways.push(Way::new("with late peers", from_ground(&[local.clone(), late.clone()])));
    let steps = from_ground(&[late, local]);
    ways.push(Way { pace: Pace::Hurried, ..Way::new("with late peers, hurried", steps) });

    let mut torn = written.to_vec();
    for peer in &net.up {
        torn.extend([Step::PeerDown(*peer), Step::PeerUp(*peer)]);
        torn.extend(net.announced_by(*peer));
    }
    ways.push(Way::new("with a teardown of every session", torn.clone()));
    ways.push(Way { pace: Pace::Hurried, ..Way::new("with a teardown, hurried", torn) });

    // Every route goes and comes, everything is asked for again.
    let mut churned = written.to_vec();
    for step in net.routes() {
        match &step {
            Step::Announce { peer, prefix, path_id, .. } => {
                churned.push(Step::Withdraw { peer: *peer, prefix: *prefix, path_id: *path_id });
            }
            Step::Local { source, prefix, .. } => {
                churned.push(Step::Local { source: *source, prefix: *prefix, route: None });
            }
            _ => {}
        }
        churned.push(step);
    }
    ways.push(Way { pace: Pace::Batched, ..Way::new("churned at once", churned.clone()) });
    churned.extend(net.up.iter().flat_map(|peer| [Step::SoftReset(*peer), Step::Refresh(*peer)]));
    ways.push(Way::new("churned and refreshed", churned));
    ways
}

fn run(folder: &Path) {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let topology = Topology::parse(&read("topology.txt"));
    let peers = topology.peers.iter().enumerate();
    let mut written: Vec<_> =
        peers.filter(|(_, peer)| !peer.starts_down).map(|(i, _)| Step::PeerUp(i)).collect();
    written.extend(input::parse(&read("input.jsonl"), &topology));

    let player = Player::play(&topology, &written, Pace::Settled, 1);
    let outcome = outcome::describe(&player);
    golden::assert_golden(folder.join("expected.jsonl"), &outcome);
    for way in ways(&topology, &written) {
        let player = Player::play(&topology, &way.steps, way.pace, way.shards);
        let other = outcome::describe(&player);
        if let Some(difference) = golden::first_difference(&outcome, &other) {
            panic!("{}, played {}: {difference}", folder.display(), way.name);
        }
    }
}

#[test]
fn every_scenario_ends_as_expected_whatever_the_order() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut names: Vec<_> = fs::read_dir(&folder)
        .expect("the folder of scenarios")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.is_dir())
        .collect();
    names.sort();
    assert!(names.len() >= 12, "{} scenarios", names.len());
    let only = std::env::var("SCENARIO").unwrap_or_default();
    let failed: Vec<_> = names
        .iter()
        .filter(|path| path.to_string_lossy().ends_with(&only))
        .filter(|path| std::panic::catch_unwind(|| run(path)).is_err())
        .collect();
    assert!(failed.is_empty(), "failed: {failed:#?}");
}
