//! Rules in the form in which they run, and the route they work on.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use bgp_packet::{
    AsPath, AsSegment, Asn, Community, Family, FamilySet, LargeCommunity, NextHop, Origin,
    PathAttributes,
};

use super::{
    AsPathSet, Chosen, CommunityPattern, CommunitySet, CommunityValue, CompileError,
    InterfacePattern, LocalAttributes, PrefixPattern, PrefixSet, RouteSource, RouteView,
    RuleAction, Sets, Verdict, as_path_len,
    definition::{
        CommunityItem, MatchDefinition, NextHopSetting, Prepend, Range, RuleDefinition,
        SetDefinition,
    },
};

/// What counts where LOCAL_PREF is absent.
const DEFAULT_LOCAL_PREF: u32 = 100;

/// Most AS numbers in a segment on the wire.
const MAX_SEGMENT: usize = 255;

/// A route on its way through the rules; copied when a rule first changes it.
pub(super) struct Candidate<'a> {
    route: &'a RouteView<'a>,
    local: LocalAttributes,
    changed: Option<Box<PathAttributes>>,
    chosen: Chosen,
}

impl<'a> Candidate<'a> {
    pub(super) fn new(route: &'a RouteView<'a>) -> Self {
        Self { route, local: route.local, changed: None, chosen: Chosen::default() }
    }

    fn attributes(&self) -> &PathAttributes {
        self.changed.as_deref().unwrap_or(self.route.attributes)
    }

    fn attributes_mut(&mut self) -> &mut PathAttributes {
        self.changed.get_or_insert_with(|| Box::new(self.route.attributes.clone()))
    }

    /// Writes a field unless it has the value already.
    fn write<T: PartialEq>(
        &mut self,
        value: T,
        field: impl Fn(&PathAttributes) -> &T,
        field_mut: impl Fn(&mut PathAttributes) -> &mut T,
    ) {
        if *field(self.attributes()) != value {
            *field_mut(self.attributes_mut()) = value;
        }
    }

    pub(super) fn accept(self) -> Verdict {
        let attributes = self.changed.filter(|changed| **changed != *self.route.attributes);
        Verdict::Accept { attributes, local: self.local, chosen: self.chosen }
    }
}

/// A compiled rule.
#[derive(Clone)]
pub(super) struct Rule {
    conditions: Vec<Condition>,
    set: Option<Box<Set>>,
    action: RuleAction,
}

/// One key of `match`; the list of each is ORed.
#[derive(Clone)]
enum Condition {
    Family(FamilySet),
    Source(Vec<RouteSource>),
    Peer(Vec<String>),
    PeerAsn(Vec<Asn>),
    Origin(Vec<Origin>),
    Med(Vec<Range>),
    LocalPref(Vec<Range>),
    AsPathLength(Vec<Range>),
    NextHop(PrefixSet),
    Prefix(Vec<Arc<PrefixSet>>),
    NotPrefix(Vec<Arc<PrefixSet>>),
    Interface(Vec<InterfacePattern>),
    AsPathPrefix(Vec<Asn>),
    Community(Vec<Arc<CommunitySet>>),
    AsPath(Vec<Arc<AsPathSet>>),
}

/// A compiled `set`.
#[derive(Clone)]
struct Set {
    local_pref: Option<u32>,
    med: Option<u32>,
    origin: Option<Origin>,
    next_hop: Option<NextHopSetting>,
    prepend: Vec<Prepend>,
    communities: Option<Communities>,
    remove: Vec<Arc<CommunitySet>>,
    add: Communities,
    weight: Option<u32>,
    metric: Option<u32>,
    preferred_source: Option<IpAddr>,
}

/// Values by kind, in the order written, without duplicates.
#[derive(Clone, Default)]
struct Communities {
    plain: Vec<Community>,
    large: Vec<LargeCommunity>,
    ext: Vec<[u8; 8]>,
}

impl Rule {
    /// `used` collects the sets that the rule names.
    pub(super) fn compile(
        rule: &RuleDefinition,
        sets: &Sets,
        used: &mut Sets,
    ) -> Result<Self, CompileError> {
        let conditions = conditions(&rule.matches, sets, used)?;
        let set = if rule.set == SetDefinition::default() {
            None
        } else {
            Some(Box::new(Set::compile(&rule.set, sets, used)?))
        };
        Ok(Self { conditions, set, action: rule.action })
    }

    pub(super) fn action(&self) -> RuleAction {
        self.action
    }

