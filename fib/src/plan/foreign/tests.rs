use super::*;
use crate::plan::fact::Hop;

fn route(prefix: &str, metric: u32, protocol: u8, gateways: &[&str]) -> KernelRoute {
    let hop =
        |g: &&str| (Hop { gateway: Some(g.parse().expect("address")), oif: 1, onlink: false }, 1);
    KernelRoute {
        prefix: prefix.parse().expect("prefix"),
        table: 254,
        protocol,
        tos: 0,
        link_scope: false,
        form: Form { via: Via::Hops(gateways.iter().map(hop).collect()), metric, prefsrc: None },
    }
}

fn shown(foreign: &Foreign) -> Vec<(String, u32, usize)> {
    let hops = |via: &Via| match via {
        Via::Hops(hops) => hops.len(),
        _ => 0,
    };
    let line = |r: ForeignRoute| (r.prefix.to_string(), r.kind.form.metric, hops(&r.kind.form.via));
    foreign.routes().map(line).collect()
}

#[test]
fn routes_of_different_metrics_stand_side_by_side() {
    let mut foreign = Foreign::default();
    foreign.set(route("10.0.0.0/8", 1, 4, &["10.0.0.1"]), Arrival::Added);
    foreign.set(route("10.0.0.0/8", 2, 4, &["10.0.0.2"]), Arrival::Added);
    assert_eq!(foreign.routes().count(), 2);
    assert!(foreign.holds(254, "10.0.0.0/8".parse().expect("prefix"), 2));
    assert!(!foreign.holds(254, "10.0.0.0/8".parse().expect("prefix"), 3));
    assert!(!foreign.holds(254, "10.0.0.0/9".parse().expect("prefix"), 2));
    assert!(!foreign.holds(100, "10.0.0.0/8".parse().expect("prefix"), 2));
    let gone = foreign.remove(&route("10.0.0.0/8", 1, 4, &["10.0.0.1"]));
    assert_eq!(gone.len(), 1);
    assert_eq!(shown(&foreign), [("10.0.0.0/8".to_owned(), 2, 1)]);
}

#[test]
fn a_replacement_displaces_what_had_the_key_whoever_made_it() {
    let mut foreign = Foreign::default();
    foreign.set(route("10.0.0.0/8", 1, 4, &["10.0.0.1"]), Arrival::Added);
    let (old, new) = foreign.set(route("10.0.0.0/8", 1, 16, &["10.0.0.2"]), Arrival::Replaced);
    assert!(new && old.len() == 1 && old[0].kind.protocol == 4);
    let (old, new) = foreign.set(route("10.0.0.0/8", 1, 16, &["10.0.0.2"]), Arrival::Replaced);
    assert!(!new && old.is_empty(), "the same again is no news");
    assert_eq!(foreign.routes().count(), 1);
}

#[test]
fn ipv6_loses_one_sibling_of_a_multipath_route_at_a_time() {
    let mut foreign = Foreign::default();
    foreign.set(route("2001:db8::/32", 5, 4, &["fe80::1", "fe80::2", "fe80::3"]), Arrival::Added);
    foreign.remove(&route("2001:db8::/32", 5, 4, &["fe80::2"]));
    assert_eq!(shown(&foreign), [("2001:db8::/32".to_owned(), 5, 2)]);
    // And a larger set told anew takes the place of the smaller one.
    foreign.set(route("2001:db8::/32", 5, 4, &["fe80::1", "fe80::3", "fe80::4"]), Arrival::Added);
    assert_eq!(shown(&foreign), [("2001:db8::/32".to_owned(), 5, 3)]);
    foreign.remove(&route("2001:db8::/32", 5, 4, &["fe80::1", "fe80::3", "fe80::4"]));
    assert_eq!(shown(&foreign), []);
}

#[test]
fn a_whole_reading_says_what_went_and_what_came() {
    let mut foreign = Foreign::default();
    for prefix in ["10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8"] {
        foreign.set(route(prefix, 1, 4, &["10.0.0.1"]), Arrival::Added);
    }
    let now = vec![
        route("10.0.0.0/8", 1, 4, &["10.0.0.1"]),
        route("11.0.0.0/8", 1, 4, &["10.0.0.9"]),
        route("13.0.0.0/8", 1, 4, &["10.0.0.1"]),
    ];
    let excused: IpNet = "12.0.0.0/8".parse().expect("prefix");
    let (went, came) = foreign.become_(now, |prefix| *prefix == excused);
    let names = |list: &[ForeignRoute]| -> Vec<String> {
        list.iter().map(|r| r.prefix.to_string()).collect()
    };
    assert_eq!(names(&went), ["11.0.0.0/8"]);
    assert_eq!(names(&came), ["11.0.0.0/8", "13.0.0.0/8"]);
    assert_eq!(foreign.routes().count(), 4);
    let lengths: Vec<u8> = foreign.lengths(254, "10.0.0.1".parse().expect("address")).collect();
    assert_eq!(lengths, [8]);
}
