use margay_model::{Kind, Revision};

use super::*;

fn block(octet: u8) -> Key {
    Key::Block(format!("10.0.{octet}.0/26").parse().unwrap())
}

fn put(key: Key, value: &'static [u8], index: Vec<IndexEntry>) -> Write {
    Write::Put { key, value: Bytes::from_static(value), index }
}

fn refusal(writes: Vec<Write>) -> String {
    check(Limits::ETCD, Txn { compares: Vec::new(), writes }).unwrap_err().to_string()
}

fn entry(value: &str) -> IndexEntry {
    IndexEntry { index: "owner".into(), value: value.into() }
}

#[test]
fn a_key_is_written_once_only() {
    let writes = vec![put(block(1), b"a", vec![]), Write::Delete { key: block(1) }];
    assert_eq!(refusal(writes), "block 10.0.1.0/26 is written twice");
}

#[test]
fn a_value_a_transaction_and_their_parts_have_bounds() {
    let big = vec![Write::Put {
        key: block(1),
        value: Bytes::from(vec![0; MAX_VALUE + 1]),
        index: vec![],
    }];
    assert_eq!(refusal(big), "octets of a value: 1048577 is more than 1048576");
    let two = [1, 2].map(|n| Write::Put {
        key: block(n),
        value: Bytes::from(vec![0; MAX_VALUE]),
        index: vec![],
    });
    assert!(refusal(two.into()).starts_with("octets of a transaction"));
    // Eight operations each: the value, the list of its entries, three new ones, three old ones.
    let index = || ["a", "b", "c"].map(entry).to_vec();
    let blocks = |count| (0..count).map(|n| put(block(n), b"", index())).collect();
    assert!(check(Limits::ETCD, Txn { compares: Vec::new(), writes: blocks(16) }).is_ok());
    assert_eq!(refusal(blocks(17)), "operations of a transaction: 136 is more than 128");
    let sets = (0..129).map(|n| put(Key::cluster(Kind::IpPool, format!("p{n}")), b"{}", vec![]));
    assert_eq!(refusal(sets.collect()), "operations of a transaction: 129 is more than 128");
    let index = ["a", "b", "c", "d"].map(entry).to_vec();
    assert!(refusal(vec![put(block(1), b"", index)]).starts_with("index entries"));
}

#[test]
fn names_that_cannot_be_paths_are_refused() {
    for name in ["", "a/b"] {
        let writes = vec![put(Key::cluster(Kind::IpPool, name), b"{}", vec![])];
        assert!(refusal(writes).contains("names nothing that can be stored"), "{name}");
    }
    let bad = IndexEntry { index: "Owner/".into(), value: "a".into() };
    assert_eq!(refusal(vec![put(block(1), b"", vec![bad])]), "\"Owner/\" is no name of an index");
}

#[test]
fn a_lease_is_not_written() {
    let writes = vec![put(Key::NodeLease("a".into()), b"", vec![])];
    assert_eq!(refusal(writes), "a lease is kept and given back, not written");
}

#[test]
fn what_passes_has_its_index_sorted_and_its_resource_version_taken_out() {
    let pool = Key::cluster(Kind::IpPool, "a");
    let value = br#"{"metadata":{"name":"a","resourceVersion":"7"}}"#;
    let index = vec![entry("b"), entry("a"), entry("b")];
    let refused = Txn::update(pool.clone(), Revision(7), Bytes::from_static(value), index.clone());
    assert_eq!(
        check(Limits::ETCD, refused).unwrap_err().to_string(),
        "IPPool(a) has an index; only blocks have"
    );
    let mut txn = Txn::update(pool, Revision(7), Bytes::from_static(value), Vec::new());
    txn.writes.push(put(block(1), b"", index));
    let checked = check(Limits::ETCD, txn).unwrap();
    let [Write::Put { value, .. }, Write::Put { index, .. }] = &checked.writes[..] else {
        panic!()
    };
    assert_eq!(value.as_ref(), br#"{"metadata":{"name":"a"}}"#);
    assert_eq!(index, &[entry("a"), entry("b")]);
}

#[test]
fn a_transaction_has_room_for_what_the_check_lets_pass() {
    let full = |writes: &mut dyn Iterator<Item = Write>| {
        let mut room = Room::beside(Limits::ETCD, &Txn::default());
        let alone = |write: &Write| Txn { compares: Vec::new(), writes: vec![write.clone()] };
        writes.take_while(|write| room.take(&alone(write))).count()
    };
    // Without entries of their own they may have had some.
    assert_eq!(full(&mut (0..255).map(|n| put(block(n), b"", vec![]))), 25);
    let large = |n: u8| {
        let key = Key::cluster(Kind::IpPool, format!("p{n}"));
        Write::Put { key, value: Bytes::from(vec![0; 150 * 1024]), index: vec![] }
    };
    assert_eq!(full(&mut (0..255).map(large)), 8);
}
