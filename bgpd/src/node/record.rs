//! What our Node should be, from what it is, what is wanted, and what we wrote before.
//!
//! What we wrote stands in an annotation, and what stood there before, so that a key taken out of
//! the configuration takes out of the Node what it put there and nothing that others put there:
//! what had the wanted value already is not ours, and what we overwrote comes back.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

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
    #[serde(flatten)]
    ours: Values,
    /// What we overwrote.
    #[serde(skip_serializing_if = "Values::is_empty")]
    before: Values,
}

/// Values of a Node that may be ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Values {
    #[serde(skip_serializing_if = "Option::is_none")]
    as_number: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route_reflector_cluster_id: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
}

impl Values {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A value that we wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ours<T> {
    value: T,
    /// What stood there.
    before: Option<T>,
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
    let ours = recorded(before.ours.as_number, before.before.as_number);
    let mut asn = bgp.as_number.map(|asn| asn.0);
    let ours = own(&mut asn, wish.asn.map(|asn| asn.0), ours);
    bgp.as_number = asn.map(AsNumber);
    (now.ours.as_number, now.before.as_number) = apart(ours);
    let ours =
        recorded(before.ours.route_reflector_cluster_id, before.before.route_reflector_cluster_id);
    let ours = own(&mut bgp.route_reflector_cluster_id, wish.cluster_id, ours);
    (now.ours.route_reflector_cluster_id, now.before.route_reflector_cluster_id) = apart(ours);
    node.spec.bgp = Some(bgp).filter(|bgp| *bgp != NodeBgp::default());

    let labels = &mut node.metadata.labels;
    let keys: BTreeSet<&String> = wish.labels.keys().chain(before.ours.labels.keys()).collect();
    for key in keys {
        let get = |labels: &BTreeMap<String, String>| labels.get(key).cloned();
        let mut label = labels.remove(key);
        let ours = recorded(get(&before.ours.labels), get(&before.before.labels));
        let (ours, former) = apart(own(&mut label, get(&wish.labels), ours));
        let keep = |values: &mut BTreeMap<String, String>, value: Option<String>| {
            values.extend(value.map(|value| (key.clone(), value)));
        };
        keep(labels, label);
        keep(&mut now.ours.labels, ours);
        keep(&mut now.before.labels, former);
    }

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

/// What the annotation says of one value.
fn recorded<T>(value: Option<T>, before: Option<T>) -> Option<Ours<T>> {
    value.map(|value| Ours { value, before })
}

/// The same for the next annotation.
fn apart<T>(ours: Option<Ours<T>>) -> (Option<T>, Option<T>) {
    ours.map_or((None, None), |ours| (Some(ours.value), ours.before))
}

/// Puts a value of the configuration into its field, or takes out what we put there; what of it is
/// ours now.
fn own<T: Clone + PartialEq>(
    field: &mut Option<T>,
    wanted: Option<T>,
    ours: Option<Ours<T>>,
) -> Option<Ours<T>> {
    // What others have changed since is theirs.
    let ours = ours.filter(|ours| field.as_ref() == Some(&ours.value));
    let Some(value) = wanted else {
        if let Some(ours) = ours {
            *field = ours.before;
        }
        return None;
    };
    if field.as_ref() == Some(&value) {
        return ours;
    }
    let there = field.replace(value.clone());
    let before = match ours {
        Some(ours) => ours.before,
        None => there,
    };
    Some(Ours { value, before })
}

#[cfg(test)]
mod tests;
