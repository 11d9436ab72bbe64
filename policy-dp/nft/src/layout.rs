//! What is to be enforced, as the table that enforces it. Here that of workloads; [`hosts`] has what
//! is of the host's own links.
//!
//! A packet to or from one is caught by the name of its link, led by a map to
//! the link's own chain, which has the same few rules for each, and from there to the chains of its
//! policies, which endpoints with equal policies share. There `accept` lets it through as far as this
//! endpoint is concerned: what comes next (the policies of who it is for, what workloads may do to
//! their host) stands in base chains behind, which see it all the same.
//!
//! Promises that the same enforcement makes the same table, names and all, whatever it was before;
//! that a change costs what it touches; that a link of ours which no endpoint names carries nothing;
//! that what is missing closes.

mod common;
mod concern;
mod count;
mod directory;
mod floating;
mod hosts;
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
    Class, Deltas, Direction, Endpoint, EndpointId, Families, HostLinks, Interface, Interfaces,
    Limit, Owner, Packet, PacketRate, PolicyId, SetDelta, SetId, State,
};

pub use self::count::{Counted, Place};
use self::{
    directory::Directory,
    policy::Source,
    sets::Kept,
    step::{link_name, verdict},
    uses::Uses,
};
use crate::{
    expr::{Ct, Expr, Rate, Reg, Rule, Verdict},
    name::Name,
    plan::Touched,
    table::{Chain, Field, Hook, Span, Table, Value, disjoint},
};
pub use hosts::{Failsafe, Marks};

/// What holds besides policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What the names of workloads' links begin with, any of these, each 1 to 15 octets.
    pub prefixes: Vec<String>,
    /// What becomes of a packet from a workload to its own host that the workload's policies allow.
    pub to_host: ToHost,
    /// UDP port that no workload may send to: its own encapsulation would get round policies.
    pub vxlan_port: Option<u16>,
    /// Ranges of addresses of workloads.
    pub pools: Vec<Pool>,
    /// What the source becomes of what goes from such a range to elsewhere, for its family; that of the
    /// link it leaves by where nothing is said.
    pub masquerade_as: Option<IpAddr>,
    /// The ports, first and last, that it gets in TCP and UDP; any where nothing is said.
    pub masquerade_ports: Option<(u16, u16)>,
    /// The links by which it does, with `+` at the end for all that begin so; all where nothing is said.
    pub masquerade_by: Option<String>,
    /// Whether packets that connection tracking can make nothing of are dropped before policies are asked.
    pub drops_invalid: bool,
    /// Whether workloads may send IP in IP, where their policies let them.
    pub ipip_from_workloads: bool,
    /// Whether floating addresses of workloads are used.
    pub floating: bool,
    /// Whether each decision about a connection is told of ([`seen`](crate::seen)).
    pub flows: bool,
    /// How often a rule with the action `Log` tells of a packet.
    pub log_rate: Rate,
    /// What that begins with, with `%t` for the tier, `%k` for the kind in short, `%n` for the name and `%p` for
    /// the name with its namespace.
    pub log_prefix: Option<String>,
    /// What comes to the host's own links whatever their policies say.
    pub failsafe_inbound: Vec<Failsafe>,
    /// What leaves by them likewise.
    pub failsafe_outbound: Vec<Failsafe>,
    /// What is said by a packet's mark; of packets to and from the host's own links, and of those that
    /// a guard looks at.
    pub marks: Marks,
    /// What passes workloads' links is marked for a guard behind the table, which drops what is not.
    pub guard: bool,
    /// The families of those in the sets of policies: in another one a rule that matches only who is in a
    /// set matches nobody, and is left out.
    pub members: Families,
    /// Of a tier with more policies for an endpoint than this, only those are asked that may concern a packet.
    pub few: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefixes: vec!["cali".to_owned()],
            to_host: ToHost::Drop,
            vxlan_port: Some(4789),
            pools: Vec::new(),
            masquerade_as: None,
            masquerade_ports: None,
            masquerade_by: None,
            drops_invalid: true,
            ipip_from_workloads: false,
            floating: false,
            flows: false,
            log_rate: Rate { times: 10, seconds: 1, burst: 50 },
            log_prefix: None,
            failsafe_inbound: Failsafe::inbound(),
            failsafe_outbound: Failsafe::outbound(),
            marks: Marks::default(),
            guard: false,
            members: Families { v4: true, v6: true },
            few: 4,
        }
    }
}

