use margay_datastore::{MemStore, Store};
use margay_model::{Actor, Txn};

use serde_json::json;

use super::*;
use crate::follow::Follow;

fn pool(name: &str, third: u8) -> (Key, String) {
    let text = format!(
        "{{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"IPPool\",\
          \"metadata\":{{\"name\":\"{name}\"}},\"spec\":{{\"cidr\":\"10.{third}.0.0/16\"}}}}"
    );
    (Key::cluster(Kind::IpPool, name), text)
}

fn change(name: &str, revision: u64) -> Change {
    let (key, text) = pool(name, 1);
    let revision = Revision(revision);
    Change { key, value: Some(Versioned { value: text.into(), revision }), revision }
}

fn gone(name: &str, revision: u64) -> Change {
    Change { key: Key::cluster(Kind::IpPool, name), value: None, revision: Revision(revision) }
}

/// News in short: `+name`, `-name`, `reset`, `sync@revision`.
fn short(news: &[News]) -> Vec<String> {
    let one = |news: &News| match news {
        News::Reset => "reset".to_owned(),
        News::Resource(mirrored) => {
            let object: Value = serde_json::from_str(&mirrored.text).expect("JSON");
            format!("+{}", object["metadata"]["name"].as_str().unwrap_or("?"))
        }
        News::Gone(Key::Resource(key), _) => format!("-{}", key.name),
        News::Stored(key, _) => format!("+{key}"),
        News::Gone(..) => "?".to_owned(),
        News::InSync(revision) => format!("sync@{}", revision.0),
    };
    news.iter().map(one).collect()
}

fn started(names: &[&str], revision: u64) -> Mirror {
    let mirror = Mirror::new();
    let listed = names.iter().map(|name| {
        let change = change(name, revision);
        (change.key, change.value.expect("a value"))
    });
    mirror.replace(listed, Revision(revision));
    mirror
}

#[test]
fn a_reader_gets_a_snapshot_then_is_in_sync_then_hears_changes() {
    let mirror = started(&["a", "b"], 5);
    let reader = mirror.subscribe(BTreeSet::new(), None);
    assert_eq!(short(&reader.take()), ["reset", "+a", "+b", "sync@5"]);
    assert!(reader.take().is_empty());
    mirror.apply(vec![change("c", 6), gone("a", 7)], Revision(7));
    assert_eq!(short(&reader.take()), ["-a", "+c", "sync@7"]);
    assert!(reader.take().is_empty(), "once is enough");
}

#[test]
fn a_slow_reader_is_owed_keys_not_messages() {
    let mirror = started(&["a"], 1);
    let reader = mirror.subscribe(BTreeSet::new(), None);
    for revision in 2..1000 {
        mirror.apply(vec![change("a", revision)], Revision(revision));
    }
    mirror.apply(vec![change("b", 1000)], Revision(1000));
    mirror.apply(vec![gone("b", 1001)], Revision(1001));
    let news = reader.take();
    assert_eq!(short(&news), ["reset", "+a", "sync@1001"]);
    for revision in 1002..2000 {
        mirror.apply(vec![change("a", revision)], Revision(revision));
    }
    mirror.apply(vec![change("b", 2000)], Revision(2000));
    mirror.apply(vec![gone("b", 2001)], Revision(2001));
    assert_eq!(short(&reader.take()), ["+a", "-b", "sync@2001"]);
}

