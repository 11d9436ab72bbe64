//! Workloads' links, made and removed.

use std::path::Path;
use std::thread;

use margay_fib::attach::{GATEWAY_V4, Stage, Sysctl};
use margay_fib::{
    AttachError, Detached, LinkSpec, Origin, attach, compare, detach, detach_marked, detach_own,
    inspect, list,
};

use crate::container::Container;
use crate::net::*;

/// A dual-stack workload.
fn spec(n: u32) -> LinkSpec {
    let (high, low) = (n / 250, n % 250 + 1);
    let addresses =
        [format!("10.65.{high}.{low}"), format!("fd00:65::{high:x}:{low:x}")].map(|a| a.parse());
    let mut spec = LinkSpec::new(
        &format!("cali{n:05}"),
        "eth0",
        addresses.into_iter().map(|a| a.expect("an address")).collect(),
    );
    spec.alias = format!("margay:{n}");
    spec.mtu = 1450;
    spec
}

/// The host's routes to a workload, which are another's to keep.
fn route(net: Net, spec: &LinkSpec) {
    for address in &spec.addresses {
        net.ip(&format!("route add {address} dev {} scope link", spec.host_name));
    }
}

/// How many links, routes and neighbours the host has.
fn census(net: Net) -> (usize, usize, usize) {
    let lines = |args: &str| net.ip(args).lines().count();
    let routes = lines("-4 route show table all") + lines("-6 route show table all");
    (lines("-o link show"), routes, lines("neigh show nud all"))
}

#[test]
fn a_workload_reaches_the_host_and_another_workload_and_leaves_nothing() {
    let Some(net) = enter() else { return };
    let before = census(net);
    let containers = [Container::new(), Container::new()];
    let specs = [spec(0), spec(1)];
    for (container, spec) in containers.iter().zip(&specs) {
        let made = attach(container.path(), spec).expect("attached");
        assert_eq!(made.origin, Origin::Made);
        assert_eq!(net.index(&spec.host_name), made.host_index);
        route(net, spec);
        let seen = inspect(container.path(), &spec.host_name, "eth0").expect("seen");
        assert_eq!(seen.differences(spec), []);
        let end = seen.container.expect("an end");
        assert_eq!(end.mac, made.container_mac);
        assert!(end.neighbours.contains(&(GATEWAY_V4.into(), [0xee; 6])), "{end:?}");
    }
    // An address of the host beyond its links, as the node's own.
    net.ip("addr add 192.0.2.1/32 dev lo");
    net.ip("addr add 2001:db8::1/128 dev lo nodad");
    let [first, second] = &containers;
    for to in ["192.0.2.1", "2001:db8::1", "10.65.0.2", "fd00:65::2"] {
        first.reaches(to);
    }
    second.reaches("10.65.0.1");
    net.ip("link show cali00000"); // still there
    // What a workload without our neighbour entry would ask: the host answers for the gateway.
    first.run("ip neigh del 169.254.1.1 dev eth0");
    net.ip("route add default dev lo");
    first.reaches("192.0.2.1");
    let learned = first.run("ip neigh show 169.254.1.1");
    assert!(learned.contains("ee:ee:ee:ee:ee:ee"), "{learned}");
    net.ip("route del default dev lo");
    for spec in &specs {
        assert_eq!(detach(&spec.host_name).expect("detached"), Detached::Removed);
        assert_eq!(detach(&spec.host_name).expect("detached"), Detached::Absent);
    }
    net.ip("addr del 192.0.2.1/32 dev lo");
    net.ip("addr del 2001:db8::1/128 dev lo");
    assert!(first.run("ip -o link show").lines().count() == 1, "only lo is left");
    assert_eq!(census(net), before);
}

