//! What went wrong elsewhere, one test for each lesson (the numbers are of projectcalico/calico and
//! projectcalico/libcalico-go).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use margay_ipam::{
    Answer, Ask, Family, Grant, IpamError, Owner, Plan, Pool, Pools, Release, Request,
    Reservations, Settings, UnixMillis, View, Want, World,
    gc::{Collector, Evidence, Scene},
    lease::Leases,
    plan, show,
    time::Now,
    view::Stored,
};
use margay_model::{Expect, Revision, Write};

struct Lab {
    view: View,
    pools: Pools,
    busy: BTreeSet<IpAddr>,
    settings: Settings,
    revision: u64,
}

fn owner(node: &str) -> Owner {
    Owner { node: node.try_into().unwrap(), instance: "one".try_into().unwrap() }
}

fn request(handle: &str, v4: usize) -> Request {
    let mut request = Request::any(handle.try_into().unwrap(), v4, 0);
    request.attributes =
        [("pod", handle), ("namespace", "n")].map(|(k, v)| (k.into(), v.into())).into();
    request
}

fn assign(handle: &str, v4: usize) -> Ask {
    Ask::Assign(request(handle, v4))
}

impl Lab {
    fn new() -> Self {
        let pool = Pool::new("a", "10.0.0.0/28".parse().unwrap(), 30).unwrap();
        Self {
            view: View::default(),
            pools: Pools::new([pool]),
            busy: BTreeSet::new(),
            settings: Settings { cooldown: Duration::ZERO, ..Settings::default() },
            revision: 0,
        }
    }

    fn plan(&self, node: &str, asks: &[Ask]) -> Plan {
        let world = World {
            host: &owner(node),
            view: &self.view,
            pools: &self.pools,
            reservations: &Reservations::default(),
            busy: &self.busy,
            settings: &self.settings,
            now: UnixMillis(1_000_000),
        };
        plan(world, asks, 0)
    }

    /// Commits what can be; how many compares did not hold.
    fn commit(&mut self, plan: &Plan) -> usize {
        let mut lost = 0;
        for step in &plan.steps {
            if self.view.entry(step.cidr).map(|entry| entry.revision) != step.base {
                lost += 1;
                continue;
            }
            self.revision += 1;
            let revision = Revision(self.revision);
            match &step.after {
                Some(block) => self.view.put(step.cidr, revision, Stored::Sound(block.clone())),
                None => self.view.remove(step.cidr, revision),
            };
        }
        lost
    }

    fn ask(&mut self, node: &str, ask: Ask) -> Result<Answer, IpamError> {
        let mut plan = self.plan(node, &[ask]);
        assert_eq!(self.commit(&plan), 0);
        plan.outcomes.remove(0).answer
    }

    fn grants(&mut self, node: &str, ask: Ask) -> Vec<Grant> {
        match self.ask(node, ask) {
            Ok(Answer::Assigned(grants)) => grants,
            other => panic!("{other:?}"),
        }
    }

    fn held(&self) -> usize {
        self.view.blocks().map(|block| block.held_len()).sum()
    }
}

fn exactly(handle: &str, address: &str) -> Ask {
    Ask::Assign(Request {
        want: Want::Exactly(vec![address.parse().unwrap()]),
        ..request(handle, 0)
    })
}

#[test]
fn two_that_claim_one_block_never_both_own_it_lcg_778() {
    let mut lab = Lab::new();
    let first = lab.plan("n1", &[exactly("h", "10.0.0.1")]);
    let second = lab.plan("n2", &[exactly("i", "10.0.0.2")]);
    assert_eq!(first.steps[0].cidr, second.steps[0].cidr);
    assert_eq!(second.steps[0].txn().compares[0].expect, Expect::Absent);
    assert_eq!((lab.commit(&first), lab.commit(&second)), (0, 1));
    let n2 = lab.plan("n2", &[exactly("i", "10.0.0.2")]);
    let block = n2.steps[0].after.as_ref().unwrap();
    assert!(block.is_owned_by(&owner("n1")), "it borrows now");
}

