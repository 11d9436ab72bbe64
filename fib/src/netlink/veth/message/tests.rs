use std::os::fd::AsFd;

use super::*;
use crate::netlink::veth::look;
use margay_netlink::wire::{Messages, Reader, number};

fn only(octets: &[u8]) -> (u16, Vec<u8>) {
    let mut messages = Messages(octets);
    let first = messages.next().expect("a message");
    assert!(messages.next().is_none());
    (first.kind, first.body.to_vec())
}

#[test]
fn both_ends_are_in_one_message_and_the_namespace_is_the_peers() {
    let mut spec = LinkSpec::new("cali1", "eth0", Vec::new());
    spec.container_mac = Some([2; 6]);
    let file = std::fs::File::open("/dev/null").expect("a descriptor");
    let mut e = Encoder::default();
    Create { spec: &spec, netns: file.as_fd() }.encode(&mut e, 1, 9);
    let (kind, body) = only(e.octets());
    assert_eq!(kind, NEWLINK);
    let attributes: Vec<_> = Reader(&body[16..]).attributes().collect();
    let find =
        |all: &[(u16, &[u8])], kind| all.iter().find(|(k, _)| *k == kind).map(|a| a.1.to_vec());
    assert_eq!(find(&attributes, IFLA_IFNAME).as_deref(), Some(&b"cali1\0"[..]));
    assert_eq!(find(&attributes, IFLA_ADDRESS), Some(vec![0xee; 6]));
    assert_eq!(find(&attributes, IFLA_NET_NS_FD), None, "the host end stays where the socket is");
    let info = find(&attributes, IFLA_LINKINFO).expect("what kind of link");
    let info: Vec<_> = Reader(&info).attributes().collect();
    let data = find(&info, IFLA_INFO_DATA).expect("its data");
    let data: Vec<_> = Reader(&data).attributes().collect();
    let peer = find(&data, VETH_INFO_PEER).expect("the peer");
    let peer: Vec<_> = Reader(&peer[16..]).attributes().collect();
    assert_eq!(find(&peer, IFLA_IFNAME).as_deref(), Some(&b"eth0\0"[..]));
    assert_eq!(find(&peer, IFLA_ADDRESS), Some(vec![2; 6]));
    for end in [&attributes, &peer] {
        for queues in [IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES] {
            assert_eq!(find(end, queues).and_then(|v| number(&v)), Some(1));
        }
    }
    let fd = find(&peer, IFLA_NET_NS_FD).and_then(|v| number(&v));
    assert_eq!(fd, u32::try_from(file.as_fd().as_raw_fd()).ok());
}

#[test]
fn a_change_of_a_link_reads_back_as_that_link() {
    let mut e = Encoder::default();
    let alias = Some("mine".to_owned());
    Write::SetLink {
        index: 7,
        mac: Some([2; 6]),
        alias,
        no_own_link_local: true,
        answers: true,
        up: true,
    }
    .encode(&mut e, 1, 1);
    let seen = Messages(e.octets()).find_map(|m| look::seen(&m)).expect("a link");
    assert_eq!((seen.link.index, seen.link.up, seen.is_veth), (7, true, false));
    assert_eq!((seen.link.mac, seen.link.alias.as_str()), ([2; 6], "mine"));
}

#[test]
fn an_ipv6_address_is_not_asked_about_and_an_ipv4_gateway_is_on_link() {
    let mut e = Encoder::default();
    let address = "fd00::1/128".parse().expect("a prefix");
    Write::Address { index: 2, address }.encode(&mut e, 1, 1);
    let (_, body) = only(e.octets());
    let flags = Reader(&body[8..]).attributes().find(|(k, _)| *k == IFA_FLAGS);
    assert_eq!(flags.and_then(|(_, v)| number(v)), Some(IFA_F_NODAD));
    let mut e = Encoder::default();
    let prefix = "0.0.0.0/0".parse().expect("a prefix");
    Write::Route {
        index: 2,
        prefix,
        gateway: "169.254.1.1".parse().expect("an address"),
        metric: None,
    }
    .encode(&mut e, 1, 1);
    let (_, body) = only(e.octets());
    assert_eq!(body[8..12], ONLINK.to_ne_bytes());
}

#[test]
fn a_bucket_is_read_back_as_it_was_asked_for_also_beyond_32_bits() {
    let small = Bucket { rate: 10_000_000, burst: 1 << 20, peak: None, queue: 70_000 };
    let large =
        Bucket { rate: 1 << 40, burst: u32::MAX, peak: Some((1 << 41, 1522)), queue: u32::MAX };
    for bucket in [small, large] {
        let mut e = Encoder::default();
        Limit { index: 7, name: "cali1", bucket: Some(bucket) }.encode(&mut e, 1, 1);
        let (kind, body) = only(e.octets());
        assert_eq!(kind, NEWQDISC);
        let attributes: Vec<_> = Reader(&body[20..]).attributes().collect();
        assert_eq!(attributes[0], (TCA_KIND, &b"tbf\0"[..]));
        let options: Vec<_> = Reader(attributes[1].1).attributes().collect();
        let number_of = |kind| options.iter().find(|(k, _)| *k == kind).and_then(|o| number(o.1));
        assert_eq!(number_of(TCA_TBF_BURST), Some(bucket.burst));
        assert_eq!(number_of(TCA_TBF_PBURST), bucket.peak.map(|(_, burst)| burst));
        assert_eq!(options[0].1.len(), 36, "struct tc_tbf_qopt");
        let message = Messages(e.octets()).next().expect("a message");
        let read = look::filling(&message, 7).expect("a bucket");
        let peak = bucket.peak.map_or(0, |(rate, _)| rate);
        assert_eq!((read.rate, read.peak, read.queue), (bucket.rate, peak, bucket.queue));
        assert_eq!(look::filling(&message, 8), None, "it is on another link");
    }
    let mut e = Encoder::default();
    Limit { index: 7, name: "cali1", bucket: None }.encode(&mut e, 1, 1);
    let (_, body) = only(e.octets());
    assert_eq!(Reader(&body[20..]).attributes().count(), 1, "only the kind");
}
