use std::time::Duration;

use margay_model::Write;

use super::*;
use crate::{
    block::Block,
    plan::{Release, Request},
    pool::Pool,
    time::UnixMillis,
};

/// An allocator and the revisions its commits get, one after the other.
pub(super) struct Lab {
    pub(super) allocator: Allocator,
    pub(super) now: Now,
    revision: u64,
    pub(super) out: Vec<Output>,
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn owner(node: &str, instance: &str) -> Owner {
    Owner { node: node.try_into().unwrap(), instance: instance.try_into().unwrap() }
}

impl Lab {
    /// Knows one pool and nothing of the store.
    fn asleep() -> Self {
        let config = Config {
            host: owner("n1", "one"),
            lease_ttl: secs(30),
            grace: secs(60),
            patience: secs(5),
            seed: 1,
        };
        let now = Now { wall: UnixMillis(1_000_000), steady: Duration::ZERO };
        let allocator = Allocator::new(config);
        let mut lab = Self { allocator, now, revision: 10, out: Vec::new() };
        let pool = Pool::new("a", "10.0.0.0/29".parse().unwrap(), 30).unwrap();
        lab.input(Input::Pools(Pools::new([pool])));
        lab
    }

    /// In sync and with its lease.
    pub(super) fn awake() -> Self {
        let mut lab = Self::asleep();
        lab.input(Input::Snapshot(Snapshot { at: Revision(10), ..Snapshot::default() }));
        assert!(lab.is_lease_wanted());
        lab.input(Input::Lease(LeaseEnd::Held(Revision(10))));
        assert!(lab.allocator.is_ready());
        lab.out.clear();
        lab
    }

    pub(super) fn input(&mut self, input: Input) {
        self.allocator.handle(self.now, input, &mut self.out);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now.steady += time;
        self.input(Input::Tick);
    }

    fn ask(&mut self, id: u64, ask: Ask) {
        self.input(Input::Ask { id: AskId(id), ask, deadline: None });
    }

    pub(super) fn assign(&mut self, id: u64) {
        let handle = format!("h{id}").as_str().try_into().unwrap();
        self.ask(id, Ask::Assign(Request::any(handle, 1, 0)));
    }

    /// The first commit told and not yet taken.
    pub(super) fn commit(&mut self) -> (Ticket, Txn) {
        let is_commit = |output: &Output| matches!(output, Output::Commit { .. });
        let at = self.out.iter().position(is_commit).expect("a commit is sent");
        match self.out.remove(at) {
            Output::Commit { ticket, txn } => (ticket, txn),
            other => panic!("{other:?}"),
        }
    }

    /// Whether the store is to keep the lease; told once.
    fn is_lease_wanted(&mut self) -> bool {
        let wanted = self.out.iter().filter(|output| **output == Output::KeepLease).count();
        self.out.retain(|output| *output != Output::KeepLease);
        assert!(wanted < 2, "one question at a time");
        wanted == 1
    }

    fn has_commit(&self) -> bool {
        self.out.iter().any(|output| matches!(output, Output::Commit { .. }))
    }

    pub(super) fn done(&mut self, ticket: Ticket) -> Revision {
        self.revision += 1;
        let revision = Revision(self.revision);
        self.input(Input::Committed { ticket, end: CommitEnd::Done(revision) });
        revision
    }

    fn unknown(&mut self, ticket: Ticket) {
        self.input(Input::Committed { ticket, end: CommitEnd::Unknown("no route".into()) });
    }

    /// What the watch tells of a commit.
    fn watch(&mut self, txn: &Txn, revision: Revision) {
        let (key, value) = written(txn, revision);
        self.input(Input::Changes(vec![Change { key, value, revision }]));
    }

    /// What the watch tells of the lease of this node.
    fn watch_lease(&mut self, at: u64, held: Option<u64>) {
        let value = held.map(|revision| Versioned {
            value: Bytes::from_static(b"{}"),
            revision: Revision(revision),
        });
        let key = Key::NodeLease("n1".into());
        self.input(Input::Changes(vec![Change { key, value, revision: Revision(at) }]));
    }

