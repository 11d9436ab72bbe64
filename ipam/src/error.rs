//! Why IPAM says no, and what the reader can do about it.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    block::{Handle, NodeName},
    net::Family,
    pool::Use,
};

/// Why a pool was not used for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is disabled, or being deleted.
    Disabled,
    /// It is of the other family.
    Family,
    /// It is used only when named.
    Manual,
    /// Its node selector does not match the node.
    NodeSelector,
    /// Its namespace selector does not match the namespace.
    NamespaceSelector,
    /// It is not for this use.
    Uses,
    /// Its block size does not fit it.
    BlockSize,
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Disabled => "disabled",
            Self::Family => "other family",
            Self::Manual => "assignmentMode Manual",
            Self::NodeSelector => "nodeSelector does not match the node",
            Self::NamespaceSelector => "namespaceSelector does not match the namespace",
            Self::Uses => "allowedUses",
            Self::BlockSize => "its blockSize does not fit its CIDR",
        })
    }
}

/// What a caller makes of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// The request itself is wrong.
    Invalid,
    /// Pools or settings do not allow it.
    Forbidden,
    /// It names something that is not there.
    NotFound,
    /// It wants what somebody has.
    AlreadyExists,
    /// Nothing is left.
    Exhausted,
    /// Its view of what it releases is stale.
    Aborted,
    /// The same request may succeed later.
    Unavailable,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IpamError {
    /// No pool may be used for it.
    #[error("no pool gives node {node} {family} addresses for {use_}{}", reasons(.unfit))]
    NoPool {
        /// For which node.
        node: NodeName,
        /// Of which family.
        family: Family,
        /// For what.
        use_: Use,
        /// Every pool of the family and why it is not used.
        unfit: Vec<(String, Unfit)>,
    },
    /// A pool named in the request does not exist.
    #[error("pool {0} does not exist")]
    UnknownPool(String),
    /// A pool named in the request cannot be used.
    #[error("pool {pool} cannot be used: {why}")]
    UnfitPool {
        /// The pool.
        pool: String,
        /// Why.
        why: Unfit,
    },
    /// Every address is taken, reserved, cooling down or in a block of another node.
    #[error("{}", exhausted(.pools, *.wanted, *.cooling, *.elsewhere))]
    Full {
        /// The pools that were tried.
        pools: Vec<String>,
        /// How many addresses were asked for.
        wanted: usize,
        /// How many addresses of these pools are cooling down.
        cooling: usize,
        /// How many are free in blocks of other nodes, out of reach because of strict affinity.
        elsewhere: usize,
    },
    /// The node may not own more blocks.
    #[error("node {node} owns {limit} blocks, the most maxBlocksPerHost allows, and all are full")]
    BlockLimit {
        /// The node.
        node: NodeName,
        /// How many it may own.
        limit: u32,
    },
    /// Blocks are not claimed automatically and the node has no room in its own.
    #[error("the blocks of node {0} are full and autoAllocateBlocks is false")]
    NoAutoAllocate(NodeName),
    /// A request for nothing, or for more than a block's worth a family.
    #[error("{0} addresses cannot be asked for at once (1 to {MOST_AT_ONCE})")]
    Count(usize),
    /// The address lies in no pool.
    #[error("{0} is in no pool")]
    OutsidePools(IpAddr),
    /// Somebody has the address.
    #[error("{address} is already assigned to {handle} on node {node}")]
    Taken {
        /// Which.
        address: IpAddr,
        /// By what it is held.
        handle: Handle,
        /// Where.
        node: NodeName,
    },
    /// The address is in use on this node without having been assigned.
    #[error("{0} is in use on this node without having been assigned")]
    InUse(IpAddr),
    /// Its block belongs to another node and strict affinity is on.
    #[error("{address} is in block {block} of {owner}, and strictAffinity is on")]
    Affinity {
        /// Which.
        address: IpAddr,
        /// Its block.
        block: IpNet,
        /// Whose it is: a node, or nobody.
        owner: String,
    },
    /// The block cannot be used: it is damaged, overlaps another or is being emptied.
    #[error("block {block} cannot be used: {why}")]
    Block {
        /// Which.
        block: IpNet,
        /// Why.
        why: String,
    },
    /// What is to be released is held by somebody else by now. Nothing was released.
    #[error("{address} is held by {handle} since another assignment; nothing was released")]
    Stale {
        /// Which.
        address: IpAddr,
        /// Who has it.
        handle: Handle,
    },
    /// Nobody may write for now.
    #[error("the datastore is locked: datastoreReady of ClusterInformation default is false")]
    Locked,
    /// What says which addresses may be assigned stands in the datastore and cannot be read.
    #[error("{0} cannot be read: which addresses may be assigned is not known")]
    Unreadable(String),
    /// The view is not complete yet.
    #[error("the list of blocks is not loaded yet")]
    NotInSync,
    /// Another daemon runs under this node name.
    #[error("another daemon runs under the node name {0}")]
    Displaced(NodeName),
    /// The lease of the node is not taken yet.
    #[error("the lease of node {0} is not taken yet")]
    NoLease(NodeName),
    /// Others were faster until time ran out.
    #[error("{0} commits in a row were lost to others")]
    Contention(u32),
    /// The datastore did not take the commit in time; why, in words.
    #[error("{0}")]
    Store(String),
}

