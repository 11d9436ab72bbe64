use std::sync::Arc;

use margay_datastore::MemStore;
use margay_model::{Actor, Area, Key, Kind, Revision, Txn, Versioned};

use super::*;
use crate::follow::Follow;

fn node(name: &str, address: &str) -> (Key, Versioned) {
    let text = format!(
        "{{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"Node\",\"metadata\":{{\"name\":\
         \"{name}\"}},\"spec\":{{\"bgp\":{{\"ipv4Address\":\"{address}/24\"}}}}}}"
    );
    (Key::cluster(Kind::Node, name), Versioned { value: text.into(), revision: Revision(1) })
}

fn cluster(mirror: &Mirror, secrets: &Path) -> (watch::Sender<OwnAddresses>, Cluster) {
    let (sender, own) = watch::channel(OwnAddresses { in_sync: true, ..OwnAddresses::default() });
    (sender, Cluster::new("a".into(), secrets.to_path_buf(), Some((mirror, own))))
}

fn peers(cluster: &Cluster) -> Vec<String> {
    let file = Desired::default();
    let merged = cluster.merge(&file, None, &file).merged.desired;
    merged.peers().iter().map(|peer| peer.name.clone()).collect()
}

#[tokio::test]
async fn half_a_list_of_resources_is_no_cluster() {
    let mirror = Mirror::new();
    let (_blocks, mut cluster) = cluster(&mirror, Path::new("/nowhere"));
    cluster.take(vec![News::Reset]);
    let (_, versioned) = node("a", "10.0.0.1");
    let text = std::str::from_utf8(&versioned.value).expect("UTF-8").into();
    let known = crate::mirror::Mirrored { text, revision: Revision(1) };
    assert!(!cluster.take(vec![News::Resource(known.clone())]));
    assert!(!cluster.in_sync());
    assert!(
        cluster.merge(&Desired::default(), None, &Desired::default()).merged.desired.bgp.is_none()
    );
    assert!(cluster.take(vec![News::InSync(Revision(1))]));
    assert!(cluster.in_sync());
    assert!(
        cluster.merge(&Desired::default(), None, &Desired::default()).merged.desired.bgp.is_some()
    );
    // The same again is nothing new.
    assert!(!cluster.take(vec![News::Resource(known)]));
}

#[tokio::test]
async fn a_change_of_a_node_is_heard_once() {
    let store = Arc::new(MemStore::new());
    let mirror = Mirror::new();
    let follow = Follow::new(store.clone(), Area::Resources);
    tokio::spawn(mirror.clone().follow(Box::new(follow)));
    let (_blocks, mut cluster) = cluster(&mirror, Path::new("/nowhere"));
    cluster.hear(Duration::from_secs(60)).await;
    assert!(cluster.in_sync());
    let actor = Actor { component: "test".into(), node: "a".into(), user: None };
    for (name, address) in [("a", "10.0.0.1"), ("b", "10.0.0.2")] {
        let (key, value) = node(name, address);
        let txn = Txn::create(key, value.value, Vec::new());
        margay_datastore::Store::commit(store.as_ref(), txn, &actor).await.expect("committed");
        cluster.changed().await;
    }
    assert_eq!(peers(&cluster), ["Mesh_10_0_0_2"]);
    assert!(timeout(Duration::from_millis(50), cluster.changed()).await.is_err());
}

