//! One task for each peer: it owns the session state machine, its timers and its connections.
//!
//! Nothing here waits for a shard's work: messages to shards go into a channel that they empty
//! before they take up routes, and octets to write go into a queue.

mod outputs;
mod status;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bgp_core::{
    config::{GlobalConfig, MaxPrefixAction, PeerAddress, PeerConfig},
    fsm::{ConnectionId, Input, Negotiated, Output, Session, State, StopReason},
    rib::{Epoch, Event, PeerId, SoftReset},
};
use bgp_packet::{Family, RefreshKind, RouteRefresh, message};
use socket2::SockRef;
use tokio::{
    net::TcpStream,
    sync::{broadcast, mpsc, oneshot, watch},
    task::{AbortHandle, JoinSet},
    time::{sleep_until, timeout},
};
use tracing::{debug, info, warn};

pub use self::status::{AdminState, PeerStatus, TimersLeft, Transport};
use crate::{
    arrivals::Arrivals,
    connection::{
        Link, Receiving,
        reader::{Received, Report},
    },
    events::PeerEvent,
    kernel::Kernel,
    metrics::{MessageKind, PeerCounters},
    newcomers::Newcomer,
    shard::Shards,
    transport,
};

/// Messages of the two tasks of a connection waiting for the peer's task.
const REPORTS: usize = 8;
/// Orders waiting for the peer's task.
const ORDERS: usize = 64;
/// How long connections are given to end when the peer goes.
const FAREWELL: Duration = Duration::from_secs(3);

/// What others tell a peer's task.
#[derive(Debug)]
pub(crate) enum Order {
    /// A connection came in that is the peer's.
    Accepted(TcpStream, Newcomer),
    /// The other end of the interface of an unnumbered peer was heard.
    Neighbour(Ipv6Addr, u32),
    /// `peers reset`.
    Reset(String),
    /// `peers reset --soft`.
    SoftReset(SoftReset),
    /// `peers disable`.
    Disable(String),
    /// `peers enable`.
    Enable,
    /// New settings; `bounce`: the session depends on them.
    Reconfigure { global: Arc<GlobalConfig>, config: Arc<PeerConfig>, bounce: bool },
    /// The peer sent more than `max-prefixes` allows.
    MaxPrefixes { epoch: Epoch, family: Family, count: u32, warning: bool },
    /// What `margay peers NAME` shows.
    Status(oneshot::Sender<PeerStatus>),
    /// What was to be learnt again after a restart has been.
    CaughtUp,
    /// End the session and the task.
    Stop(StopReason),
}

/// What the rest of the speaker holds of a peer.
#[derive(Debug, Clone)]
pub(crate) struct PeerHandle {
    /// Its number.
    pub(crate) id: PeerId,
    /// To its task.
    pub(crate) orders: mpsc::Sender<Order>,
}

/// What a peer is made of.
#[derive(Debug)]
pub(crate) struct PeerSetup {
    pub(crate) id: PeerId,
    pub(crate) global: Arc<GlobalConfig>,
    pub(crate) config: Arc<PeerConfig>,
    /// The configured peer with `prefix` that a dynamic one came from.
    pub(crate) template: Option<String>,
    pub(crate) shards: Shards,
    pub(crate) kernel: Arc<dyn Kernel>,
    /// Interfaces have changed; only as good as the latest.
    pub(crate) links: watch::Receiver<()>,
    pub(crate) events: broadcast::Sender<PeerEvent>,
    /// Where readers run.
    pub(crate) readers: tokio::runtime::Handle,
    pub(crate) seed: u64,
    /// To the speaker.
    pub(crate) arrivals: Arc<Arrivals>,
    pub(crate) former: Former,
}

/// The process before this one, as far as peers are concerned (RFC 4724 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Former {
    /// There was none, or it ended for good.
    Gone,
    /// The kernel goes on as it left it, and what it knew is being learnt again.
    Missed,
    /// The kernel went on, and what it knew has been learnt again, as far as that was waited for.
    Replaced,
}

