//! Our own addresses on a session, from the interfaces: what next hops are made of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bgp_core::{policy::InterfaceName, rib::SessionAddresses};
use ipnet::IpNet;
use margay_fib::Link;

/// What we can call ourselves towards a peer.
pub(crate) fn session_addresses(
    links: &[Link],
    local: SocketAddr,
    remote: SocketAddr,
) -> SessionAddresses {
    let mut addresses = SessionAddresses::default();
    match local.ip() {
        IpAddr::V4(v4) => addresses.v4 = Some(v4),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {}
        IpAddr::V6(v6) => addresses.v6 = Some(v6),
    }
    let scope = match local {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => Some(v6.scope_id()),
        _ => None,
    };
    let link = links.iter().find(|link| match scope {
        Some(scope) => link.index == scope,
        None => link.addresses.iter().any(|net| net.addr() == local.ip()),
    });
    let Some(link) = link else {
        if let (IpAddr::V6(v6), Some(scope)) = (local.ip(), scope) {
            addresses.link_local = Some(v6);
            addresses.interface = Some(scope);
        }
        return addresses;
    };
    addresses.v4 = addresses.v4.or_else(|| first_v4(link));
    addresses.v6 = addresses.v6.or_else(|| first_v6(link, false));
    let on_link = |net: &IpNet| net.contains(&remote.ip()) && !is_host(net);
    if scope.is_some() || link.addresses.iter().any(on_link) {
        addresses.interface = Some(link.index);
        addresses.interface_name = InterfaceName::new(&link.name);
        addresses.link_local = match local.ip() {
            IpAddr::V6(v6) if scope.is_some() => Some(v6),
            _ => first_v6(link, true),
        };
        addresses.subnet = link
            .addresses
            .iter()
            .find(|net| net.addr() == local.ip() && on_link(net))
            .filter(|_| scope.is_none())
            .map(IpNet::trunc);
    }
    addresses
}

fn is_host(net: &IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}

fn first_v4(link: &Link) -> Option<Ipv4Addr> {
    link.addresses.iter().find_map(|net| match net.addr() {
        IpAddr::V4(v4) if !v4.is_loopback() => Some(v4),
        _ => None,
    })
}

fn first_v6(link: &Link, link_local: bool) -> Option<Ipv6Addr> {
    link.addresses.iter().find_map(|net| match net.addr() {
        IpAddr::V6(v6) if v6.is_unicast_link_local() == link_local && !v6.is_loopback() => Some(v6),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
