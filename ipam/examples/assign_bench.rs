//! What the planner alone costs: `cargo run --profile lab -p margay-ipam --example assign_bench`.

#![allow(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use margay_ipam::{
    Ask, Block, Handle, Owner, Pool, Pools, Request, Reservations, Settings, UnixMillis, View,
    World, plan, view::Stored,
};
use margay_model::Revision;

fn owner(node: &str) -> Owner {
    Owner { node: node.try_into().expect("a name"), instance: "one".try_into().expect("a name") }
}

fn request(at: usize) -> Ask {
    let handle: Handle = format!("k8s-pod-network.{at:064}").as_str().try_into().expect("a handle");
    let mut request = Request::any(handle, 1, 0);
    for (name, value) in [("pod", "web-5d9c7b-x2x4z"), ("namespace", "shop"), ("node", "n1")] {
        request.attributes.insert(name.into(), value.into());
    }
    Ask::Assign(request)
}

/// Assigns one by one, each plan written out and read back into the view.
fn run(what: &str, others: usize, together: usize, rounds: usize) {
    let host = owner("n1");
    let pools =
        Pools::new([Pool::new("a", "10.0.0.0/12".parse().expect("a net"), 26).expect("a pool")]);
    let (settings, reservations, busy) = (
        Settings { cooldown: Duration::ZERO, ..Settings::default() },
        Reservations::default(),
        BTreeSet::new(),
    );
    let mut view = View::default();
    let mut revision = 0;
    for at in 0..others {
        let cidr = format!("10.{}.{}.{}/26", at >> 10, (at >> 2) & 255, (at & 3) * 64);
        let node = owner(&format!("other{}", at % 200));
        let cidr = cidr.parse().expect("a net");
        let block = Block::new("a", cidr, node, UnixMillis(1)).expect("a block");
        revision += 1;
        view.put(cidr, Revision(revision), Stored::Sound(Arc::new(block)));
    }
    let mut slowest = Duration::ZERO;
    let begin = Instant::now();
    for round in 0..rounds {
        let asks: Vec<Ask> = (0..together).map(|at| request(round * together + at)).collect();
        let start = Instant::now();
        let world = World {
            host: &host,
            view: &view,
            pools: &pools,
            reservations: &reservations,
            busy: &busy,
            settings: &settings,
            now: UnixMillis(2),
        };
        let plan = plan(world, &asks, 0);
        for step in plan.steps {
            assert!(!step.txn().writes.is_empty());
            revision += 1;
            let block = step.after.expect("an assignment deletes nothing");
            view.put(step.cidr, Revision(revision), Stored::Sound(block));
        }
        slowest = slowest.max(start.elapsed());
    }
    let took = begin.elapsed();
    let count = rounds * together;
    let each = took / u32::try_from(count).expect("few");
    println!(
        "{what}: {:.0} addresses a second, {each:?} each, slowest plan {slowest:?}",
        count as f64 / took.as_secs_f64()
    );
}

fn main() {
    run("one a commit, empty cluster", 0, 1, 2000);
    run("one a commit, 5000 blocks of others", 5000, 1, 2000);
    run("fifty a commit, 5000 blocks of others", 5000, 50, 200);
}
