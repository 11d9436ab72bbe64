//! What is done for one attachment, stage by stage.

use std::{collections::VecDeque, net::IpAddr, time::Duration};

use super::{Asker, CallId, Desk, Done, GIVE_BACK, LEASE, Now, Output, Reply, Step};
use crate::{
    attachment::{AttachmentId, Entry, Mode, Source, State},
    failure::{Cause, Failure},
    name,
};

/// Pause after a stage of a removal failed, doubled up to [`MAX_PAUSE`].
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// A stage of a work: a [`Step`], or something that happens at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The link of an older container of the pod goes.
    DetachOlder(AttachmentId),
    /// Its entry has no link any more.
    RecordOlder(AttachmentId),
    Record(State),
    Assign,
    /// Before packets get there, and after they did: what remembers the address knows another's.
    Disconnect,
    Attach,
    /// The link is there, its addresses come.
    Fulfil,
    Reach,
    Publish,
    AwaitPolicy,
    /// The ADD is answered.
    Answer,
    Detach,
    /// It cannot be reached any more; who waits for that is told.
    Down,
    Retract,
    Release,
    Forget,
}

/// Whether a link may be without its mark: then an earlier life died between making and marking it.
/// A step that fails leaves none behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HalfMade {
    MayBe,
    No,
}

/// Why it is done.
#[derive(Clone, Debug)]
enum Aim {
    /// An ADD.
    Add { call: CallId, until: Duration, attempt: Attempt },
    /// A removal; the ADD whose failure it undoes.
    Remove(Option<(CallId, Failure)>),
}

/// What is to become of what is there if an ADD fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// It is taken down.
    First,
    /// It repeats an earlier one: all stays.
    Repeat,
    /// It brings addresses: the link stays until they are given back over it.
    Lease,
}

/// An older container of the pod, whose place is taken.
#[derive(Clone, Debug)]
pub(super) struct Older {
    /// Which.
    pub(super) id: AttachmentId,
    /// Its link; empty if it has none any more.
    pub(super) link: String,
}

impl Older {
    /// How its link is taken away. Before the entry of the newer one has the name: a name is never in
    /// two of them.
    fn detach(&self) -> impl Iterator<Item = Stage> + use<> {
        let stages = [Stage::DetachOlder(self.id.clone()), Stage::RecordOlder(self.id.clone())];
        let has_link = !self.link.is_empty();
        stages.into_iter().filter(move |_| has_link)
    }
}

/// What is being done for an attachment.
#[derive(Debug)]
pub(super) struct Work {
    aim: Aim,
    todo: VecDeque<Stage>,
    older: Option<Older>,
    half_made: HalfMade,
    /// Who waits until it is down.
    pub(super) askers: Vec<Asker>,
    /// When to try a stage again that failed.
    pub(super) retry: Option<Duration>,
    failures: u32,
    /// Why the last attempt failed.
    pub(super) trouble: Option<String>,
}

impl Work {
    /// An ADD from the beginning. `older` is what it takes the place of: that keeps its link until
    /// there are addresses, unless they may be its own.
    pub(super) fn add(entry: &Entry, call: CallId, until: Duration, older: Option<Older>) -> Self {
        let mut todo = VecDeque::new();
        let late = waits_for_addresses(entry);
        let mut detach = older.iter().flat_map(Older::detach).collect::<Vec<_>>();
        if !late {
            todo.extend(detach.drain(..));
        }
        todo.push_back(Stage::Record(State::Allocating));
        if entry.holds_addresses() {
            todo.push_back(Stage::Assign);
        }
        todo.extend(detach);
        if entry.spec.mode == Mode::Link {
            todo.extend([Stage::Record(State::Configured), Stage::Disconnect]);
            todo.extend([Stage::Attach, Stage::Reach, Stage::Publish]);
            if entry.spec.policy_wait > 0 {
                todo.push_back(Stage::AwaitPolicy);
            }
        }
        todo.extend([Stage::Record(State::Live), Stage::Answer]);
        Self::new(Aim::Add { call, until, attempt: Attempt::First }, todo, older)
    }

    /// A link without addresses. No state goes before: there is no address that could be lost.
    pub(super) fn bare(call: CallId, until: Duration) -> Self {
        let todo = [Stage::Record(State::Configured), Stage::Attach, Stage::Answer].into();
        Self::new(Aim::Add { call, until, attempt: Attempt::First }, todo, None)
    }

