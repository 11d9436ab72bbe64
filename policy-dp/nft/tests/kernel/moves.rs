//! An address goes from one set to another and back, under packets: what both tables say of it becomes of
//! each.

use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use policy_nft::{
    Keeper, Name,
    expr::{Base, Expr, Reg, Rule, Verdict},
    netlink::Session,
    plan::Actual,
    table::{Chain, ChainKind, Field, Hook, HookPoint, Shape, Span, Table, Value},
};

use crate::{
    net::enter,
    pods::run,
    sample::{filled, name, rule},
};

/// What is let through by either of two sets, and what is dropped by either of two others.
const LET_IN: [u8; 4] = [127, 0, 0, 1];
const KEPT_OUT: [u8; 4] = [127, 0, 0, 2];
/// How often they move.
const MOVES: u32 = 600;
/// How often the table is replaced.
const REPLACED: u32 = 300;

fn to(set: &str, verdict: Verdict) -> Rule {
    rule(vec![
        Expr::Payload { base: Base::Network, offset: 16, len: 4, to: Reg::FIRST },
        Expr::Lookup { set: set.into(), from: Reg::FIRST, inverted: false },
        Expr::Verdict(verdict),
    ])
}

/// With both addresses in the first or the second set of their two; half of the sets are of ranges.
fn table(second: bool) -> Table {
    let mut table = Table::default();
    let mut rules = vec![to("in-a", Verdict::Accept), to("out-a", Verdict::Drop)];
    // A packet takes its time.
    rules.extend((0..100).map(|_| to("nobody", Verdict::Drop)));
    rules.extend([to("in-b", Verdict::Accept), to("out-b", Verdict::Drop)]);
    rules.push(to("out-of-others", Verdict::Accept));
    let hook =
        Some(Hook { kind: ChainKind::Filter, point: HookPoint::Input, priority: 0, drops: false });
    table.chains.insert("in".into(), Chain { hook, rules });
    let last = table.chains.values_mut().next().expect("one");
    last.rules.push(to("all", Verdict::Drop));
    let (one, ranges) = (Shape::set(&[Field::Ipv4]), Shape::ranges(&[Field::Ipv4]));
    for (name, shape, members) in [
        ("in-a", &one, (!second).then_some(LET_IN)),
        ("in-b", &ranges, second.then_some(LET_IN)),
        ("out-a", &ranges, (!second).then_some(KEPT_OUT)),
        ("out-b", &one, second.then_some(KEPT_OUT)),
        ("out-of-others", &one, Some(KEPT_OUT)),
        ("all", &one, Some(LET_IN)),
        ("nobody", &one, None),
    ] {
        let members = members.into_iter().map(|address| (Span::one(&address), Value::Member));
        table.sets.insert(name.into(), filled(shape.clone(), members));
    }
    table
}

/// The same addresses and rules by sets of a kind that cannot become the other.
fn kinds(ranges: bool) -> Table {
    let mut table = table(false);
    for (name, address) in [("in-a", LET_IN), ("out-a", KEPT_OUT)] {
        let key = &[Field::Ipv4];
        let shape = if ranges { Shape::ranges(key) } else { Shape::set(key) };
        let set = filled(shape, [(Span::one(&address), Value::Member)]);
        table.sets.insert(name.into(), set);
    }
    table
}

#[test]
fn packets_meet_the_policy_while_its_table_is_replaced() {
    if !enter() {
        return;
    }
    let mut keeper = Keeper::open(name()).expect("a keeper");
    keeper.sync(&kinds(true)).expect("taken");
    under_packets(|| {
        for time in 0..REPLACED {
            let synced = keeper.sync(&kinds(!time.is_multiple_of(2))).expect("taken");
            assert!(synced.steps > 100, "{synced:?}");
        }
    });
    // Nothing is left that stood in for it.
    let mut other = Session::open_free(Name::of("margay-meanwhile")).expect("a session");
    assert_eq!(other.read().expect("read"), Actual::default());
}

#[test]
fn what_stood_in_for_the_table_of_a_process_that_ended_goes() {
    if !enter() {
        return;
    }
    let left = Name::of("margay-meanwhile");
    Keeper::open(left.clone()).expect("a keeper").sync(&table(false)).expect("taken");
    let mut keeper = Keeper::open(name()).expect("a keeper");
    keeper.sync(&table(false)).expect("taken");
    let read = Session::open_free(left).expect("a session").read();
    assert_eq!(read.expect("read"), Actual::default());
    assert_eq!(keeper.sync(&table(false)).expect("taken").steps, 0);
}

#[test]
fn packets_of_an_address_that_moves_between_sets_meet_the_old_or_the_new_policy() {
    if !enter() {
        return;
    }
    let mut keeper = Keeper::open(name()).expect("a keeper");
    keeper.sync(&table(false)).expect("taken");
    under_packets(|| {
        for time in 0..MOVES {
            let synced = keeper.sync(&table(time.is_multiple_of(2))).expect("taken");
            assert_eq!(synced.readings, 0);
        }
    });
}

/// Does something while packets come to both addresses; none is to be lost, or passed.
pub fn under_packets(work: impl FnOnce()) {
    run("ip link set lo up");
    let bound = |address: [u8; 4]| {
        let socket = UdpSocket::bind((std::net::Ipv4Addr::from(address), 0)).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a time");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a port");
        sender.connect(socket.local_addr().expect("an address")).expect("loopback");
        (sender, socket)
    };
    let ((to_in, inside), (to_out, outside)) = (bound(LET_IN), bound(KEPT_OUT));
    outside.set_nonblocking(true).expect("no waiting");
    let (ended, sent, lost, passed) =
        (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Relaxed) {
                to_in.send(b"?").expect("sent");
                lost.fetch_add(u64::from(inside.recv(&mut [0; 8]).is_err()), Relaxed);
                to_out.send(b"?").expect("sent");
                passed.fetch_add(u64::from(outside.recv(&mut [0; 8]).is_ok()), Relaxed);
                sent.fetch_add(1, Relaxed);
            }
        });
        work();
        ended.store(true, Relaxed);
    });
    assert!(sent.load(Relaxed) > 100);
    assert_eq!((lost.load(Relaxed), passed.load(Relaxed)), (0, 0), "of {}", sent.load(Relaxed));
}
