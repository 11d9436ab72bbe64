//! Where a tier has many policies: what leads a packet to those that concern it.
//!
//! A map tells the class of an address, which is what policies ask of it that it meets; another one,
//! of the tier, leads from the class to a chain of the policies that concern such addresses, or from there
//! on by protocol and port. A member that comes to a set or goes costs an element. Which policies
//! concern whom is said by [`concern`](super::concern); maps and chains for that are named by what they
//! lead to, so that none ever comes to mean something else.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use policy_calc::{ClassId, Classes, Criterion, Direction, SetDelta, SetId, State, pieces};
use sha2::{Digest, Sha256};

use super::{
    FAMILIES, Layout,
    concern::{Line, Node, Plan},
    floating::octets,
    policy::{Source, Whole, named},
    span_of,
    step::{Part, address, is_family, looked_up, transport, verdict},
};
use crate::{
    expr::{Expr, Meta, Octets, Reg, Rule, Verdict},
    name::Name,
    table::{Field, Set, Shape, Span, Value},
};

/// The tiers whose policies are asked by who they concern, and what they ask of addresses.
#[derive(Debug, Default)]
pub struct Directory {
    classes: Classes,
    /// What each class is, and what stands for it.
    known: BTreeMap<ClassId, (Octets, BTreeSet<Criterion>)>,
    /// By their chains.
    tiers: BTreeMap<Name, Listed>,
}

#[derive(Debug)]
struct Listed {
    criteria: BTreeSet<Criterion>,
    /// It may be led to others now.
    is_stale: bool,
}

impl Directory {
    /// A set has other members now.
    pub fn change(&mut self, id: SetId, delta: &SetDelta) {
        self.classes.change(id, delta);
    }

    /// Whether the policies of a tier are asked by who they concern.
    pub fn has(&self, chain: &Name) -> bool {
        self.tiers.contains_key(chain)
    }

    /// The chain of a tier whose policies ask these is to be laid out.
    pub fn list(&mut self, state: &State, chain: &Name, criteria: BTreeSet<Criterion>) {
        let now = Listed { criteria, is_stale: true };
        let by = now.criteria.iter().map(|one| (one.clone(), 1_isize));
        let mut by: BTreeMap<_, _> = by.collect();
        let before = self.tiers.insert(chain.clone(), now);
        for criterion in before.map(|before| before.criteria).unwrap_or_default() {
            *by.entry(criterion).or_insert(0) -= 1;
        }
        by.retain(|_, by| *by != 0);
        self.classes.ask(state, by);
    }

    /// The chain went.
    pub fn unlist(&mut self, chain: &Name) {
        let Some(gone) = self.tiers.remove(chain) else { return };
        let by = gone.criteria.into_iter().map(|one| (one, -1)).collect();
        // Nothing comes, so nobody's members are asked for.
        self.classes.ask(&State::default(), by);
    }

    /// Takes in what became of classes. Gives the ranges of addresses whose class may be another.
    fn settle(&mut self) -> BTreeMap<IpNet, Option<ClassId>> {
        let (ranges, classes) = self.classes.take_touched();
        for class in classes {
            let row: BTreeSet<Criterion> = self.classes.met(class).cloned().collect();
            let mut stale = |row: &BTreeSet<Criterion>| {
                let tiers = self.tiers.values_mut().filter(|tier| !tier.is_stale);
                tiers.for_each(|tier| tier.is_stale = !tier.criteria.is_disjoint(row));
            };
            stale(&row);
            let before = match row.is_empty() {
                true => self.known.remove(&class),
                false => self.known.insert(class, (stands_for(&row), row)),
            };
            before.iter().for_each(|(_, row)| stale(row));
        }
        ranges
    }

    /// What stands for a class; none for that of addresses nobody asks of.
    fn octets(&self, class: ClassId) -> Option<&Octets> {
        self.known.get(&class).map(|(octets, _)| octets)
    }

    /// The classes that meet anything a tier asks, and what of it they meet.
    fn rows(&self, chain: &Name) -> BTreeMap<Octets, BTreeSet<Criterion>> {
        let Some(tier) = self.tiers.get(chain) else { return BTreeMap::new() };
        let meeting = self.classes.meeting(&tier.criteria);
        let known = meeting.filter_map(|class| self.known.get(&class));
        known
            .map(|(octets, row)| {
                (octets.clone(), row.intersection(&tier.criteria).cloned().collect())
            })
            .collect()
    }

    /// Addresses of a family by themselves, or else ranges side by side, with what stands for their class.
    fn elements(&self, family: Field, single: bool) -> BTreeMap<Span, Value> {
        let of = self.classes.ranges().filter(|(net, _)| is_single(net) == single);
        let of = of.filter(|(net, _)| span_of(net, family).is_some());
        let element = |span, class| Some((span, Value::Octets(self.octets(class)?.clone())));
        if single {
            return of.filter_map(|(net, class)| element(span_of(&net, family)?, class)).collect();
        }
        let span = |first, last| Span { from: octets(first), to: octets(last) };
        let pieces = pieces(of).into_iter();
        pieces.filter_map(|one| element(span(one.first, one.last), one.class)).collect()
    }
}

