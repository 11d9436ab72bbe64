//! Octets that are taken for canonical are written again as they were, and announce alike.

#![no_main]

use bgp_packet::{Announce, EncodeContext, Family, canonical_octets, from_canonical};
use bgp_packet_fuzz::some_next_hop;
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let next_hop = some_next_hop();
    // On any octets it gives an answer.
    for four_octet_asn in [true, false] {
        let encode = EncodeContext { four_octet_asn, add_path: false, max_len: 4096 };
        let _ = Announce::from_canonical(Family::IPV4_UNICAST, octets, next_hop, encode);
    }
    let Some(attributes) = from_canonical(octets, next_hop) else { return };
    let mut again = Vec::new();
    canonical_octets(&attributes, &mut again);
    assert_eq!(again, octets);
    for (family, four_octet_asn) in
        [(Family::IPV4_UNICAST, true), (Family::IPV4_UNICAST, false), (Family::IPV6_UNICAST, true)]
    {
        let encode = EncodeContext { four_octet_asn, add_path: false, max_len: 4096 };
        let written = |announce: Option<Announce>| {
            announce.map(|announce| {
                let nets =
                    ["10.0.0.0/8", "2001:db8::/32"].map(|net| (0, net.parse().expect("a net")));
                let mut out = BytesMut::new();
                announce.encode_all(nets, &mut out, |_, _| {});
                out
            })
        };
        assert_eq!(
            written(Announce::from_canonical(family, octets, next_hop, encode)),
            written(Announce::new(family, &attributes, encode))
        );
    }
});
