//! The lease of this node: taken, kept, lost.
//!
//! The store keeps it, because only the store can end it when we fall silent. A second daemon under
//! a name whose lease lives refuses to work and says so. Once that lease has ended it takes it over,
//! and with it the blocks of the earlier instance.

use std::time::Duration;

use margay_model::Revision;

use super::{Allocator, Event, LeaseEnd, Output};
use crate::{block::NodeName, error::IpamError, time::Now};

/// Between two attempts while the store is away, and its jitter on top.
const RETRY: Duration = Duration::from_secs(1);
/// Attempts after which the jitter does not grow any more.
const JITTER: u32 = 8;

/// Where we stand with our lease.
#[derive(Clone, Debug, Default)]
pub(super) struct Tenure {
    state: State,
    /// The store is being asked.
    asked: bool,
    /// When it is asked next, if nothing is heard before.
    next: Duration,
    /// The latest news of our lease when it was last asked: only later ones are a reason to ask.
    heeded: Revision,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Not yet ours.
    #[default]
    Wanted,
    /// Somebody else's.
    Displaced,
    /// Ours, taken by that commit.
    Held(Revision),
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

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        (!self.asked).then_some(self.next)
    }

    /// Whether others took or ended what we think is so.
    fn is_doubtful(&self, news: Revision) -> bool {
        let known = match self.state {
            State::Held(revision) => revision,
            State::Displaced | State::Wanted => Revision::default(),
        };
        news > known && news > self.heeded
    }
}

impl Allocator {
    /// Asks for the lease when it is time, or when something was heard of it.
    pub(super) fn hold_lease(&mut self, now: Now, out: &mut Vec<Output>) {
        let news = self.leases.news(&self.config.host.node);
        let due = now.steady >= self.tenure.next || self.tenure.is_doubtful(news);
        if self.in_sync && !self.tenure.asked && due {
            self.tenure.asked = true;
            self.tenure.heeded = news;
            out.push(Output::KeepLease);
        }
    }

    /// The store has answered.
    pub(super) fn lease_answered(&mut self, now: Now, end: LeaseEnd, out: &mut Vec<Output>) {
        self.tenure.asked = false;
        let was = self.tenure.state;
        let pause = match end {
            LeaseEnd::Held(revision) => {
                if !matches!(was, State::Held(_)) {
                    out.push(Output::Event(Event::LeaseTaken));
                }
                self.tenure.state = State::Held(revision);
                self.store_error = None;
                self.config.lease_ttl / 3
            }
            LeaseEnd::Taken => {
                if was != State::Displaced {
                    out.push(Output::Event(Event::Displaced));
                }
                self.tenure.state = State::Displaced;
                self.config.lease_ttl / 3
            }
            LeaseEnd::Failed(error) => {
                // It may well still be ours, and nothing rests on it.
                self.store_error = Some(error);
                RETRY + self.jitter.delay(JITTER)
            }
        };
        self.tenure.next = now.steady.saturating_add(pause);
    }
}
