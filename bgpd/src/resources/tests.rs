use std::time::Duration;

use margay_datastore::{
    Lease, MemStore, Page,
    faults::{Call, Fault},
};
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::*;

/// The cluster of a test, asked synchronously.
pub(super) struct Bench {
    pub(super) resources: Resources,
    pub(super) store: MemStore,
    pub(super) runtime: tokio::runtime::Runtime,
}

impl Bench {
    pub(super) fn new() -> Self {
        let store = MemStore::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        Self { resources: resources(&store, "first"), store, runtime }
    }

    pub(super) fn write(
        &self,
        mode: WriteMode,
        objects: &[Value],
    ) -> Result<Vec<(WriteOutcome, Value)>, ResourceError> {
        self.write_with(mode, objects, false)
    }

    fn write_with(
        &self,
        mode: WriteMode,
        objects: &[Value],
        dry_run: bool,
    ) -> Result<Vec<(WriteOutcome, Value)>, ResourceError> {
        let resources =
            objects.iter().map(|o| read(&o.to_string(), false)).collect::<Result<Vec<_>, _>>()?;
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let options = WriteOptions { mode, dry_run, now };
        let written = self.runtime.block_on(self.resources.write(resources, &options, &actor()))?;
        let parsed = |(outcome, text): (WriteOutcome, String)| {
            (outcome, serde_json::from_str(&text).expect("JSON"))
        };
        Ok(written.into_iter().map(parsed).collect())
    }

    /// What another tool put there, resource or not.
    fn put(&self, key: Key, text: &str) {
        let txn = Txn::create(key, text.to_owned().into(), Vec::new());
        self.store.commit_now(txn, &actor()).expect("a commit");
    }

    fn delete(&self, key: &Key) -> Result<String, ResourceError> {
        self.runtime.block_on(self.resources.delete(key, None, &actor()))
    }

    pub(super) fn get(&self, key: &Key) -> Result<Value, ResourceError> {
        let text = self.runtime.block_on(self.resources.get(key))?;
        Ok(serde_json::from_str(&text).expect("JSON"))
    }
}

/// What the daemon of node `n1` writes in one of its lives.
pub(super) fn resources(store: &MemStore, instance: &str) -> Resources {
    Resources::new(Arc::new(store.clone()), Author::new("n1", instance))
}

pub(super) fn actor() -> Actor {
    Actor { component: "test".into(), node: "n1".into(), user: None }
}

fn pool(name: &str, cidr: &str) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "IPPool",
        "metadata": { "name": name },
        "spec": { "cidr": cidr },
    })
}

pub(super) fn policy(name: &str, tier: &str) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "NetworkPolicy",
        "metadata": { "name": name, "namespace": "prod" },
        "spec": { "tier": tier, "selector": "all()" },
    })
}

pub(super) fn tier(name: &str) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "Tier",
        "metadata": { "name": name },
        "spec": { "order": 10 },
    })
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, ResourceError>, part: &str) {
    let error = result.expect_err("a refusal").to_string();
    assert!(error.contains(part), "no {part:?} in {error:?}");
}

#[test]
fn a_new_resource_gets_a_uid_a_time_and_a_revision() {
    let bench = Bench::new();
    let written = bench.write(WriteMode::Apply, &[pool("a", "10.0.0.0/16")]).expect("written");
    let (outcome, object) = written.first().expect("one");
    assert_eq!(*outcome, WriteOutcome::Created);
    let metadata = &object["metadata"];
    assert_eq!(metadata["uid"].as_str().map(str::len), Some(36), "{metadata}");
    assert_eq!(metadata["creationTimestamp"], "2023-11-14T22:13:20Z");
    assert_eq!(metadata["resourceVersion"], "1");
    assert_eq!(object["spec"]["blockSize"], 26, "defaults are stored");
    assert_eq!(bench.get(&Key::cluster(Kind::IpPool, "a")).expect("it is there"), *object);
}

#[test]
fn writing_the_same_again_changes_nothing() {
    let bench = Bench::new();
    bench.write(WriteMode::Apply, &[pool("a", "10.0.0.0/16")]).expect("written");
    let again = bench.write(WriteMode::Apply, &[pool("a", "10.0.0.0/16")]).expect("written");
    let (outcome, object) = again.first().expect("one");
    assert_eq!(*outcome, WriteOutcome::Unchanged);
    assert_eq!(object["metadata"]["resourceVersion"], "1");
}

