//! The writer: takes what the inbox holds, lets the state draw conclusions, and keeps a few batches
//! on their way to the kernel so that neither waits for the other.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use crate::api::{FibConfig, FibError, FibEvent, FibStatus, Reach};
use crate::netlink::audit::Audit;
use crate::netlink::backlog::Backlog;
use crate::netlink::conflicts::Conflicts;
use crate::netlink::courier::{Batch, Delivered};
use crate::netlink::dump::Dump;
use crate::netlink::encode::{self, Owner};
use crate::netlink::figures::{Figures, earliest};
use crate::netlink::handle::Shared;
use crate::netlink::inbox::{Leave, Order};
use crate::netlink::waiting::Waiting;
use crate::netlink::{Tuning, reading};
use crate::plan::addresses::AddressOp;
use crate::plan::locals::LocalOp;
use crate::plan::objects::ObjectOp;
use crate::plan::readings::Occasion;
use crate::plan::state::{Abilities, State};
use crate::plan::work::RouteOp;
use margay_netlink::wire::{ACK, Encoder, Refusal};

/// Receives events.
pub type Events = Box<dyn FnMut(Vec<FibEvent>) + Send>;

/// Routes written at once: larger is no faster, and a failover waits behind those under way.
const BATCH: usize = 512;
/// Batches under way at once.
const FLIGHTS: usize = 4;
/// Routes to workloads do not wait for that, up to this.
const FLIGHTS_MAX: usize = 6;
/// Of them, so many are written at once.
const LOCAL_BATCH: usize = 256;
/// Full readings after lost notifications come no closer together than this, and double.
const RESYNC_MIN: Duration = Duration::from_secs(1);
/// Up to this.
const RESYNC_MAX: Duration = Duration::from_secs(60);

/// A batch on its way.
#[derive(Debug)]
enum Flight {
    /// With the moment when the oldest wish among them came.
    Routes(Vec<RouteOp>, Option<Instant>),
    Objects(Vec<ObjectOp>),
    Locals(Vec<LocalOp>),
    Addresses(Vec<AddressOp>),
}

/// The writer's belongings.
pub struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) state: State,
    pub(super) dump: Dump,
    events: Events,
    courier: Option<SyncSender<Batch>>,
    backlog: Backlog,
    flights: VecDeque<Flight>,
    spare: Vec<Vec<u8>>,
    seq: u32,
    resync: Resync,
    pub(super) audit: Audit,
    figures: Figures,
    degraded: Option<String>,
    last_error: Option<String>,
    conflicts: Conflicts,
    waiting: Waiting,
    kernel_objects: bool,
}

/// When to read everything anew.
#[derive(Debug, Default)]
struct Resync {
    wanted: bool,
    not_before: Option<Instant>,
    delay: Duration,
    count: u64,
}

/// What the writer starts with.
pub struct Start {
    /// Common to all threads.
    pub shared: Arc<Shared>,
    /// Settings.
    pub config: FibConfig,
    /// What the kernel can do and we may.
    pub abilities: Abilities,
    /// The kernel has next-hop objects, wanted or not.
    pub kernel_objects: bool,
    /// Why we may not write.
    pub degraded: Option<String>,
    /// For whole readings.
    pub dump: Dump,
    /// To the thread that writes.
    pub courier: SyncSender<Batch>,
    /// To the daemon.
    pub events: Events,
    /// Times.
    pub tuning: Tuning,
}

impl Engine {
    /// Reads the kernel's state and adopts what is ours.
    pub fn new(start: Start) -> Result<Self, FibError> {
        let mut engine = Self {
            shared: start.shared,
            state: State::new(start.config, start.abilities),
            dump: start.dump,
            events: start.events,
            courier: Some(start.courier),
            backlog: Backlog::default(),
            flights: VecDeque::new(),
            spare: Vec::new(),
            seq: 0,
            resync: Resync::default(),
            audit: Audit::new(start.tuning.audit_every, Instant::now()),
            figures: Figures::default(),
            degraded: start.degraded,
            last_error: None,
            conflicts: Conflicts::default(),
            waiting: Waiting::default(),
            kernel_objects: start.kernel_objects,
        };
        engine.read_everything(Occasion::Start)?;
        engine.publish();
        // Whoever starts us asks for the host's addresses before the first event is told.
        engine.shared.links.publish(Arc::new(engine.state.told_links()));
        Ok(engine)
    }

