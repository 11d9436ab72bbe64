//! Links of the host itself: host endpoints, their classes of policies, and the ports that stay open.
//!
//! Each [`Stage`] is a place in a packet's way where policies of one class are asked: a base chain, in
//! it a map from the link's name to the link's own chain, and behind that the chain of the endpoint
//! for all other links, if there is one. Nothing of it is there without a host endpoint. What a class
//! before connection tracking or before the translation of destinations lets through carries a bit of
//! the packet's mark, by which the stages behind know it; that bit is taken from every packet first.
//!
//! Promises that ports that stay open do, and the neighbours of IPv6 with them, whatever policies
//! say; that links of workloads are decided by their policies alone, but where the endpoint for all
//! other links is asked before translation and about what is forwarded; that the loopback is of no
//! endpoint unless it names it.

use std::{collections::BTreeMap, sync::Arc};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use policy_calc::{Class, Direction, Endpoint, Packet, State};

use super::{
    At, FAMILIES, ICMPV6, Layout, OTHER_LINKS, Settings, UDP, by_state, span_of,
    step::{
        Part, changed_mark, equals, has_bit, has_no_bit, in_set, is_family, link, link_begins,
        link_is_not, link_name, looked_up, port_key, protocol_is, transport, verdict,
        was_rewritten,
    },
};
use crate::{
    expr::{Compare, Expr, Octets, Reg, Rule, Verdict},
    name::Name,
    table::{ChainKind, Field, Hook, HookPoint, Set, Shape, Span, Value, disjoint},
};

/// A port that stays open whatever policies say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failsafe {
    /// Number of the protocol.
    pub protocol: u8,
    /// The port: the host's own for what comes in, the other's for what goes out.
    pub port: u16,
    /// The others it is open for; all if `None`.
    pub net: Option<IpNet>,
}

impl Failsafe {
    /// Towards the host, where nothing else is said: SSH, DHCP, BGP, etcd, Typha, Kubernetes.
    pub fn inbound() -> Vec<Self> {
        all([(TCP, 22), (UDP, 68)])
    }

    /// From the host likewise; with DNS.
    pub fn outbound() -> Vec<Self> {
        all([(UDP, 53), (UDP, 67)])
    }
}

fn all(own: [(u8, u16); 2]) -> Vec<Failsafe> {
    let both = [179, 2379, 2380, 5473, 6443, 6666, 6667].map(|port| (TCP, port));
    let all = own.into_iter().chain(both);
    all.map(|(protocol, port)| Failsafe { protocol, port, net: None }).collect()
}

impl Settings {
    /// Whether a packet to the host or from it passes whatever its policies say.
    pub fn stays_open(&self, direction: Direction, packet: &Packet) -> bool {
        let (list, other) = match direction {
            Direction::Ingress => (&self.failsafe_inbound, packet.source),
            Direction::Egress => (&self.failsafe_outbound, packet.destination),
        };
        let to = packet.ports().map(|(_, to)| to);
        let is_neighbour = packet.protocol == ICMPV6
            && packet.icmp().is_some_and(|(kind, _)| {
                (NEIGHBOURS.0..=NEIGHBOURS.1).contains(&kind) || kind == LISTENERS
            });
        let covers = |open: &Failsafe| {
            (open.protocol, Some(open.port)) == (packet.protocol, to)
                && open.net.is_none_or(|net| net.contains(&other))
        };
        is_neighbour || list.iter().any(covers)
    }
}

/// Bits of the packet's mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// An early class let the packet through: nobody else of the host is asked.
    passed: u32,
    /// The host made it and something rewrote where it goes: only when it leaves is it known by
    /// which link.
    late: u32,
    /// It passes a workload's link, and the table is there to decide about it.
    guarded: u32,
}

impl Marks {
    /// The three lowest bits of a mask; `None` if it has not as many.
    pub fn of(mask: u32) -> Option<Self> {
        let lowest = |mask: u32| mask & mask.wrapping_neg();
        let passed = lowest(mask);
        let late = lowest(mask & !passed);
        let guarded = lowest(mask & !passed & !late);
        (guarded != 0).then_some(Self { passed, late, guarded })
    }

    /// What a packet of a workload's link carries where there is a guard.
    pub fn guarded(self) -> u32 {
        self.guarded
    }

    /// Lets a packet through, and says so to the stages behind.
    pub(super) fn pass(self) -> Vec<Expr> {
        changed_mark(!self.passed, self.passed)
    }
}

