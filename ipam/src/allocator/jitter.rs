//! Pauses between attempts.

use std::time::Duration;

/// Seeded pauses that grow with the number of attempts, so that those who met part ways.
#[derive(Clone, Debug)]
pub(super) struct Jitter(u64);

/// The shortest pause.
const LEAST: Duration = Duration::from_millis(5);
/// The longest one.
const MOST: Duration = Duration::from_millis(500);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A pause after so many lost attempts: anything from the shortest to three times as much as
    /// after one attempt less, never more than half a second.
    pub(super) fn delay(&mut self, attempts: u32) -> Duration {
        let top = LEAST.saturating_mul(3_u32.saturating_pow(attempts.min(8))).min(MOST);
        let span = u64::try_from((top - LEAST).as_micros()).unwrap_or(u64::MAX);
        LEAST + Duration::from_micros(self.next() % (span + 1))
    }
}
