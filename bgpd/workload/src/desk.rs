//! Everything that happens to attachments: calls and results in, steps and answers out.
//!
//! Owns the entries, what is being done for each, what waits for what. Promises: what is done for
//! one workload is done one after the other; an ADD is answered when its entry is `Live` on disk,
//! or, if it failed, when its link is gone; a DEL when the link is gone, and what needs the
//! datastore follows in its own time; after a restart whatever was not `Live` is taken down. Leaves
//! to others doing the steps: the shell tells of each how it went.
//!
//! Addresses that are asked for over the link ([`Source::Leased`]) take two ADDs. The first makes the
//! link without any, the second brings them; a link for which no second one comes is taken down after
//! [`LEASE`], or at a restart. A second one that fails leaves the link, for they are given back over
//! it: until a DEL, or for [`GIVE_BACK`].

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use crate::{
    attachment::{AttachmentId, Entry, Mode, Moment, Pod, Source, Spec, State, Uptime, workload},
    failure::{Cause, Failure},
    name,
};

mod work;

use work::{HalfMade, Older, Work};

/// How long an ADD may take from being asked, for all that needs the datastore or waits for others: it
/// must fail within five seconds while that is away.
pub const PATIENCE: Duration = Duration::from_millis(4500);
/// How long a link is there for addresses to be asked for over it.
pub const LEASE: Duration = Duration::from_secs(180);
/// How long for them to be given back, after it came to nothing.
pub const GIVE_BACK: Duration = Duration::from_secs(30);
/// The runtime is asked about what is older than this only: it may not have heard of the rest yet.
pub const YOUNG: Duration = Duration::from_secs(60);

/// All clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the Unix epoch.
    pub wall: u64,
    /// Never goes back.
    pub steady: Duration,
    /// Goes on while no daemon runs.
    pub up: Uptime,
}

/// A caller's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// What there is at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// The links that carry our mark, by name, with their alias.
    pub links: BTreeMap<String, String>,
    /// Attachments whose network namespace is gone.
    pub without_netns: BTreeSet<AttachmentId>,
    /// Whether every entry of the journal could be read: otherwise nobody can say which link is
    /// nobody's.
    pub whole: bool,
}

/// What the desk is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The journal at the start. Comes once, before anything else.
    Load(Vec<Entry>, Scene),
    /// ADD.
    Add {
        /// Whom to answer.
        call: CallId,
        /// Which attachment.
        id: AttachmentId,
        /// What is wanted.
        spec: Box<Spec>,
        /// When it must have failed if it is not done, on the steady clock: [`PATIENCE`] after it
        /// was asked, however long it was on its way here.
        until: Duration,
    },
    /// DEL.
    Delete {
        /// Whom to answer; `None`: nobody waits.
        call: Option<CallId>,
        /// Which attachment.
        id: AttachmentId,
        /// It was asked then: what is younger is not meant.
        asked: Option<Moment>,
    },
    /// GC.
    Collect {
        /// Whom to answer.
        call: CallId,
        /// Of which network.
        network: String,
        /// What the runtime knows: containers and their interfaces.
        valid: BTreeSet<(String, String)>,
        /// What there is.
        scene: Scene,
    },
    /// A step ended.
    Done(AttachmentId, Result<Done, Failure>),
    /// Time has passed.
    Tick,
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is done.
    Done,
    /// These addresses were assigned.
    Assigned(Vec<IpAddr>),
}

/// Something to be done. Each may be done again, and undoing what was not done succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes an entry into the journal; done once it is on disk.
    Record(Box<Entry>),
    /// Takes an entry out of the journal.
    Forget,
    /// Assigns addresses to the handle.
    Assign {
        /// For this one.
        entry: Box<Entry>,
        /// A handle whose container is dead: an address asked for may be taken from it.
        replaces: Option<String>,
    },
    /// Releases what a handle holds.
    Release(String),
    /// Ends the tracked connections of its addresses: what is left of whoever had them before, or of
    /// itself.
    Disconnect(Box<Entry>),
    /// Makes the link, or sees that it is there.
    Attach(Box<Entry>),
    /// Removes a link, if it carries this alias.
    Detach {
        /// The host's end.
        name: String,
        /// The alias.
        alias: String,
        /// Also if it carries none: an earlier life may have died before it gave it one.
        half_made: bool,
    },
    /// Gives the link that is there the addresses it was made for.
    Fulfil(Box<Entry>),
    /// Waits until the host sends to its addresses over its link.
    Reach(Box<Entry>),
    /// Writes the endpoint.
    Publish(Box<Entry>),
    /// Deletes the endpoint, if it is this attachment's.
    Retract(Box<Entry>),
    /// Waits for the policy dataplane, if there is one.
    AwaitPolicy(Box<Entry>),
}