#[test]
fn the_same_again_adopts_and_another_is_refused_with_what_differs() {
    let Some(net) = enter() else { return };
    let container = Container::new();
    let spec = spec(0);
    let made = attach(container.path(), &spec).expect("attached");
    let again = attach(container.path(), &spec).expect("adopted");
    assert_eq!((again.origin, again.host_index), (Origin::Adopted, made.host_index));
    let refused =
        |spec: &LinkSpec| attach(container.path(), spec).expect_err("another").to_string();
    let other = LinkSpec { alias: "margay:other".to_owned(), ..spec.clone() };
    let told = refused(&other);
    assert!(
        told.contains("the alias of cali00000 is \"margay:0\", not \"margay:other\""),
        "{told}"
    );
    let told = refused(&LinkSpec { mtu: 1400, ..spec.clone() });
    assert!(told.contains("MTU of cali00000 is 1450, not 1400"), "{told}");
    let mut other = spec.clone();
    other.addresses[0] = "10.65.9.9".parse().expect("an address");
    let told = refused(&other);
    assert!(told.contains("address 10.65.9.9/32 on eth0 is missing"), "{told}");
    // Somebody takes things away.
    container.run("ip route del default");
    net.ip("link set dev cali00000 down");
    let seen = inspect(container.path(), "cali00000", "eth0").expect("seen");
    let told: Vec<String> = seen.differences(&spec).iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|t| t == "interface cali00000 is down, not up"), "{told:?}");
    assert!(told.iter().any(|t| t.starts_with("route 0.0.0.0/0 via 169.254.1.1")), "{told:?}");
    // In another namespace it is not.
    let elsewhere = Container::new();
    assert_eq!(detach_own("cali00000", "margay:1").expect("asked"), Detached::Absent);
    assert_eq!(list("cali").expect("listed").len(), 1, "another's link stays");
    let told = attach(elsewhere.path(), &spec).expect_err("elsewhere").to_string();
    assert!(told.contains("cali00000 is there already"), "{told}");
    assert_eq!(detach_own("cali00000", "margay:0").expect("asked"), Detached::Removed);
    // As the end of the process between two messages leaves it.
    net.ip("link add name cali00000 type veth peer name other");
    assert_eq!(detach_own("cali00000", "margay:0").expect("asked"), Detached::Removed);
    assert_eq!(list("cali").expect("listed"), []);
}

#[test]
fn settings_of_the_kernel_that_somebody_changed_are_told_and_made_again() {
    let Some(_net) = enter() else { return };
    let container = Container::new();
    let spec = LinkSpec { rp_filter: Some(0), ..spec(4) };
    attach(container.path(), &spec).expect("attached");
    assert_eq!(compare(container.path(), &spec).expect("compared"), []);
    let keys = [
        "ipv4/conf/cali00004/forwarding",
        "ipv4/conf/cali00004/proxy_arp",
        "ipv4/conf/cali00004/rp_filter",
        "ipv6/conf/cali00004/proxy_ndp",
    ];
    for key in keys {
        let file = format!("/proc/sys/net/{key}");
        let right = std::fs::read_to_string(&file).expect("read");
        let wrong = if right.trim() == "0" { "1" } else { "0" };
        std::fs::write(&file, wrong).expect("written");
        let told = compare(container.path(), &spec).expect("compared");
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        let name = format!("net.{}", key.replace('/', "."));
        assert_eq!(told, [format!("{name} is {wrong}, not {}", right.trim())]);
        let again = attach(container.path(), &spec).expect("adopted");
        assert_eq!(again.origin, Origin::Adopted);
        assert_eq!(compare(container.path(), &spec).expect("compared"), [], "{key}");
    }
}

#[test]
fn a_link_is_removed_by_its_mark_and_nothing_else_of_its_name_is() {
    let Some(net) = enter() else { return };
    let container = Container::new();
    attach(container.path(), &spec(0)).expect("attached");
    assert_eq!(detach_marked("cali00000", "margay:1").expect("asked"), Detached::Absent);
    assert_eq!(detach_marked("cali00000", "margay:0").expect("asked"), Detached::Removed);
    assert_eq!(detach_marked("cali00000", "margay:0").expect("asked"), Detached::Absent);
    // One without a mark, and one that is no link of a workload.
    net.ip("link add name cali00000 type veth peer name other");
    assert_eq!(detach_marked("cali00000", "margay:0").expect("asked"), Detached::Absent);
    net.ip("link del cali00000");
    net.ip("link add name cali00000 alias margay:0 type bridge");
    assert_eq!(detach_marked("cali00000", "margay:0").expect("asked"), Detached::Absent);
}

