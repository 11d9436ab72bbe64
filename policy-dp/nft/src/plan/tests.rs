use std::collections::BTreeSet;

use super::{Actual, ActualChain, Op, Presence, Touched, plan, plan_touched, stages};
use crate::{
    expr::{Expr, Octets, Reg, Rule, Verdict},
    name::Name,
    table::{Chain, Field, Set, Shape, Span, Table, Value},
};

fn rule(verdict: Verdict) -> Rule {
    Rule::new(vec![Expr::Verdict(verdict)], None)
}

fn looks_into(set: &str) -> Rule {
    Rule::new(vec![Expr::Lookup { set: set.into(), from: Reg::FIRST, inverted: false }], None)
}

fn chain(rules: Vec<Rule>) -> Chain {
    Chain { hook: None, rules }
}

fn one(n: u8) -> Span {
    Span::one(&[10, 0, 0, n])
}

fn hosts(members: &[u8]) -> Set {
    let elements = members.iter().map(|n| (one(*n), Value::Member)).collect();
    Set { shape: Shape::set(&[Field::Ipv4]), elements }
}

/// `first` jumps to `second`, which looks into `hosts`; the map goes to `second`.
fn table() -> Table {
    let mut table = Table::default();
    table.chains.insert("first".into(), chain(vec![rule(Verdict::Jump("second".into()))]));
    table.chains.insert("second".into(), chain(vec![looks_into("hosts"), rule(Verdict::Drop)]));
    table.sets.insert("hosts".into(), hosts(&[1, 2]));
    let mut map = Set::new(Shape::map(&[Field::Ipv4]));
    map.elements.insert(one(9), Value::Verdict(Verdict::Goto("second".into())));
    table.sets.insert("map".into(), map);
    table
}

/// The state after a table was made.
fn made(table: &Table) -> Actual {
    let mut actual = Actual::default();
    actual.carry_out(&plan(table, &actual));
    actual
}

/// Where in a plan the first step is that fulfils this.
fn place(ops: &[Op], wanted: impl Fn(&Op) -> bool) -> usize {
    ops.iter().position(wanted).unwrap_or_else(|| panic!("not in {ops:?}"))
}

#[test]
fn nothing_is_named_before_it_is_there() {
    let ops = plan(&table(), &Actual::default());
    assert_eq!(ops.first(), Some(&Op::HoldTable));
    let second = place(&ops, |op| matches!(op, Op::AddChain(n, _) if n.as_str() == "second"));
    let set = place(&ops, |op| matches!(op, Op::AddSet(n, _) if n.as_str() == "hosts"));
    let jump = place(&ops, |op| matches!(op, Op::AddRule(n, _) if n.as_str() == "first"));
    let goto = place(&ops, |op| matches!(op, Op::AddElements(n, ..) if n.as_str() == "map"));
    let look = place(&ops, |op| matches!(op, Op::AddRule(n, _) if n.as_str() == "second"));
    assert!(second < jump && second < goto && set < look, "{ops:?}");
}

#[test]
fn nothing_goes_before_what_names_it() {
    let ops = plan(&Table::default(), &made(&table()));
    let clear =
        |name: &str| place(&ops, |op| matches!(op, Op::ClearChain(n) if n.as_str() == name));
    let set = |name: &str| place(&ops, |op| matches!(op, Op::DropSet(n, _) if n.as_str() == name));
    let chain = place(&ops, |op| matches!(op, Op::DropChain(n) if n.as_str() == "second"));
    assert!(clear("first") < chain && clear("second") < set("hosts") && set("map") < chain);
    let mut actual = made(&table());
    actual.carry_out(&ops);
    assert_eq!(actual, Actual { presence: Presence::Held, ..Actual::default() });
}

#[test]
fn what_is_right_costs_nothing() {
    assert_eq!(plan(&table(), &made(&table())), []);
}

#[test]
fn members_that_change_cost_no_rule() {
    let mut desired = table();
    desired.sets.insert("hosts".into(), hosts(&[2, 3]));
    let shape = Shape::set(&[Field::Ipv4]);
    let expected = [
        Op::RemoveElements("hosts".into(), shape.clone(), vec![(one(1), Value::Member)]),
        Op::AddElements("hosts".into(), shape, vec![(one(3), Value::Member)]),
    ];
    assert_eq!(plan(&desired, &made(&table())), expected);
    let mut touched = Touched::default();
    touched.elements.insert("hosts".into(), [one(1), one(2), one(3), one(4)].into());
    assert_eq!(plan_touched(&desired, &made(&table()), &touched), expected);
}

