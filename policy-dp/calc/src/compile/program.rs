//! One compiled policy: entries in the order of evaluation, and for each thing a packet shows a row
//! of bits that says which entries accept it.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use margay_model::kinds::{Action, TierAction};

use super::{ClassId, Row, classes::Number};
use crate::{
    Decision, Direction, Header, IcmpMatch, Packet, PortMatch, Rule, SetId, Side, State, Step,
    TierPolicies,
};

/// What makes endpoints share a program. The class of policies does not matter but for profiles:
/// in [`Class::Normal`](crate::Class::Normal) they come after the tiers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProgramKey {
    /// The direction.
    pub direction: Direction,
    /// The tiers in order.
    pub tiers: std::sync::Arc<[TierPolicies]>,
    /// The profiles in order; `None` where profiles have no say.
    pub profiles: Option<Vec<String>>,
}

/// A compiled policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// What is done, in the order of evaluation. The last entry accepts every packet and decides.
    pub entries: Vec<Entry>,
    /// Entries that exist for IPv4.
    pub v4: Row,
    /// Entries that exist for IPv6.
    pub v6: Row,
    /// Entries that accept a protocol, for each one that any entry names.
    pub protocols: BTreeMap<u8, Row>,
    /// Entries that accept any other protocol.
    pub other_protocols: Row,
    /// Entries that accept a type (the upper octet) and code of ICMP.
    pub icmp: Intervals,
    /// The source of a packet.
    pub source: SideRows,
    /// Its destination.
    pub destination: SideRows,
}

/// One step of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What is done with a packet that comes here.
    pub effect: Effect,
    /// What stands here; `None` for the end of policies that have no say.
    pub step: Option<Step>,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is decided.
    Decide(Decision),
    /// It is written down, and goes on behind this entry.
    Log,
    /// It goes on at this entry, which lies behind.
    Skip(usize),
}

/// Rows for one side of a packet. An entry accepts a side if its bits say so:
/// `address & (port | named_port) & !refused_port & !refused_named_port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideRows {
    /// Entries that accept an address, by its class, where that differs from `other_addresses`.
    pub addresses: BTreeMap<ClassId, Row>,
    /// Entries that accept an address of any other class, among them the unknown ones.
    pub other_addresses: Row,
    /// Entries that accept a port by its number, or do not look at it.
    pub ports: Intervals,
    /// Entries that accept a port by the class of address, protocol and port; others accept none.
    pub named_ports: BTreeMap<ClassId, Row>,
    /// Entries that refuse a port by its number.
    pub refused_ports: Intervals,
    /// Entries that refuse a port by the class of address, protocol and port.
    pub refused_named_ports: BTreeMap<ClassId, Row>,
    criteria: Vec<Criteria>,
}

/// A row for every value of 16 bits, and one for packets without any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// Where a row begins to hold, ascending from 0.
    pub starts: Vec<(u16, Row)>,
    /// Where there is no value.
    pub absent: Row,
}

/// The criteria one entry has on one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Criteria {
    wanted: Vec<Number>,
    unwanted: Vec<Number>,
    ports: Vec<Number>,
    not_ports: Vec<Number>,
}

/// Something a rule asks of an address, or of a port at an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Criterion {
    /// To be in a set.
    Set(SetId),
    /// To be in one of these ranges.
    Nets(Vec<IpNet>),
}

/// The criteria of a rule.
pub(super) fn criteria(rule: &Rule) -> Vec<Criterion> {
    let nets = [&rule.source, &rule.destination].into_iter().flat_map(|side| {
        [&side.nets, &side.not_nets].into_iter().filter(|nets| !nets.is_empty()).cloned()
    });
    nets.map(Criterion::Nets).chain(rule.sets().map(Criterion::Set)).collect()
}

