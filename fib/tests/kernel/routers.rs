//! A host whose uplink has its default route from a router's advertisements.

use std::net::Ipv6Addr;
use std::os::fd::AsRawFd;

use margay_fib::{LinkSpec, attach};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, sendto, setsockopt,
    socket, sockopt,
};

use crate::container::Container;
use crate::net::*;

/// Of the host and of the router on their link.
const HOST: &str = "fe80::1";
const ROUTER: &str = "fe80::2";

/// One advertisement, as RFC 4861 §4.2 has it: a router for half an hour.
fn advertise() {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (family, protocol) = (AddressFamily::Inet6, SockProtocol::IcmpV6);
    let fd = socket(family, SockType::Raw, flags, protocol).expect("a socket");
    // What has been forwarded is not taken.
    setsockopt(&fd, sockopt::Ipv6Ttl, &255).expect("set");
    let to: Ipv6Addr = HOST.parse().expect("an address");
    let link = nix::net::if_::if_nametoindex("uplink").expect("the link");
    let to = SockaddrIn6::from(std::net::SocketAddrV6::new(to, 0, 0, link));
    let mut message = [0; 16];
    message[0] = 134;
    message[6..8].copy_from_slice(&1800_u16.to_be_bytes());
    sendto(fd.as_raw_fd(), &message, &to, MsgFlags::empty()).expect("sent");
}

#[test]
fn an_uplink_keeps_its_router_when_the_first_ipv6_workload_comes() {
    let Some(net) = enter() else { return };
    let router = Container::new();
    net.ip(&format!("link add eth0 type veth peer name uplink netns {}", router.pid()));
    net.link("eth1", &[]);
    // By IPv4 it leads to a router, of which nothing has been heard by IPv6 yet.
    net.link("eth2", &["192.0.2.1/24"]);
    net.ip("route add default via 192.0.2.254 dev eth2");
    // A network card of which nothing is known yet, and a network of another runtime.
    net.ip("link add eth3 link eth2 type macvlan");
    net.ip("link add bridge3 type bridge");
    net.ip("link set eth1 master bridge3");
    let conf = |key: &str| format!("/proc/sys/net/ipv6/conf/{key}");
    let set = |key: &str, value: &str| std::fs::write(conf(key), value).expect("written");
    let get = |key: &str| std::fs::read_to_string(conf(key)).expect("there").trim().to_owned();
    for (key, value) in [
        ("all/forwarding", "0"),
        ("eth0/accept_dad", "0"),
        ("eth0/accept_ra", "1"),
        ("eth1/accept_ra", "1"),
        ("eth2/accept_ra", "1"),
        ("eth3/accept_ra", "1"),
        ("bridge3/accept_ra", "1"),
        ("default/accept_ra", "1"),
    ] {
        set(key, value);
    }
    net.ip(&format!("addr add {HOST}/64 dev eth0 nodad"));
    net.ip("link set eth0 up");
    router.run(&format!("ip addr add {ROUTER}/64 dev uplink nodad"));
    router.run("ip link set uplink up");
    net.await_carrier("eth0");
    let default = || net.ip("-6 route show default");
    until("the host has a router", || {
        router.within(advertise);
        default().contains(&format!("via {ROUTER} dev eth0 proto ra"))
    });
    let specs = [1, 2].map(|n| {
        let address = format!("fd00::{n}").parse().expect("an address");
        LinkSpec::new(&format!("cali{n}"), "eth0", vec![address])
    });
    let first = Container::new();
    attach(first.path(), &specs[0]).expect("attached");
    assert_eq!(get("all/forwarding"), "1");
    assert!(default().contains(ROUTER), "{:?}", default());
    assert_eq!((get("eth0/accept_ra"), get("eth1/accept_ra")), ("2".into(), "1".into()));
    assert_eq!(get("eth2/accept_ra"), "2", "its router may be about to speak");
    assert_eq!(get("eth3/accept_ra"), "2", "likewise");
    assert_eq!(get("bridge3/accept_ra"), "1", "containers are no routers");
    assert_eq!(get("default/accept_ra"), "1", "nobody knows what comes");
    // It goes on being heard.
    net.ip("-6 route del default");
    until("the host has a router again", || {
        router.within(advertise);
        default().contains(ROUTER)
    });
    // Whoever wants it otherwise from now on is not told twice.
    set("eth0/accept_ra", "1");
    set("eth1/forwarding", "0");
    let second = Container::new();
    attach(second.path(), &specs[1]).expect("attached");
    assert_eq!(get("eth0/accept_ra"), "1");
    // Writing `all/forwarding` again would turn it on for every link and drop what routers told.
    assert_eq!(get("eth1/forwarding"), "0");
    assert!(default().contains(ROUTER), "{:?}", default());
}

#[test]
fn a_router_that_speaks_only_after_the_first_ipv6_workload_came_is_heard() {
    let Some(net) = enter() else { return };
    let router = Container::new();
    // A macvlan stands for a network card: it is no veth. Nothing leads over it.
    net.ip(&format!("link add wire type veth peer name uplink netns {}", router.pid()));
    net.ip("link set wire up");
    net.ip("link add eth0 link wire type macvlan mode bridge");
    let conf = |key: &str| format!("/proc/sys/net/ipv6/conf/{key}");
    for (key, value) in [("all/forwarding", "0"), ("eth0/accept_dad", "0"), ("eth0/accept_ra", "1")]
    {
        std::fs::write(conf(key), value).expect("written");
    }
    net.ip(&format!("addr add {HOST}/64 dev eth0 nodad"));
    net.ip("link set eth0 up");
    router.run(&format!("ip addr add {ROUTER}/64 dev uplink nodad"));
    router.run("ip link set uplink up");
    let address = "fd00::1".parse().expect("an address");
    let pod = Container::new();
    attach(pod.path(), &LinkSpec::new("cali1", "eth0", vec![address])).expect("attached");
    let default = || net.ip("-6 route show default");
    assert_eq!(default(), "", "no router has spoken");
    until("the host has a router", || {
        router.within(advertise);
        default().contains(&format!("via {ROUTER} dev eth0 proto ra"))
    });
}
