//! What one session has been told, and how much of it is as the plan wants it.

use std::time::Instant;

use crate::{
    decode::{Event, Told},
    plan::{MARKER, Plan},
    table::{V4, key_len},
};

/// Probes are host routes upward from here; no table has them.
pub const PROBES: u32 = 0xc612_0000; // 198.18.0.0/15, RFC 2544
/// How many probes there may be.
pub const MAX_PROBES: usize = 1 << 17;

const STAMPED: u16 = 1 << 15;

/// Message counts and times of one session.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Prefixes announced to it, repeats counted.
    pub announced: u64,
    /// Prefixes withdrawn from it.
    pub withdrawn: u64,
    /// UPDATE messages.
    pub updates: u64,
    /// Their octets, headers too.
    pub octets: u64,
    /// Prefixes that nobody announced.
    pub unknown: u64,
}

/// The table as one session holds it.
#[derive(Debug)]
pub struct Heard {
    /// For each prefix 0, or the peer's number + 1 and whether the stamp was right.
    via: Vec<u16>,
    /// Digest of each prefix's attributes, where they are compared in the end.
    digests: Option<Vec<u32>>,
    /// Prefixes of which the session's own path may win, so that it may be told them or not.
    optional: Vec<u64>,
    class: u16,
    stamp: u16,
    expected: u64,
    right: u64,
    forbidden: u64,
    present: u64,
    last_place: usize,
    /// Sums over the whole run.
    pub counts: Counts,
    /// When the first and the last change of a phase came.
    pub first: Option<Instant>,
    pub last: Option<Instant>,
    /// When each probe came first.
    pub probes: Vec<Option<Instant>>,
}

/// The outcome of a comparison with the reference.
#[derive(Debug, Default, Clone, Copy)]
pub struct Comparison {
    /// Prefixes compared.
    pub compared: u64,
    /// Held by way of a peer that does not tell them.
    pub invented: u64,
    /// Attributes differ from what the peer sent.
    pub altered: u64,
}

impl Heard {
    /// A session that holds nothing. `own`: the peer it is, when it tells a table itself;
    /// `deep`: compare attributes too.
    pub fn new(plan: &Plan, own: Option<usize>, class: u16, deep: bool) -> Self {
        let prefixes = plan.prefixes();
        let mut heard = Self {
            via: vec![0; prefixes],
            digests: deep.then(|| vec![0; prefixes]),
            optional: vec![0; own.map_or(0, |_| prefixes.div_ceil(64))],
            class,
            stamp: class,
            expected: 0,
            right: 0,
            forbidden: 0,
            present: 0,
            last_place: 0,
            counts: Counts::default(),
            first: None,
            last: None,
            probes: Vec::new(),
        };
        heard.aim(plan, own, class);
        heard
    }

    /// Counts anew against what the plan wants now. `stamp`: what the policy adds to every route.
    pub fn aim(&mut self, plan: &Plan, own: Option<usize>, stamp: u16) {
        self.optional.fill(0);
        if let Some(own) = own {
            for part in &plan.parts[own] {
                for prefix in part.from as usize..part.to as usize {
                    if plan.wins(own, prefix) {
                        self.optional[prefix / 64] |= 1 << (prefix % 64);
                    }
                }
            }
        }
        let restamped = stamp != self.stamp;
        self.stamp = stamp;
        (self.expected, self.right, self.forbidden) = (0, 0, 0);
        for prefix in 0..self.via.len() {
            if restamped {
                self.via[prefix] &= !STAMPED;
            }
            if self.is_optional(prefix) {
                continue;
            }
            self.expected += u64::from(plan.has_path(prefix) && plan.allows(self.class, prefix));
            self.count(plan, prefix, true);
        }
    }

    fn is_optional(&self, prefix: usize) -> bool {
        self.optional.get(prefix / 64).is_some_and(|bits| bits >> (prefix % 64) & 1 == 1)
    }

    #[inline]
    fn count(&mut self, plan: &Plan, prefix: usize, add: bool) {
        let via = self.via[prefix];
        if via == 0 {
            return;
        }
        let counter = if !plan.has_path(prefix) || !plan.allows(self.class, prefix) {
            &mut self.forbidden
        } else if via & STAMPED != 0 && plan.wins(usize::from(via & !STAMPED) - 1, prefix) {
            &mut self.right
        } else {
            return;
        };
        *counter = if add { *counter + 1 } else { *counter - 1 };
    }

    /// Takes one prefix of an UPDATE.
    #[inline]
    pub fn take(&mut self, plan: &Plan, event: Event, now: Instant) {
        let (key, via, digest) = match event {
            Event::Announce(key, told) => {
                self.counts.announced += 1;
                (key, self.via_of(told), told.digest)
            }
            Event::Withdraw(key) => {
                self.counts.withdrawn += 1;
                (key, 0, 0)
            }
        };
        let Some(prefix) = plan.table.find(key, self.last_place + 1) else {
            self.outside(key, now);
            return;
        };
        self.last_place = prefix;
        let old = self.via[prefix];
        if old != via {
            let counted = !self.is_optional(prefix);
            if counted {
                self.count(plan, prefix, false);
            }
            self.present += u64::from(old == 0);
            self.present -= u64::from(via == 0);
            self.via[prefix] = via;
            if counted {
                self.count(plan, prefix, true);
            }
        }
        if let Some(digests) = &mut self.digests {
            digests[prefix] = digest;
        }
    }

    fn via_of(&self, told: Told) -> u16 {
        // A path without a marker is nobody's: a number no peer has.
        let peer = told.marker.checked_sub(MARKER).map_or(STAMPED - 1, |p| p as u16 + 1);
        if told.stamp == self.stamp { peer | STAMPED } else { peer }
    }

    fn outside(&mut self, key: u64, now: Instant) {
        let probe = ((key & !V4) >> 8).wrapping_sub(u64::from(PROBES)) as usize;
        if key & V4 == 0 || key_len(key) != 32 || probe >= MAX_PROBES {
            self.counts.unknown += 1;
            return;
        }
        if self.probes.len() <= probe {
            self.probes.resize(probe + 1, None);
        }
        self.probes[probe].get_or_insert(now);
    }

    /// Has it all it must have, and nothing it must not have?
    pub fn complete(&self) -> bool {
        self.right == self.expected && self.forbidden == 0
    }

    /// Are attributes compared too?
    pub fn is_deep(&self) -> bool {
        self.digests.is_some()
    }

    /// How many prefixes it holds.
    pub fn present(&self) -> u64 {
        self.present
    }

    /// How many prefixes are as they must be, and how many must be.
    pub fn progress(&self) -> (u64, u64) {
        (self.right, self.expected)
    }

    /// Compares all it holds with what the peers sent; `sent` has the digest of each part of each
    /// peer. Nothing without deep comparison.
    pub fn compare(&self, plan: &Plan, sent: &[Vec<u32>]) -> Option<Comparison> {
        let digests = self.digests.as_ref()?;
        let mut result = Comparison { compared: self.present, ..Comparison::default() };
        let mut matched = 0;
        for (peer, (parts, sent)) in plan.parts.iter().zip(sent).enumerate() {
            for (part, digest) in parts.iter().zip(sent) {
                let range = part.from as usize..part.to as usize;
                for (via, held) in self.via[range.clone()].iter().zip(&digests[range]) {
                    if usize::from(via & !STAMPED) == peer + 1 {
                        matched += 1;
                        result.altered += u64::from(held != digest);
                    }
                }
            }
        }
        result.invented = self.present - matched;
        Some(result)
    }
}

#[cfg(test)]
mod tests;