impl Program {
    /// Compiles; `number` gives criteria their numbers, and classes come by [`Program::classify`].
    pub(super) fn new(
        key: &ProgramKey,
        state: &State,
        number: &dyn Fn(Criterion) -> Option<Number>,
    ) -> Self {
        let mut draft = Draft::default();
        for tier in key.tiers.iter() {
            draft.tier(tier, key.direction, state);
        }
        match &key.profiles {
            Some(names) => draft.profiles(names, key.direction, state),
            None => draft.push(None, Effect::Decide(Decision::Continue), None),
        }
        let Draft { entries, rules } = draft;
        let count = entries.len();
        let row = |accepts: &dyn Fn(&Rule) -> bool| {
            Row::new(count, |bit| rules.get(bit).is_some_and(|rule| rule.is_none_or(accepts)))
        };
        let accepts = |protocol: Option<u8>| {
            row(&|rule| {
                rule.protocol.is_none_or(|wanted| Some(wanted) == protocol)
                    && (rule.not_protocol.is_none() || rule.not_protocol != protocol)
            })
        };
        let written = || rules.iter().copied().flatten();
        let named = written().flat_map(|rule| rule.protocol.into_iter().chain(rule.not_protocol));
        let protocols: BTreeSet<u8> = named.collect();
        let side = |of: fn(&Rule) -> &Side| SideRows::new(&rules, of, number);
        Self {
            v4: row(&|rule| rule.families.v4),
            v6: row(&|rule| rule.families.v6),
            protocols: protocols
                .into_iter()
                .map(|number| (number, accepts(Some(number))))
                .collect(),
            other_protocols: accepts(None),
            icmp: icmp_rows(&rules),
            source: side(|rule| &rule.source),
            destination: side(|rule| &rule.destination),
            entries,
        }
    }

    /// Takes in what a class of addresses means now; `None`: there is no such class.
    pub(super) fn classify(&mut self, class: ClassId, row: Option<&BTreeSet<Number>>) {
        self.source.classify(class, row);
        self.destination.classify(class, row);
    }

    /// Takes in what a class of ports means now; `None`: there is no such class.
    pub(super) fn classify_ports(&mut self, class: ClassId, row: Option<&BTreeSet<Number>>) {
        self.source.classify_ports(class, row);
        self.destination.classify_ports(class, row);
    }

    /// Plays a packet whose classes are known: of its source and its destination, each that of the
    /// address and that of the port at it.
    pub fn decide(
        &self,
        packet: &Packet,
        source: (ClassId, ClassId),
        destination: (ClassId, ClassId),
    ) -> (Decision, Vec<Step>) {
        let family = if packet.source.is_ipv4() { &self.v4 } else { &self.v6 };
        let protocol = self.protocols.get(&packet.protocol).unwrap_or(&self.other_protocols);
        let icmp = match packet.header {
            Header::Icmp { kind, code } => Some(u16::from_be_bytes([kind, code])),
            Header::Ports { .. } | Header::Other => None,
        };
        let icmp = self.icmp.row(icmp);
        let ports = packet.ports();
        let word = |index: usize| {
            family.word(index)
                & protocol.word(index)
                & icmp.word(index)
                & self.source.word(index, source, ports.map(|ports| ports.0))
                & self.destination.word(index, destination, ports.map(|ports| ports.1))
        };
        let mut steps = Vec::new();
        let mut at = 0;
        while let Some((place, entry)) = self.first(at, &word) {
            steps.extend(entry.step.clone());
            at = match entry.effect {
                Effect::Decide(decision) => return (decision, steps),
                Effect::Log => place + 1,
                Effect::Skip(next) => next,
            };
        }
        // The last entry accepts everything and decides, so this is never reached; closed anyway.
        (Decision::Deny, steps)
    }

    /// The first entry from `at` on whose bit is set.
    fn first(&self, at: usize, word: &dyn Fn(usize) -> u64) -> Option<(usize, &Entry)> {
        let mut bits = word(at / 64) & (u64::MAX << (at % 64));
        let mut index = at / 64;
        while bits == 0 {
            index += 1;
            if index * 64 >= self.entries.len() {
                return None;
            }
            bits = word(index);
        }
        let place = index * 64 + usize::try_from(bits.trailing_zeros()).ok()?;
        self.entries.get(place).map(|entry| (place, entry))
    }
}

/// Entries on their way.
#[derive(Default)]
struct Draft<'a> {
    entries: Vec<Entry>,
    /// The rule of each entry; `None` accepts everything.
    rules: Vec<Option<&'a Rule>>,
}

impl<'a> Draft<'a> {
    fn push(&mut self, rule: Option<&'a Rule>, effect: Effect, step: Option<Step>) {
        self.entries.push(Entry { effect, step });
        self.rules.push(rule);
    }

