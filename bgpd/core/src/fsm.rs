//! The session state machine (RFC 4271 §8), one per peer, over up to two connections.
//!
//! Owns: when to connect, what to answer, which of two connections stays, when to give up and how
//! long to pause. Promises: every pair of state and input has an answer; never two Established
//! connections; equal inputs and seed give equal outputs. Leaves to others: sockets, octets, the
//! clock, and what UPDATEs say.
//!
//! Where RFC 4271 gives each connection a machine of its own, here one [`Session`] holds both and
//! shows the more advanced state. Its pauses: a TCP connection that cannot be made is tried again
//! after `connect-retry`; a session that failed goes through Idle, where connections are refused,
//! for a time that doubles until a session has stayed up for a minute. All with jitter.

mod api;
mod connection;
mod ending;
mod events;
mod impact;
mod negotiation;
mod timers;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

pub use api::{
    ConnectionId, Control, ErrorDirection, Input, Negotiated, Output, PeerRestart, SessionError,
    State, StopReason, Timers,
};
pub use impact::{Impact, change_impact, global_change_concerns_peers, global_change_impact};

use bgp_packet::FamilySet;

use crate::config::{GlobalConfig, PeerAddress, PeerConfig};
use connection::{Connection, Direction};
use timers::Jitter;

/// Whether the session is meant to be up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Until [`Input::Start`].
    Down,
    /// Pausing after a failure.
    IdleHold(Instant),
    /// Connecting, or connected.
    Running {
        /// When to try to connect; absent while nothing is to be tried.
        retry: Option<Instant>,
    },
}

/// An attempt to connect, under way.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    id: ConnectionId,
    /// When to give up on it.
    deadline: Instant,
}

/// One peer's state machine.
#[derive(Debug)]
pub struct Session {
    global: GlobalConfig,
    peer: PeerConfig,
    remote: IpAddr,
    jitter: Jitter,
    mode: Mode,
    /// Down although started, for want of a readable password.
    blocked: bool,
    next_id: u64,
    attempt: Option<Attempt>,
    /// At most two.
    connections: Vec<Connection>,
    /// The next OPEN goes without capabilities.
    plain: bool,
    /// Our process has just restarted.
    restarting: bool,
    /// It has restarted since the host was booted, and packets were forwarded all the while.
    restarted: bool,
    /// While routes of the peer are kept past the session that told them: until when.
    stale_until: Option<Instant>,
    /// Families that these are of, while `stale_until` is there.
    stale: FamilySet,
    /// Sessions that failed since the last stable one or manual stop; drives the pauses.
    failures: u32,
    /// Connections that could not be made or ended before the peer's OPEN, likewise.
    attempts_failed: u32,
    /// RFC 4271 `ConnectRetryCounter`.
    connect_retries: u32,
    /// The state last reported, and since when.
    shown: (State, Option<Instant>),
    established_at: Option<Instant>,
    flaps: u64,
    last_error: Option<SessionError>,
}

impl Session {
    /// A session in Idle, administratively down until [`Input::Start`] (`enabled` of the
    /// configuration is for the shell to obey). `remote` is the peer's address (for default
    /// families); `seed` drives the jitter of timers.
    pub fn new(global: GlobalConfig, peer: PeerConfig, remote: IpAddr, seed: u64) -> Self {
        Self {
            global,
            peer,
            remote,
            jitter: Jitter::new(seed),
            mode: Mode::Down,
            blocked: false,
            next_id: 0,
            attempt: None,
            connections: Vec::new(),
            plain: false,
            restarting: false,
            restarted: false,
            stale_until: None,
            stale: FamilySet::EMPTY,
            failures: 0,
            attempts_failed: 0,
            connect_retries: 0,
            shown: (State::Idle, None),
            established_at: None,
            flaps: 0,
            last_error: None,
        }
    }

    /// Every pair of state and input has an answer (RFC 4271 §8.2.2), so nothing can fail here.
    /// What concerns a connection that has ended is ignored.
    pub fn handle(&mut self, now: Instant, input: Input, out: &mut Vec<Output>) {
        self.shown.1.get_or_insert(now);
        self.dispatch(now, input, out);
        self.expire(now, out);
        self.settle(now);
    }

    /// When to call again with [`Input::Tick`], if nothing arrives before.
    pub fn next_deadline(&self) -> Option<Instant> {
        let mode = match self.mode {
            Mode::Down => None,
            Mode::IdleHold(until) => Some(until),
            Mode::Running { retry } => retry,
        };
        self.connections
            .iter()
            .filter_map(Connection::next_deadline)
            .chain(mode)
            .chain(self.attempt.map(|attempt| attempt.deadline))
            .chain(self.stale_until)
            .min()
    }