#[test]
fn another_verdict_for_a_key_takes_the_old_one_out_first() {
    let mut desired = table();
    let map = desired.sets.get_mut(&Name::of("map")).expect("there");
    map.elements.insert(one(9), Value::Verdict(Verdict::Drop));
    let ops = plan(&desired, &made(&table()));
    assert!(matches!(&ops[..], [Op::RemoveElements(..), Op::AddElements(..)]), "{ops:?}");
}

#[test]
fn a_changed_chain_is_cleared_and_filled_and_no_other() {
    let mut desired = table();
    let accept = rule(Verdict::Accept);
    desired.chains.insert("second".into(), chain(vec![accept.clone()]));
    desired.sets.remove(&Name::of("hosts"));
    let expected = [
        Op::ClearChain("second".into()),
        Op::AddRule("second".into(), accept),
        Op::DropSet("hosts".into(), Shape::set(&[Field::Ipv4])),
    ];
    assert_eq!(plan(&desired, &made(&table())), expected);
}

#[test]
fn only_what_was_touched_is_looked_at() {
    let mut desired = table();
    desired.chains.insert("third".into(), chain(Vec::new()));
    desired.sets.remove(&Name::of("map"));
    let touched = Touched { chains: [Name::of("third")].into(), ..Touched::default() };
    let ops = plan_touched(&desired, &made(&table()), &touched);
    assert_eq!(ops, [Op::AddChain("third".into(), None)]);
}

#[test]
fn a_table_in_the_way_is_replaced_whole() {
    let mut others = [made(&table()), made(&table()), made(&table()), made(&table())];
    others[0].presence = Presence::Foreign;
    others[1].sets.insert("hosts".into(), Set::new(Shape::ranges(&[Field::Ipv4])));
    let unknown = ActualChain { hook: None, rules: Vec::new() };
    others[2].chains.insert("second".into(), unknown);
    let based = crate::table::Hook {
        kind: crate::table::ChainKind::Filter,
        point: crate::table::HookPoint::Input,
        priority: 0,
        drops: false,
    };
    others[3].chains.insert("first".into(), ActualChain { hook: Some(Some(based)), rules: vec![] });
    for mut actual in others {
        let ops = plan(&table(), &actual);
        assert_eq!(ops[..2], [Op::DropTable, Op::HoldTable]);
        actual.carry_out(&ops);
        assert_eq!(actual, made(&table()));
    }
}

#[test]
fn an_orphan_is_taken_over_with_what_it_has() {
    let actual = Actual { presence: Presence::Orphan, ..made(&table()) };
    assert_eq!(plan(&table(), &actual), [Op::HoldTable]);
    // Before anything else.
    assert_eq!(plan(&Table::default(), &actual), [Op::HoldTable]);
}

#[test]
fn a_rule_of_others_in_a_chain_of_ours_is_cleared_away() {
    let mut actual = made(&table());
    actual.chains.get_mut(&Name::of("first")).expect("there").rules.push(None);
    let ops = plan(&table(), &actual);
    assert!(matches!(&ops[..], [Op::ClearChain(_), Op::AddRule(..)]), "{ops:?}");
}

#[test]
fn a_new_set_is_there_before_the_transaction_with_rules_that_ask_it() {
    let (before, mut after) = (made(&table()), table());
    after.chains.insert("second".into(), chain(vec![looks_into("others"), rule(Verdict::Drop)]));
    after.sets.remove(&"hosts".into());
    after.sets.insert("others".into(), hosts(&[3]));
    let ops = plan(&after, &before);
    let [first, rest] = stages(ops.clone(), &after).try_into().expect("two transactions");
    let of_others = |op: &Op| match op {
        Op::AddSet(name, _) | Op::AddElements(name, ..) => name.as_str() == "others",
        _ => false,
    };
    assert!(first.len() == 2 && first.iter().all(of_others), "{first:?}");
    assert!(!rest.iter().any(of_others), "{rest:?}");
    let mut actual = before.clone();
    actual.carry_out(&first);
    // Whoever is stopped here has something to tidy up, and nothing to mend.
    let tidy = plan(&table(), &actual);
    assert_eq!(tidy, [Op::DropSet("others".into(), Shape::set(&[Field::Ipv4]))]);
    actual.carry_out(&rest);
    assert_eq!(plan(&after, &actual), []);

    // Nothing new is asked: one is enough.
    let mut more = table();
    more.sets.insert("hosts".into(), hosts(&[1, 2, 3]));
    let ops = plan(&more, &before);
    assert_eq!(stages(ops.clone(), &more), [ops]);
    // All is another: the sets come with the table, the rest behind them.
    let foreign = Actual { presence: Presence::Foreign, ..Actual::default() };
    let [first, rest] =
        stages(plan(&after, &foreign), &after).try_into().expect("two transactions");
    assert_eq!(first[..2], [Op::DropTable, Op::HoldTable]);
    assert!(!first.iter().any(|op| matches!(op, Op::AddChain(..) | Op::AddRule(..))), "{first:?}");
    assert!(!rest.iter().any(of_others), "{rest:?}");
}

