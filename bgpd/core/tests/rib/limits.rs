//! `max-prefixes`.

use bgp_core::{
    config::{MaxPrefixAction, MaxPrefixes},
    policy::{RuleAction, definition::SetDefinition},
    rib::{Effect, PeerId},
};

use super::rig::{Rig, net, rule};

fn limited(action: MaxPrefixAction) -> Rig {
    let mut rig = Rig::new();
    rig.up(1, |spec| {
        spec.config.max_prefixes = Some(MaxPrefixes { limit: 4, warn_at: 0.5, action });
        spec.config.import =
            rule(&["10.200.0.0/16 le 32"], SetDefinition::default(), RuleAction::Reject);
    });
    rig.external(2);
    rig
}

/// Counts told, and whether as a warning.
fn told(rig: &mut Rig) -> Vec<(u32, bool)> {
    std::mem::take(&mut rig.notes)
        .iter()
        .filter_map(|note| match note {
            Effect::MaxPrefixes { peer: PeerId(1), count, warning, .. } => Some((*count, *warning)),
            _ => None,
        })
        .collect()
}

fn announce(rig: &mut Rig, numbers: std::ops::Range<u8>) {
    for n in numbers {
        rig.announce(1, &format!("10.{n}.0.0/16"), |_| {});
    }
}

#[test]
fn each_level_is_told_once() {
    let mut rig = limited(MaxPrefixAction::Warn);
    announce(&mut rig, 0..7);
    assert_eq!(told(&mut rig), [(2, true), (5, false)]);
    assert_eq!(rig.peers[&2].table.len(), 7);
    // An update of a known prefix is no new one.
    announce(&mut rig, 0..7);
    assert_eq!(told(&mut rig), []);
    for n in 0..7 {
        rig.withdraw(1, &format!("10.{n}.0.0/16"));
    }
    announce(&mut rig, 0..2);
    assert_eq!(told(&mut rig), [(2, true)], "again, after it was well below");
}

#[test]
fn what_exceeds_the_limit_can_be_dropped() {
    let mut rig = limited(MaxPrefixAction::Discard);
    announce(&mut rig, 0..7);
    assert_eq!(told(&mut rig), [(2, true), (5, false)]);
    assert_eq!(rig.peers[&2].table.len(), 4);
    assert_eq!(rig.shard.counts()[0].paths, 4);
    rig.withdraw(1, "10.0.0.0/16");
    announce(&mut rig, 6..7);
    assert_eq!(rig.peers[&2].table.len(), 4);
}

#[test]
fn refused_routes_do_not_count() {
    let mut rig = limited(MaxPrefixAction::Warn);
    for n in 0..9 {
        rig.announce(1, &format!("10.200.{n}.0/24"), |_| {});
    }
    assert_eq!(told(&mut rig), []);
    rig.reconfigure(|_, config| config.import = None);
    rig.settle();
    assert_eq!(told(&mut rig), [(2, true), (5, false)]);
}

#[test]
fn paths_of_a_prefix_beyond_the_limit_are_dropped_and_told_once_a_session() {
    let dropped = |rig: &mut Rig| -> Vec<(u32, bool)> {
        let notes = std::mem::take(&mut rig.notes);
        let told = notes.iter().filter_map(|note| match note {
            Effect::TooManyPaths { peer: PeerId(1), dropped, limit: 128, first, .. } => {
                Some((*dropped, *first))
            }
            _ => None,
        });
        told.collect()
    };
    let mut rig = Rig::new();
    for id in 1..=2 {
        rig.up(id, |spec| spec.add_path(4));
    }
    for id in 1..=128 {
        rig.announce_path(1, "10.0.0.0/8", id, |_| {});
    }
    assert_eq!(dropped(&mut rig), []);
    let attributes = rig.attributes(1, |_| {});
    let attrs = std::sync::Arc::new(bgp_core::rib::Attrs::new(&attributes));
    let mut batch = bgp_core::rib::Batch::default();
    (129..=1000).for_each(|id| batch.push(Some(&attrs), id, net("10.0.0.0/8")));
    rig.batch(1, net("10.0.0.0/8"), batch);
    rig.settle();
    assert_eq!(dropped(&mut rig), [(872, true)]);
    assert_eq!(rig.shard.counts()[0].paths, 128);
    rig.announce_path(1, "10.0.0.0/8", 2000, |_| {});
    assert_eq!(dropped(&mut rig), [(1, false)]);
    // Neither others nor what is there already, nor other prefixes.
    rig.announce_path(1, "10.0.0.0/8", 5, |attributes| attributes.med = Some(1));
    rig.announce_path(1, "11.0.0.0/8", 2000, |_| {});
    rig.announce_path(2, "10.0.0.0/8", 2000, |_| {});
    assert_eq!(dropped(&mut rig), []);
    assert_eq!(rig.shard.counts()[0].paths, 130);
    // A place that is free again can be taken.
    rig.send(1, net("10.0.0.0/8"), 7, None);
    rig.announce_path(1, "10.0.0.0/8", 2000, |_| {});
    assert_eq!(dropped(&mut rig), []);
    assert_eq!(rig.shard.counts()[0].paths, 130);
    rig.assert_exact();
}
