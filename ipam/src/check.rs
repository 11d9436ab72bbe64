//! Finds what should not be, and how to put it right.
//!
//! Owns the list of inconsistencies. Promises that mending one block never needs another, that
//! what is in use is never freed, and that a check after the mending is clean but for what only a
//! person can decide. Because affinities and handles are views of blocks, whole classes of
//! inconsistency (orphan handles, stale affinities, wrong counts) cannot exist here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    time::Duration,
};

use ipnet::IpNet;
use margay_model::Revision;

use crate::{
    block::{Block, BlockError, BlockState, Fault, Handle, Held, Holder, NodeName, Slot},
    net,
    plan::Step,
    pool::{PoolError, Pools, Settings},
    time::UnixMillis,
    view::{Place, Stored, View},
};

/// An address assigned so long ago that who asked for it uses it or never will: some times as long as
/// an ADD takes until its endpoint is written.
const SETTLED: Duration = Duration::from_secs(15);

/// An address that an endpoint, a tunnel or a service says it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The address.
    pub address: IpAddr,
    /// By which it should be held.
    pub handle: Handle,
    /// Where it is used.
    pub node: NodeName,
    /// Who, in Calico's words: `pod`, `namespace`, …
    pub attributes: BTreeMap<String, String>,
}

/// Everything a check looks at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The blocks.
    pub view: &'a View,
    /// The pools.
    pub pools: &'a Pools,
    /// There are pools that cannot be read: what lies outside the others may lie in these.
    pub pools_missing: bool,
    /// How the cluster behaves.
    pub settings: &'a Settings,
    /// Nodes that were deleted and whose lease has ended: what they have is released.
    pub gone: &'a BTreeSet<NodeName>,
    /// Nodes that exist or whose lease lives; `None` if not known. One that is neither here nor
    /// gone may have no resource and come back: a person must say.
    pub nodes: Option<&'a BTreeSet<NodeName>>,
    /// Every address in use anywhere; `None` if not known: nothing is said of users then.
    pub used: Option<&'a [Used]>,
    /// The wall clock.
    pub now: UnixMillis,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Two pools share addresses.
    PoolsOverlap,
    /// A block cannot be read.
    BlockUnreadable,
    /// An ordinal of a block is lost, doubled or outside.
    BlockOrdinals,
    /// Two blocks share addresses.
    BlocksOverlap,
    /// A block lies in no pool.
    BlockOutsidePools,
    /// A block is being emptied for a reason that is gone.
    BlockDraining,
    /// A block belongs to a node that is gone.
    BlockOfGoneNode,
    /// An address was released in the future.
    ReleasedInFuture,
    /// An address is held for a node that is gone.
    AddressOfGoneNode,
    /// An address is held and nobody uses it.
    AddressUnused,
    /// An address is used and nobody holds it.
    AddressUnallocated,
    /// An address is held by another handle than that of its user.
    AddressOfOtherHandle,
    /// Two use one address.
    AddressUsedTwice,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PoolsOverlap => "pools-overlap",
            Self::BlockUnreadable => "block-unreadable",
            Self::BlockOrdinals => "block-ordinals",
            Self::BlocksOverlap => "blocks-overlap",
            Self::BlockOutsidePools => "block-outside-pools",
            Self::BlockDraining => "block-draining",
            Self::BlockOfGoneNode => "block-of-gone-node",
            Self::ReleasedInFuture => "released-in-future",
            Self::AddressOfGoneNode => "address-of-gone-node",
            Self::AddressUnused => "address-unused",
            Self::AddressUnallocated => "address-unallocated",
            Self::AddressOfOtherHandle => "address-of-other-handle",
            Self::AddressUsedTwice => "address-used-twice",
        })
    }
}

/// One thing wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Of which kind.
    pub kind: Kind,
    /// Which address, if it is about one.
    pub address: Option<IpAddr>,
    /// Which block.
    pub block: Option<IpNet>,
    /// In words.
    pub detail: String,
    /// What a person must do, if mending cannot.
    pub by_hand: Option<String>,
}

