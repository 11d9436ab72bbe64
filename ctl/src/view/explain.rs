//! `margay routes explain` as data.

use margay_proto::v1;
use serde::Serialize;

use super::{fib::FibRoute, route::Route};
use crate::values;

/// Why a prefix is routed as it is.
#[derive(Debug, Serialize)]
pub struct Explanation {
    pub(super) prefix: String,
    pub(super) family: Option<&'static str>,
    pub(super) paths: Vec<Path>,
    pub(super) decision: Vec<Comparison>,
    pub(super) fib: Option<FibRoute>,
    pub(super) fib_note: Option<String>,
    pub(super) advertisements: Vec<Advertisement>,
}

/// A path and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Path {
    #[serde(flatten)]
    pub(super) route: Route,
    pub(super) eligible: bool,
    pub(super) next_hop_reachable: Option<bool>,
    pub(super) igp_metric: Option<u32>,
    pub(super) import: Option<PolicyTrace>,
}

/// What a policy made of a route.
#[derive(Debug, Serialize)]
pub(super) struct PolicyTrace {
    pub(super) policy: Option<String>,
    pub(super) accepted: bool,
    pub(super) rules: Vec<RuleHit>,
    pub(super) note: Option<String>,
}

/// A rule that matched.
#[derive(Debug, Serialize)]
pub(super) struct RuleHit {
    /// 0-based; null for the default.
    pub(super) index: Option<u32>,
    pub(super) name: Option<String>,
    pub(super) action: Option<&'static str>,
    pub(super) changes: Vec<String>,
}

/// Two paths, step by step.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    /// Indexes into `paths`.
    pub(super) winner: u32,
    pub(super) loser: u32,
    pub(super) neighbor_asn: Option<u32>,
    pub(super) steps: Vec<Step>,
}

/// A step of the decision.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    pub(super) step: Option<&'static str>,
    pub(super) outcome: Option<&'static str>,
    pub(super) winner_value: String,
    pub(super) loser_value: String,
    pub(super) note: Option<String>,
}

/// What a peer was told.
#[derive(Debug, Serialize)]
pub(super) struct Advertisement {
    pub(super) peer: String,
    pub(super) sent: bool,
    pub(super) reason: Option<String>,
    pub(super) text: Option<String>,
    pub(super) export: Option<PolicyTrace>,
    /// Index into `paths` of what each of `routes` was made from.
    pub(super) from_paths: Vec<u32>,
    pub(super) routes: Vec<Route>,
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

impl From<v1::ExplainRouteResponse> for Explanation {
    fn from(answer: v1::ExplainRouteResponse) -> Self {
        Self {
            family: values::named(answer.family().name()),
            prefix: answer.prefix,
            paths: answer.paths.into_iter().map(Path::from).collect(),
            decision: answer.comparisons.into_iter().map(Comparison::from).collect(),
            fib: answer.fib.map(FibRoute::from),
            fib_note: some(answer.fib_note),
            advertisements: answer.advertisements.into_iter().map(Advertisement::from).collect(),
        }
    }
}

impl From<v1::ExplainedPath> for Path {
    fn from(path: v1::ExplainedPath) -> Self {
        Self {
            route: path.route.unwrap_or_default().into(),
            eligible: path.eligible,
            next_hop_reachable: path.next_hop.map(|next_hop| next_hop.reachable),
            igp_metric: path.next_hop.and_then(|next_hop| next_hop.igp_metric),
            import: path.import.map(PolicyTrace::from),
        }
    }
}

impl From<v1::PolicyTrace> for PolicyTrace {
    fn from(trace: v1::PolicyTrace) -> Self {
        Self {
            policy: trace.policy,
            accepted: trace.accepted,
            rules: trace.hits.into_iter().map(RuleHit::from).collect(),
            note: some(trace.note),
        }
    }
}

impl From<v1::RuleHit> for RuleHit {
    fn from(hit: v1::RuleHit) -> Self {
        Self {
            action: values::named(hit.action().name()),
            index: hit.index,
            name: hit.name,
            changes: hit.changes,
        }
    }
}

impl From<v1::Comparison> for Comparison {
    fn from(comparison: v1::Comparison) -> Self {
        Self {
            winner: comparison.winner,
            loser: comparison.loser,
            neighbor_asn: comparison.neighbor_asn,
            steps: comparison.steps.into_iter().map(Step::from).collect(),
        }
    }
}

impl From<v1::DecisionStep> for Step {
    fn from(step: v1::DecisionStep) -> Self {
        Self {
            step: values::named(step.step().name()),
            outcome: values::named(step.outcome().name()),
            winner_value: step.winner_value,
            loser_value: step.loser_value,
            note: some(step.note),
        }
    }
}

impl From<v1::Advertisement> for Advertisement {
    fn from(told: v1::Advertisement) -> Self {
        Self {
            peer: told.peer,
            sent: told.sent,
            reason: some(told.reason),
            text: some(told.text),
            export: told.export.map(PolicyTrace::from),
            from_paths: told.paths,
            routes: told.routes.into_iter().map(Route::from).collect(),
        }
    }
}
