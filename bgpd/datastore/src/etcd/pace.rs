//! How many rows of a list are asked for at once.
//!
//! Etcd bounds a page by rows, but how long it is on its way depends on octets: full blocks take 24 KiB
//! each. So there is a modest bound, which shrinks when nobody answers in time and grows again with
//! answers that come quickly.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// Rows that are asked for at most.
const MOST: usize = 500;
/// What comes faster than this could have been twice as much.
const QUICK: Duration = Duration::from_millis(400);

/// The rows that arrive in time, as far as is known.
#[derive(Debug)]
pub(super) struct Pace(AtomicUsize);

impl Default for Pace {
    fn default() -> Self {
        Self(AtomicUsize::new(MOST))
    }
}

impl Pace {
    /// Rows to ask for when so many are wanted; 0 wants all.
    pub(super) fn rows(&self, wanted: usize) -> usize {
        let now = self.0.load(Ordering::Relaxed);
        if wanted == 0 { now } else { now.min(wanted) }
    }

    /// Rows to ask for when so many were not answered so many times.
    pub(super) fn after(rows: usize, silences: usize) -> usize {
        let silences = u32::try_from(silences).unwrap_or(u32::MAX);
        rows.checked_shr(silences).unwrap_or(0).max(1)
    }

    /// So many came, and took this long. A page that was asked for smaller than what is known to
    /// arrive teaches nothing.
    pub(super) fn answered(&self, rows: usize, took: Duration) {
        if took >= QUICK {
            self.0.fetch_min(rows.max(1), Ordering::Relaxed);
        } else if rows >= self.0.load(Ordering::Relaxed) {
            self.0.store(rows.saturating_mul(2).min(MOST), Ordering::Relaxed);
        }
    }

    /// Nobody answered, and this is what to ask for next.
    pub(super) fn unanswered(&self, next: usize) {
        self.0.fetch_min(next.max(1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_arrive_is_halved_and_grows_again() {
        let pace = Pace::default();
        assert_eq!((pace.rows(0), pace.rows(10_000), pace.rows(3)), (500, 500, 3));
        assert_eq!([1, 2, 20, 200].map(|silences| Pace::after(500, silences)), [250, 125, 1, 1]);
        pace.unanswered(125);
        assert_eq!(pace.rows(0), 125);
        // A small page that came at once says nothing of large ones.
        pace.answered(3, Duration::ZERO);
        assert_eq!(pace.rows(0), 125);
        pace.answered(125, Duration::ZERO);
        assert_eq!(pace.rows(0), 250);
        pace.answered(250, Duration::from_secs(1));
        assert_eq!(pace.rows(0), 250);
        pace.answered(250, Duration::ZERO);
        pace.answered(500, Duration::ZERO);
        assert_eq!(pace.rows(0), 500);
    }
}