#[tokio::test]
async fn own_blocks_and_secrets_are_followed_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let mirror = Mirror::new();
    let (own, mut cluster) = cluster(&mirror, dir.path());
    mirror.replace(Vec::new(), Revision(1));
    cluster.hear(Duration::from_secs(60)).await;
    own.send_modify(|own| {
        own.blocks.insert("10.1.0.0/26".parse().expect("a CIDR"));
    });
    cluster.changed().await;
    let password = "{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"BGPPeer\",\"metadata\":\
                    {\"name\":\"p\"},\"spec\":{\"peerIP\":\"10.0.0.9\",\"asNumber\":65000,\
                    \"password\":{\"secretKeyRef\":{\"name\":\"bgp\",\"key\":\"tor\"}}}}";
    cluster.resources.set(Resource::decode(password.as_bytes()).expect("valid"));
    let (_, own) = node("a", "10.0.0.1");
    cluster.resources.set(Resource::decode(&own.value).expect("valid"));
    let merge = cluster.merge(&Desired::default(), None, &Desired::default());
    let peer = merge.merged.desired.peers().first().cloned().expect("a peer");
    assert!(peer.password_error.is_some());
    cluster.settle(merge);
    assert_eq!(cluster.remarks().len(), 1);
    fs::create_dir(dir.path().join("bgp")).expect("a folder");
    fs::write(dir.path().join("bgp/tor"), "hush\n").expect("written");
    cluster.changed().await;
    let merge = cluster.merge(&Desired::default(), None, &Desired::default());
    assert!(merge.merged.desired.peers().iter().all(|peer| peer.password.is_some()));
    cluster.settle(merge);
    assert!(cluster.remarks().is_empty());
}

#[test]
fn a_secret_lies_in_its_folder_and_nowhere_else() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("outside"), "x").expect("written");
    fs::create_dir(dir.path().join("secrets")).expect("a folder");
    let secrets = dir.path().join("secrets");
    for (name, key) in
        [("..", "outside"), ("a", "../../outside"), ("", "x"), ("a/", "x"), (".", "x")]
    {
        let key = SecretRef { name: name.into(), key: key.into() };
        let kind = read(&secrets, &key).expect_err("refused").kind();
        assert_eq!(kind, io::ErrorKind::InvalidInput, "{key}");
    }
}

#[tokio::test]
async fn before_its_blocks_are_known_a_node_is_not_in_sync() {
    let mirror = Mirror::new();
    let (own, mut cluster) = cluster(&mirror, Path::new("/nowhere"));
    own.send_modify(|own| own.in_sync = false);
    mirror.replace(Vec::new(), Revision(1));
    cluster.hear(Duration::from_millis(50)).await;
    assert!(!cluster.in_sync());
    own.send_modify(|own| own.in_sync = true);
    cluster.changed().await;
    assert!(cluster.in_sync());
}

#[tokio::test]
async fn endpoints_of_other_nodes_are_left_out() {
    let mirror = Mirror::new();
    let (_blocks, mut cluster) = cluster(&mirror, Path::new("/nowhere"));
    let endpoint = |node: &str| {
        let text = format!(
            "{{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"WorkloadEndpoint\",\"metadata\":\
             {{\"name\":\"{node}-k8s-vm-eth0\",\"namespace\":\"default\"}},\"spec\":{{\"node\":\
             \"{node}\",\"orchestrator\":\"k8s\",\"pod\":\"vm\",\"endpoint\":\"eth0\",\
             \"interfaceName\":\"cali0\",\"ipNetworks\":[\"10.1.0.5/32\"]}}}}"
        );
        News::Resource(crate::mirror::Mirrored { text: text.into(), revision: Revision(1) })
    };
    cluster.take(vec![News::Reset, endpoint("a"), endpoint("b"), News::InSync(Revision(1))]);
    let of = |cluster: &Cluster, node: &str| cluster.resources.workloads(node).count();
    assert_eq!((of(&cluster, "a"), of(&cluster, "b")), (1, 0));
}