#[test]
fn what_is_announced_is_what_the_block_says_6867() {
    let mut lab = Lab::new();
    let plan = lab.plan("n1", &[assign("h", 1)]);
    assert_eq!(lab.view.owned(&owner("n1")).count(), 0, "an intention is not ownership");
    lab.commit(&plan);
    assert_eq!(lab.view.owned(&owner("n1")).count(), 1);
}

#[test]
fn no_affinity_outlives_its_block_4471() {
    let mut lab = Lab::new();
    lab.grants("n1", assign("h", 1));
    assert_eq!(show::affinities(&lab.view).len(), 1);
    lab.ask("n1", Ask::Release(vec![Release::Handle("h".try_into().unwrap())])).unwrap();
    lab.ask("n2", Ask::ReleaseNode("n1".try_into().unwrap())).unwrap();
    assert!(lab.view.is_empty());
    assert_eq!(show::affinities(&lab.view), []);
}

#[test]
fn a_plan_that_is_not_committed_changes_nothing_12697() {
    let mut lab = Lab::new();
    lab.grants("n1", assign("h", 1));
    let before: Vec<_> = lab.view.blocks().cloned().collect();
    lab.plan("n1", &[assign("i", 2), Ask::Release(vec![Release::Handle("h".try_into().unwrap())])]);
    assert_eq!(lab.view.blocks().cloned().collect::<Vec<_>>(), before);
}

#[test]
fn no_handle_is_left_by_a_call_that_came_to_nothing_10658() {
    let mut lab = Lab::new();
    assert!(lab.ask("n1", assign("h", 17)).is_err());
    assert_eq!(lab.view.handles().count(), 0);
    assert!(lab.view.is_empty());
}

#[test]
fn attempts_that_are_lost_add_nothing_to_any_count() {
    let mut lab = Lab::new();
    lab.grants("n1", exactly("x", "10.0.0.0"));
    for _ in 0..5 {
        let plan = lab.plan("n1", &[exactly("h", "10.0.0.1")]);
        lab.grants("n1", exactly("y", "10.0.0.2")); // somebody is faster
        lab.ask("n1", Ask::Release(vec![Release::Handle("y".try_into().unwrap())])).unwrap();
        assert_eq!(lab.commit(&plan), 1);
    }
    lab.grants("n1", exactly("h", "10.0.0.1"));
    assert_eq!(lab.view.of_handle(&"h".try_into().unwrap()).len(), 1);
}

#[test]
fn what_is_counted_is_what_was_taken_not_what_was_asked_for() {
    let mut lab = Lab::new();
    lab.grants("n1", assign("h", 10));
    assert!(lab.ask("n1", assign("i", 7)).is_err());
    assert_eq!(lab.view.of_handle(&"h".try_into().unwrap()).len(), 10);
    assert_eq!(lab.held(), 10);
}

#[test]
fn an_error_is_a_type_that_knows_its_consequence() {
    use margay_ipam::Consequence;
    let mut lab = Lab::new();
    lab.grants("n1", exactly("h", "10.0.0.1"));
    let taken = lab.ask("n1", exactly("i", "10.0.0.1")).unwrap_err();
    assert_eq!(taken.consequence(), Consequence::AlreadyExists);
    let full = lab.ask("n1", assign("i", 16)).unwrap_err();
    assert_eq!(full.consequence(), Consequence::Exhausted);
}

#[test]
fn an_empty_block_of_nobody_is_really_deleted() {
    let mut lab = Lab::new();
    lab.grants("n1", assign("h", 1));
    lab.ask("n2", Ask::ReleaseNode("n1".try_into().unwrap())).unwrap();
    assert_eq!(lab.view.len(), 1);
    let plan = lab.plan("n2", &[Ask::Release(vec![Release::Handle("h".try_into().unwrap())])]);
    assert!(matches!(plan.steps[0].txn().writes[0], Write::Delete { .. }));
}

