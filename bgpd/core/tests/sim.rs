//! Two sessions against each other on a virtual clock and wire, over thousands of seeds.
//!
//! Whatever happens to connections, processes and packets: never two Established connections (the
//! world checks every output), and once the faults end, both are Established on one and the same
//! connection within a bounded time, and stay so.

mod common;
#[path = "sim/world.rs"]
mod world;

use std::time::Duration;

use bgp_core::fsm::{Input, State, StopReason};
use world::{Side, World};

/// More than the longest pause, the OPEN hold time and a few attempts together.
const SETTLED: Duration = Duration::from_secs(1500);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn start_both(world: &mut World, apart: Duration) {
    world.give(Side::Left, Input::Start);
    world.run_for(apart);
    world.give(Side::Right, Input::Start);
}

/// Both Established on the same connection now, and for the time to come.
fn assert_up(world: &mut World, seed: u64) {
    for _ in 0..2 {
        let states = Side::BOTH.map(|side| world.state(side));
        let errors = Side::BOTH.map(|s| world.node(s).session.last_error().cloned());
        assert_eq!(states, [State::Established; 2], "seed {seed}: {errors:?}");
        assert!(world.common_connection().is_some(), "seed {seed}: two different connections");
        world.run_for(secs(400));
    }
    assert!(world.steps < 100_000, "seed {seed}: {} steps, a livelock", world.steps);
}

#[test]
fn simultaneous_starts_never_lose_both_connections() {
    for seed in 0..4000 {
        let mut world = World::new(seed, |_, _, _| {});
        let apart = world.chance.millis(30);
        start_both(&mut world, apart);
        world.run_for(secs(30));
        assert_up(&mut world, seed);
        for side in Side::BOTH {
            // Where the two ends saw the OPENs in different orders, the first connection to be
            // Established may give way to the other, once; but the two must never both go.
            let node = world.node(side);
            assert!(node.ups <= 2, "seed {seed}: {} ups", node.ups);
            assert_eq!(node.idles, 0, "seed {seed}: {:?}", node.session.last_error());
        }
    }
}

#[test]
fn start_at_any_distance_comes_up() {
    for seed in 0..1000 {
        let mut world = World::new(seed, |_, _, _| {});
        let apart = world.chance.millis(60_000);
        start_both(&mut world, apart);
        world.run_for(secs(60));
        assert_up(&mut world, seed);
    }
}

#[test]
fn one_passive_side_comes_up() {
    for seed in 0..500 {
        let mut world = World::new(seed, |side, _, peer| peer.passive = side == Side::Right);
        let apart = world.chance.millis(10_000);
        start_both(&mut world, apart);
        world.run_for(secs(60));
        assert_up(&mut world, seed);
    }
}

#[test]
fn equal_identifiers_in_different_ases_come_up() {
    for seed in 0..500 {
        let mut world = World::new(seed, |_, global, _| {
            global.router_id = [10, 0, 0, 7].into();
        });
        start_both(&mut world, Duration::ZERO);
        world.run_for(secs(60));
        assert_up(&mut world, seed);
    }
}

#[test]
fn sessions_survive_every_fault_that_ends() {
    for seed in 0..1000 {
        let mut world = World::new(seed, |side, _, peer| {
            peer.hold_time = secs(if seed % 3 == 0 { 0 } else { 9 });
            peer.passive = seed % 7 == 0 && side == Side::Left;
        });
        start_both(&mut world, Duration::ZERO);
        for _ in 0..30 {
            let pause = world.chance.millis(20_000);
            world.run_for(pause);
            misbehave(&mut world);
        }
        world.wire_up = true;
        if seed % 3 == 0 {
            // Without keep-alives nobody notices a silent loss: what is left must be cut aloud.
            for side in Side::BOTH {
                world.restart(side, false);
            }
        }
        world.run_for(SETTLED);
        assert_up(&mut world, seed);
    }
}

fn misbehave(world: &mut World) {
    let side = if world.chance.one_in(2) { Side::Left } else { Side::Right };
    match world.chance.below(9) {
        0 | 1 => {
            let which = world.chance.below(10);
            world.reset_connection(which);
        }
        2 => world.cut_connections(),
        3 => world.restart(side, false),
        4 => world.restart(side, true),
        5 => {
            world.wire_up = !world.wire_up;
            if !world.wire_up {
                world.cut_connections();
            }
        }
        6 => world.give(side, Input::Stop(StopReason::AdminReset("again".to_owned()))),
        7 => {
            world.give(side, Input::Stop(StopReason::AdminShutdown(String::new())));
            let pause = world.chance.millis(5000);
            world.run_for(pause);
            world.give(side, Input::Start);
        }
        _ => {
            for _ in 0..3 {
                world.send_update(side);
            }
        }
    }
}

#[test]
fn silent_loss_is_noticed_by_both_within_the_hold_time() {
    for seed in 0..300 {
        let mut world = World::new(seed, |_, _, peer| peer.hold_time = secs(9));
        start_both(&mut world, Duration::ZERO);
        world.run_for(secs(60));
        assert_up(&mut world, seed);
        world.cut_connections();
        world.wire_up = false;
        world.run_for(secs(9));
        for side in Side::BOTH {
            assert_ne!(world.state(side), State::Established, "seed {seed}");
        }
        world.wire_up = true;
        world.run_for(secs(120));
        assert_up(&mut world, seed);
    }
}

#[test]
fn same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut world = World::new(seed, |_, _, _| {});
        start_both(&mut world, Duration::ZERO);
        for _ in 0..20 {
            world.run_for(secs(10));
            misbehave(&mut world);
        }
        (world.steps, Side::BOTH.map(|side| (world.state(side), world.node(side).ups)))
    };
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
}
