//! `[policy]`: sets, route policies, and who names them.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
};

use bgp_core::{
    config::PeerConfig,
    policy::{
        AsPathSet, CommunityPattern, CommunitySet, Definition, PatternError, PrefixSet,
        RoutePolicy, Sets,
        definition::{Default as DefaultAction, RuleDefinition},
    },
};

use crate::{
    reader::{Entry, Section, quoted},
    suggest::nearest,
};

mod rule;

pub(crate) use rule::{ACTIONS, ORIGINS, SOURCES};

/// Policies that are always there.
const BUILT_IN: [&str; 2] = ["accept", "reject"];

/// Things with a name, one of a kind.
struct Named<'a, T> {
    /// `route policy`, `prefix-set`, …
    kind: &'static str,
    items: BTreeMap<String, Item<'a, T>>,
}

struct Item<'a, T> {
    /// `None`: a fault was reported.
    value: Option<Arc<T>>,
    entry: Entry<'a>,
    used: Cell<bool>,
}

impl<'a, T> Named<'a, T> {
    /// Reads every entry of the table `key`.
    fn read(
        section: &mut Option<Section<'a>>,
        key: &'static str,
        read: impl Fn(&str, &Entry<'a>) -> Option<T>,
    ) -> Self {
        let mut items = BTreeMap::new();
        let table = section.as_mut().and_then(|section| section.entry(key));
        if let Some(table) = table.and_then(|entry| entry.section()) {
            for (name, entry) in table.named() {
                let value = read(name, &entry).map(Arc::new);
                items.insert(name.to_owned(), Item { value, entry, used: Cell::new(false) });
            }
        }
        Self { kind: if key == "route" { "route policy" } else { key }, items }
    }

    fn get(&self, name: &str) -> Option<&Item<'a, T>> {
        self.items.get(name).inspect(|item| item.used.set(true))
    }

    /// Reports that `name` is not there.
    fn unknown(&self, entry: &Entry<'_>, name: &str, built_in: &[&str]) {
        let names = || self.items.keys().map(String::as_str).chain(built_in.iter().copied());
        let hint = match nearest(name, names()) {
            Some(near) => format!("did you mean {}?", quoted(near)),
            None if names().next().is_none() => "none is".to_owned(),
            None => {
                let names: Vec<String> = names().map(quoted).collect();
                format!("allowed: {}", names.join(", "))
            }
        };
        entry.fault(format_args!("{} {} is not defined, {hint}", self.kind, quoted(name)));
    }

    /// Warns of those nobody named, and gives up the others.
    fn finish(self) -> BTreeMap<String, Arc<T>> {
        let mut out = BTreeMap::new();
        for (name, item) in self.items {
            if !item.used.get() {
                item.entry.warn_if_sound(format_args!("this {} is never used", self.kind));
            }
            if let Some(value) = item.value {
                out.insert(name, value);
            }
        }
        out
    }
}

/// The sets that rules can name.
pub(super) struct NamedSets<'a> {
    prefix: Named<'a, PrefixSet>,
    community: Named<'a, CommunitySet>,
    as_path: Named<'a, AsPathSet>,
    /// The peers that rules name, to be compared with those there are.
    peers: RefCell<Vec<(&'a str, Entry<'a>)>>,
}

/// `[policy]`, to be asked for names.
pub(crate) struct Policies<'a> {
    routes: Named<'a, RoutePolicy>,
    sets: NamedSets<'a>,
}

impl<'a> Policies<'a> {
    /// The policy that an entry names. `None` where that is faulty, which has been reported.
    pub(crate) fn reference(&self, entry: &Entry<'_>) -> Option<Arc<RoutePolicy>> {
        match entry.string("the name of a route policy")? {
            "accept" => Some(Arc::new(RoutePolicy::accept())),
            "reject" => Some(Arc::new(RoutePolicy::reject())),
            name => match self.routes.get(name) {
                Some(item) => item.value.clone(),
                None => {
                    self.routes.unknown(entry, name, &BUILT_IN);
                    None
                }
            },
        }
    }

    /// Warns of rules that name a peer nobody configured. Dynamic peers are named by their address.
    pub(crate) fn check_peers(&self, peers: &[PeerConfig]) {
        for (name, entry) in self.sets.peers.borrow().iter() {
            let known = peers.iter().any(|peer| peer.name == *name);
            if !known && name.parse::<IpAddr>().is_err() {
                let near = nearest(name, peers.iter().map(|peer| peer.name.as_str()));
                let hint = near
                    .map_or_else(String::new, |near| format!(", did you mean {}?", quoted(near)));
                entry.warn_if_sound(format_args!("no peer is named {}{hint}", quoted(name)));
            }
        }
    }

    /// Everything that was read, after warning of what is not used.
    pub(crate) fn finish(self) -> (BTreeMap<String, Arc<RoutePolicy>>, Sets) {
        let NamedSets { prefix, community, as_path, .. } = self.sets;
        let sets = Sets {
            prefix: prefix.finish(),
            community: community.finish(),
            as_path: as_path.finish(),
        };
        (self.routes.finish(), sets)
    }
}

