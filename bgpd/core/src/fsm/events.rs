//! What each input does in each state (RFC 4271 §8.2.2).

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bgp_packet::{
    Capability, FamilySet, Notification, Open, RefreshKind, RouteRefresh,
    notification::{code, header_error},
};

use super::{
    Attempt, ConnectionId, Control, ErrorDirection, Input, Mode, Negotiated, Output, Session,
    SessionError,
    connection::{Connection, Direction, Phase, survivor},
    ending::{Ending, collision},
    negotiation::{Offer, OwnRestart, negotiate},
    timers,
};
use crate::config::{GlobalConfig, PeerConfig};

/// Message types as octets in FSM errors (RFC 6608).
mod message_type {
    pub(super) const OPEN: u8 = 1;
    pub(super) const UPDATE: u8 = 2;
    pub(super) const KEEPALIVE: u8 = 4;
    pub(super) const ROUTE_REFRESH: u8 = 5;
}

impl Session {
    pub(super) fn dispatch(&mut self, now: Instant, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Start => self.start(now, out),
            Input::Stop(reason) => self.stop(now, reason, out),
            Input::Connected { connection, local, remote } => {
                if self.attempt.is_some_and(|attempt| attempt.id == connection) {
                    self.attempt = None;
                    self.open(now, connection, Direction::Outbound, (local, remote), out);
                } else if self.connection_mut(connection).is_none() {
                    out.push(Output::Close(connection));
                }
            }
            Input::ConnectFailed { connection, why } => {
                if self.attempt.is_some_and(|attempt| attempt.id == connection) {
                    self.attempt_failed(now, why, out);
                }
            }
            Input::Accepted { connection, local, remote } => {
                self.accepted(now, connection, (local, remote), out);
            }
            Input::Closed { connection, why } => {
                self.end(now, connection, &Ending::Lost(why), out);
            }
            Input::Cut { connection, why } => {
                self.end(now, connection, &Ending::Cut(why), out);
            }
            Input::Restarting(restarting) => {
                self.restarting = restarting;
                self.restarted |= restarting;
            }
            Input::Open(connection, open) => self.opened(now, connection, open, out),
            Input::KeepAlive(connection) => self.kept_alive(now, connection, out),
            Input::Notification(connection, notification) => {
                self.end(now, connection, &Ending::Received(notification), out);
            }
            Input::RouteRefresh(connection, refresh) => {
                self.refresh(now, connection, refresh, out);
            }
            Input::Update(connection) => match self.phase(connection) {
                Some(Phase::Established(_)) => {
                    if let Some(c) = self.connection_mut(connection) {
                        c.restart_hold(now);
                    }
                }
                Some(_) => self.unexpected(now, connection, message_type::UPDATE, out),
                None => {}
            },
            Input::EndOfRib(connection, family) => {
                if self.established_connection() == Some(connection) {
                    self.settled([family].into_iter().collect());
                }
            }
            Input::Malformed(connection, notification) => {
                self.end(now, connection, &Ending::Sent(notification, None), out);
            }
            Input::Progress(connection) => {
                if let Some(c) = self.connection_mut(connection) {
                    c.restart_send_hold(now);
                }
            }
            Input::Tick => {}
            Input::Reconfigure(config) => self.reconfigure(now, *config, out),
        }
    }

    fn phase(&self, id: ConnectionId) -> Option<&Phase> {
        self.connections.iter().find(|c| c.id == id).map(|c| &c.phase)
    }

    fn start(&mut self, now: Instant, out: &mut Vec<Output>) {
        if !matches!(self.mode, Mode::Running { .. }) {
            self.run(now, "started", out);
        }
    }

    /// Leaves Idle and connects, unless that is left to the peer.
    pub(super) fn run(&mut self, now: Instant, why: &str, out: &mut Vec<Output>) {
        if let Some(error) = &self.peer.password_error {
            self.last_error = Some(Ending::Lost(error.clone()).error(now));
            self.mode = Mode::Down;
            self.blocked = true;
            return;
        }
        self.blocked = false;
        self.mode = Mode::Running { retry: None };
        if self.wants_attempt() {
            self.connect(now, out);
        }
        self.report(now, why, out);
    }

    pub(super) fn connect(&mut self, now: Instant, out: &mut Vec<Output>) {
        let id = self.new_id();
        let limit = timers::attempt_limit(self.peer.connect_retry);
        self.attempt = Some(Attempt { id, deadline: now + limit });
        if let Mode::Running { retry } = &mut self.mode {
            *retry = None;
        }
        out.push(Output::Connect(id));
    }

    pub(super) fn abandon_attempt(&mut self, out: &mut Vec<Output>) {
        if let Some(attempt) = self.attempt.take() {
            out.push(Output::Close(attempt.id));
        }
    }

    fn attempt_failed(&mut self, now: Instant, why: String, out: &mut Vec<Output>) {
        self.attempt = None;
        self.attempts_failed = self.attempts_failed.saturating_add(1);
        self.connect_retries = self.connect_retries.saturating_add(1);
        self.report(now, &why, out);
        // Why the last session ended is worth more than that the next one cannot be opened yet.
        let told = |error: &SessionError| error.direction != ErrorDirection::Local;
        if !self.last_error.as_ref().is_some_and(told) {
            self.last_error = Some(Ending::Lost(why).error(now));
        }
    }

    fn accepted(
        &mut self,
        now: Instant,
        id: ConnectionId,
        ends: (SocketAddr, SocketAddr),
        out: &mut Vec<Output>,
    ) {
        if self.connection_mut(id).is_some() {
            return;
        }
        if !matches!(self.mode, Mode::Running { .. }) {
            out.push(Output::Close(id));
            return;
        }
        let replaced = self.replaceable();
        if replaced.is_none() && self.connections.len() >= 2 {
            out.push(Output::Close(id));
            return;
        }
        self.open(now, id, Direction::Inbound, ends, out);
        if let Some(old) = replaced {
            self.end(now, old, &collision(), out);
        }
    }

    /// TCP is up: OPEN goes out.
    fn open(
        &mut self,
        now: Instant,
        id: ConnectionId,
        direction: Direction,
        (local, remote): (SocketAddr, SocketAddr),
        out: &mut Vec<Output>,
    ) {
        // After a session of this process forwarding has surely gone on; after a restart it went on
        // without us.
        let preserved = self.restarted || self.flaps > 0;
        let restart = OwnRestart { restarting: self.restarting, preserved };
        let offer = Offer::new(&self.global, &self.peer, self.remote, self.plain, restart);
        // On its way since before the other one was Established.
        let young = self
            .established_at
            .is_some_and(|at| now.saturating_duration_since(at) < timers::VERDICT_WAIT);
        out.push(Output::Send(id, Control::Open(offer.open.clone())));
        self.connections.push(Connection {
            id,
            direction,
            local,
            remote,
            offer,
            phase: Phase::OpenSent,
            hold: Some(now + timers::OPEN_HOLD),
            keepalive: None,
            send_hold: None,
            contender: young,
        });
        self.report(now, "TCP connection is up", out);
    }

    fn opened(&mut self, now: Instant, id: ConnectionId, open: Open, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.iter().find(|c| c.id == id) else { return };
        if connection.phase != Phase::OpenSent {
            self.unexpected(now, id, message_type::OPEN, out);
            return;
        }
        let ends = (connection.local, connection.remote);
        match negotiate(&self.global, &self.peer, &connection.offer, open, ends) {
            Ok(negotiated) => self.collide(now, id, Arc::new(negotiated), out),
            Err(refusal) => {
                let ending = Ending::Sent(refusal.notification, Some(refusal.text));
                self.end(now, id, &ending, out);
            }
        }
    }

    /// A valid OPEN came: looks at the other connection (RFC 4271 §6.8).
    ///
    /// Another one in OpenSent stays until its own OPEN comes: the peer may have dropped it already.
    fn collide(
        &mut self,
        now: Instant,
        id: ConnectionId,
        negotiated: Arc<Negotiated>,
        out: &mut Vec<Output>,
    ) {
        let Some((direction, contender)) =
            self.connections.iter().find(|c| c.id == id).map(|c| (c.direction, c.contender))
        else {
            return;
        };
        let survivor = survivor(
            (self.global.router_id, negotiated.local_asn),
            (negotiated.peer_router_id, negotiated.peer_asn),
        );
        let rival = self.connections.iter().find(|c| c.id != id && c.negotiated().is_some());
        match rival.map(|c| (c.id, c.is_established())) {
            // The peer may have read our OPEN here before our KEEPALIVE there: then the same rule
            // made it keep this one. It knows; wait for what it says.
            Some((_, true)) if direction == survivor && contender => {
                self.await_verdict(now, id, negotiated);
            }
            // It would not connect again if it had not lost the session (RFC 4724 §4.2).
            Some((rival, true))
                if direction == Direction::Inbound
                    && !contender
                    && negotiated.graceful_restart.is_some()
                    && self.negotiated().is_some_and(|n| n.graceful_restart.is_some()) =>
            {
                self.end(now, rival, &Ending::Lost("the peer has restarted".to_owned()), out);
                self.confirm(now, id, negotiated, out);
            }
            Some((_, true)) => self.end(now, id, &collision(), out),
            Some((rival, false)) if direction == survivor => {
                self.confirm(now, id, negotiated, out);
                self.end(now, rival, &collision(), out);
            }
            Some((_, false)) => self.end(now, id, &collision(), out),
            None => self.confirm(now, id, negotiated, out),
        }
    }

    fn await_verdict(&mut self, now: Instant, id: ConnectionId, negotiated: Arc<Negotiated>) {
        if let Some(connection) = self.connection_mut(id) {
            connection.phase = Phase::AwaitsVerdict(negotiated);
            connection.hold = Some(now + timers::VERDICT_WAIT);
        }
    }

    /// Accepts the peer's OPEN: KEEPALIVE goes out.
    pub(super) fn confirm(
        &mut self,
        now: Instant,
        id: ConnectionId,
        negotiated: Arc<Negotiated>,
        out: &mut Vec<Output>,
    ) {
        let Some(index) = self.connections.iter().position(|c| c.id == id) else { return };
        let Some(connection) = self.connections.get_mut(index) else { return };
        // With a hold time of zero the KEEPALIVE must still come some day.
        let hold = match negotiated.hold_time {
            Duration::ZERO => timers::OPEN_HOLD,
            hold_time => hold_time,
        };
        connection.phase = Phase::OpenConfirm(negotiated);
        connection.hold = Some(now + hold);
        connection.restart_send_hold(now);
        connection.restart_keepalive(now, &mut self.jitter);
        out.push(Output::Send(id, Control::KeepAlive));
        self.abandon_attempt(out);
        self.report(now, "OPEN accepted", out);
    }

    fn kept_alive(&mut self, now: Instant, id: ConnectionId, out: &mut Vec<Output>) {
        match self.phase(id).cloned() {
            None => {}
            Some(Phase::OpenSent) => self.unexpected(now, id, message_type::KEEPALIVE, out),
            Some(Phase::AwaitsVerdict(negotiated)) => {
                if let Some(loser) = self.established_connection() {
                    // The verdict; ending the other one confirms this.
                    self.end(now, loser, &collision(), out);
                } else {
                    self.confirm(now, id, negotiated, out);
                }
                self.kept_alive(now, id, out);
            }
            Some(Phase::OpenConfirm(negotiated)) => self.establish(now, id, negotiated, out),
            Some(Phase::Established(_)) => {
                if let Some(connection) = self.connection_mut(id) {
                    connection.restart_hold(now);
                }
            }
        }
    }

    fn establish(
        &mut self,
        now: Instant,
        id: ConnectionId,
        negotiated: Arc<Negotiated>,
        out: &mut Vec<Output>,
    ) {
        for connection in &mut self.connections {
            if connection.id == id {
                connection.phase = Phase::Established(Arc::clone(&negotiated));
                connection.restart_hold(now);
            } else {
                connection.contender = true;
            }
        }
        self.established_at = Some(now);
        self.attempts_failed = 0;
        if self.stale_until.is_some() {
            self.stale_until = Some(now + timers::STALE);
            // What it did not go on forwarding by has gone already (RFC 4724 §4.2).
            let preserved = negotiated.graceful_restart.map_or(FamilySet::EMPTY, |p| p.preserved);
            let gone = self.stale.iter().filter(|family| !preserved.contains(*family)).collect();
            self.settled(gone);
        }
        self.abandon_attempt(out);
        out.push(Output::Established(id, negotiated));
        self.report(now, "KEEPALIVE received", out);
    }

    fn refresh(
        &mut self,
        now: Instant,
        id: ConnectionId,
        refresh: RouteRefresh,
        out: &mut Vec<Output>,
    ) {
        let Some(connection) = self.connections.iter().find(|c| c.id == id) else { return };
        let Phase::Established(negotiated) = &connection.phase else {
            self.unexpected(now, id, message_type::ROUTE_REFRESH, out);
            return;
        };
        if !connection.offer.has(&Capability::RouteRefresh) {
            let data = vec![message_type::ROUTE_REFRESH];
            let notification = Notification::with_data(code::HEADER, header_error::BAD_TYPE, data);
            let detail = Some("ROUTE-REFRESH was not offered".to_owned());
            self.end(now, id, &Ending::Sent(notification, detail), out);
            return;
        }
        // Without RFC 7313 the octet of the subtype is a reserved one.
        let kind = if negotiated.enhanced_refresh { refresh.kind } else { RefreshKind::Request };
        let known = !matches!(kind, RefreshKind::Other(_));
        if known && negotiated.families.contains(refresh.family) {
            out.push(Output::Refresh(RouteRefresh { kind, ..refresh }));
        }
    }

    /// A message that has no place in the state of its connection (RFC 6608).
    fn unexpected(&mut self, now: Instant, id: ConnectionId, kind: u8, out: &mut Vec<Output>) {
        let subcode = match self.phase(id) {
            None => return,
            Some(Phase::OpenSent | Phase::AwaitsVerdict(_)) => 1,
            Some(Phase::OpenConfirm(_)) => 2,
            Some(Phase::Established(_)) => 3,
        };
        let notification = Notification::with_data(code::FSM, subcode, vec![kind]);
        self.end(now, id, &Ending::Sent(notification, None), out);
    }

    fn reconfigure(
        &mut self,
        now: Instant,
        (global, peer): (GlobalConfig, PeerConfig),
        out: &mut Vec<Output>,
    ) {
        self.global = global;
        self.peer = peer;
        if self.blocked {
            self.run(now, "configuration changed", out);
            return;
        }
        if self.is_passive() {
            self.abandon_attempt(out);
        }
        // A shorter pause shall not wait for the longer one to end.
        let pause = self.attempt_pause();
        if let Mode::Running { retry: Some(retry) } = &mut self.mode {
            *retry = (*retry).min(now + pause);
        }
        self.report(now, "configuration changed", out);
    }

    /// Runs every timer that is due.
    pub(super) fn expire(&mut self, now: Instant, out: &mut Vec<Output>) {
        let due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let ids: Vec<_> = self.connections.iter().map(|connection| connection.id).collect();
        for id in ids {
            let jitter = &mut self.jitter;
            let Some(connection) = self.connections.iter_mut().find(|c| c.id == id) else {
                continue;
            };
            if due(connection.hold) {
                let ending = match connection.phase {
                    Phase::AwaitsVerdict(_) => collision(),
                    _ => Ending::Sent(Notification::new(code::HOLD_TIMER, 0), None),
                };
                self.end(now, id, &ending, out);
            } else if due(connection.send_hold) {
                let notification = Notification::new(code::SEND_HOLD_TIMER, 0);
                self.end(now, id, &Ending::Sent(notification, None), out);
            } else if due(connection.keepalive) {
                connection.restart_keepalive(now, jitter);
                out.push(Output::Send(id, Control::KeepAlive));
            }
        }
        if let Some(attempt) = self.attempt.filter(|attempt| attempt.deadline <= now) {
            out.push(Output::Close(attempt.id));
            self.attempt_failed(now, "no answer to the attempt to connect".to_owned(), out);
            // Its time was the pause (RFC 4271 §8.2.2, Connect, event 9).
            if self.wants_attempt() {
                self.connect(now, out);
                self.report(now, "connect-retry timer expired", out);
            }
        }
        if due(self.stale_until) {
            self.forget(out);
        }
        match self.mode {
            Mode::IdleHold(until) if until <= now => self.run(now, "pause is over", out),
            Mode::Running { retry: Some(retry) } if retry <= now && self.wants_attempt() => {
                self.connect(now, out);
                self.report(now, "connect-retry timer expired", out);
            }
            _ => {}
        }
    }
}
