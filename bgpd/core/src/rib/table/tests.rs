use std::collections::BTreeSet;

use super::{super::net::Net4, *};

fn net(text: &str) -> Net4 {
    Net4::from_ip(text.parse().unwrap()).unwrap()
}

fn path(session: u16) -> NewPath {
    NewPath { attrs_in: 0, attrs: 0, path_id: 0, since: 0, session, flags: PathFlags::default() }
}

#[test]
fn a_prefix_keeps_its_slot_until_released() {
    let mut table = Table::default();
    let a = table.slot(net("10.0.0.0/8"));
    let b = table.slot(net("10.0.0.0/9"));
    assert_ne!(a, b);
    assert_eq!(table.slot(net("10.0.0.0/8")), a);
    table.release_slot(a);
    assert_eq!(table.find(net("10.0.0.0/8")), None);
    assert_eq!(table.find(net("10.0.0.0/9")), Some(b));
    assert_eq!(table.slot(net("192.0.2.0/24")), a, "the place is used again");
}

#[test]
fn lists_keep_their_paths_through_unlinking_and_promotion() {
    let mut table = Table::default();
    let slot = table.slot(net("10.0.0.0/8"));
    let paths: Vec<u32> = (0..5).map(|session| table.add(slot, path(session))).collect();
    let all = |table: &Table<Net4>| table.paths(slot).collect::<BTreeSet<_>>();
    assert_eq!(all(&table), paths.iter().copied().collect());
    for best in &paths {
        table.promote(slot, Some(*best));
        assert_eq!(table.paths(slot).next(), Some(*best));
        assert_eq!(table.best(slot), Some(*best));
        assert_eq!(all(&table), paths.iter().copied().collect());
        assert!(paths.iter().all(|path| table.slot_of(*path) == slot));
    }
    table.promote(slot, None);
    assert_eq!(table.best(slot), None);
    for (gone, path) in paths.iter().enumerate() {
        table.unlink(slot, *path);
        assert_eq!(table.slot_of(*path), slot, "an unlinked path still knows its prefix");
        assert_eq!(all(&table), paths[gone + 1..].iter().copied().collect());
        table.free_path(*path);
    }
    assert!(!table.occupied(slot));
}

#[test]
fn flags_and_refresh_rounds_do_not_mix() {
    let flags = PathFlags::new(REJECTED | MED_SET, 15);
    assert!(flags.any(REJECTED) && flags.any(MED_SET) && !flags.any(AS_LOOP));
    assert_eq!((flags.round(), flags.bits()), (15, REJECTED | MED_SET));
    assert_eq!(PathFlags::new(0, 17).round(), 1);
}