impl Step {
    /// Its name, for figures and for `margay workload trace`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Record(_) => "record",
            Self::Forget => "forget",
            Self::Assign { .. } => "assign",
            Self::Release(_) => "release",
            Self::Disconnect(_) => "disconnect",
            Self::Attach(_) => "attach",
            Self::Fulfil(_) => "fulfil",
            Self::Detach { .. } => "detach",
            Self::Reach(_) => "reach",
            Self::Publish(_) => "publish",
            Self::Retract(_) => "retract",
            Self::AwaitPolicy(_) => "policy",
        }
    }

    /// With what it is done, for `margay workload trace`: the state that is written, the interface,
    /// the handle; empty where there is nothing to say. What is assigned is known afterwards.
    pub fn detail(&self) -> String {
        match self {
            Self::Record(entry) => entry.state.name().to_owned(),
            Self::Attach(entry)
            | Self::Fulfil(entry)
            | Self::Reach(entry)
            | Self::Publish(entry)
            | Self::Retract(entry)
            | Self::AwaitPolicy(entry) => entry.host_interface.clone(),
            Self::Detach { name, .. } => name.clone(),
            Self::Release(handle) => handle.clone(),
            Self::Assign { .. } | Self::Disconnect(_) | Self::Forget => String::new(),
        }
    }
}

/// What the desk wants or tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Do this and tell how it went; one step of an attachment at a time.
    Do {
        /// For which attachment.
        id: AttachmentId,
        /// What.
        step: Step,
        /// Until when it is of use, on the steady clock.
        until: Option<Duration>,
    },
    /// An answer.
    Answer(CallId, Result<Reply, Failure>),
    /// Packets to an address go over this link from now on; `None`: no longer.
    Route(IpAddr, Option<String>),
    /// A link that carries our mark and is nobody's: remove it.
    Sweep {
        /// Its name.
        name: String,
        /// Its alias.
        alias: String,
    },
}

/// An answer that all went well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The attachment.
    Added(Box<Entry>),
    /// Whether there was something.
    Deleted(bool),
    /// What was deleted.
    Collected(Vec<AttachmentId>),
}

/// Who waits for something to be taken down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Call(CallId),
    Collection(CallId),
    Nobody,
}

/// A call that waits for its turn.
#[derive(Clone, Debug)]
enum Waiting {
    Add { call: CallId, id: AttachmentId, spec: Box<Spec>, until: Duration },
    Delete { asker: Asker, id: AttachmentId },
}

impl Waiting {
    fn id(&self) -> &AttachmentId {
        match self {
            Self::Add { id, .. } | Self::Delete { id, .. } => id,
        }
    }
}

/// A collection under way.
#[derive(Clone, Debug, Default)]
struct Collection {
    left: usize,
    deleted: Vec<AttachmentId>,
    failed: Option<Failure>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Desk {
    entries: BTreeMap<AttachmentId, Entry>,
    problems: BTreeMap<AttachmentId, String>,
    works: BTreeMap<AttachmentId, Work>,
    /// Links without addresses, or whose addresses are to be given back over them, and until when they
    /// stay. Nothing is being done for these.
    bare: BTreeMap<AttachmentId, Duration>,
    /// Workloads for which something is done that the next thing must wait for.
    held: BTreeSet<String>,
    waiting: VecDeque<Waiting>,
    collections: BTreeMap<CallId, Collection>,
    routes: BTreeMap<IpAddr, AttachmentId>,
}

impl Desk {
    /// Every attachment there is.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// An attachment.
    pub fn entry(&self, id: &AttachmentId) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// What is wrong with an attachment, as last seen.
    pub fn problem(&self, id: &AttachmentId) -> Option<&str> {
        self.problems.get(id).map(String::as_str)
    }

    /// How many calls wait or are being worked on.
    pub fn pending(&self) -> usize {
        self.waiting.len() + self.works.len()
    }

