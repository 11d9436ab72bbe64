//! Random runs: pods come and go while daemons die, news get lost and clocks jump.

use margay_ipam::{Handle, Pool, Pools, Settings};

use crate::{
    truth::{assert_whole, settle},
    world::{Rng, Wire, World, ms, secs},
};

/// How many runs: so many, unless the environment says otherwise.
pub fn cases(default: u64) -> u64 {
    std::env::var("MARGAY_SIM_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn pools(dice: &mut Rng) -> Pools {
    let size = u8::try_from(28 + dice.below(4)).unwrap();
    let length = size - u8::try_from(2 + dice.below(3)).unwrap();
    let cidr = format!("10.0.0.0/{length}").parse().unwrap();
    let mut pools = vec![Pool::new("a", cidr, size).unwrap()];
    if dice.chance(300) {
        pools.push(Pool::new("b", "10.1.0.0/28".parse().unwrap(), 30).unwrap());
    }
    Pools::new(pools)
}

fn one(seed: u64) {
    let mut dice = Rng(seed ^ 0xabcd);
    let settings = Settings {
        strict_affinity: dice.chance(300),
        cooldown: if dice.chance(500) { secs(dice.below(20)) } else { secs(0) },
        ..Settings::default()
    };
    let pools = pools(&mut dice);
    let nodes = usize::try_from(2 + dice.below(4)).unwrap();
    let mut world = World::new(seed, pools, settings, nodes);
    world.wire = Wire {
        answer_lost: dice.below(60),
        commit_lost: dice.below(60),
        commit_late: dice.below(60),
        watch_breaks: dice.below(30),
        watch_late: dice.below(60),
        mishaps: 0,
    };
    world.run(secs(1));
    for step in 0..60 {
        let node = usize::try_from(dice.below(u64::try_from(nodes).unwrap())).unwrap();
        match dice.below(100) {
            0..50 => {
                let several = usize::try_from(1 + dice.below(3)).unwrap();
                let addresses = if dice.chance(200) { several } else { 1 };
                let there = usize::try_from(dice.below(u64::try_from(nodes).unwrap())).unwrap();
                // The daemon that is asked need not be that of the node, nor need that one live.
                if dice.chance(200) && there != node {
                    world.add_pod_elsewhere(node, there, &format!("pod{step}"), addresses);
                } else {
                    world.add_pod(node, &format!("pod{step}"), addresses);
                }
            }
            50..80 => {
                let pods: Vec<Handle> = world.nodes[node].pods.keys().cloned().collect();
                if !pods.is_empty() {
                    let at = dice.below(u64::try_from(pods.len()).unwrap());
                    world.delete_pod(node, &pods[usize::try_from(at).unwrap()]);
                }
            }
            80..88 => {
                world.kill(node);
                let delay = ms(dice.below(4000));
                world.start_later(node, delay);
            }
            88..92 => {
                // An hour either way, and back again another time.
                let jumps = [-3_600_000, 0, 3_600_000, 5_000, -5_000];
                world.nodes[node].skew = jumps[usize::try_from(dice.below(5)).unwrap()];
            }
            _ => world.run(secs(dice.below(12))),
        }
        let pause = ms(dice.below(60));
        world.run(pause);
    }
    for node in &mut world.nodes {
        node.skew = 0;
    }
    settle(&mut world);
    assert_whole(&world, &format!("seed {seed}"));
    // And it goes on: what is free can be had.
    let before: usize = world.nodes.iter().map(|node| node.pods.len()).sum();
    let used: usize = world.nodes.iter().flat_map(|node| node.pods.values()).map(Vec::len).sum();
    let total: u128 = world.pools.iter().map(|pool| 1_u128 << (32 - pool.cidr.prefix_len())).sum();
    if settings.strict_affinity || u128::try_from(used).unwrap() >= total {
        return;
    }
    // What was collected last has cooled down by then.
    world.run(secs(30));
    world.add_pod(0, "last", 1);
    world.run(secs(10));
    let after: usize = world.nodes.iter().map(|node| node.pods.len()).sum();
    assert_eq!(after, before + 1, "seed {seed}: {:?}", world.nodes[0].refused.last());
    assert_whole(&world, &format!("seed {seed}, at the end"));
}

#[test]
fn whatever_happens_no_address_is_doubled_or_lost() {
    if let Ok(seed) = std::env::var("MARGAY_SIM_SEED") {
        return one(seed.parse().unwrap());
    }
    for seed in 0..cases(600) {
        let run = std::panic::catch_unwind(|| one(seed));
        if let Err(panic) = run {
            eprintln!("MARGAY_SIM_SEED={seed} fails");
            std::panic::resume_unwind(panic);
        }
    }
}
