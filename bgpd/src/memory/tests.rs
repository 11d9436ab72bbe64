use std::time::Instant;

use super::*;

fn etcd(endpoint: &str) -> Etcd {
    Etcd {
        endpoints: vec![endpoint.to_owned()],
        ca_file: None,
        client: None,
        user: None,
        prefix: "/calico".to_owned(),
    }
}

fn own() -> OwnAddresses {
    OwnAddresses {
        in_sync: true,
        blocks: ["10.0.0.0/26".parse().expect("a CIDR")].into(),
        borrowed: ["10.0.1.7".parse().expect("an address")].into(),
    }
}

fn node() -> Arc<str> {
    "{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"Node\",\"metadata\":{\"name\":\"a\"},\
     \"spec\":{\"bgp\":{\"ipv4Address\":\"10.0.0.1/24\",\"asNumber\":64512}}}"
        .into()
}

fn memory(dir: &Path) -> Memory {
    Memory::since(Some("boot".into()), dir, "a", &etcd("http://one:2379")).0
}

/// A process under this boot that keeps own blocks and a resource of node `a`.
struct Keeping {
    memory: Memory,
    writing: tokio::task::JoinHandle<()>,
    farewell: Farewell,
}

impl Keeping {
    fn new(dir: &Path) -> Self {
        let of = etcd("http://one:2379");
        let (memory, writer, farewell) = Memory::since(Some("boot".into()), dir, "a", &of);
        memory.keep_own(&own());
        memory.keep_resources([node()].iter());
        Self { memory, writing: tokio::spawn(writer), farewell }
    }

    async fn until(&self, what: &str, is: impl Fn(Option<Recalled>) -> bool) {
        let since = Instant::now();
        while !is(self.memory.recall()) {
            assert!(since.elapsed() < Duration::from_secs(60), "{what}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn crash(self) {
        self.writing.abort();
        // A write that is under way ends.
        let _ = self.writing.await;
    }
}

/// Keeps both, and crashes.
async fn kept(dir: &Path) {
    let keeping = Keeping::new(dir);
    keeping.until("it is written", is_whole).await;
    keeping.crash().await;
}

fn is_whole(recalled: Option<Recalled>) -> bool {
    recalled.is_some_and(|recalled| recalled.own.is_some() && recalled.resources.is_some())
}

/// Until when what is kept of addresses counts.
fn ours_until(dir: &Path) -> u64 {
    memory(dir).read::<Own>(OWN).expect("kept").ours_until
}

#[tokio::test]
async fn what_was_said_last_is_recalled_by_the_next_process() {
    let dir = tempfile::tempdir().expect("a folder");
    kept(dir.path()).await;
    let memory = memory(dir.path());
    let recalled = memory.recall_at(0).expect("kept");
    assert_eq!(recalled.own, Some(OwnAddresses { in_sync: false, ..own() }));
    let mut expected = Resources::default();
    expected.set(Resource::decode(node().as_bytes()).expect("valid"));
    assert_eq!(format!("{:?}", recalled.resources), format!("{:?}", Some(expected)));
}

#[tokio::test]
async fn another_boot_node_or_datastore_recalls_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    kept(dir.path()).await;
    for (boot, node, endpoint) in [
        (Some("later"), "a", "http://one:2379"),
        (None, "a", "http://one:2379"),
        (Some("boot"), "b", "http://one:2379"),
        (Some("boot"), "a", "http://two:2379"),
    ] {
        let boot = boot.map(str::to_owned);
        let (memory, ..) = Memory::since(boot, dir.path(), node, &etcd(endpoint));
        assert!(memory.recall().is_none(), "{node} at {endpoint}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_as_none() {
    let dir = tempfile::tempdir().expect("a folder");
    kept(dir.path()).await;
    let memory = memory(dir.path());
    fs::write(dir.path().join(RESOURCES), "{\"boot\":").expect("written");
    let recalled = memory.recall_at(0).expect("the blocks");
    assert!(recalled.resources.is_none() && recalled.own.is_some());
    fs::write(dir.path().join(OWN), "[]").expect("written");
    assert!(memory.recall().is_none());
}

#[tokio::test]
async fn own_addresses_that_another_node_may_have_by_now_are_not_recalled() {
    let dir = tempfile::tempdir().expect("a folder");
    let before = uptime(Duration::ZERO).expect("told");
    kept(dir.path()).await;
    let until = ours_until(dir.path());
    let after = uptime(Duration::ZERO).expect("told");
    let (least, most) = (before + 16_000, after + 16_000);
    assert!((least..=most).contains(&until), "{until} is a lease's end and its grace later");
    let memory = memory(dir.path());
    assert!(is_whole(memory.recall_at(until - 1)));
    let late = memory.recall_at(until).expect("the resources");
    assert!(late.own.is_none() && late.resources.is_some());
    // Of a version that did not say.
    let text = fs::read_to_string(dir.path().join(OWN)).expect("written");
    let text = text.replace(&format!(",\"ours_until\":{until}"), "");
    assert!(!text.contains("ours_until"), "{text}");
    fs::write(dir.path().join(OWN), text).expect("written");
    assert!(memory.recall_at(0).is_some_and(|recalled| recalled.own.is_none()));
}

#[tokio::test]
async fn own_addresses_are_renewed_while_they_are_gone_by() {
    let dir = tempfile::tempdir().expect("a folder");
    let keeping = Keeping::new(dir.path());
    keeping.until("it is written", is_whole).await;
    let first = ours_until(dir.path());
    keeping.until("it is renewed", |_| ours_until(dir.path()) > first).await;
    keeping.crash().await;
}

#[tokio::test]
async fn a_farewell_writes_what_still_waits_and_gives_the_lease_no_time_to_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let keeping = Keeping::new(dir.path());
    keeping.until("it is written", is_whole).await;
    // Another one comes within the pause.
    let other: Arc<str> = node().replace("\"a\"", "\"b\"").into();
    keeping.memory.keep_resources([node(), other].iter());
    let Keeping { memory, farewell, writing } = keeping;
    let before = Instant::now();
    farewell.say().await;
    let texts: Vec<String> = memory.read(RESOURCES).expect("kept");
    assert_eq!(texts.len(), 2, "after {:?}", before.elapsed());
    let now = uptime(Duration::ZERO).expect("told");
    assert!(ours_until(dir.path()) <= now + 10_000);
    writing.abort();
}

#[tokio::test]
async fn what_cannot_be_written_any_more_is_not_believed_and_tried_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let keeping = Keeping::new(dir.path());
    keeping.until("it is written", is_whole).await;
    let in_the_way = dir.path().join(OWN).with_extension("new");
    fs::create_dir(&in_the_way).expect("a folder");
    let gone = |recalled: Option<Recalled>| recalled.is_some_and(|recalled| recalled.own.is_none());
    keeping.until("what is old goes", gone).await;
    fs::remove_dir(&in_the_way).expect("empty");
    keeping.until("it is tried again", is_whole).await;
    keeping.crash().await;
}
