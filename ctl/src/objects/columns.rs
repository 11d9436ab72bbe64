//! The columns that users know of each kind, and what stands in them.

use margay_model::{Kind, kinds::SERVICE_NAME_LABEL};
use serde_json::Value;

/// What a cell may depend on besides its object.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// `spec.asNumber` of the default BGPConfiguration, 64512 without it.
    pub default_asn: u64,
}

/// A heading and what stands under it.
#[derive(Clone, Copy)]
pub struct Heading {
    /// As printed, and as given to `-o custom-columns`.
    pub title: &'static str,
    cell: fn(&Value, &Context) -> String,
}

impl Heading {
    /// What stands under it for an object.
    pub fn cell(&self, object: &Value, context: &Context) -> String {
        (self.cell)(object, context)
    }
}

/// The columns of a kind: of `-o table`, of `-o wide`, and those only custom columns can have.
pub struct Headings {
    /// `-o table`.
    pub table: Vec<Heading>,
    /// `-o wide`.
    pub wide: Vec<Heading>,
    extra: Vec<Heading>,
}

impl Headings {
    /// Every heading of the kind, without doubles.
    pub fn all(&self) -> Vec<Heading> {
        let mut all: Vec<Heading> = Vec::new();
        for heading in self.table.iter().chain(&self.wide).chain(&self.extra) {
            if !all.iter().any(|known| known.title == heading.title) {
                all.push(*heading);
            }
        }
        all
    }
}

/// Longest list of networks in a cell, in characters.
const LIST: usize = 80;

