//! One address family of a shard: routes come and go, the best is kept in front, and what changed
//! is noted for those who are told at the next flush.

use smallvec::SmallVec;

use super::{
    bits::BitSet,
    core::Core,
    decision::{self, Candidate, Few},
    group::{Chosen, Group},
    net::Net,
    scan::Scan,
    session::{Limit, Standing},
    table::{BLACKHOLE, INELIGIBLE, NONE, NewPath, PathFlags, Table},
};
use crate::rib::event::Effect;

/// Paths of one prefix that a session may have: they are found one after the other, so what n of
/// them cost grows with n².
pub(crate) const MAX_PATHS: usize = 128;

/// No session, in a journal.
pub(crate) const NOBODY: u16 = u16::MAX;

/// Slots that changed since the last flush, each once, and the session whose route was the best
/// before.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub entries: Vec<(u32, u16)>,
    dirty: BitSet,
}

impl Journal {
    pub fn note(&mut self, slot: u32, before: u16) {
        if self.dirty.set(slot) {
            self.entries.push((slot, before));
        }
    }

    pub fn clear(&mut self) {
        for (slot, _) in self.entries.drain(..) {
            self.dirty.clear(slot);
        }
        self.entries.shrink_to(1 << 16);
    }
}

/// The best path at a moment, as far as others can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub path: u32,
    pub session: u16,
    attrs: u32,
    flags: u16,
    forwarding: (u32, u32),
}

/// What happened to the paths of a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// A new path.
    Added(u32),
    /// A path that was not the best has other attributes.
    Replaced(u32),
    /// A path that was not the best is gone.
    Removed,
    /// Anything else.
    Any,
}

/// Who needs to know of changes that leave the best path alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Needs {
    /// A group that looks past the best path.
    pub any: bool,
    /// A group with add-path: removed paths keep their places until flushed.
    pub paths: bool,
    /// A group of route server clients.
    pub clients: bool,
}

/// All state of one family.
#[derive(Debug)]
pub(crate) struct Rib<N> {
    pub table: Table<N>,
    pub groups: Vec<Group>,
    /// Slots with another best path.
    pub best: Journal,
    /// Slots with any change, while `needs.any`.
    pub any: Journal,
    /// Paths with other attributes, while `needs.paths`.
    pub altered: BitSet,
    /// Slots whose candidates all have the same MED, as far as that was looked at for route server
    /// clients.
    pub level: BitSet,
    /// Slots whose wish for the kernel may have changed.
    pub kernel: Journal,
    /// Slots wished into the kernel.
    pub installed: BitSet,
    pub needs: Needs,
    /// Paths taken out, with the slot of their prefix, until the next flush.
    pub removed: Vec<u32>,
    /// Slots that may have lost their last path, to be freed.
    pub vacant: BitSet,
    /// How far this round of freeing has come, and whether others became vacant behind it.
    pub freed_to: u32,
    pub passed: bool,
    pub scan: Scan,
    /// Prefixes with a best path.
    pub best_count: u64,
    /// Identifier of the latest group.
    pub next_group: u32,
}

impl<N: Net> Rib<N> {
    pub fn new() -> Self {
        Self {
            table: Table::default(),
            groups: Vec::new(),
            best: Journal::default(),
            any: Journal::default(),
            altered: BitSet::default(),
            level: BitSet::default(),
            kernel: Journal::default(),
            installed: BitSet::default(),
            needs: Needs::default(),
            removed: Vec::new(),
            vacant: BitSet::default(),
            freed_to: 0,
            passed: false,
            scan: Scan::default(),
            best_count: 0,
            next_group: 0,
        }
    }

    /// A route arrives; `new` carries one count of each of its sets, which is taken over. `located`:
    /// the slot of the prefix, where it was there a moment ago; else `NONE`.
    pub fn announce(&mut self, core: &mut Core, net: N, located: u32, new: NewPath) {
        let slot = if located == NONE { self.table.slot(net) } else { located };
        let before = self.held(core, slot);
        match self.find(slot, new.session, new.path_id) {
            Err(others) if others >= MAX_PATHS => {
                discard(core, new.attrs_in, new.attrs);
                too_many(core, new.session, net);
            }
            Err(_) => {
                if !recount::<N>(core, new.session, None, Some(new.flags)) {
                    discard(core, new.attrs_in, new.attrs);
                    self.vacate(slot);
                    return;
                }
                core.sessions.get_mut(new.session).inbound[N::INDEX].received += 1;
                let path = self.table.add(slot, new);
                self.settle(core, slot, before, Change::Added(path));
            }
            Ok(path) => {
                let old = *self.table.path(path);
                let same = old.attrs_in == new.attrs_in
                    && old.attrs == new.attrs
                    && old.flags.bits() == new.flags.bits();
                if !recount::<N>(core, new.session, Some(old.flags), Some(new.flags)) {
                    discard(core, new.attrs_in, new.attrs);
                    self.remove(core, slot, path, before);
                    return;
                }
                let record = self.table.path_mut(path);
                record.flags = new.flags;
                if same {
                    discard(core, new.attrs_in, new.attrs);
                    return;
                }
                (record.attrs_in, record.attrs, record.since) =
                    (new.attrs_in, new.attrs, new.since);
                discard(core, old.attrs_in, old.attrs);
                self.alter(slot, path);
                let was_best = before.is_some_and(|held| held.path == path);
                let change = if was_best { Change::Any } else { Change::Replaced(path) };
                self.settle(core, slot, before, change);
            }
        }
    }

