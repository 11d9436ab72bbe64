//! The task that owns the desk: calls and ended steps in, steps and answers out.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use margay_ipam::Handle;
use margay_proto::v1::DeleteWorkloadRequest;
use margay_workload::{
    AttachmentId, CallId, Cause, Desk, Done, Entry, Failure, Input, Now, Output, PATIENCE, Reply,
    Scene, Spec, State, Uptime, annotation::Unsaid, endpoint,
};
use nix::time::{ClockId, clock_gettime};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep_until},
};
use tracing::{debug, info, warn};

use super::{
    Call, Request, Sight,
    cluster::{Cluster, KINDS},
    history::{History, Record, Times},
    journal::Found,
    spool,
    steps::{Steps, blocking},
};
use crate::{
    ipam::{Lives, OwnAddresses, wall},
    mirror::{Mirror, News, Subscription},
    picture::Picture,
    restart,
};

/// Between two reports to the allocator of what lives here, and two looks at the MTU.
const LOOK: Duration = Duration::from_secs(20);
/// Between two looks at the spool.
const SPOOL: Duration = Duration::from_secs(10);

/// What a task is made of.
pub(super) struct Parts<'a> {
    pub(super) steps: Arc<Steps>,
    pub(super) found: Found,
    pub(super) spool: PathBuf,
    pub(super) mirror: &'a Mirror,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) own: watch::Receiver<OwnAddresses>,
    pub(super) announce: watch::Sender<BTreeSet<IpAddr>>,
    pub(super) times: Arc<Times>,
}

/// See the module's text.
pub(super) struct Task {
    desk: Desk,
    steps: Arc<Steps>,
    found: Option<Found>,
    whole: bool,
    spool: PathBuf,
    requests: mpsc::Receiver<Request>,
    subscription: Subscription,
    cluster: Cluster,
    own: watch::Receiver<OwnAddresses>,
    announce: watch::Sender<BTreeSet<IpAddr>>,
    times: Arc<Times>,
    history: History,
    callers: BTreeMap<CallId, Caller>,
    next_call: u64,
    /// ADDs that came before it was known how large packets may be, or what the namespace asks for, in
    /// the order asked.
    early: VecDeque<Asked>,
    work: JoinSet<Ended>,
    /// Addresses of attachments, and of endpoints applied by hand, with their links.
    attached: BTreeMap<IpAddr, String>,
    by_hand: BTreeMap<IpAddr, String>,
    /// Floating addresses, if they are used, and the link each leads to.
    floating: BTreeMap<IpAddr, String>,
    mtu: u32,
    /// Looks at it that were begun, and the latest that ended: one that began earlier knew less.
    mtu_looks: u64,
    mtu_seen: u64,
    /// With the resources of the cluster taken in.
    mtu_settled: bool,
    started: Instant,
    /// The kernel's boot id; empty where it does not tell.
    boot: String,
}

/// An ADD.
struct Asked {
    call: CallId,
    id: AttachmentId,
    spec: Box<Spec>,
    unsaid: Unsaid,
    until: Instant,
}

/// Who waits for an answer.
enum Caller {
    Call {
        verb: &'static str,
        since: Instant,
        reply: oneshot::Sender<Result<Reply, Failure>>,
    },
    /// The file goes once it is done.
    Spool(PathBuf),
}

/// Something that was done beside the task.
enum Ended {
    Step { id: AttachmentId, record: Record, result: Result<Done, Failure> },
    Scene { call: CallId, network: String, valid: BTreeSet<(String, String)>, scene: Scene },
    Mtu { look: u64, settled: bool, mtu: u32 },
    Spool(Vec<(PathBuf, DeleteWorkloadRequest)>),
    Nothing,
}

impl Task {
    pub(super) fn new(parts: Parts<'_>) -> Self {
        let whole = parts.found.whole;
        Self {
            desk: Desk::default(),
            cluster: Cluster::new(Arc::clone(&parts.steps.node)),
            steps: parts.steps,
            found: Some(parts.found),
            whole,
            spool: parts.spool,
            requests: parts.requests,
            subscription: parts.mirror.subscribe(KINDS.into(), None),
            own: parts.own,
            announce: parts.announce,
            times: parts.times,
            history: History::default(),
            callers: BTreeMap::new(),
            next_call: 0,
            early: VecDeque::new(),
            work: JoinSet::new(),
            attached: BTreeMap::new(),
            by_hand: BTreeMap::new(),
            floating: BTreeMap::new(),
            mtu: 0,
            mtu_looks: 0,
            mtu_seen: 0,
            mtu_settled: false,
            started: Instant::now(),
            boot: restart::boot().unwrap_or_default(),
        }
    }

