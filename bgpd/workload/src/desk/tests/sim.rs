//! Runtimes that add and delete at will, a world that refuses at random, a daemon that dies at any
//! step: in the end there is what was answered and nothing else.

use super::*;

/// The world outside, which lives on when the daemon dies.
#[derive(Default)]
struct World {
    journal: BTreeMap<AttachmentId, Entry>,
    addresses: BTreeMap<IpAddr, String>,
    /// What a server outside gave over a link, to handles.
    leases: BTreeMap<IpAddr, String>,
    /// Name and alias.
    links: BTreeMap<String, String>,
    /// Workload to handle.
    endpoints: BTreeMap<String, String>,
    routes: BTreeMap<IpAddr, String>,
    /// Whose connections the kernel remembers of an address.
    connections: BTreeMap<IpAddr, BTreeSet<String>>,
}

impl World {
    fn perform(&mut self, id: &AttachmentId, step: &Step) -> Result<Done, Failure> {
        match step {
            Step::Record(entry) => {
                self.journal.insert(entry.id.clone(), *entry.clone());
            }
            Step::Forget => {
                self.journal.remove(id);
            }
            Step::Assign { entry, .. } => {
                let free = (1..=200u8).map(|n| IpAddr::from([10, 0, 0, n]));
                let free = free.into_iter().find(|a| !self.addresses.contains_key(a));
                let full = || Failure::new(Cause::Exhausted, "full");
                let address = free.ok_or_else(full)?;
                self.addresses.insert(address, entry.id.handle());
                return Ok(Done::Assigned(vec![address]));
            }
            Step::Release(handle) => self.addresses.retain(|_, of| of != handle),
            Step::Attach(entry) => {
                let alias = name::alias(&entry.id);
                let there =
                    self.links.entry(entry.host_interface.clone()).or_insert_with(|| alias.clone());
                if *there != alias {
                    return Err(Failure::new(Cause::NameTaken, "taken"));
                }
                for address in &entry.addresses {
                    self.connections.entry(*address).or_default().insert(entry.id.handle());
                }
            }
            Step::Fulfil(entry) => {
                if self.links.get(&entry.host_interface) != Some(&name::alias(&entry.id)) {
                    return Err(Failure::new(Cause::Kernel, "it is gone"));
                }
                for address in &entry.addresses {
                    self.connections.entry(*address).or_default().insert(entry.id.handle());
                }
            }
            Step::Disconnect(entry) => {
                self.connections.retain(|address, _| !entry.addresses.contains(address));
            }
            Step::Detach { name, alias, half_made } => {
                let found = self.links.get(name);
                if found == Some(alias) || (*half_made && found.is_some_and(String::is_empty)) {
                    self.links.remove(name);
                }
            }
            Step::Publish(entry) => {
                self.endpoints.insert(entry.workload(), entry.id.handle());
            }
            Step::Retract(entry) => {
                let handle = entry.id.handle();
                if self.endpoints.get(&entry.workload()) == Some(&handle) {
                    self.endpoints.remove(&entry.workload());
                }
            }
            Step::Reach(entry) => {
                let link = Some(&entry.host_interface);
                assert!(entry.addresses.iter().all(|a| self.routes.get(a) == link));
            }
            Step::AwaitPolicy(_) => {}
        }
        Ok(Done::Done)
    }

    /// Who has an address.
    fn holder(&self, address: &IpAddr) -> Option<&String> {
        self.addresses.get(address).or_else(|| self.leases.get(address))
    }

    /// A client asks over the link of an attachment.
    fn lease(&mut self, id: &AttachmentId) -> Option<IpAddr> {
        let alias = name::alias(id);
        if !self.links.values().any(|of| *of == alias) {
            return None;
        }
        let free = (1..=20u8).map(|n| IpAddr::from([10, 9, 0, n]));
        let free = free.into_iter().find(|a| !self.leases.contains_key(a))?;
        self.leases.insert(free, id.handle());
        Some(free)
    }

