use super::*;
use crate::AsSegment;

fn full() -> PathAttributes {
    let mut partial = PartialBits::default();
    partial.insert(code::COMMUNITIES);
    let raw = |code| RawAttribute { flags: 0xE0, code, value: vec![code; 300] };
    PathAttributes {
        origin: Origin::Egp,
        as_path: AsPath(vec![
            AsSegment::ConfedSequence(vec![Asn(65010)]),
            AsSegment::Sequence(vec![Asn(100_000), Asn(2)]),
            AsSegment::Set(vec![Asn(3), Asn(4)]),
            AsSegment::Sequence(vec![Asn(5)]),
        ]),
        next_hop: NextHop::new(Ipv4Addr::new(192, 0, 2, 1)),
        med: Some(1),
        local_pref: Some(2),
        atomic_aggregate: true,
        aggregator: Some(Aggregator { asn: Asn(100_000), address: Ipv4Addr::new(1, 1, 1, 1) }),
        communities: vec![Community(2), Community(1)],
        originator_id: Some(Ipv4Addr::new(2, 2, 2, 2)),
        cluster_list: vec![Ipv4Addr::new(3, 3, 3, 3), Ipv4Addr::new(4, 4, 4, 4)],
        ext_communities: vec![[1; 8]],
        ipv6_ext_communities: vec![[2; 20]],
        large_communities: vec![LargeCommunity(1, 2, 3)],
        only_to_customer: Some(Asn(7)),
        unknown: vec![raw(11), raw(34), raw(200)],
        partial,
    }
}

fn canonical(attributes: &PathAttributes) -> Vec<u8> {
    let mut octets = Vec::new();
    canonical_octets(attributes, &mut octets);
    octets
}

#[test]
fn attributes_read_back_from_their_canonical_octets() {
    for attributes in [full(), PathAttributes::local(Ipv4Addr::LOCALHOST.into())] {
        let octets = canonical(&attributes);
        assert_eq!(from_canonical(&octets, attributes.next_hop), Some(attributes));
    }
}

#[test]
fn every_field_but_the_next_hop_changes_the_octets() {
    let base = full();
    let changes: [fn(&mut PathAttributes); 15] = [
        |a| a.origin = Origin::Igp,
        |a| a.as_path.prepend(Asn(1), 1),
        |a| a.med = None,
        |a| a.local_pref = Some(3),
        |a| a.atomic_aggregate = false,
        |a| a.aggregator = None,
        |a| a.communities.reverse(),
        |a| a.originator_id = None,
        |a| a.cluster_list.reverse(),
        |a| a.ext_communities[0][7] = 0,
        |a| a.ipv6_ext_communities[0][19] = 0,
        |a| a.large_communities.clear(),
        |a| a.only_to_customer = Some(Asn(8)),
        |a| a.unknown[1].value[5] = 0,
        |a| a.partial = PartialBits::default(),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut changed = base.clone();
        change(&mut changed);
        assert_ne!(canonical(&changed), canonical(&base), "{index}");
    }
    let mut elsewhere = base.clone();
    elsewhere.next_hop = Ipv4Addr::LOCALHOST.into();
    assert_eq!(canonical(&elsewhere), canonical(&base));
}

#[test]
fn octets_in_another_form_are_not_canonical() {
    let next_hop = NextHop::new(Ipv4Addr::LOCALHOST);
    let refused: [&[u8]; 12] = [
        &[],
        &[0x40, 1, 1, 0],
        &[0x40, 2, 0],
        &[0x40, 2, 0, 0x40, 1, 1, 0],
        &[0x50, 1, 0, 1, 0, 0x40, 2, 0],
        &[0x60, 1, 1, 0, 0x40, 2, 0],
        &[0x40, 1, 1, 3, 0x40, 2, 0],
        &[0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, 1, 1, 1, 1],
        &[0x40, 1, 1, 0, 0x40, 2, 0, 0xC0, 8, 0],
        &[0x40, 1, 1, 0, 0x40, 2, 0, 0xC0, 8, 3, 1, 1, 1],
        &[0x40, 1, 1, 0, 0x40, 2, 0, 0x80, 4, 4, 0, 0, 0, 1, 0x80, 4, 4, 0, 0, 0, 1],
        &[0x40, 1, 1, 0, 0x40, 2, 0, 0x80, 4, 4, 0, 0],
    ];
    for octets in refused {
        assert_eq!(from_canonical(octets, next_hop), None, "{octets:?}");
    }
}

#[test]
fn an_unknown_attribute_of_code_0_comes_before_origin() {
    // Found by fuzzing.
    let mut attributes = full();
    attributes.unknown.insert(0, RawAttribute { flags: 0xE0, code: 0, value: vec![] });
    let octets = canonical(&attributes);
    assert!(octets.starts_with(&[0xE0, 0, 0, 0x40, 1]));
    assert_eq!(from_canonical(&octets, attributes.next_hop), Some(attributes));
}

#[test]
fn what_a_policy_may_leave_behind_still_reads_back() {
    // Longer than a segment holds, and AS 0: not from the wire, but no reason to fall over.
    let mut attributes = PathAttributes::local(Ipv4Addr::LOCALHOST.into());
    attributes.as_path = AsPath(vec![AsSegment::Sequence(vec![Asn(0); 300])]);
    let octets = canonical(&attributes);
    let read = from_canonical(&octets, attributes.next_hop).unwrap();
    assert_eq!(read.as_path.hops(), 300);
    assert_eq!(canonical(&read), octets);
}
