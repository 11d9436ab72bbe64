//! What is there for all workloads, whatever endpoints there are: base chains, the check of sources,
//! what goes from workloads to their own host, and what is masqueraded.

use std::net::IpAddr;

use super::{
    DHCP, FAMILIES, FINDING, FROM, HOST_FROM, ICMPV6, IPIP, LINK_LOCAL, LOCAL_SOURCES, Layout,
    NEIGHBOUR_KINDS, OTHER_LINKS, SOURCES, STATES, TO, TO_HOST, ToHost, UDP, by_state,
    floating::octets,
    hosts::TCP,
    pool_sets, source_sets, span_of,
    step::{
        Part, address, changed_mark, differs, equals, in_set, is_family, link, link_begins,
        link_begins_not, link_name, looked_up, not_in_set, port_is, protocol_is, transport,
        verdict,
    },
};
use crate::{
    expr::{Base, Ct, Expr, Octets, Reg, Rewritten, Rule, Verdict, ct_state},
    table::{Chain, ChainKind, Field, Hook, HookPoint, Set, Shape, Span, Value, disjoint},
};

impl Layout {
    fn chain(&mut self, name: &str, rules: Vec<Rule>) {
        self.table.chains.insert(name.into(), Chain { hook: None, rules });
    }

    fn set(&mut self, name: &str, shape: Shape) -> &mut Set {
        self.table.sets.entry(name.into()).or_insert_with(|| Set::new(shape))
    }

