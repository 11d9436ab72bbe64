//! One rule of a route policy.

use bgp_core::policy::{
    CommunityPattern, CommunitySet, RouteSource, RuleAction,
    definition::{
        CommunityItem, MatchDefinition, NextHopSetting, Prepend, Range, RuleDefinition,
        SetDefinition,
    },
};
use bgp_packet::Origin;
use ipnet::IpNet;

use super::{Named, NamedSets};
use crate::{
    bgp::asn,
    reader::{Entry, Section, quoted},
    settings::family,
};

pub(crate) const ORIGINS: [(&str, Origin); 3] =
    [("igp", Origin::Igp), ("egp", Origin::Egp), ("incomplete", Origin::Incomplete)];

pub(crate) const SOURCES: [(&str, RouteSource); 5] = [
    ("bgp", RouteSource::Bgp),
    ("originate", RouteSource::Originate),
    ("connected", RouteSource::Connected),
    ("static", RouteSource::Static),
    ("kernel", RouteSource::Kernel),
];

pub(crate) const ACTIONS: [(&str, RuleAction); 3] =
    [("accept", RuleAction::Accept), ("reject", RuleAction::Reject), ("next", RuleAction::Next)];

/// Whether no rule after this one is ever asked.
pub(super) fn always_ends(rule: &RuleDefinition) -> bool {
    rule.matches == MatchDefinition::default() && rule.action != RuleAction::Next
}

pub(super) fn read<'a>(entry: &Entry<'a>, sets: &NamedSets<'a>) -> Option<RuleDefinition> {
    let mut section = entry.section()?;
    let name = section.entry("name");
    let matches = section.entry("match");
    let then = section.entry("then");
    section.finish();
    let name = name.map(|entry| entry.string("a name").map(str::to_owned));
    let matches = matches.map(|entry| match_definition(&entry, sets));
    let then = match then {
        Some(entry) => then_definition(&entry, sets),
        None => Some((SetDefinition::default(), RuleAction::Next)),
    };
    let (set, action) = then?;
    if set == SetDefinition::default() && action == RuleAction::Next {
        entry.warn("this rule neither sets nor decides anything");
    }
    Some(RuleDefinition {
        name: name.map_or(Some(None), |name| name.map(Some))?,
        matches: matches.unwrap_or(Some(MatchDefinition::default()))?,
        set,
        action,
    })
}

/// `None` in the result: the key is not there. `faulty` is set where it is wrong.
struct Lists<'s, 'a> {
    section: &'s mut Section<'a>,
    faulty: bool,
}

impl<'a> Lists<'_, 'a> {
    fn get<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Entry<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let entry = self.section.entry(key)?;
        let items = entry.one_or_more();
        if items.is_empty() {
            entry.fault("found an empty list, which matches nothing, allowed: at least one value");
            self.faulty = true;
        }
        let mut out = Vec::new();
        for item in &items {
            match read(item) {
                Some(value) => out.push(value),
                None => self.faulty = true,
            }
        }
        Some(out)
    }
}

fn match_definition<'a>(entry: &Entry<'a>, sets: &NamedSets<'a>) -> Option<MatchDefinition> {
    let mut section = entry.section()?;
    section.unsupported(&["rpki"]);
    let mut any_ok = true;
    if let Some(any) = section.entry("any")
        && any.as_bool() != Some(true)
    {
        any.expected("true");
        any_ok = false;
    }
    let peer = |item: &Entry<'a>| {
        let name = item.string("the name of a peer")?;
        sets.peers.borrow_mut().push((name, item.clone()));
        Some(name.to_owned())
    };
    let prefix = "a prefix like \"10.0.0.0/8 ge 9 le 24\"";
    let mut lists = Lists { section: &mut section, faulty: !any_ok };
    let out = MatchDefinition {
        prefix: lists.get("prefix", |item| item.parsed(prefix)),
        prefix_set: lists.get("prefix-set", |item| set_name(item, &sets.prefix)),
        not_prefix: lists.get("not-prefix", |item| item.parsed(prefix)),
        not_prefix_set: lists.get("not-prefix-set", |item| set_name(item, &sets.prefix)),
        family: lists.get("family", family),
        next_hop: lists.get("next-hop", address_or_prefix),
        interface: lists.get("interface", |item| item.parsed("the name of an interface, * in it")),
        peer: lists.get("peer", peer),
        peer_asn: lists.get("peer-asn", asn),
        origin: lists.get("origin", |item| item.one_of(&ORIGINS)),
        as_path_set: lists.get("as-path-set", |item| set_name(item, &sets.as_path)),
        as_path_prefix: lists.get("as-path-prefix", asn),
        as_path_length: lists.get("as-path-length", range),
        med: lists.get("med", range),
        local_pref: lists.get("local-pref", range),
        community_set: lists.get("community-set", |item| set_name(item, &sets.community)),
        community: lists.get("community", community),
        source: lists.get("source", |item| item.one_of(&SOURCES)),
    };
    let faulty = lists.faulty;
    section.finish();
    (!faulty).then_some(out)
}

