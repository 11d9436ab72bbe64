use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::netlink::encode::{self, Owner};
use crate::plan::fact::Form;
use crate::plan::objects::ObjectOp;
use crate::plan::work::Verb;
use margay_netlink::wire::{Encoder, Messages};

fn hop(gateway: &str, oif: u32, onlink: bool) -> Hop {
    Hop { gateway: Some(gateway.parse().expect("address")), oif, onlink }
}

/// Encodes a route as we write it, and reads it as the kernel would tell it.
fn there_and_back(table: u32, prefix: &str, form: &Form) -> KernelRoute {
    let mut e = Encoder::default();
    let owner = Owner { table, protocol: 186 };
    let prefix: IpNet = prefix.parse().expect("prefix");
    encode::route(&mut e, owner, Verb::Replace, prefix, form, 0, 1);
    let m = Messages(e.octets()).next().expect("a message");
    match fact(&m) {
        Some(Fact::Route(route, Arrival::Replaced, Origin::Kernel)) => route,
        other => panic!("{other:?}"),
    }
}

#[test]
fn routes_are_read_as_they_are_written() {
    let v4 = hop("10.0.0.2", 3, false);
    let v6 = hop("fe80::1", 4, false);
    let unnumbered = hop("10.9.9.9", 5, true);
    let forms = [
        ("192.0.2.0/24", Via::Object(0x0B00_0001)),
        ("192.0.2.0/24", Via::Hops(vec![(v4, 1)])),
        ("192.0.2.0/24", Via::Hops(vec![(v6, 1)])),
        ("192.0.2.0/24", Via::Hops(vec![(unnumbered, 1)])),
        ("192.0.2.0/24", Via::Hops(vec![(v4, 3), (unnumbered, 256), (v6, 1)])),
        ("2001:db8::/32", Via::Hops(vec![(v6, 1)])),
        ("2001:db8::/32", Via::Hops(vec![(hop("fe80::1", 3, false), 2), (v6, 7)])),
        ("0.0.0.0/0", Via::Blackhole),
        ("::/0", Via::Unreachable),
        ("10.0.0.1/32", Via::Prohibit),
    ];
    for (prefix, via) in forms {
        let via = match via {
            Via::Hops(mut hops) => {
                hops.sort_unstable();
                Via::Hops(hops)
            }
            other => other,
        };
        for table in [254, 1000] {
            let form = Form { via: via.clone(), metric: 32, prefsrc: None };
            let route = there_and_back(table, prefix, &form);
            assert_eq!(route.form, form, "{prefix}");
            assert_eq!(route.prefix.to_string(), prefix);
            assert_eq!((route.table, route.protocol, route.tos), (table, 186, 0));
        }
    }
    let source = Some("10.0.0.9".parse().expect("address"));
    let form = Form { via: Via::Object(1), metric: 0, prefsrc: source };
    assert_eq!(there_and_back(254, "192.0.2.0/24", &form).form, form);
}

#[test]
fn objects_are_read_as_they_are_written() {
    let kinds = [
        ObjectKind::Hop(hop("10.0.0.2", 3, false)),
        ObjectKind::Hop(hop("fe80::1", 3, false)),
        ObjectKind::Hop(hop("10.9.9.9", 3, true)),
        ObjectKind::Group(vec![(1, 1), (2, 255), (3, 256)]),
        ObjectKind::Blackhole,
    ];
    for kind in kinds {
        let mut e = Encoder::default();
        encode::object(&mut e, 186, &ObjectOp::Put(77, kind.clone()), 0, 1);
        let m = Messages(e.octets()).next().expect("a message");
        let expected = KernelObject { id: 77, protocol: 186, kind };
        assert_eq!(fact(&m), Some(Fact::Object(expected, Presence::Here, Origin::Kernel)));
    }
}

#[test]
fn deleting_names_prefix_table_metric_and_protocol_alone() {
    let mut e = Encoder::default();
    let form = Form { via: Via::Object(9), metric: 32, prefsrc: None };
    let prefix = "192.0.2.0/24".parse().expect("prefix");
    let owner = Owner { table: 254, protocol: 186 };
    encode::route(&mut e, owner, Verb::Delete, prefix, &form, 0, 1);
    let m = Messages(e.octets()).next().expect("a message");
    assert_eq!(m.kind, DELROUTE);
    let mut r = Reader(m.body);
    assert_eq!(r.bytes(12), Some(&[2, 24, 0, 0, 254, 186, 255, 0, 0, 0, 0, 0][..]));
    let kinds: Vec<u16> = r.attributes().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [RTA_DST, RTA_PRIORITY]);
}

#[test]
fn cache_entries_and_bridge_ports_are_no_news() {
    let mut e = Encoder::default();
    let at = e.begin(NEWROUTE, 0, 1);
    e.put(&[10, 128, 0, 0, 254, 2, 0, 1]);
    e.put(&CLONED.to_ne_bytes());
    e.attribute(RTA_DST, &[0; 16]);
    e.end(at);
    let at = e.begin(NEWLINK, 0, 2);
    e.put(&[7; 16]);
    e.end(at);
    assert_eq!(Messages(e.octets()).filter_map(|m| fact(&m)).count(), 0);
}

#[test]
fn an_address_counts_once_it_is_known_to_be_nobody_elses() {
    let told = |flags: u32| {
        let mut e = Encoder::default();
        let at = e.begin(NEWADDR, 0, 1);
        e.put(&[10, 64, 0, 0]);
        e.put(&3u32.to_ne_bytes());
        e.attribute(IFA_ADDRESS, &[0x20; 16]);
        e.attribute(IFA_FLAGS, &flags.to_ne_bytes());
        e.end(at);
        match Messages(e.octets()).next().as_ref().and_then(fact) {
            Some(Fact::Address(KernelAddress { link: 3, .. }, presence)) => presence,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told(0), Presence::Here);
    assert_eq!(told(TENTATIVE), Presence::Gone);
    assert_eq!(told(TENTATIVE | OPTIMISTIC), Presence::Here);
    assert_eq!(told(TENTATIVE | DAD_FAILED), Presence::Gone);
}

proptest! {
    #[test]
    fn nothing_the_kernel_could_say_makes_us_panic(
        kind in prop::sample::select(vec![16u16, 17, 20, 21, 24, 25, 104, 105]),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut e = Encoder::default();
        let at = e.begin(kind, 0, 1);
        e.put(&body);
        e.end(at);
        for m in Messages(e.octets()) {
            let _ = fact(&m);
        }
        for m in Messages(&body) {
            let _ = fact(&m);
        }
    }

    #[test]
    fn attributes_that_lie_about_themselves_are_survived(
        family in prop::sample::select(vec![2u8, 10, 0, 7]),
        attributes in prop::collection::vec(
            (0u16..40, prop::collection::vec(any::<u8>(), 0..40)), 0..8),
    ) {
        for (kind, header) in [(16u16, 16), (20, 8), (24, 12), (104, 8)] {
            let mut e = Encoder::default();
            let at = e.begin(kind, 0, 1);
            let mut fixed = vec![0u8; header];
            fixed[0] = family;
            e.put(&fixed);
            for (kind, value) in &attributes {
                e.attribute(*kind, value);
            }
            e.end(at);
            for m in Messages(e.octets()) {
                let _ = fact(&m);
            }
        }
    }
}
