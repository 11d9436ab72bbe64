//! The policies of an endpoint in one direction, as chains. `accept` lets a packet through, `drop`
//! does not.
//!
//! The first chain jumps into the tiers in order, then goes to the profiles. A tier's chain jumps into
//! those of its policies, which every list with the policy shares: an edit costs that chain alone. A
//! policy that passes stands in the tier's chain itself, as only from there `return` leaves the tier.
//! In the classes before connection tracking and before translation, which have no profiles and no
//! policies in common with others, what is let through says so to those behind by a mark.
//! The chain of a tier with many policies leads to chains of some of them, by who they concern
//! ([`directory`](super::directory)).
//! Chains are named by which policies or profiles they are of, not by what these say, so equal lists
//! share one, and what is edited changes in place. A link whose packets are counted has chains of its own,
//! with a counter in each rule that decides: nobody else pays for them.

use std::{collections::BTreeMap, sync::Arc};

use ipnet::IpNet;
use margay_model::kinds::{Action, TierAction};
use policy_calc::{
    Class, Direction, Endpoint, Families, Owner, PolicyId, PortMatch, Rule as PolicyRule, State,
    TierPolicies,
};
use sha2::{Digest, Sha256};

use crate::{
    expr::{Expr, Meta, Rate, Reg, Rule, Verdict},
    layout::{
        FAMILIES, Settings, Texts,
        concern::Policies,
        count::Place,
        sets::{Made, of_nets, of_policy, of_ports, of_protocols_with_ports},
        step::{
            Part, address, differs, equals, in_set, is_family, not_in_set, port_key, protocol_is,
            protocol_is_not, transport, verdict,
        },
    },
    name::Name,
    seen::{self, Fate},
    table::{Field, Set, Table},
};

/// What a chain is made of, in one direction.
#[derive(Debug, Clone)]
pub struct Source {
    direction: Direction,
    way: Way,
    of: Of,
    /// The link whose packets it counts; those of others do not pass it.
    counts: Option<Arc<str>>,
}

/// How a packet is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Past the base chain.
    Plain,
    /// And past those of the host that come later.
    Marked,
    /// Likewise, and past connection tracking.
    Untracked,
}

impl Way {
    fn of(class: Class) -> Self {
        match class {
            Class::Normal | Class::Forward => Self::Plain,
            Class::PreDnat => Self::Marked,
            Class::Untracked => Self::Untracked,
        }
    }
}

#[derive(Debug, Clone)]
enum Of {
    Policy(PolicyId),
    Tier(Arc<TierPolicies>),
    /// Some policies of a tier, in order, and its end.
    Some(Whole, Vec<PolicyId>),
    Profiles(Vec<String>),
}

/// A tier of whose policies some are asked.
#[derive(Debug, Clone)]
pub struct Whole {
    /// The chain that has all of them.
    chain: Name,
    tier: Arc<TierPolicies>,
    /// Those that count.
    policies: Arc<[PolicyId]>,
}

impl Source {
    /// What applies to an endpoint in a class: its tiers in order, then its profiles where these
    /// have a say. With `counts` only to packets of this link.
    pub fn of(
        endpoint: &Endpoint,
        class: Class,
        direction: Direction,
        counts: Option<&Arc<str>>,
    ) -> (Vec<Self>, Option<Self>) {
        let of = |of| Self { direction, way: Way::of(class), of, counts: counts.cloned() };
        let tiers = endpoint.class(class).tiers(direction).iter().filter(|tier| tier.is_enforced());
        let tiers = tiers.map(|tier| of(Of::Tier(Arc::new(tier.clone()))));
        let profiles = || of(Of::Profiles(endpoint.profiles.clone()));
        (tiers.collect(), (class == Class::Normal).then(profiles))
    }

    /// Of which direction it is.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Whether it is a policy by itself.
    pub fn is_policy(&self) -> bool {
        matches!(self.of, Of::Policy(_))
    }

    /// A policy by itself, for whom this is for.
    fn apart(&self, id: &PolicyId) -> Self {
        Self { of: Of::Policy(id.clone()), ..self.clone() }
    }

    /// The policies it asks, in order.
    fn policies(&self) -> Vec<&PolicyId> {
        match &self.of {
            Of::Policy(id) => vec![id],
            Of::Tier(tier) => enforced(tier).collect(),
            Of::Some(_, policies) => policies.iter().collect(),
            Of::Profiles(_) => Vec::new(),
        }
    }

