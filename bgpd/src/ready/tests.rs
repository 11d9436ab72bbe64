use std::{future::Future, time::Duration};

use margay_model::Kind;
use tokio::time::timeout;

use super::*;

const SOON: Duration = Duration::from_secs(60);

fn endpoint(name: &str) -> ResourceKey {
    ResourceKey { kind: Kind::WorkloadEndpoint, namespace: "shop".into(), name: name.into() }
}

struct Bench {
    ready: Ready,
    state_dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let state_dir = tempfile::tempdir().expect("a directory");
        Self { ready: Ready::new(state_dir.path()), state_dir }
    }

    async fn join(&self, name: &str) -> Reporter {
        self.ready.join(name).await.expect("room")
    }

    /// What a wait says that does not wait.
    async fn now(&self, name: &str, generation: u64) -> Result<Verdict, NotReady> {
        self.ready.wait(&endpoint(name), Revision(generation), Instant::now()).await
    }

    /// A wait under way.
    fn waits(&self, name: &str) -> impl Future<Output = Result<Verdict, NotReady>> + use<> {
        let (ready, endpoint) = (self.ready.clone(), endpoint(name));
        async move { ready.wait(&endpoint, Revision(1), Instant::now() + SOON).await }
    }
}

fn awaited(names: &[&str]) -> Result<Verdict, NotReady> {
    Err(NotReady::Awaited(names.iter().map(ToString::to_string).collect()))
}

#[tokio::test]
async fn nobody_is_waited_for_where_nobody_ever_enforced() {
    let bench = Bench::new();
    assert_eq!(bench.now("web", 1).await, Ok(Verdict::NobodyExpected));
    assert!(!bench.ready.is_away());
    let dataplane = bench.join("dataplane").await;
    assert!(!bench.ready.is_away());
    drop(dataplane);
    assert!(bench.ready.is_away(), "one was here");
}

#[tokio::test]
async fn an_endpoint_is_in_force_at_its_generation_and_at_earlier_ones() {
    let bench = Bench::new();
    let dataplane = bench.join("dataplane").await;
    assert_eq!(bench.now("web", 1).await, awaited(&["dataplane"]));
    dataplane.report(endpoint("web"), Some(Revision(7))).expect("taken");
    assert_eq!(bench.now("web", 7).await, Ok(Verdict::InForce));
    assert_eq!(bench.now("web", 6).await, Ok(Verdict::InForce));
    assert_eq!(bench.now("web", 8).await, awaited(&["dataplane"]), "written again since");
    assert_eq!(bench.now("db", 1).await, awaited(&["dataplane"]));
    dataplane.report(endpoint("web"), None).expect("taken");
    assert_eq!(bench.now("web", 7).await, awaited(&["dataplane"]), "taken back");
}

#[tokio::test]
async fn everybody_who_reports_is_waited_for() {
    let bench = Bench::new();
    let (one, two) = (bench.join("one").await, bench.join("two").await);
    one.report(endpoint("web"), Some(Revision(1))).expect("taken");
    assert_eq!(bench.now("web", 1).await, awaited(&["two"]));
    two.report(endpoint("web"), Some(Revision(2))).expect("taken");
    assert_eq!(bench.now("web", 1).await, Ok(Verdict::InForce));
    assert_eq!(bench.ready.counts(), [("one".into(), 1), ("two".into(), 1)]);
}

#[tokio::test]
async fn a_wait_ends_with_the_report_and_with_a_silent_subscriber_that_leaves() {
    let bench = Bench::new();
    let (one, two) = (bench.join("one").await, bench.join("two").await);
    let waits = tokio::spawn(bench.waits("web"));
    one.report(endpoint("web"), Some(Revision(1))).expect("taken");
    drop(two);
    let ended = timeout(SOON, waits).await.expect("in time").expect("no panic");
    assert_eq!(ended, Ok(Verdict::InForce));
}

