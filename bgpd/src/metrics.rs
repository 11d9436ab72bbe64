//! What is measured, under which names.

use std::sync::atomic::Ordering::Relaxed;

use bgp_core::{
    fsm::State,
    rib::{PeerCounts, TableCounts},
};
use bgp_packet::{Family, attribute_name};
use bgp_speaker::{MessageKind, Peer, ShardGauge};
use margay_ipam::{
    allocator::Counters as IpamCounters,
    show::{UseRow, usage},
};

use crate::{
    api::Node,
    datastore::Datastore,
    exposition::{Exposition, Kind},
    ipam::{Ipam, Sight},
    listening,
    node::Problem,
    workload::Workloads,
};

/// A metric's name, its help, and where its value comes from.
type Figure<T> = (&'static str, &'static str, fn(T) -> u64);

/// Everything, now.
pub(crate) async fn render(node: &Node) -> String {
    let mut out = Exposition::default();
    let peers = node.speaker.peers().await;
    sessions(&mut out, &peers);
    messages(&mut out, &peers);
    prefixes(&mut out, &peers);
    reading(&mut out, &peers);
    table(&mut out, node).await;
    kernel(&mut out, node);
    let help = "Addresses of bgp.listen that are not this host's.";
    let missing = listening::missing(&node.desired.borrow()).len();
    out.metric("margay_bgp_listen_addresses_missing", Kind::Gauge, help).value(missing);
    if let Some(datastore) = &node.datastore {
        self::datastore(&mut out, datastore);
        upstream(&mut out, node);
        registration(&mut out, node);
        enforcement(&mut out, node);
    }
    if let Some(ipam) = &node.ipam {
        self::ipam(&mut out, ipam).await;
    }
    if let Some(workloads) = &node.workloads {
        self::workloads(&mut out, workloads).await;
    }
    out.finish()
}

fn registration(out: &mut Exposition, node: &Node) {
    let standing = node.standing.borrow();
    let help = "Whether there is a Node of this host in the datastore.";
    let registered = u8::from(standing.registered);
    out.metric("margay_node_registered", Kind::Gauge, help).value(registered);
    let help = "Whether another node has the address that this one should have.";
    let taken = |problem: &Problem| matches!(problem, Problem::Taken { .. });
    let conflict = u8::from(standing.problems.iter().any(taken));
    out.metric("margay_node_address_conflict", Kind::Gauge, help).value(conflict);
    let help = "What keeps the Node of this host from being as configured.";
    out.metric("margay_node_problems", Kind::Gauge, help).value(standing.problems.len());
}

fn enforcement(out: &mut Exposition, node: &Node) {
    let help = "Endpoints whose policy is in force, by who reported it.";
    let mut metric = out.metric("margay_policy_endpoints_in_force", Kind::Gauge, help);
    for (subscriber, endpoints) in node.ready.counts() {
        metric.sample(&[("subscriber", &subscriber)], endpoints);
    }
}

async fn workloads(out: &mut Exposition, workloads: &Workloads) {
    let times = workloads.times().read();
    let help =
        "How long a step of an attachment took, or a call from beginning to end (add, del, gc).";
    let mut metric = out.metric("margay_cni_step_seconds", Kind::Histogram, help);
    for (step, histogram) in &times {
        metric.histogram(
            &[("step", step)],
            histogram.buckets(),
            histogram.count,
            histogram.seconds(),
        );
    }
    let states = workloads.look(|sight| {
        let mut states = std::collections::BTreeMap::new();
        for entry in sight.desk.entries() {
            *states.entry(entry.state.name()).or_insert(0_u64) += 1;
        }
        (states, sight.desk.pending(), sight.mtu)
    });
    let Some((states, pending, mtu)) = states.await else { return };
    let help = "Attachments of this node, by how far they are.";
    let mut metric = out.metric("margay_cni_attachments", Kind::Gauge, help);
    for state in ["allocating", "configured", "live", "deleting"] {
        metric.sample(&[("state", state)], states.get(state).copied().unwrap_or_default());
    }
    let help = "Calls and undone work that wait or are under way.";
    out.metric("margay_cni_pending", Kind::Gauge, help).value(pending);
    let help = "The MTU of a workload that does not say.";
    out.metric("margay_cni_mtu_bytes", Kind::Gauge, help).value(mtu);
}