pub(crate) fn read<'a>(root: &mut Section<'a>) -> Policies<'a> {
    let mut section = root.entry("policy").and_then(|entry| entry.section());
    let table = &mut section;
    let sets = NamedSets {
        prefix: Named::read(table, "prefix-set", |_, entry| prefix_set(entry)),
        community: Named::read(table, "community-set", |_, entry| community_set(entry)),
        as_path: Named::read(table, "as-path-set", |_, entry| as_path_set(entry)),
        peers: RefCell::default(),
    };
    let compiled = sets.compiled();
    let routes = Named::read(table, "route", |name, entry| route(name, entry, &sets, &compiled));
    if let Some(section) = section {
        section.finish();
    }
    Policies { routes, sets }
}

impl NamedSets<'_> {
    /// Those without a fault.
    fn compiled(&self) -> Sets {
        fn good<T>(named: &Named<'_, T>) -> BTreeMap<String, Arc<T>> {
            let good = named.items.iter().filter_map(|(name, item)| {
                item.value.as_ref().map(|value| (name.clone(), Arc::clone(value)))
            });
            good.collect()
        }
        Sets {
            prefix: good(&self.prefix),
            community: good(&self.community),
            as_path: good(&self.as_path),
        }
    }
}

/// The elements of the one key that a set has; `None` where one is faulty.
fn elements<'a, T>(
    entry: &Entry<'a>,
    key: &'static str,
    read: impl Fn(&Entry<'a>) -> Option<T>,
) -> Option<Vec<(Entry<'a>, T)>> {
    let mut section = entry.section()?;
    let list = section.entry(key);
    if list.is_none() {
        section.missing(key, format_args!("allowed: a list of {key}"));
    }
    section.finish();
    let read: Vec<Option<(Entry<'a>, T)>> = list?
        .items(&format!("a list of {key}"))
        .into_iter()
        .map(|item| read(&item).map(|value| (item, value)))
        .collect();
    read.into_iter().collect()
}

fn prefix_set(entry: &Entry<'_>) -> Option<PrefixSet> {
    let allowed = "a prefix like \"10.0.0.0/8 ge 9 le 24\"";
    let read = elements(entry, "prefixes", |item| item.parsed(allowed))?;
    Some(PrefixSet::new(read.into_iter().map(|(_, pattern)| pattern).collect()))
}

fn community_set(entry: &Entry<'_>) -> Option<CommunitySet> {
    let allowed = "\"A:B\", \"large:A:B:C\", \"ext:rt:A:N\", \"ext:ro:A:N\" or \"re:PATTERN\"";
    let check = |item: &Entry<'_>| {
        let pattern: CommunityPattern = item.parsed(allowed)?;
        // Each alone first, so that every wrong one is told, with its own place.
        CommunitySet::check(&pattern).map_err(|error| item.fault(error)).ok()?;
        Some(pattern)
    };
    compiled(entry, elements(entry, "communities", check)?, CommunitySet::new)
}

fn as_path_set(entry: &Entry<'_>) -> Option<AsPathSet> {
    let check = |item: &Entry<'_>| {
        let pattern = item.string("a regular expression over AS paths")?.to_owned();
        AsPathSet::check(&pattern).map_err(|error| item.fault(error)).ok()?;
        Some(pattern)
    };
    compiled(entry, elements(entry, "patterns", check)?, AsPathSet::new)
}

/// The set; a fault is told at the pattern that it names, else at the set.
fn compiled<'a, T: Clone, S>(
    entry: &Entry<'a>,
    read: Vec<(Entry<'a>, T)>,
    compile: impl Fn(Vec<T>) -> Result<S, PatternError>,
) -> Option<S> {
    let patterns = read.iter().map(|(_, pattern)| pattern.clone()).collect();
    let error = match compile(patterns) {
        Ok(set) => return Some(set),
        Err(error) => error,
    };
    let named = error.pattern();
    let has = |item: &&Entry<'_>| {
        named.is_some()
            && item.as_str().map(|text| text.strip_prefix("re:").unwrap_or(text)) == named
    };
    let place = read.iter().map(|(item, _)| item).find(has).unwrap_or(entry);
    place.fault(error);
    None
}

fn route<'a>(
    name: &str,
    entry: &Entry<'a>,
    sets: &NamedSets<'a>,
    compiled: &Sets,
) -> Option<RoutePolicy> {
    if BUILT_IN.contains(&name) {
        entry.fault("this name is built in, allowed: any other");
    }
    let mut section = entry.section()?;
    let default = section.entry("default");
    let rules = section.entry("rules");
    section.finish();
    let default = match default {
        Some(entry) => {
            entry.one_of(&[("accept", DefaultAction::Accept), ("reject", DefaultAction::Reject)])
        }
        None => Some(DefaultAction::Reject),
    };
    let rules: Vec<(Entry<'_>, Option<RuleDefinition>)> = rules
        .map(|entry| entry.items("a list of rules { match, then }"))
        .unwrap_or_default()
        .into_iter()
        .map(|item| {
            let rule = rule::read(&item, sets);
            (item, rule)
        })
        .collect();
    let last = rules.iter().position(|(_, rule)| rule.as_ref().is_some_and(rule::always_ends));
    if let Some((unreachable, _)) = last.and_then(|last| rules.get(last + 1)) {
        unreachable.warn("never reached, the rule before matches everything and ends there");
    }
    let rules = rules.into_iter().map(|(_, rule)| rule).collect::<Option<_>>()?;
    let definition = Definition { name: name.to_owned(), default: default?, rules };
    RoutePolicy::compile(definition, compiled).map_err(|error| entry.fault(error)).ok()
}
