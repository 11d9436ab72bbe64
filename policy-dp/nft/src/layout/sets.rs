//! Sets of policies as sets of the kernel: one a family, of single keys where that is enough, for
//! a look into ranges costs several times as much.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use policy_calc::{Member, SetDelta, SetId, SetKind, State};
use sha2::{Digest, Sha256};

use crate::{
    layout::span_of,
    name::Name,
    table::{Field, Set, Shape, Span, Table, Value, after, disjoint},
};

/// Sets that are made where a table has not got them.
pub struct Made<'a> {
    have: &'a Table,
    made: BTreeMap<Name, Set>,
}

/// What became of a set with its members.
pub enum Kept {
    /// It stays, with these keys coming, going or staying.
    Members(Vec<Span>),
    /// It stays, with other ranges.
    Ranges,
    /// It is of a kind that does not fit any more.
    Not,
}

impl<'a> Made<'a> {
    /// Beside those of a table.
    pub fn beside(have: &'a Table) -> Self {
        Self { have, made: BTreeMap::new() }
    }

    /// Those that were made.
    pub fn made(self) -> BTreeMap<Name, Set> {
        self.made
    }

    fn has(&self, name: &Name) -> bool {
        self.have.sets.contains_key(name) || self.made.contains_key(name)
    }

    fn make(&mut self, name: Name, shape: Shape, spans: impl FnOnce() -> Vec<Span>) -> Name {
        if !self.has(&name) {
            let elements = spans().into_iter().map(|span| (span, Value::Member)).collect();
            self.made.insert(name.clone(), Set { shape, elements });
        }
        name
    }
}

/// The set of this family that a rule asks for; made if it is not there yet. A set that nobody
/// told of is empty.
pub fn of_policy(state: &State, id: SetId, family: Field, made: &mut Made<'_>) -> Name {
    if let Some(known) = names(id, family).into_iter().find(|name| made.has(name)) {
        return known;
    }
    let [single, ranges] = names(id, family);
    let spans = all(state, id, family);
    match id.kind() {
        // What a set is made for cannot be changed, so a set of another kind has another name.
        SetKind::Addresses if spans.iter().any(|span| !is_single(span)) => {
            made.make(ranges, Shape::ranges(&[family]), || disjoint(spans))
        }
        SetKind::Addresses => made.make(single, Shape::set(&[family]), || spans),
        SetKind::Ports => made.make(single, port_shape(family), || spans),
    }
}

/// The set of this family that a table has.
pub fn known(id: SetId, family: Field, table: &Table) -> Option<Name> {
    names(id, family).into_iter().find(|name| table.sets.contains_key(name))
}

/// Members come to a set, or go; `state` has seen it.
pub fn change(state: &State, id: SetId, family: Field, delta: &SetDelta, set: &mut Set) -> Kept {
    let of = |members: &BTreeSet<Member>| -> Vec<Span> {
        members.iter().filter_map(|member| span(member, family)).collect()
    };
    let (added, removed) = (of(&delta.added), of(&delta.removed));
    if !set.shape.intervals {
        if added.iter().any(|span| id.kind() == SetKind::Addresses && !is_single(span)) {
            return Kept::Not;
        }
        for span in &removed {
            set.elements.remove(span);
        }
        set.elements.extend(added.iter().map(|span| (span.clone(), Value::Member)));
        return Kept::Members([removed, added].concat());
    }
    if added.is_empty() && removed.is_empty() {
        return Kept::Members(Vec::new());
    }
    let spans = all(state, id, family);
    if spans.iter().all(is_single) {
        return Kept::Not;
    }
    set.elements = disjoint(spans).into_iter().map(|span| (span, Value::Member)).collect();
    Kept::Ranges
}

/// The names it may have in this family: of single keys, and of ranges.
fn names(id: SetId, family: Field) -> [Name; 2] {
    let digest: String = id.digest().iter().map(|octet| format!("{octet:02x}")).collect();
    let number = if family == Field::Ipv4 { 4 } else { 6 };
    let kind = match id.kind() {
        SetKind::Addresses => 's',
        SetKind::Ports => 'p',
    };
    ["", "n"].map(|ranges| Name::of(&format!("{kind}{number}{ranges}-{digest}")))
}

fn port_shape(family: Field) -> Shape {
    Shape::set(&[family, Field::Protocol, Field::Port])
}

fn all(state: &State, id: SetId, family: Field) -> Vec<Span> {
    let members = state.sets.get(&id).into_iter().flatten();
    members.filter_map(|member| span(member, family)).collect()
}

/// A member as a key of this family.
fn span(member: &Member, family: Field) -> Option<Span> {
    match member {
        Member::Net(net) => span_of(net, family),
        Member::Port(at) => {
            let address = span_of(&IpNet::from(at.address), family)?;
            let port = Span::one(&at.port.to_be_bytes());
            Some(address.then(&Span::one(&[at.protocol])).then(&port))
        }
    }
}

fn is_single(span: &Span) -> bool {
    span.from == span.to
}

/// The ranges of this family that a rule lists itself; `None` if there are none.
pub fn of_nets(nets: &[IpNet], family: Field, made: &mut Made<'_>) -> Option<Name> {
    let spans = disjoint(nets.iter().filter_map(|net| span_of(net, family)));
    let number = if family == Field::Ipv4 { 4 } else { 6 };
    let name = format!("nets{number}-{}", digest(&spans));
    (!spans.is_empty()).then(|| made.make(Name::of(&name), Shape::ranges(&[family]), || spans))
}

/// The ports that a rule lists itself; `None` if there are none.
pub fn of_ports(list: &[(u16, u16)], made: &mut Made<'_>) -> Option<Name> {
    let spans = disjoint(list.iter().filter(|(first, last)| first <= last).map(|(first, last)| {
        let (low, high) = (Span::one(&first.to_be_bytes()), Span::one(&last.to_be_bytes()));
        Span { from: low.from, to: high.to }
    }));
    let name = format!("ports-{}", digest(&spans));
    let shape = Shape::ranges(&[Field::Port]);
    (!list.is_empty()).then(|| made.make(Name::of(&name), shape, || spans))
}

/// The protocols that ports are looked at of.
pub fn of_protocols_with_ports(made: &mut Made<'_>) -> Name {
    let spans = || PROTOCOLS_WITH_PORTS.map(|number| Span::one(&[number])).to_vec();
    made.make(Name::of("protocols-with-ports"), Shape::set(&[Field::Protocol]), spans)
}

/// The addresses of a range, each by itself. For ranges that were made of single ones.
pub fn singles(span: Span) -> Vec<Span> {
    let mut all = Vec::new();
    let mut next = Some(span.from);
    while let Some(key) = next.take_if(|key| *key <= span.to) {
        next = after(&key);
        all.push(Span { from: key.clone(), to: key });
    }
    all
}

/// TCP, UDP and SCTP.
const PROTOCOLS_WITH_PORTS: [u8; 3] = [6, 17, 132];

fn digest(spans: &[Span]) -> String {
    let mut hash = Sha256::new();
    for span in spans {
        hash.update(&span.from);
        hash.update(&span.to);
    }
    hash.finalize().iter().take(8).map(|octet| format!("{octet:02x}")).collect()
}