impl Settings {
    /// Whether a link of this name is a workload's, whichever there are.
    pub fn is_workloads(&self, name: &str) -> bool {
        self.prefixes.iter().any(|prefix| name.starts_with(prefix))
    }

    /// What of a packet that a workload sends keeps it from going anywhere, whatever its policies say: the
    /// setting of FelixConfiguration that would let it.
    pub fn closed_to_workloads(&self, packet: &Packet) -> Option<&'static str> {
        let port = packet.ports().map(|(_, to)| to);
        match packet.protocol {
            IPIP if !self.ipip_from_workloads => Some("allowIPIPPacketsFromWorkloads"),
            UDP if port.is_some() && port == self.vxlan_port => {
                Some("allowVXLANPacketsFromWorkloads")
            }
            _ => None,
        }
    }
}

/// Why a workload may send a packet to its own host, whatever its policies and the host say, if so.
pub fn always_to_host(packet: &Packet) -> Option<&'static str> {
    let finds = packet.icmp().is_some_and(|(kind, _)| FINDING.contains(&kind));
    if packet.protocol == ICMPV6 && finds {
        return Some("by such messages IPv6 finds neighbours");
    }
    let asks = packet.protocol == UDP && packet.ports() == Some(DHCP);
    (asks && packet.source.is_ipv4()).then_some("so a client of DHCP asks for its address")
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

/// Links whose packets an endpoint's policies decide about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum At {
    /// The one that leads to a workload.
    Workload(String),
    /// One of the host itself.
    Host(String),
    /// All others of the host itself.
    OtherHost,
}

/// The endpoint of each link that has one.
pub type Links = BTreeMap<At, Arc<Endpoint>>;

/// The table that enforces this; of several endpoints that name one link the first has it.
pub fn table(state: &State, settings: &Settings) -> Table {
    Layout::new(settings.clone(), state, &links(state, settings, &Interfaces::new())).table
}

/// The links that endpoints have on a host with these interfaces, where of several workloads that
/// name one the first has it.
pub fn links(state: &State, settings: &Settings, interfaces: &Interfaces) -> Links {
    let mut links = Links::new();
    for (id, endpoint) in &state.endpoints {
        if let Some(link) = link_of(id, endpoint) {
            links.entry(At::Workload(link.to_owned())).or_insert_with(|| endpoint.clone());
        }
    }
    let hosts = HostLinks::of(state, interfaces, |name| {
        settings.is_workloads(name) || links.contains_key(&At::Workload(name.to_owned()))
    });
    let endpoint = |(at, id)| Some((at, state.endpoints.get(id)?.clone()));
    links.extend(host_owners(&hosts).filter_map(endpoint));
    links
}

