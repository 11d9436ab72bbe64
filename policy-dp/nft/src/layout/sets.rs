//! Sets of policies as sets of the kernel: one a family, of single keys where that is enough, for
//! a look into ranges costs several times as much.

use std::collections::BTreeSet;

use ipnet::IpNet;
use policy_calc::{Member, SetId, SetKind, State};
use sha2::{Digest, Sha256};

use crate::{
    layout::span_of,
    name::Name,
    table::{Field, Set, Shape, Span, Table, Value, after, disjoint},
};

/// The set of this family that a rule asks for; made if it is not there yet. A set that nobody
/// told of is empty.
pub fn of_policy(state: &State, id: SetId, family: Field, table: &mut Table) -> Name {
    static EMPTY: BTreeSet<Member> = BTreeSet::new();
    let members = state.sets.get(&id).unwrap_or(&EMPTY);
    let digest: String = id.digest().iter().map(|octet| format!("{octet:02x}")).collect();
    let number = if family == Field::Ipv4 { 4 } else { 6 };
    match id.kind() {
        SetKind::Addresses => {
            let nets = members.iter().filter_map(|member| match member {
                Member::Net(net) => span_of(net, family),
                Member::Port(_) => None,
            });
            let spans: Vec<Span> = nets.collect();
            // What a set is made for cannot be changed, so a set of another kind has another name.
            if spans.iter().all(|span| span.from == span.to) {
                make(table, &format!("s{number}-{digest}"), Shape::set(&[family]), spans)
            } else {
                ranges(table, &format!("s{number}n-{digest}"), family, spans)
            }
        }
        SetKind::Ports => {
            let ports = members.iter().filter_map(|member| match member {
                Member::Port(at) => {
                    let address = span_of(&IpNet::from(at.address), family)?;
                    let port = Span::one(&at.port.to_be_bytes());
                    Some(address.then(&Span::one(&[at.protocol])).then(&port))
                }
                Member::Net(_) => None,
            });
            let spans = ports.collect();
            let shape = Shape::set(&[family, Field::Protocol, Field::Port]);
            make(table, &format!("p{number}-{digest}"), shape, spans)
        }
    }
}

/// The ranges of this family that a rule lists itself; `None` if there are none.
pub fn of_nets(nets: &[IpNet], family: Field, table: &mut Table) -> Option<Name> {
    let spans = disjoint(nets.iter().filter_map(|net| span_of(net, family)));
    let number = if family == Field::Ipv4 { 4 } else { 6 };
    let name = format!("nets{number}-{}", digest(&spans));
    (!spans.is_empty()).then(|| ranges(table, &name, family, spans))
}

/// The ports that a rule lists itself; `None` if there are none.
pub fn of_ports(list: &[(u16, u16)], table: &mut Table) -> Option<Name> {
    let spans = disjoint(list.iter().filter(|(first, last)| first <= last).map(|(first, last)| {
        let (low, high) = (Span::one(&first.to_be_bytes()), Span::one(&last.to_be_bytes()));
        Span { from: low.from, to: high.to }
    }));
    let name = format!("ports-{}", digest(&spans));
    (!list.is_empty()).then(|| ranges(table, &name, Field::Port, spans))
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

fn ranges(table: &mut Table, name: &str, field: Field, spans: Vec<Span>) -> Name {
    make(table, name, Shape::ranges(&[field]), disjoint(spans))
}

fn make(table: &mut Table, name: &str, shape: Shape, spans: Vec<Span>) -> Name {
    let name = Name::of(name);
    table.sets.entry(name.clone()).or_insert_with(|| Set {
        shape,
        elements: spans.into_iter().map(|span| (span, Value::Member)).collect(),
    });
    name
}

fn digest(spans: &[Span]) -> String {
    let mut hash = Sha256::new();
    for span in spans {
        hash.update(&span.from);
        hash.update(&span.to);
    }
    hash.finalize().iter().take(8).map(|octet| format!("{octet:02x}")).collect()
}
