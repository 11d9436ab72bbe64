//! Wishes the writer has taken but not looked at: as many at a time as the kernel can be given, so
//! that one look at the table both notes and plans, and a failover never waits behind a full table.

use std::collections::VecDeque;
use std::time::Instant;

use ipnet::IpNet;

use crate::netlink::inbox::Wishes;
use crate::plan::key::Key;
use crate::plan::state::State;
use crate::plan::work::{Likeness, RouteOp};

/// Words that wait here at most; beyond that they go into the table, one entry a prefix.
const WORDS_MAX: usize = 1 << 20;

/// What was taken from the inbox, oldest first.
#[derive(Debug, Default)]
pub struct Backlog {
    lots: VecDeque<Lot>,
    words: usize,
}

/// What came at once.
#[derive(Debug)]
struct Lot {
    wishes: Wishes,
    /// When the first of them came.
    since: Instant,
    /// Words done, IPv4 then IPv6.
    done: usize,
    /// The wishes of `wishes.distinct`, held: the groups they need are made before their turn.
    held: Vec<u32>,
    /// The sources are complete with this lot.
    in_sync: bool,
}

impl Backlog {
    /// How many words wait.
    pub fn len(&self) -> usize {
        self.words
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lots.is_empty()
    }

    /// When the oldest word that waits came.
    pub fn since(&self) -> Option<Instant> {
        self.lots.front().map(|lot| lot.since)
    }

    /// Takes more in.
    pub fn add(&mut self, wishes: Wishes, state: &mut State, now: Instant) {
        if wishes.is_empty() {
            return;
        }
        self.words += wishes.len();
        let since = wishes.since.unwrap_or(now);
        let held = wishes.distinct.iter().map(|wish| state.hold_wish(wish, now)).collect();
        self.lots.push_back(Lot { wishes, since, done: 0, held, in_sync: false });
        if self.words > WORDS_MAX {
            self.absorb(state, now);
        }
    }

    /// The sources are complete once what waits now is done.
    pub fn in_sync(&mut self, state: &mut State, now: Instant) {
        match self.lots.back_mut() {
            Some(lot) => lot.in_sync = true,
            None => state.sources_in_sync(now),
        }
    }

    /// Works on the next words until there are `max` writes; looks at no more than 16 times as many.
    pub fn plan(&mut self, state: &mut State, max: usize, now: Instant) -> Vec<RouteOp> {
        let mut ops = Vec::new();
        let mut likeness = Likeness::default();
        let mut looks = max.saturating_mul(16);
        while ops.len() < max && looks > 0 {
            let Some(lot) = self.lots.front_mut() else { break };
            let words = lot.slice(max.min(looks));
            looks -= words.len();
            self.words -= words.len();
            for (prefix, spec) in words {
                state.want_at_once(prefix, spec, now, &mut likeness, &mut ops);
            }
            self.end_done(state, now);
        }
        ops
    }

    /// Everything goes into the table at once, to be planned from there.
    pub fn absorb(&mut self, state: &mut State, now: Instant) {
        while let Some(lot) = self.lots.front_mut() {
            for (prefix, spec) in lot.slice(usize::MAX) {
                state.want(prefix, spec, now);
            }
            self.end_done(state, now);
        }
        self.words = 0;
    }

    /// Ends the first lot when it is done.
    fn end_done(&mut self, state: &mut State, now: Instant) {
        let Some(lot) = self.lots.pop_front_if(|lot| lot.done >= lot.wishes.len()) else { return };
        for spec in lot.held {
            state.release_wish(spec, now);
        }
        if lot.in_sync {
            state.sources_in_sync(now);
        }
        if self.lots.is_empty() {
            self.lots.shrink_to(64);
        }
    }
}

impl Lot {
    /// The next words, those of neighbours side by side.
    fn slice(&mut self, max: usize) -> Vec<(IpNet, Option<u32>)> {
        let Self { wishes: Wishes { v4, v6, .. }, done, held, .. } = self;
        match done.checked_sub(v4.len()) {
            None => take(v4, done, 0, max, held),
            Some(_) => take(v6, done, v4.len(), max, held),
        }
    }
}

/// The words of one family from `done` on, which counts `before` of the other.
fn take<K: Key>(
    words: &mut [(K, Option<u32>)],
    done: &mut usize,
    before: usize,
    max: usize,
    held: &[u32],
) -> Vec<(IpNet, Option<u32>)> {
    let from = *done - before;
    let to = from.saturating_add(max).min(words.len());
    *done = before + to;
    let slice = words.get_mut(from..to).unwrap_or_default();
    slice.sort_by_key(|(key, _)| *key); // stable: the last word for a prefix stays the last
    let spec = |id: Option<u32>| id.and_then(|i| held.get(usize::try_from(i).ok()?).copied());
    slice.iter().map(|(key, id)| (key.net(), spec(*id))).collect()
}