impl Layout {
    /// The chain of a tier with many policies, whose rules come when all is known.
    pub(super) fn list(&mut self, state: &State, name: &Name, source: &Source) {
        self.directory.list(state, name, source.concern(state).criteria());
        self.table.chains.entry(name.clone()).or_default();
    }

    /// Leads to whom policies concern as it is now.
    pub(super) fn settle(&mut self, state: &State) {
        let ranges = self.directory.settle();
        let stale = self.directory.tiers.iter_mut().filter(|(_, tier)| tier.is_stale);
        let stale: Vec<Name> = stale
            .map(|(name, tier)| {
                tier.is_stale = false;
                name.clone()
            })
            .collect();
        for name in stale {
            if let Some(source) = self.sources.get(&name).cloned()
                && let Some(whole) = source.long(self.settings.few)
            {
                self.lead_by_concern(state, &name, &source, &whole);
            }
        }
        self.reclass(&ranges);
    }

    /// Gives the chain of a tier its rules.
    fn lead_by_concern(&mut self, state: &State, name: &Name, source: &Source, whole: &Whole) {
        let policies = source.concern(state);
        let classes = self.directory.rows(name);
        let rows = classes.values().cloned().collect();
        let (meeting, others) = match policies.plan(rows, classes.len(), self.settings.few) {
            Plan::Straight => return self.write(state, name.clone(), source),
            Plan::Any(node) => (BTreeMap::new(), node),
            Plan::ByAddress { meeting, others } => (meeting, others),
        };
        let mut rules = Vec::new();
        if !meeting.is_empty() {
            let chains: BTreeMap<_, _> = meeting
                .iter()
                .map(|(row, node)| (row, self.node(state, source, whole, node)))
                .collect();
            let chain = |(octets, row): (&Octets, &BTreeSet<Criterion>)| {
                Some((class_key(octets), chains.get(row)?.clone()))
            };
            let wanted = classes.iter().filter_map(chain).collect();
            let digest = hex(&policies.digest());
            let map = Name::of(&format!("concern/{name}/{digest}"));
            self.lead_by(&map, &[Field::ClassKey], wanted);
            rules = self.by_class(source.direction(), &map);
        }
        let last = self.node(state, source, whole, &others);
        rules.push(Rule::new(verdict(Verdict::Goto(last)), None));
        self.retell(name, BTreeMap::new());
        self.put(name.clone(), None, rules);
    }

    /// Rules that go where a map leads from the class of a packet's address.
    fn by_class(&mut self, direction: Direction, map: &Name) -> Vec<Rule> {
        let part = match direction {
            Direction::Ingress => Part::Source,
            Direction::Egress => Part::Destination,
        };
        let mut rules = Vec::new();
        for family in FAMILIES {
            for (classes, single) in class_maps(family).into_iter().zip([true, false]) {
                let classes = Name::of(classes);
                if !self.table.sets.contains_key(&classes) {
                    let shape = class_shape(family, single);
                    let elements = self.directory.elements(family, single);
                    self.table.sets.insert(classes.clone(), Set { shape, elements });
                }
                let mut steps = is_family(family);
                // `nft` cannot show that what a map gives is looked up in another one, and dies of it. So
                // it is told that the address is looked up in both: the class is written over it from
                // one register before, which leaves the key of the other map in its place.
                let (key, rooms) = (Reg::at(1), if family == Field::Ipv4 { 1..4 } else { 1..2 });
                for room in rooms {
                    steps.extend(address(family, part, Reg::at(room)));
                }
                let remark = format!("by the class that {classes} has for it");
                steps.push(Expr::ValueOf { map: classes, from: key, to: Reg::FIRST });
                steps.push(Expr::VerdictOf { map: map.clone(), from: key });
                rules.push(Rule::new(steps, Some(&remark)));
            }
        }
        rules
    }

    /// The chain for packets of one kind of address; made unless it is there.
    fn node(&mut self, state: &State, source: &Source, whole: &Whole, node: &Node) -> Name {
        let (ports, protocols, others) = match node {
            Node::Line(line) => return self.line(state, source, whole, line),
            Node::Split { ports, protocols, others } => (ports, protocols, others),
        };
        let others = self.line(state, source, whole, others);
        let mut key = vec![others.to_string()];
        let port_key = |(protocol, port): &(u8, u16)| {
            Span::one(&[*protocol]).then(&Span::one(&port.to_be_bytes()))
        };
        let mut chains = |line: &Line, of: String| {
            let chain = self.line(state, source, whole, line);
            key.extend([of, chain.to_string()]);
            chain
        };
        let ports: BTreeMap<Span, Name> = ports
            .iter()
            .map(|(at, line)| (port_key(at), chains(line, format!("{}:{}", at.0, at.1))))
            .collect();
        let protocols: BTreeMap<Span, Name> = protocols
            .iter()
            .map(|(at, line)| (Span::one(&[*at]), chains(line, at.to_string())))
            .collect();
        let name = named("c", source.direction(), &key);
        if self.table.chains.contains_key(&name) {
            return name;
        }
        let mut rules = Vec::new();
        let protocol = || Expr::Meta { key: Meta::Protocol, to: Reg::FIRST };
        if !ports.is_empty() {
            let map = Name::of(&format!("ports/{name}"));
            self.lead_by(&map, &[Field::Protocol, Field::Port], ports);
            let load = vec![protocol(), transport(2, 2, Reg::at(1))];
            rules.push(Rule::new(looked_up(load, map.as_str()), None));
        }
        if !protocols.is_empty() {
            let map = Name::of(&format!("protocols/{name}"));
            self.lead_by(&map, &[Field::Protocol], protocols);
            rules.push(Rule::new(looked_up(vec![protocol()], map.as_str()), None));
        }
        rules.push(Rule::new(verdict(Verdict::Goto(others)), None));
        self.put(name.clone(), None, rules);
        name
    }

