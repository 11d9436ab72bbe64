use bgp_core::{
    config::{GlobalConfig, KernelSource, Origination, PeerAsn, Redistribution},
    rib::Install,
};
use bgp_packet::Asn;

use super::*;
use crate::transport::tests::{global, peer};

fn named(name: &str) -> PeerConfig {
    PeerConfig { name: name.to_owned(), ..peer(PeerAsn::External) }
}

fn config(global: GlobalConfig, peers: Vec<PeerConfig>) -> SpeakerConfig {
    SpeakerConfig {
        global: global.into(),
        peers: peers.into_iter().map(Arc::new).collect(),
        install: Install::All,
        known: crate::Knowledge::All,
        restarted: false,
    }
}

/// Between two global configurations over the same two peers.
fn with(change: fn(&mut GlobalConfig)) -> Difference {
    let mut new = global();
    change(&mut new);
    let peers = || vec![named("a"), named("b")];
    Difference::between(&config(global(), peers()), &config(new, peers()))
}

fn names(peers: &[Arc<PeerConfig>]) -> Vec<&str> {
    peers.iter().map(|peer| peer.name.as_str()).collect()
}

#[test]
fn a_block_that_is_claimed_is_nothing_to_any_peer() {
    let difference = with(|global| {
        global.originate.push(Origination {
            prefix: "10.244.0.0/26".parse().expect("a prefix"),
            next_hop: None,
            communities: Vec::new(),
            blackhole: true,
        });
    });
    assert_eq!(difference, Difference::default());
}

#[test]
fn what_is_redistributed_is_nothing_to_any_peer() {
    let difference = with(|global| {
        global.redistribute.push(Redistribution {
            source: KernelSource::Static,
            table: 254,
            policy: None,
        });
    });
    assert_eq!(difference, Difference::default());
}

#[test]
fn every_other_setting_of_the_speaker_is_told_to_all() {
    let difference = with(|global| global.multipath_ebgp = 4);
    assert_eq!(names(&difference.changed), ["a", "b"]);
    assert!(difference.dynamic && difference.shards && !difference.bounce_all);
    let difference = with(|global| global.asn = Asn(65009));
    assert_eq!(names(&difference.changed), ["a", "b"]);
    assert!(difference.bounce_all);
    let difference = with(|global| global.listen.push("127.0.0.1:179".parse().expect("an end")));
    assert_eq!(names(&difference.changed), ["a", "b"]);
}

#[test]
fn only_who_is_another_hears_of_it() {
    let old = config(global(), vec![named("a"), named("b"), named("c"), named("d")]);
    let changed = PeerConfig { description: "to the left".to_owned(), ..named("b") };
    let other = PeerConfig { address: PeerAddress::Interface("eth9".to_owned()), ..named("c") };
    let new = config(global(), vec![named("a"), changed, other, named("e")]);
    let difference = Difference::between(&old, &new);
    assert_eq!(difference.gone, ["c", "d"]);
    assert_eq!(names(&difference.new), ["c", "e"]);
    assert_eq!(names(&difference.changed), ["b"]);
    assert!(difference.dynamic && difference.shards && !difference.bounce_all);
}

#[test]
fn a_new_peer_alone_is_told_to_the_shards_when_it_comes_up() {
    let old = config(global(), vec![named("a")]);
    let difference = Difference::between(&old, &config(global(), vec![named("a"), named("b")]));
    assert_eq!(names(&difference.new), ["b"]);
    assert!(!difference.dynamic && !difference.shards);
}

#[test]
fn what_goes_to_the_kernel_concerns_the_shards_alone() {
    let old = config(global(), vec![named("a")]);
    let new = SpeakerConfig { install: Install::Nothing, ..old.clone() };
    let difference = Difference::between(&old, &new);
    assert_eq!(difference, Difference { shards: true, ..Difference::default() });
}
