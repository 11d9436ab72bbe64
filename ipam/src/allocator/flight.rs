//! One plan under way: its commits, what became of them, and whom that answers.
//!
//! There is one flight at a time: whoever comes while it is out goes with the next one, and all
//! that go together share a commit for each block. A node so never loses a compare to itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use ipnet::IpNet;
use margay_model::{Key, Revision};

use super::{Allocator, Asker, CommitEnd, Event, MOST_TOGETHER, Output, Ticket, Waiting};
use crate::{
    block::Held,
    error::IpamError,
    plan::{Answer, Ask, Grant, Outcome, Release, Step, Want, World, plan},
    time::Now,
    view::{Stored, View},
};

/// A plan under way.
#[derive(Debug, Default)]
pub(super) struct Flight {
    flyers: Vec<Flyer>,
    steps: BTreeMap<IpNet, Flown>,
    tickets: BTreeMap<Ticket, IpNet>,
    /// Blocks whose write the store does not take, and why.
    refused: BTreeMap<IpNet, String>,
}

/// A wish that waits for commits.
#[derive(Debug)]
struct Flyer {
    waiting: Waiting,
    outcome: Outcome,
    /// Nobody waits for it any more: what it gets is given back.
    abandoned: bool,
}

/// A commit that was sent.
#[derive(Debug)]
struct Flown {
    step: Step,
    fate: Fate,
}

/// Told whom the store keeps waiting without saying why.
const LATE: &str = "the datastore did not answer in time";

/// What is known of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing yet.
    Sent,
    /// A block was made; whether it overlaps an older one is known once the watch has come so far, or
    /// a list was made since.
    Unsure(Revision),
    /// It happened.
    Done,
    /// It did not happen; the block must be read again first.
    Losing,
    /// It may have happened; the block must be read to know.
    Unknown,
    /// It did not happen.
    Lost,
    /// The store takes no such write.
    Refused,
}

impl Flight {
    pub(super) fn len(&self) -> usize {
        self.flyers.len()
    }

    pub(super) fn asks(&self) -> impl Iterator<Item = &Ask> {
        self.flyers.iter().map(|flyer| &flyer.waiting.ask)
    }

    pub(super) fn asks_mut(&mut self) -> impl Iterator<Item = &mut Ask> {
        self.flyers.iter_mut().map(|flyer| &mut flyer.waiting.ask)
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let waiting = self.flyers.iter().filter(|flyer| !flyer.abandoned);
        waiting.filter_map(|flyer| flyer.waiting.deadline).min()
    }

    /// Whether a block is being made and may yet turn out not to be ours.
    pub(super) fn is_unsure_of(&self, cidr: IpNet) -> bool {
        self.steps
            .get(&cidr)
            .is_some_and(|flown| flown.step.base.is_none() && flown.fate != Fate::Done)
    }

    /// Whether a claim waits for the watch.
    pub(super) fn is_unsure(&self) -> bool {
        self.steps.values().any(|flown| matches!(flown.fate, Fate::Unsure(_)))
    }

    /// Whether a wish of the collector is among them.
    pub(super) fn is_collecting(&self) -> bool {
        self.flyers.iter().any(|flyer| flyer.waiting.asker == Asker::Collector)
    }

    fn has(&self, cidr: &IpNet, fate: Fate) -> bool {
        self.steps.get(cidr).is_some_and(|flown| flown.fate == fate)
    }
}

impl Allocator {
    /// Plans what waits and sends its commits, if nothing is under way.
    pub(super) fn take_off(&mut self, now: Now, out: &mut Vec<Output>) {
        while self.flight.is_none() && self.in_sync {
            if self.pause.is_some_and(|until| now.steady < until) {
                return;
            }
            self.pause = None;
            let ready = self.is_ready();
            let reading = &self.reading;
            let mut together = Vec::new();
            let mut staying = std::collections::VecDeque::new();
            for waiting in self.queue.drain(..) {
                // Giving back needs no lease.
                let may_go = (ready || matches!(waiting.ask, Ask::Release(_)))
                    && !waiting.doubtful.iter().any(|cidr| reading.contains(&Key::Block(*cidr)));
                if may_go && together.len() < MOST_TOGETHER {
                    together.push(waiting);
                } else {
                    staying.push_back(waiting);
                }
            }
            self.queue = staying;
            if together.is_empty() {
                return;
            }
            self.fly(now, together, out);
        }
    }

