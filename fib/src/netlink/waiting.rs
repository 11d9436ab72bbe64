//! Who waits for a route to a workload.

use std::net::IpAddr;
use std::sync::mpsc::Sender;
use std::time::Instant;

use crate::api::{HostRouteError, HostRouteState};
use crate::plan::state::State;

/// Somebody who waits.
#[derive(Debug)]
pub struct Waiter {
    /// The workload's address.
    pub address: IpAddr,
    /// The link the route is wished over.
    pub link: String,
    /// No longer than until then.
    pub until: Instant,
    /// Where the answer goes; whoever asked may be gone.
    pub answer: Sender<Result<(), HostRouteError>>,
}

/// All who wait.
#[derive(Debug, Default)]
pub struct Waiting(Vec<Waiter>);

impl Waiting {
    /// One more.
    pub fn add(&mut self, waiter: Waiter) {
        self.0.push(waiter);
    }

    /// When the first gives up.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|w| w.until).min()
    }

    /// Answers those who need not wait any longer.
    pub fn answer(&mut self, state: &State, now: Instant) {
        self.0.retain(|waiter| match outcome(waiter, state, now) {
            Some(outcome) => {
                drop(waiter.answer.send(outcome));
                false
            }
            None => true,
        });
    }
}

/// What to say; `None` = wait on.
fn outcome(waiter: &Waiter, state: &State, now: Instant) -> Option<Result<(), HostRouteError>> {
    let (address, link) = (waiter.address, waiter.link.clone());
    if state.local_wish(address) != Some(&waiter.link) {
        return Some(Err(HostRouteError::Replaced { address, link }));
    }
    let why = match state.local_state(address) {
        HostRouteState::Installed => return Some(Ok(())),
        HostRouteState::Conflict(by) => {
            return Some(Err(HostRouteError::Conflict { address, link, by }));
        }
        HostRouteState::Refused(errno) => {
            return Some(Err(HostRouteError::Refused { address, link, errno }));
        }
        HostRouteState::Off => return Some(Err(HostRouteError::Off)),
        HostRouteState::NoLink | HostRouteState::Unwanted => "the link is not there or not up",
        HostRouteState::Pending => "the kernel has not answered",
    };
    (waiter.until <= now).then_some(Err(HostRouteError::TimedOut { address, link, why }))
}