#[test]
fn a_replacement_keeps_what_is_the_stores_and_takes_the_rest() {
    let bench = Bench::new();
    let mut first = pool("a", "10.0.0.0/16");
    first["metadata"]["labels"] = json!({ "old": "1", "kept": "1" });
    let before = bench.write(WriteMode::Create, &[first]).expect("written");
    let mut second = pool("a", "10.0.0.0/16");
    second["metadata"]["labels"] = json!({ "kept": "2" });
    second["metadata"]["uid"] = json!("0b1a2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d");
    second["spec"]["natOutgoing"] = json!(true);
    let after = bench.write(WriteMode::Replace, &[second]).expect("written");
    let ((_, before), (outcome, after)) =
        (before.first().expect("one"), after.first().expect("one"));
    assert_eq!(*outcome, WriteOutcome::Replaced);
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["metadata"]["creationTimestamp"], before["metadata"]["creationTimestamp"]);
    assert_eq!(after["metadata"]["labels"], json!({ "kept": "2" }));
    assert_eq!(after["spec"]["natOutgoing"], true);
}

#[test]
fn modes_mean_what_they_say() {
    let bench = Bench::new();
    let a = [pool("a", "10.0.0.0/16")];
    refused(bench.write(WriteMode::Replace, &a), "does not exist");
    bench.write(WriteMode::Create, &a).expect("written");
    refused(bench.write(WriteMode::Create, &a), "already exists");
    bench.delete(&Key::cluster(Kind::IpPool, "a")).expect("deleted");
    refused(bench.delete(&Key::cluster(Kind::IpPool, "a")), "does not exist");
}

#[test]
fn a_revision_that_is_not_the_stored_one_is_a_conflict() {
    let bench = Bench::new();
    bench.write(WriteMode::Create, &[pool("a", "10.0.0.0/16")]).expect("written");
    let mut changed = pool("a", "10.0.0.0/16");
    changed["spec"]["disabled"] = json!(true);
    changed["metadata"]["resourceVersion"] = json!("7");
    refused(bench.write(WriteMode::Apply, &[changed.clone()]), "update conflict");
    changed["metadata"]["resourceVersion"] = json!("1");
    bench.write(WriteMode::Apply, &[changed]).expect("written");
    let mut new = pool("b", "10.1.0.0/16");
    new["metadata"]["resourceVersion"] = json!("1");
    refused(bench.write(WriteMode::Apply, &[new]), "resourceVersion must be empty");
}

#[test]
fn the_revision_of_another_resource_of_one_transaction_is_not_enough() {
    let bench = Bench::new();
    let mut written = bench.write(WriteMode::Apply, &[set("a", 1), set("b", 2)]).expect("both");
    let mut renamed = written.remove(0).1;
    renamed["metadata"]["name"] = "b".into();
    for mode in [WriteMode::Replace, WriteMode::Apply] {
        let refused = bench.write(mode, &[renamed.clone()]);
        assert!(matches!(refused, Err(ResourceError::Changed(_))), "{refused:?}");
    }
    let kept = bench.get(&Key::cluster(Kind::GlobalNetworkSet, "b")).expect("there");
    assert_eq!(kept, written.remove(0).1);
    // Without a revision it says what is to be there, whatever was copied.
    renamed["metadata"]["resourceVersion"].take();
    bench.write(WriteMode::Apply, &[renamed]).expect("written");
}

#[test]
fn nothing_is_written_when_one_of_many_is_wrong() {
    let bench = Bench::new();
    let objects = [pool("a", "10.0.0.0/16"), policy("web", "no-such-tier")];
    refused(bench.write(WriteMode::Apply, &objects), "no-such-tier");
    refused(bench.get(&Key::cluster(Kind::IpPool, "a")), "does not exist");
    let twice = [pool("a", "10.0.0.0/16"), pool("a", "10.0.0.0/16")];
    refused(bench.write(WriteMode::Apply, &twice), "twice");
}

#[test]
fn a_dry_run_writes_nothing_and_tells_the_same() {
    let bench = Bench::new();
    let told = bench.write_with(WriteMode::Apply, &[pool("a", "10.0.0.0/16")], true).expect("told");
    assert_eq!(told.first().map(|(outcome, _)| *outcome), Some(WriteOutcome::Created));
    refused(bench.get(&Key::cluster(Kind::IpPool, "a")), "does not exist");
}

