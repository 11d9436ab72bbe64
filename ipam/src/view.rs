//! All blocks as this node last heard of them, and what follows from them.
//!
//! Owns the indexes: blocks of a node, blocks of a handle, blocks with addresses used on a node,
//! what overlaps a prefix. Promises that each is a function of the blocks alone, and that news that
//! come late or twice change nothing. A view may be behind: no decision is made by it that the
//! compare of a commit does not check again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use ipnet::IpNet;
use margay_model::{Change, Key, Revision};

use crate::{
    block::{Block, BlockError, Handle, Held, NodeName, Ordinal, Owner},
    net::{self, Family},
    pool::Pool,
};

/// A stored block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It can be worked with.
    Sound(Arc<Block>),
    /// It cannot be read. Nothing is assigned from it and nobody claims its addresses.
    Damaged(BlockError),
}

impl Stored {
    /// Reads what lies under the key of `cidr`.
    pub fn read(cidr: IpNet, octets: &[u8]) -> Self {
        match Block::from_json(octets) {
            Ok(block) if block.cidr() == cidr => Self::Sound(Arc::new(block)),
            Ok(block) => Self::Damaged(BlockError::Misplaced { key: cidr, inside: block.cidr() }),
            Err(error) => Self::Damaged(error),
        }
    }

    /// The block, if it can be read.
    pub fn sound(&self) -> Option<&Arc<Block>> {
        match self {
            Self::Sound(block) => Some(block),
            Self::Damaged(_) => None,
        }
    }
}

/// A block and the commit that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The commit.
    pub revision: Revision,
    /// What it wrote.
    pub stored: Stored,
}

/// An assignment with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The block.
    pub cidr: IpNet,
    /// The address in it.
    pub ordinal: Ordinal,
    /// Who has it.
    pub held: Arc<Held>,
}

/// All blocks and the indexes over them.
#[derive(Clone, Debug, Default)]
pub struct View {
    blocks: BTreeMap<IpNet, Entry>,
    /// How many blocks there are of each length.
    lengths: BTreeMap<(Family, u8), usize>,
    by_owner: BTreeMap<NodeName, BTreeSet<IpNet>>,
    by_handle: BTreeMap<Handle, BTreeMap<IpNet, usize>>,
    by_user: BTreeMap<NodeName, BTreeMap<IpNet, usize>>,
    /// Blocks known to be gone, and since when: news from before that are stale.
    gone: BTreeMap<IpNet, Revision>,
    seen: Revision,
}

impl View {
    /// The latest revision heard of.
    pub fn seen(&self) -> Revision {
        self.seen
    }

    /// What lies under a CIDR.
    pub fn entry(&self, cidr: IpNet) -> Option<&Entry> {
        self.blocks.get(&cidr)
    }

    /// A block that can be read.
    pub fn block(&self, cidr: IpNet) -> Option<(Revision, &Arc<Block>)> {
        let entry = self.blocks.get(&cidr)?;
        Some((entry.revision, entry.stored.sound()?))
    }

    /// All entries in the order of their addresses.
    pub fn entries(&self) -> impl Iterator<Item = (IpNet, &Entry)> {
        self.blocks.iter().map(|(cidr, entry)| (*cidr, entry))
    }

    /// All blocks that can be read, in the order of their addresses.
    pub fn blocks(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.blocks.values().filter_map(|entry| entry.stored.sound())
    }

    /// How many blocks there are, readable or not.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Blocks a node owns, whatever its instance.
    pub fn of_node(&self, node: &NodeName) -> impl Iterator<Item = &Arc<Block>> {
        self.by_owner.get(node).into_iter().flatten().filter_map(|cidr| Some(self.block(*cidr)?.1))
    }

    /// Blocks that belong to this very owner.
    pub fn owned(&self, owner: &Owner) -> impl Iterator<Item = &Arc<Block>> {
        self.of_node(&owner.node).filter(move |block| block.is_owned_by(owner))
    }

