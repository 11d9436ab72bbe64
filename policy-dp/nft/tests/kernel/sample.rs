//! A table with one of everything.

use policy_nft::{
    Name,
    expr::{Base, Compare, Ct, Expr, Fib, Log, Meta, Octets, Rate, Reg, Rewritten, Rule, Verdict},
    table::{Chain, ChainKind, Field, Holds, Hook, HookPoint, Set, Shape, Span, Table, Value},
};

/// Its name.
pub fn name() -> Name {
    Name::of("margay")
}

/// A rule.
pub fn rule(expressions: Vec<Expr>) -> Rule {
    Rule::new(expressions, None)
}

/// A chain of these rules.
pub fn chain(rules: Vec<Rule>) -> Chain {
    Chain { hook: None, rules }
}

/// A set or map with these elements.
pub fn filled(shape: Shape, elements: impl IntoIterator<Item = (Span, Value)>) -> Set {
    Set { shape, elements: elements.into_iter().collect() }
}

/// IPv4 addresses counted up from 10.0.0.0.
pub fn v4(number: u32) -> [u8; 4] {
    (0x0a00_0000 + number).to_be_bytes()
}

/// The name of a link as it is compared.
pub fn link(name: &str) -> [u8; 16] {
    let mut octets = [0; 16];
    octets.iter_mut().zip(name.as_bytes()).for_each(|(to, from)| *to = *from);
    octets
}

fn octets(value: &[u8]) -> Octets {
    Octets::from_slice(value)
}

/// One of everything.
pub fn everything() -> Table {
    let mut table = Table::default();
    for (name, kind, point, priority, drops) in [
        ("raw-in", ChainKind::Filter, HookPoint::Prerouting, -300, false),
        ("mangle-in", ChainKind::Filter, HookPoint::Prerouting, -150, false),
        ("in", ChainKind::Filter, HookPoint::Input, 0, false),
        ("through", ChainKind::Filter, HookPoint::Forward, -5, true),
        ("mangle-out", ChainKind::Route, HookPoint::Output, -150, false),
        ("nat-out", ChainKind::Nat, HookPoint::Postrouting, 110, false),
        ("nat-in", ChainKind::Nat, HookPoint::Prerouting, -100, false),
    ] {
        let hook = Some(Hook { kind, point, priority, drops });
        table.chains.insert(name.into(), Chain { hook, rules: Vec::new() });
    }
    sets(&mut table);
    let rules = [
        ("raw-in", reverse_path()),
        ("raw-in", rule(vec![Expr::Notrack])),
        ("mangle-in", mark()),
        ("in", ports()),
        ("in", destination_type()),
        ("through", states()),
        ("through", Rule::new(links(), Some("by the link it came in"))),
        ("through", concatenated()),
        ("nat-out", rule(vec![Expr::Masquerade { ports: None }])),
        ("nat-out", source_rewritten()),
        ("nat-in", destination_rewritten()),
        ("policy", logged()),
        ("policy", rule(vec![Expr::Verdict(Verdict::Jump("empty".into()))])),
        ("policy", rule(vec![Expr::Verdict(Verdict::Goto("empty".into()))])),
        ("policy", rule(vec![Expr::Verdict(Verdict::Return)])),
        ("policy", limited(Expr::Faster { per_second: 10_000, burst: 5 })),
        ("policy", limited(Expr::MoreConnections { most: u32::MAX })),
        ("policy", limited(Expr::Within(Rate { times: 9999, seconds: 1, burst: 9999 }))),
        ("policy", limited(Expr::Within(Rate { times: 1, seconds: 86_400, burst: 5 }))),
        ("empty", nothing()),
    ];
    for (name, rule) in rules {
        table.chains.entry(name.into()).or_default().rules.push(rule);
    }
    table.chains.get_mut(&Name::of("empty")).expect("just made").rules.clear();
    table
}

fn limited(over: Expr) -> Rule {
    rule(vec![over, Expr::Verdict(Verdict::Drop)])
}

fn nothing() -> Rule {
    rule(vec![Expr::Counter])
}

