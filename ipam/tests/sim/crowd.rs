//! Hundreds of nodes, and everything that goes wrong at once: daemons die with their commits, commits
//! and news are lost or late, nodes hear nothing, clocks jump, names have two daemons, machines are
//! deleted and made again.
//!
//! `MARGAY_SIM_CASES` says how many runs of it there are, `MARGAY_SIM_CROWD=n` runs seed n alone.

use std::collections::BTreeSet;

use margay_ipam::{Handle, Pool, Pools, Settings};

use crate::{
    chaos::cases,
    truth::{assert_clean, assert_whole, settle},
    world::{Mishap, Rng, Wire, World, ms, secs},
};

const NODES: usize = 200;
const STEPS: usize = 500;

/// What a step may begin, and how often, in chances of a hundred.
fn step(world: &mut World, dice: &mut Rng, at: usize) {
    let node = any(world, dice);
    match dice.below(100) {
        0..48 => {
            let addresses = if dice.chance(200) { index(dice, 3) + 1 } else { 1 };
            let there = any(world, dice);
            let name = format!("pod{at}");
            if dice.chance(150) && there != node {
                world.add_pod_elsewhere(node, there, &name, addresses);
            } else {
                world.add_pod(node, &name, addresses);
            }
        }
        48..70 => {
            let pods: Vec<Handle> = world.nodes[node].pods.keys().cloned().collect();
            if !pods.is_empty() {
                let handle = &pods[index(dice, pods.len())];
                world.delete_pod(node, handle);
            }
        }
        70..75 => {
            world.kill(node);
            let delay = ms(dice.below(4000));
            world.start_later(node, delay);
        }
        75..80 => {
            let jumps = [-3_600_000, 0, 3_600_000, 5_000, -5_000];
            world.nodes[node].skew = jumps[index(dice, jumps.len())];
        }
        80..84 => world.nodes[node].deaf = true,
        84..88 => {
            let deaf = (0..world.nodes.len()).find(|node| world.nodes[*node].deaf);
            if let Some(node) = deaf {
                world.hear_again(node);
            }
        }
        88..91 => second_daemon(world, node),
        91..94 => new_machine(world, dice, node, at),
        94..97 => flickering_resource(world, node),
        _ => world.run(ms(dice.below(3000))),
    }
}

fn index(dice: &mut Rng, below: usize) -> usize {
    usize::try_from(dice.below(u64::try_from(below).unwrap())).unwrap()
}

/// A machine that exists.
fn any(world: &World, dice: &mut Rng) -> usize {
    loop {
        let node = index(dice, world.nodes.len());
        if world.nodes[node].exists {
            return node;
        }
    }
}

/// Somebody starts another daemon under the name of one, and sees that this was wrong.
fn second_daemon(world: &mut World, node: usize) {
    let name = world.nodes[node].name.to_string();
    let twin = world.add_node(&name, "twin");
    for pod in 0..3 {
        world.add_pod(twin, &format!("twin{twin}.{pod}"), 1);
        world.add_pod(node, &format!("first{twin}.{pod}"), 1);
        world.run(ms(150));
    }
    retire(world, twin);
}

/// A machine dies, its Node is deleted; maybe it is made anew under its name.
fn new_machine(world: &mut World, dice: &mut Rng, node: usize, at: usize) {
    let name = world.nodes[node].name.to_string();
    retire(world, node);
    if dice.chance(700) {
        world.run(ms(dice.below(2000)));
        world.add_node(&name, &format!("made-{at}"));
    }
}

/// A Node is deleted and written again, and its daemon goes on.
fn flickering_resource(world: &mut World, node: usize) {
    world.nodes[node].exists = false;
    world.tell_nodes();
    world.run(ms(700));
    world.nodes[node].exists = true;
    world.tell_nodes();
}

/// A machine is gone for good with all that lived on it.
fn retire(world: &mut World, node: usize) {
    world.kill(node);
    let there = &mut world.nodes[node];
    (there.exists, there.deaf) = (false, false);
    there.pods.clear();
    there.spool.clear();
    world.tell_nodes();
}

fn one(seed: u64, struck: &mut BTreeSet<(&'static str, Mishap)>) {
    let mut dice = Rng(seed ^ 0xc0d);
    let pool = Pool::new("a", "10.0.0.0/22".parse().unwrap(), 30).unwrap();
    let settings = Settings { cooldown: secs(dice.below(2) * 5), ..Settings::default() };
    let mut world = World::new(seed, Pools::new([pool]), settings, NODES);
    world.wire = Wire {
        answer_lost: 40,
        commit_lost: 40,
        commit_late: 40,
        watch_breaks: 2,
        watch_late: 30,
        mishaps: 250,
    };
    world.run(secs(1));
    for at in 0..STEPS {
        step(&mut world, &mut dice, at);
        let pause = ms(dice.below(40));
        world.run(pause);
    }
    for node in 0..world.nodes.len() {
        world.nodes[node].skew = 0;
        if world.nodes[node].deaf {
            world.hear_again(node);
        }
    }
    settle(&mut world);
    assert_whole(&world, &format!("seed {seed}"));
    assert_clean(&world, &format!("seed {seed}"));
    struck.append(&mut world.struck);
    // And it goes on: everybody gets an address, though not from a block of its own.
    let living: Vec<usize> = (0..world.nodes.len()).filter(|at| world.nodes[*at].exists).collect();
    for node in &living {
        world.add_pod(*node, &format!("last{node}"), 1);
    }
    world.run(secs(30));
    for node in living {
        let there = &world.nodes[node];
        let last = format!("last{node}");
        assert!(
            there.pods.contains_key(last.as_str()),
            "seed {seed}: {} gets nothing: {:?}",
            there.name,
            there.refused.last()
        );
    }
    assert_whole(&world, &format!("seed {seed}, at the end"));
    println!(
        "seed {seed}: {} nodes ever, {} commits: {:?}",
        world.nodes.len(),
        world.commits,
        world.kinds
    );
}

#[test]
fn hundreds_of_nodes_and_everything_at_once() {
    let mut struck = BTreeSet::new();
    if let Ok(seed) = std::env::var("MARGAY_SIM_CROWD") {
        return one(seed.parse().unwrap(), &mut struck);
    }
    for seed in 0..cases(3) {
        let run = std::panic::catch_unwind(|| {
            let mut struck = BTreeSet::new();
            one(seed, &mut struck);
            struck
        });
        match run {
            Ok(more) => struck.extend(more),
            Err(panic) => {
                eprintln!("MARGAY_SIM_CROWD={seed} fails");
                std::panic::resume_unwind(panic);
            }
        }
    }
    for kind in ["assign", "claim and assign", "release"] {
        for mishap in Mishap::ALL {
            assert!(struck.contains(&(kind, mishap)), "no {kind} met {mishap:?}: {struck:?}");
        }
    }
}