    fn tier(&mut self, tier: &TierPolicies, direction: Direction, state: &'a State) {
        if !tier.is_enforced() {
            return;
        }
        let first = self.entries.len();
        let name = || tier.tier.clone();
        for id in tier.policies.iter().filter(|policy| !policy.is_staged()) {
            let rules = state.policies.get(id).map(|policy| policy.rules(direction));
            for (index, rule) in rules.unwrap_or_default().iter().enumerate() {
                let (policy, action) = (id.clone(), rule.action);
                let effect = match action {
                    Action::Allow => Effect::Decide(Decision::Allow),
                    Action::Deny => Effect::Decide(Decision::Deny),
                    Action::Log => Effect::Log,
                    // Where to is known at the end of the tier.
                    Action::Pass => Effect::Skip(usize::MAX),
                };
                let step = Step::Policy { tier: name(), policy, rule: index, action };
                self.push(Some(rule), effect, Some(step));
            }
        }
        let next = self.entries.len() + 1;
        let effect = match tier.default_action {
            TierAction::Deny => Effect::Decide(Decision::Deny),
            TierAction::Pass => Effect::Skip(next),
        };
        let step = Step::TierDefault { tier: name(), action: tier.default_action };
        self.push(None, effect, Some(step));
        for entry in self.entries.iter_mut().skip(first) {
            if let Effect::Skip(to) = &mut entry.effect {
                *to = next;
            }
        }
    }

    fn profiles(&mut self, names: &[String], direction: Direction, state: &'a State) {
        for name in names {
            let rules = state.profiles.get(name).map(|profile| profile.rules(direction));
            for (index, rule) in rules.unwrap_or_default().iter().enumerate() {
                let effect = match rule.action {
                    Action::Allow => Effect::Decide(Decision::Allow),
                    Action::Deny | Action::Pass => Effect::Decide(Decision::Deny),
                    Action::Log => Effect::Log,
                };
                let (profile, action) = (name.clone(), rule.action);
                let step = Step::Profile { profile, rule: index, action };
                self.push(Some(rule), effect, Some(step));
            }
        }
        self.push(None, Effect::Decide(Decision::Deny), Some(Step::NoProfile));
    }
}

impl SideRows {
    fn new(
        rules: &[Option<&Rule>],
        of: fn(&Rule) -> &Side,
        number: &dyn Fn(Criterion) -> Option<Number>,
    ) -> Self {
        let sides: Vec<Option<&Side>> = rules.iter().map(|rule| rule.map(of)).collect();
        let nets = |nets: &Vec<IpNet>| {
            let criterion = (!nets.is_empty()).then(|| Criterion::Nets(nets.clone()));
            criterion.into_iter().filter_map(number).collect::<Vec<_>>()
        };
        let sets = |sets: &[SetId]| -> Vec<Number> {
            sets.iter().filter_map(|id| number(Criterion::Set(*id))).collect()
        };
        let ports = |ports: &Option<PortMatch>| {
            sets(ports.as_ref().map(|ports| ports.sets.as_slice()).unwrap_or_default())
        };
        let of_side = |side: &&Side| Criteria {
            wanted: [nets(&side.nets), sets(side.set.as_slice())].concat(),
            unwanted: [nets(&side.not_nets), sets(side.not_set.as_slice())].concat(),
            ports: ports(&side.ports),
            not_ports: ports(&side.not_ports),
        };
        let criteria: Vec<_> =
            sides.iter().map(|side| side.as_ref().map(of_side).unwrap_or_default()).collect();
        let numbers = |of: fn(&Side) -> &Option<PortMatch>, otherwise: bool| {
            let ranges = sides.iter().flatten().filter_map(|side| of(side).as_ref());
            let ranges = ranges.flat_map(|ports| ports.ranges.iter().copied());
            Intervals::new(ranges, sides.len(), &|entry, port| {
                let ports = sides.get(entry).copied().flatten().and_then(|side| of(side).as_ref());
                ports.map_or(otherwise, |ports| {
                    let inside = |(first, last): &(u16, u16)| {
                        port.is_some_and(|port| (*first..=*last).contains(&port))
                    };
                    ports.ranges.iter().any(inside)
                })
            })
        };
        let mut rows = Self {
            addresses: BTreeMap::new(),
            other_addresses: Row::new(0, |_| false),
            ports: numbers(|side| &side.ports, true),
            named_ports: BTreeMap::new(),
            refused_ports: numbers(|side| &side.not_ports, false),
            refused_named_ports: BTreeMap::new(),
            criteria,
        };
        rows.other_addresses = rows.address_row(&BTreeSet::new());
        rows
    }

