use std::{collections::BTreeSet, sync::Arc};

use margay_ipam::{
    Block, Held, Owner, Pool, Pools, Settings, UnixMillis,
    check::{Facts, check},
    view::Stored,
};
use margay_model::{Cidr, Revision, kinds::WorkloadEndpointSpec, meta::ObjectMeta};

use super::*;

fn node() -> NodeName {
    "n1".try_into().expect("a name")
}

/// A block in which each of these handles holds one address, with or without an endpoint.
fn view(handles: &[(&str, bool)]) -> View {
    let owner = Owner { node: node(), instance: "one".try_into().expect("an id") };
    let cidr = "10.0.0.0/29".parse().expect("a prefix");
    let mut block = Block::new("a", cidr, owner, UnixMillis(1)).expect("a block");
    for (handle, endpoint) in handles {
        let mut attributes = BTreeMap::from([
            ("pod".to_owned(), (*handle).to_owned()),
            ("namespace".to_owned(), "n".to_owned()),
        ]);
        if *endpoint {
            attributes.insert(endpoint::ATTRIBUTE.to_owned(), "eth0".to_owned());
        }
        let held = Held {
            handle: (*handle).try_into().expect("a handle"),
            node: node(),
            serial: 0,
            since: UnixMillis(1),
            attributes: attributes.into(),
        };
        block.assign(1, &held, |_| false);
    }
    let mut view = View::default();
    view.put(cidr, Revision(1), Stored::Sound(Arc::new(block)));
    view
}

fn endpoint_of(handle: Option<&str>, address: &str) -> WorkloadEndpoint {
    let mut metadata = ObjectMeta::namespaced("n", "e");
    if let Some(handle) = handle {
        metadata.annotations.insert(endpoint::HANDLE.to_owned(), handle.to_owned());
    }
    let address: ipnet::IpNet = address.parse().expect("a prefix");
    let spec = WorkloadEndpointSpec {
        node: Some("n1".to_owned()),
        ip_networks: vec![Cidr::from(address)],
        ..WorkloadEndpointSpec::default()
    };
    WorkloadEndpoint { metadata, spec, status: None }
}

fn leaked(view: &View, endpoints: &[WorkloadEndpoint]) -> Vec<String> {
    let mut all = Endpoints::default();
    endpoints.iter().for_each(|endpoint| all.take(endpoint));
    looks_leaked(view, all)
}

fn looks_leaked(view: &View, all: Endpoints) -> Vec<String> {
    let pool = Pool::new("a", "10.0.0.0/28".parse().expect("a prefix"), 29).expect("a pool");
    let report = check(Facts {
        view,
        pools: &Pools::new([pool]),
        settings: &Settings::default(),
        gone: &BTreeSet::new(),
        nodes: None,
        used: Some(&all.used(view)),
        pools_missing: false,
        now: UnixMillis(60_000),
    });
    let held = addresses(view, &report);
    assert_eq!(held.len(), 3);
    assert!(held.iter().all(|held| held.serial > 0 && held.block == "10.0.0.0/29"));
    held.into_iter().filter(|held| held.leaked.is_some()).map(|held| held.handle).collect()
}

#[test]
fn what_no_endpoint_has_looks_leaked_unless_it_never_had_one() {
    let view = view(&[("lost", true), ("used", true), ("of-another-plugin", false)]);
    let used = endpoint_of(Some("used"), "10.0.0.1/32");
    assert_eq!(leaked(&view, std::slice::from_ref(&used)), ["lost"]);
    let by_hand = endpoint_of(None, "10.0.0.0/32");
    assert!(leaked(&view, &[used, by_hand]).is_empty(), "somebody uses it");
}

#[test]
fn nothing_looks_leaked_beside_an_endpoint_that_cannot_be_read() {
    let view = view(&[("lost", true), ("gone", true), ("of-another-plugin", false)]);
    assert_eq!(leaked(&view, &[]), ["lost", "gone"]);
    let all = Endpoints { unreadable: true, ..Endpoints::default() };
    assert!(looks_leaked(&view, all).is_empty());
}
