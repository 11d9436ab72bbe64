//! How much traffic a link takes: token buckets (Linux's `tbf`) on what its ends send.
//!
//! The host end sends what goes to the workload, the container end what comes from it. A bucket fills
//! at the rate and holds the burst; what finds too little in it waits, up to the length of the queue.

use std::fmt;

use crate::attach::spec::SpecError;

/// A limit in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bandwidth {
    /// bit/s.
    pub rate: u64,
    /// How much may go at once after a pause, bit; `None`: [`BURST`].
    pub burst: Option<u64>,
    /// How fast a burst may go.
    pub peak: Option<Peak>,
}

/// A limit of bursts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peak {
    /// bit/s, more than the rate.
    pub rate: u64,
    /// Octets that go at once; `None`: a packet.
    pub burst: Option<u32>,
}

/// A limit in the kernel's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// octets/s.
    pub rate: u64,
    /// Octets.
    pub burst: u32,
    /// octets/s and octets.
    pub peak: Option<(u64, u32)>,
    /// Octets that may wait.
    pub queue: u32,
}

/// A bucket as the kernel tells it: of its size only how long it takes to fill.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filling {
    /// octets/s.
    pub rate: u64,
    /// Ticks of 64 ns, as far as 32 bits go.
    pub burst: u32,
    /// octets/s; 0: none.
    pub peak: u64,
    /// Ticks as of `burst`, at the peak rate.
    pub peak_burst: u32,
    /// Octets that may wait.
    pub queue: u32,
}

impl Bandwidth {
    /// As the kernel is told, on a link of this MTU. A bucket that holds no packet would let none
    /// through, so each holds one at least; none holds more than the kernel counts, 4 GiB.
    pub fn bucket(&self, mtu: u32) -> Bucket {
        let packet = mtu.saturating_add(HEADER);
        let burst = self.burst.unwrap_or(BURST) / 8;
        let burst = u32::try_from(burst).unwrap_or(u32::MAX).max(packet);
        let rate = (self.rate / 8).max(1);
        let peak = self.peak.map(|peak| (peak.rate / 8, peak.burst.unwrap_or(packet).max(packet)));
        // Room for a packet of packets (GSO), and for what goes in the longest wait.
        let waiting = u32::try_from(rate / WAITS_PER_SECOND).unwrap_or(u32::MAX);
        let queue = burst.min(AT_ONCE).saturating_add(waiting);
        Bucket { rate, burst, peak, queue }
    }

    /// Whether it can be.
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        let slow = |rate: u64| rate < 8;
        let peak = self.peak.map(|peak| peak.rate);
        if slow(self.rate) || peak.is_some_and(|peak| peak / 8 <= self.rate / 8) {
            return Err(SpecError::Bandwidth { rate: self.rate, peak });
        }
        Ok(())
    }
}

impl Bucket {
    /// Whether it is what the kernel tells.
    pub fn is(&self, found: &Filling) -> bool {
        let (peak, peak_burst) = self.peak.unwrap_or((0, 0));
        self.rate == found.rate
            && peak == found.peak
            && self.queue == found.queue
            && fills_in(self.burst, self.rate, found.burst)
            && (peak == 0 || fills_in(peak_burst, peak, found.peak_burst))
    }
}

/// Whether so many octets are there after so many ticks. The kernel reckons in fractions of its own,
/// so a thousandth is no difference; nor is what does not fit into 32 bits.
fn fills_in(octets: u32, rate: u64, found: u32) -> bool {
    let ticks = u128::from(octets) * NANOS / u128::from(rate.max(1)) / TICK;
    match u32::try_from(ticks) {
        Ok(ticks) => ticks.abs_diff(found) <= ticks / 1000 + 2,
        Err(_) => true,
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} octets/s, {} at once", self.rate, self.burst)?;
        if let Some((rate, burst)) = self.peak {
            write!(f, ", not faster than {rate} octets/s, {burst} at once")?;
        }
        Ok(())
    }
}

impl fmt::Display for Filling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = |ticks: u32, rate: u64| u128::from(ticks) * TICK * u128::from(rate) / NANOS;
        write!(f, "{} octets/s, {} at once", self.rate, octets(self.burst, self.rate))?;
        if self.peak != 0 {
            let burst = octets(self.peak_burst, self.peak);
            write!(f, ", not faster than {} octets/s, {burst} at once", self.peak)?;
        }
        Ok(())
    }
}

/// Bits at once where nobody says: 4 Gi, as in Calico.
pub const BURST: u64 = 4 << 30;
/// An Ethernet header and two VLAN tags.
const HEADER: u32 = 22;
/// Octets of a burst that find room in the queue.
const AT_ONCE: u32 = 256 << 10;
/// The longest wait is the 40th part of a second, 25 ms.
const WAITS_PER_SECOND: u64 = 40;
const NANOS: u128 = 1_000_000_000;
/// Nanoseconds, `PSCHED_SHIFT`.
const TICK: u128 = 64;

#[cfg(test)]
mod tests;
