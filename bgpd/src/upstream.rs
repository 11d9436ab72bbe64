//! What changes in the datastore, heard from other nodes' daemons (`sync.upstream`).
//!
//! Owns: the one task that asks one upstream after the other, what they have told until it is handed
//! on, and how it stands. Promises: nothing handed on goes back to an earlier commit, whoever tells;
//! a stream that breaks off is gone on with where it was whole; while nobody answers, what is known
//! stays. Only changes are heard so: writes, and reads that must be of now, go to the datastore.
//! Leaves to [`choice`] whose turn it is, to [`stage`] what is whole, to [`link`] the wire.
//!
//! Loops: every stream tells its path, the daemons from the one that reads the datastore to the one
//! that answers. Who finds itself there, or hears nothing for [`PATIENCE`], asks the next one. So daemons
//! that have only each other never come to be in sync, and say so, instead of telling each other for
//! ever what they knew.

mod choice;
mod link;
mod stage;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use bgp_desired::{Desired, Tls};
use margay_datastore::{Batch, Page, Store, StoreError, list_all};
use margay_model::{Area, Revision};
use margay_proto::v1::{self, sync_event::Event};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use tonic::async_trait;
use tracing::{info, warn};

use crate::follow::{Doubt, Ended, Source, Told};
use choice::{Choice, Turn};
use link::{Link, Lost, Streams};
use stage::{Heard as InSync, Stage};

pub(crate) use link::server_tls;

/// How long an upstream may be silent, or take until it is in sync while nothing comes.
const PATIENCE: Duration = Duration::from_secs(10);
/// How old what an upstream tells may become before another one is asked.
const STALE: Duration = Duration::from_secs(15);
/// The parts of the datastore that are heard, each on a stream of its own.
const AREAS: [Area; 2] = [Area::Resources, Area::Ipam];

/// How it stands with the upstreams.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// All of them, as configured.
    pub(crate) upstreams: Arc<[String]>,
    /// The one that is asked.
    pub(crate) asked: usize,
    /// It has told everything, and goes on.
    pub(crate) connected: bool,
    /// Why not, or why the one before was left.
    pub(crate) cause: String,
    /// From the daemon that reads the datastore to the one that is asked.
    pub(crate) path: Vec<String>,
    /// When all that was told was certainly so.
    pub(crate) as_of: Option<Instant>,
    /// How often one was left, or not reached.
    pub(crate) losses: u64,
    /// How often everything was told anew.
    pub(crate) snapshots: u64,
}

impl Standing {
    /// The one that is asked.
    pub(crate) fn address(&self) -> &str {
        self.upstreams.get(self.asked).map_or("", String::as_str)
    }

    /// How old what is known may be.
    pub(crate) fn lag(&self) -> Option<Duration> {
        self.as_of.map(|as_of| as_of.elapsed())
    }
}

/// Asks the upstreams for as long as the daemon runs. See the module.
#[derive(Debug)]
pub(crate) struct Upstream {
    name: Arc<str>,
    links: Vec<Link>,
    choice: Choice,
    /// In the order of [`AREAS`].
    parts: [Arc<Part>; AREAS.len()],
    store: Arc<dyn Store>,
    standing: watch::Sender<Standing>,
    started: Instant,
    /// Why each upstream failed last, as it was logged.
    told: Vec<Option<String>>,
}

/// What is on its way to one reader.
#[derive(Debug, Default)]
struct Part {
    stage: Mutex<Stage>,
    ready: Notify,
}

impl Part {
    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What upstreams have told of an area: a [`Source`].
#[derive(Debug)]
pub(crate) struct Heard {
    area: Area,
    part: Arc<Part>,
    store: Arc<dyn Store>,
}

/// The ways into and out of the task.
#[derive(Debug)]
pub(crate) struct Heards {
    /// Resources as they are told.
    pub(crate) resources: Heard,
    /// Blocks and leases as they are told.
    pub(crate) ipam: Heard,
    /// How it stands.
    pub(crate) standing: watch::Receiver<Standing>,
}

impl Upstream {
    /// To ask the upstreams of this configuration; `None` without any. `name` is this node's.
    ///
    /// # Errors
    /// Certificates and keys that cannot be used.
    pub(crate) fn new(
        desired: &Desired,
        name: &Arc<str>,
        store: &Arc<dyn Store>,
    ) -> Result<Option<(Self, Heards)>> {
        let upstreams: Arc<[String]> = desired.sync.upstream.clone().into();
        let Some(tls) = desired.sync_tls().filter(|_| !upstreams.is_empty()) else {
            return Ok(None);
        };
        let links = links(&upstreams, tls)?;
        let seed = uuid::Uuid::new_v4().as_u64_pair().0;
        Ok(Some(Self::on(links, upstreams, name, store, seed)))
    }