    /// Those whose chains its rules jump into.
    pub fn parts(&self, state: &State) -> Vec<Self> {
        if self.is_policy() {
            return Vec::new();
        }
        let apart = self.policies().into_iter();
        let apart = apart.filter(|id| stands_apart(state, id, self.direction));
        apart.map(|id| self.apart(id)).collect()
    }

    /// The tier it is of, if it is one of more than `few` policies, and nobody counts what each does.
    pub fn long(&self, few: usize) -> Option<Whole> {
        let Of::Tier(tier) = &self.of else { return None };
        if self.counts.is_some() || enforced(tier).count() <= few {
            return None;
        }
        let policies = enforced(tier).cloned().collect();
        Some(Whole { chain: self.name(), tier: tier.clone(), policies })
    }

    /// Policies of a tier by their places, and its end.
    pub fn some(&self, of: &Whole, places: &[usize]) -> Self {
        let some = places.iter().filter_map(|at| of.policies.get(*at).cloned());
        Self { of: Of::Some(of.clone(), some.collect()), ..self.clone() }
    }

    /// What can be told of who its policies concern.
    pub fn concern(&self, state: &State) -> Policies {
        let rules = self.policies().into_iter().map(|id| {
            let policy = state.policies.get(id);
            policy.map(|policy| policy.rules(self.direction)).unwrap_or_default()
        });
        Policies::new(rules, self.direction)
    }

    /// The name of its chain: equal lists have one.
    pub fn name(&self) -> Name {
        let (kind, key) = match &self.of {
            Of::Policy(id) => ("r", vec![id.to_string()]),
            Of::Tier(tier) => ("t", tier_key(tier)),
            Of::Some(of, some) => {
                let whole = std::iter::once(of.chain.to_string());
                ("s", whole.chain(some.iter().map(ToString::to_string)).collect())
            }
            Of::Profiles(names) => ("f", names.clone()),
        };
        let kind = match self.way {
            Way::Plain => kind.to_owned(),
            Way::Marked => format!("d{kind}"),
            Way::Untracked => format!("u{kind}"),
        };
        let shared = named(&kind, self.direction, &key);
        match &self.counts {
            Some(link) => Name::of(&format!("{shared}/{link}")),
            None => shared,
        }
    }

    /// Who has a say in its rules.
    pub fn owners(&self) -> Vec<Owner> {
        match &self.of {
            Of::Profiles(names) => names.iter().cloned().map(Owner::Profile).collect(),
            _ => self.policies().into_iter().cloned().map(Owner::Policy).collect(),
        }
    }

    /// Its rules, the sets they ask that this table has not, and descriptions without room. Where these settings have decisions
    /// told of, each says whose it is.
    pub fn rules(
        &self,
        state: &State,
        settings: &Settings,
        have: &Table,
    ) -> (Vec<Rule>, BTreeMap<Name, Set>, Texts) {
        let compiler = self.compile(state, settings, have);
        (compiler.rules, compiler.sets.made(), compiler.texts)
    }

    /// What each of its rules is of; `None` for one that only leads on.
    pub fn places(&self, state: &State, settings: &Settings, have: &Table) -> Vec<Option<Place>> {
        self.compile(state, settings, have).places
    }

    fn compile<'a>(
        &'a self,
        state: &'a State,
        settings: &'a Settings,
        have: &'a Table,
    ) -> Compiler<'a> {
        let (sets, rules, places) = (Made::beside(have), Vec::new(), Vec::new());
        let texts = Texts::new();
        let mut compiler = Compiler { source: self, state, settings, sets, rules, places, texts };
        match &self.of {
            Of::Policy(id) => compiler.policy(id),
            Of::Tier(tier) | Of::Some(Whole { tier, .. }, _) => {
                compiler.tier(tier, self.policies());
            }
            Of::Profiles(names) => compiler.profiles(names),
        }
        compiler
    }
}

/// Whether a policy has a chain of its own, apart from that of its tier.
pub fn stands_apart(state: &State, id: &PolicyId, direction: Direction) -> bool {
    let rules = state.policies.get(id).map(|policy| policy.rules(direction));
    !rules.unwrap_or_default().iter().any(|rule| rule.action == Action::Pass)
}

