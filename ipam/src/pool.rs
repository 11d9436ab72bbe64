//! What the planner must know of pools, reservations and settings, and nothing else.
//!
//! The shell makes these from `IPPool`, `IPReservation` and `IPAMConfiguration` resources and from
//! the labels of the node and the namespace; selectors are already evaluated here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    time::Duration,
};

use ipnet::IpNet;

use crate::net::{self, Family};

/// What an address is for (`allowedUses`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Use {
    /// A pod.
    Workload,
    /// A tunnel of a node.
    Tunnel,
    /// A service.
    LoadBalancer,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Workload => "Workload",
            Self::Tunnel => "Tunnel",
            Self::LoadBalancer => "LoadBalancer",
        })
    }
}

/// Whether a pool is used without being named (`assignmentMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssignmentMode {
    /// Whenever it is eligible.
    Automatic,
    /// Only when a request names it.
    Manual,
}

/// A pool as the planner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its addresses, masked.
    pub cidr: IpNet,
    /// The length of its blocks.
    pub block_size: u8,
    /// No new assignments. Also set while it is being deleted or is not allocatable.
    pub disabled: bool,
    /// Whether it is used without being named.
    pub mode: AssignmentMode,
    /// What its addresses are for.
    pub uses: BTreeSet<Use>,
    /// Whether its node selector matches this node.
    pub selects_node: bool,
}

/// Why a pool cannot be planned with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Blocks of that size do not exist, or do not fit into the pool.
    #[error("pool {name}: block size {block_size} does not fit {cidr}")]
    BlockSize {
        /// The pool.
        name: String,
        /// Its addresses.
        cidr: IpNet,
        /// What was asked for.
        block_size: u8,
    },
    /// Two pools share addresses.
    #[error("pool {name} ({cidr}) overlaps pool {other} ({other_cidr})")]
    Overlap {
        /// The later one by name.
        name: String,
        /// Its addresses.
        cidr: IpNet,
        /// The other one.
        other: String,
        /// Its addresses.
        other_cidr: IpNet,
    },
}

impl Pool {
    /// A pool that is open to this node for workloads and tunnels.
    pub fn new(name: &str, cidr: IpNet, block_size: u8) -> Result<Self, PoolError> {
        let pool = Self {
            name: name.to_owned(),
            cidr: cidr.trunc(),
            block_size,
            disabled: false,
            mode: AssignmentMode::Automatic,
            uses: BTreeSet::from([Use::Workload, Use::Tunnel]),
            selects_node: true,
        };
        if pool.has_valid_blocks() {
            Ok(pool)
        } else {
            Err(PoolError::BlockSize { name: pool.name, cidr: pool.cidr, block_size })
        }
    }

    /// The block size used where none is given: /26 and /122.
    pub fn default_block_size(family: Family) -> u8 {
        match family {
            Family::V4 => 26,
            Family::V6 => 122,
        }
    }

    /// Its family.
    pub fn family(&self) -> Family {
        Family::of_net(self.cidr)
    }

    /// Whether its block size exists and is not larger than the pool.
    pub fn has_valid_blocks(&self) -> bool {
        self.family().block_lengths().contains(&self.block_size)
            && self.block_size >= self.cidr.prefix_len()
    }

    /// How many blocks it is cut into.
    pub(crate) fn blocks(&self) -> u128 {
        let bits = self.block_size.saturating_sub(self.cidr.prefix_len());
        1_u128.checked_shl(u32::from(bits)).unwrap_or(u128::MAX)
    }

    /// How many addresses one of its blocks has.
    pub(crate) fn block_addresses(&self) -> u128 {
        let bits = self.cidr.max_prefix_len().saturating_sub(self.block_size);
        1_u128.checked_shl(u32::from(bits)).unwrap_or(u128::MAX)
    }

    /// The block at this place of its grid; `None` beyond the end.
    pub(crate) fn block_at(&self, index: u128) -> Option<IpNet> {
        if index >= self.blocks() {
            return None;
        }
        let (first, _) = net::span(self.cidr);
        let at = first.checked_add(index.checked_mul(self.block_addresses())?)?;
        net::around(net::address(self.family(), at), self.block_size)
    }
}

/// All pools, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pools(BTreeMap<String, Pool>);

impl Pools {
    /// Takes them as they are; [`Pools::faults`] tells what is wrong between them.
    pub fn new(pools: impl IntoIterator<Item = Pool>) -> Self {
        Self(pools.into_iter().map(|pool| (pool.name.clone(), pool)).collect())
    }

