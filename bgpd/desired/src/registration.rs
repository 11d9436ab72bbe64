//! The keys of `[node]` that say what the node writes about itself into the datastore.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use bgp_packet::Asn;
use ipnet::IpNet;
use margay_model::{Kind, meta};

use crate::{
    autodetect::{AddressFamily, METHODS, Method},
    bgp::asn,
    datastore::{Backend, Datastore},
    reader::{Entry, Section, quoted},
};

/// What the node writes about itself into the datastore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// `register`: whether it does at all.
    pub enabled: bool,
    /// What is said of IPv4.
    pub ipv4: FamilyWish,
    /// What is said of IPv6.
    pub ipv6: FamilyWish,
    /// `asn`: where it is absent, the Node says nothing, and the cluster's AS holds.
    pub asn: Option<Asn>,
    /// `labels`: others that the Node has stay.
    pub labels: BTreeMap<String, String>,
    /// `route-reflector-cluster-id`.
    pub cluster_id: Option<Ipv4Addr>,
}

/// What is said of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyWish {
    /// `ipv4`, `ipv6`.
    pub address: NodeAddress,
    /// `ipv4-autodetection`, `ipv6-autodetection`.
    pub method: Method,
    /// `default-ipv4-pool`, `default-ipv6-pool`.
    pub pool: PoolWish,
    /// `default-ipv4-block-size`, `default-ipv6-block-size`; Calico's where absent.
    pub block_size: Option<u8>,
}

/// The address of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeAddress {
    /// The one that the Node has stays, none where it has none: the key is absent.
    AsItIs,
    /// `"autodetect"`.
    Autodetect,
    /// This one, with the length of its network on the host.
    Address(IpAddr),
    /// This one, with this length.
    Net(IpNet),
    /// `"none"`: none, and one that the Node has is taken away.
    None,
}

/// A pool to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolWish {
    /// `"none"`.
    None,
    /// `"auto"`: a range that does not overlap the networks of the host.
    Auto,
    /// This range.
    Range(IpNet),
}

impl Registration {
    /// What is said of a family.
    pub fn family(&self, family: AddressFamily) -> &FamilyWish {
        match family {
            AddressFamily::V4 => &self.ipv4,
            AddressFamily::V6 => &self.ipv6,
        }
    }
}

impl Default for Registration {
    fn default() -> Self {
        let wish = |address| FamilyWish {
            address,
            method: Method::Auto,
            pool: PoolWish::None,
            block_size: None,
        };
        Self {
            enabled: false,
            ipv4: wish(NodeAddress::Autodetect),
            ipv6: wish(NodeAddress::AsItIs),
            asn: None,
            labels: BTreeMap::new(),
            cluster_id: None,
        }
    }
}

impl NodeAddress {
    /// As the configuration says it; `None` for an absent key.
    pub(crate) fn text(&self) -> Option<String> {
        Some(match self {
            Self::AsItIs => return None,
            Self::Autodetect => "autodetect".to_owned(),
            Self::Address(address) => address.to_string(),
            Self::Net(net) => net.to_string(),
            Self::None => "none".to_owned(),
        })
    }
}

impl fmt::Display for PoolWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Auto => f.write_str("auto"),
            Self::Range(net) => net.fmt(f),
        }
    }
}

/// Whether a node registers where nothing is said: in a datastore that others share it does, a
/// router on its own does not become a node of a cluster by accident.
pub(crate) fn by_default(datastore: Option<&Datastore>) -> bool {
    datastore.is_some_and(|datastore| matches!(datastore.backend, Backend::Etcd(_)))
}

/// The keys that do nothing without `register`.
const NEEDS_REGISTER: [&str; 11] = [
    "ipv4",
    "ipv6",
    "ipv4-autodetection",
    "ipv6-autodetection",
    "asn",
    "labels",
    "route-reflector-cluster-id",
    "default-ipv4-pool",
    "default-ipv4-block-size",
    "default-ipv6-pool",
    "default-ipv6-block-size",
];

pub(crate) fn read(section: &mut Section<'_>, datastore: Option<&Datastore>) -> Registration {
    let register = section.entry("register");
    let enabled = match &register {
        Some(entry) => entry.boolean().unwrap_or_default(),
        None => by_default(datastore),
    };
    if let Some(entry) = &register
        && enabled
        && datastore.is_some_and(|datastore| datastore.backend == Backend::None)
    {
        entry.fault("needs a datastore: [datastore] type is \"none\"");
    }
    if !enabled {
        for key in NEEDS_REGISTER {
            if let Some(entry) = section.entry(key) {
                entry.warn_if_sound("has no effect while node.register is false");
            }
        }
    }
    let mut registration = Registration { enabled, ..Registration::default() };
    family(section, AddressFamily::V4, &mut registration.ipv4);
    family(section, AddressFamily::V6, &mut registration.ipv6);
    registration.asn = section.entry("asn").and_then(|entry| asn(&entry));
    if let Some(entry) = section.entry("labels") {
        registration.labels = labels(&entry);
    }
    if let Some(entry) = section.entry("route-reflector-cluster-id") {
        let allowed = "an IPv4 address other than 0.0.0.0";
        registration.cluster_id = entry.standard(allowed);
        if registration.cluster_id.is_some_and(|id: Ipv4Addr| id.is_unspecified()) {
            entry.expected(allowed);
        }
    }
    registration
}