    /// A route is withdrawn; nothing happens if it is not there. `located` as for
    /// [`announce`](Self::announce).
    pub fn withdraw(&mut self, core: &mut Core, net: N, located: u32, session: u16, path_id: u32) {
        let slot = if located == NONE { self.table.find(net) } else { Some(located) };
        let Some(slot) = slot else { return };
        let Ok(path) = self.find(slot, session, path_id) else { return };
        let before = self.held(core, slot);
        self.remove(core, slot, path, before);
    }

    fn remove(&mut self, core: &mut Core, slot: u32, path: u32, before: Option<Held>) {
        self.take_out(core, slot, path);
        let was_best = before.is_some_and(|held| held.path == path);
        self.settle(core, slot, before, if was_best { Change::Any } else { Change::Removed });
    }

    /// Takes a path out of its list and its counts; [`settle`](Self::settle) must follow.
    pub fn take_out(&mut self, core: &mut Core, slot: u32, path: u32) {
        let record = *self.table.path(path);
        core.sessions.get_mut(record.session).inbound[N::INDEX].received -= 1;
        recount::<N>(core, record.session, Some(record.flags), None);
        self.table.unlink(slot, path);
        self.untell(slot, path);
        discard(core, record.attrs_in, record.attrs);
        if self.needs.paths {
            self.removed.push(path);
        } else {
            self.table.free_path(path);
        }
        self.vacate(slot);
    }

    /// Notes a slot to be freed, if it has no path.
    fn vacate(&mut self, slot: u32) {
        if !self.table.occupied(slot) {
            self.vacant.set(slot);
            self.passed |= slot < self.freed_to;
        }
    }

    /// Import has come to another result for a path; the new set has been counted.
    pub fn reimported(
        &mut self,
        core: &mut Core,
        slot: u32,
        path: u32,
        (attrs, bits): (u32, u16),
    ) -> bool {
        let old = *self.table.path(path);
        if old.attrs == attrs && old.flags.bits() == bits {
            core.sets.release(attrs);
            return false;
        }
        let flags = PathFlags::new(bits, old.flags.round());
        if !recount::<N>(core, old.session, Some(old.flags), Some(flags)) {
            core.sets.release(attrs);
            self.take_out(core, slot, path);
            return true;
        }
        let record = self.table.path_mut(path);
        (record.attrs, record.flags) = (attrs, flags);
        core.sets.release(old.attrs);
        self.alter(slot, path);
        true
    }

    fn alter(&mut self, slot: u32, path: u32) {
        if self.needs.paths {
            self.altered.set(path);
        }
        self.untell(slot, path);
    }

    /// A path is not any more what route server clients were told, if they were.
    fn untell(&mut self, slot: u32, path: u32) {
        if self.needs.clients {
            for group in &mut self.groups {
                group.forget_verdict();
                group.doubt(slot, |told| told.main != path && told.alternate != path);
            }
        }
    }

    /// A path; where it is not there, how many others the session has.
    fn find(&self, slot: u32, session: u16, path_id: u32) -> Result<u32, usize> {
        let mut others = 0;
        for path in self.table.paths(slot) {
            let record = self.table.path(path);
            if record.session == session {
                if record.path_id == path_id {
                    return Ok(path);
                }
                others += 1;
            }
        }
        Err(others)
    }

    /// The best path now, to be compared with later.
    pub fn held(&self, core: &Core, slot: u32) -> Option<Held> {
        let path = self.table.best(slot)?;
        let record = self.table.path(path);
        Some(Held {
            path,
            session: record.session,
            attrs: record.attrs,
            flags: record.flags.bits(),
            forwarding: core.sets.forwarding(record.attrs),
        })
    }

