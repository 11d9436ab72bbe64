use std::net::Ipv6Addr;

use ipnet::{Ipv4Net, Ipv6Net};

use super::*;
use crate::{
    Aggregator, AsPath, AsSegment, Asn, Community, HEADER_LEN, RawAttribute, canonical_octets,
    message::frame_len,
};

const FOUR: EncodeContext = EncodeContext { four_octet_asn: true, add_path: false, max_len: 4096 };
const TWO: EncodeContext = EncodeContext { four_octet_asn: false, ..FOUR };

fn route() -> PathAttributes {
    PathAttributes::local(NextHop::new(Ipv4Addr::new(192, 0, 2, 1)))
}

fn ipv4(count: u32) -> Vec<(u32, IpNet)> {
    (0..count)
        .map(|i| (i, Ipv4Net::new_assert(Ipv4Addr::from_bits(0x0A00_0000 + (i << 8)), 24).into()))
        .collect()
}

fn ipv6(count: u128) -> Vec<(u32, IpNet)> {
    let base = 0x2001_0DB8_u128 << 96;
    (0..count)
        .map(|i| (7, Ipv6Net::new_assert(Ipv6Addr::from_bits(base + (i << 80)), 48).into()))
        .collect()
}

/// The messages, each a whole frame within the limit, and how many prefixes each has.
fn messages(
    max_len: usize,
    run: impl FnOnce(&mut BytesMut, &mut dyn FnMut(Range<usize>, usize)),
) -> Vec<(Vec<u8>, usize)> {
    let mut out = BytesMut::from(&b"before"[..]);
    let mut ranges = Vec::new();
    run(&mut out, &mut |range, count| ranges.push((range, count)));
    let mut end = 6;
    let messages = ranges
        .into_iter()
        .map(|(range, count)| {
            assert_eq!(range.start, end);
            end = range.end;
            let octets = out[range].to_vec();
            assert_eq!(frame_len(&octets, max_len), Ok(Some(octets.len())));
            (octets, count)
        })
        .collect();
    assert_eq!(out.len(), end);
    messages
}

fn announced(
    family: Family,
    attributes: &PathAttributes,
    context: EncodeContext,
    prefixes: &[(u32, IpNet)],
) -> Vec<(Vec<u8>, usize)> {
    let announce = Announce::new(family, attributes, context).unwrap();
    messages(context.max_len, |out, message| {
        announce.encode(&mut prefixes.iter().copied(), out, message);
    })
}

/// The attribute block of a message.
fn block(message: &[u8]) -> &[u8] {
    let len = usize::from(u16::from_be_bytes([message[21], message[22]]));
    &message[23..23 + len]
}

#[test]
fn ipv4_prefixes_go_into_the_classic_field() {
    let octets = &announced(Family::IPV4_UNICAST, &route(), FOUR, &ipv4(1))[0].0;
    let expected = [0, 0, 0, 14, 0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, 192, 0, 2, 1, 24, 10, 0, 0];
    assert_eq!(octets[HEADER_LEN..], expected);
}

#[test]
fn ipv6_prefixes_go_into_mp_reach_which_comes_first() {
    let mut route = route();
    route.med = Some(5);
    route.next_hop = NextHop::new(Ipv6Addr::LOCALHOST);
    let octets = &announced(Family::IPV6_UNICAST, &route, FOUR, &ipv6(1))[0].0;
    let mut expected = vec![0, 0, 0, 46, 0x90, 14, 0, 28, 0, 2, 1, 16];
    expected.extend(Ipv6Addr::LOCALHOST.octets());
    expected.extend([0, 48, 0x20, 1, 0x0D, 0xB8, 0, 0]);
    expected.extend([0x40, 1, 1, 0, 0x40, 2, 0, 0x80, 4, 4, 0, 0, 0, 5]);
    assert_eq!(octets[HEADER_LEN..], expected);
}

