//! Members that are not in step: the first table, refreshes, and catching up, a slice at a time.

use bgp_packet::{Family, RefreshKind, RouteRefresh, end_of_rib, message::encode_route_refresh};
use bytes::Bytes;

use super::{
    core::Core,
    event::Effect,
    family::Rib,
    flush::{Had, Told, look, look_paths, source_now, tell, tell_late, tell_path},
    group::{Audience, Before, Cohort, Group, GroupKey, Known, Walk},
    net::Net,
    outbox::{Exports, Outbox},
};

/// Slots a cohort is served in one turn.
const TURN: usize = 1024;

/// A change of a group's output that a cohort came upon before any flush: something the output
/// depends on is in force at once (a session is dead, a next hop is gone, other settings), while
/// the scan that notes the prefixes is still on its way.
enum Early {
    Slot(u32, Before),
    Path { slot: u32, path: u32, source: u16, was: bool },
}

/// What one turn of a cohort yields.
#[derive(Default)]
struct Turn {
    exports: Exports,
    /// For the cohort.
    outbox: Outbox,
    /// For the members in step.
    aside: Outbox,
    /// For the other cohorts.
    early: Vec<Early>,
}

impl Turn {
    /// Tells everybody else of a change in a slot, if there is one.
    fn note_slot(&mut self, group: &Group, slot: u32, before: Before, told: &Told) {
        let moved = || {
            before.alternate != told.alternate.is_some()
                || told.main.is_some_and(|(_, source)| source != before.source)
        };
        if before.was != told.main.is_some() || (group.key.by_client() && moved()) {
            tell(&group.in_step, slot, told, &before, &self.exports, &mut self.aside);
            self.early.push(Early::Slot(slot, before));
        }
    }

    /// Likewise of a path.
    fn note_path(&mut self, group: &Group, early: (u32, u32, u16), export: Option<u32>) {
        let (slot, path, source) = early;
        let was = export.is_none();
        tell_path(&group.in_step, early, export, was, &self.exports, &mut self.aside);
        self.early.push(Early::Path { slot, path, source, was });
    }
}

impl Early {
    fn mark(&self, cohort: &mut Cohort) {
        match self {
            Self::Slot(slot, before) => cohort.mark_slot(*slot, before),
            Self::Path { slot, path, source, was } => {
                cohort.mark_path(*slot, *path, *source, *was, false);
            }
        }
    }
}

/// What a group has told about a slot, while nothing waits to be flushed.
fn before<N: Net>(rib: &Rib<N>, group: &Group, slot: u32) -> Before {
    Before {
        was: group.advertised.test(slot),
        source: source_now(&rib.table, group, slot),
        alternate: group.alternates.test(slot),
    }
}

impl<N: Net> Rib<N> {
    /// Serves cohorts in turn; whether any can go on. Nothing must wait to be flushed.
    pub fn walk(&mut self, core: &mut Core, budget: &mut usize, out: &mut Vec<Effect>) -> bool {
        let mut groups = std::mem::take(&mut self.groups);
        let mut more = false;
        for group in &mut groups {
            let mut cohorts = std::mem::take(&mut group.cohorts);
            let mut early = Vec::new();
            for at in 0..cohorts.len() {
                let Some(cohort) = cohorts.get_mut(at) else { break };
                let limit = TURN.min(*budget);
                if !cohort.blocked && limit > 0 {
                    let mut turn = Turn { early, ..Turn::default() };
                    let used = self.serve(core, group, cohort, limit, &mut turn, out);
                    *budget = budget.saturating_sub(used);
                    early = turn.early;
                }
                let (served, after) = cohorts.split_at_mut(at);
                for other in served.iter_mut().chain(after.iter_mut().skip(1)) {
                    early.iter().for_each(|early| early.mark(other));
                }
                early.clear();
            }
            more |= cohorts.iter().any(|cohort| !cohort.blocked && !cohort.caught_up());
            let in_step = &mut group.in_step;
            cohorts.retain(|cohort| {
                let done = cohort.caught_up() && !cohort.blocked;
                if done {
                    for session in &cohort.audience.sessions {
                        in_step.add(&core.sessions, *session);
                    }
                }
                !done
            });
            // Who was served first goes last.
            if !cohorts.is_empty() {
                cohorts.rotate_left(1);
            }
            group.cohorts = cohorts;
        }
        if groups.len() > 1 {
            groups.rotate_left(1);
        }
        self.groups = groups;
        more
    }