#[tokio::test]
async fn what_was_reported_goes_with_its_stream_and_the_node_stays_closed() {
    let bench = Bench::new();
    let dataplane = bench.join("dataplane").await;
    dataplane.report(endpoint("web"), Some(Revision(1))).expect("taken");
    drop(dataplane);
    assert_eq!(bench.now("web", 1).await, Err(NotReady::Away));
    // The next life of the daemon knows it, too.
    let next = Ready::new(bench.state_dir.path());
    let verdict = next.wait(&endpoint("web"), Revision(1), Instant::now()).await;
    assert_eq!(verdict, Err(NotReady::Away));
}

#[tokio::test]
async fn a_subscriber_that_comes_again_begins_with_nothing_and_its_old_stream_counts_no_more() {
    let bench = Bench::new();
    let old = bench.join("dataplane").await;
    old.report(endpoint("web"), Some(Revision(1))).expect("taken");
    let new = bench.join("dataplane").await;
    assert_eq!(bench.now("web", 1).await, awaited(&["dataplane"]));
    assert_eq!(old.report(endpoint("web"), Some(Revision(1))), Err(Refused::Replaced));
    new.report(endpoint("web"), Some(Revision(1))).expect("taken");
    drop(old);
    assert_eq!(bench.now("web", 1).await, Ok(Verdict::InForce), "the old one took nothing along");
}

#[tokio::test]
async fn reports_are_bounded() {
    let bench = Bench::new();
    let dataplane = bench.join("0").await;
    for at in 0..MAX_ENDPOINTS {
        dataplane.report(endpoint(&at.to_string()), Some(Revision(1))).expect("room");
    }
    assert_eq!(dataplane.report(endpoint("web"), Some(Revision(1))), Err(Refused::Endpoints));
    dataplane.report(endpoint("0"), Some(Revision(2))).expect("known already");
    let mut others = Vec::new();
    for at in 1..MAX_SUBSCRIBERS {
        others.push(bench.join(&at.to_string()).await);
    }
    assert_eq!(bench.ready.join("more").await.err(), Some(Refused::Subscribers));
    drop(others);
    assert!(bench.ready.join("more").await.is_ok());
}

#[tokio::test]
async fn what_could_not_be_remembered_is_remembered_with_the_next_one_who_reports() {
    let bench = Bench::new();
    let expected = || Ready::new(bench.state_dir.path()).shared.lock().expected;
    let in_the_way = bench.state_dir.path().join(MARK).with_extension("new");
    std::fs::create_dir(&in_the_way).expect("in the way");
    let one = bench.join("one").await;
    assert!(!expected(), "the disk does not take it");
    assert_eq!(bench.now("web", 1).await, awaited(&["one"]), "it counts all the same");
    drop(one);
    assert_eq!(bench.now("web", 1).await, Err(NotReady::Away));
    std::fs::remove_dir(&in_the_way).expect("out of the way");
    drop(bench.join("one").await);
    assert!(expected());
}

#[tokio::test]
async fn a_caller_that_goes_away_while_the_mark_is_written_disturbs_nobody() {
    for _ in 0..50 {
        let bench = Bench::new();
        tokio::select! {
            biased;
            _ = bench.ready.join("one") => {}
            // It has begun to write, and goes away.
            () = std::future::ready(()) => {}
        }
        bench.ready.remember().await.expect("nobody else writes");
        let mark = std::fs::read_to_string(bench.state_dir.path().join(MARK)).expect("written");
        assert_eq!(mark, MARK_TEXT);
    }
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_looked_into_may_know_of_one() {
    let bench = Bench::new();
    let file = bench.state_dir.path().join("file");
    std::fs::write(&file, "").expect("written");
    let ready = Ready::new(&file);
    let verdict = ready.wait(&endpoint("web"), Revision(1), Instant::now()).await;
    assert_eq!(verdict, Err(NotReady::Away));
}
