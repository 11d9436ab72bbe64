//! From what changed in the Loc-RIB to what the groups' members in step are sent, once per batch.

use smallvec::SmallVec;

use super::{
    core::Core,
    event::Effect,
    family::{NOBODY, Ranking, Rib},
    group::{Audience, Before, Chosen, Cohort, Group},
    install,
    net::Net,
    outbox::{Exports, Outbox, To},
    table::{NONE, Table},
};

/// What a group tells of a slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    /// Number of the exported set, and where the route came from.
    pub main: Option<(u32, u16)>,
    /// What the source of that is told instead (route server).
    pub alternate: Option<u32>,
    /// The paths of both (route server).
    pub chosen: Chosen,
}

/// A path that a group with add-path tells.
pub(crate) type ToldPath = (u32, u32);

/// Identifier of a path on the wire, with add-path.
pub(crate) fn wire_id(path: u32) -> u32 {
    path + 1
}

impl<N: Net> Rib<N> {
    /// Tells everybody what changed since the last flush.
    pub fn flush(&mut self, core: &mut Core, out: &mut Vec<Effect>) {
        let mut groups = std::mem::take(&mut self.groups);
        if self.needs.clients {
            self.flush_clients(core, &mut groups, out);
        }
        for group in groups.iter_mut().filter(|group| !group.key.by_client()) {
            let (mut exports, mut outbox) = (Exports::default(), Outbox::default());
            if group.key.by_path() {
                self.flush_paths(core, group, &mut exports, &mut outbox);
            } else {
                self.flush_slots(core, group, &mut exports, &mut outbox);
            }
            if !outbox.is_empty() {
                let context = group.key.encode;
                outbox.send(core, &self.table, context, &group.in_step, &exports, out);
            }
            exports.report(core, &group.in_step, out);
        }
        self.groups = groups;
        if core.watched {
            for &(slot, _) in &self.best.entries {
                let best = self.best_row(core, slot).map(Box::new);
                out.push(Effect::Changed { prefix: self.table.prefix(slot).net.to_ip(), best });
            }
        }
        install::flush(self, core, out);
        self.best.clear();
        self.any.clear();
        self.altered.reset();
        self.free_paths();
        // What waits to be freed must not be why the table grows.
        let taken = self.table.taken();
        self.free_slots(taken.saturating_mul(2));
    }

    /// Frees places of paths that nobody needs any more to withdraw what was there.
    fn free_paths(&mut self) {
        let (groups, table) = (&self.groups, &mut self.table);
        self.removed.retain(|path| {
            let mut cohorts = cohorts(groups, true);
            let wanted = cohorts.any(|c| c.changed.test(*path) && c.had.test(*path));
            if !wanted {
                table.free_path(*path);
            }
            wanted
        });
    }

    /// Likewise those of prefixes, looking at no more than `most`; whether to go on. Not a part of a
    /// flush, so that who is told of a withdrawal does not wait for it.
    pub fn free_slots(&mut self, most: usize) -> bool {
        if self.vacant.is_empty() {
            return false;
        }
        let (groups, table) = (&self.groups, &mut self.table);
        let mut waiting: SmallVec<[u32; 8]> =
            self.removed.iter().map(|path| table.slot_of(*path)).collect();
        waiting.sort_unstable();
        for _ in 0..most {
            let Some(slot) = self.vacant.next(self.freed_to) else {
                if !std::mem::take(&mut self.passed) {
                    break;
                }
                self.freed_to = 0;
                continue;
            };
            self.freed_to = slot + 1;
            if !table.occupied(slot) {
                let wanted = waiting.binary_search(&slot).is_ok()
                    || cohorts(groups, false).any(|cohort| cohort.awaits(slot));
                if wanted {
                    continue;
                }
                table.release_slot(slot);
            }
            self.vacant.clear(slot);
        }
        if self.vacant.next(self.freed_to).is_some() {
            return true;
        }
        if self.vacant.is_empty() {
            self.vacant.reset();
        }
        self.freed_to = 0;
        std::mem::take(&mut self.passed)
    }

