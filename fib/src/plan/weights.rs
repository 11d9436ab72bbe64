//! Weights of next hops that resolve to several, made one list the kernel takes.

use std::collections::BTreeMap;

use crate::plan::fact::{Hop, Hops};

/// What one BGP next hop contributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Its weight among the others.
    pub weight: u16,
    /// Where its packets go, with weights among themselves.
    pub hops: Hops,
}

/// The largest weight every kernel takes.
pub const WEIGHT_MAX: u64 = 255;

/// One list, sorted, each hop once; weights at most [`WEIGHT_MAX`], at least 1, and as small as the
/// proportions allow.
pub fn merge(shares: &[Share]) -> Hops {
    let shares: Vec<_> = shares.iter().filter(|s| !s.hops.is_empty()).collect();
    let total = |s: &Share| s.hops.iter().map(|(_, w)| u64::from(*w)).sum::<u64>().max(1);
    // A hop gets weight * w / total(share); a common multiple of the totals keeps that whole.
    let common = shares.iter().map(|s| total(s)).fold(1u64, lcm);
    let mut sum: BTreeMap<Hop, u64> = BTreeMap::new();
    for share in shares {
        let unit = common / total(share);
        for (hop, w) in &share.hops {
            let part = u64::from(share.weight.max(1)) * u64::from(*w);
            let part = part.saturating_mul(unit);
            let slot = sum.entry(*hop).or_default();
            *slot = slot.saturating_add(part);
        }
    }
    let divisor = sum.values().copied().fold(0, gcd).max(1);
    let largest = sum.values().copied().max().unwrap_or(0) / divisor;
    sum.into_iter()
        .map(|(hop, w)| {
            let mut w = w / divisor;
            if largest > WEIGHT_MAX {
                // 128 bits: both factors may be large.
                let scaled = u128::from(w) * u128::from(WEIGHT_MAX) / u128::from(largest);
                w = u64::try_from(scaled).unwrap_or(WEIGHT_MAX);
            }
            (hop, u16::try_from(w.clamp(1, WEIGHT_MAX)).unwrap_or(1))
        })
        .collect()
}

/// Kept below 2^32 so that products fit: beyond that exact proportions do not matter.
fn lcm(a: u64, b: u64) -> u64 {
    let l = (a / gcd(a, b).max(1)).saturating_mul(b);
    if l < 1 << 32 { l } else { a.max(b) }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
