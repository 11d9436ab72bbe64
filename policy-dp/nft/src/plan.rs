//! What has to be done to a table so that it becomes what it shall be.
//!
//! Owns the order of a transaction, and what needs several; promises that nothing is named before it is there, that
//! nothing goes before what names it is gone, that what is right already is not touched, and that
//! a changed element costs no rule. Leaves octets and sockets to others.

mod actual;
mod moves;
mod stages;

use std::collections::{BTreeMap, BTreeSet};

pub use self::{
    actual::{Actual, ActualChain, Presence},
    stages::stages,
};
use crate::{
    expr::Rule,
    name::Name,
    table::{Chain, Hook, Set, Shape, Span, Table, Value},
};

/// One step of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Makes the table, or takes one over that nobody holds.
    HoldTable,
    /// Takes the table away with all in it.
    DropTable,
    /// Makes a set without elements.
    AddSet(Name, Shape),
    /// Makes a chain without rules.
    AddChain(Name, Option<Hook>),
    /// Takes elements out.
    RemoveElements(Name, Shape, Vec<(Span, Value)>),
    /// Puts elements in.
    AddElements(Name, Shape, Vec<(Span, Value)>),
    /// Takes all rules of a chain away.
    ClearChain(Name),
    /// Puts a rule at the end of a chain.
    AddRule(Name, Rule),
    /// Takes a set away that nothing looks into any more.
    DropSet(Name, Shape),
    /// Takes a chain away that has no rules and is named by nothing any more.
    DropChain(Name),
}

/// What is to be looked at; what is not named is taken to be right.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched {
    /// Chains that came, went or have other rules.
    pub chains: BTreeSet<Name>,
    /// Sets that came, went or may have quite other elements.
    pub sets: BTreeSet<Name>,
    /// Of sets that stay: the elements that came, went or have other values.
    pub elements: BTreeMap<Name, BTreeSet<Span>>,
}

impl Touched {
    /// Nothing to look at.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.sets.is_empty() && self.elements.is_empty()
    }

    /// Looks at what others look at, too.
    pub fn join(&mut self, other: Self) {
        self.chains.extend(other.chains);
        self.sets.extend(other.sets);
        for (set, spans) in other.elements {
            self.elements.entry(set).or_default().extend(spans);
        }
    }
}

/// The steps from what is to what shall be; none where all is right. A table that nobody holds is
/// taken over as it is first: what it needs then is to be planned again.
///
/// A table of somebody else's make under our name, one in the way of a kind of chain or set that
/// cannot be changed, or one with things we never make, is replaced whole in the same transaction.
pub fn plan(desired: &Table, actual: &Actual) -> Vec<Op> {
    let chains = desired.chains.keys().chain(actual.chains.keys());
    let sets = desired.sets.keys().chain(actual.sets.keys());
    let touched = Touched {
        chains: chains.cloned().collect(),
        sets: sets.cloned().collect(),
        elements: BTreeMap::new(),
    };
    plan_touched(desired, actual, &touched)
}

/// The same, looking at a part only: costs as much as that part.
pub fn plan_touched(desired: &Table, actual: &Actual, touched: &Touched) -> Vec<Op> {
    let mut work = Work::new(desired, actual);
    match actual.presence {
        Presence::Held => {}
        Presence::Absent => work.ops.push(Op::HoldTable),
        // And no more: the kernel refuses base chains in a batch that takes a table over.
        Presence::Orphan => return vec![Op::HoldTable],
        Presence::Foreign => return replace(desired),
    }
    let mut elements = touched.elements.iter().filter(|(set, _)| !touched.sets.contains(*set));
    let fits = touched.sets.iter().all(|name| work.set(name))
        && elements.all(|(set, spans)| work.some_elements(set, spans))
        && touched.chains.iter().all(|name| work.chain(name));
    if fits { work.into_ops() } else { replace(desired) }
}

/// The table anew, whatever it was.
fn replace(desired: &Table) -> Vec<Op> {
    let mut ops = vec![Op::DropTable];
    ops.extend(plan(desired, &Actual::default()));
    ops
}

struct Work<'a> {
    desired: &'a Table,
    actual: &'a Actual,
    /// The table itself, then sets, then chains.
    ops: Vec<Op>,
    add_chains: Vec<Op>,
    remove_elements: Vec<Op>,
    add_elements: Vec<Op>,
    rules: Vec<Op>,
    drop_sets: Vec<Op>,
    drop_chains: Vec<Op>,
}