#[test]
fn what_was_asked_of_the_namespace_and_the_host_is_set() {
    let Some(net) = enter() else { return };
    let container = Container::new();
    container.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
    let mut spec = spec(3);
    spec.container_mac = Some([2, 0, 0, 0, 0, 9]);
    spec.forwarding = Some(true);
    spec.rp_filter = Some(2);
    spec.tx_queue_len = Some(77);
    spec.routes = vec!["10.0.0.0/8".parse().expect("a prefix"), "::/0".parse().expect("a prefix")];
    spec.sysctls
        .push(Sysctl { key: "ipv4/conf/eth0/arp_notify".to_owned(), value: "1".to_owned() });
    let made = attach(container.path(), &spec).expect("attached");
    assert_eq!(made.container_mac, [2, 0, 0, 0, 0, 9]);
    let inside = [
        ("ipv4/conf/eth0/arp_notify", "1"),
        ("ipv4/ip_forward", "1"),
        ("ipv6/conf/all/forwarding", "1"),
        ("ipv6/conf/all/disable_ipv6", "0"),
    ];
    for (key, value) in inside {
        assert_eq!(container.sysctl(key), value, "{key}");
    }
    let host = [
        ("ipv4/conf/cali00003/proxy_arp", "1"),
        ("ipv4/conf/cali00003/rp_filter", "2"),
        ("ipv4/conf/cali00003/route_localnet", "1"),
        ("ipv4/neigh/cali00003/proxy_delay", "0"),
        ("ipv4/conf/cali00003/forwarding", "1"),
        ("ipv6/conf/cali00003/forwarding", "1"),
        ("ipv6/conf/cali00003/accept_ra", "0"),
    ];
    for (key, value) in host {
        let is = std::fs::read_to_string(format!("/proc/sys/net/{key}")).expect("read");
        assert_eq!(is.trim(), value, "{key}");
    }
    let shown = net.ip("-6 addr show dev cali00003");
    assert!(
        shown.contains("fe80::ecee:eeff:feee:eeee/64") && !shown.contains("tentative"),
        "{shown}"
    );
    let routes = container.run("ip route show");
    assert!(routes.contains("10.0.0.0/8 via 169.254.1.1 dev eth0") && !routes.contains("default"));
    assert!(container.run("ip link show eth0").contains("qlen 77"));
    let neighbours = net.ip("neigh show dev cali00003 nud permanent");
    assert!(neighbours.contains("10.65.0.4 lladdr 02:00:00:00:00:09"), "{neighbours}");
    // A second link of the same container, with other ways.
    let mut second = self::spec(4);
    second.container_name = "net1".to_owned();
    second.routes = vec!["172.16.0.0/12".parse().expect("a prefix")];
    attach(container.path(), &second).expect("a second link");
    assert!(container.run("ip route show").contains("172.16.0.0/12 via 169.254.1.1 dev net1"));
}

