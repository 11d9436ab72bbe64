//! A block: an aligned slice of a pool, who owns it and what each of its addresses is doing.
//!
//! Owns the rules inside one block: the order of re-use, cool-down, what a release must match.
//! Promises that every ordinal is in exactly one of held, cooling and free. Leaves to others which
//! block to take ([`crate::plan`]) and whether the copy changed here is still the stored one (the
//! compare on its revision). Affinities, handles and use per node are views of blocks
//! ([`crate::view`]); nothing else is stored.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;

use crate::{
    net::{self, Family},
    time::UnixMillis,
};

mod attributes;
mod json;
mod name;

pub use attributes::Attributes;
pub use json::{BlockError, Fault};
pub use name::{Handle, Instance, NameError, NodeName, Owner};

/// The offset of an address from the first of its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordinal(pub u16);

/// What may be done with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockState {
    /// Addresses are assigned from it.
    Active,
    /// Nothing more is assigned from it; it goes when its last address is released.
    Draining,
}

/// An address that somebody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// By which it is released: a container, a tunnel, a user's word.
    pub handle: Handle,
    /// The node it is used on. Not the owner of the block when the address is borrowed.
    pub node: NodeName,
    /// The block's serial after the write that assigned it: tells this assignment from an earlier
    /// one of the same address to the same handle.
    pub serial: u64,
    /// When.
    pub since: UnixMillis,
    /// Who uses it, in Calico's words: `pod`, `namespace`, `type`, …
    pub attributes: Attributes,
}

/// What an assignment stands for, read from its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A pod: names `pod` and `namespace`.
    Pod,
    /// A tunnel of the node: `type` ends in `TunnelAddress`. Valid as long as its node exists.
    Tunnel,
    /// Anything else, a user at the command line for one. Never collected.
    Other,
}

impl Held {
    /// What it stands for.
    pub fn holder(&self) -> Holder {
        if self.attributes.get("type").is_some_and(|kind| kind.ends_with("TunnelAddress")) {
            Holder::Tunnel
        } else if self.attributes.get("pod").and(self.attributes.get("namespace")).is_some() {
            Holder::Pod
        } else {
            Holder::Other
        }
    }
}

/// An aligned slice of a pool with the state of all its addresses. The unit of compare-and-swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pool: String,
    cidr: IpNet,
    owner: Option<Owner>,
    state: BlockState,
    claimed: UnixMillis,
    serial: u64,
    pub(crate) held: BTreeMap<Ordinal, Arc<Held>>,
    cooling: BTreeMap<Ordinal, UnixMillis>,
    free: VecDeque<Ordinal>,
}

/// Where one address of a block stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot<'a> {
    /// Somebody has it.
    Held(&'a Arc<Held>),
    /// It was released then and waits.
    Cooling(UnixMillis),
    /// It can be assigned.
    Free,
}

impl Block {
    /// A block nobody has taken an address of, free in the order of its addresses.
    ///
    /// `cidr` must have a length of [`Family::block_lengths`]; host bits are cleared.
    pub fn new(pool: &str, cidr: IpNet, owner: Owner, now: UnixMillis) -> Result<Self, BlockError> {
        Self::with_owner(pool, cidr, Some(owner), now)
    }

    /// Such a block that belongs to nobody.
    pub(crate) fn unowned(pool: &str, cidr: IpNet, now: UnixMillis) -> Result<Self, BlockError> {
        Self::with_owner(pool, cidr, None, now)
    }

    fn with_owner(
        pool: &str,
        cidr: IpNet,
        owner: Option<Owner>,
        now: UnixMillis,
    ) -> Result<Self, BlockError> {
        if !Family::of_net(cidr).block_lengths().contains(&cidr.prefix_len()) {
            return Err(BlockError::Length(cidr));
        }
        let cidr = cidr.trunc();
        Ok(Self {
            pool: pool.to_owned(),
            cidr,
            owner,
            state: BlockState::Active,
            claimed: now,
            // A block that is dropped and made again never repeats a serial.
            serial: now.0.saturating_mul(1000),
            held: BTreeMap::new(),
            cooling: BTreeMap::new(),
            free: ordinals(cidr).collect(),
        })
    }

