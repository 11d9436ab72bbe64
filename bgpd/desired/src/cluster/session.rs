//! What a session of the cluster is like: a BGPPeer's options as settings of a peer.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bgp_core::{
    config::{
        AddPathConfig, GracefulRestart, LocalAsnMode, NextHopMode, PeerAddress, PeerAsn,
        PeerConfig, RemovePrivate,
    },
    policy::RoutePolicy,
};
use bgp_packet::{Asn, Family};
use margay_model::kinds::{BgpPassword, BgpPeerSpec, NextHopMode as Mode, PeerType, SourceAddress};

use super::{
    Remark,
    peers::{By, Own, Session, same_cluster},
    resources::{Resources, asn},
    secrets::Secrets,
};
use crate::settings::{MAX_RESTART_TIME, RESTART_TIME};

/// Between attempts to connect, as the cluster's users know it.
const CONNECT_RETRY: Duration = Duration::from_secs(5);
/// Of what is sent to an eBGP peer: it may be anywhere.
const TTL: u8 = 64;
/// Paths for one prefix, as many as the kernel is given.
pub(super) const PATHS: u16 = 16;
/// The longest time an OPEN can carry.
const MAX_HOLD_TIME: u64 = 65_535;
/// Most hops there can be between two hosts.
const MAX_HOPS: u8 = 254;

/// The two policies of a session.
#[derive(Debug, Clone)]
pub(super) struct Policies {
    pub(super) import: Arc<RoutePolicy>,
    pub(super) export: Arc<RoutePolicy>,
}