    pub(super) fn looks_at_prefix(&self) -> bool {
        self.conditions.iter().any(Condition::looks_at_prefix)
            || self.set.as_ref().is_some_and(|set| {
                // An IPv4 address is set on IPv4 routes only.
                matches!(set.next_hop, Some(NextHopSetting::Address(IpAddr::V4(_))))
                    || matches!(set.next_hop, Some(NextHopSetting::SelfAddress))
            })
    }

    pub(super) fn looks_at_source(&self) -> bool {
        self.conditions.iter().any(|condition| {
            matches!(condition, Condition::Source(_) | Condition::Peer(_) | Condition::PeerAsn(_))
        })
    }

    pub(super) fn looks_at_interface(&self) -> bool {
        self.conditions.iter().any(|condition| matches!(condition, Condition::Interface(_)))
    }

    pub(super) fn matches(&self, candidate: &Candidate<'_>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(candidate))
    }

    pub(super) fn apply(&self, candidate: &mut Candidate<'_>) {
        if let Some(set) = &self.set {
            set.apply(candidate);
        }
    }
}

/// Cheap ones first.
fn conditions(
    matches: &MatchDefinition,
    sets: &Sets,
    used: &mut Sets,
) -> Result<Vec<Condition>, CompileError> {
    let mut out = Vec::new();
    if let Some(families) = &matches.family {
        out.push(Condition::Family(families.iter().copied().collect()));
    }
    out.extend(matches.source.clone().map(Condition::Source));
    out.extend(matches.origin.clone().map(Condition::Origin));
    out.extend(matches.peer_asn.clone().map(sorted).map(Condition::PeerAsn));
    out.extend(matches.peer.clone().map(sorted).map(Condition::Peer));
    out.extend(matches.med.clone().map(Condition::Med));
    out.extend(matches.local_pref.clone().map(Condition::LocalPref));
    out.extend(matches.as_path_length.clone().map(Condition::AsPathLength));
    if let Some(networks) = &matches.next_hop {
        let within = |network: &ipnet::IpNet| {
            PrefixPattern::new(network.trunc(), None, Some(network.max_prefix_len()))
                .expect("a masked network and the longest length fit")
        };
        out.push(Condition::NextHop(PrefixSet::new(networks.iter().map(within).collect())));
    }
    if let Some(patterns) = &matches.prefix {
        out.push(Condition::Prefix(vec![Arc::new(PrefixSet::new(patterns.clone()))]));
    }
    if let Some(names) = &matches.prefix_set {
        let found = find_all("prefix-set", names, &sets.prefix, &mut used.prefix)?;
        out.push(Condition::Prefix(found));
    }
    if let Some(patterns) = &matches.not_prefix {
        let set = (!patterns.is_empty()).then(|| Arc::new(PrefixSet::new(patterns.clone())));
        out.push(Condition::NotPrefix(set.into_iter().collect()));
    }
    if let Some(names) = &matches.not_prefix_set {
        let found = find_all("prefix-set", names, &sets.prefix, &mut used.prefix)?;
        out.push(Condition::NotPrefix(found));
    }
    out.extend(matches.as_path_prefix.clone().map(Condition::AsPathPrefix));
    out.extend(matches.interface.clone().map(Condition::Interface));
    if let Some(patterns) = &matches.community {
        out.push(Condition::Community(vec![Arc::new(CommunitySet::new(patterns.clone())?)]));
    }
    if let Some(names) = &matches.community_set {
        let found = find_all("community-set", names, &sets.community, &mut used.community)?;
        out.push(Condition::Community(found));
    }
    if let Some(names) = &matches.as_path_set {
        let found = find_all("as-path-set", names, &sets.as_path, &mut used.as_path)?;
        out.push(Condition::AsPath(found));
    }
    Ok(out)
}

type Named<T> = BTreeMap<String, Arc<T>>;

fn find<T>(
    kind: &'static str,
    name: &str,
    sets: &Named<T>,
    used: &mut Named<T>,
) -> Result<Arc<T>, CompileError> {
    let Some(set) = sets.get(name) else {
        return Err(CompileError::MissingSet { kind, name: name.to_owned() });
    };
    used.insert(name.to_owned(), Arc::clone(set));
    Ok(Arc::clone(set))
}

fn find_all<T>(
    kind: &'static str,
    names: &[String],
    sets: &Named<T>,
    used: &mut Named<T>,
) -> Result<Vec<Arc<T>>, CompileError> {
    names.iter().map(|name| find(kind, name, sets, used)).collect()
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort_unstable();
    values
}