#[test]
fn pools_do_not_overlap_not_even_within_one_request() {
    let bench = Bench::new();
    let both = [pool("a", "10.0.0.0/16"), pool("b", "10.0.128.0/17")];
    refused(bench.write(WriteMode::Apply, &both), "overlaps");
    bench.write(WriteMode::Apply, &[pool("a", "10.0.0.0/16")]).expect("written");
    refused(bench.write(WriteMode::Apply, &[pool("b", "10.0.0.0/8")]), "overlaps");
    bench.write(WriteMode::Apply, &[pool("b", "10.1.0.0/16")]).expect("written");
    // One that came past the rules, and the one beside it, can be disabled.
    bench.put(Key::cluster(Kind::IpPool, "c"), &pool("c", "10.1.4.0/24").to_string());
    for (name, cidr) in [("b", "10.1.0.0/16"), ("c", "10.1.4.0/24")] {
        let mut changed = pool(name, cidr);
        changed["spec"]["disabled"] = json!(true);
        bench.write(WriteMode::Apply, &[changed]).expect("disabled");
    }
}

#[test]
fn all_rules_that_do_not_hold_are_told_with_their_fields() {
    let bench = Bench::new();
    bench.write(WriteMode::Create, &[pool("a", "10.0.0.0/16")]).expect("written");
    let mut fixed = pool("a", "10.1.0.0/16");
    fixed["spec"]["blockSize"] = 28.into();
    let peer = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "BGPPeer", "metadata": {"name": "tor"},
        "spec": {"peerIP": "10.0.0.1", "asNumber": 65000, "filters": ["one", "two"]},
    });
    let objects = [tier("fine"), policy("web", "gone"), peer, pool("b", "10.0.0.0/8"), fixed];
    let error = bench.write(WriteMode::Apply, &objects).expect_err("refused");
    let told = margay_proto::error::violations(&error.into());
    let told: Vec<_> = told.iter().map(|(field, text)| format!("{field}: {text}")).collect();
    assert_eq!(
        told,
        [
            "objects[1].spec.tier: NetworkPolicy(prod/web) names tier \"gone\" in spec.tier, which \
             does not exist",
            "objects[2].spec.filters: BGPPeer(tor) names BGPFilter \"one\" in spec.filters, which \
             does not exist",
            "objects[2].spec.filters: BGPPeer(tor) names BGPFilter \"two\" in spec.filters, which \
             does not exist",
            "objects[3].spec.cidr: IPPool(b) overlaps in spec.cidr with 10.0.0.0/16 of the pool \
             \"a\"",
            "objects[4].spec.cidr: IPPool(a) has 10.1.0.0/16 in spec.cidr, which is fixed: it was \
             created with 10.0.0.0/16",
            "objects[4].spec.blockSize: IPPool(a) has 28 in spec.blockSize, which is fixed: it was \
             created with 26",
        ]
    );
    assert!(bench.get(&Key::cluster(Kind::Tier, "fine")).is_err(), "nothing is written");
}

/// What an answer says of each object, and the code.
fn told(error: ResourceError) -> (Code, Vec<String>) {
    let status = Status::from(error);
    let told = margay_proto::error::violations(&status);
    let told = told.iter().map(|(field, text)| format!("{field}: {text}"));
    (status.code(), told.collect())
}

#[test]
fn what_is_there_or_is_not_is_told_with_all_else_that_is_wrong() {
    let bench = Bench::new();
    let stored = [pool("a", "10.0.0.0/16"), pool("b", "10.1.0.0/16")];
    let mut written = bench.write(WriteMode::Create, &stored).expect("written");
    let mut old = written.remove(0).1;
    old["metadata"]["resourceVersion"] = "999".into();
    let wrong = policy("web", "gone");
    let policy = "objects[2].spec.tier: NetworkPolicy(prod/web) names tier \"gone\" in spec.tier, \
                  which does not exist";

    let all = [pool("a", "10.0.0.0/16"), pool("b", "10.1.0.0/16"), wrong.clone()];
    let there = ["objects[0]: IPPool(a) already exists", "objects[1]: IPPool(b) already exists"];
    let created = bench.write(WriteMode::Create, &all).expect_err("refused");
    assert_eq!(
        told(created),
        (
            Code::InvalidArgument,
            [&there[..], &[policy]].concat().iter().map(ToString::to_string).collect()
        )
    );
    let created = bench.write(WriteMode::Create, &all[..2]).expect_err("refused");
    assert_eq!(told(created), (Code::AlreadyExists, there.map(String::from).to_vec()));
    let created = bench.write(WriteMode::Create, &all[..1]).expect_err("refused");
    assert!(matches!(created, ResourceError::AlreadyExists(_)), "{created:?}");

    let all = [pool("c", "10.2.0.0/16"), old, wrong];
    let replaced = bench.write(WriteMode::Replace, &all).expect_err("refused");
    let (code, told) = told(replaced);
    assert_eq!(code, Code::InvalidArgument);
    assert_eq!(
        told,
        [
            "objects[0]: IPPool(c) does not exist",
            "objects[1]: IPPool(a) was changed by somebody else",
            "objects[2]: NetworkPolicy(prod/web) does not exist",
            policy,
        ]
    );
}