#[tokio::test]
async fn while_the_datastore_is_away_a_start_goes_by_what_was_said_last() {
    let dir = tempfile::tempdir().expect("a folder");
    let etcd = bgp_desired::Etcd {
        endpoints: vec!["http://one:2379".into()],
        ca_file: None,
        client: None,
        user: None,
        prefix: "/calico".into(),
    };
    let memory = || Memory::new(dir.path(), "a", &etcd);
    let block: ipnet::IpNet = "10.1.0.0/26".parse().expect("a CIDR");
    let originated = |cluster: &Cluster| {
        let merged = cluster.merge(&Desired::default(), None, &Desired::default()).merged.desired;
        let originations = merged.bgp.iter().flat_map(|bgp| &bgp.originate);
        originations.map(|origination| origination.prefix).collect::<Vec<_>>()
    };
    // The first process has heard all, and dies.
    {
        let mirror = Mirror::new();
        let (own, mut cluster) = cluster(&mirror, Path::new("/nowhere"));
        let (kept, writer, _farewell) = memory();
        let writing = tokio::spawn(writer);
        cluster.remember(kept);
        let texts = ["a", "b"].map(|name| node(name, &format!("10.0.0.{}", name.len())).1);
        let told = texts.into_iter().map(|versioned| {
            let text = std::str::from_utf8(&versioned.value).expect("UTF-8").into();
            News::Resource(crate::mirror::Mirrored { text, revision: Revision(1) })
        });
        cluster.take(told.chain([News::InSync(Revision(1))]).collect());
        own.send_modify(|own| {
            own.blocks.insert(block);
        });
        let merge = cluster.merge(&Desired::default(), None, &Desired::default());
        cluster.settle(merge);
        let since = std::time::Instant::now();
        while memory().0.recall().is_none_or(|recalled| recalled.resources.is_none()) {
            assert!(since.elapsed() < Duration::from_secs(60), "it is kept");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        writing.abort();
    }
    // The second one hears nothing.
    let mirror = Mirror::new();
    let (own, mut cluster) = cluster(&mirror, Path::new("/nowhere"));
    own.send_modify(|own| own.in_sync = false);
    cluster.remember(memory().0);
    assert_eq!(cluster.known(), Knowledge::Part);
    cluster.hear(Duration::from_millis(1)).await;
    assert!(!cluster.in_sync());
    assert_eq!(cluster.known(), Knowledge::Remembered);
    assert_eq!(originated(&cluster), [block]);
    // The datastore is right about everything once it answers.
    cluster.take(vec![News::Reset]);
    assert_eq!(originated(&cluster), [block], "half a list is none");
    mirror.replace(Vec::new(), Revision(2));
    cluster.take(vec![News::InSync(Revision(2))]);
    own.send_modify(|own| own.in_sync = true);
    assert_eq!(cluster.known(), Knowledge::All);
    assert!(originated(&cluster).is_empty());
}

#[tokio::test]
async fn blocks_that_may_be_another_nodes_by_now_are_not_announced_and_that_is_said() {
    let dir = tempfile::tempdir().expect("a folder");
    let etcd = bgp_desired::Etcd {
        endpoints: vec!["http://one:2379".into()],
        ca_file: None,
        client: None,
        user: None,
        prefix: "/calico".into(),
    };
    let block: ipnet::IpNet = "10.1.0.0/26".parse().expect("a CIDR");
    let (kept, writer, farewell) = Memory::new(dir.path(), "a", &etcd);
    let writing = tokio::spawn(writer);
    kept.keep_own(&OwnAddresses { in_sync: true, blocks: [block].into(), ..Default::default() });
    kept.keep_resources([].iter());
    farewell.say().await;
    writing.abort();
    // As after a long time.
    let path = dir.path().join("last-own.json");
    let text = fs::read_to_string(&path).expect("kept");
    let (before, _) = text.split_once(",\"ours_until\":").expect("it says until when");
    fs::write(&path, format!("{before},\"ours_until\":1}}}}")).expect("written");

    let mirror = Mirror::new();
    let (own, mut cluster) = cluster(&mirror, Path::new("/nowhere"));
    own.send_modify(|own| own.in_sync = false);
    cluster.remember(Memory::new(dir.path(), "a", &etcd).0);
    cluster.hear(Duration::from_millis(1)).await;
    assert_eq!(cluster.known(), Knowledge::Remembered, "the peers are as they were");
    let merge = |cluster: &Cluster| cluster.merge(&Desired::default(), None, &Desired::default());
    let merged = merge(&cluster).merged;
    assert!(merged.desired.bgp.iter().all(|bgp| bgp.originate.is_empty()));
    let remarks: Vec<_> = merged.remarks.iter().map(ToString::to_string).collect();
    assert!(remarks.iter().any(|remark| remark.contains("another's by now")), "{remarks:?}");
    // The datastore says what is ours.
    own.send_modify(|own| {
        own.in_sync = true;
        own.blocks.insert(block);
    });
    let merged = merge(&cluster).merged;
    assert!(merged.remarks.is_empty());
}
