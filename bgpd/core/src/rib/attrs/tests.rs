use bgp_packet::AsSegment;

use super::*;

fn attributes(path: Vec<AsSegment>) -> PathAttributes {
    let next_hop = NextHop { address: IpAddr::from([192, 0, 2, 1]), link_local: None };
    let mut attributes = PathAttributes::local(next_hop);
    attributes.as_path.0 = path;
    attributes
}

fn asns(numbers: &[u32]) -> Vec<Asn> {
    numbers.iter().copied().map(Asn).collect()
}

#[test]
fn equal_sets_share_one_allocation() {
    let mut table = AttrTable::default();
    let a = attributes(vec![AsSegment::Sequence(asns(&[65001, 65002]))]);
    let mut b = a.clone();
    b.med = Some(5);
    let first = table.intern(Attrs::new(&a));
    assert!(Arc::ptr_eq(&first, &table.intern(Attrs::new(&a))));
    assert!(!Arc::ptr_eq(&first, &table.intern(Attrs::new(&b))));
    assert_eq!(first.decode(), a);
}

#[test]
fn next_hops_tell_sets_apart() {
    let a = attributes(Vec::new());
    let mut b = a.clone();
    b.next_hop.address = IpAddr::from([192, 0, 2, 2]);
    assert_ne!(Attrs::new(&a), Attrs::new(&b));
}

#[test]
fn next_hops_of_every_form_come_back() {
    let link_local = Some("fe80::1".parse().unwrap());
    for (address, link_local) in [
        ("192.0.2.1", None),
        ("2001:db8::1", None),
        ("2001:db8::1", link_local),
        ("fe80::2", None),
        ("192.0.2.1", link_local),
    ] {
        let mut a = attributes(Vec::new());
        a.next_hop = NextHop { address: address.parse().unwrap(), link_local };
        assert_eq!(Attrs::new(&a).decode(), a);
    }
}

#[test]
fn unused_sets_are_collected() {
    let mut table = AttrTable::default();
    let kept = table.intern(Attrs::new(&attributes(Vec::new())));
    for asn in 1..100 {
        table.intern(Attrs::new(&attributes(vec![AsSegment::Sequence(asns(&[asn]))])));
    }
    table.collect();
    assert_eq!(table.len(), 1);
    drop(kept);
    assert_eq!(table.collect(), 1);
    assert!(table.is_empty());
}

#[test]
fn path_length_counts_a_set_once_and_confederations_not_at_all() {
    let attrs = Attrs::new(&attributes(vec![
        AsSegment::ConfedSequence(asns(&[64512, 64513])),
        AsSegment::Sequence(asns(&[1, 2, 3])),
        AsSegment::Set(asns(&[4, 5])),
    ]));
    assert_eq!(attrs.header().path_len, 4);
    assert_eq!(attrs.header().neighbour(), Some(Asn(1)));
    let set_first = Attrs::new(&attributes(vec![
        AsSegment::Set(asns(&[4, 5])),
        AsSegment::Sequence(asns(&[1])),
    ]));
    assert_eq!(set_first.header().neighbour(), None);
}

#[test]
fn numbers_in_the_path_or_cluster_list_are_never_missed() {
    let mut a = attributes(vec![AsSegment::Sequence(asns(&[10, 20])), AsSegment::Set(asns(&[30]))]);
    a.cluster_list = vec![Ipv4Addr::new(10, 0, 0, 1)];
    let attrs = Attrs::new(&a);
    for number in [10, 20, 30, u32::from(Ipv4Addr::new(10, 0, 0, 1))] {
        assert!(attrs.may_contain(number));
    }
    assert!((1000..2000).any(|number| !attrs.may_contain(number)));
}
