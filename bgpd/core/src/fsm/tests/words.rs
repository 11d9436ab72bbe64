//! NOTIFICATIONs in words.

use super::*;

fn words(code: u8, subcode: u8, data: &[u8]) -> String {
    describe(&Notification { code, subcode, data: data.to_vec().into() })
}

#[test]
fn known_codes_have_names_and_unknown_ones_numbers() {
    assert_eq!(words(4, 0, &[]), "hold timer expired");
    assert_eq!(words(2, 6, &[0, 1]), "OPEN message error/unacceptable hold time");
    assert_eq!(words(2, 99, &[]), "OPEN message error/99");
    assert_eq!(words(99, 3, &[]), "error 99/3");
    assert_eq!(words(5, 3, &[1]), "FSM error/unexpected message in Established: message type 1");
}

#[test]
fn texts_are_shown_and_made_harmless() {
    assert_eq!(words(6, 2, b"\x03bye"), "cease/administrative shutdown: bye");
    assert_eq!(
        words(6, 4, b"\x06a\nb\x1b\xffc"),
        "cease/administrative reset: a\u{fffd}b\u{fffd}\u{fffd}c"
    );
    // Cut short, or without a text.
    assert_eq!(words(6, 2, b"\x09bye"), "cease/administrative shutdown");
    assert_eq!(words(6, 2, b"\x00"), "cease/administrative shutdown");
    assert_eq!(words(6, 2, b""), "cease/administrative shutdown");
}

#[test]
fn limits_and_hard_resets_are_unwrapped() {
    assert_eq!(
        words(6, 1, &[0, 1, 1, 0, 0, 1, 0]),
        "cease/maximum number of prefixes reached: ipv4-unicast, limit 256"
    );
    assert_eq!(words(6, 1, &[0]), "cease/maximum number of prefixes reached");
    assert_eq!(
        words(6, 9, b"\x06\x02\x02hi"),
        "cease/hard reset: cease/administrative shutdown: hi"
    );
    assert_eq!(words(6, 9, &[6, 9, 6, 9]), "cease/hard reset");
}
