//! The datastore against real etcd, and against a disk that is full.

use std::{
    fs,
    future::Future,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use margay_datastore::{
    EmbeddedStore, EtcdConfig, EtcdStore, EtcdTls, Outcome, Store, StoreError, Watch, list_all,
};
use margay_model::{Actor, Area, Key, Kind, Revision, Txn, Write};
use testkit::{
    Lab,
    etcd::{Cluster, Wire},
    have_root, until,
};

#[path = "../../bgpd/datastore/tests/conformance/mod.rs"]
mod conformance;

/// How long the cluster may take to get over something.
const SOON: Duration = Duration::from_secs(30);

struct Etcd<'a> {
    cluster: &'a Cluster,
    store: Arc<EtcdStore>,
}

#[async_trait]
impl conformance::Rig for Etcd<'_> {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn compact(&self, revision: Revision) {
        let body = format!("{{\"revision\":\"{}\",\"physical\":true}}", revision.0);
        self.cluster.call("/v3/kv/compaction", &body).expect("etcd compacts");
    }
}

fn actor() -> Actor {
    Actor { component: "test".into(), node: "node1".into(), user: None }
}

fn block(number: u8) -> Key {
    Key::Block(format!("10.0.{number}.0/26").parse().expect("a CIDR"))
}

fn put(key: Key, text: &str) -> Txn {
    let write = Write::Put { key, value: Bytes::copy_from_slice(text.as_bytes()), index: vec![] };
    Txn { compares: vec![], writes: vec![write] }
}

/// Runs `work` on a runtime that lives where the client of the cluster does.
fn at_client<T: Send, F: Future<Output = Result<T>>>(
    cluster: &Cluster,
    work: impl FnOnce() -> F + Send,
) -> Result<T> {
    cluster.client().enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work())
    })
}

fn store(cluster: &Cluster) -> Result<Arc<EtcdStore>> {
    Ok(Arc::new(EtcdStore::new(EtcdConfig::new(cluster.endpoints()))?))
}

#[test]
fn three_etcds_conform() -> Result<()> {
    if !have_root("three_etcds_conform") {
        return Ok(());
    }
    let mut lab = Lab::new("etcd")?;
    let cluster = Cluster::start(&mut lab)?;
    at_client(&cluster, || async {
        let rig = Etcd { cluster: &cluster, store: store(&cluster)? };
        conformance::run(&rig).await;
        // What other tools of that layout find.
        let pool =
            r#"{"apiVersion":"projectcalico.org/v3","kind":"IPPool","metadata":{"name":"a"}}"#;
        rig.store.commit(put(Key::cluster(Kind::IpPool, "a"), pool), &actor()).await?;
        Ok(())
    })?;
    let raw = cluster.call(
        "/v3/kv/range",
        // /calico/resources/v3/projectcalico.org/ippools/a
        "{\"key\":\"L2NhbGljby9yZXNvdXJjZXMvdjMvcHJvamVjdGNhbGljby5vcmcvaXBwb29scy9h\"}",
    )?;
    ensure!(raw.contains("\"count\":\"1\""), "{raw}");
    Ok(())
}

#[test]
fn a_list_of_large_values_arrives_over_a_slow_link() -> Result<()> {
    if !have_root("a_list_of_large_values_arrives_over_a_slow_link") {
        return Ok(());
    }
    let mut lab = Lab::new("etcd-slow")?;
    let cluster = Cluster::start_one(&mut lab)?;
    at_client(&cluster, || async {
        let store = store(&cluster)?;
        // 1000 of 48 KiB: at once they would be three seconds on the way, twice a member's share.
        let text = "x".repeat(48 * 1024);
        for number in 0..1000 {
            let (high, low) = (number / 256, number % 256);
            let key = Key::Block(format!("10.{high}.{low}.0/26").parse()?);
            store.commit(put(key, &text), &actor()).await?;
        }
        cluster.slow("128mbit")?;
        let (entries, _) = list_all(&*store, &Area::Blocks).await?;
        ensure!(entries.len() == 1000, "{} entries", entries.len());
        Ok(())
    })
}

