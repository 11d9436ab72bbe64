//! The addresses of links, as they come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use margay_fib::Interfaces;

use crate::net::*;

fn of(addresses: &[&str]) -> BTreeSet<IpAddr> {
    addresses.iter().map(|text| text.parse().expect("an address")).collect()
}

fn of_v0(all: &BTreeMap<String, BTreeSet<IpAddr>>) -> BTreeSet<IpAddr> {
    let link_local =
        |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.segments()[0] == 0xfe80);
    let of = all.get("v0").into_iter().flatten().copied();
    of.filter(|address| !link_local(address)).collect()
}

#[test]
fn addresses_are_those_of_the_link_that_has_them_now() {
    let Some(net) = enter() else { return };
    net.link("v0", &["10.0.0.1/24"]);
    let mut interfaces = Interfaces::open().expect("read");
    assert_eq!(of_v0(&interfaces.addresses()), of(&["10.0.0.1"]));
    let mut after = |change: &str, addresses: &[&str]| {
        net.ip(change);
        until(change, || {
            interfaces.hear().expect("heard");
            of_v0(&interfaces.addresses()) == of(addresses)
        });
    };
    after("addr add 2001:db8::1/64 dev v0 nodad", &["10.0.0.1", "2001:db8::1"]);
    after("addr del 10.0.0.1/24 dev v0", &["2001:db8::1"]);
    after("addr add 192.0.2.1/32 peer 192.0.2.2 dev v0", &["192.0.2.1", "2001:db8::1"]);
    after("link del v0", &[]);
    net.link("v0", &["10.0.0.7/24"]);
    until("a link of the same name", || {
        interfaces.hear().expect("heard");
        of_v0(&interfaces.addresses()) == of(&["10.0.0.7"])
    });
    net.ip("link set v0 name v1");
    until("another name", || {
        interfaces.hear().expect("heard");
        let all = interfaces.addresses();
        all.get("v1").is_some_and(|found| found.contains(&"10.0.0.7".parse().expect("one")))
            && !all.contains_key("v0")
    });
    while interfaces.hear().expect("heard") {}
    assert!(!interfaces.hear().expect("heard"), "nothing changes by itself");
}
