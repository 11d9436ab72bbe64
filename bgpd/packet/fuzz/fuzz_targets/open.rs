//! The body of an OPEN is read or refused; once read, encoding keeps it.

#![no_main]

use bgp_packet::{MAX_LEN, Message, Open, message};
use bgp_packet_fuzz::frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let frame = frame(1, body);
    if frame.len() > MAX_LEN {
        return;
    }
    let Ok(Message::Open(open)) = message::decode(&frame) else { return };
    // A name that was no UTF-8 may grow, and then no longer fit: one round settles it.
    let settled = again(&open);
    assert_eq!(again(&settled), settled);
    assert_eq!((settled.asn(), settled.version), (open.asn(), open.version));
});

fn again(open: &Open) -> Open {
    let octets = message::encode_open(open);
    assert_eq!(message::frame_len(&octets, MAX_LEN), Ok(Some(octets.len())));
    match message::decode(&octets) {
        Ok(Message::Open(open)) => open,
        other => panic!("{other:?}"),
    }
}
