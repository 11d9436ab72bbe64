//! Prefixes in the form the tables hold them: a number and a length, host bits clear.

use std::{fmt::Debug, hash::BuildHasher, net::IpAddr};

use bgp_packet::Family;
use foldhash::fast::FixedState;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A prefix of one family.
pub(crate) trait Net: Copy + Eq + Ord + Debug + Default {
    /// The family.
    const FAMILY: Family;
    /// Its place in `Family::SUPPORTED`.
    const INDEX: usize;
    /// Bits of an address.
    const MAX_LEN: u8;
    /// `None` when `net` is of the other family.
    fn from_ip(net: IpNet) -> Option<Self>;
    /// The address as a host prefix; `None` when it is of the other family.
    fn host(address: IpAddr) -> Option<Self>;
    /// The prefix of the given length that contains this one; never longer than this one.
    fn truncate(self, len: u8) -> Self;
    /// For users.
    fn to_ip(self) -> IpNet;
    /// Prefix length.
    fn len(self) -> u8;
    /// The same on every run: which shard owns a prefix, and where it sits in a hash table.
    fn hash(self) -> u64;
    /// The prefixes of a batch.
    fn of_batch(batch: &super::Batch) -> &[Self];
    /// Whether `other` lies within this prefix (or is it).
    fn contains(self, other: Self) -> bool {
        other.len() >= self.len() && other.truncate(self.len()) == self
    }
}

/// An IPv4 prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Net4 {
    address: u32,
    len: u8,
}

/// An IPv6 prefix; as octets, so that it takes no more room than it must.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Net6 {
    address: [u8; 16],
    len: u8,
}

/// Spreads integers; fixed, because shards and tables must agree over runs.
const HASHER: FixedState = FixedState::with_seed(0x6d61_7267_6179);

impl From<Ipv4Net> for Net4 {
    fn from(net: Ipv4Net) -> Self {
        Self { address: u32::from(net.network()), len: net.prefix_len() }
    }
}

impl From<Ipv6Net> for Net6 {
    fn from(net: Ipv6Net) -> Self {
        Self::new(u128::from(net.network()), net.prefix_len())
    }
}

impl Net6 {
    fn new(address: u128, len: u8) -> Self {
        Self { address: address.to_be_bytes(), len }
    }

    fn address(self) -> u128 {
        u128::from_be_bytes(self.address)
    }
}

impl Net for Net4 {
    const FAMILY: Family = Family::IPV4_UNICAST;
    const INDEX: usize = 0;
    const MAX_LEN: u8 = 32;

    fn from_ip(net: IpNet) -> Option<Self> {
        match net {
            IpNet::V4(net) => Some(net.into()),
            IpNet::V6(_) => None,
        }
    }

    fn host(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Some(Self { address: address.into(), len: 32 }),
            IpAddr::V6(_) => None,
        }
    }

    fn truncate(self, len: u8) -> Self {
        let mask = u32::MAX.checked_shl(32 - u32::from(len.min(32))).unwrap_or(0);
        Self { address: self.address & mask, len }
    }

    fn to_ip(self) -> IpNet {
        IpNet::V4(Ipv4Net::new_assert(self.address.into(), self.len))
    }

    fn len(self) -> u8 {
        self.len
    }

    fn hash(self) -> u64 {
        HASHER.hash_one(u64::from(self.address) << 8 | u64::from(self.len))
    }

    fn of_batch(batch: &super::Batch) -> &[Self] {
        &batch.v4
    }
}

impl Net for Net6 {
    const FAMILY: Family = Family::IPV6_UNICAST;
    const INDEX: usize = 1;
    const MAX_LEN: u8 = 128;

    fn from_ip(net: IpNet) -> Option<Self> {
        match net {
            IpNet::V4(_) => None,
            IpNet::V6(net) => Some(net.into()),
        }
    }

    fn host(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(Self::new(address.into(), 128)),
        }
    }

    fn truncate(self, len: u8) -> Self {
        let mask = u128::MAX.checked_shl(128 - u32::from(len.min(128))).unwrap_or(0);
        Self::new(self.address() & mask, len)
    }

    fn to_ip(self) -> IpNet {
        IpNet::V6(Ipv6Net::new_assert(self.address().into(), self.len))
    }

    fn len(self) -> u8 {
        self.len
    }

    fn hash(self) -> u64 {
        HASHER.hash_one((self.address(), self.len))
    }

    fn of_batch(batch: &super::Batch) -> &[Self] {
        &batch.v6
    }
}

/// Which of `shards` shards owns a prefix.
pub fn shard_of(prefix: IpNet, shards: usize) -> usize {
    if shards <= 1 {
        return 0;
    }
    let hash = match prefix {
        IpNet::V4(net) => Net4::from(net).hash(),
        IpNet::V6(net) => Net6::from(net).hash(),
    };
    // The high bits: the low ones choose the place inside a shard's hash table.
    ((hash >> 40) as usize) % shards
}

#[cfg(test)]
mod tests;
