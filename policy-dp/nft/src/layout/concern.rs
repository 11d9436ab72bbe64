//! Which policies of a long list concern a packet, as far as an address, its protocol and its port tell.
//!
//! A policy none of whose rules can match is left out, and so is what stands behind a rule that surely
//! decides. What is left is asked in its order and whole, so nothing here decides about a packet: what
//! cannot be told is taken to match, and not to decide.

use std::collections::{BTreeMap, BTreeSet};

use margay_model::kinds::Action;
use policy_calc::{Criterion, Direction, Rule, SetId, Side};
use sha2::{Digest, Sha256};

/// Policies in order, each with what its rules ask.
#[derive(Debug, Default)]
pub struct Policies {
    hints: Vec<Hint>,
    count: usize,
}

/// What can be told of a rule.
#[derive(Debug)]
struct Hint {
    /// The place of its policy.
    policy: usize,
    /// What the address has to meet, and what it may not.
    wants: Vec<Criterion>,
    shuns: Vec<Criterion>,
    protocol: Option<u8>,
    ports: Ports,
    /// It decides about each packet that fulfils all of these.
    decides: bool,
}

/// What is asked of the destination's port.
#[derive(Debug, PartialEq, Eq)]
enum Ports {
    Any,
    /// One of these ranges; there is a protocol then.
    Of(Vec<(u16, u16)>),
    /// Something else.
    Unknown,
}

/// Policies that concern a packet, by their places, ascending.
pub type Line = Vec<usize>;

/// Who concerns packets of one kind of address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Always the same.
    Line(Line),
    /// It depends on the packet.
    Split {
        /// By protocol and port.
        ports: BTreeMap<(u8, u16), Line>,
        /// By protocol, for other ports and where there are none.
        protocols: BTreeMap<u8, Line>,
        /// For other protocols.
        others: Line,
    },
}

/// Who concerns packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// All, or telling is not worth what it takes.
    Straight,
    /// Whoever it comes from or goes to.
    Any(Node),
    /// By what the address meets.
    ByAddress {
        /// Of what any rule asks, for all that addresses meet.
        meeting: BTreeMap<BTreeSet<Criterion>, Node>,
        /// Where they meet nothing of it.
        others: Node,
    },
}

/// What is known of a packet beside its address.
#[derive(Clone, Copy)]
enum Known {
    Nothing,
    /// A protocol that no rule names.
    Other,
    /// Its protocol, and that no rule names its port alone, if it has one.
    Protocol(u8),
    Port(u8, u16),
}

impl Policies {
    /// Those of which these are the rules of a direction.
    pub fn new<'a>(all: impl IntoIterator<Item = &'a [Rule]>, direction: Direction) -> Self {
        let mut policies = Self::default();
        for rules in all {
            let hints = rules.iter().map(|rule| Hint::of(rule, direction, policies.count));
            policies.hints.extend(hints);
            policies.count += 1;
        }
        // An address that comes to a set meets more where the set is wanted and less where it is shunned,
        // so no order of what is told of it would do for both.
        let shunned: BTreeSet<SetId> =
            policies.hints.iter().flat_map(|hint| &hint.shuns).filter_map(set_of).collect();
        let is_told = |one: &Criterion| set_of(one).is_none_or(|set| !shunned.contains(&set));
        for hint in &mut policies.hints {
            let all = hint.wants.len() + hint.shuns.len();
            hint.wants.retain(is_told);
            hint.shuns.retain(is_told);
            hint.decides &= hint.wants.len() + hint.shuns.len() == all;
        }
        policies
    }

    /// All that any of them asks of the address.
    pub fn criteria(&self) -> BTreeSet<Criterion> {
        self.hints.iter().flat_map(|hint| hint.wants.iter().chain(&hint.shuns)).cloned().collect()
    }

    /// Equal for policies that ask the same.
    pub fn digest(&self) -> [u8; 16] {
        let mut hash = Sha256::new();
        for hint in &self.hints {
            hash.update(format!("{hint:?}\n"));
        }
        let mut digest = [0; 16];
        digest.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        digest
    }

    /// Who concerns packets, where addresses of so many `classes` meet any of `rows`, and others nothing. A
    /// line of up to `few` is short enough for whoever it concerns.
    pub fn plan(&self, rows: BTreeSet<BTreeSet<Criterion>>, classes: usize, few: usize) -> Plan {
        let all: Vec<&Hint> = self.hints.iter().collect();
        // How many policies may stand in all lines together, and elements in maps: there may be hundreds
        // of short lists on a node.
        let [short, long] = [(32, 512), (8, 4096)]
            .map(|(each, more)| self.count.saturating_mul(each).saturating_add(more));
        let mut room = short.min(long);
        let mut any_room = room;
        let any = node(&all, Told::Nothing, few, &mut any_room);
        let by_address = room.checked_sub(classes).and_then(|left| {
            room = left;
            self.by_address(rows, few, &mut room)
        });
        if let Some(plan) = by_address
            && any.as_ref().is_none_or(|any| plan.shortest() < any.longest())
        {
            return plan;
        }
        match any {
            Some(node) if node.longest() < self.count => Plan::Any(node),
            _ => Plan::Straight,
        }
    }

    fn by_address(
        &self,
        rows: BTreeSet<BTreeSet<Criterion>>,
        few: usize,
        room: &mut usize,
    ) -> Option<Plan> {
        let mut open: Vec<usize> = Vec::new();
        let mut by_want: BTreeMap<&Criterion, Vec<usize>> = BTreeMap::new();
        for (at, hint) in self.hints.iter().enumerate() {
            match hint.wants.first() {
                Some(want) => by_want.entry(want).or_default().push(at),
                None => open.push(at),
            }
        }
        if by_want.is_empty() {
            return None;
        }
        // What it takes to look, in hints.
        let mut looks = self.hints.len().saturating_mul(64).saturating_add(65_536);
        let mut of = |row: &BTreeSet<Criterion>, room: &mut usize| {
            let wanted = row.iter().filter_map(|met| by_want.get(met)).flatten();
            let mut places: Vec<usize> = wanted.chain(&open).copied().collect();
            looks = looks.checked_sub(places.len())?;
            places.sort_unstable();
            let hints = places.into_iter().filter_map(|at| self.hints.get(at));
            let hints: Vec<&Hint> = hints.filter(|hint| hint.accepts(row)).collect();
            node(&hints, Told::Address, few, room)
        };
        let others = of(&BTreeSet::new(), room)?;
        let mut meeting = BTreeMap::new();
        for row in rows {
            let node = of(&row, room)?;
            meeting.insert(row, node);
        }
        Some(Plan::ByAddress { meeting, others })
    }
}