fn enforced(tier: &TierPolicies) -> impl Iterator<Item = &PolicyId> {
    tier.policies.iter().filter(|policy| !policy.is_staged())
}

/// The name of the chain of these steps.
pub fn list_name(direction: Direction, steps: &[Verdict]) -> Name {
    let key: Vec<_> = steps.iter().filter_map(Verdict::chain).map(Name::to_string).collect();
    named("p", direction, &key)
}

pub fn named(kind: &str, direction: Direction, key: &[String]) -> Name {
    let mut hash = Sha256::new();
    for part in key {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let digest: String = digest.iter().take(12).map(|octet| format!("{octet:02x}")).collect();
    let way = if direction == Direction::Ingress { 'i' } else { 'o' };
    Name::of(&format!("{kind}{way}-{digest}"))
}

/// The end of a tier in words, with the policy that leads there: the last of those that count.
fn end_of(tier: &TierPolicies) -> String {
    let mut policies = tier.policies.iter().rev().filter(|policy| !policy.is_staged());
    let last = policies.next().map(ToString::to_string).unwrap_or_default();
    match policies.count() {
        0 => format!("end of tier {} ({last})", tier.tier),
        more => format!("end of tier {} ({last} and {more} more)", tier.tier),
    }
}

/// What a tier's chain is of.
fn tier_key(tier: &TierPolicies) -> Vec<String> {
    let end = if tier.default_action == TierAction::Deny { "Deny" } else { "Pass" };
    let own = [tier.tier.clone(), end.to_owned()];
    own.into_iter().chain(enforced(tier).map(ToString::to_string)).collect()
}

struct Compiler<'a> {
    source: &'a Source,
    state: &'a State,
    settings: &'a Settings,
    sets: Made<'a>,
    rules: Vec<Rule>,
    /// What each of them is of; empty where nobody counts.
    places: Vec<Option<Place>>,
    texts: Texts,
}

/// Ways to fulfil a part of a rule: each is a row of its own, and any of them will do.
type Ways = Vec<Vec<Expr>>;