/// What somebody who counts up has been told.
#[derive(Debug, Default)]
struct Told {
    /// The last count that was answered.
    count: u64,
    /// The longest time without an answer.
    gap: Duration,
}

/// Counts up under `key` until `stop`, noting every answer; reads again after each that is lost.
async fn count_up(store: &dyn Store, key: &Key, stop: &tokio::sync::watch::Receiver<bool>) -> Told {
    let mut told = Told::default();
    let mut last = Instant::now();
    while !*stop.borrow() {
        let Ok(before) = store.get(key).await else { continue };
        let count = before
            .as_ref()
            .and_then(|value| std::str::from_utf8(&value.value).ok()?.parse::<u64>().ok())
            .unwrap_or(0);
        assert!(count >= told.count, "{count} is there, {} was answered", told.count);
        let value = Bytes::from((count + 1).to_string());
        let txn = match before {
            Some(before) => Txn::update(key.clone(), before.revision, value, vec![]),
            None => Txn::create(key.clone(), value, vec![]),
        };
        match store.commit(txn, &actor()).await {
            Ok(Outcome::Committed(_)) => {
                told.count = count + 1;
                told.gap = told.gap.max(last.elapsed());
                last = Instant::now();
            }
            Ok(Outcome::Conflict(conflict)) => panic!("nobody else counts: {conflict:?}"),
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
    told
}

#[test]
fn members_are_lost_one_by_one_and_nothing_else_is() -> Result<()> {
    if !have_root("members_are_lost_one_by_one_and_nothing_else_is") {
        return Ok(());
    }
    let mut lab = Lab::new("etcd-loss")?;
    let mut cluster = Cluster::start(&mut lab)?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let endpoints = cluster.endpoints();
    let client = cluster.client().clone();
    let counting = std::thread::spawn(move || {
        client.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let store = EtcdStore::new(EtcdConfig::new(endpoints))?;
                let mut watch = store.watch(&Area::Blocks, Revision(1)).await?;
                let told = count_up(&store, &block(1), &stopped).await;
                // The watch has come through all of it.
                let mut last = 0;
                while last < told.count {
                    let batch = tokio::time::timeout(SOON, watch.next()).await??;
                    for change in batch.changes {
                        let value = change.value.map(|value| value.value).unwrap_or_default();
                        last = std::str::from_utf8(&value)?.parse()?;
                    }
                }
                Ok(told)
            })
        })
    });
    for number in 0..3 {
        cluster.kill(number)?;
        std::thread::sleep(Duration::from_secs(3));
        cluster.start_member(number)?;
        until("three members again", SOON, || Ok(cluster.healthy() == 3))?;
    }
    for _ in 0..2 {
        let mut leader = None;
        until("a leader", SOON, || {
            leader = cluster.leader();
            Ok(leader.is_some())
        })?;
        let leader = leader.unwrap_or_default();
        cluster.cut(leader, Wire::Cut)?;
        std::thread::sleep(Duration::from_secs(5));
        cluster.cut(leader, Wire::Whole)?;
        until("three members again", SOON, || Ok(cluster.healthy() == 3))?;
    }
    stop.send(true)?;
    let told = counting.join().map_err(|_| anyhow::anyhow!("the counting failed"))??;
    println!("counted to {}, at most {:?} between two answers", told.count, told.gap);
    ensure!(told.count > 100, "{told:?}");
    ensure!(told.gap < Duration::from_secs(10), "{told:?}");
    Ok(())
}

