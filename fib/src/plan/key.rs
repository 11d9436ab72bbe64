//! Prefixes as small ordered keys: a table of a million routes is a map of these.

use std::fmt::Debug;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A prefix of one family, ordered by address, then length.
pub trait Key: Copy + Ord + Hash + Debug {
    /// Longest prefix length.
    const BITS: u8;

    /// The prefix.
    fn net(self) -> IpNet;
    /// Its length.
    fn length(self) -> u8;
    /// The prefix of this length around an address; `None` for the other family.
    fn around(address: IpAddr, len: u8) -> Option<Self>;
    /// First and last key inside this prefix (itself included).
    fn span(self) -> (Self, Self);
    /// First and last key there is.
    fn everything() -> (Self, Self);
}

/// An IPv4 prefix: address in the upper bits, length in the low octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key4(u64);

/// An IPv6 prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key6 {
    hi: u64,
    lo: u64,
    len: u8,
}

impl From<Ipv4Net> for Key4 {
    fn from(net: Ipv4Net) -> Self {
        let addr = u32::from(net.addr()) & mask4(net.prefix_len());
        Self((u64::from(addr) << 8) | u64::from(net.prefix_len()))
    }
}

impl From<Ipv6Net> for Key6 {
    fn from(net: Ipv6Net) -> Self {
        let addr = u128::from(net.addr()) & mask6(net.prefix_len());
        Self::new(addr, net.prefix_len())
    }
}

impl Key6 {
    fn new(addr: u128, len: u8) -> Self {
        let [hi, lo] = halves(addr);
        Self { hi, lo, len }
    }

    fn addr(self) -> u128 {
        (u128::from(self.hi) << 64) | u128::from(self.lo)
    }
}

impl Key for Key4 {
    const BITS: u8 = 32;

    fn net(self) -> IpNet {
        let [_, _, _, a, b, c, d, len] = self.0.to_be_bytes();
        let len = len.min(32);
        IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len))
    }

    fn length(self) -> u8 {
        let [.., len] = self.0.to_be_bytes();
        len
    }

    fn around(address: IpAddr, len: u8) -> Option<Self> {
        match address {
            IpAddr::V4(a) => {
                let addr = u32::from(a) & mask4(len);
                Some(Self((u64::from(addr) << 8) | u64::from(len.min(32))))
            }
            IpAddr::V6(_) => None,
        }
    }

    fn span(self) -> (Self, Self) {
        let rest = u64::from(!mask4(self.length())) << 8;
        (self, Self(self.0 | rest | 0xff))
    }

    fn everything() -> (Self, Self) {
        Self(0).span()
    }
}

impl Key for Key6 {
    const BITS: u8 = 128;

    fn net(self) -> IpNet {
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from(self.addr()), self.len.min(128)))
    }

    fn length(self) -> u8 {
        self.len
    }

    fn around(address: IpAddr, len: u8) -> Option<Self> {
        match address {
            IpAddr::V6(a) => Some(Self::new(u128::from(a) & mask6(len), len.min(128))),
            IpAddr::V4(_) => None,
        }
    }

    fn span(self) -> (Self, Self) {
        let last = self.addr() | !mask6(self.len);
        (self, Self::new(last, u8::MAX))
    }

    fn everything() -> (Self, Self) {
        Self::new(0, 0).span()
    }
}

/// First and last address of a prefix.
pub fn addresses(net: IpNet) -> (IpAddr, IpAddr) {
    match net {
        IpNet::V4(n) => (IpAddr::V4(n.network()), IpAddr::V4(n.broadcast())),
        IpNet::V6(n) => (IpAddr::V6(n.network()), IpAddr::V6(n.broadcast())),
    }
}

fn mask4(len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(len.min(32))).unwrap_or(0)
}

fn mask6(len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(len.min(128))).unwrap_or(0)
}

fn halves(v: u128) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = v.to_be_bytes();
    [u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p])]
}

#[cfg(test)]
mod tests;
