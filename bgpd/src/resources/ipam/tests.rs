use serde_json::json;

use super::{
    super::tests::{Bench, actor},
    *,
};

fn bench() -> Bench {
    let bench = Bench::new();
    let pool = json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "IPPool",
        "metadata": {"name": "blue", "labels": {"team": "a"}},
        "spec": {"cidr": "10.0.0.0/24", "blockSize": 26, "natOutgoing": true},
    });
    bench.write(WriteMode::Create, &[pool]).expect("a pool");
    bench
}

fn split(bench: &Bench, pool: &str, parts: u32) -> Result<Vec<(String, IpNet)>, ResourceError> {
    let now = SystemTime::UNIX_EPOCH;
    bench.runtime.block_on(bench.resources.split_pool(pool, parts, now, &actor()))
}

#[test]
fn a_split_pool_is_gone_and_its_parts_are_like_it() {
    for by in ["blue", "10.0.0.0/24"] {
        let bench = bench();
        let parts = split(&bench, by, 2).expect("split");
        let told: Vec<_> = parts.iter().map(|(name, cidr)| format!("{name} {cidr}")).collect();
        assert_eq!(told, ["split-blue-0 10.0.0.0/25", "split-blue-1 10.0.0.128/25"]);
        let gone = bench.get(&Key::cluster(Kind::IpPool, "blue"));
        assert!(matches!(gone, Err(ResourceError::NotFound(_))));
        let part = bench.get(&Key::cluster(Kind::IpPool, "split-blue-1")).expect("a part");
        assert_eq!(part["spec"]["natOutgoing"], true);
        assert_eq!(part["spec"]["blockSize"], 26);
        assert_eq!(part["metadata"]["labels"]["team"], "a");
    }
}

#[test]
fn a_split_that_cannot_be_leaves_the_pool_as_it_was() {
    let bench = bench();
    let key = Key::cluster(Kind::IpPool, "blue");
    let before = bench.get(&key).expect("the pool");
    for (parts, why) in [(0, "power of two"), (3, "power of two"), (8, "smaller than its blocks")] {
        let said = split(&bench, "blue", parts).expect_err("refused").to_string();
        assert!(said.contains(why), "{said}");
    }
    assert!(matches!(split(&bench, "red", 2), Err(ResourceError::NotFound(_))));
    let other = json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "IPPool",
        "metadata": {"name": "split-blue-1"},
        "spec": {"cidr": "10.9.0.0/24"},
    });
    bench.write(WriteMode::Create, &[other]).expect("a pool");
    assert!(matches!(split(&bench, "blue", 2), Err(ResourceError::AlreadyExists(_))));
    assert_eq!(bench.get(&key).expect("the pool"), before);
    // Parts are named by it, with more in front and behind.
    let long = "x".repeat(250);
    let pool = json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "IPPool",
        "metadata": {"name": &long},
        "spec": {"cidr": "10.8.0.0/24"},
    });
    bench.write(WriteMode::Create, &[pool]).expect("a pool");
    let said = split(&bench, &long, 2).expect_err("refused").to_string();
    assert!(said.contains("could not be") && said.contains("shorter name"), "{said}");
    bench.get(&Key::cluster(Kind::IpPool, &long)).expect("it is as it was");
}

#[test]
fn only_the_fields_named_are_configured_and_contradictions_are_refused() {
    let bench = bench();
    let configure = |set| bench.runtime.block_on(bench.resources.configure_ipam(set, &actor()));
    let cooldown = Configure { ip_cooldown_seconds: Some(7), ..Configure::default() };
    assert_eq!(configure(cooldown).expect("set").cooldown.as_secs(), 7);
    let strict = Configure { strict_affinity: Some(true), ..Configure::default() };
    let settings = configure(strict).expect("set");
    assert!(settings.strict_affinity && settings.cooldown.as_secs() == 7);
    let limit = Configure {
        strict_affinity: Some(false),
        max_blocks_per_host: Some(4),
        ..Configure::default()
    };
    let said = configure(limit).expect_err("refused").to_string();
    assert!(said.contains("needs strictAffinity"), "{said}");
    let stored = bench.get(&Key::cluster(Kind::IpamConfiguration, "default")).expect("it is there");
    assert_eq!(stored["spec"]["strictAffinity"], true);
}

#[test]
fn the_most_parts_are_made_in_one_transaction_and_more_are_refused() {
    let bench = Bench::new();
    let pool = json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "IPPool",
        "metadata": {"name": "wide"},
        "spec": {"cidr": "10.0.0.0/8", "blockSize": 26},
    });
    bench.write(WriteMode::Create, &[pool]).expect("a pool");
    let before = bench.store.revision();
    let said = split(&bench, "wide", 2 * MOST_PARTS).expect_err("refused").to_string();
    assert!(said.contains("128 parts are more than 64"), "{said}");
    assert_eq!(bench.store.revision(), before);
    assert_eq!(split(&bench, "wide", MOST_PARTS).expect("split").len(), 64);
    assert_eq!(bench.store.revision().0, before.0 + 1);
}