#[test]
fn without_a_majority_everything_fails_in_time_and_comes_back() -> Result<()> {
    if !have_root("without_a_majority_everything_fails_in_time_and_comes_back") {
        return Ok(());
    }
    let mut lab = Lab::new("etcd-away")?;
    let mut cluster = Cluster::start(&mut lab)?;
    let client = cluster.client().clone();
    let endpoints = cluster.endpoints();
    client.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (store, mut watch) = runtime.block_on(async {
            let store = EtcdStore::new(EtcdConfig::new(endpoints))?;
            store.commit(put(block(1), "a"), &actor()).await?;
            let watch = store.watch(&Area::Blocks, store.status().revision).await?;
            anyhow::Ok((store, watch))
        })?;
        ensure!(store.status().connected);
        runtime.block_on(current(&mut watch)).context("at first")?;
        cluster.kill(0)?;
        cluster.kill(1)?;
        runtime.block_on(async {
            for key in [block(1), block(2)] {
                let start = Instant::now();
                let error = store.commit(put(key, "b"), &actor()).await.expect_err("no majority");
                ensure!(error.is_transient(), "{error}");
                ensure!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
            }
            let error = store.get(&block(1)).await.expect_err("no majority");
            ensure!(matches!(error, StoreError::Unavailable { .. }), "{error}");
            // The member that is left answers, and knows that it knows nothing.
            tokio::time::sleep(Duration::from_secs(10)).await;
            let age = watch.pulse().as_of().map(|at| at.elapsed());
            ensure!(age > Some(Duration::from_secs(5)), "the watch is {age:?} old");
            Ok(())
        })?;
        ensure!(!store.status().connected && store.status().last_error.is_some());
        cluster.start_member(0)?;
        until("answers again", SOON, || {
            Ok(runtime.block_on(store.commit(put(block(3), "c"), &actor())).is_ok())
        })?;
        ensure!(store.status().connected, "{:?}", store.status());
        runtime.block_on(current(&mut watch)).context("after all")
    })
}

