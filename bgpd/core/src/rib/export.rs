//! What a peer is sent of a route: who may have it, export policy, and the rewriting of attributes
//! (RFC 4271 §5, RFC 4456, RFC 5065, RFC 7947, RFC 8950).

use std::net::{IpAddr, Ipv6Addr};

use bgp_packet::{AsPath, Family, NextHop, PathAttributes, SessionKind};
use ipnet::IpNet;

use super::{
    attrs::WellKnown,
    core::Core,
    decision::DEFAULT_LOCAL_PREF,
    group::GroupKey,
    query::NotSent,
    session::{Origin, source_of},
    table::{MED_SET, Path},
};
use crate::{
    config::{LocalAsnMode, NextHopMode, RemovePrivate},
    policy::{Chosen, RoutePolicy, RouteView, RuleHit, Verdict},
};

/// Whether a route may go to a group at all, before any policy.
pub(crate) fn allowed(core: &Core, key: &GroupKey, path: &Path) -> Result<(), NotSent> {
    if key.refuses {
        return Err(NotSent::NoPolicy);
    }
    let external = key.kind == SessionKind::External;
    let origin = core.sessions.get(path.session).seen.origin;
    let internal = matches!(origin, Origin::Internal | Origin::Client);
    if key.kind == SessionKind::Internal && internal && origin != Origin::Client && !key.client {
        return Err(NotSent::Reflection);
    }
    let known = core.sets.attrs(path.attrs).header().well_known;
    let stopped = known.has(WellKnown::NO_ADVERTISE)
        || (known.has(WellKnown::NO_EXPORT) && external)
        || (known.has(WellKnown::NO_EXPORT_SUBCONFED) && key.kind != SessionKind::Internal);
    if stopped { Err(NotSent::Community) } else { Ok(()) }
}

/// The export policy's view of a route.
fn view<'a>(
    core: &'a Core,
    key: &GroupKey,
    policy: &RoutePolicy,
    path: &Path,
    attributes: &'a PathAttributes,
    prefix: IpNet,
) -> RouteView<'a> {
    let peer = core.sessions.peer(path.session);
    RouteView {
        prefix,
        attributes,
        local: core.sets.extra(path.attrs).local,
        source: source_of(path.session),
        peer: peer.map(|peer| &*peer.name),
        peer_asn: peer.map(|peer| peer.negotiated.peer_asn),
        interface: core.interface(policy, path, prefix),
        local_address: own_next_hop(key, family_of(prefix)).map(|next_hop| next_hop.address),
        local_asn: key.local_asn,
        router_id: core.config.global.router_id,
    }
}

/// The family a prefix belongs to.
pub(crate) fn family_of(prefix: IpNet) -> Family {
    match prefix {
        IpNet::V4(_) => Family::IPV4_UNICAST,
        IpNet::V6(_) => Family::IPV6_UNICAST,
    }
}

/// What export policy makes of a route.
#[derive(Debug, Default)]
pub(crate) struct ByPolicy {
    /// The attributes where it changed any.
    pub attributes: Option<Box<PathAttributes>>,
    /// What it set.
    pub chosen: Chosen,
}

impl ByPolicy {
    /// Whether the route is sent as without a policy.
    pub fn is_nothing(&self) -> bool {
        self.attributes.is_none() && self.chosen == Chosen::default()
    }
}

/// The attributes of a path as export policy finds them: towards another AS without what must not
/// be seen there. What policy prepends is not looked at any more.
pub(crate) fn stored(core: &Core, key: &GroupKey, path: &Path) -> PathAttributes {
    let mut attributes = core.sets.attrs(path.attrs).decode();
    if key.kind == SessionKind::External && !key.route_server {
        clean_path(key, &mut attributes.as_path);
    }
    attributes
}

/// The route after export policy. `attributes` are as by `stored`.
pub(crate) fn policy(
    core: &Core,
    key: &GroupKey,
    path: &Path,
    attributes: &PathAttributes,
    prefix: IpNet,
) -> Result<ByPolicy, NotSent> {
    match &key.export {
        None => Ok(ByPolicy::default()),
        Some(policy) => match policy.evaluate(&view(core, key, policy, path, attributes, prefix)) {
            Verdict::Accept { attributes, chosen, .. } => Ok(ByPolicy { attributes, chosen }),
            Verdict::Reject => Err(NotSent::Policy),
        },
    }
}

/// Likewise, rule by rule.
pub(crate) fn explain_policy(
    core: &Core,
    key: &GroupKey,
    path: &Path,
    prefix: IpNet,
) -> Option<(String, Vec<RuleHit>)> {
    let policy = key.export.as_deref()?;
    let attributes = stored(core, key, path);
    let (_, hits) = policy.explain(&view(core, key, policy, path, &attributes, prefix));
    Some((policy.name().to_owned(), hits))
}

