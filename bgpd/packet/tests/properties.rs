//! What holds for every value: round trips, and that no octets make the decoders fall over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bgp_packet::{
    AddPathMode, Aggregator, Announce, AsPath, AsSegment, Asn, CanonicalParts, Capability,
    Community, EncodeContext, Family, FamilySet, LargeCommunity, MAX_EXTENDED_LEN, Message,
    NextHop, Notification, Open, Origin, PathAttributes, RawAttribute, SessionKind, Update,
    UpdateContext, canonical_octets, encode_withdraw, from_canonical, message,
};
use bytes::BytesMut;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::{collection::vec, option, prelude::*, sample::select};

/// AS numbers that matter, and any.
fn asn() -> impl Strategy<Value = Asn> {
    prop_oneof![select(vec![1, 23455, 23456, 65535, 65536, u32::MAX]), 1..=65535_u32, 1..=u32::MAX]
        .prop_map(Asn)
}

fn segment(asn: impl Strategy<Value = Asn>) -> impl Strategy<Value = AsSegment> {
    (vec(asn, 1..6), any::<bool>())
        .prop_map(|(asns, set)| if set { AsSegment::Set(asns) } else { AsSegment::Sequence(asns) })
}

/// Confederation segments lead, and their numbers have 2 octets: what AS4_PATH cannot carry.
fn as_path() -> impl Strategy<Value = AsPath> {
    let confed =
        (vec((1..=65535_u32).prop_map(Asn), 1..4), any::<bool>()).prop_map(|(asns, set)| {
            if set { AsSegment::ConfedSet(asns) } else { AsSegment::ConfedSequence(asns) }
        });
    (vec(confed, 0..3), vec(segment(asn()), 0..4))
        .prop_map(|(confed, others)| AsPath(confed.into_iter().chain(others).collect()))
}

fn host() -> impl Strategy<Value = Ipv4Addr> {
    (1..=126_u8, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| Ipv4Addr::new(a, b, c, d))
}

fn next_hop() -> impl Strategy<Value = NextHop> {
    let global = any::<[u8; 14]>().prop_map(|low| {
        let mut octets = [0x20; 16];
        octets[2..].copy_from_slice(&low);
        Ipv6Addr::from(octets)
    });
    let link_local =
        any::<u64>().prop_map(|low| Ipv6Addr::from_bits(0xFE80_u128 << 112 | u128::from(low)));
    prop_oneof![
        host().prop_map(NextHop::new),
        link_local.clone().prop_map(NextHop::new),
        (global, option::of(link_local))
            .prop_map(|(address, link_local)| NextHop { address: IpAddr::V6(address), link_local }),
    ]
}