/// The name of a set without a fault.
fn set_name<T>(entry: &Entry<'_>, sets: &Named<'_, T>) -> Option<String> {
    let name = entry.string("the name of a set")?;
    match sets.get(name) {
        Some(item) => item.value.as_ref().map(|_| name.to_owned()),
        None => {
            sets.unknown(entry, name, &[]);
            None
        }
    }
}

fn community(entry: &Entry<'_>) -> Option<CommunityPattern> {
    let allowed = "\"A:B\", \"large:A:B:C\", \"ext:rt:A:N\", \"ext:ro:A:N\" or \"re:PATTERN\"";
    let pattern: CommunityPattern = entry.parsed(allowed)?;
    CommunitySet::check(&pattern).map_err(|error| entry.fault(error)).ok()?;
    Some(pattern)
}

fn address_or_prefix(entry: &Entry<'_>) -> Option<IpNet> {
    match entry.as_str() {
        Some(text) if !text.contains('/') => {
            entry.standard("an address or a prefix").map(|address: std::net::IpAddr| address.into())
        }
        _ => crate::origin::prefix(entry),
    }
}

fn range(entry: &Entry<'_>) -> Option<Range> {
    if !entry.is_table() {
        if !entry.is_integer() {
            entry.expected("a number or { ge, le }");
            return None;
        }
        return entry.integer(0..=u32::MAX).map(|value| Range { ge: value, le: value });
    }
    let mut section = entry.section()?;
    let (ge, le) = (section.entry("ge"), section.entry("le"));
    section.finish();
    if ge.is_none() && le.is_none() {
        entry.fault("found neither ge nor le, allowed: a number or { ge, le }");
        return None;
    }
    let ge = ge.map_or(Some(0), |entry| entry.integer(0..=u32::MAX))?;
    let le = le.map_or(Some(u32::MAX), |entry| entry.integer(0..=u32::MAX))?;
    if ge > le {
        entry.fault(format_args!("ge {ge} is above le {le}, allowed: ge <= le"));
        return None;
    }
    Some(Range { ge, le })
}

fn then_definition(entry: &Entry<'_>, sets: &NamedSets<'_>) -> Option<(SetDefinition, RuleAction)> {
    let mut section = entry.section()?;
    let set = section.entry("set").map(|entry| set_definition(&entry, sets));
    let action = section.entry("action").map(|entry| entry.one_of(&ACTIONS));
    section.finish();
    Some((
        set.unwrap_or(Some(SetDefinition::default()))?,
        action.unwrap_or(Some(RuleAction::Next))?,
    ))
}

/// Like [`Lists`], for keys with one value.
struct Values<'s, 'a> {
    section: &'s mut Section<'a>,
    faulty: bool,
}

impl<'a> Values<'_, 'a> {
    fn get<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Entry<'a>) -> Option<T>,
    ) -> Option<T> {
        let entry = self.section.entry(key)?;
        let value = read(&entry);
        self.faulty |= value.is_none();
        value
    }
}

