use super::*;

#[test]
fn messages_and_attributes_come_back_as_they_went() {
    let mut e = Encoder::default();
    for seq in [5, 6] {
        let at = e.begin(24, REQUEST | ACK, seq);
        e.put(&[1, 2, 3, 4]);
        e.attribute(9, b"abc");
        e.attribute(10, &7u32.to_ne_bytes());
        e.end(at);
    }
    let found: Vec<_> = Messages(e.octets()).collect();
    assert_eq!(found.len(), 2);
    for (m, seq) in found.iter().zip([5, 6]) {
        assert_eq!((m.kind, m.flags, m.seq, m.port), (24, REQUEST | ACK, seq, 0));
        let mut r = Reader(m.body);
        assert_eq!(r.bytes(4), Some(&[1, 2, 3, 4][..]));
        let attributes: Vec<_> = r.attributes().collect();
        assert_eq!(attributes, [(9, &b"abc"[..]), (10, &7u32.to_ne_bytes()[..])]);
    }
}

#[test]
fn what_is_cut_short_ends_the_list() {
    let mut e = Encoder::default();
    let at = e.begin(24, 0, 1);
    e.attribute(1, &[1, 2, 3, 4]);
    e.end(at);
    let whole = e.octets().to_vec();
    for n in 0..whole.len() {
        assert_eq!(Messages(&whole[..n]).count(), 0, "{n}");
    }
    // Lengths of nought or less than a header lead nowhere, either.
    assert_eq!(Messages(&[0; 64]).count(), 0);
    assert_eq!(Reader(&[0; 8]).attributes().count(), 0);
    assert_eq!(Reader(&[3, 0, 1, 0]).attributes().count(), 0);
    assert_eq!(Attributes(&[200, 0, 1, 0, 1]).count(), 0);
    assert_eq!(Attributes(&[4, 0, 1, 0, 9, 9]).count(), 1);
}

/// An NLMSG_ERROR as the kernel makes it.
fn error(errno: i32, flags: u16, rest: &[u8]) -> Vec<u8> {
    let mut e = Encoder::default();
    let at = e.begin(ERROR, flags, 9);
    e.put(&(-errno).to_ne_bytes());
    e.put(rest);
    e.end(at);
    e.octets().to_vec()
}

#[test]
fn refusals_carry_the_reason_in_words() {
    let mut original = Vec::new();
    original.extend_from_slice(&20u32.to_ne_bytes());
    original.resize(HEADER, 0);
    let mut text = Encoder::default();
    text.attribute(EXT_TEXT, b"Nexthop id does not exist\0");
    let said = |octets: &[u8]| Messages(octets).next().as_ref().and_then(verdict);

    let capped = [original.clone(), text.octets().to_vec()].concat();
    let r = said(&error(22, CAPPED | ACK_TLVS, &capped)).expect("whole").expect_err("refused");
    assert_eq!((r.errno, r.text.as_deref()), (22, Some("Nexthop id does not exist")));
    assert!(r.to_string().starts_with("Nexthop id does not exist (Invalid argument"));

    let whole = [original.clone(), vec![0; 4], text.octets().to_vec()].concat();
    let r = said(&error(22, ACK_TLVS, &whole)).expect("whole").expect_err("refused");
    assert_eq!(r.text.as_deref(), Some("Nexthop id does not exist"));

    let plain = Refusal { errno: 1, text: None, offset: None };
    assert_eq!(said(&error(1, 0, &original)), Some(Err(plain)));
    assert_eq!(said(&error(0, 0, &original)), Some(Ok(())), "an acknowledgement");
    assert_eq!(said(&error(1, ACK_TLVS, &[])), None, "cut short");
}

#[test]
fn a_refusal_tells_where() {
    let mut rest = vec![0; HEADER];
    let mut place = Encoder::default();
    place.attribute(EXT_OFFSET, &52_u32.to_ne_bytes());
    rest.extend_from_slice(place.octets());
    let octets = error(2, CAPPED | ACK_TLVS, &rest);
    let refusal = Messages(&octets).next().as_ref().and_then(verdict).expect("whole");
    assert_eq!(refusal, Err(Refusal { errno: 2, text: None, offset: Some(52) }));
}
