//! The first pools of a cluster, where the configuration asks for them and there are none.

use std::net::{Ipv4Addr, Ipv6Addr};

use bgp_desired::{
    PoolWish, Registration,
    autodetect::{AddressFamily, LinkFacts},
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use margay_model::{
    Object,
    kinds::{IpPool, IpPoolSpec},
};

use super::cluster::Cluster;

/// The pools to create: for each family of which there is no pool at all. `random` makes the
/// unique local range of IPv6.
pub(super) fn first(
    registration: &Registration,
    cluster: &Cluster,
    links: &[LinkFacts],
    random: [u8; 5],
) -> Vec<IpPool> {
    let mut pools = Vec::new();
    for family in AddressFamily::ALL {
        let wish = registration.family(family);
        if cluster.pools().any(|pool| AddressFamily::of(pool.addr()) == family) {
            continue;
        }
        let cidr = match (wish.pool, family) {
            (PoolWish::None, _) => continue,
            (PoolWish::Range(cidr), _) => Some(cidr),
            (PoolWish::Auto, AddressFamily::V4) => {
                let taken: Vec<IpNet> = links
                    .iter()
                    .flat_map(|link| link.addresses.iter().copied())
                    .chain(cluster.networks())
                    .collect();
                free_v4(&taken)
            }
            (PoolWish::Auto, AddressFamily::V6) => Some(unique_local(random)),
        };
        let Some(cidr) = cidr else {
            tracing::warn!(%family, "no range is free for a first pool: name one");
            continue;
        };
        let (name, masquerade) = match family {
            AddressFamily::V4 => ("default-ipv4-ippool", true),
            AddressFamily::V6 => ("default-ipv6-ippool", false),
        };
        let mut spec = IpPoolSpec::new(cidr);
        spec.block_size = wish.block_size;
        spec.nat_outgoing = Some(masquerade);
        pools.push(Object::new(name, spec));
    }
    pools
}

/// Octets for a range of our own (RFC 4193).
pub(super) fn random() -> [u8; 5] {
    let [a, b, c, d, e, ..] = *uuid::Uuid::new_v4().as_bytes();
    [a, b, c, d, e]
}

/// 192.168.0.0/16, or the first of 172.16.0.0/16 to 172.31.0.0/16, that overlaps nothing.
fn free_v4(taken: &[IpNet]) -> Option<IpNet> {
    let usual = Ipv4Addr::new(192, 168, 0, 0);
    let others = (16..=31).map(|second| Ipv4Addr::new(172, second, 0, 0));
    std::iter::once(usual).chain(others).find_map(|address| {
        let net = IpNet::V4(Ipv4Net::new(address, 16).ok()?);
        let overlaps = |other: &IpNet| net.contains(&other.trunc()) || other.contains(&net);
        (!taken.iter().any(overlaps)).then_some(net)
    })
}

/// fdXX:XXXX:XXXX::/48.
fn unique_local([a, b, c, d, e]: [u8; 5]) -> IpNet {
    let address = Ipv6Addr::from([0xfd, a, b, c, d, e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    IpNet::V6(Ipv6Net::new(address, 48).expect("48 is a length of IPv6"))
}

#[cfg(test)]
mod tests;