    /// Finds the best path after a change and notes what is different from `before`.
    pub fn settle(&mut self, core: &mut Core, slot: u32, before: Option<Held>, change: Change) {
        if self.table.occupied(slot) && !self.still_best(core, slot, before, change) {
            let best = self.decide(core, slot, before);
            self.table.promote(slot, best);
        }
        let wish = |held: Held| (held.forwarding, held.flags & BLACKHOLE, held.session);
        // Whether the best path is another, and whether it takes packets another way.
        let (moved, turned) = match before {
            None => {
                let there = self.table.best(slot).is_some();
                self.best_count += u64::from(there);
                (there, there)
            }
            Some(before) => match self.held(core, slot) {
                None => {
                    self.best_count -= 1;
                    (true, true)
                }
                Some(after) => (before != after, wish(before) != wish(after)),
            },
        };
        let source = before.map_or(NOBODY, |held| held.session);
        if moved {
            self.best.note(slot, source);
        }
        if self.needs.any {
            let stirred = self.needs.clients && self.stir(core, slot, change, moved);
            if moved || self.needs.paths || stirred {
                self.any.note(slot, source);
            }
        }
        if core.installs() {
            let policy = matches!(core.config.install, super::event::Install::Policy(_));
            // What comes after the best may have changed, too.
            let beside = || change == Change::Removed || self.table.paths(slot).nth(1).is_some();
            if turned || core.multipath() || (policy && moved) || beside() {
                self.kernel.note(slot, NOBODY);
            }
        }
    }

    /// Whether the best path surely stays the best without looking at all others.
    fn still_best(&self, core: &Core, slot: u32, before: Option<Held>, change: Change) -> bool {
        let Some(held) = before else { return false };
        let config = core.decision();
        let total_order = config.always_compare_med;
        let others = self.table.paths(slot).skip(1).take(2).count();
        let added = match change {
            Change::Any => return false,
            // What is gone may have kept another path of its neighbour AS down by MED.
            Change::Removed => return total_order || others <= 1,
            Change::Replaced(path) if total_order || others <= 1 => path,
            Change::Replaced(_) => return false,
            Change::Added(path) if total_order || config.deterministic_med => path,
            Change::Added(_) => return false,
        };
        let Some(new) = core.candidate(self.table.path(added)) else { return true };
        // The best may be of a session that has gone since.
        let Some(best) = core.candidate(self.table.path(held.path)) else { return false };
        decision::compare(&best, &new, config).0 == std::cmp::Ordering::Less
    }

    /// Notes for each group of route server clients whether a change may be news for it; whether it
    /// is for any. `moved`: the best path is another.
    ///
    /// Of two hundred clients' paths a group tells two: all paths would be ranked again for each
    /// that comes, and where a policy rejects a prefix, put to the policy again.
    fn stir(&mut self, core: &Core, slot: u32, change: Change, moved: bool) -> bool {
        let new = match change {
            Change::Added(path) => core.candidate(self.table.path(path)),
            _ => None,
        };
        if let Some(new) = &new
            && self.level.test(slot)
        {
            let best = self.table.best(slot).and_then(|best| core.candidate(self.table.path(best)));
            let med = |candidate: &Candidate| decision::med(candidate, core.decision());
            if best.is_none_or(|best| med(&best) != med(new)) {
                self.level.clear(slot);
            }
        }
        let mut groups = std::mem::take(&mut self.groups);
        let mut stirred = false;
        for group in groups.iter_mut().filter(|group| group.key.by_client()) {
            if !group.stirred.test(slot) && self.concerns(core, group, slot, change, &new, moved) {
                group.stirred.set(slot);
            }
            stirred |= group.stirred.test(slot);
        }
        self.groups = groups;
        stirred
    }

    /// Whether a change may be news for a group. `new` is an added path as the decision sees it, if
    /// it is eligible.
    fn concerns(
        &self,
        core: &Core,
        group: &mut Group,
        slot: u32,
        change: Change,
        new: &Option<Candidate>,
        moved: bool,
    ) -> bool {
        let Some(chosen) = group.chosen(slot) else { return true };
        if moved && chosen.main != NONE {
            return true; // whether what it tells is the best path is part of its account
        }
        let level = self.level.test(slot) && !core.decision().prefer_older;
        match (change, new) {
            (Change::Added(_), None) => false,
            (Change::Added(path), Some(new)) => match self.last_told(group, slot) {
                Some(last) => {
                    let last = core.candidate(self.table.path(last));
                    !last.is_some_and(|last| decision::behind(new, &last, level, core.decision()))
                }
                None => {
                    let net = self.table.prefix(slot).net.to_ip();
                    group.lets_through(core, self.table.path(path), net)
                }
            },
            // Had it been told, the group would not know any more what it tells.
            (Change::Removed, _) => !level,
            _ => true,
        }
    }

    /// The last path that a group of route server clients has looked at; `None`: at all of them.
    fn last_told(&self, group: &Group, slot: u32) -> Option<u32> {
        let Chosen { main, alternate } = group.chosen(slot)?;
        if alternate != NONE {
            return Some(alternate);
        }
        (main != NONE && !group.has(self.table.path(main).session)).then_some(main)
    }