struct Connection {
    link: Arc<Link>,
    receiving: watch::Sender<Option<Arc<Receiving>>>,
    local: SocketAddr,
    remote: SocketAddr,
    incoming: bool,
    socket: std::sync::Weak<TcpStream>,
    /// Signs of life already told to the session.
    fed_received: Option<Instant>,
    fed_progress: Option<Instant>,
}

struct Up {
    connection: ConnectionId,
    epoch: Epoch,
    /// The first session of those that took over each other's routes.
    source: Epoch,
    negotiated: Arc<Negotiated>,
    /// What the shards were told when it came up, or later by us.
    config: Arc<PeerConfig>,
    since: Instant,
    /// The interface of a directly connected external peer: without it the session ends.
    depends_on: Option<Carrier>,
}

struct Carrier {
    interface: u32,
    name: String,
    /// The kernel tells of a carrier up to a second after packets flow: one that was never seen up
    /// cannot be seen to go down.
    seen_up: bool,
}

enum Ended {
    Dialled(ConnectionId, Result<TcpStream, String>),
    Reader(ConnectionId, Option<String>),
    Writer(ConnectionId, std::io::Result<()>),
}

/// See the module.
pub(crate) struct PeerTask {
    setup: PeerSetup,
    session: Session,
    counters: Arc<PeerCounters>,
    orders: mpsc::Receiver<Order>,
    reports: mpsc::Receiver<Report>,
    reports_sender: mpsc::Sender<Report>,
    neighbour: watch::Sender<Option<(Ipv6Addr, u32)>>,
    connections: BTreeMap<ConnectionId, Connection>,
    dials: BTreeMap<ConnectionId, AbortHandle>,
    tasks: JoinSet<Ended>,
    up: Option<Up>,
    /// The session under which the kernel knows what is kept of the peer.
    kept: Option<Epoch>,
    /// To ourselves, for shards.
    own_orders: mpsc::Sender<Order>,
    admin: AdminState,
    had_connection: bool,
    /// When the error happened that was logged last.
    logged_error: Option<Instant>,
    /// A ROUTE-REFRESH the session passed on while handling the last input.
    forward: Option<RouteRefresh>,
    outputs: Vec<Output>,
}

