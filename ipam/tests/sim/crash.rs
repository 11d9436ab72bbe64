//! A daemon dies at each commit of a run, one after the other: before the store has it, and after.

use margay_ipam::{Pool, Pools, Settings};

use crate::{
    truth::{assert_whole, settle},
    world::{CrashPoint, World, ms, secs},
};

/// Claims, assignments, borrowing, releases, a node that goes: every kind of write there is.
fn scenario(crash: Option<CrashPoint>, cooldown: u64) -> World {
    let pools = Pools::new([Pool::new("a", "10.0.0.0/28".parse().unwrap(), 30).unwrap()]);
    let settings = Settings { cooldown: secs(cooldown), ..Settings::default() };
    let mut world = World::new(7, pools, settings, 3);
    world.crash = crash;
    let revive = |world: &mut World, time| {
        world.run(time);
        if let Some(node) = world.crashed.take() {
            world.start_later(node, ms(300));
        }
    };
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

#[test]
fn a_daemon_may_die_at_any_write() {
    for cooldown in [0, 5] {
        let commits = scenario(None, cooldown).commits;
        assert!(commits > 25, "the scenario writes: {commits}");
        for commit in 1..=commits {
            for after in [false, true] {
                let point = CrashPoint { commit, after };
                let world = scenario(Some(point), cooldown);
                assert_whole(&world, &format!("{point:?}, cool-down {cooldown}"));
                let of_gone = world.blocks().into_iter().find(|(_, block)| {
                    block.owner().is_some_and(|owner| owner.node == world.nodes[1].name)
                });
                assert!(of_gone.is_none(), "{point:?}: {of_gone:?} is still of a gone node");
            }
        }
    }
}
