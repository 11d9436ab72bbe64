//! One compiled policy: entries in the order of evaluation, and for each thing a packet shows a row
//! of bits that says which entries accept it.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use margay_model::kinds::{Action, TierAction};
use sha2::{Digest, Sha256};

use super::{ClassId, Criterion, Intervals, Row, SideRows, classes::Number};
use crate::{
    Decision, Direction, Header, IcmpMatch, Packet, Rule, Side, State, Step, TierPolicies,
};

/// What makes endpoints share a program. The class of policies does not matter but for profiles:
/// in [`Class::Normal`](crate::Class::Normal) they come after the tiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramKey {
    /// The direction.
    pub direction: Direction,
    /// The tiers in order.
    pub tiers: Arc<[TierPolicies]>,
    /// The profiles in order; `None` where profiles have no say.
    pub profiles: Option<Vec<String>>,
}

impl ProgramKey {
    /// A name that is the same on every node and after every restart. It is about who is part of
    /// the program, in which order, not about what the rules of the parts are.
    pub fn digest(&self) -> [u8; 16] {
        let mut hash = Sha256::new();
        let mut word = |text: &str| {
            // No name holds a line break.
            hash.update(text);
            hash.update("\n");
        };
        word(if self.direction == Direction::Ingress { "ingress" } else { "egress" });
        for tier in self.tiers.iter() {
            word(&format!("tier {} {}", tier.tier, tier.default_action));
            tier.policies.iter().for_each(|policy| word(&policy.to_string()));
        }
        for profile in self.profiles.iter().flatten() {
            word(&format!("profile {profile}"));
        }
        word(if self.profiles.is_some() { "deny" } else { "continue" });
        let mut digest = [0; 16];
        digest.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        digest
    }
}

impl Ord for ProgramKey {
    fn cmp(&self, other: &Self) -> Ordering {
        // Long lists that are shared are compared often.
        let tiers = || match Arc::ptr_eq(&self.tiers, &other.tiers) {
            true => Ordering::Equal,
            false => self.tiers.cmp(&other.tiers),
        };
        (self.direction.cmp(&other.direction))
            .then_with(|| self.profiles.cmp(&other.profiles))
            .then_with(tiers)
    }
}

impl PartialOrd for ProgramKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
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
    /// Entries that accept a type (the upper octet) and code of ICMP, or do not look at it.
    pub icmp: Intervals,
    /// Entries that refuse a type and code of ICMP.
    pub refused_icmp: Intervals,
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

impl Program {
    /// Compiles; `number` gives criteria their numbers, and classes come by [`Program::classify`]
    /// and [`Program::classify_ports`].
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
            icmp: icmp_rows(&rules, |rule| rule.icmp, true),
            refused_icmp: icmp_rows(&rules, |rule| rule.not_icmp, false),
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

    /// The criteria of addresses that any entry looks at.
    pub(super) fn address_criteria(&self) -> impl Iterator<Item = &Number> {
        self.source.lookers.keys().chain(self.destination.lookers.keys())
    }

    /// The criteria of ports that any entry looks at.
    pub(super) fn port_criteria(&self) -> impl Iterator<Item = &Number> {
        self.source.port_lookers.keys().chain(self.destination.port_lookers.keys())
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
        let (icmp, refused_icmp) = (self.icmp.row(icmp), self.refused_icmp.row(icmp));
        let ports = packet.ports();
        let word = |index: usize| {
            family.word(index)
                & protocol.word(index)
                & icmp.word(index)
                & !refused_icmp.word(index)
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

/// Where a criterion about ICMP holds; entries without it are as told.
fn icmp_rows(
    rules: &[Option<&Rule>],
    of: fn(&Rule) -> Option<IcmpMatch>,
    otherwise: bool,
) -> Intervals {
    let wanted = |rule: &Option<&Rule>| rule.and_then(of);
    let base = Row::new(rules.len(), |entry| {
        otherwise && rules.get(entry).is_some_and(|rule| wanted(rule).is_none())
    });
    let ranges = rules.iter().enumerate().filter_map(|(entry, rule)| {
        let IcmpMatch { kind, code } = wanted(rule)?;
        let at = |code| u16::from_be_bytes([kind, code]);
        Some((entry, code.map_or((at(0), at(u8::MAX)), |code| (at(code), at(code)))))
    });
    Intervals::new(base, ranges.collect())
}