    /// The addresses for it. Older containers of the pod keep their links until all of it is there but
    /// that it is known so, unless they are `sharing` an address with it.
    pub(super) fn fulfil(
        entry: &Entry,
        call: CallId,
        until: Duration,
        sharing: Vec<&Entry>,
        others: Vec<&Entry>,
    ) -> Self {
        let detach = |older: Vec<&Entry>| -> Vec<Stage> {
            let each = |older: &Entry| {
                let (id, link) = (older.id.clone(), older.host_interface.clone());
                Older { id, link }.detach().collect::<Vec<_>>()
            };
            older.into_iter().flat_map(each).collect()
        };
        let mut todo: VecDeque<_> = detach(sharing).into();
        todo.extend([Stage::Record(State::Configured), Stage::Disconnect]);
        todo.extend([Stage::Fulfil, Stage::Reach, Stage::Publish]);
        todo.extend(detach(others));
        if entry.spec.policy_wait > 0 {
            todo.push_back(Stage::AwaitPolicy);
        }
        todo.extend([Stage::Record(State::Live), Stage::Answer]);
        Self::new(Aim::Add { call, until, attempt: Attempt::Lease }, todo, None)
    }

    /// An ADD of what is there.
    pub(super) fn repeat(entry: &Entry, call: CallId, until: Duration) -> Self {
        // Written again: it is asked for since now, and a newer container of its pod may have got
        // half of its place.
        let mut todo = VecDeque::from([Stage::Record(State::Live)]);
        if entry.spec.mode == Mode::Link {
            todo.extend([Stage::Attach, Stage::Reach, Stage::Publish]);
            if entry.spec.policy_wait > 0 {
                todo.push_back(Stage::AwaitPolicy);
            }
        }
        todo.push_back(Stage::Answer);
        Self::new(Aim::Add { call, until, attempt: Attempt::Repeat }, todo, None)
    }

    /// A removal of whatever there may be.
    pub(super) fn removal(entry: &Entry, asker: Option<Asker>, half_made: HalfMade) -> Self {
        let mut work = Self::new(Aim::Remove(None), undo(entry), None);
        work.half_made = half_made;
        work.askers.extend(asker);
        work
    }

    fn new(aim: Aim, todo: VecDeque<Stage>, older: Option<Older>) -> Self {
        let (askers, retry, failures, trouble) = (Vec::new(), None, 0, None);
        Self { aim, todo, older, half_made: HalfMade::No, askers, retry, failures, trouble }
    }

    /// Whether it repeats an ADD.
    fn is_repeat(&self) -> bool {
        matches!(self.aim, Aim::Add { attempt: Attempt::Repeat, .. })
    }

    /// Whether it takes down.
    pub(super) fn is_removal(&self) -> bool {
        matches!(self.aim, Aim::Remove(_))
    }

    /// Whether what is left of it concerns nobody.
    pub(super) fn is_down(&self) -> bool {
        self.is_removal() && !self.todo.contains(&Stage::Down)
    }
}

/// Whether the addresses of an ADD may be had while an older container of its pod has its own: those
/// that are asked for by name may be just these, and are taken from it.
fn waits_for_addresses(entry: &Entry) -> bool {
    matches!(&entry.spec.source, Source::Assign(wish) if wish.exactly.is_empty())
}

/// How an attachment is taken down that is as far as its entry says, or on its way to the next
/// state.
fn undo(entry: &Entry) -> VecDeque<Stage> {
    let mut todo = VecDeque::from([Stage::Record(State::Deleting)]);
    let may_be_linked = entry.spec.mode == Mode::Link && entry.state != State::Allocating;
    if may_be_linked && !entry.host_interface.is_empty() {
        todo.push_back(Stage::Detach);
    }
    todo.push_back(Stage::Down);
    if may_be_linked {
        // Before the address can be another's, here or on another node.
        todo.extend([Stage::Disconnect, Stage::Retract]);
    }
    if entry.holds_addresses() {
        todo.push_back(Stage::Release);
    }
    todo.push_back(Stage::Forget);
    todo
}

impl Desk {
    /// Goes on with a work until something has to be waited for.
    pub(super) fn advance(&mut self, id: &AttachmentId, out: &mut Vec<Output>) {
        loop {
            let Some(work) = self.works.get_mut(id) else { return };
            let Some(stage) = work.todo.front().cloned() else { return self.finish(id) };
            let until = match work.aim {
                Aim::Add { until, .. } => Some(until),
                Aim::Remove(_) => None,
            };
            match stage {
                Stage::Answer => {
                    work.todo.pop_front();
                    if let (Aim::Add { call, until, .. }, Some(entry)) =
                        (&work.aim, self.entries.get(id))
                    {
                        if entry.is_bare() {
                            self.bare.insert(id.clone(), until.saturating_add(LEASE));
                            let text = "it waits for an address that is asked for over its link";
                            self.problems.insert(id.clone(), text.to_owned());
                        }
                        let reply = Reply::Added(Box::new(entry.clone()));
                        out.push(Output::Answer(*call, Ok(reply)));
                    }
                }
                Stage::Down => {
                    work.todo.pop_front();
                    self.down(id, out);
                }
                stage => match self.step(id, stage, out) {
                    Some(step) => {
                        return out.push(Output::Do { id: id.clone(), step, until });
                    }
                    // There is nothing to do it to.
                    None => {
                        if let Some(work) = self.works.get_mut(id) {
                            work.todo.pop_front();
                        }
                    }
                },
            }
        }
    }

