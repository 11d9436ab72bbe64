//! One TCP connection of a session, and which of two survives (RFC 4271 §6.8).

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bgp_packet::Asn;

use super::{
    ConnectionId, Negotiated, State,
    negotiation::Offer,
    timers::{self, Jitter},
};

/// Who opened the TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// We did.
    Outbound,
    /// The peer did.
    Inbound,
}

/// How far the exchange has come.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phase {
    /// Our OPEN is out.
    OpenSent,
    /// A valid OPEN came while another connection was Established. Should the peer prefer this one
    /// (both may be right, depending on what arrived first), it says so within a while.
    AwaitsVerdict(Arc<Negotiated>),
    /// OPENs exchanged, our KEEPALIVE is out.
    OpenConfirm(Arc<Negotiated>),
    /// Up.
    Established(Arc<Negotiated>),
}

/// A TCP connection that is up.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) direction: Direction,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) offer: Offer,
    pub(super) phase: Phase,
    /// Deadlines; absent = not running.
    pub(super) hold: Option<Instant>,
    pub(super) keepalive: Option<Instant>,
    pub(super) send_hold: Option<Instant>,
    /// Was up, or on its way, already when another connection became Established.
    pub(super) contender: bool,
}

impl Connection {
    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::OpenSent | Phase::AwaitsVerdict(_) => State::OpenSent,
            Phase::OpenConfirm(_) => State::OpenConfirm,
            Phase::Established(_) => State::Established,
        }
    }

    pub(super) fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established(_))
    }

    /// What both agreed on, from OpenConfirm on.
    pub(super) fn negotiated(&self) -> Option<&Arc<Negotiated>> {
        match &self.phase {
            Phase::OpenSent | Phase::AwaitsVerdict(_) => None,
            Phase::OpenConfirm(negotiated) | Phase::Established(negotiated) => Some(negotiated),
        }
    }

    /// Something arrived that proves the peer alive.
    pub(super) fn restart_hold(&mut self, now: Instant) {
        self.hold = self.timer_with(now, |n| n.hold_time);
    }

    /// The socket took octets, so the peer still reads.
    pub(super) fn restart_send_hold(&mut self, now: Instant) {
        self.send_hold = self.timer_with(now, |n| timers::send_hold(n.hold_time));
    }

    pub(super) fn restart_keepalive(&mut self, now: Instant, jitter: &mut Jitter) {
        self.keepalive = self.timer_with(now, |n| jitter.apply(n.keepalive_interval));
    }

    /// The first of its deadlines.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [self.hold, self.keepalive, self.send_hold].into_iter().flatten().min()
    }

    /// A deadline that exists only after negotiation and with a hold time.
    fn timer_with(
        &self,
        now: Instant,
        length: impl FnOnce(&Negotiated) -> Duration,
    ) -> Option<Instant> {
        self.negotiated().filter(|n| !n.hold_time.is_zero()).map(|n| now + length(n))
    }
}

/// Of two connections between us and a peer, the one that stays: that of the speaker with the higher
/// BGP identifier, or with the larger AS where the identifiers are equal (RFC 6286 §2.3).
pub(super) fn survivor(ours: (Ipv4Addr, Asn), theirs: (Ipv4Addr, Asn)) -> Direction {
    if ours > theirs { Direction::Outbound } else { Direction::Inbound }
}
