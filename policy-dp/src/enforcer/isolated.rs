//! What the kernel refused, set aside so that the rest can be enforced: closed, never open.
//!
//! A chain with a rule that is refused drops everything; so does one that asks a set that is refused,
//! or an element of it. What an endpoint's link needs to be known by is left out, and the link then
//! carries nothing. Of the host's own links only policies are closed: what stays open for them whatever
//! policies say stands before.

use std::collections::BTreeSet;

use policy_nft::{
    Name,
    encode::batch::Object,
    expr::{Expr, Rule, Verdict},
    layout::{self, At},
    table::{Set, Span, Table, Value},
};

/// What is set aside.
#[derive(Debug, Default)]
pub(super) struct Isolated {
    chains: BTreeSet<Name>,
    sets: BTreeSet<Name>,
    elements: BTreeSet<(Name, Span)>,
}

/// What is cut off by it.
#[derive(Debug)]
pub(super) struct Cut<'a> {
    /// Chains that drop everything, and those that lead to one.
    chains: BTreeSet<Name>,
    elements: &'a BTreeSet<(Name, Span)>,
}

impl Isolated {
    /// Sets aside what was refused of this table. False where that would take others with it, or
    /// did not help.
    pub(super) fn add(&mut self, object: &Object, table: &Table) -> bool {
        match object {
            Object::Batch | Object::Table => false,
            Object::Chain(chain) | Object::Rule { chain, .. } => {
                !layout::is_common(chain)
                    && table.chains.contains_key(chain)
                    && self.chains.insert(chain.clone())
            }
            Object::Element { set, span } if layout::closes_without(set) => {
                self.elements.insert((set.clone(), span.clone()))
            }
            Object::Set(set) | Object::Element { set, .. } => {
                let asked_by = table.chains.iter().filter(|(_, chain)| {
                    chain.rules.iter().any(|rule| rule.sets().any(|name| name == set))
                });
                let own = asked_by.into_iter().all(|(name, _)| !layout::is_common(name));
                !layout::is_common(set) && own && self.sets.insert(set.clone())
            }
        }
    }

    /// Takes it out of a table, which may not have all of it any more.
    pub(super) fn apply(&self, table: &mut Table) -> Cut<'_> {
        let mut cut = BTreeSet::new();
        for (name, chain) in &mut table.chains {
            let asks =
                chain.rules.iter().any(|rule| rule.sets().any(|set| self.sets.contains(set)));
            if asks || self.chains.contains(name) {
                let drop = vec![Expr::Verdict(Verdict::Drop)];
                chain.rules = vec![Rule::new(drop, Some("refused by the kernel"))];
                cut.insert(name.clone());
            }
        }
        table.sets.retain(|name, _| !self.sets.contains(name));
        for (set, span) in &self.elements {
            if let Some(set) = table.sets.get_mut(set) {
                set.elements.remove(span);
            }
        }
        // Who leads to what is cut off is not as it should be either.
        let mut more = !cut.is_empty();
        while more {
            let of = |set: &Set| {
                let leads = |value: &Value| value.chain().is_some_and(|to| cut.contains(to));
                set.elements.values().any(leads)
            };
            let maps: BTreeSet<&Name> =
                table.sets.iter().filter(|(_, set)| of(set)).map(|(name, _)| name).collect();
            let leading = table.chains.iter().filter(|(name, chain)| {
                let leads = |rule: &Rule| {
                    rule.chains().any(|to| cut.contains(to))
                        || rule.sets().any(|map| maps.contains(map))
                };
                !cut.contains(*name) && chain.rules.iter().any(leads)
            });
            let leading: Vec<Name> = leading.map(|(name, _)| name.clone()).collect();
            more = !leading.is_empty();
            cut.extend(leading);
        }
        Cut { chains: cut, elements: &self.elements }
    }

    /// Whether nothing is.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.chains.len() + self.sets.len() + self.elements.len()
    }
}

impl Cut<'_> {
    /// Whether what passes this link is not decided as it should be.
    pub(super) fn reaches(&self, at: &At) -> bool {
        // Elements are refused alone only where workloads' links have them.
        let has_element = |link: &String| {
            let mut name = link.as_bytes().to_vec();
            name.push(0);
            self.elements.iter().any(|(_, span)| span.from.starts_with(&name))
        };
        layout::chains_of(at).iter().any(|chain| self.chains.contains(chain))
            || matches!(at, At::Workload(link) if has_element(link))
    }
}