    /// The step that a stage begins with.
    fn step(&mut self, id: &AttachmentId, stage: Stage, out: &mut Vec<Output>) -> Option<Step> {
        if let Stage::DetachOlder(older) = &stage {
            self.unroute(older, out);
        }
        if stage == Stage::Record(State::Deleting) {
            self.unroute(id, out);
        }
        if let Stage::Record(state) = stage {
            self.entries.get_mut(id)?.state = state;
        }
        let entry = self.entries.get(id)?;
        let own = || Box::new(entry.clone());
        Some(match stage {
            Stage::DetachOlder(older) => {
                let name = self.entries.get(&older)?.host_interface.clone();
                Step::Detach { name, alias: name::alias(&older), half_made: false }
            }
            Stage::RecordOlder(older) => {
                let entry = self.entries.get(&older)?.clone();
                Step::Record(Box::new(Entry { host_interface: String::new(), ..entry }))
            }
            Stage::Record(_) => Step::Record(own()),
            Stage::Assign => {
                let older = self.works.get(id)?.older.as_ref();
                Step::Assign { entry: own(), replaces: older.map(|older| older.id.handle()) }
            }
            Stage::Disconnect => {
                let mut entry = own();
                if self.works.get(id)?.is_removal() {
                    // A newer container of the pod may have taken them over.
                    entry.addresses.retain(|address| !self.is_anothers(id, address));
                }
                if entry.addresses.is_empty() {
                    return None;
                }
                Step::Disconnect(entry)
            }
            Stage::Attach => Step::Attach(own()),
            Stage::Fulfil => Step::Fulfil(own()),
            Stage::Reach => Step::Reach(own()),
            Stage::Publish => Step::Publish(own()),
            Stage::AwaitPolicy => Step::AwaitPolicy(own()),
            Stage::Detach => Step::Detach {
                name: entry.host_interface.clone(),
                alias: name::alias(id),
                half_made: self.works.get(id)?.half_made == HalfMade::MayBe,
            },
            Stage::Retract => Step::Retract(own()),
            Stage::Release => Step::Release(id.handle()),
            Stage::Forget => Step::Forget,
            Stage::Answer | Stage::Down => return None,
        })
    }

    /// Whether an attachment that stays has an address.
    fn is_anothers(&self, id: &AttachmentId, address: &IpAddr) -> bool {
        let mut others = self.entries.values().filter(|other| other.id != *id);
        others.any(|other| other.state != State::Deleting && other.addresses.contains(address))
    }

    /// A step ended.
    pub(super) fn done(
        &mut self,
        now: Now,
        id: &AttachmentId,
        result: Result<Done, Failure>,
        out: &mut Vec<Output>,
    ) {
        let Some(work) = self.works.get_mut(id) else { return };
        let Some(stage) = work.todo.front().cloned() else { return };
        match result {
            Ok(done) => {
                work.todo.pop_front();
                (work.failures, work.trouble) = (0, None);
                self.succeeded(id, &stage, done, out);
                // What was assigned may have been given to another meanwhile.
                if stage == Stage::Assign
                    && let Some(Err(failure)) = self.entries.get(id).map(|entry| self.alone(entry))
                {
                    return self.failed(now, id, &stage, failure, out);
                }
                self.advance(id, out);
            }
            // The journal cannot be written: the link goes all the same, and no address before it can
            // be: the next start must not find `Live` what holds nothing any more.
            Err(_) if stage == Stage::Record(State::Deleting) && !work.is_down() => {
                work.todo.pop_front();
                let behind = work.todo.iter().position(|stage| *stage == Stage::Down);
                work.todo.insert(behind.map_or(0, |at| at + 1), stage);
                self.advance(id, out);
            }
            // What was written once is there, unless somebody deleted it: no reason to wait for the
            // datastore.
            Err(failure)
                if stage == Stage::Publish && work.is_repeat() && failure.cause == Cause::Later =>
            {
                work.todo.pop_front();
                self.advance(id, out);
            }
            Err(failure) => self.failed(now, id, &stage, failure, out),
        }
    }

