use std::{fs, os::fd::AsFd as _, path::Path, thread};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::geteuid,
};

use super::*;

#[test]
fn a_rule_counts_the_octets_of_its_prefixes() {
    let rule = Rule::new(&["cali", "tap", "a-name-too-long-for-links"], 0x4_0000);
    assert_eq!((rule.marks, rule.used), (0x4_0000, 3));
    assert_eq!(rule.prefixes[0].octets[..5], *b"cali\0");
    assert_eq!(rule.prefixes[0].counts[..5], [255, 255, 255, 255, 0]);
    assert_eq!(rule.prefixes[1].counts[..4], [255, 255, 255, 0]);
    assert_eq!(rule.prefixes[2].octets, *b"a-name-too-long-");
    let many = Rule::new(&["a"; PREFIXES + 1], 1);
    assert_eq!(many.used as usize, PREFIXES);
}

/// In a network namespace of its own, as root; the guard there is taken away at the end.
fn alone(test: impl FnOnce(&Folder) + Send) {
    struct Gone(Folder);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.remove().expect("removed");
        }
    }
    if !geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            let gone = Gone(Folder::own().expect("a folder"));
            test(&gone.0);
        });
        inside.join().expect("the test");
    });
}

/// The links there are, with what would differ if they were made anew.
fn links(folder: &Folder, hash: &str) -> Vec<Option<u64>> {
    use std::os::unix::fs::MetadataExt as _;
    let all = folder.links(hash);
    all.iter().map(|link| Some(fs::metadata(&link.path).ok()?.ino())).collect()
}

#[test]
fn it_is_attached_when_it_is_told_so_and_once() {
    alone(|folder| {
        let own = program::hash();
        let mut guard = Guard::open(folder.clone()).expect("a guard");
        guard.widen(8).expect("told");
        assert_eq!(links(folder, &own), [None; 4]);
        guard.hold(Rule::new(&["cali"], 4)).expect("attached");
        let first = links(folder, &own);
        assert!(first.iter().all(Option::is_some));
        drop(guard);
        let mut next = Guard::open(folder.clone()).expect("a guard");
        assert_eq!(next.told, Rule::new(&["cali"], 4), "what is in force is known");
        next.widen(2).expect("told");
        assert_eq!(next.array.read().expect("a rule"), Rule::new(&["cali"], 6));
        next.hold(Rule::new(&["cali"], 2)).expect("held");
        assert_eq!(next.array.read().expect("a rule"), Rule::new(&["cali"], 2));
        assert_eq!(links(folder, &own), first);
        // A process that died on its way left some of them only.
        let [missing, ..] = folder.links(&own);
        fs::remove_file(missing.path).expect("removed");
        let mut next = Guard::open(folder.clone()).expect("a guard");
        next.hold(Rule::new(&["cali"], 2)).expect("attached");
        let mended = links(folder, &own);
        assert_eq!(mended[1..], first[1..]);
        assert!(mended[0].is_some_and(|made| Some(made) != first[0]));
    });
}

#[test]
fn one_of_another_version_goes_when_this_one_is_attached_and_hears_of_marks_until_then() {
    alone(|folder| {
        let own = program::hash();
        let mut guard = Guard::open(folder.clone()).expect("a guard");
        guard.hold(Rule::new(&["cali"], 4)).expect("attached");
        let of = |hash: &str| folder.links(hash)[0].path.parent().map(Path::to_owned);
        let (here, other) = (of(&own).expect("a folder"), of("other").expect("a folder"));
        fs::rename(here, &other).expect("renamed");
        let mut next = Guard::open(folder.clone()).expect("a guard");
        next.widen(2).expect("told");
        assert_eq!(guard.array.read().expect("a rule"), Rule::new(&["cali"], 6));
        assert!(other.exists());
        next.hold(Rule::new(&["cali"], 2)).expect("attached");
        assert!(!other.exists());
        assert!(links(folder, &own).iter().all(Option::is_some));
    });
}

#[test]
fn one_with_a_rule_of_another_shape_goes_before() {
    alone(|folder| {
        let mut guard = Guard::open(folder.clone()).expect("a guard");
        guard.hold(Rule::new(&["cali"], 4)).expect("attached");
        fs::remove_file(folder.rule()).expect("removed");
        // No array at all.
        let link = sys::pinned(&folder.links(&program::hash())[0].path).expect("a link");
        sys::pin(link.as_fd(), &folder.rule()).expect("pinned");
        let next = Guard::open(folder.clone()).expect("a guard");
        assert_eq!(links(folder, &program::hash()), [None; 4]);
        assert_eq!(next.told, Rule::default());
    });
}
