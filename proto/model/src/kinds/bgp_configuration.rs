//! `BGPConfiguration`: BGP of the whole cluster (`default`) or of one node (`node.NAME`).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{
    fault::Step,
    object::Object,
    scalar::{AsNumber, Cidr, Duration, masked, names, with_length},
    wire::{At, rules},
};

use super::Switch;

choice! {
    /// How much is logged; only `Debug` and `Info` differ in what is logged.
    pub enum BgpLogLevel [any_case] {
        /// Most.
        Trace = "Trace",
        /// Much.
        Debug = "Debug",
        /// What operators know.
        Info = "Info",
        /// What is odd.
        Warning = "Warning",
        /// What is wrong.
        Error = "Error",
        /// What ends it.
        Fatal = "Fatal",
    }
}

choice! {
    /// Which addresses BGP listens on.
    pub enum BindMode {
        /// All.
        None = "None",
        /// The node's own.
        NodeIp = "NodeIP",
    }
}

choice! {
    /// Which routes of pools one of the two programs writes into the kernel.
    pub enum ProgramClusterRoutes {
        /// All but VXLAN.
        Enabled = "Enabled",
        /// None.
        Disabled = "Disabled",
        /// Those of IP-in-IP pools.
        EnabledIpipOnly = "EnabledIPIPOnly",
        /// Those of pools without encapsulation.
        EnabledNoEncapOnly = "EnabledNoEncapOnly",
    }
}

record! {
    /// A community by name.
    pub struct NamedCommunity {
        /// The name prefix advertisements use.
        name: String = "name",
        /// `n:n` (RFC 1997) or `n:n:n` (RFC 8092).
        value: String = "value" => community,
    }
}

record! {
    /// Communities for the routes within a range.
    pub struct PrefixAdvertisement {
        /// The range.
        cidr: Cidr = "cidr" => rules::both(with_length, masked),
        /// Communities, each by value or by name.
        communities: Vec<String> = "communities",
    }
    check |advertisement, at| {
        if advertisement.communities.len() > 50 {
            at.refuse("communities", "at most 50 items");
        }
    }
}

record! {
    /// A range of service addresses.
    pub struct ServiceBlock {
        /// The range; an empty one is ignored.
        cidr: Option<Cidr> = "cidr" => rules::both(with_length, masked),
    }
}

record! {
    /// A key of a secret.
    pub struct SecretKeySelector {
        /// The secret.
        name: String = "name",
        /// The key in it.
        key: String = "key",
        /// Whether it may be missing.
        optional: Option<bool> = "optional",
    }
}

record! {
    /// Where a password is kept.
    #[derive(Default)]
    pub struct BgpPassword {
        /// In a secret.
        secret_key_ref: Option<SecretKeySelector> = "secretKeyRef",
    }
}

record! {
    /// The spec of a `BGPConfiguration`.
    #[derive(Default)]
    pub struct BgpConfigurationSpec {
        /// How much is logged; `Info` if absent.
        log_severity_screen: Option<BgpLogLevel> = "logSeverityScreen",
        /// Whether every node peers with every other; true if absent. Counts in `default` only.
        node_to_node_mesh_enabled: Option<bool> = "nodeToNodeMeshEnabled",
        /// The AS of the cluster; 64512 if absent. Counts in `default` only.
        as_number: Option<AsNumber> = "asNumber",
        /// The port to listen on; 179 if absent.
        listen_port: Option<u16> = "listenPort" => rules::within(1u16..=65535),
        /// Which addresses to listen on.
        bind_mode: Option<BindMode> = "bindMode",
        /// Interfaces whose networks are not taken as connected routes.
        ignored_interfaces: Vec<String> = "ignoredInterfaces" => ignored_interface,
        /// Communities by name.
        communities: Vec<NamedCommunity> = "communities",
        /// Communities for ranges.
        prefix_advertisements: Vec<PrefixAdvertisement> = "prefixAdvertisements",
        /// Cluster addresses of services to advertise. Counts in `default` only.
        service_cluster_ips: Vec<ServiceBlock> = "serviceClusterIPs",
        /// External addresses of services to advertise. Counts in `default` only.
        service_external_ips: Vec<ServiceBlock> = "serviceExternalIPs",
        /// Load balancer addresses of services to advertise. Counts in `default` only.
        service_load_balancer_ips: Vec<ServiceBlock> = "serviceLoadBalancerIPs",
        /// Whether load balancer ranges are advertised whole; `Enabled` if absent.
        service_load_balancer_aggregation: Option<Switch> = "serviceLoadBalancerAggregation",
        /// The password of the mesh. Counts in `default` only.
        node_mesh_password: Option<BgpPassword> = "nodeMeshPassword",
        /// The restart time of mesh sessions; 120 s if absent. Counts in `default` only.
        node_mesh_max_restart_time: Option<Duration> = "nodeMeshMaxRestartTime",
        /// The host side's address towards workloads that speak BGP.
        local_workload_peering_ipv4: Option<Ipv4Addr> = "localWorkloadPeeringIPV4",
        /// The same for IPv6.
        local_workload_peering_ipv6: Option<Ipv6Addr> = "localWorkloadPeeringIPV6",
        /// Which routes of pools BGP writes into the kernel.
        program_cluster_routes: Option<ProgramClusterRoutes> = "programClusterRoutes",
        /// The metric of routes; 1024 if absent.
        ipv4_normal_route_priority: Option<u32> = "ipv4NormalRoutePriority"
            => rules::within(1u32..=2_147_483_646),
        /// The same for IPv6.
        ipv6_normal_route_priority: Option<u32> = "ipv6NormalRoutePriority"
            => rules::within(1u32..=2_147_483_646),
    }
    check Self::check
}

