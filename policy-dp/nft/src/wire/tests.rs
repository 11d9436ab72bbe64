use super::{Attributes, EXT_OFFSET, Encoder, Messages, text_of, u32_of, verdict};

#[test]
fn what_is_written_is_read() {
    let mut e = Encoder::default();
    let at = e.begin(0x0a06, 5, 7, 1, 10);
    e.text(1, "margay");
    let list = e.open(4);
    e.u32(2, 0x0102_0304);
    e.close(list);
    e.end(at);
    let all: Vec<_> = Messages(e.octets()).collect();
    let [message] = &all[..] else { panic!("{all:?}") };
    assert_eq!((message.nftables(), message.flags, message.seq), (Some(6), 5, 7));
    assert_eq!(message.family(), Some(1));
    let attributes: Vec<_> = message.attributes().expect("a header").collect();
    assert_eq!(attributes[0].0, 1);
    assert_eq!(text_of(attributes[0].1), Some("margay"));
    let (number, inner) = Attributes(attributes[1].1).next().expect("nested");
    assert_eq!((number, u32_of(inner)), (2, Some(0x0102_0304)));
}

#[test]
fn messages_cut_anywhere_are_read_as_far_as_they_go() {
    let mut e = Encoder::default();
    let at = e.begin(0x0a06, 5, 7, 1, 0);
    e.text(1, "margay");
    e.end(at);
    for len in 0..e.octets().len() {
        assert_eq!(Messages(&e.octets()[..len]).count(), 0, "{len}");
    }
}

#[test]
fn attributes_that_claim_too_much_or_too_little_end_the_list() {
    assert_eq!(Attributes(&[200, 0, 1, 0, 1]).count(), 0);
    assert_eq!(Attributes(&[3, 0, 1, 0]).count(), 0);
    assert_eq!(Attributes(&[4, 0, 1, 0, 9, 9]).count(), 1);
}

#[test]
fn a_refusal_tells_where() {
    let mut octets = vec![0; 16];
    octets.extend_from_slice(&(-2_i32).to_ne_bytes());
    octets.extend_from_slice(&[0; 16]); // the header of what was refused
    octets.extend_from_slice(&8_u16.to_ne_bytes());
    octets.extend_from_slice(&EXT_OFFSET.to_ne_bytes());
    octets.extend_from_slice(&52_u32.to_ne_bytes());
    let len = u32::try_from(octets.len()).expect("small");
    octets[..4].copy_from_slice(&len.to_ne_bytes());
    octets[6..8].copy_from_slice(&0x300_u16.to_ne_bytes());
    let message = Messages(&octets).next().expect("whole");
    let verdict = verdict(&message).expect("an answer");
    assert_eq!((verdict.errno, verdict.text, verdict.offset), (2, None, Some(52)));
}
