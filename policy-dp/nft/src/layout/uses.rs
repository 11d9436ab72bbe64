//! Who uses which chain and which set, so that what nobody uses can go.

use std::collections::{BTreeMap, BTreeSet};

use crate::{expr::Rule, layout::is_common, name::Name};

/// Of chains that are not there for all workloads.
#[derive(Debug, Default)]
pub struct Uses {
    /// The chains and maps that lead to a chain; no entry is empty.
    chains: BTreeMap<Name, BTreeSet<Name>>,
    /// Those that ask a set or map.
    sets: BTreeMap<Name, BTreeSet<Name>>,
}

/// What other rules of a chain did.
#[derive(Debug, Default)]
pub struct Unused {
    /// Chains that nobody leads to any more.
    pub chains: Vec<Name>,
    /// Sets that nobody asks any more.
    pub sets: Vec<Name>,
    /// Sets that nobody asked before.
    pub new_sets: Vec<Name>,
}

impl Uses {
    /// A chain has other rules than before.
    pub fn replace(&mut self, chain: &Name, before: &[Rule], now: &[Rule]) -> Unused {
        let mut unused = Unused::default();
        let (old, new) = (leads(before), leads(now));
        for name in new.difference(&old) {
            self.chains.entry((*name).clone()).or_default().insert(chain.clone());
        }
        unused.chains.extend(without(&mut self.chains, chain, old.difference(&new)));
        let (old, new) = (asks(before), asks(now));
        for name in new.difference(&old) {
            let users = self.sets.entry((*name).clone()).or_default();
            if users.is_empty() {
                unused.new_sets.push((*name).clone());
            }
            users.insert(chain.clone());
        }
        unused.sets.extend(without(&mut self.sets, chain, old.difference(&new)));
        unused
    }

    /// A map leads to other chains than before; gives those that nobody leads to any more.
    pub fn lead(
        &mut self,
        map: &Name,
        before: &BTreeSet<&Name>,
        now: &BTreeSet<&Name>,
    ) -> Vec<Name> {
        for name in now.difference(before) {
            self.chains.entry((*name).clone()).or_default().insert(map.clone());
        }
        without(&mut self.chains, map, before.difference(now))
    }

    /// The chains that ask a set.
    pub fn of_set(&self, set: &Name) -> impl Iterator<Item = &Name> {
        self.sets.get(set).into_iter().flatten()
    }
}

/// Takes a user away from these; gives those that have none any more.
fn without<'a>(
    uses: &mut BTreeMap<Name, BTreeSet<Name>>,
    user: &Name,
    names: impl Iterator<Item = &'a &'a Name>,
) -> Vec<Name> {
    let mut unused = Vec::new();
    for name in names {
        let Some(users) = uses.get_mut(*name) else { continue };
        users.remove(user);
        if users.is_empty() {
            uses.remove(*name);
            unused.push((*name).clone());
        }
    }
    unused
}

fn leads(rules: &[Rule]) -> BTreeSet<&Name> {
    rules.iter().flat_map(Rule::chains).filter(|name| !is_common(name)).collect()
}

fn asks(rules: &[Rule]) -> BTreeSet<&Name> {
    rules.iter().flat_map(Rule::sets).filter(|name| !is_common(name)).collect()
}
