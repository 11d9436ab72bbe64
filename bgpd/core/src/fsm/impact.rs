//! What a change of configuration does to a running session: the reload diff asks here.

use crate::config::{GlobalConfig, MaxPrefixAction, PeerConfig};

/// Consequence of a change, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Impact {
    /// Nothing changed.
    None,
    /// Taken over by a running session ([`super::Input::Reconfigure`]) and the RIB as it is.
    Live,
    /// The session stays; routes are evaluated again both ways. Where `enforce-first-as` or
    /// `as-set` changed, what the peer sent must be decoded again under a new `UpdateContext`, so it
    /// is asked for a route refresh.
    Soft,
    /// The session must start again ([`super::StopReason::ConfigChange`]).
    Reset,
}

/// What changing one peer's settings means for its session: the strongest consequence of any field.
pub fn change_impact(old: &PeerConfig, new: &PeerConfig) -> Impact {
    // Taken apart, so that a new setting cannot be forgotten here.
    let PeerConfig {
        name,
        group,
        address,
        port,
        asn,
        local_asn,
        local_asn_mode,
        local_address,
        passive,
        families,
        import,
        export,
        hold_time,
        connect_retry,
        multihop,
        ttl_security,
        min_hold_time,
        enforce_first_as,
        reject_as_set,
        password,
        password_error,
        route_reflector_client,
        route_server_client,
        next_hop,
        max_prefixes,
        add_path,
        graceful_restart,
        extended_messages,
        extended_next_hop,
        allow_own_asn,
        remove_private_asn,
        as_override,
        enabled,
        description,
    } = new;
    // Dropped prefixes are not kept, so leaving `discard` needs them again.
    let discards = [&old.max_prefixes, max_prefixes]
        .into_iter()
        .flatten()
        .any(|limit| limit.action == MaxPrefixAction::Discard);
    let offers_add_path =
        (old.add_path.receive, old.add_path.send > 0) != (add_path.receive, add_path.send > 0);
    let changes = [
        (old.name != *name, Impact::Reset),
        (old.group != *group, Impact::Live),
        (old.address != *address, Impact::Reset),
        (old.port != *port, Impact::Reset),
        (old.asn != *asn, Impact::Reset),
        (old.local_asn != *local_asn, Impact::Reset),
        (old.local_asn_mode != *local_asn_mode, Impact::Soft),
        (old.local_address != *local_address, Impact::Reset),
        (old.passive != *passive, Impact::Live),
        (old.families != *families, Impact::Reset),
        (old.import != *import, Impact::Soft),
        (old.export != *export, Impact::Soft),
        (old.hold_time != *hold_time, Impact::Reset),
        (old.connect_retry != *connect_retry, Impact::Live),
        (old.multihop != *multihop, Impact::Reset),
        (old.ttl_security != *ttl_security, Impact::Reset),
        (old.min_hold_time != *min_hold_time, Impact::Live),
        (old.enforce_first_as != *enforce_first_as, Impact::Soft),
        (old.reject_as_set != *reject_as_set, Impact::Soft),
        (old.password != *password, Impact::Reset),
        (old.password_error != *password_error, Impact::Reset),
        (old.route_reflector_client != *route_reflector_client, Impact::Soft),
        (old.route_server_client != *route_server_client, Impact::Soft),
        (old.next_hop != *next_hop, Impact::Soft),
        (old.max_prefixes != *max_prefixes, if discards { Impact::Soft } else { Impact::Live }),
        (old.add_path != *add_path, if offers_add_path { Impact::Reset } else { Impact::Soft }),
        (old.graceful_restart != *graceful_restart, Impact::Reset),
        (old.extended_messages != *extended_messages, Impact::Reset),
        (old.extended_next_hop != *extended_next_hop, Impact::Reset),
        (old.allow_own_asn != *allow_own_asn, Impact::Soft),
        (old.remove_private_asn != *remove_private_asn, Impact::Soft),
        (old.as_override != *as_override, Impact::Soft),
        (old.enabled != *enabled, Impact::Reset),
        (old.description != *description, Impact::Live),
    ];
    strongest(&changes)
}

/// What changing the speaker's own settings means for every session.
pub fn global_change_impact(old: &GlobalConfig, new: &GlobalConfig) -> Impact {
    strongest(&global_changes(old, new).map(|(changed, impact, _)| (changed, impact)))
}

/// Whether a change of the speaker's own settings is anything to its sessions, or to the shards: what
/// it originates and redistributes reaches them as routes, not as settings.
pub fn global_change_concerns_peers(old: &GlobalConfig, new: &GlobalConfig) -> bool {
    global_changes(old, new).iter().any(|(changed, _, to)| *changed && *to == To::Everybody)
}

/// Whom a setting is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    /// Sessions and shards.
    Everybody,
    /// The source of our own routes.
    Originator,
}

/// Each setting: whether it changed, what that means for sessions, and whom it is for.
fn global_changes(old: &GlobalConfig, new: &GlobalConfig) -> [(bool, Impact, To); 12] {
    // Taken apart, so that a new setting cannot be forgotten here.
    let GlobalConfig {
        asn,
        router_id,
        listen,
        cluster_id,
        confederation,
        multipath_ebgp,
        multipath_ibgp,
        multipath_relax,
        require_policy,
        decision,
        originate,
        redistribute,
    } = new;
    [
        (old.asn != *asn, Impact::Reset, To::Everybody),
        (old.router_id != *router_id, Impact::Reset, To::Everybody),
        (old.listen != *listen, Impact::Live, To::Everybody),
        (old.cluster_id != *cluster_id, Impact::Soft, To::Everybody),
        (old.confederation != *confederation, Impact::Reset, To::Everybody),
        (old.multipath_ebgp != *multipath_ebgp, Impact::Soft, To::Everybody),
        (old.multipath_ibgp != *multipath_ibgp, Impact::Soft, To::Everybody),
        (old.multipath_relax != *multipath_relax, Impact::Soft, To::Everybody),
        (old.require_policy != *require_policy, Impact::Soft, To::Everybody),
        (old.decision != *decision, Impact::Soft, To::Everybody),
        (old.originate != *originate, Impact::Live, To::Originator),
        (old.redistribute != *redistribute, Impact::Live, To::Originator),
    ]
}

fn strongest(changes: &[(bool, Impact)]) -> Impact {
    changes
        .iter()
        .filter(|(changed, _)| *changed)
        .map(|(_, impact)| *impact)
        .max()
        .unwrap_or(Impact::None)
}
