//! `WorkloadEndpoint`: an interface of a workload.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    endpoint_name,
    fault::Step,
    meta::{NAMESPACE_LABEL, ORCHESTRATOR_LABEL},
    object::Object,
    scalar::{Cidr, Dscp, Protocol, host_length, names},
    wire::{At, rules},
};

use super::endpoint::with_ports;

record! {
    /// A port of a workload.
    pub struct WorkloadEndpointPort {
        /// The name rules use; it may be missing if there is a port of the host.
        name: Option<String> = "name" => |name: &String| names::port_name(name),
        /// Its protocol.
        protocol: Protocol = "protocol" => with_ports,
        /// Its number.
        port: u16 = "port" => rules::within(1u16..=65535),
        /// The port of the host that leads there; 0 is none.
        host_port: Option<u16> = "hostPort",
        /// The address of the host that leads there; all if absent.
        host_ip: Option<IpAddr> = "hostIP",
    }
    check |port, at: &mut At<'_, '_>| {
        if port.name.is_none() && port.host_port.is_none_or(|port| port == 0) {
            at.refuse("name", "a name, unless there is a hostPort");
        }
    }
}

record! {
    /// An address outside that stands for one of the workload.
    pub struct IpNat {
        /// The workload's.
        internal_ip: IpAddr = "internalIP",
        /// The one outside.
        external_ip: IpAddr = "externalIP",
    }
    check |nat, at: &mut At<'_, '_>| {
        if nat.internal_ip.is_ipv4() != nat.external_ip.is_ipv4() {
            at.refuse("externalIP", "an address of the family of internalIP");
        }
    }
}

record! {
    /// Limits of a workload's traffic. Bandwidths in bit/s, bursts in bit, minbursts in octets,
    /// packet rates in packets/s, packet bursts in packets.
    #[derive(Default)]
    pub struct QosControls {
        /// Bandwidth towards the workload.
        ingress_bandwidth: Option<i64> = "ingressBandwidth" => rules::within(1_000i64..=1_000_000_000_000_000),
        /// Bandwidth from the workload.
        egress_bandwidth: Option<i64> = "egressBandwidth" => rules::within(1_000i64..=1_000_000_000_000_000),
        /// Burst towards the workload.
        ingress_burst: Option<i64> = "ingressBurst" => rules::within(1_000i64..=34_359_738_360),
        /// Burst from the workload.
        egress_burst: Option<i64> = "egressBurst" => rules::within(1_000i64..=34_359_738_360),
        /// Bandwidth of a burst towards the workload.
        ingress_peakrate: Option<i64> = "ingressPeakrate" => rules::within(1_010i64..=1_010_000_000_000_000),
        /// Bandwidth of a burst from the workload.
        egress_peakrate: Option<i64> = "egressPeakrate" => rules::within(1_010i64..=1_010_000_000_000_000),
        /// The smallest burst at the peak rate towards the workload.
        ingress_minburst: Option<i64> = "ingressMinburst" => rules::within(1_000i64..=100_000_000),
        /// The smallest burst at the peak rate from the workload.
        egress_minburst: Option<i64> = "egressMinburst" => rules::within(1_000i64..=100_000_000),
        /// Packet rate towards the workload.
        ingress_packet_rate: Option<i64> = "ingressPacketRate" => rules::within(1i64..=10_000),
        /// Packet rate from the workload.
        egress_packet_rate: Option<i64> = "egressPacketRate" => rules::within(1i64..=10_000),
        /// Packets at once towards the workload.
        ingress_packet_burst: Option<i64> = "ingressPacketBurst" => rules::within(1i64..=10_000),
        /// Packets at once from the workload.
        egress_packet_burst: Option<i64> = "egressPacketBurst" => rules::within(1i64..=10_000),
        /// Connections to the workload.
        ingress_max_connections: Option<i64> = "ingressMaxConnections" => rules::within(1i64..=4_294_967_295),
        /// Connections from the workload.
        egress_max_connections: Option<i64> = "egressMaxConnections" => rules::within(1i64..=4_294_967_295),
        /// The code point of packets from the workload.
        dscp: Option<Dscp> = "dscp",
    }
}

