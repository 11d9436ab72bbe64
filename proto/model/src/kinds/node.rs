//! `Node`: a host of the cluster and its addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    object::Object,
    scalar::{AsNumber, Cidr, address_net, names, of_v4, of_v6},
    wire::rules,
};

record! {
    /// How a node speaks BGP.
    #[derive(Default)]
    pub struct NodeBgp {
        /// Its AS; the cluster's if absent.
        as_number: Option<AsNumber> = "asNumber",
        /// Its IPv4 address; the length is that of its subnet.
        ipv4_address: Option<Cidr> = "ipv4Address" => rules::both(of_v4, address_net),
        /// Its IPv6 address; the length is that of its subnet.
        ipv6_address: Option<Cidr> = "ipv6Address" => rules::both(of_v6, address_net),
        /// The address of its IP-in-IP device.
        ipv4_ipip_tunnel_addr: Option<Ipv4Addr> = "ipv4IPIPTunnelAddr",
        /// Set on a route reflector: its cluster.
        route_reflector_cluster_id: Option<Ipv4Addr> = "routeReflectorClusterID",
    }
    check |bgp, at| {
        if *bgp == Self::default() {
            at.refuse_all("an empty mapping", "at least one field, or no bgp at all");
        }
    }
}

record! {
    /// What an orchestrator calls the node.
    pub struct OrchRef {
        /// The name there.
        node_name: Option<String> = "nodeName",
        /// The orchestrator: `k8s`.
        orchestrator: String = "orchestrator",
    }
}

record! {
    /// The addresses of a node's WireGuard devices.
    #[derive(Default)]
    pub struct NodeWireguard {
        /// Of the IPv4 device.
        interface_ipv4_address: Option<Ipv4Addr> = "interfaceIPv4Address",
        /// Of the IPv6 device.
        interface_ipv6_address: Option<Ipv6Addr> = "interfaceIPv6Address",
    }
}

choice! {
    /// Where an address of a node comes from.
    pub enum NodeAddressKind {
        /// The node's own BGP address.
        CalicoNodeIp = "CalicoNodeIP",
        /// Kubernetes, within the cluster.
        InternalIp = "InternalIP",
        /// Kubernetes, from outside.
        ExternalIp = "ExternalIP",
    }
}

record! {
    /// An address of a node.
    pub struct NodeAddress {
        /// The address; it may have the length of its subnet.
        address: Cidr = "address" => address_net,
        /// Where it comes from.
        kind: Option<NodeAddressKind> = "type",
    }
}

record! {
    /// A network interface of a node.
    pub struct NodeInterface {
        /// Its name.
        name: String = "name" => names::interface,
        /// Its addresses.
        addresses: Vec<IpAddr> = "addresses",
    }
}

record! {
    /// The spec of a `Node`.
    #[derive(Default)]
    pub struct NodeSpec {
        /// How it speaks BGP; not at all if absent.
        bgp: Option<NodeBgp> = "bgp",
        /// The address of its IPv4 VXLAN device.
        ipv4_vxlan_tunnel_addr: Option<Ipv4Addr> = "ipv4VXLANTunnelAddr",
        /// The hardware address of that device.
        vxlan_tunnel_mac_addr: Option<String> = "vxlanTunnelMACAddr" => names::mac,
        /// The address of its IPv6 VXLAN device.
        ipv6_vxlan_tunnel_addr: Option<Ipv6Addr> = "ipv6VXLANTunnelAddr",
        /// The hardware address of that device.
        vxlan_tunnel_mac_addr_v6: Option<String> = "vxlanTunnelMACAddrV6" => names::mac,
        /// What orchestrators call it.
        orch_refs: Vec<OrchRef> = "orchRefs",
        /// The addresses of its WireGuard devices.
        wireguard: Option<NodeWireguard> = "wireguard",
        /// All its addresses.
        addresses: Vec<NodeAddress> = "addresses",
        /// Its interfaces.
        interfaces: Vec<NodeInterface> = "interfaces",
    }
}

record! {
    /// The status of a `Node`.
    #[derive(Default)]
    pub struct NodeStatus {
        /// Its WireGuard key for IPv4, base64.
        wireguard_public_key: Option<String> = "wireguardPublicKey" => wireguard_key,
        /// Its WireGuard key for IPv6, base64.
        wireguard_public_key_v6: Option<String> = "wireguardPublicKeyV6" => wireguard_key,
        /// The ranges Kubernetes gave it.
        pod_cidrs: Vec<Cidr> = "podCIDRs",
    }
}

spec!(NodeSpec, Node, status NodeStatus);

/// A `Node`.
pub type Node = Object<NodeSpec>;

/// A rule: 32 octets in base64.
fn wireguard_key(text: &String) -> rules::Answer {
    let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/');
    let holds =
        text.len() == 44 && text.strip_suffix('=').is_some_and(|digits| digits.bytes().all(known));
    rules::allow(holds, || "a WireGuard key: 32 octets in base64".into())
}
