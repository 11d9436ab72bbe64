//! Sessions with workloads of this node (`localWorkloadSelector`), and the addresses they call.
//!
//! They call; we answer at the addresses of the BGPConfiguration, which are every node's, for its own
//! workloads.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;

use super::{
    Remark,
    peers::{By, Choice, Own, Session, selects, underscored},
    resources::{Resources, asn},
};
use crate::{
    bgp,
    desired::{Bgp, Reach},
};

impl Choice<'_> {
    /// What BGPPeers ask for of workloads. Of several that select one, that of the lowest name is
    /// meant.
    pub(super) fn workloads(&mut self) {
        let (own, resources) = (self.own, self.resources);
        let peers: Vec<_> = resources
            .peers()
            .filter(|(_, spec)| selects(spec, own.name, own.node))
            .filter_map(|(name, spec)| Some((name, spec, spec.local_workload_selector.as_ref()?)))
            .collect();
        if peers.is_empty() {
            return;
        }
        let config = resources.configuration().map(|config| &config.spec);
        let ours = [
            ("IPV4", config.and_then(|c| c.local_workload_peering_ipv4).map(IpAddr::V4)),
            ("IPV6", config.and_then(|c| c.local_workload_peering_ipv6).map(IpAddr::V6)),
        ];
        let mut unanswered: BTreeMap<_, u32> = BTreeMap::new();
        for workload in resources.workloads(own.name) {
            let labels = resources.labels(workload);
            let found = peers.iter().find(|(.., selector)| selector.matches(&labels));
            let Some((name, spec, _)) = found else { continue };
            // A BGPPeer that was read has one.
            let Some(asn) = asn(spec.as_number) else {
                self.remark(name, "ignored: it has no asNumber");
                continue;
            };
            for (family, ours) in ours {
                let is_meant = |address: &&IpAddr| address.is_ipv4() == (family == "IPV4");
                let Some(address) = workload.addresses.iter().find(is_meant).copied() else {
                    continue;
                };
                let Some(ours) = ours else {
                    *unanswered.entry((*name, family)).or_default() += 1;
                    continue;
                };
                self.offer(Session {
                    name: format!("Local_Workload_{}", underscored(address)),
                    address,
                    port: bgp::PORT,
                    asn,
                    passive: true,
                    by: By::Peer(name),
                    remote: None,
                    spec: Some(spec),
                    workload: Some((workload, ours)),
                });
            }
        }
        for ((name, family), count) in unanswered {
            let key = format!("localWorkloadPeering{family}");
            let text = format!("no session with {count} workloads: no {key} for them to call");
            self.remark(name, text);
        }
    }
}

/// Whether a BGPPeer selects workloads of this node, there being any or not.
fn are_peers(own: Own<'_>, resources: &Resources) -> bool {
    resources.peers().any(|(_, spec)| {
        spec.local_workload_selector.is_some() && selects(spec, own.name, own.node)
    })
}

/// Where next hops lie that lead to workloads and mean nothing to other nodes; none where no
/// workload can be a peer. It is the blocks that are taken, so that policies do not change with
/// every workload.
pub(super) fn next_hops(
    own: Own<'_>,
    resources: &Resources,
    blocks: &BTreeSet<IpNet>,
    sessions: &[Session<'_>],
) -> BTreeSet<IpNet> {
    if !are_peers(own, resources) {
        return BTreeSet::new();
    }
    let elsewhere = |address: &IpAddr| blocks.iter().all(|block| !block.contains(address));
    let workloads = sessions.iter().filter(|session| session.workload.is_some());
    let single = workloads.map(|session| session.address).filter(elsewhere).map(IpNet::from);
    blocks.iter().copied().chain(single).collect()
}

/// What the kernel has to do for the sessions of a node.
pub(super) fn reach(sessions: &[Session<'_>]) -> Reach {
    let mut reach = Reach::default();
    for session in sessions {
        reach.addresses.extend(session.workload.map(|(_, ours)| ours));
        if let Some(gateway) = session.gateway() {
            reach.gateways.insert(session.address, gateway);
        }
    }
    reach
}

/// Adds the addresses that workloads call to those that are listened on, unless all of the family
/// are; or says that the file leaves them out.
pub(super) fn listen(
    own: Own<'_>,
    resources: &Resources,
    sessions: &[Session<'_>],
    by_file: bool,
    bgp: &mut Bgp,
    remarks: &mut Vec<Remark>,
) {
    let port = resources.port_of(own.name);
    let called: BTreeSet<IpAddr> =
        sessions.iter().filter_map(|session| Some(session.workload?.1)).collect();
    for address in called {
        let mut listen = bgp.listen();
        let heard = |on: &SocketAddr| {
            on.ip() == address || (on.ip().is_unspecified() && on.is_ipv4() == address.is_ipv4())
        };
        if listen.iter().any(heard) {
            continue;
        }
        if by_file {
            let text = format!(
                "workloads call {address}, where it does not listen, as the configuration file has \
                 it"
            );
            remarks.push(Remark::new(format!("Node {}", own.name), text));
            continue;
        }
        listen.push((address, port).into());
        bgp.listen = Some(listen);
    }
}
