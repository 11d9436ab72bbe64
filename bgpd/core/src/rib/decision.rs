//! The decision process: which of several paths is the best, and why (RFC 4271 §9.1.2.2, RFC 4456
//! §9, RFC 5004; the order of the reference, FRR's without the steps of features not built).
//!
//! Pure: knows candidates, not tables. The result depends on the set of candidates (and, with
//! `prefer_older`, on which of them is the best now), never on their order.

use std::{cmp::Ordering, net::IpAddr};

use bgp_packet::{Asn, Origin};
use smallvec::SmallVec;

use super::query::Reason;
use crate::config::DecisionConfig;

/// An eligible path as the decision sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Higher wins; [`LOCAL_WEIGHT`] for a route of our own that was given none.
    pub weight: u32,
    /// Higher wins; the default where absent.
    pub local_pref: u32,
    /// A route of our own.
    pub local: bool,
    /// Shorter wins.
    pub path_len: u16,
    /// Lower wins.
    pub origin: Origin,
    /// Lower wins; what an absent one counts as is a setting.
    pub med: Option<u32>,
    /// Whose MED it is; `None` = our own AS.
    pub neighbour: Option<Asn>,
    /// From another AS; a member of our confederation is none.
    pub external: bool,
    /// Cost of the way to the next hop.
    pub metric: u32,
    /// ORIGINATOR_ID, or the peer's identifier.
    pub router_id: u32,
    /// Shorter wins.
    pub cluster_len: u8,
    /// Address of the peer; IPv4 before IPv6.
    pub address: IpAddr,
    /// As received.
    pub path_id: u32,
    /// Tells sessions of one peer apart, old from new.
    pub session: u16,
}

/// The weight of a route of our own that no policy gave one: ours stays, whatever LOCAL_PREF a peer's
/// route is given, but for a weight that is higher still. The value is that of other daemons.
pub(crate) const LOCAL_WEIGHT: u32 = 32768;

/// LOCAL_PREF where there is none.
pub(crate) const DEFAULT_LOCAL_PREF: u32 = 100;

/// Paths of one prefix; rarely more than a few.
pub(crate) type Few<T> = SmallVec<[T; 8]>;

/// The steps up to where paths count as equal for multipath.
const EQUAL: usize = 8;

/// The steps in order.
pub(crate) const STEPS: [Reason; 12] = [
    Reason::Weight,
    Reason::LocalPref,
    Reason::LocalRoute,
    Reason::AsPathLength,
    Reason::Origin,
    Reason::Med,
    Reason::PeerType,
    Reason::IgpMetric,
    Reason::RouterId,
    Reason::ClusterList,
    Reason::PeerAddress,
    Reason::PathId,
];

/// One step between two paths; `Less` = `a` is better.
pub(crate) fn step(
    step: Reason,
    a: &Candidate,
    b: &Candidate,
    config: &DecisionConfig,
) -> Ordering {
    match step {
        Reason::Weight => b.weight.cmp(&a.weight),
        Reason::LocalPref => b.local_pref.cmp(&a.local_pref),
        Reason::LocalRoute => b.local.cmp(&a.local),
        Reason::AsPathLength => a.path_len.cmp(&b.path_len),
        Reason::Origin => a.origin.cmp(&b.origin),
        Reason::Med if config.always_compare_med || a.neighbour == b.neighbour => {
            med(a, config).cmp(&med(b, config))
        }
        Reason::PeerType => b.external.cmp(&a.external),
        Reason::IgpMetric => a.metric.cmp(&b.metric),
        Reason::RouterId => a.router_id.cmp(&b.router_id),
        Reason::ClusterList => a.cluster_len.cmp(&b.cluster_len),
        Reason::PeerAddress => a.address.cmp(&b.address),
        Reason::PathId => (a.path_id, a.session).cmp(&(b.path_id, b.session)),
        _ => Ordering::Equal,
    }
}

/// The MED that counts.
pub(crate) fn med(candidate: &Candidate, config: &DecisionConfig) -> u32 {
    candidate.med.unwrap_or(if config.missing_med_worst { u32::MAX } else { 0 })
}

/// Compares two paths without regard to which is the older; `Less` = `a` is better. Equal only
/// for a path and itself.
pub(crate) fn compare(a: &Candidate, b: &Candidate, config: &DecisionConfig) -> (Ordering, Reason) {
    for reason in STEPS {
        match step(reason, a, b, config) {
            Ordering::Equal => {}
            decided => return (decided, named(reason, a, b)),
        }
    }
    (Ordering::Equal, Reason::PathId)
}

/// The step that decided between two paths as it is shown: the weight that a route of our own has
/// by itself is no more than that it is our own.
pub(crate) fn named(step: Reason, a: &Candidate, b: &Candidate) -> Reason {
    let by_itself = |own: &Candidate, other: &Candidate| {
        own.local && !other.local && own.weight == LOCAL_WEIGHT
    };
    match step {
        Reason::Weight if a.weight > b.weight && by_itself(a, b) => Reason::LocalRoute,
        Reason::Weight if b.weight > a.weight && by_itself(b, a) => Reason::LocalRoute,
        step => step,
    }
}

/// Whether two paths are equal up to the cost of the next hop.
pub(crate) fn equal_cost(a: &Candidate, b: &Candidate, config: &DecisionConfig) -> bool {
    STEPS.iter().take(EQUAL).all(|reason| step(*reason, a, b, config) == Ordering::Equal)
}

