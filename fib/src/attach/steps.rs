//! From a specification to what is asked of the kernel, in order.
//!
//! Both ends are made by one message, each in its final namespace. The host end is finished before
//! the container end comes up, so that the workload's first packet finds its gateway. The host's
//! route to the workload is not among the steps: it must be kept, not only made.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::attach::error::Stage;
use crate::attach::limit::Bucket;
use crate::attach::observed::wanted_routes;
use crate::attach::spec::{GATEWAY_V4, GATEWAY_V6, LinkSpec, Sysctl, mac};

/// Whose namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Ours.
    Host,
    /// The workload's.
    Container,
}

impl Write {
    /// In plain words, for an error.
    pub fn describe(&self) -> String {
        match self {
            Self::SetLink { alias, .. } => match alias {
                Some(alias) => format!("take the link up, with alias {alias:?}"),
                None => "take the link up".to_owned(),
            },
            Self::Address { address, .. } => format!("add address {address}"),
            Self::Neighbour { address, mac: octets, .. } => {
                format!("add neighbour {address} at {}", mac(octets))
            }
            Self::Route { prefix, gateway, .. } => format!("add route {prefix} via {gateway}"),
        }
    }
}

impl Side {
    /// As an error names it.
    pub fn stage(self) -> Stage {
        match self {
            Self::Host => Stage::Host,
            Self::Container => Stage::Container,
        }
    }
}

/// What is known once both ends are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Index of the host end.
    pub host_index: u32,
    /// Its hardware address, which somebody (udev, say) may have changed.
    pub host_mac: [u8; 6],
    /// Index of the container end in its namespace.
    pub container_index: u32,
    /// Its hardware address.
    pub container_mac: [u8; 6],
}

/// A message to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Changes a link; what is `None` stays.
    SetLink {
        /// Its index.
        index: u32,
        /// Hardware address.
        mac: Option<[u8; 6]>,
        /// Alias.
        alias: Option<String>,
        /// The kernel makes no link-local address of its own.
        no_own_link_local: bool,
        /// [What makes it the gateway of IPv4](is_answering), which takes no file each this way.
        answers: bool,
        /// Takes it up.
        up: bool,
    },
    /// An address, usable at once: nobody is asked whether it is taken.
    Address {
        /// Link.
        index: u32,
        /// With its prefix length.
        address: IpNet,
    },
    /// A neighbour that is never forgotten.
    Neighbour {
        /// Link.
        index: u32,
        /// Its address.
        address: IpAddr,
        /// Its hardware address.
        mac: [u8; 6],
    },
    /// A route of the main table.
    Route {
        /// Link.
        index: u32,
        /// Where to.
        prefix: IpNet,
        /// Gateway, which is on the link whatever the addresses say.
        gateway: IpAddr,
        /// Beside routes of other links; `None`: the kernel's usual metric.
        metric: Option<u32>,
    },
}

/// Whether a setting may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The link is of no use without.
    Must,
    /// A warning will do.
    Try,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Before the host begins to forward IPv6: links that hear routers go on hearing them, see
    /// [`hearing`]. Linux drops what they told, and hears them no more, where a link that forwards
    /// has `accept_ra` 1.
    KeepRouters,
    /// Kernel settings, one after the other; those that are as they should be are not written.
    Sysctls(Side, Vec<(Sysctl, Need)>),
    /// What the end of this index sends is limited, where the kernel can.
    Limit(Side, u32, Bucket),
    /// Messages, sent together.
    Writes(Side, Vec<Write>),
}

/// What follows the creation of both ends.
pub fn finish(spec: &LinkSpec, ends: &Ends) -> Vec<Step> {
    let mut steps = Vec::new();
    if spec.has_v6() {
        steps.push(Step::KeepRouters);
    }
    // Limits are there before a link comes up.
    let settings = host_sysctls(spec).into_iter();
    let files = settings.filter(|(setting, _)| !is_answering(spec, setting)).collect();
    steps.push(Step::Sysctls(Side::Host, files));
    steps.extend(limit(spec, Side::Host, ends.host_index));
    steps.push(Step::Writes(Side::Host, host_writes(spec, ends)));
    steps.push(Step::Sysctls(Side::Container, container_sysctls(spec)));
    steps.extend(limit(spec, Side::Container, ends.container_index));
    steps.push(Step::Writes(Side::Container, container_writes(spec, ends)));
    steps
}

