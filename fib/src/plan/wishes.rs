//! Distinct wishes and distinct sets of BGP next hops. A million routes share a handful of each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::api::{BgpNextHop, Source, Target, Wish};
use crate::plan::fact::{Hops, Via};
use crate::plan::intern::FIRST;

/// How long the routes over an unreachable set stay: BGP usually has a better wish within this, and
/// a million of them would otherwise be deleted only to be added again.
pub const GRACE: Duration = Duration::from_secs(1);

/// Sets with a backup there are at most: each is a group in the kernel, and with n next hops there
/// could be n². Wishes beyond it do without; their routes move when the RIB says so.
pub const PAIRS_MAX: usize = 4096;

/// BGP next hops with weights, sorted.
pub type Members = Vec<(BgpNextHop, u16)>;

/// What tells sets apart: routes that differ in it may have to move apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ways {
    /// The BGP next hops.
    pub members: Members,
    /// Who told them, sorted; see [`Wish::sources`].
    pub sources: Vec<(BgpNextHop, Source)>,
    /// What comes after them.
    pub backup: Option<(BgpNextHop, Source)>,
}

impl Ways {
    /// Every next hop in it.
    pub fn next_hops(&self) -> impl Iterator<Item = BgpNextHop> + '_ {
        let members = self.members.iter().map(|(next_hop, _)| *next_hop);
        members.chain(self.backup.map(|(next_hop, _)| next_hop))
    }

    /// The members that have a source left, or never had one.
    pub fn living(&self, ended: &BTreeSet<Source>) -> impl Iterator<Item = &(BgpNextHop, u16)> {
        self.members.iter().filter(|(next_hop, _)| {
            let mut named = self.sources.iter().filter(|(of, _)| of == next_hop).peekable();
            named.peek().is_none() || named.any(|(_, source)| !ended.contains(source))
        })
    }

    /// Whether it hangs on this source.
    pub fn names(&self, source: Source) -> bool {
        self.sources.iter().chain(&self.backup).any(|(_, named)| *named == source)
    }
}

/// What a wish comes to for one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel should have this form.
    Form(u32),
    /// It cannot be done now: no next hop, no such source address.
    Impossible,
}

/// A wish some prefix has.
#[derive(Debug)]
pub struct Spec {
    /// The wish.
    pub wish: Wish,
    /// The set of its next hops; `None` for blackhole and the like.
    pub set: Option<u32>,
    /// What it comes to, IPv4 and IPv6.
    pub outcome: [Outcome; 2],
    holders: u32,
}

/// A set of BGP next hops, its resolution and its group in the kernel.
#[derive(Debug)]
pub struct Set {
    /// The BGP next hops and their backup.
    pub ways: Ways,
    /// What they resolve to now; empty = unreachable, or to be dropped.
    pub target: Hops,
    /// How, where none of them leads anywhere and one is there to drop.
    pub discard: Option<Via>,
    /// What the backup resolves to while it is not used.
    pub standby: Hops,
    /// The group made for it: number, and what the kernel has in it.
    pub group: Option<(u32, Hops)>,
    /// Since when it is unreachable.
    pub lost: Option<Instant>,
    /// Since when nobody wishes for it.
    pub idle: Option<Instant>,
    /// Not before this are refused operations tried again.
    pub retry: Option<Instant>,
    specs: BTreeSet<u32>,
}

impl Spec {
    /// The form a prefix of this wish should have, if it can be had.
    pub fn form_for(&self, prefix: IpNet) -> Option<u32> {
        let [v4, v6] = self.outcome;
        match if matches!(prefix, IpNet::V4(_)) { v4 } else { v6 } {
            Outcome::Form(form) => Some(form),
            Outcome::Impossible => None,
        }
    }
}