#[test]
fn a_snapshot_costs_its_reader_a_place_and_misses_no_change() {
    let names: Vec<String> = (0..3 * BATCH).map(|at| format!("n{at:05}")).collect();
    let mirror = started(&names.iter().map(String::as_str).collect::<Vec<_>>(), 1);
    let reader = mirror.subscribe(BTreeSet::new(), None);
    assert_eq!(reader.take().len(), BATCH);
    assert!(reader.subscriber.lock().keys.is_empty(), "the snapshot is no list");
    // One behind the reader changes and one goes, one ahead changes, goes, comes.
    mirror.apply(vec![change("n00001", 2), change("n01000", 3)], Revision(3));
    mirror.apply(vec![gone("n00002", 4), gone("n01001", 5)], Revision(5));
    mirror.apply(vec![change("n99999", 6), change("a", 7)], Revision(7));
    assert_eq!(reader.subscriber.lock().keys.len(), 3, "only what lies behind is owed");
    let mut told = Vec::new();
    while !told.iter().any(|news: &String| news.starts_with("sync")) {
        told.extend(short(&reader.take()));
    }
    let count = |what: &str| told.iter().filter(|news| *news == what).count();
    for (what, times) in [
        ("+n00001", 1),
        ("-n00002", 1),
        ("+n01000", 1),
        ("+n01001", 0),
        ("-n01001", 0),
        ("+n99999", 1),
        ("+a", 1),
        ("sync@7", 1),
    ] {
        assert_eq!(count(what), times, "{what}");
    }
    assert!(reader.take().is_empty());
}

#[tokio::test]
async fn a_reader_of_a_rare_kind_comes_through_a_large_copy() {
    let names: Vec<String> = (0..2 * STRIDE).map(|at| format!("n{at:05}")).collect();
    let mirror = started(&names.iter().map(String::as_str).collect::<Vec<_>>(), 1);
    let reader = mirror.subscribe([Kind::Node].into(), None);
    assert_eq!(short(&reader.next().await), ["reset"]);
    assert_eq!(short(&reader.next().await), ["sync@1"]);
}

#[test]
fn nobody_is_in_sync_before_the_copy_is() {
    let mirror = Mirror::new();
    let reader = mirror.subscribe(BTreeSet::new(), None);
    assert_eq!(short(&reader.take()), ["reset"]);
    mirror.replace(Vec::new(), Revision(3));
    assert_eq!(short(&reader.take()), ["sync@3"]);
}

#[test]
fn who_comes_back_hears_only_what_changed() {
    let mirror = started(&["a", "b"], 5);
    mirror.apply(vec![change("b", 6)], Revision(6));
    mirror.apply(vec![gone("a", 7)], Revision(7));
    let reader = mirror.subscribe(BTreeSet::new(), Some(Revision(5)));
    assert_eq!(short(&reader.take()), ["-a", "+b", "sync@7"]);
    let reader = mirror.subscribe(BTreeSet::new(), Some(Revision(7)));
    assert_eq!(short(&reader.take()), ["sync@7"]);
    // Before the first list nothing is known.
    let reader = mirror.subscribe(BTreeSet::new(), Some(Revision(4)));
    assert_eq!(short(&reader.take()), ["reset", "+b", "sync@7"]);
}

#[test]
fn history_that_was_dropped_means_a_snapshot() {
    let mirror = started(&["a"], 1);
    for revision in 2..(HISTORY as u64 + 10) {
        mirror.apply(vec![change("a", revision)], Revision(revision));
    }
    let reader = mirror.subscribe(BTreeSet::new(), Some(Revision(2)));
    assert_eq!(short(&reader.take()).first().map(String::as_str), Some("reset"));
    let reader = mirror.subscribe(BTreeSet::new(), Some(Revision(HISTORY as u64)));
    assert_eq!(short(&reader.take()).first().map(String::as_str), Some("+a"));
}

