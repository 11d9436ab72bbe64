//! Health, metrics and a page for people.

use std::{
    collections::BTreeSet,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use margay_model::Kind;
use tokio::{net::TcpListener, sync::watch};
use tracing::error;

use crate::{
    api::Node,
    metrics,
    mirror::{Mirror, News},
    upstream::Standing,
};

#[derive(Debug, Clone)]
struct Context {
    node: Node,
    stopped: watch::Receiver<bool>,
    /// The datastore was read once.
    heard: Arc<AtomicBool>,
}

/// Answers until `stopped` says so.
pub(crate) async fn serve(listener: TcpListener, node: Node, mut stopped: watch::Receiver<bool>) {
    let context = Context { node, stopped: stopped.clone(), heard: Arc::default() };
    let router = Router::new()
        .route("/", get(page))
        .route("/metrics", get(metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .with_state(context);
    let result = axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            // A sender that is gone means the same.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        })
        .await;
    if let Err(error) = result {
        error!(err = %error, "the HTTP service ended");
    }
}

async fn live() -> &'static str {
    "ok\n"
}

async fn ready(State(context): State<Context>) -> (StatusCode, String) {
    let mirror = context.node.datastore.is_some().then_some(&context.node.mirror);
    let (code, text) = readiness(*context.stopped.borrow(), mirror, &context.heard);
    let remark = context.node.origin.upstream().as_ref().and_then(remark);
    (code, format!("{text}{}", remark.unwrap_or_default()))
}

/// What is to be said of upstreams that do not answer: a node that knew the datastore goes on by it.
fn remark(standing: &Standing) -> Option<String> {
    if standing.connected {
        return None;
    }
    let known = match standing.lag() {
        Some(lag) => format!("what is known is {} s old", lag.as_secs()),
        None => "nothing is known yet".to_owned(),
    };
    let (upstream, cause) = (standing.address(), standing.cause.as_str());
    let cause = if cause.is_empty() { "it is being asked" } else { cause };
    Some(format!("no upstream is in sync, {known}; last asked: {upstream}: {cause}\n"))
}

/// Whether the node does what it is for: not before it has read the datastore once, if there is one.
fn readiness(
    stopped: bool,
    mirror: Option<&Mirror>,
    heard: &AtomicBool,
) -> (StatusCode, &'static str) {
    if stopped {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    if let Some(mirror) = mirror.filter(|_| !heard.load(Relaxed)) {
        // A kind with no more than one resource: only whether it is in sync is of interest.
        let reader = mirror.subscribe(BTreeSet::from([Kind::ClusterInformation]), None);
        if !reader.take().iter().any(|news| matches!(news, News::InSync(_))) {
            return (StatusCode::SERVICE_UNAVAILABLE, "the datastore has not been read yet\n");
        }
        heard.store(true, Relaxed);
    }
    (StatusCode::OK, "ok\n")
}

async fn metrics(State(context): State<Context>) -> impl IntoResponse {
    let text = metrics::render(&context.node).await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

async fn page(State(context): State<Context>) -> String {
    let node = &context.node;
    let (peers, counts) = (node.speaker.peers().await, node.speaker.counts().await);
    let asn = node.desired.borrow().bgp.as_ref().map_or(0, |bgp| bgp.asn.0);
    // Writing to a String cannot fail; so everywhere here.
    let mut out = format!(
        "Margay {} on {}: AS {asn}, router id {}, up {} s\n\n",
        env!("CARGO_PKG_VERSION"),
        node.name,
        node.router_id(),
        node.started.elapsed().as_secs(),
    );
    for (family, counts) in bgp_packet::Family::SUPPORTED.iter().zip(counts) {
        let _ = writeln!(out, "{family}: {} paths, {} best", counts.paths, counts.best);
    }
    let _ = writeln!(
        out,
        "\n{:<24} {:<12} {:>10} {:>10} {:>10}",
        "peer", "state", "received", "accepted", "advertised"
    );
    for peer in peers {
        let sum = |pick: fn(&bgp_core::rib::PeerCounts) -> u64| -> u64 {
            peer.routes.iter().map(pick).sum()
        };
        let _ = writeln!(
            out,
            "{:<24} {:<12} {:>10} {:>10} {:>10}",
            peer.status.config.name,
            format!("{:?}", peer.status.state),
            sum(|counts| counts.received),
            sum(|counts| counts.accepted),
            sum(|counts| counts.advertised),
        );
    }
    out
}

#[cfg(test)]
mod tests;