fn sets(table: &mut Table) {
    let member = |span| (span, Value::Member);
    let to = |chain: &str| Value::Verdict(Verdict::Goto(chain.into()));
    let six = |last: u8| {
        let mut address = [0; 16];
        address[0] = 0xfd;
        address[15] = last;
        address
    };
    let ports = |low: u16, high: u16| Span {
        from: octets(&low.to_be_bytes()),
        to: octets(&high.to_be_bytes()),
    };
    let ends = Span { from: octets(&[10, 0, 0, 1]), to: octets(&[10, 0, 0, 9]) };
    let sets = [
        ("hosts", Shape::set(&[Field::Ipv4]), vec![member(Span::one(&v4(1)))]),
        ("hosts6", Shape::set(&[Field::Ipv6]), vec![member(Span::one(&six(1)))]),
        ("none", Shape::set(&[Field::Ipv4]), Vec::new()),
        ("protocols", Shape::set(&[Field::Protocol]), vec![member(Span::one(&[6]))]),
        (
            "nets",
            Shape::ranges(&[Field::Ipv4]),
            vec![
                member(Span::prefix(&[0, 0, 0, 0], 8)),
                member(Span::prefix(&[10, 0, 0, 0], 8)),
                member(Span::prefix(&[240, 0, 0, 0], 4)),
            ],
        ),
        (
            "nets6",
            Shape::ranges(&[Field::Ipv6]),
            vec![member(Span::prefix(&six(0), 64)), member(Span::prefix(&[0xff; 16], 8))],
        ),
        (
            "links",
            Shape::map(&[Field::Link]),
            vec![
                (Span::one(&link("cali1")), to("policy")),
                (Span::one(&link("cali2")), Value::Verdict(Verdict::Drop)),
            ],
        ),
        (
            "states",
            Shape::map(&[Field::State]),
            vec![
                (Span::one(&1_u32.to_ne_bytes()), Value::Verdict(Verdict::Drop)),
                (Span::one(&2_u32.to_ne_bytes()), Value::Verdict(Verdict::Accept)),
                (Span::one(&4_u32.to_ne_bytes()), Value::Verdict(Verdict::Accept)),
            ],
        ),
        (
            "services",
            Shape::set(&[Field::Ipv4, Field::Protocol, Field::Port]),
            vec![member(
                Span::one(&v4(1)).then(&Span::one(&[6])).then(&Span::one(&80_u16.to_be_bytes())),
            )],
        ),
        (
            "ranges",
            Shape {
                holds: Holds::Verdicts,
                ..Shape::ranges(&[Field::Ipv4, Field::Protocol, Field::Port])
            },
            vec![(ends.then(&Span::one(&[6])).then(&ports(1000, 2000)), to("policy"))],
        ),
        (
            "ports",
            Shape { holds: Holds::Verdicts, ..Shape::ranges(&[Field::Port]) },
            vec![
                (ports(1, 9), Value::Verdict(Verdict::Accept)),
                (ports(10, 10), Value::Verdict(Verdict::Drop)),
                (ports(65535, 65535), Value::Verdict(Verdict::Return)),
            ],
        ),
        (
            "inside",
            Shape::values(&[Field::Ipv4], Field::Ipv4),
            vec![(Span::one(&v4(7)), Value::Octets(octets(&v4(8))))],
        ),
        (
            "outside6",
            Shape::values(&[Field::Ipv6, Field::Ipv6], Field::Ipv6),
            vec![(Span::one(&six(1)).then(&Span::one(&six(1))), Value::Octets(octets(&six(2))))],
        ),
    ];
    for (name, shape, elements) in sets {
        table.sets.insert(name.into(), filled(shape, elements));
    }
}

fn reverse_path() -> Rule {
    rule(vec![
        Expr::Fib { what: Fib::ReversePath, to: Reg::FIRST },
        Expr::Cmp { from: Reg::FIRST, how: Compare::Equal, value: octets(&[0; 4]) },
        Expr::Verdict(Verdict::Drop),
    ])
}

fn destination_type() -> Rule {
    rule(vec![
        Expr::Fib { what: Fib::DestinationType, to: Reg::FIRST },
        Expr::Cmp { from: Reg::FIRST, how: Compare::Differs, value: octets(&2_u32.to_ne_bytes()) },
        Expr::Verdict(Verdict::Drop),
    ])
}

