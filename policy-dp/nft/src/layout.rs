//! What is to be enforced, as the table that enforces it.
//!
//! Workload endpoints. A packet to or from one is caught by the name of its link, led by a map to
//! the link's own chain, which has the same few rules for each, and from there to the chains of its
//! policies, which endpoints with equal policies share. There `accept` lets it through as far as this
//! endpoint is concerned: what comes next (the policies of who it is for, what workloads may do to
//! their host) stands in base chains behind, which see it all the same. No mark of it is used.
//!
//! Promises that the same enforcement makes the same table, names and all, whatever it was before;
//! that a change costs what it touches; that a link of ours which no endpoint names carries nothing;
//! that what is missing closes.

mod count;
mod policy;
mod sets;
mod step;
mod uses;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use policy_calc::{
    Deltas, Direction, Endpoint, EndpointId, Interface, Limit, Owner, PacketRate, PolicyId,
    SetDelta, SetId, State,
};

pub use self::count::{Counted, Place};
use self::step::{
    Part, address, in_set, is_family, link, link_begins, link_name, looked_up, not_in_set, port_is,
    protocol_is, verdict,
};
use self::{policy::Source, sets::Kept, uses::Uses};
use crate::{
    expr::{Base, Ct, Expr, Reg, Rule, Verdict, ct_state},
    name::Name,
    plan::Touched,
    table::{Chain, ChainKind, Field, Hook, HookPoint, Set, Shape, Span, Table, Value, disjoint},
};

/// What holds besides policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What the names of workloads' links begin with: 1 to 15 octets.
    pub prefix: String,
    /// What becomes of a packet from a workload to its own host that the workload's policies allow.
    pub to_host: ToHost,
    /// UDP port that no workload may send to: its own encapsulation would get round policies.
    pub vxlan_port: Option<u16>,
    /// Ranges of addresses of workloads.
    pub pools: Vec<Pool>,
    /// Whether each decision about a connection is told of ([`seen`](crate::seen)).
    pub flows: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefix: "cali".to_owned(),
            to_host: ToHost::Drop,
            vxlan_port: Some(4789),
            pools: Vec::new(),
            flows: false,
        }
    }
}

/// `defaultEndpointToHostAction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ToHost {
    /// It is dropped.
    Drop,
    /// The host's own rules decide.
    Return,
    /// It is accepted, as far as our table is concerned.
    Accept,
}

/// A range of addresses of workloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The range.
    pub range: IpNet,
    /// What goes from it to an address of no pool gets an address of the host.
    pub masquerade: bool,
}

/// The endpoint of each link that has one.
pub type Links = BTreeMap<String, Arc<Endpoint>>;

/// The table that enforces this; of several endpoints that name one link the first has it.
pub fn table(state: &State, settings: &Settings) -> Table {
    let mut links = Links::new();
    for (id, endpoint) in &state.endpoints {
        if let Some(link) = link_of(id, endpoint) {
            links.entry(link.to_owned()).or_insert_with(|| endpoint.clone());
        }
    }
    Layout::new(settings.clone(), state, &links).table
}

/// The link that a workload names; none if no link can be called so.
pub fn link_of<'a>(id: &EndpointId, endpoint: &'a Endpoint) -> Option<&'a str> {
    match (id, &endpoint.interface) {
        (EndpointId::Workload { .. }, Interface::Named(name)) => {
            (1..LINK_ROOM).contains(&name.len()).then_some(name)
        }
        _ => None,
    }
}

/// The chains that a link's packets pass first, from it and to it.
pub fn chains_of(link: &str) -> [Name; 2] {
    [FROM, TO].map(|map| own_chain(map, link))
}

/// Whether a chain or set of this name is there for all workloads.
pub fn is_common(name: &Name) -> bool {
    COMMON.contains(&name.as_str())
}

/// Whether a link without an element in the set or map of this name carries nothing, or loses no
/// more than addresses to send from.
pub fn closes_without(set: &Name) -> bool {
    let sources = FAMILIES.into_iter().flat_map(source_sets);
    [FROM, TO].into_iter().chain(sources).any(|name| name == set.as_str())
}