impl Default for Marks {
    fn default() -> Self {
        Self { passed: 0x1_0000, late: 0x2_0000, guarded: 0x4_0000 }
    }
}

/// Where in a packet's way policies of one class are asked.
#[derive(Debug, Clone, Copy)]
struct Stage {
    /// Of its map, and what the names of the links' own chains begin with.
    name: &'static str,
    class: Class,
    direction: Direction,
}

impl Stage {
    fn part(self) -> Part {
        match self.direction {
            Direction::Ingress => Part::Source,
            Direction::Egress => Part::Destination,
        }
    }

    /// The chain that a link's packets pass here.
    fn own(self, at: &At) -> Name {
        match at {
            At::Workload(link) | At::Host(link) => Name::of(&format!("{}/{link}", self.name)),
            At::OtherHost => Name::of(&format!("{}-others", self.name)),
        }
    }
}

/// The chains that packets of the host's own links pass first.
pub(super) fn chains_of(at: &At) -> Vec<Name> {
    STAGES.iter().map(|stage| stage.own(at)).collect()
}

/// Whether a chain or set is there for all links of the host, or is the first of one: they keep open
/// what must stay so, and nothing is closed by itself in their stead.
pub(super) fn is_common(name: &str) -> bool {
    name.starts_with("host-") || name.starts_with("failsafe-")
}

impl Layout {
    /// Links of the host have this endpoint now, or none.
    pub(super) fn host(&mut self, state: &State, at: &At, endpoint: Option<&Arc<Endpoint>>) {
        self.links.remove(at);
        if let Some(endpoint) = endpoint {
            self.links.insert(at.clone(), endpoint.clone());
        }
        self.host_common();
        for stage in STAGES {
            let own = stage.own(at);
            let rules = endpoint.and_then(|endpoint| self.own_stage(state, *stage, endpoint));
            let leads = rules.is_some();
            match rules {
                Some(rules) => self.put(own.clone(), None, rules),
                None => self.drop_chain(own.clone()),
            }
            let (At::Host(link), Some(map)) = (at, self.table.sets.get_mut(&stage.name.into()))
            else {
                continue;
            };
            let key = Span::one(&link_name(link));
            // With nothing to ask here it is still not one of the others.
            let end = if leads { Verdict::Goto(own) } else { Verdict::Accept };
            match endpoint {
                Some(_) => map.elements.insert(key.clone(), Value::Verdict(end)),
                None => map.elements.remove(&key),
            };
            self.touched.elements.entry(stage.name.into()).or_default().insert(key);
        }
        self.host_bases();
    }

    /// What a stage asks of a link with this endpoint; `None`: nothing.
    fn own_stage(&mut self, state: &State, stage: Stage, endpoint: &Endpoint) -> Option<Vec<Rule>> {
        let policies = self.policies(state, None, endpoint, stage.class, stage.direction)?;
        let open = match (stage.class, stage.direction) {
            (Class::Forward, _) => None,
            (Class::Untracked, Direction::Ingress) => Some(FAILSAFE_RAW_IN),
            (Class::Untracked, Direction::Egress) => Some(FAILSAFE_RAW_OUT),
            (_, Direction::Ingress) => Some(FAILSAFE_IN),
            (_, Direction::Egress) => Some(FAILSAFE_OUT),
        };
        let known = (stage.class != Class::Untracked).then(by_state);
        let open = open.map(|chain| Rule::new(verdict(Verdict::Jump(chain.into())), None));
        let goto = Rule::new(verdict(Verdict::Goto(policies)), None);
        Some(known.into_iter().chain(open).chain([goto]).collect())
    }

    fn has_hosts(&self) -> bool {
        self.links.last_key_value().is_some_and(|(at, _)| !matches!(at, At::Workload(_)))
    }

    /// The maps of the stages and the ports that stay open: there if there is any host endpoint.
    fn host_common(&mut self) {
        let wanted = self.has_hosts();
        let sets = if wanted { self.host_sets() } else { BTreeMap::new() };
        let maps = STAGES.iter().map(|stage| Name::from(stage.name));
        let names = maps.chain(FAILSAFE_SETS.iter().flatten().map(|name| Name::from(*name)));
        for name in names {
            let is = self.table.sets.contains_key(&name);
            match sets.get(&name) {
                Some(set) if !is => self.table.sets.insert(name.clone(), set.clone()),
                None if is => self.table.sets.remove(&name),
                _ => continue,
            };
            self.touched.sets.insert(name);
        }
        for (name, rules) in open_chains() {
            if wanted {
                self.put(name.into(), None, rules);
            } else {
                self.drop_chain(name.into());
            }
        }
    }