/// The limit of what an end sends: from the host's to the workload, from the workload's on.
pub fn limit(spec: &LinkSpec, side: Side, index: u32) -> Option<Step> {
    let bandwidth = match side {
        Side::Host => spec.ingress,
        Side::Container => spec.egress,
    };
    bandwidth.map(|bandwidth| Step::Limit(side, index, bandwidth.bucket(spec.mtu)))
}

/// What tells a way out from a link to somebody who lives on this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kin {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// In the kernel's words; empty for what is no device of the kernel's own making.
    pub kind: String,
    /// The link that it is a port of.
    pub master: Option<u32>,
}

/// The links that are to hear routers as before: those that a way out is known over (`known`), and all
/// others but [those](is_inward) to somebody on this host, whom forwarding stops from telling the host
/// where to send its packets.
pub fn hearing<'l>(links: &'l [Kin], known: &BTreeSet<&'l str>) -> BTreeSet<&'l str> {
    let others = links.iter().filter(|link| !is_inward(link, links) && link.name != "lo");
    others.map(|link| link.name.as_str()).chain(known.iter().copied()).collect()
}

/// Whether a link leads to a container or a virtual machine of this host: a veth, a tap, or a bridge
/// that has no port but such.
fn is_inward(link: &Kin, links: &[Kin]) -> bool {
    match link.kind.as_str() {
        "veth" | "netkit" | "tun" => true,
        "bridge" => {
            let mut ports = links.iter().filter(|port| port.master == Some(link.index));
            ports.all(|port| matches!(port.kind.as_str(), "veth" | "netkit" | "tun"))
        }
        _ => false,
    }
}

/// The links over which routers told the host something that it uses, by `/proc/net/ipv6_route`.
pub fn advertised(routes: &str) -> BTreeSet<&str> {
    routes.lines().filter_map(advertised_by).filter(|link| *link != "lo").collect()
}

/// The links of IPv4 default routes, by `/proc/net/route`: a router on them may not have told the host
/// anything of IPv6 yet.
pub fn uplinks(routes: &str) -> BTreeSet<&str> {
    let of = |line| {
        let words: Vec<&str> = str::split_ascii_whitespace(line).collect();
        // Link, destination, gateway, flags, counters, metric, mask.
        let [link, "00000000", _, _, _, _, _, "00000000", ..] = words.as_slice() else {
            return None;
        };
        Some(*link)
    };
    routes.lines().filter_map(of).filter(|link| *link != "lo").collect()
}

/// Destination, source, gateway, metric, counters, flags, link.
fn advertised_by(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace().skip(8);
    let flags = u32::from_str_radix(words.next()?, 16).ok()?;
    let link = words.next()?;
    let told = flags & RTF_ADDRCONF != 0 && flags & (RTF_DEFAULT | RTF_PREFIX_RT) != 0;
    told.then_some(link)
}

/// What runtimes call the first interface of a container.
const FIRST: &str = "eth0";
/// Metric of a further one's routes, and its index, of which there is one in the container: more than
/// the 1024 that IPv6 routes have by themselves.
const FURTHER: u32 = 2000;
/// Flags of routes as in Linux's `ipv6_route.h`: a router told the host of it.
const RTF_ADDRCONF: u32 = 0x0004_0000;
/// It leads to a router.
const RTF_DEFAULT: u32 = 0x0001_0000;
/// It leads to a network on the link.
const RTF_PREFIX_RT: u32 = 0x0008_0000;

/// The host's settings without which a link is of no use.
pub fn needed(spec: &LinkSpec) -> Vec<Sysctl> {
    let all = host_sysctls(spec).into_iter();
    all.filter(|(_, need)| *need == Need::Must).map(|(setting, _)| setting).collect()
}

/// What makes the host's settings as they have to be again, where the link is there already.
pub fn settings_again(spec: &LinkSpec) -> Vec<Step> {
    let keep = spec.has_v6().then_some(Step::KeepRouters);
    let settings = Step::Sysctls(Side::Host, host_sysctls(spec));
    keep.into_iter().chain([settings]).collect()
}

/// Whether a setting is one of those that a message about the link has with it: by which the host
/// answers who asks for the gateway, and by which its services on 127.0.0.1 may be offered.
fn is_answering(spec: &LinkSpec, setting: &Sysctl) -> bool {
    let of = setting.key.strip_prefix("ipv4/conf/").and_then(|key| key.split_once('/'));
    matches!(of, Some((link, "proxy_arp" | "route_localnet")) if link == spec.host_name)
}

