//! What holds besides policy: `FelixConfiguration` and `IPPool` resources, as the table's settings.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use margay_model::{
    Kind, Protocol, Resource, ResourceKey,
    kinds::{AllowedUse, FelixConfigurationSpec, IpPoolSpec, ProtoPort, Switch},
};
use policy_bpf::PREFIXES;
use policy_nft::{
    expr::Rate,
    layout::{Failsafe, Marks, Pool, Settings, ToHost},
};

/// The resources that settings are made of.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    pools: BTreeMap<String, Pool>,
    felix: BTreeMap<String, FelixConfigurationSpec>,
    /// Their fields that nobody follows.
    unheeded: BTreeMap<String, Vec<String>>,
    /// Of an earlier snapshot, and not told again yet.
    stale: BTreeSet<(Kind, String)>,
    changed: bool,
}

impl Inputs {
    /// A resource as it is now; other kinds are ignored.
    pub(super) fn update(&mut self, key: &ResourceKey, resource: Option<&Resource>) {
        self.stale.remove(&(key.kind, key.name.clone()));
        match (key.kind, resource) {
            // No workload has an address of one for services alone.
            (Kind::IpPool, Some(Resource::IpPool(pool))) if !is_of_pods(&pool.spec) => {
                self.changed |= self.pools.remove(&key.name).is_some();
            }
            (Kind::IpPool, Some(Resource::IpPool(pool))) => {
                // Those that give no more addresses have workloads that hold some.
                let range = pool.spec.cidr.net().trunc();
                let masquerade = pool.spec.nat_outgoing == Some(true);
                let pool = Pool { range, masquerade };
                let before = self.pools.insert(key.name.clone(), pool.clone());
                self.changed |= before != Some(pool);
            }
            (Kind::FelixConfiguration, Some(Resource::FelixConfiguration(felix))) => {
                let before = self.felix.insert(key.name.clone(), felix.spec.clone());
                self.changed |= before.as_ref() != Some(&felix.spec);
                let object = resource.map(Resource::to_json).unwrap_or_default();
                self.unheeded.insert(key.name.clone(), unheeded(&object));
            }
            (Kind::IpPool, _) => self.changed |= self.pools.remove(&key.name).is_some(),
            (Kind::FelixConfiguration, _) => {
                self.changed |= self.felix.remove(&key.name).is_some();
                self.unheeded.remove(&key.name);
            }
            _ => {}
        }
    }

    /// A resource is there, and cannot be read: what was known of it stays.
    pub(super) fn keep(&mut self, key: &ResourceKey) {
        self.stale.remove(&(key.kind, key.name.clone()));
    }

    /// What is not told again before [`Inputs::in_sync`] is gone then.
    pub(super) fn restart(&mut self) {
        let pools = self.pools.keys().map(|name| (Kind::IpPool, name.clone()));
        let felix = self.felix.keys().map(|name| (Kind::FelixConfiguration, name.clone()));
        self.stale = pools.chain(felix).collect();
    }

    /// Everything has been told; whether anything changed since the last time.
    pub(super) fn in_sync(&mut self) -> bool {
        for (kind, name) in std::mem::take(&mut self.stale) {
            self.update(&ResourceKey { kind, namespace: String::new(), name }, None);
        }
        std::mem::take(&mut self.changed)
    }

