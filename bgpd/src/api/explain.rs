//! Why a prefix is routed as it is, and who was told what.

use bgp_core::{
    fsm::State,
    policy::{RuleAction, RuleHit},
    rib::{
        ConsideredPath, ExplainedExport, ExplainedPath, Explanation, NotSent, Reason, RouteQuery,
        Select, View,
    },
};
use bgp_desired::{Desired, rule_settings};
use bgp_packet::Family;
use bgp_speaker::Peer;
use ipnet::IpNet;
use margay_fib::RowFilter;
use margay_proto::{
    error::invalid_argument,
    v1::{self, explain_route_request::Destination},
};
use tonic::Status;

use super::{Node, convert, fib, routing};

/// Answers one question.
pub(super) async fn explain(
    node: &Node,
    request: v1::ExplainRouteRequest,
) -> Result<v1::ExplainRouteResponse, Status> {
    let not_found = |what: &str| Status::not_found(format!("there is no path for {what}"));
    let prefix = match &request.destination {
        None => return Err(invalid_argument("prefix", "which prefix is not said")),
        Some(Destination::Prefix(text)) => routing::prefix("prefix", text)?,
        Some(Destination::Address(text)) => {
            let address = text
                .parse()
                .map_err(|_| invalid_argument("address", format!("{text:?} is no address")))?;
            let select = Select::Longest(address);
            let query = RouteQuery { select, family: None, view: View::Table };
            let rows = node.speaker.routes(query).next().await.unwrap_or_default();
            rows.first().map(|row| row.prefix).ok_or_else(|| not_found(text))?
        }
    };
    let peers = match &request.to {
        Some(name) => {
            let found = node.speaker.peer(name).await;
            vec![found.map_err(|error| Status::not_found(error.to_string()))?]
        }
        None => node.speaker.peers().await,
    };
    let first = peers.first().map(|peer| peer.status.id);
    let explanation =
        node.speaker.explain(prefix, first).await.ok_or_else(|| not_found(&prefix.to_string()))?;
    let mut advertisements = Vec::new();
    for peer in &peers {
        let export = if Some(peer.status.id) == first {
            explanation.export.clone()
        } else {
            let asked = node.speaker.explain(prefix, Some(peer.status.id)).await;
            asked.and_then(|explanation| explanation.export)
        };
        let told = told(node, peer, prefix).await;
        let desired = node.desired.borrow().clone();
        advertisements.push(advertisement(peer, export.as_ref(), told, &explanation, &desired));
    }
    let kernel = node.fib.clone();
    let rows =
        tokio::task::spawn_blocking(move || kernel.rows_after(RowFilter::Exact(prefix), None, 1))
            .await
            .unwrap_or_default();
    let there = rows.first().is_some_and(|row| row.in_kernel);
    let now = node.speaker.now();
    let desired = node.desired.borrow().clone();
    Ok(v1::ExplainRouteResponse {
        prefix: prefix.to_string(),
        family: convert::family_of(prefix).into(),
        paths: explanation.paths.iter().map(|p| path(p, now, there, &desired)).collect(),
        comparisons: comparisons(&explanation),
        advertisements,
        fib: rows.first().map(fib::route),
        fib_note: if rows.is_empty() { fib_note(node, &explanation) } else { String::new() },
    })
}

fn fib_note(node: &Node, explanation: &Explanation) -> String {
    let best = explanation.paths.first().filter(|path| path.row.best);
    let note = match best {
        None => "no path can be used",
        Some(_) if !node.desired.borrow().fib.enabled => "[fib] enabled = false",
        Some(best) if best.row.peer.is_none() => "a route of our own",
        Some(best) if best.row.installed => "on its way to the kernel",
        Some(_) => "[fib] export does not take it",
    };
    note.to_owned()
}

/// What the peer was told of the prefix.
async fn told(node: &Node, peer: &Peer, prefix: IpNet) -> Vec<v1::Route> {
    let view = View::Advertised(peer.status.id);
    let query = RouteQuery { select: Select::Exact(prefix), family: None, view };
    let mut rows = node.speaker.routes(query);
    let now = node.speaker.now();
    let mut routes = Vec::new();
    while let Some(batch) = rows.next().await {
        routes.extend(batch.iter().map(|row| convert::route(row, now, false)));
    }
    routes
}

fn path(path: &ExplainedPath, now: u32, there: bool, desired: &Desired) -> v1::ExplainedPath {
    let ineligible = matches!(
        path.row.reason,
        Reason::NextHopUnreachable | Reason::Policy | Reason::AsLoop | Reason::OriginatorLoop
    );
    let unreachable = path.row.reason == Reason::NextHopUnreachable;
    let rejected = path.row.reason == Reason::Policy;
    let mut route = convert::route(&path.row, now, true);
    route.installed &= there;
    v1::ExplainedPath {
        route: Some(route),
        import: path.row.peer.map(|_| match &path.import {
            Some((policy, hits)) => trace(policy, !rejected, hits, desired),
            None if rejected => {
                no_policy(false, "an external session without one takes nothing, RFC 8212")
            }
            None => no_policy(true, "taken as it came"),
        }),
        eligible: !ineligible,
        next_hop: path
            .row
            .peer
            .map(|_| v1::NextHopStatus { reachable: !unreachable, igp_metric: path.igp_metric }),
    }
}

fn no_policy(accepted: bool, note: &str) -> v1::PolicyTrace {
    v1::PolicyTrace { policy: None, accepted, hits: Vec::new(), note: note.to_owned() }
}

