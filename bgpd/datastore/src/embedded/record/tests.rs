use super::*;

fn record() -> Record {
    let entry = |value: &str| IndexEntry { index: "owner".into(), value: value.into() };
    Record {
        key: Key::Block("10.0.0.0/26".parse().unwrap()),
        value: Versioned { value: Bytes::from_static(b"\0value"), revision: Revision(7) },
        index: vec![entry("a"), entry("ü")],
    }
}

#[test]
fn what_is_written_is_read_back() {
    let record = record();
    let path = record.key.path();
    assert_eq!(decode(&path, &encode(&record)), Ok(record.clone()));
    for value in [Some(&record.value), None] {
        let past = decode_change(Revision(7), &encode_change(&path, value)).unwrap();
        assert_eq!((past.change.key, past.change.value.as_ref()), (record.key.clone(), value));
    }
}

#[test]
fn octets_that_were_cut_are_said_to_be() {
    let record = record();
    let path = record.key.path();
    let octets = encode(&record);
    let index_ends = octets.len() - record.value.value.len();
    for end in 0..index_ends {
        assert!(decode(&path, &octets[..end]).is_err(), "{end}");
    }
    assert!(decode("nonsense", &octets).is_err());
    let change = encode_change(&path, None);
    for end in 0..change.len() {
        assert!(decode_change(Revision(1), &change[..end]).is_err(), "{end}");
    }
}
