use std::{collections::BTreeMap, time::Duration};

use margay_model::Revision;

use super::*;
use crate::{
    block::{Ordinal, Owner},
    time::UnixMillis,
};

fn lab() -> (View, Pools) {
    let owner = Owner { node: "n1".try_into().unwrap(), instance: "one".try_into().unwrap() };
    let mut block = Block::new("a", "10.0.0.0/30".parse().unwrap(), owner, UnixMillis(1)).unwrap();
    block.begin(UnixMillis(1), Duration::from_secs(9));
    let attributes: BTreeMap<_, _> =
        [("pod", "p"), ("namespace", "n")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let held = |node: &str, handle: &str| Held {
        handle: handle.try_into().unwrap(),
        node: node.try_into().unwrap(),
        serial: 0,
        since: UnixMillis(1),
        attributes: attributes.clone().into(),
    };
    block.assign(2, &held("n1", "h"), |_| false);
    block.assign(1, &held("n2", "i"), |_| false);
    block.release(Ordinal(0), UnixMillis(1), Duration::from_secs(9));
    let mut view = View::default();
    let stored = Stored::Sound(std::sync::Arc::new(block));
    view.put("10.0.0.0/30".parse().unwrap(), Revision(1), stored);
    let pool = Pool::new("a", "10.0.0.0/28".parse().unwrap(), 30).unwrap();
    (view, Pools::new([pool]))
}

#[test]
fn what_is_in_use_and_reserved_is_counted_once_in_what_is_free() {
    let (view, pools) = lab();
    let reserved = ["10.0.0.1/32", "10.0.0.3/32", "10.0.0.8/30"].map(|net| net.parse().unwrap());
    let rows = usage(&view, &pools, &Reservations::new(reserved), true);
    let of = |row: &UseRow| (row.total, row.in_use, row.cooling, row.reserved, row.free);
    assert_eq!(of(&rows[0]), (16, 2, 1, 6, 8), "the pool");
    assert_eq!(of(&rows[1]), (4, 2, 1, 2, 0), "its block");
    assert_eq!((rows[1].node.as_deref(), rows[1].state), (Some("n1"), "confirmed"));
    assert_eq!(usage(&view, &pools, &Reservations::default(), false).len(), 1);
}

#[test]
fn a_block_in_no_pool_is_shown_last() {
    let (view, _) = lab();
    let rows = usage(&view, &Pools::default(), &Reservations::default(), true);
    assert_eq!((rows.len(), rows[0].pool.as_deref(), rows[0].free), (1, None, 1));
}

#[test]
fn an_address_tells_who_has_it() {
    let (view, _) = lab();
    let at = |text: &str| address(&view, text.parse().unwrap());
    assert!(
        matches!(at("10.0.0.1"), AddressRow::InUse { held, .. } if held.handle.as_str() == "h")
    );
    assert!(matches!(at("10.0.0.0"), AddressRow::Cooling { since: UnixMillis(1), .. }));
    assert_eq!((at("10.0.0.3"), at("10.0.0.9")), (AddressRow::Free, AddressRow::Free));
}

#[test]
fn borrowed_addresses_and_affinities_are_views_of_blocks() {
    let (view, _) = lab();
    let rows = borrowed(&view);
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].node.as_str(), rows[0].owner.as_deref()), ("n2", Some("n1")));
    assert_eq!((rows[0].kind.as_str(), rows[0].allocated_to.as_str()), ("Pod", "n/p"));
    let affinity = affinities(&view).remove(0);
    assert_eq!((affinity.name.as_str(), affinity.state), ("n1-10-0-0-0-30", "confirmed"));
}

#[test]
fn the_configuration_is_named_as_users_know_it() {
    let rows = configuration(&Settings::default());
    assert_eq!(rows[0], ("StrictAffinity", "false".to_owned()));
    assert_eq!(rows[3], ("IPCooldownSeconds", "30".to_owned()));
}