impl Plan {
    /// The shortest of what an address may lead to at worst.
    fn shortest(&self) -> usize {
        match self {
            Self::Straight => usize::MAX,
            Self::Any(node) => node.longest(),
            Self::ByAddress { meeting, others } => {
                let all = meeting.values().chain([others]);
                all.map(Node::longest).min().unwrap_or(usize::MAX)
            }
        }
    }
}

impl Node {
    /// The policies that may be asked at most.
    fn longest(&self) -> usize {
        match self {
            Self::Line(line) => line.len(),
            Self::Split { ports, protocols, others } => {
                let all = ports.values().chain(protocols.values()).chain([others]);
                all.map(Vec::len).max().unwrap_or_default()
            }
        }
    }
}

impl Hint {
    fn of(rule: &Rule, direction: Direction, policy: usize) -> Self {
        let (peer, own) = match direction {
            Direction::Ingress => (&rule.source, &rule.destination),
            Direction::Egress => (&rule.destination, &rule.source),
        };
        let ports = match &rule.destination.ports {
            None => Ports::Any,
            Some(ports) if ports.sets.is_empty() && rule.protocol.is_some() => {
                Ports::Of(ports.ranges.clone())
            }
            Some(_) => Ports::Unknown,
        };
        let plain = |side: &Side| side.not_ports.is_none() && side.service.is_none();
        let open = own.nets.is_empty()
            && own.not_nets.is_empty()
            && own.set.is_none()
            && own.not_set.is_none();
        // Who is in ranges is of their family.
        let mut ranges = peer.nets.iter();
        let families = rule.families.v4 && rule.families.v6
            || !peer.nets.is_empty() && ranges.all(|net| rule.families.has(net.addr()));
        let decides = rule.action != Action::Log
            && rule.not_protocol.is_none()
            && rule.icmp.is_none()
            && rule.not_icmp.is_none()
            && rule.source.ports.is_none()
            && plain(&rule.source)
            && plain(&rule.destination)
            && ports != Ports::Unknown
            && open
            && families;
        let criteria = |set: Option<SetId>, nets: &Vec<ipnet::IpNet>| {
            let nets = (!nets.is_empty()).then(|| Criterion::Nets(nets.clone()));
            set.map(Criterion::Set).into_iter().chain(nets).collect()
        };
        Self {
            policy,
            wants: criteria(peer.set, &peer.nets),
            shuns: criteria(peer.not_set, &peer.not_nets),
            protocol: rule.protocol,
            ports,
            decides,
        }
    }

    /// Whether an address that meets these, and nothing else that is asked for, is as it asks.
    fn accepts(&self, row: &BTreeSet<Criterion>) -> bool {
        self.wants.iter().all(|want| row.contains(want))
            && !self.shuns.iter().any(|shun| row.contains(shun))
    }

