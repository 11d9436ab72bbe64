//! What a workload's link should be.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::attach::limit::Bandwidth;

/// The IPv4 gateway every workload sees; nobody owns it.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The IPv6 gateway: the link-local address that follows from [`HOST_MAC`].
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xecee, 0xeeff, 0xfeee, 0xeeee);
/// Hardware address of every host end.
pub const HOST_MAC: [u8; 6] = [0xee; 6];

/// A link between the host and one workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSpec {
    /// Host end.
    pub host_name: String,
    /// Container end.
    pub container_name: String,
    /// Hardware address of the host end, also the gateway's in the container's neighbour table.
    pub host_mac: [u8; 6],
    /// Hardware address of the container end; `None` = as the kernel chooses.
    pub container_mac: Option<[u8; 6]>,
    /// Both ends, octets.
    pub mtu: u32,
    /// Transmit queue length of both ends; `None` = the kernel's default.
    pub tx_queue_len: Option<u32>,
    /// Interface alias of the host end: by it a stale or colliding name is told apart. At most 255
    /// octets; empty = none.
    pub alias: String,
    /// The workload's addresses, each a /32 or /128 on the container end. May be empty.
    pub addresses: Vec<IpAddr>,
    /// What the container reaches over the gateway of its family, `0.0.0.0/0` and `::/0` as a rule.
    /// A family without an address must not occur.
    pub routes: Vec<IpNet>,
    /// Whether the workload may forward packets of others; `None` leaves the namespace as it is.
    pub forwarding: Option<bool>,
    /// `rp_filter` of the host end; `None` = the host's default for new links.
    pub rp_filter: Option<u8>,
    /// How much goes to the workload; `None` = as much as there is.
    pub ingress: Option<Bandwidth>,
    /// Likewise from the workload.
    pub egress: Option<Bandwidth>,
    /// Further settings of the container's namespace.
    pub sysctls: Vec<Sysctl>,
}

/// A kernel setting below `/proc/sys/net`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sysctl {
    /// With slashes, as `ipv4/conf/eth0/arp_notify`.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// Why a link cannot be as wished.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Empty, longer than 15 octets, `.`, `..`, or with a slash, a colon or white space.
    #[error("interface name {0:?} cannot be: 1 to 15 octets without slash, colon or white space")]
    Name(String),
    /// Outside 68 (1280 with IPv6) to 65535.
    #[error("MTU {mtu} cannot be: {least} to 65535")]
    Mtu {
        /// As wished.
        mtu: u32,
        /// The smallest for the families of the link.
        least: u32,
    },
    /// More than the kernel keeps, or with a zero octet.
    #[error("an interface alias of {0} octets cannot be: at most 255, none of them zero")]
    Alias(usize),
    /// Multicast, all zero, or a group address.
    #[error("hardware address {} cannot be: it must be of a single station", mac(.0))]
    Mac([u8; 6]),
    /// The same address twice.
    #[error("address {0} is there twice")]
    Twice(IpAddr),
    /// Unspecified, multicast, loopback, or the gateway itself.
    #[error("{0} cannot be a workload's address")]
    Address(IpAddr),
    /// A route without an address of its family.
    #[error("route {0} has no address of its family to leave from")]
    Route(IpNet),
    /// Not below `/proc/sys/net`.
    #[error(
        "kernel setting {0:?} cannot be: ipv4/… ipv6/… or core/…, without dots between slashes"
    )]
    Sysctl(String),
    /// Less than an octet a second, or a peak that is no faster than the rate.
    #[error(
        "a limit of {rate} bit/s with a peak of {peak:?} cannot be: 8 bit/s at least, the peak faster"
    )]
    Bandwidth {
        /// bit/s.
        rate: u64,
        /// bit/s.
        peak: Option<u64>,
    },
    /// Not 0, 1 or 2.
    #[error("rp_filter {0} cannot be: 0, 1 or 2")]
    RpFilter(u8),
}

