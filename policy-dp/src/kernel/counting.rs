//! Whose packets are counted, and until when: counters cost something with every packet, so they go away
//! when nobody has asked for them for the time that was asked for. No clock: the time comes in.

use std::{collections::BTreeMap, time::Duration};

use policy_calc::EndpointId;
use tokio::time::Instant;

/// Endpoints counted at once: each has chains of its own then.
const MOST: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Counting(BTreeMap<EndpointId, Span>);

#[derive(Debug, Clone, Copy)]
struct Span {
    since: Instant,
    until: Instant,
}

/// As many are counted as may be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MOST} endpoints are counted already")]
pub(super) struct Full;

impl Counting {
    /// Somebody wants to know for so long; since when it is counted.
    ///
    /// # Errors
    /// Too many others are.
    pub(super) fn ask(
        &mut self,
        id: &EndpointId,
        now: Instant,
        time: Duration,
    ) -> Result<Instant, Full> {
        if self.0.len() >= MOST && !self.0.contains_key(id) {
            return Err(Full);
        }
        let span = self.0.entry(id.clone()).or_insert(Span { since: now, until: now });
        span.until = span.until.max(now + time);
        Ok(span.since)
    }

    /// When the next ends.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.values().map(|span| span.until).min()
    }

    /// Those whose time is over, which are forgotten.
    pub(super) fn end(&mut self, now: Instant) -> Vec<EndpointId> {
        let over = self.0.extract_if(.., |_, span| span.until <= now);
        over.map(|(id, _)| id).collect()
    }

    /// It is not counted: what was asked for cannot be.
    pub(super) fn forget(&mut self, id: &EndpointId) {
        self.0.remove(id);
    }
}

#[cfg(test)]
mod tests;