    /// Works until told to stop.
    pub fn run(mut self) {
        let leave = loop {
            let turn = self.turn();
            self.tell();
            match turn {
                Turn::Stop(leave) => break leave,
                Turn::Again => {}
                Turn::Wait => self.rest(),
            }
        };
        if leave == Leave::Nothing {
            self.flush();
            self.flush_gateways();
            self.flush_addresses();
        }
        self.drain();
        self.courier = None;
        self.tell();
        // Whoever waits for an answer sees its channel close.
        let rest = self.shared.inbox.put(|work| {
            work.ended = true;
            work.take()
        });
        drop(rest);
    }

    /// One round: everything that came in, then at most one batch out.
    fn turn(&mut self) -> Turn {
        let mut work = self.shared.inbox.take();
        let now = Instant::now();
        let mut busy = work.any();
        for delivered in std::mem::take(&mut work.delivered) {
            self.delivered(delivered, now);
        }
        if work.facts_lost {
            self.resync.wanted = true;
        }
        for fact in work.facts {
            tracing::trace!(?fact, "kernel");
            self.state.learn(fact, now);
        }
        for source in work.ended_sources {
            self.state.source_down(source, now);
        }
        self.backlog.add(work.wishes, &mut self.state, now);
        for (address, link) in work.locals {
            self.state.want_local(address, link);
        }
        if let Some(Reach { gateways, addresses }) = work.reach {
            self.state.set_gateways(gateways);
            self.state.set_addresses(addresses);
        }
        for order in work.orders {
            if let Some(leave) = self.obey(order, now) {
                return Turn::Stop(leave);
            }
        }
        self.state.settle(now);
        let asks = self.state.take_asks();
        self.resync.wanted |= asks.everything;
        if asks.objects && self.kernel_objects {
            self.read_objects(now);
            self.state.settle(now);
            busy = true;
        }
        if self.resync_due(now) {
            if !self.flights.is_empty() {
                return Turn::Wait; // what is under way would be misjudged
            }
            self.resync_now(now);
            return Turn::Again;
        }
        let sent = self.send_locals(now) | self.send_addresses(now) | self.send_something(now);
        if sent || busy { Turn::Again } else { Turn::Wait }
    }

    /// Routes to workloads go first: somebody waits for each, and they are few.
    fn send_locals(&mut self, now: Instant) -> bool {
        if self.flights.len() >= FLIGHTS_MAX {
            return false;
        }
        let ops = self.state.plan_locals(LOCAL_BATCH, now);
        if ops.is_empty() {
            return false;
        }
        self.send_local_ops(ops);
        true
    }

    fn send_local_ops(&mut self, ops: Vec<LocalOp>) {
        let owner = self.owner();
        let first = self.seq;
        let mut encoder = self.take_encoder();
        let last = ops.len().saturating_sub(1);
        for (at, op) in ops.iter().enumerate() {
            tracing::debug!(?op, "route to a workload");
            let (prefix, form) = (op.address.into(), State::local_form(op));
            let flags = if at == last { ACK } else { 0 };
            encode::route(&mut encoder, owner, op.verb, prefix, &form, flags, self.seq);
            self.seq = self.seq.wrapping_add(1);
        }
        self.send(encoder, first, Flight::Locals(ops));
    }

