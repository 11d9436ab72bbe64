//! Nodes that hear nothing while what they write is written.

use margay_ipam::{Pool, Pools, Settings};

use crate::{
    truth::{assert_whole, settle},
    world::{World, secs},
};

fn world(seed: u64) -> World {
    let pools = Pools::new([Pool::new("a", "10.0.0.0/26".parse().unwrap(), 28).unwrap()]);
    let settings = Settings { cooldown: secs(3), ..Settings::default() };
    let mut world = World::new(seed, pools, settings, 3);
    world.run(secs(1));
    world
}

#[test]
fn who_hears_nothing_claims_and_assigns_all_the_same() {
    for seed in 0..20 {
        let mut world = world(seed);
        world.add_pod(1, "other", 1);
        world.run(secs(1));
        world.nodes[0].deaf = true;
        for pod in 0..20 {
            world.add_pod(0, &format!("pod{pod}"), 1);
        }
        world.run(secs(12));
        assert_eq!(world.nodes[0].pods.len(), 20, "seed {seed}");
        let gone = world.nodes[0].pods.keys().next().unwrap().clone();
        world.delete_pod(0, &gone);
        world.run(secs(3));
        let held: usize = world.blocks().iter().map(|(_, block)| block.held_len()).sum();
        assert_eq!(held, 20, "seed {seed}: 19 of its own, and the other's");
        world.hear_again(0);
        settle(&mut world);
        assert_whole(&world, &format!("seed {seed}"));
    }
}

#[test]
fn a_node_that_came_back_unheard_of_keeps_what_lives() {
    for seed in 0..20 {
        let mut world = world(seed);
        for pod in 0..5 {
            world.add_pod(2, &format!("pod{pod}"), 1);
        }
        world.run(secs(2));
        world.kill(2);
        world.nodes[2].exists = false;
        world.tell_nodes();
        // Its lease has ended, and that is heard; it still counts as alive.
        let heard = world.ttl + world.ttl / 2;
        world.run(heard);
        for deaf in [0, 1] {
            world.nodes[deaf].deaf = true;
        }
        world.nodes[2].exists = true;
        world.start(2);
        world.run(secs(120));
        let held: usize = world.blocks().iter().map(|(_, block)| block.held_len()).sum();
        assert_eq!(held, 5, "seed {seed}");
        for deaf in [0, 1] {
            world.hear_again(deaf);
        }
        settle(&mut world);
        assert_whole(&world, &format!("seed {seed}"));
        assert_eq!(world.nodes[2].pods.len(), 5, "seed {seed}");
    }
}
