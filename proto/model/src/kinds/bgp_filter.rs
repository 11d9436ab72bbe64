//! `BGPFilter`: which routes a session imports and exports.

use ipnet::IpNet;

use crate::{
    object::Object,
    scalar::{AsNumber, Cidr, masked, names, of_v4, of_v6, with_length},
    wire::{At, rules},
};

use super::bgp_configuration::community;

choice! {
    /// What becomes of a route that a rule matches.
    pub enum FilterAction {
        /// It is taken.
        Accept = "Accept",
        /// It is dropped.
        Reject = "Reject",
    }
}

choice! {
    /// How a route's prefix is compared with the rule's.
    pub enum MatchOperator {
        /// It is the same.
        Equal = "Equal",
        /// It is another.
        NotEqual = "NotEqual",
        /// It lies within.
        In = "In",
        /// It does not lie within.
        NotIn = "NotIn",
    }
}

choice! {
    /// Where a route comes from.
    pub enum RouteSource {
        /// A BGP peer.
        RemotePeers = "RemotePeers",
    }
}

choice! {
    /// The type of a peer.
    pub enum PeerType {
        /// Of another AS.
        Ebgp = "eBGP",
        /// Of the own AS.
        Ibgp = "iBGP",
    }
}

record! {
    /// A range of prefix lengths of IPv4; an end that is absent is that of the CIDR's own range.
    #[derive(Default)]
    pub struct PrefixLengthV4 {
        /// The shortest.
        min: Option<u8> = "min" => rules::within(0u8..=32),
        /// The longest.
        max: Option<u8> = "max" => rules::within(0u8..=32),
    }
    check |range, at| {
        if range.min > range.max && range.max.is_some() {
            at.refuse("min", "at most max");
        }
    }
}

record! {
    /// A range of prefix lengths of IPv6; an end that is absent is that of the CIDR's own range.
    #[derive(Default)]
    pub struct PrefixLengthV6 {
        /// The shortest.
        min: Option<u8> = "min" => rules::within(0u8..=128),
        /// The longest.
        max: Option<u8> = "max" => rules::within(0u8..=128),
    }
    check |range, at| {
        if range.min > range.max && range.max.is_some() {
            at.refuse("min", "at most max");
        }
    }
}

record! {
    /// Communities a route must have.
    pub struct FilterCommunities {
        /// Exactly one community.
        values: Vec<String> = "values" => community,
    }
    check |communities, at| {
        if communities.values.len() != 1 {
            at.refuse("values", "exactly one community");
        }
    }
}

record! {
    /// A community to add.
    pub struct AddCommunity {
        /// `n:n` or `n:n:n`.
        value: String = "value" => community,
    }
}

record! {
    /// AS numbers to put in front of the path, in this order.
    pub struct PrependAsPath {
        /// 1 to 10 of them.
        prefix: Vec<AsNumber> = "prefix",
    }
    check |path, at| {
        if !(1..=10).contains(&path.prefix.len()) {
            at.refuse("prefix", "1 to 10 AS numbers");
        }
    }
}

record! {
    /// A priority to set: the local preference becomes 2147483647 minus it.
    pub struct SetPriority {
        /// The priority.
        value: u32 = "value" => rules::within(1u32..=2_147_483_646),
    }
}

record! {
    /// One change to a route; exactly one field is there.
    #[derive(Default)]
    pub struct FilterOperation {
        /// Adds a community.
        add_community: Option<AddCommunity> = "addCommunity",
        /// Makes the AS path longer.
        prepend_as_path: Option<PrependAsPath> = "prependASPath",
        /// Sets the priority.
        set_priority: Option<SetPriority> = "setPriority",
    }
    check |operation, at| {
        let set = [
            operation.add_community.is_some(),
            operation.prepend_as_path.is_some(),
            operation.set_priority.is_some(),
        ];
        if set.iter().filter(|set| **set).count() != 1 {
            at.refuse_all("another number of operations", "exactly one of addCommunity, prependASPath, setPriority");
        }
    }
}

/// The rules of the two families differ in their ranges only.
macro_rules! filter_rule {
    ($(#[$meta:meta])* $name:ident, $length:ty, $family:expr) => {
        record! {
            $(#[$meta])*
            pub struct $name {
                /// What becomes of a route that matches.
                action: FilterAction = "action",
                /// The prefix to compare with.
                cidr: Option<Cidr> = "cidr"
                    => rules::both($family, rules::both(with_length, masked)),
                /// How to compare.
                match_operator: Option<MatchOperator> = "matchOperator",
                /// Which prefix lengths match.
                prefix_length: Option<$length> = "prefixLength",
                /// Where the route comes from.
                source: Option<RouteSource> = "source",
                /// The interface it goes out by, with `*` for anything.
                interface: Option<String> = "interface" => names::interface_pattern,
                /// The type of the peer.
                peer_type: Option<PeerType> = "peerType",
                /// Communities it must have.
                communities: Option<FilterCommunities> = "communities",
                /// How its AS path begins.
                as_path_prefix: Vec<AsNumber> = "asPathPrefix",
                /// Its priority: 2147483647 minus the local preference.
                priority: Option<u32> = "priority" => rules::within(1u32..=2_147_483_646),
                /// What is changed in a route that is accepted, in order.
                operations: Vec<FilterOperation> = "operations",
            }
            check |rule, at| {
                check_rule(
                    at,
                    rule.action,
                    rule.cidr.as_ref().map(Cidr::net),
                    rule.match_operator,
                    rule.prefix_length.is_some(),
                    rule.operations.len(),
                );
            }
        }
    };
}

filter_rule!(
    /// A rule for IPv4 routes. All conditions must hold; without conditions it always matches.
    FilterRuleV4, PrefixLengthV4, of_v4
);
filter_rule!(
    /// A rule for IPv6 routes. All conditions must hold; without conditions it always matches.
    FilterRuleV6, PrefixLengthV6, of_v6
);

fn check_rule(
    at: &mut At<'_, '_>,
    action: FilterAction,
    cidr: Option<IpNet>,
    operator: Option<MatchOperator>,
    has_lengths: bool,
    operations: usize,
) {
    match (cidr, operator) {
        (Some(_), None) => at.refuse("matchOperator", "an operator beside cidr"),
        (None, Some(_)) => at.refuse("cidr", "a CIDR beside matchOperator"),
        _ => {}
    }
    if has_lengths && cidr.is_none() {
        at.refuse("cidr", "a CIDR beside prefixLength");
    }
    if at.says("operations") && action != FilterAction::Accept {
        at.refuse("operations", "no operations on a route that is rejected");
    }
    if at.says("operations") && !(1..=10).contains(&operations) {
        at.refuse("operations", "1 to 10 operations");
    }
}

record! {
    /// The spec of a `BGPFilter`: rules in order, the first that matches decides; what no rule
    /// matches goes on to the next filter.
    #[derive(Default)]
    pub struct BgpFilterSpec {
        /// For IPv4 routes on their way out.
        export_v4: Vec<FilterRuleV4> = "exportV4",
        /// For IPv4 routes on their way in.
        import_v4: Vec<FilterRuleV4> = "importV4",
        /// For IPv6 routes on their way out.
        export_v6: Vec<FilterRuleV6> = "exportV6",
        /// For IPv6 routes on their way in.
        import_v6: Vec<FilterRuleV6> = "importV6",
    }
}

spec!(BgpFilterSpec, BgpFilter);

/// A `BGPFilter`.
pub type BgpFilter = Object<BgpFilterSpec>;