impl Condition {
    /// Interfaces too: routes of our own with the same attributes lead out by different ones.
    fn looks_at_prefix(&self) -> bool {
        matches!(self, Self::Prefix(_) | Self::NotPrefix(_) | Self::Family(_) | Self::Interface(_))
    }

    fn holds(&self, candidate: &Candidate<'_>) -> bool {
        let route = candidate.route;
        let attributes = candidate.attributes();
        let in_range = |ranges: &[Range], value: u32| ranges.iter().any(|r| r.contains(value));
        match self {
            Self::Family(families) => families.contains(match route.prefix {
                ipnet::IpNet::V4(_) => Family::IPV4_UNICAST,
                ipnet::IpNet::V6(_) => Family::IPV6_UNICAST,
            }),
            Self::Source(sources) => sources.contains(&route.source),
            Self::Peer(names) => route
                .peer
                .is_some_and(|peer| names.binary_search_by(|n| n.as_str().cmp(peer)).is_ok()),
            Self::PeerAsn(asns) => {
                route.peer_asn.is_some_and(|asn| asns.binary_search(&asn).is_ok())
            }
            Self::Origin(origins) => origins.contains(&attributes.origin),
            Self::Med(ranges) => attributes.med.is_some_and(|med| in_range(ranges, med)),
            Self::LocalPref(ranges) => {
                in_range(ranges, attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF))
            }
            Self::AsPathLength(ranges) => in_range(
                ranges,
                u32::try_from(as_path_len(&attributes.as_path)).unwrap_or(u32::MAX),
            ),
            Self::NextHop(networks) => networks.contains(&attributes.next_hop.address.into()),
            Self::Prefix(sets) => sets.iter().any(|set| set.contains(&route.prefix)),
            // An empty list matches nothing here either.
            Self::NotPrefix(sets) => {
                !sets.is_empty() && !sets.iter().any(|set| set.contains(&route.prefix))
            }
            Self::Interface(patterns) => {
                patterns.iter().any(|pattern| pattern.matches(route.interface))
            }
            Self::AsPathPrefix(asns) => begins_with(&attributes.as_path, asns),
            Self::Community(sets) => sets.iter().any(|set| set.matches(attributes)),
            Self::AsPath(sets) => sets.iter().any(|set| set.contains(&attributes.as_path)),
        }
    }
}

impl Set {
    fn compile(set: &SetDefinition, sets: &Sets, used: &mut Sets) -> Result<Self, CompileError> {
        let mut remove = Vec::new();
        let mut alone = Vec::new();
        for item in &set.remove_communities {
            match item {
                CommunityItem::Pattern(pattern) => alone.push(pattern.clone()),
                CommunityItem::Set(name) => {
                    remove.push(find("community-set", name, &sets.community, &mut used.community)?);
                }
            }
        }
        if !alone.is_empty() {
            remove.push(Arc::new(CommunitySet::new(alone)?));
        }
        Ok(Self {
            local_pref: set.local_pref,
            med: set.med,
            origin: set.origin,
            next_hop: set.next_hop,
            prepend: set.prepend.clone(),
            communities: set
                .communities
                .as_ref()
                .map(|items| Communities::compile(items, sets, used))
                .transpose()?,
            remove,
            add: Communities::compile(&set.add_communities, sets, used)?,
            weight: set.weight,
            metric: set.metric,
            preferred_source: set.preferred_source,
        })
    }

    fn apply(&self, candidate: &mut Candidate<'_>) {
        if self.local_pref.is_some() {
            candidate.write(self.local_pref, |a| &a.local_pref, |a| &mut a.local_pref);
        }
        if self.med.is_some() {
            candidate.write(self.med, |a| &a.med, |a| &mut a.med);
            candidate.chosen.med = true;
        }
        if let Some(origin) = self.origin {
            candidate.write(origin, |a| &a.origin, |a| &mut a.origin);
        }
        if let Some(setting) = self.next_hop {
            set_next_hop(setting, candidate);
        }
        for prepend in self.prepend.iter().rev() {
            let asn = prepend.asn.unwrap_or(candidate.route.local_asn);
            prepend_asn(candidate, asn, usize::from(prepend.times));
        }
        if let Some(Communities { plain, large, ext }) = &self.communities {
            let now = candidate.attributes();
            if now.communities != *plain
                || now.large_communities != *large
                || now.ext_communities != *ext
            {
                let attributes = candidate.attributes_mut();
                attributes.communities.clone_from(plain);
                attributes.large_communities.clone_from(large);
                attributes.ext_communities.clone_from(ext);
            }
        }
        if self.remove.iter().any(|set| set.matches(candidate.attributes())) {
            let gone = |test: &dyn Fn(&CommunitySet) -> bool| self.remove.iter().any(|s| test(s));
            let attributes = candidate.attributes_mut();
            attributes.communities.retain(|value| !gone(&|set| set.contains_plain(*value)));
            attributes.large_communities.retain(|value| !gone(&|set| set.contains_large(*value)));
            attributes.ext_communities.retain(|value| !gone(&|set| set.contains_ext(*value)));
        }
        self.add.add_to(candidate);
        if let Some(weight) = self.weight {
            candidate.local.weight = weight;
        }
        if self.metric.is_some() {
            candidate.local.metric = self.metric;
        }
        if self.preferred_source.is_some() {
            candidate.local.preferred_source = self.preferred_source;
        }
    }
}

