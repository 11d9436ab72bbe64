use margay_model::Kind;

use super::*;

#[test]
fn resources_lie_behind_the_prefix_and_blocks_do_not() {
    let layout = Layout::new("/calico/").unwrap();
    let pool = Key::cluster(Kind::IpPool, "a");
    assert_eq!(layout.key(&pool), b"/calico/resources/v3/projectcalico.org/ippools/a");
    assert_eq!(layout.path(&layout.key(&pool)), Some(pool.path().as_str()));
    let block = Key::Block("10.0.0.0/26".parse().unwrap());
    assert_eq!(layout.key(&block), b"/margay/ipam/v1/blocks/10.0.0.0-26");
    assert_eq!(layout.path(&layout.key(&block)), Some(block.path().as_str()));
    for bad in ["", "/", "calico", "/margay", "/margay/x"] {
        assert!(Layout::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_range_ends_behind_its_last_key() {
    assert_eq!(range(b"a/".to_vec()), (b"a/".to_vec(), b"a0".to_vec()));
    assert_eq!(range(vec![1, 255, 255]).1, [2]);
}

#[test]
fn entries_of_one_value_are_not_those_of_a_longer_one() {
    let entry = |value: &str| IndexEntry { index: "owner".into(), value: value.into() };
    let longer = String::from_utf8(entry_key(&entry("a/b"), "p")).unwrap();
    assert!(!longer.starts_with(&entry_prefix(&entry("a"))));
    assert_ne!(entry_prefix(&entry("a%2Fb")), entry_prefix(&entry("a/b")));
    let index = vec![entry("a"), entry("\"")];
    assert_eq!(recorded_index(&record_value(&index)), Ok(index));
    assert!(recorded_index(b"{}").is_err());
}
