//! One rule of a policy in a topology: matches and settings by the names of the contract, then the
//! action. Lists are separated by commas, a prefix pattern by colons (`10.0.0.0/8:ge:9`).

use bgp_core::policy::{
    CommunityPattern, RouteSource, RuleAction,
    definition::{
        CommunityItem, MatchDefinition, NextHopSetting, Prepend, Range, RuleDefinition,
        SetDefinition,
    },
};
use bgp_packet::Asn;

use super::topology::split;

pub fn parse(words: &[&str]) -> RuleDefinition {
    let (action, words) = words.split_last().expect("a rule ends with its action");
    let action = match *action {
        "accept" => RuleAction::Accept,
        "reject" => RuleAction::Reject,
        "next" => RuleAction::Next,
        other => panic!("{other:?} is no action"),
    };
    let mut matches = MatchDefinition::default();
    let mut set = SetDefinition::default();
    for word in words {
        let (key, value) = split(word);
        match key {
            "prefix" => matches.prefix = Some(list(&value.replace(':', " "))),
            "family" => matches.family = Some(list(value)),
            "from-next-hop" => matches.next_hop = Some(list(value)),
            "peer" => matches.peer = Some(list(value)),
            "peer-asn" => matches.peer_asn = Some(list(value)),
            "as-path-length" => matches.as_path_length = Some(vec![range(value)]),
            "has-med" => matches.med = Some(vec![range(value)]),
            "has-local-pref" => matches.local_pref = Some(vec![range(value)]),
            "source" => {
                matches.source = Some(vec![match value {
                    "bgp" => RouteSource::Bgp,
                    "originate" => RouteSource::Originate,
                    "connected" => RouteSource::Connected,
                    "static" => RouteSource::Static,
                    "kernel" => RouteSource::Kernel,
                    _ => panic!("no source {value:?}"),
                }]);
            }
            "local-pref" => set.local_pref = Some(one(value)),
            "med" => set.med = Some(one(value)),
            "origin" => set.origin = Some(one(value)),
            "weight" => set.weight = Some(one(value)),
            "metric" => set.metric = Some(one(value)),
            "next-hop" if value == "self" => set.next_hop = Some(NextHopSetting::SelfAddress),
            "next-hop" => set.next_hop = Some(NextHopSetting::Address(one(value))),
            "prepend" => {
                let (asn, times) = value.split_once('x').expect("ASNxTIMES");
                let asn = (asn != "own").then(|| one::<Asn>(asn));
                set.prepend = vec![Prepend { asn, times: one(times) }];
            }
            "communities" => set.communities = Some(communities(value)),
            "add-communities" => set.add_communities = communities(value),
            "remove-communities" => set.remove_communities = communities(value),
            _ => panic!("no key {key:?} of a rule"),
        }
    }
    RuleDefinition { name: None, matches, set, action }
}

fn one<T: std::str::FromStr>(value: &str) -> T {
    value.parse().unwrap_or_else(|_| panic!("{value:?} has no such value"))
}

fn list<T: std::str::FromStr>(value: &str) -> Vec<T> {
    value.split(',').map(one).collect()
}

fn range(value: &str) -> Range {
    match value.split_once('-') {
        Some((ge, le)) => Range { ge: one(ge), le: one(le) },
        None => Range { ge: one(value), le: one(value) },
    }
}

fn communities(value: &str) -> Vec<CommunityItem> {
    let values = value.split(',').map(|text| CommunityPattern::Value(one(text)));
    values.map(CommunityItem::Pattern).collect()
}
