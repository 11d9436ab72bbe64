//! What `margay ipam show` and `get blockaffinity` tell, as rows.
//!
//! Owns the counting. Leaves to others how it is printed.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    block::{Block, BlockState, Held, Slot},
    net,
    pool::{Pool, Pools, Reservations, Settings},
    view::{Stored, View},
};

/// How a pool or a block is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseRow {
    /// Its addresses.
    pub cidr: IpNet,
    /// Whether it is a block.
    pub is_block: bool,
    /// The pool; `None` for a block in no pool.
    pub pool: Option<String>,
    /// The node that owns the block; `None` for a pool and for a block of nobody.
    pub node: Option<String>,
    /// Of a pool: `active` or `disabled`; of a block: `confirmed`, `unowned`, `draining`,
    /// `overlapping` or `unreadable`.
    pub state: &'static str,
    /// How many addresses there are.
    pub total: u128,
    /// How many are held.
    pub in_use: u128,
    /// How many are cooling down.
    pub cooling: u128,
    /// How many are reserved, in use or not.
    pub reserved: u128,
    /// How many could be assigned now. Computed, not the difference of the others: what is in use
    /// may be reserved too.
    pub free: u128,
}

/// Every pool, and after each its blocks if asked for; blocks in no pool come last.
pub fn usage(
    view: &View,
    pools: &Pools,
    reservations: &Reservations,
    show_blocks: bool,
) -> Vec<UseRow> {
    let mut rows = Vec::new();
    for pool in pools.iter() {
        let blocks: Vec<IpNet> = view
            .within(pool.cidr)
            .filter(|cidr| pools.of_block(*cidr).is_some_and(|of| of.name == pool.name))
            .collect();
        let blocks = blocks.into_iter().map(|cidr| block_row(view, pools, reservations, cidr));
        let blocks: Vec<UseRow> = blocks.collect();
        rows.push(pool_row(pool, reservations, &blocks));
        if show_blocks {
            rows.extend(blocks);
        }
    }
    if show_blocks {
        let homeless = view.entries().filter(|(cidr, _)| pools.of_block(*cidr).is_none());
        rows.extend(homeless.map(|(cidr, _)| block_row(view, pools, reservations, cidr)));
    }
    rows
}

fn pool_row(pool: &Pool, reservations: &Reservations, blocks: &[UseRow]) -> UseRow {
    let sum = |of: fn(&UseRow) -> u128| blocks.iter().map(of).fold(0, u128::saturating_add);
    let total = net::size(pool.cidr);
    let reserved = reservations.within(pool.cidr);
    // What lies in no block is free unless reserved.
    let outside = total.saturating_sub(sum(|row| row.total));
    let reserved_outside = reserved.saturating_sub(sum(|row| row.reserved));
    UseRow {
        cidr: pool.cidr,
        is_block: false,
        pool: Some(pool.name.clone()),
        node: None,
        state: if pool.disabled { "disabled" } else { "active" },
        total,
        in_use: sum(|row| row.in_use),
        cooling: sum(|row| row.cooling),
        reserved,
        free: sum(|row| row.free).saturating_add(outside.saturating_sub(reserved_outside)),
    }
}

fn block_row(view: &View, pools: &Pools, reservations: &Reservations, cidr: IpNet) -> UseRow {
    let pool = pools.of_block(cidr).map(|pool| pool.name.clone());
    let (total, reserved) = (net::size(cidr), reservations.within(cidr));
    let Some((_, block)) = view.block(cidr) else {
        let state = "unreadable";
        let node = None;
        let (in_use, cooling, free) = (0, 0, 0);
        let is_block = true;
        return UseRow {
            cidr,
            is_block,
            pool,
            node,
            state,
            total,
            in_use,
            cooling,
            reserved,
            free,
        };
    };
    let free = block.free().filter(|at| !reservations.contains(block.address(*at))).count();
    UseRow {
        cidr,
        is_block: true,
        pool,
        node: block.owner().map(|owner| owner.node.to_string()),
        state: state(view, block),
        total,
        in_use: count(block.held_len()),
        cooling: count(block.cooling().count()),
        reserved,
        free: count(free),
    }
}

fn state(view: &View, block: &Block) -> &'static str {
    if view.is_contested(block.cidr()) {
        "overlapping"
    } else if block.state() == BlockState::Draining {
        "draining"
    } else if block.owner().is_none() {
        "unowned"
    } else {
        "confirmed"
    }
}

