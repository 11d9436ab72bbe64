//! Our routes: for each prefix what is wished and what the kernel has, in sixteen octets.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use ipnet::IpNet;

use crate::plan::key::{Key, Key4, Key6};

/// What should be at a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Nothing of ours.
    Nothing,
    /// Left by a former process; stays until the sources are complete.
    Stale,
    /// A wish, by number.
    Spec(u32),
}

/// What the kernel has at a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Have {
    /// Nothing of ours.
    Nothing,
    /// A route of this form.
    Form(u32),
    /// A route of this form, unless the kernel dropped it unheard.
    Doubt(u32),
}

impl Have {
    /// The form, sure or not.
    pub fn form(self) -> Option<u32> {
        match self {
            Self::Nothing => None,
            Self::Form(id) | Self::Doubt(id) => Some(id),
        }
    }
}

/// One prefix: 31 bits of number and a flag, twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Entry {
    want: u32,
    have: u32,
}

const FLAG: u32 = 1 << 31;
const STALE: u32 = 1;

impl Entry {
    /// What should be there.
    pub fn want(self) -> Want {
        match self.want & !FLAG {
            0 => Want::Nothing,
            STALE => Want::Stale,
            id => Want::Spec(id),
        }
    }

    /// What is there.
    pub fn have(self) -> Have {
        match (self.have & !FLAG, self.have & FLAG != 0) {
            (0, _) => Have::Nothing,
            (id, false) => Have::Form(id),
            (id, true) => Have::Doubt(id),
        }
    }

    /// Waits to be looked at.
    pub fn queued(self) -> bool {
        self.want & FLAG != 0
    }

    /// Changes what should be there.
    pub fn set_want(&mut self, want: Want) {
        let number = match want {
            Want::Nothing => 0,
            Want::Stale => STALE,
            Want::Spec(id) => id & !FLAG,
        };
        self.want = (self.want & FLAG) | number;
    }

    /// Changes what is there.
    pub fn set_have(&mut self, have: Have) {
        self.have = match have {
            Have::Nothing => 0,
            Have::Form(id) => id & !FLAG,
            Have::Doubt(id) => id | FLAG,
        };
    }

    /// Has the prefix looked at by the next plan.
    pub fn queue(&mut self) {
        self.set_queued(true);
    }

    fn set_queued(&mut self, queued: bool) {
        self.want = (self.want & !FLAG) | if queued { FLAG } else { 0 };
    }
}

/// How soon a prefix must be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// In its turn.
    Soon,
    /// When nothing else waits: packets go the right way meanwhile.
    Late,
}

/// Routes of one family.
#[derive(Debug)]
pub struct Half<K> {
    map: BTreeMap<K, Entry>,
    queue: VecDeque<K>,
    late: VecDeque<K>,
    /// Wished prefixes of each length.
    lengths: BTreeMap<u8, usize>,
    installed: usize,
}

impl<K> Default for Half<K> {
    fn default() -> Self {
        Self {
            map: BTreeMap::new(),
            queue: VecDeque::new(),
            late: VecDeque::new(),
            lengths: BTreeMap::new(),
            installed: 0,
        }
    }
}

impl<K: Key> Half<K> {
    /// What is known of a prefix.
    pub fn get(&self, key: K) -> Entry {
        self.map.get(&key).copied().unwrap_or_default()
    }

    /// Changes an entry; gone when nothing is left in it. Returns what it was.
    pub fn update(&mut self, key: K, change: impl FnOnce(&mut Entry)) -> Entry {
        self.update_ranked(key, |entry| {
            change(entry);
            Rank::Soon
        })
    }

    /// Likewise; the prefix, if it is to be looked at, has its turn as `change` says.
    pub fn update_ranked(&mut self, key: K, change: impl FnOnce(&mut Entry) -> Rank) -> Entry {
        use std::collections::btree_map::Entry as Slot;
        let (old, new, rank) = match self.map.entry(key) {
            Slot::Occupied(mut slot) => {
                let old = *slot.get();
                let rank = change(slot.get_mut());
                let new = *slot.get();
                if new == Entry::default() {
                    slot.remove();
                }
                (old, new, rank)
            }
            Slot::Vacant(slot) => {
                let mut new = Entry::default();
                let rank = change(&mut new);
                if new != Entry::default() {
                    slot.insert(new);
                }
                (Entry::default(), new, rank)
            }
        };
        let spec = |e: Entry| matches!(e.want(), Want::Spec(_));
        if spec(old) != spec(new) {
            let n = self.lengths.entry(key.length()).or_default();
            *n = if spec(new) { *n + 1 } else { n.saturating_sub(1) };
            if *n == 0 {
                self.lengths.remove(&key.length());
            }
        }
        let there = |e: Entry| usize::from(e.have() != Have::Nothing);
        self.installed = self.installed + there(new) - there(old);
        if new.queued() && !old.queued() {
            match rank {
                Rank::Soon => self.queue.push_back(key),
                Rank::Late => self.late.push_back(key),
            }
        }
        old
    }

    /// Has a prefix looked at by the next plan.
    pub fn enqueue(&mut self, key: K) {
        let entry = self.map.entry(key).or_default();
        if !entry.queued() {
            entry.set_queued(true);
            self.queue.push_back(key);
        }
    }

