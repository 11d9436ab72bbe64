//! From what is known to what is to be done. Operations are assumed to succeed when they are
//! handed out; the shell says afterwards which were refused.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::api::FibEvent;
use crate::plan::fact::{Form, Via};
use crate::plan::foreign::Foreign;
use crate::plan::intern::Interner;
use crate::plan::locals::Locals;
use crate::plan::routes::{Entry, Have, Rank, Want};
use crate::plan::state::{Failure, InFlight, State};
use crate::plan::wishes::{Outcome, Wishes};

/// First delay after a refusal; doubles with each.
pub const RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest.
pub const RETRY_MAX: Duration = Duration::from_secs(60);

/// How a route is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// It must not be there: somebody else's is never overwritten.
    Add,
    /// In place of ours.
    Replace,
    /// Ours only: the kernel compares protocol and metric.
    Delete,
}

/// A write to one route. Its form is held until [`State::routes_done`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteOp {
    /// Prefix.
    pub prefix: IpNet,
    /// How.
    pub verb: Verb,
    /// Its form, by number.
    pub form: u32,
}

/// What tells the usual case: nothing or one route of ours stands at a prefix, nothing is on its way
/// there, and nobody else's stands in the way.
struct Straight<'a> {
    wishes: &'a Wishes,
    forms: &'a Interner<Form>,
    foreign: &'a Foreign,
    locals: &'a Locals,
    in_flight: &'a InFlight,
    table: u32,
}

impl Straight<'_> {
    /// The write, and the form that stood there before; the entry is changed as if it were done.
    /// `None`: not the usual case, or nothing to do.
    fn plan(&self, prefix: IpNet, entry: &mut Entry) -> Option<(RouteOp, Option<u32>)> {
        if self.in_flight.contains(&prefix) {
            return None;
        }
        let id = match (entry.want(), entry.have()) {
            (Want::Nothing, Have::Form(old)) => {
                entry.set_have(Have::Nothing);
                return Some((RouteOp { prefix, verb: Verb::Delete, form: old }, Some(old)));
            }
            (Want::Spec(id), _) => id,
            _ => return None,
        };
        let new = self.wishes.spec(id)?.form_for(prefix)?;
        let metric = self.forms.at(new)?.metric;
        let (verb, old) = match entry.have() {
            Have::Nothing => (Verb::Add, None),
            Have::Form(old) if old != new && self.forms.at(old)?.metric == metric => {
                (Verb::Replace, Some(old))
            }
            _ => return None,
        };
        let held = self.foreign.holds(self.table, prefix, metric);
        if held || self.locals.holds(prefix, metric) {
            return None;
        }
        entry.set_have(Have::Form(new));
        Some((RouteOp { prefix, verb, form: new }, old))
    }
}

/// Whether packets take the same way over two forms, remembered for the latest pair.
#[derive(Debug, Default)]
pub struct Likeness(Option<((u32, u32), bool)>);

impl State {
    /// Says what a prefix should do, as [`want`](Self::want) does, and hands the write out at once
    /// where that is simple: one look into a large map instead of two. What would change no packet's
    /// way waits until nothing else does.
    pub fn want_at_once(
        &mut self,
        prefix: IpNet,
        spec: Option<u32>,
        now: Instant,
        likeness: &mut Likeness,
        ops: &mut Vec<RouteOp>,
    ) {
        let want = spec.map_or(Want::Nothing, Want::Spec);
        let simple = self.is_simple();
        let Self { routes, wishes, forms, foreign, locals, in_flight, config, group_owner, .. } =
            self;
        let table = config.table;
        let straight = Straight { wishes, forms, foreign, locals, in_flight, table };
        let mut done = None;
        let old = routes.update_ranked(prefix, |entry| {
            if entry.want() == want {
                return Rank::Soon;
            }
            entry.set_want(want);
            if simple {
                let new = spec.and_then(|id| straight.wishes.spec(id)?.form_for(prefix));
                if let (Have::Form(old), Some(new)) = (entry.have(), new)
                    && old != new
                    && likeness.holds((old, new), || alike(forms, wishes, group_owner, old, new))
                {
                    entry.queue();
                    return Rank::Late;
                }
                done = straight.plan(prefix, entry);
            }
            if done.is_none() {
                entry.queue();
            }
            Rank::Soon
        });
        if let Some((op, was)) = done {
            self.hand_out(op, was, ops);
        }
        if old.want() != want {
            self.rewished(prefix, spec, old, now);
        }
    }

