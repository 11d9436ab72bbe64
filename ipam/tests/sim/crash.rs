//! Everything that can go wrong with a commit goes wrong with each commit of a run, one after the
//! other: the daemon dies before the store has it, after, and long before it arrives; or it lives
//! and never hears what came of it.

use std::collections::BTreeSet;

use margay_ipam::{Handle, Pool, Pools, Request, Settings, Want, split::split};

use crate::{
    truth::{assert_clean, assert_whole, settle},
    world::{CrashPoint, Mishap, World, ms, secs},
};

/// Lets time go by, and starts what died on the way.
fn revive(world: &mut World, time: std::time::Duration) {
    world.run(time);
    if let Some(node) = world.crashed.take() {
        world.start_later(node, ms(300));
    }
}

/// Claims, assignments, borrowing, releases, a node that goes: every kind of write there is.
fn scenario(crash: Option<CrashPoint>, cooldown: u64) -> World {
    let pools = Pools::new([Pool::new("a", "10.0.0.0/28".parse().unwrap(), 30).unwrap()]);
    let settings = Settings { cooldown: secs(cooldown), ..Settings::default() };
    let mut world = World::new(7, pools, settings, 3);
    world.crash = crash;
    revive(&mut world, secs(1));
    for pod in 0..12 {
        world.add_pod(pod % 3, &format!("pod{pod}"), 1);
        revive(&mut world, ms(40));
    }
    for (node, pod) in [(0, "pod0"), (0, "pod3"), (1, "pod1"), (2, "pod2")] {
        let handle = pod.try_into().unwrap();
        world.delete_pod(node, &handle);
        revive(&mut world, ms(30));
    }
    // More than the own blocks hold: the rest is borrowed.
    for pod in 12..18 {
        world.add_pod(0, &format!("pod{pod}"), 1);
        revive(&mut world, ms(40));
    }
    world.add_pod(1, "twins", 2);
    revive(&mut world, secs(2));
    let of_two: Vec<_> = world.nodes[2].pods.keys().cloned().collect();
    for handle in of_two {
        world.delete_pod(2, &handle);
        revive(&mut world, ms(30));
    }
    // A node goes for good; another one cleans up behind it.
    world.kill(1);
    world.nodes[1].exists = false;
    world.nodes[1].pods.clear();
    world.tell_nodes();
    for _ in 0..4 {
        revive(&mut world, secs(10));
    }
    settle(&mut world);
    world
}

/// A request of a pod.
fn request(name: &str, want: Want) -> (Handle, Request) {
    let handle = Handle::try_from(name).unwrap();
    let mut request = Request::any(handle.clone(), 0, 0);
    request.want = want;
    request.attributes =
        [("pod", name), ("namespace", "sim")].map(|(k, v)| (k.into(), v.into())).into();
    (handle, request)
}

