//! What a peer looks like from outside.

use std::net::SocketAddr;

use bgp_core::fsm::SessionError;
use bgp_packet::FamilySet;

use super::*;
use crate::metrics::PeerCounters;

/// Whether a peer may be up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminState {
    /// It may.
    Up,
    /// Disabled by configuration, by hand, or by `max-prefixes` with action `shutdown`.
    Down,
}

/// The TCP connection of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transport {
    /// Our end.
    pub local: SocketAddr,
    /// Their end.
    pub remote: SocketAddr,
    /// The peer connected to us.
    pub incoming: bool,
}

/// Time left on the timers of a session; `None`: not running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimersLeft {
    /// Until the next attempt to connect, or until the pause after a failed session ends.
    pub connect: Option<Duration>,
    /// Until the session ends, if nothing arrives.
    pub hold: Option<Duration>,
    /// Until the next keep-alive is sent.
    pub keepalive: Option<Duration>,
}

/// A snapshot of a peer.
#[derive(Debug, Clone)]
pub struct PeerStatus {
    /// Its number.
    pub id: PeerId,
    /// Its settings.
    pub config: Arc<PeerConfig>,
    /// The configured peer with `prefix` a dynamic one came from.
    pub template: Option<String>,
    /// Its address, with the interface index of a link-local one; `None` while an unnumbered peer
    /// has not been heard.
    pub address: Option<SocketAddr>,
    /// The AS we show it.
    pub local_asn: bgp_packet::Asn,
    /// State of its session.
    pub state: State,
    /// Whether it may be up.
    pub admin: AdminState,
    /// Since Established.
    pub uptime: Option<Duration>,
    /// The last error, and how long ago it was.
    pub last_error: Option<(SessionError, Duration)>,
    /// What was agreed, while Established.
    pub negotiated: Option<Arc<Negotiated>>,
    /// The connection, of two the more advanced one.
    pub transport: Option<Transport>,
    /// Since the last sign of life.
    pub last_received: Option<Duration>,
    /// Since the last UPDATE.
    pub last_update: Option<Duration>,
    /// Families whose End-of-RIB came on this connection.
    pub end_of_rib: FamilySet,
    /// Time left on the timers.
    pub timers: TimersLeft,
    /// How often the session left Established.
    pub flaps: u64,
    /// Since the daemon started.
    pub counters: Arc<PeerCounters>,
    /// Octets waiting to be written.
    pub queued_octets: usize,
}

impl PeerTask {
    pub(super) fn status(&self) -> PeerStatus {
        let now = Instant::now();
        let up = self.up.as_ref();
        let connection = match up {
            Some(up) => self.connections.get(&up.connection),
            None => self.connections.values().next(),
        };
        PeerStatus {
            id: self.setup.id,
            config: Arc::clone(&self.setup.config),
            template: self.setup.template.clone(),
            address: self.remote_address(),
            local_asn: self.setup.config.local_asn.unwrap_or(self.setup.global.asn),
            state: self.session.state(),
            admin: self.admin,
            uptime: up.map(|up| now.saturating_duration_since(up.since)),
            last_error: self
                .session
                .last_error()
                .map(|error| (error.clone(), now.saturating_duration_since(error.at))),
            negotiated: up.map(|up| Arc::clone(&up.negotiated)),
            transport: connection.map(|connection| Transport {
                local: connection.local,
                remote: connection.remote,
                incoming: connection.incoming,
            }),
            last_received: connection
                .and_then(|connection| connection.link.pulse.last_received(now))
                .map(|at| now.saturating_duration_since(at)),
            last_update: connection
                .and_then(|connection| connection.link.pulse.last_update())
                .map(|at| now.saturating_duration_since(at)),
            end_of_rib: connection
                .map_or(FamilySet::EMPTY, |connection| connection.link.pulse.end_of_rib()),
            timers: self.timers(connection, now),
            flaps: self.session.flaps(),
            counters: Arc::clone(&self.counters),
            queued_octets: connection.map_or(0, |connection| connection.link.queue.octets()),
        }
    }

    fn timers(&self, connection: Option<&Connection>, now: Instant) -> TimersLeft {
        let timers = self.session.timers();
        let left = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(now));
        // The session hears of what arrived only when the timer is due.
        let heard = connection.zip(self.up.as_ref()).and_then(|(connection, up)| {
            let last = connection.link.pulse.last_received(now)?;
            timers.hold.map(|_| last + up.negotiated.hold_time)
        });
        TimersLeft {
            connect: left(timers.connect_retry.or(timers.idle_hold)),
            hold: left(heard.max(timers.hold)),
            keepalive: left(timers.keepalive),
        }
    }

    pub(super) fn remote_address(&self) -> Option<SocketAddr> {
        if let Some(connection) = self.connections.values().next() {
            return Some(connection.remote);
        }
        let port = self.setup.config.port;
        match &self.setup.config.address {
            PeerAddress::Address { address, interface } => {
                let scope =
                    interface.as_deref().and_then(|name| nix::net::if_::if_nametoindex(name).ok());
                Some(transport::scoped(*address, port, scope.unwrap_or(0)))
            }
            PeerAddress::Interface(_) => (*self.neighbour.borrow())
                .map(|(address, scope)| transport::scoped(address.into(), port, scope)),
            PeerAddress::Dynamic { .. } => None,
        }
    }
}