    /// Route writes for up to `max` prefixes that wait.
    pub fn plan_routes(&mut self, max: usize) -> Vec<RouteOp> {
        let mut ops = Vec::new();
        if !self.abilities.write || !self.config.enabled {
            return ops;
        }
        let mut busy = Vec::new();
        // Most may need nothing; the writer has others to serve.
        for _ in 0..max.saturating_mul(16) {
            if ops.len() >= max {
                break;
            }
            let simple = self.is_simple();
            let Self { routes, wishes, forms, foreign, locals, in_flight, config, .. } = &mut *self;
            let table = config.table;
            let straight = Straight { wishes, forms, foreign, locals, in_flight, table };
            let shortcut = |prefix: IpNet, entry: &mut Entry| {
                if simple { straight.plan(prefix, entry) } else { None }
            };
            let Some((prefix, entry, done)) = routes.dequeue(shortcut) else { break };
            if let Some((op, was)) = done {
                self.hand_out(op, was, &mut ops);
                continue;
            }
            if !self.in_flight.is_empty() && self.in_flight.contains(&prefix) {
                busy.push(prefix); // what becomes of it is not known yet
                continue;
            }
            self.decide(prefix, entry, &mut ops);
        }
        for prefix in busy {
            self.routes.enqueue(prefix);
        }
        self.in_flight.extend(ops.iter().map(|op| op.prefix));
        ops
    }

    /// Nothing is known that asks for a closer look at each prefix.
    fn is_simple(&self) -> bool {
        self.extras.is_empty()
            && self.conflicts.is_empty()
            && self.touched.is_none()
            && !self.flushing
            && self.abilities.write
            && self.config.enabled
    }

    /// Hands out a write that [`Straight::plan`] found: one hold for it, one for the entry.
    fn hand_out(&mut self, op: RouteOp, was: Option<u32>, ops: &mut Vec<RouteOp>) {
        self.forms.again(op.form);
        if op.verb != Verb::Delete {
            self.forms.again(op.form);
        }
        if let Some(was) = was {
            self.release_form(was);
        }
        self.in_flight.insert(op.prefix);
        ops.push(op);
    }

    /// Hands out a write; it holds its form.
    fn issue(&mut self, ops: &mut Vec<RouteOp>, prefix: IpNet, verb: Verb, form: u32) {
        self.forms.again(form);
        if let Some(touched) = &mut self.touched {
            touched.insert(prefix);
        }
        ops.push(RouteOp { prefix, verb, form });
    }

    /// What one prefix needs.
    fn decide(&mut self, prefix: IpNet, entry: Entry, ops: &mut Vec<RouteOp>) {
        let wanted = match entry.want() {
            _ if self.flushing => None,
            Want::Stale => return,
            Want::Nothing => None,
            Want::Spec(id) => match self.outcome_of(id, prefix) {
                Outcome::Form(form) => Some(form),
                Outcome::Impossible => {
                    self.missed.insert(id);
                    if !self.in_sync && entry.have() != Have::Nothing && self.leads_nowhere(id) {
                        return; // of a former process; what it resolves through may come yet
                    }
                    None
                }
            },
        };
        self.extras_due(prefix, ops);
        match (wanted, entry.have()) {
            (None, Have::Nothing) => {}
            (None, Have::Form(old) | Have::Doubt(old)) => {
                self.issue(ops, prefix, Verb::Delete, old);
                self.set_have(prefix, Have::Nothing);
            }
            (Some(new), Have::Form(old)) if new == old => {
                self.events.push(FibEvent::Installed(prefix, true));
            }
            (Some(new), have) => {
                let metric = self.metric(new);
                let held = self.foreign.holds(self.config.table, prefix, metric);
                if held || self.locals.holds(prefix, metric) {
                    if self.conflicts.insert(prefix) {
                        let protocol = self.foreign.protocol_at(self.config.table, prefix, metric);
                        self.new_conflicts.extend(protocol.map(|protocol| (prefix, protocol)));
                    }
                    if let Some(old) = have.form().filter(|old| self.metric(*old) != metric) {
                        self.issue(ops, prefix, Verb::Delete, old);
                        self.set_have(prefix, Have::Nothing);
                    }
                    return;
                }
                if !self.conflicts.is_empty() {
                    self.conflicts.remove(&prefix);
                }
                let other = have.form().filter(|old| self.metric(*old) != metric);
                // One of a former process may stand at this very key.
                let standing = if self.extras.is_empty() {
                    None
                } else {
                    self.extras.remove(&(prefix, metric))
                };
                if let Some(form) = standing {
                    self.release_form(form);
                }
                let add = other == have.form() && standing.is_none();
                let verb = if add { Verb::Add } else { Verb::Replace };
                self.issue(ops, prefix, verb, new);
                if let Some(old) = other {
                    // Another metric is another route: the old one goes after the new one stands.
                    self.issue(ops, prefix, Verb::Delete, old);
                    self.forms.again(old);
                    if let Some(was) = self.extras.insert((prefix, self.metric(old)), old) {
                        self.release_form(was);
                    }
                }
                self.forms.again(new);
                self.set_have(prefix, Have::Form(new));
            }
        }
    }