    fn flush_slots(
        &self,
        core: &Core,
        group: &mut Group,
        exports: &mut Exports,
        outbox: &mut Outbox,
    ) {
        for &(slot, source) in &self.best.entries {
            let before = Before { was: group.advertised.test(slot), source, alternate: false };
            for cohort in &mut group.cohorts {
                cohort.mark_slot(slot, &before);
            }
            if self.table.occupied(slot) {
                let told = look(self, core, group, slot, source, exports);
                tell(&group.in_step, slot, &told, &before, exports, outbox);
            } else if group.advertised.clear(slot) {
                group.count(source, false);
                if let Some(to) = but(&group.in_step, source) {
                    outbox.withdraw(to, 0, slot);
                }
            }
        }
    }

    /// All groups of route server clients side by side: the paths of a prefix are ranked once.
    fn flush_clients(&mut self, core: &Core, groups: &mut [Group], out: &mut Vec<Effect>) {
        let mut level = std::mem::take(&mut self.level);
        let clients = groups.iter_mut().filter(|group| group.key.by_client());
        let mut clients: Vec<_> =
            clients.map(|group| (group, Exports::default(), Outbox::default())).collect();
        for &(slot, source) in &self.any.entries {
            let mut ranking = None;
            for (group, exports, outbox) in &mut clients {
                if !group.stirred.clear(slot) && group.chosen(slot).is_some() {
                    continue;
                }
                let ranking = ranking.get_or_insert_with(|| {
                    let (same_med, paths) = self.ranking(core, slot);
                    level.put(slot, same_med);
                    Ranking::new(paths)
                });
                let before = Before {
                    was: group.advertised.test(slot),
                    source: group.odd.get(&slot).copied().unwrap_or(source),
                    alternate: group.alternates.test(slot),
                };
                let source = before.source;
                let told = look_ranked(self, core, group, slot, source, exports, ranking);
                if !group.choose(slot, told.chosen) {
                    continue;
                }
                for cohort in &mut group.cohorts {
                    cohort.mark_slot(slot, &before);
                }
                tell(&group.in_step, slot, &told, &before, exports, outbox);
            }
        }
        for (group, exports, outbox) in &mut clients {
            if !outbox.is_empty() {
                let context = group.key.encode;
                outbox.send(core, &self.table, context, &group.in_step, exports, out);
            }
            exports.report(core, &group.in_step, out);
        }
        self.level = level;
    }

    fn flush_paths(
        &self,
        core: &Core,
        group: &mut Group,
        exports: &mut Exports,
        outbox: &mut Outbox,
    ) {
        for &path in &self.removed {
            let (slot, source) = (self.table.slot_of(path), self.table.path(path).session);
            let was = group.advertised.clear(path);
            for cohort in &mut group.cohorts {
                cohort.mark_path(slot, path, source, was, true);
            }
            if was {
                group.count(source, false);
                if let Some(to) = but(&group.in_step, source) {
                    outbox.withdraw(to, wire_id(path), slot);
                }
            }
        }
        for &(slot, _) in &self.any.entries {
            let told = look_paths(self, core, group, slot, exports);
            for path in self.table.paths(slot) {
                let export = told.iter().find(|(p, _)| *p == path).map(|(_, export)| *export);
                let was = group.advertised.put(path, export.is_some());
                let source = self.table.path(path).session;
                if was != export.is_some() {
                    group.count(source, !was);
                }
                let news = if export.is_some() { !was || self.altered.test(path) } else { was };
                if !news {
                    continue;
                }
                for cohort in &mut group.cohorts {
                    cohort.mark_path(slot, path, source, was, false);
                }
                let path = (slot, path, source);
                tell_path(&group.in_step, path, export, was, exports, outbox);
            }
        }
    }
}

/// Members that lag, of groups by path or of the others.
fn cohorts(groups: &[Group], by_path: bool) -> impl Iterator<Item = &Cohort> {
    groups
        .iter()
        .filter(move |group| group.key.by_path() == by_path)
        .flat_map(|group| &group.cohorts)
}

/// An audience without a session; `None` when nobody is left.
pub(crate) fn but(audience: &Audience, session: u16) -> Option<To> {
    match audience.has(session) {
        true => audience.single().is_none().then_some(To::Except(session)),
        false => (!audience.is_empty()).then_some(To::All),
    }
}

