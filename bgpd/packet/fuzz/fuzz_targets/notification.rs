//! The body of a NOTIFICATION: its text is safe to print, and encoding keeps it.

#![no_main]

use bgp_packet::{MAX_LEN, Message, message};
use bgp_packet_fuzz::frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let frame = frame(3, body);
    let Ok(Message::Notification(read)) = message::decode(&frame) else { return };
    let shown = read.to_string();
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    if frame.len() <= MAX_LEN {
        assert_eq!(message::encode_notification(&read), frame);
    }
});