/// The same with two sets that a chain asks.
fn with_two(first: Set, second: Set) -> Table {
    let mut table = table();
    table.sets.insert("hosts".into(), first);
    table.sets.insert("others".into(), second);
    let rules = vec![looks_into("hosts"), looks_into("others"), rule(Verdict::Drop)];
    table.chains.insert("second".into(), chain(rules));
    table
}

#[test]
fn while_an_address_goes_from_one_set_to_another_no_rule_asks_them() {
    let ranges = |from: u8, to: u8| {
        let mut set = Set::new(Shape::ranges(&[Field::Ipv4]));
        set.elements.insert(Span { from: one(from).from, to: one(to).from }, Value::Member);
        set
    };
    let (old, new) =
        (with_two(hosts(&[1, 2, 4]), ranges(6, 9)), with_two(hosts(&[1, 3]), ranges(4, 9)));
    let before = made(&old);
    let all = stages(plan(&new, &before), &new);
    assert_eq!(all.len(), 5, "{all:?}");
    let mut actual = before.clone();
    let mut asked: BTreeSet<Name> = ["hosts".into(), "others".into()].into();
    for some in &all {
        for op in some {
            match op {
                Op::RemoveElements(name, ..) | Op::AddElements(name, ..) => {
                    assert!(!asked.contains(name), "{name} in {some:?}");
                }
                Op::ClearChain(_) => asked.clear(),
                Op::AddRule(_, rule) => asked.extend(rule.sets().cloned()),
                _ => {}
            }
        }
        actual.carry_out(some);
        // Whoever is stopped here goes on, or back.
        for table in [&old, &new] {
            let mut other = actual.clone();
            let rest = stages(plan(table, &other), table);
            rest.iter().for_each(|some| other.carry_out(some));
            assert_eq!(other, made(table));
        }
    }
    assert_eq!(actual, made(&new));
}

#[test]
fn members_that_only_come_or_go_and_ranges_that_only_grow_or_shrink_are_one_transaction() {
    let ranges = |from: u8, to: u8| {
        let mut set = Set::new(Shape::ranges(&[Field::Ipv4]));
        set.elements.insert(Span { from: one(from).from, to: one(to).from }, Value::Member);
        set
    };
    let before = with_two(ranges(4, 9), ranges(4, 9));
    for after in [
        // One goes from both, or comes to both, which makes another range of the rest.
        with_two(ranges(4, 8), ranges(4, 8)),
        with_two(ranges(3, 9), ranges(3, 9)),
        // One goes, another comes.
        with_two(ranges(4, 8), ranges(3, 9)),
    ] {
        let ops = plan(&after, &made(&before));
        assert_eq!(stages(ops.clone(), &after), [ops]);
    }
}

/// A chain that asks which class an address is of and goes where `leads` leads from there.
fn led(classes: &[(u8, u8)], leads: &[(u8, &str)], map: &str, members: &[u8]) -> Table {
    let mut table = Table::default();
    let mut values = Set::new(Shape::values(&[Field::Ipv4], Field::Class));
    let class = |number: u8| [number; 16];
    for (address, number) in classes {
        let octets = Octets::from_slice(&class(*number));
        values.elements.insert(one(*address), Value::Octets(octets));
    }
    let mut map_of = Set::new(Shape::map(&[Field::ClassKey]));
    for (number, to) in leads {
        let verdict = Verdict::Goto(Name::of(to));
        map_of.elements.insert(Span::one(&[*number; 12]), Value::Verdict(verdict));
        let rules = vec![looks_into("hosts"), rule(Verdict::Drop)];
        table.chains.insert(Name::of(to), chain(rules));
    }
    let ask = Expr::ValueOf { map: "classes".into(), from: Reg::FIRST, to: Reg::FIRST };
    let lead = Expr::VerdictOf { map: map.into(), from: Reg::FIRST };
    let rules = vec![Rule::new(vec![ask, lead], None), rule(Verdict::Drop)];
    table.chains.insert("first".into(), chain(rules));
    table.sets.insert("classes".into(), values);
    table.sets.insert(map.into(), map_of);
    table.sets.insert("hosts".into(), hosts(members));
    table
}