    fn succeeded(&mut self, id: &AttachmentId, stage: &Stage, done: Done, out: &mut Vec<Output>) {
        match stage {
            Stage::Assign => {
                if let (Some(entry), Done::Assigned(addresses)) = (self.entries.get_mut(id), done) {
                    entry.addresses = addresses;
                    entry.addresses.sort();
                }
            }
            Stage::RecordOlder(older) => {
                if let Some(older) = self.entries.get_mut(older) {
                    older.host_interface.clear();
                }
                self.problems.remove(older);
                let link = self.works.get(id).and_then(|work| work.older.as_ref());
                if let (Some(entry), Some(older)) = (self.entries.get_mut(id), link) {
                    entry.host_interface.clone_from(&older.link);
                }
            }
            Stage::Attach | Stage::Fulfil => {
                self.problems.remove(id);
                self.route(id, out);
            }
            Stage::Forget => {
                self.entries.remove(id);
                self.problems.remove(id);
            }
            _ => {}
        }
    }

    fn failed(
        &mut self,
        now: Now,
        id: &AttachmentId,
        stage: &Stage,
        failure: Failure,
        out: &mut Vec<Output>,
    ) {
        if let Stage::DetachOlder(older) = stage {
            // Its link is there still, and its container may be.
            self.problems.insert(older.clone(), failure.text.clone());
            self.route(older, out);
        }
        let (Some(work), Some(entry)) = (self.works.get_mut(id), self.entries.get_mut(id)) else {
            return;
        };
        match &work.aim {
            Aim::Add { call, attempt: Attempt::Lease, .. } => {
                out.push(Output::Answer(*call, Err(failure.clone())));
                // What could not be written is not so.
                entry.state = State::Configured;
                self.bare.insert(id.clone(), now.steady.saturating_add(GIVE_BACK));
                self.problems.insert(id.clone(), failure.text);
                self.unroute(id, out);
                self.finish(id);
            }
            Aim::Add { call, attempt: Attempt::Repeat, .. } => {
                out.push(Output::Answer(*call, Err(failure.clone())));
                self.problems.insert(id.clone(), failure.text);
                self.finish(id);
            }
            Aim::Add { call, attempt: Attempt::First, .. } => {
                let robbed = work.older.take();
                let why = failure.text.clone();
                let (aim, todo) = (Aim::Remove(Some((*call, failure))), undo(entry));
                let askers = std::mem::take(&mut work.askers);
                *work = Work { askers, ..Work::new(aim, todo, None) };
                if let Some(older) = robbed.and_then(|older| self.entries.get(&older.id))
                    && older.host_interface.is_empty()
                {
                    let text = format!(
                        "its link went for {id}, whose ADD failed: {why}; a repeated ADD makes it anew"
                    );
                    self.problems.insert(older.id.clone(), text);
                }
                self.advance(id, out);
            }
            Aim::Remove(_) => {
                let pause = PAUSE.saturating_mul(1 << work.failures.min(5)).min(MAX_PAUSE);
                work.failures += 1;
                work.retry = Some(now.steady.saturating_add(pause));
                work.trouble = Some(failure.text.clone());
                self.problems.insert(id.clone(), failure.text.clone());
                if *stage == Stage::Detach {
                    let askers = std::mem::take(&mut work.askers);
                    let add = match &mut work.aim {
                        Aim::Remove(add) => add.take(),
                        Aim::Add { .. } => None,
                    };
                    if let Some((call, because)) = add {
                        out.push(Output::Answer(call, Err(because)));
                    }
                    for asker in askers {
                        let text = format!("{failure}; it is tried again");
                        let failure = Failure::new(failure.cause, text);
                        self.answer_down(asker, id, Err(failure), out);
                    }
                }
            }
        }
    }

    /// It cannot be reached any more: what is left is done in its own time.
    fn down(&mut self, id: &AttachmentId, out: &mut Vec<Output>) {
        let Some(work) = self.works.get_mut(id) else { return };
        let askers = std::mem::take(&mut work.askers);
        let failed = match &mut work.aim {
            Aim::Remove(failed) => failed.take(),
            Aim::Add { .. } => None,
        };
        if let Some(entry) = self.entries.get_mut(id) {
            self.held.remove(&entry.workload());
            // Somebody else may have the name from now on.
            entry.host_interface.clear();
        }
        if let Some((call, failure)) = failed {
            out.push(Output::Answer(call, Err(failure)));
        }
        for asker in askers {
            self.answer_down(asker, id, Ok(true), out);
        }
    }

    /// A work has nothing left to do.
    fn finish(&mut self, id: &AttachmentId) {
        if let Some(work) = self.works.remove(id)
            && !work.is_removal()
            && let Some(entry) = self.entries.get(id)
        {
            self.held.remove(&entry.workload());
        }
    }

    /// Tries again what failed long enough ago.
    pub(super) fn retry(&mut self, now: Now, out: &mut Vec<Output>) {
        let due = |work: &Work| work.retry.is_some_and(|at| at <= now.steady);
        let ids: Vec<_> =
            self.works.iter().filter(|(_, work)| due(work)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            if let Some(work) = self.works.get_mut(&id) {
                work.retry = None;
            }
            self.advance(&id, out);
        }
    }
}