#[test]
fn all_objects_that_cannot_be_read_are_told() {
    let mut odd = pool("a", "10.0.0.0/16");
    odd["spec"]["cidr"] = "10.0.0.0/33".into();
    odd["spec"]["ipipMode"] = "Odd".into();
    let texts = [odd.to_string(), tier("fine").to_string(), "{}\n---\n{}".into()];
    let (code, told) = told(read_all(&texts, false).expect_err("refused"));
    assert_eq!(code, Code::InvalidArgument);
    let fields: Vec<_> = told.iter().filter_map(|text| text.split(": ").next()).collect();
    let cidr = "objects[0].spec.cidr";
    assert_eq!(&fields[..2], [cidr, "objects[0].spec.ipipMode"], "{told:?}");
    assert!(fields[2..].iter().all(|field| field.starts_with("objects[2]")), "{told:?}");
    assert!(fields.len() > 2, "{told:?}");
}

#[test]
fn no_pool_is_written_beside_one_that_cannot_be_read() {
    let bench = Bench::new();
    bench.write(WriteMode::Apply, &[pool("a", "10.0.0.0/16")]).expect("written");
    bench.put(Key::cluster(Kind::IpPool, "odd"), &pool("odd", "10.1.0.0/33").to_string());
    let asked = [pool("b", "10.1.0.0/16")];
    refused(bench.write(WriteMode::Create, &asked), "IPPool(odd)");
    refused(bench.write(WriteMode::Apply, &asked), "delete that one first");
    let mut changed = pool("a", "10.0.0.0/16");
    changed["spec"]["disabled"] = json!(true);
    bench.write(WriteMode::Replace, &[changed]).expect("where it lies does not change");
    bench.write(WriteMode::Apply, &[tier("security")]).expect("other kinds do not mind");
}

#[test]
fn the_range_and_the_block_size_of_a_pool_are_fixed() {
    let bench = Bench::new();
    bench.write(WriteMode::Apply, &[pool("a", "10.0.0.0/16")]).expect("written");
    refused(
        bench.write(WriteMode::Apply, &[pool("a", "10.1.0.0/16")]),
        "spec.cidr, which is fixed",
    );
    let mut other = pool("a", "10.0.0.0/16");
    other["spec"]["blockSize"] = json!(28);
    refused(bench.write(WriteMode::Apply, &[other]), "spec.blockSize, which is fixed");
}

#[test]
fn a_pool_does_not_come_over_blocks_of_another_size() {
    let bench = Bench::new();
    let block = Key::Block("10.0.0.0/28".parse().expect("a network"));
    let txn = Txn::create(block, "{}".into(), Vec::new());
    bench.store.commit_now(txn, &actor()).expect("a commit");
    refused(bench.write(WriteMode::Create, &[pool("a", "10.0.0.0/16")]), "10.0.0.0/28");
    let mut fitting = pool("a", "10.0.0.0/16");
    fitting["spec"]["blockSize"] = json!(28);
    bench.write(WriteMode::Create, &[fitting]).expect("written");
}

#[test]
fn a_policy_needs_its_tier_and_a_tier_its_policies_gone() {
    let bench = Bench::new();
    bench.write(WriteMode::Apply, &[policy("web", "default")]).expect("built in");
    // In one request the tier may stand behind the policy.
    bench.write(WriteMode::Apply, &[policy("db", "security"), tier("security")]).expect("written");
    let security = Key::cluster(Kind::Tier, "security");
    refused(bench.delete(&security), "not empty");
    bench.delete(&Key::namespaced(Kind::NetworkPolicy, "prod", "db")).expect("deleted");
    bench.delete(&security).expect("deleted");
}

