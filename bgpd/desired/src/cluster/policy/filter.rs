//! Rules of a `BGPFilter`.

use std::collections::BTreeSet;

use bgp_core::policy::{
    CommunityPattern, PrefixPattern, RouteSource as Source, RuleAction,
    definition::{CommunityItem, MatchDefinition, Prepend, Range, RuleDefinition, SetDefinition},
};
use bgp_packet::{Asn, Family};
use ipnet::IpNet;
use margay_model::{
    AsNumber,
    kinds::{
        BgpFilter, FilterAction, FilterCommunities, FilterOperation, FilterRuleV4, FilterRuleV6,
        MatchOperator, PeerType, RouteSource,
    },
};

use super::{MAX_PRIORITY, Remark};

/// Which rules of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// `importV4`, `importV6`.
    Import,
    /// `exportV4`, `exportV6`.
    Export,
}

/// A rule of either family.
struct Rule<'a> {
    action: FilterAction,
    cidr: Option<IpNet>,
    operator: Option<MatchOperator>,
    /// `prefixLength`, with its ends.
    lengths: Option<(Option<u8>, Option<u8>)>,
    source: Option<RouteSource>,
    interface: Option<&'a str>,
    peer: Option<PeerType>,
    communities: Option<&'a FilterCommunities>,
    as_path_prefix: &'a [AsNumber],
    priority: Option<u32>,
    operations: &'a [FilterOperation],
}

macro_rules! rule_of {
    ($from:ty) => {
        impl<'a> From<&'a $from> for Rule<'a> {
            fn from(rule: &'a $from) -> Self {
                Self {
                    action: rule.action,
                    cidr: rule.cidr.as_ref().map(|cidr| cidr.net().trunc()),
                    operator: rule.match_operator,
                    lengths: rule.prefix_length.as_ref().map(|range| (range.min, range.max)),
                    source: rule.source,
                    interface: rule.interface.as_deref(),
                    peer: rule.peer_type,
                    communities: rule.communities.as_ref(),
                    as_path_prefix: &rule.as_path_prefix,
                    priority: rule.priority,
                    operations: &rule.operations,
                }
            }
        }
    };
}

rule_of!(FilterRuleV4);
rule_of!(FilterRuleV6);

/// The two lists of a filter, each with its name and family.
fn lists(filter: &BgpFilter, way: Way) -> [(&'static str, Family, Vec<Rule<'_>>); 2] {
    fn all<'a, T>(rules: &'a [T]) -> Vec<Rule<'a>>
    where
        Rule<'a>: From<&'a T>,
    {
        rules.iter().map(Rule::from).collect()
    }
    let spec = &filter.spec;
    let (v4, v6) = (Family::IPV4_UNICAST, Family::IPV6_UNICAST);
    match way {
        Way::Import => {
            [("importV4", v4, all(&spec.import_v4)), ("importV6", v6, all(&spec.import_v6))]
        }
        Way::Export => {
            [("exportV4", v4, all(&spec.export_v4)), ("exportV6", v6, all(&spec.export_v6))]
        }
    }
}

/// Whether it matters of which type the peer is.
pub(super) fn by_peer(filter: &BgpFilter, way: Way) -> bool {
    lists(filter, way).iter().any(|(_, _, rules)| rules.iter().any(|rule| rule.peer.is_some()))
}

/// Appends the rules of a filter. Those for another type of peer are left out.
pub(super) fn rules(
    out: &mut Vec<RuleDefinition>,
    filter: &BgpFilter,
    way: Way,
    peer: PeerType,
    remarks: &mut BTreeSet<Remark>,
) {
    let name = filter.name();
    for (list, family, rules) in lists(filter, way) {
        for (index, rule) in rules.iter().enumerate() {
            match definition(rule, family, format!("filter {name} {list} {}", index + 1)) {
                Ok(definition) if rule.peer.is_none_or(|wanted| wanted == peer) => {
                    out.push(definition);
                }
                Ok(_) => {}
                Err(why) => {
                    let filter = name.to_owned();
                    remarks.insert(Remark::FilterRule { filter, list, index, why });
                }
            }
        }
    }
}

/// All but the type of the peer; or why it makes no sense.
fn definition(rule: &Rule<'_>, family: Family, name: String) -> Result<RuleDefinition, String> {
    Ok(RuleDefinition {
        name: Some(name),
        matches: matches(rule, family)?,
        set: set(rule.operations)?,
        action: match rule.action {
            FilterAction::Accept => RuleAction::Accept,
            FilterAction::Reject => RuleAction::Reject,
        },
    })
}