/// The columns of a kind.
pub fn headings(kind: Kind) -> Headings {
    let same = |columns: Vec<Heading>| Headings {
        table: columns.clone(),
        wide: columns,
        extra: Vec::new(),
    };
    let more = |table: Vec<Heading>, more: Vec<Heading>| Headings {
        wide: table.iter().chain(&more).copied().collect(),
        table,
        extra: Vec::new(),
    };
    match kind {
        Kind::BgpConfiguration => same(vec![
            NAME,
            heading("LOGSEVERITY", |o, _| text(o, "/spec/logSeverityScreen")),
            heading("MESHENABLED", |o, _| text(o, "/spec/nodeToNodeMeshEnabled")),
            heading("ASNUMBER", |o, _| or_dash(text(o, "/spec/asNumber"))),
        ]),
        Kind::BgpPeer => same(vec![
            NAME,
            heading("PEERIP", |o, _| text(o, "/spec/peerIP")),
            heading("NODE", |o, _| peer_nodes(o)),
            heading("ASN", |o, _| or_zero(text(o, "/spec/asNumber"))),
        ]),
        Kind::BgpFilter => same(vec![
            NAME,
            heading("NUMEXPORTV4", |o, _| count(o, "/spec/exportV4")),
            heading("NUMIMPORTV4", |o, _| count(o, "/spec/importV4")),
            heading("NUMEXPORTV6", |o, _| count(o, "/spec/exportV6")),
            heading("NUMIMPORTV6", |o, _| count(o, "/spec/importV6")),
        ]),
        Kind::IpPool => Headings {
            table: vec![NAME, CIDR, SELECTOR],
            wide: vec![
                NAME,
                CIDR,
                heading("NAT", |o, _| or_false(text(o, "/spec/natOutgoing"))),
                heading("IPIPMODE", |o, _| or(text(o, "/spec/ipipMode"), "Never")),
                heading("VXLANMODE", |o, _| or(text(o, "/spec/vxlanMode"), "Never")),
                heading("DISABLED", |o, _| or_false(text(o, "/spec/disabled"))),
                heading("DISABLEBGPEXPORT", |o, _| or_false(text(o, "/spec/disableBGPExport"))),
                SELECTOR,
                heading("ASSIGNMENTMODE", |o, _| or(text(o, "/spec/assignmentMode"), "Automatic")),
            ],
            extra: Vec::new(),
        },
        Kind::IpReservation => more(
            vec![NAME],
            vec![heading("CIDRS", |o, _| list(o, "/spec/reservedCIDRs", Some(LIST)))],
        ),
        Kind::IpamConfiguration => more(
            vec![
                NAME,
                heading("STRICTAFFINITY", |o, _| or_false(text(o, "/spec/strictAffinity"))),
                heading("AUTOALLOCATEBLOCKS", |o, _| {
                    or(text(o, "/spec/autoAllocateBlocks"), "true")
                }),
            ],
            vec![heading("MAXBLOCKSPERHOST", |o, _| or_zero(text(o, "/spec/maxBlocksPerHost")))],
        ),
        Kind::BlockAffinity => same(vec![
            NAME,
            heading("NODE", |o, _| text(o, "/spec/node")),
            CIDR,
            heading("STATE", |o, _| text(o, "/spec/state")),
        ]),
        Kind::CalicoNodeStatus => more(
            vec![NAME, heading("NODE", |o, _| text(o, "/spec/node"))],
            vec![heading("CLASSES", |o, _| list(o, "/spec/classes", None))],
        ),
        Kind::ClusterInformation => same(vec![
            NAME,
            heading("CLUSTERGUID", |o, _| text(o, "/spec/clusterGUID")),
            heading("CLUSTERTYPE", |o, _| text(o, "/spec/clusterType")),
            heading("CALICOVERSION", |o, _| text(o, "/spec/calicoVersion")),
            heading("DATASTOREREADY", |o, _| text(o, "/spec/datastoreReady")),
        ]),
        Kind::FelixConfiguration | Kind::KubeControllersConfiguration | Kind::LiveMigration => {
            same(vec![NAME])
        }
        Kind::NetworkPolicy
        | Kind::GlobalNetworkPolicy
        | Kind::StagedNetworkPolicy
        | Kind::StagedGlobalNetworkPolicy => more(
            vec![NAME, heading("TIER", |o, _| or(text(o, "/spec/tier"), "default"))],
            vec![
                heading("ORDER", |o, _| text(o, "/spec/order")),
                heading("SELECTOR", |o, _| text(o, "/spec/selector")),
            ],
        ),
        Kind::StagedKubernetesNetworkPolicy => more(
            vec![NAME],
            vec![heading("PODSELECTOR", |o, _| label_selector(o, "/spec/podSelector"))],
        ),
        Kind::NetworkSet | Kind::GlobalNetworkSet => {
            more(vec![NAME], vec![heading("NETS", |o, _| list(o, "/spec/nets", Some(LIST)))])
        }
        Kind::EndpointSlice => more(
            vec![
                NAME,
                heading("SERVICE", |o, _| slice_service(o)),
                heading("PORTS", |o, _| slice_ports(o)),
                heading("ENDPOINTS", |o, _| slice_addresses(o)),
            ],
            vec![heading("ADDRESSTYPE", |o, _| text(o, "/addressType"))],
        ),
        Kind::HostEndpoint => more(
            vec![NAME, heading("NODE", |o, _| text(o, "/spec/node"))],
            vec![
                heading("INTERFACE", |o, _| text(o, "/spec/interfaceName")),
                heading("IPS", |o, _| list(o, "/spec/expectedIPs", None)),
                heading("PROFILES", |o, _| list(o, "/spec/profiles", None)),
            ],
        ),
        Kind::WorkloadEndpoint => {
            let workload = heading("WORKLOAD", |o, _| workload(o));
            let node = heading("NODE", |o, _| text(o, "/spec/node"));
            let networks = heading("NETWORKS", |o, _| list(o, "/spec/ipNetworks", None));
            let interface = heading("INTERFACE", |o, _| text(o, "/spec/interfaceName"));
            Headings {
                table: vec![workload, node, networks, interface],
                wide: vec![
                    NAME,
                    workload,
                    node,
                    networks,
                    interface,
                    heading("PROFILES", |o, _| list(o, "/spec/profiles", None)),
                    heading("NATS", |o, _| nats(o)),
                ],
                extra: vec![heading("ORCHESTRATOR", |o, _| text(o, "/spec/orchestrator"))],
            }
        }
        Kind::Node => more(
            vec![NAME],
            vec![
                heading("ASN", |o, context| match text(o, "/spec/bgp/asNumber") {
                    own if own.is_empty() => format!("({})", context.default_asn),
                    own => own,
                }),
                heading("IPV4", |o, _| text(o, "/spec/bgp/ipv4Address")),
                heading("IPV6", |o, _| text(o, "/spec/bgp/ipv6Address")),
            ],
        ),
        Kind::Profile => more(vec![NAME], vec![heading("LABELS", |o, _| labels(o))]),
        Kind::Tier => same(vec![NAME, heading("ORDER", |o, _| text(o, "/spec/order"))]),
    }
}

/// The column in front of those of a namespaced kind, where namespaces are asked for.
pub const NAMESPACE: Heading = heading("NAMESPACE", |o, _| text(o, "/metadata/namespace"));

