//! What to write so that requests are met: plans as values.
//!
//! Owns the choice of pool, block and address, and what a release must match. Promises that each
//! [`Step`] is right alone: one block, one compare on it, one write, so that no step ever waits for
//! another to make sense. Leaves to others the commits themselves and what happens when one is lost
//! (refresh the view, plan again): [`crate::allocator`].

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use margay_model::{IndexEntry, Key, Revision, Txn};

use crate::{
    block::{Block, Handle, NodeName, Owner},
    error::IpamError,
    pool::{Pools, Reservations, Settings, Use},
    time::UnixMillis,
    view::View,
};

mod assign;
mod choose;
mod draft;
mod explicit;
mod release;

pub(crate) use draft::Draft;
pub(crate) use release::unknown;

/// Everything a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// For whom: the node and its instance.
    pub host: &'a Owner,
    /// The blocks as last heard of.
    pub view: &'a View,
    /// The pools, selectors already evaluated for this node.
    pub pools: &'a Pools,
    /// What is never assigned unless asked for by address.
    pub reservations: &'a Reservations,
    /// Addresses live on this node without an assignment: skipped, so that no pod is given one.
    pub busy: &'a BTreeSet<IpAddr>,
    /// How the cluster behaves.
    pub settings: &'a Settings,
    /// The wall clock.
    pub now: UnixMillis,
}

impl<'a> World<'a> {
    /// As it is for the node that a wish is about.
    fn of(self, ask: &'a Ask) -> Self {
        match ask.elsewhere() {
            Some(there) => Self { host: &there.owner, pools: &there.pools, ..self },
            None => self,
        }
    }
}

/// What a request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// So many addresses of each family, whichever.
    Any {
        /// Of IPv4.
        v4: usize,
        /// Of IPv6.
        v6: usize,
    },
    /// These very addresses, reserved ones too.
    Exactly(Vec<IpAddr>),
}

/// Another node than this daemon's own, as addresses are taken for it.
///
/// They come from the blocks it has, whatever its instance; a block claimed for it is adopted by its
/// own daemon, at once or when there is one. What is live there without an assignment only its own
/// daemon knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    owner: Owner,
    pools: Pools,
}

impl Elsewhere {
    /// The node, and the pools with selectors evaluated for it.
    pub fn new(node: NodeName, pools: Pools) -> Self {
        Self { owner: Owner::elsewhere(node), pools }
    }

    /// The node.
    pub fn node(&self) -> &NodeName {
        &self.owner.node
    }
}

/// A request for addresses: all of them or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// For which node; `None`: the one it is asked of.
    pub elsewhere: Option<Arc<Elsewhere>>,
    /// By which they will be released.
    pub handle: Handle,
    /// How many, or which.
    pub want: Want,
    /// Names or CIDRs of the pools to use; empty for all that are eligible. Named pools are used
    /// whatever their selectors and assignment mode say.
    pub pools: Vec<String>,
    /// Pools whose namespace selector does not match the namespace of the request.
    pub not_for_namespace: BTreeSet<String>,
    /// What for.
    pub use_: Use,
    /// Who will use them, in Calico's words.
    pub attributes: BTreeMap<String, String>,
    /// What the handle holds already counts: a repeated request gets what the first one got.
    pub reuse: bool,
    /// A handle whose user is provably dead: an address asked for by name may be taken from it.
    pub replaces: Option<Handle>,
}

impl Request {
    /// How many addresses it asks for.
    pub fn total(&self) -> usize {
        match &self.want {
            Want::Any { v4, v6 } => v4.saturating_add(*v6),
            Want::Exactly(addresses) => addresses.len(),
        }
    }

    /// A request of a workload on this node for any addresses.
    pub fn any(handle: Handle, v4: usize, v6: usize) -> Self {
        Self {
            elsewhere: None,
            handle,
            want: Want::Any { v4, v6 },
            pools: Vec::new(),
            not_for_namespace: BTreeSet::new(),
            use_: Use::Workload,
            attributes: BTreeMap::new(),
            reuse: false,
            replaces: None,
        }
    }
}

/// What is to be released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// An address; if a handle or a serial is given, only that assignment of it.
    Address {
        /// Which.
        address: IpAddr,
        /// The handle it must have.
        handle: Option<Handle>,
        /// The serial it must have.
        serial: Option<u64>,
    },
    /// Everything a handle holds.
    Handle(Handle),
    /// Everything whose attributes have all of these: a pod by namespace and name.
    Owner(BTreeMap<String, String>),
}

