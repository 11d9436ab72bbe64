use std::{net::Ipv4Addr, sync::Arc};

use bgp_packet::{
    AsPath, AsSegment, Asn, Community, EncodeContext, LargeCommunity, NextHop, PathAttributes,
    RawAttribute, canonical_octets,
};
use proptest::prelude::*;

use super::{
    super::{
        event::{Install, SessionAddresses, ShardConfig},
        interned::Extra,
        session::Seen,
        table::{NewPath, PathFlags, Table},
    },
    *,
};
use crate::{
    config::{DecisionConfig, GlobalConfig, NextHopMode},
    rib::net::{Net, Net4},
};

fn core() -> Core {
    let global = GlobalConfig {
        asn: Asn(65000),
        router_id: Ipv4Addr::new(10, 0, 0, 100),
        listen: Vec::new(),
        cluster_id: Ipv4Addr::new(10, 0, 0, 100),
        confederation: None,
        multipath_ebgp: 1,
        multipath_ibgp: 1,
        multipath_relax: false,
        require_policy: true,
        decision: DecisionConfig {
            always_compare_med: false,
            missing_med_worst: false,
            deterministic_med: true,
            prefer_older: false,
        },
        originate: Vec::new(),
        redistribute: Vec::new(),
    };
    Core::new(ShardConfig { global: Arc::new(global), install: Install::Nothing })
}

fn key(kind: SessionKind, route_server: bool) -> GroupKey {
    GroupKey {
        kind,
        client: true,
        route_server,
        local_asn: Asn(65000),
        shown: None,
        peer_asn: None,
        next_hop: NextHopMode::Auto,
        addresses: SessionAddresses {
            v4: Some(Ipv4Addr::new(10, 0, 0, 100)),
            ..SessionAddresses::default()
        },
        over_v6: false,
        extended_next_hop: false,
        remove_private: RemovePrivate::No,
        as_override: false,
        encode: EncodeContext { four_octet_asn: true, add_path: false, max_len: 4096 },
        paths: 1,
        refuses: false,
        cluster_id: Ipv4Addr::new(10, 0, 0, 100),
        export: None,
    }
}

fn segment() -> impl Strategy<Value = AsSegment> {
    let asns = prop_oneof![
        8 => proptest::collection::vec(1u32..9, 1..4),
        1 => proptest::collection::vec(1u32..9, 250..256),
    ]
    .prop_map(|asns| asns.into_iter().map(Asn).collect::<Vec<_>>());
    (0u8..12, asns).prop_map(|(kind, asns)| match kind {
        0 => AsSegment::Set(asns),
        1 => AsSegment::ConfedSequence(asns),
        _ => AsSegment::Sequence(asns),
    })
}

fn attributes() -> impl Strategy<Value = PathAttributes> {
    let some = |n: u32| proptest::option::of(0..n);
    (
        proptest::collection::vec(segment(), 0..3),
        (some(5), some(5), any::<bool>(), some(3)),
        proptest::collection::vec(1u32..9, 0..70),
        proptest::collection::vec(prop_oneof![Just(0u8), Just(0x40)], 0..2),
        (any::<bool>(), any::<bool>(), any::<bool>(), some(4)),
    )
        .prop_map(|(path, (med, pref, atomic, originator), clusters, kinds, rest)| {
            let mut attributes = PathAttributes::local(NextHop::new([192, 0, 2, 1]));
            attributes.as_path = AsPath(path);
            attributes.med = med;
            attributes.local_pref = pref;
            attributes.atomic_aggregate = atomic;
            attributes.originator_id = originator.map(Ipv4Addr::from);
            attributes.cluster_list = clusters.into_iter().map(Ipv4Addr::from).collect();
            attributes.ext_communities = kinds.iter().map(|k| [*k, 2, 0, 0, 0, 0, 0, 1]).collect();
            if rest.0 {
                attributes.communities.push(Community(5));
            }
            if rest.1 {
                attributes.large_communities.push(LargeCommunity(1, 2, 3));
            }
            if rest.2 {
                attributes.ipv6_ext_communities.push([0; 20]);
            }
            if let Some(code) = rest.3 {
                let unknown =
                    RawAttribute { flags: 0xE0, code: 20 + code as u8 * 40, value: vec![7] };
                attributes.unknown.push(unknown);
            }
            attributes
        })
}

proptest! {
    #[test]
    fn octets_come_out_as_if_decoded_rewritten_and_encoded(
        attributes in attributes(),
        external in any::<bool>(),
        route_server in any::<bool>(),
        origin in 0usize..4,
        med_set in any::<bool>(),
        shared in any::<bool>(),
    ) {
        let mut core = core();
        let origin =
            [Origin::Local, Origin::Internal, Origin::Client, Origin::External][origin];
        let address = Ipv4Addr::new(10, 0, 0, 7).into();
        core.sessions.get_mut(0).seen = Seen { origin, router_id: 77, address };
        let kind = if external { SessionKind::External } else { SessionKind::Internal };
        let mut key = key(kind, route_server && external);
        key.addresses.subnet = shared.then(|| "192.0.2.0/24".parse().unwrap());
        let attrs = core.sets.acquire(&Arc::new(Attrs::new(&attributes)), Extra::default());
        let flags = PathFlags::new(if med_set { MED_SET } else { 0 }, 0);
        let mut table: Table<Net4> = Table::default();
        let slot = table.slot(Net4::default());
        let new = NewPath { attrs_in: attrs, attrs, path_id: 0, since: 0, session: 0, flags };
        let path = table.add(slot, new);
        let path = table.path(path);

        let slow = export::rewrite(&core, &key, Net4::FAMILY, path, &attributes, Default::default()).unwrap();
        let mut out = Vec::new();
        prop_assert!(is_plain(&key));
        if let Some(next_hop) = splice(&core, &key, Net4::FAMILY, path, &mut out) {
            prop_assert_eq!(next_hop, Ok(slow.next_hop));
            let mut expected = Vec::new();
            canonical_octets(&slow, &mut expected);
            prop_assert_eq!(out, expected);
        } else {
            let confed = attributes.as_path.0.iter().any(AsSegment::is_confed);
            let bound = attributes.ext_communities.iter().any(|c| c[0] == 0x40);
            prop_assert!(external && (confed || bound), "only these are left to others");
        }
    }
}