impl Compiler<'_> {
    fn policy(&mut self, id: &PolicyId) {
        let state = self.state;
        let policy = state.policies.get(id);
        let rules = policy.map(|policy| policy.rules(self.source.direction)).unwrap_or_default();
        let owner = Owner::Policy(id.clone());
        for (index, rule) in rules.iter().enumerate() {
            let end = match rule.action {
                Action::Allow => Some(Verdict::Accept),
                Action::Deny => Some(Verdict::Drop),
                Action::Pass => Some(Verdict::Return),
                Action::Log => None,
            };
            let by = format!("{id} rule {index}");
            let tier = policy.map(|policy| policy.tier.as_str()).unwrap_or_default();
            self.rule(rule, end, (&owner, index), tier, &by);
        }
    }

    fn tier(&mut self, tier: &TierPolicies, policies: Vec<&PolicyId>) {
        for id in policies {
            if stands_apart(self.state, id, self.source.direction) {
                let jump = verdict(Verdict::Jump(self.source.apart(id).name()));
                self.push(Rule::new(jump, Some(&id.to_string())), || None);
            } else {
                self.policy(id);
            }
        }
        let passes = tier.default_action == TierAction::Pass;
        let end = if passes { Verdict::Return } else { Verdict::Drop };
        let remark = end_of(tier);
        let rule = Rule::new(self.end(Some(&end), &remark), Some(&remark));
        self.push(rule, || Some(Place::Tier(tier.tier.clone())));
    }

    fn profiles(&mut self, names: &[String]) {
        let state = self.state;
        for name in names {
            let profile = state.profiles.get(name);
            // One that is missing allows nothing, nor do those behind it.
            if profile.is_none_or(|profile| !profile.exists) {
                break;
            }
            let rules = profile.map(|one| one.rules(self.source.direction)).unwrap_or_default();
            let owner = Owner::Profile(name.clone());
            for (index, rule) in rules.iter().enumerate() {
                let end = match rule.action {
                    Action::Allow => Some(Verdict::Accept),
                    Action::Deny | Action::Pass => Some(Verdict::Drop),
                    Action::Log => None,
                };
                let remark = format!("profile {name} rule {index}");
                self.rule(rule, end, (&owner, index), "", &remark);
            }
        }
        let remark = "no profile allowed it";
        let rule = Rule::new(self.end(Some(&Verdict::Drop), remark), Some(remark));
        self.push(rule, || Some(Place::NoProfile));
    }

    fn push(&mut self, rule: Rule, place: impl FnOnce() -> Option<Place>) {
        self.rules.push(rule);
        if self.source.counts.is_some() {
            self.places.push(place());
        }
    }

    /// A rule in every family it exists in, once for each way to match; `end` is `None` for one
    /// that tells only; `place`: whose it is, and which; `tier`: of its policy.
    fn rule(
        &mut self,
        rule: &PolicyRule,
        end: Option<Verdict>,
        place: (&Owner, usize),
        tier: &str,
        remark: &str,
    ) {
        let by = match (&self.settings.log_prefix, &end) {
            (Some(prefix), None) => seen::with_prefix(remark, &log_prefix(prefix, place.0, tier)),
            _ => remark.to_owned(),
        };
        let end = self.end(end.as_ref(), &by);
        let Settings { members, .. } = self.settings;
        let asks_set = rule.source.set.is_some() || rule.destination.set.is_some();
        for family in FAMILIES {
            let is_in = |of: Families| if family == Field::Ipv4 { of.v4 } else { of.v6 };
            if !is_in(rule.families) || asks_set && !is_in(*members) {
                continue;
            }
            let mut ways: Ways = vec![is_family(family)];
            all(&mut ways, &protocols(rule));
            for part in [Part::Source, Part::Destination] {
                ways = self.side(ways, rule, part, family);
            }
            for mut steps in ways {
                steps.extend_from_slice(&end);
                let (owner, index) = place;
                let place = || Some(Place::Rule { owner: owner.clone(), index });
                self.push(Rule::new(steps, Some(remark)), place);
            }
        }
    }

    /// How a rule ends: with its verdict, before which it is counted and, if that is a decision, told of;
    /// `None` for a rule that only tells, and that not too often. What is not tracked is told of when it is dropped only: every
    /// packet of it is decided.
    fn end(&mut self, end: Option<&Verdict>, by: &str) -> Vec<Expr> {
        let Source { direction, way, .. } = *self.source;
        let told = self.settings.flows;
        let fate = match end {
            None => Some(Fate::Logged),
            Some(Verdict::Accept) if told && way != Way::Untracked => Some(Fate::Allowed),
            Some(Verdict::Drop) if told => Some(Fate::Denied),
            Some(_) => None,
        };
        let counter = self.source.counts.is_some().then_some(Expr::Counter);
        let Rate { times, seconds, burst } = self.settings.log_rate;
        // What the kernel would make of it, or the rule looks like another when it is read.
        let burst = if burst == 0 { Rate::BURST } else { burst };
        let seldom = end.is_none().then_some(Expr::Within(Rate { times, seconds, burst }));
        let log = fate.map(|fate| Expr::Log(seen::log(direction, fate, by)));
        let short = seen::fitted(by);
        if fate.is_some() && short != by {
            self.texts.insert(short.into_owned(), by.to_owned());
        }
        let mut steps: Vec<Expr> = counter.into_iter().chain(seldom).chain(log).collect();
        if end == Some(&Verdict::Accept) && way != Way::Plain {
            steps.extend((way == Way::Untracked).then_some(Expr::Notrack));
            steps.extend(self.settings.marks.pass());
        }
        steps.extend(end.cloned().map(Expr::Verdict));
        steps
    }

    /// The ways that fulfil one side of a rule, too; none if it can never be.
    fn side(&mut self, mut ways: Ways, rule: &PolicyRule, part: Part, family: Field) -> Ways {
        let side = match part {
            Part::Source => &rule.source,
            Part::Destination => &rule.destination,
        };
        let load = || address(family, part, Reg::FIRST);
        if !side.nets.is_empty() {
            match self.nets(&side.nets, family) {
                Some(set) => all(&mut ways, &in_set(load(), set.as_str())),
                None => return Vec::new(),
            }
        }
        if let Some(set) = self.nets(&side.not_nets, family) {
            all(&mut ways, &not_in_set(load(), set.as_str()));
        }
        if let Some(id) = side.set {
            let set = of_policy(self.state, id, family, &mut self.sets);
            all(&mut ways, &in_set(load(), set.as_str()));
        }
        if let Some(id) = side.not_set {
            let set = of_policy(self.state, id, family, &mut self.sets);
            all(&mut ways, &not_in_set(load(), set.as_str()));
        }
        if let Some(ports) = &side.ports {
            let each = self.ports(ports, part, family);
            let looks = each.into_iter().map(|(load, set)| in_set(load, set.as_str()));
            ways = any(&ways, &looks.collect::<Ways>());
        }
        if let Some(ports) = &side.not_ports {
            let mut portless = Ways::new();
            if rule.protocol.is_none() {
                // A packet without ports is on none, and may be too short to look for them.
                let have = of_protocols_with_ports(&mut self.sets);
                let load = || vec![Expr::Meta { key: Meta::Protocol, to: Reg::FIRST }];
                portless.clone_from(&ways);
                all(&mut portless, &not_in_set(load(), have.as_str()));
                all(&mut ways, &in_set(load(), have.as_str()));
            }
            for (load, set) in self.ports(ports, part, family) {
                all(&mut ways, &not_in_set(load, set.as_str()));
            }
            ways.extend(portless);
        }
        ways
    }

    fn nets(&mut self, nets: &[IpNet], family: Field) -> Option<Name> {
        of_nets(nets, family, &mut self.sets)
    }

    /// What to load for a look at ports, and the set to look into, for each of several sets.
    fn ports(&mut self, ports: &PortMatch, part: Part, family: Field) -> Vec<(Vec<Expr>, Name)> {
        let offset = if part == Part::Source { 0 } else { 2 };
        let mut all = Vec::new();
        if let Some(set) = of_ports(&ports.ranges, &mut self.sets) {
            all.push((vec![transport(offset, 2, Reg::FIRST)], set));
        }
        for id in &ports.sets {
            let set = of_policy(self.state, *id, family, &mut self.sets);
            all.push((port_key(family, part, offset), set));
        }
        all
    }
}