impl PeerTask {
    /// The task and the handle to it; run it with [`run`](Self::run).
    pub(crate) fn new(setup: PeerSetup) -> (Self, PeerHandle) {
        let (orders_sender, orders) = mpsc::channel(ORDERS);
        let (reports_sender, reports) = mpsc::channel(REPORTS);
        let counters = Arc::<PeerCounters>::default();
        let handle = PeerHandle { id: setup.id, orders: orders_sender };
        let remote = match &setup.config.address {
            PeerAddress::Address { address, .. } => *address,
            PeerAddress::Interface(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            PeerAddress::Dynamic { prefix, .. } => prefix.addr(),
        };
        let session = Session::new(
            GlobalConfig::clone(&setup.global),
            PeerConfig::clone(&setup.config),
            remote,
            setup.seed,
        );
        let admin = if setup.config.enabled { AdminState::Up } else { AdminState::Down };
        let task = Self {
            setup,
            session,
            counters,
            orders,
            reports,
            reports_sender,
            neighbour: watch::Sender::new(None),
            connections: BTreeMap::new(),
            dials: BTreeMap::new(),
            tasks: JoinSet::new(),
            up: None,
            kept: None,
            own_orders: handle.orders.clone(),
            admin,
            had_connection: false,
            logged_error: None,
            forward: None,
            outputs: Vec::new(),
        };
        (task, handle)
    }

    /// Runs until told to stop; a dynamic peer also ends with its last connection.
    pub(crate) async fn run(mut self) -> PeerId {
        if self.setup.former != Former::Gone {
            self.input(Input::Restarting(true)).await;
        }
        if self.setup.former == Former::Replaced {
            self.input(Input::Restarting(false)).await;
        }
        if self.admin == AdminState::Up {
            self.input(Input::Start).await;
        }
        loop {
            let deadline = self.session.next_deadline();
            tokio::select! {
                biased;
                () = sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => {
                    self.tick(deadline).await;
                }
                order = self.orders.recv() => match order {
                    Some(Order::Stop(reason)) => {
                        self.stop(reason).await;
                        return self.setup.id;
                    }
                    Some(order) => self.order(order).await,
                    None => {
                        self.stop(StopReason::Deconfigured).await;
                        return self.setup.id;
                    }
                },
                Some(report) = self.reports.recv() => self.report(report).await,
                Some(ended) = self.tasks.join_next() => self.ended(ended).await,
                Ok(()) = self.setup.links.changed() => self.links_changed().await,
            }
            if self.setup.template.is_some() && self.is_over() {
                self.stop(StopReason::Deconfigured).await;
                return self.setup.id;
            }
        }
    }

    /// A dynamic peer without a connection and not held down by hand has nothing left to do.
    fn is_over(&self) -> bool {
        self.connections.is_empty()
            && self.had_connection
            && self.admin == AdminState::Up
            // While backing off it goes on refusing.
            && self.session.state() != State::Idle
            // Nor while it may come back to its routes.
            && self.session.timers().restart.is_none()
            && self.orders.is_empty()
    }

    async fn stop(&mut self, reason: StopReason) {
        self.input(Input::Stop(reason)).await;
        self.orders.close();
        let tasks = &mut self.tasks;
        let _ = timeout(FAREWELL, async { while tasks.join_next().await.is_some() {} }).await;
        self.tasks.shutdown().await;
    }

    async fn input(&mut self, input: Input) {
        self.input_at(Instant::now(), input).await;
    }

    async fn input_at(&mut self, at: Instant, input: Input) {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.session.handle(at, input, &mut outputs);
        for output in outputs.drain(..) {
            self.output(output).await;
        }
        self.outputs = outputs;
    }

    /// Tells the session what connections did meanwhile, then that time has passed.
    async fn tick(&mut self, deadline: Option<Instant>) {
        let now = Instant::now();
        if let Some(late) = deadline.and_then(|deadline| now.checked_duration_since(deadline)) {
            let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
            self.counters.timer_late_us.fetch_max(micros, Relaxed);
        }
        let mut life = Vec::new();
        for (id, connection) in &mut self.connections {
            let established = self.up.as_ref().is_some_and(|up| up.connection == *id);
            let received = connection.link.pulse.last_received(now);
            if established && received > connection.fed_received {
                connection.fed_received = received;
                life.extend(received.map(|at| (at, Input::Update(*id))));
            }
            let progress = connection.link.pulse.last_progress();
            if progress > connection.fed_progress {
                connection.fed_progress = progress;
                life.extend(progress.map(|at| (at, Input::Progress(*id))));
            }
        }
        life.sort_by_key(|(at, _)| *at);
        for (at, input) in life {
            self.input_at(at, input).await;
        }
        self.input_at(now, Input::Tick).await;
    }

    async fn report(&mut self, report: Report) {
        let id = report.connection;
        if !self.connections.contains_key(&id) {
            return; // The answer is dropped with the report: the reader stops.
        }
        let input = match report.received {
            Received::Open(open) => Input::Open(id, open),
            Received::KeepAlive => Input::KeepAlive(id),
            Received::Update => Input::Update(id),
            Received::EndOfRib(family) => Input::EndOfRib(id, family),
            Received::Notification(notification) => Input::Notification(id, notification),
            Received::RouteRefresh(refresh) => Input::RouteRefresh(id, refresh),
            Received::Malformed(answer) => Input::Malformed(id, answer),
        };
        self.forward = None;
        self.input(input).await;
        let _ = report.answer.send(self.forward.take());
    }

    async fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        match ended {
            Ok(Ended::Dialled(id, result)) => {
                if self.dials.remove(&id).is_none() {
                    return;
                }
                match result {
                    Ok(stream) => self.connected(id, stream, None).await,
                    Err(why) => {
                        debug!(peer = %self.setup.config.name, err = why, "connect failed");
                        self.input(Input::ConnectFailed { connection: id, why }).await;
                    }
                }
            }
            Ok(Ended::Reader(id, Some(why))) => self.closed(id, why).await,
            Ok(Ended::Writer(id, Err(error))) => self.closed(id, error.to_string()).await,
            Ok(Ended::Reader(_, None) | Ended::Writer(_, Ok(()))) => {}
            // A panic is a bug of ours; the connection it belonged to cannot be told any more, so
            // the session starts anew.
            Err(error) if error.is_panic() => {
                tracing::error!(peer = %self.setup.config.name, err = %error, "connection task panicked");
                self.input(Input::Stop(StopReason::ConfigChange)).await;
            }
            Err(_) => {}
        }
    }