/// What a policy did. What its rules set is taken from the configuration.
fn trace(name: &str, accepted: bool, hits: &[RuleHit], desired: &Desired) -> v1::PolicyTrace {
    let rules = desired.policies.get(name).map(|policy| &policy.definition().rules);
    let hit = |hit: &RuleHit| v1::RuleHit {
        index: hit.index.and_then(|index| u32::try_from(index).ok()),
        name: hit.name.clone(),
        action: match hit.action {
            RuleAction::Accept => v1::RuleAction::Accept,
            RuleAction::Reject => v1::RuleAction::Reject,
            RuleAction::Next => v1::RuleAction::Next,
        }
        .into(),
        changes: hit
            .index
            .and_then(|index| rules?.get(index))
            .filter(|_| hit.action != RuleAction::Reject)
            .map(rule_settings)
            .unwrap_or_default(),
    };
    v1::PolicyTrace {
        policy: Some(name.to_owned()),
        accepted,
        hits: hits.iter().map(hit).collect(),
        note: String::new(),
    }
}

/// Which value wins a step, where the values alone do not tell.
fn rule(step: Reason) -> &'static str {
    match step {
        Reason::Weight | Reason::LocalPref => "higher wins",
        Reason::AsPathLength | Reason::ClusterList => "shorter wins",
        Reason::Origin => "igp before egp before incomplete",
        Reason::PeerType => "external before internal",
        Reason::LocalRoute => "our own before learned",
        Reason::Older => "the current best stays, RFC 5004",
        Reason::Med
        | Reason::IgpMetric
        | Reason::RouterId
        | Reason::PeerAddress
        | Reason::PathId => "lower wins",
        Reason::Stale
        | Reason::OnlyPath
        | Reason::NextHopUnreachable
        | Reason::Policy
        | Reason::AsLoop
        | Reason::OriginatorLoop => "",
    }
}

/// Each loser against the best path, the closest one last: it is whom the best one had to beat.
fn comparisons(explanation: &Explanation) -> Vec<v1::Comparison> {
    let losers = explanation.paths.iter().enumerate().skip(1);
    let mut all: Vec<v1::Comparison> = losers
        .filter(|(_, path)| !path.steps.is_empty())
        .map(|(index, path)| v1::Comparison {
            winner: 0,
            loser: u32::try_from(index).unwrap_or(u32::MAX),
            neighbor_asn: None,
            steps: path
                .steps
                .iter()
                .map(|step| v1::DecisionStep {
                    step: convert::reason(step.step).into(),
                    outcome: if step.decided {
                        v1::StepOutcome::Decided
                    } else if step.ours == step.theirs {
                        v1::StepOutcome::Equal
                    } else {
                        v1::StepOutcome::Skipped
                    }
                    .into(),
                    winner_value: step.theirs.clone(),
                    loser_value: step.ours.clone(),
                    note: if step.decided { rule(step.step) } else { "" }.to_owned(),
                })
                .collect(),
        })
        .collect();
    all.reverse();
    all
}

fn advertisement(
    peer: &Peer,
    export: Option<&ExplainedExport>,
    routes: Vec<v1::Route>,
    explanation: &Explanation,
    desired: &Desired,
) -> v1::Advertisement {
    let considered = export.map_or(&[] as &[ConsideredPath], |export| &export.considered);
    // The path that came furthest says most.
    let sent = considered.iter().find(|path| path.outcome.is_ok());
    let shown = sent.or_else(|| considered.first());
    let source = |path: &ConsideredPath| {
        let from = path.from.as_deref();
        let same = |row: &ExplainedPath| row.row.peer_name.as_deref() == from;
        explanation.paths.iter().position(same).and_then(|index| u32::try_from(index).ok())
    };
    let paths = considered.iter().filter(|path| path.outcome.is_ok()).filter_map(source);
    let (reason, text) = match shown.map(|path| &path.outcome) {
        _ if peer.status.state != State::Established => {
            ("not-established", "the session is not up".to_owned())
        }
        Some(Ok(_)) if routes.is_empty() => ("pending", "it is about to be sent".to_owned()),
        Some(Ok(_)) => ("", String::new()),
        Some(Err(why)) => (not_sent(*why), why.as_str().to_owned()),
        None if !negotiated(peer, explanation.prefix) => {
            ("family-not-negotiated", NotSent::Family.as_str().to_owned())
        }
        None => ("no-best-path", "no path of it can be used".to_owned()),
    };
    v1::Advertisement {
        peer: peer.status.config.name.clone(),
        sent: !routes.is_empty(),
        paths: paths.take(routes.len()).collect(),
        routes,
        export: shown.and_then(|path| {
            let (policy, hits) = path.policy.as_ref()?;
            Some(trace(policy, path.outcome.is_ok(), hits, desired))
        }),
        reason: reason.to_owned(),
        text,
    }
}

fn negotiated(peer: &Peer, prefix: IpNet) -> bool {
    let family = match prefix {
        IpNet::V4(_) => Family::IPV4_UNICAST,
        IpNet::V6(_) => Family::IPV6_UNICAST,
    };
    peer.status.negotiated.as_ref().is_some_and(|n| n.families.contains(family))
}

fn not_sent(why: NotSent) -> &'static str {
    match why {
        NotSent::Family => "family-not-negotiated",
        NotSent::NotBest => "not-best",
        NotSent::SplitHorizon => "learned-from-peer",
        NotSent::Reflection => "ibgp-to-ibgp",
        NotSent::Community => "community",
        NotSent::Policy => "policy",
        NotSent::NoPolicy => "require-policy",
        NotSent::NoNextHop => "no-next-hop",
        NotSent::OwnNextHop => "own-next-hop",
        NotSent::TooLong => "too-long",
    }
}