    pub(super) fn answers(&mut self) -> Vec<(u64, Result<Answer, IpamError>)> {
        let mut answers = Vec::new();
        self.out.retain(|output| match output {
            Output::Answer { id, answer } => {
                answers.push((id.0, answer.clone()));
                false
            }
            _ => true,
        });
        answers
    }
}

fn written(txn: &Txn, revision: Revision) -> (Key, Option<Versioned>) {
    match &txn.writes[0] {
        Write::Put { key, value, .. } => {
            (key.clone(), Some(Versioned { value: value.clone(), revision }))
        }
        Write::Delete { key } => (key.clone(), None),
    }
}

#[test]
fn in_a_locked_datastore_nothing_is_assigned_and_what_goes_may_go() {
    let mut lab = Lab::awake();
    lab.assign(1);
    let (ticket, txn) = lab.commit();
    let revision = lab.done(ticket);
    lab.watch(&txn, revision);
    assert!(matches!(lab.answers()[..], [(1, Ok(Answer::Assigned(_)))]));
    lab.input(Input::Locked(true));
    lab.assign(2);
    assert_eq!(lab.answers(), [(2, Err(IpamError::Locked))]);
    lab.input(Input::Evidence(Evidence { taken: lab.now.steady, ..Evidence::default() }));
    lab.pass(secs(600));
    lab.input(Input::Evidence(Evidence { taken: lab.now.steady, ..Evidence::default() }));
    let after = lab.now.steady;
    assert!(!lab.has_commit(), "nothing is collected");
    assert!(lab.allocator.next_deadline().is_none_or(|at| at >= after), "and nothing spins");
    lab.ask(3, Ask::Release(vec![Release::Handle("h1".try_into().unwrap())]));
    let (ticket, _) = lab.commit();
    lab.done(ticket);
    assert!(matches!(lab.answers()[..], [(3, Ok(Answer::Released { .. }))]));
    lab.input(Input::Locked(false));
    lab.assign(4);
    assert!(lab.has_commit());
}

#[test]
fn nothing_is_planned_before_the_list_is_whole_and_the_lease_is_taken() {
    let mut lab = Lab::asleep();
    lab.assign(1);
    assert!(!lab.has_commit());
    assert_eq!(lab.allocator.not_ready(), Some(IpamError::NotInSync));
    lab.input(Input::Snapshot(Snapshot::default()));
    assert!(lab.is_lease_wanted());
    assert!(!lab.has_commit(), "the lease first");
    lab.input(Input::Lease(LeaseEnd::Held(Revision(11))));
    assert!(matches!(lab.commit().1.writes[0].key(), Key::Block(_)));
    // Whoever cannot be served is told why in time.
    let mut lab = Lab::asleep();
    lab.assign(1);
    lab.pass(secs(5));
    assert_eq!(lab.answers(), [(1, Err(IpamError::NotInSync))]);
}

#[test]
fn an_answer_waits_for_the_commit_and_a_claim_for_the_watch() {
    let mut lab = Lab::awake();
    lab.assign(1);
    let (ticket, txn) = lab.commit();
    assert_eq!(lab.answers(), []);
    let revision = lab.done(ticket);
    assert_eq!(lab.answers(), [], "an older block may overlap");
    assert!(!lab.out.iter().any(|output| matches!(output, Output::Owned { .. })));
    lab.watch(&txn, revision);
    assert!(matches!(lab.answers()[..], [(1, Ok(Answer::Assigned(_)))]));
    assert!(lab.out.iter().any(|output| matches!(output, Output::Owned { ours: true, .. })));
    // The next address of that block needs no watch.
    lab.assign(2);
    let (ticket, _) = lab.commit();
    lab.done(ticket);
    assert!(matches!(lab.answers()[..], [(2, Ok(Answer::Assigned(_)))]));
}

#[test]
fn those_who_come_while_a_commit_is_out_share_the_next_one() {
    let mut lab = Lab::awake();
    lab.assign(1);
    let (ticket, txn) = lab.commit();
    for id in 2..5 {
        lab.assign(id);
    }
    assert!(!lab.has_commit());
    let revision = lab.done(ticket);
    lab.watch(&txn, revision);
    let (ticket, _) = lab.commit();
    assert!(!lab.has_commit(), "one for all three");
    lab.answers();
    lab.done(ticket);
    assert_eq!(lab.answers().len(), 3);
}

#[test]
fn a_lost_compare_is_read_again_and_planned_again() {
    let mut lab = Lab::awake();
    lab.assign(1);
    let (ticket, txn) = lab.commit();
    lab.input(Input::Committed { ticket, end: CommitEnd::Lost });
    assert!(!lab.has_commit(), "not before the block is read");
    let Key::Block(cidr) = txn.writes[0].key().clone() else { panic!() };
    let theirs = Block::new("a", cidr, owner("n2", "x"), UnixMillis(1)).unwrap();
    let value = Versioned { value: theirs.to_json(), revision: Revision(11) };
    lab.revision = 11;
    let values = vec![(Key::Block(cidr), Some(value))];
    lab.input(Input::Read { at: Revision(11), values });
    let (_, txn) = lab.commit();
    assert_ne!(txn.writes[0].key(), &Key::Block(cidr));
}

#[test]
fn a_commit_whose_answer_is_lost_counts_if_it_is_there() {
    let mut lab = Lab::awake();
    lab.assign(1);
    let (ticket, txn) = lab.commit();
    lab.unknown(ticket);
    assert!(lab.out.contains(&Output::Read(vec![txn.writes[0].key().clone()])));
    let revision = Revision(11);
    let at = revision;
    lab.input(Input::Read { at, values: vec![written(&txn, revision)] });
    assert!(!lab.has_commit(), "nothing is written twice");
    lab.watch(&txn, revision);
    assert!(matches!(lab.answers()[..], [(1, Ok(Answer::Assigned(_)))]));
}

#[test]
fn a_commit_that_never_arrived_is_made_again_in_the_same_place() {
    let mut lab = Lab::awake();
    lab.assign(1);
    let (ticket, txn) = lab.commit();
    lab.unknown(ticket);
    let key = txn.writes[0].key().clone();
    lab.input(Input::ReadFailed("no route".into()));
    lab.pass(secs(1));
    assert_eq!(lab.out.iter().filter(|o| matches!(o, Output::Read(_))).count(), 2);
    lab.input(Input::Read { at: Revision(11), values: vec![(key, None)] });
    assert!(lab.has_commit());
}

#[test]
fn who_does_not_wait_any_more_keeps_nothing() {
    for cancelled in [false, true] {
        let mut lab = Lab::awake();
        lab.assign(1);
        let (ticket, txn) = lab.commit();
        if cancelled {
            lab.input(Input::Cancel(AskId(1)));
            assert_eq!(lab.answers(), []);
        } else {
            lab.pass(secs(5));
            assert!(matches!(lab.answers()[..], [(1, Err(IpamError::Store(_)))]));
        }
        let revision = lab.done(ticket);
        lab.watch(&txn, revision);
        let (_, undo) = lab.commit();
        let Write::Put { value, .. } = &undo.writes[0] else { panic!("{undo:?}") };
        assert_eq!(Block::from_json(value).unwrap().held_len(), 0);
        assert_eq!(lab.answers(), []);
    }
}

#[test]
fn an_answer_that_nobody_took_is_taken_back() {
    let mut lab = Lab::awake();
    lab.assign(1);
    let (ticket, txn) = lab.commit();
    let revision = lab.done(ticket);
    lab.watch(&txn, revision);
    let Some((1, Ok(Answer::Assigned(grants)))) = lab.answers().pop() else { panic!() };
    lab.input(Input::Unwanted(grants));
    let (_, undo) = lab.commit();
    let Write::Put { value, .. } = &undo.writes[0] else { panic!("{undo:?}") };
    assert_eq!(Block::from_json(value).unwrap().held_len(), 0);
}

#[test]
fn a_release_of_what_is_not_known_looks_into_the_store_first() {
    let mut lab = Lab::awake();
    let cidr = "10.0.0.0/30".parse().unwrap();
    let release = Ask::Release(vec![Release::Address {
        address: "10.0.0.0".parse().unwrap(),
        handle: None,
        serial: None,
    }]);
    let read = Output::Read(vec![Key::Block(cidr)]);
    lab.ask(1, release.clone());
    assert!(lab.out.contains(&read) && lab.answers().is_empty(), "{:?}", lab.out);
    // Another was asked when the read was out already: it may have missed what that one means.
    lab.ask(2, release);
    lab.input(Input::Read { at: Revision(11), values: vec![(Key::Block(cidr), None)] });
    assert!(lab.answers().is_empty());
    assert_eq!(lab.out.iter().filter(|output| **output == read).count(), 2);
    let mut block = Block::new("a", cidr, owner("n2", "x"), UnixMillis(1)).unwrap();
    block.begin(UnixMillis(1), Duration::ZERO);
    let held = crate::Held {
        handle: "h".try_into().unwrap(),
        node: "n2".try_into().unwrap(),
        serial: 0,
        since: UnixMillis(1),
        attributes: Default::default(),
    };
    block.assign(1, &held, |_| false);
    let value = Some(Versioned { value: block.to_json(), revision: Revision(12) });
    lab.revision = 12;
    lab.input(Input::Read { at: Revision(12), values: vec![(Key::Block(cidr), value)] });
    let (ticket, txn) = lab.commit();
    let Write::Put { value, .. } = &txn.writes[0] else { panic!("{txn:?}") };
    assert_eq!(Block::from_json(value).unwrap().held_len(), 0);
    lab.done(ticket);
    let answers = lab.answers();
    let released = |answer: &Result<Answer, IpamError>| matches!(answer, Ok(Answer::Released { addresses, .. }) if addresses.len() == 1);
    assert!(answers.iter().any(|(_, answer)| released(answer)), "{answers:?}");
}

#[test]
fn an_older_block_that_the_watch_tells_late_is_seen_before_a_claim_counts() {
    let mut lab = Lab::awake();
    lab.assign(1);
    let (ticket, txn) = lab.commit();
    let Key::Block(cidr) = txn.writes[0].key().clone() else { panic!() };
    let revision = lab.done(ticket);
    // Claimed before ours and written again since: only the later write is told.
    let wide = IpNet::new(cidr.addr(), 29).unwrap().trunc();
    let older = Block::new("old", wide, owner("n2", "x"), UnixMillis(1)).unwrap();
    let later = Revision(revision.0 + 1);
    let value = Some(Versioned { value: older.to_json(), revision: later });
    let (key, ours) = written(&txn, revision);
    lab.input(Input::Changes(vec![
        Change { key, value: ours, revision },
        Change { key: Key::Block(wide), value, revision: later },
    ]));
    assert!(lab.out.contains(&Output::Event(Event::Contested(cidr))));
    assert!(!lab.answers().iter().any(|(_, answer)| answer.is_ok()));
}

#[test]
fn a_block_that_turns_out_to_overlap_an_older_one_is_not_used() {
    let mut lab = Lab::awake();
    lab.assign(1);
    let (ticket, txn) = lab.commit();
    let Key::Block(cidr) = txn.writes[0].key().clone() else { panic!() };
    // A larger one, claimed just before under another block size.
    let wide = IpNet::new(cidr.addr(), 29).unwrap().trunc();
    let older = Block::new("old", wide, owner("n2", "x"), UnixMillis(1)).unwrap();
    let value = Versioned { value: older.to_json(), revision: Revision(11) };
    lab.revision = 11;
    let revision = lab.done(ticket);
    let change = Change { key: Key::Block(wide), value: Some(value), revision: Revision(11) };
    lab.input(Input::Changes(vec![change]));
    assert_eq!(lab.answers(), []);
    lab.watch(&txn, revision);
    assert!(lab.out.contains(&Output::Event(Event::Contested(cidr))));
    assert!(!lab.out.iter().any(|output| matches!(output, Output::Owned { ours: true, .. })));
    assert!(!lab.answers().iter().any(|(_, answer)| answer.is_ok()));
}

#[test]
fn a_release_goes_through_although_the_name_is_taken_by_another_daemon() {
    let mut lab = Lab::asleep();
    let mut block =
        Block::new("a", "10.0.0.0/30".parse().unwrap(), owner("n1", "one"), UnixMillis(1)).unwrap();
    block.begin(UnixMillis(1), Duration::ZERO);
    let held = crate::Held {
        handle: "h".try_into().unwrap(),
        node: "n1".try_into().unwrap(),
        serial: 0,
        since: UnixMillis(1),
        attributes: Default::default(),
    };
    block.assign(1, &held, |_| false);
    lab.input(Input::Snapshot(Snapshot {
        blocks: vec![(block.cidr(), Revision(3), block.to_json())],
        leases: vec![("n1".try_into().unwrap(), Revision(4))],
        at: Revision(10),
    }));
    assert!(lab.is_lease_wanted());
    lab.input(Input::Lease(LeaseEnd::Taken));
    assert!(lab.out.contains(&Output::Event(Event::Displaced)));
    lab.assign(1);
    lab.ask(2, Ask::Release(vec![Release::Handle("h".try_into().unwrap())]));
    let (ticket, _) = lab.commit();
    lab.done(ticket);
    assert!(matches!(lab.answers()[..], [(2, Ok(Answer::Released { .. }))]));
    lab.pass(secs(5));
    let node = "n1".try_into().unwrap();
    assert_eq!(lab.answers(), [(1, Err(IpamError::Displaced(node)))]);
    // The other one fell silent: its lease is taken over as soon as it has ended.
    lab.watch_lease(20, None);
    assert!(lab.is_lease_wanted());
    lab.input(Input::Lease(LeaseEnd::Held(Revision(21))));
    assert!(lab.allocator.is_ready());
}

#[test]
fn the_lease_is_kept_in_time_and_outlives_a_store_that_is_away() {
    let mut lab = Lab::awake();
    let due = lab.allocator.next_deadline().unwrap();
    assert!(due <= secs(10), "{due:?}");
    lab.pass(secs(10));
    assert!(lab.is_lease_wanted());
    lab.pass(secs(60));
    assert!(!lab.is_lease_wanted(), "an answer is due first");
    lab.input(Input::Lease(LeaseEnd::Failed("no route".into())));
    assert!(lab.allocator.is_ready(), "no address rests on it");
    lab.pass(secs(2));
    assert!(lab.is_lease_wanted());
    lab.input(Input::Lease(LeaseEnd::Held(Revision(12))));
    // Its own commit comes by the watch: nothing to ask.
    lab.watch_lease(12, Some(12));
    assert!(!lab.is_lease_wanted());
}

#[test]
fn a_lease_that_ended_or_went_to_another_is_asked_for_at_once_and_once() {
    let mut lab = Lab::awake();
    lab.watch_lease(20, None);
    assert!(lab.is_lease_wanted());
    lab.input(Input::Lease(LeaseEnd::Held(Revision(21))));
    lab.watch_lease(21, Some(21));
    assert!(!lab.is_lease_wanted());
    lab.watch_lease(30, Some(30));
    assert!(lab.is_lease_wanted());
    lab.input(Input::Lease(LeaseEnd::Taken));
    assert!(lab.out.contains(&Output::Event(Event::Displaced)));
    assert!(!lab.is_lease_wanted(), "not before it is time or something is heard");
}

#[test]
fn a_pool_that_is_full_is_said_at_once() {
    let mut lab = Lab::awake();
    lab.ask(1, Ask::Assign(Request::any("h".try_into().unwrap(), 9, 0)));
    let answers = lab.answers();
    assert!(matches!(&answers[..], [(1, Err(IpamError::Full { .. }))]), "{answers:?}");
    assert!(!lab.has_commit());
}

#[test]
fn a_block_that_another_node_claimed_for_this_one_is_adopted_soon() {
    let mut lab = Lab::awake();
    // The first look is over; the next would be in half the grace.
    lab.pass(secs(1));
    let there = Owner::elsewhere("n1".try_into().unwrap());
    let cidr = "10.0.0.4/30".parse().unwrap();
    let mut block = Block::new("a", cidr, there, lab.now.wall).unwrap();
    let held = crate::block::Held {
        handle: "web".try_into().unwrap(),
        node: "n1".try_into().unwrap(),
        serial: 0,
        since: lab.now.wall,
        attributes: BTreeMap::new().into(),
    };
    block.assign(1, &held, |_| false);
    let txn = Txn::create(Key::Block(cidr), block.to_json(), crate::plan::index(&block));
    lab.revision += 1;
    lab.watch(&txn, Revision(lab.revision));
    assert!(!lab.out.contains(&Output::Owned { block: cidr, ours: true }), "not ours yet");
    assert!(lab.allocator.next_deadline().is_some_and(|at| at <= lab.now.steady + secs(1)));
    lab.pass(secs(1));
    let (ticket, _) = lab.commit();
    lab.done(ticket);
    assert!(lab.out.contains(&Output::Owned { block: cidr, ours: true }));
    let (_, block) = lab.allocator.view().block(cidr).unwrap();
    assert!(block.is_owned_by(&owner("n1", "one")));
    assert_eq!(block.held_len(), 1, "with what is held in it");
}

/// The one pool of the lab as it is for another node.
fn at(node: &str, disabled: bool) -> Elsewhere {
    let pool = Pool::new("a", "10.0.0.0/29".parse().unwrap(), 30).unwrap();
    Elsewhere::new(node.try_into().unwrap(), Pools::new([Pool { disabled, ..pool }]))
}

#[test]
fn what_waits_for_another_node_is_planned_with_its_pools_as_they_are_by_then() {
    let mut lab = Lab::awake();
    let for_node = |node: &str| {
        let request = Request::any(node.try_into().unwrap(), 1, 0);
        Ask::Assign(Request { elsewhere: Some(Arc::new(at(node, false))), ..request })
    };
    lab.ask(1, for_node("n2"));
    let (ticket, _) = lab.commit();
    // These come while that is under way.
    lab.ask(2, for_node("n2"));
    lab.ask(3, for_node("n3"));
    let names = ["n2", "n3"].map(|name| name.try_into().unwrap());
    assert_eq!(lab.allocator.elsewhere(), names.into());
    lab.input(Input::Elsewhere(vec![at("n2", true), at("n4", true)]));
    // Somebody else was first: it is planned again, with the others.
    lab.input(Input::Committed { ticket, end: CommitEnd::Lost });
    let keys = lab.out.iter().find_map(|output| match output {
        Output::Read(keys) => Some(keys.clone()),
        _ => None,
    });
    let values = keys.expect("it is read").into_iter().map(|key| (key, None)).collect();
    lab.input(Input::Read { at: Revision(11), values });
    let (ticket, txn) = lab.commit();
    let revision = lab.done(ticket);
    lab.watch(&txn, revision);
    let answers = lab.answers();
    assert_eq!(answers.len(), 3, "{answers:?}");
    for (id, answer) in answers {
        match answer {
            Ok(Answer::Assigned(grants)) => assert_eq!((id, grants[0].node.as_str()), (3, "n3")),
            Err(IpamError::NoPool { .. }) => assert!(id < 3, "{id}"),
            other => panic!("{id}: {other:?}"),
        }
    }
    assert!(lab.allocator.elsewhere().is_empty());
}

#[test]
fn what_waits_when_the_lock_comes_is_not_assigned() {
    let mut lab = Lab::awake();
    lab.assign(1);
    let (ticket, txn) = lab.commit();
    lab.assign(2);
    lab.input(Input::Locked(true));
    assert_eq!(lab.answers(), [(2, Err(IpamError::Locked))]);
    let revision = lab.done(ticket);
    lab.watch(&txn, revision);
    assert!(matches!(lab.answers()[..], [(1, Ok(Answer::Assigned(_)))]), "it was on its way");
    assert!(!lab.has_commit());
    // What is lost on its way begins anew, and that is refused.
    lab.input(Input::Locked(false));
    lab.assign(3);
    let (ticket, _) = lab.commit();
    lab.input(Input::Locked(true));
    lab.input(Input::Committed { ticket, end: CommitEnd::Lost });
    lab.input(Input::Read { at: Revision(90), values: lab_keys(&lab) });
    assert_eq!(lab.answers(), [(3, Err(IpamError::Locked))]);
    // As is what came before anything was known.
    let mut lab = Lab::asleep();
    lab.assign(1);
    lab.input(Input::Locked(true));
    lab.input(Input::Snapshot(Snapshot { at: Revision(10), ..Snapshot::default() }));
    lab.input(Input::Lease(LeaseEnd::Held(Revision(10))));
    assert_eq!(lab.answers(), [(1, Err(IpamError::Locked))]);
    assert!(!lab.has_commit());
}

/// What is being read, as if nothing had changed.
fn lab_keys(lab: &Lab) -> Vec<(Key, Option<Versioned>)> {
    let there = |key: &Key| {
        let Key::Block(cidr) = key else { return None };
        let (revision, block) = lab.allocator.view().block(*cidr)?;
        Some(Versioned { value: block.to_json(), revision })
    };
    lab.allocator.reading.iter().map(|key| (key.clone(), there(key))).collect()
}

#[test]
fn where_the_rules_cannot_be_read_nothing_is_assigned_and_without_a_pool_nothing_is_given_up() {
    let mut lab = Lab::awake();
    lab.assign(1);
    let (ticket, txn) = lab.commit();
    let revision = lab.done(ticket);
    lab.watch(&txn, revision);
    lab.answers();
    let rules = Unreadable { rules: ["IPReservation a".to_owned()].into(), ..Default::default() };
    lab.input(Input::Unreadable(rules));
    lab.assign(2);
    let refused = IpamError::Unreadable("IPReservation a".to_owned());
    assert_eq!(lab.answers(), [(2, Err(refused))]);
    lab.ask(3, Ask::Release(vec![Release::Handle("h1".try_into().unwrap())]));
    let (ticket, txn) = lab.commit();
    let revision = lab.done(ticket);
    lab.watch(&txn, revision);
    assert!(matches!(lab.answers()[..], [(3, Ok(Answer::Released { .. }))]), "who leaves may");
    // The pool of the block that is empty now went; another one is there and cannot be read.
    let pools = Unreadable { pools: ["a".to_owned()].into(), ..Default::default() };
    lab.input(Input::Unreadable(pools));
    lab.input(Input::Pools(Pools::default()));
    lab.now.wall.0 += 600_000;
    lab.pass(secs(600));
    assert!(!lab.has_commit());
    lab.input(Input::Unreadable(Unreadable::default()));
    lab.input(Input::Lease(LeaseEnd::Held(Revision(10))));
    lab.pass(secs(1));
    lab.pass(secs(1));
    assert!(lab.has_commit(), "it is given up once that pool is known not to be");
}

#[test]
fn what_the_store_never_takes_is_answered_at_once_and_not_tried_again() {
    let mut lab = Lab::awake();
    lab.assign(1);
    let (ticket, _) = lab.commit();
    lab.input(Input::Committed { ticket, end: CommitEnd::Refused("too large".into()) });
    let answers = lab.answers();
    let [(1, Err(IpamError::Block { why, .. }))] = &answers[..] else { panic!("{answers:?}") };
    assert!(why.contains("too large"), "{why}");
    assert!(!lab.has_commit());
    lab.assign(2);
    assert!(lab.has_commit(), "the next one is tried");
}