impl Session<'_> {
    /// The AS we show.
    fn shown(&self, own: Asn) -> Asn {
        self.local_asn().unwrap_or(own)
    }

    /// What the BGPPeer says of this node, where it names an address: of a node at the other end
    /// it says nothing.
    fn local_asn(&self) -> Option<Asn> {
        let spec = self.spec.filter(|_| self.remote.is_none())?;
        asn(spec.local_as_number)
    }

    /// Its BGPFilters, in order.
    pub(super) fn filters(&self) -> &[String] {
        self.spec.map_or(&[], |spec| &spec.filters)
    }

    /// By the AS that the peer is shown.
    pub(super) fn peer_type(&self, own: Asn) -> PeerType {
        if self.asn == self.shown(own) { PeerType::Ibgp } else { PeerType::Ebgp }
    }

    /// The settings of the peer. `hold_time` where the BGPPeer says nothing.
    pub(super) fn config(
        self,
        own: Own<'_>,
        resources: &Resources,
        hold_time: Duration,
        policies: Policies,
        secrets: &mut Secrets<'_>,
    ) -> PeerConfig {
        let internal = self.peer_type(own.asn) == PeerType::Ibgp;
        let local_asn = self.local_asn().filter(|local| *local != own.asn);
        // A workload is on a link of its own, and has what it needs for it.
        let spec = self.spec.filter(|_| self.workload.is_none());
        let ttl_security = spec.and_then(|spec| spec.ttl_security).filter(|hops| *hops > 0);
        let reference = match self.spec {
            Some(_) => spec.and_then(|spec| spec.password.as_ref()),
            None => resources.configuration().and_then(|c| c.spec.node_mesh_password.as_ref()),
        };
        let reference =
            reference.and_then(|password: &BgpPassword| password.secret_key_ref.as_ref());
        let (password, password_error) = match reference.map(|reference| secrets.read(reference)) {
            None => (None, None),
            Some(Ok(secret)) => (secret, None),
            Some(Err(why)) => (None, Some(why)),
        };
        let use_node_ip = self.workload.is_none()
            && spec.and_then(|spec| spec.source_address) != Some(SourceAddress::None);
        let family = match self.address.is_ipv4() {
            true => Family::IPV4_UNICAST,
            false => Family::IPV6_UNICAST,
        };
        let client = own.node.cluster_id.is_some_and(|id| internal && !same_cluster(&self, id));
        let loops = spec.filter(|_| self.remote.is_none()); // nor of a workload
        let loops = loops.and_then(|spec| spec.num_allowed_local_as_numbers).unwrap_or(0);
        PeerConfig {
            group: None,
            address: PeerAddress::Address { address: self.address, interface: None },
            port: self.port,
            asn: PeerAsn::OneOf(vec![self.asn]),
            local_asn,
            local_asn_mode: match local_asn {
                Some(_) => LocalAsnMode::Replace,
                None => LocalAsnMode::Prepend,
            },
            local_address: own.node.address_like(self.address).filter(|_| use_node_ip),
            passive: self.passive,
            families: Some([family].into_iter().collect()),
            import: Some(policies.import),
            export: Some(policies.export),
            hold_time: spec.and_then(asked_hold_time).unwrap_or(hold_time),
            connect_retry: CONNECT_RETRY,
            multihop: (!internal && ttl_security.is_none()).then_some(TTL),
            ttl_security: ttl_security.map(|hops| hops.min(MAX_HOPS)),
            min_hold_time: Duration::from_secs(3),
            enforce_first_as: false,
            reject_as_set: false,
            password,
            password_error,
            route_reflector_client: client,
            route_server_client: false,
            next_hop: next_hop(self.spec, internal),
            max_prefixes: None,
            add_path: AddPathConfig { receive: true, send: PATHS },
            graceful_restart: Some(self.graceful_restart(resources)),
            extended_messages: true,
            extended_next_hop: false,
            allow_own_asn: u8::try_from(loops).unwrap_or(u8::MAX),
            remove_private_asn: RemovePrivate::No,
            as_override: false,
            enabled: true,
            description: self.description(),
            name: self.name,
        }
    }

    /// As the cluster's users know it, every session has it.
    fn graceful_restart(&self, resources: &Resources) -> GracefulRestart {
        let asked = match self.spec {
            Some(_) if self.workload.is_some() => None,
            Some(spec) => spec.max_restart_time.as_ref(),
            None => {
                resources.configuration().and_then(|c| c.spec.node_mesh_max_restart_time.as_ref())
            }
        };
        let restart_time = asked.map_or(RESTART_TIME, |asked| {
            Duration::from_secs(asked.rounded_secs().min(MAX_RESTART_TIME.into()))
        });
        GracefulRestart { restart_time }
    }

    fn description(&self) -> String {
        let node = match (self.remote, self.workload) {
            (Some((node, _)), _) => format!(", node {node}"),
            (None, Some((workload, _))) => format!(", workload {}", workload.name),
            (None, None) => String::new(),
        };
        match self.by {
            By::Mesh => format!("mesh{node}"),
            By::Peer(name) | By::File(name) => format!("BGPPeer {name}{node}"),
            By::Reverse(name) => format!("BGPPeer {name} of the other side{node}"),
        }
    }

    /// What of the BGPPeer cannot be done yet.
    pub(super) fn remarks(&self, out: &mut Vec<Remark>) {
        let (Some(spec), By::Peer(name)) = (self.spec, self.by) else { return };
        let mut remark = |text: String| {
            out.push(Remark { subject: format!("BGPPeer {name}"), text });
        };
        if let Some(gateway) = spec.reachable_by
            && self.gateway().is_none()
        {
            remark(format!("reachableBy is not in force: {gateway} is no gateway to a peer"));
        }
        if self.workload.is_some() {
            let idle = [
                ("password", spec.password.is_some()),
                ("sourceAddress", spec.source_address == Some(SourceAddress::None)),
                ("maxRestartTime", spec.max_restart_time.is_some()),
                ("keepaliveTime", spec.keepalive_time.is_some()),
                ("ttlSecurity", spec.ttl_security.is_some_and(|hops| hops > 0)),
                (
                    "numAllowedLocalASNumbers",
                    spec.num_allowed_local_as_numbers.is_some_and(|number| number > 0),
                ),
            ];
            for (key, _) in idle.iter().filter(|(_, is_set)| *is_set) {
                remark(format!("{key} is not for workloads: their sessions go without it"));
            }
        }
    }

    /// The gateway to the peer, where the BGPPeer of this side names one that can be.
    pub(super) fn gateway(&self) -> Option<IpAddr> {
        let (Some(spec), By::Peer(_)) = (self.spec, self.by) else { return None };
        let gateway = spec.reachable_by.filter(|gateway| *gateway != self.address)?;
        let without_link = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let is_one = !without_link && !gateway.is_unspecified() && !gateway.is_multicast();
        (is_one && gateway.is_ipv4() == self.address.is_ipv4()).then_some(gateway)
    }

    /// Whether the other side is told next hops as they were learned, whatever they are.
    pub(super) fn keeps_next_hops(&self) -> bool {
        self.spec.and_then(|spec| spec.next_hop_mode) == Some(Mode::Keep)
    }
}

/// Three keep-alives.
fn asked_hold_time(spec: &BgpPeerSpec) -> Option<Duration> {
    let keepalive = spec.keepalive_time.as_ref()?.rounded_secs();
    let seconds = keepalive.checked_mul(3).unwrap_or(MAX_HOLD_TIME).min(MAX_HOLD_TIME);
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

fn next_hop(spec: Option<&BgpPeerSpec>, internal: bool) -> NextHopMode {
    let keep = spec.and_then(|spec| spec.keep_original_next_hop) == Some(true);
    match spec.and_then(|spec| spec.next_hop_mode) {
        Some(Mode::OwnAddress) => NextHopMode::SelfAddress,
        Some(Mode::Keep) => NextHopMode::Unchanged,
        None if keep && !internal => NextHopMode::Unchanged,
        Some(Mode::Auto) | None if internal => NextHopMode::Auto,
        // What is told to the outside leads to this node, also where another node is on the same
        // network: the cluster's users know it so, and filter by it.
        Some(Mode::Auto) | None => NextHopMode::SelfAddress,
    }
}