/// Host endpoints by the links they have.
pub fn host_owners(links: &HostLinks) -> impl Iterator<Item = (At, &EndpointId)> {
    let named = links.named.iter().map(|(link, id)| (At::Host(link.clone()), id));
    named.chain(links.others.as_ref().map(|id| (At::OtherHost, id)))
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

/// The chains that a link's packets pass first.
pub fn chains_of(at: &At) -> Vec<Name> {
    match at {
        At::Workload(link) => own_chains(link).into(),
        At::Host(_) | At::OtherHost => hosts::chains_of(at),
    }
}

/// Whether a chain or set of this name is there for all workloads, or of the host.
pub fn is_common(name: &Name) -> bool {
    let name = name.as_str();
    COMMON.contains(&name) || floating::COMMON.contains(&name) || hosts::is_common(name)
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
    directory: Directory,
    floating: floating::Claims,
    /// Descriptions without room beside a packet, by what stands for them there, of each chain that has any.
    texts: BTreeMap<Name, Texts>,
    /// They are others than somebody was told last.
    retold: bool,
    /// Since the last change was begun.
    touched: Touched,
}

/// Descriptions, by what stands for them beside a packet ([`seen::fitted`](crate::seen::fitted)).
pub type Texts = BTreeMap<String, String>;

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
            directory: Directory::default(),
            floating: floating::Claims::new(),
            texts: BTreeMap::new(),
            retold: true,
            touched: Touched::default(),
        };
        layout.base();
        layout.sources();
        layout.host_side();
        layout.rewriting();
        layout.masquerade();
        for (at, endpoint) in links {
            layout.link(state, at, Some(endpoint));
        }
        layout.settle(state);
        layout.touched = Touched::default();
        layout
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// All descriptions without room beside a packet, unless they are those that were given last.
    pub fn new_texts(&mut self) -> Option<Texts> {
        let all = || self.texts.values().flatten();
        std::mem::take(&mut self.retold)
            .then(|| all().map(|(short, whole)| (short.clone(), whole.clone())).collect())
    }

    /// Takes in a change, which `state` has seen already, and the links whose endpoint is another
    /// now or none; gives what of the table may be another. What no link needs costs nothing.
    pub fn apply(
        &mut self,
        state: &State,
        deltas: &Deltas,
        links: &BTreeMap<At, Option<Arc<Endpoint>>>,
    ) -> Touched {
        let policies = deltas.policies.keys().chain(&deltas.policies_removed);
        let mut dirty: BTreeSet<Name> = policies.flat_map(|id| self.edited(state, id)).collect();
        for name in deltas.profiles.keys().chain(&deltas.profiles_removed) {
            let made = self.made_of.get(&Owner::Profile(name.clone()));
            dirty.extend(made.into_iter().flatten().cloned());
        }
        for (id, delta) in &deltas.sets_changed {
            self.directory.change(*id, delta);
            dirty.extend(self.members(state, *id, delta));
        }
        for name in dirty {
            // One may have gone with the last who used it.
            if let Some(source) = self.sources.get(&name).cloned() {
                self.make(state, name, &source);
            }
        }
        for (at, endpoint) in links {
            self.link(state, at, endpoint.as_ref());
        }
        self.settle(state);
        std::mem::take(&mut self.touched)
    }

    /// The chains that a policy with other rules changes: its own and those that lead to it by what it
    /// asks, unless it begins or ceases to have one in a direction; then all that it is in.
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
            let others = all.into_iter().filter(|(name, _)| !alone || self.directory.has(name));
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
        for owner in source.owners() {
            self.made_of.entry(owner).or_default().insert(name.clone());
        }
        self.sources.insert(name.clone(), source.clone());
        match source.long(self.settings.few) {
            Some(_) => self.list(state, &name, source),
            None => self.write(state, name, source),
        }
    }

    /// Gives such a chain rules that ask one policy after the other.
    fn write(&mut self, state: &State, name: Name, source: &Source) {
        for part in source.parts(state) {
            self.made(state, &part);
        }
        let (rules, made, texts) = source.rules(state, &self.settings, &self.table);
        self.retell(&name, texts);
        let used = rules.iter().flat_map(Rule::sets);
        let used: BTreeSet<Name> = used.filter(|set| made.contains_key(set)).cloned().collect();
        let new = made.into_iter().filter(|(set, _)| used.contains(set));
        self.table.sets.extend(new);
        self.put(name, None, rules);
    }

    /// The descriptions without room of a chain are these now.
    fn retell(&mut self, chain: &Name, texts: Texts) {
        let before = match texts.is_empty() {
            true => self.texts.remove(chain),
            false => self.texts.insert(chain.clone(), texts.clone()),
        };
        self.retold |= before.unwrap_or_default() != texts;
    }

    /// Gives a chain its rules; what nobody uses any more goes.
    fn put(&mut self, name: Name, hook: Option<Hook>, rules: Vec<Rule>) {
        let before = self.table.chains.get(&name).map(|chain| chain.rules.as_slice());
        if before == Some(rules.as_slice()) {
            return;
        }
        self.touched.chains.insert(name.clone());
        let unused = self.uses.replace(&name, before.unwrap_or_default(), &rules);
        // A set that had no user is new.
        self.touched.sets.extend(unused.new_sets);
        self.table.chains.insert(name, Chain { hook, rules });
        self.sweep(unused.chains, unused.sets);
    }

    /// Takes away what nobody uses.
    fn sweep(&mut self, chains: Vec<Name>, sets: Vec<Name>) {
        for set in sets {
            self.drop_set(set);
        }
        for chain in chains {
            self.drop_chain(chain);
        }
    }

    fn drop_chain(&mut self, name: Name) {
        let Some(chain) = self.table.chains.remove(&name) else { return };
        self.retell(&name, Texts::new());
        self.directory.unlist(&name);
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
    fn link(&mut self, state: &State, at: &At, endpoint: Option<&Arc<Endpoint>>) {
        match at {
            At::Workload(link) => self.workload(state, link, endpoint),
            At::Host(_) | At::OtherHost => self.host(state, at, endpoint),
        }
    }

    fn workload(&mut self, state: &State, link: &str, endpoint: Option<&Arc<Endpoint>>) {
        let at = At::Workload(link.to_owned());
        let before = self.links.remove(&at);
        self.float(link, before.as_deref(), endpoint.map(AsRef::as_ref));
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
                own_chains(link).into_iter().for_each(|chain| self.drop_chain(chain));
            }
            return;
        };
        for (direction, own) in
            [Direction::Egress, Direction::Ingress].into_iter().zip(own_chains(link))
        {
            let policies = self.policies(state, Some(link), endpoint, Class::Normal, direction);
            let limits = self.limits(&own, endpoint.limits.direction(direction));
            self.put(own, None, own_rules(limits, policies));
        }
        for (set, span, value) in self.elements(link, endpoint) {
            if let Some(found) = self.table.sets.get_mut(&set) {
                found.elements.insert(span.clone(), value);
            }
            self.touched.elements.entry(set).or_default().insert(span);
        }
        self.links.insert(at, endpoint.clone());
    }

    /// The chain of a link's limits beside its own one, if it has any: what they count begins anew with
    /// their rules, so those stay when policies change.
    fn limits(&mut self, own: &Name, limit: &Limit) -> Option<Name> {
        let rules = limit_rules(limit)?;
        let name = Name::of(&format!("limits/{own}"));
        self.put(name.clone(), None, rules);
        Some(name)
    }

    /// The first chain of the policies of an endpoint in one class and direction: it jumps into the
    /// tiers in order, then goes to the profiles where these have a say. None if nobody has.
    fn policies(
        &mut self,
        state: &State,
        link: Option<&str>,
        endpoint: &Endpoint,
        class: Class,
        direction: Direction,
    ) -> Option<Name> {
        let counts = link.and_then(|link| self.counted.get(link));
        let (tiers, profiles) = Source::of(endpoint, class, direction, counts);
        let mut steps: Vec<Verdict> =
            tiers.iter().map(|tier| Verdict::Jump(self.made(state, tier))).collect();
        let last = profiles.map(|profiles| self.made(state, &profiles));
        steps.extend(last.map(Verdict::Goto));
        if let [alone] = steps.as_slice() {
            return alone.chain().cloned();
        }
        let name = policy::list_name(direction, &steps);
        if !steps.is_empty() && !self.table.chains.contains_key(&name) {
            let rules = steps.iter().map(|step| Rule::new(verdict(step.clone()), None));
            self.put(name.clone(), None, rules.collect());
        }
        (!steps.is_empty()).then_some(name)
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
        if !self.settings.is_workloads(link) {
            all.push((Name::of(OTHER_LINKS), key.clone(), Value::Member));
        }
        for (map, own) in [FROM, TO].into_iter().zip(own_chains(link)) {
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
}

/// The chains of a workload's link, from it and to it.
fn own_chains(link: &str) -> [Name; 2] {
    [FROM, TO].map(|map| Name::of(&format!("{map}/{link}")))
}

/// What a link's own chain does. What stands in it is the link's alone; policies are shared.
fn own_rules(limits: Option<Name>, policies: Option<Name>) -> Vec<Rule> {
    let known = limits.map_or_else(by_state, |limits| {
        // They let known connections go on.
        Rule::new(verdict(Verdict::Jump(limits)), None)
    });
    let end = policies.map_or(Verdict::Drop, Verdict::Goto);
    vec![known, Rule::new(verdict(end), None)]
}

/// Limits of a link, and what lets known connections go on: of packets all are counted, of connections
/// those that are there. None where there is no limit.
fn limit_rules(limit: &Limit) -> Option<Vec<Rule>> {
    if *limit == Limit::default() {
        return None;
    }
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
    Some(rules)
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
/// The ports of DHCP: of clients, of servers and relays.
const DHCP: (u16, u16) = (68, 67);
const ICMPV6: u8 = 58;
/// Types of ICMPv6 of listeners, neighbours and who looks for a router; nothing that only routers say.
const FINDING: [u8; 6] = [130, 131, 132, 133, 135, 136];

#[cfg(test)]
mod tests;