    fn fly(&mut self, now: Now, together: Vec<Waiting>, out: &mut Vec<Output>) {
        let world = World {
            host: &self.config.host,
            view: &self.view,
            pools: &self.pools,
            reservations: &self.reservations,
            busy: &self.busy,
            settings: &self.settings,
            now: now.wall,
        };
        let asks: Vec<Ask> = together.iter().map(|waiting| waiting.ask.clone()).collect();
        let attempt = together.iter().map(|waiting| waiting.attempts).max().unwrap_or(0);
        let plan = plan(world, &asks, attempt);
        let mut flight = Flight::default();
        for (waiting, outcome) in together.into_iter().zip(plan.outcomes) {
            if outcome.answer.is_err() || outcome.needs.is_empty() {
                self.finish(waiting, outcome.answer, out);
            } else {
                flight.flyers.push(Flyer { waiting, outcome, abandoned: false });
            }
        }
        for step in plan.steps {
            let ticket = self.ticket();
            self.counters.commits += 1;
            self.counters.claims += u64::from(step.base.is_none());
            out.push(Output::Commit { ticket, txn: step.txn() });
            flight.tickets.insert(ticket, step.cidr);
            flight.steps.insert(step.cidr, Flown { step, fate: Fate::Sent });
        }
        if !flight.steps.is_empty() {
            self.flight = Some(flight);
        } else {
            // Made and unmade within one plan: there is nothing to wait for.
            for flyer in flight.flyers {
                self.finish(flyer.waiting, flyer.outcome.answer, out);
            }
        }
    }

    /// A commit ended.
    pub(super) fn committed(
        &mut self,
        now: Now,
        ticket: Ticket,
        end: CommitEnd,
        out: &mut Vec<Output>,
    ) {
        let Some(flight) = &mut self.flight else { return };
        let Some(cidr) = flight.tickets.remove(&ticket) else { return };
        let Some(flown) = flight.steps.get_mut(&cidr) else { return };
        match end {
            CommitEnd::Done(revision) => {
                self.store_error = None;
                self.note_done(now, cidr, revision, out);
            }
            CommitEnd::Lost => {
                self.store_error = None;
                flown.fate = Fate::Losing;
                self.doubt(cidr);
            }
            CommitEnd::Unknown(error) => {
                self.store_error = Some(error);
                flown.fate = Fate::Unknown;
                self.doubt(cidr);
            }
            CommitEnd::Refused(why) => {
                flown.fate = Fate::Refused;
                flight.refused.insert(cidr, why);
            }
        }
        self.land(now, out);
    }

    /// A commit is known to have happened.
    fn note_done(&mut self, now: Now, cidr: IpNet, revision: Revision, out: &mut Vec<Output>) {
        let Some(flown) = self.flight.as_mut().and_then(|flight| flight.steps.get_mut(&cidr))
        else {
            return;
        };
        let claim = flown.step.base.is_none();
        flown.fate = if claim { Fate::Unsure(revision) } else { Fate::Done };
        match flown.step.after.clone() {
            Some(block) => self.view.put(cidr, revision, Stored::Sound(block)),
            None => self.view.remove(cidr, revision),
        };
        self.announce(&[cidr], out);
        if claim {
            self.confirm(now, out);
        }
    }

    /// Looks at claims the watch, or a list, has caught up with: one that overlaps another block came second,
    /// because the older one had been in the view before. Such a block is not used.
    pub(super) fn confirm(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(flight) = &mut self.flight else { return };
        let mut confirmed = Vec::new();
        for (cidr, flown) in &mut flight.steps {
            if let Fate::Unsure(revision) = flown.fate
                && revision <= self.watched.max(self.proof.listed)
            {
                let contested = self.view.is_contested(*cidr);
                flown.fate = if contested { Fate::Lost } else { Fate::Done };
                confirmed.push((*cidr, contested));
            }
        }
        if confirmed.is_empty() {
            return;
        }
        for (cidr, contested) in &confirmed {
            if *contested {
                self.counters.lost += 1;
                out.push(Output::Event(Event::Contested(*cidr)));
                self.undo_block(*cidr);
            } else {
                self.counters.claimed += 1;
                out.push(Output::Event(Event::Claimed(*cidr)));
            }
            self.announce(&[*cidr], out);
        }
        self.land(now, out);
    }