/// What happens to pools, machines and pods that nobody says goodbye for.
fn upheaval(crash: Option<CrashPoint>, cooldown: u64) -> World {
    let four = Pool::new("a", "10.0.0.0/27".parse().unwrap(), 30).unwrap();
    let six = Pool::new("six", "fd00::/124".parse().unwrap(), 126).unwrap();
    let settings = Settings { cooldown: secs(cooldown), ..Settings::default() };
    let mut world = World::new(11, Pools::new([four.clone(), six.clone()]), settings, 3);
    world.crash = crash;
    revive(&mut world, secs(1));
    // Over several blocks, and of both families.
    world.add_pod(0, "wide", 6);
    revive(&mut world, ms(80));
    let (dual, both) = request("dual", Want::Any { v4: 1, v6: 2 });
    world.ask_pod(1, dual, both);
    revive(&mut world, ms(80));
    // These very addresses: in a block nobody has, in one of its own, in one of another's.
    for (node, address) in [(2, "10.0.0.29"), (2, "10.0.0.30"), (1, "10.0.0.31")] {
        let this = Want::Exactly(vec![address.parse().unwrap()]);
        let (handle, request) = request(&format!("at-{address}"), this);
        world.ask_pod(node, handle, request);
        revive(&mut world, ms(60));
    }
    for pod in 0..6 {
        world.add_pod(pod % 3, &format!("pod{pod}"), 1);
        revive(&mut world, ms(40));
    }
    // A pod goes and nobody says so: its address leaks and is collected.
    world.nodes[0].pods.remove("pod0");
    // The pool is split; its blocks stay.
    let parts = split(&four, 2).unwrap();
    world.set_pools(Pools::new(parts.iter().cloned().chain([six.clone()])));
    revive(&mut world, ms(200));
    world.add_pod(2, "after-split", 2);
    revive(&mut world, secs(30));
    // A machine is made anew under its old name: its blocks are adopted, its pods are gone.
    world.kill(1);
    world.nodes[1].exists = false;
    world.nodes[1].pods.clear();
    world.nodes[1].spool.clear();
    let again = world.add_node("node1", "second");
    revive(&mut world, secs(15));
    world.add_pod(again, "anew", 1);
    revive(&mut world, secs(15));
    // Another one goes for good, while somebody of node 0 uses one of its blocks.
    let lent = world.blocks().into_iter().find_map(|(_, block)| {
        let of_two = block.owner().is_some_and(|owner| owner.node == world.nodes[2].name);
        let free = block.free().next().map(|at| block.address(at));
        free.filter(|_| of_two)
    });
    if let Some(address) = lent {
        let (handle, guest) = request("guest", Want::Exactly(vec![address]));
        world.ask_pod(0, handle, guest);
        revive(&mut world, ms(80));
    }
    world.kill(2);
    world.nodes[2].exists = false;
    world.nodes[2].pods.clear();
    world.nodes[2].spool.clear();
    world.tell_nodes();
    for _ in 0..3 {
        revive(&mut world, secs(10));
    }
    // In need of all there is, the living take what the dead left.
    for pod in 0..10 {
        world.add_pod(pod % 2 * again, &format!("need{pod}"), 1);
        revive(&mut world, ms(50));
    }
    // Half of the pool goes, disabled first; who waits for an address has it by then.
    revive(&mut world, secs(5));
    let half = parts[1].cidr;
    let disabled = Pool { disabled: true, ..parts[1].clone() };
    world.set_pools(Pools::new([parts[0].clone(), disabled, six.clone()]));
    revive(&mut world, secs(5));
    let going: Vec<_> = world
        .nodes
        .iter()
        .enumerate()
        .flat_map(|(at, node)| node.pods.iter().map(move |(handle, used)| (at, handle, used)))
        .filter(|(_, _, used)| used.iter().any(|address| half.contains(address)))
        .map(|(at, handle, _)| (at, handle.clone()))
        .collect();
    for (node, handle) in going {
        world.delete_pod(node, &handle);
        revive(&mut world, ms(40));
    }
    world.set_pools(Pools::new([parts[0].clone(), six]));
    revive(&mut world, secs(30));
    settle(&mut world);
    world
}

#[test]
fn every_kind_of_write_is_among_those_that_go_wrong() {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for run in [scenario, upheaval] {
        for cooldown in [0, 5] {
            let world = run(None, cooldown);
            assert_clean(&world, "nothing went wrong");
            println!("{} commits: {:?}", world.commits, world.kinds);
            seen.extend(world.kinds.keys());
        }
    }
    let all = [
        "adopt",
        "assign",
        "borrow",
        "claim and assign",
        "delete",
        "disown",
        "release",
        "release elsewhere",
        "take over",
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}

/// Every mishap at every commit of a run.
fn all_mishaps(run: fn(Option<CrashPoint>, u64) -> World, least: u64) {
    for cooldown in [0, 5] {
        let commits = run(None, cooldown).commits;
        assert!(commits > least, "the scenario writes: {commits}");
        for commit in 1..=commits {
            for mishap in Mishap::ALL {
                let point = CrashPoint { commit, mishap };
                let world = run(Some(point), cooldown);
                let what = format!("{point:?}, cool-down {cooldown}");
                assert_whole(&world, &what);
                assert_clean(&world, &what);
                let gone = |block: &margay_ipam::Block| {
                    block.owner().is_some_and(|owner| {
                        world.nodes.iter().all(|node| !node.exists || node.name != owner.node)
                    })
                };
                let of_gone = world.blocks().into_iter().find(|(_, block)| gone(block));
                assert!(of_gone.is_none(), "{what}: {of_gone:?} is still of a gone node");
            }
        }
    }
}

#[test]
fn any_write_may_go_wrong() {
    all_mishaps(scenario, 24);
}

#[test]
fn any_write_may_go_wrong_while_pools_and_machines_come_and_go() {
    all_mishaps(upheaval, 35);
}