#[test]
fn an_ipv4_address_never_passes_for_ipv6() {
    assert_eq!(Family::of("10.0.0.1".parse().unwrap()), Family::V4);
    assert_eq!(Family::of("::ffff:10.0.0.1".parse().unwrap()), Family::V6);
    let mut lab = Lab::new();
    let both = Request::any("h".try_into().unwrap(), 1, 1);
    assert!(matches!(
        lab.ask("n1", Ask::Assign(both)),
        Err(IpamError::NoPool { family: Family::V6, .. })
    ));
}

#[test]
fn a_slow_collector_never_frees_what_was_assigned_again_5613() {
    let mut lab = Lab::new();
    let old = lab.grants("n1", exactly("h", "10.0.0.1")).remove(0);
    lab.ask("n1", Ask::Release(vec![Release::Handle("h".try_into().unwrap())])).unwrap();
    // The same address for the same handle, another assignment.
    lab.grants("n1", exactly("h", "10.0.0.1"));
    let late = Release::Address {
        address: old.address,
        handle: Some(old.handle),
        serial: Some(old.serial),
    };
    assert!(matches!(lab.ask("n1", Ask::Release(vec![late])), Err(IpamError::Stale { .. })));
    assert_eq!(lab.held(), 1);
}

#[test]
fn every_write_of_a_block_carries_its_index_10855() {
    let mut lab = Lab::new();
    for ask in [assign("h", 1), assign("i", 1)] {
        let plan = lab.plan("n1", &[ask]);
        for step in &plan.steps {
            let Write::Put { index, .. } = &step.txn().writes[0] else { panic!("a put") };
            assert_eq!((index[0].index.as_str(), index[0].value.as_str()), ("owner", "n1"));
        }
        lab.commit(&plan);
    }
}

#[test]
fn a_mismatch_touches_nothing_12508() {
    let mut lab = Lab::new();
    let grant = lab.grants("n1", exactly("h", "10.0.0.1")).remove(0);
    lab.grants("n1", exactly("i", "10.0.0.2"));
    let before: Vec<_> = lab.view.blocks().cloned().collect();
    let wrong = Release::Address {
        address: grant.address,
        handle: Some("other".try_into().unwrap()),
        serial: None,
    };
    let right = Release::Handle("i".try_into().unwrap());
    assert!(lab.ask("n1", Ask::Release(vec![right, wrong])).is_err());
    assert_eq!(lab.view.blocks().cloned().collect::<Vec<_>>(), before);
}

#[test]
fn one_live_address_of_a_handle_saves_all_of_them_5044() {
    let mut lab = Lab::new();
    let grants = lab.grants("n1", assign("h", 2));
    let (host, leases) = (owner("n1"), Leases::new(Duration::from_secs(10)));
    let mut collector = Collector::default();
    let mut look = |seconds: u64, live: &[IpAddr]| {
        let steady = Duration::from_secs(seconds);
        let scene = Scene {
            host: &host,
            view: &lab.view,
            pools: &lab.pools,
            settings: &lab.settings,
            leases: &leases,
            now: Now { wall: UnixMillis(1_000_000), steady },
            grace: Duration::from_secs(60),
        };
        let evidence = Evidence {
            attachments: BTreeMap::new(),
            addresses: live.iter().copied().collect(),
            taken: steady,
        };
        collector.leaks(scene, &evidence, &BTreeSet::new())
    };
    for seconds in [0, 60, 120] {
        assert_eq!(look(seconds, &[grants[1].address]), []);
    }
    assert_eq!(look(180, &[]), [], "and the grace begins anew");
    assert_eq!(look(240, &[]).len(), 1);
}

#[test]
fn an_address_whose_old_link_still_lives_here_is_not_given_out_8180() {
    let mut lab = Lab::new();
    let first = lab.grants("n1", assign("h", 1)).remove(0);
    lab.ask("n1", Ask::Release(vec![Release::Handle("h".try_into().unwrap())])).unwrap();
    lab.busy.insert(first.address);
    let all = lab.grants("n1", assign("i", 15));
    assert!(all.iter().all(|grant| grant.address != first.address));
    assert!(lab.ask("n1", assign("j", 1)).is_err());
}
