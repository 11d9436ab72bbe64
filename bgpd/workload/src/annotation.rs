//! What the annotations of a pod and of its namespace ask for (`cni.projectcalico.org/…`).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use margay_model::kubernetes::NAMESPACE_ANNOTATIONS;
use serde::de::DeserializeOwned;

use crate::{
    attachment::{Mac, Source, Spec},
    failure::{Cause, Failure},
};

/// With what they begin.
const PREFIX: &str = "cni.projectcalico.org/";

/// The hardware address of the host's end of every link.
const GATEWAY: [u8; 6] = [0xee; 6];
/// The code point of its packets.
const DSCP: &str = "qos.projectcalico.org/dscp";

/// What the network configuration lets pods ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Addresses that are in no pool's books.
    pub without_ipam: bool,
    /// Floating addresses.
    pub floating: bool,
}

/// What a pod leaves to its namespace: the annotations that it does not have itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsaid(BTreeSet<&'static str>);

impl Unsaid {
    /// What somebody leaves to the namespace who has these annotations himself.
    pub fn of(annotations: &BTreeMap<String, String>) -> Self {
        Self(
            NAMESPACE_ANNOTATIONS
                .into_iter()
                .filter(|key| !annotations.contains_key(*key))
                .collect(),
        )
    }

    /// Whether it matters what the namespace asks for: what is wanted are addresses of our choice.
    pub fn matters(&self, spec: &Spec) -> bool {
        let by_us = matches!(&spec.source, Source::Assign(wish) if wish.exactly.is_empty());
        by_us && spec.pod.is_some() && !self.0.is_empty()
    }

    /// Changes what is wanted by the annotations of the pod's namespace, which come before the
    /// configuration.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn asked_of(
        &self,
        namespace: &BTreeMap<String, String>,
        spec: &mut Spec,
    ) -> Result<(), Failure> {
        if !self.matters(spec) {
            return Ok(());
        }
        let asked = namespace.iter().filter(|(key, _)| self.0.contains(key.as_str()));
        let asked = asked.map(|(key, text)| (key.clone(), text.clone())).collect();
        pools(spec, &asked).map_err(|Failure { cause, text }| {
            let name = spec.pod.as_ref().map(|pod| pod.namespace.as_str()).unwrap_or_default();
            Failure::new(cause, format!("namespace {name}: {text}"))
        })
    }
}

/// Changes what is wanted by the annotations of the pod, which come before the configuration.
/// Those about pools and families count only where the addresses are ours to choose.
///
/// # Errors
/// One cannot be read, is not allowed, or contradicts another.
pub fn apply(
    spec: &mut Spec,
    annotations: &BTreeMap<String, String>,
    allowed: Allowed,
) -> Result<(), Failure> {
    pools(spec, annotations)?;
    let exactly = addresses(annotations, "ipAddrs")?;
    let without_ipam = addresses(annotations, "ipAddrsNoIpam")?;
    match (exactly, without_ipam) {
        (Some(_), Some(_)) => return Err(wrong("ipAddrs", "not together with ipAddrsNoIpam")),
        (Some(addresses), None) => match &mut spec.source {
            Source::Assign(wish) => wish.exactly = addresses,
            Source::Given(_) | Source::Leased(_) => {
                return Err(wrong("ipAddrs", "only where addresses are assigned by Margay"));
            }
        },
        (None, Some(_)) if !allowed.without_ipam => {
            return Err(refused("ipAddrsNoIpam", "feature_control.ip_addrs_no_ipam"));
        }
        (None, Some(addresses)) => spec.source = Source::Given(addresses),
        (None, None) => {}
    }
    if let Some(addresses) = list::<IpAddr>(annotations, "floatingIPs", "an address")? {
        if !allowed.floating {
            return Err(refused("floatingIPs", "feature_control.floating_ips"));
        }
        spec.floating = addresses;
    }
    if let Some(text) = annotations.get(&format!("{PREFIX}hwAddr")) {
        let mac = Mac::try_from(text.clone()).map_err(|error| wrong("hwAddr", &error.text))?;
        if mac.0.first().is_some_and(|first| first & 1 != 0) || mac.0 == [0; 6] {
            return Err(wrong("hwAddr", "must be the address of a single station"));
        }
        if mac.0 == GATEWAY {
            return Err(wrong(
                "hwAddr",
                "is that of the gateway, whom the workload could not reach",
            ));
        }
        spec.mac = Some(mac);
    }
    if let Some(prefixes) = list::<IpNet>(annotations, "allowedSourcePrefixes", "a CIDR")? {
        spec.spoofed = prefixes.iter().map(IpNet::trunc).collect();
    }
    Ok(())
}

