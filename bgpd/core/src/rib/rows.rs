//! Answers to [`RouteQuery`]: rows of a slice of the table.

use smallvec::SmallVec;

use super::{
    core::Core,
    decision::{self, Few},
    event::PeerId,
    export,
    family::Rib,
    flush::wire_id,
    group::Group,
    install,
    net::Net,
    query::{Reason, RouteQuery, RouteRow, RowAttributes, Select, View},
    session::source_of,
    table::REJECTED,
};

/// Every path of a prefix with its verdict: the best first, the eligible ones in order of
/// preference, then the others.
#[derive(Debug)]
pub(crate) struct Judged {
    pub path: u32,
    pub reason: Reason,
    /// Used: the best or one of its equals.
    pub used: bool,
}

impl<N: Net> Rib<N> {
    /// Judges the paths of a prefix; reasons are computed here, not stored.
    pub fn judge(&self, core: &Core, slot: u32) -> SmallVec<[Judged; 4]> {
        let ranked: Few<u32> = self.ranked(core, slot).collect();
        let candidates: Few<_> =
            ranked.iter().filter_map(|path| core.candidate(self.table.path(*path))).collect();
        let used = install::equals(self, core, slot);
        let config = core.decision();
        let mut judged = SmallVec::new();
        for (at, path) in ranked.iter().enumerate() {
            let reason = match (candidates.first(), candidates.get(1), candidates.get(at)) {
                (Some(best), Some(second), _) if at == 0 => {
                    decision::why_lost(best, second, true, config)
                }
                (Some(best), _, Some(this)) if at > 0 => {
                    decision::why_lost(best, this, true, config)
                }
                _ => Reason::OnlyPath,
            };
            judged.push(Judged { path: *path, reason, used: used.contains(path) });
        }
        let mut others: Few<u32> =
            self.table.paths(slot).filter(|path| !ranked.contains(path)).collect();
        others.sort_by_key(|path| {
            let record = self.table.path(*path);
            (core.sessions.get(record.session).seen.address, record.path_id, record.session)
        });
        for path in others {
            let reason = core.eligible(self.table.path(path)).err().unwrap_or(Reason::OnlyPath);
            judged.push(Judged { path, reason, used: false });
        }
        judged
    }

    /// A row for one path; `at_best`: it is the best one.
    pub fn row(&self, core: &Core, slot: u32, judged: &Judged, best: bool) -> RouteRow {
        let path = self.table.path(judged.path);
        let slot_of_session = core.sessions.get(path.session);
        let session = slot_of_session.session.as_deref();
        let with_ids =
            session.is_some_and(|session| session.negotiated.add_path_receive.contains(N::FAMILY));
        RouteRow {
            prefix: self.table.prefix(slot).net.to_ip(),
            family: N::FAMILY,
            best,
            multipath: judged.used && !best,
            peer: session.map(|session| session.peer),
            peer_name: session.map(|session| session.name.clone()),
            source: source_of(path.session),
            path_id: with_ids.then_some(path.path_id),
            attributes: RowAttributes::Shared(core.sets.attrs(path.attrs).clone()),
            local: core.sets.extra(path.attrs).local,
            stale: !slot_of_session.alive
                || slot_of_session.inbound[N::INDEX].is_kept(path.flags.round()),
            installed: judged.used && self.installed.test(slot),
            since: path.since,
            reason: judged.reason,
        }
    }

    /// The row of the best path.
    pub fn best_row(&self, core: &Core, slot: u32) -> Option<RouteRow> {
        if !self.table.occupied(slot) {
            return None;
        }
        self.table.best(slot)?;
        let judged = self.judge(core, slot);
        judged.first().map(|first| self.row(core, slot, first, true))
    }