    /// To ask over these links.
    fn on(
        links: Vec<Link>,
        upstreams: Arc<[String]>,
        name: &Arc<str>,
        store: &Arc<dyn Store>,
        seed: u64,
    ) -> (Self, Heards) {
        let parts: [Arc<Part>; AREAS.len()] = Default::default();
        let (standing, heard) = watch::channel(Standing { upstreams, ..Standing::default() });
        let [resources, ipam] = std::array::from_fn(|at| {
            let (area, part) = (AREAS[at].clone(), Arc::clone(&parts[at]));
            Heard { area, part, store: Arc::clone(store) }
        });
        let task = Self {
            name: Arc::clone(name),
            choice: Choice::new(links.len(), seed),
            told: vec![None; links.len()],
            links,
            parts,
            store: Arc::clone(store),
            standing,
            started: Instant::now(),
        };
        (task, Heards { resources, ipam, standing: heard })
    }

    /// Runs for as long as the daemon does.
    pub(crate) async fn run(mut self) {
        loop {
            let at = match self.choice.turn(self.started.elapsed()) {
                Turn::Ask(at) => at,
                Turn::Wait(until) => {
                    sleep_until(self.started + until).await;
                    continue;
                }
            };
            self.standing.send_modify(|standing| standing.asked = at);
            let lost = self.ask(at).await;
            self.choice.failed(at, self.started.elapsed());
            self.leave(at, &lost);
        }
    }

    /// Hears one upstream until it fails; why.
    async fn ask(&mut self, at: usize) -> Lost {
        let Some(link) = self.links.get(at) else { return Lost::Silent };
        let after = [0, 1].map(|area: usize| self.parts[area].lock().begin());
        let mut streams = match link.subscribe(&self.name, after).await {
            Ok(streams) => streams,
            Err(lost) => return lost,
        };
        let mut session = Session::new();
        loop {
            let deadline = session.heard + PATIENCE;
            let (area, message) = tokio::select! {
                message = streams.next() => match message {
                    Ok(message) => message,
                    Err(lost) => return lost,
                },
                () = sleep_until(deadline) => return session.silence(),
            };
            if let Err(lost) = self.hear(&mut session, area, message) {
                return lost;
            }
            if session.behind.is_some() {
                self.look_into(&mut session, &mut streams).await;
            }
            if session.in_sync() && !self.standing.borrow().connected {
                self.join(at, &session);
            }
            if session.in_sync() && !session.is_stale() {
                self.choice.settled(at);
            }
            // Where there is nobody else, old news are better than none.
            if session.in_sync() && session.is_stale() && self.links.len() > 1 {
                return Lost::Stale;
            }
        }
    }

    /// Takes in a message of an area.
    fn hear(
        &self,
        session: &mut Session,
        area: usize,
        message: v1::SubscribeResponse,
    ) -> Result<(), Lost> {
        let part = &self.parts[area];
        let mut stage = part.lock();
        for event in message.events {
            let revision = Revision(event.revision);
            match event.event {
                Some(Event::Alive(alive)) => {
                    if alive.path.iter().any(|node| **node == *self.name) {
                        return Err(Lost::Loop(alive.path));
                    }
                    session.alive(area, &alive);
                    self.publish(session, alive.path);
                    // Not to be in sync for long is no life.
                    if session.in_sync() {
                        session.heard = Instant::now();
                    }
                    continue;
                }
                Some(Event::Reset(_)) => {
                    stage.reset();
                    self.standing.send_modify(|standing| standing.snapshots += 1);
                }
                Some(Event::InSync(_)) => match stage.in_sync(revision) {
                    InSync::News => {
                        session.synced[area] = true;
                        part.ready.notify_one();
                    }
                    InSync::Nothing => session.synced[area] = true,
                    InSync::Behind => {
                        session.behind = Some((area, revision));
                        continue;
                    }
                },
                Some(event) => {
                    let Some((key, value)) = link::value(event)? else { continue };
                    if !AREAS[area].contains(&key) {
                        return Err(Lost::Nonsense(format!("{key} was not asked for")));
                    }
                    stage.set(key, value, revision);
                }
                // Of a later version.
                None => continue,
            }
            session.heard = Instant::now();
        }
        Ok(())
    }

    /// An upstream told less than is known. If the datastore itself has come no further, it began anew,
    /// and what is known is of its former life.
    async fn look_into(&self, session: &mut Session, streams: &mut Streams) {
        let Some((area, told)) = session.behind.take() else { return };
        if session.looked {
            return;
        }
        session.looked = true;
        // While it is away nobody can tell.
        let Ok(now) = revision_of(self.store.as_ref(), &AREAS[area]).await else { return };
        let part = &self.parts[area];
        let mut stage = part.lock();
        let Some(at) = stage.at().filter(|at| now < *at) else { return };
        warn!(known = at.0, now = now.0, "the datastore began anew; so does what is known of it");
        stage.begin_anew();
        if stage.in_sync(told) == InSync::News {
            session.synced[area] = true;
            part.ready.notify_one();
        } else {
            // The other streams may stay: this one was to go on, and has to tell everything.
            streams.end(area);
        }
    }

