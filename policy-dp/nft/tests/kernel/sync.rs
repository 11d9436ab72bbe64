//! What was wished is what is there, and what is there is not touched.

use std::collections::BTreeMap;

use policy_calc::State;
use policy_nft::{
    Keeper, Name, Synced,
    expr::{Expr, Verdict},
    layout::{self, Settings},
    plan::{Presence, Touched},
    table::{Field, Shape, Span, Table, Value},
};

use crate::{
    net::{Stranger, enter},
    sample::{chain, everything, filled, name, rule, v4},
};

/// Reads the table with a session of its own and compares.
#[track_caller]
fn is_there(desired: &Table) {
    let mut session = policy_nft::netlink::Session::open(name()).expect("a session");
    let actual = session.read().expect("read");
    assert_eq!(actual.sets, desired.sets);
    let places: BTreeMap<_, _> = actual.chains.iter().map(|(n, c)| (n.clone(), c.hook)).collect();
    let wanted: BTreeMap<_, _> =
        desired.chains.iter().map(|(n, c)| (n.clone(), Some(c.hook))).collect();
    assert_eq!(places, wanted);
    let rules = session.read_rules().expect("read");
    for (name, chain) in &desired.chains {
        assert_eq!(rules.get(name), Some(&chain.rules), "chain {name}");
    }
}

#[test]
fn everything_we_can_say_comes_back_as_it_was_said() {
    if !enter() {
        return;
    }
    let desired = everything();
    let mut keeper = Keeper::open(name()).expect("a keeper");
    let synced = keeper.sync(&desired).expect("taken");
    assert!(synced.steps > 30 && synced.readings == 1, "{synced:?}");
    is_there(&desired);
    // Taken away again, every part of it.
    keeper.sync(&Table::default()).expect("taken");
    is_there(&Table::default());
}

#[test]
fn a_restart_adopts_what_is_there_without_a_message() {
    if !enter() {
        return;
    }
    let desired = everything();
    let mut first = Keeper::open(name()).expect("a keeper");
    first.sync(&desired).expect("taken");
    assert_eq!(first.sync(&desired).expect("nothing to do"), Synced::default());
    let holds = first.session().holds();
    drop(first); // what the kernel does when a process is killed

    let mut second = Keeper::open(name()).expect("a keeper");
    let before = second.session().port();
    // To be nobody's any more is the one thing that may have to be changed.
    let expected = usize::from(holds);
    let synced = second.sync(&desired).expect("adopted");
    assert_eq!(synced, Synced { steps: expected, readings: 1 });
    assert_eq!(second.actual().map(|a| a.presence), Some(Presence::Held));
    assert_eq!(second.session().port(), before);
    is_adopted_by(&mut second, &desired);
    is_there(&desired);
}

#[track_caller]
fn is_adopted_by(keeper: &mut Keeper, desired: &Table) {
    let generation = keeper.session().generation();
    assert_eq!(keeper.sync(desired).expect("nothing to do"), Synced::default());
    assert_eq!(keeper.session().generation(), generation);
}

#[test]
fn a_table_that_is_taken_over_may_need_other_base_chains() {
    if !enter() {
        return;
    }
    let whole = everything();
    let mut less = whole.clone();
    less.chains.remove(&Name::of("mangle-in"));
    for desired in [&less, &whole, &less] {
        Keeper::open(name()).expect("a keeper").sync(desired).expect("taken");
        is_there(desired);
    }
}

#[test]
fn a_table_nobody_says_anything_of_is_held_and_closed_only_where_it_has_gaps() {
    if !enter() {
        return;
    }
    let closed = layout::table(&State::default(), &Settings::default());
    let open = || Keeper::open(name()).expect("a keeper");
    assert!(open().guard(&closed).expect("made"), "there was none");
    is_there(&closed);
    // What a former process left is as it was, and somebody's.
    let mut more = closed.clone();
    more.chains.insert("own".into(), chain(vec![rule(vec![Expr::Counter])]));
    open().sync(&more).expect("taken");
    let mut keeper = open();
    assert!(!keeper.guard(&closed).expect("taken over"));
    is_there(&more);
    if keeper.session().holds() {
        let cleared = Stranger::new().clears_chain("margay", "from-workload");
        assert_eq!(cleared, libc::EPERM);
    }
    drop(keeper);
    // An empty chain lets everything pass.
    let mut empty = more.clone();
    let chain = empty.chains.get_mut(&Name::of("forward-to")).expect("it has one");
    chain.rules.clear();
    open().sync(&empty).expect("taken");
    assert!(open().guard(&closed).expect("closed"));
    is_there(&closed);
}