/// A table, kept as it should be.
#[derive(Debug)]
pub struct Layout {
    settings: Settings,
    table: Table,
    /// What was laid out for each link.
    links: Links,
    /// Those whose packets are counted.
    counted: BTreeSet<Arc<str>>,
    /// What the chains of tiers and profiles are made of, and the other way round.
    sources: BTreeMap<Name, Source>,
    made_of: BTreeMap<Owner, BTreeSet<Name>>,
    uses: Uses,
    /// Since the last change was begun.
    touched: Touched,
}

impl Layout {
    /// Of what is to be enforced, all at once.
    pub fn new(settings: Settings, state: &State, links: &Links) -> Self {
        let mut layout = Self {
            settings,
            table: Table::default(),
            links: Links::new(),
            counted: BTreeSet::new(),
            sources: BTreeMap::new(),
            made_of: BTreeMap::new(),
            uses: Uses::default(),
            touched: Touched::default(),
        };
        layout.base();
        layout.sources();
        layout.host_side();
        layout.masquerade();
        for (name, endpoint) in links {
            layout.link(state, name, Some(endpoint));
        }
        layout.touched = Touched::default();
        layout
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Takes in a change, which `state` has seen already, and the links whose endpoint is another
    /// now or none; gives what of the table may be another. What no link needs costs nothing.
    pub fn apply(
        &mut self,
        state: &State,
        deltas: &Deltas,
        links: &BTreeMap<String, Option<Arc<Endpoint>>>,
    ) -> Touched {
        let policies = deltas.policies.keys().chain(&deltas.policies_removed);
        let mut dirty: BTreeSet<Name> = policies.flat_map(|id| self.edited(state, id)).collect();
        for name in deltas.profiles.keys().chain(&deltas.profiles_removed) {
            let made = self.made_of.get(&Owner::Profile(name.clone()));
            dirty.extend(made.into_iter().flatten().cloned());
        }
        for (id, delta) in &deltas.sets_changed {
            dirty.extend(self.members(state, *id, delta));
        }
        for name in dirty {
            // One may have gone with the last who used it.
            if let Some(source) = self.sources.get(&name).cloned() {
                self.make(state, name, &source);
            }
        }
        for (name, endpoint) in links {
            self.link(state, name, endpoint.as_ref());
        }
        std::mem::take(&mut self.touched)
    }

    /// The chains that a policy with other rules changes: its own, unless it begins or ceases to have
    /// one in a direction; then all that it is in.
    fn edited(&self, state: &State, id: &PolicyId) -> Vec<Name> {
        let Some(all) = self.made_of.get(&Owner::Policy(id.clone())) else { return Vec::new() };
        let of = |direction| -> Vec<Name> {
            let found = |name: &Name| Some((name.clone(), self.sources.get(name)?));
            let (own, all): (Vec<_>, Vec<_>) = all
                .iter()
                .filter_map(found)
                .filter(|(_, source)| source.direction() == direction)
                .partition(|(_, source)| source.is_policy());
            let alone = policy::stands_apart(state, id, direction) && !own.is_empty();
            let others = all.into_iter().filter(|_| !alone);
            own.into_iter().chain(others).map(|(name, _)| name).collect()
        };
        Direction::BOTH.into_iter().flat_map(of).collect()
    }

    /// Takes in members that come and go. Gives the chains that need another set now, of another
    /// kind.
    fn members(&mut self, state: &State, id: SetId, delta: &SetDelta) -> BTreeSet<Name> {
        let mut dirty = BTreeSet::new();
        for family in FAMILIES {
            let Some(name) = sets::known(id, family, &self.table) else { continue };
            let Some(set) = self.table.sets.get_mut(&name) else { continue };
            match sets::change(state, id, family, delta, set) {
                Kept::Members(spans) => {
                    if !spans.is_empty() {
                        self.touched.elements.entry(name).or_default().extend(spans);
                    }
                }
                Kept::Ranges => {
                    self.touched.sets.insert(name);
                }
                Kept::Not => {
                    self.table.sets.remove(&name);
                    dirty.extend(self.uses.of_set(&name).cloned());
                    self.touched.sets.insert(name);
                }
            }
        }
        dirty
    }

    /// Makes the chain of a tier or of profiles, anew if it is there.
    fn make(&mut self, state: &State, name: Name, source: &Source) {
        for part in source.parts(state) {
            self.made(state, &part);
        }
        let (rules, made) = source.rules(state, self.settings.flows, &self.table);
        for owner in source.owners() {
            self.made_of.entry(owner).or_default().insert(name.clone());
        }
        self.sources.insert(name.clone(), source.clone());
        let used = rules.iter().flat_map(Rule::sets);
        let used: BTreeSet<Name> = used.filter(|set| made.contains_key(set)).cloned().collect();
        let new = made.into_iter().filter(|(set, _)| used.contains(set));
        self.table.sets.extend(new);
        self.put(name, rules);
    }

    /// Gives a chain its rules; what nobody uses any more goes.
    fn put(&mut self, name: Name, rules: Vec<Rule>) {
        let before = self.table.chains.get(&name).map(|chain| chain.rules.as_slice());
        if before == Some(rules.as_slice()) {
            return;
        }
        self.touched.chains.insert(name.clone());
        let unused = self.uses.replace(&name, before.unwrap_or_default(), &rules);
        // A set that had no user is new.
        self.touched.sets.extend(unused.new_sets);
        self.table.chains.insert(name, Chain { hook: None, rules });
        self.sweep(unused.chains, unused.sets);
    }

    /// Takes away what nobody uses.
    fn sweep(&mut self, chains: Vec<Name>, sets: Vec<Name>) {
        for set in sets {
            self.table.sets.remove(&set);
            self.touched.sets.insert(set);
        }
        for chain in chains {
            self.drop_chain(chain);
        }
    }

    fn drop_chain(&mut self, name: Name) {
        let Some(chain) = self.table.chains.remove(&name) else { return };
        for owner in self.sources.remove(&name).iter().flat_map(Source::owners) {
            if let Some(made) = self.made_of.get_mut(&owner) {
                made.remove(&name);
                if made.is_empty() {
                    self.made_of.remove(&owner);
                }
            }
        }
        let unused = self.uses.replace(&name, &chain.rules, &[]);
        self.touched.chains.insert(name);
        self.sweep(unused.chains, unused.sets);
    }

    /// A link has this endpoint now, or none.
    fn link(&mut self, state: &State, link: &str, endpoint: Option<&Arc<Endpoint>>) {
        let before = self.links.remove(link);
        if let Some(before) = &before {
            for (set, span, _) in self.elements(link, before) {
                if let Some(found) = self.table.sets.get_mut(&set) {
                    found.elements.remove(&span);
                }
                self.touched.elements.entry(set).or_default().insert(span);
            }
        }
        let Some(endpoint) = endpoint else {
            if before.is_some() {
                chains_of(link).into_iter().for_each(|chain| self.drop_chain(chain));
            }
            return;
        };
        for (direction, own) in
            [Direction::Egress, Direction::Ingress].into_iter().zip(chains_of(link))
        {
            let policies = self.policies(state, link, endpoint, direction);
            self.put(own, own_rules(endpoint.limits.direction(direction), policies));
        }
        for (set, span, value) in self.elements(link, endpoint) {
            if let Some(found) = self.table.sets.get_mut(&set) {
                found.elements.insert(span.clone(), value);
            }
            self.touched.elements.entry(set).or_default().insert(span);
        }
        self.links.insert(link.to_owned(), endpoint.clone());
    }

    /// The first chain of the policies of an endpoint in one direction: it jumps into the tiers in
    /// order, then goes to the profiles.
    fn policies(
        &mut self,
        state: &State,
        link: &str,
        endpoint: &Endpoint,
        direction: Direction,
    ) -> Name {
        let (tiers, profiles) = Source::of(endpoint, direction, self.counted.get(link));
        let mut steps: Vec<Verdict> =
            tiers.iter().map(|tier| Verdict::Jump(self.made(state, tier))).collect();
        let last = self.made(state, &profiles);
        if steps.is_empty() {
            return last;
        }
        steps.push(Verdict::Goto(last));
        let name = policy::list_name(direction, &steps);
        if !self.table.chains.contains_key(&name) {
            let rules = steps.into_iter().map(|step| Rule::new(verdict(step), None));
            self.put(name.clone(), rules.collect());
        }
        name
    }

    /// The chain of a tier or of profiles, made unless it is there.
    fn made(&mut self, state: &State, source: &Source) -> Name {
        let name = source.name();
        if !self.table.chains.contains_key(&name) {
            self.make(state, name.clone(), source);
        }
        name
    }

    /// What a link has in the sets and maps of all workloads.
    fn elements(&self, link: &str, endpoint: &Endpoint) -> Vec<(Name, Span, Value)> {
        let key = Span::one(&link_name(link));
        let mut all = Vec::new();
        if !link.starts_with(&self.settings.prefix) {
            all.push((Name::of(OTHER_LINKS), key.clone(), Value::Member));
        }
        for (map, own) in [FROM, TO].into_iter().zip(chains_of(link)) {
            all.push((Name::of(map), key.clone(), Value::Verdict(Verdict::Goto(own))));
        }
        let hosts: Vec<_> = endpoint.addresses.iter().copied().map(IpNet::from).collect();
        for family in FAMILIES {
            let [exact, ranges] = source_sets(family).map(Name::of);
            let of = |nets: &[IpNet]| disjoint(nets.iter().filter_map(|net| span_of(net, family)));
            // Of single addresses each is one element; they may have become one range.
            let single = of(&hosts).into_iter().flat_map(sets::singles).map(|span| (&exact, span));
            let allowed = of(&endpoint.allowed_sources).into_iter().map(|span| (&ranges, span));
            all.extend(
                single
                    .chain(allowed)
                    .map(|(set, span)| (set.clone(), key.clone().then(&span), Value::Member)),
            );
        }
        all
    }

    fn chain(&mut self, name: &str, rules: Vec<Rule>) {
        self.table.chains.insert(name.into(), Chain { hook: None, rules });
    }

    fn set(&mut self, name: &str, shape: Shape) -> &mut Set {
        self.table.sets.entry(name.into()).or_insert_with(|| Set::new(shape))
    }

    /// The base chains: packets of workloads' links are led on, others go their way.
    fn base(&mut self) {
        self.set(OTHER_LINKS, Shape::set(&[Field::Link]));
        self.set(FROM, Shape::map(&[Field::Link]));
        self.set(TO, Shape::map(&[Field::Link]));
        let mut states = Set::new(Shape::map(&[Field::State]));
        for (state, end) in [
            (ct_state::INVALID, Verdict::Drop),
            (ct_state::ESTABLISHED, Verdict::Accept),
            (ct_state::RELATED, Verdict::Accept),
        ] {
            states.elements.insert(Span::one(&state.to_ne_bytes()), Value::Verdict(end));
        }
        self.table.sets.insert(STATES.into(), states);
        for (name, point, priority, lead) in [
            ("raw-prerouting", HookPoint::Prerouting, -300, SOURCES),
            ("forward-from", HookPoint::Forward, 0, FROM),
            ("forward-to", HookPoint::Forward, 1, TO),
            ("input-from", HookPoint::Input, 0, HOST_FROM),
            ("input-to-host", HookPoint::Input, 1, TO_HOST),
        ] {
            let hook = Some(Hook { kind: ChainKind::Filter, point, priority, drops: false });
            let rules = self.lead(lead).into();
            self.table.chains.insert(name.into(), Chain { hook, rules });
        }
        // What no endpoint names has no way on.
        let drop = || Rule::new(verdict(Verdict::Drop), Some("no endpoint has it"));
        let mut from = vec![Rule::new([protocol_is(IPIP), verdict(Verdict::Drop)].concat(), None)];
        if let Some(port) = self.settings.vxlan_port {
            let steps = [protocol_is(UDP), port_is(2, port), verdict(Verdict::Drop)];
            from.push(Rule::new(steps.concat(), None));
        }
        from.extend([Rule::new(looked_up(link(Part::Source), FROM), None), drop()]);
        self.chain(FROM, from);
        let to = vec![Rule::new(looked_up(link(Part::Destination), TO), None), drop()];
        self.chain(TO, to);
    }

    /// The rules that lead what passes workloads' links to a chain.
    fn lead(&self, chain: &str) -> [Rule; 2] {
        let part = if chain == TO { Part::Destination } else { Part::Source };
        let jump = || verdict(Verdict::Jump(chain.into()));
        let ours = link_begins(part, &self.settings.prefix);
        let others = in_set(link(part), OTHER_LINKS);
        [Rule::new([ours, jump()].concat(), None), Rule::new([others, jump()].concat(), None)]
    }

    /// Nobody sends from what is not his.
    fn sources(&mut self) {
        let back = || verdict(Verdict::Return);
        let mut rules = Vec::new();
        for family in FAMILIES {
            let names = source_sets(family);
            self.set(names[0], Shape::set(&[Field::Link, family]));
            self.set(names[1], Shape::ranges(&[Field::Link, family]));
            for name in names {
                let mut steps = is_family(family);
                steps.extend(link(Part::Source));
                steps.extend(address(family, Part::Source, Reg::at(4)));
                steps.push(Expr::Lookup { set: name.into(), from: Reg::FIRST, inverted: false });
                rules.push(Rule::new([steps, back()].concat(), None));
            }
        }
        // To find its neighbours a link needs addresses of its own making, and none.
        let local = Set {
            shape: Shape::ranges(&[Field::Ipv6]),
            elements: [Span::one(&[0; 16]), Span::prefix(&LINK_LOCAL, 10)]
                .map(|span| (span, Value::Member))
                .into(),
        };
        self.table.sets.insert(LOCAL_SOURCES.into(), local);
        let mut steps = is_family(Field::Ipv6);
        steps.extend(in_set(address(Field::Ipv6, Part::Source, Reg::FIRST), LOCAL_SOURCES));
        rules.push(Rule::new([steps, back()].concat(), None));
        let drop = verdict(Verdict::Drop);
        rules.push(Rule::new(drop, Some("sent from an address of others")));
        self.chain(SOURCES, rules);
    }

    /// From a workload to its own host.
    fn host_side(&mut self) {
        let mut kinds = Set::new(Shape::set(&[Field::Protocol]));
        // Listeners, neighbours and who looks for a router; nothing that only routers say.
        for kind in [130, 131, 132, 133, 135, 136_u8] {
            kinds.elements.insert(Span::one(&[kind]), Value::Member);
        }
        self.table.sets.insert(NEIGHBOUR_KINDS.into(), kinds);
        let neighbours = || {
            let mut steps = protocol_is(ICMPV6);
            let kind = Expr::Payload { base: Base::Transport, offset: 0, len: 1, to: Reg::FIRST };
            steps.extend(in_set(vec![kind], NEIGHBOUR_KINDS));
            Rule::new([steps, verdict(Verdict::Accept)].concat(), None)
        };
        let policies = Rule::new(verdict(Verdict::Goto(FROM.into())), None);
        self.chain(HOST_FROM, vec![neighbours(), policies]);
        let mut rules = vec![neighbours(), by_state()];
        match self.settings.to_host {
            ToHost::Drop => rules.push(Rule::new(verdict(Verdict::Drop), None)),
            ToHost::Accept => rules.push(Rule::new(verdict(Verdict::Accept), None)),
            ToHost::Return => {}
        }
        self.chain(TO_HOST, rules);
    }

    /// Workloads of some pools reach the rest of the world by the host's address.
    fn masquerade(&mut self) {
        let hook = Some(Hook {
            kind: ChainKind::Nat,
            point: HookPoint::Postrouting,
            // Behind others that mark what they masquerade.
            priority: 110,
            drops: false,
        });
        let mut rules = Vec::new();
        for family in FAMILIES {
            let [all, some] = pool_sets(family);
            let ranges = |only: bool| {
                let pools = self.settings.pools.iter().filter(move |pool| pool.masquerade || !only);
                disjoint(pools.filter_map(|pool| span_of(&pool.range, family)))
            };
            for (name, spans) in [(all, ranges(false)), (some, ranges(true))] {
                let elements = spans.into_iter().map(|span| (span, Value::Member)).collect();
                let set = Set { shape: Shape::ranges(&[family]), elements };
                self.table.sets.insert(name.into(), set);
            }
            let mut steps = is_family(family);
            steps.extend(in_set(address(family, Part::Source, Reg::FIRST), some));
            steps.extend(not_in_set(address(family, Part::Destination, Reg::FIRST), all));
            steps.push(Expr::Masquerade);
            rules.push(Rule::new(steps, Some("natOutgoing")));
        }
        self.table.chains.insert("nat-postrouting".into(), Chain { hook, rules });
    }
}

/// The chain of a link's own; `map` leads to it.
fn own_chain(map: &str, link: &str) -> Name {
    Name::of(&format!("{map}/{link}"))
}

/// What a link's own chain does before it leads on: of packets all are counted, of connections those
/// that are there. Both are the link's alone; policies are shared.
fn own_rules(limit: &Limit, policies: Name) -> Vec<Rule> {
    let over = |what: Expr, remark: &str| {
        Rule::new(vec![what, Expr::Verdict(Verdict::Drop)], Some(remark))
    };
    let mut rules = Vec::new();
    if let Some(PacketRate { per_second, burst }) = limit.packets {
        rules.push(over(Expr::Faster { per_second, burst }, "more packets than it may"));
    }
    rules.push(by_state());
    if let Some(most) = limit.connections {
        rules.push(over(Expr::MoreConnections { most }, "more connections than it may"));
    }
    rules.push(Rule::new(verdict(Verdict::Goto(policies)), None));
    rules
}

/// A known connection goes on, what tracking can make nothing of is dropped.
fn by_state() -> Rule {
    let steps = vec![
        Expr::Ct { key: Ct::State, to: Reg::FIRST },
        Expr::VerdictOf { map: STATES.into(), from: Reg::FIRST },
    ];
    Rule::new(steps, None)
}

/// The addresses of a range of this family.
fn span_of(net: &IpNet, family: Field) -> Option<Span> {
    let bits = u32::from(net.prefix_len());
    match (net.network(), family) {
        (IpAddr::V4(address), Field::Ipv4) => Some(Span::prefix(&address.octets(), bits)),
        (IpAddr::V6(address), Field::Ipv6) => Some(Span::prefix(&address.octets(), bits)),
        _ => None,
    }
}

/// Single addresses a workload may send from, and ranges, by link.
fn source_sets(family: Field) -> [&'static str; 2] {
    if family == Field::Ipv4 { ["sources4", "allowed4"] } else { ["sources6", "allowed6"] }
}

/// All pools, and those that masquerade.
fn pool_sets(family: Field) -> [&'static str; 2] {
    if family == Field::Ipv4 { ["pools4", "masquerade4"] } else { ["pools6", "masquerade6"] }
}

/// Both families of addresses.
const FAMILIES: [Field; 2] = [Field::Ipv4, Field::Ipv6];
/// Chain of packets from workloads, its map, and what the names of links' chains begin with.
const FROM: &str = "from-workload";
/// Likewise to workloads.
const TO: &str = "to-workload";
/// Chain of packets from workloads to their own host: what policies say, and what the host says.
const HOST_FROM: &str = "from-workload-to-host";
const TO_HOST: &str = "workload-to-host";
const SOURCES: &str = "sources";
const LOCAL_SOURCES: &str = "local-sources";
const OTHER_LINKS: &str = "other-links";
const STATES: &str = "states";
const NEIGHBOUR_KINDS: &str = "neighbour-kinds";
/// Chains and sets for all workloads.
const COMMON: [&str; 23] = [
    "raw-prerouting",
    "forward-from",
    "forward-to",
    "input-from",
    "input-to-host",
    "nat-postrouting",
    FROM,
    TO,
    HOST_FROM,
    TO_HOST,
    SOURCES,
    LOCAL_SOURCES,
    OTHER_LINKS,
    STATES,
    NEIGHBOUR_KINDS,
    "sources4",
    "allowed4",
    "sources6",
    "allowed6",
    "pools4",
    "pools6",
    "masquerade4",
    "masquerade6",
];
const LINK_LOCAL: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Octets of a link's name with the NUL behind it.
const LINK_ROOM: usize = 16;
const IPIP: u8 = 4;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

#[cfg(test)]
mod tests;
