//! Peers as rows and in detail.

use bgp_core::{
    config::{NextHopMode, PeerAddress, PeerAsn, default_families},
    fsm::{ErrorDirection, Negotiated},
};
use bgp_packet::{AddPathMode, Capability, Family, FamilySet, SessionKind};
use bgp_speaker::{MessageKind, Peer, PeerStatus};
use margay_fib::Link;
use margay_proto::v1;

use super::{convert, routing::seconds};

/// A row of the list.
pub(super) fn row(peer: &Peer, links: &[Link]) -> v1::Peer {
    let status = &peer.status;
    let config = &status.config;
    let configured = match config.asn {
        PeerAsn::OneOf(ref asns) => match asns.as_slice() {
            [asn] => Some(*asn),
            _ => None,
        },
        _ => None,
    };
    let negotiated = status.negotiated.as_deref();
    v1::Peer {
        name: config.name.clone(),
        address: status.address.map(|address| convert::address(address, links)),
        asn: configured.or(negotiated.map(|n| n.peer_asn)).map(|asn| asn.0),
        local_asn: negotiated.map_or(status.local_asn, |n| n.local_asn).0,
        state: convert::state(status.state).into(),
        admin_state: convert::admin(status.admin).into(),
        uptime_seconds: status.uptime.map(seconds),
        flaps: status.flaps,
        last_error: last_error(status),
        families: Family::SUPPORTED
            .into_iter()
            .zip(peer.routes)
            .filter(|(family, _)| families(status).contains(*family))
            .map(|(family, counts)| v1::PeerFamily {
                family: convert::family(family).into(),
                received: counts.received,
                accepted: counts.accepted,
                advertised: counts.advertised,
            })
            .collect(),
        capabilities: negotiated.map(agreed).unwrap_or_default(),
        template: status.template.clone(),
        group: config.group.clone(),
        description: config.description.clone(),
        interface: match &config.address {
            PeerAddress::Address { interface, .. } => interface.clone(),
            PeerAddress::Interface(interface) => Some(interface.clone()),
            PeerAddress::Dynamic { .. } => None,
        },
        router_id: negotiated.map(|n| n.peer_router_id.to_string()),
    }
}

/// Everything known about a peer.
pub(super) fn detail(peer: &Peer, links: &[Link]) -> v1::GetPeerResponse {
    let status = &peer.status;
    let (config, negotiated) = (&status.config, status.negotiated.as_deref());
    let transport = status.transport;
    let counters = &status.counters;
    let messages = |pick: fn((u64, u64)) -> u64, octets| {
        let of = |kind| pick(counters.messages(kind));
        v1::MessageCounts {
            open: of(MessageKind::Open),
            update: of(MessageKind::Update),
            notification: of(MessageKind::Notification),
            keepalive: of(MessageKind::KeepAlive),
            route_refresh: of(MessageKind::RouteRefresh),
            octets,
        }
    };
    let (discarded, withdrawn) = counters.faults_by_handling();
    v1::GetPeerResponse {
        peer: Some(row(peer, links)),
        timers: Some(v1::PeerTimers {
            configured_hold_time_seconds: seconds(config.hold_time),
            hold_time_seconds: negotiated.map(|n| seconds(n.hold_time)),
            keepalive_interval_seconds: negotiated.map(|n| seconds(n.keepalive_interval)),
            hold_remaining_seconds: status.timers.hold.map(seconds),
            keepalive_remaining_seconds: status.timers.keepalive.map(seconds),
            connect_retry_seconds: seconds(config.connect_retry),
            connect_remaining_seconds: status.timers.connect.map(seconds),
            last_received_seconds: status.last_received.map(seconds),
            last_update_seconds: status.last_update.map(seconds),
        }),
        transport: Some(v1::PeerTransport {
            local_address: transport.map(|t| convert::address(t.local, links)),
            local_port: transport.map(|t| u32::from(t.local.port())),
            remote_address: transport.map(|t| convert::address(t.remote, links)),
            remote_port: transport.map(|t| u32::from(t.remote.port())),
            incoming: transport.map(|t| t.incoming),
            passive: config.passive,
            authentication: if config.password.is_some() { "md5" } else { "none" }.to_owned(),
            multihop: config.multihop.map(u32::from),
            ttl_security: config.ttl_security.map(u32::from),
        }),
        negotiated: negotiated.map(|n| detail_negotiated(n, status)),
        messages: Some(v1::PeerMessages {
            received: Some(messages(|(received, _)| received, counters.octets_received())),
            sent: Some(messages(|(_, sent)| sent, counters.octets_sent())),
            attributes_discarded: discarded,
            treated_as_withdraw: withdrawn,
        }),
        settings: Some(v1::PeerSettings {
            import_policy: config.import.as_ref().map(|policy| policy.name().to_owned()),
            export_policy: config.export.as_ref().map(|policy| policy.name().to_owned()),
            route_reflector_client: config.route_reflector_client,
            route_server_client: config.route_server_client,
            next_hop: match config.next_hop {
                NextHopMode::Auto => "auto",
                NextHopMode::SelfAddress => "self",
                NextHopMode::Unchanged => "unchanged",
            }
            .to_owned(),
            max_prefixes: config.max_prefixes.map(|limits| u64::from(limits.limit)),
        }),
    }
}