fn set_next_hop(setting: NextHopSetting, candidate: &mut Candidate<'_>) {
    let address = match setting {
        NextHopSetting::Address(address) => Some(address),
        NextHopSetting::SelfAddress => candidate.route.local_address,
    };
    let fits = |address: &IpAddr| address.is_ipv6() || candidate.route.prefix.addr().is_ipv4();
    if let Some(address) = address.filter(fits) {
        let next_hop = NextHop { address, link_local: None };
        candidate.write(next_hop, |a| &a.next_hop, |a| &mut a.next_hop);
        candidate.chosen.next_hop = true;
    }
}

/// Whether these numbers come first. An empty list matches nothing.
fn begins_with(path: &AsPath, asns: &[Asn]) -> bool {
    let mut wanted = asns.iter().peekable();
    for segment in &path.0 {
        match segment {
            AsSegment::Sequence(found) => {
                for asn in found {
                    match wanted.next() {
                        Some(next) if next == asn => {}
                        Some(_) => return false,
                        None => return !asns.is_empty(),
                    }
                }
            }
            AsSegment::Set(_) => break,
            AsSegment::ConfedSequence(_) | AsSegment::ConfedSet(_) => {}
        }
    }
    !asns.is_empty() && wanted.peek().is_none()
}

fn prepend_asn(candidate: &mut Candidate<'_>, asn: Asn, times: usize) {
    if times == 0 {
        return;
    }
    let path = &mut candidate.attributes_mut().as_path.0;
    match path.first_mut() {
        Some(AsSegment::Sequence(asns)) if asns.len() + times <= MAX_SEGMENT => {
            asns.splice(0..0, std::iter::repeat_n(asn, times));
        }
        _ => path.insert(0, AsSegment::Sequence(vec![asn; times])),
    }
}

impl Communities {
    fn compile(
        items: &[CommunityItem],
        sets: &Sets,
        used: &mut Sets,
    ) -> Result<Self, CompileError> {
        let mut out = Self::default();
        for item in items {
            match item {
                CommunityItem::Pattern(pattern) => out.push(pattern)?,
                CommunityItem::Set(name) => {
                    find("community-set", name, &sets.community, &mut used.community)?
                        .patterns()
                        .iter()
                        .try_for_each(|pattern| out.push(pattern))?;
                }
            }
        }
        Ok(out)
    }

    fn push(&mut self, pattern: &CommunityPattern) -> Result<(), CompileError> {
        match pattern {
            CommunityPattern::Value(CommunityValue::Plain(value)) => add(&mut self.plain, *value),
            CommunityPattern::Value(CommunityValue::Large(value)) => add(&mut self.large, *value),
            CommunityPattern::Value(CommunityValue::Ext(value)) => add(&mut self.ext, *value),
            CommunityPattern::Regex(_) => {
                return Err(CompileError::PatternAdded(pattern.to_string()));
            }
        }
        Ok(())
    }

    fn add_to(&self, candidate: &mut Candidate<'_>) {
        let now = candidate.attributes();
        if self.plain.iter().all(|value| now.communities.contains(value))
            && self.large.iter().all(|value| now.large_communities.contains(value))
            && self.ext.iter().all(|value| now.ext_communities.contains(value))
        {
            return;
        }
        let attributes = candidate.attributes_mut();
        self.plain.iter().for_each(|value| add(&mut attributes.communities, *value));
        self.large.iter().for_each(|value| add(&mut attributes.large_communities, *value));
        self.ext.iter().for_each(|value| add(&mut attributes.ext_communities, *value));
    }
}

fn add<T: PartialEq>(values: &mut Vec<T>, value: T) {
    if !values.contains(&value) {
        values.push(value);
    }
}