/// What a rule of this owner logs with. Kinds in short are Calico's, as far as a name tells what a policy
/// was made of.
fn log_prefix(prefix: &str, owner: &Owner, tier: &str) -> String {
    let (kind, name, whole) = match owner {
        Owner::Policy(id) => {
            let made = ["knp", "kcnp", "kanp", "kbanp"];
            let made = made.into_iter().find(|made| {
                id.name().strip_prefix(made).is_some_and(|rest| rest.starts_with('.'))
            });
            let (own, whole) = match id.namespace() {
                "" => ("gnp", id.name().to_owned()),
                namespace => ("np", format!("{namespace}/{}", id.name())),
            };
            (made.unwrap_or(own), id.name(), whole)
        }
        Owner::Profile(name) => ("pro", name.as_str(), name.clone()),
    };
    let mut text = String::new();
    let mut rest = prefix;
    while let Some((before, behind)) = rest.split_once('%') {
        text.push_str(before);
        let mut letters = behind.chars();
        match letters.next() {
            Some('t') => text.push_str(tier),
            Some('k') => text.push_str(kind),
            Some('n') => text.push_str(name),
            Some('p') => text.push_str(&whole),
            other => text.extend(std::iter::once('%').chain(other)),
        }
        rest = letters.as_str();
    }
    text.push_str(rest);
    text
}

/// What a rule says of protocols and of ICMP.
fn protocols(rule: &PolicyRule) -> Vec<Expr> {
    let mut steps = Vec::new();
    if let Some(number) = rule.protocol {
        steps.extend(protocol_is(number));
    }
    if let Some(number) = rule.not_protocol {
        steps.extend(protocol_is_not(number));
    }
    for (icmp, wanted) in [(rule.icmp, true), (rule.not_icmp, false)] {
        let Some(icmp) = icmp else { continue };
        let (len, octets) = match icmp.code {
            Some(code) => (2, vec![icmp.kind, code]),
            None => (1, vec![icmp.kind]),
        };
        steps.push(transport(0, len, Reg::FIRST));
        steps.push(if wanted { equals(&octets) } else { differs(&octets) });
    }
    steps
}

/// Every way does this, too.
fn all(ways: &mut [Vec<Expr>], steps: &[Expr]) {
    ways.iter_mut().for_each(|way| way.extend_from_slice(steps));
}

/// Every way in each of these forms.
fn any(ways: &[Vec<Expr>], forms: &[Vec<Expr>]) -> Ways {
    let both =
        |way: &Vec<Expr>| forms.iter().map(|form| [&way[..], form].concat()).collect::<Ways>();
    ways.iter().flat_map(both).collect()
}
