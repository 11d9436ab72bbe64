//! The lease of this node: taken, kept, lost.
//!
//! A second daemon under a name whose lease lives refuses to work and says so. Once that lease has
//! ended by our own clock it is taken over, and with it the blocks of the earlier instance.

use std::time::Duration;

use margay_model::{Key, Txn};

use super::{Allocator, CommitEnd, Config, Event, Output, Ticket};
use crate::{
    block::NodeName,
    error::IpamError,
    lease::{Lease, Leases},
    time::Now,
};

/// Where we stand with our lease.
#[derive(Clone, Debug, Default)]
pub(super) struct Tenure {
    state: State,
    /// A commit of the lease under way.
    ticket: Option<Ticket>,
    /// The lease must be read before it is written again.
    reread: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    /// Not yet ours.
    #[default]
    Wanted,
    /// Somebody else's, and alive.
    Displaced,
    /// Ours, last renewed then.
    Held(Duration),
}

impl Tenure {
    /// Why no request can be met, if so.
    pub(super) fn refusal(&self, node: &NodeName) -> Option<IpamError> {
        match self.state {
            State::Held(_) => None,
            State::Wanted => Some(IpamError::NoLease(node.clone())),
            State::Displaced => Some(IpamError::Displaced(node.clone())),
        }
    }

    /// The lease was read again.
    pub(super) fn reread(&mut self) {
        self.reread = false;
    }

    pub(super) fn next_deadline(&self, leases: &Leases, config: &Config) -> Option<Duration> {
        if self.ticket.is_some() || self.reread {
            return None;
        }
        match self.state {
            State::Held(renewed) => Some(renewed.saturating_add(config.lease_ttl / 3)),
            State::Displaced => leases.ends(&config.host.node),
            State::Wanted => None,
        }
    }
}

impl Allocator {
    /// Takes, renews or loses the lease, as the view has it.
    pub(super) fn hold_lease(&mut self, now: Now, out: &mut Vec<Output>) {
        if !self.in_sync || self.tenure.ticket.is_some() || self.tenure.reread {
            return;
        }
        let host = self.config.host.clone();
        let seen = self.leases.of(&host.node);
        let lease = seen.and_then(|seen| seen.lease.as_ref());
        let ours = lease.is_some_and(|lease| lease.instance == host.instance);
        if seen.is_some() && !ours && self.leases.is_alive(&host.node, now.steady) {
            if self.tenure.state != State::Displaced {
                self.tenure.state = State::Displaced;
                out.push(Output::Event(Event::Displaced));
            }
            return;
        }
        if !ours && matches!(self.tenure.state, State::Held(_)) {
            self.tenure.state = State::Wanted;
        }
        if let State::Held(renewed) = self.tenure.state
            && now.steady.saturating_sub(renewed) < self.config.lease_ttl / 3
        {
            return;
        }
        let next = Lease {
            instance: host.instance.clone(),
            renewals: lease.map_or(0, |lease| lease.renewals).saturating_add(1),
            ttl: self.config.lease_ttl,
        };
        let key = Key::NodeLease(host.node.to_string());
        let txn = match seen {
            Some(seen) => Txn::update(key, seen.revision, next.to_json(), Vec::new()),
            None => Txn::create(key, next.to_json(), Vec::new()),
        };
        let ticket = self.ticket();
        self.tenure.ticket = Some(ticket);
        out.push(Output::Commit { ticket, txn });
    }

    /// A commit ended; `false` if it was not one of the lease.
    pub(super) fn lease_committed(
        &mut self,
        now: Now,
        ticket: Ticket,
        end: &CommitEnd,
        out: &mut Vec<Output>,
    ) -> bool {
        if self.tenure.ticket != Some(ticket) {
            return false;
        }
        self.tenure.ticket = None;
        let node = self.config.host.node.clone();
        match end {
            CommitEnd::Done(revision) => {
                let renewals = self.leases.of(&node).and_then(|seen| seen.lease.as_ref());
                let lease = Lease {
                    instance: self.config.host.instance.clone(),
                    renewals: renewals.map_or(0, |lease| lease.renewals).saturating_add(1),
                    ttl: self.config.lease_ttl,
                };
                let octets = lease.to_json();
                self.leases.apply(&node, Some((*revision, &octets)), *revision, now.steady);
                if !matches!(self.tenure.state, State::Held(_)) {
                    out.push(Output::Event(Event::LeaseTaken));
                }
                self.tenure.state = State::Held(now.steady);
                self.store_error = None;
            }
            CommitEnd::Lost | CommitEnd::Unknown(_) => {
                if let CommitEnd::Unknown(error) = end {
                    self.store_error = Some(error.clone());
                }
                self.tenure.reread = true;
                self.reading.insert(Key::NodeLease(node.to_string()));
            }
        }
        true
    }
}
