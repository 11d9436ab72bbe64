//! Others change the ruleset, or try to.

use policy_nft::{
    Keeper, Synced,
    expr::{Expr, Verdict},
    netlink::{Heard, Session, Wait, Watch},
    plan::Presence,
    table::Table,
};

use crate::{
    net::{Stranger, enter},
    sample::{chain, everything, name, rule},
};

/// A keeper with a table in the kernel.
fn kept() -> (Keeper, Table) {
    with_table(Keeper::open(name()).expect("a keeper"))
}

fn with_table(mut keeper: Keeper) -> (Keeper, Table) {
    let desired = everything();
    keeper.sync(&desired).expect("taken");
    (keeper, desired)
}

#[test]
fn what_others_do_elsewhere_costs_no_reading() {
    if !enter() {
        return;
    }
    let (mut keeper, mut desired) = kept();
    for n in 0..5 {
        assert_eq!(Stranger::new().adds_table(&format!("other{n}")), 0);
    }
    desired.chains.insert("more".into(), chain(vec![rule(vec![Expr::Counter])]));
    let synced = keeper.sync(&desired).expect("taken");
    assert_eq!(synced, Synced { steps: 2, readings: 0 });
}

#[test]
fn a_foreign_hand_is_refused_where_the_kernel_can_hold_a_table() {
    if !enter() {
        return;
    }
    let (mut keeper, desired) = kept();
    if !keeper.session().holds() {
        return; // an older kernel
    }
    let stranger = Stranger::new();
    stranger.adds_table("theirs");
    keeper.hear().expect("heard");
    stranger.flushes_everything();
    let deleted = stranger.deletes_table("margay");
    let cleared = stranger.clears_chain("margay", "policy");
    assert_eq!((deleted, cleared), (libc::EPERM, libc::EPERM));
    let heard = keeper.hear().expect("heard");
    let ours = |h: &Heard| !matches!(h, Heard::Change { ours: false, .. });
    assert!(!heard.iter().any(ours), "{heard:?}");
    assert_eq!(keeper.sync(&desired).expect("nothing to do"), Synced::default());
    is_whole(&desired);
}

#[test]
fn what_a_foreign_hand_did_is_heard_and_undone_where_the_kernel_cannot() {
    if !enter() {
        return;
    }
    let (mut keeper, desired) = with_table(Keeper::open_free(name()).expect("a keeper"));
    assert!(!keeper.session().holds());
    let stranger = Stranger::new();
    let deeds: [&dyn Fn() -> i32; 3] = [
        &|| stranger.clears_chain("margay", "policy"),
        &|| stranger.deletes_table("margay"),
        &|| stranger.flushes_everything(),
    ];
    for deed in deeds {
        assert_eq!(deed(), 0);
        let heard = keeper.hear().expect("heard");
        let ours = |h: &Heard| matches!(h, Heard::Change { ours: true, .. });
        assert!(heard.iter().any(ours), "{heard:?}");
        assert!(keeper.sync(&desired).expect("taken").steps > 0);
        is_whole(&desired);
    }
    // The next process holds what it finds free, and lets it go again.
    drop(keeper);
    let (keeper, desired) = kept();
    drop(keeper);
    let mut keeper = Keeper::open_free(name()).expect("a keeper");
    keeper.sync(&desired).expect("taken");
    is_whole(&desired);
}

/// All of it is in the kernel, and nothing else.
fn is_whole(desired: &Table) {
    let mut session = Session::open(name()).expect("a session");
    assert_eq!(session.read().expect("read").sets, desired.sets);
    assert_eq!(session.read_rules().expect("read").len(), desired.chains.len());
}

#[test]
fn a_table_that_nobody_holds_is_mended_when_somebody_changed_it() {
    if !enter() {
        return;
    }
    let (keeper, desired) = kept();
    drop(keeper);
    let stranger = Stranger::new();
    assert_eq!(stranger.clears_chain("margay", "policy"), 0);
    let mut keeper = Keeper::open(name()).expect("a keeper");
    let rules = desired.chains.get(&"policy".into()).expect("there").rules.len();
    let hold = usize::from(keeper.session().holds());
    assert_eq!(keeper.sync(&desired).expect("taken").steps, rules + hold);
}

#[test]
fn a_table_of_our_name_but_not_of_our_make_is_replaced() {
    if !enter() {
        return;
    }
    assert_eq!(Stranger::new().adds_table("margay"), 0);
    let mut session = Session::open(name()).expect("a session");
    assert_eq!(session.read().expect("read").presence, Presence::Foreign);
    let (mut keeper, desired) = kept();
    assert_eq!(session.read().expect("read").sets, desired.sets);
    assert_eq!(keeper.sync(&desired).expect("nothing to do"), Synced::default());
}

#[test]
fn a_second_daemon_does_not_get_the_table() {
    if !enter() {
        return;
    }
    let (keeper, desired) = kept();
    if !keeper.session().holds() {
        return; // the kernel cannot tell them apart
    }
    let mut second = Keeper::open(name()).expect("a keeper");
    let error = second.sync(&Table::default()).expect_err("held by another");
    assert!(error.to_string().contains("table"), "{error}");
    drop(keeper);
    assert_eq!(second.sync(&desired).expect("adopted").steps, 1);
}

#[test]
fn changes_are_heard_with_the_name_of_who_made_them() {
    if !enter() {
        return;
    }
    let session = Session::open(name()).expect("a session");
    let mut watch = Watch::open(&session).expect("an ear");
    assert_eq!(watch.next(Wait::Poll).expect("nothing"), []);
    let stranger = Stranger::new();
    stranger.adds_table("theirs");
    stranger.adds_table("margay");
    let mut heard = Vec::new();
    while heard.len() < 2 {
        heard.extend(watch.next(Wait::Block).expect("heard"));
    }
    let comm = std::fs::read_to_string("/proc/thread-self/comm").expect("a name");
    for (n, (one, ours)) in heard.iter().zip([false, true]).enumerate() {
        let Heard::Change { generation, ours: is, process } = one else { panic!("{one:?}") };
        assert_eq!((*generation, *is), (u32::try_from(n).expect("small") + 2, ours));
        assert!(process.starts_with(comm.trim()), "{process}");
    }
}

#[test]
fn more_than_can_be_heard_is_a_reason_to_read() {
    if !enter() {
        return;
    }
    let session = Session::open(name()).expect("a session");
    let mut watch = Watch::open(&session).expect("an ear");
    watch.receive_buffer(1).expect("small");
    let stranger = Stranger::new();
    for n in 0..200 {
        stranger.adds_table(&format!("theirs{n}"));
    }
    let mut heard = Vec::new();
    loop {
        let more = watch.next(Wait::Poll).expect("heard");
        if more.is_empty() {
            break;
        }
        heard.extend(more);
    }
    assert!(heard.contains(&Heard::Lost), "{heard:?}");
    let mut keeper = Keeper::open(name()).expect("a keeper");
    let mut desired = Table::default();
    let drop = rule(vec![Expr::Verdict(Verdict::Drop)]);
    desired.chains.insert("a".into(), chain(vec![drop]));
    assert_eq!(keeper.sync(&desired).expect("taken").readings, 1);
}