async fn ipam(out: &mut Exposition, ipam: &Ipam) {
    let Some(figures) = ipam.look(IpamFigures::of).await else { return };
    let own = ipam.own().borrow().clone();
    let gauges = [
        (
            "margay_ipam_ready",
            "1 while addresses can be assigned here.",
            usize::from(figures.ready),
        ),
        ("margay_ipam_own_blocks", "Blocks of this node.", own.blocks.len()),
        (
            "margay_ipam_borrowed_addresses",
            "Addresses used on this node out of blocks of others.",
            own.borrowed.len(),
        ),
        ("margay_ipam_blocks", "Blocks of the cluster.", figures.blocks),
        ("margay_ipam_pending_requests", "Requests waiting for the datastore.", figures.pending),
        ("margay_ipam_gc_candidates", "What looks unused here and waits.", figures.suspects),
    ];
    for (metric, help, value) in gauges {
        out.metric(metric, Kind::Gauge, help).value(value);
    }
    let counters: [Figure<&IpamCounters>; 7] = [
        ("margay_ipam_commits_total", "Changes of blocks sent to the datastore.", |c| c.commits),
        ("margay_ipam_lost_commits_total", "Of these, lost to another node.", |c| c.lost),
        ("margay_ipam_claims_total", "Claims of new blocks sent.", |c| c.claims),
        ("margay_ipam_claimed_total", "Claims that made a block ours.", |c| c.claimed),
        ("margay_ipam_assigned_total", "Addresses assigned.", |c| c.assigned),
        ("margay_ipam_released_total", "Addresses released.", |c| c.released),
        ("margay_ipam_gc_reclamations_total", "Of these, collected.", |c| c.collected),
    ];
    for (metric, help, pick) in counters {
        out.metric(metric, Kind::Counter, help).value(pick(&figures.counters));
    }
    let pools: [Figure<&UseRow>; 4] = [
        ("margay_ipam_pool_addresses", "Addresses of a pool.", |row| least(row.total)),
        ("margay_ipam_pool_in_use", "Of these, held.", |row| least(row.in_use)),
        ("margay_ipam_pool_reserved", "Of these, reserved.", |row| least(row.reserved)),
        ("margay_ipam_pool_free", "Of these, free to be assigned.", |row| least(row.free)),
    ];
    for (metric, help, pick) in pools {
        let mut metric = out.metric(metric, Kind::Gauge, help);
        for row in &figures.pools {
            metric.sample(&[("pool", row.pool.as_deref().unwrap_or_default())], pick(row));
        }
    }
}

/// What the allocator has at one moment.
struct IpamFigures {
    ready: bool,
    blocks: usize,
    pending: usize,
    suspects: usize,
    counters: IpamCounters,
    pools: Vec<UseRow>,
}

impl IpamFigures {
    fn of(sight: Sight<'_>) -> Self {
        let all = sight.allocator();
        Self {
            ready: all.is_ready(),
            blocks: all.view().len(),
            pending: all.pending(),
            suspects: all.suspects(),
            counters: all.counters(),
            pools: usage(all.view(), all.pools(), all.reservations(), false),
        }
    }
}

