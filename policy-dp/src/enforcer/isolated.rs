//! What the kernel refused, set aside so that the rest can be enforced: closed, never open.
//!
//! A chain with a rule that is refused drops everything; so does one that asks a set that is refused,
//! or an element of it. What an endpoint's link needs to be known by is left out, and the link then
//! carries nothing. Of the host's own links only policies are closed: what stays open for them whatever
//! policies say stands before.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use policy_nft::{
    Name,
    encode::batch::Object,
    expr::{Expr, Rule, Verdict},
    layout::{self, At},
    netlink::Refused,
    table::{Set, Span, Table, Value},
};

/// What is set aside, each with what the kernel said.
#[derive(Debug, Default)]
pub(super) struct Isolated {
    chains: BTreeMap<Name, String>,
    sets: BTreeMap<Name, String>,
    elements: BTreeMap<(Name, Span), String>,
}

/// What is cut off by it.
#[derive(Debug)]
pub(super) struct Cut<'a> {
    /// Chains that drop everything, and those that lead to one.
    chains: BTreeSet<Name>,
    elements: &'a BTreeMap<(Name, Span), String>,
}

impl Isolated {
    /// Sets aside what was refused of this table, in the kernel's order; but not what may be refused only
    /// because it needs something that was. False where the first would take others with it, or it did not
    /// help.
    pub(super) fn add(&mut self, refused: &[Refused], table: &Table) -> bool {
        let Some((first, rest)) = refused.split_first() else { return false };
        if !self.add_one(first, table) {
            return false;
        }
        let needed = |one: &&Refused| matches!(one.object, Object::Set(_) | Object::Chain(_));
        let mut missing: Vec<&Object> = vec![&first.object];
        for one in rest {
            // What cannot be set aside is the first of a later try, unless it was right but for these.
            if !missing.iter().any(|missing| needs(&one.object, missing, table)) {
                self.add_one(one, table);
            }
            missing.extend(Some(one).filter(needed).map(|one| &one.object));
        }
        true
    }

    fn add_one(&mut self, refused: &Refused, table: &Table) -> bool {
        let why = || words(refused, table);
        match &refused.object {
            Object::Batch | Object::Table => false,
            Object::Chain(chain) | Object::Rule { chain, .. } => {
                !layout::is_common(chain)
                    && table.chains.contains_key(chain)
                    && put(&mut self.chains, chain.clone(), why)
            }
            Object::Element { set, span } if layout::closes_without(set) => {
                put(&mut self.elements, (set.clone(), span.clone()), why)
            }
            Object::Set(set) | Object::Element { set, .. } => {
                let asked_by = table.chains.iter().filter(|(_, chain)| asks(&chain.rules, set));
                let own = asked_by.into_iter().all(|(name, _)| !layout::is_common(name));
                !layout::is_common(set)
                    && own
                    && table.sets.contains_key(set)
                    && put(&mut self.sets, set.clone(), why)
            }
        }
    }

    /// What is set aside, in the kernel's words.
    pub(super) fn reasons(&self) -> impl Iterator<Item = &str> {
        let all = self.chains.values().chain(self.sets.values()).chain(self.elements.values());
        all.map(String::as_str)
    }

    /// Takes it out of a table, which may not have all of it any more.
    pub(super) fn apply(&self, table: &mut Table) -> Cut<'_> {
        let mut cut = BTreeSet::new();
        for (name, chain) in &mut table.chains {
            let asks =
                chain.rules.iter().any(|rule| rule.sets().any(|set| self.sets.contains_key(set)));
            if asks || self.chains.contains_key(name) {
                let drop = vec![Expr::Verdict(Verdict::Drop)];
                chain.rules = vec![Rule::new(drop, Some("refused by the kernel"))];
                cut.insert(name.clone());
            }
        }
        table.sets.retain(|name, _| !self.sets.contains_key(name));
        for (set, span) in self.elements.keys() {
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
            self.elements.keys().any(|(_, span)| span.from.starts_with(&name))
        };
        layout::chains_of(at).iter().any(|chain| self.chains.contains(chain))
            || matches!(at, At::Workload(link) if has_element(link))
    }
}

/// Whether an object cannot be without another one.
fn needs(object: &Object, other: &Object, table: &Table) -> bool {
    let leads = |set: &Name, span: &Span, chain: &Name| {
        let value = table.sets.get(set).and_then(|set| set.elements.get(span));
        value.is_some_and(|value| value.chain() == Some(chain))
    };
    let rules = |chain: &Name| table.chains.get(chain).map_or(&[][..], |chain| &chain.rules);
    match (object, other) {
        (Object::Rule { chain, .. }, Object::Chain(missing)) => {
            chain == missing
                || rules(chain).iter().any(|rule| rule.chains().any(|to| to == missing))
        }
        (Object::Rule { chain, .. }, Object::Set(missing)) => asks(rules(chain), missing),
        (Object::Element { set, .. }, Object::Set(missing)) => set == missing,
        (Object::Element { set, span }, Object::Chain(missing)) => leads(set, span, missing),
        // Where the kernel does not say which element it is.
        (Object::Set(set), Object::Set(missing)) => set == missing,
        (Object::Set(set), Object::Chain(missing)) => {
            let values = table.sets.get(set).into_iter().flat_map(|set| set.elements.values());
            values.into_iter().any(|value| value.chain() == Some(missing))
        }
        _ => false,
    }
}

fn asks(rules: &[Rule], set: &Name) -> bool {
    rules.iter().any(|rule| rule.sets().any(|name| name == set))
}

fn put<K: Ord>(all: &mut BTreeMap<K, String>, key: K, why: impl FnOnce() -> String) -> bool {
    match all.entry(key) {
        Entry::Vacant(free) => {
            free.insert(why());
            true
        }
        Entry::Occupied(_) => false,
    }
}

/// What was refused, with what it does where that is written beside it.
fn words(refused: &Refused, table: &Table) -> String {
    let remark = match &refused.object {
        Object::Rule { chain, index } => {
            table.chains.get(chain).and_then(|chain| chain.rules.get(*index)).and_then(Rule::remark)
        }
        _ => None,
    };
    match remark {
        Some(remark) => format!("{refused} (of {remark})"),
        None => refused.to_string(),
    }
}
