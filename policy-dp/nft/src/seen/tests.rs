use std::net::IpAddr;

use policy_calc::{Direction, Header};

use super::{Fate, PACKET, PAYLOAD, PREFIX, SEQUENCE, Seen, group, log, number, packet};
use crate::{
    encode::LONGEST_PREFIX,
    wire::{Encoder, Messages},
};

const V4: [u8; 24] =
    [0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40, 0, 80];

fn v6(next: u8, rest: &[u8]) -> Vec<u8> {
    let mut octets = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    octets.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    octets.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    octets.extend(rest);
    octets
}

fn message(group: u16, prefix: &str, octets: &[u8]) -> Vec<u8> {
    let mut e = Encoder::default();
    let at = e.begin(PACKET, 0, 0, 2, group);
    e.u32(SEQUENCE, 7);
    e.attribute(PAYLOAD, octets);
    e.text(PREFIX, prefix);
    e.end(at);
    e.into_octets()
}

fn read(octets: &[u8]) -> Option<Seen> {
    Messages(octets).next().as_ref().and_then(Seen::read)
}

#[test]
fn a_packet_is_read_with_its_fate_and_by_what() {
    let log = log(Direction::Ingress, Fate::Denied, "NetworkPolicy(shop/db) rule 2");
    let octets = message(log.group, &log.prefix, &V4);
    let seen = read(&octets).expect("ours");
    assert_eq!(
        (seen.direction, seen.fate, seen.by.as_str()),
        (Direction::Ingress, Fate::Denied, "NetworkPolicy(shop/db) rule 2")
    );
    assert_eq!(seen.packet.ports(), Some((40_000, 80)));
    assert_eq!(seen.packet.destination, IpAddr::from([10, 0, 0, 2]));
    assert_eq!(Messages(&octets).next().as_ref().and_then(number), Some((log.group, 7)));
}

#[test]
fn what_others_tell_is_not_ours() {
    assert_eq!(read(&message(group(Direction::Egress), "somebody's", &V4)), None);
    assert_eq!(read(&message(9, "A x", &V4)), None);
    assert_eq!(read(&message(1, "A x", &V4[..19])), None);
}

#[test]
fn a_description_without_room_is_told_from_others_that_begin_alike() {
    let long = |last: &str| "ü".repeat(100) + last;
    let told = |by: &str| log(Direction::Egress, Fate::Allowed, by).prefix;
    let (one, other) = (told(&long("1")), told(&long("2")));
    assert!(one.starts_with(&format!("A {}~", "ü".repeat(54))), "{one}");
    assert!(one.len() <= LONGEST_PREFIX && one != other && one == told(&long("1")));
    let fits = "x".repeat(LONGEST_PREFIX - 2);
    assert_eq!(told(&fits), format!("A {fits}"));
}

#[test]
fn a_packet_cut_short_has_no_ports() {
    for end in 20..24 {
        assert_eq!(packet(&V4[..end]).map(|packet| packet.header), Some(Header::Other));
    }
    assert!((0..20).all(|end| packet(&V4[..end]).is_none()));
}

#[test]
fn of_fragments_only_the_first_has_ports() {
    let mut later = V4;
    later[6..8].copy_from_slice(&[0x20, 1]);
    assert_eq!(packet(&later).map(|packet| packet.header), Some(Header::Other));
    let first = v6(44, &[17, 0, 0, 1, 0, 0, 0, 9, 0, 1, 0, 53]);
    let later = v6(44, &[17, 0, 0, 8, 0, 0, 0, 9, 0, 1, 0, 53]);
    let ports = |octets: &[u8]| packet(octets).map(|packet| (packet.protocol, packet.ports()));
    assert_eq!(ports(&first), Some((17, Some((1, 53)))));
    assert_eq!(ports(&later), Some((17, None)));
}

#[test]
fn extension_headers_are_stepped_over() {
    let mut rest = vec![60, 0, 0, 0, 0, 0, 0, 0];
    rest.extend([58, 1]);
    rest.extend([0; 14]);
    rest.extend([128, 3, 0, 0]);
    let packet = packet(&v6(0, &rest)).expect("an IPv6 packet");
    assert_eq!((packet.protocol, packet.icmp()), (58, Some((128, 3))));
}
