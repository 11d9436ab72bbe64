//! What must hold between the keys of a peer, and between peers.

use std::collections::BTreeMap;

use bgp_core::config::{PeerAddress, PeerAsn, PeerConfig};
use ipnet::IpNet;

use super::{Context, MIN_HOLD_TIME, default_name, internal};
use crate::{
    reader::{Entry, Section, quoted},
    settings::Settings,
};

/// Reports what does not go together within one peer, group settings applied.
pub(super) fn alone(
    section: &Section<'_>,
    settings: &Settings<'_>,
    address: Option<&PeerAddress>,
    context: &Context<'_, '_>,
) {
    if let (Some(_), Some(ttl)) = (&settings.multihop, &settings.ttl_security) {
        ttl.entry.fault("excludes multihop, allowed: one of the two");
    }
    hold_times(settings, context);
    if let (Some(local), Some(remote)) = (&settings.local_address, address) {
        let remote = match remote {
            PeerAddress::Address { address, .. } => Some(*address),
            PeerAddress::Dynamic { prefix, .. } => Some(prefix.addr()),
            PeerAddress::Interface(_) => None,
        };
        if let Some(remote) = remote
            && remote.is_ipv4() != local.value.is_ipv4()
        {
            let family = if remote.is_ipv4() { "IPv4" } else { "IPv6" };
            local.entry.expected(format_args!("an {family} address, like the peer's"));
        }
    }
    if let Some(mode) = &settings.local_asn_mode
        && settings.local_asn.is_none()
    {
        mode.entry.warn("has no effect without local-asn");
    }
    let kind = settings.asn.as_ref().and_then(|asn| internal(&asn.value, context));
    kinds(settings, kind);
    if context.require_policy && may_be_external(settings, kind, context) {
        if settings.import.is_none() && section.is_absent("import") {
            section.warn("import", "missing: nothing is imported from an eBGP peer (RFC 8212)");
        }
        if settings.export.is_none() && section.is_absent("export") {
            section.warn("export", "missing: nothing is exported to an eBGP peer (RFC 8212)");
        }
    }
}

/// Whether RFC 8212 can concern the peer: other members of our confederation are not meant (§2).
fn may_be_external(
    settings: &Settings<'_>,
    internal: Option<bool>,
    context: &Context<'_, '_>,
) -> bool {
    let Some(asn) = &settings.asn else { return false };
    let members = context.confederation.as_ref().map_or(&[][..], |c| c.members.as_slice());
    let member = matches!(&asn.value, PeerAsn::OneOf(asns) if asns.iter().all(|asn| {
        members.contains(asn)
    }));
    internal != Some(true) && !member
}

fn hold_times(settings: &Settings<'_>, context: &Context<'_, '_>) {
    let hold_time = settings.hold_time.as_ref().map_or(context.hold_time, |at| at.value);
    let least = settings.min_hold_time.as_ref();
    let value = least.map_or(MIN_HOLD_TIME, |at| at.value);
    if !hold_time.is_zero()
        && value > hold_time
        && let Some(least) = least
    {
        least.entry.fault(format_args!(
            "{} is above hold-time, allowed: 3 to {}",
            value.as_secs(),
            hold_time.as_secs()
        ));
    }
}

/// Keys that need an internal or an external peer.
fn kinds(settings: &Settings<'_>, internal: Option<bool>) {
    let on = |at: &Option<crate::reader::At<'_, bool>>| at.as_ref().is_some_and(|at| at.value);
    if let Some(client) = &settings.route_reflector_client
        && client.value
    {
        if internal == Some(false) {
            client.entry.fault("goes with internal peers only, the peer's AS is not ours");
        }
        if on(&settings.route_server_client) {
            client.entry.fault("excludes route-server-client, allowed: one of the two");
        }
    }
    if internal != Some(true) {
        return;
    }
    if let Some(client) = &settings.route_server_client
        && client.value
    {
        client.entry.fault("goes with external peers only, the peer's AS is ours");
    }
    if let Some(local) = &settings.local_asn {
        local.entry.fault("goes with external peers only, the peer's AS is ours");
    }
    if let Some(multihop) = &settings.multihop {
        multihop.entry.warn("has no effect on an internal peer");
    }
    if let Some(as_override) = &settings.as_override
        && as_override.value
    {
        as_override.entry.warn("has no effect on an internal peer");
    }
}

/// Reports peers that cannot be told apart.
pub(super) fn together(peers: &[(PeerConfig, Entry<'_>)]) {
    let mut by_address: BTreeMap<String, &PeerConfig> = BTreeMap::new();
    let mut by_name: BTreeMap<&str, &PeerConfig> = BTreeMap::new();
    let mut dynamic: Vec<(&IpNet, &PeerConfig)> = Vec::new();
    for (peer, entry) in peers {
        let address = default_name(&peer.address);
        if let PeerAddress::Dynamic { prefix, .. } = &peer.address {
            if let Some((other, first)) = dynamic.iter().find(|(other, _)| overlap(other, prefix)) {
                entry.fault(format_args!(
                    "{prefix} overlaps {other} of peer {}, which of the two takes a connection is \
                     open",
                    quoted(&first.name)
                ));
            }
            dynamic.push((prefix, peer));
        } else if let Some(first) = by_address.insert(address, peer) {
            let address = default_name(&peer.address);
            entry.fault(format_args!("{address} is already peer {}", quoted(&first.name)));
            continue;
        }
        if by_name.insert(&peer.name, peer).is_some() {
            entry.fault(format_args!("a second peer named {}", quoted(&peer.name)));
        }
    }
    // Commands take a name or an address.
    for (peer, entry) in peers {
        if let Some(other) = by_address.get(&peer.name)
            && other.address != peer.address
            && other.name != peer.name
        {
            entry.fault(format_args!(
                "the name {} is the address of peer {}",
                quoted(&peer.name),
                quoted(&other.name)
            ));
        }
    }
}

fn overlap(one: &IpNet, two: &IpNet) -> bool {
    one.contains(two) || two.contains(one)
}
