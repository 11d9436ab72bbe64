//! The loop of one shard's thread.

use std::{
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use bgp_core::rib::{Effect, Installed, Member, TrackedNextHop};
use bgp_packet::RefreshKind;
use bytes::Bytes;
use margay_fib::{BgpNextHop, Target, Wish};
use tracing::{error, warn};

use super::{marks::Mark, *};
use crate::{
    connection::queue::{Bracket, Pushed},
    metrics::MessageKind,
};

/// How long routes are taken in before what they changed is sent.
const TURN: Duration = Duration::from_millis(5);
/// Prefixes of postponed work in one go.
const WORK: usize = 4000;
/// Control messages in one go.
const CONTROL_TURN: usize = 256;

pub(super) struct Thread {
    index: usize,
    shards: Shards,
    shard: Shard,
    control: mpsc::Receiver<Control>,
    routes: mpsc::Receiver<Event>,
    kernel: Arc<dyn Kernel>,
    /// What the kernel was last asked to do, and for what.
    latest_wish: Option<(Arc<Installed>, Arc<Wish>)>,
    notices: mpsc::Sender<Notice>,
    members: HashMap<PeerId, Receiver>,
    effects: Vec<Effect>,
    /// Members whose queue filled up during the last effects.
    blocked: Vec<Member>,
    /// What could not be delivered at once; at most one entry a peer, family and level.
    undelivered: Vec<(mpsc::Sender<Order>, Order)>,
    unnoticed: Unnoticed,
    idle: Vec<oneshot::Sender<()>>,
    stopping: bool,
}

struct Receiver {
    epoch: Epoch,
    families: FamilySet,
    link: Arc<Link>,
    orders: mpsc::Sender<Order>,
    /// Refreshes asked for, by family: every shard hears of the same ones.
    requests: BTreeMap<Family, u32>,
}

impl Receiver {
    /// Counts a refresh that the shard is about to hear of.
    fn asked(&mut self, family: Family) {
        *self.requests.entry(family).or_default() += 1;
    }

    /// Queues messages that so many members are told; `None`: it is another shard's turn to say so.
    fn push(
        &self,
        shards: (usize, usize),
        mark: Option<Mark>,
        octets: Bytes,
        (messages, members): (u32, usize),
    ) -> Option<Pushed> {
        let queue = &self.link.queue;
        let (family, bracket) = match mark {
            None => return Some(queue.push_updates(shards.0, octets, messages, members)),
            Some(Mark::EndOfRib(family)) => return queue.push_end_of_rib(shards, family, octets),
            Some(Mark::BeginRefresh(family)) => {
                let request = self.requests.get(&family).copied().unwrap_or_default();
                (family, Bracket::Begin { request })
            }
            Some(Mark::EndRefresh(family)) => (family, Bracket::End),
        };
        let pushed = queue.push_bracket(shards, family, bracket, octets)?;
        self.link.counters.sent(MessageKind::RouteRefresh, 1);
        Some(pushed)
    }
}

/// Notices that found no room: one a peer and family, the last word, however many come.
#[derive(Default)]
struct Unnoticed(BTreeMap<(PeerId, Family), Notice>);

impl Unnoticed {
    fn add(&mut self, notice: Notice) {
        self.0.insert((notice.peer, notice.family), notice);
    }

    fn deliver(&mut self, to: &mpsc::Sender<Notice>) {
        while let Some(first) = self.0.first_entry() {
            let Ok(permit) = to.try_reserve() else {
                if to.is_closed() {
                    self.0.clear();
                }
                return;
            };
            permit.send(first.remove());
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Thread {
    pub(super) fn new(
        index: usize,
        shards: Shards,
        shard: Shard,
        (control, routes): (mpsc::Receiver<Control>, mpsc::Receiver<Event>),
        kernel: Arc<dyn Kernel>,
        notices: mpsc::Sender<Notice>,
    ) -> Self {
        Self {
            index,
            shards,
            shard,
            control,
            routes,
            kernel,
            latest_wish: None,
            notices,
            members: HashMap::new(),
            effects: Vec::new(),
            blocked: Vec::new(),
            undelivered: Vec::new(),
            unnoticed: Unnoticed::default(),
            idle: Vec::new(),
            stopping: false,
        }
    }

    /// Runs until told to stop. A panic leaves a table nobody can vouch for: the process aborts,
    /// the kernel keeps its routes, and the next start adopts them.
    pub(super) fn run(self) {
        let index = self.index;
        if catch_unwind(AssertUnwindSafe(|| self.turns())).is_err() {
            error!(shard = index, "a RIB shard panicked; aborting");
            std::process::abort();
        }
    }

    fn turns(mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime without I/O needs nothing from the system");
        while !self.stopping {
            let began = Instant::now();
            let busy = self.turn(began);
            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            if let Some(door) = self.shards.0.doors.get(self.index) {
                door.longest_turn_us.fetch_max(micros, Relaxed);
                door.turns.fetch_add(u64::from(busy), Relaxed);
            }
            if !busy {
                runtime.block_on(self.wait());
            }
        }
    }

    /// Works for a few milliseconds; whether there was anything to do.
    fn turn(&mut self, began: Instant) -> bool {
        let now = self.shards.now();
        let mut busy = false;
        self.take_drained(now);
        for _ in 0..CONTROL_TURN {
            let Ok(control) = self.control.try_recv() else { break };
            busy = true;
            self.control(now, control);
        }
        while began.elapsed() < TURN {
            let Ok(event) = self.routes.try_recv() else { break };
            busy = true;
            self.route(now, event);
        }
        if busy {
            self.shard.flush(&mut self.effects);
            self.carry_out(now);
        }
        let more = self.shard.work(now, WORK, &mut self.effects);
        self.carry_out(now);
        self.deliver();
        if more || busy {
            return true;
        }
        for waiting in self.idle.drain(..) {
            let _ = waiting.send(());
        }
        false
    }

    /// Sleeps until there is something to do.
    async fn wait(&mut self) {
        let shards = self.shards.clone();
        let Some(door) = shards.0.doors.get(self.index) else { return };
        let retry = !self.undelivered.is_empty() || !self.unnoticed.is_empty();
        tokio::select! {
            biased;
            control = self.control.recv() => match control {
                None => self.stopping = true,
                Some(control) => {
                    // The time after the sleep: routes are dated with it.
                    let now = shards.now();
                    self.control(now, control);
                    self.shard.flush(&mut self.effects);
                    self.carry_out(now);
                }
            },
            () = door.drained.wake.notified() => {}
            Some(event) = self.routes.recv() => {
                let now = shards.now();
                self.route(now, event);
                self.shard.flush(&mut self.effects);
                self.carry_out(now);
            }
            () = tokio::time::sleep(Duration::from_millis(10)), if retry => {}
        }
    }

    fn take_drained(&mut self, now: u32) {
        let shards = self.shards.clone();
        let Some(door) = shards.0.doors.get(self.index) else { return };
        let peers =
            std::mem::take(&mut *door.drained.peers.lock().unwrap_or_else(PoisonError::into_inner));
        for peer in peers {
            if let Some(member) = self.members.get(&peer) {
                self.event(now, Event::Drained(peer, member.epoch));
            }
        }
    }

    fn event(&mut self, now: u32, event: Event) {
        self.count_requests(&event);
        self.shard.handle(now, event, &mut self.effects);
        self.carry_out(now);
    }

    /// Counts requests for a refresh before the shard answers them.
    fn count_requests(&mut self, event: &Event) {
        match event {
            Event::Refresh { peer, epoch, refresh } if refresh.kind == RefreshKind::Request => {
                if let Some(member) = self.members.get_mut(peer).filter(|m| m.epoch == *epoch) {
                    member.asked(refresh.family);
                }
            }
            Event::SoftReset { peer, direction: SoftReset::Out | SoftReset::Both } => {
                if let Some(member) = self.members.get_mut(peer) {
                    Family::SUPPORTED.into_iter().for_each(|family| member.asked(family));
                }
            }
            _ => {}
        }
    }

    fn control(&mut self, now: u32, control: Control) {
        match control {
            Control::Up(up, accepted) => {
                let member = Receiver {
                    epoch: up.epoch,
                    families: up.negotiated.families,
                    link: Arc::clone(&up.link),
                    orders: up.orders.clone(),
                    requests: BTreeMap::new(),
                };
                self.members.insert(up.peer, member);
                let event = Event::PeerUp {
                    peer: up.peer,
                    epoch: up.epoch,
                    config: Arc::clone(&up.config),
                    negotiated: Arc::clone(&up.negotiated),
                    addresses: up.addresses,
                    accepted,
                };
                self.event(now, event);
            }
            Control::Event(event) => {
                if let Event::PeerDown { peer, epoch, .. } = event
                    && self.members.get(&peer).is_some_and(|member| member.epoch == epoch)
                {
                    self.members.remove(&peer);
                }
                self.event(now, event);
            }
            Control::Ask(question) => question(&mut self.shard),
            Control::Idle(waiting) => self.idle.push(waiting),
            Control::Stop => self.stopping = true,
        }
    }

    fn route(&mut self, now: u32, event: Event) {
        let notice = match event {
            Event::EndOfRib { peer, epoch, family } => self
                .members
                .get(&peer)
                .filter(|member| member.epoch == epoch)
                .map(|member| member.families)
                .map(|families| Notice { peer, epoch, family, families }),
            _ => None,
        };
        self.event(now, event);
        if let Some(notice) = notice {
            // What came before must be on its way to the kernel.
            self.shard.flush(&mut self.effects);
            self.carry_out(now);
            self.unnoticed.add(notice);
        }
    }

    fn carry_out(&mut self, now: u32) {
        while !self.effects.is_empty() {
            let mut effects = std::mem::take(&mut self.effects);
            let mut wishes = Vec::new();
            for effect in effects.drain(..) {
                self.effect(effect, &mut wishes);
            }
            self.effects = effects;
            if !wishes.is_empty() {
                self.kernel.set(wishes);
            }
            for member in std::mem::take(&mut self.blocked) {
                let event = Event::Blocked(member.peer, member.epoch);
                self.shard.handle(now, event, &mut self.effects);
            }
        }
    }

    fn effect(&mut self, effect: Effect, wishes: &mut Vec<(IpNet, Option<Arc<Wish>>)>) {
        match effect {
            Effect::Send { to, except, octets, messages } => {
                let shards = (self.index, self.shards.count());
                let mark = (messages == 1).then(|| Mark::of(&octets)).flatten();
                let mut copies = 0;
                for member in to.iter().filter(|member| Some(member.peer) != except) {
                    let Some(receiver) = self.members.get(&member.peer) else { continue };
                    if receiver.epoch != member.epoch {
                        continue;
                    }
                    let pushed = receiver.push(shards, mark, octets.clone(), (messages, to.len()));
                    copies += u64::from(pushed.is_some());
                    if pushed == Some(Pushed::Full) && !self.blocked.contains(member) {
                        self.blocked.push(*member);
                    }
                }
                if let Some(door) = self.shards.0.doors.get(self.index) {
                    door.blocks.fetch_add(1, Relaxed);
                    door.copies.fetch_add(copies, Relaxed);
                }
            }
            Effect::Install { prefix, route } => {
                wishes.push((prefix, route.map(|route| self.wish(route))));
            }
            Effect::Track(next_hop) => self.kernel.track(kernel_next_hop(next_hop)),
            Effect::Untrack(next_hop) => self.kernel.untrack(kernel_next_hop(next_hop)),
            Effect::MaxPrefixes { peer, epoch, family, count, warning } => {
                if let Some(member) = self.members.get(&peer) {
                    let order = Order::MaxPrefixes { epoch, family, count, warning };
                    self.undelivered.push((member.orders.clone(), order));
                }
            }
            Effect::TooManyPaths { peer, epoch, family, prefix, dropped, limit, first } => {
                if let Some(member) = self.members.get(&peer).filter(|m| m.epoch == epoch) {
                    let name = &member.link.name;
                    member.link.counters.treated_as_withdraw(dropped.into());
                    if first {
                        warn!(peer = %name, %family, %prefix, limit, "too many paths of a prefix; the others are dropped");
                    }
                }
            }
            Effect::TooLong { to, except, prefix } => {
                for member in to.iter().filter(|member| Some(member.peer) != except) {
                    let receiver = self.members.get(&member.peer);
                    let Some(receiver) = receiver.filter(|r| r.epoch == member.epoch) else {
                        continue;
                    };
                    let link = &receiver.link;
                    link.counters.withheld();
                    if !link.told_too_long.swap(true, Relaxed) {
                        warn!(peer = %link.name, %prefix, "a route is not sent: its attributes exceed the peer's message size; others like it are counted only");
                    }
                }
            }
            Effect::Flushed { .. } => {}
            Effect::Changed { prefix, best } => {
                let best = best.map(|row| Arc::new(*row));
                if self.shards.0.changes.send(RouteChange { prefix, best }).is_err() {
                    // The last one who listened has gone.
                    self.shard.watch(false);
                }
            }
        }
    }

    /// What to ask of the kernel for a route; the same again for the same.
    fn wish(&mut self, route: Arc<Installed>) -> Arc<Wish> {
        match &self.latest_wish {
            Some((known, wish)) if Arc::ptr_eq(known, &route) || *known == route => {
                Arc::clone(wish)
            }
            _ => {
                let wish = Arc::new(wish(&route));
                self.latest_wish = Some((route, Arc::clone(&wish)));
                wish
            }
        }
    }

    /// Passes on what found no room before.
    fn deliver(&mut self) {
        for (orders, order) in std::mem::take(&mut self.undelivered) {
            if let Err(mpsc::error::TrySendError::Full(order)) = orders.try_send(order) {
                self.undelivered.push((orders, order));
            }
        }
        self.unnoticed.deliver(&self.notices);
    }
}

fn kernel_next_hop(next_hop: TrackedNextHop) -> BgpNextHop {
    BgpNextHop {
        address: next_hop.address,
        link_local: next_hop.link_local,
        interface: next_hop.interface,
    }
}

fn wish(route: &Installed) -> Wish {
    let target = if route.next_hops.is_empty() {
        Target::Blackhole
    } else {
        let hops = route.next_hops.iter();
        Target::Via(hops.map(|(next_hop, weight)| (kernel_next_hop(*next_hop), *weight)).collect())
    };
    let told =
        |(next_hop, epoch): &(TrackedNextHop, Epoch)| (kernel_next_hop(*next_hop), source(*epoch));
    Wish {
        target,
        sources: route.sources.iter().map(told).collect(),
        backup: route.backup.as_ref().map(told),
        metric: route.local.metric,
        preferred_source: route.local.preferred_source,
    }
}

#[cfg(test)]
mod tests;
