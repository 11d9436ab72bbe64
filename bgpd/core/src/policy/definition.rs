//! A policy as written: what `bgp-desired` reads out of `[policy]` and what is shown again.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use bgp_packet::{Asn, Family, Origin};
use ipnet::IpNet;

use super::{
    AsPathSet, CommunityPattern, CommunitySet, InterfacePattern, PrefixPattern, PrefixSet,
    RouteSource, RuleAction,
};

/// The compiled sets a policy may name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sets {
    /// `[policy.prefix-set.NAME]`.
    pub prefix: BTreeMap<String, Arc<PrefixSet>>,
    /// `[policy.community-set.NAME]`.
    pub community: BTreeMap<String, Arc<CommunitySet>>,
    /// `[policy.as-path-set.NAME]`.
    pub as_path: BTreeMap<String, Arc<AsPathSet>>,
}

/// `[policy.route.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// NAME.
    pub name: String,
    /// What happens to a route that no rule accepted or rejected.
    pub default: Default,
    /// The rules, in order.
    pub rules: Vec<RuleDefinition>,
}

/// `default` of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// The route is taken, with what rules set so far.
    Accept,
    /// The route is dropped.
    Reject,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleDefinition {
    /// For explanations.
    pub name: Option<String>,
    /// All of it must hold.
    pub matches: MatchDefinition,
    /// Done where it holds.
    pub set: SetDefinition,
    /// How it ends.
    pub action: RuleAction,
}

/// `match`: every key present must hold, and a key holds when one value of its list does. Without
/// any key (`any = true`) it always holds. An empty list never does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MatchDefinition {
    /// `prefix`.
    pub prefix: Option<Vec<PrefixPattern>>,
    /// `prefix-set`: names.
    pub prefix_set: Option<Vec<String>>,
    /// `not-prefix`: holds where none of them does. The prefixes of the other family are among
    /// those.
    pub not_prefix: Option<Vec<PrefixPattern>>,
    /// `not-prefix-set`: names; likewise.
    pub not_prefix_set: Option<Vec<String>>,
    /// `family`, of the prefix.
    pub family: Option<Vec<Family>>,
    /// `next-hop`: lies in one of these (an address is its host prefix).
    pub next_hop: Option<Vec<IpNet>>,
    /// `interface`: the one the route leads out by; see [`RouteView::interface`].
    ///
    /// [`RouteView::interface`]: super::RouteView::interface
    pub interface: Option<Vec<InterfacePattern>>,
    /// `peer`: name of the peer it came from; routes of our own have none.
    pub peer: Option<Vec<String>>,
    /// `peer-asn`: of the peer it came from.
    pub peer_asn: Option<Vec<Asn>>,
    /// `origin`.
    pub origin: Option<Vec<Origin>>,
    /// `as-path-set`: names.
    pub as_path_set: Option<Vec<String>>,
    /// `as-path-prefix`: the path begins with these numbers, in this order: the one list that is
    /// a sequence, not a choice. Confederation segments are passed over; an AS_SET is no number.
    pub as_path_prefix: Option<Vec<Asn>>,
    /// `as-path-length`, counted as the decision process does ([`as_path_len`](super::as_path_len)).
    pub as_path_length: Option<Vec<Range>>,
    /// `med`; a route without one does not match.
    pub med: Option<Vec<Range>>,
    /// `local-pref`; a route without one counts as 100.
    pub local_pref: Option<Vec<Range>>,
    /// `community-set`: names.
    pub community_set: Option<Vec<String>>,
    /// `community`: the same for a few, without a set.
    pub community: Option<Vec<CommunityPattern>>,
    /// `source`.
    pub source: Option<Vec<RouteSource>>,
}

/// A number (both ends the same) or `{ ge, le }`; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Lower end.
    pub ge: u32,
    /// Upper end.
    pub le: u32,
}

impl Range {
    /// Whether `value` lies in it.
    pub fn contains(self, value: u32) -> bool {
        self.ge <= value && value <= self.le
    }
}

/// `then.set`, applied in the order of these fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetDefinition {
    /// `local-pref`.
    pub local_pref: Option<u32>,
    /// `med`.
    pub med: Option<u32>,
    /// `origin`.
    pub origin: Option<Origin>,
    /// `next-hop`.
    pub next_hop: Option<NextHopSetting>,
    /// `prepend`: so that they stand in front of the path in this order.
    pub prepend: Vec<Prepend>,
    /// `communities`: these instead of all plain, large and extended ones (RFC 8642 §3: well-known
    /// ones are no exception). IPv6-specific extended ones (RFC 5701) stay.
    pub communities: Option<Vec<CommunityItem>>,
    /// `remove-communities`.
    pub remove_communities: Vec<CommunityItem>,
    /// `add-communities`: those not there yet, at the end.
    pub add_communities: Vec<CommunityItem>,
    /// `weight`.
    pub weight: Option<u32>,
    /// `metric`, of the kernel route.
    pub metric: Option<u32>,
    /// `preferred-source`, of the kernel route.
    pub preferred_source: Option<IpAddr>,
}

/// `next-hop` of a `set`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextHopSetting {
    /// This one. An IPv4 address is not set on an IPv6 route, which could not carry it.
    Address(IpAddr),
    /// `"self"`: our address towards the peer, where it is known.
    SelfAddress,
}

/// One of `prepend` of a `set`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepend {
    /// Which AS; ours when absent.
    pub asn: Option<Asn>,
    /// How often.
    pub times: u8,
}

/// An element of a community list in `set`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommunityItem {
    /// A value, or (to remove) a pattern.
    Pattern(CommunityPattern),
    /// All of a `community-set`.
    Set(String),
}