#[test]
fn ipv4_prefixes_with_an_ipv6_next_hop_go_into_mp_reach() {
    let mut route = route();
    let link_local: Ipv6Addr = "fe80::1".parse().unwrap();
    route.next_hop = NextHop { address: Ipv6Addr::LOCALHOST.into(), link_local: Some(link_local) };
    let octets = &announced(Family::IPV4_UNICAST, &route, FOUR, &ipv4(1))[0].0;
    assert_eq!(octets[23..31], [0x90, 14, 0, 41, 0, 1, 1, 32]);
    assert_eq!(octets[31..63], [Ipv6Addr::LOCALHOST.octets(), link_local.octets()].concat());
    assert!(!block(octets).windows(3).any(|w| w == [0x40, 3, 4]));
}

#[test]
fn an_ipv4_next_hop_of_ipv6_prefixes_is_mapped() {
    let octets = &announced(Family::IPV6_UNICAST, &route(), FOUR, &ipv6(1))[0].0;
    let mapped = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets();
    assert_eq!(octets[31..47], mapped);
}

#[test]
fn messages_are_as_full_as_they_can_be() {
    for (family, context) in [
        (Family::IPV4_UNICAST, FOUR),
        (Family::IPV4_UNICAST, EncodeContext { add_path: true, ..FOUR }),
        (Family::IPV6_UNICAST, FOUR),
        (Family::IPV6_UNICAST, EncodeContext { add_path: true, max_len: 65535, ..FOUR }),
    ] {
        let prefixes = if family == Family::IPV4_UNICAST { ipv4(20_000) } else { ipv6(20_000) };
        let messages = announced(family, &route(), context, &prefixes);
        assert_eq!(messages.iter().map(|(_, count)| count).sum::<usize>(), 20_000);
        let entry = if family == Family::IPV4_UNICAST { 4 } else { 7 };
        let entry = entry + if context.add_path { 4 } else { 0 };
        let (_, full) = messages.split_last().unwrap();
        assert!(!full.is_empty());
        assert!(full.iter().all(|(octets, _)| octets.len() + entry > context.max_len));
    }
}

#[test]
fn nothing_is_written_without_prefixes() {
    assert_eq!(announced(Family::IPV4_UNICAST, &route(), FOUR, &[]), []);
    // Prefixes of the other family are not ours to write.
    assert_eq!(announced(Family::IPV4_UNICAST, &route(), FOUR, &ipv6(3)), []);
    assert_eq!(announced(Family::IPV6_UNICAST, &route(), FOUR, &ipv4(3)), []);
}

#[test]
fn path_identifiers_are_written_where_negotiated() {
    let context = EncodeContext { add_path: true, ..FOUR };
    let octets = &announced(Family::IPV4_UNICAST, &route(), context, &ipv4(2))[0].0;
    assert!(octets.ends_with(&[0, 0, 0, 0, 24, 10, 0, 0, 0, 0, 0, 1, 24, 10, 0, 1]));
}

#[test]
fn host_bits_are_not_written() {
    let prefix = "10.255.255.255/9".parse().unwrap();
    let octets = &announced(Family::IPV4_UNICAST, &route(), FOUR, &[(0, prefix)])[0].0;
    assert!(octets.ends_with(&[9, 10, 128]));
}

#[test]
fn attributes_too_large_for_the_peer_are_refused() {
    let mut route = route();
    // 23 octets before the block, 4 + 3 + 7 of ORIGIN, AS_PATH, NEXT_HOP, 4 of header.
    let largest = |max_len: usize| max_len - 23 - 14 - 4 - 5;
    let unknown = |len| vec![RawAttribute { flags: 0xE0, code: 200, value: vec![0; len] }];
    for max_len in [4096, 65535] {
        let context = EncodeContext { max_len, ..FOUR };
        route.unknown = unknown(largest(max_len));
        let announce = Announce::new(Family::IPV4_UNICAST, &route, context).unwrap();
        let host = "10.0.0.1/32".parse().unwrap();
        let messages = messages(max_len, |out, message| {
            announce.encode(&mut [(0, host), (0, host)].into_iter(), out, message);
        });
        assert_eq!(
            messages.iter().map(|(octets, _)| octets.len()).collect::<Vec<_>>(),
            [max_len; 2]
        );
        route.unknown = unknown(largest(max_len) + 1);
        assert!(Announce::new(Family::IPV4_UNICAST, &route, context).is_none());
    }
    route.unknown = unknown(100_000);
    assert!(
        Announce::new(Family::IPV4_UNICAST, &route, EncodeContext { max_len: 65535, ..FOUR })
            .is_none()
    );
    assert!(
        Announce::new(Family::IPV6_UNICAST, &route, EncodeContext { max_len: 65535, ..FOUR })
            .is_none()
    );
}

