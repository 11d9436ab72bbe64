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

/// Keeps own blocks and a resource of node `a` under this boot.
async fn kept(dir: &Path) {
    let (memory, writer) = Memory::since(Some("boot".into()), dir, "a", &etcd("http://one:2379"));
    let writing = tokio::spawn(writer);
    memory.keep_own(&own());
    memory.keep_resources([node()].iter());
    let since = Instant::now();
    while memory.recall().is_none_or(|recalled| recalled.resources.is_none()) {
        assert!(since.elapsed() < Duration::from_secs(60), "it is written");
        sleep(Duration::from_millis(5)).await;
    }
    writing.abort();
}

#[tokio::test]
async fn what_was_said_last_is_recalled_by_the_next_process() {
    let dir = tempfile::tempdir().expect("a folder");
    kept(dir.path()).await;
    let (memory, _) = Memory::since(Some("boot".into()), dir.path(), "a", &etcd("http://one:2379"));
    let recalled = memory.recall().expect("kept");
    assert_eq!(recalled.own, OwnAddresses { in_sync: false, ..own() });
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
        let (memory, _) = Memory::since(boot, dir.path(), node, &etcd(endpoint));
        assert!(memory.recall().is_none(), "{node} at {endpoint}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_as_none() {
    let dir = tempfile::tempdir().expect("a folder");
    kept(dir.path()).await;
    let (memory, _) = Memory::since(Some("boot".into()), dir.path(), "a", &etcd("http://one:2379"));
    fs::write(dir.path().join(RESOURCES), "{\"boot\":").expect("written");
    let recalled = memory.recall().expect("the blocks");
    assert!(recalled.resources.is_none() && recalled.own.blocks.len() == 1);
    fs::write(dir.path().join(OWN), "[]").expect("written");
    assert!(memory.recall().is_none());
}
