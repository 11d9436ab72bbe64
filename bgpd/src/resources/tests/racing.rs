//! Two who write at the same time: one has asked every rule when the other's write comes between.

use super::*;

/// Does `first` while `second` is done whole just before the transaction of `first`.
fn between<T, U>(
    bench: &Bench,
    first: impl Future<Output = T>,
    second: impl Future<Output = U>,
) -> (T, U) {
    let (reached, come) = tokio::sync::oneshot::channel();
    let mut reached = Some(reached);
    bench.store.set_script(move |call| {
        // Of the first only; when the second is there it is not held up.
        let first = call.is_commit().then(|| reached.take()).flatten()?;
        let _ = first.send(());
        Some(Fault::Delay(Duration::from_millis(20)))
    });
    let first = async {
        let done = first.await;
        // Drops the sender: nobody waits for what did not come.
        bench.store.set_script(|_| None);
        done
    };
    let second = async {
        come.await.expect("the first got that far");
        second.await
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async { tokio::join!(first, second) })
}

fn write(
    bench: &Bench,
    mode: WriteMode,
    objects: &[Value],
) -> impl Future<Output = Result<(), ResourceError>> + use<> {
    let resources = bench.resources.clone();
    let objects = objects.iter().map(|o| read(&o.to_string(), false).expect("one")).collect();
    let options = WriteOptions { mode, dry_run: false, now: SystemTime::UNIX_EPOCH };
    async move { resources.write(objects, &options, &actor()).await.map(drop) }
}

fn delete(bench: &Bench, key: Key) -> impl Future<Output = Result<String, ResourceError>> + use<> {
    let resources = bench.resources.clone();
    async move { resources.delete(&key, None, &actor()).await }
}

fn kept(bench: &Bench, kind: Kind, name: &str) -> bool {
    bench.get(&Key::cluster(kind, name)).is_ok()
}

#[test]
fn two_pools_that_overlap_are_not_both_written() {
    for mode in [WriteMode::Create, WriteMode::Apply] {
        // The guard is not there yet, and is there.
        for before in [&[][..], &[pool("c", "192.168.0.0/16")]] {
            let bench = Bench::new();
            bench.write(WriteMode::Create, before).expect("written");
            let (first, second) = between(
                &bench,
                write(&bench, mode, &[pool("a", "10.0.0.0/16")]),
                write(&bench, mode, &[pool("b", "10.0.0.0/8")]),
            );
            second.expect("the first that was made");
            refused(first, "overlaps in spec.cidr with 10.0.0.0/8 of the pool \"b\"");
            assert!(kept(&bench, Kind::IpPool, "b") && !kept(&bench, Kind::IpPool, "a"));
        }
    }
}

#[test]
fn pools_that_do_not_overlap_are_both_written() {
    let bench = Bench::new();
    let (first, second) = between(
        &bench,
        write(&bench, WriteMode::Create, &[pool("a", "10.0.0.0/16")]),
        write(&bench, WriteMode::Create, &[pool("b", "10.1.0.0/16")]),
    );
    first.expect("after another look");
    second.expect("at once");
    assert!(kept(&bench, Kind::IpPool, "a") && kept(&bench, Kind::IpPool, "b"));
}

