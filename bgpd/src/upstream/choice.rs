//! Which upstream is asked, and when.
//!
//! A pure state machine: time comes in as an argument, chance by a seed. The first of the list is
//! preferred at the start; one that answers is kept, whoever else comes back. One that fails waits
//! twice as long after each failure, and the next one's turn comes after a moment that is another for
//! every daemon, so that an upstream's followers do not all knock at the next at once.

use std::time::Duration;

/// After the first failure of an upstream; doubled with each one up to [`LONGEST`].
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// How far the followers of an upstream that failed spread out before they ask the next.
const SPREAD: Duration = Duration::from_millis(250);

/// See the module.
#[derive(Debug)]
pub(super) struct Choice {
    upstreams: Vec<Upstream>,
    /// Whose turn it is.
    turn: usize,
    /// Nobody is asked before.
    rest: Duration,
    chance: u64,
}

#[derive(Debug, Clone, Default)]
struct Upstream {
    failures: u32,
    /// Not to be asked before.
    due: Duration,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Ask this one now.
    Ask(usize),
    /// Nobody before then.
    Wait(Duration),
}

impl Choice {
    /// Between so many, at least one.
    pub(super) fn new(upstreams: usize, seed: u64) -> Self {
        let upstreams = vec![Upstream::default(); upstreams.max(1)];
        Self { upstreams, turn: 0, rest: Duration::ZERO, chance: seed }
    }

    /// What to do at `now`.
    pub(super) fn turn(&self, now: Duration) -> Turn {
        if now < self.rest {
            return Turn::Wait(self.rest);
        }
        let (later, sooner) = self.upstreams.split_at(self.turn.min(self.upstreams.len()));
        let order = sooner.iter().zip(self.turn..).chain(later.iter().zip(0..));
        let mut wait = Duration::MAX;
        for (upstream, at) in order {
            if upstream.due <= now {
                return Turn::Ask(at);
            }
            wait = wait.min(upstream.due);
        }
        Turn::Wait(wait)
    }

    /// This one has told everything, and it is fresh: the next failure is its first again.
    pub(super) fn settled(&mut self, at: usize) {
        if let Some(upstream) = self.upstreams.get_mut(at) {
            upstream.failures = 0;
        }
    }

    /// This one failed at `now`: it is the next one's turn.
    pub(super) fn failed(&mut self, at: usize, now: Duration) {
        let (pause, spread) = (self.half_to_one(), self.half_to_one());
        self.turn = (at + 1) % self.upstreams.len();
        if let Some(upstream) = self.upstreams.get_mut(at) {
            let doubled = PAUSE.saturating_mul(1 << upstream.failures.min(16)).min(LONGEST);
            upstream.due = now.saturating_add(doubled.mul_f64(pause));
            upstream.failures = upstream.failures.saturating_add(1);
        }
        self.rest = now.saturating_add(SPREAD.mul_f64(2.0 * spread - 1.0));
    }

    /// Between one half and one (splitmix64, a public-domain generator by S. Vigna).
    fn half_to_one(&mut self) -> f64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.chance;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        // 53 bits are what the fraction of an f64 holds.
        0.5 + (bits >> 11) as f64 / (1_u64 << 54) as f64
    }
}

#[cfg(test)]
mod tests;