#[test]
fn a_changed_element_costs_two_steps_and_no_rule() {
    if !enter() {
        return;
    }
    let mut desired = everything();
    let mut keeper = Keeper::open(name()).expect("a keeper");
    keeper.sync(&desired).expect("taken");
    let set = Name::of("links");
    let span = Span::one(&crate::sample::link("cali2"));
    let value = Value::Verdict(Verdict::Goto("policy".into()));
    desired.sets.get_mut(&set).expect("there").elements.insert(span.clone(), value);
    let mut touched = Touched::default();
    touched.elements.entry(set).or_default().insert(span);
    let synced = keeper.sync_touched(&desired, &touched).expect("taken");
    assert_eq!(synced, Synced { steps: 2, readings: 0 });
    is_there(&desired);
}

#[test]
fn a_kind_of_set_or_chain_that_cannot_be_changed_is_made_anew() {
    if !enter() {
        return;
    }
    let mut desired = everything();
    let mut keeper = Keeper::open(name()).expect("a keeper");
    keeper.sync(&desired).expect("taken");
    let hosts = desired.sets.get_mut(&Name::of("none")).expect("there");
    hosts.shape = Shape::ranges(&[Field::Ipv6]);
    keeper.sync(&desired).expect("taken");
    is_there(&desired);
    let through = desired.chains.get_mut(&Name::of("through")).expect("there");
    through.hook.as_mut().expect("a base chain").priority = 7;
    keeper.sync(&desired).expect("taken");
    is_there(&desired);
}

#[test]
fn ten_thousand_members_come_and_go() {
    if !enter() {
        return;
    }
    let mut desired = Table::default();
    let member = |span| (span, Value::Member);
    let hosts = (0..10_000).map(|n| member(Span::one(&v4(n))));
    desired.sets.insert("hosts".into(), filled(Shape::set(&[Field::Ipv4]), hosts));
    // Every second /30, so that none touches the next.
    let nets = (0..10_000).map(|n| member(Span::prefix(&v4(n * 8), 30)));
    desired.sets.insert("nets".into(), filled(Shape::ranges(&[Field::Ipv4]), nets));
    let services = (0..10_000).map(|n| {
        let port = Span::one(&u16::try_from(n % 7).expect("small").to_be_bytes());
        member(Span::one(&v4(n)).then(&Span::one(&[6])).then(&port))
    });
    let shape = Shape::set(&[Field::Ipv4, Field::Protocol, Field::Port]);
    desired.sets.insert("services".into(), filled(shape, services));
    let mut keeper = Keeper::open(name()).expect("a keeper");
    keeper.sync(&desired).expect("taken");
    is_there(&desired);
    // Half of them go, and some come.
    for set in desired.sets.values_mut() {
        let mut nth = 0;
        set.elements.retain(|_, _| {
            nth += 1;
            nth % 2 == 0
        });
    }
    let more = (10_000..20_000).map(|n| member(Span::prefix(&v4(n * 8), 30)));
    desired.sets.get_mut(&Name::of("nets")).expect("there").elements.extend(more);
    let synced = keeper.sync(&desired).expect("taken");
    assert_eq!(synced, Synced { steps: 4, readings: 0 });
    is_there(&desired);
}

#[test]
fn many_rules_are_one_transaction() {
    if !enter() {
        return;
    }
    let mut desired = Table::default();
    for n in 0..500 {
        let accept = rule(vec![Expr::Counter, Expr::Verdict(Verdict::Accept)]);
        let name = Name::of(&format!("chain-{n}"));
        desired.chains.insert(name, chain(vec![accept; 20]));
    }
    let mut keeper = Keeper::open(name()).expect("a keeper");
    keeper.sync(&desired).expect("taken");
    assert_eq!(keeper.session().generation(), Some(2));
    is_there(&desired);
}
