//! Our types as those of the interface.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bgp_core::{
    fsm::State,
    policy::RouteSource,
    rib::{Reason, RouteRow},
};
use bgp_packet::{AsPath, AsSegment, Family, Origin};
use bgp_speaker::AdminState;
use ipnet::IpNet;
use margay_fib::Link;
use margay_proto::v1;

/// A count; nothing here has more than 64 bits.
pub(super) fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

pub(super) fn family(family: Family) -> v1::Family {
    match family {
        Family::IPV4_UNICAST => v1::Family::Ipv4Unicast,
        Family::IPV6_UNICAST => v1::Family::Ipv6Unicast,
        _ => v1::Family::Unspecified,
    }
}

pub(super) fn family_of(prefix: IpNet) -> v1::Family {
    match prefix {
        IpNet::V4(_) => v1::Family::Ipv4Unicast,
        IpNet::V6(_) => v1::Family::Ipv6Unicast,
    }
}

/// As a list of the interface holds them.
pub(super) fn families(families: impl Iterator<Item = Family>) -> Vec<i32> {
    families.map(|f| family(f).into()).collect()
}

pub(super) fn state(state: State) -> v1::SessionState {
    match state {
        State::Idle => v1::SessionState::Idle,
        State::Connect => v1::SessionState::Connect,
        State::Active => v1::SessionState::Active,
        State::OpenSent => v1::SessionState::OpenSent,
        State::OpenConfirm => v1::SessionState::OpenConfirm,
        State::Established => v1::SessionState::Established,
    }
}

pub(super) fn admin(admin: AdminState) -> v1::AdminState {
    match admin {
        AdminState::Up => v1::AdminState::Up,
        AdminState::Down => v1::AdminState::Down,
    }
}

pub(super) fn source(source: RouteSource) -> v1::RouteSource {
    match source {
        RouteSource::Bgp => v1::RouteSource::Bgp,
        RouteSource::Originate => v1::RouteSource::Originate,
        RouteSource::Connected => v1::RouteSource::Connected,
        RouteSource::Static => v1::RouteSource::Static,
        RouteSource::Kernel => v1::RouteSource::Kernel,
    }
}

pub(super) fn reason(reason: Reason) -> v1::Reason {
    match reason {
        Reason::OnlyPath => v1::Reason::OnlyPath,
        Reason::Weight => v1::Reason::Weight,
        Reason::LocalPref => v1::Reason::LocalPref,
        Reason::LocalRoute => v1::Reason::LocalRoute,
        Reason::AsPathLength => v1::Reason::AsPathLength,
        Reason::Origin => v1::Reason::Origin,
        Reason::Med => v1::Reason::Med,
        Reason::PeerType => v1::Reason::PeerType,
        Reason::IgpMetric => v1::Reason::IgpMetric,
        Reason::Older => v1::Reason::Older,
        Reason::RouterId => v1::Reason::RouterId,
        Reason::ClusterList => v1::Reason::ClusterList,
        Reason::PeerAddress => v1::Reason::PeerAddress,
        Reason::PathId => v1::Reason::PathId,
        Reason::Stale => v1::Reason::Stale,
        Reason::NextHopUnreachable => v1::Reason::NextHopUnreachable,
        Reason::Policy => v1::Reason::Policy,
        Reason::AsLoop => v1::Reason::AsLoop,
        Reason::OriginatorLoop => v1::Reason::OriginatorLoop,
    }
}

/// An address of a peer, `%interface` behind a link-local one.
pub(super) fn address(address: SocketAddr, links: &[Link]) -> String {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => {
            let link = links.iter().find(|link| link.index == v6.scope_id());
            let interface = link.map_or_else(|| v6.scope_id().to_string(), |l| l.name.clone());
            format!("{}%{interface}", v6.ip())
        }
        other => other.ip().to_string(),
    }
}

/// Seconds since the epoch of a moment so long ago.
pub(super) fn ago(age: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(age).as_secs()
}

fn as_path(path: &AsPath) -> Vec<v1::AsSegment> {
    let mut out: Vec<v1::AsSegment> = Vec::new();
    for segment in &path.0 {
        let kind = match segment {
            AsSegment::Sequence(_) => v1::AsSegmentKind::Sequence,
            AsSegment::Set(_) => v1::AsSegmentKind::Set,
            AsSegment::ConfedSequence(_) => v1::AsSegmentKind::ConfedSequence,
            AsSegment::ConfedSet(_) => v1::AsSegmentKind::ConfedSet,
        };
        let asns = segment.asns().iter().map(|asn| asn.0);
        match out.last_mut() {
            // A long sequence is cut on the wire only.
            Some(last) if kind == v1::AsSegmentKind::Sequence && last.kind() == kind => {
                last.asns.extend(asns);
            }
            _ => out.push(v1::AsSegment { kind: kind.into(), asns: asns.collect() }),
        }
    }
    out
}

/// A row; `now` is the clock of `since`.
pub(super) fn route(row: &RouteRow, now: u32, took_part: bool) -> v1::Route {
    let attributes = row.attributes.decode();
    let own = attributes.next_hop.address.is_unspecified();
    v1::Route {
        prefix: row.prefix.to_string(),
        family: family(row.family).into(),
        best: row.best,
        peer: row.peer_name.as_ref().map(|name| name.to_string()),
        path_id: row.path_id,
        next_hop: (!own).then(|| attributes.next_hop.address.to_string()),
        next_hop_link_local: attributes.next_hop.link_local.map(|address| address.to_string()),
        as_path: as_path(&attributes.as_path),
        origin: match attributes.origin {
            Origin::Igp => v1::Origin::Igp,
            Origin::Egp => v1::Origin::Egp,
            Origin::Incomplete => v1::Origin::Incomplete,
        }
        .into(),
        med: attributes.med,
        local_pref: attributes.local_pref,
        communities: attributes.communities.iter().map(|community| community.0).collect(),
        large_communities: attributes
            .large_communities
            .iter()
            .map(|large| v1::LargeCommunity { global: large.0, local1: large.1, local2: large.2 })
            .collect(),
        ext_communities: attributes
            .ext_communities
            .iter()
            .map(|octets| u64::from_be_bytes(*octets))
            .collect(),
        aggregator: attributes.aggregator.map(|aggregator| v1::Aggregator {
            asn: aggregator.asn.0,
            address: aggregator.address.to_string(),
        }),
        atomic_aggregate: attributes.atomic_aggregate,
        originator_id: attributes.originator_id.map(|id| id.to_string()),
        cluster_list: attributes.cluster_list.iter().map(ToString::to_string).collect(),
        stale: row.stale,
        rpki: None,
        installed: row.installed,
        age_seconds: u64::from(now.saturating_sub(row.since)),
        reason: took_part.then(|| reason(row.reason).into()),
        multipath: row.multipath,
        weight: row.local.weight,
        source: source(row.source).into(),
        only_to_customer: attributes.only_to_customer.map(|asn| asn.0),
        unknown_attributes: attributes
            .unknown
            .iter()
            .map(|raw| v1::UnknownAttribute {
                code: u32::from(raw.code),
                flags: u32::from(raw.flags),
                value: raw.value.clone(),
            })
            .collect(),
    }
}