    fn scene(&self) -> Scene {
        Scene { links: self.links.clone(), without_netns: BTreeSet::new(), whole: true }
    }
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// What a plugin does next for an address that is asked for over a link.
enum Plugin {
    /// It asks, and comes back with what it got.
    Lease,
    /// It gives back what it got, and has the link taken down.
    GiveBack,
}

struct Sim {
    world: World,
    desk: Desk,
    now: Now,
    told: u64,
    dice: Dice,
    /// What is under way.
    flying: Vec<(AttachmentId, Step)>,
    calls: BTreeMap<CallId, AttachmentId>,
    next_call: u64,
    /// Calls of plugins that come back, and plugins that do.
    first: BTreeSet<CallId>,
    second: BTreeSet<CallId>,
    /// DELs of what had an address from outside: they are spooled if nobody answers.
    deletes: BTreeSet<CallId>,
    plugins: Vec<(AttachmentId, Plugin)>,
    /// What a runtime was told of and has not deleted.
    promised: BTreeSet<AttachmentId>,
}

impl Sim {
    fn new(seed: u64) -> Self {
        Self {
            world: World::default(),
            desk: Desk::default(),
            now: Now::default(),
            told: 0,
            dice: Dice(seed),
            flying: Vec::new(),
            calls: BTreeMap::new(),
            next_call: 0,
            first: BTreeSet::new(),
            second: BTreeSet::new(),
            deletes: BTreeSet::new(),
            plugins: Vec::new(),
            promised: BTreeSet::new(),
        }
    }

    fn tell(&mut self, input: Input) {
        let mut out = Vec::new();
        self.told += 1;
        self.now.up = Uptime::new("00000001", self.told);
        self.desk.handle(self.now, input, &mut out);
        for output in out {
            match output {
                Output::Do { id, step, .. } => self.flying.push((id, step)),
                Output::Answer(call, reply) => self.answered(call, reply),
                Output::Route(address, Some(link)) => {
                    self.world.routes.insert(address, link);
                }
                Output::Route(address, None) => {
                    self.world.routes.remove(&address);
                }
                Output::Sweep { name, alias } => {
                    if self.world.links.get(&name) == Some(&alias) {
                        self.world.links.remove(&name);
                    }
                }
            }
        }
        let mut busy = BTreeSet::new();
        for (id, _) in &self.flying {
            assert!(busy.insert(id), "two steps of {id} at once");
        }
    }

    fn answered(&mut self, call: CallId, reply: Result<Reply, Failure>) {
        let Some(id) = self.calls.remove(&call) else { panic!("answered twice") };
        let (first, second) = (self.first.remove(&call), self.second.remove(&call));
        match reply {
            Ok(Reply::Added(entry)) if entry.is_bare() => {
                assert_eq!(self.world.links[&entry.host_interface], name::alias(&id));
                // Some are killed here, and nobody says so.
                if first && self.dice.below(8) > 0 {
                    self.plugins.push((id, Plugin::Lease));
                }
            }
            Ok(Reply::Added(entry)) => {
                assert_eq!(self.world.journal[&id].state, State::Live, "on disk");
                let own = Some(id.handle());
                let has = |address| self.world.holder(address) == own.as_ref();
                // It may be deleted already, which gives a lease back before all else.
                let is_over = is_leased(&id) && !first && !second;
                assert!(is_over || entry.addresses.iter().all(has));
                assert_eq!(self.world.links[&entry.host_interface], name::alias(&id));
                for address in &entry.addresses {
                    let of = self.world.connections.get(address).into_iter().flatten();
                    assert!(of.into_iter().all(|of| *of == id.handle()), "another's connections");
                }
                // Unless it is about to be deleted, or a newer container of its pod to take its place.
                let same_pod = |other| pod_of(&id).is_some() && pod_of(other) == pod_of(&id);
                if !self.calls.values().any(|other| *other == id || same_pod(other)) {
                    self.promised.insert(id);
                }
            }
            Ok(Reply::Deleted(_)) => {
                let alias = name::alias(&id);
                assert!(!self.world.links.values().any(|a| *a == alias), "a link is left");
                self.promised.remove(&id);
            }
            // A runtime deletes what failed, at the latest.
            Err(_) if second || (first && self.has_lease(&id)) => {
                self.plugins.push((id, Plugin::GiveBack));
            }
            Ok(Reply::Collected(_)) | Err(_) => {}
        }
    }

    fn has_lease(&self, id: &AttachmentId) -> bool {
        self.world.leases.values().any(|of| *of == id.handle())
    }

    /// A plugin goes on.
    fn plug(&mut self) {
        let Some((id, plugin)) = self.plugins.pop() else { return };
        match plugin {
            Plugin::Lease => match self.world.lease(&id) {
                // It dies with what it got; the runtime deletes what it was not told of.
                Some(_) if self.dice.below(8) == 0 => self.plugins.push((id, Plugin::GiveBack)),
                Some(address) => {
                    let call = self.call(&id);
                    self.second.insert(call);
                    let mut spec = Box::new(spec(pod_of(&id).as_deref()));
                    spec.source = Source::Leased(vec![address]);
                    let until = self.now.steady + PATIENCE;
                    self.tell(Input::Add { call, id, spec, until });
                }
                None => self.plugins.push((id, Plugin::GiveBack)),
            },
            Plugin::GiveBack => self.delete(&id),
        }
    }

