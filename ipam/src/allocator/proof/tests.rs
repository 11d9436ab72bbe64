use std::time::Duration;

use margay_model::{Key, Kind, Revision, Versioned};

use crate::{
    allocator::{Input, LeaseEnd, Output, Snapshot, tests::Lab},
    block::NodeName,
};

fn node(name: &str) -> NodeName {
    name.try_into().expect("a name")
}

#[test]
fn a_claim_waits_a_second_for_the_watch_and_then_for_a_list() {
    let mut lab = Lab::awake();
    lab.assign(1);
    let (ticket, txn) = lab.commit();
    let revision = lab.done(ticket);
    lab.pass(Duration::from_millis(999));
    assert!(!lab.out.contains(&Output::List));
    lab.pass(Duration::from_millis(1));
    assert!(lab.out.contains(&Output::List));
    lab.out.clear();
    lab.pass(Duration::from_secs(2));
    assert!(!lab.out.contains(&Output::List), "one is on its way");
    let block = match &txn.writes[0] {
        margay_model::Write::Put { key: Key::Block(cidr), value, .. } => {
            (*cidr, revision, value.clone())
        }
        other => panic!("{other:?}"),
    };
    lab.input(Input::Listed(Snapshot {
        blocks: vec![block],
        leases: vec![(node("n1"), Revision(10))],
        at: revision,
    }));
    assert!(matches!(lab.answers().as_slice(), [(1, Ok(_))]));
    assert_eq!(lab.allocator.proof.list_at, None);
}

#[test]
fn who_is_there_or_alive_is_not_gone() {
    let lease = |held: bool| {
        held.then(|| Versioned { value: bytes::Bytes::from_static(b"{}"), revision: Revision(40) })
    };
    for (exists, alive) in [(true, false), (false, true), (false, false)] {
        let mut lab = Lab::awake();
        lab.input(Input::Nodes([node("n1"), node("n2")].into()));
        lab.input(Input::Nodes([node("n1")].into()));
        let values = vec![
            (Key::cluster(Kind::Node, "n2"), lease(exists)),
            (Key::NodeLease("n2".to_owned()), lease(alive)),
        ];
        lab.input(Input::Read { at: Revision(50), values });
        let now = lab.now.steady;
        assert_eq!(lab.allocator.proof.has(&[node("n2")], now), !exists && !alive);
        assert_eq!(lab.allocator.leases.of(&node("n2")), alive.then_some(Revision(40)));
        assert_eq!(lab.allocator.gone.contains_key(&node("n2")), !exists);
        let later = now + Duration::from_millis(1001);
        assert!(!lab.allocator.proof.has(&[node("n2")], later), "it may be there by now");
        lab.input(Input::Lease(LeaseEnd::Held(Revision(10))));
    }
}