    /// The base chains: packets of workloads' links are led on, others go their way.
    pub(super) fn base(&mut self) {
        self.set(OTHER_LINKS, Shape::set(&[Field::Link]));
        self.set(FROM, Shape::map(&[Field::Link]));
        self.set(TO, Shape::map(&[Field::Link]));
        let mut states = Set::new(Shape::map(&[Field::State]));
        for (state, end) in [
            (ct_state::INVALID, Verdict::Drop),
            (ct_state::ESTABLISHED, Verdict::Accept),
            (ct_state::RELATED, Verdict::Accept),
        ] {
            if state == ct_state::INVALID && !self.settings.drops_invalid {
                continue;
            }
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
        // An answer is none of its own.
        let mut begun = vec![Expr::Ct { key: Ct::State, to: Reg::FIRST }];
        begun.extend(
            [ct_state::ESTABLISHED, ct_state::RELATED].map(|known| differs(&known.to_ne_bytes())),
        );
        let encapsulated = |what: Vec<Expr>| {
            Rule::new([what, begun.clone(), verdict(Verdict::Drop)].concat(), None)
        };
        let mut from = Vec::new();
        if !self.settings.ipip_from_workloads {
            from.push(encapsulated(protocol_is(IPIP)));
        }
        if let Some(port) = self.settings.vxlan_port {
            from.push(encapsulated([protocol_is(UDP), port_is(2, port)].concat()));
        }
        from.extend([Rule::new(looked_up(link(Part::Source), FROM), None), drop()]);
        self.chain(FROM, from);
        let to = vec![Rule::new(looked_up(link(Part::Destination), TO), None), drop()];
        self.chain(TO, to);
    }

    /// The rules that lead what passes workloads' links to a chain. There is one jump, as the kernel walks all
    /// that is behind each of them for every change of rules.
    fn lead(&self, chain: &str) -> [Rule; 2] {
        let part = if chain == TO { Part::Destination } else { Part::Source };
        let mut others = not_in_set(link_begins_not(part, &self.settings.prefixes), OTHER_LINKS);
        others.extend(verdict(Verdict::Return));
        let mut ours = match self.settings.guard && chain != SOURCES {
            true => {
                let bit = self.settings.marks.guarded();
                changed_mark(!bit, bit)
            }
            false => Vec::new(),
        };
        ours.extend(verdict(Verdict::Jump(chain.into())));
        [others, ours].map(|steps| Rule::new(steps, None))
    }

    /// Nobody sends from what is not his.
    pub(super) fn sources(&mut self) {
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
        // Who asks for an address has none.
        let mut steps = asks_for_address();
        for (part, octets) in [(Part::Source, [0; 4]), (Part::Destination, [255; 4])] {
            steps.extend(address(Field::Ipv4, part, Reg::FIRST));
            steps.push(equals(&octets));
        }
        rules.push(Rule::new([steps, back()].concat(), None));
        let drop = verdict(Verdict::Drop);
        rules.push(Rule::new(drop, Some("sent from an address of others")));
        self.chain(SOURCES, rules);
    }

    /// From a workload to its own host.
    pub(super) fn host_side(&mut self) {
        let mut kinds = Set::new(Shape::set(&[Field::Protocol]));
        for kind in FINDING {
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
        let dhcp = || Rule::new([asks_for_address(), verdict(Verdict::Accept)].concat(), None);
        self.chain(HOST_FROM, vec![neighbours(), dhcp(), policies]);
        let mut rules = vec![neighbours(), dhcp(), by_state()];
        match self.settings.to_host {
            ToHost::Drop => rules.push(Rule::new(verdict(Verdict::Drop), None)),
            ToHost::Accept => rules.push(Rule::new(verdict(Verdict::Accept), None)),
            ToHost::Return => {}
        }
        self.chain(TO_HOST, rules);
    }

    /// Workloads of some pools reach the rest of the world by the host's address.
    pub(super) fn masquerade(&mut self) {
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
            match self.settings.masquerade_by.as_deref().map(|by| (by, by.strip_suffix('+'))) {
                None | Some((_, Some(""))) => {}
                Some((_, Some(prefix))) => steps.extend(link_begins(Part::Destination, prefix)),
                Some((name, None)) => {
                    steps.extend(link(Part::Destination));
                    steps.push(equals(&link_name(name)));
                }
            }
            let protocols = self
                .settings
                .masquerade_ports
                .iter()
                .flat_map(|ports| [TCP, UDP].map(|number| (protocol_is(number), Some(*ports))));
            let six = family == Field::Ipv6;
            let own = self.settings.masquerade_as.filter(|own| own.is_ipv6() == six);
            for (mut is, ports) in protocols.chain([(Vec::new(), None)]) {
                is.splice(..0, steps.iter().cloned());
                is.extend(masqueraded(own, ports));
                rules.push(Rule::new(is, Some("natOutgoing")));
            }
        }
        self.table.chains.insert("nat-postrouting".into(), Chain { hook, rules });
    }
}

/// Gives the source this address, or the one of the link it leaves by, and one of these ports.
fn masqueraded(own: Option<IpAddr>, ports: Option<(u16, u16)>) -> Vec<Expr> {
    let (mut steps, mut at) = (Vec::new(), None);
    if let Some((first, last)) = ports {
        // Behind an address of either family.
        let registers = (Reg::at(4), Reg::at(5));
        for (to, port) in [(registers.0, first), (registers.1, last)] {
            steps.push(Expr::Load { to, value: Octets::from_slice(&port.to_be_bytes()) });
        }
        at = Some(registers);
    }
    match own {
        Some(own) => {
            steps.push(Expr::Load { to: Reg::FIRST, value: octets(own) });
            let (which, six) = (Rewritten::Source, own.is_ipv6());
            steps.push(Expr::Rewrite { which, six, from: Reg::FIRST, ports: at });
        }
        None => steps.push(Expr::Masquerade { ports: at }),
    }
    steps
}

/// Goes on for what a client of DHCP sends to a server or relay: UDP from one well-known port to the other.
fn asks_for_address() -> Vec<Expr> {
    let mut steps = is_family(Field::Ipv4);
    steps.extend(protocol_is(UDP));
    let (client, server) = DHCP;
    let ports = [client.to_be_bytes(), server.to_be_bytes()].concat();
    steps.extend([transport(0, 4, Reg::FIRST), equals(&ports)]);
    steps
}
