//! Two sessions, the wire between them, and a clock that only tests move.
//!
//! The wire is TCP as a session sees it: order within a connection, none between connections;
//! the initiator may know that it is connected before or after the acceptor; ends that learn of a
//! loss at different times or not at all.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    fmt::Debug,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use bgp_core::{
    config::{GlobalConfig, PeerConfig},
    fsm::{ConnectionId, Control, Input, Output, Session, State},
};
use bgp_packet::Asn;

use super::common;

/// SplitMix64: all chance in a run comes from its seed.
#[derive(Debug, Clone)]
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn millis(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound.max(1)))
    }
}

/// One of the two speakers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Left,
    Right,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Left, Self::Right];

    pub fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    pub fn index(self) -> usize {
        match self {
            Self::Left => 0,
            Self::Right => 1,
        }
    }

    fn address(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, if self == Self::Left { 1 } else { 2 }))
    }
}

/// What travels over a connection.
#[derive(Debug, Clone)]
enum Packet {
    Message(Control),
    Update,
    End,
}

/// One end of a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Not told to its session yet.
    Pending,
    Up(ConnectionId),
    Gone,
}

/// A TCP connection, or an attempt at one.
#[derive(Debug, Clone)]
struct Tcp {
    initiator: Side,
    /// By side.
    ends: [End; 2],
    /// When the last packet towards a side arrives: later ones do not overtake it.
    arrival: [Instant; 2],
    /// Came in before the end was up.
    waiting: [Vec<Packet>; 2],
    /// Nothing passes any more, and nobody is told.
    cut: bool,
}

#[derive(Debug, Clone)]
enum Happening {
    Syn(usize),
    /// The initiator learns that it is connected.
    Connected(usize, ConnectionId),
    Refused(Side, u32, ConnectionId),
    Accept(usize),
    Arrive(usize, Side, Packet),
    /// Of the session of that restart count only.
    Reset(usize, Side),
}

/// What the world remembers of one speaker.
#[derive(Debug)]
pub struct Node {
    pub session: Session,
    pub restarts: u32,
    /// Its connection that is Established, by output.
    pub established: Option<ConnectionId>,
    /// Times it became Established since the start of the world.
    pub ups: u32,
    /// Times it fell back to Idle.
    pub idles: u32,
    connections: BTreeMap<ConnectionId, usize>,
}

pub struct World {
    pub now: Instant,
    pub nodes: [Node; 2],
    pub chance: Chance,
    /// Longest delay of a packet, milliseconds.
    pub delay: u64,
    /// Attempts vanish while the wire is down.
    pub wire_up: bool,
    configs: [(GlobalConfig, PeerConfig); 2],
    tcp: Vec<Tcp>,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    sequence: u64,
    /// Events worked off, to notice a livelock.
    pub steps: u64,
}

impl World {
    /// Two speakers, not started. Their identifiers and the longest delay follow from the seed.
    pub fn new(seed: u64, adapt: impl Fn(Side, &mut GlobalConfig, &mut PeerConfig)) -> Self {
        #[allow(clippy::disallowed_methods)] // any instant does; only differences matter
        let now = Instant::now();
        let mut chance = Chance(seed);
        let delay = [1, 20, 200, 2000][usize::try_from(chance.below(4)).expect("small")];
        let swapped = chance.one_in(2);
        let configs = Side::BOTH.map(|side| {
            let high = (side == Side::Left) == swapped;
            let asn = |side| Asn(if side == Side::Left { 65001 } else { 65002 });
            let id = Ipv4Addr::new(10, 0, 0, if high { 9 } else { 1 });
            let mut global = common::global(asn(side), id);
            let mut peer = common::peer("peer", side.other().address(), asn(side.other()));
            adapt(side, &mut global, &mut peer);
            (global, peer)
        });
        let nodes = Side::BOTH.map(|side| {
            let (global, peer) = configs[side.index()].clone();
            let session = Session::new(global, peer, side.other().address(), chance.0);
            chance.below(1);
            Node {
                session,
                restarts: 0,
                established: None,
                ups: 0,
                idles: 0,
                connections: BTreeMap::new(),
            }
        });
        Self {
            now,
            nodes,
            chance,
            delay,
            wire_up: true,
            configs,
            tcp: Vec::new(),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            sequence: 0,
            steps: 0,
        }
    }

    pub fn node(&self, side: Side) -> &Node {
        &self.nodes[side.index()]
    }

    pub fn state(&self, side: Side) -> State {
        self.node(side).session.state()
    }

    /// The connection both are Established on, if it is the same.
    pub fn common_connection(&self) -> Option<usize> {
        let [left, right] = Side::BOTH.map(|side| {
            let node = self.node(side);
            node.established.and_then(|id| node.connections.get(&id).copied())
        });
        left.filter(|_| left == right).filter(|index| !self.tcp[*index].cut)
    }

