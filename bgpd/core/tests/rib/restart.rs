//! Graceful restart (RFC 4724): of a peer, whose routes are kept, and of ourselves, who tell nothing
//! before all is known.

use std::time::Duration;

use bgp_core::{
    config::{MaxPrefixAction, MaxPrefixes},
    fsm::PeerRestart,
    rib::{Effect, Event, Install, PeerId, Select, View},
};
use bgp_packet::{Family, FamilySet, RefreshKind, RouteRefresh};

use super::rig::{Heard, Rig, Spec, net, reject};

const V4: Family = Family::IPV4_UNICAST;
const V6: Family = Family::IPV6_UNICAST;

fn only(family: Family) -> FamilySet {
    [family].into_iter().collect()
}

/// A peer that restarts gracefully, having preserved what it forwards by these families.
fn graceful(preserved: FamilySet) -> impl FnOnce(&mut Spec) {
    move |spec| {
        spec.negotiated.graceful_restart = Some(PeerRestart {
            restarting: false,
            restart_time: Duration::from_secs(120),
            families: Family::SUPPORTED.into_iter().collect(),
            preserved,
        });
    }
}

/// Two peers, and two prefixes of the first one's, which goes down and may come back to them.
fn lost() -> Rig {
    let mut rig = Rig::with(|global| global.require_policy = false, Install::All);
    rig.up(1, graceful(only(V4)));
    rig.external(2);
    for prefix in ["192.0.2.0/24", "198.51.100.0/24"] {
        rig.announce(1, prefix, |_| {});
    }
    rig.peers.get_mut(&2).unwrap().news();
    rig.lose(1, only(V4));
    rig
}

fn end_of_rib(rig: &mut Rig, id: u16, family: Family) {
    let epoch = rig.peers[&id].epoch;
    rig.event(Event::EndOfRib { peer: PeerId(id), epoch, family });
    rig.settle();
}

fn news(rig: &mut Rig, id: u16) -> Vec<Heard> {
    rig.peers.get_mut(&id).unwrap().news()
}

/// Prefixes in the table, and whether they are stale.
fn table(rig: &Rig) -> Vec<(String, bool)> {
    let rows = rig.rows(Select::All, View::Table);
    rows.iter().map(|row| (row.prefix.to_string(), row.stale)).collect()
}

fn stale(prefixes: &[(&str, bool)]) -> Vec<(String, bool)> {
    prefixes.iter().map(|(prefix, stale)| ((*prefix).to_owned(), *stale)).collect()
}

#[test]
fn routes_of_a_peer_that_may_come_back_stay_in_use_and_nobody_hears_of_it() {
    let mut rig = lost();
    assert_eq!(table(&rig), stale(&[("192.0.2.0/24", true), ("198.51.100.0/24", true)]));
    assert_eq!(rig.best("192.0.2.0/24"), Some(1));
    assert_eq!(rig.kernel.len(), 2);
    assert_eq!(news(&mut rig, 2), []);
}

#[test]
fn what_it_tells_again_is_no_news_and_what_it_does_not_goes_with_its_end_of_rib() {
    let mut rig = lost();
    rig.up(1, graceful(only(V4)));
    rig.announce(1, "192.0.2.0/24", |_| {});
    assert_eq!(table(&rig), stale(&[("192.0.2.0/24", false), ("198.51.100.0/24", true)]));
    assert_eq!(news(&mut rig, 2), []);
    end_of_rib(&mut rig, 1, V4);
    assert_eq!(table(&rig), stale(&[("192.0.2.0/24", false)]));
    assert_eq!(news(&mut rig, 2), [Heard::Withdraw(net("198.51.100.0/24"))]);
    assert_eq!(rig.kernel.len(), 1);
    rig.assert_exact();
    // It is a session like any other now.
    rig.withdraw(1, "192.0.2.0/24");
    assert!(table(&rig).is_empty() && rig.kernel.is_empty());
}

#[test]
fn a_peer_that_is_back_hears_the_whole_table() {
    let mut rig = lost();
    rig.announce(2, "203.0.113.0/24", |_| {});
    rig.up(1, graceful(only(V4)));
    assert!(rig.got(1, "203.0.113.0/24").is_some());
    assert_eq!(rig.got(1, "192.0.2.0/24"), None, "its own");
    assert!(news(&mut rig, 1).contains(&Heard::End(V4)));
}

#[test]
fn routes_that_it_says_it_did_not_go_on_forwarding_by_go_when_it_is_back() {
    let mut rig = lost();
    rig.up(1, graceful(only(V6)));
    assert!(table(&rig).is_empty());
    assert_eq!(news(&mut rig, 2).len(), 2);
    let mut rig = lost();
    rig.external(1);
    assert!(table(&rig).is_empty(), "nor does one that says nothing of restarts");
}

