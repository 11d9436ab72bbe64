//! Which sessions a node has: BGPPeers, what they ask of their other side, and the mesh.
//!
//! Owns the choice: one session for an address, in the order configuration file, BGPPeers of some
//! nodes, BGPPeers of all nodes, workloads, reverse sides, mesh; among BGPPeers the lowest name.
//! Leaves to `workloads` which of them are peers, to `session` what a session is like.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::{IpAddr, Ipv4Addr},
};

use bgp_core::config::{PeerAddress, PeerConfig};
use bgp_packet::Asn;
use margay_model::kinds::{BgpPeerSpec, PeerAddress as PeerIp, ReversePeering};

use super::{
    Remark,
    resources::{ClusterNode, Resources, Workload, asn},
};

/// This node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Own<'a> {
    pub(super) name: &'a str,
    pub(super) node: &'a ClusterNode,
    /// In force: the configuration file's, else the node's, else the cluster's.
    pub(super) asn: Asn,
}

/// A session to be had.
#[derive(Debug, Clone)]
pub(super) struct Session<'a> {
    pub(super) name: String,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) asn: Asn,
    pub(super) passive: bool,
    pub(super) by: By<'a>,
    /// The node at the other end, where it was found as one.
    pub(super) remote: Option<(&'a str, &'a ClusterNode)>,
    /// What the BGPPeer says; `None` in the mesh.
    pub(super) spec: Option<&'a BgpPeerSpec>,
    /// The workload at the other end, and the address it has of us.
    pub(super) workload: Option<(&'a Workload, IpAddr)>,
}

/// Who wants a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum By<'a> {
    /// A peer of the configuration file, by name.
    File(&'a str),
    /// A BGPPeer, by name.
    Peer(&'a str),
    /// The other side of a BGPPeer, by name.
    Reverse(&'a str),
    /// The mesh.
    Mesh,
}

impl By<'_> {
    /// For people.
    pub(super) fn text(self) -> String {
        match self {
            Self::File(name) => format!("peer {name} of the configuration file"),
            Self::Peer(name) => format!("BGPPeer {name}"),
            Self::Reverse(name) => format!("the other side of BGPPeer {name}"),
            Self::Mesh => "the node-to-node mesh".to_owned(),
        }
    }
}

/// The sessions of this node, by address.
pub(super) fn choose<'a>(
    own: Own<'a>,
    resources: &'a Resources,
    file: &'a [PeerConfig],
    remarks: &mut Vec<Remark>,
) -> Vec<Session<'a>> {
    let mut choice = Choice::new(own, resources, file);
    let is_global = |spec: &BgpPeerSpec| spec.node.is_none() && spec.node_selector.is_none();
    for global in [false, true] {
        for (name, spec) in resources.peers().filter(|(_, spec)| is_global(spec) == global) {
            choice.peer(name, spec, global);
        }
    }
    choice.workloads();
    for (name, spec) in resources.peers() {
        choice.reverse(name, spec);
    }
    choice.mesh();
    choice.finish(remarks)
}

pub(super) struct Choice<'a> {
    pub(super) own: Own<'a>,
    pub(super) resources: &'a Resources,
    taken: BTreeMap<IpAddr, By<'a>>,
    sessions: Vec<Session<'a>>,
    /// Who got nothing because of whom, and where.
    lost: BTreeMap<(By<'a>, By<'a>), Vec<IpAddr>>,
    remarks: Vec<Remark>,
}

impl<'a> Choice<'a> {
    fn new(own: Own<'a>, resources: &'a Resources, file: &'a [PeerConfig]) -> Self {
        let taken = file.iter().filter_map(|peer| match &peer.address {
            PeerAddress::Address { address, .. } => Some((*address, By::File(&peer.name))),
            PeerAddress::Interface(_) | PeerAddress::Dynamic { .. } => None,
        });
        Self {
            own,
            resources,
            taken: taken.collect(),
            sessions: Vec::new(),
            lost: BTreeMap::new(),
            remarks: Vec::new(),
        }
    }