/// What a check found, and the commits that mend it: one for each block, independent of each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong: between pools, then by block and address.
    pub problems: Vec<Problem>,
    /// What to write.
    pub steps: Vec<Step>,
}

/// Looks at everything.
pub fn check(facts: Facts<'_>) -> Report {
    // What else is wrong with a block is looked for once its ordinals add up.
    let mended = facts.view.entries().filter_map(|(cidr, entry)| match &entry.stored {
        Stored::Damaged(BlockError::Ordinals { mended, .. }) => {
            Some((cidr, mended.as_ref().clone()))
        }
        Stored::Damaged(_) | Stored::Sound(_) => None,
    });
    let mended: Vec<_> = mended.collect();
    let with_these = (!mended.is_empty()).then(|| facts.view.with(mended));
    let view = with_these.as_ref().unwrap_or(facts.view);
    let mut checker =
        Checker { facts: Facts { view, ..facts }, problems: Vec::new(), edits: BTreeMap::new() };
    checker.pools();
    for (cidr, entry) in facts.view.entries() {
        if let Stored::Damaged(error) = &entry.stored {
            checker.damaged(cidr, entry.revision, error);
        }
    }
    for (cidr, entry) in view.entries() {
        if let Stored::Sound(block) = &entry.stored {
            checker.time(cidr, block);
            checker.owner(cidr, block);
            checker.place(cidr, block);
        }
    }
    if let Some(used) = facts.used {
        checker.users(used);
        checker.unused(used);
    }
    view.entries().for_each(|(cidr, _)| checker.overlaps(cidr));
    view.entries().for_each(|(cidr, _)| checker.draining(cidr));
    checker.report()
}

/// A block on its way to be mended.
struct Edit {
    base: Option<Revision>,
    block: Option<Block>,
}

struct Checker<'a> {
    facts: Facts<'a>,
    problems: Vec<Problem>,
    edits: BTreeMap<IpNet, Edit>,
}

