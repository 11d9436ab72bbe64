//! What our Node should be, from what it is, what is wanted, and what we wrote before.
//!
//! What we wrote stands in an annotation, so that a key taken out of the configuration takes out of
//! the Node what it put there, and nothing that others put there.

use std::{collections::BTreeMap, net::Ipv4Addr};

use bgp_desired::{Registration, autodetect::AddressFamily};
use ipnet::IpNet;
use margay_model::{
    AsNumber, Cidr, Object, Resource,
    kinds::{Node, NodeBgp, NodeSpec},
};
use serde::{Deserialize, Serialize};

/// Where it is kept what we wrote.
const ANNOTATION: &str = "margay/registered";

/// What is to stand in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said<T> {
    /// What stands there now.
    Nothing,
    /// This.
    Is(T),
    /// Nothing at all.
    Without,
}

/// What the Node should say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) addresses: BTreeMap<AddressFamily, Said<IpNet>>,
    asn: Option<AsNumber>,
    cluster_id: Option<Ipv4Addr>,
    labels: BTreeMap<String, String>,
}

impl Wish {
    /// What the configuration says; the addresses are still to be found.
    pub(super) fn of(registration: &Registration) -> Self {
        Self {
            addresses: BTreeMap::new(),
            asn: registration.asn.map(|asn| AsNumber(asn.0)),
            cluster_id: registration.cluster_id,
            labels: registration.labels.clone(),
        }
    }

    /// Whether there is an address to write.
    pub(super) fn has_address(&self) -> bool {
        self.addresses.values().any(|said| matches!(said, Said::Is(_)))
    }
}

/// What we wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_number: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route_reflector_cluster_id: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
}

/// The Node to write; `None` if it is just so. One that exists keeps its revision, so that the
/// write is lost if somebody else was faster.
pub(super) fn plan(current: Option<&Node>, name: &str, wish: &Wish) -> Option<Resource> {
    let mut node = match current {
        Some(node) => node.clone(),
        None => Object::new(name, NodeSpec::default()),
    };
    let text = node.metadata.annotations.get(ANNOTATION);
    // What cannot be read any more is not ours to take away.
    let before: Written = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut now = Written::default();

    let mut bgp = node.spec.bgp.take().unwrap_or_default();
    let said = |family| wish.addresses.get(&family).copied().unwrap_or(Said::Nothing);
    now.ipv4_address =
        put(&mut bgp.ipv4_address, said(AddressFamily::V4), before.ipv4_address.as_deref());
    now.ipv6_address =
        put(&mut bgp.ipv6_address, said(AddressFamily::V6), before.ipv6_address.as_deref());
    let asn = before.as_number.map(AsNumber);
    now.as_number = own(&mut bgp.as_number, wish.asn, asn).map(|asn| asn.0);
    now.route_reflector_cluster_id = own(
        &mut bgp.route_reflector_cluster_id,
        wish.cluster_id,
        before.route_reflector_cluster_id,
    );
    node.spec.bgp = Some(bgp).filter(|bgp| *bgp != NodeBgp::default());

    let labels = &mut node.metadata.labels;
    for (key, value) in before.labels {
        if !wish.labels.contains_key(&key) && labels.get(&key) == Some(&value) {
            labels.remove(&key);
        }
    }
    for (key, value) in &wish.labels {
        labels.insert(key.clone(), value.clone());
    }
    now.labels.clone_from(&wish.labels);

    let text = serde_json::to_string(&now).expect("strings and numbers make JSON");
    node.metadata.annotations.insert(ANNOTATION.to_owned(), text);
    (current != Some(&node)).then(|| node.into())
}

/// Puts an address into its field; what of it is ours now.
fn put(field: &mut Option<Cidr>, said: Said<IpNet>, before: Option<&str>) -> Option<String> {
    match said {
        Said::Nothing => {
            let text = field.as_ref().map(Cidr::as_str);
            before.filter(|before| text == Some(*before)).map(str::to_owned)
        }
        Said::Is(net) => {
            // As somebody else may have written the same.
            if field.as_ref().is_none_or(|cidr| cidr.net() != net) {
                *field = Some(net.into());
            }
            field.as_ref().map(|cidr| cidr.as_str().to_owned())
        }
        Said::Without => {
            *field = None;
            None
        }
    }
}

/// Puts a value of the configuration into its field, or takes out what we put there; what of it is
/// ours now.
fn own<T: Copy + PartialEq>(
    field: &mut Option<T>,
    wanted: Option<T>,
    before: Option<T>,
) -> Option<T> {
    if wanted.is_some() {
        *field = wanted;
    } else if before.is_some() && *field == before {
        *field = None;
    }
    wanted
}

#[cfg(test)]
mod tests;
