//! Results for the runtime, as its version has them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::{Dns, Interface, Ip, NetworkResult, Route};
use crate::version::{Shape, Version};

/// 0.1.0 and 0.2.0.
#[derive(Serialize)]
struct Pair<'a> {
    #[serde(rename = "cniVersion")]
    cni_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip4: Option<Family<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<Family<'a>>,
    #[serde(skip_serializing_if = "Dns::is_empty")]
    dns: &'a Dns,
}

#[derive(Serialize)]
struct Family<'a> {
    ip: IpNet,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<&'a Route>,
}

/// 0.3.0 and later.
#[derive(Serialize)]
struct Lists<'a> {
    #[serde(rename = "cniVersion")]
    cni_version: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    interfaces: &'a [Interface],
    ips: Vec<Address>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    routes: &'a [Route],
    #[serde(skip_serializing_if = "Dns::is_empty")]
    dns: &'a Dns,
}

#[derive(Serialize)]
struct Address {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<u32>,
    address: IpNet,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

impl NetworkResult {
    /// The object for stdout. Older versions say less: 0.2.0 has one address of a family and no
    /// interface.
    pub fn json(&self, version: Version) -> String {
        let written = match version.shape() {
            Shape::Pair => serde_json::to_string_pretty(&self.plain().pair(version)),
            Shape::ListsWithFamily => {
                serde_json::to_string_pretty(&self.plain().lists(version, true))
            }
            Shape::Lists => serde_json::to_string_pretty(&self.plain().lists(version, false)),
            Shape::ListsWithDetails => serde_json::to_string_pretty(&self.lists(version, false)),
        };
        // Strings, numbers and lists of them always serialise.
        written.unwrap_or_default()
    }

    /// Without what 1.1.0 brought.
    fn plain(&self) -> Self {
        let mut plain = self.clone();
        for interface in &mut plain.interfaces {
            (interface.mtu, interface.socket_path, interface.pci_id) = (None, None, None);
        }
        for route in &mut plain.routes {
            *route = Route::new(route.dst, route.gw);
        }
        plain
    }

    fn pair(&self, version: Version) -> Pair<'_> {
        Pair {
            cni_version: version.text(),
            ip4: self.family(|net| matches!(net, IpNet::V4(_))),
            ip6: self.family(|net| matches!(net, IpNet::V6(_))),
            dns: &self.dns,
        }
    }

    fn family(&self, is: impl Fn(&IpNet) -> bool) -> Option<Family<'_>> {
        let ip = self.ips.iter().find(|ip| is(&ip.address))?;
        let routes = self.routes.iter().filter(|route| is(&route.dst)).collect();
        Some(Family { ip: ip.address, gateway: ip.gateway, routes })
    }

    fn lists(&self, version: Version, with_family: bool) -> Lists<'_> {
        let address = |ip: &Ip| Address {
            version: with_family.then_some(match ip.address {
                IpNet::V4(_) => "4",
                IpNet::V6(_) => "6",
            }),
            interface: ip.interface,
            address: ip.address,
            gateway: ip.gateway,
        };
        Lists {
            cni_version: version.text(),
            interfaces: &self.interfaces,
            ips: self.ips.iter().map(address).collect(),
            routes: &self.routes,
            dns: &self.dns,
        }
    }
}
