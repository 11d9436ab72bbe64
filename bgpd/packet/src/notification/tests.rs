use super::*;

fn cease(subcode: u8, data: &[u8]) -> Notification {
    Notification::with_data(code::CEASE, subcode, data.to_vec())
}

#[test]
fn a_shutdown_text_reads_back() {
    for subcode in [cease::ADMIN_SHUTDOWN, cease::ADMIN_RESET] {
        let sent = Notification::cease_with_text(subcode, "wartung, bis später");
        assert_eq!(usize::from(sent.data[0]), sent.data.len() - 1);
        assert_eq!(sent.text().as_deref(), Some("wartung, bis später"));
    }
    assert!(Notification::cease_with_text(cease::ADMIN_SHUTDOWN, "").data.is_empty());
}

#[test]
fn a_long_text_is_cut_between_characters() {
    let sent = Notification::cease_with_text(cease::ADMIN_SHUTDOWN, &"ü".repeat(200));
    assert_eq!(sent.data.len(), 255);
    assert_eq!(sent.text(), Some("ü".repeat(127)));
}

#[test]
fn a_text_from_outside_is_made_safe_to_print() {
    let text = b"a\x1b[2Jb\nc\xFFd\xE2\x80\xAEe";
    let data = [&[text.len() as u8][..], text].concat();
    let shown = cease(cease::ADMIN_SHUTDOWN, &data).text().unwrap();
    assert_eq!(shown, "a\u{FFFD}[2Jb\u{FFFD}c\u{FFFD}d\u{FFFD}e");
}

#[test]
fn a_text_that_overruns_or_does_not_belong_is_no_text() {
    assert_eq!(cease(cease::ADMIN_SHUTDOWN, &[5, b'a']).text(), None);
    assert_eq!(cease(cease::ADMIN_SHUTDOWN, &[]).text(), None);
    assert_eq!(cease(cease::ADMIN_SHUTDOWN, &[0]).text(), None);
    assert_eq!(cease(cease::DECONFIGURED, &[1, b'a']).text(), None);
    assert_eq!(Notification::with_data(2, 2, vec![1, b'a']).text(), None);
}

#[test]
fn octets_behind_the_text_are_ignored() {
    assert_eq!(cease(cease::ADMIN_SHUTDOWN, &[1, b'a', b'b']).text().as_deref(), Some("a"));
}

#[test]
fn a_hard_reset_carries_the_text_of_what_it_wraps() {
    let wrapped = cease(cease::HARD_RESET, &[6, 2, 1, b'a']);
    assert_eq!(wrapped.text().as_deref(), Some("a"));
    assert_eq!(cease(cease::HARD_RESET, &[4, 0, 1, b'a']).text(), None);
}

#[test]
fn codes_have_names() {
    let shutdown = Notification::cease_with_text(cease::ADMIN_SHUTDOWN, "bye");
    assert_eq!(shutdown.to_string(), "Cease/Administrative Shutdown (6/2): bye");
    assert_eq!(Notification::new(4, 0).to_string(), "Hold Timer Expired (4/0)");
    assert_eq!(Notification::new(3, 77).to_string(), "UPDATE Message Error (3/77)");
    assert_eq!(Notification::new(99, 0).to_string(), "Unknown Error (99/0)");
}
