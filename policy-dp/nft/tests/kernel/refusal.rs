//! What the kernel refuses is named, and nothing of the batch is done.

use std::collections::BTreeSet;

use policy_nft::{
    Keeper, Name,
    encode::batch::Object,
    expr::{Expr, Verdict},
    netlink::{ApplyError, Refused},
    plan::{Actual, Op},
    table::{Field, Shape, Span, Table, Value},
};

use crate::{
    net::enter,
    sample::{chain, filled, name, rule, v4},
};

/// What is refused of a table; and nothing is there afterwards.
fn refused(desired: &Table) -> Vec<Refused> {
    let mut keeper = Keeper::open(name()).expect("a keeper");
    let error = keeper.sync(desired).expect_err("a table that cannot be");
    let ApplyError::Refused(refused) = error else { panic!("{error}") };
    let mut session = policy_nft::netlink::Session::open(name()).expect("a session");
    assert_eq!(session.read().expect("read"), Actual::default(), "something was done");
    refused
}

#[test]
fn a_rule_that_names_no_chain_is_found_among_many() {
    if !enter() {
        return;
    }
    let accept = || rule(vec![Expr::Verdict(Verdict::Accept)]);
    let lost = rule(vec![Expr::Verdict(Verdict::Jump("nowhere".into()))]);
    let mut desired = Table::default();
    desired.chains.insert("a".into(), chain(vec![accept(); 5]));
    desired.chains.insert("b".into(), chain(vec![accept(), accept(), lost, accept()]));
    desired.chains.insert("c".into(), chain(vec![accept(); 5]));
    let refused = refused(&desired);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].object, Object::Rule { chain: "b".into(), index: 2 });
    assert_eq!(refused[0].errno, libc::ENOENT);
}

#[test]
fn an_element_that_names_no_chain_is_found_among_thousands() {
    if !enter() {
        return;
    }
    let to = |chain: &str| Value::Verdict(Verdict::Jump(chain.into()));
    let mut desired = Table::default();
    desired.chains.insert("here".into(), chain(Vec::new()));
    let elements =
        (0..5000).map(|n| (Span::one(&v4(n)), to(if n == 3456 { "nowhere" } else { "here" })));
    desired.sets.insert("map".into(), filled(Shape::map(&[Field::Ipv4]), elements));
    let refused = refused(&desired);
    assert_eq!(refused.len(), 1, "{refused:?}");
    let expected = Object::Element { set: "map".into(), span: Span::one(&v4(3456)) };
    assert_eq!(refused[0].object, expected);
}

#[test]
fn all_that_is_wrong_is_named_at_once_and_all_elements_of_a_map_the_next_time() {
    if !enter() {
        return;
    }
    let lost = || rule(vec![Expr::Verdict(Verdict::Jump("nowhere".into()))]);
    let to = |chain: &str| Value::Verdict(Verdict::Jump(chain.into()));
    let mut desired = Table::default();
    desired.chains.insert("here".into(), chain(Vec::new()));
    desired.chains.insert("a".into(), chain(vec![lost()]));
    desired.chains.insert("b".into(), chain(vec![rule(vec![Expr::Counter]), lost()]));
    let elements =
        (0..500).map(|n| (Span::one(&v4(n)), to(if n % 10 == 3 { "nowhere" } else { "here" })));
    desired.sets.insert("map".into(), filled(Shape::map(&[Field::Ipv4]), elements));
    let mut keeper = Keeper::open(name()).expect("a keeper");
    let mut refused = || match keeper.sync(&desired).expect_err("a table that cannot be") {
        ApplyError::Refused(refused) => {
            refused.into_iter().map(|one| one.object).collect::<BTreeSet<_>>()
        }
        other => panic!("{other}"),
    };
    let of = |chain: &str, index| Object::Rule { chain: chain.into(), index };
    let element = |n| Object::Element { set: "map".into(), span: Span::one(&v4(n)) };
    assert_eq!(refused(), [of("a", 0), of("b", 1), element(3)].into());
    let all = (0..50).map(|n| element(n * 10 + 3)).chain([of("a", 0), of("b", 1)]);
    assert_eq!(refused(), all.collect());
}

#[test]
fn a_range_that_overlaps_another_is_named() {
    if !enter() {
        return;
    }
    let member = |a, bits| (Span::prefix(&v4(a), bits), Value::Member);
    let mut desired = Table::default();
    let elements = (1000..1100).map(|n| member(n * 256, 24)).chain([member(1050 * 256, 25)]);
    desired.sets.insert("nets".into(), filled(Shape::ranges(&[Field::Ipv4]), elements));
    let refused = refused(&desired);
    let Object::Element { set, span } = &refused[0].object else { panic!("{refused:?}") };
    assert_eq!((set, &span.from[..]), (&Name::of("nets"), &v4(1050 * 256)[..]));
}

#[test]
fn what_is_refused_later_leaves_what_was_there() {
    if !enter() {
        return;
    }
    let mut good = Table::default();
    good.chains.insert("a".into(), chain(vec![rule(vec![Expr::Counter])]));
    let mut keeper = Keeper::open(name()).expect("a keeper");
    keeper.sync(&good).expect("taken");
    let mut bad = good.clone();
    bad.chains.insert("b".into(), chain(vec![rule(vec![Expr::Counter])]));
    let lost =
        Expr::Lookup { set: "nowhere".into(), from: policy_nft::expr::Reg::FIRST, inverted: false };
    bad.chains.insert("c".into(), chain(vec![rule(vec![lost])]));
    assert!(matches!(keeper.sync(&bad), Err(ApplyError::Refused(_))));
    // What the keeper believes is what is there.
    assert_eq!(keeper.sync(&good).expect("nothing to do").steps, 0);
    let mut session = policy_nft::netlink::Session::open(name()).expect("a session");
    let actual = session.read().expect("read");
    assert_eq!(actual.chains.keys().collect::<Vec<_>>(), [&Name::of("a")]);
    // Without the bad part the rest is taken.
    bad.chains.remove(&Name::of("c"));
    assert_eq!(keeper.sync(&bad).expect("taken").steps, 2);
}

#[test]
fn a_batch_expects_the_generation_it_was_planned_for() {
    if !enter() {
        return;
    }
    let mut session = policy_nft::netlink::Session::open(name()).expect("a session");
    session.read().expect("read");
    assert_eq!(crate::net::Stranger::new().adds_table("other"), 0);
    let error = session.apply(&[Op::HoldTable]).expect_err("somebody was quicker");
    assert!(matches!(error, ApplyError::Conflict), "{error}");
    session.read().expect("read");
    session.apply(&[Op::HoldTable]).expect("taken");
}