/// Families and pools.
fn pools(spec: &mut Spec, annotations: &BTreeMap<String, String>) -> Result<(), Failure> {
    let Source::Assign(wish) = &mut spec.source else { return Ok(()) };
    if let Some(families) = read::<Vec<String>>(annotations, "ipFamilies")? {
        (wish.v4, wish.v6) = (false, false);
        for family in &families {
            match family.as_str() {
                "IPv4" => wish.v4 = true,
                "IPv6" => wish.v6 = true,
                _ => return Err(wrong("ipFamilies", "lists of IPv4 and IPv6 are allowed")),
            }
        }
        if families.is_empty() {
            return Err(wrong("ipFamilies", "must name IPv4, IPv6 or both"));
        }
    }
    for (name, pools) in [("ipv4pools", &mut wish.v4_pools), ("ipv6pools", &mut wish.v6_pools)] {
        if let Some(named) = read(annotations, name)? {
            *pools = named;
        }
    }
    Ok(())
}

/// The annotations that are taken note of and come to nothing in this version, and why.
pub fn without_effect(annotations: &BTreeMap<String, String>) -> Vec<(&str, &'static str)> {
    let why = |name: &str| {
        (name == DSCP).then_some("packets are not marked with it; it is written into the endpoint")
    };
    annotations.keys().filter_map(|name| Some((name.as_str(), why(name)?))).collect()
}

/// At most one address of a family.
fn addresses(
    annotations: &BTreeMap<String, String>,
    name: &str,
) -> Result<Option<Vec<IpAddr>>, Failure> {
    let Some(addresses) = list::<IpAddr>(annotations, name, "an address")? else {
        return Ok(None);
    };
    let families: BTreeSet<bool> = addresses.iter().map(IpAddr::is_ipv4).collect();
    if addresses.is_empty() || families.len() != addresses.len() {
        return Err(wrong(name, "one or two addresses, at most one of a family"));
    }
    Ok(Some(addresses))
}

fn list<T: std::str::FromStr>(
    annotations: &BTreeMap<String, String>,
    name: &str,
    what: &str,
) -> Result<Option<Vec<T>>, Failure> {
    let Some(texts) = read::<Vec<String>>(annotations, name)? else { return Ok(None) };
    let one = |text: &String| {
        text.trim().parse().map_err(|_| wrong(name, &format!("{text:?} is not {what}")))
    };
    texts.iter().map(one).collect::<Result<_, _>>().map(Some)
}

/// An annotation of JSON.
fn read<T: DeserializeOwned>(
    annotations: &BTreeMap<String, String>,
    name: &str,
) -> Result<Option<T>, Failure> {
    let Some(text) = annotations.get(&format!("{PREFIX}{name}")) else { return Ok(None) };
    let value = serde_json::from_str(text);
    value.map(Some).map_err(|_| wrong(name, "must be a list as JSON, as [\"a\", \"b\"]"))
}

fn wrong(name: &str, text: &str) -> Failure {
    Failure::invalid("annotations", format!("annotation {PREFIX}{name}: {text}"))
}

fn refused(name: &str, key: &str) -> Failure {
    let text = format!(
        "annotation {PREFIX}{name} is not allowed here\nhelp: set {key} in the network configuration"
    );
    Failure::new(Cause::Forbidden, text)
}

#[cfg(test)]
mod tests;
