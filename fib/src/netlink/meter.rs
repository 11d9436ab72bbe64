//! `margay_fib_…` metrics.

use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};

use crate::api::FibStatus;

/// What a batch was of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Routes.
    Routes,
    /// Next-hop objects.
    Objects,
}

/// Remembers what metrics need between two looks.
#[derive(Debug, Default)]
pub struct Meter {
    /// Since when there are wishes that are not in the kernel.
    behind: Option<Instant>,
    last: FibStatus,
}

impl Meter {
    /// A batch was sent.
    pub fn sent(&self, what: &What, len: u32) {
        if *what == What::Routes {
            histogram!("margay_fib_batch_routes").record(f64::from(len));
        }
    }

    /// The kernel worked it off.
    pub fn delivered(&self, what: &What, took: Duration) {
        let what = match what {
            What::Routes => "routes",
            What::Objects => "nexthops",
        };
        histogram!("margay_fib_apply_seconds", "what" => what).record(took.as_secs_f64());
    }

    /// The kernel refused something.
    pub fn refused(&self, errno: i32) {
        let reason = match errno {
            libc::EEXIST => "exists",
            libc::ESRCH | libc::ENOENT => "absent",
            libc::ENETUNREACH | libc::EHOSTUNREACH => "unreachable",
            libc::ENODEV | libc::ENETDOWN => "link",
            libc::EINVAL => "invalid",
            libc::ENOMEM | libc::ENOBUFS => "memory",
            libc::EPERM => "permission",
            _ => "other",
        };
        counter!("margay_fib_errors_total", "reason" => reason).increment(1);
    }

    /// Everything was read anew.
    pub fn resync(&self) {
        counter!("margay_fib_resync_total").increment(1);
    }

    /// An audit was completed.
    pub fn audit(&self) {
        counter!("margay_fib_audits_total").increment(1);
    }

    /// Wishes came in.
    pub fn asked(&mut self, now: Instant) {
        self.behind.get_or_insert(now);
    }

    /// How things stand.
    pub fn state(&mut self, status: &FibStatus, done: bool, now: Instant) {
        if done {
            self.behind = None;
        }
        if *status == self.last && self.behind.is_none() {
            return;
        }
        gauge!("margay_fib_routes", "family" => "ipv4-unicast").set(count(status.routes_v4));
        gauge!("margay_fib_routes", "family" => "ipv6-unicast").set(count(status.routes_v6));
        gauge!("margay_fib_pending").set(count(status.pending));
        gauge!("margay_fib_failed").set(count(status.failed));
        gauge!("margay_fib_conflicts").set(count(status.conflicts));
        let lag = self.behind.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        gauge!("margay_fib_lag_seconds").set(lag.as_secs_f64());
        counter!("margay_fib_applied_total").absolute(status.applied);
        counter!("margay_fib_drift_repaired_total").absolute(status.drift_repaired);
        self.last = status.clone();
    }
}

fn count(n: usize) -> f64 {
    // Route counts are far below 2^32.
    u32::try_from(n).map_or(f64::INFINITY, f64::from)
}