#[test]
fn routes_go_when_its_time_is_over() {
    let mut rig = lost();
    rig.event(Event::Forget { peer: PeerId(1) });
    rig.settle();
    assert!(table(&rig).is_empty() && rig.kernel.is_empty());
    assert_eq!(news(&mut rig, 2).len(), 2);
    // Back after all, it is as new.
    rig.up(1, graceful(only(V4)));
    rig.announce(1, "192.0.2.0/24", |_| {});
    assert_eq!(table(&rig), stale(&[("192.0.2.0/24", false)]));
}

#[test]
fn what_never_comes_again_goes_without_an_end_of_rib_too() {
    let mut rig = lost();
    rig.up(1, graceful(only(V4)));
    rig.announce(1, "192.0.2.0/24", |_| {});
    rig.event(Event::Forget { peer: PeerId(1) });
    rig.settle();
    assert_eq!(table(&rig), stale(&[("192.0.2.0/24", false)]));
    // The end of its routes means nothing more.
    end_of_rib(&mut rig, 1, V4);
    assert_eq!(table(&rig), stale(&[("192.0.2.0/24", false)]));
}

#[test]
fn what_was_stale_already_is_not_kept_once_more() {
    let mut rig = lost();
    rig.up(1, graceful(only(V4)));
    rig.announce(1, "192.0.2.0/24", |_| {});
    rig.lose(1, only(V4));
    assert_eq!(table(&rig), stale(&[("192.0.2.0/24", true)]));
}

#[test]
fn families_that_are_not_kept_go_at_once() {
    let mut rig = Rig::new();
    rig.up(1, graceful(only(V4)));
    rig.announce(1, "192.0.2.0/24", |_| {});
    let v6 = |attributes: &mut bgp_packet::PathAttributes| {
        attributes.next_hop =
            bgp_packet::NextHop::new("2001:db8::1".parse::<std::net::IpAddr>().unwrap());
    };
    rig.announce(1, "2001:db8:1::/48", v6);
    rig.lose(1, only(V4));
    assert_eq!(table(&rig), stale(&[("192.0.2.0/24", true)]));
}

#[test]
fn somebody_else_at_the_address_does_not_inherit() {
    let mut rig = lost();
    rig.up(1, |spec| {
        graceful(only(V4))(spec);
        spec.negotiated.peer_router_id = "10.9.9.9".parse().unwrap();
    });
    assert!(table(&rig).is_empty());
}

#[test]
fn a_kept_route_whose_next_hop_is_gone_is_not_used() {
    let mut rig = lost();
    rig.resolve("10.0.0.1", None);
    assert!(rig.kernel.is_empty());
    assert_eq!(news(&mut rig, 2).len(), 2);
    rig.event(Event::Forget { peer: PeerId(1) });
    rig.settle();
    assert!(table(&rig).is_empty());
}

#[test]
fn other_routes_for_the_same_prefix_compete_with_kept_ones() {
    let mut rig = lost();
    rig.announce(2, "192.0.2.0/24", |attributes| {
        attributes.as_path = bgp_packet::AsPath::sequence([65002, 65002].map(bgp_packet::Asn));
    });
    assert_eq!(rig.best("192.0.2.0/24"), Some(1), "the longer path does not win");
    rig.event(Event::Forget { peer: PeerId(1) });
    rig.settle();
    assert_eq!(rig.best("192.0.2.0/24"), Some(2));
}

#[test]
fn settings_that_changed_meanwhile_hold_for_kept_routes() {
    let mut rig = lost();
    rig.up(1, |spec| {
        graceful(only(V4))(spec);
        spec.config.import = reject();
    });
    assert!(rig.kernel.is_empty());
    assert_eq!(news(&mut rig, 2).len(), 2);
}

#[test]
fn routes_of_the_lost_session_that_come_late_are_dropped() {
    let mut rig = lost();
    let attributes = rig.attributes(1, |_| {});
    rig.send(1, net("203.0.113.0/24"), 0, Some(&attributes));
    rig.settle();
    assert_eq!(table(&rig).len(), 2);
}

#[test]
fn limits_count_kept_routes_once() {
    let mut rig = lost();
    rig.up(1, graceful(only(V4)));
    let counts = rig.shard.peer_counts(PeerId(1)).unwrap();
    assert_eq!((counts[0].received, counts[0].accepted), (2, 2));
    rig.announce(1, "192.0.2.0/24", |_| {});
    end_of_rib(&mut rig, 1, V4);
    let counts = rig.shard.peer_counts(PeerId(1)).unwrap();
    assert_eq!((counts[0].received, counts[0].accepted), (1, 1));
}