    /// How old what is told may be, by what both streams say.
    fn publish(&self, session: &Session, path: Vec<String>) {
        self.standing.send_modify(|standing| {
            standing.path = path;
            if let Some(as_of) = session.as_of().filter(|_| session.in_sync()) {
                standing.as_of = standing.as_of.max(Some(as_of));
            }
        });
    }

    fn join(&mut self, at: usize, session: &Session) {
        if let Some(told) = self.told.get_mut(at) {
            *told = None;
        }
        self.standing.send_modify(|standing| {
            (standing.connected, standing.cause) = (true, String::new());
            standing.as_of = standing.as_of.max(session.as_of());
        });
        let standing = self.standing.borrow();
        info!(upstream = standing.address(), path = ?standing.path, "in sync with an upstream");
    }

    fn leave(&mut self, at: usize, lost: &Lost) {
        let cause = lost.to_string();
        let known = self.told.get(at).is_some_and(|told| told.as_ref() == Some(&cause));
        let upstream = self.standing.borrow().address().to_owned();
        if !known {
            warn!(upstream, err = cause, "an upstream is left; going on with what is known");
        }
        if let Some(told) = self.told.get_mut(at) {
            *told = Some(cause.clone());
        }
        self.standing.send_modify(|standing| {
            (standing.connected, standing.cause) = (false, cause);
            standing.losses += 1;
        });
    }
}

/// What one upstream has said since it is asked.
#[derive(Debug)]
struct Session {
    /// It has told everything of each area.
    synced: [bool; AREAS.len()],
    /// When all that it told of each area was certainly so.
    as_of: [Option<Instant>; AREAS.len()],
    /// When it was first asked.
    begun: Instant,
    /// When something new came, or that there is nothing new while all is told.
    heard: Instant,
    /// An area of which it told less than is known.
    behind: Option<(usize, Revision)>,
    /// That was looked into.
    looked: bool,
}

impl Session {
    fn new() -> Self {
        Self {
            synced: [false; AREAS.len()],
            as_of: [None; AREAS.len()],
            begun: Instant::now(),
            heard: Instant::now(),
            behind: None,
            looked: false,
        }
    }

    fn in_sync(&self) -> bool {
        self.synced.iter().all(|synced| *synced)
    }

    fn alive(&mut self, area: usize, alive: &v1::SyncAlive) {
        if let Some(age) = alive.age_milliseconds {
            self.as_of[area] = Instant::now().checked_sub(Duration::from_millis(age));
        }
    }

    /// The older of both.
    fn as_of(&self) -> Option<Instant> {
        let [resources, ipam] = self.as_of;
        Some(resources?.min(ipam?))
    }

    fn is_stale(&self) -> bool {
        self.as_of().unwrap_or(self.begun).elapsed() > STALE
    }

    /// What it means that nothing new came.
    fn silence(&self) -> Lost {
        match (self.in_sync(), self.looked) {
            (true, _) => Lost::Silent,
            (false, true) => Lost::Behind,
            (false, false) => Lost::NotInSync,
        }
    }
}

#[async_trait]
impl Source for Heard {
    async fn next(&mut self, doubt: &Doubt) -> Told {
        loop {
            let ready = self.part.ready.notified();
            if let Some(told) = self.part.lock().take() {
                return told;
            }
            tokio::select! {
                () = ready => {}
                () = doubt.is_due() => {
                    // As long as the datastore is away nobody knows better.
                    if let Ok((entries, revision)) = list_all(self.store.as_ref(), &self.area).await
                    {
                        self.part.lock().listed(entries, revision);
                    }
                    doubt.listed();
                }
            }
        }
    }

    fn waiting(&mut self) -> Result<Option<Batch>, Ended> {
        let mut stage = self.part.lock();
        if stage.is_whole() {
            // It wakes whoever comes for it.
            self.part.ready.notify_one();
            return Err(Ended);
        }
        match stage.take() {
            Some(Told::Changed(batch)) => Ok(Some(batch)),
            Some(Told::Listed(..)) | None => Ok(None),
        }
    }
}

/// The way to each upstream.
///
/// # Errors
/// Certificates and keys that cannot be used.
fn links(upstreams: &[String], tls: &Tls) -> Result<Vec<Link>> {
    upstreams.iter().map(|upstream| Link::new(upstream, tls)).collect()
}

/// Checks what a configuration says of certificates and keys, as far as it takes no network.
///
/// # Errors
/// Those that cannot be used.
pub(crate) fn check(desired: &Desired) -> Result<()> {
    if let Some(tls) = &desired.api.tls {
        server_tls(tls)?;
    }
    match desired.sync_tls() {
        Some(tls) => links(&desired.sync.upstream, tls).map(drop),
        None => Ok(()),
    }
}

/// How far the datastore has come, by itself.
async fn revision_of(store: &dyn Store, area: &Area) -> Result<Revision, StoreError> {
    let page = Page { limit: 1, ..Page::default() };
    store.list(area, &page).await.map(|listing| listing.revision)
}

#[cfg(test)]
mod tests;
