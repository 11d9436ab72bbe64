//! Lengths of timers: jitter, back-off, and the constants of RFC 4271 §10 and RFC 9687.

use std::time::Duration;

/// Hold time until the peer's OPEN says otherwise (RFC 4271 §8.2.2 suggests four minutes).
pub(super) const OPEN_HOLD: Duration = Duration::from_secs(240);
/// A session that stayed up this long starts the back-off afresh when it is lost.
pub(super) const STABLE: Duration = Duration::from_secs(60);
/// How long a connection that met an Established one, and would have won the collision, waits for
/// the peer's own verdict.
pub(super) const VERDICT_WAIT: Duration = Duration::from_secs(10);
/// Failures a NOTIFICATION 2/7 counts for: the peer will not change its mind soon.
pub(super) const UNSUPPORTED_CAPABILITY_FAILURES: u32 = 4;

/// How long a peer that came back is given to send again what is kept of it (RFC 4724 §4.2 leaves it
/// open).
pub(super) const STALE: Duration = Duration::from_secs(360);

const LONGEST_PAUSE: Duration = Duration::from_secs(600);
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(5);
const SHORTEST_SEND_HOLD: Duration = Duration::from_secs(8 * 60);
/// The doubling of pauses ends at `connect_retry` times two to this power.
const DOUBLINGS: u32 = 5;

/// Pause after a failed session before the next attempt: short after the first failure, then from
/// `connect_retry` on doubling. `failures` counts those before this one.
pub(super) fn idle_pause(connect_retry: Duration, failures: u32) -> Duration {
    let base = connect_retry.max(SHORTEST_PAUSE);
    match failures.checked_sub(1) {
        None => SHORTEST_PAUSE,
        Some(n) => base.saturating_mul(1 << n.min(DOUBLINGS)).min(LONGEST_PAUSE.max(base)),
    }
}

/// Pause after a TCP connection that could not be made or ended before the peer's OPEN. It doubles
/// only once: such an attempt costs one SYN, and whoever restarts a passive peer waits for it.
pub(super) fn attempt_pause(connect_retry: Duration, failures: u32) -> Duration {
    connect_retry.max(SHORTEST_PAUSE).saturating_mul(if failures > 1 { 2 } else { 1 })
}

/// How long one attempt may take; leaves the kernel time to repeat a lost SYN.
pub(super) fn attempt_limit(connect_retry: Duration) -> Duration {
    connect_retry.max(SHORTEST_ATTEMPT)
}

/// RFC 9687 §4.1.
pub(super) fn send_hold(hold_time: Duration) -> Duration {
    hold_time.saturating_mul(2).max(SHORTEST_SEND_HOLD)
}

/// A third of the hold time, at least a second (RFC 4271 §4.4).
pub(super) fn keepalive_interval(hold_time: Duration) -> Duration {
    if hold_time.is_zero() { Duration::ZERO } else { (hold_time / 3).max(Duration::from_secs(1)) }
}

/// Jitter of timers (RFC 4271 §10): a factor in 0.75..=1.0 from a seeded generator (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn apply(&mut self, duration: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let parts = u32::try_from(768 + z % 257).expect("below 1025");
        duration.saturating_mul(parts) / 1024
    }
}