    /// Whether an incoming connection should be taken now, and its id; `None`: refuse with RST
    /// (administratively down, backing off, or two connections are up already).
    pub fn accept(&mut self, now: Instant) -> Option<ConnectionId> {
        self.shown.1.get_or_insert(now);
        let room = self.connections.len() < 2 || self.replaceable().is_some();
        (matches!(self.mode, Mode::Running { .. }) && room).then(|| self.new_id())
    }

    /// The state to show.
    pub fn state(&self) -> State {
        let connected = self.connections.iter().map(Connection::state).max();
        connected.unwrap_or(match (self.mode, self.attempt) {
            (Mode::Down | Mode::IdleHold(_), _) => State::Idle,
            (Mode::Running { .. }, Some(_)) => State::Connect,
            (Mode::Running { .. }, None) => State::Active,
        })
    }

    /// Since when [`Self::state`] is what it is; `None` before the first input.
    pub fn state_since(&self) -> Option<Instant> {
        self.shown.1
    }

    /// Whether the session is administratively down: not meant to come up by itself.
    pub fn is_down(&self) -> bool {
        self.mode == Mode::Down
    }

    /// Since when the session is Established.
    pub fn established_at(&self) -> Option<Instant> {
        self.established_at
    }

    /// How often it ceased to be Established.
    pub fn flaps(&self) -> u64 {
        self.flaps
    }

    /// The last error, if any since the start.
    pub fn last_error(&self) -> Option<&SessionError> {
        self.last_error.as_ref()
    }

    /// What was agreed with the peer, while Established.
    pub fn negotiated(&self) -> Option<&Arc<Negotiated>> {
        self.established().and_then(Connection::negotiated)
    }

    /// The connection that is Established.
    pub fn established_connection(&self) -> Option<ConnectionId> {
        self.established().map(|connection| connection.id)
    }

    /// Sessions and attempts that failed since the last manual stop (RFC 4271
    /// `ConnectRetryCounter`).
    pub fn connect_retry_counter(&self) -> u32 {
        self.connect_retries
    }

    /// When each timer fires next.
    pub fn timers(&self) -> Timers {
        let (connect_retry, idle_hold) = match self.mode {
            Mode::Down => (None, None),
            Mode::IdleHold(until) => (None, Some(until)),
            Mode::Running { retry } => (self.attempt.map(|a| a.deadline).or(retry), None),
        };
        let leader = self.connections.iter().max_by_key(|connection| connection.state());
        Timers {
            connect_retry,
            idle_hold,
            hold: leader.and_then(|c| c.hold),
            keepalive: leader.and_then(|c| c.keepalive),
            send_hold: leader.and_then(|c| c.send_hold),
            restart: self.stale_until,
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> &PeerConfig {
        &self.peer
    }

    fn established(&self) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.is_established())
    }

    fn connection_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.id == id)
    }

    fn take(&mut self, id: ConnectionId) -> Option<Connection> {
        let index = self.connections.iter().position(|connection| connection.id == id)?;
        Some(self.connections.remove(index))
    }

    /// An incoming connection that a newer one replaces: a peer that connects again has given up
    /// the one before, whether or not we heard of it.
    fn replaceable(&self) -> Option<ConnectionId> {
        self.connections
            .iter()
            .find(|c| c.direction == Direction::Inbound && !c.is_established())
            .map(|c| c.id)
    }

    fn new_id(&mut self) -> ConnectionId {
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        id
    }

    /// Whether we never connect ourselves.
    fn is_passive(&self) -> bool {
        self.peer.passive || matches!(self.peer.address, PeerAddress::Dynamic { .. })
    }

    /// Whether an attempt should be made or be waited for: nothing of ours is on its way, and the
    /// peer has not shown itself on a connection of its own.
    fn wants_attempt(&self) -> bool {
        !self.is_passive()
            && self.attempt.is_none()
            && self.connections.iter().all(|connection| {
                connection.direction == Direction::Inbound && connection.state() == State::OpenSent
            })
    }

    fn attempt_pause(&mut self) -> Duration {
        let pause = timers::attempt_pause(self.peer.connect_retry, self.attempts_failed);
        self.jitter.apply(pause)
    }

    /// Arms or stops the connect-retry timer as the connections now demand.
    fn settle(&mut self, now: Instant) {
        let wanted = self.wants_attempt();
        if let Mode::Running { retry } = self.mode {
            let retry = match (wanted, retry) {
                (true, None) => Some(now + self.attempt_pause()),
                (true, armed) => armed,
                (false, _) => None,
            };
            self.mode = Mode::Running { retry };
        }
    }

    /// Reports a change of state since the last report.
    fn report(&mut self, now: Instant, why: &str, out: &mut Vec<Output>) {
        let (from, to) = (self.shown.0, self.state());
        if from != to {
            self.shown = (to, Some(now));
            out.push(Output::StateChanged { from, to, why: why.into() });
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