impl<'a> Work<'a> {
    fn new(desired: &'a Table, actual: &'a Actual) -> Self {
        Self {
            desired,
            actual,
            ops: Vec::new(),
            add_chains: Vec::new(),
            remove_elements: Vec::new(),
            add_elements: Vec::new(),
            rules: Vec::new(),
            drop_sets: Vec::new(),
            drop_chains: Vec::new(),
        }
    }

    /// False where the set stands in the way of the one it shall be.
    fn set(&mut self, name: &Name) -> bool {
        match (self.desired.sets.get(name), self.actual.sets.get(name)) {
            (Some(wanted), Some(found)) => {
                self.elements(name, wanted, found);
                wanted.shape == found.shape
            }
            (Some(wanted), None) => {
                self.ops.push(Op::AddSet(name.clone(), wanted.shape.clone()));
                let all = wanted.elements.iter().map(owned).collect();
                self.add(name, &wanted.shape, all);
                true
            }
            (None, Some(found)) => {
                self.drop_sets.push(Op::DropSet(name.clone(), found.shape.clone()));
                true
            }
            (None, None) => true,
        }
    }

    fn elements(&mut self, name: &Name, wanted: &Set, found: &Set) {
        let missing = |(span, value): &(&Span, &Value)| found.elements.get(span) != Some(value);
        let surplus = |(span, value): &(&Span, &Value)| wanted.elements.get(span) != Some(value);
        let remove = found.elements.iter().filter(surplus).map(owned).collect();
        let add = wanted.elements.iter().filter(missing).map(owned).collect();
        self.remove(name, &wanted.shape, remove);
        self.add(name, &wanted.shape, add);
    }

    fn some_elements(&mut self, name: &Name, spans: &BTreeSet<Span>) -> bool {
        let (wanted, found) = (self.desired.sets.get(name), self.actual.sets.get(name));
        let (Some(wanted), Some(found)) = (wanted, found) else {
            return self.set(name); // it came or went meanwhile
        };
        let (mut remove, mut add) = (Vec::new(), Vec::new());
        for span in spans {
            let (want, have) = (wanted.elements.get(span), found.elements.get(span));
            if want != have {
                remove.extend(have.map(|value| (span.clone(), value.clone())));
                add.extend(want.map(|value| (span.clone(), value.clone())));
            }
        }
        self.remove(name, &wanted.shape, remove);
        self.add(name, &wanted.shape, add);
        wanted.shape == found.shape
    }

    fn remove(&mut self, name: &Name, shape: &Shape, elements: Vec<(Span, Value)>) {
        if !elements.is_empty() {
            let op = Op::RemoveElements(name.clone(), shape.clone(), elements);
            self.remove_elements.push(op);
        }
    }

    fn add(&mut self, name: &Name, shape: &Shape, elements: Vec<(Span, Value)>) {
        if !elements.is_empty() {
            let op = Op::AddElements(name.clone(), shape.clone(), elements);
            self.add_elements.push(op);
        }
    }

    /// False where the chain stands in the way of the one it shall be.
    fn chain(&mut self, name: &Name) -> bool {
        match (self.desired.chains.get(name), self.actual.chains.get(name)) {
            (Some(wanted), Some(found)) => {
                if !found.has(&wanted.rules) {
                    if !found.rules.is_empty() {
                        self.rules.push(Op::ClearChain(name.clone()));
                    }
                    self.fill(name, wanted);
                }
                found.hook == Some(wanted.hook)
            }
            (Some(wanted), None) => {
                self.add_chains.push(Op::AddChain(name.clone(), wanted.hook));
                self.fill(name, wanted);
                true
            }
            (None, Some(found)) => {
                if !found.rules.is_empty() {
                    self.rules.push(Op::ClearChain(name.clone()));
                }
                self.drop_chains.push(Op::DropChain(name.clone()));
                true
            }
            (None, None) => true,
        }
    }

    fn fill(&mut self, name: &Name, wanted: &Chain) {
        let rules = wanted.rules.iter();
        self.rules.extend(rules.map(|rule| Op::AddRule(name.clone(), rule.clone())));
    }

    fn into_ops(self) -> Vec<Op> {
        let mut ops = self.ops;
        for more in [
            self.add_chains,
            self.remove_elements,
            self.add_elements,
            self.rules,
            self.drop_sets,
            self.drop_chains,
        ] {
            ops.extend(more);
        }
        ops
    }
}

fn owned((span, value): (&Span, &Value)) -> (Span, Value) {
    (span.clone(), value.clone())
}

#[cfg(test)]
mod tests;