    /// When to call again with [`Input::Tick`], if nothing arrives before.
    pub fn next_deadline(&self) -> Option<Duration> {
        let waiting = self.waiting.iter().filter_map(|waiting| match waiting {
            Waiting::Add { until, .. } => Some(*until),
            Waiting::Delete { .. } => None,
        });
        let retries = self.works.values().filter_map(|work| work.retry);
        waiting.chain(retries).chain(self.bare.values().copied()).min()
    }

    /// Takes in one thing. Every input has an answer in every state; nothing can fail here.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Load(entries, scene) => self.load(entries, &scene, out),
            Input::Add { call, id, spec, until } => {
                self.waiting.push_back(Waiting::Add { call, id, spec, until });
            }
            Input::Delete { call, id, asked } => {
                let asker = call.map_or(Asker::Nobody, Asker::Call);
                let meant = |entry: &Entry| asked.is_none_or(|asked| entry.is_meant(asked, now.up));
                if self.entries.get(&id).is_none_or(meant) {
                    self.delete(asker, id, out);
                } else {
                    self.answer_down(asker, &id, Ok(false), out);
                }
            }
            Input::Collect { call, network, valid, scene } => {
                self.collect(now, call, &network, &valid, &scene, out);
            }
            Input::Done(id, result) => self.done(now, &id, result, out),
            Input::Tick => {}
        }
        self.expire(now, out);
        self.retry(now, out);
        self.lapse(now);
        self.start(now, out);
    }

    /// Links that nobody came back for in time go, when it is their turn.
    fn lapse(&mut self, now: Now) {
        let due = self.bare.extract_if(.., |_, until| *until <= now.steady);
        let removals = due.map(|(id, _)| Waiting::Delete { asker: Asker::Nobody, id });
        self.waiting.extend(removals);
    }

    fn load(&mut self, entries: Vec<Entry>, scene: &Scene, out: &mut Vec<Output>) {
        for entry in entries {
            let id = entry.id.clone();
            let linked = scene.links.get(&entry.host_interface) == Some(&name::alias(&id));
            let gone = entry.state == State::Live
                && entry.spec.mode == Mode::Link
                && !linked
                && scene.without_netns.contains(&id);
            let keep = entry.state == State::Live && !gone;
            if keep && entry.spec.mode == Mode::Link && !linked {
                self.problems.insert(id.clone(), "its link is gone".to_owned());
            }
            self.entries.insert(id.clone(), entry);
            if !keep {
                self.take_down(&id, None, HalfMade::MayBe, out);
            } else if linked {
                self.route(&id, out);
            }
        }
        self.sweep(scene, out);
    }

    /// Links that carry our mark and are no entry's.
    fn sweep(&self, scene: &Scene, out: &mut Vec<Output>) {
        if !scene.whole {
            return;
        }
        let known: BTreeSet<(&str, String)> = self
            .entries
            .values()
            .map(|entry| (entry.host_interface.as_str(), name::alias(&entry.id)))
            .collect();
        for (link, alias) in &scene.links {
            if alias.starts_with(name::ALIAS) && !known.contains(&(link.as_str(), alias.clone())) {
                out.push(Output::Sweep { name: link.clone(), alias: alias.clone() });
            }
        }
    }

    fn delete(&mut self, asker: Asker, id: AttachmentId, out: &mut Vec<Output>) {
        // An ADD that has not begun will not begin.
        let mut found = false;
        let waiting = std::mem::take(&mut self.waiting);
        for wait in waiting {
            match wait {
                Waiting::Add { call, id: of, .. } if of == id => {
                    found = true;
                    let failure = Failure::new(Cause::Later, "it was deleted before it began");
                    out.push(Output::Answer(call, Err(failure)));
                }
                other => self.waiting.push_back(other),
            }
        }
        match self.works.get_mut(&id) {
            Some(work) if work.is_down() => self.answer_down(asker, &id, Ok(true), out),
            Some(work) if work.is_removal() => work.askers.push(asker),
            None if !self.entries.contains_key(&id) => self.answer_down(asker, &id, Ok(found), out),
            _ => self.waiting.push_back(Waiting::Delete { asker, id }),
        }
    }

    fn collect(
        &mut self,
        now: Now,
        call: CallId,
        network: &str,
        valid: &BTreeSet<(String, String)>,
        scene: &Scene,
        out: &mut Vec<Output>,
    ) {
        self.sweep(scene, out);
        let young = u64::try_from(YOUNG.as_millis()).unwrap_or(u64::MAX);
        let unknown = |entry: &&Entry| {
            let name = (entry.id.container.clone(), entry.id.ifname.clone());
            entry.id.network == network
                && entry.state != State::Deleting
                && entry.created.saturating_add(young) <= now.wall
                && !valid.contains(&name)
        };
        let ids: Vec<_> = self.entries.values().filter(unknown).map(|e| e.id.clone()).collect();
        if ids.is_empty() {
            out.push(Output::Answer(call, Ok(Reply::Collected(Vec::new()))));
            return;
        }
        let collection = Collection { left: ids.len(), ..Collection::default() };
        self.collections.insert(call, collection);
        for id in ids {
            self.delete(Asker::Collection(call), id, out);
        }
    }

    /// Tells whoever asked that something is down, or could not be taken down.
    fn answer_down(
        &mut self,
        asker: Asker,
        id: &AttachmentId,
        result: Result<bool, Failure>,
        out: &mut Vec<Output>,
    ) {
        match asker {
            Asker::Nobody => {}
            Asker::Call(call) => out.push(Output::Answer(call, result.map(Reply::Deleted))),
            Asker::Collection(call) => {
                let Some(collection) = self.collections.get_mut(&call) else { return };
                collection.left = collection.left.saturating_sub(1);
                match result {
                    Ok(true) => collection.deleted.push(id.clone()),
                    Ok(false) => {}
                    Err(failure) => collection.failed = Some(failure),
                }
                if collection.left == 0
                    && let Some(done) = self.collections.remove(&call)
                {
                    let reply = match done.failed {
                        Some(failure) => Err(failure),
                        None => Ok(Reply::Collected(done.deleted)),
                    };
                    out.push(Output::Answer(call, reply));
                }
            }
        }
    }

    /// ADDs that waited too long for their turn.
    fn expire(&mut self, now: Now, out: &mut Vec<Output>) {
        self.waiting.retain(|waiting| {
            let Waiting::Add { call, id, until, .. } = waiting else { return true };
            let in_time = now.steady < *until;
            if !in_time {
                let text = match self.works.get(id).and_then(|work| work.trouble.as_ref()) {
                    Some(trouble) => {
                        format!("an earlier attachment is still taken down: {trouble}")
                    }
                    None => "another attachment of the workload is still worked on".to_owned(),
                };
                out.push(Output::Answer(*call, Err(Failure::new(Cause::Later, text))));
            }
            in_time
        });
    }

    /// Begins what does not have to wait any more, in the order asked.
    fn start(&mut self, now: Now, out: &mut Vec<Output>) {
        let mut passed = BTreeSet::new();
        for waiting in std::mem::take(&mut self.waiting) {
            let id = waiting.id().clone();
            let entry = self.entries.get(&id);
            let workload = match (&waiting, entry) {
                (_, Some(entry)) => entry.workload(),
                (Waiting::Add { spec, .. }, None) => workload(&id, spec.pod.as_ref()),
                (Waiting::Delete { .. }, None) => id.container.clone(),
            };
            let blocked = self.works.contains_key(&id)
                || self.held.contains(&workload)
                || passed.contains(&workload);
            if blocked {
                passed.insert(workload);
                self.waiting.push_back(waiting);
                continue;
            }
            match waiting {
                Waiting::Delete { asker, .. } if entry.is_none() => {
                    self.answer_down(asker, &id, Ok(true), out);
                }
                Waiting::Delete { asker, .. } => {
                    self.take_down(&id, Some(asker), HalfMade::No, out)
                }
                Waiting::Add { call, spec, until, .. } => match entry {
                    None if brings_lease(&spec) => {
                        let text = "the link over which the address was asked for is not there any \
                                    more\nhelp: a repeated ADD begins anew";
                        let failure = Failure::new(Cause::Later, text);
                        out.push(Output::Answer(call, Err(failure)));
                    }
                    None => self.begin(now, call, id, *spec, until, out),
                    Some(entry) if same(entry, &spec) => self.repeat(now, call, &id, until, out),
                    Some(entry) if is_for(entry, &spec) => match brings_lease(&spec) {
                        true => self.fulfil(now, call, &id, *spec, until, out),
                        false => self.remake(now, call, &id, until, out),
                    },
                    Some(_) => {
                        // Another container in the same name: the old one goes first.
                        self.take_down(&id, None, HalfMade::No, out);
                        passed.insert(workload);
                        self.waiting.push_back(Waiting::Add { call, id, spec, until });
                    }
                },
            }
        }
    }

    /// An ADD of something new.
    fn begin(
        &mut self,
        now: Now,
        call: CallId,
        id: AttachmentId,
        spec: Spec,
        until: Duration,
        out: &mut Vec<Output>,
    ) {
        let linked = spec.mode == Mode::Link;
        // An older container of the pod, whose place this one takes: the one that has its link, or,
        // where an earlier attempt got half of the place, the last one that had.
        // Where addresses come over the link, that is another one, and the place is taken with them.
        let is_bare = matches!(&spec.source, Source::Leased(addresses) if addresses.is_empty());
        let older = self
            .entries
            .values()
            .filter(|other| {
                linked
                    && !is_bare
                    && !other.is_bare()
                    && is_older(other, &id, spec.pod.as_ref())
                    && !self.works.contains_key(&other.id)
            })
            .max_by_key(|other| (!other.host_interface.is_empty(), other.created));
        let older =
            older.map(|older| Older { id: older.id.clone(), link: older.host_interface.clone() });
        let host_interface = match &older {
            // It comes with the older one's link, when that is gone.
            Some(older) if !older.link.is_empty() => String::new(),
            _ if linked => {
                let taken =
                    |name: &str| self.entries.values().any(|entry| entry.host_interface == name);
                name::host_end(&id, spec.pod.as_ref(), taken)
            }
            _ => String::new(),
        };
        let state = State::Allocating;
        let addresses = given(&spec);
        let (created, begun) = (now.wall, now.up);
        let id_of = id.clone();
        let entry = Entry { id: id_of, state, created, begun, spec, host_interface, addresses };
        if let Err(failure) = self.alone(&entry) {
            out.push(Output::Answer(call, Err(failure)));
            return;
        }
        let work = match entry.is_bare() {
            true => Work::bare(call, until),
            false => Work::add(&entry, call, until, older),
        };
        self.held.insert(entry.workload());
        self.problems.remove(&id);
        self.entries.insert(id.clone(), entry);
        self.works.insert(id.clone(), work);
        self.advance(&id, out);
    }

    /// Whether nobody else is sent packets to the addresses of an attachment: of two the later
    /// would silently get those of the earlier.
    fn alone(&self, entry: &Entry) -> Result<(), Failure> {
        if entry.spec.mode != Mode::Link {
            return Ok(());
        }
        let other = self.entries.values().find(|other| {
            other.id != entry.id
                && other.spec.mode == Mode::Link
                && other.state != State::Deleting
                && !is_older(other, &entry.id, entry.spec.pod.as_ref())
                && other.addresses.iter().any(|address| entry.addresses.contains(address))
        });
        let Some(other) = other else { return Ok(()) };
        let shared = other.addresses.iter().find(|address| entry.addresses.contains(address));
        let address = shared.map(ToString::to_string).unwrap_or_default();
        let text = format!(
            "the address {address} is that of {} on this node\nhelp: take another one, or delete \
             that one first",
            other.id
        );
        Err(Failure::new(Cause::AddressTaken, text))
    }

    /// An ADD of what is there: answered as before, once its link is seen to be there.
    fn repeat(
        &mut self,
        now: Now,
        call: CallId,
        id: &AttachmentId,
        until: Duration,
        out: &mut Vec<Output>,
    ) {
        self.anew(now, id, |entry| Work::repeat(entry, call, until), out);
    }

    /// What is there is asked for once more, and worked on.
    fn anew(
        &mut self,
        now: Now,
        id: &AttachmentId,
        work: impl FnOnce(&Entry) -> Work,
        out: &mut Vec<Output>,
    ) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        // A DEL that was left before this is not about what is asked for now.
        entry.begun = now.up;
        self.held.insert(entry.workload());
        self.works.insert(id.clone(), work(entry));
        self.advance(id, out);
    }

    /// The addresses that a link was made for.
    fn fulfil(
        &mut self,
        now: Now,
        call: CallId,
        id: &AttachmentId,
        spec: Spec,
        until: Duration,
        out: &mut Vec<Output>,
    ) {
        let Some(entry) = self.entries.get(id) else { return };
        let entry = Entry { addresses: given(&spec), spec, ..entry.clone() };
        let placed: Vec<&Entry> = self
            .entries
            .values()
            .filter(|other| {
                is_older(other, id, entry.spec.pod.as_ref())
                    && !other.host_interface.is_empty()
                    && !other.is_bare()
            })
            .collect();
        let newer = placed.iter().find(|other| other.begun.is_until(entry.begun) == Some(false));
        let alone = newer.map_or(Ok(()), |newer| {
            let text = format!("{} was asked for since, and is the pod's container now", newer.id);
            Err(Failure::new(Cause::NameTaken, text))
        });
        if let Err(failure) = alone.and_then(|()| self.alone(&entry)) {
            self.bare.insert(id.clone(), now.steady.saturating_add(GIVE_BACK));
            out.push(Output::Answer(call, Err(failure)));
            return;
        }
        self.bare.remove(id);
        self.held.insert(entry.workload());
        // Containers of the pod whose place this one takes; those without addresses have none.
        let older = placed.into_iter().filter(|other| !self.works.contains_key(&other.id));
        let (sharing, others) = older.partition(|other| {
            other.addresses.iter().any(|address| entry.addresses.contains(address))
        });
        self.works.insert(id.clone(), Work::fulfil(&entry, call, until, sharing, others));
        self.entries.insert(id.clone(), entry);
        self.advance(id, out);
    }

    /// A link without addresses is asked for again.
    fn remake(
        &mut self,
        now: Now,
        call: CallId,
        id: &AttachmentId,
        until: Duration,
        out: &mut Vec<Output>,
    ) {
        self.bare.remove(id);
        self.anew(now, id, |_| Work::bare(call, until), out);
    }

    /// Begins to take an attachment down; nothing is being done for it.
    fn take_down(
        &mut self,
        id: &AttachmentId,
        asker: Option<Asker>,
        half_made: HalfMade,
        out: &mut Vec<Output>,
    ) {
        if let Some(entry) = self.entries.get(id) {
            self.bare.remove(id);
            self.held.insert(entry.workload());
            self.works.insert(id.clone(), Work::removal(entry, asker, half_made));
            self.advance(id, out);
        }
    }

    /// Sends packets to the addresses of an attachment over its link.
    fn route(&mut self, id: &AttachmentId, out: &mut Vec<Output>) {
        let Some(entry) = self.entries.get(id) else { return };
        for address in &entry.addresses {
            self.routes.insert(*address, id.clone());
            out.push(Output::Route(*address, Some(entry.host_interface.clone())));
        }
    }

    /// Sends nothing to it any more.
    fn unroute(&mut self, id: &AttachmentId, out: &mut Vec<Output>) {
        let Some(entry) = self.entries.get(id) else { return };
        for address in &entry.addresses {
            if self.routes.get(address) == Some(id) {
                self.routes.remove(address);
                out.push(Output::Route(*address, None));
            }
        }
    }
}

