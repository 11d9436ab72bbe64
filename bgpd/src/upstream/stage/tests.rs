use margay_model::Kind;

use super::*;

fn key(name: &str) -> Key {
    Key::cluster(Kind::IpPool, name)
}

fn set(stage: &mut Stage, name: &str, revision: u64) {
    stage.set(key(name), Some(Bytes::from(format!("{name}@{revision}"))), Revision(revision));
}

fn gone(stage: &mut Stage, name: &str, revision: u64) {
    stage.set(key(name), None, Revision(revision));
}

/// What is handed on, in short: `list@7 a@5 b@6` or `change@9 a@8 -b@9`.
fn taken(stage: &mut Stage) -> String {
    let name = |key: &Key| match key {
        Key::Resource(key) => key.name.clone(),
        other => other.to_string(),
    };
    match stage.take() {
        None => String::new(),
        Some(Told::Listed(entries, revision)) => {
            let each = entries.iter().map(|entry| {
                assert_eq!(
                    entry.value.value,
                    format!("{}@{}", name(&entry.key), entry.value.revision.0)
                );
                format!(" {}@{}", name(&entry.key), entry.value.revision.0)
            });
            format!("list@{}{}", revision.0, each.collect::<String>())
        }
        Some(Told::Changed(batch)) => {
            let each = batch.changes.iter().map(|change| {
                let mark = if change.value.is_some() { "" } else { "-" };
                format!(" {mark}{}@{}", name(&change.key), change.revision.0)
            });
            format!("change@{}{}", batch.revision.0, each.collect::<String>())
        }
    }
}

/// Has heard of `a` and `b`, as of commit 6.
fn settled() -> Stage {
    let mut stage = Stage::default();
    assert_eq!(stage.begin(), None);
    stage.reset();
    set(&mut stage, "a", 5);
    set(&mut stage, "b", 6);
    assert_eq!(taken(&mut stage), "", "half of it is a picture that never was");
    assert_eq!(stage.in_sync(Revision(6)), Heard::News);
    assert_eq!(taken(&mut stage), "list@6 a@5 b@6");
    stage
}

#[test]
fn a_snapshot_is_handed_on_whole_and_what_follows_in_the_order_of_commits() {
    let mut stage = settled();
    gone(&mut stage, "a", 9);
    set(&mut stage, "b", 8);
    set(&mut stage, "c", 7);
    assert_eq!(taken(&mut stage), "");
    assert_eq!(stage.in_sync(Revision(9)), Heard::News);
    assert_eq!(taken(&mut stage), "change@9 c@7 b@8 -a@9");
    assert_eq!(stage.in_sync(Revision(9)), Heard::Nothing);
    assert_eq!(taken(&mut stage), "");
    // How far it has come is news as well: others may hear it from here.
    assert_eq!(stage.in_sync(Revision(12)), Heard::News);
    assert_eq!(taken(&mut stage), "change@12");
}

#[test]
fn a_stream_that_breaks_off_is_gone_on_with_after_the_last_commit_that_was_whole() {
    let mut stage = settled();
    set(&mut stage, "c", 8);
    assert_eq!(stage.begin(), Some(Revision(6)), "c is told again");
    set(&mut stage, "d", 9);
    assert_eq!(stage.in_sync(Revision(9)), Heard::News);
    assert_eq!(taken(&mut stage), "change@9 d@9", "what the broken stream told is not mixed in");
}

#[test]
fn a_snapshot_later_on_tells_what_went_away_meanwhile() {
    let mut stage = settled();
    assert_eq!(stage.begin(), Some(Revision(6)));
    stage.reset();
    set(&mut stage, "b", 6);
    assert_eq!(stage.in_sync(Revision(20)), Heard::News);
    assert_eq!(taken(&mut stage), "list@20 b@6", "who takes it sweeps a");
}

#[test]
fn who_has_heard_less_is_not_believed_before_he_has_caught_up() {
    let mut stage = settled();
    stage.begin();
    stage.reset();
    set(&mut stage, "a", 3);
    assert_eq!(stage.in_sync(Revision(4)), Heard::Behind);
    assert_eq!(taken(&mut stage), "");
    // Then what happened meanwhile comes there, too, and it counts with what was told before.
    set(&mut stage, "b", 6);
    assert_eq!(stage.in_sync(Revision(5)), Heard::Behind);
    set(&mut stage, "a", 5);
    set(&mut stage, "e", 7);
    assert_eq!(stage.in_sync(Revision(7)), Heard::News);
    assert_eq!(taken(&mut stage), "list@7 a@5 b@6 e@7");
}

#[test]
fn a_slow_reader_is_owed_keys_not_messages() {
    let mut stage = settled();
    for revision in 10..1000 {
        set(&mut stage, "a", revision);
        assert_eq!(stage.in_sync(Revision(revision)), Heard::News);
    }
    gone(&mut stage, "b", 1000);
    stage.in_sync(Revision(1000));
    assert!(!stage.is_whole());
    assert_eq!(taken(&mut stage), "change@1000 a@999 -b@1000");
    // A snapshot that waits takes in what follows.
    stage.reset();
    set(&mut stage, "a", 1001);
    set(&mut stage, "b", 1002);
    stage.in_sync(Revision(1002));
    gone(&mut stage, "a", 1003);
    set(&mut stage, "c", 1004);
    stage.in_sync(Revision(1004));
    assert!(stage.is_whole());
    assert_eq!(taken(&mut stage), "list@1004 b@1002 c@1004");
}

#[test]
fn a_list_of_the_datastore_counts_as_well_unless_it_is_older() {
    let mut stage = settled();
    let entry = |name: &str, revision: u64| Entry {
        key: key(name),
        value: Versioned {
            value: Bytes::from(format!("{name}@{revision}")),
            revision: Revision(revision),
        },
        index: Vec::new(),
    };
    stage.listed(vec![entry("a", 3)], Revision(4));
    assert_eq!(taken(&mut stage), "");
    stage.listed(vec![entry("a", 5)], Revision(30));
    assert_eq!(taken(&mut stage), "list@30 a@5");
    // What the stream tells of before that is known.
    assert_eq!(stage.in_sync(Revision(29)), Heard::Behind);
    set(&mut stage, "f", 31);
    assert_eq!(stage.in_sync(Revision(31)), Heard::News);
    assert_eq!(taken(&mut stage), "change@31 f@31");
}

#[test]
fn of_a_datastore_that_began_anew_everything_is_heard_anew() {
    let mut stage = settled();
    stage.begin();
    stage.reset();
    set(&mut stage, "z", 2);
    assert_eq!(stage.in_sync(Revision(2)), Heard::Behind);
    stage.begin_anew();
    assert_eq!(stage.in_sync(Revision(2)), Heard::News);
    assert_eq!(taken(&mut stage), "list@2 z@2");
    // One that was only to go on has to tell everything first.
    let mut stage = settled();
    stage.begin();
    stage.begin_anew();
    set(&mut stage, "z", 2);
    assert_eq!(stage.in_sync(Revision(2)), Heard::Behind);
    assert_eq!(stage.begin(), None);
}
