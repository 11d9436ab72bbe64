use super::*;
use crate::{
    block::{Attributes, Held},
    time::UnixMillis,
};

fn block(cidr: &str, node: &str, handles: &[&str]) -> Arc<Block> {
    let owner = Owner { node: node.try_into().unwrap(), instance: "one".try_into().unwrap() };
    let mut block = Block::new("a", cidr.parse().unwrap(), owner, UnixMillis(1)).unwrap();
    block.begin(UnixMillis(1), std::time::Duration::ZERO);
    for handle in handles {
        let held = Held {
            handle: (*handle).try_into().unwrap(),
            node: "n1".try_into().unwrap(),
            serial: 0,
            since: UnixMillis(1),
            attributes: Attributes::default(),
        };
        block.assign(1, &held, |_| false);
    }
    Arc::new(block)
}

fn put(view: &mut View, revision: u64, block: &Arc<Block>) -> bool {
    view.put(block.cidr(), Revision(revision), Stored::Sound(block.clone()))
}

#[test]
fn news_that_come_late_or_twice_change_nothing() {
    let mut view = View::default();
    let (old, new) = (block("10.0.0.0/30", "n1", &["h"]), block("10.0.0.0/30", "n1", &["i"]));
    assert!(put(&mut view, 5, &new));
    assert!(!put(&mut view, 4, &old));
    assert!(!put(&mut view, 5, &new));
    assert!(!view.remove(old.cidr(), Revision(4)), "a delete from before it was made");
    assert!(view.remove(old.cidr(), Revision(7)));
    assert!(!put(&mut view, 6, &old), "it is known to be gone since");
    assert!(put(&mut view, 8, &old), "made again");
    assert_eq!(view.seen(), Revision(8));
}

#[test]
fn a_delete_heard_of_before_the_block_is_remembered_until_the_watch_has_passed_it() {
    let mut view = View::default();
    let block = block("10.0.0.0/30", "n1", &[]);
    view.remove(block.cidr(), Revision(7));
    assert!(!put(&mut view, 6, &block));
    view.settle(Revision(7));
    assert!(put(&mut view, 8, &block));
}

#[test]
fn indexes_follow_the_blocks() {
    let mut view = View::default();
    put(&mut view, 1, &block("10.0.0.0/30", "n1", &["h", "h", "i"]));
    put(&mut view, 2, &block("10.0.0.4/30", "n2", &["h"]));
    let (n1, n2): (NodeName, NodeName) = ("n1".try_into().unwrap(), "n2".try_into().unwrap());
    let h: Handle = "h".try_into().unwrap();
    assert_eq!(view.of_handle(&h).len(), 3);
    assert_eq!((view.of_node(&n1).count(), view.of_node(&n2).count()), (1, 1));
    assert_eq!(view.used_on(&n1).len(), 4);
    assert_eq!(view.borrowed_by(&n1).len(), 1);
    put(&mut view, 3, &block("10.0.0.4/30", "n1", &["i"]));
    assert_eq!(view.of_handle(&h).len(), 2);
    assert_eq!((view.of_node(&n1).count(), view.of_node(&n2).count()), (2, 0));
    assert!(view.borrowed_by(&n1).is_empty());
    view.remove("10.0.0.0/30".parse().unwrap(), Revision(4));
    assert!(!view.is_held_by(&h));
    assert_eq!(view.nodes(), [n1].into());
}

#[test]
fn a_list_replaces_all_but_what_is_newer_than_it() {
    let mut view = View::default();
    let (a, b) = (block("10.0.0.0/30", "n1", &[]), block("10.0.0.4/30", "n1", &[]));
    let (c, d) = (block("10.0.0.8/30", "n1", &[]), block("10.0.0.12/30", "n1", &["h"]));
    put(&mut view, 1, &a);
    put(&mut view, 9, &b);
    put(&mut view, 3, &d);
    let list: Vec<_> = [(&c, 2), (&d, 3)]
        .map(|(block, revision)| (block.cidr(), Revision(revision), block.to_json()))
        .into();
    let changed = view.replace(&list, Revision(5));
    assert_eq!(changed, [a.cidr(), c.cidr()]);
    let left: Vec<_> = view.blocks().map(|block| block.cidr()).collect();
    assert_eq!(left, [b.cidr(), c.cidr(), d.cidr()], "b was written after the list was read");
}

#[test]
fn overlaps_are_found_from_both_sides() {
    let mut view = View::default();
    put(&mut view, 1, &block("10.0.0.0/28", "n1", &[]));
    put(&mut view, 2, &block("10.0.0.4/30", "n1", &[]));
    put(&mut view, 3, &block("10.0.0.16/30", "n1", &[]));
    let net = |text: &str| -> IpNet { text.parse().unwrap() };
    assert!(view.is_contested(net("10.0.0.0/28")));
    assert!(view.is_contested(net("10.0.0.4/30")));
    assert!(!view.is_contested(net("10.0.0.16/30")));
    assert_eq!(view.overlapping(net("10.0.0.8/29")), Some(net("10.0.0.0/28")));
    assert_eq!(view.overlapping(net("10.0.0.16/28")), Some(net("10.0.0.16/30")));
    assert_eq!(view.overlapping(net("10.0.0.20/30")), None);
}

#[test]
fn a_hole_is_found_wherever_it_is() {
    let pool = Pool::new("a", "10.0.0.0/28".parse().unwrap(), 30).unwrap();
    let mut view = View::default();
    let never = |_| false;
    assert_eq!(view.hole(&pool, 3, never), Some("10.0.0.12/30".parse().unwrap()));
    for (at, cidr) in ["10.0.0.12/30", "10.0.0.0/30", "10.0.0.9/32"].iter().enumerate() {
        put(&mut view, u64::try_from(at).unwrap() + 1, &block(cidr, "n1", &[]));
    }
    for start in 0..9 {
        assert_eq!(view.hole(&pool, start, never), Some("10.0.0.4/30".parse().unwrap()));
    }
    assert_eq!(view.hole(&pool, 0, |place| place.to_string() == "10.0.0.4/30"), None);
    put(&mut view, 9, &block("10.0.0.0/29", "n1", &[]));
    assert_eq!(view.hole(&pool, 0, never), None, "a larger block covers it");
}

#[test]
fn a_block_under_the_key_of_another_is_damaged() {
    let block = block("10.0.0.0/30", "n1", &[]);
    let key = "10.0.0.4/30".parse().unwrap();
    let stored = Stored::read(key, &block.to_json());
    assert_eq!(stored, Stored::Damaged(BlockError::Misplaced { key, inside: block.cidr() }));
}
