//! Members that are not in step: the first table, refreshes, and catching up, a slice at a time.

use bgp_packet::{Family, RefreshKind, RouteRefresh, end_of_rib, message::encode_route_refresh};
use bytes::Bytes;

use super::{
    core::Core,
    event::Effect,
    family::Rib,
    flush::{Had, but, look, look_paths, source_now, tell_late, wire_id},
    group::{Audience, Cohort, Group, GroupKey, Known, Walk},
    net::Net,
    outbox::{Exports, Outbox},
};

/// Slots a cohort is served in one turn.
const TURN: usize = 1024;

impl<N: Net> Rib<N> {
    /// Serves cohorts in turn; whether any can go on. Nothing must wait to be flushed.
    pub fn walk(&mut self, core: &mut Core, budget: &mut usize, out: &mut Vec<Effect>) -> bool {
        let mut groups = std::mem::take(&mut self.groups);
        let mut more = false;
        for group in &mut groups {
            let mut cohorts = std::mem::take(&mut group.cohorts);
            for cohort in &mut cohorts {
                let turn = TURN.min(*budget);
                if !cohort.blocked && turn > 0 {
                    let used = self.serve(core, group, cohort, turn, out);
                    *budget = budget.saturating_sub(used);
                }
                more |= !cohort.blocked && !cohort.caught_up();
            }
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
        turn: usize,
        out: &mut Vec<Effect>,
    ) -> usize {
        let (mut exports, mut outbox) = (Exports::default(), Outbox::default());
        let mut used = 0;
        if cohort.walk.is_none() && std::mem::take(&mut cohort.again) {
            begin_refresh(core, N::FAMILY, cohort, out);
        }
        if let Some(mut walk) = cohort.walk.take() {
            while used < turn && walk.cursor < self.table.end() {
                let slot = walk.cursor;
                used += 1;
                if group.key.by_path() {
                    self.visit_paths(core, group, cohort, &walk, slot, &mut exports, &mut outbox);
                } else {
                    self.visit(core, group, cohort, &walk, slot, &mut exports, &mut outbox);
                }
                walk.cursor += 1;
            }
            let done = walk.cursor >= self.table.end();
            cohort.walk = Some(walk);
            outbox.send(core, &self.table, group.key.encode, &cohort.audience, &exports, out);
            if done {
                end_walk(N::FAMILY, cohort, out);
            }
            return used + 1;
        }
        while used < turn {
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
                self.catch_up_path(
                    core,
                    group,
                    &cohort.audience,
                    index,
                    had,
                    &mut exports,
                    &mut outbox,
                );
            } else {
                let source = source_now(&self.table, group, index);
                let told = look(self, core, group, index, source, &mut exports);
                let had = if had { Had::Any } else { Had::None };
                tell_late(&cohort.audience, index, &told, had, &mut outbox);
            }
        }
        if cohort.changed.is_empty() {
            cohort.changed.reset();
            cohort.had.reset();
            cohort.cursor = 0;
        }
        outbox.send(core, &self.table, group.key.encode, &cohort.audience, &exports, out);
        used + 1
    }

    #[allow(clippy::too_many_arguments)]
    fn visit(
        &self,
        core: &Core,
        group: &mut Group,
        cohort: &mut Cohort,
        walk: &Walk,
        slot: u32,
        exports: &mut Exports,
        outbox: &mut Outbox,
    ) {
        let changed = cohort.changed.clear(slot);
        let marked = cohort.had.clear(slot);
        let source = source_now(&self.table, group, slot);
        let had = match &walk.known {
            Known::Old { held, .. } if !held.test(slot) => Had::None,
            // Unchanged since, so its source is the one of then.
            Known::Old { split_horizon: true, .. } if !changed => Had::AllBut(source),
            Known::Old { .. } => Had::Any,
            _ if marked => Had::Any,
            _ => Had::None,
        };
        if had == Had::None && !self.table.occupied(slot) {
            return;
        }
        let told = look(self, core, group, slot, source, exports);
        tell_late(&cohort.audience, slot, &told, had, outbox);
    }

    #[allow(clippy::too_many_arguments)]
    fn visit_paths(
        &self,
        core: &Core,
        group: &mut Group,
        cohort: &mut Cohort,
        walk: &Walk,
        slot: u32,
        exports: &mut Exports,
        outbox: &mut Outbox,
    ) {
        if !self.table.occupied(slot) {
            return;
        }
        let told = look_paths(self, core, group, slot, exports);
        for path in self.table.paths(slot) {
            let source = self.table.path(path).session;
            cohort.changed.clear(path);
            let mut had = cohort.had.clear(path);
            if let Known::Old { held, .. } = &walk.known {
                had = held.test(path);
            }
            let export = told.iter().find(|(p, _)| *p == path).map(|(_, export)| *export);
            let was = group.advertised.put(path, export.is_some());
            if was != export.is_some() {
                group.count(source, !was);
            }
            match export {
                Some(export) => {
                    if let Some(to) = but(&cohort.audience, source) {
                        outbox.announce(to, export, wire_id(path), slot);
                    }
                }
                None if had => {
                    if let Some(to) = but(&cohort.audience, source) {
                        outbox.withdraw(to, wire_id(path), slot);
                    }
                }
                None => {}
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn catch_up_path(
        &self,
        core: &Core,
        group: &Group,
        audience: &Audience,
        path: u32,
        had: bool,
        exports: &mut Exports,
        outbox: &mut Outbox,
    ) {
        let told = group.advertised.test(path);
        if !told && !had {
            return;
        }
        let slot = self.table.slot_of(path);
        let record = self.table.path(path);
        let net = self.table.prefix(slot).net;
        let export = if told { exports.number(core, &group.key, record, net) } else { None };
        match export {
            Some(export) => {
                if let Some(to) = but(audience, record.session) {
                    outbox.announce(to, export, wire_id(path), slot);
                }
            }
            None if had => {
                if let Some(to) = but(audience, record.session) {
                    outbox.withdraw(to, wire_id(path), slot);
                }
            }
            None => {}
        }
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
        let walk = Walk { cursor: 0, known, bracketed: false };
        let twin = cohort.is_none().then(|| {
            let group = &self.groups[to];
            group
                .cohorts
                .iter()
                .position(|other| unstarted(other) && other.from == Some(from) && !other.blocked)
        });
        let group = &mut self.groups[to];
        if let Some(Some(twin)) = twin {
            group.admit_to(&core.sessions, session, twin);
        } else {
            let audience = Audience::one(&core.sessions, session);
            let mut moved = Cohort::new(audience, Some(walk));
            moved.blocked = blocked;
            moved.owes_end = owed;
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
        self.needs.any = self.needs.paths || keys().any(|key| key.by_client());
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