#[test]
fn what_is_about_a_node_alone_goes_with_it() {
    let bench = Bench::new();
    let cluster = |kind: &str, name: &str, spec: Value| {
        json!({"apiVersion": "projectcalico.org/v3", "kind": kind,
               "metadata": {"name": name}, "spec": spec})
    };
    let endpoint = |node: &str| {
        json!({"apiVersion": "projectcalico.org/v3", "kind": "WorkloadEndpoint",
               "metadata": {"name": format!("{node}-k8s-web-eth0"), "namespace": "prod"},
               "spec": {"node": node, "orchestrator": "k8s", "pod": "web", "endpoint": "eth0",
                        "interfaceName": "cali1", "ipNetworks": ["10.0.0.1/32"]}})
    };
    let peer = |name: &str, node: &str| {
        cluster("BGPPeer", name, json!({"peerIP": "192.0.2.1", "asNumber": 64512, "node": node}))
    };
    let host = |name: &str, node: &str| {
        cluster("HostEndpoint", name, json!({"node": node, "interfaceName": "eth0"}))
    };
    for node in ["n1", "n2"] {
        bench
            .write(
                WriteMode::Create,
                &[
                    cluster("Node", node, json!({})),
                    peer(&format!("to-{node}"), node),
                    host(&format!("of-{node}"), node),
                    cluster(
                        "BGPConfiguration",
                        &format!("node.{node}"),
                        json!({"prefixAdvertisements": []}),
                    ),
                    cluster("FelixConfiguration", &format!("node.{node}"), json!({})),
                    endpoint(node),
                ],
            )
            .expect("written");
    }
    let keys = |node: &str| {
        [
            Key::cluster(Kind::Node, node),
            Key::cluster(Kind::BgpPeer, format!("to-{node}")),
            Key::cluster(Kind::HostEndpoint, format!("of-{node}")),
            Key::cluster(Kind::BgpConfiguration, format!("node.{node}")),
            Key::cluster(Kind::FelixConfiguration, format!("node.{node}")),
            Key::namespaced(Kind::WorkloadEndpoint, "prod", format!("{node}-k8s-web-eth0")),
        ]
    };
    let there = |node: &str| keys(node).map(|key| bench.get(&key).is_ok());
    bench.delete(&Key::cluster(Kind::Node, "n1")).expect("deleted");
    assert_eq!((there("n1"), there("n2")), ([false; 6], [true; 6]));
    // Its daemon lives, and so do its workloads.
    let ttl = Duration::from_secs(60);
    let lease = Lease { node: "n2".to_owned(), holder: "first".to_owned(), ttl };
    bench.runtime.block_on(bench.store.keep_lease(&lease)).expect("its own");
    bench.delete(&Key::cluster(Kind::Node, "n2")).expect("deleted");
    assert_eq!(there("n2"), [false, false, false, false, false, true]);
}

#[test]
fn built_in_tiers_stay() {
    let bench = Bench::new();
    let mut default = tier("default");
    default["spec"]["order"] = json!(1_000_000);
    bench.write(WriteMode::Apply, &[default]).expect("written");
    refused(bench.delete(&Key::cluster(Kind::Tier, "default")), "always exists");
}

#[test]
fn what_always_exists_is_there_though_it_is_not_stored() {
    let bench = Bench::new();
    let tier = Key::cluster(Kind::Tier, "kube-admin");
    let profile = Key::cluster(Kind::Profile, "projectcalico-default-allow");
    assert_eq!(bench.get(&tier).expect("built in")["spec"]["order"], 1000);
    assert_eq!(bench.get(&profile).expect("built in")["spec"]["egress"][0]["action"], "Allow");
    refused(bench.delete(&tier), "always exists");
    refused(bench.delete(&profile), "always exists");
    refused(bench.delete(&Key::cluster(Kind::Tier, "other")), "does not exist");
    let listed = |kind| {
        let page = Page::default();
        bench.runtime.block_on(async {
            let first = bench
                .store
                .list(&margay_model::Area::Kind(kind, None), &page)
                .await
                .expect("a page");
            bench.resources.not_stored(kind, &first).await.expect("a list")
        })
    };
    assert_eq!((listed(Kind::Tier).len(), listed(Kind::Profile).len()), (3, 1));
    assert!(listed(Kind::IpPool).is_empty());
    // One that is read, changed and written back is stored from then on.
    let mut own = bench.get(&tier).expect("built in");
    own["metadata"]["labels"] = json!({"by": "us"});
    bench.write(WriteMode::Replace, &[own]).expect("it exists");
    assert_eq!(bench.get(&tier).expect("stored")["metadata"]["labels"]["by"], "us");
    assert_eq!(listed(Kind::Tier).len(), 2);
}

#[test]
fn a_peer_names_filters_that_exist() {
    let bench = Bench::new();
    let peer = json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "BGPPeer",
        "metadata": { "name": "tor" },
        "spec": { "peerIP": "10.0.0.1", "asNumber": 65000, "filters": ["only-pods"] },
    });
    let filter = json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "BGPFilter",
        "metadata": { "name": "only-pods" },
        "spec": {},
    });
    refused(bench.write(WriteMode::Apply, std::slice::from_ref(&peer)), "only-pods");
    bench.write(WriteMode::Apply, &[peer, filter]).expect("written");
}

#[test]
fn two_hundred_resources_are_written_though_a_transaction_takes_fewer() {
    let bench = Bench::new();
    let written = bench.write(WriteMode::Create, &pools(200)).expect("written");
    // What they can be taken back by, and the end of that, beside the two.
    assert_eq!((written.len(), bench.store.revision()), (200, Revision(4)));
    assert!(written.iter().all(|(outcome, _)| *outcome == WriteOutcome::Created));
}