    /// One turn of a cohort; the slots looked at.
    fn serve(
        &self,
        core: &Core,
        group: &mut Group,
        cohort: &mut Cohort,
        limit: usize,
        turn: &mut Turn,
        out: &mut Vec<Effect>,
    ) -> usize {
        let mut used = 0;
        if cohort.walk.is_none() && cohort.again {
            begin_refresh(core, N::FAMILY, cohort, out);
        }
        if let Some(mut walk) = cohort.walk.take() {
            while used < limit && walk.cursor < self.table.end() {
                let slot = walk.cursor;
                used += 1;
                if group.key.by_path() {
                    self.visit_paths(core, group, cohort, &walk, slot, turn);
                } else {
                    self.visit(core, group, cohort, &walk, slot, turn);
                }
                walk.cursor += 1;
            }
            let done = walk.cursor >= self.table.end();
            cohort.walk = Some(walk);
            self.send(core, group, cohort, turn, out);
            if done {
                end_walk(N::FAMILY, cohort, out);
            }
            return used + 1;
        }
        while used < limit {
            let Some(index) = cohort.changed.next(cohort.cursor) else {
                if cohort.changed.is_empty() {
                    break;
                }
                cohort.cursor = 0;
                continue;
            };
            used += 1;
            cohort.cursor = index + 1;
            cohort.changed.clear(index);
            let had = cohort.had.clear(index);
            if group.key.by_path() {
                self.catch_up_path(core, group, &cohort.audience, index, had, turn);
            } else {
                let before = before(self, group, index);
                let told = look(self, core, group, index, before.source, &mut turn.exports);
                turn.note_slot(group, index, before, &told);
                let had = if had { Had::Any } else { Had::None };
                let Turn { exports, outbox, .. } = &mut *turn;
                tell_late(&cohort.audience, index, &told, had, exports, outbox);
            }
        }
        if cohort.changed.is_empty() {
            cohort.changed.reset();
            cohort.had.reset();
            cohort.cursor = 0;
        }
        self.send(core, group, cohort, turn, out);
        used + 1
    }

    /// Queues what a turn has yielded.
    fn send(
        &self,
        core: &Core,
        group: &Group,
        cohort: &Cohort,
        turn: &mut Turn,
        out: &mut Vec<Effect>,
    ) {
        let Turn { exports, outbox, aside, .. } = turn;
        let context = group.key.encode;
        outbox.send(core, &self.table, context, &cohort.audience, exports, out);
        if !aside.is_empty() {
            aside.send(core, &self.table, context, &group.in_step, exports, out);
        }
        exports.report(core, &cohort.audience, out);
    }

    fn visit(
        &self,
        core: &Core,
        group: &mut Group,
        cohort: &mut Cohort,
        walk: &Walk,
        slot: u32,
        turn: &mut Turn,
    ) {
        let changed = cohort.changed.clear(slot);
        let marked = cohort.had.clear(slot);
        let before = before(self, group, slot);
        let had = match &walk.known {
            Known::Old { held, .. } if !held.test(slot) => Had::None,
            // Unchanged since, so its source is the one of then.
            Known::Old { split_horizon: true, .. } if !changed => Had::AllBut(before.source),
            Known::Old { .. } => Had::Any,
            // What the group has told, they hold.
            Known::Same if !changed && before.was && before.alternate => Had::Any,
            Known::Same if !changed && before.was => Had::AllBut(before.source),
            _ if marked => Had::Any,
            _ => Had::None,
        };
        if had == Had::None && !self.table.occupied(slot) {
            return;
        }
        let told = look(self, core, group, slot, before.source, &mut turn.exports);
        turn.note_slot(group, slot, before, &told);
        tell_late(&cohort.audience, slot, &told, had, &turn.exports, &mut turn.outbox);
    }

