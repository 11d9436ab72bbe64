//! The body of an UPDATE on a session of any kind, which the first three octets choose.

#![no_main]

use bgp_packet_fuzz::{choose_session, read_update};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some((context, body)) = choose_session(data) {
        read_update(body, &context);
    }
});
