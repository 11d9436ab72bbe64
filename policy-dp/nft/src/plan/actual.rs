//! What the kernel has, as much of it as planning needs.

use std::collections::BTreeMap;

use crate::{
    expr::{Digest, Rule},
    name::Name,
    plan::Op,
    table::{Hook, Set, Table},
};

/// The table as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Actual {
    /// Whether it is there, and whose it is.
    pub presence: Presence,
    /// Chains by name.
    pub chains: BTreeMap<Name, ActualChain>,
    /// Sets and maps by name.
    pub sets: BTreeMap<Name, Set>,
}

/// Whose a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Presence {
    /// There is none.
    #[default]
    Absent,
    /// Ours, and held by our socket, or the kernel knows no holding.
    Held,
    /// Ours, left by a process that ended.
    Orphan,
    /// Not of our make, or with things in it that we never make.
    Foreign,
}

/// A chain as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActualChain {
    /// Its place; the outer `None` is one we never use.
    pub hook: Option<Option<Hook>>,
    /// Its rules; `None` for one that is none of ours.
    pub rules: Vec<Option<Digest>>,
}

impl ActualChain {
    /// Whether it has exactly these rules.
    pub fn has(&self, rules: &[Rule]) -> bool {
        self.rules.len() == rules.len()
            && self.rules.iter().zip(rules).all(|(is, wanted)| *is == Some(wanted.digest()))
    }
}

impl Actual {
    /// Whether packets pass where they would not pass `other`: a base chain of it is missing, or a chain
    /// is empty that has rules there.
    pub fn has_gaps_beside(&self, other: &Table) -> bool {
        other.chains.iter().any(|(name, chain)| match self.chains.get(name) {
            Some(found) => found.rules.is_empty() && !chain.rules.is_empty(),
            None => chain.hook.is_some(),
        })
    }

    /// After these steps were carried out.
    pub fn carry_out(&mut self, ops: &[Op]) {
        for op in ops {
            self.step(op);
        }
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::HoldTable => self.presence = Presence::Held,
            Op::DropTable => *self = Self::default(),
            Op::AddSet(name, shape) => {
                self.sets.insert(name.clone(), Set::new(shape.clone()));
            }
            Op::AddChain(name, hook) => {
                let chain = ActualChain { hook: Some(*hook), rules: Vec::new() };
                self.chains.insert(name.clone(), chain);
            }
            Op::RemoveElements(name, _, elements) => {
                if let Some(set) = self.sets.get_mut(name) {
                    for (span, _) in elements {
                        set.elements.remove(span);
                    }
                }
            }
            Op::AddElements(name, _, elements) => {
                if let Some(set) = self.sets.get_mut(name) {
                    set.elements.extend(elements.iter().cloned());
                }
            }
            Op::ClearChain(name) => {
                if let Some(chain) = self.chains.get_mut(name) {
                    chain.rules.clear();
                }
            }
            Op::AddRule(name, rule) => {
                if let Some(chain) = self.chains.get_mut(name) {
                    chain.rules.push(Some(rule.digest()));
                }
            }
            Op::DropSet(name, _) => {
                self.sets.remove(name);
            }
            Op::DropChain(name) => {
                self.chains.remove(name);
            }
        }
    }
}
