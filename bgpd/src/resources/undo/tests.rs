use std::time::SystemTime;

use margay_datastore::{
    Lease, MemStore,
    faults::{Call, Fault},
};
use serde_json::{Value, json};

use super::*;
use crate::resources::{
    Resources, WriteMode, WriteOptions, WriteOutcome, read,
    tests::{actor, policy, pools, resources, tier},
};

/// A store whose daemons die: what is asked of it after their last commit never comes.
struct Bench {
    store: MemStore,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        Self { store: MemStore::new(), runtime }
    }

    fn apply(&self, by: &Resources, objects: &[Value]) -> Result<Vec<WriteOutcome>, ResourceError> {
        let objects = objects.iter().map(|o| read(&o.to_string(), false).expect("one")).collect();
        let options =
            WriteOptions { mode: WriteMode::Apply, dry_run: false, now: SystemTime::UNIX_EPOCH };
        let written = self.runtime.block_on(by.write(objects, &options, &actor()))?;
        Ok(written.into_iter().map(|(outcome, _)| outcome).collect())
    }

    /// The same by a daemon that dies at its n-th commit, after it where `made`; whether it did.
    fn dies(&self, by: &Resources, objects: &[Value], at: usize, made: bool) -> bool {
        let mut commits = 0;
        self.store.set_script(move |call: &Call<'_>| {
            commits += usize::from(call.is_commit());
            let fault = if made && commits == at { Fault::LoseAnswer } else { Fault::FailBefore };
            (commits >= at).then_some(fault)
        });
        let died = self.apply(by, objects).is_err();
        self.store.set_script(|_| None);
        died
    }

    fn round(&self, by: &Resources) {
        self.runtime.block_on(by.ledger.round(&actor())).expect("a look");
    }

    /// What is stored of these, and whether anything is kept of requests.
    fn stored(&self, objects: &[Value]) -> (Vec<Option<Bytes>>, bool) {
        let store: &dyn Store = &self.store;
        let get = |object: &Value| {
            let key = read(&object.to_string(), false).expect("one").key();
            self.runtime.block_on(store.get(&key)).expect("an answer").map(|found| found.value)
        };
        let kept = self.runtime.block_on(list_all(store, &Area::Undo)).expect("a list").0;
        (objects.iter().map(get).collect(), !kept.is_empty())
    }
}

/// Changes of what is there and new ones, of three transactions and more.
fn request() -> (Vec<Value>, Vec<Value>) {
    let mut before = pools(60);
    before.push(tier("old"));
    let mut request = pools(200);
    for pool in &mut request {
        pool["spec"]["disabled"] = true.into();
    }
    let mut changed = tier("old");
    changed["spec"]["order"] = 77.into();
    request.extend([changed, tier("new")]);
    request.extend((0..60).map(|n| policy(&format!("new.p{n}"), "new")));
    (before, request)
}

#[test]
fn whenever_its_daemon_dies_a_request_is_written_whole_or_not_at_all() {
    let (before, request) = request();
    let mut outcomes = [0, 0];
    for (at, made) in (1..).flat_map(|at| [(at, false), (at, true)]) {
        let bench = Bench::new();
        let first = resources(&bench.store, "first");
        bench.apply(&first, &before).expect("written");
        let was = bench.stored(&request);
        if !bench.dies(&first, &request, at, made) {
            break;
        }
        // Its next life.
        bench.round(&resources(&bench.store, "first"));
        let (now, kept) = bench.stored(&request);
        assert!(!kept, "something is kept for ever: {at} {made}");
        let whole = now.iter().all(Option::is_some);
        assert!(whole || now == was.0, "half of it stands: {at} {made}");
        outcomes[usize::from(whole)] += 1;
    }
    assert!(outcomes[0] > 8 && outcomes[1] > 0, "{outcomes:?}");
}

#[test]
fn who_takes_back_may_die_as_well() {
    let (before, request) = request();
    for at in 1..100 {
        let bench = Bench::new();
        let first = resources(&bench.store, "first");
        bench.apply(&first, &before).expect("written");
        let was = bench.stored(&request);
        assert!(bench.dies(&first, &request, 6, false));
        let mut commits = 0;
        bench.store.set_script(move |call: &Call<'_>| {
            commits += usize::from(call.is_commit());
            (commits >= at).then_some(Fault::FailBefore)
        });
        let second = resources(&bench.store, "first");
        let ended = bench.runtime.block_on(second.ledger.round(&actor())).is_ok();
        bench.store.set_script(|_| None);
        bench.round(&resources(&bench.store, "first"));
        assert_eq!(bench.stored(&request), (was.0, false), "dead at {at}");
        if ended {
            assert!(at > 5, "it took {at} commits");
            return;
        }
    }
    panic!("it never ends");
}