    /// Takes a session unless another has its address.
    pub(super) fn offer(&mut self, session: Session<'a>) {
        match self.taken.entry(session.address) {
            Entry::Vacant(entry) => {
                entry.insert(session.by);
                self.sessions.push(session);
            }
            Entry::Occupied(entry) => {
                let (loser, winner) = (session.by, *entry.get());
                let gives_way = match loser {
                    By::Mesh | By::Reverse(_) => loser != winner && !matches!(winner, By::File(_)),
                    By::File(_) | By::Peer(_) => false,
                };
                if !gives_way {
                    self.lost.entry((loser, winner)).or_default().push(session.address);
                }
            }
        }
    }

    pub(super) fn remark(&mut self, name: &str, text: impl Into<String>) {
        self.remarks.push(Remark { subject: format!("BGPPeer {name}"), text: text.into() });
    }

    /// What a BGPPeer asks of this node.
    fn peer(&mut self, name: &'a str, spec: &'a BgpPeerSpec, global: bool) {
        if spec.peer_ip.is_none()
            && spec.peer_selector.is_none()
            && spec.local_workload_selector.is_none()
        {
            let needs = "none of peerIP, peerSelector, localWorkloadSelector";
            self.remark(name, format!("ignored: it has {needs}"));
            return;
        }
        if !selects(spec, self.own.name, self.own.node) {
            return;
        }
        if let Some(peer_ip) = &spec.peer_ip {
            self.with_address(name, spec, peer_ip, global);
        } else if let Some(selector) = &spec.peer_selector {
            for (remote, node) in self.resources.nodes() {
                if selector.matches(&node.labels) {
                    self.with_node(By::Peer(name), spec, remote, node, None);
                }
            }
        }
    }

