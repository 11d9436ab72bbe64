//! Which of many selectors match which of many label sets, kept up to date.
//!
//! Owns the matches. Promises the same answer as asking every selector of every label set, without
//! asking most of them: each selector is filed under conditions one of which must hold for it to
//! match (`role == "db"`, `has(rack)`), so a label set that changes asks only the selectors filed
//! under labels it has or had. Selectors without such a condition (`all()`, `!has(x)`) are asked
//! every time.

use std::collections::{BTreeMap, BTreeSet};

use super::Expression;

/// A match that started or stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<S, L> {
    /// The selector matches the label set now.
    Started(S, L),
    /// It does not any more.
    Stopped(S, L),
}

/// Selectors and label sets under names of the caller's choice.
#[derive(Clone, Debug)]
pub struct Index<S, L> {
    selectors: BTreeMap<S, Filed<L>>,
    sets: BTreeMap<L, Labelled<S>>,
    /// Selectors by what they are filed under.
    by_value: BTreeMap<(String, String), BTreeSet<S>>,
    by_label: BTreeMap<String, BTreeSet<S>>,
    unfiled: BTreeSet<S>,
    /// Label sets by what they have.
    with_value: BTreeMap<(String, String), BTreeSet<L>>,
    with_label: BTreeMap<String, BTreeSet<L>>,
}

#[derive(Clone, Debug)]
struct Filed<L> {
    expression: Expression,
    /// `None`: nothing must hold for it to match.
    conditions: Option<Vec<Condition>>,
    matches: BTreeSet<L>,
}

#[derive(Clone, Debug)]
struct Labelled<S> {
    labels: BTreeMap<String, String>,
    matches: BTreeSet<S>,
}

/// Something a label set must have for a selector to match it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Condition {
    /// The label with this value.
    Value(String, String),
    /// The label.
    Label(String),
}

impl<S, L> Default for Index<S, L> {
    fn default() -> Self {
        Self {
            selectors: BTreeMap::new(),
            sets: BTreeMap::new(),
            by_value: BTreeMap::new(),
            by_label: BTreeMap::new(),
            unfiled: BTreeSet::new(),
            with_value: BTreeMap::new(),
            with_label: BTreeMap::new(),
        }
    }
}

impl<S: Ord + Clone, L: Ord + Clone> Index<S, L> {
    /// An index without selectors and label sets.
    pub fn new() -> Self {
        Self::default()
    }

    /// The label sets a selector matches, in order.
    pub fn matches(&self, selector: &S) -> impl Iterator<Item = &L> {
        self.selectors.get(selector).into_iter().flat_map(|filed| &filed.matches)
    }

    /// The selectors that match a label set, in order.
    pub fn selectors_of(&self, set: &L) -> impl Iterator<Item = &S> {
        self.sets.get(set).into_iter().flat_map(|labelled| &labelled.matches)
    }

    /// Adds a selector or puts another in its place. Stops are told before starts, each in order.
    pub fn set_selector(&mut self, name: S, expression: Expression) -> Vec<Event<S, L>> {
        let before = self.unfile(&name);
        let conditions = conditions(&expression, &|one| self.cost(one));
        let mut after = BTreeSet::new();
        match &conditions {
            None => {
                let all = self.sets.iter();
                after.extend(
                    all.filter(|(_, set)| expression.matches(&set.labels))
                        .map(|(name, _)| name.clone()),
                );
                self.unfiled.insert(name.clone());
            }
            Some(conditions) => {
                for condition in conditions {
                    let sets = match condition {
                        Condition::Value(label, value) => {
                            let key = (label.clone(), value.clone());
                            self.by_value.entry(key.clone()).or_default().insert(name.clone());
                            self.with_value.get(&key)
                        }
                        Condition::Label(label) => {
                            self.by_label.entry(label.clone()).or_default().insert(name.clone());
                            self.with_label.get(label)
                        }
                    };
                    for set in sets.into_iter().flatten() {
                        let labels = self.sets.get(set).map(|set| &set.labels);
                        if labels.is_some_and(|labels| expression.matches(labels)) {
                            after.insert(set.clone());
                        }
                    }
                }
            }
        }
        let mut events = Vec::new();
        for set in before.difference(&after) {
            self.sets.get_mut(set).into_iter().for_each(|found| {
                found.matches.remove(&name);
            });
            events.push(Event::Stopped(name.clone(), set.clone()));
        }
        for set in after.difference(&before) {
            self.sets.get_mut(set).into_iter().for_each(|found| {
                found.matches.insert(name.clone());
            });
            events.push(Event::Started(name.clone(), set.clone()));
        }
        self.selectors.insert(name, Filed { expression, conditions, matches: after });
        events
    }

    /// Removes a selector, if it is there.
    pub fn remove_selector(&mut self, name: &S) -> Vec<Event<S, L>> {
        let matches = self.unfile(name);
        for set in &matches {
            if let Some(found) = self.sets.get_mut(set) {
                found.matches.remove(name);
            }
        }
        matches.into_iter().map(|set| Event::Stopped(name.clone(), set)).collect()
    }