    fn send_addresses(&mut self, now: Instant) -> bool {
        if self.flights.len() >= FLIGHTS_MAX {
            return false;
        }
        let ops = self.state.plan_addresses(LOCAL_BATCH, now);
        if ops.is_empty() {
            return false;
        }
        let protocol = self.owner().protocol;
        let first = self.seq;
        let mut encoder = self.take_encoder();
        let last = ops.len().saturating_sub(1);
        for (at, op) in ops.iter().enumerate() {
            tracing::debug!(?op, "address that peers call");
            let flags = if at == last { ACK } else { 0 };
            encode::own_address(&mut encoder, protocol, op, flags, self.seq);
            self.seq = self.seq.wrapping_add(1);
        }
        self.send(encoder, first, Flight::Addresses(ops));
        true
    }

    /// Plans and sends a batch, if there is one and room for it.
    fn send_something(&mut self, now: Instant) -> bool {
        let objects_flying = self.flights.iter().any(|f| matches!(f, Flight::Objects(_)));
        if objects_flying || self.flights.len() >= FLIGHTS {
            return false;
        }
        let idle = self.flights.is_empty() && self.backlog.is_empty();
        let ops = self.state.plan_objects(now, idle);
        if !ops.is_empty() {
            self.send_objects(ops);
            return true;
        }
        let before = (self.backlog.len(), self.state.waiting());
        let since = earliest([self.backlog.since(), self.figures.table_since()]);
        // What waits in the table has its half, or all that new wishes leave.
        let share = if self.state.waiting_soon() == 0 { BATCH } else { BATCH / 2 };
        let mut ops = self.backlog.plan(&mut self.state, share, now);
        if self.backlog.is_empty() || self.state.waiting_soon() > 0 {
            ops.extend(self.state.plan_routes(BATCH.saturating_sub(ops.len())));
        }
        self.conflicts.log(self.state.take_conflicts());
        if ops.is_empty() {
            return (self.backlog.len(), self.state.waiting()) < before;
        }
        self.send_routes(ops, since);
        true
    }

    fn send_routes(&mut self, ops: Vec<RouteOp>, since: Option<Instant>) {
        let owner = self.owner();
        let first = self.seq;
        let mut encoder = self.take_encoder();
        let last = ops.len().saturating_sub(1);
        for (at, op) in ops.iter().enumerate() {
            let Some(form) = self.state.form(op.form) else { continue };
            let flags = if at == last { ACK } else { 0 };
            encode::route(&mut encoder, owner, op.verb, op.prefix, form, flags, self.seq);
            self.seq = self.seq.wrapping_add(1);
        }
        self.send(encoder, first, Flight::Routes(ops, since));
    }

    fn send_objects(&mut self, ops: Vec<ObjectOp>) {
        let protocol = self.owner().protocol;
        let first = self.seq;
        let mut encoder = self.take_encoder();
        let last = ops.len().saturating_sub(1);
        for (at, op) in ops.iter().enumerate() {
            tracing::debug!(?op, "next-hop object");
            let flags = if at == last { ACK } else { 0 };
            encode::object(&mut encoder, protocol, op, flags, self.seq);
            self.seq = self.seq.wrapping_add(1);
        }
        self.send(encoder, first, Flight::Objects(ops));
    }

    fn send(&mut self, encoder: Encoder, first: u32, flight: Flight) {
        let len = self.seq.wrapping_sub(first);
        self.flights.push_back(flight);
        let batch = Batch { octets: encoder.into_octets(), first, len };
        let sent = self.courier.as_ref().is_some_and(|c| c.send(batch).is_ok());
        if !sent {
            // The courier ends only after us.
            let result = Err(io::Error::from(io::ErrorKind::BrokenPipe));
            let lost = Delivered { octets: Vec::new(), result, took: Duration::ZERO };
            self.delivered(lost, Instant::now());
        }
    }