fn set_definition(entry: &Entry<'_>, sets: &NamedSets<'_>) -> Option<SetDefinition> {
    let mut section = entry.section()?;
    let mut values = Values { section: &mut section, faulty: false };
    let any = |entry: &Entry<'_>| entry.integer(0..=u32::MAX);
    let out = SetDefinition {
        local_pref: values.get("local-pref", any),
        med: values.get("med", any),
        origin: values.get("origin", |entry| entry.one_of(&ORIGINS)),
        next_hop: values.get("next-hop", next_hop),
        prepend: values.get("prepend", prepends).unwrap_or_default(),
        communities: values.get("communities", |entry| items(entry, sets, false)),
        remove_communities: values
            .get("remove-communities", |entry| items(entry, sets, true))
            .unwrap_or_default(),
        add_communities: values
            .get("add-communities", |entry| items(entry, sets, false))
            .unwrap_or_default(),
        weight: values.get("weight", any),
        metric: values.get("metric", |entry| entry.integer(1..=u32::MAX)),
        preferred_source: values.get("preferred-source", |entry| entry.unicast()),
    };
    let faulty = values.faulty;
    section.finish();
    (!faulty).then_some(out)
}

fn next_hop(entry: &Entry<'_>) -> Option<NextHopSetting> {
    if entry.as_str() == Some("self") {
        return Some(NextHopSetting::SelfAddress);
    }
    if entry.as_str().is_none_or(|text| text.parse::<std::net::IpAddr>().is_err()) {
        entry.expected("an address, or \"self\"");
        return None;
    }
    entry.unicast().map(NextHopSetting::Address)
}

/// One, or several in the order in which they are to stand.
fn prepends(entry: &Entry<'_>) -> Option<Vec<Prepend>> {
    let read: Vec<Option<Prepend>> = entry.one_or_more().iter().map(prepend).collect();
    read.into_iter().collect()
}

fn prepend(entry: &Entry<'_>) -> Option<Prepend> {
    let mut section = entry.section()?;
    let number = section.entry("asn").map(|entry| asn(&entry));
    let times = section.entry("times").map(|entry| entry.integer(1..=u8::MAX));
    section.finish();
    let asn = match number {
        Some(number) => Some(number?),
        None => None,
    };
    Some(Prepend { asn, times: times.unwrap_or(Some(1))? })
}

/// Communities and names of sets; patterns only where they are `removed`.
fn items(entry: &Entry<'_>, sets: &NamedSets<'_>, removed: bool) -> Option<Vec<CommunityItem>> {
    let read: Vec<Option<CommunityItem>> =
        entry.one_or_more().iter().map(|entry| item(entry, sets, removed)).collect();
    read.into_iter().collect()
}

fn item(entry: &Entry<'_>, sets: &NamedSets<'_>, removed: bool) -> Option<CommunityItem> {
    let text = entry.string("a community or the name of a community-set")?;
    let pattern = |found: &CommunityPattern| matches!(found, CommunityPattern::Regex(_));
    if let Ok(parsed) = text.parse::<CommunityPattern>() {
        if pattern(&parsed) && !removed {
            entry.fault(format_args!("{} is a pattern, allowed: values", quoted(text)));
            return None;
        }
        CommunitySet::check(&parsed).map_err(|error| entry.fault(error)).ok()?;
        return Some(CommunityItem::Pattern(parsed));
    }
    let Some(item) = sets.community.get(text) else {
        let hint = crate::suggest::nearest(text, sets.community.items.keys().map(String::as_str))
            .map_or_else(
                || {
                    "allowed: \"A:B\", \"large:A:B:C\", \"ext:rt:A:N\", \"ext:ro:A:N\", or the \
                     name of a community-set"
                        .to_owned()
                },
                |near| format!("did you mean {}?", quoted(near)),
            );
        entry.fault(format_args!("{} is no community and no community-set, {hint}", quoted(text)));
        return None;
    };
    let set = item.value.as_ref()?;
    if !removed && set.patterns().iter().any(pattern) {
        entry.fault(format_args!("community-set {} has a pattern, allowed: values", quoted(text)));
        return None;
    }
    Some(CommunityItem::Set(text.to_owned()))
}