#[test]
fn two_octet_peers_get_as4_path_only_where_a_number_does_not_fit() {
    let mut route = route();
    route.as_path = AsPath::sequence([Asn(1), Asn(2)]);
    let octets = &announced(Family::IPV4_UNICAST, &route, TWO, &ipv4(1))[0].0;
    assert!(block(octets).starts_with(&[0x40, 1, 1, 0, 0x40, 2, 6, 2, 2, 0, 1, 0, 2, 0x40, 3]));
    assert_eq!(block(octets).len(), 4 + 9 + 7);

    route.as_path = AsPath::sequence([Asn(1), Asn(100_000)]);
    let octets = &announced(Family::IPV4_UNICAST, &route, TWO, &ipv4(1))[0].0;
    assert!(block(octets).starts_with(&[0x40, 1, 1, 0, 0x40, 2, 6, 2, 2, 0, 1, 0x5B, 0xA0]));
    let as4 = [0xC0, 17, 10, 2, 2, 0, 0, 0, 1, 0, 1, 0x86, 0xA0];
    assert!(block(octets).ends_with(&as4));
}

#[test]
fn confed_segments_never_go_into_as4_path() {
    let mut route = route();
    route.as_path = AsPath(vec![
        AsSegment::ConfedSequence(vec![Asn(200_000)]),
        AsSegment::Sequence(vec![Asn(100_000)]),
    ]);
    let octets = &announced(Family::IPV4_UNICAST, &route, TWO, &ipv4(1))[0].0;
    assert!(block(octets).ends_with(&[0xC0, 17, 6, 2, 1, 0, 1, 0x86, 0xA0]));
    // Nor is there one for their sake.
    route.as_path.0.pop();
    let octets = &announced(Family::IPV4_UNICAST, &route, TWO, &ipv4(1))[0].0;
    assert!(block(octets).ends_with(&[0x40, 3, 4, 192, 0, 2, 1]));
}

#[test]
fn as4_aggregator_is_written_only_where_needed() {
    let mut route = route();
    let address = Ipv4Addr::new(1, 1, 1, 1);
    route.aggregator = Some(Aggregator { asn: Asn(65001), address });
    let octets = &announced(Family::IPV4_UNICAST, &route, TWO, &ipv4(1))[0].0;
    assert!(block(octets).ends_with(&[0xC0, 7, 6, 0xFD, 0xE9, 1, 1, 1, 1]));
    route.aggregator = Some(Aggregator { asn: Asn(100_000), address });
    let octets = &announced(Family::IPV4_UNICAST, &route, TWO, &ipv4(1))[0].0;
    let expected = [0xC0, 7, 6, 0x5B, 0xA0, 1, 1, 1, 1, 0xC0, 18, 8, 0, 1, 0x86, 0xA0, 1, 1, 1, 1];
    assert!(block(octets).ends_with(&expected));
    let octets = &announced(Family::IPV4_UNICAST, &route, FOUR, &ipv4(1))[0].0;
    assert!(block(octets).ends_with(&[0xC0, 7, 8, 0, 1, 0x86, 0xA0, 1, 1, 1, 1]));
}

#[test]
fn unknown_attributes_stand_in_their_place() {
    let mut route = route();
    route.communities = vec![Community(1)];
    route.only_to_customer = Some(Asn(1));
    let unknown = |code| RawAttribute { flags: 0xE0, code, value: vec![] };
    route.unknown = vec![unknown(11), unknown(33), unknown(200)];
    let octets = &announced(Family::IPV4_UNICAST, &route, FOUR, &ipv4(1))[0].0;
    let codes: Vec<u8> = WireAttributes::new(block(octets)).map(|a| a.unwrap().code).collect();
    assert_eq!(codes, [1, 2, 3, 8, 11, 33, 35, 200]);
}