record! {
    /// The spec of a `WorkloadEndpoint`.
    #[derive(Default)]
    pub struct WorkloadEndpointSpec {
        /// Who runs the workload: `k8s`, `cni`, …
        orchestrator: Option<String> = "orchestrator",
        /// Its name there, where that is no pod.
        workload: Option<String> = "workload",
        /// Its node.
        node: Option<String> = "node",
        /// Its container.
        container_id: Option<String> = "containerID" => container_id,
        /// Its pod.
        pod: Option<String> = "pod",
        /// Which of its interfaces: `eth0`.
        endpoint: Option<String> = "endpoint",
        /// Its service account.
        service_account_name: Option<String> = "serviceAccountName",
        /// Its addresses, /32 or /128. Without any the dataplane ignores it.
        ip_networks: Vec<Cidr> = "ipNetworks" => host_length,
        /// Addresses outside that stand for its own.
        ip_nats: Vec<IpNat> = "ipNATs",
        /// Its IPv4 gateway.
        ipv4_gateway: Option<Ipv4Addr> = "ipv4Gateway",
        /// Its IPv6 gateway.
        ipv6_gateway: Option<Ipv6Addr> = "ipv6Gateway",
        /// The profiles that apply after policies, in order.
        profiles: Vec<String> = "profiles",
        /// The host's side of its link.
        interface_name: Option<String> = "interfaceName" => names::interface,
        /// The hardware address of its own side.
        mac: Option<String> = "mac" => names::mac,
        /// Its ports.
        ports: Vec<WorkloadEndpointPort> = "ports",
        /// Addresses it may send from besides its own.
        allow_spoofed_source_prefixes: Vec<Cidr> = "allowSpoofedSourcePrefixes",
        /// Limits of its traffic.
        qos_controls: Option<QosControls> = "qosControls",
    }
    check Self::check
}

spec!(
    WorkloadEndpointSpec, WorkloadEndpoint, defaults defaults, check check_name
);

/// A `WorkloadEndpoint`.
pub type WorkloadEndpoint = Object<WorkloadEndpointSpec>;

impl WorkloadEndpointSpec {
    /// The name of an object with this spec.
    pub fn endpoint_name(&self) -> Result<String, endpoint_name::EndpointNameError> {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        endpoint_name::EndpointName {
            node: text(&self.node),
            orchestrator: text(&self.orchestrator),
            pod: text(&self.pod),
            container_id: text(&self.container_id),
            workload: text(&self.workload),
            endpoint: text(&self.endpoint),
        }
        .format()
    }

    fn check(&self, at: &mut At<'_, '_>) {
        if self.interface_name.is_none() {
            at.refuse("interfaceName", "the host's side of the link");
        }
        for (index, nat) in self.ip_nats.iter().enumerate() {
            if !self.ip_networks.iter().any(|net| net.net().addr() == nat.internal_ip) {
                let steps = [
                    Step::Key("ipNATs".into()),
                    Step::Index(index),
                    Step::Key("internalIP".into()),
                ];
                at.refuse_at(&steps, "one of ipNetworks");
            }
        }
    }
}

fn check_name(endpoint: &WorkloadEndpoint, at: &mut At<'_, '_>) {
    let field = |parent: &str, field: &str| [Step::Key(parent.into()), Step::Key(field.into())];
    match endpoint.spec.endpoint_name() {
        Err(error) => at.refuse_at(&field("spec", error.field), error.allowed),
        Ok(name) if endpoint.metadata.name.as_ref().is_some_and(|found| *found != name) => {
            at.refuse_at(&field("metadata", "name"), format!("{name:?}, made from the spec"));
        }
        Ok(_) => {}
    }
}

fn defaults(endpoint: &mut WorkloadEndpoint) {
    if endpoint.metadata.name.is_none() {
        endpoint.metadata.name = endpoint.spec.endpoint_name().ok();
    }
    let namespace = endpoint.namespace().to_owned();
    let labels = &mut endpoint.metadata.labels;
    labels.insert(NAMESPACE_LABEL.into(), namespace);
    let orchestrator = endpoint.spec.orchestrator.clone().unwrap_or_default();
    labels.insert(ORCHESTRATOR_LABEL.into(), orchestrator);
}

/// A rule: `[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?`.
fn container_id(text: &String) -> rules::Answer {
    let edge = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let holds = edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'-');
    rules::allow(holds, || "a container id: letters, digits and -".into())
}