    fn with_address(
        &mut self,
        name: &'a str,
        spec: &'a BgpPeerSpec,
        peer_ip: &'a PeerIp,
        global: bool,
    ) {
        let address = peer_ip.ip;
        if self.own.node.addresses().any(|own| own == address) {
            return;
        }
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let Some(own) = self.own.node.address_like(address) else {
            self.remark(
                name,
                format!("no session with {address}: this node has no {family} address"),
            );
            return;
        };
        if matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
            let text = "a link-local address says nothing without its interface";
            self.remark(name, format!("no session with {address}: {text}"));
            return;
        }
        // A BGPPeer that was read has one.
        let Some(asn) = asn(spec.as_number) else {
            self.remark(name, "ignored: it has no asNumber");
            return;
        };
        let resources = self.resources;
        let port = peer_ip.port.unwrap_or_else(|| {
            let node = resources.nodes_at(address).find(|(_, node)| resources.asn_of(node) == asn);
            node.map_or_else(|| resources.cluster_port(), |(node, _)| resources.port_of(node))
        });
        let is_node = resources.nodes_at(address).next().is_some();
        let suffix = peer_ip.port.map(|port| format!("_port_{port}")).unwrap_or_default();
        let prefix = if global { "Global" } else { "Node" };
        self.offer(Session {
            name: format!("{prefix}_{}{suffix}", underscored(address)),
            address,
            port,
            asn,
            passive: global && is_node && address.to_string() > own.to_string(),
            by: By::Peer(name),
            remote: None,
            spec: Some(spec),
            workload: None,
        });
    }

    /// Sessions with a node, in each family both have an address of, or in that of `like`.
    fn with_node(
        &mut self,
        by: By<'a>,
        spec: &'a BgpPeerSpec,
        name: &'a str,
        node: &'a ClusterNode,
        like: Option<IpAddr>,
    ) {
        if name == self.own.name {
            return;
        }
        for own in self.own.node.addresses() {
            if like.is_some_and(|like| like.is_ipv4() != own.is_ipv4()) {
                continue;
            }
            let Some(address) = node.address_like(own) else { continue };
            // Who is spoken to as another AS sees that AS.
            let shown = like.and_then(|_| asn(spec.local_as_number));
            self.offer(Session {
                name: format!("Node_{}", underscored(address)),
                address,
                port: self.resources.port_of(name),
                asn: shown.unwrap_or_else(|| self.resources.asn_of(node)),
                passive: false,
                by,
                remote: Some((name, node)),
                spec: Some(spec),
                workload: None,
            });
        }
    }

    /// What a BGPPeer of other nodes asks of this one, because it is the peer.
    fn reverse(&mut self, name: &'a str, spec: &'a BgpPeerSpec) {
        if spec.local_workload_selector.is_some()
            || spec.reverse_peering == Some(ReversePeering::Manual)
        {
            return;
        }
        let like = match (&spec.peer_ip, &spec.peer_selector) {
            (Some(peer_ip), _) => {
                let is_own = self.own.node.addresses().any(|own| own == peer_ip.ip)
                    && asn(spec.as_number) == Some(self.own.asn)
                    && peer_ip
                        .port
                        .is_none_or(|port| port == self.resources.port_of(self.own.name));
                if !is_own {
                    return;
                }
                Some(peer_ip.ip)
            }
            (None, Some(selector)) if selector.matches(&self.own.node.labels) => None,
            (None, _) => return,
        };
        for (local, node) in self.resources.nodes() {
            if selects(spec, local, node) {
                self.with_node(By::Reverse(name), spec, local, node, like);
            }
        }
    }

    fn mesh(&mut self) {
        let wanted = self.resources.configuration().and_then(|c| c.spec.node_to_node_mesh_enabled);
        if wanted == Some(false) || self.own.node.cluster_id.is_some() {
            return;
        }
        for own in self.own.node.addresses() {
            let own_text = own.to_string();
            for (name, node) in self.resources.nodes() {
                if name == self.own.name || node.cluster_id.is_some() {
                    continue;
                }
                let Some(address) = node.address_like(own) else { continue };
                let text = address.to_string();
                self.offer(Session {
                    name: format!("Mesh_{}", text.replace(['.', ':'], "_")),
                    address,
                    port: self.resources.port_of(name),
                    asn: self.resources.asn_of(node),
                    passive: text > own_text,
                    by: By::Mesh,
                    remote: Some((name, node)),
                    spec: None,
                    workload: None,
                });
            }
        }
    }

    fn finish(mut self, remarks: &mut Vec<Remark>) -> Vec<Session<'a>> {
        let own: Vec<IpAddr> = self.own.node.addresses().collect();
        // Another node with our address would make us a peer of ourselves.
        self.sessions.retain(|session| !own.contains(&session.address));
        for address in own {
            let others =
                self.resources.nodes_at(address).filter(|(name, _)| *name != self.own.name);
            let names: Vec<&str> = others.map(|(name, _)| name).collect();
            if !names.is_empty() {
                let text = format!("node {} has the address {address} too", names.join(", "));
                remarks.push(Remark { subject: format!("Node {}", self.own.name), text });
            }
        }
        for ((loser, winner), mut addresses) in self.lost {
            addresses.sort();
            let list = some_of(&addresses);
            let text = match (loser == winner, winner) {
                (true, _) => {
                    format!("several have the address {list}: only one gets a session")
                }
                (false, By::File(_)) => {
                    format!("no session with {list}: that is {}", winner.text())
                }
                (false, _) => format!("no session with {list}: {} comes first", winner.text()),
            };
            remarks.push(Remark { subject: loser.text(), text });
        }
        remarks.append(&mut self.remarks);
        self.sessions.sort_by_key(|session| session.address);
        self.sessions
    }
}

/// Whether a BGPPeer gives this node its sessions.
pub(super) fn selects(spec: &BgpPeerSpec, name: &str, node: &ClusterNode) -> bool {
    match (&spec.node, &spec.node_selector) {
        (Some(wanted), _) => wanted == name,
        (None, Some(selector)) => selector.matches(&node.labels),
        (None, None) => true,
    }
}

/// An address as part of a name.
pub(super) fn underscored(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "_")
}

/// The first few, and how many more.
fn some_of(addresses: &[IpAddr]) -> String {
    const SOME: usize = 3;
    let mut list: Vec<String> = addresses.iter().take(SOME).map(IpAddr::to_string).collect();
    if let Some(more) = addresses.len().checked_sub(SOME).filter(|more| *more > 0) {
        list.push(format!("{more} more"));
    }
    list.join(", ")
}

/// Whether the node at the other end reflects for the same cluster.
pub(super) fn same_cluster(session: &Session<'_>, cluster_id: Ipv4Addr) -> bool {
    session.remote.is_some_and(|(_, node)| node.cluster_id == Some(cluster_id))
}
