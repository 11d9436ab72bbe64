use proptest::{collection, prelude::*};

use super::{super::Selector, *};

fn parsed(text: &str) -> Expression {
    text.parse::<Selector>().unwrap_or_else(|error| panic!("{text}: {error}")).expression().clone()
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn matches_start_and_stop_as_labels_and_selectors_come_and_go() {
    let mut index = Index::new();
    assert_eq!(index.set_selector("db", parsed("role == 'db'")), vec![]);
    assert_eq!(index.set_labels(1, labels(&[("role", "db")])), vec![Event::Started("db", 1)]);
    assert_eq!(index.set_labels(1, labels(&[("role", "db")])), vec![]);
    assert_eq!(index.set_selector("no", parsed("!has(role)")), vec![]);
    assert_eq!(
        index.set_labels(1, labels(&[])),
        vec![Event::Stopped("db", 1), Event::Started("no", 1)]
    );
    assert_eq!(index.set_selector("no", parsed("has(role)")), vec![Event::Stopped("no", 1)]);
    assert_eq!(index.set_selector("all", parsed("all()")), vec![Event::Started("all", 1)]);
    assert_eq!(index.remove_selector(&"all"), vec![Event::Stopped("all", 1)]);
    assert_eq!(index.remove_labels(&1), vec![]);
    assert_eq!(index.remove_labels(&1), vec![]);
}

#[test]
fn a_selector_is_filed_under_what_is_rarest() {
    let index = Index::<u8, u8>::new();
    let found = |text: &str| conditions(&parsed(text), &|one| index.cost(one));
    let value = |label: &str, value: &str| Condition::Value(label.into(), value.into());
    assert_eq!(found("has(a) && b == 'c' && !has(d)"), Some(vec![value("b", "c")]));
    assert_eq!(
        found("a == 'b' || has(c)"),
        Some(vec![value("a", "b"), Condition::Label("c".into())])
    );
    assert_eq!(found("a == 'b' || !has(c)"), None);
    assert_eq!(found("a in {}"), Some(vec![]));
}

#[test]
fn selectors_spread_over_what_they_can_be_filed_under() {
    let mut index = Index::new();
    for namespace in 0..50 {
        for app in 0..5 {
            let text = format!("app == 'a{app}' && namespace == 'n{namespace}'");
            index.set_selector((namespace, app), parsed(&text));
        }
    }
    assert_eq!(index.set_labels(1, labels(&[("app", "a3"), ("namespace", "n7")])).len(), 1);
    let asked = index.candidates(&labels(&[("app", "a3"), ("namespace", "n7")])).count();
    assert!(asked < 20, "{asked} of 250 were asked");
}

/// An expression over few labels and values, so that matches are not rare.
pub(in super::super) fn expressions() -> impl Strategy<Value = Expression> {
    let label = || prop::sample::select(vec!["a", "b", "c/d"]).prop_map(str::to_owned);
    let value = || prop::sample::select(vec!["", "x", "xy", "\"", "it's"]).prop_map(str::to_owned);
    let set = || collection::btree_set(value(), 0..3);
    let leaf = prop_oneof![
        Just(Expression::All),
        Just(Expression::Global),
        label().prop_map(Expression::Has),
        (label(), value()).prop_map(|(label, value)| Expression::Equal(label, value)),
        (label(), value()).prop_map(|(label, value)| Expression::NotEqual(label, value)),
        (label(), set()).prop_map(|(label, set)| Expression::In(label, set)),
        (label(), set()).prop_map(|(label, set)| Expression::NotIn(label, set)),
        (label(), value()).prop_map(|(label, value)| Expression::Contains(label, value)),
        (label(), value()).prop_map(|(label, value)| Expression::StartsWith(label, value)),
        (label(), value()).prop_map(|(label, value)| Expression::EndsWith(label, value)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(Expression::negated),
            collection::vec(inner.clone(), 2..4).prop_map(Expression::And),
            collection::vec(inner, 2..4).prop_map(Expression::Or),
        ]
    })
}

#[derive(Clone, Debug)]
enum Step {
    Selector(u8, Expression),
    NoSelector(u8),
    Labels(u8, BTreeMap<String, String>),
    NoLabels(u8),
}

fn steps() -> impl Strategy<Value = Step> {
    let key = prop::sample::select(vec!["a", "b", "c/d"]).prop_map(str::to_owned);
    let value = prop::sample::select(vec!["", "x", "xy", "\""]).prop_map(str::to_owned);
    prop_oneof![
        (0..6u8, expressions()).prop_map(|(name, expression)| Step::Selector(name, expression)),
        (0..6u8).prop_map(Step::NoSelector),
        (0..6u8, collection::btree_map(key, value, 0..4))
            .prop_map(|(name, labels)| Step::Labels(name, labels)),
        (0..6u8).prop_map(Step::NoLabels),
    ]
}

proptest! {
    #[test]
    fn the_canonical_form_parses_to_the_same(expression in expressions()) {
        let canonical = expression.to_string();
        prop_assert_eq!(parsed(&canonical), expression, "{}", canonical);
    }

    #[test]
    fn the_index_knows_what_asking_everyone_would_tell(steps in collection::vec(steps(), 1..40)) {
        let mut index = Index::new();
        let mut selectors = BTreeMap::new();
        let mut sets = BTreeMap::new();
        let mut told = BTreeSet::new();
        for step in steps {
            let events = match step {
                Step::Selector(name, expression) => {
                    selectors.insert(name, expression.clone());
                    index.set_selector(name, expression)
                }
                Step::NoSelector(name) => {
                    selectors.remove(&name);
                    index.remove_selector(&name)
                }
                Step::Labels(name, labels) => {
                    sets.insert(name, labels.clone());
                    index.set_labels(name, labels)
                }
                Step::NoLabels(name) => {
                    sets.remove(&name);
                    index.remove_labels(&name)
                }
            };
            for event in events {
                let news = match event {
                    Event::Started(selector, set) => told.insert((selector, set)),
                    Event::Stopped(selector, set) => told.remove(&(selector, set)),
                };
                prop_assert!(news, "an event told what was known");
            }
            let mut naive = BTreeSet::new();
            for (selector, expression) in &selectors {
                for (set, labels) in &sets {
                    if expression.matches(labels) {
                        naive.insert((*selector, *set));
                    }
                }
            }
            prop_assert_eq!(&told, &naive);
            let by_selector: BTreeSet<_> = selectors
                .keys()
                .flat_map(|name| index.matches(name).map(|set| (*name, *set)))
                .collect();
            prop_assert_eq!(&by_selector, &naive);
            let by_set: BTreeSet<_> = sets
                .keys()
                .flat_map(|name| index.selectors_of(name).map(|selector| (*selector, *name)))
                .collect();
            prop_assert_eq!(&by_set, &naive);
        }
    }
}
