//! What nfnetlink_log tells, and the packets in it: read or not ours, and what is read has both its
//! addresses of one family.

#![no_main]

use libfuzzer_sys::fuzz_target;
use policy_nft::{
    seen::{Seen, number, packet},
    wire::Messages,
};

fuzz_target!(|input: &[u8]| {
    for message in Messages(input) {
        number(&message);
        let Some(seen) = Seen::read(&message) else { continue };
        assert_eq!(seen.packet.source.is_ipv4(), seen.packet.destination.is_ipv4());
    }
    if let Some(packet) = packet(input) {
        assert_eq!(packet.source.is_ipv4(), packet.destination.is_ipv4());
    }
});