    /// The entries that accept an address that meets these criteria.
    fn address_row(&self, met: &BTreeSet<Number>) -> Row {
        Row::new(self.criteria.len(), |entry| {
            self.criteria.get(entry).is_some_and(|criteria| {
                criteria.wanted.iter().all(|number| met.contains(number))
                    && !criteria.unwanted.iter().any(|number| met.contains(number))
            })
        })
    }

    fn classify(&mut self, class: ClassId, row: Option<&BTreeSet<Number>>) {
        let row = row.map(|row| self.address_row(row)).filter(|row| *row != self.other_addresses);
        match row {
            Some(row) => self.addresses.insert(class, row),
            None => self.addresses.remove(&class),
        };
    }

    fn classify_ports(&mut self, class: ClassId, row: Option<&BTreeSet<Number>>) {
        let empty = BTreeSet::new();
        let met = row.unwrap_or(&empty);
        let any = |of: fn(&Criteria) -> &Vec<Number>| {
            let row = Row::new(self.criteria.len(), |entry| {
                let criteria = self.criteria.get(entry).map(of);
                criteria.into_iter().flatten().any(|number| met.contains(number))
            });
            row.words().iter().any(|word| *word != 0).then_some(row)
        };
        let (accepted, refused) = (any(|of| &of.ports), any(|of| &of.not_ports));
        for (rows, row) in
            [(&mut self.named_ports, accepted), (&mut self.refused_named_ports, refused)]
        {
            match row {
                Some(row) => rows.insert(class, row),
                None => rows.remove(&class),
            };
        }
    }

    fn word(&self, index: usize, (class, named): (ClassId, ClassId), port: Option<u16>) -> u64 {
        let of = |rows: &BTreeMap<ClassId, Row>| rows.get(&named).map_or(0, |row| row.word(index));
        let addresses = self.addresses.get(&class).unwrap_or(&self.other_addresses);
        addresses.word(index)
            & (self.ports.row(port).word(index) | of(&self.named_ports))
            & !self.refused_ports.row(port).word(index)
            & !of(&self.refused_named_ports)
    }
}

impl Intervals {
    fn new(
        ranges: impl Iterator<Item = (u16, u16)>,
        entries: usize,
        accepts: &dyn Fn(usize, Option<u16>) -> bool,
    ) -> Self {
        let mut starts = BTreeSet::from([0]);
        for (first, last) in ranges {
            starts.insert(first);
            starts.extend(last.checked_add(1));
        }
        let row = |value| Row::new(entries, |entry| accepts(entry, value));
        let mut rows: Vec<_> = starts.into_iter().map(|start| (start, row(Some(start)))).collect();
        rows.dedup_by(|later, earlier| later.1 == earlier.1);
        Self { starts: rows, absent: row(None) }
    }

    /// The row of a value.
    pub fn row(&self, value: Option<u16>) -> &Row {
        let Some(value) = value else { return &self.absent };
        let after = self.starts.partition_point(|(start, _)| *start <= value);
        let found = after.checked_sub(1).and_then(|index| self.starts.get(index));
        found.map_or(&self.absent, |(_, row)| row)
    }
}

fn icmp_rows(rules: &[Option<&Rule>]) -> Intervals {
    let matches =
        rules.iter().flatten().flat_map(|rule| rule.icmp.into_iter().chain(rule.not_icmp));
    let ranges = matches.map(|IcmpMatch { kind, code }| {
        let at = |code| u16::from_be_bytes([kind, code]);
        code.map_or((at(0), at(u8::MAX)), |code| (at(code), at(code)))
    });
    Intervals::new(ranges, rules.len(), &|entry, value| {
        let Some(rule) = rules.get(entry).copied().flatten() else { return true };
        let holds = |wanted: IcmpMatch| {
            value.map(u16::to_be_bytes).is_some_and(|[kind, code]| wanted.matches(kind, code))
        };
        rule.icmp.is_none_or(holds) && !rule.not_icmp.is_some_and(holds)
    })
}