fn count(n: usize) -> u128 {
    u128::try_from(n).unwrap_or(u128::MAX)
}

/// What one address is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressRow {
    /// Somebody has it.
    InUse {
        /// Its block.
        block: IpNet,
        /// By whom and since when.
        held: Held,
    },
    /// It was released and waits.
    Cooling {
        /// Its block.
        block: IpNet,
        /// Since when.
        since: crate::time::UnixMillis,
    },
    /// Nobody has it.
    Free,
    /// Its block cannot be read.
    Unreadable(IpNet),
}

/// What one address is doing.
pub fn address(view: &View, address: IpAddr) -> AddressRow {
    for cidr in view.overlaps(IpNet::from(address)) {
        let Some(Stored::Sound(block)) = view.entry(cidr).map(|entry| &entry.stored) else {
            return AddressRow::Unreadable(cidr);
        };
        let slot = block.ordinal(address).and_then(|ordinal| block.slot(ordinal));
        match slot {
            Some(Slot::Held(held)) => {
                return AddressRow::InUse { block: cidr, held: held.as_ref().clone() };
            }
            Some(Slot::Cooling(since)) => return AddressRow::Cooling { block: cidr, since },
            Some(Slot::Free) | None => {}
        }
    }
    AddressRow::Free
}

/// An address used on another node than that of its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BorrowedRow {
    /// The address.
    pub address: IpAddr,
    /// Where it is used.
    pub node: String,
    /// Its block.
    pub block: IpNet,
    /// Whose block that is; `None` for nobody's.
    pub owner: Option<String>,
    /// What for, in Calico's words: `Pod`, the tunnel's `type`, or empty.
    pub kind: String,
    /// Who has it: `NAMESPACE/POD`, or the handle.
    pub allocated_to: String,
}

/// All borrowed addresses, in order.
pub fn borrowed(view: &View) -> Vec<BorrowedRow> {
    let mut rows = Vec::new();
    for block in view.blocks() {
        let owner = block.owner().map(|owner| &owner.node);
        for (ordinal, held) in block.held().filter(|(_, held)| Some(&held.node) != owner) {
            let attribute = |name: &str| held.attributes.get(name).map(str::to_owned);
            let pod = attribute("namespace").zip(attribute("pod"));
            rows.push(BorrowedRow {
                address: block.address(ordinal),
                node: held.node.to_string(),
                block: block.cidr(),
                owner: owner.map(ToString::to_string),
                kind: match &pod {
                    Some(_) => "Pod".to_owned(),
                    None => attribute("type").unwrap_or_default(),
                },
                allocated_to: match pod {
                    Some((namespace, pod)) => format!("{namespace}/{pod}"),
                    None => held.handle.to_string(),
                },
            });
        }
    }
    rows
}

/// A block and its owner, in the shape of Calico's `BlockAffinity`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffinityRow {
    /// `NODE-CIDR` with `-` for every `.`, `:` and `/`.
    pub name: String,
    /// The node.
    pub node: String,
    /// The block.
    pub cidr: IpNet,
    /// `confirmed`, or `pendingDeletion` while the block is being emptied.
    pub state: &'static str,
}

/// Every block that has an owner.
pub fn affinities(view: &View) -> Vec<AffinityRow> {
    let row = |block: &std::sync::Arc<Block>| {
        let node = block.owner()?.node.to_string();
        let cidr = block.cidr();
        Some(AffinityRow {
            name: format!("{node}-{}", cidr.to_string().replace(['.', ':', '/'], "-")),
            node,
            cidr,
            state: match block.state() {
                BlockState::Active => "confirmed",
                BlockState::Draining => "pendingDeletion",
            },
        })
    };
    view.blocks().filter_map(row).collect()
}

/// The settings, as Calico's `--show-configuration` names them.
pub fn configuration(settings: &Settings) -> Vec<(&'static str, String)> {
    vec![
        ("StrictAffinity", settings.strict_affinity.to_string()),
        ("AutoAllocateBlocks", settings.auto_allocate_blocks.to_string()),
        ("MaxBlocksPerHost", settings.max_blocks_per_host.to_string()),
        ("IPCooldownSeconds", settings.cooldown.as_secs().to_string()),
    ]
}

#[cfg(test)]
mod tests;
