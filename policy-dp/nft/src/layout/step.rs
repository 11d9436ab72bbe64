//! Short rows of expressions that rules are put together from.

use crate::{
    expr::{Base, Compare, Ct, Expr, Meta, Octets, Reg, Verdict, ct_status},
    layout::LINK_ROOM,
    table::Field,
};

/// Which end of a packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Where it comes from.
    Source,
    /// Where it goes.
    Destination,
}

/// Loads the name of the link, four registers.
pub fn link(part: Part) -> Vec<Expr> {
    let key = match part {
        Part::Source => Meta::InputName,
        Part::Destination => Meta::OutputName,
    };
    vec![Expr::Meta { key, to: Reg::FIRST }]
}

/// Goes on if the link's name begins so.
pub fn link_begins(part: Part, prefix: &str) -> Vec<Expr> {
    [link(part), vec![equals(beginning(prefix))]].concat()
}

/// Goes on if the link's name, which stays loaded, begins with none of these.
pub fn link_begins_not(part: Part, prefixes: &[String]) -> Vec<Expr> {
    let others = prefixes.iter().map(|prefix| differs(beginning(prefix)));
    link(part).into_iter().chain(others).collect()
}

fn beginning(prefix: &str) -> &[u8] {
    prefix.as_bytes().get(..prefix.len().min(LINK_ROOM)).unwrap_or_default()
}

/// Goes on for every other link.
pub fn link_is_not(part: Part, name: &str) -> Vec<Expr> {
    let mut steps = link(part);
    steps.push(differs(&link_name(name)));
    steps
}

/// A link's name as it is compared.
pub fn link_name(name: &str) -> [u8; LINK_ROOM] {
    let mut octets = [0; LINK_ROOM];
    octets.iter_mut().zip(name.as_bytes()).for_each(|(to, from)| *to = *from);
    octets
}

/// Goes on for packets of a family.
pub fn is_family(family: Field) -> Vec<Expr> {
    let number = if family == Field::Ipv4 { 2 } else { 10 };
    vec![Expr::Meta { key: Meta::Family, to: Reg::FIRST }, equals(&[number])]
}

/// Goes on for packets of a protocol.
pub fn protocol_is(number: u8) -> Vec<Expr> {
    vec![Expr::Meta { key: Meta::Protocol, to: Reg::FIRST }, equals(&[number])]
}

/// Goes on for packets of any other protocol.
pub fn protocol_is_not(number: u8) -> Vec<Expr> {
    vec![Expr::Meta { key: Meta::Protocol, to: Reg::FIRST }, differs(&[number])]
}

/// Goes on for one port; the source's stands at 0, the destination's at 2.
pub fn port_is(offset: u32, port: u16) -> Vec<Expr> {
    vec![transport(offset, 2, Reg::FIRST), equals(&port.to_be_bytes())]
}

/// Loads an address of a packet, which must be of this family.
pub fn address(family: Field, part: Part, to: Reg) -> Vec<Expr> {
    let (source, len) = if family == Field::Ipv4 { (12, 4) } else { (8, 16) };
    let offset = if part == Part::Source { source } else { source + len };
    vec![Expr::Payload { base: Base::Network, offset, len, to }]
}

/// Loads octets behind the IP header.
pub fn transport(offset: u32, len: u32, to: Reg) -> Expr {
    Expr::Payload { base: Base::Transport, offset, len, to }
}

/// Loads an address of a packet of this family, its protocol and one of its ports, which begins so
/// many octets behind the IP header: as sets of ports have them.
pub fn port_key(family: Field, part: Part, offset: u32) -> Vec<Expr> {
    let behind = if family == Field::Ipv4 { 1 } else { 4 };
    let mut load = address(family, part, Reg::FIRST);
    load.push(Expr::Meta { key: Meta::Protocol, to: Reg::at(behind) });
    load.push(transport(offset, 2, Reg::at(behind + 1)));
    load
}

/// Keeps these bits of the packet's mark, and turns those.
pub fn changed_mark(keep: u32, turn: u32) -> Vec<Expr> {
    vec![
        Expr::Meta { key: Meta::Mark, to: Reg::FIRST },
        bits(keep, turn),
        Expr::SetMark { from: Reg::FIRST },
    ]
}

/// Goes on if the packet's mark has a bit.
pub fn has_bit(bit: u32) -> Vec<Expr> {
    vec![Expr::Meta { key: Meta::Mark, to: Reg::FIRST }, bits(bit, 0), differs(&[0; 4])]
}

/// Goes on if it has not.
pub fn has_no_bit(bit: u32) -> Vec<Expr> {
    vec![Expr::Meta { key: Meta::Mark, to: Reg::FIRST }, bits(bit, 0), equals(&[0; 4])]
}

/// Goes on if the destination of the packet's connection was rewritten.
pub fn was_rewritten() -> Vec<Expr> {
    let status = Expr::Ct { key: Ct::Status, to: Reg::FIRST };
    vec![status, bits(ct_status::DESTINATION_NAT, 0), differs(&[0; 4])]
}

fn bits(keep: u32, turn: u32) -> Expr {
    let octets = |bits: u32| Octets::from_slice(&bits.to_ne_bytes());
    Expr::Bitwise { from: Reg::FIRST, to: Reg::FIRST, mask: octets(keep), xor: octets(turn) }
}

/// Goes on if the first registers have this.
pub fn equals(value: &[u8]) -> Expr {
    Expr::Cmp { from: Reg::FIRST, how: Compare::Equal, value: Octets::from_slice(value) }
}

/// Goes on if they have anything else.
pub fn differs(value: &[u8]) -> Expr {
    Expr::Cmp { from: Reg::FIRST, how: Compare::Differs, value: Octets::from_slice(value) }
}

/// Goes on if what is loaded is in a set.
pub fn in_set(mut load: Vec<Expr>, set: &str) -> Vec<Expr> {
    load.push(Expr::Lookup { set: set.into(), from: Reg::FIRST, inverted: false });
    load
}

/// Goes on if what is loaded is not in a set.
pub fn not_in_set(mut load: Vec<Expr>, set: &str) -> Vec<Expr> {
    load.push(Expr::Lookup { set: set.into(), from: Reg::FIRST, inverted: true });
    load
}

/// Goes where a map leads from what is loaded.
pub fn looked_up(mut load: Vec<Expr>, map: &str) -> Vec<Expr> {
    load.push(Expr::VerdictOf { map: map.into(), from: Reg::FIRST });
    load
}

/// A verdict alone.
pub fn verdict(verdict: Verdict) -> Vec<Expr> {
    vec![Expr::Verdict(verdict)]
}