/// The best of the candidates, by position. `current` is the position of the path that is best
/// now, if it is still among them.
pub(crate) fn decide(
    candidates: &[Candidate],
    current: Option<usize>,
    config: &DecisionConfig,
) -> Option<usize> {
    let first = match candidates {
        [] => return None,
        [_] => return Some(0),
        // An order without circles: of two hundred neighbours' paths each is looked at once.
        _ if config.always_compare_med || is_level(candidates, config) => {
            fold(candidates, 0..candidates.len(), config)
        }
        _ if config.deterministic_med => {
            let mut winners: Few<usize> = SmallVec::new();
            for (at, candidate) in candidates.iter().enumerate() {
                let of_group =
                    winners.iter_mut().find(|w| candidates[**w].neighbour == candidate.neighbour);
                match of_group {
                    Some(winner) if better(candidates, at, *winner, config) => *winner = at,
                    Some(_) => {}
                    None => winners.push(at),
                }
            }
            // Between groups MED never counts, so this order is total.
            fold(candidates, winners.into_iter(), config)
        }
        _ => {
            // Pairwise, as the RFC has it; in an order of its own, so that arrival is no matter.
            let mut order: Few<usize> = (0..candidates.len()).collect();
            order.sort_by_key(|at| {
                let c = &candidates[*at];
                (c.address, c.path_id, c.session)
            });
            fold(candidates, order.into_iter(), config)
        }
    }?;
    Some(if config.prefer_older { older(candidates, first, current, config) } else { first })
}

fn better(candidates: &[Candidate], a: usize, b: usize, config: &DecisionConfig) -> bool {
    compare(&candidates[a], &candidates[b], config).0 == Ordering::Less
}

fn fold(
    candidates: &[Candidate],
    mut order: impl Iterator<Item = usize>,
    config: &DecisionConfig,
) -> Option<usize> {
    let first = order.next()?;
    Some(order.fold(first, |best, at| if better(candidates, at, best, config) { at } else { best }))
}

/// RFC 5004: where only router ids and what follows would decide, an external path that is the
/// best now stays it; except against paths of the same router.
fn older(
    candidates: &[Candidate],
    best: usize,
    current: Option<usize>,
    config: &DecisionConfig,
) -> usize {
    let Some(current) = current.filter(|current| *current != best) else { return best };
    let held = &candidates[current];
    if !held.external || !equal_cost(&candidates[best], held, config) {
        return best;
    }
    let same_router = (0..candidates.len()).filter(|at| {
        let candidate = &candidates[*at];
        candidate.router_id == held.router_id && equal_cost(candidate, held, config)
    });
    fold(candidates, same_router, config).unwrap_or(best)
}

/// Whether all candidates have the same MED, so that it decides nothing between them.
pub(crate) fn is_level(candidates: &[Candidate], config: &DecisionConfig) -> bool {
    let mut meds = candidates.iter().map(|candidate| med(candidate, config));
    let first = meds.next();
    meds.all(|med| Some(med) == first)
}

/// Whether a new candidate surely comes after `known` in [`rank`], and changes nothing in the order
/// of those up to it. `level`: MED decides nothing between the candidates there were, and ties are
/// not left to age.
///
/// All that are ranked before `known` are at least equal to it in the steps before MED, whatever the
/// configuration; so a new one that is behind it in these is behind them all. From there on MED can
/// make a circle of three, unless it is the same for all.
pub(crate) fn behind(
    new: &Candidate,
    known: &Candidate,
    level: bool,
    config: &DecisionConfig,
) -> bool {
    let before_med = STEPS.iter().take_while(|reason| **reason != Reason::Med);
    let order = before_med
        .map(|reason| step(*reason, known, new, config))
        .find(|order| *order != Ordering::Equal);
    match order {
        Some(order) => order == Ordering::Less,
        None => {
            level
                && med(known, config) == med(new, config)
                && compare(known, new, config).0 == Ordering::Less
        }
    }
}

/// Why `loser` is not the best.
pub(crate) fn why_lost(
    best: &Candidate,
    loser: &Candidate,
    best_is_current: bool,
    config: &DecisionConfig,
) -> Reason {
    let (order, reason) = compare(best, loser, config);
    if best_is_current
        && config.prefer_older
        && best.external
        && best.router_id != loser.router_id
        && equal_cost(best, loser, config)
    {
        return Reason::Older;
    }
    match order {
        Ordering::Less => reason,
        // It would win pairwise, but another of its neighbour AS beats it by MED.
        _ => Reason::Med,
    }
}

/// The candidates used beside the best, best first (RFC 4271 leaves it to us; the rules are FRR's):
/// equal up to the cost of the next hop, and unless `relax`ed from the same neighbour AS (external)
/// or with the same path (internal, told by `same_path`).
pub(crate) fn multipath(
    candidates: &[Candidate],
    best: usize,
    limit: usize,
    config: &DecisionConfig,
    same_path: impl Fn(usize) -> bool,
) -> Few<usize> {
    let held = &candidates[best];
    let mut equal: Few<usize> = (0..candidates.len())
        .filter(|at| *at != best && equal_cost(&candidates[*at], held, config) && same_path(*at))
        .collect();
    equal.sort_by(|a, b| compare(&candidates[*a], &candidates[*b], config).0);
    equal.insert(0, best);
    equal.truncate(limit.max(1));
    equal
}

/// The candidates in order of preference: the best, the best without it, and so on. Each is found
/// when it is asked for: most ask for one or two, of maybe hundreds.
pub(crate) fn rank(
    mut candidates: Few<Candidate>,
    mut current: Option<usize>,
    config: &DecisionConfig,
) -> impl Iterator<Item = usize> {
    let mut places: Few<usize> = (0..candidates.len()).collect();
    std::iter::from_fn(move || {
        let best = decide(&candidates, current, config)?;
        let last = candidates.len() - 1;
        candidates.swap_remove(best);
        current = match current {
            Some(at) if at == best => None,
            Some(at) if at == last => Some(best),
            other => other,
        };
        Some(places.swap_remove(best))
    })
}

#[cfg(test)]
mod tests;