/// One wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Addresses for somebody.
    Assign(Request),
    /// Addresses back. With several, all must match or nothing is released.
    Release(Vec<Release>),
    /// A block of this node given up, if it is empty and still as it was at that revision.
    GiveUp {
        /// Which.
        block: IpNet,
        /// As it was seen.
        revision: Revision,
    },
    /// A node is gone: its empty blocks go, the others lose their owner. Addresses stay held.
    ReleaseNode(NodeName),
    /// Blocks of an earlier instance of this node become ours.
    Adopt,
}

impl Ask {
    /// The other node that it is about, if it is.
    pub fn elsewhere(&self) -> Option<&Elsewhere> {
        match self {
            Self::Assign(request) => request.elsewhere.as_deref(),
            _ => None,
        }
    }

    /// Likewise, to be told anew how it is there.
    pub fn elsewhere_mut(&mut self) -> Option<&mut Arc<Elsewhere>> {
        match self {
            Self::Assign(request) => request.elsewhere.as_mut(),
            _ => None,
        }
    }
}

/// An address assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The address.
    pub address: IpAddr,
    /// Its block.
    pub block: IpNet,
    /// The pool it belongs to.
    pub pool: String,
    /// By what it is held.
    pub handle: Handle,
    /// Where it is used.
    pub node: NodeName,
    /// With address and handle names this assignment and no other.
    pub serial: u64,
    /// Whether the block belongs to another node: it needs a route of its own.
    pub borrowed: bool,
}

/// What became of a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The addresses, in the order asked for, IPv4 first.
    Assigned(Vec<Grant>),
    /// What was released. Asking for what is not held is no error.
    Released {
        /// No longer held.
        addresses: Vec<IpAddr>,
        /// Were not held.
        absent: Vec<IpAddr>,
    },
    /// How many blocks were changed.
    Blocks(usize),
}

/// One commit: one block, one compare, one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which block.
    pub cidr: IpNet,
    /// The revision it was planned on; `None`: it must not exist.
    pub base: Option<Revision>,
    /// The block afterwards; `None`: it is deleted.
    pub after: Option<Arc<Block>>,
}

impl Step {
    /// As a transaction.
    pub fn txn(&self) -> Txn {
        let key = Key::Block(self.cidr);
        match (&self.after, self.base) {
            (Some(block), Some(base)) => Txn::update(key, base, block.to_json(), index(block)),
            (Some(block), None) => Txn::create(key, block.to_json(), index(block)),
            (None, Some(base)) => Txn::delete(key, base),
            (None, None) => Txn::default(),
        }
    }
}

/// By what the store finds a block besides its key: the name of its owner.
pub fn index(block: &Block) -> Vec<IndexEntry> {
    block
        .owner()
        .map(|owner| IndexEntry { index: OWNER_INDEX.into(), value: owner.node.to_string() })
        .into_iter()
        .collect()
}

/// The index that finds the blocks of a node.
pub const OWNER_INDEX: &str = "owner";

/// What one wish came to in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What to answer once the steps are committed.
    pub answer: Result<Answer, IpamError>,
    /// The blocks whose steps must be committed first.
    pub needs: BTreeSet<IpNet>,
}

/// What to write for several wishes of one moment, and what to answer then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One commit for each block, in the order of their addresses; they do not depend on each other.
    pub steps: Vec<Step>,
    /// For each wish in the order asked.
    pub outcomes: Vec<Outcome>,
}

/// Plans several wishes of one moment together: those that touch one block share its commit.
///
/// `attempt` counts how often the claims of these wishes were lost before: it moves the place where
/// the search for a free block begins, so that nodes that meet do not meet again.
pub fn plan<'a>(world: World<'a>, asks: &'a [Ask], attempt: u32) -> Plan {
    let mut draft = Draft::new(world);
    let outcomes = asks
        .iter()
        .map(|ask| {
            draft.world = world.of(ask);
            // What is refused half way leaves nothing behind: a block claimed, an address taken.
            let may_stop_half_way =
                |request: &Request| matches!(request.want, Want::Exactly(_)) || request.total() > 1;
            draft.begin(matches!(ask, Ask::Assign(request) if may_stop_half_way(request)));
            let answer = match ask {
                Ask::Assign(request) => assign::assign(&mut draft, request, attempt),
                Ask::Release(releases) => release::release(&mut draft, releases),
                Ask::GiveUp { block, revision } => {
                    Ok(release::give_up(&mut draft, *block, *revision))
                }
                Ask::ReleaseNode(node) => Ok(release::node(&mut draft, node)),
                Ask::Adopt => Ok(release::adopt(&mut draft)),
            };
            let needs = draft.end(answer.is_ok());
            Outcome { answer, needs }
        })
        .collect();
    Plan { steps: draft.steps(), outcomes }
}

#[cfg(test)]
mod tests;
