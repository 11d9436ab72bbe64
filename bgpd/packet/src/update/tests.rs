use super::*;
use crate::{AsPath, Community, PathAttributes};

fn context() -> UpdateContext {
    UpdateContext {
        kind: SessionKind::External,
        peer_asn: Asn(65001),
        four_octet_asn: true,
        families: Family::SUPPORTED.into_iter().collect(),
        add_path: FamilySet::EMPTY,
        extended_next_hop: FamilySet::EMPTY,
        enforce_first_as: false,
        reject_as_set: false,
    }
}

fn body(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let mut out = (withdrawn.len() as u16).to_be_bytes().to_vec();
    out.extend(withdrawn);
    out.extend((attributes.len() as u16).to_be_bytes());
    out.extend(attributes);
    out.extend(nlri);
    out
}

fn mp_reach(afi: u8, next_hop: &[u8], nlri: &[u8]) -> Vec<u8> {
    let value = [&[0, afi, 1, next_hop.len() as u8], next_hop, &[0], nlri].concat();
    [&[0x80, 14, value.len() as u8], &value[..]].concat()
}

const BLOCK: [u8; 20] =
    [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xFD, 0xE9, 0x40, 3, 4, 192, 0, 2, 1];
const GLOBAL: [u8; 16] = [0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const LINK_LOCAL: [u8; 16] = [0xFE, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const NLRI_V6: [u8; 5] = [32, 0x20, 1, 0x0D, 0xB8];

#[test]
fn end_of_rib_has_two_forms() {
    let parse = |octets: &[u8]| Update::parse(octets, &context()).unwrap().end_of_rib;
    assert_eq!(parse(&[0, 0, 0, 0]), Some(Family::IPV4_UNICAST));
    let mp = |afi, nlri: &[u8]| {
        body(&[], &[&[0x80, 15, 3 + nlri.len() as u8, 0, afi, 1], nlri].concat(), &[])
    };
    assert_eq!(parse(&mp(2, &[])), Some(Family::IPV6_UNICAST));
    assert_eq!(parse(&mp(1, &[])), Some(Family::IPV4_UNICAST));
    assert_eq!(parse(&mp(25, &[])), None);
    assert_eq!(parse(&mp(2, &NLRI_V6)), None);
    for family in Family::SUPPORTED {
        assert_eq!(parse(&end_of_rib(family)[19..]), Some(family));
    }
}

#[test]
fn what_carries_anything_else_is_no_end_of_rib() {
    let empty_unreach = [0x80, 15, 3, 0, 2, 1];
    let samples = [
        body(&[8, 10], &[], &[]),
        body(&[], &BLOCK, &[]),
        body(&[8, 10], &empty_unreach, &[]),
        body(&[], &[&empty_unreach[..], &BLOCK].concat(), &[8, 10]),
        body(&[], &[&empty_unreach[..], &[0x40, 1, 1, 0]].concat(), &[]),
    ];
    for sample in samples {
        assert_eq!(Update::parse(&sample, &context()).unwrap().end_of_rib, None, "{sample:?}");
    }
}

#[test]
fn end_of_rib_of_a_family_not_negotiated_is_none() {
    let mut context = context();
    context.families = [Family::IPV6_UNICAST].into_iter().collect();
    assert_eq!(Update::parse(&[0, 0, 0, 0], &context).unwrap().end_of_rib, None);
}

#[test]
fn classic_prefixes_are_ignored_where_ipv4_is_not_negotiated() {
    let mut context = context();
    context.families = [Family::IPV6_UNICAST].into_iter().collect();
    // Not even looked at: what is ignored cannot be wrong.
    let octets = body(&[8, 10], &BLOCK, &[99]);
    let update = Update::parse(&octets, &context).unwrap();
    assert!(update.withdrawn.iter().chain(&update.announced).all(Option::is_none));
    assert_eq!(update.notes.len(), 2);
}

#[test]
fn classic_and_multiprotocol_prefixes_may_share_a_message() {
    let unreach = [&[0x80, 15, 8, 0, 2, 1][..], &NLRI_V6].concat();
    // In any order, among the others.
    let block = [&BLOCK[..4], &unreach, &mp_reach(2, &GLOBAL, &NLRI_V6), &BLOCK[4..]].concat();
    let octets = body(&[8, 10], &block, &[8, 11]);
    let update = Update::parse(&octets, &context()).unwrap();
    let read = |nlri: Option<Nlri<'_>>| -> Vec<String> {
        nlri.unwrap().iter().map(|(_, prefix)| prefix.to_string()).collect()
    };
    assert_eq!(read(update.withdrawn[0]), ["10.0.0.0/8"]);
    assert_eq!(read(update.withdrawn[1]), ["2001:db8::/32"]);
    assert_eq!(read(update.announced[0]), ["11.0.0.0/8"]);
    assert_eq!(read(update.announced[1]), ["2001:db8::/32"]);
    assert_eq!(update.mp_next_hop, Some(NextHop::new(Ipv6Addr::from(GLOBAL))));
    let route = update.decode_attributes(&context()).unwrap().attributes.unwrap();
    assert_eq!(route.next_hop, NextHop::new(Ipv4Addr::new(192, 0, 2, 1)));
}

#[test]
fn ipv6_next_hops_have_one_or_two_addresses() {
    let next_hop = |octets: &[u8]| {
        let octets = body(&[], &[&BLOCK[..13], &mp_reach(2, octets, &NLRI_V6)].concat(), &[]);
        Update::parse(&octets, &context()).unwrap().mp_next_hop.unwrap()
    };
    let global = NextHop::new(Ipv6Addr::from(GLOBAL));
    let link_local = Ipv6Addr::from(LINK_LOCAL);
    assert_eq!(next_hop(&GLOBAL), global);
    assert_eq!(
        next_hop(&[GLOBAL, LINK_LOCAL].concat()),
        NextHop { link_local: Some(link_local), ..global }
    );
    // A link-local address alone, in the three forms peers use.
    for form in
        [&LINK_LOCAL[..], &[[0; 16], LINK_LOCAL].concat(), &[LINK_LOCAL, LINK_LOCAL].concat()]
    {
        assert_eq!(next_hop(form), NextHop::new(link_local));
    }
    // A second address that is none says nothing.
    assert_eq!(next_hop(&[GLOBAL, [0; 16]].concat()), global);
    assert_eq!(next_hop(&[GLOBAL, GLOBAL].concat()), global);
}

#[test]
fn ipv4_prefixes_may_have_an_ipv6_next_hop_where_negotiated() {
    let mut extended = context();
    extended.extended_next_hop = [Family::IPV4_UNICAST].into_iter().collect();
    let block = [&BLOCK[..13], &mp_reach(1, &[GLOBAL, LINK_LOCAL].concat(), &[8, 10])].concat();
    let octets = body(&[], &block, &[]);
    let update = Update::parse(&octets, &extended).unwrap();
    assert_eq!(update.announced[1].unwrap().family, Family::IPV4_UNICAST);
    let route = update.decode_attributes(&extended).unwrap().attributes.unwrap();
    assert_eq!(route.next_hop.address, IpAddr::V6(GLOBAL.into()));
    assert_eq!(route.next_hop.link_local, Some(LINK_LOCAL.into()));
    assert!(Update::parse(&octets, &context()).is_err());
}

#[test]
fn ipv4_prefixes_in_mp_reach_may_have_an_ipv4_next_hop() {
    let block = [&BLOCK[..13], &mp_reach(1, &[192, 0, 2, 9], &[8, 10])].concat();
    let octets = body(&[], &block, &[]);
    let update = Update::parse(&octets, &context()).unwrap();
    assert_eq!(update.mp_next_hop, Some(NextHop::new(Ipv4Addr::new(192, 0, 2, 9))));
    assert_eq!(update.announced[1].unwrap().iter().count(), 1);
}

#[test]
fn the_reserved_octet_after_the_next_hop_is_ignored() {
    let mut reach = mp_reach(2, &GLOBAL, &NLRI_V6);
    reach[3 + 4 + 16] = 0xFF;
    let octets = body(&[], &[&BLOCK[..13], &reach].concat(), &[]);
    assert!(Update::parse(&octets, &context()).unwrap().announced[1].is_some());
}

#[test]
fn add_path_applies_to_the_families_that_have_it() {
    let mut context = context();
    context.add_path = [Family::IPV4_UNICAST].into_iter().collect();
    let block = [&BLOCK[..], &mp_reach(2, &GLOBAL, &NLRI_V6)].concat();
    let octets = body(&[0, 0, 0, 1, 8, 10], &block, &[0, 0, 0, 2, 8, 11]);
    let update = Update::parse(&octets, &context).unwrap();
    let ids = |nlri: Option<Nlri<'_>>| nlri.unwrap().iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids(update.withdrawn[0]), [1]);
    assert_eq!(ids(update.announced[0]), [2]);
    assert_eq!(ids(update.announced[1]), [0]);
}

#[test]
fn attributes_decode_from_a_whole_message_of_our_own() {
    let mut attributes = PathAttributes::local(NextHop::new(Ipv4Addr::new(192, 0, 2, 1)));
    attributes.as_path = AsPath::sequence([Asn(65001), Asn(4_200_000_000)]);
    attributes.communities = vec![Community::NO_EXPORT];
    let encode = EncodeContext { four_octet_asn: true, add_path: false, max_len: 4096 };
    let announce = Announce::new(Family::IPV4_UNICAST, &attributes, encode).unwrap();
    let mut out = bytes::BytesMut::new();
    announce.encode(
        &mut [(0, "10.0.0.0/8".parse().unwrap())].into_iter(),
        &mut out,
        &mut |_, _| {},
    );
    let crate::Message::Update(body) = crate::message::decode(&out).unwrap() else { panic!() };
    let update = Update::parse(body, &context()).unwrap();
    let decoded = update.decode_attributes(&context()).unwrap();
    assert_eq!(decoded, Decoded { attributes: Some(attributes), faults: vec![] });
}