fn last_error(status: &PeerStatus) -> Option<v1::SessionError> {
    let (error, age) = status.last_error.as_ref()?;
    let direction = match error.direction {
        ErrorDirection::Sent => v1::ErrorDirection::Sent,
        ErrorDirection::Received => v1::ErrorDirection::Received,
        ErrorDirection::Local => v1::ErrorDirection::Local,
    };
    let on_wire = direction != v1::ErrorDirection::Local;
    Some(v1::SessionError {
        direction: direction.into(),
        code: on_wire.then_some(u32::from(error.code)),
        subcode: on_wire.then_some(u32::from(error.subcode)),
        text: error.text.clone(),
        at: convert::ago(*age),
    })
}

/// The families agreed on, else those configured.
fn families(status: &PeerStatus) -> FamilySet {
    let remote = status.address.map(|address| address.ip());
    match (&status.negotiated, status.config.families) {
        (Some(negotiated), _) => negotiated.families,
        (None, Some(families)) => families,
        (None, None) => match (remote, &status.config.address) {
            (Some(remote), _) => default_families(remote),
            // An unnumbered one is an IPv6 session.
            (None, _) => Family::SUPPORTED.into_iter().collect(),
        },
    }
}

fn detail_negotiated(negotiated: &Negotiated, status: &PeerStatus) -> v1::PeerNegotiated {
    let length = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    v1::PeerNegotiated {
        kind: match negotiated.kind {
            SessionKind::External => "external",
            SessionKind::Internal => "internal",
            SessionKind::ConfedExternal => "confederation",
        }
        .to_owned(),
        families: convert::families(negotiated.families.iter()),
        four_octet_asn: negotiated.four_octet_asn,
        max_send_length: length(negotiated.max_send_len),
        max_receive_length: length(negotiated.max_receive_len),
        add_path_receive: convert::families(negotiated.add_path_receive.iter()),
        add_path_send: convert::families(negotiated.add_path_send.iter()),
        extended_next_hop: convert::families(negotiated.extended_next_hop.iter()),
        route_refresh: negotiated.route_refresh,
        enhanced_route_refresh: negotiated.enhanced_refresh,
        capabilities_sent: announced(&negotiated.sent.capabilities),
        capabilities_received: announced(&negotiated.received.capabilities),
        end_of_rib_received: convert::families(status.end_of_rib.iter()),
    }
}

/// Capabilities in force both ways, by name.
fn agreed(negotiated: &Negotiated) -> Vec<String> {
    let mut names: Vec<String> =
        negotiated.families.iter().map(|f| format!("multiprotocol:{f}")).collect();
    let ours = announced(&negotiated.sent.capabilities);
    let theirs = announced(&negotiated.received.capabilities);
    let plain = |name: &&String| {
        !["multiprotocol:", "add-path-", "extended-next-hop:", "role:", "unknown:"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    names.extend(ours.iter().filter(plain).filter(|name| theirs.contains(name)).cloned());
    let sets = [
        ("add-path-receive", negotiated.add_path_receive),
        ("add-path-send", negotiated.add_path_send),
        ("extended-next-hop", negotiated.extended_next_hop),
    ];
    for (name, families) in sets {
        names.extend(families.iter().map(|family| format!("{name}:{family}")));
    }
    names.sort();
    names.dedup();
    names
}

/// What one side announced, by name, as seen from that side.
fn announced(capabilities: &[Capability]) -> Vec<String> {
    let mut names: Vec<String> = capabilities.iter().flat_map(names).collect();
    names.sort();
    names.dedup();
    names
}

fn names(capability: &Capability) -> Vec<String> {
    let one = |name: &str| vec![name.to_owned()];
    match capability {
        Capability::Multiprotocol(family) => vec![format!("multiprotocol:{family}")],
        Capability::RouteRefresh => one("route-refresh"),
        Capability::ExtendedNextHop(entries) => {
            entries.iter().map(|(family, _)| format!("extended-next-hop:{family}")).collect()
        }
        Capability::ExtendedMessage => one("extended-messages"),
        Capability::Role(role) => {
            let name = match role {
                0 => "provider",
                1 => "route-server",
                2 => "route-server-client",
                3 => "customer",
                4 => "peer",
                _ => return vec![format!("role:{role}")],
            };
            vec![format!("role:{name}")]
        }
        Capability::GracefulRestart { .. } => one("graceful-restart"),
        Capability::FourOctetAsn(_) => one("four-octet-asn"),
        Capability::AddPath(entries) => entries
            .iter()
            .flat_map(|(family, mode)| {
                let receive = matches!(mode, AddPathMode::Receive | AddPathMode::Both);
                let send = matches!(mode, AddPathMode::Send | AddPathMode::Both);
                let receive = receive.then(|| format!("add-path-receive:{family}"));
                receive.into_iter().chain(send.then(|| format!("add-path-send:{family}")))
            })
            .collect(),
        Capability::EnhancedRouteRefresh => one("enhanced-route-refresh"),
        Capability::LongLivedGracefulRestart(_) => one("long-lived-graceful-restart"),
        Capability::Fqdn { .. } => one("fqdn"),
        Capability::Unknown { code, .. } => vec![format!("unknown:{code}")],
    }
}