    pub fn give(&mut self, side: Side, input: Input) {
        let mut out = Vec::new();
        self.nodes[side.index()].session.handle(self.now, input, &mut out);
        for output in out {
            self.carry_out(side, output);
        }
    }

    /// Works everything off that happens up to `end`, timers included.
    pub fn run_until(&mut self, end: Instant) {
        loop {
            let timer = Side::BOTH
                .into_iter()
                .filter_map(|side| Some((self.node(side).session.next_deadline()?, side)))
                .min();
            let event = self.queue.peek().map(|Reverse((at, _))| *at);
            let next = [timer.map(|(at, _)| at), event].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.steps += 1;
            self.now = self.now.max(next);
            if event == Some(next) {
                let Some(Reverse((_, key))) = self.queue.pop() else { break };
                if let Some(happening) = self.happenings.remove(&key) {
                    self.happen(happening);
                }
            } else if let Some((_, side)) = timer {
                self.give(side, Input::Tick);
            }
        }
        self.now = end;
    }

    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    /// Every connection stops passing anything, and nobody is told.
    pub fn cut_connections(&mut self) {
        for tcp in &mut self.tcp {
            tcp.cut = true;
        }
    }

    /// A connection breaks, and each end learns of it at its own time.
    pub fn reset_connection(&mut self, which: u64) {
        let live: Vec<_> = (0..self.tcp.len())
            .filter(|index| self.tcp[*index].ends.iter().any(|end| matches!(end, End::Up(_))))
            .collect();
        if live.is_empty() {
            return;
        }
        let pick = usize::try_from(which % u64::try_from(live.len()).expect("fits")).expect("fits");
        let index = live[pick];
        self.tcp[index].cut = true;
        for side in Side::BOTH {
            let delay = self.delay_of_one();
            self.later(delay, Happening::Reset(index, side));
        }
    }

    /// The process dies and starts again; its kernel resets what it had, or the whole host is new
    /// and says so only when something arrives.
    pub fn restart(&mut self, side: Side, whole_host: bool) {
        let (global, peer) = self.configs[side.index()].clone();
        let seed = self.chance.0 ^ self.sequence;
        let node = &mut self.nodes[side.index()];
        node.session = Session::new(global, peer, side.other().address(), seed);
        node.restarts += 1;
        node.established = None;
        let connections = std::mem::take(&mut node.connections);
        for index in connections.into_values() {
            self.tcp[index].ends[side.index()] = End::Gone;
            if !whole_host {
                self.transmit(index, side, Packet::End);
            }
        }
        self.give(side, Input::Start);
    }

    /// The shell of an Established session sends an UPDATE.
    pub fn send_update(&mut self, side: Side) {
        let node = self.node(side);
        if let Some(index) = node.established.and_then(|id| node.connections.get(&id).copied()) {
            self.transmit(index, side, Packet::Update);
        }
    }