fn matches(rule: &Rule<'_>, family: Family) -> Result<MatchDefinition, String> {
    let mut matches = MatchDefinition::default();
    let prefixes = match (rule.cidr, rule.operator) {
        (Some(cidr), Some(operator)) => Some((operator, patterns(cidr, operator, rule.lengths)?)),
        (None, None) if rule.lengths.is_none() => None,
        _ => return Err("cidr and matchOperator go together".into()),
    };
    match prefixes {
        Some((MatchOperator::Equal | MatchOperator::In, patterns)) => {
            matches.prefix = Some(patterns);
        }
        Some((MatchOperator::NotEqual | MatchOperator::NotIn, patterns)) => {
            matches.family = Some(vec![family]);
            matches.not_prefix = Some(patterns);
        }
        None => matches.family = Some(vec![family]),
    }
    matches.source = rule.source.map(|RouteSource::RemotePeers| vec![Source::Bgp]);
    if let Some(interface) = rule.interface {
        let pattern = interface.parse().map_err(|error| format!("{error}"))?;
        matches.interface = Some(vec![pattern]);
    }
    if let Some(communities) = rule.communities {
        // There is exactly one.
        matches.community =
            Some(communities.values.iter().map(|text| community(text)).collect::<Result<_, _>>()?);
    }
    if !rule.as_path_prefix.is_empty() {
        matches.as_path_prefix = Some(rule.as_path_prefix.iter().map(|asn| Asn(asn.0)).collect());
    }
    if let Some(priority) = rule.priority {
        let local_pref = local_pref(priority)?;
        matches.local_pref = Some(vec![Range { ge: local_pref, le: local_pref }]);
    }
    Ok(matches)
}

/// What a CIDR, an operator and a range of lengths stand for, before any negation.
fn patterns(
    cidr: IpNet,
    operator: MatchOperator,
    lengths: Option<(Option<u8>, Option<u8>)>,
) -> Result<Vec<PrefixPattern>, String> {
    let (own, longest) = (cidr.prefix_len(), cidr.max_prefix_len());
    let equal = matches!(operator, MatchOperator::Equal | MatchOperator::NotEqual);
    let (from, to) = match lengths {
        None if equal => (own, own),
        None => (own, longest),
        Some((min, max)) => (min.unwrap_or(own).max(own), max.unwrap_or(longest).min(longest)),
    };
    if from > to {
        return Err(format!("no prefix inside {cidr} has one of these lengths"));
    }
    let fault = |error: &dyn std::fmt::Display| error.to_string();
    if !equal {
        let pattern = PrefixPattern::new(cidr, Some(from), Some(to));
        return Ok(vec![pattern.map_err(|error| fault(&error))?]);
    }
    // The same address, with each of the lengths.
    (from..=to)
        .map(|len| {
            let network = IpNet::new(cidr.addr(), len).map_err(|error| fault(&error))?;
            PrefixPattern::new(network, None, None).map_err(|error| fault(&error))
        })
        .collect()
}

/// What operations come to when they are done one after the other.
fn set(operations: &[FilterOperation]) -> Result<SetDefinition, String> {
    let mut set = SetDefinition::default();
    for operation in operations {
        if let Some(add) = &operation.add_community {
            set.add_communities.push(CommunityItem::Pattern(community(&add.value)?));
        }
        if let Some(path) = &operation.prepend_as_path {
            if path.prefix.iter().any(|asn| asn.0 == 0) {
                return Err("AS 0 cannot stand in a path".into());
            }
            let numbers = path.prefix.iter().map(|asn| Prepend { asn: Some(Asn(asn.0)), times: 1 });
            set.prepend.splice(0..0, numbers);
        }
        if let Some(priority) = &operation.set_priority {
            set.local_pref = Some(local_pref(priority.value)?);
        }
    }
    Ok(set)
}

/// `n:n` or `n:n:n`.
pub(super) fn community(text: &str) -> Result<CommunityPattern, String> {
    let large = text.bytes().filter(|octet| *octet == b':').count() == 2;
    let parsed = if large { format!("large:{text}").parse() } else { text.parse() };
    parsed
        .map(CommunityPattern::Value)
        .map_err(|_| format!("{text:?} is not a community n:n or n:n:n"))
}

fn local_pref(priority: u32) -> Result<u32, String> {
    MAX_PRIORITY.checked_sub(priority).ok_or_else(|| format!("priority {priority} is too large"))
}