/// Waits until a watch is known to be current, though nothing changes.
async fn current(watch: &mut Watch) -> Result<()> {
    let begun = tokio::time::Instant::now();
    let pulse = watch.pulse();
    while pulse.as_of().is_none_or(|at| at < begun) {
        ensure!(
            begun.elapsed() < SOON,
            "the watch is not current: {:?}",
            pulse.as_of().map(|at| at.elapsed())
        );
        while watch.try_next().transpose()?.is_some() {}
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[test]
fn etcd_with_certificates_and_users_lets_in_who_has_them() -> Result<()> {
    if !have_root("etcd_with_certificates_and_users_lets_in_who_has_them") {
        return Ok(());
    }
    let mut lab = Lab::new("etcd-tls")?;
    let (cluster, files) = Cluster::start_with_tls(&mut lab)?;
    let tls = EtcdTls {
        ca: Some(fs::read(&files.ca)?),
        identity: Some((fs::read(&files.certificate)?, fs::read(&files.key)?)),
    };
    at_client(&cluster, || async {
        let with = EtcdConfig { tls: Some(tls.clone()), ..EtcdConfig::new(cluster.endpoints()) };
        let store = EtcdStore::new(with.clone())?;
        store.commit(put(block(1), "a"), &actor()).await?;
        ensure!(store.get(&block(1)).await?.is_some());
        // Users are of no account where etcd knows none.
        let user = Some(("root".to_owned(), "secret".to_owned()));
        let store = EtcdStore::new(EtcdConfig { user, ..with.clone() })?;
        ensure!(store.get(&block(1)).await?.is_some());
        for (what, tls) in [
            ("no certificate", EtcdTls { identity: None, ..tls.clone() }),
            ("no trust", EtcdTls { ca: None, ..tls.clone() }),
        ] {
            let store = EtcdStore::new(EtcdConfig { tls: Some(tls), ..with.clone() })?;
            let error = store.get(&block(1)).await.expect_err(what);
            println!("{what}: {error}");
            ensure!(matches!(error, StoreError::Unavailable { .. }), "{what}: {error}");
        }
        Ok(())
    })
}

#[test]
fn etcd_with_users_lets_in_who_knows_the_password() -> Result<()> {
    if !have_root("etcd_with_users_lets_in_who_knows_the_password") {
        return Ok(());
    }
    let mut lab = Lab::new("etcd-users")?;
    let cluster = Cluster::start(&mut lab)?;
    cluster.call("/v3/auth/user/add", r#"{"name":"root","password":"secret"}"#)?;
    cluster.call("/v3/auth/role/add", r#"{"name":"root"}"#)?;
    cluster.call("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#)?;
    cluster.call("/v3/auth/enable", "{}")?;
    at_client(&cluster, || async {
        let with = |user: Option<(&str, &str)>| {
            let user = user.map(|(name, password)| (name.to_owned(), password.to_owned()));
            EtcdStore::new(EtcdConfig { user, ..EtcdConfig::new(cluster.endpoints()) })
        };
        let store = with(Some(("root", "secret")))?;
        let mut watch = store.watch(&Area::Blocks, Revision(1)).await?;
        store.commit(put(block(1), "a"), &actor()).await?;
        ensure!(tokio::time::timeout(SOON, watch.next()).await??.changes.len() == 1);
        for user in [None, Some(("root", "wrong"))] {
            let error = with(user)?.get(&block(1)).await.expect_err("refused");
            ensure!(matches!(error, StoreError::Denied { .. }), "{user:?}: {error}");
        }
        Ok(())
    })
}

/// The process on the small disk: fills it, frees some of it, and goes on.
#[test]
fn worker_of_the_full_disk() -> Result<()> {
    let Ok(folder) = std::env::var("DATASTORE_FULL_DISK") else { return Ok(()) };
    let folder = Path::new(&folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let path = folder.join("store");
    runtime.block_on(async {
        let store = EmbeddedStore::open(&path)?;
        let ballast = folder.join("ballast");
        fs::write(&ballast, vec![1; 2 * 1024 * 1024])?;
        let text = "x".repeat(20_000);
        let mut kept = Vec::new();
        let mut refused = 0;
        for number in 0..=255 {
            match store.commit(put(block(number), &text), &actor()).await {
                Ok(_) => kept.push(block(number).path()),
                Err(error) => {
                    println!("{number}: {error}");
                    ensure!(matches!(error, StoreError::Full { .. }), "{error}");
                    refused += 1;
                    if refused == 3 {
                        break;
                    }
                }
            }
        }
        ensure!(refused == 3, "the disk was not full: {} fit", kept.len());
        ensure!(!store.status().connected && store.status().last_error.is_some());
        let listed = |store: &EmbeddedStore, entries: Vec<margay_datastore::Entry>| {
            let _ = store;
            entries.iter().map(|entry| entry.key.path()).collect::<Vec<_>>()
        };
        kept.sort();
        ensure!(listed(&store, list_all(&store, &Area::All).await?.0) == kept, "reads go on");
        // Room again: it goes on by itself.
        fs::remove_file(&ballast)?;
        store.commit(put(block(200), "small"), &actor()).await?;
        ensure!(store.status().connected);
        kept.push(block(200).path());
        kept.sort();
        drop(store);
        let store = EmbeddedStore::open(&path)?;
        ensure!(listed(&store, list_all(&store, &Area::All).await?.0) == kept, "after a start");
        println!("{} values kept", kept.len());
        Ok(())
    })
}

#[test]
fn a_full_disk_loses_nothing_and_is_got_over() -> Result<()> {
    if !have_root("a_full_disk_loses_nothing_and_is_got_over") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let script = "mount -t tmpfs -o size=6m none \"$DATASTORE_FULL_DISK\" && exec \"$0\" \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(std::env::current_exe()?)
        .args(["--exact", "worker_of_the_full_disk", "--nocapture"])
        .env("DATASTORE_FULL_DISK", folder.path())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.contains("values kept"), "{said}\n{errors}");
    println!("{said}");
    Ok(())
}
