//! Two daemons with one name; nodes that go and come back.

use margay_ipam::{Instance, Pool, Pools, Settings};

use crate::{
    truth::{assert_whole, settle},
    world::{World, ms, secs},
};

fn world(seed: u64) -> World {
    let pools = Pools::new([Pool::new("a", "10.0.0.0/26".parse().unwrap(), 28).unwrap()]);
    let settings = Settings { cooldown: secs(3), ..Settings::default() };
    let mut world = World::new(seed, pools, settings, 2);
    world.run(secs(1));
    world
}

#[test]
fn a_second_daemon_under_a_living_name_refuses_and_says_so() {
    for seed in 0..20 {
        let mut world = world(seed);
        world.add_pod(0, "mine", 1);
        world.run(secs(1));
        let twin = world.add_node("node0", "second");
        world.run(secs(2));
        world.add_pod(twin, "theirs", 1);
        world.run(secs(30));
        let refused = world.nodes[twin].refused.last().map(String::as_str);
        assert_eq!(refused, Some("another daemon runs under the node name node0"), "seed {seed}");
        assert!(world.nodes[twin].pods.is_empty());
        assert!(world.nodes[twin].owned.is_empty(), "it announces nothing");
        assert_eq!(world.nodes[0].pods.len(), 1);
        world.run(secs(60));
        assert_whole(&world, &format!("seed {seed}"));
    }
}

#[test]
fn once_the_lease_has_ended_a_new_life_of_the_node_takes_over() {
    for seed in 0..20 {
        let mut world = world(seed);
        for pod in 0..5 {
            world.add_pod(0, &format!("old{pod}"), 1);
        }
        world.run(secs(1));
        let blocks = world.nodes[0].owned.clone();
        // The machine is made anew: state and pods are gone.
        world.kill(0);
        world.nodes[0].exists = false;
        world.nodes[0].pods.clear();
        let again = world.add_node("node0", "second");
        world.run(secs(2));
        world.add_pod(again, "early", 1);
        world.run(ms(1500));
        assert_eq!(world.nodes[again].pods.len(), 0, "seed {seed}: the old lease is alive");
        world.run(secs(15));
        world.add_pod(again, "later", 1);
        world.run(secs(2));
        assert!(world.nodes[again].pods.contains_key("later"), "seed {seed}");
        assert!(world.nodes[again].owned.is_superset(&blocks), "seed {seed}: blocks are adopted");
        settle(&mut world);
        assert_whole(&world, &format!("seed {seed}"));
    }
}

#[test]
fn a_twin_with_a_copied_instance_id_never_doubles_an_address() {
    for seed in 0..20 {
        let mut world = world(seed);
        let twin = world.add_node("node0", "first");
        world.run(secs(1));
        for pod in 0..8 {
            world.add_pod(0, &format!("a{pod}"), 1);
            world.add_pod(twin, &format!("b{pod}"), 1);
            world.run(ms(20));
        }
        world.run(secs(10));
        // Every answer was checked when it came; both went on.
        assert!(world.nodes[0].pods.len() + world.nodes[twin].pods.len() >= 8, "seed {seed}");
    }
}

#[test]
fn a_node_deleted_and_made_again_at_once_keeps_what_lives() {
    for seed in 0..20 {
        let mut world = world(seed);
        for pod in 0..5 {
            world.add_pod(1, &format!("pod{pod}"), 1);
        }
        world.run(secs(1));
        // Its object goes and comes; its daemon runs on and its lease says so.
        world.nodes[1].exists = false;
        world.tell_nodes();
        world.run(secs(60));
        world.nodes[1].exists = true;
        world.tell_nodes();
        settle(&mut world);
        assert_eq!(world.nodes[1].pods.len(), 5);
        assert_whole(&world, &format!("seed {seed}"));
    }
}

#[test]
fn what_a_gone_node_left_is_taken_back_by_another() {
    for seed in 0..20 {
        let mut world = world(seed);
        for pod in 0..20 {
            world.add_pod(0, &format!("pod{pod}"), 1);
        }
        world.run(secs(2));
        world.kill(0);
        world.nodes[0].exists = false;
        world.nodes[0].pods.clear();
        world.tell_nodes();
        settle(&mut world);
        assert_whole(&world, &format!("seed {seed}"));
        assert!(world.blocks().iter().all(|(_, block)| block.held_len() == 0), "seed {seed}");
        assert!(world.blocks().is_empty(), "seed {seed}: node1 never asked for a block");
    }
}

#[test]
fn a_dead_daemon_on_a_living_node_loses_nothing() {
    let mut world = world(3);
    world.add_pod(0, "pod", 1);
    world.run(secs(1));
    world.kill(0);
    // Long after its lease has ended: the node exists, so nobody cleans up behind it.
    world.run(secs(300));
    assert_eq!(world.blocks().iter().map(|(_, block)| block.held_len()).sum::<usize>(), 1);
    world.start(0);
    world.nodes[0].instance = Instance::try_from("first").unwrap();
    settle(&mut world);
    assert_whole(&world, "after a long sleep");
}

#[test]
fn a_node_that_nobody_saw_deleted_loses_nothing_while_it_is_dead() {
    let mut world = world(4);
    world.add_pod(0, "pod", 1);
    world.run(secs(1));
    // It has no object, maybe by its own will, and all the others are young.
    (0..world.nodes.len()).for_each(|node| world.kill(node));
    world.nodes[0].exists = false;
    (1..world.nodes.len()).for_each(|node| world.start_later(node, ms(1)));
    world.run(secs(300));
    assert_eq!(world.blocks().iter().map(|(_, block)| block.held_len()).sum::<usize>(), 1);
}
