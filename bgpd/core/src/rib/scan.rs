//! Work that concerns many prefixes: removing what a session left behind, importing again, deciding
//! again. Passes over the whole table, a slice at a time; what is asked for during a pass is done
//! in the next one.

use super::{
    bits::BitSet,
    core::Core,
    decision::Few,
    event::Effect,
    family::{Change, Held, NOBODY, Rib},
    import::Importer,
    net::Net,
};

/// Remove the paths of a session that is down.
pub(crate) const SWEEP: u8 = 1;
/// Remove the paths that a route refresh did not bring again.
pub(crate) const STALE: u8 = 2;
/// Apply import policy again.
pub(crate) const IMPORT: u8 = 4;
/// Export its routes again, though they did not change.
pub(crate) const TELL: u8 = 8;

/// What a pass does.
#[derive(Debug, Default)]
struct Work {
    /// By session number.
    sessions: Vec<u8>,
    /// Decide again where a path has one of these next hops.
    hops: BitSet,
    /// Export again where a path has one of these next hops: another interface leads there.
    moved: BitSet,
    /// Decide again everywhere.
    decide: bool,
    /// Ask for every wish for the kernel again.
    install: bool,
}

impl Work {
    fn is_empty(&self) -> bool {
        self.sessions.is_empty()
            && self.hops.is_empty()
            && self.moved.is_empty()
            && !self.decide
            && !self.install
    }

    fn of(&self, session: u16) -> u8 {
        self.sessions.get(usize::from(session)).copied().unwrap_or(0)
    }
}

/// A pass under way, and what the next one will do.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    cursor: u32,
    end: u32,
    current: Option<Work>,
    next: Work,
}

impl Scan {
    /// Something about a session's paths.
    pub fn session(&mut self, session: u16, action: u8) {
        let at = usize::from(session);
        if at >= self.next.sessions.len() {
            self.next.sessions.resize(at + 1, 0);
        }
        self.next.sessions[at] |= action;
    }

    /// A next hop has changed.
    pub fn hop(&mut self, hop: u32) {
        self.next.hops.set(hop);
    }

    /// A next hop that has changed is reached by another interface, and policies look at those.
    pub fn moved(&mut self, hop: u32) {
        self.next.moved.set(hop);
    }

    /// The decision process has changed.
    pub fn decide(&mut self) {
        self.next.decide = true;
    }

    /// What goes to the kernel has changed.
    pub fn install(&mut self) {
        self.next.install = true;
    }

    pub fn is_idle(&self) -> bool {
        self.current.is_none() && self.next.is_empty()
    }
}

impl<N: Net> Rib<N> {
    /// Looks at up to `budget` prefixes; whether there are more to look at.
    pub fn scan(&mut self, core: &mut Core, budget: &mut usize) -> bool {
        while *budget > 0 && !self.scan.is_idle() {
            let work = match self.scan.current.take() {
                Some(work) => work,
                None => {
                    self.scan.cursor = 0;
                    self.scan.end = self.table.end();
                    std::mem::take(&mut self.scan.next)
                }
            };
            let mut importer = None;
            while *budget > 0 && self.scan.cursor < self.scan.end && worth_while::<N>(core, &work) {
                let stop = self.scan.end.min(self.scan.cursor.saturating_add(256));
                for slot in self.scan.cursor..stop {
                    if self.table.occupied(slot) {
                        self.scan_slot(core, &work, slot, &mut importer);
                    }
                }
                *budget = budget.saturating_sub((stop - self.scan.cursor) as usize);
                self.scan.cursor = stop;
            }
            if let Some((_, _, importer)) = importer {
                Importer::finish(importer, core);
            }
            if self.scan.cursor >= self.scan.end || !worth_while::<N>(core, &work) {
                finish::<N>(core, &work);
            } else {
                self.scan.current = Some(work);
            }
        }
        !self.scan.is_idle()
    }