    /// Works until it is told to stop. Then it takes no more calls, and ends once what it took is
    /// answered.
    pub(super) async fn run(mut self) {
        self.begin().await;
        let mut look = interval(LOOK);
        let mut spool = interval(SPOOL);
        for every in [&mut look, &mut spool] {
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            // The first comes at once.
            every.tick().await;
        }
        let mut stopping: Option<oneshot::Sender<()>> = None;
        let mut routes_told = false;
        loop {
            if !routes_told && self.cluster.is_in_sync() {
                routes_told = true;
                self.steps.network.routes_in_sync();
            }
            if self.callers.is_empty()
                && let Some(done) = stopping.take()
            {
                // Whoever asked may have given up waiting.
                let _ = done.send(());
                return;
            }
            let deadline = self.desk.next_deadline().map(|at| self.started + at);
            let deadline =
                deadline.into_iter().chain(self.early.front().map(|add| add.until)).min();
            let at = deadline.unwrap_or(self.started);
            tokio::select! {
                request = self.requests.recv(), if stopping.is_none() => match request {
                    Some(Request::Stop(done)) => {
                        self.give_up(|_| true, "the daemon is stopping");
                        stopping = Some(done);
                    }
                    Some(Request::Call(call, reply)) => self.call(call, reply),
                    Some(Request::Look(look)) => look(Sight {
                        desk: &self.desk,
                        history: &self.history,
                        endpoints: self.cluster.endpoints(),
                        mtu: self.mtu,
                    }),
                    None => return,
                },
                Some(ended) = self.work.join_next() => match ended {
                    Ok(ended) => self.ended(ended),
                    Err(error) => {
                        if let Ok(panic) = error.try_into_panic() {
                            std::panic::resume_unwind(panic);
                        }
                    }
                },
                news = self.subscription.next() => self.news(news),
                Ok(()) = self.own.changed() => self.announce(),
                _ = look.tick() => {
                    self.look_at_mtu();
                    self.tell_allocator();
                }
                _ = spool.tick() => {
                    let folder = self.spool.clone();
                    self.work.spawn(async move {
                        Ended::Spool(blocking(move || spool::read(&folder)).await.unwrap_or_default())
                    });
                }
                () = sleep_until(at.into()), if deadline.is_some() => {
                    self.expire();
                    self.act(Input::Tick);
                }
            }
        }
    }