#[test]
fn other_nodes_wait_for_the_lease_of_whose_request_it_is() {
    let bench = Bench::new();
    let first = resources(&bench.store, "first");
    let lease = Lease { node: "n1".into(), holder: "first".into(), ttl: Duration::from_secs(60) };
    bench.runtime.block_on(bench.store.keep_lease(&lease)).expect("its own");
    assert!(bench.dies(&first, &pools(200), 3, false));
    let (half, _) = bench.stored(&pools(200));
    assert!(half.iter().any(Option::is_some) && half.iter().any(Option::is_none));
    let other = resources(&bench.store, "second");
    bench.round(&other);
    assert_eq!(bench.stored(&pools(200)).0, half, "it may live");
    bench.runtime.block_on(bench.store.drop_lease(&lease)).expect("its own");
    bench.round(&other);
    let (none, kept) = bench.stored(&pools(200));
    assert!(none.iter().all(Option::is_none) && !kept);
}

#[test]
fn what_somebody_else_has_written_since_stays() {
    let bench = Bench::new();
    let (first, other) = (resources(&bench.store, "first"), resources(&bench.store, "second"));
    assert!(bench.dies(&first, &pools(200), 3, false));
    // The same, another, and a new one.
    let mut theirs = pools(2);
    theirs[1]["spec"]["disabled"] = true.into();
    let written = bench.apply(&other, &theirs).expect("written");
    assert_eq!(written, [WriteOutcome::Unchanged, WriteOutcome::Replaced]);
    bench.round(&other);
    let there = bench.stored(&pools(200)).0;
    assert!(there[..2].iter().all(Option::is_some), "who wrote them was told so");
    assert!(there[2..].iter().all(Option::is_none));
}

#[test]
fn a_tier_that_others_use_by_now_stays() {
    let bench = Bench::new();
    let first = resources(&bench.store, "first");
    let mut objects = vec![tier("new"), tier("second")];
    objects.extend((0..100).map(|n| policy(&format!("new.p{n}"), "new")));
    assert!(bench.dies(&first, &objects, 3, false));
    let other = resources(&bench.store, "second");
    bench.apply(&other, &[policy("new.theirs", "new")]).expect("written");
    bench.round(&other);
    let there = bench.stored(&objects).0;
    assert!(there[0].is_some() && there[1..].iter().all(Option::is_none));
    assert!(bench.stored(&[policy("new.theirs", "new")]).0[0].is_some());
}

#[test]
fn a_request_that_was_taken_over_goes_no_further() {
    let bench = Bench::new();
    let first = resources(&bench.store, "first");
    let mut commits = 0;
    bench.store.set_script(move |call: &Call<'_>| {
        commits += usize::from(call.is_commit());
        // Its third comes late.
        (call.is_commit() && commits == 3).then_some(Fault::Delay(Duration::from_millis(100)))
    });
    let objects = pools(250);
    let other = resources(&bench.store, "second");
    let takes_over = async {
        while bench.store.revision() < Revision(2) {
            sleep(Duration::from_millis(1)).await;
        }
        other.ledger.round(&actor()).await
    };
    let objects: Vec<_> =
        objects.iter().map(|o| read(&o.to_string(), false).expect("one")).collect();
    let options =
        WriteOptions { mode: WriteMode::Apply, dry_run: false, now: SystemTime::UNIX_EPOCH };
    let us = actor();
    let write = first.write(objects, &options, &us);
    let (written, taken) = bench.runtime.block_on(async { tokio::join!(write, takes_over) });
    taken.expect("taken over");
    let error = written.expect_err("taken over");
    assert!(matches!(error, ResourceError::TakenOver), "{error}");
    let (there, kept) = bench.stored(&pools(250));
    assert!(there.iter().all(Option::is_none) && !kept);
}

#[test]
fn large_values_are_kept_beside_others_that_are_large() {
    let bench = Bench::new();
    let first = resources(&bench.store, "first");
    let set = |n: u32, at: u32| {
        let nets: Vec<_> =
            (0..40_000).map(|net| format!("{}/32", std::net::Ipv4Addr::from(at + net))).collect();
        json!({
            "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet",
            "metadata": { "name": format!("s{n}") }, "spec": { "nets": nets },
        })
    };
    let (old, new): (Vec<_>, Vec<_>) =
        (0..4).map(|n| (set(n, 0x0a00_0000), set(n, 0x0b00_0000))).unzip();
    bench.apply(&first, &old).expect("written");
    let was = bench.stored(&old).0;
    for at in [3, 4, 6] {
        assert!(bench.dies(&first, &new, at, false));
        bench.round(&resources(&bench.store, "first"));
        assert_eq!(bench.stored(&new), (was.clone(), false), "dead at {at}");
    }
}