    /// Goes on answering from `cursor`; `true`: this family is done.
    pub fn rows(
        &self,
        core: &Core,
        query: &RouteQuery,
        cursor: &mut u32,
        budget: &mut usize,
        out: &mut Vec<RouteRow>,
    ) -> bool {
        let within = match query.select {
            Select::All => N::default(),
            Select::Exact(prefix) => {
                if let Some(slot) = N::from_ip(prefix).and_then(|net| self.table.find(net)) {
                    self.slot_rows(core, query.view, slot, out);
                }
                return true;
            }
            Select::Longest(address) => {
                let Some(host) = N::host(address) else { return true };
                for len in (0..=N::MAX_LEN).rev() {
                    let Some(slot) = self.table.find(host.truncate(len)) else { continue };
                    let before = out.len();
                    self.slot_rows(core, query.view, slot, out);
                    if out.len() > before {
                        break;
                    }
                }
                return true;
            }
            Select::Within(prefix) => match N::from_ip(prefix) {
                Some(net) => net,
                None => return true,
            },
        };
        while *cursor < self.table.end() {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            let slot = *cursor;
            *cursor += 1;
            if self.table.occupied(slot) && within.contains(self.table.prefix(slot).net) {
                self.slot_rows(core, query.view, slot, out);
            }
        }
        true
    }

    fn slot_rows(&self, core: &Core, view: View, slot: u32, out: &mut Vec<RouteRow>) {
        if !self.table.occupied(slot) {
            return;
        }
        match view {
            View::Best => out.extend(self.best_row(core, slot)),
            View::Table => self.judged_rows(core, slot, out, |_, _| true, false),
            View::Received(peer) => {
                self.judged_rows(core, slot, out, |from, _| from == Some(peer), false);
            }
            View::ReceivedPrePolicy(peer) => {
                self.judged_rows(core, slot, out, |from, _| from == Some(peer), true);
            }
            View::Advertised(peer) => self.advertised_rows(core, slot, peer, out),
        }
    }

    fn judged_rows(
        &self,
        core: &Core,
        slot: u32,
        out: &mut Vec<RouteRow>,
        wanted: impl Fn(Option<PeerId>, &Judged) -> bool,
        pre_policy: bool,
    ) {
        for (at, judged) in self.judge(core, slot).iter().enumerate() {
            let path = self.table.path(judged.path);
            let from = core.sessions.peer(path.session).map(|session| session.peer);
            if !wanted(from, judged) || (!pre_policy && path.flags.any(REJECTED)) {
                continue;
            }
            let best = at == 0 && self.table.best(slot) == Some(judged.path);
            let mut row = self.row(core, slot, judged, best);
            if pre_policy {
                row.attributes = RowAttributes::Shared(core.sets.attrs(path.attrs_in).clone());
                row.local = Default::default();
            }
            out.push(row);
        }
    }

    /// The group of a session that is up.
    pub fn group_of(&self, session: u16) -> Option<&Group> {
        self.groups.iter().find(|group| group.has(session))
    }

    fn advertised_rows(&self, core: &Core, slot: u32, peer: PeerId, out: &mut Vec<RouteRow>) {
        let Some(session) = core.sessions.of_peer(peer) else { return };
        let Some(group) = self.group_of(session) else { return };
        let prefix = self.table.prefix(slot).net.to_ip();
        if !group.key.by_path() && !group.advertised.test(slot) {
            return;
        }
        let mut own_best = false;
        for (at, judged) in self.judge(core, slot).iter().enumerate() {
            let path = self.table.path(judged.path);
            let told = if group.key.by_path() {
                group.advertised.test(judged.path) && path.session != session
            } else {
                group.key.by_client() || at == 0
            };
            if !told || (path.session == session && group.key.by_client()) {
                own_best |= told && export::export(core, &group.key, path, prefix).is_ok();
                continue;
            }
            if path.session == session || core.eligible(path).is_err() {
                return;
            }
            let Ok(sent) = export::export(core, &group.key, path, prefix) else { continue };
            if core.sessions.named_by(&sent.next_hop).contains(&session) {
                // Not for the next hop itself: all that the group is sent of a prefix, but paths
                // and what a client gets instead of its own route.
                if group.key.by_path() || own_best {
                    continue;
                }
                return;
            }
            let best = at == 0 && self.table.best(slot) == Some(judged.path);
            let mut row = self.row(core, slot, judged, best);
            row.attributes = RowAttributes::Owned(Box::new(sent));
            row.path_id = group.key.by_path().then(|| wire_id(judged.path));
            out.push(row);
            if !group.key.by_path() {
                return;
            }
        }
    }
}