    fn visit_paths(
        &self,
        core: &Core,
        group: &mut Group,
        cohort: &mut Cohort,
        walk: &Walk,
        slot: u32,
        turn: &mut Turn,
    ) {
        if !self.table.occupied(slot) {
            return;
        }
        let told = look_paths(self, core, group, slot, &mut turn.exports);
        for path in self.table.paths(slot) {
            let source = self.table.path(path).session;
            let changed = cohort.changed.clear(path);
            let marked = cohort.had.clear(path);
            let export = told.iter().find(|(p, _)| *p == path).map(|(_, export)| *export);
            let was = group.advertised.put(path, export.is_some());
            if was != export.is_some() {
                group.count(source, !was);
                turn.note_path(group, (slot, path, source), export);
            }
            let had = match &walk.known {
                Known::Old { held, .. } => held.test(path),
                Known::Same if !changed => was,
                _ => marked,
            };
            let Turn { exports, outbox, .. } = &mut *turn;
            tell_path(&cohort.audience, (slot, path, source), export, had, exports, outbox);
        }
    }

    fn catch_up_path(
        &self,
        core: &Core,
        group: &Group,
        audience: &Audience,
        path: u32,
        had: bool,
        turn: &mut Turn,
    ) {
        let Turn { exports, outbox, .. } = turn;
        let told = group.advertised.test(path);
        if !told && !had {
            return;
        }
        let slot = self.table.slot_of(path);
        let record = self.table.path(path);
        let net = self.table.prefix(slot).net;
        let export = if told { exports.number(core, &group.key, record, net) } else { None };
        tell_path(audience, (slot, path, record.session), export, had, exports, outbox);
    }

    /// A session has come up, or has got the family's group by a new configuration.
    pub fn join(&mut self, core: &Core, session: u16) {
        let Some(at) = self.group_for(core, session) else { return };
        self.groups[at].join(&core.sessions, session);
        self.renew_needs();
    }

    /// A session is gone.
    pub fn leave(&mut self, core: &Core, session: u16) {
        for group in &mut self.groups {
            group.leave(&core.sessions, session);
        }
        self.renew_needs();
    }

    /// Moves a session to the group its configuration asks for now, and tells it the difference.
    pub fn regroup(&mut self, core: &Core, session: u16) {
        let from = self.groups.iter().position(|group| group.has(session));
        let Some(to) = self.group_for(core, session) else { return };
        let Some(from) = from else {
            self.groups[to].join(&core.sessions, session);
            return self.renew_needs();
        };
        if from == to {
            return;
        }
        let unstarted = |cohort: &Cohort| cohort.walk.as_ref().is_some_and(|w| w.cursor == 0);
        let group = &mut self.groups[from];
        let cohort = group.leave(&core.sessions, session);
        let blocked = cohort.as_ref().is_some_and(|cohort| cohort.blocked);
        let first = cohort.as_ref().and_then(|cohort| cohort.walk.as_ref());
        let known = match first {
            // Its End-of-RIB is still owed, so it begins again as new.
            Some(Walk { known: Known::Nothing, cursor: 0, .. }) => Known::Nothing,
            _ => Known::Old {
                held: group.holdings(cohort.as_ref()),
                split_horizon: !group.key.by_client()
                    && first.is_none_or(|walk| walk.known.split_horizon()),
            },
        };
        let from = group.id;
        let owed = matches!(known, Known::Old { .. })
            && cohort.as_ref().is_some_and(|cohort| cohort.owes_end || cohort.is_first());
        let twin = cohort.is_none().then(|| {
            self.groups[to].cohorts.iter().position(|other| {
                // Moved in step, but what the group had told may have changed in between.
                let same = match (&known, other.walk.as_ref().map(|walk| &walk.known)) {
                    (Known::Old { held, .. }, Some(Known::Old { held: theirs, .. })) => {
                        held == theirs
                    }
                    _ => false,
                };
                same && unstarted(other) && other.from == Some(from) && !other.blocked
            })
        });
        let walk = Walk { cursor: 0, known, bracketed: false };
        let group = &mut self.groups[to];
        if let Some(Some(twin)) = twin {
            group.admit_to(&core.sessions, session, twin);
        } else {
            let audience = Audience::one(&core.sessions, session);
            let mut moved = Cohort::new(audience, Some(walk));
            moved.blocked = blocked;
            moved.owes_end = owed;
            // A refresh under way: only the differences would follow, and no EoRR.
            moved.again = cohort.as_ref().is_some_and(Cohort::owes_refresh);
            moved.from = cohort.is_none().then_some(from);
            if let Some(cohort) = &cohort {
                // The source of what they hold is not the source of now.
                moved.changed = cohort.changed.clone();
                moved.had = cohort.had.clone();
            }
            if group.key.by_path() {
                // The walk does not come by paths that are gone already.
                for path in &self.removed {
                    if moved.holds(*path) {
                        moved.changed.set(*path);
                        moved.had.set(*path);
                    }
                }
            }
            group.admit(session, moved);
        }
        self.renew_needs();
    }

