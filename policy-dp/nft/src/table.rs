//! A table as a value: its chains with their rules, its sets and maps with their elements.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::{
    expr::{Octets, Rule, Verdict},
    name::Name,
};

/// Everything the table shall have, or has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// Chains by name.
    pub chains: BTreeMap<Name, Chain>,
    /// Sets and maps by name.
    pub sets: BTreeMap<Name, Set>,
}

/// A row of rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    /// Where packets enter it; `None`: only by jumps.
    pub hook: Option<Hook>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// Where in the path of packets a base chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hook {
    /// What it may do.
    pub kind: ChainKind,
    /// Where it is called.
    pub point: HookPoint,
    /// Lower is earlier.
    pub priority: i32,
    /// What becomes of a packet that comes to its end: dropped, or accepted.
    pub drops: bool,
}

/// What a base chain may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChainKind {
    /// Accept and drop.
    Filter,
    /// Have a packet routed again when its mark or addresses changed; at `Output` only.
    Route,
    /// Translate; sees the first packet of each connection.
    Nat,
}

/// Where packets are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookPoint {
    /// Come in, not routed yet.
    Prerouting,
    /// For this host.
    Input,
    /// For somebody else.
    Forward,
    /// Made by this host.
    Output,
    /// About to leave.
    Postrouting,
}

/// A set, or a map from keys to verdicts or to addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// What never changes about it.
    pub shape: Shape,
    /// What is in it.
    pub elements: BTreeMap<Span, Value>,
}

/// What a set is made for. It cannot be changed in the kernel, only made anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    /// What a key is made of; several are concatenated.
    pub key: SmallVec<[Field; 4]>,
    /// Elements are ranges of keys (of each field, if there are several).
    pub intervals: bool,
    /// What elements have beside their keys.
    pub holds: Holds,
}

/// What the elements of a set have beside their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holds {
    /// Nothing.
    Keys,
    /// A verdict.
    Verdicts,
    /// A value that goes into a register.
    Values(Field),
}

/// A part of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// IPv4 address.
    Ipv4,
    /// IPv6 address.
    Ipv6,
    /// Protocol above IP.
    Protocol,
    /// Port.
    Port,
    /// Name of a link.
    Link,
    /// State of connection tracking, host order.
    State,
    /// Sixteen octets that stand for what addresses have in common.
    Class,
    /// The last twelve of them.
    ClassKey,
}

impl Field {
    /// Octets of a value.
    pub const fn octets(self) -> usize {
        match self {
            Self::Protocol => 1,
            Self::Port => 2,
            Self::Ipv4 | Self::State => 4,
            Self::ClassKey => 12,
            Self::Ipv6 | Self::Link | Self::Class => 16,
        }
    }

    /// Octets it takes where several are concatenated.
    pub const fn room(self) -> usize {
        self.octets().next_multiple_of(4)
    }
}

/// The keys of an element: from one to another, both included; one key where they are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Lowest.
    pub from: Octets,
    /// Highest; as long as `from`.
    pub to: Octets,
}

impl Span {
    /// One key.
    pub fn one(key: &[u8]) -> Self {
        Self { from: Octets::from_slice(key), to: Octets::from_slice(key) }
    }

    /// The keys whose first `bits` bits are those of `address`.
    pub fn prefix(address: &[u8], bits: u32) -> Self {
        let mut span = Self::one(address);
        let mut left = bits;
        for (from, to) in span.from.iter_mut().zip(span.to.iter_mut()) {
            let free = 0xff_u8.checked_shr(left.min(8)).unwrap_or(0);
            *from &= !free;
            *to |= free;
            left = left.saturating_sub(8);
        }
        span
    }

    /// Both spans behind each other, as a key of several fields has them; each is filled up to a
    /// multiple of four octets.
    pub fn then(mut self, next: &Self) -> Self {
        for (end, more) in [(&mut self.from, &next.from), (&mut self.to, &next.to)] {
            end.resize(end.len().next_multiple_of(4), 0);
            end.extend_from_slice(more);
            end.resize(end.len().next_multiple_of(4), 0);
        }
        self
    }
}

/// What a map has for a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// It is in the set, no more.
    Member,
    /// The verdict of a map.
    Verdict(Verdict),
    /// The value of a map, as it stands in packets.
    Octets(Octets),
}

impl Value {
    /// The chain it leads to.
    pub fn chain(&self) -> Option<&Name> {
        match self {
            Self::Verdict(verdict) => verdict.chain(),
            Self::Member | Self::Octets(_) => None,
        }
    }
}

impl Set {
    /// An empty one.
    pub fn new(shape: Shape) -> Self {
        Self { shape, elements: BTreeMap::new() }
    }
}

impl Shape {
    /// A set of single keys.
    pub fn set(key: &[Field]) -> Self {
        Self { key: SmallVec::from_slice(key), intervals: false, holds: Holds::Keys }
    }

    /// A set of ranges.
    pub fn ranges(key: &[Field]) -> Self {
        Self { intervals: true, ..Self::set(key) }
    }

    /// A map from single keys to verdicts.
    pub fn map(key: &[Field]) -> Self {
        Self { holds: Holds::Verdicts, ..Self::set(key) }
    }

    /// A map from single keys to values of a field.
    pub fn values(key: &[Field], field: Field) -> Self {
        Self { holds: Holds::Values(field), ..Self::set(key) }
    }

    /// A map from ranges of keys to values of a field.
    pub fn range_values(key: &[Field], field: Field) -> Self {
        Self { intervals: true, ..Self::values(key, field) }
    }

    /// Octets of a key.
    pub fn octets(&self) -> usize {
        match &*self.key {
            [one] => one.octets(),
            several => several.iter().map(|field| field.room()).sum(),
        }
    }

    /// True where ranges are kept as a start and an end, each an element of its own: the kernel's
    /// way for keys of one field. Keys of several fields have both in one element.
    pub fn halves(&self) -> bool {
        self.intervals && self.key.len() == 1
    }
}

/// Ranges that overlap no more: what one covers, or continues, is one with it. The kernel refuses
/// overlaps of ranges of one field.
pub fn disjoint(spans: impl IntoIterator<Item = Span>) -> Vec<Span> {
    let mut sorted: Vec<Span> = spans.into_iter().collect();
    sorted.sort();
    let mut merged: Vec<Span> = Vec::with_capacity(sorted.len());
    for span in sorted {
        match merged.last_mut() {
            Some(last) if after(&last.to).is_none_or(|next| span.from <= next) => {
                if span.to > last.to {
                    last.to = span.to;
                }
            }
            _ => merged.push(span),
        }
    }
    merged
}

/// The key behind this one; `None` behind the last.
pub fn after(key: &Octets) -> Option<Octets> {
    let mut next = key.clone();
    for octet in next.iter_mut().rev() {
        let (sum, carried) = octet.overflowing_add(1);
        *octet = sum;
        if !carried {
            return Some(next);
        }
    }
    None
}

/// The key before this one; `None` before the first.
pub fn before(key: &Octets) -> Option<Octets> {
    let mut last = key.clone();
    for octet in last.iter_mut().rev() {
        let (difference, borrowed) = octet.overflowing_sub(1);
        *octet = difference;
        if !borrowed {
            return Some(last);
        }
    }
    None
}

#[cfg(test)]
mod tests;
