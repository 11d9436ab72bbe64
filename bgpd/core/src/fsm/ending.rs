//! How connections and sessions end, and what the session does next.

use std::time::Instant;

use bgp_packet::{
    Family, FamilySet, Notification,
    notification::{cease, code, open_error},
};
use bytes::Bytes;

use super::{
    ConnectionId, Control, ErrorDirection, Mode, Output, PeerRestart, Session, SessionError,
    StopReason,
    connection::{Connection, Phase},
    timers,
};

/// How a connection ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// We found a fault; the text says more than the NOTIFICATION.
    Sent(Notification, Option<String>),
    /// The peer sent a NOTIFICATION, which is never answered.
    Received(Notification),
    /// TCP is gone.
    Lost(String),
    /// What it ran over is gone.
    Cut(String),
}

/// What the session does when its last connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aftermath {
    /// Tries again without capabilities, now.
    Plain,
    /// Stays ready, tries again after `connect-retry`.
    Active,
    /// Pauses in Idle; the failure weighs so much in the back-off.
    Idle { failures: u32 },
}

impl Ending {
    fn aftermath(&self, connection: &Connection) -> Aftermath {
        let established = connection.is_established();
        let opening = matches!(connection.phase, Phase::OpenSent);
        match self {
            Self::Received(n) => match (n.code, n.subcode) {
                (code::OPEN, open_error::UNSUPPORTED_PARAMETER)
                    if connection.offer.can_go_plain() =>
                {
                    Aftermath::Plain
                }
                (code::OPEN, open_error::UNSUPPORTED_CAPABILITY) => {
                    Aftermath::Idle { failures: timers::UNSUPPORTED_CAPABILITY_FAILURES }
                }
                // RFC 4271 §8.2.2, event 24: a version error is no reason to slow down.
                (code::OPEN, open_error::UNSUPPORTED_VERSION) => Aftermath::Idle { failures: 0 },
                // Another connection stays, or the peer does not know us yet: no failure.
                (code::CEASE, cease::COLLISION | cease::REJECTED) if !established => {
                    Aftermath::Active
                }
                _ => Aftermath::Idle { failures: 1 },
            },
            Self::Sent(n, _) if !established && (n.code, n.subcode) == COLLISION => {
                Aftermath::Active
            }
            Self::Lost(_) | Self::Cut(_) if opening => Aftermath::Active,
            Self::Sent(..) | Self::Lost(_) | Self::Cut(_) => Aftermath::Idle { failures: 1 },
        }
    }

    pub(super) fn error(&self, at: Instant) -> SessionError {
        let (direction, code, subcode, text) = match self {
            Self::Sent(n, detail) => {
                let text = match detail {
                    Some(detail) => format!("{n}: {detail}"),
                    None => n.to_string(),
                };
                (ErrorDirection::Sent, n.code, n.subcode, text)
            }
            Self::Received(n) => (ErrorDirection::Received, n.code, n.subcode, n.to_string()),
            Self::Lost(why) | Self::Cut(why) => (ErrorDirection::Local, 0, 0, why.clone()),
        };
        SessionError { direction, code, subcode, text, at }
    }
}

const COLLISION: (u8, u8) = (code::CEASE, cease::COLLISION);

pub(super) fn collision() -> Ending {
    Ending::Sent(Notification::new(COLLISION.0, COLLISION.1), None)
}

/// What follows a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    StayDown,
    StartAtOnce,
    StartAt(Instant),
}

impl Session {
    /// Ends one connection. The session goes on with the other one, if there is one; else the kind
    /// of ending decides.
    pub(super) fn end(
        &mut self,
        now: Instant,
        id: ConnectionId,
        ending: &Ending,
        out: &mut Vec<Output>,
    ) {
        let Some(connection) = self.take(id) else { return };
        let keeps = match ending {
            Ending::Lost(_) => self.keeps(&connection),
            Ending::Sent(..) | Ending::Received(_) | Ending::Cut(_) => None,
        };
        // Whoever restarts shall not be refused when it is back.
        let aftermath = match keeps {
            Some(_) => Aftermath::Active,
            None => ending.aftermath(&connection),
        };
        let error = ending.error(now);
        if let Ending::Sent(notification, _) = ending {
            out.push(Output::Send(id, Control::Notification(notification.clone())));
        }
        let kept = keeps.map(|restart| (restart.families, Some(now + restart.restart_time)));
        self.leave(now, &connection, kept, out);
        if connection.offer.plain {
            self.plain = false;
        }
        if aftermath == Aftermath::Plain {
            self.plain = true;
        }
        if self.connections.is_empty() {
            self.next(now, aftermath, out);
        } else {
            self.go_on_with_the_other(now, out);
        }
        self.report(now, &error.text, out);
        self.last_error = Some(error);
    }

    /// What of the peer's routes is kept when its connection is lost, as after a crash.
    fn keeps(&self, connection: &Connection) -> Option<PeerRestart> {
        let established = connection.negotiated().filter(|_| connection.is_established())?;
        let restart = established.graceful_restart?;
        (!restart.families.is_empty() && !restart.restart_time.is_zero()).then_some(restart)
    }