    /// Takes up the journal and the spool, before anything else.
    async fn begin(&mut self) {
        let Some(mut found) = self.found.take() else { return };
        let mut scene = loop {
            match self
                .scene(found.entries.iter().map(|entry| (&entry.id, &*entry.spec.netns)))
                .await
            {
                Ok(scene) => break scene,
                // Without it nobody can say what is whose.
                Err(error) => {
                    warn!(err = %error, "the links of workloads cannot be listed; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        };
        let is_ours = |alias: &&String| alias.starts_with(margay_workload::name::ALIAS);
        found.compare(scene.links.values().filter(is_ours).count());
        (self.whole, scene.whole) = (found.whole, found.whole);
        let entries = found.entries.len();
        self.act(Input::Load(found.entries, scene));
        if entries > 0 {
            let left = self.desk.pending();
            info!(
                attachments = entries,
                unfinished = left,
                "the journal of attachments is taken up"
            );
        }
        self.tell_allocator();
        let folder = self.spool.clone();
        let spooled = blocking(move || spool::read(&folder)).await.unwrap_or_default();
        self.work_off(spooled);
    }

    /// The links there are, and which of these have no network namespace any more.
    fn scene<'a>(
        &self,
        attachments: impl Iterator<Item = (&'a AttachmentId, &'a str)>,
    ) -> impl Future<Output = Result<Scene, Failure>> + Send + 'static {
        let attachments: Vec<_> =
            attachments.map(|(id, netns)| (id.clone(), PathBuf::from(netns))).collect();
        let (network, whole) = (Arc::clone(&self.steps.network), self.whole);
        async move {
            let look = move || {
                let links = network.links().map_err(|error| super::steps::kernel(&error))?;
                let is_gone = |(_, path): &(AttachmentId, PathBuf)| {
                    fs::metadata(path)
                        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
                };
                let gone = attachments.into_iter().filter(is_gone).map(|(id, _)| id);
                Ok(Scene { links, without_netns: gone.collect(), whole })
            };
            blocking(look).await?
        }
    }

    fn now(&self) -> Now {
        let up = Uptime::new(&self.boot, up_nanos());
        Now { wall: wall().0, steady: self.started.elapsed(), up }
    }

    fn call(&mut self, call: Call, reply: oneshot::Sender<Result<Reply, Failure>>) {
        let since = Instant::now();
        let caller = |verb| Caller::Call { verb, since, reply };
        match call {
            Call::Add(id, mut spec, unsaid) => {
                let there = self.desk.entry(&id);
                if spec.mtu == 0 {
                    // What is there keeps what it has; nobody has to know more to say it again.
                    // One that was written without it says nothing.
                    let had = there.map(|entry| entry.spec.mtu).filter(|mtu| *mtu != 0);
                    spec.mtu = had.or(self.mtu_settled.then_some(self.mtu)).unwrap_or_default();
                }
                let is_early = spec.mtu == 0
                    || (self.asks_namespace(&id, &spec, &unsaid) && !self.cluster.is_in_sync());
                let call = self.waits(caller("add"));
                let can_be = endpoint::can_be(&id, &spec, &self.steps.node);
                let add = Asked { call, id, spec, unsaid, until: since + PATIENCE };
                match can_be {
                    Ok(()) if is_early => self.early.push_back(add),
                    Ok(()) => self.add(add),
                    Err(failure) => self.answer(call, Err(failure)),
                }
            }
            Call::Delete { id, asked } => {
                // What was left while the daemon was away does not concern what came later.
                if asked.is_none() {
                    self.give_up(|add| add.id == id, "it was deleted before it began");
                }
                let call = Some(self.waits(caller("del")));
                self.act(Input::Delete { call, id, asked });
            }
            Call::Collect { network, valid } => {
                let call = self.waits(caller("gc"));
                let scene = self.scene(std::iter::empty());
                self.work.spawn(async move {
                    // Links that cannot be listed are not swept; attachments are collected.
                    let scene = scene.await.unwrap_or_default();
                    Ended::Scene { call, network, valid, scene }
                });
            }
        }
    }

    /// Whether it matters to an ADD what the pod's namespace asks for: not to one that says again what
    /// is there.
    fn asks_namespace(&self, id: &AttachmentId, spec: &Spec, unsaid: &Unsaid) -> bool {
        let is_there = |entry: &Entry| entry.state == State::Live && entry.spec.netns == spec.netns;
        unsaid.matters(spec) && !self.desk.entry(id).is_some_and(is_there)
    }

    fn add(&mut self, Asked { call, id, mut spec, unsaid, until }: Asked) {
        if self.asks_namespace(&id, &spec, &unsaid) {
            let namespace = spec.pod.as_ref().map(|pod| &*pod.namespace);
            let asked = namespace.and_then(|namespace| self.cluster.asked_by(namespace));
            let asked = asked.map_or(Ok(()), |asked| unsaid.asked_of(asked, &mut spec));
            if let Err(failure) = asked.and_then(|()| spec.check_wish()) {
                return self.answer(call, Err(failure));
            }
        }
        let until = until.saturating_duration_since(self.started);
        self.act(Input::Add { call, id, spec, until });
    }

    /// ADDs that cannot wait any longer for news of the cluster.
    fn expire(&mut self) {
        let now = Instant::now();
        let why = "the resources of the cluster, which say how large its packets may be and of which \
                   pools its namespace gets addresses, did not come in time\nhelp: `margay status` \
                   shows whether the datastore answers";
        self.give_up(|add| add.until <= now, why);
    }

    /// Answers some of the ADDs that wait for news of the cluster.
    fn give_up(&mut self, which: impl Fn(&Asked) -> bool, why: &str) {
        let (over, left): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.early).into_iter().partition(which);
        self.early = left;
        for add in over {
            self.answer(add.call, Err(Failure::new(Cause::Later, why)));
        }
    }

    fn waits(&mut self, caller: Caller) -> CallId {
        self.next_call += 1;
        self.callers.insert(CallId(self.next_call), caller);
        CallId(self.next_call)
    }

    fn ended(&mut self, ended: Ended) {
        match ended {
            Ended::Step { id, record, result } => {
                let took = Duration::from_micros(record.micros.into());
                self.times.add(record.step, took);
                if let Some(err) = &record.error {
                    debug!(attachment = %id, step = record.step, err, "a step failed");
                }
                self.history.add(&id, record);
                self.act(Input::Done(id.clone(), result));
                if self.desk.entry(&id).is_none() {
                    self.history.gone(&id);
                }
            }
            Ended::Scene { call, network, valid, scene } => {
                self.act(Input::Collect { call, network, valid, scene });
            }
            Ended::Mtu { look, settled, mtu } if look > self.mtu_seen => {
                self.mtu_seen = look;
                if self.mtu != mtu {
                    info!(mtu, was = self.mtu, "the MTU of new workloads");
                    self.mtu = mtu;
                }
                self.mtu_settled |= settled;
                if self.mtu_settled {
                    self.expire();
                    for mut add in std::mem::take(&mut self.early) {
                        if add.spec.mtu == 0 {
                            add.spec.mtu = mtu;
                        }
                        self.add(add);
                    }
                }
            }
            Ended::Mtu { .. } => {}
            Ended::Spool(found) => self.work_off(found),
            Ended::Nothing => {}
        }
    }

    fn work_off(&mut self, found: Vec<(PathBuf, DeleteWorkloadRequest)>) {
        for (path, request) in found {
            let under_way = |caller: &Caller| matches!(caller, Caller::Spool(of) if *of == path);
            if self.callers.values().any(under_way) {
                continue;
            }
            let asked = spool::asked(&request);
            let attachment = request.attachment.unwrap_or_default();
            let (network, container) = (&attachment.network, &attachment.container_id);
            match AttachmentId::new(network, container, &attachment.ifname) {
                Ok(id) => {
                    let call = Some(self.waits(Caller::Spool(path)));
                    self.act(Input::Delete { call, id, asked });
                }
                Err(error) => spool::put_aside(&path, &error.to_string()),
            }
        }
    }

    fn news(&mut self, news: Vec<News>) {
        let changed = self.cluster.apply(news);
        if !self.cluster.is_in_sync() {
            return;
        }
        if changed.mtu {
            self.look_at_mtu();
        }
        if changed.endpoints {
            self.look_at_endpoints();
        }
    }

    /// Routes to what was applied by hand, and to floating addresses; endpoints of attachments that are gone go.
    fn look_at_endpoints(&mut self) {
        let mut by_hand = BTreeMap::new();
        for (_, endpoint) in self.cluster.by_hand() {
            for address in &endpoint.addresses {
                by_hand.insert(*address, endpoint.interface.clone());
            }
        }
        let floating = self.cluster.floating();
        let mut addresses = BTreeSet::new();
        for (own, now) in [(&mut self.by_hand, by_hand), (&mut self.floating, floating)] {
            let before = std::mem::replace(own, now);
            let all = before.keys().chain(own.keys());
            addresses.extend(all.filter(|address| before.get(address) != own.get(address)));
        }
        for address in addresses {
            self.route(address);
        }
        self.announce();
        if !self.whole {
            return;
        }
        let known: BTreeSet<_> = self.desk.entries().map(|entry| entry.id.handle()).collect();
        for (key, endpoint) in self.cluster.endpoints() {
            let Some(handle) = endpoint.handle.clone().filter(|handle| !known.contains(handle))
            else {
                continue;
            };
            let (steps, key) = (Arc::clone(&self.steps), key.clone());
            self.work.spawn(async move {
                match steps.retract_of(&key, &handle).await {
                    Ok(()) => {
                        info!(endpoint = %key, "an endpoint without an attachment is deleted")
                    }
                    Err(error) => debug!(endpoint = %key, err = %error, "an endpoint is left over"),
                }
                Ended::Nothing
            });
        }
    }

    fn look_at_mtu(&mut self) {
        let (network, overlays) = (Arc::clone(&self.steps.network), self.cluster.overlays());
        let node = self.cluster.addresses().to_vec();
        self.mtu_looks += 1;
        let (look, settled) = (self.mtu_looks, self.cluster.is_in_sync());
        self.work.spawn(async move {
            match blocking(move || network.mtu(&node, &overlays)).await {
                Ok(mtu) => Ended::Mtu { look, settled, mtu },
                Err(_) => Ended::Nothing,
            }
        });
    }

    /// Tells the allocator what lives here: nothing of it is leaked.
    fn tell_allocator(&mut self) {
        if !self.whole {
            // Who is missing in the journal may be alive.
            return;
        }
        let mut lives = Lives::default();
        for entry in self.desk.entries() {
            let answered: BTreeSet<_> = entry.addresses.iter().copied().collect();
            let is_live = entry.state == State::Live;
            if let Ok(handle) = Handle::try_from(entry.id.handle().as_str()) {
                lives.attachments.insert(handle, is_live.then(|| answered.clone()));
            }
            if !entry.holds_addresses() {
                lives.unassigned.extend(&answered);
            }
            lives.addresses.extend(answered);
        }
        lives.addresses.extend(self.by_hand.keys());
        lives.unassigned.extend(self.by_hand.keys());
        let ipam = self.steps.ipam.clone();
        self.work.spawn(async move {
            ipam.lives(lives).await;
            Ended::Nothing
        });
    }

    /// What is to be announced by itself: addresses that are nobody's of the cluster.
    fn announce(&self) {
        let own = self.own.borrow();
        let given = self.desk.entries().filter(|entry| !entry.holds_addresses());
        let given = given.flat_map(|entry| &entry.addresses);
        let given = given.filter(|address| self.attached.contains_key(*address));
        let given = given.chain(self.by_hand.keys()).chain(self.floating.keys());
        let outside = |address: &&IpAddr| !own.blocks.iter().any(|block| block.contains(*address));
        let announced: BTreeSet<IpAddr> = given.filter(outside).copied().collect();
        self.announce.send_if_modified(|before| {
            let changed = *before != announced;
            *before = announced;
            changed
        });
    }

    /// Has an address where it is wished: an attachment's word counts before a human's.
    fn route(&self, address: IpAddr) {
        let link = self.attached.get(&address).or_else(|| self.by_hand.get(&address));
        let link = link.or_else(|| self.floating.get(&address));
        self.steps.network.route(address, link.map(String::as_str));
    }

    /// Hands something to the desk and does what it wants.
    fn act(&mut self, input: Input) {
        let mut out = Vec::new();
        self.desk.handle(self.now(), input, &mut out);
        let routes = out.iter().any(|output| matches!(output, Output::Route(..)));
        for output in out {
            self.carry_out(output);
        }
        if routes {
            self.announce();
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Do { id, step, until } => {
                let steps = Arc::clone(&self.steps);
                let until = until.map(|until| (self.started + until).into());
                let (name, at, since) = (step.name(), wall().0, Instant::now());
                let detail = step.detail();
                self.work.spawn(async move {
                    let result = steps.perform(&id, step, until).await;
                    let micros = u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX);
                    let error = result.as_ref().err().map(|error| error.to_string().into());
                    let detail = match &result {
                        Ok(Done::Assigned(addresses)) => listed(addresses),
                        _ => detail,
                    };
                    let detail = detail.into();
                    let record = Record { step: name, at, micros, error, detail };
                    Ended::Step { id, record, result }
                });
            }
            Output::Answer(call, reply) => self.answer(call, reply),
            Output::Route(address, link) => {
                match link {
                    Some(link) => self.attached.insert(address, link),
                    None => self.attached.remove(&address),
                };
                self.route(address);
            }
            Output::Sweep { name, alias } => {
                warn!(ifname = name, alias, "a link of a workload that nobody knows is removed");
                let steps = Arc::clone(&self.steps);
                self.work.spawn(async move {
                    if let Err(error) = steps.detach(name.clone(), alias, false).await {
                        warn!(ifname = name, err = %error, "it cannot be removed");
                    }
                    Ended::Nothing
                });
            }
        }
    }