    fn scan_slot(
        &mut self,
        core: &mut Core,
        work: &Work,
        slot: u32,
        importer: &mut Option<(u16, u32, Importer)>,
    ) {
        let mut before: Option<Option<Held>> = None;
        let (mut again, mut moved) = (false, false);
        let paths: Few<u32> = self.table.paths(slot).collect();
        for path in paths {
            let record = *self.table.path(path);
            let action = work.of(record.session);
            let source = core.sessions.get(record.session);
            let gone = (action & SWEEP != 0 && !source.alive)
                || (action & STALE != 0 && source.inbound[N::INDEX].is_stale(record.flags.round()));
            if gone {
                before.get_or_insert_with(|| self.held(core, slot));
                self.take_out(core, slot, path);
                // It may have been what comes after the best.
                if core.installs() {
                    self.kernel.note(slot, NOBODY);
                }
                continue;
            }
            if action & IMPORT != 0 {
                let held = before.unwrap_or_else(|| self.held(core, slot));
                let known = importer.as_mut().filter(|(session, attrs, _)| {
                    (*session, *attrs) == (record.session, record.attrs_in)
                });
                let importer = match known {
                    Some((.., known)) => known,
                    None => {
                        if let Some((.., old)) = importer.take() {
                            old.finish(core);
                        }
                        let new = Importer::new(core, record.session, record.attrs_in);
                        &mut importer.insert((record.session, record.attrs_in, new)).2
                    }
                };
                let net = self.table.prefix(slot).net;
                let imported = importer.import(core, || net.to_ip());
                if self.reimported(core, slot, path, imported) {
                    before.get_or_insert(held);
                }
            }
            if action & TELL != 0 {
                before.get_or_insert_with(|| self.held(core, slot));
                again = true;
            }
            let hop = core.sets.hop(self.table.path(path).attrs);
            if work.hops.test(hop) || work.moved.test(hop) {
                before.get_or_insert_with(|| self.held(core, slot));
                moved |= work.moved.test(hop);
            }
        }
        if work.decide {
            before.get_or_insert_with(|| self.held(core, slot));
        }
        if let Some(before) = before {
            if again || moved {
                self.tell_again(slot, before);
            }
            self.settle(core, slot, before, Change::Any);
        }
        if (work.install || moved) && (core.installs() || self.installed.test(slot)) {
            self.kernel.note(slot, NOBODY);
        }
    }

    /// Exports a prefix again, whether anything changes or not.
    fn tell_again(&mut self, slot: u32, before: Option<Held>) {
        let source = before.map_or(NOBODY, |held| held.session);
        self.best.note(slot, source);
        if self.needs.any {
            self.any.note(slot, source);
            for group in &mut self.groups {
                group.forget_verdict();
                group.doubt(slot, |_| false);
            }
            if self.needs.paths {
                for path in self.table.paths(slot) {
                    self.altered.set(path);
                }
            }
        }
    }
}

/// Whether the rest of a pass can find anything to do.
fn worth_while<N: Net>(core: &Core, work: &Work) -> bool {
    !work.hops.is_empty()
        || !work.moved.is_empty()
        || work.decide
        || work.install
        || (work.sessions.iter().zip(0..)).any(|(action, session)| {
            *action != 0 && core.sessions.get(session).inbound[N::INDEX].received > 0
        })
}

/// The paths of sessions that are down are gone.
fn finish<N: Net>(core: &mut Core, work: &Work) {
    for (action, session) in work.sessions.iter().zip(0..) {
        if action & SWEEP != 0 {
            core.swept(session);
        }
    }
}

impl Core {
    /// One family less holds paths of a session that is down.
    pub fn swept(&mut self, session: u16) {
        let slot = self.sessions.get_mut(session);
        slot.sweeping -= 1;
        if slot.sweeping == 0
            && let Some(gone) = self.sessions.peer(session)
        {
            self.effects.push(Effect::Flushed { peer: gone.peer, epoch: gone.epoch });
            self.sessions.leave(session);
        }
    }
}
