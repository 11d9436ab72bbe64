//! Many nodes and one pool.

use margay_ipam::{Pool, Pools, Settings};

use crate::{
    truth::assert_whole,
    world::{World, ms, secs},
};

/// Nodes claim single blocks as fast as they can; how many claims one block took.
pub fn claims_per_block(nodes: usize, each: usize, pool: &str) -> f64 {
    let pool = Pool::new("a", pool.parse().unwrap(), 32).unwrap();
    let settings = Settings { cooldown: secs(0), ..Settings::default() };
    let mut world = World::new(1, Pools::new([pool]), settings, nodes);
    (world.grace, world.ttl) = (secs(3600), secs(600));
    world.run(secs(1));
    for round in 0..each {
        for node in 0..nodes {
            world.add_pod(node, &format!("pod{node}.{round}"), 1);
        }
        world.run(ms(30));
    }
    world.run(secs(10));
    let (claims, claimed) = world.claims();
    let per_claim = claims as f64 / claimed as f64;
    println!("{nodes} nodes claim: blocks={claimed} claims={claims} claims_a_block={per_claim:.3}");
    assert_eq!(claimed, u64::try_from(nodes * each).unwrap());
    assert_whole(&world, "many nodes");
    per_claim
}

#[test]
fn two_hundred_nodes_claim_from_one_pool_and_rarely_meet() {
    // Without optimisation every node reading every block takes a minute: fewer blocks then, in a
    // pool that is fuller.
    let per_claim = if cfg!(debug_assertions) {
        claims_per_block(200, 8, "10.0.0.0/21")
    } else {
        claims_per_block(200, 25, "10.0.0.0/19")
    };
    assert!(per_claim < 1.2, "{per_claim} claims a block");
}

#[test]
fn the_last_blocks_of_a_pool_are_found_by_all_at_once() {
    let pool = Pool::new("a", "10.0.0.0/22".parse().unwrap(), 30).unwrap(); // 256 blocks
    let settings = Settings { cooldown: secs(0), ..Settings::default() };
    let mut world = World::new(2, Pools::new([pool]), settings, 64);
    world.grace = secs(3600);
    world.run(secs(1));
    for round in 0..4 {
        for node in 0..64 {
            world.add_pod(node, &format!("pod{node}.{round}"), 4);
        }
        world.run(secs(3));
    }
    world.run(secs(10));
    let pods: usize = world.nodes.iter().map(|node| node.pods.len()).sum();
    let (claims, claimed) = world.claims();
    println!("the whole pool: {claims} claims made {claimed} blocks");
    assert_eq!(pods, 256, "every address of the pool is in use");
    world.add_pod(0, "one too many", 1);
    world.run(secs(2));
    assert_eq!(world.nodes[0].refused.last().map(String::as_str), Some("pool a is full"));
    assert_whole(&world, "a full pool");
}