    fn decide(&self, core: &Core, slot: u32, before: Option<Held>) -> Option<u32> {
        let mut paths = self.table.paths(slot);
        let first = paths.next()?;
        if paths.next().is_none() {
            return core.eligible(self.table.path(first)).is_ok().then_some(first);
        }
        let (paths, candidates) = self.candidates(core, slot);
        let current = before.and_then(|held| paths.iter().position(|path| *path == held.path));
        decision::decide(&candidates, current, core.decision()).map(|at| paths[at])
    }

    /// The eligible paths of a prefix; the best first.
    pub fn candidates(&self, core: &Core, slot: u32) -> (Few<u32>, Few<Candidate>) {
        let mut paths: Few<u32> = SmallVec::new();
        let mut candidates: Few<Candidate> = SmallVec::new();
        for path in self.table.paths(slot) {
            if let Some(candidate) = core.candidate(self.table.path(path)) {
                paths.push(path);
                candidates.push(candidate);
            }
        }
        (paths, candidates)
    }

    /// Eligible paths in order of preference; see [`decision::rank`].
    pub fn ranked(&self, core: &Core, slot: u32) -> impl Iterator<Item = u32> {
        self.ranking(core, slot).1
    }

    /// Likewise, and whether all of them have the same MED.
    pub fn ranking(&self, core: &Core, slot: u32) -> (bool, impl Iterator<Item = u32>) {
        let best = self.table.best(slot);
        let (paths, candidates) = match best {
            None => Default::default(),
            Some(_) => self.candidates(core, slot),
        };
        let current = paths.iter().position(|path| Some(*path) == best);
        let level = decision::is_level(&candidates, core.decision());
        (level, decision::rank(candidates, current, core.decision()).map(move |at| paths[at]))
    }
}

/// Paths in order of preference, found as far as anybody has asked and kept for the next one.
pub(crate) struct Ranking<I> {
    rest: I,
    found: SmallVec<[u32; 4]>,
}

impl<I: Iterator<Item = u32>> Ranking<I> {
    pub fn new(paths: I) -> Self {
        Self { rest: paths, found: SmallVec::new() }
    }

    /// The path at a place; they are asked for in turn.
    pub fn at(&mut self, place: usize) -> Option<u32> {
        if place >= self.found.len() {
            self.found.push(self.rest.next()?);
        }
        self.found.get(place).copied()
    }
}

fn discard(core: &mut Core, attrs_in: u32, attrs: u32) {
    if attrs == attrs_in {
        return core.sets.release_of(attrs, 2);
    }
    core.sets.release(attrs);
    core.sets.release(attrs_in);
}

/// A path was not taken, for its session has too many of the prefix.
fn too_many<N: Net>(core: &mut Core, session: u16, net: N) {
    let slot = core.sessions.get_mut(session);
    let first = !std::mem::replace(&mut slot.inbound[N::INDEX].exceeded_paths, true);
    let Some(session) = &slot.session else { return };
    let of = (session.peer, session.epoch, N::FAMILY);
    match core.effects.last_mut() {
        Some(Effect::TooManyPaths { peer, epoch, family, dropped, .. })
            if (*peer, *epoch, *family) == of =>
        {
            *dropped += 1;
        }
        _ => {
            let ((peer, epoch, family), prefix) = (of, net.to_ip());
            let (dropped, limit) = (1, MAX_PATHS);
            let effect =
                Effect::TooManyPaths { peer, epoch, family, prefix, dropped, limit, first };
            core.effects.push(effect);
        }
    }
}

/// Counts for `max-prefixes` after a path came, changed or went; `false`: it must not be there, and
/// counts as it did before.
fn recount<N: Net>(
    core: &mut Core,
    session: u16,
    was: Option<PathFlags>,
    is: Option<PathFlags>,
) -> bool {
    let slot = core.sessions.get_mut(session);
    let standing = |flags: Option<PathFlags>| {
        flags.map_or(Standing::Out, |flags| {
            slot.inbound[N::INDEX].standing(!flags.any(INELIGIBLE), flags.round())
        })
    };
    let (was, is) = (standing(was), standing(is));
    let limit = slot.count(N::INDEX, was, is);
    report(core, session, N::INDEX, limit);
    !matches!(limit, Limit::Discard(_))
}

/// Says what `max-prefixes` found, where it found anything.
pub(crate) fn report(core: &mut Core, session: u16, family: usize, limit: Limit) {
    let (count, warning) = match limit {
        Limit::Within | Limit::Discard(0) => return,
        Limit::Warn(count) => (count, true),
        Limit::Exceeded(count) | Limit::Discard(count) => (count, false),
    };
    if let Some(session) = core.sessions.peer(session) {
        core.effects.push(Effect::MaxPrefixes {
            peer: session.peer,
            epoch: session.epoch,
            family: bgp_packet::Family::SUPPORTED[family],
            count,
            warning,
        });
    }
}