    /// By name, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Pool> {
        self.0.values()
    }

    /// By its name or its CIDR, as annotations give either.
    pub fn find(&self, name_or_cidr: &str) -> Option<&Pool> {
        self.0.get(name_or_cidr).or_else(|| {
            let cidr: IpNet = name_or_cidr.parse().ok()?;
            self.iter().find(|pool| pool.cidr == cidr)
        })
    }

    /// The pool an address belongs to; the narrowest if pools overlap.
    pub fn of(&self, address: IpAddr) -> Option<&Pool> {
        self.iter()
            .filter(|pool| pool.cidr.contains(&address))
            .max_by_key(|pool| pool.cidr.prefix_len())
    }

    /// The pool a block lies in entirely; the narrowest if pools overlap.
    pub fn of_block(&self, block: IpNet) -> Option<&Pool> {
        self.iter()
            .filter(|pool| pool.cidr.contains(&block))
            .max_by_key(|pool| pool.cidr.prefix_len())
    }

    /// What no set of pools may have: a block size that does not exist, pools that overlap.
    pub fn faults(&self) -> Vec<PoolError> {
        let mut faults = Vec::new();
        let all: Vec<&Pool> = self.iter().collect();
        for (at, pool) in all.iter().enumerate() {
            if !pool.has_valid_blocks() && !pool.disabled {
                faults.push(PoolError::BlockSize {
                    name: pool.name.clone(),
                    cidr: pool.cidr,
                    block_size: pool.block_size,
                });
            }
            for other in all.iter().take(at).filter(|other| net::overlap(other.cidr, pool.cidr)) {
                faults.push(PoolError::Overlap {
                    name: pool.name.clone(),
                    cidr: pool.cidr,
                    other: other.name.clone(),
                    other_cidr: other.cidr,
                });
            }
        }
        faults
    }
}

/// Addresses never to be assigned unless somebody asks for that very address. Those already
/// assigned stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reservations(Vec<IpNet>);

impl Reservations {
    /// Merges what overlaps or adjoins.
    pub fn new(cidrs: impl IntoIterator<Item = IpNet>) -> Self {
        Self(IpNet::aggregate(&cidrs.into_iter().map(|cidr| cidr.trunc()).collect()))
    }

    /// Whether an address is reserved.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|cidr| cidr.contains(&address))
    }

    /// Whether every address of a block is. The CIDRs are merged, so one of them covers it.
    pub fn covers(&self, block: IpNet) -> bool {
        self.0.iter().any(|cidr| cidr.contains(&block))
    }

    /// How many addresses of `net` are reserved.
    pub fn within(&self, net: IpNet) -> u128 {
        self.0
            .iter()
            .map(|cidr| {
                if cidr.contains(&net) {
                    net::size(net)
                } else if net.contains(cidr) {
                    net::size(*cidr)
                } else {
                    0
                }
            })
            .fold(0, u128::saturating_add)
    }

    /// The merged CIDRs.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> {
        self.0.iter().copied()
    }
}

/// Behaviour of the whole cluster (`IPAMConfiguration`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Nobody takes addresses from another node's block.
    pub strict_affinity: bool,
    /// Whether nodes claim blocks by themselves.
    pub auto_allocate_blocks: bool,
    /// Most blocks of one family a node may own; 0 is no limit.
    pub max_blocks_per_host: u32,
    /// How long a released address waits before it is free.
    pub cooldown: Duration,
}

impl Default for Settings {
    /// Nothing hidden: no limit of blocks. Thirty seconds of cool-down, because an address that is
    /// used again at once meets the traffic of its predecessor.
    fn default() -> Self {
        Self {
            strict_affinity: false,
            auto_allocate_blocks: true,
            max_blocks_per_host: 0,
            cooldown: Duration::from_secs(30),
        }
    }
}

/// Why settings contradict themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Without blocks of their own nodes could only borrow from each other.
    #[error("autoAllocateBlocks cannot be false while strictAffinity is false")]
    NothingToOwn,
    /// A node at its limit would borrow, which makes the limit one of blocks only.
    #[error("maxBlocksPerHost {0} needs strictAffinity")]
    LimitWithoutAffinity(u32),
    /// Beyond a million.
    #[error("maxBlocksPerHost {0} is more than 1000000")]
    Limit(u32),
    /// Beyond twenty minutes.
    #[error("ipCooldownSeconds {0} is more than 1200")]
    Cooldown(u64),
}

impl Settings {
    /// The rules between fields, checked when a user sets them.
    pub fn validate(&self) -> Result<(), SettingsError> {
        if !self.strict_affinity && !self.auto_allocate_blocks {
            return Err(SettingsError::NothingToOwn);
        }
        if self.max_blocks_per_host > 1_000_000 {
            return Err(SettingsError::Limit(self.max_blocks_per_host));
        }
        if self.max_blocks_per_host > 0 && !self.strict_affinity {
            return Err(SettingsError::LimitWithoutAffinity(self.max_blocks_per_host));
        }
        if self.cooldown.as_secs() > 1200 {
            return Err(SettingsError::Cooldown(self.cooldown.as_secs()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