    /// The next prefix to look at, and its entry after `shortcut` had a chance to change it.
    pub fn dequeue<R>(
        &mut self,
        shortcut: impl FnOnce(K, &mut Entry) -> Option<R>,
    ) -> Option<(K, Entry, Option<R>)> {
        let queue = if self.queue.is_empty() { &mut self.late } else { &mut self.queue };
        let key = queue.pop_front()?;
        if queue.is_empty() {
            queue.shrink_to(4096);
        }
        let Some(entry) = self.map.get_mut(&key) else {
            return Some((key, Entry::default(), None));
        };
        entry.set_queued(false);
        let was = usize::from(entry.have() != Have::Nothing);
        let done = shortcut(key, entry);
        let entry = *entry;
        self.installed = self.installed + usize::from(entry.have() != Have::Nothing) - was;
        if entry == Entry::default() {
            self.map.remove(&key);
        }
        Some((key, entry, done))
    }

    /// Prefixes that wait.
    pub fn waiting(&self) -> usize {
        self.queue.len() + self.late.len()
    }

    /// Of these, those whose turn has come.
    pub fn waiting_soon(&self) -> usize {
        self.queue.len()
    }

    /// Routes in the kernel.
    pub fn installed(&self) -> usize {
        self.installed
    }

    /// Lengths of wished prefixes, ascending.
    pub fn lengths(&self) -> impl Iterator<Item = u8> {
        self.lengths.keys().copied()
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (K, Entry)> {
        self.map.iter().map(|(k, e)| (*k, *e))
    }

    /// Entries of a range, after `after`.
    pub fn range(
        &self,
        (first, last): (K, K),
        after: Option<K>,
    ) -> impl Iterator<Item = (K, Entry)> {
        let low = match after {
            Some(a) if a >= first => Bound::Excluded(a),
            _ => Bound::Included(first),
        };
        // A start past the end would panic in `range`.
        let empty = matches!(low, Bound::Excluded(a) if a >= last);
        let range = (!empty).then(|| self.map.range((low, Bound::Included(last))));
        range.into_iter().flatten().map(|(k, e)| (*k, *e))
    }

    /// Changes every entry that matches and has it looked at; how many.
    pub fn sweep(
        &mut self,
        matches: impl Fn(Entry) -> bool,
        mut change: impl FnMut(K, &mut Entry),
    ) -> usize {
        let keys: Vec<K> = self.iter().filter(|(_, e)| matches(*e)).map(|(k, _)| k).collect();
        for &key in &keys {
            self.update(key, |e| change(key, e));
            self.enqueue(key);
        }
        keys.len()
    }
}

/// Routes of both families.
#[derive(Debug, Default)]
pub struct Routes {
    /// IPv4.
    pub v4: Half<Key4>,
    /// IPv6.
    pub v6: Half<Key6>,
}

impl Routes {
    /// What is known of a prefix.
    pub fn get(&self, prefix: IpNet) -> Entry {
        match prefix {
            IpNet::V4(n) => self.v4.get(n.into()),
            IpNet::V6(n) => self.v6.get(n.into()),
        }
    }

    /// See [`Half::update`].
    pub fn update(&mut self, prefix: IpNet, change: impl FnOnce(&mut Entry)) -> Entry {
        match prefix {
            IpNet::V4(n) => self.v4.update(n.into(), change),
            IpNet::V6(n) => self.v6.update(n.into(), change),
        }
    }

    /// See [`Half::update_ranked`].
    pub fn update_ranked(
        &mut self,
        prefix: IpNet,
        change: impl FnOnce(&mut Entry) -> Rank,
    ) -> Entry {
        match prefix {
            IpNet::V4(n) => self.v4.update_ranked(n.into(), change),
            IpNet::V6(n) => self.v6.update_ranked(n.into(), change),
        }
    }

    /// See [`Half::enqueue`].
    pub fn enqueue(&mut self, prefix: IpNet) {
        match prefix {
            IpNet::V4(n) => self.v4.enqueue(n.into()),
            IpNet::V6(n) => self.v6.enqueue(n.into()),
        }
    }

    /// The next prefix to look at: IPv4 first, what can wait last; see [`Half::dequeue`].
    pub fn dequeue<R>(
        &mut self,
        shortcut: impl Fn(IpNet, &mut Entry) -> Option<R>,
    ) -> Option<(IpNet, Entry, Option<R>)> {
        let v6_first = self.v4.waiting_soon() == 0 && self.v6.waiting_soon() > 0;
        if !v6_first && let Some((key, entry, done)) = self.v4.dequeue(|k, e| shortcut(k.net(), e))
        {
            return Some((key.net(), entry, done));
        }
        let next = self.v6.dequeue(|k, e| shortcut(k.net(), e));
        next.map(|(key, entry, done)| (key.net(), entry, done))
    }

    /// See [`Half::sweep`], both families.
    pub fn sweep(
        &mut self,
        matches: impl Fn(Entry) -> bool,
        mut change: impl FnMut(IpNet, &mut Entry),
    ) -> usize {
        let n = self.v4.sweep(&matches, |k, e| change(k.net(), e));
        n + self.v6.sweep(&matches, |k, e| change(k.net(), e))
    }

    /// Prefixes that wait.
    pub fn waiting(&self) -> usize {
        self.v4.waiting() + self.v6.waiting()
    }

    /// Of these, those whose turn has come.
    pub fn waiting_soon(&self) -> usize {
        self.v4.waiting_soon() + self.v6.waiting_soon()
    }
}
