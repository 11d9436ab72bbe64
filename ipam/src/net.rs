//! Arithmetic on prefixes: offsets of addresses, overlap.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// That of an address. An IPv4 address written as IPv6 (`::ffff:…`) is IPv6 here.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// That of a prefix.
    pub fn of_net(net: IpNet) -> Self {
        Self::of(net.addr())
    }

    /// The lengths a block may have: /20 to /32 and /116 to /128.
    pub fn block_lengths(self) -> std::ops::RangeInclusive<u8> {
        match self {
            Self::V4 => 20..=32,
            Self::V6 => 116..=128,
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The address as a number.
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// The address of a number; for IPv4 its low 32 bits.
pub(crate) fn address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => {
            let [.., a, b, c, d] = number.to_be_bytes();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        Family::V6 => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

/// First and last address of a prefix as numbers.
pub(crate) fn span(net: IpNet) -> (u128, u128) {
    (number(net.network()), number(net.broadcast()))
}

/// Whether two prefixes share an address.
pub(crate) fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// How many addresses a prefix has; `::/0` counts one less than it has.
pub(crate) fn size(net: IpNet) -> u128 {
    let (first, last) = span(net);
    (last - first).saturating_add(1)
}

/// The prefix of this length around an address; `None` if the length is too long.
pub(crate) fn around(address: IpAddr, length: u8) -> Option<IpNet> {
    IpNet::new(address, length).ok().map(|net| net.trunc())
}

/// Every address of a prefix, first and last included. For prefixes as small as blocks.
pub(crate) fn addresses(net: IpNet) -> impl Iterator<Item = IpAddr> {
    let (first, last) = span(net);
    (first..=last).map(move |at| address(Family::of_net(net), at))
}