    /// Whether its ports are few enough to name each.
    fn is_narrow(&self) -> bool {
        let Ports::Of(ranges) = &self.ports else { return false };
        let counts =
            ranges.iter().map(|(first, last)| usize::from(last.saturating_sub(*first)) + 1);
        counts.sum::<usize>() <= MOST_PORTS
    }

    fn has_port(&self, port: u16) -> bool {
        match &self.ports {
            Ports::Any | Ports::Unknown => true,
            Ports::Of(ranges) => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&port))
            }
        }
    }

    fn may_match(&self, known: Known) -> bool {
        let is = |protocol| self.protocol.is_none_or(|own| own == protocol);
        match known {
            Known::Nothing => true,
            Known::Other => self.protocol.is_none(),
            Known::Protocol(protocol) => is(protocol) && !self.is_narrow(),
            Known::Port(protocol, port) => is(protocol) && self.has_port(port),
        }
    }

    /// Whether it decides about every such packet from or to an address that it accepts.
    fn decides_about(&self, known: Known) -> bool {
        self.decides
            && self.may_match(known)
            && match known {
                Known::Nothing | Known::Other => {
                    self.protocol.is_none() && self.ports == Ports::Any
                }
                Known::Protocol(_) => self.ports == Ports::Any,
                Known::Port(..) => true,
            }
    }
}

fn set_of(criterion: &Criterion) -> Option<SetId> {
    match criterion {
        Criterion::Set(set) => Some(*set),
        Criterion::Nets(_) => None,
    }
}

/// Whether the address is known to be as the rules ask.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Address,
}

/// Who of these concerns packets; none where that takes more lines than there is room for.
fn node(hints: &[&Hint], told: Told, few: usize, room: &mut usize) -> Option<Node> {
    let sure =
        |hint: &Hint| told == Told::Address || hint.wants.is_empty() && hint.shuns.is_empty();
    let line = |hints: &mut dyn Iterator<Item = &Hint>, known: Known| -> Line {
        let mut line = Line::new();
        for hint in hints.filter(|hint| hint.may_match(known)) {
            if line.last() != Some(&hint.policy) {
                line.push(hint.policy);
            }
            if sure(hint) && hint.decides_about(known) {
                break;
            }
        }
        line
    };
    let mut take = |places: usize| {
        *room = room.checked_sub(places)?;
        Some(())
    };
    let all = line(&mut hints.iter().copied(), Known::Nothing);
    if all.len() <= few {
        take(all.len() + 1)?;
        return Some(Node::Line(all));
    }
    let others = line(&mut hints.iter().copied(), Known::Other);
    take(others.len() + 1)?;
    let mut named: BTreeMap<u8, BTreeMap<u16, Vec<usize>>> = BTreeMap::new();
    for (at, hint) in hints.iter().enumerate() {
        let Some(protocol) = hint.protocol else { continue };
        let ports = named.entry(protocol).or_default();
        if let Ports::Of(ranges) = &hint.ports
            && hint.is_narrow()
        {
            for port in ranges.iter().flat_map(|(first, last)| *first..=*last) {
                let at_port = ports.entry(port).or_default();
                if at_port.last() != Some(&at) {
                    at_port.push(at);
                }
            }
        }
    }
    let (mut ports, mut protocols) = (BTreeMap::new(), BTreeMap::new());
    for (protocol, by_port) in named {
        // Whoever names no port alone; behind one that decides, nobody counts for any port.
        let mut wide: Vec<usize> = Vec::new();
        for (at, hint) in hints.iter().enumerate() {
            let known = Known::Protocol(protocol);
            if hint.may_match(known) {
                wide.push(at);
                if sure(hint) && hint.decides_about(known) {
                    break;
                }
            }
        }
        let of = |places: &[usize], known| {
            line(&mut places.iter().filter_map(|at| hints.get(*at).copied()), known)
        };
        let without = of(&wide, Known::Protocol(protocol));
        take(without.len() + 1)?;
        for (port, mut places) in by_port {
            // They are walked for each port, whatever comes of it.
            take(wide.len() / 64)?;
            places.extend(&wide);
            places.sort_unstable();
            let line = of(&places, Known::Port(protocol, port));
            if line != without {
                take(line.len() + 1)?;
                ports.insert((protocol, port), line);
            }
        }
        if without != others {
            protocols.insert(protocol, without);
        }
    }
    Some(Node::Split { ports, protocols, others })
}

/// A rule that names more ports than this is asked whatever the port is.
const MOST_PORTS: usize = 16;

#[cfg(test)]
mod tests;