#[test]
fn who_breaks_off_in_the_middle_and_comes_back_misses_nothing() {
    let mirror = started(&["a"], 1);
    let reader = mirror.subscribe(BTreeSet::new(), None);
    let mut safe = None;
    let mut known = BTreeSet::new();
    let mut hear = |news: Vec<News>| {
        for news in news {
            match news {
                News::InSync(revision) => safe = Some(revision),
                other => known.extend(short(&[other])),
            }
        }
        (safe, known.len())
    };
    assert_eq!(hear(reader.take()), (Some(Revision(1)), 2));
    // Written in the order opposite to that of the keys.
    let many = BATCH as u64 + 88;
    let changes = (0..many).map(|n| change(&format!("p{:04}", many - n), n + 2)).collect();
    mirror.apply(changes, Revision(many + 1));
    let (after, heard) = hear(reader.take());
    assert_eq!((after, heard), (Some(Revision(1)), BATCH + 2), "owed the rest, it is not in sync");
    drop(reader);
    let again = mirror.subscribe(BTreeSet::new(), after);
    hear(again.take());
    assert_eq!(hear(again.take()), (Some(Revision(many + 1)), many as usize + 2));
    // Who came to the end by changes alone knows from where to go on.
    mirror.apply(vec![gone("p0001", many + 2)], Revision(many + 2));
    assert_eq!(hear(again.take()).0, Some(Revision(many + 2)));
}

#[test]
fn a_revision_from_beyond_the_copy_means_a_snapshot() {
    let mirror = started(&["a"], 5);
    let reader = mirror.subscribe(BTreeSet::new(), Some(Revision(6)));
    assert_eq!(short(&reader.take()), ["reset", "+a", "sync@5"]);
    // The datastore was replaced while the daemon ran.
    let there = mirror.subscribe(BTreeSet::new(), Some(Revision(5)));
    there.take();
    let (key, value) = (change("b", 2).key, change("b", 2).value.expect("a value"));
    mirror.replace([(key, value)], Revision(2));
    assert_eq!(short(&there.take()), ["-a", "+b", "sync@2"]);
    let reader = mirror.subscribe(BTreeSet::new(), Some(Revision(5)));
    assert_eq!(short(&reader.take()), ["reset", "+b", "sync@2"]);
}

#[test]
fn a_reader_of_some_kinds_hears_nothing_of_others() {
    let mirror = started(&["a"], 1);
    let reader = mirror.subscribe([Kind::Node].into(), None);
    assert_eq!(short(&reader.take()), ["reset", "sync@1"]);
    mirror.apply(vec![change("b", 2)], Revision(2));
    assert!(reader.take().is_empty());
}

#[test]
fn a_list_after_lost_history_tells_what_went_away() {
    let mirror = started(&["a", "b"], 1);
    let reader = mirror.subscribe(BTreeSet::new(), None);
    reader.take();
    let b = change("b", 1);
    let c = change("c", 8);
    let listed = [b, c].map(|change| (change.key, change.value.expect("a value")));
    mirror.replace(listed, Revision(9));
    assert_eq!(short(&reader.take()), ["-a", "+c", "sync@9"]);
}

#[test]
fn what_cannot_be_read_is_told_as_it_is_and_not_as_gone() {
    let mirror = started(&["a"], 1);
    let reader = mirror.subscribe(BTreeSet::new(), None);
    reader.take();
    let mut broken = change("a", 2);
    broken.value = Some(Versioned { value: "{".into(), revision: Revision(2) });
    mirror.apply(vec![broken], Revision(2));
    assert_eq!(short(&reader.take()), ["+a", "sync@2"]);
    let later = mirror.subscribe(BTreeSet::new(), None);
    let news = later.take();
    assert_eq!(short(&news), ["reset", "+a", "sync@2"]);
    let Some(News::Resource(mirrored)) = news.get(1) else { panic!("{news:?}") };
    assert!(Resource::decode(mirrored.text.as_bytes()).is_err(), "nobody takes it for a pool");
    assert_eq!(unreadable(&mirrored.text), Some(pool("a", 1).0));
}