    fn delivered(&mut self, delivered: Delivered, now: Instant) {
        let Some(flight) = self.flights.pop_front() else { return };
        if self.spare.len() < FLIGHTS {
            self.spare.push(delivered.octets);
        }
        self.figures.delivered(flight.len(), delivered.took);
        let refused = match delivered.result {
            Ok(refused) => refused,
            Err(err) => {
                // Answers were lost, or the socket failed: the kernel may have done all, some or
                // none of it. Reading it tells.
                tracing::warn!(%err, "no answer to a batch of routes");
                self.figures.unanswered(&err);
                self.last_error = Some(err.to_string());
                self.resync.wanted = true;
                Vec::new()
            }
        };
        refused.iter().for_each(|(_, refusal)| self.figures.refused(refusal.errno));
        match flight {
            Flight::Routes(ops, _) => {
                for (at, refusal) in &refused {
                    if let Some(op) = ops.get(*at) {
                        self.complain(&format!("{} {:?}", op.prefix, op.verb), refusal);
                    }
                }
                let errnos: Vec<_> = refused.iter().map(|(at, r)| (*at, r.errno)).collect();
                self.state.routes_done(&ops, &errnos, now);
            }
            Flight::Locals(ops) => {
                for (at, refusal) in &refused {
                    if let Some(op) = ops.get(*at) {
                        self.complain(&format!("{} {:?}", op.address, op.verb), refusal);
                    }
                }
                let errnos: Vec<_> = refused.iter().map(|(at, r)| (*at, r.errno)).collect();
                self.state.locals_done(&ops, &errnos, now);
            }
            Flight::Addresses(ops) => {
                for (at, refusal) in &refused {
                    if let Some(op) = ops.get(*at) {
                        self.complain(&format!("address {} {:?}", op.address, op.verb), refusal);
                    }
                }
                let errnos: Vec<_> = refused.iter().map(|(at, r)| (*at, r.errno)).collect();
                self.state.addresses_done(&ops, &errnos, now);
            }
            Flight::Objects(ops) => {
                let mut refused = refused.into_iter().peekable();
                for (at, op) in ops.iter().enumerate() {
                    let refusal = refused.next_if(|(i, _)| *i == at).map(|(_, r)| r);
                    let result = match refusal {
                        Some(refusal) => {
                            self.complain(&format!("{op:?}"), &refusal);
                            Err(refusal.errno)
                        }
                        None => Ok(()),
                    };
                    self.state.object_done(op, result, now);
                }
            }
        }
    }

    /// Notes a refusal; the log gets the first of a kind, the figures all.
    fn complain(&mut self, what: &str, refusal: &Refusal) {
        if refusal.errno == libc::ESRCH || refusal.errno == libc::ENOENT {
            return; // deleting what is gone
        }
        let text = refusal.to_string();
        if self.last_error.as_deref() == Some(&text) {
            tracing::debug!(what, err = %refusal, "the kernel refused");
        } else {
            tracing::warn!(what, err = %refusal, "the kernel refused");
        }
        self.last_error = Some(text);
        if refusal.errno == libc::EPERM && self.degraded.is_none() {
            self.degraded = Some(super::NO_RIGHT.to_owned());
        }
    }

    fn obey(&mut self, order: Order, now: Instant) -> Option<Leave> {
        match order {
            Order::Track(next_hop) => {
                // It may lead over what was wished for before.
                self.backlog.absorb(&mut self.state, now);
                self.state.track(next_hop);
            }
            Order::Untrack(next_hop) => self.state.untrack(next_hop),
            Order::InSync => {
                tracing::info!("sources are complete; stale routes go");
                self.backlog.in_sync(&mut self.state, now);
            }
            Order::Rows(filter, after, limit, answer) => {
                self.backlog.absorb(&mut self.state, now);
                // Whoever has this answer sees figures that count all asked before.
                self.publish();
                // The asker may be gone.
                drop(answer.send(self.state.rows(filter, after, limit)));
            }
            Order::InKernel(prefixes, answer) => {
                self.backlog.absorb(&mut self.state, now);
                drop(answer.send(self.state.in_kernel(&prefixes)));
            }
            Order::LocalsInSync => {
                tracing::info!("workloads are complete; stale routes to them go");
                self.state.locals_in_sync();
            }
            Order::ReachInSync => {
                self.state.gateways_in_sync();
                self.state.addresses_in_sync();
            }
            Order::LocalRows(answer) => drop(answer.send(self.state.local_rows())),
            Order::AwaitLocal(waiter) => self.waiting.add(waiter),
            Order::Uplinks(node, answer) => drop(answer.send(self.state.uplinks(&node))),
            Order::Reconfigure(config, answer) => {
                drop(answer.send(self.reconfigure(config)));
            }
            Order::Stop(leave) => return Some(leave),
        }
        None
    }