/// An IPv6 pool has more addresses than a figure can say.
fn least(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn datastore(out: &mut Exposition, datastore: &Datastore) {
    let status = datastore.store.status();
    let help = "Whether the datastore answered last.";
    out.metric("margay_datastore_connected", Kind::Gauge, help).value(u8::from(status.connected));
    let help = "The last revision seen.";
    out.metric("margay_datastore_revision", Kind::Gauge, help).value(status.revision.0);
    let counters = &datastore.counters;
    let name = "margay_datastore_requests_total";
    let mut metric = out.metric(name, Kind::Counter, "Requests answered, by kind.");
    for (kind, counter) in counters.each() {
        metric.sample(&[("request", kind)], counter.requests());
    }
    let name = "margay_datastore_failures_total";
    let mut metric = out.metric(name, Kind::Counter, "Requests that failed, by kind.");
    for (kind, counter) in counters.each() {
        metric.sample(&[("request", kind)], counter.failures());
    }
    let name = "margay_datastore_request_seconds_total";
    let mut metric = out.metric(name, Kind::Counter, "Time that requests took, by kind.");
    for (kind, counter) in counters.each() {
        let micros = counter.micros();
        let seconds = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        metric.sample(&[("request", kind)], seconds);
    }
    let name = "margay_datastore_conflicts_total";
    let help = "Commits that lost to another writer.";
    out.metric(name, Kind::Counter, help).value(counters.conflicts.load(Relaxed));
    let name = "margay_datastore_audit_failures_total";
    let help = "Commits that are missing in the audit log.";
    out.metric(name, Kind::Counter, help).value(counters.audit_failures.load(Relaxed));
}

fn upstream(out: &mut Exposition, node: &Node) {
    let Some(standing) = node.origin.upstream() else { return };
    let help = "Whether this upstream has told everything and goes on.";
    let mut metric = out.metric("margay_datastore_upstream_connected", Kind::Gauge, help);
    for (at, upstream) in standing.upstreams.iter().enumerate() {
        let connected = u8::from(standing.connected && standing.asked == at);
        metric.sample(&[("upstream", upstream)], connected);
    }
    if let Some(lag) = standing.lag() {
        let help = "How old what is known of the datastore may be.";
        let seconds = format!("{:.3}", lag.as_secs_f64());
        out.metric("margay_datastore_upstream_lag_seconds", Kind::Gauge, help).value(seconds);
    }
    let help = "The commit as of which resources are known.";
    let revision = node.mirror.revision().unwrap_or_default();
    out.metric("margay_datastore_upstream_revision", Kind::Gauge, help).value(revision.0);
    let counters = [
        ("losses_total", "How often an upstream was left, or not reached.", standing.losses),
        ("snapshots_total", "How often everything was told anew.", standing.snapshots),
    ];
    for (name, help, value) in counters {
        let name = format!("margay_datastore_upstream_{name}");
        out.metric(&name, Kind::Counter, help).value(value);
    }
}

fn name(peer: &Peer) -> (&'static str, &str) {
    ("peer", peer.status.config.name.as_str())
}

fn sessions(out: &mut Exposition, peers: &[Peer]) {
    let mut metric = out.metric(
        "margay_bgp_session_state",
        Kind::Gauge,
        "State of the session: 1 Idle, 2 Connect, 3 Active, 4 OpenSent, 5 OpenConfirm, 6 Established.",
    );
    for peer in peers {
        let state = match peer.status.state {
            State::Idle => 1,
            State::Connect => 2,
            State::Active => 3,
            State::OpenSent => 4,
            State::OpenConfirm => 5,
            State::Established => 6,
        };
        metric.sample(&[name(peer)], state);
    }
    let mut metric = out.metric(
        "margay_bgp_session_uptime_seconds",
        Kind::Gauge,
        "Time since the session was established; absent while it is not.",
    );
    for peer in peers {
        if let Some(uptime) = peer.status.uptime {
            metric.sample(&[name(peer)], uptime.as_secs());
        }
    }
    let mut metric = out.metric(
        "margay_bgp_session_flaps_total",
        Kind::Counter,
        "How often the session left Established.",
    );
    for peer in peers {
        metric.sample(&[name(peer)], peer.status.flaps);
    }
    let mut metric = out.metric(
        "margay_bgp_timer_lateness_seconds",
        Kind::Gauge,
        "Worst lateness of a session timer, keep-alives among them, since the last scrape.",
    );
    for peer in peers {
        let lateness = peer.status.counters.take_timer_lateness();
        metric.sample(&[name(peer)], lateness.as_secs_f64());
    }
}

fn messages(out: &mut Exposition, peers: &[Peer]) {
    let directions: [Figure<(u64, u64)>; 2] = [
        ("margay_bgp_messages_received_total", "Messages received.", |(received, _)| received),
        ("margay_bgp_messages_sent_total", "Messages sent.", |(_, sent)| sent),
    ];
    for (metric, help, pick) in directions {
        let mut metric = out.metric(metric, Kind::Counter, help);
        for peer in peers {
            for kind in MessageKind::ALL {
                let count = pick(peer.status.counters.messages(kind));
                metric.sample(&[name(peer), ("type", kind.name())], count);
            }
        }
    }
    let mut metric = out.metric(
        "margay_bgp_updates_received_total",
        Kind::Counter,
        "UPDATE messages received, by the family of their prefixes.",
    );
    for peer in peers {
        for family in Family::SUPPORTED {
            let text = family.to_string();
            let count = peer.status.counters.updates(family);
            metric.sample(&[name(peer), ("family", &text)], count);
        }
    }
    let mut metric = out.metric(
        "margay_bgp_octets_received_total",
        Kind::Counter,
        "Octets read from the session.",
    );
    for peer in peers {
        metric.sample(&[name(peer)], peer.status.counters.octets_received());
    }
    let mut metric =
        out.metric("margay_bgp_octets_sent_total", Kind::Counter, "Octets written to the session.");
    for peer in peers {
        metric.sample(&[name(peer)], peer.status.counters.octets_sent());
    }
    let mut metric = out.metric(
        "margay_bgp_update_faults_total",
        Kind::Counter,
        "Faults in UPDATE messages that did not end the session (RFC 7606), by attribute.",
    );
    for peer in peers {
        for (code, count) in peer.status.counters.faults() {
            let number = code.to_string();
            let attribute = attribute_name(code).unwrap_or(&number);
            metric.sample(&[name(peer), ("attribute", attribute)], count);
        }
    }
}

fn prefixes(out: &mut Exposition, peers: &[Peer]) {
    let kinds: [Figure<&PeerCounts>; 3] = [
        ("margay_bgp_prefixes_received", "Paths held as the peer sent them.", |counts| {
            counts.received
        }),
        ("margay_bgp_prefixes_accepted", "Of these, paths that import policy took.", |counts| {
            counts.accepted
        }),
        ("margay_bgp_prefixes_advertised", "Paths the peer was told.", |counts| counts.advertised),
    ];
    for (metric, help, pick) in kinds {
        let mut metric = out.metric(metric, Kind::Gauge, help);
        for peer in peers {
            for (family, counts) in Family::SUPPORTED.iter().zip(&peer.routes) {
                metric.sample(&[name(peer), ("family", &family.to_string())], pick(counts));
            }
        }
    }
}

fn reading(out: &mut Exposition, peers: &[Peer]) {
    let kinds: [Figure<&Peer>; 6] = [
        ("margay_bgp_batches_total", "Batches of routes handed to the table.", |peer| {
            peer.status.counters.batches().0
        }),
        ("margay_bgp_batch_prefixes_total", "Routes and withdrawals in these batches.", |peer| {
            peer.status.counters.batches().1
        }),
        (
            "margay_bgp_attribute_intern_hits_total",
            "Attribute sets received that some route had already.",
            |peer| peer.status.counters.interned_sets().0,
        ),
        ("margay_bgp_attribute_intern_misses_total", "New attribute sets received.", |peer| {
            peer.status.counters.interned_sets().1
        }),
        (
            "margay_bgp_reader_stalls_total",
            "Times reading paused for the table to catch up.",
            |peer| peer.status.counters.stalls(),
        ),
        (
            "margay_bgp_routes_too_long_total",
            "Times routes that share attributes were not sent because these exceed the peer's message size.",
            |peer| peer.status.counters.too_long(),
        ),
    ];
    for (metric, help, pick) in kinds {
        let mut metric = out.metric(metric, Kind::Counter, help);
        for peer in peers {
            metric.sample(&[name(peer)], pick(peer));
        }
    }
    let mut metric = out.metric(
        "margay_bgp_send_queue_octets",
        Kind::Gauge,
        "Octets waiting to be written to the session.",
    );
    for peer in peers {
        metric.sample(&[name(peer)], peer.status.queued_octets);
    }
}

async fn table(out: &mut Exposition, node: &Node) {
    let counts = node.speaker.counts().await;
    let kinds: [Figure<&TableCounts>; 4] = [
        ("margay_bgp_table_prefixes", "Prefixes with any path.", |counts| counts.prefixes),
        ("margay_bgp_table_paths", "Paths held.", |counts| counts.paths),
        ("margay_bgp_table_best", "Prefixes with a best path.", |counts| counts.best),
        (
            "margay_bgp_update_groups",
            "Groups of peers that are sent the same, over all shards.",
            |counts| counts.groups,
        ),
    ];
    for (metric, help, pick) in kinds {
        let mut metric = out.metric(metric, Kind::Gauge, help);
        for (family, counts) in Family::SUPPORTED.iter().zip(&counts) {
            metric.sample(&[("family", &family.to_string())], pick(counts));
        }
    }
    out.metric("margay_bgp_attribute_sets", Kind::Gauge, "Distinct attribute sets in memory.")
        .value(node.speaker.attribute_sets());
    let gauges = node.speaker.shard_gauges();
    let mut metric = out.metric(
        "margay_bgp_shard_queue_batches",
        Kind::Gauge,
        "Batches waiting for a shard of the table.",
    );
    for (shard, gauge) in gauges.iter().enumerate() {
        metric.sample(&[("shard", &shard.to_string())], gauge.waiting);
    }
    let mut metric = out.metric(
        "margay_bgp_shard_longest_turn_seconds",
        Kind::Gauge,
        "Longest time a shard worked without looking at questions, since the last scrape.",
    );
    for (shard, gauge) in gauges.iter().enumerate() {
        let seconds = std::time::Duration::from_micros(gauge.longest_turn_us).as_secs_f64();
        metric.sample(&[("shard", &shard.to_string())], seconds);
    }
    let counters: [Figure<&ShardGauge>; 3] = [
        ("margay_bgp_shard_turns_total", "Times a shard had something to work off.", |g| g.turns),
        (
            "margay_bgp_shard_blocks_total",
            "Blocks of messages encoded, each once for a group of peers.",
            |g| g.blocks,
        ),
        (
            "margay_bgp_shard_block_copies_total",
            "The same blocks, counted for each peer they were queued for.",
            |g| g.copies,
        ),
    ];
    for (metric, help, pick) in counters {
        let mut metric = out.metric(metric, Kind::Counter, help);
        for (shard, gauge) in gauges.iter().enumerate() {
            metric.sample(&[("shard", &shard.to_string())], pick(gauge));
        }
    }
}

fn kernel(out: &mut Exposition, node: &Node) {
    let status = node.fib.status();
    let mut metric = out.metric("margay_fib_routes", Kind::Gauge, "Routes of ours in the kernel.");
    metric.sample(&[("family", "ipv4-unicast")], status.routes_v4);
    metric.sample(&[("family", "ipv6-unicast")], status.routes_v6);
    let gauges = [
        ("margay_fib_pending_routes", "Routes on their way to the kernel.", status.pending),
        ("margay_fib_failed_routes", "Routes the kernel refused.", status.failed),
        ("margay_fib_conflicts", "Prefixes held by a foreign route.", status.conflicts),
        (
            "margay_fib_degraded",
            "1 while routes cannot be written.",
            usize::from(status.degraded.is_some()),
        ),
    ];
    for (metric, help, value) in gauges {
        out.metric(metric, Kind::Gauge, help).value(value);
    }
    let counters = [
        ("margay_fib_applied_total", "Routes written, replaced or deleted.", status.applied),
        (
            "margay_fib_batches_total",
            "Batches the kernel has worked off, each sent by one system call.",
            status.batches,
        ),
        (
            "margay_fib_messages_total",
            "Messages in these batches: routes and next-hop objects written.",
            status.messages,
        ),
        ("margay_fib_errors_total", "Routes the kernel refused to write.", status.errors),
        (
            "margay_fib_drift_repaired_total",
            "Routes put back after somebody else changed them.",
            status.drift_repaired,
        ),
        ("margay_fib_resyncs_total", "Times the kernel's state was read anew.", status.resyncs),
    ];
    for (metric, help, value) in counters {
        out.metric(metric, Kind::Counter, help).value(value);
    }
    let mut metric = out.metric(
        "margay_fib_refusals_total",
        Kind::Counter,
        "Messages the kernel refused, deletions of what was gone among them, and batches it never \
         answered, by error code.",
    );
    for (code, count) in status.refusals_by_name() {
        metric.sample(&[("code", &code)], count);
    }
    out.metric(
        "margay_fib_lag_seconds",
        Kind::Gauge,
        "Age of the oldest wish for a route that the kernel has not acknowledged, 0 without one.",
    )
    .value(status.lag(std::time::Instant::now()).as_secs_f64());
    out.metric(
        "margay_fib_apply_seconds_total",
        Kind::Counter,
        "Time the kernel has spent on batches.",
    )
    .value(status.apply_time.as_secs_f64());
}