/// The attributes as sent. `stored` are those of the path, `by_policy` what policy made of them.
pub(crate) fn rewrite(
    core: &Core,
    key: &GroupKey,
    family: Family,
    path: &Path,
    stored: &PathAttributes,
    by_policy: ByPolicy,
) -> Result<PathAttributes, NotSent> {
    let ByPolicy { attributes, chosen } = by_policy;
    let mut sent = attributes.map_or_else(|| stored.clone(), |attributes| *attributes);
    let med_set = path.flags.any(MED_SET) || chosen.med;
    let source = core.sessions.get(path.session);
    let origin = source.seen.origin;

    sent.next_hop = next_hop(key, family, sent.next_hop, chosen.next_hop)?;
    match key.kind {
        SessionKind::External => {
            if !key.route_server {
                prepend_ours(core, key, &mut sent.as_path);
                if !med_set && origin != Origin::Local {
                    sent.med = None;
                }
            }
            sent.local_pref = None;
            sent.originator_id = None;
            sent.cluster_list.clear();
            sent.strip_non_transitive();
        }
        SessionKind::ConfedExternal => {
            sent.as_path.prepend_confed(core.config.global.asn);
            sent.local_pref.get_or_insert(DEFAULT_LOCAL_PREF);
            sent.originator_id = None;
            sent.cluster_list.clear();
        }
        SessionKind::Internal => {
            sent.local_pref.get_or_insert(DEFAULT_LOCAL_PREF);
            if matches!(origin, Origin::Internal | Origin::Client) {
                sent.originator_id.get_or_insert(source.seen.router_id.into());
                sent.cluster_list.insert(0, key.cluster_id);
            }
        }
    }
    Ok(sent)
}

/// What another AS does not see of a path: confederation segments, private numbers.
fn clean_path(key: &GroupKey, path: &mut AsPath) {
    path.strip_confed();
    // The peer's own number stays, so that it can tell a loop.
    let private = |asn: bgp_packet::Asn| asn.is_private() && Some(asn) != key.peer_asn;
    match key.remove_private {
        RemovePrivate::No => {}
        RemovePrivate::WhollyPrivate => {
            if path.is_wholly_private() {
                path.retain(|asn| !private(asn));
            }
        }
        RemovePrivate::All => path.retain(|asn| !private(asn)),
        RemovePrivate::Replace => {
            path.map(|asn| if private(asn) { key.local_asn } else { asn });
        }
    }
    if key.as_override
        && let Some(peer) = key.peer_asn
    {
        path.map(|asn| if asn == peer { key.local_asn } else { asn });
    }
}

/// Towards another AS ours is in front.
fn prepend_ours(core: &Core, key: &GroupKey, path: &mut AsPath) {
    match key.shown {
        Some((shown, LocalAsnMode::Prepend | LocalAsnMode::NoPrepend)) => {
            let global = &core.config.global;
            let real = global.confederation.as_ref().map_or(global.asn, |c| c.id);
            if real != shown {
                path.prepend(real, 1);
            }
            path.prepend(shown, 1);
        }
        Some((shown, LocalAsnMode::Replace)) => path.prepend(shown, 1),
        None => path.prepend(key.local_asn, 1),
    }
}

/// Ourselves as next hop, if we have an address for it.
pub(crate) fn own_next_hop(key: &GroupKey, family: Family) -> Option<NextHop> {
    let own = &key.addresses;
    let v6 = match (own.v6, own.link_local) {
        (Some(global), link_local) => Some(NextHop { address: global.into(), link_local }),
        (None, Some(link_local)) => Some(NextHop::new(link_local)),
        (None, None) => None,
    };
    if family == Family::IPV6_UNICAST {
        return v6;
    }
    let v4 = own.v4.map(NextHop::new);
    let v6 = v6.filter(|_| key.extended_next_hop);
    if key.over_v6 { v6.or(v4) } else { v4.or(v6) }
}

/// The next hop as sent (RFC 4271 §5.1.3, RFC 2545 §3, RFC 8950 §4).
pub(crate) fn next_hop(
    key: &GroupKey,
    family: Family,
    mut received: NextHop,
    set_by_policy: bool,
) -> Result<NextHop, NotSent> {
    let own = || own_next_hop(key, family).ok_or(NotSent::NoNextHop);
    let ours = received.address.is_unspecified();
    let third_party = !set_by_policy && is_third_party(key, received.address);
    let keep = set_by_policy
        || key.route_server
        || match key.next_hop {
            NextHopMode::Auto => key.kind != SessionKind::External || third_party,
            NextHopMode::SelfAddress => false,
            NextHopMode::Unchanged => true,
        };
    let sendable = match (family, received.address) {
        (Family::IPV4_UNICAST, IpAddr::V6(_)) => key.extended_next_hop,
        _ => true,
    };
    // A link-local address means nothing beyond its link.
    let shared_link = key.addresses.link_local.is_some() && key.kind == SessionKind::External;
    // Of a third party it may be from another link than this one.
    if !shared_link || third_party {
        received.link_local = None;
    }
    let scoped = matches!(received.address, IpAddr::V6(address) if is_link_local(address));
    if ours || !keep || !sendable || (scoped && !shared_link) {
        return own();
    }
    Ok(received)
}

/// Whether a next hop is another router on the network we share with the peer, which reaches it
/// without us (RFC 4271 §5.1.3, items 2 and 3). That it may be the peer itself is seen to where the
/// route is sent: it is left out.
fn is_third_party(key: &GroupKey, next_hop: IpAddr) -> bool {
    let own = &key.addresses;
    let is_own = match next_hop {
        IpAddr::V4(address) => own.v4 == Some(address),
        IpAddr::V6(address) => own.v6 == Some(address),
    };
    !is_own && own.subnet.is_some_and(|subnet| subnet.contains(&next_hop))
}

fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

/// What a group is sent of a path: everything from `allowed` to `rewrite`.
pub(crate) fn export(
    core: &Core,
    key: &GroupKey,
    path: &Path,
    prefix: IpNet,
) -> Result<PathAttributes, NotSent> {
    allowed(core, key, path)?;
    let stored = stored(core, key, path);
    let by_policy = policy(core, key, path, &stored, prefix)?;
    rewrite(core, key, family_of(prefix), path, &stored, by_policy)
}