    /// The pool it was cut from, by name. A pool that was split or renamed leaves an old name here:
    /// which pool a block belongs to is decided by its addresses.
    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// Its addresses.
    pub fn cidr(&self) -> IpNet {
        self.cidr
    }

    /// Who assigns from it first and announces it; `None` for a leftover anyone may take over.
    pub fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// Whether it belongs to this very owner, node and instance; to a node that is seen from
    /// elsewhere belong the blocks of all its lives.
    pub fn is_owned_by(&self, owner: &Owner) -> bool {
        self.owner.as_ref().is_some_and(|there| owner.includes(there))
    }

    /// What may be done with it.
    pub fn state(&self) -> BlockState {
        self.state
    }

    /// When its present owner claimed it.
    pub fn claimed(&self) -> UnixMillis {
        self.claimed
    }

    /// Grows with every write.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// How many addresses it has: a power of two, at most 4096.
    pub fn size(&self) -> usize {
        self.held.len() + self.cooling.len() + self.free.len()
    }

    /// What is held, by ordinal.
    pub fn held(&self) -> impl Iterator<Item = (Ordinal, &Arc<Held>)> {
        self.held.iter().map(|(ordinal, held)| (*ordinal, held))
    }

    /// How many addresses are held.
    pub fn held_len(&self) -> usize {
        self.held.len()
    }

    /// What was released and is not free yet, by ordinal, and since when.
    pub fn cooling(&self) -> impl Iterator<Item = (Ordinal, UnixMillis)> {
        self.cooling.iter().map(|(ordinal, since)| (*ordinal, *since))
    }

    /// What can be assigned, in the order it will be.
    pub fn free(&self) -> impl ExactSizeIterator<Item = Ordinal> {
        self.free.iter().copied()
    }