#[test]
fn every_transaction_of_many_pools_is_guarded() {
    let bench = Bench::new();
    let mut commits = 0;
    let other = bench.store.clone();
    // Just before the second of two somebody writes a pool where one of its is to be.
    bench.store.set_script(move |call| {
        let Call::Commit(_, by) = call else { return None };
        commits += usize::from(**by == actor());
        (commits == 2).then_some(Fault::Delay(Duration::from_millis(20)))
    });
    let theirs = async {
        while other.revision() < Revision(1) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        write(&bench, WriteMode::Create, &[pool("theirs", "10.150.1.0/24")]).await
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let ours = write(&bench, WriteMode::Apply, &pools(160));
    let (ours, theirs) = runtime.block_on(async { tokio::join!(ours, theirs) });
    theirs.expect("written");
    refused(ours, "IPPool(p150) overlaps");
    assert!(!kept(&bench, Kind::IpPool, "p0"), "the first ones are taken back");
}

#[test]
fn a_split_sees_a_pool_that_comes_meanwhile() {
    let bench = Bench::new();
    bench.write(WriteMode::Create, &[pool("blue", "10.0.0.0/24")]).expect("written");
    let resources = bench.resources.clone();
    let by = actor();
    let split = resources.split_pool("blue", 2, SystemTime::UNIX_EPOCH, &by);
    let (parts, other) =
        between(&bench, split, write(&bench, WriteMode::Create, &[pool("red", "10.1.0.0/24")]));
    other.expect("written");
    assert_eq!(parts.expect("split in the end").len(), 2);
}

#[test]
fn two_who_configure_lose_nothing_of_each_other() {
    use crate::resources::Configure;
    // With and without an object before.
    for before in [None, Some(true)] {
        let bench = Bench::new();
        let (resources, by) = (bench.resources.clone(), actor());
        let configure = |set| resources.configure_ipam(set, &by);
        if before.is_some() {
            let set = Configure { auto_allocate_blocks: before, ..Configure::default() };
            bench.runtime.block_on(configure(set)).expect("set");
        }
        let strict = Configure { strict_affinity: Some(true), ..Configure::default() };
        let cooldown = Configure { ip_cooldown_seconds: Some(7), ..Configure::default() };
        let (first, second) = between(&bench, configure(strict), configure(cooldown));
        second.expect("set");
        let settings = first.expect("set after another look");
        assert!(settings.strict_affinity && settings.cooldown.as_secs() == 7);
        let stored = bench.get(&Key::cluster(Kind::IpamConfiguration, "default")).expect("there");
        assert_eq!(
            (&stored["spec"]["strictAffinity"], &stored["spec"]["ipCooldownSeconds"]),
            (&json!(true), &json!(7))
        );
    }
}

#[test]
fn a_tier_that_goes_and_a_policy_that_comes_do_not_miss_each_other() {
    let security = || Key::cluster(Kind::Tier, "security");
    for mode in [WriteMode::Create, WriteMode::Apply] {
        let bench = Bench::new();
        bench.write(WriteMode::Create, &[tier("security")]).expect("written");
        let web = || policy("security.web", "security");
        let (policy, gone) =
            between(&bench, write(&bench, mode, &[web()]), delete(&bench, security()));
        gone.expect("it was empty");
        refused(policy, "names tier \"security\" in spec.tier, which does not exist");

        let bench = Bench::new();
        bench.write(WriteMode::Create, &[tier("security")]).expect("written");
        let (gone, policy) =
            between(&bench, delete(&bench, security()), write(&bench, mode, &[web()]));
        policy.expect("its tier was there");
        refused(gone, "the tier is not empty");
        assert!(kept(&bench, Kind::Tier, "security"));
    }
}

#[test]
fn a_filter_that_goes_meanwhile_is_missed_by_the_peer_that_names_it() {
    let peer = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "BGPPeer", "metadata": { "name": "tor" },
        "spec": { "peerIP": "10.0.0.1", "asNumber": 65000, "filters": ["only-pods"] },
    });
    let filter = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "BGPFilter",
        "metadata": { "name": "only-pods" }, "spec": {},
    });
    let bench = Bench::new();
    bench.write(WriteMode::Create, &[filter]).expect("written");
    let gone = delete(&bench, Key::cluster(Kind::BgpFilter, "only-pods"));
    let (written, gone) = between(&bench, write(&bench, WriteMode::Apply, &[peer]), gone);
    gone.expect("nothing named it");
    refused(written, "names BGPFilter \"only-pods\" in spec.filters, which does not exist");
    assert!(!kept(&bench, Kind::BgpPeer, "tor"));
}

#[test]
fn policies_that_come_at_the_same_time_and_a_tier_that_changes_do_not_hinder_a_policy() {
    let bench = Bench::new();
    bench.write(WriteMode::Create, &[tier("security")]).expect("written");
    let mut later = tier("security");
    later["spec"]["order"] = json!(20);
    for other in [policy("security.db", "security"), later] {
        let before = bench.store.revision().0;
        let (first, second) = between(
            &bench,
            write(&bench, WriteMode::Apply, &[policy(&format!("security.p{before}"), "security")]),
            write(&bench, WriteMode::Apply, &[other]),
        );
        first.expect("written");
        second.expect("written");
        assert_eq!(bench.store.revision().0, before + 2, "nobody had to do it again");
    }
}

#[test]
fn what_is_about_a_node_stays_with_a_node_that_changes_meanwhile() {
    let peer = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "BGPPeer", "metadata": {"name": "tor"},
        "spec": {"peerIP": "192.0.2.1", "asNumber": 64512, "node": "n1"},
    });
    let node = |label: &str| {
        json!({"apiVersion": "projectcalico.org/v3", "kind": "Node",
               "metadata": {"name": "n1", "labels": {"rack": label}}, "spec": {}})
    };
    let bench = Bench::new();
    bench.write(WriteMode::Create, &[node("a"), peer]).expect("written");
    let key = Key::cluster(Kind::Node, "n1");
    let there = bench.get(&key).expect("the node");
    let revision = there["metadata"]["resourceVersion"].as_str().map(str::parse::<u64>);
    let revision = Revision(revision.expect("one").expect("a number"));
    let resources = bench.resources.clone();
    let by = actor();
    let gone = resources.delete(&key, Some(revision), &by);
    let (gone, changed) = between(&bench, gone, write(&bench, WriteMode::Apply, &[node("b")]));
    changed.expect("written");
    assert!(matches!(gone, Err(ResourceError::Changed(_))), "{gone:?}");
    assert!(kept(&bench, Kind::BgpPeer, "tor") && kept(&bench, Kind::Node, "n1"));
    // Without a revision the node goes as it is then, in one transaction with its peer.
    let before = bench.store.revision().0;
    let (gone, changed) =
        between(&bench, delete(&bench, key.clone()), write(&bench, WriteMode::Apply, &[node("c")]));
    gone.expect("deleted");
    changed.expect("written");
    assert!(!kept(&bench, Kind::BgpPeer, "tor") && !kept(&bench, Kind::Node, "n1"));
    assert_eq!(bench.store.revision().0, before + 2);
}