    fn later(&mut self, delay: Duration, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    fn at(&mut self, at: Instant, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence)));
        self.happenings.insert(self.sequence, happening);
    }

    fn delay_of_one(&mut self) -> Duration {
        let bound = self.delay;
        self.chance.millis(bound) + Duration::from_micros(10)
    }

    fn transmit(&mut self, index: usize, from: Side, packet: Packet) {
        let to = from.other();
        let at = (self.now + self.delay_of_one()).max(self.tcp[index].arrival[to.index()]);
        self.tcp[index].arrival[to.index()] = at;
        self.at(at, Happening::Arrive(index, to, packet));
    }

    fn carry_out(&mut self, side: Side, output: Output) {
        match output {
            Output::Connect(id) => {
                let index = self.tcp.len();
                self.tcp.push(Tcp {
                    initiator: side,
                    ends: [End::Pending; 2],
                    arrival: [self.now; 2],
                    waiting: [Vec::new(), Vec::new()],
                    cut: !self.wire_up,
                });
                self.nodes[side.index()].connections.insert(id, index);
                let delay = self.delay_of_one();
                self.later(delay, Happening::Syn(index));
            }
            Output::Send(id, message) => {
                let index = *self.node(side).connections.get(&id).expect("a known connection");
                assert_eq!(self.tcp[index].ends[side.index()], End::Up(id), "{message:?}");
                self.transmit(index, side, Packet::Message(message));
                if !self.tcp[index].cut {
                    // The socket took it; told after this call, as a shell would.
                    self.nodes[side.index()].session.handle(
                        self.now,
                        Input::Progress(id),
                        &mut Vec::new(),
                    );
                }
            }
            Output::Close(id) => {
                let Some(index) = self.nodes[side.index()].connections.remove(&id) else { return };
                let end = std::mem::replace(&mut self.tcp[index].ends[side.index()], End::Gone);
                if end != End::Gone {
                    self.transmit(index, side, Packet::End);
                }
            }
            Output::Established(id, negotiated) => {
                let node = &mut self.nodes[side.index()];
                assert_eq!(node.established.replace(id), None, "two connections Established");
                assert_eq!(negotiated.remote.ip(), side.other().address());
                node.ups += 1;
            }
            Output::Down(id, _) => {
                assert_eq!(self.nodes[side.index()].established.take(), Some(id));
            }
            Output::Forget => panic!("nothing is kept without RFC 4724"),
            Output::Refresh(refresh) => panic!("nobody sent {refresh:?}"),
            Output::StateChanged { to, .. } => {
                self.nodes[side.index()].idles += u32::from(to == State::Idle);
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Syn(index) => self.syn(index),
            Happening::Connected(index, id) => {
                let side = self.tcp[index].initiator;
                if self.node(side).connections.get(&id) == Some(&index) {
                    self.up(index, side, id);
                }
            }
            Happening::Refused(side, restarts, connection) => {
                if self.node(side).restarts == restarts {
                    let known = self.nodes[side.index()].connections.remove(&connection);
                    if known.is_some() {
                        let why = "connection refused".to_owned();
                        self.give(side, Input::ConnectFailed { connection, why });
                    }
                }
            }
            Happening::Accept(index) => {
                let side = self.tcp[index].initiator.other();
                let now = self.now;
                match self.nodes[side.index()].session.accept(now) {
                    Some(id) => {
                        self.nodes[side.index()].connections.insert(id, index);
                        self.up(index, side, id);
                    }
                    None => {
                        self.tcp[index].ends[side.index()] = End::Gone;
                        self.transmit(index, side, Packet::End);
                    }
                }
            }
            Happening::Arrive(index, side, packet) => self.arrive(index, side, packet),
            Happening::Reset(index, side) => self.lose(index, side, "connection reset"),
        }
    }

    fn syn(&mut self, index: usize) {
        let initiator = self.tcp[index].initiator;
        let acceptor = initiator.other();
        let connections = &self.node(initiator).connections;
        let id = connections.iter().find(|(_, i)| **i == index).map(|(id, _)| *id);
        let (Some(id), false) = (id, self.tcp[index].cut) else { return };
        let back = self.delay_of_one();
        // Whether the kernel refuses, or only the process: sessions must live with either.
        let room = self.nodes[acceptor.index()].session.accept(self.now).is_some();
        if !room && self.chance.one_in(2) {
            let restarts = self.node(initiator).restarts;
            self.later(back, Happening::Refused(initiator, restarts, id));
            return;
        }
        let accept = self.delay_of_one();
        self.later(back, Happening::Connected(index, id));
        self.later(accept, Happening::Accept(index));
    }

    fn up(&mut self, index: usize, side: Side, id: ConnectionId) {
        let tcp = &mut self.tcp[index];
        tcp.ends[side.index()] = End::Up(id);
        let port = |s: Side| if s == tcp.initiator { 40000 } else { 179 };
        let local = SocketAddr::new(side.address(), port(side));
        let remote = SocketAddr::new(side.other().address(), port(side.other()));
        let initiated = tcp.initiator == side;
        let waiting = std::mem::take(&mut tcp.waiting[side.index()]);
        self.give(
            side,
            if initiated {
                Input::Connected { connection: id, local, remote }
            } else {
                Input::Accepted { connection: id, local, remote }
            },
        );
        for packet in waiting {
            self.arrive(index, side, packet);
        }
    }

    fn arrive(&mut self, index: usize, side: Side, packet: Packet) {
        let tcp = &mut self.tcp[index];
        if tcp.cut {
            return;
        }
        let id = match tcp.ends[side.index()] {
            End::Pending => {
                tcp.waiting[side.index()].push(packet);
                return;
            }
            End::Gone => {
                // Nobody there: the kernel says so.
                if !matches!(packet, Packet::End) {
                    let delay = self.delay_of_one();
                    self.later(delay, Happening::Reset(index, side.other()));
                }
                return;
            }
            End::Up(id) => id,
        };
        match packet {
            Packet::End => self.lose(index, side, "closed by the peer"),
            Packet::Update => self.give(side, Input::Update(id)),
            Packet::Message(Control::Open(open)) => self.give(side, Input::Open(id, open)),
            Packet::Message(Control::KeepAlive) => self.give(side, Input::KeepAlive(id)),
            Packet::Message(Control::Notification(n)) => {
                self.give(side, Input::Notification(id, n));
            }
        }
    }

    fn lose(&mut self, index: usize, side: Side, why: &str) {
        let end = self.tcp[index].ends[side.index()];
        if let End::Up(connection) = end {
            self.tcp[index].ends[side.index()] = End::Gone;
            self.nodes[side.index()].connections.remove(&connection);
            self.give(side, Input::Closed { connection, why: why.to_owned() });
        }
    }
}
