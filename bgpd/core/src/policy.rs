//! Route policy: rules compiled once, evaluated on a route.
//!
//! The text form (`[policy]` of the configuration) is read by `bgp-desired`, which builds the
//! definitions here; [`RoutePolicy::compile`] turns prefix sets into tries, communities into sorted
//! arrays and AS-path patterns into automatons.

use std::net::{IpAddr, Ipv4Addr};

use bgp_packet::{Asn, PathAttributes};
use ipnet::IpNet;

/// Where a route came from, for `match.source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteSource {
    /// Learned from a peer.
    Bgp,
    /// `bgp.originate`, `margay routes add`.
    Originate,
    /// Redistributed.
    Connected,
    /// Redistributed.
    Static,
    /// Redistributed.
    Kernel,
}

/// Values a policy may set that never go on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct LocalAttributes {
    /// First step of the decision; higher wins.
    pub weight: u32,
    /// Kernel route metric instead of `[fib] metric`.
    pub metric: Option<u32>,
    /// Kernel preferred source address.
    pub preferred_source: Option<IpAddr>,
}

/// A route as a policy sees it.
#[derive(Debug, Clone, Copy)]
pub struct RouteView<'a> {
    /// Its prefix.
    pub prefix: IpNet,
    /// Its attributes.
    pub attributes: &'a PathAttributes,
    /// What earlier policies set.
    pub local: LocalAttributes,
    /// Where it came from.
    pub source: RouteSource,
    /// Name of the peer it came from; for export too.
    pub peer: Option<&'a str>,
    /// AS of the peer it came from.
    pub peer_asn: Option<Asn>,
    /// For `next-hop = self` like settings: our address towards the peer, where known.
    pub local_address: Option<IpAddr>,
    /// Our AS, for prepending without a number.
    pub local_asn: Asn,
    /// Our router id.
    pub router_id: Ipv4Addr,
}

/// What a policy makes of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Taken. `attributes` is `None` where nothing on the wire changed.
    Accept {
        /// The attributes after all `set` of matching rules.
        attributes: Option<Box<PathAttributes>>,
        /// The local values after them.
        local: LocalAttributes,
    },
    /// Not taken.
    Reject,
}

/// One line of an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleHit {
    /// 0-based index, or `None` for the policy's default.
    pub index: Option<usize>,
    /// The rule's name, if it has one.
    pub name: Option<String>,
    /// `accept`, `reject` or `next`.
    pub action: RuleAction,
}

/// What a rule ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleAction {
    /// The route is taken.
    Accept,
    /// The route is dropped.
    Reject,
    /// The following rule is asked.
    Next,
}

/// A compiled policy.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutePolicy {
    name: String,
}

impl RoutePolicy {
    /// Built in: takes everything unchanged.
    pub fn accept() -> Self {
        Self { name: "accept".to_owned() }
    }

    /// Built in: takes nothing.
    pub fn reject() -> Self {
        Self { name: "reject".to_owned() }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the verdict can depend on the prefix; otherwise it may be cached by attribute set
    /// (and peer of origin).
    pub fn looks_at_prefix(&self) -> bool {
        false
    }

    /// Whether the verdict can depend on the peer the route came from, or on `source`.
    pub fn looks_at_source(&self) -> bool {
        false
    }

    /// Applies the rules in order, then the default.
    pub fn evaluate(&self, _route: &RouteView<'_>) -> Verdict {
        unimplemented!()
    }

    /// The same, with every rule that matched.
    pub fn explain(&self, _route: &RouteView<'_>) -> (Verdict, Vec<RuleHit>) {
        unimplemented!()
    }
}