    /// Sends a member everything again.
    pub fn refresh(&mut self, core: &Core, session: u16, out: &mut Vec<Effect>) {
        let Some(group) = self.groups.iter_mut().find(|group| group.has(session)) else { return };
        let cohort = group.single_out(&core.sessions, session);
        if cohort.walk.is_some() || cohort.blocked {
            cohort.again = true;
        } else {
            begin_refresh(core, N::FAMILY, cohort, out);
        }
    }

    /// A member's queue is full, or has room again.
    pub fn block(&mut self, core: &Core, session: u16, blocked: bool) {
        let Some(group) = self.groups.iter_mut().find(|group| group.has(session)) else { return };
        let lags = group.cohorts.iter().any(|cohort| cohort.audience.has(session));
        if blocked || lags {
            group.single_out(&core.sessions, session).blocked = blocked;
        }
    }

    /// The group of a session, made if need be; `None` where it has not the family.
    fn group_for(&mut self, core: &Core, session: u16) -> Option<usize> {
        let peer = core.sessions.peer(session)?;
        if !peer.negotiated.families.contains(N::FAMILY) {
            return None;
        }
        let key = GroupKey::new(peer, N::FAMILY, &core.config.global);
        Some(match self.groups.iter().position(|group| group.key == key) {
            Some(at) => at,
            None => {
                self.next_group += 1;
                self.groups.push(Group::new(self.next_group, key));
                self.groups.len() - 1
            }
        })
    }

    /// After groups or their members changed.
    fn renew_needs(&mut self) {
        self.groups.retain(|group| !group.is_empty());
        let keys = || self.groups.iter().map(|group| &group.key);
        self.needs.paths = keys().any(|key| key.by_path());
        self.needs.clients = keys().any(|key| key.by_client());
        self.needs.any = self.needs.paths || self.needs.clients;
    }
}

fn begin_refresh(core: &Core, family: Family, cohort: &mut Cohort, out: &mut Vec<Effect>) {
    let enhanced = |session: &u16| {
        core.sessions.peer(*session).is_some_and(|session| session.negotiated.enhanced_refresh)
    };
    let bracketed = cohort.audience.sessions.iter().all(enhanced);
    if bracketed {
        send(cohort, bracket(family, RefreshKind::Begin), out);
    }
    cohort.walk = Some(Walk { cursor: 0, known: Known::Same, bracketed });
    // It answers whatever was asked for until now: a walk that nobody asked for would open brackets
    // that no other shard helps to close.
    cohort.again = false;
}

fn end_walk(family: Family, cohort: &mut Cohort, out: &mut Vec<Effect>) {
    let Some(walk) = cohort.walk.take() else { return };
    if walk.bracketed {
        send(cohort, bracket(family, RefreshKind::End), out);
    }
    let first = matches!(walk.known, Known::Nothing);
    if std::mem::take(&mut cohort.owes_end) || first {
        send(cohort, end_of_rib(family), out);
    }
    cohort.from = None;
}

fn bracket(family: Family, kind: RefreshKind) -> Bytes {
    encode_route_refresh(RouteRefresh { family, kind })
}

fn send(cohort: &Cohort, octets: Bytes, out: &mut Vec<Effect>) {
    let to = cohort.audience.members.clone();
    out.push(Effect::Send { to, except: None, octets, messages: 1 });
}
