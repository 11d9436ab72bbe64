//! The key `ipam`: addresses of ours, or another plugin's.

use ipnet::IpNet;
use serde_json::Value;

use super::unsupported;
use crate::{
    env::Verb,
    error::{Code, Error},
    json::{At, Object},
};

/// Types that mean our own addresses.
pub const OURS: &[&str] = &["margay-ipam", "calico-ipam"];

/// Plugins that need the container's interface.
const CLIENTS: &[&str] = &["dhcp"];

/// Where addresses come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ipam {
    /// Our pools.
    Ours(Assign),
    /// Another plugin.
    Foreign(Foreign),
}

/// What is asked of our pools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assign {
    /// `assign_ipv4`
    pub ipv4: bool,
    /// `assign_ipv6`
    pub ipv6: bool,
    /// `ipv4_pools`: names or CIDRs.
    pub ipv4_pools: Vec<String>,
    /// `ipv6_pools`: names or CIDRs.
    pub ipv6_pools: Vec<String>,
}

/// Another IPAM plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// `type`: the name of its program in CNI_PATH.
    pub plugin: String,
    /// `routes` of the configuration: instead of default routes.
    pub routes: Vec<IpNet>,
    /// `include_default_routes`: beside them.
    pub default_routes: bool,
    /// `ipam_needs_interface`: it asks over the container's interface, and gives back over it. As
    /// [`CLIENTS`] do unless told otherwise.
    pub needs_interface: bool,
}

impl Default for Ipam {
    fn default() -> Self {
        Self::Ours(Assign::default())
    }
}

impl Default for Assign {
    /// As Calico: IPv4 unless told otherwise.
    fn default() -> Self {
        Self { ipv4: true, ipv6: false, ipv4_pools: Vec::new(), ipv6_pools: Vec::new() }
    }
}

/// Keys of `ipam` with our own addresses.
const KEYS: &[&str] = &["type", "assign_ipv4", "assign_ipv6", "ipv4_pools", "ipv6_pools"];
/// Keys of Calico's that mean nothing here.
const NEEDLESS: &[&str] = &["name", "upgrading"];

impl Ipam {
    pub(super) fn read(
        root: &Object<'_>,
        verb: Verb,
        ours: bool,
        remarks: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let Some(ipam) = root.object("ipam")? else { return Ok(Self::default()) };
        let plugin = ipam.string("type")?.unwrap_or("margay-ipam");
        if OURS.contains(&plugin) {
            return Assign::read(&ipam, ours, remarks).map(Self::Ours);
        }
        // A name, not a way out of CNI_PATH.
        if plugin.contains('/') || plugin == "." || plugin == ".." {
            return Err(Error::new(
                Code::InvalidConfig,
                format!("ipam.type: {plugin:?} is no name of a plugin"),
            ));
        }
        let mut foreign = Foreign {
            plugin: plugin.to_owned(),
            routes: Vec::new(),
            default_routes: false,
            needs_interface: CLIENTS.contains(&plugin),
        };
        let needs_interface = root.truth("ipam_needs_interface");
        // Giving back takes no more than the name, and whether the link must be there.
        if matches!(verb, Verb::Del | Verb::Gc) {
            let told = needs_interface.ok().flatten();
            foreign.needs_interface = told.unwrap_or(foreign.needs_interface);
            return Ok(Self::Foreign(foreign));
        }
        foreign.needs_interface = needs_interface?.unwrap_or(foreign.needs_interface);
        // Nobody here knows the PodCIDR of a Kubernetes node.
        if let Some(at) = pod_cidr(&ipam) {
            return Err(unsupported(&at).with_details("write the network itself"));
        }
        let routes = ipam.list("routes")?.into_iter().map(|at| {
            let route = at.object()?;
            route
                .get("dst")
                .ok_or_else(|| at.fault("a route with dst"))?
                .parse("a network like 10.0.0.0/8")
        });
        foreign.routes = routes.collect::<Result<_, _>>()?;
        foreign.default_routes = root.truth("include_default_routes")?.unwrap_or_default()
            || ipam.truth("include_default_routes")?.unwrap_or_default();
        Ok(Self::Foreign(foreign))
    }
}

impl Assign {
    fn read(ipam: &Object<'_>, ours: bool, remarks: &mut Vec<String>) -> Result<Self, Error> {
        for (key, at) in ipam.entries() {
            if KEYS.contains(&key) || NEEDLESS.contains(&key) || at.value().is_null() {
                continue;
            }
            if ours {
                return Err(unsupported(&at));
            }
            remarks.push(format!("{}: unknown, passed over", at.path()));
        }
        let mut assign = Self {
            ipv4_pools: ipam.strings("ipv4_pools")?,
            ipv6_pools: ipam.strings("ipv6_pools")?,
            ..Self::default()
        };
        assign.ipv4 = ipam.truth("assign_ipv4")?.unwrap_or(assign.ipv4);
        assign.ipv6 = ipam.truth("assign_ipv6")?.unwrap_or(assign.ipv6);
        Ok(assign)
    }
}

/// Where `usePodCidr` or `usePodCidrIPv6` stands.
fn pod_cidr<'v>(ipam: &Object<'v>) -> Option<At<'v>> {
    let is = |at: &At<'_>| is_pod_cidr(at.value());
    if let Some(at) = ipam.get("subnet").filter(is) {
        return Some(at);
    }
    let sets = ipam.list("ranges").ok()?;
    let ranges = sets.iter().filter_map(|set| set.list().ok()).flatten();
    ranges.filter_map(|range| range.object().ok()?.get("subnet")).find(is)
}

fn is_pod_cidr(subnet: &Value) -> bool {
    subnet.as_str().is_some_and(|text| {
        text.eq_ignore_ascii_case("usePodCidr") || text.eq_ignore_ascii_case("usePodCidrIPv6")
    })
}

/// The configuration for a foreign plugin's DEL: it needs some network where a pod's stood.
pub fn without_pod_cidr(config: &mut Value) {
    let replace = |subnet: &mut Value| {
        if is_pod_cidr(subnet) {
            let six = subnet.as_str().is_some_and(|text| text.to_ascii_lowercase().ends_with("v6"));
            *subnet = Value::from(if six { "::/0" } else { "0.0.0.0/0" });
        }
    };
    let Some(ipam) = config.get_mut("ipam") else { return };
    if let Some(subnet) = ipam.get_mut("subnet") {
        replace(subnet);
    }
    let sets = ipam.get_mut("ranges").and_then(Value::as_array_mut);
    let ranges = sets.into_iter().flatten().filter_map(Value::as_array_mut).flatten();
    ranges.filter_map(|range| range.get_mut("subnet")).for_each(replace);
}