    /// Takes back everything this flight assigned from a block.
    fn undo_block(&mut self, cidr: IpNet) {
        let Some(flight) = &self.flight else { return };
        let grants: Vec<Grant> = flight
            .flyers
            .iter()
            .flat_map(|flyer| fresh(flight, &flyer.outcome))
            .filter(|grant| grant.block == cidr)
            .collect();
        self.undo(&grants);
    }

    /// Blocks were read again: decides about commits whose end was not known.
    pub(super) fn resolve_unknown(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(flight) = &mut self.flight else { return };
        let mut landed = Vec::new();
        for (cidr, flown) in &mut flight.steps {
            if self.reading.contains(&Key::Block(*cidr)) {
                continue;
            }
            match flown.fate {
                Fate::Losing => {
                    flown.fate = Fate::Lost;
                    self.counters.lost += 1;
                    let claim = flown.step.base.is_none();
                    out.push(Output::Event(Event::Lost { block: *cidr, claim }));
                }
                Fate::Unknown => match happened(&flown.step, &self.view) {
                    Some(revision) => landed.push((*cidr, revision)),
                    None => flown.fate = Fate::Lost,
                },
                Fate::Sent | Fate::Unsure(_) | Fate::Done | Fate::Lost | Fate::Refused => {}
            }
        }
        for (cidr, revision) in landed {
            let Some(flown) = self.flight.as_mut().and_then(|flight| flight.steps.get_mut(&cidr))
            else {
                continue;
            };
            let claim = flown.step.base.is_none();
            flown.fate = if claim { Fate::Unsure(revision) } else { Fate::Done };
            self.announce(&[cidr], out);
        }
        self.confirm(now, out);
        self.land(now, out);
    }

    /// Answers whoever has all it needs; ends the flight when every commit has ended.
    fn land(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(mut flight) = self.flight.take() else { return };
        let flyers = std::mem::take(&mut flight.flyers);
        let (ready, mut rest): (Vec<Flyer>, Vec<Flyer>) = flyers
            .into_iter()
            .partition(|flyer| flyer.outcome.needs.iter().all(|cidr| flight.has(cidr, Fate::Done)));
        for flyer in ready {
            if flyer.abandoned {
                let mut grants = fresh(&flight, &flyer.outcome);
                grants.extend(flyer.waiting.kept);
                self.undo(&grants);
            } else {
                self.finish(flyer.waiting, flyer.outcome.answer, out);
            }
        }
        let is_end = |fate| matches!(fate, Fate::Done | Fate::Lost | Fate::Refused);
        let ended = flight.steps.values().all(|flown| is_end(flown.fate));
        if !ended {
            flight.flyers = rest;
            self.flight = Some(flight);
            return;
        }
        let mut attempts = 0;
        rest.reverse();
        for flyer in rest {
            let abandoned = flyer.abandoned;
            let needs = flyer.outcome.needs.iter();
            let refused = needs.filter_map(|cidr| Some((*cidr, flight.refused.get(cidr)?))).next();
            let waiting = again(&flight, flyer);
            if abandoned {
                self.undo(&waiting.kept);
            } else if let Some((block, why)) = refused {
                // It would be planned and refused again.
                let why = format!("the datastore does not take it: {why}");
                self.finish(waiting, Err(IpamError::Block { block, why }), out);
            } else {
                attempts = attempts.max(waiting.attempts);
                self.queue.push_front(waiting);
            }
        }
        if attempts > 1 {
            self.pause = Some(now.steady.saturating_add(self.jitter.delay(attempts)));
        }
    }