#[test]
fn what_a_newer_release_wrote_counts_without_what_is_not_known_but_for_rules() {
    let told = |key: &Key, text: Value| {
        let value = Versioned { value: text.to_string().into(), revision: Revision(7) };
        Resource::decode(mirrored(key, &value).text.as_bytes())
    };
    let reservation = json!({
        "kind": "IPReservation", "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": "a"}, "spec": {"reservedCIDRs": ["10.0.0.0/28"], "newField": 1},
    });
    let read = told(&Key::cluster(Kind::IpReservation, "a"), reservation).expect("the rest counts");
    let Resource::IpReservation(read) = read else { panic!("{read:?}") };
    assert_eq!(read.spec.reserved_cidrs.len(), 1);
    let policy = json!({
        "kind": "GlobalNetworkPolicy", "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": "p"},
        "spec": {"ingress": [{"action": "Allow", "onlyOnSundays": true}]},
    });
    told(&Key::cluster(Kind::GlobalNetworkPolicy, "p"), policy).expect_err("another rule");
}

#[tokio::test]
async fn it_follows_a_datastore() {
    let store = MemStore::new();
    let actor = Actor { component: "test".into(), node: "n".into(), user: None };
    let (key, text) = pool("a", 1);
    store.commit(Txn::create(key, text.into(), Vec::new()), &actor).await.expect("a commit");
    let mirror = Mirror::new();
    let follow = Follow::new(Arc::new(store.clone()), Area::Resources);
    let task = tokio::spawn(mirror.clone().follow(Box::new(follow)));
    let reader = mirror.subscribe(BTreeSet::new(), None);
    let mut seen = Vec::new();
    while !seen.iter().any(|news: &String| news.starts_with("sync")) {
        seen.extend(short(&reader.next().await));
    }
    assert!(seen.contains(&"+a".to_owned()), "{seen:?}");
    let (key, text) = pool("b", 2);
    store.commit(Txn::create(key, text.into(), Vec::new()), &actor).await.expect("a commit");
    assert_eq!(short(&reader.next().await).first().map(String::as_str), Some("+b"));
    task.abort();
}