    /// Routes of ours with another metric at this prefix, which nobody wants once we may clean up.
    fn extras_due(&mut self, prefix: IpNet, ops: &mut Vec<RouteOp>) {
        if self.extras.is_empty() || !self.in_sync {
            return;
        }
        let range = self.extras.range((prefix, 0)..=(prefix, u32::MAX));
        let due: Vec<_> = range.map(|((_, metric), form)| (*metric, *form)).collect();
        let wanted = match self.routes.get(prefix).want() {
            Want::Spec(id) if !self.flushing => match self.outcome_of(id, prefix) {
                Outcome::Form(form) => Some(self.metric(form)),
                Outcome::Impossible => None,
            },
            _ => None,
        };
        for (metric, form) in due {
            if wanted != Some(metric) {
                self.issue(ops, prefix, Verb::Delete, form);
            }
        }
    }

    /// What became of route writes: all done but those with an errno, by position, ascending.
    pub fn routes_done(&mut self, ops: &[RouteOp], refused: &[(usize, i32)], now: Instant) {
        let mut refused = refused.iter().peekable();
        for (at, op) in ops.iter().enumerate() {
            self.in_flight.remove(&op.prefix);
            let errno = refused.next_if(|(i, _)| *i == at).map(|(_, errno)| *errno);
            match (op.verb, errno) {
                (Verb::Add | Verb::Replace, None) => {
                    self.counters.applied += 1;
                    if !self.failed.is_empty() {
                        self.failed.remove(&op.prefix);
                    }
                    self.events.push(FibEvent::Installed(op.prefix, true));
                }
                (Verb::Delete, None | Some(libc::ESRCH)) => {
                    self.counters.applied += 1;
                    self.deleted(op);
                }
                (verb, Some(errno)) => self.refused(op, verb, errno, now),
            }
            self.release_form(op.form);
        }
    }

    fn deleted(&mut self, op: &RouteOp) {
        if !self.failed.is_empty() {
            self.failed.remove(&op.prefix);
        }
        if !self.extras.is_empty() {
            let key = (op.prefix, self.metric(op.form));
            if self.extras.get(&key) == Some(&op.form) {
                self.extras.remove(&key);
                self.release_form(op.form);
                return;
            }
        }
        if self.routes.get(op.prefix).have() == Have::Nothing {
            self.events.push(FibEvent::Installed(op.prefix, false));
        }
    }

    fn refused(&mut self, op: &RouteOp, verb: Verb, errno: i32, now: Instant) {
        self.counters.errors += 1;
        match verb {
            Verb::Add => self.set_have(op.prefix, Have::Nothing),
            Verb::Replace => {
                self.forms.again(op.form);
                self.set_have(op.prefix, Have::Doubt(op.form));
            }
            Verb::Delete => {
                let key = (op.prefix, self.metric(op.form));
                let known = self.extras.contains_key(&key);
                self.forms.again(op.form);
                if !known && self.routes.get(op.prefix).have() == Have::Nothing {
                    self.set_have(op.prefix, Have::Doubt(op.form));
                } else if let Some(was) = self.extras.insert(key, op.form) {
                    self.release_form(was);
                }
            }
        }
        match errno {
            libc::EPERM => self.abilities.write = false,
            // The mirror is wrong about this key: somebody's route came unheard, or ours stands.
            libc::EEXIST => self.asks.everything = true,
            libc::EINVAL | libc::ENOENT => self.asks.objects |= self.abilities.objects,
            _ => {}
        }
        let tries = self.failed.get(&op.prefix).map_or(0, |f| f.tries);
        let delay = RETRY_MIN.saturating_mul(1 << tries.min(10)).min(RETRY_MAX);
        let at = now + delay;
        self.failed.insert(op.prefix, Failure { tries: tries + 1, at });
        self.retry_at = Some(self.retry_at.map_or(at, |was| was.min(at)));
    }