/// Queues what an audience is to hear of a path, as slot, number and source. `had`: they may hold
/// an earlier version.
///
/// Who is not told because it is the next hop itself may be told to withdraw what it did not hold:
/// that costs a message, keeping an account of it would cost a set for each group.
pub(crate) fn tell_path(
    audience: &Audience,
    (slot, path, source): (u32, u32, u16),
    export: Option<u32>,
    had: bool,
    exports: &Exports,
    outbox: &mut Outbox,
) {
    let id = wire_id(path);
    match export {
        Some(export) => {
            let named = exports.named(export);
            if let Some(to) = outbox.but(audience, source, named) {
                outbox.announce(to, export, id, slot);
            }
            for session in named.iter().filter(|s| had && **s != source && audience.has(**s)) {
                outbox.withdraw(To::Only(*session), id, slot);
            }
        }
        None if had => {
            if let Some(to) = but(audience, source) {
                outbox.withdraw(to, id, slot);
            }
        }
        None => {}
    }
}

/// Computes a group's output for a slot and notes it as advertised. `source`: what it was
/// advertised from, if it was. For members that lag: what those in step have been told stays the
/// same, until a flush tells them.
pub(crate) fn look<N: Net>(
    rib: &Rib<N>,
    core: &Core,
    group: &mut Group,
    slot: u32,
    source: u16,
    exports: &mut Exports,
) -> Told {
    if !group.key.by_client() {
        let mut none = Ranking::new(std::iter::empty());
        return look_ranked(rib, core, group, slot, source, exports, &mut none);
    }
    // Another member lagging must not cost another ranking.
    if let Some(Chosen { main, alternate }) = still_chosen(rib, core, group, slot) {
        let paths = [main, alternate].into_iter().filter(|path| *path != NONE);
        return look_ranked(rib, core, group, slot, source, exports, &mut Ranking::new(paths));
    }
    let there = rib.table.occupied(slot).then(|| rib.ranked(core, slot));
    let mut ranking = Ranking::new(there.into_iter().flatten());
    let told = look_ranked(rib, core, group, slot, source, exports, &mut ranking);
    group.doubt(slot, |known| *known == told.chosen);
    told
}

/// What members in step have been told of a slot, if it is still what all are to be told.
fn still_chosen<N: Net>(rib: &Rib<N>, core: &Core, group: &Group, slot: u32) -> Option<Chosen> {
    let chosen = group.chosen(slot)?;
    let eligible = |path: u32| path == NONE || core.eligible(rib.table.path(path)).is_ok();
    // Its source may have become a member since.
    let complete = chosen.alternate != NONE
        || chosen.main == NONE
        || !group.has(rib.table.path(chosen.main).session);
    (complete && eligible(chosen.main) && eligible(chosen.alternate)).then_some(chosen)
}

/// Likewise; `ranking` are the paths for route server clients.
fn look_ranked<N: Net>(
    rib: &Rib<N>,
    core: &Core,
    group: &mut Group,
    slot: u32,
    source: u16,
    exports: &mut Exports,
    ranking: &mut Ranking<impl Iterator<Item = u32>>,
) -> Told {
    let mut told = Told { main: None, alternate: None, chosen: Chosen::NOTHING };
    // A slot that a cohort has marked may be free again.
    let best = if rib.table.occupied(slot) { rib.table.best(slot) } else { None };
    if let Some(best) = best {
        let net = rib.table.prefix(slot).net;
        if group.key.by_client() {
            clients(rib, core, group, net, exports, ranking, &mut told);
        } else {
            let path = rib.table.path(best);
            told.main =
                exports.number(core, &group.key, path, net).map(|export| (export, path.session));
        }
    }
    if group.advertised.put(slot, told.main.is_some()) {
        group.count(source, false);
    }
    if let Some((_, source)) = told.main {
        group.count(source, true);
    }
    if group.key.by_client() {
        group.alternates.put(slot, told.alternate.is_some());
        let usual = best.map_or(NOBODY, |best| rib.table.path(best).session);
        match told.main {
            Some((_, source)) if source != usual => group.odd.insert(slot, source),
            _ => group.odd.remove(&slot),
        };
    }
    told
}