    /// Closes a connection already taken out, and counts what a lost session counts. `kept`: the
    /// families whose routes stay, and until when.
    fn leave(
        &mut self,
        now: Instant,
        connection: &Connection,
        kept: Option<(FamilySet, Option<Instant>)>,
        out: &mut Vec<Output>,
    ) {
        out.push(Output::Close(connection.id));
        if !connection.is_established() {
            return;
        }
        let (families, until) = kept.unwrap_or((FamilySet::EMPTY, None));
        (self.stale_until, self.stale) = (until, families);
        out.push(Output::Down(connection.id, families));
        self.flaps += 1;
        let since = self.established_at.take();
        if since.is_some_and(|since| now.saturating_duration_since(since) >= timers::STABLE) {
            self.failures = 0;
        }
    }

    /// So much less of what was kept of the peer is stale; there may be nothing left to wait for.
    pub(super) fn settled(&mut self, families: FamilySet) {
        self.stale = self.stale.iter().filter(|family| !families.contains(*family)).collect();
        if self.stale.is_empty() {
            self.stale_until = None;
        }
    }

    /// The peer's time is over: what is still stale goes.
    pub(super) fn forget(&mut self, out: &mut Vec<Output>) {
        if self.stale_until.take().is_some() {
            out.push(Output::Forget);
        }
    }

    fn next(&mut self, now: Instant, aftermath: Aftermath, out: &mut Vec<Output>) {
        self.connect_retries = self.connect_retries.saturating_add(1);
        match aftermath {
            Aftermath::Plain => {
                if self.wants_attempt() {
                    self.connect(now, out);
                }
            }
            Aftermath::Active => self.attempts_failed = self.attempts_failed.saturating_add(1),
            Aftermath::Idle { failures } => {
                self.abandon_attempt(out);
                let weight = failures.saturating_sub(1);
                let level = self.failures.max(weight);
                let pause = timers::idle_pause(self.peer.connect_retry, level);
                self.failures = level.saturating_add(failures.min(1));
                self.mode = Mode::IdleHold(now + self.jitter.apply(pause));
            }
        }
    }

    /// A connection that waited for the peer's verdict is the one now.
    fn go_on_with_the_other(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.established().is_some() {
            return;
        }
        let waiting = self.connections.iter().find_map(|c| match &c.phase {
            Phase::AwaitsVerdict(negotiated) => Some((c.id, negotiated.clone())),
            _ => None,
        });
        if let Some((id, negotiated)) = waiting {
            self.confirm(now, id, negotiated, out);
        }
    }

    pub(super) fn stop(&mut self, now: Instant, reason: StopReason, out: &mut Vec<Output>) {
        let then = match &reason {
            StopReason::AdminShutdown(_) | StopReason::Deconfigured | StopReason::Restart(_) => {
                Then::StayDown
            }
            StopReason::AdminReset(_) | StopReason::ConfigChange => Then::StartAtOnce,
            StopReason::MaxPrefixes { restart, .. } => {
                restart.map_or(Then::StayDown, |pause| Then::StartAt(now + pause))
            }
        };
        // A limit reported by a shard may come after the session it is about.
        let late = matches!(reason, StopReason::MaxPrefixes { .. }) && self.established().is_none();
        if late || (self.mode == Mode::Down && then != Then::StayDown && !self.blocked) {
            return;
        }
        self.blocked = false;
        let notification = stop_notification(&reason);
        let why = notification.to_string();
        let restarts = matches!(reason, StopReason::Restart(_));
        for connection in std::mem::take(&mut self.connections) {
            let agreed = connection.negotiated();
            let waits = restarts && agreed.is_some_and(|n| n.graceful_restart.is_some());
            // The kernel goes on by their routes, whoever waits.
            let kept = agreed.filter(|_| restarts).map(|n| (n.families, None));
            if !waits {
                let message = Control::Notification(notification.clone());
                out.push(Output::Send(connection.id, message));
            }
            self.leave(now, &connection, kept, out);
            let ending = match waits {
                true => Ending::Cut("stopped, to come back".to_owned()),
                false => Ending::Sent(notification.clone(), None),
            };
            self.last_error = Some(ending.error(now));
        }
        if !restarts {
            self.forget(out);
        }
        self.abandon_attempt(out);
        self.plain = false;
        self.failures = 0;
        self.attempts_failed = 0;
        self.connect_retries = 0;
        self.mode = match then {
            Then::StayDown | Then::StartAtOnce => Mode::Down,
            Then::StartAt(at) => Mode::IdleHold(at),
        };
        self.report(now, &why, out);
        if then == Then::StartAtOnce {
            self.run(now, "started again", out);
        }
    }
}

fn stop_notification(reason: &StopReason) -> Notification {
    match reason {
        StopReason::AdminShutdown(text) | StopReason::Restart(text) => {
            Notification::cease_with_text(cease::ADMIN_SHUTDOWN, text)
        }
        StopReason::AdminReset(text) => Notification::cease_with_text(cease::ADMIN_RESET, text),
        StopReason::Deconfigured => Notification::new(code::CEASE, cease::DECONFIGURED),
        StopReason::ConfigChange => Notification::new(code::CEASE, cease::CONFIG_CHANGE),
        StopReason::MaxPrefixes { family, limit, .. } => {
            let data = max_prefixes_data(*family, *limit);
            Notification::with_data(code::CEASE, cease::MAX_PREFIXES, data)
        }
    }
}

/// AFI, SAFI and the limit (RFC 4486 §4).
fn max_prefixes_data(family: Family, limit: u32) -> Bytes {
    let mut data = family.afi.to_be_bytes().to_vec();
    data.push(family.safi);
    data.extend(limit.to_be_bytes());
    data.into()
}