fn destination_rewritten() -> Rule {
    rule(vec![
        Expr::Meta { key: Meta::Family, to: Reg::FIRST },
        Expr::Cmp { from: Reg::FIRST, how: Compare::Equal, value: octets(&[2]) },
        Expr::Payload { base: Base::Network, offset: 16, len: 4, to: Reg::FIRST },
        Expr::ValueOf { map: "inside".into(), from: Reg::FIRST, to: Reg::at(4) },
        Expr::Rewrite { which: Rewritten::Destination, six: false, from: Reg::at(4), ports: None },
    ])
}

fn source_rewritten() -> Rule {
    rule(vec![
        Expr::Meta { key: Meta::Family, to: Reg::FIRST },
        Expr::Cmp { from: Reg::FIRST, how: Compare::Equal, value: octets(&[10]) },
        Expr::Payload { base: Base::Network, offset: 8, len: 16, to: Reg::FIRST },
        Expr::Payload { base: Base::Network, offset: 24, len: 16, to: Reg::at(4) },
        Expr::ValueOf { map: "outside6".into(), from: Reg::FIRST, to: Reg::FIRST },
        Expr::Rewrite { which: Rewritten::Source, six: true, from: Reg::FIRST, ports: None },
    ])
}

fn mark() -> Rule {
    let bit = octets(&0x10_u32.to_ne_bytes());
    rule(vec![
        Expr::Meta { key: Meta::Mark, to: Reg::FIRST },
        Expr::Bitwise {
            from: Reg::FIRST,
            to: Reg::at(5),
            mask: octets(&(!0x10_u32).to_ne_bytes()),
            xor: bit.clone(),
        },
        Expr::SetMark { from: Reg::at(5) },
        Expr::Load { to: Reg::at(4), value: bit },
        Expr::SetMark { from: Reg::at(4) },
    ])
}

fn ports() -> Rule {
    rule(vec![
        Expr::Meta { key: Meta::Protocol, to: Reg::FIRST },
        Expr::Cmp { from: Reg::FIRST, how: Compare::Equal, value: octets(&[17]) },
        Expr::Payload { base: Base::Transport, offset: 2, len: 2, to: Reg::FIRST },
        Expr::Range {
            from: Reg::FIRST,
            how: Compare::Differs,
            low: octets(&[0, 53]),
            high: octets(&[0, 67]),
        },
        Expr::VerdictOf { map: "ports".into(), from: Reg::FIRST },
    ])
}

fn states() -> Rule {
    rule(vec![
        Expr::Ct { key: Ct::Status, to: Reg::FIRST },
        Expr::Ct { key: Ct::State, to: Reg::FIRST },
        Expr::VerdictOf { map: "states".into(), from: Reg::FIRST },
    ])
}

fn links() -> Vec<Expr> {
    vec![
        Expr::Meta { key: Meta::OutputName, to: Reg::FIRST },
        Expr::Meta { key: Meta::InputName, to: Reg::FIRST },
        Expr::VerdictOf { map: "links".into(), from: Reg::FIRST },
    ]
}

fn concatenated() -> Rule {
    rule(vec![
        Expr::Meta { key: Meta::Family, to: Reg::FIRST },
        Expr::Cmp { from: Reg::FIRST, how: Compare::Equal, value: octets(&[2]) },
        Expr::Payload { base: Base::Network, offset: 12, len: 4, to: Reg::FIRST },
        Expr::Lookup { set: "nets".into(), from: Reg::FIRST, inverted: true },
        Expr::Payload { base: Base::Network, offset: 16, len: 4, to: Reg::FIRST },
        Expr::Meta { key: Meta::Protocol, to: Reg::at(1) },
        Expr::Payload { base: Base::Transport, offset: 2, len: 2, to: Reg::at(2) },
        Expr::Lookup { set: "services".into(), from: Reg::FIRST, inverted: false },
        Expr::VerdictOf { map: "ranges".into(), from: Reg::FIRST },
    ])
}

fn logged() -> Rule {
    let log = |prefix: &str| Expr::Log(Log { group: 1, prefix: prefix.to_owned() });
    Rule::new(vec![Expr::Counter, log("DPI|default"), log("")], Some("says what it dropped"))
}
