//! What goes into a session and what comes out: the vocabulary shared with the shell.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bgp_packet::{
    Asn, Family, FamilySet, Notification, Open, RouteRefresh, SessionKind, UpdateContext,
};

use crate::config::{GlobalConfig, PeerConfig};

/// A TCP connection or an attempt at one; numbered by the session, unique within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Session states (RFC 4271 §8.2.2); with two connections the more advanced one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Down, refusing connections (administratively, or backing off).
    Idle,
    /// Connecting.
    Connect,
    /// Waiting to try again, or for the peer to connect.
    Active,
    /// OPEN sent.
    OpenSent,
    /// OPEN exchanged, KEEPALIVE awaited.
    OpenConfirm,
    /// UPDATEs flow.
    Established,
}

/// Why an operator or a reload stops a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// `peers disable`, or the daemon stops: Cease/2 with text. Stays down.
    AdminShutdown(String),
    /// `peers reset`: Cease/4 with text; starts again at once.
    AdminReset(String),
    /// The peer left the configuration: Cease/3. Stays down.
    Deconfigured,
    /// A setting changed that the session depends on: Cease/6; starts again at once.
    ConfigChange,
    /// The daemon stops to come back soon: a peer that waits for us (RFC 4724) is told nothing, any
    /// other as with `AdminShutdown`. Stays down.
    Restart(String),
    /// Beyond `max-prefixes`: Cease/1. `restart` = start again after so long, else stays down.
    MaxPrefixes {
        /// The family that exceeded it.
        family: Family,
        /// The limit.
        limit: u32,
        /// When to start again.
        restart: Option<Duration>,
    },
}

/// What happened, told by the shell.
#[derive(Debug, Clone)]
pub enum Input {
    /// Administrative start (also: `peers enable`).
    Start,
    /// Administrative or policy stop.
    Stop(StopReason),
    /// The attempt asked for by [`Output::Connect`] succeeded.
    Connected {
        /// As in the output.
        connection: ConnectionId,
        /// Our end.
        local: SocketAddr,
        /// Their end.
        remote: SocketAddr,
    },
    /// The attempt failed or was given up.
    ConnectFailed {
        /// As in the output.
        connection: ConnectionId,
        /// Why, for `last_error`.
        why: String,
    },
    /// A connection from the peer was accepted; the id comes from [`Session::accept`].
    Accepted {
        /// From [`Session::accept`].
        connection: ConnectionId,
        /// Our end.
        local: SocketAddr,
        /// Their end.
        remote: SocketAddr,
    },
    /// TCP ended (FIN, RST, error, or time-out of the transport).
    Closed {
        /// Which.
        connection: ConnectionId,
        /// Why, for `last_error`.
        why: String,
    },
    /// What the connection ran over is gone: nobody forwards there any more, whoever restarts.
    Cut {
        /// Which.
        connection: ConnectionId,
        /// Why, for `last_error`.
        why: String,
    },
    /// Our process has just restarted, or (`false`) has caught up since.
    Restarting(bool),
    /// An OPEN arrived.
    Open(ConnectionId, Open),
    /// A KEEPALIVE arrived.
    KeepAlive(ConnectionId),
    /// A NOTIFICATION arrived.
    Notification(ConnectionId, Notification),
    /// A ROUTE-REFRESH arrived.
    RouteRefresh(ConnectionId, RouteRefresh),
    /// An UPDATE arrived. Its contents go past the session, straight to the RIB; when Established
    /// it only restarts the hold timer, else it is an FSM error.
    Update(ConnectionId),
    /// The peer's End-of-RIB for a family was read, behind its routes: what it has not told again by
    /// now, it will not.
    EndOfRib(ConnectionId, Family),
    /// What arrived could not be decoded: answer with this and end the connection.
    Malformed(ConnectionId, Notification),
    /// The socket took octets we had queued (restarts the send-hold timer, RFC 9687).
    Progress(ConnectionId),
    /// Nothing else; look at the clock ([`Session::next_deadline`]).
    Tick,
    /// Replaces the configuration of a session that need not bounce for it.
    Reconfigure(Box<(GlobalConfig, PeerConfig)>),
}