    /// A runtime has an attachment deleted, whatever a plugin does for it.
    fn delete(&mut self, id: &AttachmentId) {
        self.promised.remove(id);
        if is_leased(id) {
            self.plugins.retain(|(of, _)| of != id);
            let calls: BTreeSet<_> =
                self.calls.iter().filter(|(_, of)| *of == id).map(|(call, _)| *call).collect();
            self.first.retain(|call| !calls.contains(call));
            self.second.retain(|call| !calls.contains(call));
            let handle = id.handle();
            self.world.leases.retain(|_, of| *of != handle);
        }
        let call = self.call(id);
        if is_leased(id) {
            self.deletes.insert(call);
        }
        self.tell(Input::Delete { call: Some(call), id: id.clone(), asked: None });
    }

    /// Something happens.
    fn act(&mut self) {
        match self.dice.below(20) {
            0..3 => {
                let (id, pod) = self.someone();
                let busy = self.calls.values().any(|of| *of == id)
                    || self.plugins.iter().any(|(of, _)| *of == id);
                // One at a time, or nobody could say who gives back what.
                if is_leased(&id) && busy {
                    return;
                }
                let call = self.call(&id);
                // A newer container of the pod: what the older was promised does not hold any more.
                if pod.is_some() {
                    let spec = spec(pod.as_deref());
                    self.promised.retain(|other| {
                        *other == id || pod_of(other) != spec.pod.as_ref().map(|p| p.name.clone())
                    });
                }
                let mut spec = Box::new(spec(pod.as_deref()));
                if is_leased(&id) {
                    spec.source = Source::Leased(self.promised_lease(&id));
                    self.first.insert(call);
                }
                let until = self.now.steady + PATIENCE;
                self.tell(Input::Add { call, id, spec, until });
            }
            3..5 => {
                let (id, _) = self.someone();
                self.delete(&id);
            }
            7..9 => self.plug(),
            5 => {
                self.now.steady += Duration::from_secs(self.dice.below(4));
                self.tell(Input::Tick);
            }
            6 if self.dice.below(6) == 0 => self.die(),
            _ => self.go_on(),
        }
    }

    /// A plugin that finds the attachment there brings what it has.
    fn promised_lease(&self, id: &AttachmentId) -> Vec<IpAddr> {
        match self.desk.entry(id).filter(|entry| entry.state == State::Live) {
            Some(entry) => entry.addresses.clone(),
            None => Vec::new(),
        }
    }

    fn call(&mut self, id: &AttachmentId) -> CallId {
        self.next_call += 1;
        self.calls.insert(CallId(self.next_call), id.clone());
        CallId(self.next_call)
    }

    /// One of a few containers; the even ones are of pods, two of each.
    fn someone(&mut self) -> (AttachmentId, Option<String>) {
        let id = id(&format!("c{}", self.dice.below(8)));
        let pod = pod_of(&id);
        (id, pod)
    }

    /// One of the steps under way ends, well or badly, done or not.
    fn go_on(&mut self) {
        let under_way = u64::try_from(self.flying.len()).expect("a few");
        if under_way == 0 {
            return;
        }
        let which = usize::try_from(self.dice.below(under_way)).expect("a few");
        let (id, step) = self.flying.remove(which);
        let result = match self.dice.below(12) {
            0 => Err(Failure::new(Cause::Later, "refused")),
            // Done, but the answer got lost.
            1 => {
                let _ = self.world.perform(&id, &step);
                Err(Failure::new(Cause::Later, "lost"))
            }
            _ => self.world.perform(&id, &step),
        };
        self.tell(Input::Done(id, result));
    }

    /// The daemon is killed: what was under way was done or not, and it starts again.
    fn die(&mut self) {
        for (id, step) in std::mem::take(&mut self.flying) {
            match (self.dice.below(3), &step) {
                (0, _) => {}
                // Made, but not marked yet.
                (1, Step::Attach(entry)) => {
                    self.world.links.entry(entry.host_interface.clone()).or_default();
                }
                _ => {
                    let _ = self.world.perform(&id, &step);
                }
            }
        }
        let (first, second) = (std::mem::take(&mut self.first), std::mem::take(&mut self.second));
        for (call, id) in &self.calls {
            if second.contains(call) || (first.contains(call) && self.has_lease(id)) {
                self.plugins.push((id.clone(), Plugin::GiveBack));
            }
        }
        let mut calls = std::mem::take(&mut self.calls);
        let deletes = std::mem::take(&mut self.deletes);
        let spool: Vec<_> = deletes.iter().filter_map(|call| calls.remove(call)).collect();
        self.desk = Desk::default();
        self.world.routes.clear();
        let entries = self.world.journal.values().cloned().collect();
        let scene = self.world.scene();
        self.tell(Input::Load(entries, scene));
        for id in spool {
            self.delete(&id);
        }
    }