    fn reconfigure(&mut self, config: FibConfig) -> Result<(), FibError> {
        super::check(&config)?;
        self.backlog.absorb(&mut self.state, Instant::now());
        let objects = super::objects_wanted(&config, self.kernel_objects)?;
        let old = self.state.config();
        let moved = (old.enabled, old.table, old.protocol)
            != (config.enabled, config.table, config.protocol);
        if config.nexthop_compat_off && !old.nexthop_compat_off {
            super::turn_compat_off();
        }
        let relearn = old.learn_tables != config.learn_tables;
        if moved {
            self.flush();
            self.flush_locals();
            if !config.enabled {
                self.flush_addresses();
            }
            let write = self.degraded.is_none();
            self.state = self.state.moved(config, Abilities { objects, write }, Instant::now());
            self.read_everything(Occasion::Start)?;
        } else {
            self.state.reconfigured(config, objects);
            if relearn {
                self.drain();
                self.read_everything(Occasion::Resync)?;
            }
        }
        Ok(())
    }

    /// Takes all of ours out of the kernel: groups first, for the kernel drops their routes at once.
    fn flush(&mut self) {
        self.drain();
        if !self.state.may_write() {
            return;
        }
        for op in self.state.flush_objects() {
            self.send_objects(op);
            self.drain();
        }
        for ops in self.state.flush_routes().chunks(BATCH) {
            while self.flights.len() >= FLIGHTS {
                self.take_delivered();
            }
            self.send_routes(ops.to_vec(), None);
        }
        self.drain();
    }

    /// Takes routes to workloads out, which otherwise outlive us as the workloads do.
    fn flush_locals(&mut self) {
        if !self.state.may_write() {
            return;
        }
        for ops in self.state.flush_locals().chunks(LOCAL_BATCH) {
            self.send_local_ops(ops.to_vec());
            self.drain();
        }
    }

    /// Takes routes to peers out, who are peers no longer.
    fn flush_gateways(&mut self) {
        let ops = if self.state.may_write() { self.state.flush_gateways() } else { Vec::new() };
        if !ops.is_empty() {
            self.send_local_ops(ops);
            self.drain();
        }
    }

    /// Takes out the addresses that peers call, who are peers no longer.
    fn flush_addresses(&mut self) {
        let now = Instant::now();
        self.state.set_addresses(BTreeMap::new());
        self.state.addresses_in_sync();
        while self.send_addresses(now) {
            self.drain();
        }
    }

    /// Waits until nothing is under way.
    fn drain(&mut self) {
        while !self.flights.is_empty() {
            self.take_delivered();
        }
    }

    /// Waits until something under way is done.
    fn take_delivered(&mut self) {
        let delivered = self.shared.inbox.wait_delivered();
        let now = Instant::now();
        for d in delivered {
            self.delivered(d, now);
        }
    }

    fn resync_due(&mut self, now: Instant) -> bool {
        self.resync.wanted && self.resync.not_before.is_none_or(|at| at <= now)
    }

    fn resync_now(&mut self, now: Instant) {
        self.resync.wanted = false;
        self.resync.count += 1;
        let quiet = self.resync.not_before.is_none_or(|at| now > at + RESYNC_MAX);
        self.resync.delay =
            if quiet { RESYNC_MIN } else { (self.resync.delay * 2).min(RESYNC_MAX) };
        tracing::warn!("reading all of the kernel's state anew");
        if let Err(err) = self.read_everything(Occasion::Resync) {
            tracing::error!(%err, "cannot read the kernel's state");
            self.last_error = Some(err.to_string());
            self.resync.wanted = true;
        }
        self.resync.not_before = Some(Instant::now() + self.resync.delay);
    }