fn unreadable_peer() -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "BGPPeer",
        "metadata": { "name": "tor", "uid": "0b1a2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d" },
        "spec": { "peerIP": "not-an-ip", "asNumber": 65000 },
    })
}

#[test]
fn what_cannot_be_read_is_deleted_and_shown_as_it_was() {
    let bench = Bench::new();
    let key = Key::cluster(Kind::BgpPeer, "tor");
    bench.put(key.clone(), &unreadable_peer().to_string());
    refused(bench.get(&key), "cannot be read");
    let last = bench.delete(&key).expect("deleted");
    let last: Value = serde_json::from_str(&last).expect("JSON");
    assert_eq!(last["spec"]["peerIP"], "not-an-ip");
    assert_eq!(last["metadata"]["resourceVersion"], "1");
    refused(bench.get(&key), "does not exist");
    let stored = Versioned { value: "no JSON at all".into(), revision: Revision(7) };
    let last: Value = serde_json::from_str(&super::last(&key, &stored)).expect("JSON");
    assert_eq!(last["unreadable"], "no JSON at all");
    assert_eq!((&last["kind"], &last["metadata"]["name"]), (&json!("BGPPeer"), &json!("tor")));
}

#[test]
fn what_cannot_be_read_is_written_over_with_a_uid_of_its_own() {
    let bench = Bench::new();
    let key = Key::cluster(Kind::BgpPeer, "tor");
    bench.put(key.clone(), &unreadable_peer().to_string());
    let mut peer = unreadable_peer();
    peer["spec"]["peerIP"] = json!("10.0.0.1");
    peer["metadata"] = json!({ "name": "tor" });
    refused(bench.write(WriteMode::Create, std::slice::from_ref(&peer)), "already exists");
    let mut stale = peer.clone();
    stale["metadata"]["resourceVersion"] = json!("7");
    refused(bench.write(WriteMode::Replace, &[stale]), "update conflict");
    let written = bench.write(WriteMode::Replace, &[peer]).expect("written");
    let (outcome, object) = written.first().expect("one");
    assert_eq!(*outcome, WriteOutcome::Replaced);
    let uid = object["metadata"]["uid"].as_str().expect("a uid");
    assert!(uid.len() == 36 && uid != "0b1a2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d", "{uid}");
    assert_eq!(bench.get(&key).expect("it is there")["spec"]["peerIP"], "10.0.0.1");
}

#[test]
fn a_list_names_what_it_leaves_out() {
    let bench = Bench::new();
    bench.write(WriteMode::Apply, &[pool("a", "10.0.0.0/16")]).expect("written");
    bench.put(Key::cluster(Kind::IpPool, "odd"), &pool("odd", "10.1.0.0/33").to_string());
    let area = margay_model::Area::Kind(Kind::IpPool, None);
    let store: &dyn Store = &bench.store;
    let (entries, _) =
        bench.runtime.block_on(margay_datastore::list_all(store, &area)).expect("a list");
    let (objects, warnings) = listed(&entries);
    assert_eq!(objects.len(), 1);
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(
        warning.starts_with("left out: IPPool(odd) in the datastore cannot be read"),
        "{warning}"
    );
}

fn set(name: &str, nets: u32) -> Value {
    let nets: Vec<_> =
        (0..nets).map(|n| format!("{}/32", std::net::Ipv4Addr::from(0x0a00_0000 + n))).collect();
    json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "GlobalNetworkSet",
        "metadata": { "name": name },
        "spec": { "nets": nets },
    })
}

pub(super) fn pools(count: usize) -> Vec<Value> {
    (0..count).map(|i| pool(&format!("p{i}"), &format!("10.{i}.0.0/16"))).collect()
}

#[test]
fn as_many_resources_as_a_transaction_takes_are_one() {
    let bench = Bench::new();
    bench.write(WriteMode::Create, &pools(126)).expect("written");
    assert_eq!(bench.store.revision(), Revision(1));
    let policies: Vec<_> = (0..42).map(|n| policy(&format!("security.p{n}"), "security")).collect();
    bench.write(WriteMode::Create, &[tier("security")]).expect("written");
    bench.write(WriteMode::Create, &policies).expect("written");
    assert_eq!(bench.store.revision(), Revision(3));
}