/// The first route that the policy lets through, and for its source the first of another's.
fn clients<N: Net>(
    rib: &Rib<N>,
    core: &Core,
    group: &Group,
    net: N,
    exports: &mut Exports,
    ranking: &mut Ranking<impl Iterator<Item = u32>>,
    told: &mut Told,
) {
    let mut place = 0;
    while let Some(number) = ranking.at(place) {
        place += 1;
        let path = rib.table.path(number);
        match told.main {
            Some((_, source)) if source == path.session => continue,
            _ => {}
        }
        let Some(export) = exports.number(core, &group.key, path, net) else { continue };
        match told.main {
            None => {
                told.main = Some((export, path.session));
                told.chosen.main = number;
                if !group.has(path.session) {
                    return;
                }
            }
            Some((_, source)) if exports.named(export).contains(&source) => {}
            Some(_) => {
                told.alternate = Some(export);
                told.chosen.alternate = number;
                return;
            }
        }
    }
}

/// Computes which paths of a slot a group with add-path tells; does not note it.
pub(crate) fn look_paths<N: Net>(
    rib: &Rib<N>,
    core: &Core,
    group: &Group,
    slot: u32,
    exports: &mut Exports,
) -> SmallVec<[ToldPath; 8]> {
    let mut told = SmallVec::new();
    if !rib.table.occupied(slot) {
        return told;
    }
    let net = rib.table.prefix(slot).net;
    let best = rib.table.best(slot).filter(|_| group.key.paths == 1);
    let ranked = best.is_none().then(|| rib.ranked(core, slot));
    for path in best.into_iter().chain(ranked.into_iter().flatten()) {
        if told.len() == group.key.paths {
            break;
        }
        if let Some(export) = exports.number(core, &group.key, rib.table.path(path), net) {
            told.push((path, export));
        }
    }
    told
}

/// Queues what an audience in step is to hear of a slot.
pub(crate) fn tell(
    audience: &Audience,
    slot: u32,
    told: &Told,
    before: &Before,
    exports: &Exports,
    outbox: &mut Outbox,
) {
    match told.main {
        Some((export, source)) => {
            let named = exports.named(export);
            if let Some(to) = outbox.but(audience, source, named) {
                outbox.announce(to, export, 0, slot);
            }
            for session in named.iter().filter(|s| **s != source && audience.has(**s)) {
                if before.held_by(*session) {
                    outbox.withdraw(To::Only(*session), 0, slot);
                }
            }
            if audience.has(source) {
                match told.alternate {
                    Some(export) => outbox.announce(To::Only(source), export, 0, slot),
                    None if before.held_by(source) => {
                        outbox.withdraw(To::Only(source), 0, slot);
                    }
                    None => {}
                }
            }
        }
        None if before.was => {
            let to = if before.alternate { Some(To::All) } else { but(audience, before.source) };
            if let Some(to) = to.filter(|_| !audience.is_empty()) {
                outbox.withdraw(to, 0, slot);
            }
        }
        None => {}
    }
}

/// Who of an audience that lags may hold an earlier route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Had {
    /// Nobody.
    None,
    /// All but the session it came from.
    AllBut(u16),
    /// Anyone.
    Any,
}

/// Queues what an audience that lags is to hear of a slot.
pub(crate) fn tell_late(
    audience: &Audience,
    slot: u32,
    told: &Told,
    had: Had,
    exports: &Exports,
    outbox: &mut Outbox,
) {
    match told.main {
        Some((export, source)) => {
            let named = exports.named(export);
            if let Some(to) = outbox.but(audience, source, named) {
                outbox.announce(to, export, 0, slot);
            }
            for session in named.iter().filter(|s| **s != source && audience.has(**s)) {
                if had != Had::None && had != Had::AllBut(*session) {
                    outbox.withdraw(To::Only(*session), 0, slot);
                }
            }
            if audience.has(source) {
                match told.alternate {
                    Some(export) => outbox.announce(To::Only(source), export, 0, slot),
                    None if had == Had::None || had == Had::AllBut(source) => {}
                    None => outbox.withdraw(To::Only(source), 0, slot),
                }
            }
        }
        None => {
            let to = match had {
                Had::None => None,
                Had::AllBut(source) => but(audience, source),
                Had::Any => Some(To::All),
            };
            if let Some(to) = to {
                outbox.withdraw(to, 0, slot);
            }
        }
    }
}

/// What is advertised from a slot now, before a visit without any change: its source.
pub(crate) fn source_now<N: Net>(table: &Table<N>, group: &Group, slot: u32) -> u16 {
    if let Some(source) = group.odd.get(&slot) {
        return *source;
    }
    if !table.occupied(slot) {
        return NOBODY;
    }
    table.best(slot).map_or(NOBODY, |best| table.path(best).session)
}