    /// Names of all nodes that own a block or use an address.
    pub fn nodes(&self) -> BTreeSet<NodeName> {
        self.by_owner.keys().chain(self.by_user.keys()).cloned().collect()
    }

    /// Every handle that holds something.
    pub fn handles(&self) -> impl Iterator<Item = &Handle> {
        self.by_handle.keys()
    }

    /// What a handle holds.
    pub fn of_handle(&self, handle: &Handle) -> Vec<Place> {
        let blocks = self.by_handle.get(handle).into_iter().flat_map(BTreeMap::keys);
        self.places(blocks, |held| held.handle == *handle)
    }

    /// Whether a handle holds anything.
    pub fn is_held_by(&self, handle: &Handle) -> bool {
        self.by_handle.contains_key(handle)
    }

    /// What is used on a node, in its own blocks and in others.
    pub fn used_on(&self, node: &NodeName) -> Vec<Place> {
        let blocks = self.by_user.get(node).into_iter().flat_map(BTreeMap::keys);
        self.places(blocks, |held| held.node == *node)
    }

    /// What is used on a node and lies in a block the node does not own: needs a route of its own.
    pub fn borrowed_by(&self, node: &NodeName) -> Vec<Place> {
        let owned =
            |cidr: &&IpNet| self.by_owner.get(node).is_some_and(|owned| owned.contains(*cidr));
        let blocks = self.by_user.get(node).into_iter().flat_map(BTreeMap::keys);
        self.places(blocks.filter(|cidr| !owned(cidr)), |held| held.node == *node)
    }