    /// The settings of this node, and what of the resources is not followed.
    pub(super) fn settings(&self, node: &str) -> (Settings, Vec<String>) {
        let mut settings =
            Settings { pools: self.pools.values().cloned().collect(), ..Settings::default() };
        let mut ignored = Vec::new();
        if let Some(prefixes) = self.felix(node, |felix| felix.interface_prefix.clone()) {
            let (named, odd): (Vec<&str>, _) =
                prefixes.split(',').map(str::trim).partition(|one| (1..=15).contains(&one.len()));
            ignored.extend(odd.iter().map(|odd| {
                format!(
                    "interfacePrefix {prefixes:?}: the names of links do not begin with {odd:?}"
                )
            }));
            // Each is asked of every packet: what another one covers is left out.
            let mut all: Vec<String> = Vec::new();
            for name in named {
                if !all.iter().any(|known| name.starts_with(known)) {
                    all.retain(|known| !known.starts_with(name));
                    all.push(name.to_owned());
                }
            }
            if all.len() > PREFIXES {
                ignored.push(format!(
                    "interfacePrefix {prefixes:?}: only the first {PREFIXES} count; a link that begins \
                     otherwise is closed only once its endpoint is known"
                ));
                all.truncate(PREFIXES);
            }
            if !all.is_empty() {
                settings.prefixes = all;
            }
        }
        if let Some(action) =
            self.felix(node, |felix| felix.default_endpoint_to_host_action.clone())
        {
            settings.to_host = match action.to_ascii_lowercase().as_str() {
                "accept" => ToHost::Accept,
                "return" => ToHost::Return,
                _ => ToHost::Drop,
            };
        }
        settings.vxlan_port = self.felix(node, |felix| felix.vxlan_port).or(settings.vxlan_port);
        if self.felix(node, |felix| felix.allow_vxlan_packets_from_workloads) == Some(true) {
            settings.vxlan_port = None;
        }
        settings.ipip_from_workloads =
            self.felix(node, |felix| felix.allow_ipip_packets_from_workloads) == Some(true);
        let open = |list: Vec<ProtoPort>| list.iter().map(failsafe).collect();
        if let Some(list) = self.felix(node, |felix| felix.failsafe_inbound_host_ports.clone()) {
            settings.failsafe_inbound = open(list);
        }
        if let Some(list) = self.felix(node, |felix| felix.failsafe_outbound_host_ports.clone()) {
            settings.failsafe_outbound = open(list);
        }
        settings.masquerade_as =
            self.felix(node, |felix| felix.nat_outgoing_address).map(IpAddr::V4);
        let ports = self.felix(node, |felix| felix.nat_port_range.clone());
        settings.masquerade_ports = ports.and_then(|ports| ports.range());
        let by = self.felix(node, |felix| felix.iptables_nat_outgoing_interface_filter.clone());
        settings.masquerade_by = by.filter(|by| !by.is_empty());
        settings.drops_invalid =
            self.felix(node, |felix| felix.disable_conntrack_invalid_check) != Some(true);
        settings.floating = self.felix(node, |felix| felix.floating_ips) == Some(Switch::Enabled);
        settings.log_prefix = self.felix(node, |felix| felix.log_prefix.clone());
        if let Some(rate) = self.felix(node, |felix| felix.log_action_rate_limit.clone())
            && let Some(rate) = log_rate(&rate)
        {
            settings.log_rate = rate;
        }
        if let Some(burst) = self.felix(node, |felix| felix.log_action_rate_limit_burst) {
            settings.log_rate.burst = burst;
        }
        let marks = self.felix(node, |felix| felix.nftables_mark_mask).and_then(Marks::of);
        settings.marks = marks.unwrap_or(settings.marks);
        let any = self.felix(node, |felix| felix.workload_source_spoofing.clone());
        let unsupported = [("workloadSourceSpoofing Any", any.as_deref() == Some("Any"))];
        let unsupported = unsupported.into_iter().filter(|(_, given)| *given);
        ignored
            .extend(unsupported.map(|(name, _)| format!("{name}: not supported in this version")));
        let applies = ["default".to_owned(), format!("node.{node}")];
        let unheeded = applies.iter().filter_map(|name| Some((name, self.unheeded.get(name)?)));
        ignored.extend(unheeded.filter(|(_, fields)| !fields.is_empty()).map(|(name, fields)| {
            format!("{} of {name}: without effect in this version", fields.join(", "))
        }));
        let selecting = self.felix.iter().filter(|(_, felix)| felix.node_selector.is_some());
        ignored.extend(selecting.map(|(name, _)| {
            format!("nodeSelector of {name}: not supported in this version, it applies nowhere")
        }));
        for text in &mut ignored {
            text.insert_str(0, "FelixConfiguration: ");
        }
        (settings, ignored)
    }