impl Checker<'_> {
    fn found(&mut self, kind: Kind, block: IpNet, address: Option<IpAddr>, detail: String) {
        let block = Some(block);
        self.problems.push(Problem { kind, address, block, detail, by_hand: None });
    }

    fn by_hand(&mut self, what: &str) {
        if let Some(problem) = self.problems.last_mut() {
            problem.by_hand = Some(what.to_owned());
        }
    }

    /// The copy of a block, to mend it.
    fn edit(&mut self, cidr: IpNet) -> Option<&mut Block> {
        if !self.edits.contains_key(&cidr) {
            let (revision, block) = self.facts.view.block(cidr)?;
            let mut block = block.as_ref().clone();
            block.begin(self.facts.now, self.facts.settings.cooldown);
            self.edits.insert(cidr, Edit { base: Some(revision), block: Some(block) });
        }
        self.edits.get_mut(&cidr)?.block.as_mut()
    }

    /// A block as it will be.
    fn block(&self, cidr: IpNet) -> Option<&Block> {
        match self.edits.get(&cidr) {
            Some(edit) => edit.block.as_ref(),
            None => self.facts.view.block(cidr).map(|(_, block)| block.as_ref()),
        }
    }

    /// What is written through the API never overlaps; what was imported or was there before may.
    fn pools(&mut self) {
        for fault in self.facts.pools.faults() {
            if matches!(fault, PoolError::Overlap { .. }) {
                self.problems.push(Problem {
                    kind: Kind::PoolsOverlap,
                    address: None,
                    block: None,
                    detail: fault.to_string(),
                    by_hand: Some(
                        "disable one of them, and delete it once its addresses are released"
                            .to_owned(),
                    ),
                });
            }
        }
    }

    fn damaged(&mut self, cidr: IpNet, revision: Revision, error: &BlockError) {
        if let BlockError::Ordinals { faults, mended } = error {
            for fault in faults {
                let (Fault::Lost(at) | Fault::Doubled(at) | Fault::Outside(at)) = fault;
                let address = mended.slot(*at).map(|_| mended.address(*at));
                self.found(Kind::BlockOrdinals, cidr, address, fault.to_string());
            }
            self.edit(cidr);
            return;
        }
        self.found(Kind::BlockUnreadable, cidr, None, error.to_string());
        if matches!(error, BlockError::Version(_)) {
            return self.by_hand("upgrade this program: a newer one wrote the block");
        }
        let Some(used) = self.facts.used else {
            return self.by_hand("`margay ipam check --fix` rebuilds it from the endpoints");
        };
        let block = self.rebuilt(cidr, used);
        self.edits.insert(cidr, Edit { base: Some(revision), block });
    }

    /// A block made anew from what is in use; what is not cools down, because who had it is not
    /// known. `None` where no block can be and none is needed.
    fn rebuilt(&self, cidr: IpNet, used: &[Used]) -> Option<Block> {
        let here: Vec<&Used> = used.iter().filter(|used| cidr.contains(&used.address)).collect();
        let pool = self.facts.pools.of_block(cidr).map_or("", |pool| pool.name.as_str());
        let mut block = Block::unowned(pool, cidr, self.facts.now).ok()?;
        if here.is_empty() {
            return None;
        }
        let cooldown = self.facts.settings.cooldown;
        let ordinals: Vec<_> = block.free().collect();
        for ordinal in ordinals {
            let address = block.address(ordinal);
            match here.iter().find(|used| used.address == address) {
                Some(used) => {
                    block.assign_exactly(ordinal, &held(used, self.facts.now));
                }
                None if !cooldown.is_zero() => block.cool(ordinal, self.facts.now),
                None => {}
            }
        }
        Some(block)
    }

    fn time(&mut self, cidr: IpNet, block: &Block) {
        let future: Vec<_> = block.cooling().filter(|(_, since)| *since > self.facts.now).collect();
        for (ordinal, since) in &future {
            let ahead = since.0 - self.facts.now.0;
            let detail = format!("released {ahead} ms from now: a clock is or was wrong");
            self.found(Kind::ReleasedInFuture, cidr, Some(block.address(*ordinal)), detail);
        }
        if !future.is_empty() {
            self.edit(cidr);
        }
    }

    fn owner(&mut self, cidr: IpNet, block: &Block) {
        let gone = self.facts.gone;
        let (now, cooldown) = (self.facts.now, self.facts.settings.cooldown);
        for (ordinal, held) in block.held() {
            if !gone.contains(&held.node) || held.holder() == Holder::Other {
                continue;
            }
            // All addresses of a handle or none.
            let elsewhere = self.facts.view.of_handle(&held.handle);
            if elsewhere.iter().any(|place| !gone.contains(&place.held.node)) {
                continue;
            }
            let address = block.address(ordinal);
            let detail = format!("held by {} on node {}, which is gone", held.handle, held.node);
            self.found(Kind::AddressOfGoneNode, cidr, Some(address), detail);
            if let Some(block) = self.edit(cidr) {
                block.release(ordinal, now, cooldown);
            }
        }
        let Some(owner) = block.owner() else { return };
        if gone.contains(&owner.node) {
            let detail = format!("owned by node {owner}, which is gone");
            self.found(Kind::BlockOfGoneNode, cidr, None, detail);
            if let Some(block) = self.edit(cidr) {
                block.set_owner(None, now);
            }
        } else if self.facts.nodes.is_some_and(|nodes| !nodes.contains(&owner.node)) {
            self.problems.push(Problem {
                kind: Kind::BlockOfGoneNode,
                address: None,
                block: Some(cidr),
                detail: format!("owned by node {owner}, which has no resource and is silent"),
                by_hand: Some(
                    "start its daemon; if it is gone for good, create a Node of its name and \
                     delete it again"
                        .to_owned(),
                ),
            });
        }
    }

    fn place(&mut self, cidr: IpNet, block: &Block) {
        let draining = block.state() == BlockState::Draining;
        let is_outside = self.facts.pools.of_block(cidr).is_none();
        if is_outside && !draining && !self.facts.pools_missing {
            let detail = format!("in no pool; it was cut from {}", block.pool());
            self.found(Kind::BlockOutsidePools, cidr, None, detail);
            if let Some(block) = self.edit(cidr) {
                block.set_state(BlockState::Draining);
            }
        }
    }

    /// Whether a block will be there.
    fn remains(&self, cidr: IpNet) -> bool {
        match (self.edits.get(&cidr), self.block(cidr)) {
            (_, Some(block)) => !self.goes(block),
            (edit, None) => edit.is_none() && self.facts.view.entry(cidr).is_some(),
        }
    }

    /// Whether a block goes with its last address, which it has given back.
    fn goes(&self, block: &Block) -> bool {
        let ending = block.owner().is_none() || block.state() == BlockState::Draining;
        ending && block.is_empty(self.facts.now, self.facts.settings.cooldown)
    }

    /// Blocks as they will be: what is mended otherwise may change which of two is the emptier, and
    /// whether there are two.
    fn overlaps(&mut self, cidr: IpNet) {
        let draining = |block: &Block| block.state() == BlockState::Draining;
        // Told once, at the one that gives way: the emptier, then the narrower.
        let weight =
            |block: &Block| (block.held_len(), std::cmp::Reverse(block.cidr().prefix_len()));
        let mine = self.block(cidr).filter(|block| !draining(block) && !self.goes(block));
        let Some(mine) = mine.map(weight) else { return };
        let others: Vec<IpNet> =
            self.facts.view.overlaps(cidr).filter(|other| *other != cidr).collect();
        for other in others {
            if !self.remains(other) {
                let detail = format!("shares addresses with block {cidr}");
                self.found(Kind::BlocksOverlap, other, None, detail);
                continue;
            }
            if self.block(other).is_none_or(|other| mine >= weight(other)) {
                continue;
            }
            let detail = format!("shares addresses with block {other}");
            self.found(Kind::BlocksOverlap, cidr, None, detail);
            if let Some(block) = self.edit(cidr) {
                block.set_state(BlockState::Draining);
            }
        }
    }

    /// Blocks as they will be: one that is being emptied, and need not be, serves again.
    fn draining(&mut self, cidr: IpNet) {
        let is_draining = |block: &&Block| block.state() == BlockState::Draining;
        let Some(block) = self.block(cidr).filter(is_draining) else { return };
        let Some(pool) = self.facts.pools.of_block(cidr).filter(|_| !self.goes(block)) else {
            return;
        };
        let others = self.facts.view.overlaps(cidr).filter(|other| *other != cidr);
        if others.into_iter().any(|other| self.remains(other)) {
            return;
        }
        let detail =
            format!("is being emptied, though all of it is pool {}'s and its own", pool.name);
        self.found(Kind::BlockDraining, cidr, None, detail);
        if let Some(block) = self.edit(cidr) {
            block.set_state(BlockState::Active);
        }
    }

    /// What is used must be held, by its user.
    fn users(&mut self, used: &[Used]) {
        let mut by_address: BTreeMap<IpAddr, Vec<&Used>> = BTreeMap::new();
        for used in used {
            by_address.entry(used.address).or_default().push(used);
        }
        for (address, users) in by_address {
            let Some(pool) = self.facts.pools.of(address) else { continue };
            let place = net::around(address, pool.block_size);
            let around = self.facts.view.overlaps(IpNet::from(address)).next().or(place);
            let Some(cidr) = around else { continue };
            let [user] = users.as_slice() else {
                let names: Vec<String> = users.iter().map(|user| user.handle.to_string()).collect();
                let detail = format!("used by {}", names.join(" and "));
                self.found(Kind::AddressUsedTwice, cidr, Some(address), detail);
                self.by_hand("delete one of them");
                continue;
            };
            self.user(user, cidr, &pool.name);
        }
    }

    fn user(&mut self, user: &Used, cidr: IpNet, pool: &str) {
        let (address, now) = (user.address, self.facts.now);
        let damaged = self.facts.view.entry(cidr).is_some_and(|e| e.stored.sound().is_none());
        if damaged {
            return; // rebuilt from its users already
        }
        let slot = self.block(cidr).and_then(|block| {
            let ordinal = block.ordinal(address)?;
            let holder = match block.slot(ordinal)? {
                Slot::Held(held) => Some(held.handle.clone()),
                Slot::Cooling(_) | Slot::Free => None,
            };
            Some((ordinal, holder))
        });
        match slot {
            Some((_, Some(holder))) if holder == user.handle => {}
            Some((ordinal, Some(holder))) => {
                let detail = format!("held by {holder}, used by {}", user.handle);
                self.found(Kind::AddressOfOtherHandle, cidr, Some(address), detail);
                if let Some(block) = self.edit(cidr) {
                    block.hand_over(ordinal, &held(user, now));
                }
            }
            Some((ordinal, None)) => {
                let detail = format!("used by {} and not assigned", user.handle);
                self.found(Kind::AddressUnallocated, cidr, Some(address), detail);
                if let Some(block) = self.edit(cidr) {
                    block.assign_exactly(ordinal, &held(user, now));
                }
            }
            None => {
                let detail = format!("used by {} and in no block", user.handle);
                self.found(Kind::AddressUnallocated, cidr, Some(address), detail);
                if self.facts.view.overlapping(cidr).is_some() {
                    return self.by_hand("empty the blocks of another size around it first");
                }
                if let Ok(mut block) = Block::unowned(pool, cidr, now) {
                    if let Some(ordinal) = block.ordinal(address) {
                        block.assign_exactly(ordinal, &held(user, now));
                    }
                    self.edits.insert(cidr, Edit { base: None, block: Some(block) });
                }
            }
        }
    }

    /// What pods hold must be used, all that a handle holds or nothing. It is told, and not mended: what
    /// looks unused in one moment may be in use in the next.
    fn unused(&mut self, used: &[Used]) {
        let addresses: BTreeSet<IpAddr> = used.iter().map(|used| used.address).collect();
        let handles: BTreeSet<&Handle> = used.iter().map(|used| &used.handle).collect();
        let now = self.facts.now;
        let is_settled = |held: &Held| held.since.age(now) >= Some(SETTLED);
        for handle in self.facts.view.handles().filter(|handle| !handles.contains(handle)) {
            let places = self.facts.view.of_handle(handle);
            // As it will be: of a gone node, or of another by now, is told already.
            let is_left = |place: &Place| {
                let slot = self.block(place.cidr).and_then(|block| block.slot(place.ordinal));
                matches!(slot, Some(Slot::Held(held)) if held.handle == *handle)
            };
            let addressed: Vec<_> = places
                .into_iter()
                .filter(is_left)
                .filter_map(|place| {
                    let address = self.facts.view.block(place.cidr)?.1.address(place.ordinal);
                    Some((place, address))
                })
                .collect();
            let leaked = addressed.iter().all(|(place, address)| {
                place.held.holder() == Holder::Pod
                    && !addresses.contains(address)
                    && is_settled(&place.held)
            });
            for (place, address) in addressed.into_iter().filter(|_| leaked) {
                let detail = format!("held by {handle}, and nobody uses it");
                self.found(Kind::AddressUnused, place.cidr, Some(address), detail);
                self.by_hand(
                    "lock the datastore, write reports, and release what all of them call leaked",
                );
            }
        }
    }

    fn report(mut self) -> Report {
        self.problems.sort_by_key(|problem| (problem.block, problem.address, problem.kind));
        let edits = std::mem::take(&mut self.edits);
        let steps = edits.into_iter().filter_map(|(cidr, Edit { base, block })| {
            let after = block.filter(|block| !self.goes(block));
            (base.is_some() || after.is_some()).then(|| Step {
                cidr,
                base,
                after: after.map(std::sync::Arc::new),
            })
        });
        let steps = steps.collect();
        Report { steps, problems: self.problems }
    }
}

fn held(used: &Used, now: UnixMillis) -> Held {
    Held {
        handle: used.handle.clone(),
        node: used.node.clone(),
        serial: 0,
        since: now,
        attributes: used.attributes.clone().into(),
    }
}

#[cfg(test)]
mod tests;