    /// Routes of these forms are gone: their prefixes are looked at again.
    pub(super) fn forget_forms(&mut self, gone: impl Fn(&Form) -> bool) {
        let ids: BTreeSet<u32> =
            self.forms.iter().filter(|(_, f)| gone(f)).map(|(id, _)| id).collect();
        if ids.is_empty() {
            return;
        }
        let mut lost = Vec::new();
        self.routes.sweep(
            |e| e.have().form().is_some_and(|id| ids.contains(&id)),
            |prefix, e| {
                if let Some(id) = e.have().form() {
                    lost.push((prefix, id, e.want()));
                }
                e.set_have(Have::Nothing);
                if e.want() == Want::Stale {
                    e.set_want(Want::Nothing);
                }
            },
        );
        for (prefix, form, want) in lost {
            if matches!(want, Want::Spec(_)) {
                self.events.push(FibEvent::Installed(prefix, false));
            }
            self.release_form(form);
        }
        let extras: Vec<_> =
            self.extras.iter().filter(|(_, f)| ids.contains(f)).map(|(k, _)| *k).collect();
        for key in extras {
            if let Some(form) = self.extras.remove(&key) {
                self.release_form(form);
            }
        }
    }

    /// Routes of these forms may be gone: they are written again.
    pub(super) fn doubt_forms(&mut self, doubtful: impl Fn(&Form, usize) -> bool) {
        let mut ids = [BTreeSet::new(), BTreeSet::new()];
        for (id, form) in self.forms.iter() {
            for (family, set) in ids.iter_mut().enumerate() {
                if doubtful(form, family) {
                    set.insert(id);
                }
            }
        }
        let [v4, v6] = ids;
        let in_doubt = |e: Entry, ids: &BTreeSet<u32>| match e.have() {
            Have::Form(id) => ids.contains(&id) && e.want() != Want::Stale,
            _ => false,
        };
        let mark = |e: &mut Entry| {
            if let Have::Form(id) = e.have() {
                e.set_have(Have::Doubt(id));
            }
        };
        if !v4.is_empty() {
            self.routes.v4.sweep(|e| in_doubt(e, &v4), |_, e| mark(e));
        }
        if !v6.is_empty() {
            self.routes.v6.sweep(|e| in_doubt(e, &v6), |_, e| mark(e));
        }
    }

    /// Whether a wish fails for want of a reachable next hop.
    fn leads_nowhere(&self, spec: u32) -> bool {
        let set = self.wishes.spec(spec).and_then(|s| s.set).and_then(|id| self.wishes.set(id));
        set.is_some_and(|set| set.target.is_empty())
    }

    pub(super) fn outcome_of(&self, spec: u32, prefix: IpNet) -> Outcome {
        let family = usize::from(matches!(prefix, IpNet::V6(_)));
        let spec = self.wishes.spec(spec);
        spec.and_then(|s| s.outcome.get(family).copied()).unwrap_or(Outcome::Impossible)
    }

    pub(super) fn metric(&self, form: u32) -> u32 {
        self.forms.at(form).map_or(0, |f| f.metric)
    }

    /// A form by number, for the encoder.
    pub fn form(&self, id: u32) -> Option<&Form> {
        self.forms.at(id)
    }

    /// Whether a form uses this source address.
    pub(super) fn uses_source(form: &Form, sources: &BTreeSet<IpAddr>) -> bool {
        form.prefsrc.is_some_and(|a| sources.contains(&a))
    }
}

impl Likeness {
    fn holds(&mut self, pair: (u32, u32), alike: impl FnOnce() -> bool) -> bool {
        match self.0 {
            Some((known, holds)) if known == pair => holds,
            _ => {
                let holds = alike();
                self.0 = Some((pair, holds));
                holds
            }
        }
    }
}

/// Whether two forms lead over groups that have the same next hops in the kernel now.
fn alike(
    forms: &Interner<Form>,
    wishes: &Wishes,
    group_owner: &BTreeMap<u32, u32>,
    old: u32,
    new: u32,
) -> bool {
    let (Some(old), Some(new)) = (forms.at(old), forms.at(new)) else { return false };
    let hops = |form: &Form| {
        let Via::Object(group) = form.via else { return None };
        let (owned, hops) = wishes.set(*group_owner.get(&group)?)?.group.as_ref()?;
        (*owned == group).then_some(hops)
    };
    old.metric == new.metric
        && old.prefsrc == new.prefsrc
        && matches!((hops(old), hops(new)), (Some(a), Some(b)) if a == b)
}