    fn line(&mut self, state: &State, source: &Source, whole: &Whole, line: &Line) -> Name {
        self.made(state, &source.some(whole, line))
    }

    /// A map leads to these chains now, and to no others.
    fn lead_by(&mut self, map: &Name, key: &[Field], wanted: BTreeMap<Span, Name>) {
        let set = self.table.sets.entry(map.clone()).or_insert_with(|| Set::new(Shape::map(key)));
        let verdicts = wanted.into_iter().map(|(at, to)| (at, Value::Verdict(Verdict::Goto(to))));
        let before = std::mem::replace(&mut set.elements, verdicts.collect());
        let differ = |a: &BTreeMap<Span, Value>, b: &BTreeMap<Span, Value>| -> Vec<Span> {
            a.iter().filter(|(at, to)| b.get(at) != Some(to)).map(|(at, _)| at.clone()).collect()
        };
        let mut changed = differ(&before, &set.elements);
        changed.extend(differ(&set.elements, &before));
        if changed.is_empty() {
            return;
        }
        let unused = self.uses.lead(map, &leads(&before), &leads(&set.elements));
        self.touched.elements.entry(map.clone()).or_default().extend(changed);
        unused.into_iter().for_each(|chain| self.drop_chain(chain));
    }

    /// A set that nobody asks any more is gone, and leads nowhere.
    pub(super) fn drop_set(&mut self, name: Name) {
        let Some(set) = self.table.sets.remove(&name) else { return };
        let unused = self.uses.lead(&name, &leads(&set.elements), &BTreeSet::new());
        self.touched.sets.insert(name);
        unused.into_iter().for_each(|chain| self.drop_chain(chain));
    }

    /// Addresses of these ranges may be of other classes now.
    fn reclass(&mut self, ranges: &BTreeMap<IpNet, Option<ClassId>>) {
        for family in FAMILIES {
            let [single, wide] = class_maps(family).map(Name::of);
            let of = || {
                ranges.iter().filter_map(|(net, class)| Some((net, span_of(net, family)?, class)))
            };
            if of().any(|(net, ..)| !is_single(net))
                && let Some(set) = self.table.sets.get_mut(&wide)
            {
                let elements = self.directory.elements(family, false);
                if set.elements != elements {
                    set.elements = elements;
                    self.touched.sets.insert(wide);
                }
            }
            let Some(set) = self.table.sets.get_mut(&single) else { continue };
            for (_, span, class) in of().filter(|(net, ..)| is_single(net)) {
                let octets = class.and_then(|class| self.directory.octets(class));
                let value = octets.map(|octets| Value::Octets(octets.clone()));
                if set.elements.get(&span) != value.as_ref() {
                    match value {
                        Some(value) => set.elements.insert(span.clone(), value),
                        None => set.elements.remove(&span),
                    };
                    self.touched.elements.entry(single.clone()).or_default().insert(span);
                }
            }
        }
    }
}

fn leads(elements: &BTreeMap<Span, Value>) -> BTreeSet<&Name> {
    elements.values().filter_map(Value::chain).collect()
}

fn is_single(net: &IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}

/// What stands for the class that meets these: the same whoever asks, and after every restart. The first
/// of its registers says nothing.
fn stands_for(row: &BTreeSet<Criterion>) -> Octets {
    let mut hash = Sha256::new();
    for criterion in row {
        hash.update(format!("{criterion:?}\n"));
    }
    let digest = hash.finalize();
    let said = digest.iter().take(Field::ClassKey.octets()).copied();
    std::iter::repeat_n(0, UNSAID).chain(said).collect()
}

/// What a class is looked up by.
fn class_key(class: &Octets) -> Span {
    Span::one(class.get(UNSAID..).unwrap_or_default())
}

/// Octets of a class that are not looked at.
const UNSAID: usize = Field::Class.octets() - Field::ClassKey.octets();

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The classes of addresses by themselves, and of all others in ranges.
fn class_maps(family: Field) -> [&'static str; 2] {
    if family == Field::Ipv4 {
        ["classes4", "range-classes4"]
    } else {
        ["classes6", "range-classes6"]
    }
}

fn class_shape(family: Field, single: bool) -> Shape {
    match single {
        true => Shape::values(&[family], Field::Class),
        false => Shape::range_values(&[family], Field::Class),
    }
}
