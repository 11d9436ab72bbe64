//! `HostEndpoint`: an interface of a node that policies apply to.

use std::net::IpAddr;

use crate::{
    object::Object,
    scalar::{Protocol, names},
    wire::{At, rules},
};

use super::endpoint::with_ports;

record! {
    /// A port of a host endpoint by name.
    pub struct EndpointPort {
        /// The name rules use.
        name: String = "name" => |name: &String| names::port_name(name),
        /// Its protocol.
        protocol: Protocol = "protocol" => with_ports,
        /// Its number.
        port: u16 = "port" => rules::within(1u16..=65535),
    }
}

record! {
    /// The spec of a `HostEndpoint`.
    #[derive(Default)]
    pub struct HostEndpointSpec {
        /// The node it is on.
        node: Option<String> = "node",
        /// The interface; `*` is all traffic of the host. If absent it is the one that has one
        /// of the expected addresses.
        interface_name: Option<String> = "interfaceName" => interface_or_all,
        /// The addresses selectors stand for where they select this endpoint.
        expected_ips: Vec<IpAddr> = "expectedIPs",
        /// The profiles that apply after policies, in order.
        profiles: Vec<String> = "profiles",
        /// Ports by name.
        ports: Vec<EndpointPort> = "ports",
    }
    check Self::check
}

spec!(HostEndpointSpec, HostEndpoint);

/// A `HostEndpoint`.
pub type HostEndpoint = Object<HostEndpointSpec>;

impl HostEndpointSpec {
    fn check(&self, at: &mut At<'_, '_>) {
        if self.node.is_none() {
            at.refuse("node", "the name of a node");
        }
        if self.interface_name.is_none() && self.expected_ips.is_empty() {
            at.refuse("interfaceName", "an interface, unless there are expectedIPs");
        }
        for (field, unique) in [
            ("expectedIPs", rules::unique(&self.expected_ips)),
            ("profiles", rules::unique(&self.profiles)),
        ] {
            if let Err(allowed) = unique {
                at.refuse(field, allowed);
            }
        }
    }
}

fn interface_or_all(name: &String) -> rules::Answer {
    rules::allow(name == "*" || names::is_interface(name), || {
        "\"*\" or an interface name: at most 15 of letters, digits, _, . and -".into()
    })
}