#[test]
fn a_policy_that_cannot_be_read_is_told_as_it_is_under_the_name_it_is_kept_under() {
    let key = Key::namespaced(Kind::NetworkPolicy, "shop", "p");
    let told = |text: &str| {
        let value = Versioned { value: text.to_owned().into(), revision: Revision(7) };
        mirrored(&key, &value).text.to_string()
    };
    let broken = r#"{"kind":"NetworkPolicy","metadata":{"name":"default.p"},"spec":{"of":1}}"#;
    let text = told(broken);
    for part in [r#""name":"p""#, r#""namespace":"shop""#, r#""resourceVersion":"7""#, r#""of":1"#]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(told("no JSON").contains(r#""name":"p""#));
    // Others read kind, namespace and name of it.
    let pool = Key::cluster(Kind::IpPool, "blue");
    let odd = Versioned {
        value: r#"{"metadata":{"namespace":5,"name":[]},"spec":7}"#.into(),
        revision: Revision(7),
    };
    assert_eq!(unreadable(&mirrored(&pool, &odd).text), Some(pool.clone()));
    assert!(!mirrored(&pool, &odd).text.contains("namespace"));
}

#[test]
fn what_was_known_is_shown_in_pages_once_it_is_whole() {
    let key = |name: &str| Key::cluster(Kind::IpPool, name);
    let area = Area::Kind(Kind::IpPool, None);
    let empty = Mirror::new();
    assert_eq!(empty.known_in(&area, None, 10), None);
    let mirror = started(&["a", "b", "c"], 5);
    let first = mirror.known_in(&area, None, 2).expect("it is whole");
    assert_eq!(
        (first.texts.len(), first.more.clone(), first.revision),
        (2, Some(key("b")), Revision(5))
    );
    let rest = mirror.known_in(&area, first.more.as_ref(), 2).expect("it is whole");
    assert_eq!((rest.texts.len(), rest.more), (1, None));
    assert!(rest.texts[0].contains("\"c\""), "{}", rest.texts[0]);
    let whole = mirror.known_in(&area, None, 3).expect("it is whole");
    assert_eq!((whole.texts.len(), whole.more), (3, None));
    let others = mirror.known_in(&Area::Kind(Kind::Node, None), None, 3).expect("it is whole");
    assert!(others.texts.is_empty());
    assert!(mirror.known(&key("a")).is_some_and(|(text, at)| text.contains("\"a\"") && at.0 == 5));
    assert_eq!(mirror.known(&key("z")), None);
}

#[tokio::test]
async fn who_comes_from_a_later_commit_has_the_datastore_asked_again() {
    let store = MemStore::new();
    let actor = Actor { component: "test".into(), node: "n".into(), user: None };
    let (key, text) = pool("a", 1);
    store.commit(Txn::create(key, text.into(), Vec::new()), &actor).await.expect("a commit");
    let mirror = Mirror::new();
    let follow = Follow::new(Arc::new(store.clone()), Area::Resources);
    let task = tokio::spawn(mirror.clone().follow(Box::new(follow)));
    let reader = mirror.subscribe(BTreeSet::new(), None);
    while !short(&reader.next().await).iter().any(|news| news == "sync@1") {}
    // Nothing of this copy: it hears nothing of it by its watch.
    let block = Key::Block("10.0.0.0/26".parse().expect("a prefix"));
    let txn = Txn::create(block, b"{}".to_vec().into(), Vec::new());
    store.commit(txn, &actor).await.expect("a commit");
    // Another copy was listed later.
    let reader = mirror.subscribe(BTreeSet::new(), Some(Revision(2)));
    let mut told = Vec::new();
    while !told.iter().any(|news| news == "sync@2") {
        told.extend(short(&reader.next().await));
    }
    assert!(told.contains(&"+a".to_owned()), "{told:?}");
    task.abort();
}

#[test]
fn a_list_is_news_also_where_nothing_changed_for_it_tells_how_far_the_copy_has_come() {
    let mirror = started(&["a"], 1);
    let reader = mirror.subscribe(BTreeSet::new(), None);
    reader.take();
    let a = change("a", 1);
    mirror.replace([(a.key, a.value.expect("a value"))], Revision(7));
    assert_eq!(short(&reader.take()), ["sync@7"]);
    mirror.apply(Vec::new(), Revision(9));
    assert_eq!(short(&reader.take()), ["sync@9"]);
    assert!(reader.is_told());
}

#[test]
fn blocks_and_leases_are_copied_as_they_are_stored() {
    let mirror = Mirror::new();
    let block = Key::Block("10.0.0.0/26".parse().expect("a prefix"));
    let lease = Key::NodeLease("n1".into());
    let value = |text: &str, revision: u64| Versioned {
        value: text.as_bytes().to_vec().into(),
        revision: Revision(revision),
    };
    mirror
        .replace([(block.clone(), value("no resource", 3)), (lease, value("{}", 4))], Revision(4));
    let reader = mirror.subscribe(BTreeSet::new(), None);
    let news = reader.take();
    assert_eq!(short(&news), ["reset", "+block 10.0.0.0/26", "+lease of node n1", "sync@4"]);
    assert!(matches!(&news[1], News::Stored(_, known) if &*known.text == "no resource"));
    mirror.apply(vec![Change { key: block, value: None, revision: Revision(5) }], Revision(5));
    assert!(matches!(&reader.take()[0], News::Gone(Key::Block(_), Revision(5))));
}

#[test]
fn news_of_large_values_come_in_messages_that_can_be_taken() {
    let mirror = Mirror::new();
    let block = |third: u8| Key::Block(format!("10.0.{third}.0/26").parse().expect("a prefix"));
    let value = Versioned { value: vec![b'x'; OCTETS / 4].into(), revision: Revision(1) };
    mirror.replace((0..40).map(|third| (block(third), value.clone())), Revision(1));
    let reader = mirror.subscribe(BTreeSet::new(), None);
    let mut all = 0;
    loop {
        let news = reader.take();
        let values = news.iter().filter(|news| matches!(news, News::Stored(..))).count();
        assert!(values <= 4, "{values}");
        all += values;
        if matches!(news.last(), Some(News::InSync(_))) {
            break;
        }
    }
    assert_eq!(all, 40);
}