    /// A field as it is for this node: its own goes before everybody's.
    fn felix<T>(
        &self,
        node: &str,
        field: impl Fn(&FelixConfigurationSpec) -> Option<T>,
    ) -> Option<T> {
        let own = self.felix.get(&format!("node.{node}"));
        own.and_then(&field).or_else(|| self.felix.get("default").and_then(&field))
    }
}

/// TCP where it names no protocol, as in Calico.
fn failsafe(open: &ProtoPort) -> Failsafe {
    Failsafe {
        protocol: open.protocol.unwrap_or(Protocol::Tcp).number(),
        port: open.port,
        net: open.net.as_ref().map(|net| net.net().trunc()),
    }
}

/// `N/second` and the like; as in Calico 5 at once unless more is said.
fn log_rate(text: &str) -> Option<Rate> {
    let (times, unit) = text.split_once('/')?;
    let seconds = match unit {
        "second" => 1,
        "minute" => 60,
        "hour" => 60 * 60,
        "day" => 24 * 60 * 60,
        _ => return None,
    };
    Some(Rate { times: times.parse().ok()?, seconds, burst: Rate::BURST })
}

/// Whether workloads or tunnels have addresses of a pool.
fn is_of_pods(pool: &IpPoolSpec) -> bool {
    [AllowedUse::Workload, AllowedUse::Tunnel].into_iter().any(|allowed| pool.allows(allowed))
}

/// The fields of a FelixConfiguration that nobody here follows, nor says more of.
fn unheeded(object: &serde_json::Value) -> Vec<String> {
    let fields = object.get("spec").and_then(serde_json::Value::as_object);
    let given = fields.into_iter().flatten().filter(|(name, value)| {
        // Every stored one has some of these.
        let is_default = name.starts_with("bpf") && *name != "bpfEnabled";
        let is = |wanted: &str| match value {
            serde_json::Value::String(text) => text.eq_ignore_ascii_case(wanted),
            serde_json::Value::Bool(is) => wanted.parse() == Ok(*is),
            _ => false,
        };
        let is_done = DONE.iter().any(|(field, so)| field == name && so.iter().any(|so| is(so)));
        !HEEDED.contains(&name.as_str()) && !is_default && !is_done
    });
    given.map(|(name, _)| name.clone()).collect()
}

/// What fields may say that is so whatever they say.
const DONE: &[(&str, &[&str])] = &[
    ("bpfEnabled", &["false"]),
    // A table of our own stands behind and before nobody's rules.
    ("chainInsertMode", &["insert", "append"]),
    ("ipForwarding", &["Enabled"]),
    ("ipv6Support", &["true"]),
    ("natOutgoingExclusions", &["IPPoolsOnly"]),
    ("nftablesFilterAllowAction", &["Accept"]),
    ("nftablesFilterDenyAction", &["Drop"]),
    ("nftablesFlowTableOffload", &["Disabled"]),
    ("nftablesMangleAllowAction", &["Accept"]),
    ("nftablesMode", &["Enabled", "Auto"]),
    ("routeSyncDisabled", &["false"]),
    ("wireguardHostEncryptionEnabled", &["false"]),
];

/// Fields of FelixConfiguration that are followed, here or by the node's daemon, or told of above.
const HEEDED: &[&str] = &[
    "allowIPIPPacketsFromWorkloads",
    "allowVXLANPacketsFromWorkloads",
    "defaultEndpointToHostAction",
    "disableConntrackInvalidCheck",
    "failsafeInboundHostPorts",
    "failsafeOutboundHostPorts",
    "floatingIPs",
    "interfacePrefix",
    "iptablesNATOutgoingInterfaceFilter",
    "logActionRateLimit",
    "logActionRateLimitBurst",
    "logPrefix",
    "natOutgoingAddress",
    "natPortRange",
    "nftablesMarkMask",
    "nodeSelector",
    "vxlanPort",
    "wireguardEnabled",
    "wireguardEnabledV6",
    "workloadSourceSpoofing",
];
