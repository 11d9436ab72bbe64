//! Attributes that were read are announced to peers of 4 and 2 octets, and read there alike.

#![no_main]

use bgp_packet::{EncodeContext, Family, NextHop};
use bgp_packet_fuzz::{
    announce_and_read, choose_session, fits_two_octets, read_update, some_next_hop,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((mut context, block)) = choose_session(data) else { return };
    let Ok(len) = u16::try_from(block.len()) else { return };
    context.families.insert(Family::IPV4_UNICAST);
    context.add_path = bgp_packet::FamilySet::EMPTY;
    // 10.0.0.0/8 with the block.
    let body = [&[0, 0][..], &len.to_be_bytes(), block, &[8, 10]].concat();
    let Some(decoded) = read_update(&body, &context) else { return };
    let Some(mut attributes) = decoded.attributes else { return };
    // An internal peer needs it.
    attributes.local_pref.get_or_insert(100);
    let v6 = NextHop::new(std::net::Ipv6Addr::from([0x20; 16]));
    for (family, next_hop) in [
        (Family::IPV4_UNICAST, some_next_hop()),
        (Family::IPV4_UNICAST, v6),
        (Family::IPV6_UNICAST, v6),
    ] {
        attributes.next_hop = next_hop;
        for four_octet_asn in [true, false] {
            for (add_path, max_len) in [(false, 65535), (true, 4096)] {
                let encode = EncodeContext { four_octet_asn, add_path, max_len };
                let read = announce_and_read(&attributes, family, encode);
                if four_octet_asn || fits_two_octets(&attributes) {
                    assert!(read.is_none_or(|read| read == attributes));
                }
            }
        }
    }
});