#[test]
fn many_restarts_one_after_the_other_are_like_one() {
    let mut rig = lost();
    for _ in 0..40 {
        rig.up(1, graceful(only(V4)));
        rig.announce(1, "192.0.2.0/24", |_| {});
        end_of_rib(&mut rig, 1, V4);
        assert_eq!(table(&rig), stale(&[("192.0.2.0/24", false)]));
        rig.lose(1, only(V4));
        assert_eq!(table(&rig), stale(&[("192.0.2.0/24", true)]));
    }
    assert_eq!(news(&mut rig, 2), [Heard::Withdraw(net("198.51.100.0/24"))]);
    rig.assert_exact();
}

#[test]
fn after_our_own_restart_nothing_is_told_or_installed_before_all_is_known() {
    let mut rig = Rig::with(|global| global.require_policy = false, Install::All);
    rig.event(Event::Defer(true));
    rig.external(1);
    rig.up(2, graceful(only(V4)));
    rig.announce(1, "192.0.2.0/24", |_| {});
    rig.announce(2, "198.51.100.0/24", |_| {});
    rig.withdraw(2, "198.51.100.0/24");
    let drained = Event::Drained(PeerId(2), rig.peers[&2].epoch);
    rig.event(drained);
    rig.settle();
    assert!(rig.kernel.is_empty());
    assert_eq!(news(&mut rig, 2), [], "not even the end of what there is");
    rig.event(Event::Defer(false));
    rig.settle();
    assert_eq!(rig.kernel.len(), 1);
    assert_eq!(
        news(&mut rig, 2),
        [Heard::Announce(net("192.0.2.0/24")), Heard::End(V4), Heard::End(V6)]
    );
    rig.announce(1, "203.0.113.0/24", |_| {});
    assert!(rig.got(2, "203.0.113.0/24").is_some());
    rig.up(3, graceful(only(V4)));
    assert!(rig.got(3, "203.0.113.0/24").is_some(), "who comes later does not wait");
}

#[test]
fn who_does_not_restart_gracefully_hears_what_is_known_while_others_wait() {
    let mut rig = Rig::with(|global| global.require_policy = false, Install::All);
    rig.external(1);
    rig.up(2, graceful(only(V4)));
    news(&mut rig, 1);
    news(&mut rig, 2);
    rig.event(Event::Defer(true));
    rig.announce(2, "198.51.100.0/24", |_| {});
    assert_eq!(news(&mut rig, 1), [Heard::Announce(net("198.51.100.0/24"))]);
    rig.external(3);
    let table = [Heard::Announce(net("198.51.100.0/24")), Heard::End(V4), Heard::End(V6)];
    assert_eq!(news(&mut rig, 3), table);
    rig.announce(1, "192.0.2.0/24", |_| {});
    assert_eq!(news(&mut rig, 3), [Heard::Announce(net("192.0.2.0/24"))]);
    assert_eq!(news(&mut rig, 2), []);
    assert!(rig.kernel.is_empty());
    rig.event(Event::Defer(false));
    rig.settle();
    assert_eq!(news(&mut rig, 2), [Heard::Announce(net("192.0.2.0/24"))]);
    assert_eq!(news(&mut rig, 3), []);
    assert_eq!(rig.kernel.len(), 2);
    rig.assert_exact();
}

#[test]
fn a_queue_that_is_full_stays_so_when_the_wait_is_over() {
    let mut rig = Rig::new();
    rig.event(Event::Defer(true));
    rig.external(1);
    rig.external(2);
    news(&mut rig, 2);
    let of = (PeerId(2), rig.peers[&2].epoch);
    rig.event(Event::Blocked(of.0, of.1));
    rig.announce(1, "192.0.2.0/24", |_| {});
    rig.event(Event::Defer(false));
    rig.settle();
    assert_eq!(news(&mut rig, 2), []);
    rig.event(Event::Drained(of.0, of.1));
    rig.settle();
    assert_eq!(news(&mut rig, 2), [Heard::Announce(net("192.0.2.0/24"))]);
}

/// A peer that keeps to a limit of four prefixes, has told four, and was lost.
fn lost_at_its_limit(action: MaxPrefixAction) -> Rig {
    let mut rig = Rig::new();
    rig.up(1, limited(action));
    rig.external(2);
    tell(&mut rig, 0..4);
    assert_eq!(over(&mut rig), []);
    rig.lose(1, only(V4));
    rig
}

fn limited(action: MaxPrefixAction) -> impl FnOnce(&mut Spec) {
    move |spec| {
        graceful(only(V4))(spec);
        spec.config.max_prefixes = Some(MaxPrefixes { limit: 4, warn_at: 1.0, action });
    }
}