/// What the shell must do, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Open a TCP connection to the peer.
    Connect(ConnectionId),
    /// Write a message.
    Send(ConnectionId, Control),
    /// Close after what was sent has been flushed (bounded), or give up the attempt; no further input
    /// for it is needed. Comes once for each connection that was up, also for one the peer closed,
    /// and for ids the session does not want (any more): closing twice must be harmless.
    Close(ConnectionId),
    /// The session is up: UPDATEs may flow both ways on this connection.
    Established(ConnectionId, Arc<Negotiated>),
    /// The session is no longer up. Its routes go, but for those of the families named: these are
    /// stale from now on, and stay until the peer has sent them again or [`Output::Forget`].
    Down(ConnectionId, FamilySet),
    /// What is still stale of the peer goes.
    Forget,
    /// Pass a valid ROUTE-REFRESH on to the RIB.
    Refresh(RouteRefresh),
    /// For logs, counters and `monitor`.
    StateChanged {
        /// Before.
        from: State,
        /// After.
        to: State,
        /// Why.
        why: Arc<str>,
    },
}

/// Messages the session itself sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// OPEN.
    Open(Open),
    /// KEEPALIVE.
    KeepAlive,
    /// NOTIFICATION; also recorded as the last error.
    Notification(Notification),
}

/// What an Established session agreed on.
#[derive(Debug, Clone, PartialEq)]
pub struct Negotiated {
    /// The smaller of both; zero = no hold and keep-alive timers.
    pub hold_time: Duration,
    /// A third of it, at least 1 s.
    pub keepalive_interval: Duration,
    /// What the peer is to us.
    pub kind: SessionKind,
    /// The AS we showed the peer.
    pub local_asn: Asn,
    /// The peer's AS.
    pub peer_asn: Asn,
    /// The peer's BGP identifier.
    pub peer_router_id: Ipv4Addr,
    /// Our end of the TCP connection.
    pub local: SocketAddr,
    /// Their end.
    pub remote: SocketAddr,
    /// Families of both.
    pub families: FamilySet,
    /// Both sent capability 65.
    pub four_octet_asn: bool,
    /// Largest message the peer takes.
    pub max_send_len: usize,
    /// Largest message we must take.
    pub max_receive_len: usize,
    /// Families in which the peer sends path identifiers.
    pub add_path_receive: FamilySet,
    /// Families in which we send path identifiers.
    pub add_path_send: FamilySet,
    /// RFC 8950, both.
    pub extended_next_hop: FamilySet,
    /// Both sent capability 2.
    pub route_refresh: bool,
    /// Both sent capability 70 (and 2).
    pub enhanced_refresh: bool,
    /// Both sent capability 64: what of the peer's routes outlives its restart.
    pub graceful_restart: Option<PeerRestart>,
    /// What we sent.
    pub sent: Open,
    /// What came.
    pub received: Open,
}

/// What a peer said about its restarts (RFC 4724 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerRestart {
    /// It has just restarted: it waits for our routes before it sends its own.
    pub restarting: bool,
    /// How long to wait for it.
    pub restart_time: Duration,
    /// Families of the session in which it goes on forwarding.
    pub families: FamilySet,
    /// Of these, those in which it did so since the last session.
    pub preserved: FamilySet,
}

impl Negotiated {
    /// What decoding UPDATEs of this session depends on.
    pub fn update_context(&self, peer: &PeerConfig) -> UpdateContext {
        UpdateContext {
            kind: self.kind,
            peer_asn: self.peer_asn,
            four_octet_asn: self.four_octet_asn,
            families: self.families,
            add_path: self.add_path_receive,
            extended_next_hop: self.extended_next_hop,
            enforce_first_as: peer.enforce_first_as,
            reject_as_set: peer.reject_as_set,
        }
    }
}

/// Which way an error went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorDirection {
    /// We sent the NOTIFICATION.
    Sent,
    /// The peer did.
    Received,
    /// No NOTIFICATION: transport, time-out.
    Local,
}

/// `last_error` of `margay peers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionError {
    /// Which way.
    pub direction: ErrorDirection,
    /// Error code, 0 for local ones.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// Decoded, sanitised text.
    pub text: String,
    /// When.
    pub at: Instant,
}

/// When each timer fires next, for `margay peers NAME`; absent = not running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timers {
    /// Next attempt to connect, or the end of the one under way.
    pub connect_retry: Option<Instant>,
    /// End of the pause after a failed session (RFC 4271 `IdleHoldTimer`).
    pub idle_hold: Option<Instant>,
    /// Of the most advanced connection.
    pub hold: Option<Instant>,
    /// Likewise.
    pub keepalive: Option<Instant>,
    /// Likewise (RFC 9687).
    pub send_hold: Option<Instant>,
    /// When stale routes of the peer go at the latest.
    pub restart: Option<Instant>,
}