spec!(BgpConfigurationSpec, BgpConfiguration, defaults defaults, check check_names);

/// A `BGPConfiguration`.
pub type BgpConfiguration = Object<BgpConfigurationSpec>;

impl BgpConfigurationSpec {
    fn check(&self, at: &mut At<'_, '_>) {
        for (field, count) in [
            ("communities", self.communities.len()),
            ("prefixAdvertisements", self.prefix_advertisements.len()),
        ] {
            if count > 500 {
                at.refuse(field, "at most 500 items");
            }
        }
        for (index, name) in self.ignored_interfaces.iter().enumerate() {
            if self.ignored_interfaces.iter().take(index).any(|earlier| earlier == name) {
                at.refuse_item("ignoredInterfaces", index, "each item only once");
            }
        }
        if !self.communities.is_empty() && self.prefix_advertisements.is_empty() {
            at.refuse("prefixAdvertisements", "prefix advertisements for the communities");
        }
        for (row, advertisement) in self.prefix_advertisements.iter().enumerate() {
            for (column, text) in advertisement.communities.iter().enumerate() {
                let named = self.communities.iter().any(|known| known.name == *text);
                if let (false, Err(allowed)) = (named, community(text)) {
                    let steps = [
                        Step::Key("prefixAdvertisements".into()),
                        Step::Index(row),
                        Step::Key("communities".into()),
                        Step::Index(column),
                    ];
                    at.refuse_at(&steps, format!("{allowed}, or a name of spec.communities"));
                }
            }
        }
        if self.node_to_node_mesh_enabled == Some(false) {
            if self.node_mesh_password.is_some() {
                at.refuse("nodeMeshPassword", "no password: nodeToNodeMeshEnabled is false");
            }
            if self.node_mesh_max_restart_time.is_some() {
                at.refuse("nodeMeshMaxRestartTime", "no time: nodeToNodeMeshEnabled is false");
            }
        }
    }
}

/// What may stand in the `default` object only.
fn check_names(config: &BgpConfiguration, at: &mut At<'_, '_>) {
    if config.name() == "default" {
        return;
    }
    let spec = &config.spec;
    for (field, is_set) in [
        ("nodeToNodeMeshEnabled", spec.node_to_node_mesh_enabled.is_some()),
        ("asNumber", spec.as_number.is_some()),
        ("serviceClusterIPs", !spec.service_cluster_ips.is_empty()),
        ("serviceExternalIPs", !spec.service_external_ips.is_empty()),
        ("serviceLoadBalancerIPs", !spec.service_load_balancer_ips.is_empty()),
        ("nodeMeshPassword", spec.node_mesh_password.is_some()),
        ("nodeMeshMaxRestartTime", spec.node_mesh_max_restart_time.is_some()),
    ] {
        if is_set {
            let steps = [Step::Key("spec".into()), Step::Key(field.into())];
            at.refuse_at(&steps, "nothing: only the object named default may have it");
        }
    }
}

fn defaults(config: &mut BgpConfiguration) {
    config.spec.log_severity_screen.get_or_insert(BgpLogLevel::Info);
    config.spec.service_load_balancer_aggregation.get_or_insert(Switch::Enabled);
}

fn ignored_interface(text: &String) -> rules::Answer {
    names::interface_pattern(text)?;
    rules::allow(text != "*", || "a pattern other than * alone".into())
}

/// A rule: `n:n` of 16 bits each or `n:n:n` of 32 bits each.
pub(crate) fn community(text: &String) -> rules::Answer {
    let parts: Vec<_> = text.split(':').collect();
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok()).flatten()
    };
    let limit = match parts.len() {
        2 => u32::from(u16::MAX),
        3 => u32::MAX,
        _ => 0,
    };
    let holds =
        limit > 0 && parts.iter().all(|part| number(part).is_some_and(|number| number <= limit));
    rules::allow(holds, || "a community \"n:n\" or a large community \"n:n:n\"".into())
}
