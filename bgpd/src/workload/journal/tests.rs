use margay_workload::{Mode, Qos, Source, Spec, State, Uptime};

use super::*;

fn entry(container: &str, state: State) -> Entry {
    Entry {
        id: AttachmentId::new("net", container, "eth0").expect("it is one"),
        state,
        created: 1,
        begun: Uptime::default(),
        spec: Spec {
            mode: Mode::Link,
            netns: "/run/netns/a".into(),
            pod: None,
            source: Source::Given(vec!["10.0.0.1".parse().expect("an address")]),
            labels: BTreeMap::from([("app".to_owned(), "web\n\"x\"".to_owned())]),
            routes: None,
            mtu: 1500,
            mac: None,
            forwarding: Some(true),
            floating: Vec::new(),
            spoofed: Vec::new(),
            qos: Qos::default(),
            policy_wait: 0,
        },
        host_interface: "calic".into(),
        addresses: vec!["10.0.0.1".parse().expect("an address")],
    }
}

fn run<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(task)
}

fn reopened(folder: &Path) -> Found {
    Journal::open(folder).expect("it opens").1
}

#[test]
fn what_was_recorded_is_there_after_a_restart_and_what_was_forgotten_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, found) = Journal::open(folder.path()).expect("it opens");
    assert!(found.entries.is_empty() && found.whole);
    run(async {
        journal.record(entry("a", State::Allocating)).await.expect("written");
        journal.record(entry("b", State::Live)).await.expect("written");
        journal.record(entry("a", State::Live)).await.expect("written");
        journal.forget(entry("b", State::Live).id).await.expect("written");
    });
    drop(journal);
    let found = reopened(folder.path());
    assert_eq!(found.entries, [entry("a", State::Live)]);
    assert!(found.whole);
}

#[test]
fn a_line_that_was_cut_off_at_any_place_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = Journal::open(folder.path()).expect("it opens");
    run(journal.record(entry("a", State::Live))).expect("written");
    let path = folder.path().join(FILE);
    let before = fs::read(&path).expect("it is there").len();
    run(journal.record(entry("a", State::Deleting))).expect("written");
    drop(journal);
    let all = fs::read(&path).expect("it is there");
    for length in before..all.len() {
        fs::write(&path, &all[..length]).expect("written");
        let found = reopened(folder.path());
        assert_eq!(found.entries, [entry("a", State::Live)], "cut at {length}");
        assert!(found.whole);
    }
}

#[test]
fn a_damaged_line_is_left_out_and_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = Journal::open(folder.path()).expect("it opens");
    run(async {
        journal.record(entry("a", State::Live)).await.expect("written");
        journal.record(entry("b", State::Live)).await.expect("written");
    });
    drop(journal);
    let path = folder.path().join(FILE);
    let mut octets = fs::read(&path).expect("it is there");
    octets[40] ^= 1;
    fs::write(&path, &octets).expect("written");
    let found = reopened(folder.path());
    assert_eq!(found.entries, [entry("b", State::Live)]);
    assert!(!found.whole);
    let kept = folder.path().join(format!("{FILE}.damaged"));
    assert_eq!(fs::read(&kept).expect("it is kept"), octets);
    // The file is good by now, and what was in it is still lost: until a human has seen to it.
    assert!(!reopened(folder.path()).whole);
    assert_eq!(fs::read(&kept).expect("it is kept"), octets);
    fs::remove_file(&kept).expect("removed");
    assert!(reopened(folder.path()).whole);
}

#[test]
fn links_of_ours_without_a_journal_are_those_of_a_lost_one() {
    let folder = tempfile::tempdir().expect("a folder");
    // A start that ends before it has seen the links changes nothing.
    drop(reopened(folder.path()));
    let (journal, mut found) = Journal::open(folder.path()).expect("it opens");
    assert!(found.whole);
    found.compare(2);
    assert!(!found.whole);
    run(journal.record(entry("a", State::Live))).expect("written");
    drop(journal);
    let mut found = reopened(folder.path());
    assert_eq!(found.entries, [entry("a", State::Live)]);
    found.compare(0);
    assert!(!found.whole, "the others are missing still");
}

#[test]
fn a_journal_begins_where_there_are_no_links_of_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, mut found) = Journal::open(folder.path()).expect("it opens");
    found.compare(0);
    assert!(found.whole);
    run(journal.record(entry("a", State::Live))).expect("written");
    drop(journal);
    let mut found = reopened(folder.path());
    found.compare(2);
    assert!(found.whole, "there is a journal: who is not in it is gone");
}

#[test]
fn the_file_does_not_grow_with_what_came_and_went() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = Journal::open(folder.path()).expect("it opens");
    run(async {
        let mut lines = tokio::task::JoinSet::new();
        for n in 0..2 * SLACK {
            let journal = journal.clone();
            lines.spawn(
                async move { journal.record(entry(&format!("c{}", n % 7), State::Live)).await },
            );
        }
        while let Some(line) = lines.join_next().await {
            line.expect("no panic").expect("written");
        }
    });
    let text = fs::read_to_string(folder.path().join(FILE)).expect("it is there");
    assert!(text.lines().count() <= SLACK + 7 * 2 + MOST_TOGETHER, "{}", text.lines().count());
    assert_eq!(reopened(folder.path()).entries.len(), 7);
}