#[test]
fn policies_before_and_behind_their_tier_go_with_it() {
    let bench = Bench::new();
    let mut objects: Vec<_> = (0..30).map(|n| policy(&format!("new.p{n}"), "new")).collect();
    objects.push(tier("new"));
    objects.extend((30..200).map(|n| policy(&format!("new.p{n}"), "new")));
    for at in 2..6 {
        let first = resources(&bench.store, "first");
        assert!(bench.dies(&first, &objects, at, false), "{at}");
        bench.round(&resources(&bench.store, "first"));
        let (there, kept) = bench.stored(&objects);
        assert!(there.iter().all(Option::is_none) && !kept, "dead at {at}");
    }
}

#[test]
fn a_policy_does_not_come_back_into_a_tier_that_is_gone() {
    let bench = Bench::new();
    let first = resources(&bench.store, "first");
    bench.apply(&first, &[tier("old"), policy("web", "old")]).expect("written");
    let was = bench.stored(&[policy("web", "old")]).0;
    let mut objects = vec![policy("web", "default")];
    objects.extend(pools(200));
    assert!(bench.dies(&first, &objects, 4, false));
    assert_ne!(bench.stored(&objects[..1]).0, was);
    let old = Key::cluster(Kind::Tier, "old");
    bench.runtime.block_on(first.delete(&old, None, &actor())).expect("nothing is in it now");
    bench.round(&resources(&bench.store, "first"));
    let (there, kept) = bench.stored(&objects);
    assert!(there[0].is_some() && there[0] != was[0], "it stays as it is");
    assert!(there[1..].iter().all(Option::is_none) && !kept);
}

#[test]
fn what_cannot_be_as_it_was_stays_and_the_rest_goes() {
    let bench = Bench::new();
    let first = resources(&bench.store, "first");
    let mut odd = pools(200);
    bench.apply(&first, &odd[..1]).expect("written");
    odd[0]["spec"]["disabled"] = true.into();
    assert!(bench.dies(&first, &odd, 4, false));
    let pieces = bench.runtime.block_on(first.ledger.pieces()).expect("a list");
    let (request, _) = pieces.first_key_value().expect("one");
    // What stood there is nothing that a store takes.
    let key = Key::Undo(Undo { request: request.clone(), piece: Piece::Before(1) });
    let write = Write::Put { key, value: "no JSON".into(), index: Vec::new() };
    let txn = Txn { compares: Vec::new(), writes: vec![write] };
    bench.store.commit_now(txn, &actor()).expect("a commit");
    bench.round(&resources(&bench.store, "first"));
    let (there, kept) = bench.stored(&odd);
    assert!(there[0].is_some() && there[1..].iter().all(Option::is_none) && !kept);
}

#[test]
fn what_is_taken_back_between_two_looks_is_written_all_the_same() {
    let bench = Bench::new();
    let (first, other) = (resources(&bench.store, "first"), resources(&bench.store, "second"));
    assert!(bench.dies(&first, &pools(200), 3, false));
    // It goes right behind the first look at it.
    let (store, mut due) = (bench.store.clone(), true);
    let key = Key::cluster(Kind::IpPool, "p0");
    bench.store.set_script(move |call: &Call<'_>| {
        let is_list = matches!(call, Call::List(Area::Undo));
        if is_list && std::mem::take(&mut due) {
            let (store, key) = (store.clone(), key.clone());
            std::thread::spawn(move || {
                let (entries, _) =
                    futures::executor::block_on(list_all(&store, &Area::Undo)).expect("a list");
                let gone = entries.into_iter().map(|entry| entry.key).chain([key]);
                let writes = gone.map(|key| Write::Delete { key }).collect();
                let by = Actor { component: "other".into(), ..actor() };
                store.commit_now(Txn { compares: Vec::new(), writes }, &by).expect("a commit");
            });
            return Some(Fault::Delay(Duration::from_millis(200)));
        }
        None
    });
    let written = bench.apply(&other, &pools(1)).expect("written");
    assert_eq!(written, [WriteOutcome::Created]);
    assert!(bench.stored(&pools(1)).0[0].is_some());
}