    fn answer(&mut self, call: CallId, answer: Result<Reply, Failure>) {
        match self.callers.remove(&call) {
            Some(Caller::Call { verb, since, reply }) => {
                let name = if answer.is_ok() { verb } else { failed(verb) };
                self.times.add(name, since.elapsed());
                match &answer {
                    Ok(Reply::Added(entry)) if entry.is_bare() => info!(
                        attachment = %entry.id,
                        ifname = entry.host_interface,
                        "linked; its address is asked for over the link"
                    ),
                    Ok(Reply::Added(entry)) => info!(
                        attachment = %entry.id,
                        ifname = entry.host_interface,
                        addresses = ?entry.addresses,
                        "attached"
                    ),
                    Err(error) => warn!(verb, err = %error, "a call for a workload failed"),
                    Ok(_) => {}
                }
                // Whoever asked may be gone: it stays until a DEL.
                let _ = reply.send(answer);
            }
            Some(Caller::Spool(path)) => match answer {
                Ok(_) => {
                    if let Err(error) = fs::remove_file(&path) {
                        warn!(file = %path.display(), err = %error, "cannot remove what is done");
                    }
                }
                // The file stays for the next look.
                Err(error) => warn!(file = %path.display(), err = %error, "not deleted yet"),
            },
            None => {}
        }
    }
}

/// Nanoseconds of the clock that nobody sets; 0 where it cannot be read.
pub(super) fn up_nanos() -> u64 {
    let up = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    u64::try_from(up.as_nanos()).unwrap_or(u64::MAX)
}

fn listed(addresses: &[IpAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// The name under which failed calls are counted.
fn failed(verb: &str) -> &'static str {
    match verb {
        "add" => "add failed",
        "del" => "del failed",
        _ => "gc failed",
    }
}