impl LinkSpec {
    /// Gateway, hardware address and MTU as usual; a default route for each family that has an
    /// address.
    pub fn new(host_name: &str, container_name: &str, addresses: Vec<IpAddr>) -> Self {
        let mut routes = BTreeSet::new();
        for address in &addresses {
            routes.insert(match address {
                IpAddr::V4(_) => IpNet::V4(ipnet::Ipv4Net::default()),
                IpAddr::V6(_) => IpNet::V6(ipnet::Ipv6Net::default()),
            });
        }
        Self {
            host_name: host_name.to_owned(),
            container_name: container_name.to_owned(),
            host_mac: HOST_MAC,
            container_mac: None,
            mtu: 1500,
            tx_queue_len: None,
            alias: String::new(),
            addresses,
            routes: routes.into_iter().collect(),
            forwarding: None,
            rp_filter: None,
            ingress: None,
            egress: None,
            sysctls: Vec::new(),
        }
    }

    /// Whether the kernel could take it; asked by [`attach`](crate::attach()) first of all.
    pub fn check(&self) -> Result<(), SpecError> {
        for name in [&self.host_name, &self.container_name] {
            if !is_name(name) {
                return Err(SpecError::Name(name.clone()));
            }
        }
        let least = if self.has_v6() { 1280 } else { 68 };
        if !(least..=65535).contains(&self.mtu) {
            return Err(SpecError::Mtu { mtu: self.mtu, least });
        }
        if self.alias.len() > ALIAS_MAX || self.alias.contains('\0') {
            return Err(SpecError::Alias(self.alias.len()));
        }
        for mac in [Some(self.host_mac), self.container_mac].into_iter().flatten() {
            if mac[0] & 1 != 0 || mac == [0; 6] {
                return Err(SpecError::Mac(mac));
            }
        }
        let mut seen = BTreeSet::new();
        for &address in &self.addresses {
            if !is_a_workloads(address) {
                return Err(SpecError::Address(address));
            }
            if !seen.insert(address) {
                return Err(SpecError::Twice(address));
            }
        }
        for route in &self.routes {
            let fits = |a: &IpAddr| a.is_ipv4() == matches!(route, IpNet::V4(_));
            if !self.addresses.iter().any(fits) {
                return Err(SpecError::Route(*route));
            }
        }
        for limit in [self.ingress, self.egress].into_iter().flatten() {
            limit.check()?;
        }
        if let Some(value @ 3..) = self.rp_filter {
            return Err(SpecError::RpFilter(value));
        }
        match self.sysctls.iter().find(|s| !is_sysctl(&s.key)) {
            Some(wrong) => Err(SpecError::Sysctl(wrong.key.clone())),
            None => Ok(()),
        }
    }

    /// Whether any direction is limited.
    pub fn is_limited(&self) -> bool {
        self.ingress.is_some() || self.egress.is_some()
    }

    /// The same without limits of traffic.
    pub(crate) fn without_limits(&self) -> Self {
        Self { ingress: None, egress: None, ..self.clone() }
    }

    /// Whether it has an IPv4 address.
    pub fn has_v4(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv4)
    }

    /// Whether it has an IPv6 address.
    pub fn has_v6(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv6)
    }
}

/// Whether the kernel takes it as the name of an interface.
pub(crate) fn is_name(name: &str) -> bool {
    // Where a percent sign is it puts a number.
    let bad = |c: char| "/:%".contains(c) || c.is_whitespace() || c.is_control();
    (1..=NAME_MAX).contains(&name.len()) && name != "." && name != ".." && !name.contains(bad)
}

fn is_a_workloads(address: IpAddr) -> bool {
    let gateway = match address {
        IpAddr::V4(a) => a == GATEWAY_V4 || a.is_broadcast(),
        IpAddr::V6(a) => a.is_unicast_link_local() || a.to_ipv4_mapped().is_some(),
    };
    !gateway && !address.is_unspecified() && !address.is_multicast() && !address.is_loopback()
}

fn is_sysctl(key: &str) -> bool {
    let mut parts = key.split('/');
    let root = parts.next().is_some_and(|p| matches!(p, "ipv4" | "ipv6" | "core" | "netfilter"));
    let fine = |p: &str| !p.is_empty() && p != "." && p != ".." && !p.contains('\0');
    root && key.contains('/') && parts.all(fine)
}

/// As people write it.
pub(crate) fn mac(octets: &[u8; 6]) -> String {
    octets.map(|o| format!("{o:02x}")).join(":")
}

/// `IFNAMSIZ` less its zero.
const NAME_MAX: usize = 15;
/// `IFALIASZ` less its zero.
const ALIAS_MAX: usize = 255;

#[cfg(test)]
mod tests;