/// The places of the transactions that have such a step.
fn with(all: &[Vec<Op>], wanted: impl Fn(&Op) -> bool) -> Vec<usize> {
    let has = |(at, ops): (usize, &Vec<Op>)| ops.iter().any(&wanted).then_some(at);
    all.iter().enumerate().filter_map(has).collect()
}

#[test]
fn where_classes_lead_is_there_before_anything_is_of_them_and_until_nothing_is() {
    let old = led(&[(1, 7)], &[(7, "old")], "map", &[1]);
    let new = led(&[(1, 8)], &[(8, "new")], "map", &[2]);
    let mut actual = made(&old);
    let all = stages(plan(&new, &actual), &new);
    let elements = |of: &'static str| move |op: &Op| matches!(op, Op::AddElements(name, ..) if name.as_str() == of);
    let removed = |of: &'static str| move |op: &Op| matches!(op, Op::RemoveElements(name, ..) if name.as_str() == of);
    assert_eq!(with(&all, |op| matches!(op, Op::AddRule(..))), [0], "{all:?}");
    assert_eq!((with(&all, elements("map")), with(&all, removed("map"))), (vec![0], vec![2]));
    assert_eq!(with(&all, |op| matches!(op, Op::DropChain(_))), [2]);
    // An address is of its new class when it came to its sets, and before it goes from others.
    assert_eq!((with(&all, elements("hosts")), with(&all, removed("hosts"))), (vec![1], vec![2]));
    assert_eq!(
        (with(&all, elements("classes")), with(&all, removed("classes"))),
        (vec![1], vec![1])
    );
    all.iter().for_each(|some| actual.carry_out(some));
    assert_eq!(actual, made(&new));
    // Of a class that was there before, all of it is one transaction.
    let more = led(&[(1, 8), (2, 8)], &[(8, "new")], "map", &[2, 3]);
    let ops = plan(&more, &actual);
    assert_eq!(stages(ops.clone(), &more), [ops]);
}

#[test]
fn who_asks_for_a_class_by_rules_that_go_finds_the_old_one() {
    let old = led(&[(1, 7)], &[(7, "old")], "map", &[1]);
    let new = led(&[(1, 8)], &[(8, "new")], "other-map", &[1]);
    let mut actual = made(&old);
    let all = stages(plan(&new, &actual), &new);
    let changed =
        with(&all, |op| matches!(op, Op::AddElements(name, ..) if name.as_str() == "classes"));
    let asks = |rule: &Rule, of: &str| rule.sets().any(|set| set.as_str() == of);
    let asked =
        |of: &'static str| with(&all, |op| matches!(op, Op::AddRule(_, rule) if asks(rule, of)));
    // Rules ask a copy, then it changes, then they ask it again; then what nobody asks goes.
    assert_eq!((asked("copy-classes"), changed, asked("classes")), (vec![1], vec![2], vec![3]));
    assert_eq!(with(&all, |op| matches!(op, Op::DropSet(..))), [4], "{all:?}");
    all.iter().for_each(|some| actual.carry_out(some));
    assert_eq!(actual, made(&new));
}

#[test]
fn rules_that_change_with_members_of_a_set_ask_a_copy_meanwhile() {
    let before = made(&table());
    let mut after = table();
    after.sets.insert("hosts".into(), hosts(&[1, 2, 3]));
    after.chains.insert("first".into(), chain(vec![rule(Verdict::Drop)]));
    let all = stages(plan(&after, &before), &after);
    let copied = with(
        &all,
        |op| matches!(op, Op::AddRule(_, rule) if rule.sets().any(|set| set.as_str() == "copy-hosts")),
    );
    let changed =
        with(&all, |op| matches!(op, Op::AddElements(name, ..) if name.as_str() == "hosts"));
    assert_eq!((copied, changed), (vec![1], vec![2]), "{all:?}");
}
