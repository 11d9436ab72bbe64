//! Limits of what goes over workloads' links.

use margay_fib::attach::{Bandwidth, Peak};
use margay_fib::{LinkSpec, Origin, attach, compare, inspect};

use crate::container::Container;
use crate::net::*;

fn limit(rate: u64, burst: Option<u64>) -> Bandwidth {
    Bandwidth { rate, burst, peak: None }
}

fn spec(ingress: Option<Bandwidth>, egress: Option<Bandwidth>) -> LinkSpec {
    let address = "10.65.0.1".parse().expect("an address");
    LinkSpec { ingress, egress, ..LinkSpec::new("cali00000", "eth0", vec![address]) }
}

/// Whether this kernel has token buckets at all.
fn has_buckets(net: Net) -> bool {
    net.ip("link add probe type veth peer name eborp");
    let (can, said) = tc("qdisc add dev probe root tbf rate 1mbit burst 10k latency 25ms");
    net.ip("link del probe");
    if !can {
        eprintln!("*** SKIPPED: no token buckets here: {said}");
    }
    can
}

fn tc(args: &str) -> (bool, String) {
    let out = std::process::Command::new("tc").args(args.split_whitespace()).output();
    let out = out.expect("tc runs");
    let text = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn limits_are_put_on_both_ends_and_read_back_and_come_back_when_they_are_taken_away() {
    let Some(net) = enter() else { return };
    if !has_buckets(net) {
        return;
    }
    let container = Container::new();
    let wished = spec(Some(limit(80_000_000, Some(8_000_000))), Some(limit(8_000_000, None)));
    attach(container.path(), &wished).expect("attached");
    let seen = inspect(container.path(), "cali00000", "eth0").expect("seen");
    assert_eq!(seen.differences(&wished), []);
    assert_eq!(compare(container.path(), &wished).expect("compared"), []);
    let host = seen.host.and_then(|host| host.limit).expect("a limit");
    let within = seen.container.and_then(|end| end.limit).expect("a limit");
    assert_eq!((host.rate, within.rate), (10_000_000, 1_000_000));
    // As others see it.
    let told = tc("qdisc show dev cali00000").1;
    assert!(told.contains("tbf 4d61: root") && told.contains("rate 80Mbit"), "{told}");
    let told = container.run("tc qdisc show dev eth0");
    assert!(told.contains("tbf") && told.contains("rate 8Mbit"), "{told}");
    // Somebody takes one away, and another changes.
    tc("qdisc del dev cali00000 root");
    container.run("tc qdisc change dev eth0 handle 4d61: root tbf rate 1gbit burst 1m limit 1m");
    let told: Vec<String> = compare(container.path(), &wished)
        .expect("compared")
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("the limit of what cali00000 sends is missing"), "{told:?}");
    assert!(told[1].contains("the limit of what eth0 sends is 125000000 octets/s"), "{told:?}");
    // The same ADD again makes them as they were.
    let again = attach(container.path(), &wished).expect("adopted");
    assert_eq!(again.origin, Origin::Adopted);
    assert_eq!(compare(container.path(), &wished).expect("compared"), []);
    // In place of another's, too.
    tc("qdisc replace dev cali00000 root handle 1: pfifo");
    attach(container.path(), &wished).expect("adopted");
    assert_eq!(compare(container.path(), &wished).expect("compared"), []);
}

#[test]
fn the_kernel_takes_the_smallest_and_the_largest_limits() {
    let Some(net) = enter() else { return };
    if !has_buckets(net) {
        return;
    }
    let peak = |rate, burst| Some(Peak { rate, burst });
    for (rate, burst, peak) in [
        (1_000, None, None),
        (1_000, Some(1_000), peak(1_010, Some(1_000))),
        (1_000_000, Some(34_359_738_360), peak(2_000_000, None)),
        (100_000_000_000, None, peak(200_000_000_000, Some(100_000_000))),
        (1_000_000_000_000_000, None, None),
        (1_000_000_000_000_000, Some(1_000), peak(1_010_000_000_000_000, Some(1_000))),
    ] {
        let container = Container::new();
        let limit = Bandwidth { rate, burst, peak };
        let wished = spec(Some(limit), Some(limit));
        attach(container.path(), &wished).unwrap_or_else(|error| panic!("{limit:?}: {error}"));
        let found = compare(container.path(), &wished).expect("compared");
        assert_eq!(found, [], "{limit:?}");
        margay_fib::detach("cali00000").expect("detached");
    }
}

#[test]
fn a_link_that_nobody_limits_has_no_bucket_and_may_have_one_of_others() {
    let Some(net) = enter() else { return };
    let container = Container::new();
    let wished = spec(None, None);
    attach(container.path(), &wished).expect("attached");
    let seen = inspect(container.path(), "cali00000", "eth0").expect("seen");
    assert_eq!(seen.host.and_then(|host| host.limit), None);
    if has_buckets(net) {
        tc("qdisc add dev cali00000 root tbf rate 1mbit burst 10k latency 25ms");
        assert_eq!(compare(container.path(), &wished).expect("compared"), []);
    }
    attach(container.path(), &wished).expect("adopted");
}