#[test]
fn one_that_is_too_large_keeps_all_from_being_written_dry_or_not() {
    let bench = Bench::new();
    let mut objects = pools(100);
    objects.push(set("huge", 80_000));
    for dry_run in [true, false] {
        let result = bench.write_with(WriteMode::Apply, &objects, dry_run);
        refused(result, "GlobalNetworkSet(huge) cannot be stored: octets of a value");
    }
    assert_eq!(bench.store.revision(), Revision(0));
}

#[test]
fn what_is_too_large_for_one_transaction_is_written_in_several() {
    let bench = Bench::new();
    let sets: Vec<_> = (0..10).map(|n| set(&format!("s{n}"), 10_000)).collect();
    let written = bench.write(WriteMode::Create, &sets).expect("written");
    assert_eq!((written.len(), bench.store.revision()), (10, Revision(4)));
}

#[test]
fn what_cannot_be_taken_back_at_once_is_later() {
    let away = "what was written before is taken back once the datastore answers";
    for (fault, most, told) in [
        (Fault::FailBefore, usize::MAX, away),
        (Fault::LoseAnswer, usize::MAX, away),
        // Only the answer to the third transaction is lost.
        (Fault::LoseAnswer, 3, "nothing of the request is left"),
    ] {
        let bench = Bench::new();
        let mut commits = 0;
        bench.store.set_script(move |call| {
            commits += usize::from(call.is_commit());
            let hit = commits > 3 || call.is_commit();
            (hit && (3..=most).contains(&commits)).then(|| fault.clone())
        });
        refused(bench.write(WriteMode::Create, &pools(250)), told);
        bench.store.set_script(|_| None);
        let there =
            || (0..250).any(|n| bench.get(&Key::cluster(Kind::IpPool, format!("p{n}"))).is_ok());
        assert_eq!(there(), told == away);
        let ledger = &bench.resources.ledger;
        bench.runtime.block_on(ledger.round(&actor())).expect("it answers again");
        assert!(!there());
    }
}

#[test]
fn what_others_have_built_on_stays_and_is_told() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let bench = Bench { runtime, ..Bench::new() };
    let mut objects = vec![policy("web", "default"), tier("new")];
    objects.extend((0..200).map(|n| policy(&format!("new.p{n}"), "new")));
    let mut commits = 0;
    let other = bench.store.clone();
    // Before the third transaction somebody puts a policy into the tier; the fourth fails.
    bench.store.set_script(move |call| {
        let Call::Commit(_, by) = call else { return None };
        commits += usize::from(**by == actor());
        if **by != actor() || commits != 3 {
            return (commits == 4).then_some(Fault::FailBefore);
        }
        let (theirs, other) = (policy("new.theirs", "new"), other.clone());
        std::thread::spawn(move || {
            let key = read(&theirs.to_string(), false).expect("one").key();
            let txn = Txn::create(key, theirs.to_string().into(), Vec::new());
            other
                .commit_now(txn, &Actor { component: "other".into(), ..actor() })
                .expect("a commit");
        });
        Some(Fault::Delay(Duration::from_millis(100)))
    });
    let told = "what was written before is taken back but for Tier(new)";
    refused(bench.write(WriteMode::Create, &objects), told);
    bench.store.set_script(|_| None);
    let there = |object: &Value| bench.get(&read(&object.to_string(), false).expect("one").key());
    let stays: Vec<_> = objects.iter().filter(|object| there(object).is_ok()).collect();
    assert_eq!(stays, [&objects[1]]);
}

#[test]
fn what_was_written_before_a_failure_is_taken_back() {
    let bench = Bench::new();
    let mut old = tier("before");
    bench.write(WriteMode::Create, std::slice::from_ref(&old)).expect("written");
    let stored = bench.get(&Key::cluster(Kind::Tier, "before")).expect("a tier");
    old["spec"]["order"] = 77.into();
    let mut objects = vec![old, tier("new")];
    objects.extend((0..200).map(|n| policy(&format!("new.p{n}"), "new")));
    let mut commits = 0;
    bench.store.set_script(move |call| {
        commits += usize::from(call.is_commit());
        (commits == 3).then_some(Fault::FailBefore)
    });
    refused(bench.write(WriteMode::Apply, &objects), "not available");
    bench.store.set_script(|_| None);
    let now = bench.get(&Key::cluster(Kind::Tier, "before")).expect("a tier");
    assert_eq!(now["spec"], stored["spec"], "as it was");
    for object in &objects[1..] {
        let key = read(&object.to_string(), false).expect("one").key();
        assert!(bench.get(&key).is_err(), "{key} is there");
    }
}