    async fn closed(&mut self, id: ConnectionId, why: String) {
        if let Some(connection) = self.connections.remove(&id) {
            connection.link.queue.close();
            connection.link.closing.cancel();
            self.input(Input::Closed { connection: id, why }).await;
        }
    }

    /// A session over an interface that is down would go on until its hold time and draw traffic.
    async fn links_changed(&mut self) {
        let Some(Up { connection, depends_on: Some(carrier), .. }) = &mut self.up else { return };
        let links = self.setup.kernel.links();
        let name = &carrier.name;
        let why = match links.iter().find(|link| link.index == carrier.interface) {
            Some(link) if link.up => {
                carrier.seen_up = true;
                return;
            }
            Some(_) if !carrier.seen_up => return,
            Some(_) => format!("interface {name} went down"),
            None => format!("interface {name} is gone"),
        };
        let connection = *connection;
        if let Some(connection) = self.connections.remove(&connection) {
            connection.link.queue.close();
            connection.link.closing.cancel();
        }
        self.input(Input::Cut { connection, why }).await;
    }

    async fn order(&mut self, order: Order) {
        let name = &self.setup.config.name;
        match order {
            Order::Accepted(stream, newcomer) => self.accepted(stream, newcomer).await,
            Order::Neighbour(address, interface) => {
                let heard = Some((address, interface));
                self.neighbour.send_if_modified(|known| {
                    let changed = *known != heard;
                    *known = heard;
                    changed
                });
            }
            Order::Reset(text) => {
                info!(peer = %name, text, "session reset by hand");
                self.input(Input::Stop(StopReason::AdminReset(text))).await;
            }
            Order::SoftReset(direction) => {
                if self.up.is_some() {
                    self.setup.shards.soft_reset(self.setup.id, direction).await;
                    // The Adj-RIB-In should be what the peer would send; asking makes it so.
                    if direction != SoftReset::Out {
                        self.ask_refresh();
                    }
                }
            }
            Order::Disable(text) => {
                info!(peer = %name, text, "peer disabled by hand");
                self.admin = AdminState::Down;
                self.input(Input::Stop(StopReason::AdminShutdown(text))).await;
            }
            Order::Enable => {
                info!(peer = %name, "peer enabled by hand");
                self.admin = AdminState::Up;
                self.input(Input::Start).await;
            }
            Order::Reconfigure { global, config, bounce } => {
                self.reconfigure(global, config, bounce).await;
            }
            Order::MaxPrefixes { epoch, family, count, warning } => {
                self.max_prefixes(epoch, family, count, warning).await;
            }
            Order::Status(reply) => {
                let _ = reply.send(self.status());
            }
            Order::CaughtUp => self.input(Input::Restarting(false)).await,
            Order::Stop(_) => {}
        }
    }

