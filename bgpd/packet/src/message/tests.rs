use super::*;

fn header(len: u16, kind: u8) -> Vec<u8> {
    let mut out = MARKER.to_vec();
    out.extend(len.to_be_bytes());
    out.push(kind);
    out
}

#[track_caller]
fn rejected(buffer: &[u8], max_len: usize, subcode: u8, data: &[u8]) {
    let notification = frame_len(buffer, max_len).unwrap_err();
    assert_eq!((notification.code, notification.subcode), (1, subcode));
    assert_eq!(&*notification.data, data);
}

#[test]
fn a_header_is_awaited_whole() {
    for len in 0..HEADER_LEN {
        assert_eq!(frame_len(&keep_alive()[..len], MAX_LEN), Ok(None));
    }
    assert_eq!(frame_len(&keep_alive(), MAX_LEN), Ok(Some(19)));
}

#[test]
fn a_marker_that_is_not_all_ones_is_1_1() {
    for at in 0..16 {
        let mut octets = keep_alive().to_vec();
        octets[at] = 0xFE;
        rejected(&octets, MAX_LEN, 1, &[]);
    }
}

#[test]
fn a_length_no_message_can_have_is_1_2_with_the_length() {
    rejected(&header(18, 4), MAX_LEN, 2, &[0, 18]);
    rejected(&header(0, 2), MAX_LEN, 2, &[0, 0]);
    rejected(&header(4097, 2), MAX_LEN, 2, &[0x10, 1]);
    // The length counts before the type.
    rejected(&header(18, 99), MAX_LEN, 2, &[0, 18]);
}

#[test]
fn each_type_has_its_shortest_message() {
    for (kind, shortest) in [(1, 29), (2, 23), (3, 21), (4, 19), (5, 23)] {
        assert_eq!(frame_len(&header(shortest, kind), MAX_LEN), Ok(Some(usize::from(shortest))));
        rejected(&header(shortest - 1, kind), MAX_LEN, 2, &[0, shortest as u8 - 1]);
    }
}

#[test]
fn a_keepalive_is_19_octets() {
    rejected(&header(20, 4), MAX_LEN, 2, &[0, 20]);
}

#[test]
fn an_unknown_type_is_1_3_with_the_type() {
    for kind in [0, 6, 255] {
        rejected(&header(19, kind), MAX_LEN, 3, &[kind]);
    }
}

#[test]
fn extended_messages_leave_open_and_keepalive_short() {
    for kind in [2, 3, 5] {
        assert_eq!(frame_len(&header(65535, kind), MAX_EXTENDED_LEN), Ok(Some(65535)));
        rejected(&header(4097, kind), MAX_LEN, 2, &[0x10, 1]);
    }
    rejected(&header(4097, 1), MAX_EXTENDED_LEN, 2, &[0x10, 1]);
    rejected(&header(4097, 4), MAX_EXTENDED_LEN, 2, &[0x10, 1]);
}

#[test]
fn a_frame_is_decoded_only_whole() {
    assert!(matches!(decode(&keep_alive()), Ok(Message::KeepAlive)));
    let mut long = keep_alive().to_vec();
    long.push(0);
    assert_eq!(decode(&long).unwrap_err().subcode, header_error::BAD_LENGTH);
    assert_eq!(decode(&long[..18]).unwrap_err().subcode, header_error::BAD_LENGTH);
    assert_eq!(decode(&[]).unwrap_err().subcode, header_error::BAD_LENGTH);
}

#[test]
fn an_update_is_handed_on_as_its_body() {
    let mut octets = header(23, 2);
    octets.extend([0, 0, 0, 0]);
    assert!(matches!(decode(&octets), Ok(Message::Update([0, 0, 0, 0]))));
}

#[test]
fn notifications_read_back() {
    for data in [&[][..], &[1, 2, 3], &[7; 4000]] {
        let sent = Notification::with_data(3, 9, data.to_vec());
        let Ok(Message::Notification(read)) = decode(&encode_notification(&sent)) else { panic!() };
        assert_eq!(read, sent);
    }
}

#[test]
fn the_data_of_a_notification_is_cut_to_the_smallest_message() {
    let octets = encode_notification(&Notification::with_data(7, 1, vec![1; 65535]));
    assert_eq!(octets.len(), MAX_LEN);
    assert_eq!(frame_len(&octets, MAX_LEN), Ok(Some(MAX_LEN)));
}

#[test]
fn route_refreshes_read_back() {
    for kind in [RefreshKind::Request, RefreshKind::Begin, RefreshKind::End, RefreshKind::Other(9)]
    {
        let sent = RouteRefresh { family: Family { afi: 25, safi: 70 }, kind };
        let octets = encode_route_refresh(sent);
        assert_eq!(octets.len(), 23);
        let Ok(Message::RouteRefresh(read)) = decode(&octets) else { panic!() };
        assert_eq!(read, sent);
    }
}

#[test]
fn orf_entries_of_a_request_are_taken_and_ignored() {
    let mut octets = header(28, 5);
    octets.extend([0, 1, 0, 1, 1, 64, 0, 1, 0]);
    let Ok(Message::RouteRefresh(read)) = decode(&octets) else { panic!() };
    assert_eq!(read, RouteRefresh { family: Family::IPV4_UNICAST, kind: RefreshKind::Request });
}

#[test]
fn a_bracket_that_is_not_four_octets_is_7_1_with_the_whole_message() {
    for subtype in [1, 2] {
        let mut octets = header(25, 5);
        octets.extend([0, 1, subtype, 1, 0, 0]);
        let notification = decode(&octets).unwrap_err();
        assert_eq!((notification.code, notification.subcode), (7, 1));
        assert_eq!(notification.data, octets);
    }
}
