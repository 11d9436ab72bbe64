//! Health and metrics.

use std::fmt::{Display, Write};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};
use tracing::error;

use crate::{
    flows::Counts,
    status::{Standing, Status},
    witness::Witness,
};

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// How it stands with the kernel.
    pub(crate) status: watch::Receiver<Status>,
    /// And with the stream.
    pub(crate) standing: watch::Receiver<Standing>,
    /// And with packets.
    pub(crate) witness: Witness,
}

/// Answers for as long as the daemon runs.
pub(crate) async fn serve(listener: TcpListener, context: Context) {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(context);
    if let Err(error) = axum::serve(listener, router).await {
        error!(err = %error, "the HTTP service ended");
    }
}

async fn ready(State(context): State<Context>) -> (StatusCode, String) {
    readiness(&context.status.borrow(), &context.standing.borrow())
}

/// Ready is who has enforced once; what is wrong since then is said beside it.
fn readiness(status: &Status, standing: &Standing) -> (StatusCode, String) {
    let mut text = String::new();
    // Writing to a String cannot fail; so everywhere here.
    if !standing.connected {
        let cause = if standing.cause.is_empty() { "it is being asked" } else { &standing.cause };
        let _ = writeln!(text, "margay-bgpd is not heard: {cause}");
    }
    if let Some(trouble) = &status.trouble {
        let _ = writeln!(text, "the kernel does not take what it should have: {trouble}");
    }
    if status.counts.refused > 0 {
        let _ = writeln!(
            text,
            "objects the kernel refused, closed meanwhile: {}",
            status.counts.refused
        );
    }
    if status.enforcing {
        return (StatusCode::OK, format!("ok\n{text}"));
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("not everything has been heard and enforced yet\n{text}"),
    )
}

async fn metrics(State(context): State<Context>) -> impl IntoResponse {
    let text =
        exposition(&context.status.borrow(), &context.standing.borrow(), context.witness.counts());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// The text format of Prometheus. What Felix has under a name of its own stands under that, too.
fn exposition(status: &Status, standing: &Standing, packets: Counts) -> String {
    let (counts, cluster) = (&status.counts, &status.counts.cluster);
    let mut out = Exposition::default();
    for (name, felix, help, value) in [
        ("sync_connected", "", "Whether margay-bgpd is heard.", usize::from(standing.connected)),
        (
            "enforcing",
            "",
            "Whether everything was heard and enforced once.",
            usize::from(status.enforcing),
        ),
        (
            "guard",
            "",
            "Whether workloads are closed while the table is missing, whoever removes it.",
            usize::from(status.guarded),
        ),
        (
            "endpoints",
            "active_local_endpoints",
            "Workload and host endpoints of this node.",
            counts.endpoints,
        ),
        ("endpoints_current", "", "Those in force as they were heard last.", counts.in_force),
        (
            "endpoints_linkless",
            "",
            "Those without a link of their own here, so that none is open for them.",
            counts.linkless,
        ),
        (
            "policies",
            "active_local_policies",
            "Policies that apply to endpoints of this node.",
            counts.policies,
        ),
        (
            "sets",
            "active_local_selectors",
            "Sets of addresses and ports that rules in force ask.",
            counts.sets,
        ),
        ("rule_faults", "", "Rules that do not mean what they say.", counts.rule_faults),
        ("objects_broken", "", "Objects that cannot be read.", counts.broken),
        ("objects_refused", "", "Objects the kernel refused, closed meanwhile.", counts.refused),
        ("chains", "nft_chains", "Chains of the table.", counts.chains),
        ("cluster_policies", "cluster_num_policies", "Policies there are.", cluster.policies),
        ("cluster_profiles", "cluster_num_profiles", "Profiles there are.", cluster.profiles),
        ("cluster_tiers", "cluster_num_tiers", "Tiers there are.", cluster.tiers),
        (
            "cluster_host_endpoints",
            "cluster_num_host_endpoints",
            "Host endpoints there are.",
            cluster.host_endpoints,
        ),
        (
            "cluster_workload_endpoints",
            "cluster_num_workload_endpoints",
            "Workload endpoints there are.",
            cluster.workload_endpoints,
        ),
    ] {
        out.both("gauge", ("", name), felix, help, value);
    }
    for (name, felix, help, value) in [
        ("tables_applied", "", "Tables the kernel took.", status.tables),
        ("steps_applied", "", "Steps in them.", status.steps),
        (
            "apply_failures",
            "int_dataplane_failures",
            "Tables the kernel did not take.",
            status.failures,
        ),
        ("repairs", "", "Times another program changed our table.", status.repairs),
        (
            "snapshots",
            "resyncs_started",
            "Times everything was told from the beginning.",
            status.snapshots,
        ),
        (
            "events",
            "calc_graph_updates_processed",
            "Objects told of, and those that went.",
            status.events,
        ),
        (
            "sync_losses",
            "",
            "Times margay-bgpd was not heard any more, or not found.",
            standing.losses,
        ),
        (
            "packets_allowed_ingress",
            "",
            "First packets of connections that ingress policies let through.",
            packets.allowed[0],
        ),
        (
            "packets_allowed_egress",
            "",
            "First packets of connections that egress policies let through.",
            packets.allowed[1],
        ),
        ("packets_denied_ingress", "", "Packets that ingress policies dropped.", packets.denied[0]),
        ("packets_denied_egress", "", "Packets that egress policies dropped.", packets.denied[1]),
        (
            "packets_unseen",
            "",
            "Packets told of in vain: they are in no flow record.",
            packets.lost,
        ),
    ] {
        out.both("counter", ("_total", name), felix, help, value);
    }
    let help = "Seconds from a change to the kernel's word.";
    out.both("counter", ("_total", "apply_seconds"), "", help, status.seconds);
    let name = "felix_int_dataplane_apply_time_seconds";
    out.head(name, "summary", help);
    out.sample(&format!("{name}_sum"), status.seconds);
    out.sample(&format!("{name}_count"), status.tables);
    out.0
}

#[derive(Debug, Default)]
struct Exposition(String);

impl Exposition {
    /// Under our name, and under Felix's if it has one.
    fn both(
        &mut self,
        kind: &str,
        (end, name): (&str, &str),
        felix: &str,
        help: &str,
        value: impl Display + Copy,
    ) {
        let ours = format!("margay_policy_{name}{end}");
        let felix = (!felix.is_empty()).then(|| format!("felix_{felix}"));
        for name in std::iter::once(ours).chain(felix) {
            self.head(&name, kind, help);
            self.sample(&name, value);
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name} {value}");
    }
}

#[cfg(test)]
mod tests;
