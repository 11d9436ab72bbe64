//! What the writer counts of its dealings with the kernel, and how far the kernel lags behind.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use crate::api::FibStatus;

/// Counts since start.
#[derive(Debug, Default)]
pub struct Figures {
    batches: u64,
    messages: u64,
    apply_time: Duration,
    /// Refusals by error number.
    refusals: BTreeMap<i32, u64>,
    /// Since when the table has held prefixes to be looked at, without ever being done.
    table_since: Option<Instant>,
}

impl Figures {
    /// The kernel has worked off a batch of so many messages.
    pub fn delivered(&mut self, messages: usize, took: Duration) {
        self.batches += 1;
        self.messages += messages as u64;
        self.apply_time += took;
    }

    /// The kernel refused a message.
    pub fn refused(&mut self, errno: i32) {
        *self.refusals.entry(errno).or_default() += 1;
    }

    /// A whole batch went unanswered.
    pub fn unanswered(&mut self, err: &io::Error) {
        if let Some(errno) = err.raw_os_error() {
            self.refused(errno);
        }
    }

    /// Whether prefixes wait in the table now.
    pub fn table_waits(&mut self, waits: bool, now: Instant) {
        self.table_since = waits.then(|| self.table_since.unwrap_or(now));
    }

    /// Since when the table has waited, for a batch that is taken from it.
    pub fn table_since(&self) -> Option<Instant> {
        self.table_since
    }

    /// These figures beside what `status` has already.
    pub fn fill(&self, status: FibStatus) -> FibStatus {
        FibStatus {
            batches: self.batches,
            messages: self.messages,
            apply_time: self.apply_time,
            refusals: self.refusals.iter().map(|(errno, count)| (*errno, *count)).collect(),
            ..status
        }
    }
}

/// The earlier of two moments, where there are any.
pub fn earliest(moments: impl IntoIterator<Item = Option<Instant>>) -> Option<Instant> {
    moments.into_iter().flatten().min()
}

#[cfg(test)]
mod tests;