/// Most addresses of one family a request may ask for: what fits into the largest block.
pub const MOST_AT_ONCE: usize = 4096;

impl IpamError {
    /// What the caller makes of it.
    pub fn consequence(&self) -> Consequence {
        match self {
            Self::Count(_) | Self::OutsidePools(_) => Consequence::Invalid,
            Self::NoPool { .. } | Self::UnfitPool { .. } | Self::Affinity { .. } => {
                Consequence::Forbidden
            }
            Self::UnknownPool(_) => Consequence::NotFound,
            Self::Taken { .. } | Self::InUse(_) => Consequence::AlreadyExists,
            Self::Full { .. } | Self::BlockLimit { .. } | Self::NoAutoAllocate(_) => {
                Consequence::Exhausted
            }
            Self::Stale { .. } => Consequence::Aborted,
            Self::Block { .. }
            | Self::Locked
            | Self::Unreadable(_)
            | Self::NotInSync
            | Self::Displaced(_)
            | Self::NoLease(_)
            | Self::Contention(_)
            | Self::Store(_) => Consequence::Unavailable,
        }
    }

    /// What can be done about it, where there is something; for a `help:` line.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::NoPool { .. } => {
                "create an IPPool, or widen the selectors or allowedUses of one above".into()
            }
            Self::UnknownPool(_) => "`margay get ippool` lists the pools".into(),
            Self::UnfitPool { why: Unfit::Disabled, pool } => {
                format!("set `disabled: false` on pool {pool}, or name another pool")
            }
            Self::UnfitPool { .. } => "name another pool".into(),
            Self::Full { elsewhere: 1.., .. } => {
                "set `strictAffinity: false` to borrow from other nodes, or add a pool".into()
            }
            Self::Full { cooling: 1.., .. } => {
                "wait for the cool-down, lower ipCooldownSeconds, or add a pool".into()
            }
            Self::Full { .. } => {
                "add an IPPool; `margay ipam check` finds addresses that nobody uses".into()
            }
            Self::BlockLimit { .. } => {
                "raise maxBlocksPerHost with `margay ipam configure`, or use larger blocks".into()
            }
            Self::NoAutoAllocate(_) => {
                "set `autoAllocateBlocks: true` in the IPAMConfiguration".into()
            }
            Self::OutsidePools(_) => {
                "choose an address of an IPPool; `margay get ippool` lists them".into()
            }
            Self::Taken { .. } => "`margay ipam show --ip` tells who has it".into(),
            Self::Affinity { .. } => {
                "assign it for the node that owns the block, or set `strictAffinity: false`".into()
            }
            Self::Block { .. } => "run `margay ipam check --fix`".into(),
            Self::Unreadable(_) => {
                "upgrade this program if a newer one wrote it; else delete it and apply it again"
                    .into()
            }
            Self::Locked => "`margay datastore unlock` lets everybody write again".into(),
            Self::Stale { .. } => "look again, then release it by its present handle".into(),
            Self::Displaced(node) => format!(
                "stop the other daemon named {node}, or give this one another `[node] name`; a \
                 stopped daemon's lease ends by itself"
            ),
            Self::Count(_)
            | Self::InUse(_)
            | Self::NotInSync
            | Self::NoLease(_)
            | Self::Contention(_)
            | Self::Store(_) => return None,
        })
    }
}

fn reasons(pools: &[(String, Unfit)]) -> String {
    if pools.is_empty() {
        return " (there is none of that family)".into();
    }
    let each: Vec<String> = pools.iter().map(|(pool, why)| format!("{pool}: {why}")).collect();
    format!(" ({})", each.join("; "))
}

fn exhausted(pools: &[String], wanted: usize, cooling: usize, elsewhere: usize) -> String {
    let mut text = match pools {
        [pool] => format!("pool {pool} is full"),
        _ => format!("pools {} are full", pools.join(", ")),
    };
    if wanted > 1 {
        text += &format!(" for {wanted} addresses");
    }
    if cooling > 0 {
        text += &format!("; {cooling} cooling down");
    }
    if elsewhere > 0 {
        text += &format!("; {elsewhere} free in blocks of other nodes (strictAffinity)");
    }
    text
}
