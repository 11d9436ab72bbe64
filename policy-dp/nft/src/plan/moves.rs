//! Addresses that leave a set and come to another one at once.
//!
//! The kernel chooses the rules for a packet once, but looks at members as they are when a rule asks: a
//! packet on its way may meet the one set as it was and the other as it is, and so be taken for what
//! neither the old nor the new policy says. Rules that ask copies instead are changed at once. Promises
//! that, while the members of such sets change, no rule asks them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    expr::Rule,
    name::Name,
    plan::Op,
    table::{Field, Holds, Set, Span, Table, after, before},
};

/// Sets that stay, of which addresses go to others or to which they come from others.
pub(super) fn moving(ops: &[Op]) -> BTreeSet<Name> {
    let mut changes: BTreeMap<&Name, Change> = BTreeMap::new();
    let mut fresh = BTreeSet::new();
    for op in ops {
        match op {
            Op::AddSet(name, _) => {
                fresh.insert(name);
            }
            Op::RemoveElements(name, shape, all) | Op::AddElements(name, shape, all)
                if shape.holds == Holds::Keys =>
            {
                let Some(field @ (Field::Ipv4 | Field::Ipv6)) = shape.key.first() else { continue };
                let change = changes.entry(name).or_insert_with(|| Change::of(*field));
                let spans = all.iter().map(|(span, _)| span.clone());
                match op {
                    Op::RemoveElements(..) => change.gone.extend(spans),
                    _ => change.come.extend(spans),
                }
            }
            _ => {}
        }
    }
    if changes.values().all(|change| change.gone.is_empty()) {
        return BTreeSet::new();
    }
    let mut all: Vec<(Field, Span, bool, &Name)> = Vec::new();
    for (name, change) in changes {
        let mut add = |spans: Vec<Span>, comes| {
            all.extend(
                spans.into_iter().map(|span| (change.field, change.addresses(&span), comes, name)),
            );
        };
        add(without(&change.gone, &change.come), false);
        add(without(&change.come, &change.gone), true);
    }
    all.sort();
    let mut found = BTreeSet::new();
    // Those that may reach as far as the next one.
    let mut open: Vec<&(Field, Span, bool, &Name)> = Vec::new();
    for one in &all {
        let (field, span, comes, name) = one;
        open.retain(|(other, reaches, ..)| other == field && reaches.to >= span.from);
        for (_, _, other_comes, other) in &open {
            if comes != other_comes && name != other {
                found.extend([(*name).clone(), (*other).clone()]);
            }
        }
        open.push(one);
    }
    found.retain(|name| !fresh.contains(name));
    found
}

/// What becomes of a set.
struct Change {
    field: Field,
    gone: Vec<Span>,
    come: Vec<Span>,
}

impl Change {
    fn of(field: Field) -> Self {
        Self { field, gone: Vec::new(), come: Vec::new() }
    }

    /// The addresses of keys, which begin with them.
    fn addresses(&self, span: &Span) -> Span {
        let mut span = span.clone();
        span.from.truncate(self.field.octets());
        span.to.truncate(self.field.octets());
        span
    }
}

/// The keys of some that are not among others; those of either do not overlap each other.
fn without(some: &[Span], others: &[Span]) -> Vec<Span> {
    let mut others: Vec<&Span> = others.iter().collect();
    others.sort();
    let mut left = Vec::new();
    for span in some {
        let mut rest = Some(span.clone());
        let first = others.partition_point(|other| other.to < span.from);
        for other in others.iter().skip(first).take_while(|other| other.from <= span.to) {
            let Some(now) = rest.take() else { break };
            if let Some(to) = before(&other.from).filter(|to| *to >= now.from) {
                left.push(Span { from: now.from, to });
            }
            let from = after(&other.to).filter(|from| *from <= now.to);
            rest = from.map(|from| Span { from, to: now.to });
        }
        left.extend(rest);
    }
    left
}

/// The transactions by which these sets change unasked: copies of them come, rules ask the copies, the
/// sets change, rules ask them again, the copies go. `ops` are to do it all, `ahead` what goes before anyway.
pub(super) fn stages(
    mut ahead: Vec<Op>,
    ops: Vec<Op>,
    moving: &BTreeSet<Name>,
    desired: &Table,
) -> Vec<Vec<Op>> {
    let asks = |rule: &Rule| rule.sets().any(|set| moving.contains(set));
    let asking: BTreeMap<_, _> =
        desired.chains.iter().filter(|(_, chain)| chain.rules.iter().any(asks)).collect();
    let copies = moving.iter().filter_map(|name| Some((name, desired.sets.get(name)?)));
    let copies: BTreeMap<&Name, &Set> = copies.collect();
    for (name, set) in &copies {
        let all = set.elements.iter().map(|(span, value)| (span.clone(), value.clone())).collect();
        ahead.push(Op::AddSet(copy(name), set.shape.clone()));
        ahead.push(Op::AddElements(copy(name), set.shape.clone(), all));
    }
    let renamed = |rule: &Rule| rule.asking(|set| moving.contains(set).then(|| copy(set)));
    let is_member = |op: &Op| match op {
        Op::RemoveElements(name, ..) | Op::AddElements(name, ..) => moving.contains(name),
        _ => false,
    };
    let (members, others): (Vec<_>, Vec<_>) = ops.into_iter().partition(is_member);
    let mut changed = BTreeSet::new();
    let mut switch: Vec<Op> = Vec::new();
    for op in others {
        switch.push(match op {
            Op::AddRule(chain, rule) => {
                let rule = renamed(&rule);
                changed.insert(chain.clone());
                Op::AddRule(chain, rule)
            }
            other => other,
        });
    }
    let fill = |name: &Name, rule: Rule| Op::AddRule(name.clone(), rule);
    for (name, chain) in asking.iter().filter(|(name, _)| !changed.contains(**name)) {
        switch.push(Op::ClearChain((*name).clone()));
        switch.extend(chain.rules.iter().map(|rule| fill(name, renamed(rule))));
    }
    let mut back = Vec::new();
    for (name, chain) in asking {
        back.push(Op::ClearChain(name.clone()));
        back.extend(chain.rules.iter().map(|rule| fill(name, rule.clone())));
    }
    // Members of a map are gone as soon as it is, for packets on their way, too.
    let dropped = |(name, set): (&&Name, &&Set)| Op::DropSet(copy(name), set.shape.clone());
    let last = copies.iter().map(dropped).collect();
    vec![ahead, switch, members, back, last]
}

/// The name of a set's copy.
fn copy(set: &Name) -> Name {
    Name::of(&format!("copy-{set}"))
}
