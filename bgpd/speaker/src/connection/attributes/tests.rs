use bgp_core::rib::Attrs;
use bgp_packet::{
    Announce, Asn, EncodeContext, Family, FamilySet, HEADER_LEN, NextHop, PathAttributes,
    SessionKind, UpdateContext,
};
use bytes::BytesMut;

use super::*;

fn context() -> UpdateContext {
    UpdateContext {
        kind: SessionKind::Internal,
        peer_asn: Asn(65001),
        four_octet_asn: true,
        families: Family::SUPPORTED.into_iter().collect(),
        add_path: FamilySet::EMPTY,
        extended_next_hop: FamilySet::EMPTY,
        enforce_first_as: false,
        reject_as_set: false,
    }
}

fn attributes(med: u32) -> PathAttributes {
    let next_hop = NextHop { address: "2001:db8::1".parse().expect("v6"), link_local: None };
    PathAttributes { med: Some(med), local_pref: Some(100), ..PathAttributes::local(next_hop) }
}

/// The body of an UPDATE that announces an IPv6 prefix.
fn update(med: u32, prefix: &str) -> Vec<u8> {
    let encode = EncodeContext { four_octet_asn: true, add_path: false, max_len: 4096 };
    let announce = Announce::new(Family::IPV6_UNICAST, &attributes(med), encode).expect("fits");
    let mut out = BytesMut::new();
    let mut prefixes = [(0, prefix.parse().expect("a prefix"))].into_iter();
    announce.encode(&mut prefixes, &mut out, &mut |_, _| {});
    out[HEADER_LEN..].to_vec()
}

#[test]
fn attributes_are_recognised_whatever_the_prefix() {
    let mut cache = Cache::default();
    let context = context();
    let first = update(1, "2001:db8:1::/48");
    let first = Update::parse(&first, &context).expect("sound");
    let key = cache.look(&first);
    assert!(cache.find(key).is_none());
    cache.insert(key, Arc::new(Attrs::new(&attributes(1))));
    let second = update(1, "2001:db8:2::/47");
    let key = cache.look(&Update::parse(&second, &context).expect("sound"));
    assert_eq!(cache.find(key).map(|found| found.decode()), Some(attributes(1)));
    let other = update(2, "2001:db8:1::/48");
    let key = cache.look(&Update::parse(&other, &context).expect("sound"));
    assert!(cache.find(key).is_none());
}

#[test]
fn the_cache_is_bounded_and_keeps_what_is_used() {
    let mut cache = Cache::default();
    let context = context();
    let attrs = Arc::new(Attrs::new(&attributes(0)));
    for med in 0..u32::try_from(GENERATION * 3).expect("small") {
        let body = update(med, "2001:db8:1::/48");
        let key = cache.look(&Update::parse(&body, &context).expect("sound"));
        cache.insert(key, Arc::clone(&attrs));
        let used = update(0, "2001:db8:1::/48");
        let key = cache.look(&Update::parse(&used, &context).expect("sound"));
        assert!(cache.find(key).is_some());
    }
    assert!(cache.young.len() + cache.old.len() <= 2 * GENERATION);
}

#[test]
fn long_blocks_do_not_stay_by_the_thousand() {
    let mut cache = Cache::default();
    let long = |number: u32| {
        let mut attributes = attributes(number);
        attributes.cluster_list = vec![number.into(); 900];
        Arc::new(Attrs::new(&attributes))
    };
    for number in 0..4000_u32 {
        cache.scratch = [number.to_be_bytes(); 1000].as_flattened().to_vec();
        let key = Key(number.into());
        cache.insert(key, long(number));
        assert!(cache.find(key).is_some());
    }
    let kept =
        cache.young.values().chain(cache.old.values()).map(|e| e.octets.len()).sum::<usize>();
    assert!(kept <= 2 * GENERATION_OCTETS + 2 * 4000, "{kept} octets");
}