/// A Node is named as the rules for resources want it.
pub(crate) fn check_name(entry: Option<&Entry<'_>>, name: Option<&str>) {
    if let (Some(entry), Some(name)) = (entry, name)
        && !meta::is_name(Kind::Node, name)
    {
        entry.expected(
            "the name of a Node: lower case letters, digits, - and ., at most 253 (or \
             register = false)",
        );
    }
}

/// The names of the keys of a family, and what its blocks may be.
struct Keys {
    address: &'static str,
    method: &'static str,
    pool: &'static str,
    block_size: &'static str,
    example: &'static str,
    sizes: std::ops::RangeInclusive<u8>,
    usual: u8,
    link_local: &'static str,
}

const V4: Keys = Keys {
    address: "ipv4",
    method: "ipv4-autodetection",
    pool: "default-ipv4-pool",
    block_size: "default-ipv4-block-size",
    example: "10.0.0.1/24",
    sizes: 20..=32,
    usual: 26,
    link_local: "169.254.0.0/16",
};

const V6: Keys = Keys {
    address: "ipv6",
    method: "ipv6-autodetection",
    pool: "default-ipv6-pool",
    block_size: "default-ipv6-block-size",
    example: "2001:db8::1/64",
    sizes: 116..=128,
    usual: 122,
    link_local: "fe80::/10",
};

fn family(section: &mut Section<'_>, family: AddressFamily, wish: &mut FamilyWish) {
    let keys = match family {
        AddressFamily::V4 => V4,
        AddressFamily::V6 => V6,
    };
    if let Some(entry) = section.entry(keys.address)
        && let Some(address) = address(&entry, family, keys.example)
    {
        wish.address = address;
    }
    if let Some(entry) = section.entry(keys.method) {
        if let Some(method) = entry.parsed(METHODS) {
            wish.method = method;
        }
        if wish.address != NodeAddress::Autodetect {
            entry.warn_if_sound(format_args!(
                "has no effect without {} = \"autodetect\"",
                keys.address
            ));
        }
    }
    let pool = section.entry(keys.pool);
    if let Some(entry) = &pool
        && let Some(found) = range(entry, family, &keys)
    {
        wish.pool = found;
    }
    if let Some(entry) = section.entry(keys.block_size) {
        wish.block_size = entry.integer(keys.sizes.clone());
        if wish.pool == PoolWish::None {
            entry.warn_if_sound(format_args!("has no effect without {}", keys.pool));
        }
    }
    let size = wish.block_size.unwrap_or(keys.usual);
    if let (Some(entry), PoolWish::Range(net)) = (&pool, wish.pool)
        && net.prefix_len() > size
    {
        entry.fault(format_args!("{net} does not hold a block of /{size}"));
    }
}

fn address(entry: &Entry<'_>, family: AddressFamily, example: &str) -> Option<NodeAddress> {
    let bare = example.split('/').next().unwrap_or(example);
    let allowed =
        format!("\"autodetect\", \"none\", an {family} address like {bare:?} or {example:?}");
    let text = entry.string(&allowed)?;
    let found = match text {
        "autodetect" => return Some(NodeAddress::Autodetect),
        "none" => return Some(NodeAddress::None),
        _ if text.contains('/') => text.parse().ok().map(NodeAddress::Net),
        _ => text.parse().ok().map(NodeAddress::Address),
    };
    let address = match found {
        Some(NodeAddress::Net(net)) => Some(net.addr()),
        Some(NodeAddress::Address(address)) => Some(address),
        _ => None,
    };
    let reachable = |address: IpAddr| match address {
        _ if address.is_unspecified() || address.is_loopback() || address.is_multicast() => false,
        IpAddr::V4(v4) => !v4.is_broadcast() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && v6.to_ipv4_mapped().is_none(),
    };
    match address {
        Some(address) if AddressFamily::of(address) == family && reachable(address) => found,
        _ => {
            entry.expected(allowed);
            None
        }
    }
}

fn range(entry: &Entry<'_>, family: AddressFamily, keys: &Keys) -> Option<PoolWish> {
    let allowed = format!("\"none\", \"auto\" or an {family} CIDR");
    let net: IpNet = match entry.string(&allowed)? {
        "none" => return Some(PoolWish::None),
        "auto" => return Some(PoolWish::Auto),
        _ => entry.standard(&allowed)?,
    };
    if AddressFamily::of(net.addr()) != family {
        entry.expected(allowed);
        return None;
    }
    if net.trunc() != net {
        entry.fault(format_args!("{net} has host bits, did you mean {}?", net.trunc()));
        return None;
    }
    let link_local: IpNet = keys.link_local.parse().expect("a constant");
    if link_local.contains(&net) || net.contains(&link_local) {
        entry.fault(format_args!("{net} overlaps the link-local {link_local}"));
        return None;
    }
    Some(PoolWish::Range(net))
}

fn labels(entry: &Entry<'_>) -> BTreeMap<String, String> {
    let Some(section) = entry.section() else { return BTreeMap::new() };
    let mut labels = BTreeMap::new();
    for (key, entry) in section.named() {
        let Some(value) = entry.string("a text") else { continue };
        if meta::is_label(key, value) {
            labels.insert(key.to_owned(), value.to_owned());
        } else {
            entry.fault(format_args!(
                "{} = {} is no label, allowed: at most 63 letters, digits, -, _ and .; the key \
                 may have a DNS name and / before it",
                quoted(key),
                quoted(value)
            ));
        }
    }
    labels
}
