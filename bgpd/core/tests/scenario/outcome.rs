//! The state at the end, as the lines of `expected.jsonl`: every path with its reason, what import
//! policy refused, what each peer was told, and what the kernel was given.

use bgp_core::{
    policy::RouteSource,
    rib::{Reason, RouteRow, TrackedNextHop, View},
};
use bgp_packet::{ExtCommunity, PathAttributes};
use serde_json::{Value, json};

use super::play::{Player, peer_id};

/// Keys in the order given: a line reads from the general to the particular.
struct Line(Vec<(&'static str, Value)>);

impl Line {
    fn with(mut self, key: &'static str, value: Value) -> Self {
        let empty = match &value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(list) => list.is_empty(),
            _ => false,
        };
        if !empty {
            self.0.push((key, value));
        }
        self
    }

    fn attributes(self, attributes: &PathAttributes) -> Self {
        let texts = |list: &[_]| list.iter().map(ToString::to_string).collect::<Vec<String>>();
        let large: Vec<_> = attributes.large_communities.iter().map(ToString::to_string).collect();
        let ext = attributes.ext_communities.iter();
        let ext: Vec<_> = ext.map(|octets| ExtCommunity(*octets).to_string()).collect();
        let clusters: Vec<_> = attributes.cluster_list.iter().map(ToString::to_string).collect();
        let link_local = attributes.next_hop.link_local;
        self.with("next_hop", json!(attributes.next_hop.address.to_string()))
            .with("next_hop_link_local", json!(link_local.map(|a| a.to_string())))
            .with("as_path", json!(attributes.as_path.to_string()))
            .with("origin", json!(attributes.origin.to_string()))
            .with("med", json!(attributes.med))
            .with("local_pref", json!(attributes.local_pref))
            .with("communities", json!(texts(&attributes.communities)))
            .with("large_communities", json!(large))
            .with("ext_communities", json!(ext))
            .with("originator_id", json!(attributes.originator_id.map(|id| id.to_string())))
            .with("cluster_list", json!(clusters))
            .with("atomic_aggregate", json!(attributes.atomic_aggregate))
    }

    fn print(&self) -> String {
        let parts = self.0.iter().map(|(key, value)| format!("{}: {value}", json!(key)));
        format!("{{{}}}", parts.collect::<Vec<_>>().join(", "))
    }
}

/// All there is to say about how a run ended; equal for runs that must end the same.
pub fn describe(player: &Player) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut rows = player.rows(View::Table);
    rows.sort_by_key(|row| (row.prefix, !row.best, row.peer, row.path_id, row.source));
    lines.extend(rows.iter().map(|row| path(row).print()));
    for (index, peer) in player.topology.peers.iter().enumerate() {
        let mut filtered = player.rows(View::ReceivedPrePolicy(peer_id(index)));
        filtered.retain(|row| row.reason == Reason::Policy);
        filtered.sort_by_key(|row| (row.prefix, row.path_id));
        for row in filtered {
            let line = Line(vec![("table", json!("filtered"))])
                .with("peer", json!(peer.config.name))
                .with("prefix", json!(row.prefix.to_string()))
                .with("path_id", json!(row.path_id))
                .attributes(&row.attributes.decode());
            lines.push(line.print());
        }
    }
    let mut told = Vec::new();
    for (index, table) in player.told() {
        let name = &player.topology.peers[index].config.name;
        for ((prefix, _), attributes) in table {
            let line = Line(vec![("table", json!("adj-rib-out"))])
                .with("peer", json!(name))
                .with("prefix", json!(prefix.to_string()))
                .attributes(attributes);
            told.push((index, *prefix, line.print()));
        }
    }
    // Path identifiers are the sender's choice, so paths of a prefix come in the order of their text.
    told.sort();
    lines.extend(told.into_iter().map(|(_, _, line)| line));
    for (prefix, route) in player.fib() {
        let next_hops: Vec<_> = route.next_hops.iter().map(next_hop).collect();
        let line = Line(vec![("table", json!("fib"))])
            .with("prefix", json!(prefix.to_string()))
            .with("next_hops", json!(next_hops))
            .with("blackhole", json!(route.next_hops.is_empty()))
            .with("metric", json!(route.local.metric));
        lines.push(line.print());
    }
    lines.push(String::new());
    lines.join("\n")
}

fn path(row: &RouteRow) -> Line {
    let source = match row.source {
        RouteSource::Bgp => None,
        RouteSource::Originate => Some("originate"),
        RouteSource::Connected => Some("connected"),
        RouteSource::Static => Some("static"),
        RouteSource::Kernel => Some("kernel"),
    };
    Line(vec![("table", json!("loc-rib"))])
        .with("prefix", json!(row.prefix.to_string()))
        .with("peer", json!(row.peer_name.as_deref()))
        .with("source", json!(source))
        .with("path_id", json!(row.path_id))
        .with("best", json!(row.best))
        .with("multipath", json!(row.multipath))
        .with("reason", json!(row.reason.as_str()))
        .with("weight", json!((row.local.weight != 0).then_some(row.local.weight)))
        .attributes(&row.attributes.decode())
}

fn next_hop((tracked, weight): &(TrackedNextHop, u16)) -> String {
    let mut text = tracked.address.to_string();
    if let Some(link_local) = tracked.link_local {
        text.push_str(&format!(" {link_local}"));
    }
    if *weight != 1 && *weight != 0 {
        text.push_str(&format!(" weight {weight}"));
    }
    text
}