fn distinct<T: Ord + Clone + std::fmt::Debug>(
    element: impl Strategy<Value = T>,
    max: usize,
) -> impl Strategy<Value = Vec<T>> {
    proptest::collection::btree_set(element, 0..max)
        .prop_map(|set| set.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
}

fn unknown() -> impl Strategy<Value = Vec<RawAttribute>> {
    let codes = select(vec![0_u8, 11, 19, 24, 33, 41, 127, 129, 254, 255]);
    proptest::collection::btree_map(codes, vec(any::<u8>(), 0..300), 0..3).prop_map(|map| {
        map.into_iter().map(|(code, value)| RawAttribute { flags: 0xE0, code, value }).collect()
    })
}

fn attributes() -> impl Strategy<Value = PathAttributes> {
    let core = (
        select(vec![Origin::Igp, Origin::Egp, Origin::Incomplete]),
        as_path(),
        next_hop(),
        option::of(any::<u32>()),
        any::<u32>(),
        any::<bool>(),
        option::of((asn(), any::<[u8; 4]>())),
    );
    let lists = (
        distinct(any::<u32>().prop_map(Community), 100),
        option::of(any::<[u8; 4]>().prop_map(Ipv4Addr::from)),
        vec(any::<[u8; 4]>().prop_map(Ipv4Addr::from), 0..4),
        distinct(any::<[u8; 8]>(), 40),
        distinct(any::<[u8; 20]>(), 4),
        distinct(any::<[u32; 3]>().prop_map(|[a, b, c]| LargeCommunity(a, b, c)), 40),
        option::of(asn()),
        unknown(),
    );
    let partial = vec(select(vec![7_u8, 8, 16, 25, 32, 35]), 0..6);
    (core, lists, partial).prop_map(|(core, lists, partial)| {
        let (origin, as_path, next_hop, med, local_pref, atomic_aggregate, aggregator) = core;
        let mut attributes = PathAttributes::local(next_hop);
        attributes.origin = origin;
        attributes.as_path = as_path;
        attributes.med = med;
        attributes.local_pref = Some(local_pref);
        attributes.atomic_aggregate = atomic_aggregate;
        attributes.aggregator =
            aggregator.map(|(asn, address)| Aggregator { asn, address: address.into() });
        (
            attributes.communities,
            attributes.originator_id,
            attributes.cluster_list,
            attributes.ext_communities,
            attributes.ipv6_ext_communities,
            attributes.large_communities,
            attributes.only_to_customer,
            attributes.unknown,
        ) = lists;
        for code in partial {
            let there = match code {
                7 => attributes.aggregator.is_some(),
                8 => !attributes.communities.is_empty(),
                16 => !attributes.ext_communities.is_empty(),
                25 => !attributes.ipv6_ext_communities.is_empty(),
                32 => !attributes.large_communities.is_empty(),
                _ => attributes.only_to_customer.is_some(),
            };
            if there {
                attributes.partial.insert(code);
            }
        }
        attributes
    })
}

/// Prefixes that routes can have, host bits cleared.
fn prefixes(family: Family) -> BoxedStrategy<Vec<(u32, IpNet)>> {
    let prefix = if family == Family::IPV4_UNICAST {
        (0..=32_u8, host())
            .prop_map(|(len, address)| IpNet::from(Ipv4Net::new_assert(address, len)).trunc())
            .boxed()
    } else {
        (0..=128_u8, any::<u128>())
            .prop_map(|(len, bits)| {
                let global = 0x2000_u128 << 112 | bits >> 3;
                IpNet::from(Ipv6Net::new_assert(Ipv6Addr::from_bits(global), len)).trunc()
            })
            .boxed()
    };
    vec((any::<u32>(), prefix), 1..200).boxed()
}

fn family() -> impl Strategy<Value = Family> {
    select(Family::SUPPORTED.to_vec())
}

fn context() -> impl Strategy<Value = UpdateContext> {
    let families = || vec(family(), 0..3).prop_map(FamilySet::from_iter);
    let kind =
        select(vec![SessionKind::Internal, SessionKind::External, SessionKind::ConfedExternal]);
    (kind, asn(), any::<[bool; 3]>(), families(), families(), families()).prop_map(
        |(kind, peer_asn, flags, families, add_path, extended_next_hop)| {
            let [four_octet_asn, enforce_first_as, reject_as_set] = flags;
            UpdateContext {
                kind,
                peer_asn,
                four_octet_asn,
                families,
                add_path,
                extended_next_hop,
                enforce_first_as,
                reject_as_set,
            }
        },
    )
}

/// A session that takes all that [`attributes`] makes.
fn tolerant(encode: EncodeContext) -> UpdateContext {
    let all: FamilySet = Family::SUPPORTED.into_iter().collect();
    UpdateContext {
        kind: SessionKind::Internal,
        peer_asn: Asn(1),
        four_octet_asn: encode.four_octet_asn,
        families: all,
        add_path: if encode.add_path { all } else { FamilySet::EMPTY },
        extended_next_hop: all,
        enforce_first_as: false,
        reject_as_set: false,
    }
}

fn encode_context() -> impl Strategy<Value = EncodeContext> {
    (any::<bool>(), any::<bool>(), select(vec![4096, 65535])).prop_map(
        |(four_octet_asn, add_path, max_len)| EncodeContext { four_octet_asn, add_path, max_len },
    )
}

/// Without add-path the identifier is not on the wire.
fn expected(encode: EncodeContext, prefixes: &[(u32, IpNet)]) -> Vec<(u32, IpNet)> {
    prefixes.iter().map(|(id, net)| (if encode.add_path { *id } else { 0 }, *net)).collect()
}

/// What is read off canonical octets is what the attributes say.
fn check_parts(octets: &[u8], attributes: &PathAttributes) {
    let parts = CanonicalParts::read(octets).expect("canonical");
    assert_eq!(parts.origin, attributes.origin);
    assert_eq!(parts.hops, attributes.as_path.hops());
    assert_eq!(parts.neighbour, attributes.as_path.neighbour());
    assert_eq!((parts.med, parts.local_pref), (attributes.med, attributes.local_pref));
    assert_eq!(parts.originator_id, attributes.originator_id);
    assert!(parts.asns().eq(attributes.as_path.asns()));
    let communities = parts.communities.iter().map(|c| Community(u32::from_be_bytes(*c)));
    assert!(communities.eq(attributes.communities.iter().copied()));
    let clusters = parts.cluster_list.iter().copied().map(Ipv4Addr::from);
    assert!(clusters.eq(attributes.cluster_list.iter().copied()));
}

/// Takes anything an UPDATE may be through all that reads it.
fn exercise(body: &[u8], context: &UpdateContext) {
    let Ok(update) = Update::parse(body, context) else { return };
    for nlri in update.withdrawn.iter().chain(&update.announced).flatten() {
        for (_, prefix) in nlri {
            assert_eq!(prefix, prefix.trunc());
        }
    }
    let mut plain = Vec::new();
    let next_hop = update.plain_attributes(context, &mut plain);
    let Ok(decoded) = update.decode_attributes(context) else {
        assert_eq!(next_hop, None);
        return;
    };
    let faultless = decoded.faults.is_empty();
    let Some(attributes) = decoded.attributes else {
        assert_eq!(next_hop, None);
        return;
    };
    let mut octets = Vec::new();
    canonical_octets(&attributes, &mut octets);
    if let Some(next_hop) = next_hop {
        assert!(faultless);
        assert_eq!((plain, next_hop), (octets.clone(), attributes.next_hop));
    }
    check_parts(&octets, &attributes);
    assert_eq!(from_canonical(&octets, attributes.next_hop).as_ref(), Some(&attributes));
}

proptest! {
    #[test]
    fn what_is_announced_is_read(
        (family, prefixes) in family().prop_flat_map(|f| (Just(f), prefixes(f))),
        mut attributes in attributes(),
        encode in encode_context(),
    ) {
        if family == Family::IPV6_UNICAST && attributes.next_hop.address.is_ipv4() {
            attributes.next_hop = NextHop::new(Ipv6Addr::LOCALHOST);
        }
        let context = tolerant(encode);
        let announce = Announce::new(family, &attributes, encode);
        prop_assume!(announce.is_some());
        let mut out = BytesMut::new();
        let mut ranges = Vec::new();
        announce.unwrap().encode(
            &mut prefixes.iter().copied(),
            &mut out,
            &mut |range, count| ranges.push((range, count)),
        );
        let mut read = Vec::new();
        for (range, count) in ranges {
            let frame = &out[range];
            prop_assert_eq!(message::frame_len(frame, encode.max_len), Ok(Some(frame.len())));
            let Ok(Message::Update(body)) = message::decode(frame) else { panic!("an UPDATE") };
            let update = Update::parse(body, &context).unwrap();
            prop_assert!(update.notes.is_empty());
            let before = read.len();
            read.extend(update.announced.iter().flatten().flat_map(|nlri| nlri.iter()));
            prop_assert_eq!(read.len() - before, count);
            let decoded = update.decode_attributes(&context).unwrap();
            prop_assert_eq!(&decoded.faults, &[]);
            prop_assert_eq!(decoded.attributes.as_ref(), Some(&attributes));
            let (mut plain, mut octets) = (Vec::new(), Vec::new());
            if update.plain_attributes(&context, &mut plain).is_some() {
                canonical_octets(&attributes, &mut octets);
                prop_assert_eq!(plain, octets);
            }
        }
        prop_assert_eq!(read, expected(encode, &prefixes));
    }

    #[test]
    fn what_is_withdrawn_is_read(
        (family, prefixes) in family().prop_flat_map(|f| (Just(f), prefixes(f))),
        encode in encode_context(),
    ) {
        let context = tolerant(encode);
        let mut out = BytesMut::new();
        let mut read = Vec::new();
        let mut ranges = Vec::new();
        encode_withdraw(
            family,
            encode,
            &mut prefixes.iter().copied(),
            &mut out,
            &mut |range, _| ranges.push(range),
        );
        for range in ranges {
            let Ok(Message::Update(body)) = message::decode(&out[range]) else { panic!("an UPDATE") };
            let update = Update::parse(body, &context).unwrap();
            prop_assert!(update.announced.iter().all(Option::is_none));
            prop_assert_eq!(update.end_of_rib, None);
            read.extend(update.withdrawn.iter().flatten().flat_map(|nlri| nlri.iter()));
        }
        prop_assert_eq!(read, expected(encode, &prefixes));
    }

    #[test]
    fn canonical_octets_read_back(attributes in attributes()) {
        let mut octets = Vec::new();
        canonical_octets(&attributes, &mut octets);
        check_parts(&octets, &attributes);
        prop_assert_eq!(from_canonical(&octets, attributes.next_hop), Some(attributes));
    }

    #[test]
    fn canonical_octets_announce_like_the_attributes(
        attributes in attributes(),
        family in family(),
        encode in encode_context(),
    ) {
        let mut octets = Vec::new();
        canonical_octets(&attributes, &mut octets);
        let written = |announce: Option<Announce>| {
            let nets = ["10.0.0.0/8", "2001:db8::/32"].map(|text| (1, text.parse().unwrap()));
            announce.map(|announce| {
                let mut out = BytesMut::new();
                announce.encode_all(nets, &mut out, |_, _| {});
                out
            })
        };
        prop_assert_eq!(
            written(Announce::from_canonical(family, &octets, attributes.next_hop, encode)),
            written(Announce::new(family, &attributes, encode))
        );
    }

    #[test]
    fn octets_that_are_canonical_are_written_again(octets in vec(any::<u8>(), 0..80)) {
        let next_hop = NextHop::new(Ipv4Addr::LOCALHOST);
        let octets = [&[0x40, 1, 1, 0, 0x40, 2, 0][..], &octets].concat();
        if let Some(attributes) = from_canonical(&octets, next_hop) {
            let mut again = Vec::new();
            canonical_octets(&attributes, &mut again);
            prop_assert_eq!(again, octets);
        }
    }

    #[test]
    fn opens_read_back(
        my_as in any::<u16>(),
        hold_time in any::<u16>(),
        router_id in any::<[u8; 4]>(),
        codes in vec((any::<u8>(), vec(any::<u8>(), 0..40)), 0..20),
        families in vec((family(), select(vec![AddPathMode::Send, AddPathMode::Both])), 0..4),
    ) {
        let known = [
            Capability::Multiprotocol(Family::IPV6_UNICAST),
            Capability::AddPath(families),
            Capability::FourOctetAsn(Asn(70_000)),
        ];
        let decoded =
            codes.iter().filter_map(|(code, value)| Capability::decode(*code, value).ok());
        let capabilities = known.into_iter().chain(decoded).collect();
        let open =
            Open { version: 4, my_as, hold_time, router_id: router_id.into(), capabilities };
        let octets = message::encode_open(&open);
        prop_assert_eq!(message::frame_len(&octets, 4096), Ok(Some(octets.len())));
        let Ok(Message::Open(read)) = message::decode(&octets) else { panic!("an OPEN") };
        // Entries left out and names repaired by the first reading are settled by then.
        prop_assert_eq!(read, open);
    }

    #[test]
    fn any_text_of_a_shutdown_is_safe_to_print(text in vec(any::<u8>(), 0..300)) {
        let data = [&[text.len().min(255) as u8][..], &text].concat();
        if let Some(text) = Notification::with_data(6, 2, data).text() {
            prop_assert!(!text.chars().any(char::is_control));
        }
    }

    #[test]
    fn no_octets_panic(octets in vec(any::<u8>(), 0..200), context in context()) {
        let _ = message::frame_len(&octets, MAX_EXTENDED_LEN);
        let _ = message::decode(&octets);
        exercise(&octets, &context);
        for kind in 1..=5 {
            let len = (octets.len() + 19) as u16;
            let frame = [&[0xFF; 16][..], &len.to_be_bytes(), &[kind], &octets].concat();
            let _ = message::decode(&frame);
        }
    }

    #[test]
    fn no_attribute_block_panics(
        block in vec((any::<u8>(), 0..45_u8, vec(any::<u8>(), 0..30)), 0..6),
        nlri in vec(any::<u8>(), 0..12),
        context in context(),
    ) {
        let block: Vec<u8> = block
            .into_iter()
            .flat_map(|(flags, code, value)| {
                [&[flags & !0x10, code, value.len() as u8][..], &value].concat()
            })
            .collect();
        let len = (block.len() as u16).to_be_bytes();
        exercise(&[&[0, 0][..], &len, &block, &nlri].concat(), &context);
    }

    #[test]
    fn a_flipped_octet_of_a_good_message_does_not_panic(
        attributes in attributes(),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        context in context(),
        encode in encode_context(),
    ) {
        let announce = Announce::new(Family::IPV4_UNICAST, &attributes, encode);
        prop_assume!(announce.is_some());
        let mut out = BytesMut::new();
        let net = (1, "10.0.0.0/8".parse().unwrap());
        announce.unwrap().encode_all([net], &mut out, |_, _| {});
        let mut body = out.split_off(19);
        let at = at.index(body.len());
        body[at] = value;
        exercise(&body, &context);
    }
}