const NAME: Heading = heading("NAME", |o, _| text(o, "/metadata/name"));
const CIDR: Heading = heading("CIDR", |o, _| text(o, "/spec/cidr"));
const SELECTOR: Heading = heading("SELECTOR", |o, _| or(text(o, "/spec/nodeSelector"), "all()"));

const fn heading(title: &'static str, cell: fn(&Value, &Context) -> String) -> Heading {
    Heading { title, cell }
}

/// The text of a scalar; empty where nothing is.
fn text(object: &Value, pointer: &str) -> String {
    match object.pointer(pointer) {
        Some(value) => scalar(value),
        None => String::new(),
    }
}

/// A value on one line.
pub fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn list(object: &Value, pointer: &str, limit: Option<usize>) -> String {
    let items = object.pointer(pointer).and_then(Value::as_array);
    joined(items.into_iter().flatten().map(scalar), limit)
}

fn joined(texts: impl Iterator<Item = String>, limit: Option<usize>) -> String {
    let joined = texts.collect::<Vec<_>>().join(",");
    match limit {
        Some(limit) if joined.chars().count() > limit => {
            let kept: String = joined.chars().take(limit.saturating_sub(3)).collect();
            kept + "..."
        }
        _ => joined,
    }
}

fn count(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_array).map_or(0, Vec::len).to_string()
}

fn or(text: String, default: &str) -> String {
    if text.is_empty() { default.to_owned() } else { text }
}

fn or_dash(text: String) -> String {
    or(text, "-")
}

fn or_zero(text: String) -> String {
    or(text, "0")
}

fn or_false(text: String) -> String {
    or(text, "false")
}

/// Which nodes a peer is for.
fn peer_nodes(object: &Value) -> String {
    let node = text(object, "/spec/node");
    if node.is_empty() { or(text(object, "/spec/nodeSelector"), "(global)") } else { node }
}

/// What users call a workload: the pod, or what another orchestrator says.
fn workload(object: &Value) -> String {
    let pod = text(object, "/spec/pod");
    if pod.is_empty() { text(object, "/spec/workload") } else { pod }
}

fn nats(object: &Value) -> String {
    let nats = object.pointer("/spec/ipNATs").and_then(Value::as_array);
    let pairs: Vec<_> = nats
        .into_iter()
        .flatten()
        .map(|nat| format!("{}->{}", text(nat, "/externalIP"), text(nat, "/internalIP")))
        .collect();
    pairs.join(",")
}

/// The service of a slice of endpoints.
fn slice_service(object: &Value) -> String {
    let labels = object.pointer("/metadata/labels");
    labels.and_then(|labels| labels.get(SERVICE_NAME_LABEL)).map(scalar).unwrap_or_default()
}

/// `8080` of TCP, `53/UDP` of another protocol.
fn slice_ports(object: &Value) -> String {
    let ports = object.get("ports").and_then(Value::as_array);
    let port = |port: &Value| match text(port, "/protocol").as_str() {
        "" | "TCP" => or(text(port, "/port"), "*"),
        other => format!("{}/{other}", or(text(port, "/port"), "*")),
    };
    joined(ports.into_iter().flatten().map(port), Some(LIST))
}

fn slice_addresses(object: &Value) -> String {
    let endpoints = object.get("endpoints").and_then(Value::as_array);
    let addresses = |endpoint| list(endpoint, "/addresses", None);
    joined(endpoints.into_iter().flatten().map(addresses), Some(LIST))
}

fn labels(object: &Value) -> String {
    let labels = object.pointer("/spec/labelsToApply").and_then(Value::as_object);
    let mut pairs: Vec<_> =
        labels.into_iter().flatten().map(|(k, v)| format!("{k}={}", scalar(v))).collect();
    pairs.sort();
    pairs.join(",")
}

/// A Kubernetes label selector in the words of a command line: `app=web,tier in (a,b),!old`.
fn label_selector(object: &Value, pointer: &str) -> String {
    let Some(selector) = object.pointer(pointer) else { return String::new() };
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let mut terms: Vec<_> =
        labels.into_iter().flatten().map(|(k, v)| format!("{k}={}", scalar(v))).collect();
    terms.sort();
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    for expression in expressions.into_iter().flatten() {
        let key = text(expression, "/key");
        let values = list(expression, "/values", None);
        terms.push(match text(expression, "/operator").as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} not in ({values})"),
            "Exists" => key,
            _ => format!("!{key}"),
        });
    }
    terms.join(",")
}

#[cfg(test)]
mod tests;