    /// Gives an answer, or takes back what an earlier attempt got.
    fn finish(
        &mut self,
        waiting: Waiting,
        answer: Result<Answer, IpamError>,
        out: &mut Vec<Output>,
    ) {
        let answer = answer.map(|answer| complete(&waiting, answer));
        match &answer {
            Err(_) => self.undo(&waiting.kept),
            Ok(Answer::Assigned(grants)) => {
                self.counters.assigned += u64::try_from(grants.len()).unwrap_or(u64::MAX);
            }
            Ok(Answer::Released { addresses, .. }) => {
                let count = u64::try_from(addresses.len()).unwrap_or(u64::MAX);
                self.counters.released += count;
                if waiting.asker == Asker::Collector && count > 0 {
                    self.counters.collected += count;
                    let addresses = addresses.len();
                    out.push(Output::Event(Event::Collected { addresses }));
                }
            }
            Ok(Answer::Blocks(blocks)) => {
                if waiting.asker == Asker::Collector
                    && *blocks > 0
                    && !matches!(waiting.ask, Ask::Adopt)
                {
                    out.push(Output::Event(Event::BlocksFreed(*blocks)));
                }
            }
        }
        if let Asker::Caller(id) = waiting.asker {
            out.push(Output::Answer { id, answer });
        }
    }

    /// Releases these very assignments, one by one: one that is gone already stops none.
    pub(super) fn undo(&mut self, grants: &[Grant]) {
        for grant in grants {
            let release = Release::Address {
                address: grant.address,
                handle: Some(grant.handle.clone()),
                serial: Some(grant.serial),
            };
            self.enqueue(Asker::Undo, Ask::Release(vec![release]), None);
        }
    }

    /// While nothing may be assigned those who want an address are told so at once, and while nothing
    /// may be collected nothing is.
    pub(super) fn hold_back(&mut self, out: &mut Vec<Output>) {
        let why = if self.locked {
            Some(IpamError::Locked)
        } else if self.unreadable.rules.is_empty() {
            None
        } else {
            let names: Vec<_> = self.unreadable.rules.iter().map(String::as_str).collect();
            Some(IpamError::Unreadable(names.join(", ")))
        };
        let collecting = self.may_collect();
        let is_held = |waiting: &Waiting| match waiting.asker {
            Asker::Caller(_) => why.is_some() && matches!(waiting.ask, Ask::Assign(_)),
            Asker::Collector => !collecting,
            Asker::Undo => false,
        };
        if !self.queue.iter().any(is_held) {
            return;
        }
        let (held, staying): (Vec<Waiting>, Vec<Waiting>) =
            self.queue.drain(..).partition(|waiting| is_held(waiting));
        self.queue = staying.into();
        for waiting in held {
            match (&why, waiting.asker) {
                (Some(why), Asker::Caller(_)) => self.finish(waiting, Err(why.clone()), out),
                // The collector looks again once it may.
                _ => self.undo(&waiting.kept),
            }
        }
    }

    /// Answers whoever has waited long enough. What its commits may still bring is given back.
    pub(super) fn expire(&mut self, now: Now, out: &mut Vec<Output>) {
        let late = |waiting: &Waiting| waiting.deadline.is_some_and(|at| now.steady >= at);
        let (expired, staying): (Vec<Waiting>, Vec<Waiting>) =
            self.queue.drain(..).partition(|waiting| late(waiting));
        self.queue = staying.into();
        for waiting in expired {
            let error = self.why_late(&waiting);
            self.finish(waiting, Err(error), out);
        }
        let mut answers = Vec::new();
        if let Some(flight) = &mut self.flight {
            for flyer in flight.flyers.iter_mut().filter(|flyer| !flyer.abandoned) {
                if late(&flyer.waiting)
                    && let Asker::Caller(id) = flyer.waiting.asker
                {
                    flyer.abandoned = true;
                    answers.push((id, flyer.waiting.attempts));
                }
            }
        }
        for (id, _) in answers {
            let why = self.store_error.clone().unwrap_or_else(|| LATE.into());
            out.push(Output::Answer { id, answer: Err(IpamError::Store(why)) });
        }
    }

    fn why_late(&self, waiting: &Waiting) -> IpamError {
        if let Some(error) = &self.store_error {
            return IpamError::Store(error.clone());
        }
        if let Some(error) = self.not_ready() {
            return error;
        }
        match waiting.attempts {
            0 => IpamError::Store(LATE.into()),
            attempts => IpamError::Contention(attempts),
        }
    }

