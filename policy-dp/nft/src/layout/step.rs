//! Short rows of expressions that rules are put together from.

use crate::{
    expr::{Base, Compare, Expr, Meta, Octets, Reg, Verdict},
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
    let mut steps = link(part);
    let len = prefix.len().min(LINK_ROOM);
    let value = Octets::from_slice(prefix.as_bytes().get(..len).unwrap_or_default());
    steps.push(Expr::Cmp { from: Reg::FIRST, how: Compare::Equal, value });
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
