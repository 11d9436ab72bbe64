//! `EndpointSlice` of Kubernetes: addresses and ports behind a service.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use crate::{
    object::Object,
    scalar::{Protocol, names},
    wire::{At, Raw, rules},
};

/// The label that says of which service a slice is.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

choice! {
    /// What the addresses of a slice are.
    pub enum AddressType {
        /// IPv4 addresses.
        Ipv4 = "IPv4",
        /// IPv6 addresses.
        Ipv6 = "IPv6",
        /// Names that somebody else looks up.
        Fqdn = "FQDN",
    }
}

/// An address of an endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SliceAddress {
    /// An address.
    Ip(IpAddr),
    /// A name.
    Name(String),
}

impl fmt::Display for SliceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

textual!(SliceAddress, "an IP address or a DNS name", |text| {
    match text.parse() {
        Ok(address) => Ok(SliceAddress::Ip(address)),
        Err(_) if names::is_subdomain(text) => Ok(SliceAddress::Name(text.to_owned())),
        Err(_) => Err("an IP address or a DNS name".into()),
    }
});

impl SliceAddress {
    fn is_of(&self, kind: AddressType) -> bool {
        match self {
            Self::Ip(IpAddr::V4(_)) => kind == AddressType::Ipv4,
            Self::Ip(IpAddr::V6(_)) => kind == AddressType::Ipv6,
            Self::Name(_) => kind == AddressType::Fqdn,
        }
    }
}

record! {
    /// What is known of an endpoint's state. Rules of policies take every endpoint, whatever it is.
    pub struct SliceConditions {
        /// Whether it takes new connections.
        ready: Option<bool> = "ready",
        /// Whether it answers.
        serving: Option<bool> = "serving",
        /// Whether it is about to go.
        terminating: Option<bool> = "terminating",
    }
}

record! {
    /// An endpoint.
    pub struct SliceEndpoint {
        /// Its addresses, any of which stands for it.
        addresses: Vec<SliceAddress> = "addresses",
        /// Its state.
        conditions: Option<SliceConditions> = "conditions",
        /// Its host name.
        hostname: Option<String> = "hostname" => names::label,
        /// What it is: kept as it is.
        target_ref: Option<Raw> = "targetRef",
        /// What an older version said of its place.
        deprecated_topology: BTreeMap<String, String> = "deprecatedTopology",
        /// The node it is on.
        node_name: Option<String> = "nodeName" => names::subdomain,
        /// The zone it is in.
        zone: Option<String> = "zone",
        /// Who had better ask it: kept as it is.
        hints: Option<Raw> = "hints",
    }
    check |endpoint, at: &mut At<'_, '_>| {
        if !(1..=100).contains(&endpoint.addresses.len()) {
            at.refuse("addresses", "1 to 100 addresses");
        }
    }
}

record! {
    /// A port that every endpoint of a slice has.
    pub struct SlicePort {
        /// Its name; one of a slice may go without.
        name: Option<String> = "name" => names::label,
        /// Its protocol; TCP if nobody says.
        protocol: Option<Protocol> = "protocol" => transport,
        /// Its number; none stands for ports that nobody tells, and rules of policies take none.
        port: Option<u16> = "port" => rules::within(1..=65535),
        /// What is spoken there.
        app_protocol: Option<String> = "appProtocol",
    }
}

record! {
    /// The fields of an `EndpointSlice`, which stand beside its metadata. The label
    /// [`SERVICE_NAME_LABEL`] says of which service it is.
    pub struct EndpointSliceSpec {
        /// What its addresses are.
        address_type: AddressType = "addressType",
        /// The endpoints.
        endpoints: Vec<SliceEndpoint> = "endpoints",
        /// The ports of each of them.
        ports: Vec<SlicePort> = "ports",
    }
    check |slice, at: &mut At<'_, '_>| {
        if slice.endpoints.len() > 1000 {
            at.refuse("endpoints", "at most 1000 items");
        }
        if slice.ports.len() > 100 {
            at.refuse("ports", "at most 100 items");
        }
        let named: Vec<_> = slice.ports.iter().map(|port| &port.name).collect();
        if rules::unique(&named).is_err() {
            at.refuse("ports", "each name of a port only once");
        }
        for (index, endpoint) in slice.endpoints.iter().enumerate() {
            if !endpoint.addresses.iter().all(|address| address.is_of(slice.address_type)) {
                let allowed = format!("addresses of the type {} only", slice.address_type);
                at.refuse_item("endpoints", index, allowed);
            }
        }
    }
}

spec!(EndpointSliceSpec, EndpointSlice, flat true);

/// An `EndpointSlice`.
pub type EndpointSlice = Object<EndpointSliceSpec>;

impl EndpointSlice {
    /// The name of the service it is of, which is in its namespace; `None` if it is of none.
    pub fn service(&self) -> Option<&str> {
        self.metadata.labels.get(SERVICE_NAME_LABEL).map(String::as_str)
    }
}

impl EndpointSliceSpec {
    /// The IP addresses of its endpoints, ready or not; some may come twice.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let all = self.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
        all.filter_map(|address| match address {
            SliceAddress::Ip(address) => Some(*address),
            SliceAddress::Name(_) => None,
        })
    }
}

impl SlicePort {
    /// The number of its protocol.
    pub fn protocol(&self) -> u8 {
        self.protocol.unwrap_or(Protocol::Tcp).number()
    }
}

fn transport(protocol: &Protocol) -> rules::Answer {
    let known = matches!(protocol, Protocol::Tcp | Protocol::Udp | Protocol::Sctp);
    rules::allow(known, || "one of TCP, UDP, SCTP".into())
}