fn tell(rig: &mut Rig, numbers: std::ops::Range<u8>) {
    for n in numbers {
        rig.announce(1, &format!("10.{n}.0.0/16"), |_| {});
    }
}

/// Counts that were beyond the limit.
fn over(rig: &mut Rig) -> Vec<u32> {
    let told = std::mem::take(&mut rig.notes).into_iter().filter_map(|note| match note {
        Effect::MaxPrefixes { count, warning: false, .. } => Some(count),
        _ => None,
    });
    told.collect()
}

#[test]
fn what_is_kept_of_a_peer_does_not_count_for_its_limit() {
    let mut rig = lost_at_its_limit(MaxPrefixAction::Shutdown);
    rig.up(1, limited(MaxPrefixAction::Shutdown));
    // As many as before, some of them others.
    tell(&mut rig, 2..6);
    assert_eq!(over(&mut rig), []);
    assert_eq!(table(&rig).len(), 6);
    end_of_rib(&mut rig, 1, V4);
    assert_eq!((over(&mut rig), table(&rig).len()), (vec![], 4));
    tell(&mut rig, 6..7);
    assert_eq!(over(&mut rig), [5]);
}

#[test]
fn what_a_peer_tells_beyond_its_limit_is_found_while_others_are_still_kept() {
    let mut rig = lost_at_its_limit(MaxPrefixAction::Shutdown);
    rig.up(1, limited(MaxPrefixAction::Shutdown));
    tell(&mut rig, 1..6);
    assert_eq!(over(&mut rig), [5]);
}

#[test]
fn a_kept_route_told_again_beyond_the_limit_is_dropped_where_that_is_asked_for() {
    let mut rig = lost_at_its_limit(MaxPrefixAction::Discard);
    rig.up(1, limited(MaxPrefixAction::Discard));
    tell(&mut rig, 10..14);
    assert_eq!(over(&mut rig), []);
    tell(&mut rig, 0..2);
    assert_eq!(over(&mut rig), [5], "once");
    assert_eq!(table(&rig).len(), 6);
    end_of_rib(&mut rig, 1, V4);
    assert_eq!(table(&rig).len(), 4);
    // Room again: the count is right.
    rig.withdraw(1, "10.10.0.0/16");
    tell(&mut rig, 0..1);
    assert_eq!(table(&rig).len(), 4);
    rig.assert_exact();
}

#[test]
fn kept_routes_that_policy_takes_out_and_in_again_do_not_come_to_count() {
    let mut rig = lost_at_its_limit(MaxPrefixAction::Shutdown);
    rig.up(1, |spec| {
        limited(MaxPrefixAction::Shutdown)(spec);
        spec.config.import = reject();
    });
    rig.reconfigure(|_, config| config.import = None);
    rig.settle();
    tell(&mut rig, 2..6);
    assert_eq!(over(&mut rig), []);
    end_of_rib(&mut rig, 1, V4);
    rig.withdraw(1, "10.2.0.0/16");
    tell(&mut rig, 6..7);
    assert_eq!(over(&mut rig), []);
    tell(&mut rig, 7..8);
    assert_eq!(over(&mut rig), [5]);
}

#[test]
fn the_count_is_right_after_many_restarts_and_refreshes() {
    let mut rig = lost_at_its_limit(MaxPrefixAction::Shutdown);
    for round in 0..20 {
        rig.up(1, limited(MaxPrefixAction::Shutdown));
        tell(&mut rig, 0..2);
        if round % 3 == 0 {
            // Lost once more before it is done.
            rig.lose(1, only(V4));
            rig.up(1, limited(MaxPrefixAction::Shutdown));
        }
        tell(&mut rig, round..round + 4);
        end_of_rib(&mut rig, 1, V4);
        // The rounds of paths are counted modulo 16.
        for _ in 0..17 {
            refresh(&mut rig, RefreshKind::Begin);
            tell(&mut rig, 100..104);
            refresh(&mut rig, RefreshKind::End);
        }
        over(&mut rig);
        assert_eq!(table(&rig).len(), 4);
        rig.withdraw(1, "10.100.0.0/16");
        tell(&mut rig, 104..105);
        assert_eq!(over(&mut rig), [], "round {round}");
        tell(&mut rig, 105..106);
        assert_eq!(over(&mut rig), [5], "round {round}");
        rig.lose(1, only(V4));
    }
}

fn refresh(rig: &mut Rig, kind: RefreshKind) {
    let refresh = RouteRefresh { family: V4, kind };
    rig.event(Event::Refresh { peer: PeerId(1), epoch: rig.peers[&1].epoch, refresh });
    rig.settle();
}