    /// Adds a label set or puts another in its place. Stops are told before starts, each in order.
    pub fn set_labels(&mut self, name: L, labels: BTreeMap<String, String>) -> Vec<Event<S, L>> {
        let known = self.sets.get(&name);
        if known.is_some_and(|known| known.labels == labels) {
            return Vec::new();
        }
        let old = self.sets.remove(&name);
        let (old_labels, before) = old.map(|old| (old.labels, old.matches)).unwrap_or_default();
        self.move_labels(&name, &old_labels, &labels);
        let mut after = BTreeSet::new();
        for selector in self.candidates(&labels) {
            let filed = self.selectors.get(selector);
            if filed.is_some_and(|filed| filed.expression.matches(&labels)) {
                after.insert(selector.clone());
            }
        }
        let mut events = Vec::new();
        for selector in before.difference(&after) {
            self.selectors.get_mut(selector).into_iter().for_each(|filed| {
                filed.matches.remove(&name);
            });
            events.push(Event::Stopped(selector.clone(), name.clone()));
        }
        for selector in after.difference(&before) {
            self.selectors.get_mut(selector).into_iter().for_each(|filed| {
                filed.matches.insert(name.clone());
            });
            events.push(Event::Started(selector.clone(), name.clone()));
        }
        self.sets.insert(name, Labelled { labels, matches: after });
        events
    }

    /// Removes a label set, if it is there.
    pub fn remove_labels(&mut self, name: &L) -> Vec<Event<S, L>> {
        let Some(old) = self.sets.remove(name) else { return Vec::new() };
        self.move_labels(name, &old.labels, &BTreeMap::new());
        for selector in &old.matches {
            if let Some(filed) = self.selectors.get_mut(selector) {
                filed.matches.remove(name);
            }
        }
        old.matches.into_iter().map(|selector| Event::Stopped(selector, name.clone())).collect()
    }

    /// Takes a selector out of everything but the label sets; gives what it matched.
    fn unfile(&mut self, name: &S) -> BTreeSet<L> {
        let Some(filed) = self.selectors.remove(name) else { return BTreeSet::new() };
        match filed.conditions {
            None => {
                self.unfiled.remove(name);
            }
            Some(conditions) => {
                for condition in conditions {
                    match condition {
                        Condition::Value(label, value) => {
                            remove(&mut self.by_value, &(label, value), name);
                        }
                        Condition::Label(label) => remove(&mut self.by_label, &label, name),
                    }
                }
            }
        }
        filed.matches
    }

    /// What it costs to file one more under a condition: how many are filed there already, as all of them
    /// are asked of a label set that has it. A label says less than a value, so more sets have it.
    fn cost(&self, condition: &Condition) -> usize {
        let filed = |found: Option<&BTreeSet<S>>| found.map_or(1, |found| found.len() + 1);
        match condition {
            Condition::Value(label, value) => {
                filed(self.by_value.get(&(label.clone(), value.clone())))
            }
            Condition::Label(label) => filed(self.by_label.get(label)) * 16,
        }
    }

    /// The selectors that may match these labels; some may come twice.
    fn candidates<'a>(
        &'a self,
        labels: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a S> {
        let by_value = labels
            .iter()
            .filter_map(|(label, value)| self.by_value.get(&(label.clone(), value.clone())))
            .flatten();
        let by_label = labels.keys().filter_map(|label| self.by_label.get(label)).flatten();
        by_value.chain(by_label).chain(&self.unfiled)
    }

    fn move_labels(
        &mut self,
        name: &L,
        old: &BTreeMap<String, String>,
        new: &BTreeMap<String, String>,
    ) {
        for (label, value) in old.iter().filter(|(label, value)| new.get(*label) != Some(*value)) {
            remove(&mut self.with_value, &(label.clone(), value.clone()), name);
            if !new.contains_key(label) {
                remove(&mut self.with_label, label, name);
            }
        }
        for (label, value) in new.iter().filter(|(label, value)| old.get(*label) != Some(*value)) {
            let key = (label.clone(), value.clone());
            self.with_value.entry(key).or_default().insert(name.clone());
            if !old.contains_key(label) {
                self.with_label.entry(label.clone()).or_default().insert(name.clone());
            }
        }
    }
}

fn remove<K: Ord, V: Ord>(map: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = map.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            map.remove(key);
        }
    }
}

/// Conditions one of which holds wherever the expression matches, the cheapest of those there are;
/// `None` if there are none such.
fn conditions(
    expression: &Expression,
    cost: &impl Fn(&Condition) -> usize,
) -> Option<Vec<Condition>> {
    match expression {
        Expression::Equal(label, value) => {
            Some(vec![Condition::Value(label.clone(), value.clone())])
        }
        Expression::In(label, values) => {
            let value = |value: &String| Condition::Value(label.clone(), value.clone());
            Some(values.iter().map(value).collect())
        }
        Expression::Has(label)
        | Expression::Contains(label, _)
        | Expression::StartsWith(label, _)
        | Expression::EndsWith(label, _) => Some(vec![Condition::Label(label.clone())]),
        // Whatever is asked of one member must hold for all of them.
        Expression::And(members) => {
            let all = members.iter().filter_map(|member| conditions(member, cost));
            all.min_by_key(|conditions| conditions.iter().map(cost).sum::<usize>())
        }
        Expression::Or(members) => {
            let each = members.iter().map(|member| conditions(member, cost));
            let mut all: Vec<_> = each.collect::<Option<Vec<_>>>()?.concat();
            all.sort();
            all.dedup();
            Some(all)
        }
        Expression::All
        | Expression::Global
        | Expression::NotEqual(..)
        | Expression::NotIn(..)
        | Expression::Not(_) => None,
    }
}

#[cfg(test)]
mod tests;