    /// Everything succeeds from now on, until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            if let Some((id, step)) = self.flying.pop() {
                let result = self.world.perform(&id, &step);
                self.tell(Input::Done(id, result));
            } else if !self.plugins.is_empty() {
                self.plug();
            } else if let Some(at) = self.desk.next_deadline() {
                self.now.steady = self.now.steady.max(at);
                self.tell(Input::Tick);
            } else {
                assert_eq!(self.desk.pending(), 0, "something waits for nothing");
                assert!(self.calls.is_empty(), "unanswered: {:?}", self.calls);
                return;
            }
        }
        panic!("it never ends");
    }

    fn check(&self) {
        let live: Vec<&Entry> = self.world.journal.values().collect();
        assert!(live.iter().all(|entry| entry.state == State::Live), "{live:?}");
        let handles: BTreeSet<_> = live.iter().map(|entry| entry.id.handle()).collect();
        for entry in live.iter().filter(|entry| is_leased(&entry.id)) {
            let of = entry.addresses.iter().map(|address| self.world.leases.get(address));
            assert_eq!(of.collect::<Vec<_>>(), [Some(&entry.id.handle())], "without its lease");
        }
        assert!(self.world.leases.values().all(|of| handles.contains(of)), "a lease leaked");
        let live: Vec<&Entry> = live.into_iter().filter(|entry| !is_leased(&entry.id)).collect();
        let assigned: BTreeSet<_> = live.iter().map(|entry| entry.id.handle()).collect();
        let held: BTreeSet<_> = self.world.addresses.values().cloned().collect();
        assert_eq!(held, assigned, "addresses leaked, or lost");
        assert_eq!(self.world.addresses.len(), live.len(), "one each");
        let linked: BTreeMap<_, _> = self
            .world
            .journal
            .values()
            .filter(|entry| !entry.host_interface.is_empty())
            .map(|entry| (entry.host_interface.clone(), name::alias(&entry.id)))
            .collect();
        for (link, alias) in &self.world.links {
            assert_eq!(linked.get(link), Some(alias), "a link is left");
        }
        for handle in self.world.endpoints.values() {
            assert!(handles.contains(handle), "an endpoint is left");
        }
        for (address, link) in &self.world.routes {
            // Unless that is said: nobody knows what became of a link that could not be removed.
            let is_said = |entry: &&Entry| {
                entry.addresses.contains(address) && self.desk.problem(&entry.id).is_some()
            };
            let said = self.desk.entries().any(|entry| is_said(&entry));
            assert!(said || self.world.links.contains_key(link), "{address} leads nowhere");
        }
        for (address, of) in &self.world.connections {
            let holder = self.world.holder(address);
            assert!(of.iter().all(|of| Some(of) == holder), "{address} is remembered as {of:?}'s");
        }
        for id in &self.promised {
            let entry = self.world.journal.get(id).expect("what was promised is there");
            let link = &entry.host_interface;
            assert_eq!(self.world.links.get(link), Some(&name::alias(id)), "its link too");
            assert_eq!(self.world.endpoints.get(&entry.workload()), Some(&id.handle()));
            assert_eq!(entry.addresses.iter().map(|a| &self.world.routes[a]).next(), Some(link));
        }
    }
}

/// Whether its address is asked for over its link: one of those without a pod, one with.
fn is_leased(id: &AttachmentId) -> bool {
    ["c5", "c6"].contains(&id.container.as_str())
}

fn pod_of(id: &AttachmentId) -> Option<String> {
    let number: u32 = id.container.get(1..)?.parse().ok()?;
    number.is_multiple_of(2).then(|| format!("pod{}", number % 4))
}

#[test]
fn nothing_leaks_and_what_was_answered_stays_whenever_the_daemon_dies() {
    for seed in 0..2000 {
        let mut sim = Sim::new(seed);
        let run = std::panic::AssertUnwindSafe(|| {
            for _ in 0..150 {
                sim.act();
            }
            sim.settle();
            sim.check();
        });
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
