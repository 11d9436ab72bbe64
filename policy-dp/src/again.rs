//! When to try again what the kernel did not take. No clock: the time comes in.
//!
//! Promises: once set, the time of a try stands, however much else succeeds or fails before; the
//! wait grows only when a try was made and failed.

use std::time::Duration;

use tokio::time::Instant;

/// From a failure to the next try: the first, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));

/// See the module.
#[derive(Debug)]
pub(crate) struct Again {
    at: Option<Instant>,
    /// What is waited the next time.
    wait: Duration,
}

impl Default for Again {
    fn default() -> Self {
        Self { at: None, wait: WAITS.0 }
    }
}

impl Again {
    /// When to try; `None` if nothing is to be tried.
    pub(crate) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Something is not as it should be. A try that is due already comes no later for it.
    pub(crate) fn failed(&mut self, now: Instant) {
        if self.at.is_none() {
            self.at = Some(now + self.wait);
            self.wait = (self.wait * 2).min(WAITS.1);
        }
    }

    /// It is being tried: a failure from now on is one of this try.
    pub(crate) fn trying(&mut self) {
        self.at = None;
    }

    /// All is as it should be.
    pub(crate) fn settled(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;