    fn places<'a>(
        &self,
        blocks: impl Iterator<Item = &'a IpNet>,
        wanted: impl Fn(&Held) -> bool,
    ) -> Vec<Place> {
        let mut places = Vec::new();
        for cidr in blocks {
            let Some((_, block)) = self.block(*cidr) else { continue };
            places.extend(
                block.held().filter(|(_, held)| wanted(held)).map(|(ordinal, held)| Place {
                    cidr: *cidr,
                    ordinal,
                    held: held.clone(),
                }),
            );
        }
        places
    }

    /// The first block that shares an address with `net`, if any; `net` itself if it is there.
    pub fn overlapping(&self, net: IpNet) -> Option<IpNet> {
        self.overlaps(net).next()
    }

    /// Whether a block shares addresses with another one. Nothing is assigned from such a block
    /// until one of them is gone.
    pub fn is_contested(&self, cidr: IpNet) -> bool {
        self.overlaps(cidr).any(|other| other != cidr)
    }

    /// Blocks around `net`, then those that begin inside.
    pub(crate) fn overlaps(&self, net: IpNet) -> impl Iterator<Item = IpNet> {
        let family = Family::of_net(net);
        let around = self
            .lengths
            .range((family, 0)..(family, net.prefix_len()))
            .filter_map(move |((_, length), _)| net::around(net.addr(), *length))
            .filter(|wider| self.blocks.contains_key(wider));
        around.chain(self.within(net))
    }

    /// Blocks that lie in `net`, in order.
    pub(crate) fn within(&self, net: IpNet) -> impl Iterator<Item = IpNet> {
        let longest = net.max_prefix_len();
        // Keys sort by address, then length; host bits stand in for the ends of the range.
        let first = IpNet::new(net.network(), net.prefix_len());
        let last = IpNet::new(net.broadcast(), longest);
        first
            .ok()
            .zip(last.ok())
            .map(|(first, last)| self.blocks.range(first..=last).map(|(cidr, _)| *cidr))
            .into_iter()
            .flatten()
    }

    /// The first place in a pool's grid, from `start` on and around its end, that no block touches
    /// and that `taken` does not refuse.
    pub(crate) fn hole(
        &self,
        pool: &Pool,
        start: u128,
        taken: impl Fn(IpNet) -> bool,
    ) -> Option<IpNet> {
        let blocks = pool.blocks();
        let start = if blocks == 0 { return None } else { start % blocks };
        self.hole_between(pool, start, blocks, &taken)
            .or_else(|| self.hole_between(pool, 0, start, &taken))
    }

    fn hole_between(
        &self,
        pool: &Pool,
        from: u128,
        to: u128,
        taken: &impl Fn(IpNet) -> bool,
    ) -> Option<IpNet> {
        let family = pool.family();
        let wider = self.lengths.range((family, 0)..(family, pool.block_size)).next().is_some();
        let (base, _) = net::span(pool.cidr);
        let step = pool.block_addresses();
        let begin = pool.block_at(from)?;
        let end = IpNet::new(pool.cidr.broadcast(), pool.cidr.max_prefix_len()).ok()?;
        // Blocks and places in step, both rising.
        let mut blocks = self.blocks.range(begin..=end).map(|(cidr, _)| *cidr).peekable();
        let mut index = from;
        while index < to {
            let place = pool.block_at(index)?;
            let (first, last) = net::span(place);
            while blocks.peek().is_some_and(|block| net::span(*block).1 < first) {
                blocks.next();
            }
            if let Some(block) = blocks.peek().filter(|block| net::span(**block).0 <= last) {
                let (_, end) = net::span(*block);
                index = ((end - base) / step).max(index).checked_add(1)?;
            } else if (wider && self.overlapping(place).is_some()) || taken(place) {
                index = index.checked_add(1)?;
            } else {
                return Some(place);
            }
        }
        None
    }

    /// Takes in one piece of news; `true` if it was news. Anything but a block is not for us.
    pub fn apply(&mut self, change: &Change) -> bool {
        let Key::Block(cidr) = &change.key else { return false };
        let stored = change
            .value
            .as_ref()
            .map(|versioned| (versioned.revision, Stored::read(*cidr, &versioned.value)));
        match stored {
            Some((revision, stored)) => self.put(*cidr, revision, stored),
            None => self.remove(*cidr, change.revision),
        }
    }

    /// Takes in the answer of a read: what lies under a key as of `at`.
    pub fn refresh(
        &mut self,
        cidr: IpNet,
        value: Option<(Revision, &Bytes)>,
        at: Revision,
    ) -> bool {
        match value {
            Some((revision, octets)) => self.put(cidr, revision, Stored::read(cidr, octets)),
            None => self.remove(cidr, at),
        }
    }

    /// Takes in a list of all blocks as of `at`, behind which all later news are: what is not in it is
    /// gone, but for what is known to be newer than the list.
    pub fn replace(&mut self, blocks: &[(IpNet, Revision, Bytes)], at: Revision) -> Vec<IpNet> {
        let changed = self.learn(blocks, at);
        self.settle(at);
        changed
    }

    /// The same of a list that news from before it may still follow.
    pub fn learn(&mut self, blocks: &[(IpNet, Revision, Bytes)], at: Revision) -> Vec<IpNet> {
        let listed: BTreeSet<IpNet> = blocks.iter().map(|(cidr, ..)| *cidr).collect();
        let missing: Vec<IpNet> =
            self.blocks.keys().filter(|cidr| !listed.contains(*cidr)).copied().collect();
        let mut changed: Vec<IpNet> =
            missing.into_iter().filter(|cidr| self.remove(*cidr, at)).collect();
        for (cidr, revision, octets) in blocks {
            // What did not change need not be read again.
            if self.entry(*cidr).is_some_and(|entry| entry.revision == *revision) {
                continue;
            }
            if self.put(*cidr, *revision, Stored::read(*cidr, octets)) {
                changed.push(*cidr);
            }
        }
        self.seen = self.seen.max(at);
        changed
    }

    /// Notes what a commit wrote; `false` if something as new is known.
    pub fn put(&mut self, cidr: IpNet, revision: Revision, stored: Stored) -> bool {
        self.seen = self.seen.max(revision);
        let known = self.blocks.get(&cidr).map(|entry| entry.revision);
        let gone = self.gone.get(&cidr).copied();
        if known.is_some_and(|known| known >= revision) || gone.is_some_and(|at| at >= revision) {
            return false;
        }
        self.gone.remove(&cidr);
        let old = self.blocks.remove(&cidr);
        self.index(cidr, old.as_ref().map(|entry| &entry.stored), Some(&stored));
        self.blocks.insert(cidr, Entry { revision, stored });
        true
    }

    /// As it would be with these blocks in the place of what is there, at the same revisions.
    pub(crate) fn with(&self, blocks: impl IntoIterator<Item = (IpNet, Block)>) -> Self {
        let mut view = self.clone();
        for (cidr, block) in blocks {
            let Some(old) = view.blocks.remove(&cidr) else { continue };
            let stored = Stored::Sound(Arc::new(block));
            view.index(cidr, Some(&old.stored), Some(&stored));
            view.blocks.insert(cidr, Entry { revision: old.revision, stored });
        }
        view
    }

    /// Notes that a block was gone at a revision; `false` if something newer is known.
    pub fn remove(&mut self, cidr: IpNet, at: Revision) -> bool {
        self.seen = self.seen.max(at);
        let Some(entry) = self.blocks.get(&cidr) else {
            let since = self.gone.entry(cidr).or_insert(at);
            *since = (*since).max(at);
            return false;
        };
        if entry.revision > at {
            return false;
        }
        let old = self.blocks.remove(&cidr);
        self.gone.insert(cidr, at);
        self.index(cidr, old.as_ref().map(|entry| &entry.stored), None);
        true
    }

    /// Forgets what it knows of deletions up to a revision that all later news are behind.
    pub fn settle(&mut self, at: Revision) {
        self.gone.retain(|_, since| *since > at);
    }

    fn index(&mut self, cidr: IpNet, old: Option<&Stored>, new: Option<&Stored>) {
        let length = (Family::of_net(cidr), cidr.prefix_len());
        match (old.is_some(), new.is_some()) {
            (false, true) => *self.lengths.entry(length).or_default() += 1,
            (true, false) => less(&mut self.lengths, &length),
            _ => {}
        }
        let old = old.and_then(Stored::sound).map(Arc::as_ref);
        let new = new.and_then(Stored::sound).map(Arc::as_ref);
        let owner = |block: Option<&Block>| block.and_then(Block::owner).map(|o| o.node.clone());
        let (was, is) = (owner(old), owner(new));
        if was != is {
            if let Some(node) = was
                && let Some(blocks) = self.by_owner.get_mut(&node)
            {
                blocks.remove(&cidr);
                if blocks.is_empty() {
                    self.by_owner.remove(&node);
                }
            }
            if let Some(node) = is {
                self.by_owner.entry(node).or_default().insert(cidr);
            }
        }
        let other = |block: Option<&Block>, ordinal, held: &Held| {
            block
                .and_then(|block| block.held.get(&ordinal))
                .is_none_or(|there| there.handle != held.handle || there.node != held.node)
        };
        for (ordinal, held) in old.into_iter().flat_map(Block::held) {
            if other(new, ordinal, held) {
                drop_place(&mut self.by_handle, &held.handle, cidr);
                drop_place(&mut self.by_user, &held.node, cidr);
            }
        }
        for (ordinal, held) in new.into_iter().flat_map(Block::held) {
            if other(old, ordinal, held) {
                *self.by_handle.entry(held.handle.clone()).or_default().entry(cidr).or_default() +=
                    1;
                *self.by_user.entry(held.node.clone()).or_default().entry(cidr).or_default() += 1;
            }
        }
    }
}

/// Counts one down and forgets what reaches zero.
fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn drop_place<K: Ord>(index: &mut BTreeMap<K, BTreeMap<IpNet, usize>>, key: &K, cidr: IpNet) {
    if let Some(blocks) = index.get_mut(key) {
        less(blocks, &cidr);
        if blocks.is_empty() {
            index.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