    async fn reconfigure(
        &mut self,
        global: Arc<GlobalConfig>,
        config: Arc<PeerConfig>,
        bounce: bool,
    ) {
        let old = Arc::clone(&self.setup.config);
        self.setup.global = Arc::clone(&global);
        self.setup.config = Arc::clone(&config);
        let both = (GlobalConfig::clone(&global), PeerConfig::clone(&config));
        self.input(Input::Reconfigure(Box::new(both))).await;
        match (old.enabled, config.enabled) {
            (true, false) => {
                self.admin = AdminState::Down;
                let text = "disabled by configuration".to_owned();
                self.input(Input::Stop(StopReason::AdminShutdown(text))).await;
            }
            (false, true) => {
                self.admin = AdminState::Up;
                self.input(Input::Start).await;
            }
            _ if bounce && self.admin == AdminState::Up => {
                self.input(Input::Stop(StopReason::ConfigChange)).await;
                // It may have been down for want of something that is there now.
                if self.session.is_down() {
                    self.input(Input::Start).await;
                }
            }
            _ => {}
        }
        // It may have come up with the former settings after the shards were given the new ones.
        if let Some(up) = self.up.as_mut().filter(|up| *up.config != *config) {
            up.config = Arc::clone(&config);
            let (peer, epoch) = (self.setup.id, up.epoch);
            let event = || Event::PeerConfig { peer, epoch, config: Arc::clone(&config) };
            self.setup.shards.event(event).await;
        }
        let discards = |config: &PeerConfig| {
            config.max_prefixes.is_some_and(|limits| limits.action == MaxPrefixAction::Discard)
        };
        // What was dropped then may have room now.
        if old.max_prefixes != config.max_prefixes && discards(&old) && !self.ask_refresh() {
            debug!(peer = %config.name, "no refresh for what max-prefixes has dropped");
        }
        let (Some(up), true) = (
            &self.up,
            old.enforce_first_as != config.enforce_first_as
                || old.reject_as_set != config.reject_as_set,
        ) else {
            return;
        };
        let Some(connection) = self.connections.get(&up.connection) else { return };
        let receiving = receiving(up.epoch, &up.negotiated, &config);
        connection.receiving.send_replace(Some(Arc::new(receiving)));
        if !self.ask_refresh() {
            warn!(peer = %config.name, "routes received before keep to the former settings: the peer cannot refresh them");
        }
    }

    /// Asks the peer to send the routes of every family again; false where it cannot.
    fn ask_refresh(&self) -> bool {
        let Some(up) = self.up.as_ref().filter(|up| up.negotiated.route_refresh) else {
            return false;
        };
        let Some(connection) = self.connections.get(&up.connection) else { return false };
        for family in up.negotiated.families.iter() {
            let refresh = RouteRefresh { family, kind: RefreshKind::Request };
            self.counters.sent(MessageKind::RouteRefresh, 1);
            connection.link.queue.push_control(message::encode_route_refresh(refresh));
        }
        true
    }

    async fn max_prefixes(&mut self, epoch: Epoch, family: Family, count: u32, warning: bool) {
        if self.up.as_ref().is_none_or(|up| up.epoch != epoch) {
            return;
        }
        let Some(limits) = self.setup.config.max_prefixes else { return };
        let (peer, limit) = (&self.setup.config.name, limits.limit);
        if warning {
            warn!(%peer, %family, count, limit, "prefixes near max-prefixes");
            return;
        }
        warn!(%peer, %family, count, limit, action = ?limits.action, "more prefixes than max-prefixes");
        let restart = match limits.action {
            MaxPrefixAction::Warn | MaxPrefixAction::Discard => return,
            MaxPrefixAction::Shutdown => None,
            MaxPrefixAction::Restart(after) => Some(after),
        };
        if restart.is_none() {
            self.admin = AdminState::Down;
        }
        self.input(Input::Stop(StopReason::MaxPrefixes { family, limit, restart })).await;
    }

    async fn accepted(&mut self, stream: TcpStream, newcomer: Newcomer) {
        // Also where it is gone before we look at it: a dynamic peer ends then too.
        self.had_connection = true;
        let Some(id) = self.session.accept(Instant::now()) else {
            debug!(peer = %self.setup.config.name, "connection refused: peer is down or backing off");
            crate::listener::refuse(stream);
            return;
        };
        let remote = stream.peer_addr().map(|address| transport::canonical(address).ip());
        let hops = transport::Hops::of(&self.setup.global, &self.setup.config);
        let prepared =
            remote.and_then(|remote| transport::prepare(&SockRef::from(&stream), remote, hops));
        if let Err(error) = prepared {
            let why = error.to_string();
            self.input(Input::ConnectFailed { connection: id, why }).await;
            return;
        }
        self.connected(id, stream, Some(newcomer)).await;
    }
}

fn receiving(epoch: Epoch, negotiated: &Negotiated, config: &PeerConfig) -> Receiving {
    Receiving {
        epoch,
        context: negotiated.update_context(config),
        max_len: negotiated.max_receive_len,
    }
}
