use std::net::Ipv4Addr;

use bgp_packet::{NextHop, PathAttributes};
use ipnet::Ipv4Net;

use super::*;
use crate::{
    fsm::tests::global,
    rib::{Attrs, Install},
};

fn shard() -> Shard {
    Shard::new(ShardConfig { global: Arc::new(global()), install: Install::Nothing })
}

/// A /24 of its own for each number.
fn prefix(number: u32) -> IpNet {
    Ipv4Net::new_assert(Ipv4Addr::from(number << 8), 24).into()
}

fn route() -> LocalRoute {
    let next_hop = NextHop::new(Ipv4Addr::UNSPECIFIED);
    LocalRoute {
        attrs: Arc::new(Attrs::new(&PathAttributes::local(next_hop))),
        local: LocalAttributes::default(),
        blackhole: false,
        interface: None,
    }
}

fn tell(shard: &mut Shard, number: u32, there: bool) {
    let source = RouteSource::Originate;
    let event = Event::Local { source, prefix: prefix(number), route: there.then(route) };
    shard.handle(0, event, &mut Vec::new());
}

#[test]
fn places_of_withdrawn_prefixes_are_freed_by_work_and_not_counted_before() {
    let mut shard = shard();
    (0..1000).for_each(|number| tell(&mut shard, number, true));
    shard.flush(&mut Vec::new());
    (1..1000).for_each(|number| tell(&mut shard, number, false));
    shard.flush(&mut Vec::new());
    assert_eq!(shard.counts()[0].prefixes, 1, "what is gone is not counted");
    assert_eq!(shard.v4.table.prefix_count(), 1000, "and not freed while others wait");
    assert!(shard.work(0, 400, &mut Vec::new()), "there is more than that to free");
    while shard.work(0, 400, &mut Vec::new()) {}
    assert_eq!(shard.v4.table.prefix_count(), 1);
}

#[test]
fn a_prefix_that_comes_back_before_its_place_is_freed_keeps_it() {
    let mut shard = shard();
    (0..10).for_each(|number| tell(&mut shard, number, true));
    (0..10).for_each(|number| tell(&mut shard, number, false));
    shard.flush(&mut Vec::new());
    (0..5).for_each(|number| tell(&mut shard, number, true));
    while shard.work(0, 3, &mut Vec::new()) {}
    assert_eq!((shard.counts()[0].prefixes, shard.v4.table.prefix_count()), (5, 5));
    assert!((0..5).all(|number| shard.explain(prefix(number), None).is_some()));
}

#[test]
fn a_place_that_becomes_vacant_behind_a_round_of_freeing_is_freed_all_the_same() {
    let mut shard = shard();
    (0..100).for_each(|number| tell(&mut shard, number, true));
    shard.flush(&mut Vec::new());
    (50..100).for_each(|number| tell(&mut shard, number, false));
    assert!(shard.work(0, 10, &mut Vec::new()), "the round has begun");
    tell(&mut shard, 3, false);
    while shard.work(0, 10, &mut Vec::new()) {}
    assert_eq!(shard.v4.table.prefix_count(), 49);
}

#[test]
fn others_that_come_as_fast_as_some_go_use_their_places() {
    let mut shard = shard();
    for round in 0..100 {
        (0..100).for_each(|number| tell(&mut shard, round * 100 + number, true));
        if round > 0 {
            (0..100).for_each(|number| tell(&mut shard, (round - 1) * 100 + number, false));
        }
        shard.flush(&mut Vec::new());
    }
    let places = shard.v4.table.end();
    assert!(places <= 500, "{places} places for at most 200 prefixes at a time");
}