    /// Where the address of an ordinal stands; `None` outside the block.
    pub fn slot(&self, ordinal: Ordinal) -> Option<Slot<'_>> {
        if let Some(held) = self.held.get(&ordinal) {
            Some(Slot::Held(held))
        } else if let Some(since) = self.cooling.get(&ordinal) {
            Some(Slot::Cooling(*since))
        } else {
            (usize::from(ordinal.0) < self.size()).then_some(Slot::Free)
        }
    }

    /// The address of an ordinal.
    pub fn address(&self, ordinal: Ordinal) -> IpAddr {
        let (first, _) = net::span(self.cidr);
        net::address(Family::of_net(self.cidr), first + u128::from(ordinal.0))
    }

    /// The ordinal of an address; `None` if it lies outside.
    pub fn ordinal(&self, address: IpAddr) -> Option<Ordinal> {
        if !self.cidr.contains(&address) {
            return None;
        }
        let (first, _) = net::span(self.cidr);
        u16::try_from(net::number(address) - first).ok().map(Ordinal)
    }

    /// Whether nothing is held and nothing is still cooling at `now`.
    pub fn is_empty(&self, now: UnixMillis, cooldown: Duration) -> bool {
        self.held.is_empty()
            && self.cooling.values().all(|since| since.age(now).is_some_and(|age| age >= cooldown))
    }

    /// Begins a write: what has cooled down becomes free, and the serial moves on.
    ///
    /// Comes before any other change of this copy, once. An ordinal released in the future (clocks
    /// differ) cools down from now, so a wrong clock holds an address for one cool-down at most.
    pub fn begin(&mut self, now: UnixMillis, cooldown: Duration) {
        self.serial = self.serial.saturating_add(1);
        let mut ready = Vec::new();
        for (ordinal, since) in &mut self.cooling {
            match since.age(now) {
                Some(age) if age >= cooldown => ready.push((*since, *ordinal)),
                Some(_) => {}
                None if cooldown.is_zero() => ready.push((now, *ordinal)),
                None => *since = now,
            }
        }
        ready.sort_unstable();
        for (_, ordinal) in ready {
            self.cooling.remove(&ordinal);
            self.free.push_back(ordinal);
        }
    }

    /// Picks `n` free addresses from this block, longest unused first.
    ///
    /// Fewer when the block runs out; the caller moves on to its next block. Addresses that `skip`
    /// names keep their place in the queue. Changes only this copy: commit it, or drop it on
    /// conflict. `held.serial` is set to that of this write.
    pub fn assign(&mut self, n: usize, held: &Held, skip: impl Fn(IpAddr) -> bool) -> Vec<Ordinal> {
        let mut taken = Vec::new();
        let mut at = 0;
        while taken.len() < n {
            let Some(ordinal) = self.free.get(at).copied() else { break };
            if skip(self.address(ordinal)) {
                at += 1;
                continue;
            }
            self.free.remove(at);
            taken.push(ordinal);
        }
        if let [first, rest @ ..] = taken.as_slice() {
            let held = Arc::new(Held { serial: self.serial, ..held.clone() });
            self.held.insert(*first, held.clone());
            self.held.extend(rest.iter().map(|ordinal| (*ordinal, held.clone())));
        }
        taken
    }

    /// Takes this very address out of the free queue or out of its cool-down; `false` if it is held
    /// or lies outside.
    pub fn assign_exactly(&mut self, ordinal: Ordinal, held: &Held) -> bool {
        if !matches!(self.slot(ordinal), Some(Slot::Free | Slot::Cooling(_))) {
            return false;
        }
        self.cooling.remove(&ordinal);
        self.free.retain(|free| *free != ordinal);
        self.held.insert(ordinal, Arc::new(Held { serial: self.serial, ..held.clone() }));
        true
    }

    /// Releases an address: it cools down, or goes to the end of the queue at once if `cooldown` is
    /// zero. `false`, and nothing changes, if it is not held.
    pub fn release(&mut self, ordinal: Ordinal, now: UnixMillis, cooldown: Duration) -> bool {
        if self.held.remove(&ordinal).is_none() {
            return false;
        }
        if cooldown.is_zero() {
            self.free.push_back(ordinal);
        } else {
            self.cooling.insert(ordinal, now);
        }
        true
    }

    /// Sends a free address to cool down.
    pub(crate) fn cool(&mut self, ordinal: Ordinal, now: UnixMillis) {
        if self.slot(ordinal) == Some(Slot::Free) {
            self.free.retain(|free| *free != ordinal);
            self.cooling.insert(ordinal, now);
        }
    }

    /// Passes a held address on to another handle without a moment in which it is free. `false` if
    /// it is not held.
    pub(crate) fn hand_over(&mut self, ordinal: Ordinal, held: &Held) -> bool {
        let serial = self.serial;
        let Some(slot) = self.held.get_mut(&ordinal) else { return false };
        *slot = Arc::new(Held { serial, ..held.clone() });
        true
    }

    /// Gives the block to an owner, or to nobody.
    pub(crate) fn set_owner(&mut self, owner: Option<Owner>, now: UnixMillis) {
        self.owner = owner;
        self.claimed = now;
    }

    /// Changes what may be done with it.
    pub(crate) fn set_state(&mut self, state: BlockState) {
        self.state = state;
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {}", self.cidr)
    }
}

/// All ordinals of a block of this CIDR.
fn ordinals(cidr: IpNet) -> impl Iterator<Item = Ordinal> {
    let size = net::size(cidr);
    (0..u16::MAX).take_while(move |ordinal| u128::from(*ordinal) < size).map(Ordinal)
}

#[cfg(test)]
mod tests;
