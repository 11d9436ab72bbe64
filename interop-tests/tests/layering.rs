//! Arrows point one way: who may depend on whom, compared with `cargo metadata`.
//!
//! ARCHITECTURE.md shows the same list in words; a wrong arrow is a red test here.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// Every crate of the workspace and the workspace crates it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    // cores
    ("margay-model", &[]),
    ("margay-ipam", &["margay-model"]),
    ("margay-workload", &["margay-model"]),
    ("policy-calc", &["margay-model"]),
    ("bgp-packet", &[]),
    ("bgp-core", &["bgp-packet"]),
    ("bgp-desired", &["margay-model", "bgp-packet", "bgp-core"]),
    // shells
    ("margay-proto", &[]),
    ("margay-netlink", &[]),
    ("margay-fib", &["margay-netlink"]),
    ("policy-bpf", &[]),
    ("policy-nft", &["margay-model", "margay-netlink", "policy-calc"]),
    ("margay-datastore", &["margay-model"]),
    ("bgp-speaker", &["bgp-packet", "bgp-core", "margay-fib"]),
    (
        "margay-bgpd",
        &[
            "margay-proto",
            "margay-model",
            "margay-ipam",
            "margay-workload",
            "margay-datastore",
            "bgp-packet",
            "bgp-core",
            "bgp-desired",
            "bgp-speaker",
            "margay-fib",
        ],
    ),
    (
        "margay-policy-dp",
        &[
            "margay-proto",
            "margay-model",
            "bgp-desired",
            "margay-fib",
            "policy-calc",
            "policy-nft",
            "policy-bpf",
        ],
    ),
    ("margay", &["margay-model", "margay-proto"]),
    ("margay-cni", &["margay-proto"]),
    // tests and tools
    ("testkit", &[]),
    ("bgpload", &[]),
    ("interop-tests", &["testkit"]),
    ("xtask", &[]),
];

/// The crates that take values and return values: no runtime, no sockets, no clock.
const CORES: &[&str] = &[
    "margay-model",
    "margay-ipam",
    "margay-workload",
    "policy-calc",
    "bgp-packet",
    "bgp-core",
    "bgp-desired",
];

/// What a core may take from outside the workspace.
const CORE_MAY_USE: &[&str] = &[
    "bytes",
    "foldhash",
    "hashbrown",
    "ipnet",
    "regex-automata",
    "saphyr-parser",
    "serde",
    "serde_json",
    "sha1",
    "sha2",
    "smallvec",
    "thiserror",
    "toml",
];

/// The only rooms that drive a runtime; the tests and the demo speak gRPC with containerd.
const MAY_USE_TOKIO: &[&str] = &[
    "bgp-speaker",
    "margay-bgpd",
    "margay-policy-dp",
    "margay",
    "margay-cni",
    "margay-datastore",
    "margay-fib",
    "interop-tests",
];

/// Workspace crate name -> its dependencies, without those for tests only.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let mut all = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name").to_owned();
        let dependencies = package["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter()
            .filter(|dependency| dependency["kind"] != "dev")
            .map(|dependency| dependency["name"].as_str().expect("a name").to_owned())
            .collect();
        all.insert(name, dependencies);
    }
    all
}

#[test]
fn every_crate_of_the_workspace_is_in_the_list_of_arrows() {
    let listed: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let found = dependencies();
    let found: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    let unlisted: Vec<_> = found.difference(&listed).collect();
    assert!(unlisted.is_empty(), "not in ARROWS: {unlisted:?}");
}

#[test]
fn no_arrow_points_the_wrong_way() {
    let found = dependencies();
    for (name, uses) in &found {
        let Some((_, allowed)) = ARROWS.iter().find(|(listed, _)| listed == name) else { continue };
        for used in uses.iter().filter(|used| found.contains_key(*used)) {
            assert!(allowed.contains(&used.as_str()), "{name} must not depend on {used}");
        }
    }
}

#[test]
fn a_core_takes_only_crates_without_input_and_output() {
    for (name, uses) in dependencies() {
        if !CORES.contains(&name.as_str()) {
            continue;
        }
        for used in uses {
            assert!(
                CORES.contains(&used.as_str()) || CORE_MAY_USE.contains(&used.as_str()),
                "the core {name} must not depend on {used}"
            );
        }
    }
}

#[test]
fn only_shells_drive_a_runtime() {
    for (name, uses) in dependencies() {
        let runtime: Vec<_> = uses.iter().filter(|used| used.starts_with("tokio")).collect();
        assert!(
            runtime.is_empty() || MAY_USE_TOKIO.contains(&name.as_str()),
            "{name} must not depend on {runtime:?}"
        );
    }
}

#[test]
fn every_core_carries_the_lints_that_keep_it_sans_io() {
    for room in ["ipam", "policy-dp/calc", "bgpd/packet", "bgpd/core", "bgpd/desired"] {
        let path = format!("{}/../{room}/clippy.toml", env!("CARGO_MANIFEST_DIR"));
        let lints = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        for banned in ["std::time::Instant::now", "std::time::SystemTime::now", "std::sync::Mutex"]
        {
            assert!(lints.contains(banned), "{path} must disallow {banned}");
        }
    }
}
