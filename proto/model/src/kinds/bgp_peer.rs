//! `BGPPeer`: a session of some nodes with an address, with other nodes, or with workloads.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use crate::{
    object::Object,
    scalar::{AsNumber, Duration, ScalarError},
    selector::{self, Selector},
    wire::{At, rules},
};

use super::BgpPassword;

choice! {
    /// What stands as next hop in what a peer is told.
    pub enum NextHopMode {
        /// What BGP says.
        Auto = "Auto",
        /// This node.
        OwnAddress = "Self",
        /// As it was learned.
        Keep = "Keep",
    }
}

choice! {
    /// Which address a session comes from.
    pub enum SourceAddress {
        /// The node's own.
        UseNodeIp = "UseNodeIP",
        /// What the kernel chooses.
        None = "None",
    }
}

choice! {
    /// Whether the other side's session is made too, where it is a node.
    pub enum ReversePeering {
        /// It is.
        Auto = "Auto",
        /// It has a BGPPeer of its own.
        Manual = "Manual",
    }
}

/// The address of a peer and the port, if it is not the usual one: `10.0.0.1`, `10.0.0.1:1179`,
/// `[fd00::1]:1179`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    /// The address.
    pub ip: IpAddr,
    /// The port.
    pub port: Option<u16>,
}

impl FromStr for PeerAddress {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let error = || ScalarError { found: text.to_owned(), allowed: PEER_ADDRESS.into() };
        if let Ok(ip) = text.parse() {
            return Ok(Self { ip, port: None });
        }
        let (address, port) = text.rsplit_once(':').ok_or_else(error)?;
        let digits = !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit());
        let port = digits.then(|| port.parse().ok()).flatten().filter(|port: &u16| *port > 0);
        let ip = match address.strip_prefix('[').and_then(|address| address.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => address.parse().ok().map(IpAddr::V4),
        };
        let (ip, port) = ip.zip(port).ok_or_else(error)?;
        Ok(Self { ip, port: Some(port) })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ip, self.port) {
            (ip, None) => ip.fmt(f),
            (IpAddr::V4(ip), Some(port)) => write!(f, "{ip}:{port}"),
            (IpAddr::V6(ip), Some(port)) => write!(f, "[{ip}]:{port}"),
        }
    }
}

textual!(PeerAddress, PEER_ADDRESS, |text| text
    .parse()
    .map_err(|error: ScalarError| error.allowed));

const PEER_ADDRESS: &str =
    "an address such as \"10.0.0.1\", \"10.0.0.1:1179\" or \"[fd00::1]:1179\"";

record! {
    /// The spec of a `BGPPeer`.
    #[derive(Default)]
    pub struct BgpPeerSpec {
        /// The one node that has the session. With neither this nor a selector, every node has.
        node: Option<String> = "node" => rules::at_most(253),
        /// The nodes that have the session.
        node_selector: Option<Selector> = "nodeSelector" => selector::short,
        /// The address of the peer.
        peer_ip: Option<PeerAddress> = "peerIP",
        /// The AS of the peer.
        as_number: Option<AsNumber> = "asNumber",
        /// The AS this node pretends to be.
        local_as_number: Option<AsNumber> = "localASNumber",
        /// The nodes to peer with.
        peer_selector: Option<Selector> = "peerSelector" => selector::short,
        /// The workloads of the node to peer with.
        local_workload_selector: Option<Selector> = "localWorkloadSelector" => selector::short,
        /// Whether an eBGP peer is told the next hop as it was learned; older than `nextHopMode`.
        keep_original_next_hop: Option<bool> = "keepOriginalNextHop",
        /// What the peer is told as next hop.
        next_hop_mode: Option<NextHopMode> = "nextHopMode",
        /// The TCP-MD5 password.
        password: Option<BgpPassword> = "password",
        /// The address the session comes from; the node's own if absent.
        source_address: Option<SourceAddress> = "sourceAddress",
        /// The graceful restart time, rounded to seconds.
        max_restart_time: Option<Duration> = "maxRestartTime",
        /// How often to say that we live, rounded to seconds.
        keepalive_time: Option<Duration> = "keepaliveTime",
        /// How often the own AS may stand in the path of a route.
        num_allowed_local_as_numbers: Option<i32> = "numAllowedLocalASNumbers"
            => rules::within(0i32..=i32::MAX),
        /// How many hops the peer is away, by the TTL of its packets; 0 is unchecked.
        ttl_security: Option<u8> = "ttlSecurity",
        /// The gateway to the peer.
        reachable_by: Option<IpAddr> = "reachableBy",
        /// The filters of the session by name, in order.
        filters: Vec<String> = "filters",
        /// Whether the other side's session is made too.
        reverse_peering: Option<ReversePeering> = "reversePeering",
    }
    check Self::check
}

spec!(BgpPeerSpec, BgpPeer);

/// A `BGPPeer`.
pub type BgpPeer = Object<BgpPeerSpec>;

impl BgpPeerSpec {
    fn check(&self, at: &mut At<'_, '_>) {
        if self.node.is_some() && self.node_selector.is_some() {
            at.refuse("nodeSelector", "no selector beside node");
        }
        if self.peer_ip.is_some() && self.peer_selector.is_some() {
            at.refuse("peerSelector", "no selector beside peerIP");
        }
        if self.peer_ip.is_some() && self.local_workload_selector.is_some() {
            at.refuse("localWorkloadSelector", "no selector beside peerIP");
        }
        if self.peer_selector.is_some() && self.local_workload_selector.is_some() {
            at.refuse("localWorkloadSelector", "no selector beside peerSelector");
        }
        let has_as = self.as_number.is_some_and(|number| number.0 != 0);
        if self.peer_selector.is_some() && has_as {
            at.refuse("asNumber", "no AS number beside peerSelector: each node has its own");
        }
        if self.local_workload_selector.is_some() && !has_as {
            at.refuse("asNumber", "the AS number of the workloads");
        }
        if self.peer_ip.is_some() && self.peer_selector.is_none() && !has_as {
            at.refuse("asNumber", "the AS number of the peer");
        }
        if self.keep_original_next_hop == Some(true) && self.next_hop_mode.is_some() {
            at.refuse("nextHopMode", "no mode beside keepOriginalNextHop");
        }
        match (self.reachable_by, &self.peer_ip) {
            (Some(_), None) => at.refuse("peerIP", "the address that is reached by the gateway"),
            (Some(gateway), Some(peer)) if gateway.is_ipv4() != peer.ip.is_ipv4() => {
                at.refuse("reachableBy", "an address of the family of peerIP");
            }
            _ => {}
        }
    }
}