    fn read_everything(&mut self, occasion: Occasion) -> Result<(), FibError> {
        self.audit.give_up(&mut self.state);
        let shared = self.shared.clone();
        let reading =
            reading::everything(&mut self.dump, &mut self.state, self.kernel_objects, |state| {
                serve(&shared, state)
            })?;
        self.state.read(reading, occasion, Instant::now());
        Ok(())
    }

    fn read_objects(&mut self, now: Instant) {
        match reading::objects(&mut self.dump) {
            Ok(objects) => self.state.read_objects(objects, Occasion::Resync, now),
            Err(err) => {
                tracing::warn!(%err, "cannot read next-hop objects");
                self.resync.wanted = true;
            }
        }
    }

    /// Nothing to do: a step of the audit if one is due, else sleep.
    fn rest(&mut self) {
        let now = Instant::now();
        let audit = self.audit.step(&mut self.state, &mut self.dump, now);
        if audit.found {
            return;
        }
        // With a batch under way its answer wakes us; deadlines may already be past.
        let deadline = if self.flights.is_empty() {
            let resync = self.resync.not_before.filter(|_| self.resync.wanted);
            [self.state.deadline(), resync].into_iter().flatten().min()
        } else {
            None
        };
        let deadline = [deadline, self.waiting.deadline()].into_iter().flatten().min();
        let deadline = deadline.into_iter().chain(audit.next).min();
        self.shared.inbox.wait(deadline);
    }

    /// Tells the daemon and everybody who asks.
    fn tell(&mut self) {
        self.waiting.answer(&self.state, Instant::now());
        let events = self.state.take_events();
        let links = events
            .iter()
            .any(|e| matches!(e, FibEvent::Link(_) | FibEvent::LinkGone(_) | FibEvent::InSync));
        if links {
            self.shared.links.publish(Arc::new(self.state.told_links()));
        }
        if !events.is_empty() {
            (self.events)(events);
        }
        self.publish();
    }

    fn publish(&mut self) {
        self.figures.table_waits(self.state.waiting() > 0, Instant::now());
        let flying = self.flights.iter().map(Flight::since);
        let waiting = [self.backlog.since(), self.figures.table_since()];
        let oldest_wish = earliest(flying.chain(waiting));
        let figures = self.figures.fill(self.state.figures());
        let status = FibStatus {
            degraded: self.degraded.clone(),
            nexthop_objects: self.state.uses_objects(),
            oldest_wish,
            pending: figures.pending + self.backlog.len(),
            resyncs: self.resync.count,
            last_error: self.last_error.clone(),
            ..figures
        };
        self.shared.status.publish(status);
    }

    fn owner(&self) -> Owner {
        let config = self.state.config();
        Owner { table: config.table, protocol: config.protocol }
    }

    fn take_encoder(&mut self) -> Encoder {
        Encoder::over(self.spare.pop().unwrap_or_default())
    }
}

impl Flight {
    fn len(&self) -> usize {
        match self {
            Self::Routes(ops, _) => ops.len(),
            Self::Objects(ops) => ops.len(),
            Self::Locals(ops) => ops.len(),
            Self::Addresses(ops) => ops.len(),
        }
    }

    fn since(&self) -> Option<Instant> {
        match self {
            Self::Routes(_, since) => *since,
            Self::Objects(_) | Self::Locals(_) | Self::Addresses(_) => None,
        }
    }
}

/// What a round came to.
enum Turn {
    Again,
    Wait,
    Stop(Leave),
}

/// Answers questions about rows while a long reading is under way.
fn serve(shared: &Shared, state: &State) {
    for order in shared.inbox.put(|work| work.take_rows()) {
        match order {
            Order::Rows(filter, after, limit, answer) => {
                drop(answer.send(state.rows(filter, after, limit)));
            }
            Order::InKernel(prefixes, answer) => drop(answer.send(state.in_kernel(&prefixes))),
            _ => {}
        }
    }
}
