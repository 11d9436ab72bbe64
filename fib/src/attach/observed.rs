//! What there is of a link, and where it differs from what was wished.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::attach::limit::{Bandwidth, Filling};
use crate::attach::spec::{GATEWAY_V4, GATEWAY_V6, LinkSpec, Sysctl, mac};

/// A veth link as the host sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostLink {
    /// Kernel index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Alias; empty = none.
    pub alias: String,
    /// Hardware address.
    pub mac: [u8; 6],
    /// Octets.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Index of the other end, in its own namespace.
    pub peer_index: u32,
    /// The bucket that limits what it sends, if there is one; not in lists.
    pub limit: Option<Filling>,
}

/// The container end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSide {
    /// Kernel index in the container's namespace.
    pub index: u32,
    /// Hardware address.
    pub mac: [u8; 6],
    /// Octets.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Whether it is a veth whose other end has this index.
    pub peer_index: Option<u32>,
    /// Addresses but for the link-local ones of IPv6.
    pub addresses: BTreeSet<IpNet>,
    /// Routes of the main table over this link with their gateway (`None` = on link), without the
    /// kernel's own.
    pub routes: BTreeSet<(IpNet, Option<IpAddr>)>,
    /// Permanent neighbours.
    pub neighbours: BTreeSet<(IpAddr, [u8; 6])>,
    /// The bucket that limits what it sends, if there is one.
    pub limit: Option<Filling>,
}

/// Both ends, as far as they are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The host end.
    pub host: Option<HostLink>,
    /// The container end; `None` also where no namespace was asked for.
    pub container: Option<ContainerSide>,
}

/// Something that is not as wished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What of it, as `MTU of eth0`.
    pub what: String,
    /// As wished.
    pub wanted: String,
    /// As it is.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, not {}", self.what, self.found, self.wanted)
    }
}

impl Difference {
    /// A setting of the kernel that is not as it should be.
    pub(crate) fn of_setting(setting: Sysctl, found: String) -> Self {
        let what = format!("net.{}", setting.key.replace('/', "."));
        Self { what, wanted: setting.value, found }
    }

    /// Whether the host end has another hardware address than it should.
    pub(crate) fn between_macs(name: &str, wanted: [u8; 6], found: [u8; 6]) -> Option<Self> {
        let mut differences = Differences::default();
        differences.compare(format!("MAC of {name}"), &mac(&wanted), &mac(&found));
        differences.0.pop()
    }
}

impl Observed {
    /// Everything that is not as wished, the most telling first. More addresses, routes and
    /// neighbours than wished are no difference: a workload may add its own.
    pub fn differences(&self, spec: &LinkSpec) -> Vec<Difference> {
        let mut found = Differences::default();
        self.compare_host(spec, &mut found);
        self.compare_container(spec, &mut found);
        found.0
    }

    fn compare_host(&self, spec: &LinkSpec, found: &mut Differences) {
        let name = &spec.host_name;
        let Some(host) = &self.host else {
            found.missing(format!("interface {name}"));
            return;
        };
        found.compare(format!("the alias of {name}"), &quoted(&spec.alias), &quoted(&host.alias));
        found.compare(format!("MAC of {name}"), &mac(&spec.host_mac), &mac(&host.mac));
        found.compare(format!("MTU of {name}"), &spec.mtu, &host.mtu);
        found.compare(format!("interface {name}"), &state(true), &state(host.up));
        found.compare_limit(name, spec.mtu, spec.ingress.as_ref(), host.limit.as_ref());
    }

    fn compare_container(&self, spec: &LinkSpec, found: &mut Differences) {
        let name = &spec.container_name;
        let Some(end) = &self.container else {
            found.missing(format!("interface {name} in the container"));
            return;
        };
        if let Some(host) = &self.host {
            let (wanted, is) = (Some(host.index), end.peer_index);
            let paired = wanted == is && host.peer_index == end.index;
            let told = if paired { "paired" } else { "another" };
            found.compare(format!("the peer of {name}"), &"paired", &told);
        }
        if let Some(wanted) = &spec.container_mac {
            found.compare(format!("MAC of {name}"), &mac(wanted), &mac(&end.mac));
        }
        found.compare(format!("MTU of {name}"), &spec.mtu, &end.mtu);
        found.compare(format!("interface {name}"), &state(true), &state(end.up));
        found.compare_limit(name, spec.mtu, spec.egress.as_ref(), end.limit.as_ref());
        for address in spec.addresses.iter().copied().map(IpNet::from) {
            if !end.addresses.contains(&address) {
                found.missing(format!("address {address} on {name}"));
            }
        }
        for route in wanted_routes(spec) {
            if !end.routes.contains(&(route.0, Some(route.1))) {
                found.missing(format!("route {} via {} over {name}", route.0, route.1));
            }
        }
    }
}

/// The routes a container has over its link and their gateways. The gateway is on the link by the
/// route's own word, so it needs no route itself, and a second link of the container can have it too.
pub(crate) fn wanted_routes(spec: &LinkSpec) -> BTreeSet<(IpNet, IpAddr)> {
    let gateway = |route: &IpNet| match route {
        IpNet::V4(_) => IpAddr::V4(GATEWAY_V4),
        IpNet::V6(_) => IpAddr::V6(GATEWAY_V6),
    };
    spec.routes.iter().map(|route| (route.trunc(), gateway(route))).collect()
}

#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    fn compare<T: PartialEq + fmt::Display>(&mut self, what: String, wanted: &T, found: &T) {
        if wanted != found {
            let (wanted, found) = (wanted.to_string(), found.to_string());
            self.0.push(Difference { what, wanted, found });
        }
    }

    /// A limit that nobody wished may be that of a plugin chained behind.
    fn compare_limit(
        &mut self,
        name: &str,
        mtu: u32,
        wanted: Option<&Bandwidth>,
        found: Option<&Filling>,
    ) {
        let Some(wanted) = wanted.map(|wanted| wanted.bucket(mtu)) else { return };
        let what = format!("the limit of what {name} sends");
        match found {
            None => self.missing(what),
            Some(found) if wanted.is(found) => {}
            Some(found) => {
                let (wanted, found) = (wanted.to_string(), found.to_string());
                self.0.push(Difference { what, wanted, found });
            }
        }
    }

    fn missing(&mut self, what: String) {
        self.0.push(Difference { what, wanted: "there".to_owned(), found: "missing".to_owned() });
    }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn state(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

#[cfg(test)]
mod tests;