/// Writes many pools while somebody else, again and again, changes one of the second transaction
/// just before it is made; what came of it, and the store.
fn against_another(
    mode: WriteMode,
    objects: &[Value],
    there: &[Value],
    mut times: usize,
) -> (Result<usize, ResourceError>, Bench) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let bench = Bench { runtime, ..Bench::new() };
    for object in there {
        bench.write(WriteMode::Create, std::slice::from_ref(object)).expect("written");
    }
    let (before, mut due) = tokio::sync::mpsc::unbounded_channel();
    let mut commits = 0;
    bench.store.set_script(move |call| {
        let Call::Commit(_, by) = call else { return None };
        commits += usize::from(**by == actor());
        (**by == actor() && commits > 1).then(|| {
            // Nobody listens once the other has changed enough.
            let _ = before.send(());
            Fault::Delay(Duration::from_millis(20))
        })
    });
    let other = bench.store.clone();
    let somebody = async move {
        while times > 0 && due.recv().await.is_some() {
            times -= 1;
            let mut theirs = pool("p130", "10.130.0.0/16");
            theirs["metadata"]["labels"] = json!({ "round": format!("r{times}") });
            let value = theirs.to_string().into();
            let key = Key::cluster(Kind::IpPool, "p130");
            let write = Write::Put { key, value, index: Vec::new() };
            let by = Actor { component: "other".into(), ..actor() };
            let txn = Txn { compares: Vec::new(), writes: vec![write] };
            other.commit_now(txn, &by).expect("a commit");
        }
        std::future::pending::<()>().await;
    };
    let objects = objects.iter().map(|o| read(&o.to_string(), false).expect("one")).collect();
    let options = WriteOptions { mode, dry_run: false, now: SystemTime::UNIX_EPOCH };
    let result = bench.runtime.block_on(async {
        let us = actor();
        tokio::select! {
            result = bench.resources.write(objects, &options, &us) => result,
            () = somebody => unreachable!("it never ends"),
        }
    });
    (result.map(|written| written.len()), bench)
}

#[test]
fn a_compare_lost_in_a_later_transaction_takes_back_what_was_written() {
    let is_there = |bench: &Bench, name: &str| bench.get(&Key::cluster(Kind::IpPool, name)).is_ok();
    let pinned = |mut objects: Vec<Value>| {
        objects[130]["metadata"]["resourceVersion"] = "1".into();
        objects[130]["spec"]["disabled"] = true.into();
        objects
    };
    let there = [pool("p130", "10.130.0.0/16")];
    for (mode, objects, there, cause) in [
        (WriteMode::Create, pools(160), &[][..], "resource already exists: IPPool(p130)"),
        (
            WriteMode::Apply,
            pinned(pools(160)),
            &there,
            "update conflict: IPPool(p130) was changed by somebody else",
        ),
    ] {
        let (result, bench) = against_another(mode, &objects, there, 1);
        assert_eq!(result.expect_err("a lost compare").to_string(), cause);
        let written =
            ["p0", "p125", "p126", "p159"].into_iter().find(|name| is_there(&bench, name));
        assert_eq!(written, None, "{mode:?}");
        let theirs = bench.get(&Key::cluster(Kind::IpPool, "p130")).expect("it is there");
        assert_eq!(theirs["metadata"]["labels"]["round"], "r0", "{mode:?}");
    }
}

#[test]
fn a_compare_lost_in_a_later_transaction_is_tried_again_where_nobody_named_a_revision() {
    let (result, bench) = against_another(WriteMode::Apply, &pools(160), &[], 1);
    assert_eq!(result.expect("written in the end"), 160);
    let ours = bench.get(&Key::cluster(Kind::IpPool, "p130")).expect("it is there");
    assert!(ours["metadata"].get("labels").is_none(), "{ours}");
    let (result, bench) = against_another(WriteMode::Apply, &pools(160), &[], usize::MAX);
    let told = "update conflict: others keep changing the same resources; try again";
    assert_eq!(result.expect_err("never alone").to_string(), told);
    assert!(bench.get(&Key::cluster(Kind::IpPool, "p0")).is_err());
}

#[test]
fn a_write_goes_on_though_nobody_waits_for_it() {
    let store = MemStore::new();
    let resources = resources(&store, "first");
    store.inject(|call| call.is_commit(), Fault::Delay(Duration::from_millis(50)));
    let objects = pools(200).iter().map(|o| read(&o.to_string(), false).expect("one")).collect();
    let options =
        WriteOptions { mode: WriteMode::Apply, dry_run: false, now: SystemTime::UNIX_EPOCH };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        // Planned by then, and on its way.
        let actor = actor();
        let write = resources.write(objects, &options, &actor);
        tokio::time::timeout(Duration::from_millis(1), write).await.expect_err("gone");
        let whole = async {
            while store.revision() < Revision(2) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), whole).await.expect("written to the end");
    });
}

mod racing;