/// Whether an entry is of another container of the pod, in the same place.
fn is_older(other: &Entry, id: &AttachmentId, pod: Option<&Pod>) -> bool {
    pod.is_some()
        && other.spec.mode == Mode::Link
        && other.workload() == workload(id, pod)
        && other.id.ifname == id.ifname
        && other.id.container != id.container
}

/// Whether an ADD is a repetition of what is there.
fn same(entry: &Entry, spec: &Spec) -> bool {
    entry.state == State::Live
        && entry.spec.netns == spec.netns
        && entry.spec.mode == spec.mode
        && (entry.spec.mode == Mode::Addresses || !entry.host_interface.is_empty())
        && matches!(
            (&entry.spec.source, &spec.source),
            (Source::Assign(_), Source::Assign(_))
                | (Source::Given(_), Source::Given(_))
                | (Source::Leased(_), Source::Leased(_))
        )
}

/// Whether an ADD is about a link that was made without addresses.
fn is_for(entry: &Entry, spec: &Spec) -> bool {
    entry.is_bare()
        && matches!(spec.source, Source::Leased(_))
        && entry.spec.mode == spec.mode
        && entry.spec.netns == spec.netns
        && entry.spec.pod == spec.pod
        && (entry.spec.mac, entry.spec.mtu) == (spec.mac, spec.mtu)
        && !entry.host_interface.is_empty()
}

/// Whether an ADD is the second one, with the addresses that were asked for over the link.
fn brings_lease(spec: &Spec) -> bool {
    matches!(&spec.source, Source::Leased(addresses) if !addresses.is_empty())
}

/// The addresses that an ADD brings, IPv4 first.
fn given(spec: &Spec) -> Vec<IpAddr> {
    let mut addresses = match &spec.source {
        Source::Given(addresses) | Source::Leased(addresses) => addresses.clone(),
        Source::Assign(_) => Vec::new(),
    };
    addresses.sort();
    addresses
}

#[cfg(test)]
mod tests;
