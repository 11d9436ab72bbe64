//! The body of a ROUTE-REFRESH, with ORF entries or without.

#![no_main]

use bgp_packet::{Message, RefreshKind, message};
use bgp_packet_fuzz::frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let frame = frame(5, body);
    match message::decode(&frame) {
        Ok(Message::RouteRefresh(read)) => {
            assert!(read.kind == RefreshKind::Request || body.len() == 4 || body[2] > 2);
            assert_eq!(message::encode_route_refresh(read)[19..], body[..4]);
        }
        Ok(other) => panic!("{other:?}"),
        Err(notification) if notification.code == 7 => {
            assert_eq!(notification.data, frame);
            assert!(body.len() != 4 && matches!(body[2], 1 | 2));
        }
        Err(notification) => assert!(notification.code == 1 && body.len() != 4),
    }
});
