//! The transactions that a plan goes in.
//!
//! The kernel chooses the rules for a packet once, but looks at sets and maps as they are when a rule asks.
//! Promises that a packet on its way while a transaction is carried out meets what was or what will be.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    expr::Rule,
    name::Name,
    plan::{Op, moves},
    table::{Field, Holds, Shape, Table},
};

/// The same steps as the transactions they go in.
///
/// Sets that are new go before what asks them: the kernel shows new rules a moment before the new ranges of
/// the same transaction, and a packet that came in between would meet sets that look empty. Nobody asks a
/// set before the rules are there, so nothing is half done in between. Where addresses go from one set to
/// another, rules ask copies of these meanwhile. A table that is replaced is without rules in between:
/// another one has to stand in for it.
///
/// Where addresses lead to policies, by classes, these policies are enough for what such addresses are in,
/// no more. So a chain that maps lead to comes before who leads there, and goes after; an address gets its
/// class when it came to its sets already, and goes from sets when it has another class. Where rules change
/// with members of sets, both change at once: the rules ask copies meanwhile.
pub fn stages(ops: Vec<Op>, desired: &Table) -> Vec<Vec<Op>> {
    let view = View::of(&ops);
    let mut moving = moves::moving(&ops);
    // Old rules are not for new members, nor the other way round.
    if view.rewrites {
        moving.extend(view.members.iter().cloned());
    }
    // Who asks for a class by rules that go would not find a new one.
    if !moving.is_empty() || view.leads_anew {
        moving.extend(view.classes.iter().cloned());
    }
    if !view.is_led() && moving.is_empty() && (view.asked.is_empty() || !view.has_rules) {
        return vec![ops];
    }
    let (mut first, mut rest, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for op in ops {
        match () {
            () if view.goes_before(&op, &moving) => first.push(op),
            () if view.goes_behind(&op, &moving) => last.push(op),
            () => rest.push(op),
        }
    }
    let mut all = match moving.is_empty() {
        true => vec![first, rest, Vec::new()],
        false => moves::stages(first, rest, &moving, desired),
    };
    if let Some(end) = all.last_mut() {
        end.extend(last);
    }
    all.retain(|ops| !ops.is_empty());
    all
}

/// What a plan is about.
struct View {
    /// Sets and maps that are new and go before others.
    asked: BTreeSet<Name>,
    /// New chains that maps lead to.
    led: BTreeSet<Name>,
    /// Chains that go.
    gone: BTreeSet<Name>,
    /// Chains that stay, with other rules.
    rewrites: bool,
    /// Sets of addresses that stay, of which some come or go.
    members: BTreeSet<Name>,
    /// Maps that stay, in which classes of addresses become others.
    classes: BTreeSet<Name>,
    /// A map goes that leads from classes to policies.
    leads_anew: bool,
    /// A map that leads to policies comes, goes or leads elsewhere.
    leads: bool,
    has_rules: bool,
}

impl View {
    fn of(ops: &[Op]) -> Self {
        let mut view = Self {
            asked: BTreeSet::new(),
            led: BTreeSet::new(),
            gone: BTreeSet::new(),
            rewrites: false,
            members: BTreeSet::new(),
            classes: BTreeSet::new(),
            leads_anew: false,
            leads: false,
            has_rules: false,
        };
        let (mut fresh, mut chains, mut cleared) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut rules: BTreeMap<&Name, Vec<&Rule>> = BTreeMap::new();
        let mut targets: Vec<&Name> = Vec::new();
        for op in ops {
            match op {
                Op::AddSet(name, shape) => {
                    fresh.insert(name);
                    view.leads |= leads(shape);
                    if shape.holds != Holds::Verdicts || leads(shape) {
                        view.asked.insert(name.clone());
                    }
                }
                Op::AddElements(name, shape, elements) => {
                    if leads(shape) {
                        view.leads = true;
                        targets.extend(elements.iter().filter_map(|(_, value)| value.chain()));
                    }
                    view.change(name, shape, &fresh);
                }
                Op::RemoveElements(name, shape, _) => {
                    view.leads |= leads(shape);
                    view.change(name, shape, &fresh);
                }
                Op::DropSet(_, shape) => {
                    view.leads |= leads(shape);
                    view.leads_anew |= leads(shape) && shape.key.first() == Some(&Field::ClassKey);
                }
                Op::AddChain(name, None) => {
                    chains.insert(name);
                }
                Op::AddRule(name, rule) => {
                    view.has_rules = true;
                    rules.entry(name).or_default().push(rule);
                }
                Op::DropChain(name) => {
                    view.gone.insert(name.clone());
                }
                Op::ClearChain(name) => {
                    cleared.insert(name.clone());
                }
                Op::AddChain(_, Some(_)) | Op::HoldTable | Op::DropTable => {}
            }
        }
        view.rewrites = !cleared.is_subset(&view.gone);
        view.leads_anew &= !view.classes.is_empty();
        while let Some(name) = targets.pop() {
            if chains.contains(name) && view.led.insert(name.clone()) {
                let rules = rules.get(name).into_iter().flatten();
                targets.extend(rules.flat_map(|rule| rule.chains()));
            }
        }
        view
    }

    fn change(&mut self, name: &Name, shape: &Shape, fresh: &BTreeSet<&Name>) {
        if fresh.contains(name) {
            return;
        }
        if shape.holds == Holds::Values(Field::Class) {
            self.classes.insert(name.clone());
        } else if is_of_addresses(shape) {
            self.members.insert(name.clone());
        }
    }

    /// Whether anything about it concerns who is led where.
    fn is_led(&self) -> bool {
        self.leads || !self.classes.is_empty()
    }

    fn goes_before(&self, op: &Op, moving: &BTreeSet<Name>) -> bool {
        match op {
            Op::DropTable | Op::HoldTable => true,
            Op::AddSet(name, _) => self.asked.contains(name),
            // Nothing is of a new class yet.
            Op::AddElements(_, shape, _) if leads(shape) => true,
            // New ranges are seen a moment after classes.
            Op::AddElements(name, shape, _) => {
                self.asked.contains(name)
                    || !self.classes.is_empty()
                        && shape.intervals
                        && is_of_addresses(shape)
                        && !moving.contains(name)
            }
            Op::AddChain(name, _) | Op::AddRule(name, _) => self.led.contains(name),
            _ => false,
        }
    }

    fn goes_behind(&self, op: &Op, moving: &BTreeSet<Name>) -> bool {
        match op {
            Op::RemoveElements(name, shape, _) => {
                leads(shape)
                    || !self.classes.is_empty() && is_of_addresses(shape) && !moving.contains(name)
            }
            Op::DropSet(..) | Op::DropChain(_) => self.leads,
            Op::ClearChain(name) => self.leads && self.gone.contains(name),
            _ => false,
        }
    }
}

/// Whether a map of this shape leads packets to the policies that concern them.
fn leads(shape: &Shape) -> bool {
    let by = matches!(shape.key.first(), Some(Field::ClassKey | Field::Protocol));
    shape.holds == Holds::Verdicts && by
}

fn is_of_addresses(shape: &Shape) -> bool {
    let by = matches!(shape.key.first(), Some(Field::Ipv4 | Field::Ipv6));
    shape.holds == Holds::Keys && by
}