#[test]
fn what_fails_is_told_by_kind_and_leaves_nothing() {
    let Some(net) = enter() else { return };
    let container = Container::new();
    let before = census(net);
    let spec = spec(0);
    let fails = |path: &Path, spec: &LinkSpec| attach(path, spec).expect_err("it cannot be");
    let gone = Container::new();
    let path = gone.path().to_owned();
    drop(gone);
    assert!(matches!(fails(&path, &spec), AttachError::NamespaceMissing { .. }));
    let file = Path::new("/etc/passwd");
    assert!(matches!(fails(file, &spec), AttachError::NotANamespace { .. }));
    let own = Path::new("/proc/thread-self/ns/net");
    assert!(matches!(fails(own, &spec), AttachError::HostNamespace { .. }));
    let long = LinkSpec { host_name: "cali0123456789ab".to_owned(), ..spec.clone() };
    assert!(matches!(fails(container.path(), &long), AttachError::Spec(_)));
    // Each stage after the creation.
    let mut wrong = spec.clone();
    wrong.sysctls.push(Sysctl { key: "ipv4/conf/nosuch/forwarding".into(), value: "1".into() });
    assert!(matches!(fails(container.path(), &wrong), AttachError::Sysctl { .. }));
    container.run("ip link add name br0 type bridge");
    container.run("ip link set dev br0 up");
    container.run("ip route add default dev br0");
    match fails(container.path(), &spec) {
        AttachError::Kernel { stage, asked, err, .. } => {
            assert_eq!(stage, Stage::Container);
            assert_eq!(asked, "add route 0.0.0.0/0 via 169.254.1.1");
            assert_eq!(err.raw_os_error(), Some(libc::EEXIST));
        }
        other => panic!("{other}"),
    }
    container.run("ip link del br0");
    assert_eq!(census(net), before);
    assert_eq!(container.run("ip -o link show").lines().count(), 1);
    // Names that are taken.
    net.ip("link add name cali00000 type bridge");
    assert!(matches!(fails(container.path(), &spec), AttachError::NameTaken { .. }));
    assert!(matches!(detach("cali00000"), Err(AttachError::NameTaken { .. })));
    net.ip("link del cali00000");
    container.run("ip link add name eth0 type bridge");
    assert!(matches!(fails(container.path(), &spec), AttachError::ContainerNameTaken { .. }));
    container.run("ip link del eth0");
    attach(container.path(), &spec).expect("attached after all");
    detach("cali00000").expect("detached");
    assert_eq!(census(net), before);
}

#[test]
fn a_namespace_that_goes_meanwhile_leaves_no_link() {
    let Some(net) = enter() else { return };
    let before = census(net);
    let mut ends = [0; 2];
    for n in 0..60 {
        let container = Container::new();
        let (path, spec) = (container.path().to_owned(), spec(n));
        let attached = thread::scope(|scope| {
            let attached = scope.spawn(|| attach(&path, &spec));
            // From before the first step to after the last.
            thread::sleep(std::time::Duration::from_micros(u64::from(n) * 100));
            drop(container);
            attached.join().expect("no panic")
        });
        match attached {
            Ok(_) => ends[0] += 1,
            Err(AttachError::NamespaceMissing { .. } | AttachError::NamespaceGone { .. }) => {
                ends[1] += 1;
            }
            Err(AttachError::System { .. } | AttachError::Kernel { .. }) => ends[1] += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(ends[1] > 0, "none went early enough: {ends:?}");
    until("the kernel has removed the links of dead namespaces", || census(net) == before);
}

#[test]
fn two_hundred_links_at_once_come_and_go() {
    let Some(net) = enter() else { return };
    let before = census(net);
    let containers: Vec<Container> = (0..200).map(|_| Container::new()).collect();
    let work: Vec<(u32, &Container)> = (0..).zip(&containers).collect();
    thread::scope(|scope| {
        for share in work.chunks(25) {
            scope.spawn(move || {
                for (n, container) in share {
                    attach(container.path(), &spec(*n)).expect("attached");
                }
            });
        }
    });
    let listed = list("cali").expect("listed");
    assert_eq!(listed.len(), 200);
    assert!(listed.iter().all(|l| l.up && l.mac == [0xee; 6] && l.alias.starts_with("margay:")));
    assert_eq!(list("other").expect("listed"), []);
    for (n, container) in &work {
        let spec = spec(*n);
        let seen = inspect(container.path(), &spec.host_name, "eth0").expect("seen");
        assert_eq!(seen.differences(&spec), []);
    }
    thread::scope(|scope| {
        for share in listed.chunks(25) {
            scope.spawn(move || {
                for link in share {
                    assert_eq!(detach(&link.name).expect("detached"), Detached::Removed);
                }
            });
        }
    });
    assert_eq!(census(net), before);
}