impl Set {
    /// When there is something to do although nothing happened. A group that leads nowhere is
    /// given up only when the sources are in sync.
    pub fn due(&self, in_sync: bool) -> Option<Instant> {
        let group = self.group.as_ref().filter(|_| in_sync);
        let given_up = group.and(self.lost).map(|at| at + GRACE);
        match (given_up, self.retry) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// All wishes and sets.
#[derive(Debug, Default)]
pub struct Wishes {
    specs: Vec<Option<Spec>>,
    ids: HashMap<Wish, u32, foldhash::fast::RandomState>,
    free: Vec<u32>,
    sets: BTreeMap<u32, Set>,
    by_ways: BTreeMap<Ways, u32>,
    /// How many of the sets have a backup.
    pairs: usize,
    next_set: u32,
}

impl Wishes {
    /// The number of a wish, held once more, and the set that is new with it.
    pub fn hold(&mut self, wish: &Wish) -> (u32, Option<u32>) {
        let mut wish = canonical(wish);
        loop {
            if let Some(&id) = self.ids.get(&wish) {
                self.again(id);
                return (id, None);
            }
            if wish.backup.is_none() || self.pairs < PAIRS_MAX {
                break;
            }
            wish.backup = None;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.specs.push(None);
            u32::try_from(self.specs.len() - 1).unwrap_or(u32::MAX - FIRST) + FIRST
        });
        let mut new_set = None;
        let set = match &wish.target {
            Target::Via(members) => {
                let (sources, backup) = (wish.sources.clone(), wish.backup);
                let (set, new) = self.set_for(Ways { members: members.clone(), sources, backup });
                if new {
                    new_set = Some(set);
                }
                if let Some(s) = self.sets.get_mut(&set) {
                    s.specs.insert(id);
                    s.idle = None;
                }
                Some(set)
            }
            _ => None,
        };
        let spec = Spec { wish: wish.clone(), set, outcome: [Outcome::Impossible; 2], holders: 1 };
        if let Some(slot) = self.specs.get_mut(place(id)) {
            *slot = Some(spec);
        }
        self.ids.insert(wish, id);
        (id, new_set)
    }

    /// Holds once more.
    pub fn again(&mut self, id: u32) {
        if let Some(spec) = self.spec_mut(id) {
            spec.holders += 1;
        }
    }

    /// Lets a wish go once; the forms it came to when it was the last.
    pub fn release(&mut self, id: u32, now: Instant) -> Option<[Outcome; 2]> {
        let spec = self.spec_mut(id)?;
        spec.holders -= 1;
        if spec.holders > 0 {
            return None;
        }
        let spec = self.specs.get_mut(place(id))?.take()?;
        self.ids.remove(&spec.wish);
        self.free.push(id);
        if let Some(set) = spec.set.and_then(|s| self.sets.get_mut(&s)) {
            set.specs.remove(&id);
            if set.specs.is_empty() {
                set.idle = Some(now);
            }
        }
        Some(spec.outcome)
    }

    /// A wish by number.
    pub fn spec(&self, id: u32) -> Option<&Spec> {
        self.specs.get(place(id))?.as_ref()
    }

    /// A wish by number.
    pub fn spec_mut(&mut self, id: u32) -> Option<&mut Spec> {
        self.specs.get_mut(place(id))?.as_mut()
    }

    /// Numbers of all wishes.
    pub fn spec_ids(&self) -> Vec<u32> {
        self.ids.values().copied().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Wishes that use one of these source addresses.
    pub fn specs_from(&self, sources: &BTreeSet<IpAddr>, default: Option<IpAddr>) -> Vec<u32> {
        let uses = |id: &u32| {
            let own = self.spec(*id).and_then(|s| s.wish.preferred_source);
            own.or(default).is_some_and(|a| sources.contains(&a))
        };
        self.spec_ids().into_iter().filter(uses).collect()
    }

    /// A set by number.
    pub fn set(&self, id: u32) -> Option<&Set> {
        self.sets.get(&id)
    }

    /// A set by number.
    pub fn set_mut(&mut self, id: u32) -> Option<&mut Set> {
        self.sets.get_mut(&id)
    }

    /// All sets by number.
    pub fn sets(&self) -> impl Iterator<Item = (u32, &Set)> {
        self.sets.iter().map(|(id, set)| (*id, set))
    }

    /// Wishes that use a set.
    pub fn specs_of(&self, set: u32) -> Vec<u32> {
        self.sets.get(&set).map(|s| s.specs.iter().copied().collect()).unwrap_or_default()
    }

    /// Forgets a set nobody wishes for.
    pub fn forget_set(&mut self, id: u32) -> Option<Set> {
        let set = self.sets.remove(&id)?;
        self.by_ways.remove(&set.ways);
        self.pairs -= usize::from(set.ways.backup.is_some());
        Some(set)
    }

    fn set_for(&mut self, ways: Ways) -> (u32, bool) {
        if let Some(&id) = self.by_ways.get(&ways) {
            return (id, false);
        }
        let id = self.next_set;
        self.next_set += 1;
        self.pairs += usize::from(ways.backup.is_some());
        self.by_ways.insert(ways.clone(), id);
        let set = Set {
            ways,
            target: Hops::new(),
            standby: Hops::new(),
            discard: None,
            group: None,
            lost: None,
            idle: None,
            retry: None,
            specs: BTreeSet::new(),
        };
        self.sets.insert(id, set);
        (id, true)
    }
}

/// The same wish always looks the same: members sorted, weights of equal ones added, nothing named
/// that is not in use.
fn canonical(wish: &Wish) -> Wish {
    let mut wish = wish.clone();
    let Wish { target, sources, backup, .. } = &mut wish;
    if !matches!(target, Target::Via(_)) {
        (*sources, *backup) = (Vec::new(), None);
    }
    sources.sort_unstable();
    sources.dedup();
    if let Target::Via(members) = target {
        members.sort_unstable();
        members.dedup_by(|b, a| {
            let same = a.0 == b.0;
            if same {
                a.1 = a.1.saturating_add(b.1);
            }
            same
        });
    }
    wish
}

fn place(id: u32) -> usize {
    id.checked_sub(FIRST).and_then(|i| usize::try_from(i).ok()).unwrap_or(usize::MAX)
}