#[test]
fn long_values_have_the_extended_length() {
    let mut route = route();
    route.communities = (0..64).map(Community).collect();
    let octets = &announced(Family::IPV4_UNICAST, &route, FOUR, &ipv4(1))[0].0;
    assert!(block(octets)[14..].starts_with(&[0xD0, 8, 1, 0]));
    route.communities.pop();
    let octets = &announced(Family::IPV4_UNICAST, &route, FOUR, &ipv4(1))[0].0;
    assert!(block(octets)[14..].starts_with(&[0xC0, 8, 252]));
}

#[test]
fn withdrawals_are_packed_too() {
    for (family, prefixes, entry) in
        [(Family::IPV4_UNICAST, ipv4(3000), 4), (Family::IPV6_UNICAST, ipv6(3000), 7)]
    {
        let messages = messages(4096, |out, message| {
            encode_withdraw(family, FOUR, &mut prefixes.iter().copied(), out, message);
        });
        assert_eq!(messages.iter().map(|(_, count)| count).sum::<usize>(), 3000);
        let (_, full) = messages.split_last().unwrap();
        assert!(full.iter().all(|(octets, _)| octets.len() + entry > 4096));
    }
}

#[test]
fn withdrawals_of_ipv4_are_classic_and_of_ipv6_in_mp_unreach() {
    let withdraw = |family, prefixes: Vec<(u32, IpNet)>| {
        let messages = messages(4096, |out, message| {
            encode_withdraw(family, FOUR, &mut prefixes.into_iter(), out, message);
        });
        messages[0].0[HEADER_LEN..].to_vec()
    };
    assert_eq!(withdraw(Family::IPV4_UNICAST, ipv4(1)), [0, 4, 24, 10, 0, 0, 0, 0]);
    let expected = [0, 0, 0, 14, 0x90, 15, 0, 10, 0, 2, 1, 48, 0x20, 1, 0x0D, 0xB8, 0, 0];
    assert_eq!(withdraw(Family::IPV6_UNICAST, ipv6(1)), expected);
}

#[test]
fn end_of_rib_is_the_smallest_update() {
    assert_eq!(end_of_rib(Family::IPV4_UNICAST)[16..], [0, 23, 2, 0, 0, 0, 0]);
    let expected = [0, 29, 2, 0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1];
    assert_eq!(end_of_rib(Family::IPV6_UNICAST)[16..], expected);
}

#[test]
fn canonical_octets_announce_the_same_as_the_attributes() {
    let mut route = route();
    route.as_path = AsPath::sequence([Asn(1), Asn(100_000)]);
    route.local_pref = Some(100);
    route.communities = vec![Community(1)];
    // A code before all others: found by fuzzing.
    route.unknown = vec![RawAttribute { flags: 0xE0, code: 0, value: vec![] }];
    let mut octets = Vec::new();
    canonical_octets(&route, &mut octets);
    let v6 = NextHop::new(Ipv6Addr::LOCALHOST);
    for next_hop in [route.next_hop, v6] {
        route.next_hop = next_hop;
        for (family, context) in [
            (Family::IPV4_UNICAST, FOUR),
            (Family::IPV4_UNICAST, TWO),
            (Family::IPV6_UNICAST, FOUR),
        ] {
            let prefixes: Vec<_> = ipv4(3).into_iter().chain(ipv6(3)).collect();
            let announce = Announce::from_canonical(family, &octets, next_hop, context).unwrap();
            let mut out = BytesMut::new();
            announce.encode_all(prefixes.iter().copied(), &mut out, |_, _| {});
            let expected = announced(family, &route, context, &prefixes);
            assert_eq!(out, expected[0].0);
        }
    }
    assert!(Announce::from_canonical(Family::IPV4_UNICAST, &[1, 2], v6, TWO).is_none());
}
