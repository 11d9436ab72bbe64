//! Any octets are framed and decoded without a panic; what is decoded is encoded and read alike.

#![no_main]

use bgp_packet::{HEADER_LEN, MAX_EXTENDED_LEN, MAX_LEN, Message, message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for max_len in [MAX_LEN, MAX_EXTENDED_LEN] {
        match message::frame_len(data, max_len) {
            Ok(None) => assert!(data.len() < HEADER_LEN),
            Ok(Some(len)) => {
                assert!((HEADER_LEN..=max_len).contains(&len));
                if let Some(frame) = data.get(..len) {
                    read(frame);
                }
            }
            Err(notification) => assert_eq!(notification.code, 1),
        }
    }
    let _ = message::decode(data);
});

fn read(frame: &[u8]) {
    match message::decode(frame) {
        Ok(Message::Notification(read)) => {
            let octets = message::encode_notification(&read);
            assert_eq!(octets, frame[..frame.len().min(MAX_LEN)].len_replaced(octets.len()));
        }
        Ok(Message::RouteRefresh(read)) => {
            let octets = message::encode_route_refresh(read);
            assert_eq!(octets[HEADER_LEN..], frame[HEADER_LEN..HEADER_LEN + 4]);
        }
        Ok(Message::Update(body)) => assert_eq!(body.len() + HEADER_LEN, frame.len()),
        Ok(Message::KeepAlive) => assert_eq!(message::keep_alive(), frame),
        Ok(Message::Open(_)) => {}
        Err(notification) => {
            // The header was right, so that it is about the body.
            assert!(matches!(notification.code, 2 | 7), "{notification}");
        }
    }
}

trait LenReplaced {
    fn len_replaced(&self, len: usize) -> Vec<u8>;
}

impl LenReplaced for [u8] {
    /// The same message with another length in its header.
    fn len_replaced(&self, len: usize) -> Vec<u8> {
        let mut out = self.to_vec();
        out[16..18].copy_from_slice(&u16::try_from(len).expect("a message").to_be_bytes());
        out
    }
}