    fn host_sets(&self) -> BTreeMap<Name, Set> {
        let maps = STAGES.iter().map(|stage| (stage.name, Set::new(Shape::map(&[Field::Link]))));
        let open = [&self.settings.failsafe_inbound, &self.settings.failsafe_outbound];
        let open = open.into_iter().zip(FAILSAFE_SETS).flat_map(|(list, names)| {
            let of = |family| open_set(list, family);
            FAMILIES.into_iter().zip(names).map(move |(family, name)| (name, of(family)))
        });
        maps.chain(open).map(|(name, set)| (name.into(), set)).collect()
    }

    /// The base chains of all stages, as the endpoint for all other links makes them.
    fn host_bases(&mut self) {
        for (name, hook, rules) in self.bases() {
            if self.has_hosts() {
                self.put(name.into(), Some(hook), rules);
            } else {
                self.drop_chain(name.into());
            }
        }
    }

    fn bases(&self) -> [(&'static str, Hook, Vec<Rule>); 8] {
        let Marks { passed, late, .. } = self.settings.marks;
        let base =
            |point, priority| Hook { kind: ChainKind::Filter, point, priority, drops: false };
        let accept = || verdict(Verdict::Accept);
        let rule = |steps: Vec<Expr>, remark: &str| Rule::new(steps, Some(remark));
        let clear =
            || rule(changed_mark(!(passed | late), 0), "what others say by our bits says nothing");
        let is_passed =
            || rule([has_bit(passed), accept()].concat(), "let through by an earlier stage");
        let workloads = |part: Part| {
            let prefixes = self.settings.prefixes.iter();
            let ours = prefixes.map(|prefix| link_begins(part, prefix));
            let all = ours.chain([in_set(link(part), OTHER_LINKS)]);
            all.map(|is| rule([is, accept()].concat(), "workloads' links")).collect::<Vec<_>>()
        };
        let [raw_in, raw_out, pre_dnat, forward_in, forward_out, input, output] =
            STAGES.map(|stage| self.asked(stage));
        let decided_late = rule(
            [was_rewritten(), changed_mark(!late, late), accept()].concat(),
            "sent elsewhere: decided when it leaves",
        );
        let decided_before = rule([has_no_bit(late), accept()].concat(), "decided before");
        let (iif, oif) = (Part::Source, Part::Destination);
        let chains: [(&str, Hook, Vec<Vec<Rule>>); 8] = [
            (
                "host-raw-prerouting",
                base(HookPoint::Prerouting, -300),
                vec![vec![clear()], workloads(iif), raw_in],
            ),
            (
                "host-raw-output",
                base(HookPoint::Output, -300),
                vec![vec![clear()], workloads(oif), raw_out],
            ),
            (
                "host-mangle-prerouting",
                base(HookPoint::Prerouting, -150),
                vec![vec![is_passed()], pre_dnat],
            ),
            (
                "host-forward-from",
                base(HookPoint::Forward, -1),
                vec![vec![is_passed()], forward_in],
            ),
            ("host-forward-to", base(HookPoint::Forward, 2), vec![forward_out]),
            (
                "host-filter-input",
                base(HookPoint::Input, 0),
                vec![vec![is_passed()], workloads(iif), input],
            ),
            (
                "host-filter-output",
                base(HookPoint::Output, 0),
                vec![vec![is_passed()], workloads(oif), vec![decided_late], output.clone()],
            ),
            (
                "host-postrouting",
                base(HookPoint::Postrouting, -150),
                vec![vec![decided_before], workloads(oif), output],
            ),
        ];
        chains.map(|(name, hook, rules)| (name, hook, rules.concat()))
    }

    /// The rules that lead to what a stage asks: the link's own, else that of all others.
    fn asked(&self, stage: Stage) -> Vec<Rule> {
        let mut rules = vec![Rule::new(looked_up(link(stage.part()), stage.name), None)];
        let others = stage.own(&At::OtherHost);
        if self.table.chains.contains_key(&others) {
            let goto = verdict(Verdict::Goto(others));
            rules.push(Rule::new([link_is_not(stage.part(), "lo"), goto].concat(), None));
        }
        rules
    }
}

/// Chains of what stays open. Before connection tracking answers are known by nothing but their ports.
fn open_chains() -> [(&'static str, Vec<Rule>); 4] {
    let accept = || verdict(Verdict::Accept);
    let neighbours = || {
        let mut steps = protocol_is(ICMPV6);
        // Listeners, routers and neighbours: without them nothing stays open.
        steps.extend([transport(0, 1, Reg::FIRST), kinds(NEIGHBOURS.0, NEIGHBOURS.1)]);
        let listeners =
            [protocol_is(ICMPV6), vec![transport(0, 1, Reg::FIRST), equals(&[LISTENERS])]];
        [steps, listeners.concat()].map(|steps| Rule::new([steps, accept()].concat(), None))
    };
    let open = |[v4, v6]: [&'static str; 2], part: Part, port: u32| {
        FAMILIES.into_iter().zip([v4, v6]).map(move |(family, set)| {
            let mut steps = is_family(family);
            steps.extend(in_set(port_key(family, part, port), set));
            Rule::new([steps, accept()].concat(), Some("stays open"))
        })
    };
    let [inbound, outbound] = FAILSAFE_SETS;
    let (remote, own) = (2, 0);
    let input = || open(inbound, Part::Source, remote);
    let output = || open(outbound, Part::Destination, remote);
    let answers_in = open(outbound, Part::Source, own);
    let answers_out = open(inbound, Part::Destination, own);
    [
        (FAILSAFE_IN, neighbours().into_iter().chain(input()).collect()),
        (FAILSAFE_OUT, neighbours().into_iter().chain(output()).collect()),
        (FAILSAFE_RAW_IN, neighbours().into_iter().chain(input()).chain(answers_in).collect()),
        (FAILSAFE_RAW_OUT, neighbours().into_iter().chain(output()).chain(answers_out).collect()),
    ]
}

/// What stays open in a family: other's address, protocol, port.
fn open_set(list: &[Failsafe], family: Field) -> Set {
    let everybody = match family {
        Field::Ipv4 => IpNet::V4(Ipv4Net::default()),
        _ => IpNet::V6(Ipv6Net::default()),
    };
    // Ranges of one port must not overlap.
    let mut ports: BTreeMap<(u8, u16), Vec<Span>> = BTreeMap::new();
    for Failsafe { protocol, port, net } in list {
        let span = span_of(&net.unwrap_or(everybody), family);
        ports.entry((*protocol, *port)).or_default().extend(span);
    }
    let elements = ports.into_iter().flat_map(|((protocol, port), spans)| {
        let behind = move |span: Span| {
            span.then(&Span::one(&[protocol])).then(&Span::one(&port.to_be_bytes()))
        };
        disjoint(spans).into_iter().map(move |span| (behind(span), Value::Member))
    });
    let shape = Shape::ranges(&[family, Field::Protocol, Field::Port]);
    Set { shape, elements: elements.collect() }
}

fn kinds(low: u8, high: u8) -> Expr {
    let (low, high) = (Octets::from_slice(&[low]), Octets::from_slice(&[high]));
    Expr::Range { from: Reg::FIRST, how: Compare::Equal, low, high }
}

/// In the order of a packet's way.
const STAGES: &[Stage; 7] = &[
    Stage { name: "host-raw-in", class: Class::Untracked, direction: Direction::Ingress },
    Stage { name: "host-raw-out", class: Class::Untracked, direction: Direction::Egress },
    Stage { name: "host-pre-dnat", class: Class::PreDnat, direction: Direction::Ingress },
    Stage { name: "host-forward-in", class: Class::Forward, direction: Direction::Ingress },
    Stage { name: "host-forward-out", class: Class::Forward, direction: Direction::Egress },
    Stage { name: "host-in", class: Class::Normal, direction: Direction::Ingress },
    Stage { name: "host-out", class: Class::Normal, direction: Direction::Egress },
];
const FAILSAFE_IN: &str = "failsafe-in";
const FAILSAFE_OUT: &str = "failsafe-out";
const FAILSAFE_RAW_IN: &str = "failsafe-raw-in";
const FAILSAFE_RAW_OUT: &str = "failsafe-raw-out";
/// Of ports towards the host and from it, by family.
const FAILSAFE_SETS: [[&str; 2]; 2] =
    [["failsafe-inbound4", "failsafe-inbound6"], ["failsafe-outbound4", "failsafe-outbound6"]];
/// Types of ICMPv6 by which neighbours, routers and listeners find each other, without redirects.
const NEIGHBOURS: (u8, u8) = (130, 136);
/// A later one of listeners.
const LISTENERS: u8 = 143;
pub(super) const TCP: u8 = 6;