    /// A caller has gone.
    pub(super) fn cancel(&mut self, id: super::AskId) {
        let is_it = |waiting: &Waiting| waiting.asker == Asker::Caller(id);
        let (gone, staying): (Vec<Waiting>, Vec<Waiting>) =
            self.queue.drain(..).partition(|waiting| is_it(waiting));
        self.queue = staying.into();
        for waiting in gone {
            self.undo(&waiting.kept);
        }
        for flyer in self.flight.iter_mut().flat_map(|flight| &mut flight.flyers) {
            flyer.abandoned |= is_it(&flyer.waiting);
        }
    }
}

/// The addresses a plan newly assigns, without those the handle had before.
fn fresh(flight: &Flight, outcome: &Outcome) -> Vec<Grant> {
    let Ok(Answer::Assigned(grants)) = &outcome.answer else { return Vec::new() };
    grants
        .iter()
        .filter(|grant| {
            let step = flight.steps.get(&grant.block).map(|flown| &flown.step);
            step.and_then(|step| step.after.as_ref())
                .is_some_and(|block| block.serial() == grant.serial)
        })
        .cloned()
        .collect()
}

/// What is left to ask for after part of it was committed and part was lost.
fn again(flight: &Flight, flyer: Flyer) -> Waiting {
    let Flyer { mut waiting, outcome, .. } = flyer;
    waiting.attempts = waiting.attempts.saturating_add(1);
    match &outcome.answer {
        Ok(Answer::Assigned(_)) => {
            let kept: Vec<Grant> = fresh(flight, &outcome)
                .into_iter()
                .filter(|grant| flight.has(&grant.block, Fate::Done))
                .collect();
            if let Ask::Assign(request) = &mut waiting.ask
                && !request.reuse
            {
                let count = |v4: bool| kept.iter().filter(|g| g.address.is_ipv4() == v4).count();
                match &mut request.want {
                    Want::Any { v4, v6 } => {
                        *v4 = v4.saturating_sub(count(true));
                        *v6 = v6.saturating_sub(count(false));
                    }
                    Want::Exactly(addresses) => {
                        addresses.retain(|address| kept.iter().all(|g| g.address != *address));
                    }
                }
            }
            waiting.kept.extend(kept);
        }
        Ok(Answer::Released { addresses, .. }) => {
            let of = |address: &IpAddr| {
                flight.steps.values().find(|flown| flown.step.cidr.contains(address))
            };
            let gone = addresses
                .iter()
                .filter(|address| of(address).is_some_and(|flown| flown.fate == Fate::Done));
            waiting.released.extend(gone);
        }
        Ok(Answer::Blocks(_)) | Err(_) => {}
    }
    waiting
}

/// The answer of all attempts together.
fn complete(waiting: &Waiting, answer: Answer) -> Answer {
    match (answer, &waiting.ask) {
        (Answer::Assigned(grants), Ask::Assign(request)) => {
            // What a repeated request finds again is in the last answer already.
            let earlier = waiting.kept.iter().filter(|_| !request.reuse).cloned();
            let mut grants: Vec<Grant> = earlier.chain(grants).collect();
            grants.sort_by_key(|grant| grant.address.is_ipv6());
            Answer::Assigned(grants)
        }
        (Answer::Released { addresses, absent }, _) => {
            let mut all: BTreeSet<IpAddr> = addresses.into_iter().collect();
            all.extend(&waiting.released);
            let absent = absent.into_iter().filter(|address| !all.contains(address)).collect();
            Answer::Released { addresses: all.into_iter().collect(), absent }
        }
        (answer, _) => answer,
    }
}

/// The commit by which a step happened, told from what lies there now.
///
/// Others may have written since: then what this step assigned is still there, with its handle and
/// the serial of this write. A step that only took away and cannot be recognised counts as not
/// done, and doing it again changes nothing.
fn happened(step: &Step, view: &View) -> Option<Revision> {
    let there = view.block(step.cidr);
    let Some(after) = &step.after else {
        return view.entry(step.cidr).is_none().then(|| view.seen());
    };
    let (revision, block) = there?;
    if block == after {
        return Some(revision);
    }
    let new = |held: &Held| held.serial == after.serial();
    let mut assigned = after.held().filter(|(_, held)| new(held)).peekable();
    let recognised = assigned.peek().is_some()
        && assigned.all(|(at, held)| block.held.get(&at).is_some_and(|there| there == held));
    recognised.then_some(revision)
}