fn host_sysctls(spec: &LinkSpec) -> Vec<(Sysctl, Need)> {
    let mut list = List { link: &spec.host_name, settings: Vec::new() };
    if spec.has_v4() {
        list.all("ipv4/ip_forward", "1");
        list.v4("forwarding", "1");
        // Services of the node on 127.0.0.1 may be offered to workloads by translation.
        list.v4("route_localnet", "1");
        // Workloads that ask for the gateway are answered, though nobody owns it.
        list.all(&format!("ipv4/neigh/{}/proxy_delay", spec.host_name), "0");
        list.v4("proxy_arp", "1");
        if let Some(value) = spec.rp_filter {
            list.v4("rp_filter", &value.to_string());
        }
    }
    if spec.has_v6() {
        list.v6("disable_ipv6", "0");
        list.v6("accept_dad", "0");
        list.all("ipv6/conf/all/forwarding", "1");
        list.v6("forwarding", "1");
        list.v6("proxy_ndp", "1");
    }
    // A workload must not tell the host where to send its packets.
    list.push(format!("ipv6/conf/{}/accept_ra", spec.host_name), "0", Need::Try);
    list.settings
}

fn host_writes(spec: &LinkSpec, ends: &Ends) -> Vec<Write> {
    let index = ends.host_index;
    let mut writes = vec![Write::SetLink {
        index,
        mac: (ends.host_mac != spec.host_mac).then_some(spec.host_mac),
        alias: (!spec.alias.is_empty()).then(|| spec.alias.clone()),
        // Without addresses: they come later, and might be of IPv6.
        no_own_link_local: spec.has_v6() || spec.addresses.is_empty(),
        answers: spec.has_v4(),
        up: true,
    }];
    if spec.has_v6() {
        let address = IpNet::new_assert(GATEWAY_V6.into(), 64);
        writes.push(Write::Address { index, address });
    }
    for &address in &spec.addresses {
        writes.push(Write::Neighbour { index, address, mac: ends.container_mac });
    }
    writes
}

fn container_sysctls(spec: &LinkSpec) -> Vec<(Sysctl, Need)> {
    let mut list = List { link: &spec.container_name, settings: Vec::new() };
    if spec.has_v6() {
        // Runtimes start namespaces without IPv6.
        for scope in ["all", "default", "lo"] {
            list.all(&format!("ipv6/conf/{scope}/disable_ipv6"), "0");
        }
        list.v6("disable_ipv6", "0");
        list.v6("accept_dad", "0");
    }
    if let Some(forwarding) = spec.forwarding {
        let value = if forwarding { "1" } else { "0" };
        if spec.has_v4() {
            list.all("ipv4/ip_forward", value);
        }
        if spec.has_v6() {
            list.all("ipv6/conf/all/forwarding", value);
        }
    }
    list.settings.extend(spec.sysctls.iter().cloned().map(|s| (s, Need::Must)));
    list.settings
}

fn container_writes(spec: &LinkSpec, ends: &Ends) -> Vec<Write> {
    let index = ends.container_index;
    let up = Write::SetLink {
        index,
        mac: None,
        alias: None,
        no_own_link_local: false,
        answers: false,
        up: true,
    };
    let mut writes = vec![up];
    for &address in &spec.addresses {
        writes.push(Write::Address { index, address: address.into() });
    }
    let routes = wanted_routes(spec);
    for gateway in [IpAddr::V4(GATEWAY_V4), IpAddr::V6(GATEWAY_V6)] {
        if routes.iter().any(|(_, via)| *via == gateway) {
            writes.push(Write::Neighbour { index, address: gateway, mac: spec.host_mac });
        }
    }
    // The kernel has one route of a prefix and metric: those of further links stand behind.
    let metric = (spec.container_name != FIRST).then_some(FURTHER.saturating_add(index));
    for (prefix, gateway) in routes {
        writes.push(Write::Route { index, prefix, gateway, metric });
    }
    writes
}

struct List<'a> {
    link: &'a str,
    settings: Vec<(Sysctl, Need)>,
}

impl List<'_> {
    fn v4(&mut self, key: &str, value: &str) {
        self.push(format!("ipv4/conf/{}/{key}", self.link), value, Need::Must);
    }

    fn v6(&mut self, key: &str, value: &str) {
        self.push(format!("ipv6/conf/{}/{key}", self.link), value, Need::Must);
    }

    fn all(&mut self, key: &str, value: &str) {
        self.push(key.to_owned(), value, Need::Must);
    }

    fn push(&mut self, key: String, value: &str, need: Need) {
        self.settings.push((Sysctl { key, value: value.to_owned() }, need));
    }
}

#[cfg(test)]
mod tests;
