use std::{collections::BTreeSet, sync::Arc, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    block::{BlockState, Slot},
    error::Unfit,
    pool::{AssignmentMode, Pool},
    view::Stored,
};

mod elsewhere;

/// A cluster whose commits always happen.
struct Lab {
    view: View,
    pools: Pools,
    reservations: Reservations,
    busy: BTreeSet<IpAddr>,
    settings: Settings,
    now: UnixMillis,
    revision: u64,
}

fn owner(node: &str) -> Owner {
    Owner { node: node.try_into().unwrap(), instance: "one".try_into().unwrap() }
}

fn pool(name: &str, cidr: &str, size: u8) -> Pool {
    Pool::new(name, cidr.parse().unwrap(), size).unwrap()
}

fn request(handle: &str, v4: usize, v6: usize) -> Request {
    Request::any(handle.try_into().unwrap(), v4, v6)
}

fn exactly(handle: &str, address: &str) -> Request {
    let want = Want::Exactly(vec![address.parse().unwrap()]);
    Request { want, ..request(handle, 0, 0) }
}

impl Lab {
    fn new(pools: impl IntoIterator<Item = Pool>) -> Self {
        Self {
            view: View::default(),
            pools: Pools::new(pools),
            reservations: Reservations::default(),
            busy: BTreeSet::new(),
            settings: Settings { cooldown: Duration::ZERO, ..Settings::default() },
            now: UnixMillis(1_000_000),
            revision: 0,
        }
    }

    fn plan(&self, node: &str, asks: &[Ask]) -> Plan {
        let world = World {
            host: &owner(node),
            view: &self.view,
            pools: &self.pools,
            reservations: &self.reservations,
            busy: &self.busy,
            settings: &self.settings,
            now: self.now,
        };
        plan(world, asks, 0)
    }

    fn commit(&mut self, plan: &Plan) {
        for step in &plan.steps {
            self.revision += 1;
            let revision = Revision(self.revision);
            assert_eq!(self.view.entry(step.cidr).map(|entry| entry.revision), step.base);
            match &step.after {
                Some(block) => {
                    assert_eq!(Block::from_json(&block.to_json()).as_ref(), Ok(block.as_ref()));
                    self.view.put(step.cidr, revision, Stored::Sound(block.clone()))
                }
                None => self.view.remove(step.cidr, revision),
            };
        }
    }

    fn ask(&mut self, node: &str, ask: Ask) -> Result<Answer, IpamError> {
        let mut plan = self.plan(node, &[ask]);
        self.commit(&plan);
        plan.outcomes.remove(0).answer
    }

    fn assign(&mut self, node: &str, request: Request) -> Result<Vec<Grant>, IpamError> {
        match self.ask(node, Ask::Assign(request))? {
            Answer::Assigned(grants) => Ok(grants),
            other => panic!("{other:?}"),
        }
    }

    /// The addresses as text, or the error.
    fn addresses(&mut self, node: &str, request: Request) -> Result<Vec<String>, String> {
        let grants = self.assign(node, request).map_err(|error| error.to_string())?;
        Ok(grants.iter().map(|grant| grant.address.to_string()).collect())
    }

    fn release(&mut self, release: Release) -> Result<Answer, IpamError> {
        self.ask("n1", Ask::Release(vec![release]))
    }

    fn owner_of(&self, cidr: &str) -> Option<String> {
        let (_, block) = self.view.block(cidr.parse().unwrap())?;
        block.owner().map(ToString::to_string)
    }
}

#[test]
fn a_node_fills_its_own_block_before_it_claims_the_next() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/24", 30)]);
    let first = lab.assign("n1", request("h0", 1, 0)).unwrap().remove(0);
    assert_eq!((first.pool.as_str(), first.borrowed), ("a", false));
    for handle in ["h1", "h2", "h3"] {
        assert_eq!(lab.assign("n1", request(handle, 1, 0)).unwrap()[0].block, first.block);
    }
    assert_ne!(lab.assign("n1", request("h4", 1, 0)).unwrap()[0].block, first.block);
    assert_eq!(lab.view.len(), 2);
}

#[test]
fn requests_of_one_moment_share_one_commit() {
    let lab = Lab::new([pool("a", "10.0.0.0/24", 26)]);
    let asks: Vec<Ask> = (0..50).map(|at| Ask::Assign(request(&format!("h{at}"), 1, 0))).collect();
    let plan = lab.plan("n1", &asks);
    assert_eq!(plan.steps.len(), 1);
    assert!(plan.outcomes.iter().all(|outcome| outcome.needs.len() == 1));
    let txn = plan.steps[0].txn();
    assert_eq!((txn.compares.len(), txn.writes.len()), (1, 1));
    let index = index(plan.steps[0].after.as_ref().unwrap());
    assert_eq!(index, [IndexEntry { index: "owner".into(), value: "n1".into() }]);
}

#[test]
fn both_families_are_given_or_none() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/24", 26), pool("b", "fd00::/120", 122)]);
    let both = lab.addresses("n1", request("h", 1, 1)).unwrap();
    assert_eq!(both.len(), 2);
    assert!(both[0].contains('.') && both[1].contains(':'), "IPv4 first: {both:?}");
    let mut lab = Lab::new([pool("a", "10.0.0.0/24", 26)]);
    let refused = lab.addresses("n1", request("h", 1, 1)).unwrap_err();
    assert_eq!(
        refused,
        "no pool gives node n1 IPv6 addresses for Workload (there is none of that family)"
    );
    assert!(lab.view.is_empty(), "nothing is written for half a request");
}

#[test]
fn a_request_that_fails_leaves_what_its_neighbours_got() {
    let lab = Lab::new([pool("a", "10.0.0.0/30", 30)]);
    let asks = [request("h0", 2, 0), request("h1", 3, 0), request("h2", 2, 0)].map(Ask::Assign);
    let plan = lab.plan("n1", &asks);
    let met: Vec<bool> = plan.outcomes.iter().map(|outcome| outcome.answer.is_ok()).collect();
    assert_eq!(met, [true, false, true]);
    assert_eq!(plan.steps[0].after.as_ref().unwrap().held_len(), 4);
}

#[test]
fn a_full_pool_says_so_and_what_to_do() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/30", 30)]);
    lab.assign("n1", request("h0", 4, 0)).unwrap();
    let error = lab.assign("n1", request("h1", 1, 0)).unwrap_err();
    assert_eq!(error.to_string(), "pool a is full");
    assert_eq!(error.consequence(), crate::Consequence::Exhausted);
    assert!(error.help().unwrap().contains("add an IPPool"));
    lab.settings.cooldown = Duration::from_secs(30);
    lab.release(Release::Handle("h0".try_into().unwrap())).unwrap();
    let error = lab.assign("n1", request("h1", 1, 0)).unwrap_err();
    assert_eq!(error.to_string(), "pool a is full; 4 cooling down");
    lab.now.0 += 30_000;
    assert!(lab.assign("n1", request("h1", 1, 0)).is_ok());
}

#[test]
fn pools_are_chosen_by_state_selectors_use_and_mode() {
    let mut lab = Lab::new([]);
    let with = |name: &str, change: fn(&mut Pool)| {
        let mut pool = pool(name, "10.0.0.0/24", 26);
        change(&mut pool);
        pool
    };
    lab.pools = Pools::new([
        with("a", |pool| pool.disabled = true),
        with("b", |pool| pool.selects_node = false),
        with("c", |pool| pool.uses = [Use::Tunnel].into()),
        with("d", |pool| pool.mode = AssignmentMode::Manual),
        with("e", |_| {}),
    ]);
    let mut request = request("h", 1, 0);
    request.not_for_namespace = ["e".to_owned()].into();
    let IpamError::NoPool { unfit, .. } = lab.assign("n1", request.clone()).unwrap_err() else {
        panic!("no pool fits")
    };
    let expected = [
        ("a", Unfit::Disabled),
        ("b", Unfit::NodeSelector),
        ("c", Unfit::Uses),
        ("d", Unfit::Manual),
        ("e", Unfit::NamespaceSelector),
    ];
    assert_eq!(unfit, expected.map(|(name, why)| (name.to_owned(), why)));
    // Named, a pool is used whatever its selectors and mode say.
    request.pools = vec!["d".into()];
    assert_eq!(lab.assign("n1", request.clone()).unwrap()[0].handle, request.handle);
    request.pools = vec!["a".into()];
    let error = lab.assign("n1", request.clone()).unwrap_err();
    assert_eq!(error.to_string(), "pool a cannot be used: disabled");
    request.pools = vec!["z".into()];
    assert_eq!(lab.assign("n1", request).unwrap_err(), IpamError::UnknownPool("z".into()));
}

#[test]
fn reserved_addresses_are_given_only_to_who_names_them() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/29", 30)]);
    lab.reservations =
        Reservations::new(["10.0.0.0/30", "10.0.0.4/31"].map(|n| n.parse().unwrap()));
    let given = lab.addresses("n1", request("h", 2, 0)).unwrap();
    assert_eq!(given, ["10.0.0.6", "10.0.0.7"], "a block all reserved is not even claimed");
    assert!(lab.addresses("n1", request("i", 1, 0)).is_err());
    assert_eq!(lab.addresses("n1", exactly("j", "10.0.0.5")).unwrap(), ["10.0.0.5"]);
}

#[test]
fn an_address_live_here_that_nobody_assigned_is_skipped() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/31", 31)]);
    lab.busy = ["10.0.0.0".parse().unwrap()].into();
    assert_eq!(lab.addresses("n1", request("h", 1, 0)).unwrap(), ["10.0.0.1"]);
    assert!(lab.addresses("n1", request("i", 1, 0)).is_err());
    let error = lab.addresses("n1", exactly("i", "10.0.0.0")).unwrap_err();
    assert_eq!(error, "10.0.0.0 is in use on this node without having been assigned");
}

#[test]
fn a_full_pool_is_borrowed_from_unless_affinity_is_strict() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/29", 30)]);
    lab.assign("n1", request("x", 1, 0)).unwrap();
    lab.assign("n2", request("y", 2, 0)).unwrap();
    lab.settings.strict_affinity = true;
    let error = lab.assign("n3", request("z", 1, 0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "pool a is full; 5 free in blocks of other nodes (strictAffinity)"
    );
    lab.settings.strict_affinity = false;
    let grant = lab.assign("n3", request("z", 1, 0)).unwrap().remove(0);
    assert!(grant.borrowed);
    assert_eq!(lab.owner_of(&grant.block.to_string()).as_deref(), Some("n1"), "the emptier");
    let n3 = "n3".try_into().unwrap();
    assert_eq!(lab.view.borrowed_by(&n3).len(), 1);
}

#[test]
fn a_limit_of_blocks_holds_and_is_named() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/24", 30)]);
    lab.settings.strict_affinity = true;
    lab.settings.max_blocks_per_host = 2;
    lab.assign("n1", request("h", 8, 0)).unwrap();
    let error = lab.assign("n1", request("i", 1, 0)).unwrap_err();
    assert_eq!(error, IpamError::BlockLimit { node: "n1".try_into().unwrap(), limit: 2 });
    lab.settings.max_blocks_per_host = 0;
    assert!(lab.assign("n1", request("i", 1, 0)).is_ok(), "no hidden limit");
}

#[test]
fn without_automatic_claims_only_own_blocks_serve() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/24", 30)]);
    lab.assign("n1", request("h", 1, 0)).unwrap();
    lab.settings.strict_affinity = true;
    lab.settings.auto_allocate_blocks = false;
    assert!(lab.assign("n1", request("i", 3, 0)).is_ok());
    let error = lab.assign("n1", request("j", 1, 0)).unwrap_err();
    assert_eq!(error, IpamError::NoAutoAllocate("n1".try_into().unwrap()));
}

#[test]
fn an_empty_block_of_another_node_is_taken_when_the_pool_has_no_other() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/30", 30)]);
    lab.settings.strict_affinity = true;
    lab.assign("n1", request("h", 1, 0)).unwrap();
    lab.release(Release::Handle("h".try_into().unwrap())).unwrap();
    assert!(lab.assign("n2", request("i", 1, 0)).is_err(), "too young to be taken");
    lab.now.0 += 60_000;
    assert!(!lab.assign("n2", request("i", 1, 0)).unwrap()[0].borrowed);
    assert_eq!(lab.owner_of("10.0.0.0/30").as_deref(), Some("n2"));
}

#[test]
fn an_address_asked_for_is_given_or_told_why_not() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/24", 26)]);
    assert_eq!(lab.addresses("n1", exactly("h", "10.0.0.70")).unwrap(), ["10.0.0.70"]);
    assert_eq!(lab.owner_of("10.0.0.64/26").as_deref(), Some("n1"), "its block is claimed");
    let taken = lab.addresses("n1", exactly("i", "10.0.0.70")).unwrap_err();
    assert_eq!(taken, "10.0.0.70 is already assigned to h on node n1");
    let outside = lab.addresses("n1", exactly("i", "10.9.0.1")).unwrap_err();
    assert_eq!(outside, "10.9.0.1 is in no pool");
    lab.settings.strict_affinity = true;
    let strict = lab.addresses("n2", exactly("i", "10.0.0.71")).unwrap_err();
    assert_eq!(strict, "10.0.0.71 is in block 10.0.0.64/26 of node n1, and strictAffinity is on");
    lab.settings.strict_affinity = false;
    assert!(lab.assign("n2", exactly("i", "10.0.0.71")).unwrap()[0].borrowed);
    let again = Request { reuse: true, ..exactly("h", "10.0.0.70") };
    assert_eq!(lab.addresses("n1", again).unwrap(), ["10.0.0.70"]);
    let heir = Request { replaces: Some("h".try_into().unwrap()), ..exactly("k", "10.0.0.70") };
    assert_eq!(lab.addresses("n1", heir).unwrap(), ["10.0.0.70"], "taken over from the dead");
    assert!(!lab.view.is_held_by(&"h".try_into().unwrap()));
}

#[test]
fn an_address_comes_back_to_who_asks_for_it_while_it_cools_down() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/24", 26)]);
    lab.settings.cooldown = Duration::from_secs(30);
    lab.assign("n1", exactly("h", "10.0.0.7")).unwrap();
    lab.release(Release::Handle("h".try_into().unwrap())).unwrap();
    assert_eq!(lab.addresses("n1", exactly("i", "10.0.0.7")).unwrap(), ["10.0.0.7"]);
}

#[test]
fn a_repeated_request_gets_what_the_first_one_got() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/24", 26)]);
    let request = Request { reuse: true, ..request("h", 2, 0) };
    let first = lab.assign("n1", request.clone()).unwrap();
    let second = lab.assign("n1", request.clone()).unwrap();
    assert_eq!(first, second);
    assert_eq!(lab.view.of_handle(&request.handle).len(), 2);
}

#[test]
fn a_release_by_handle_address_or_owner_finds_its_own() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/24", 30)]);
    let mut pod = request("h", 5, 0);
    pod.attributes = [("pod", "p"), ("namespace", "n")].map(|(k, v)| (k.into(), v.into())).into();
    let grants = lab.assign("n1", pod.clone()).unwrap();
    lab.assign("n1", request("other", 1, 0)).unwrap();
    let one = Release::Address { address: grants[0].address, handle: None, serial: None };
    let Ok(Answer::Released { addresses, .. }) = lab.release(one.clone()) else { panic!() };
    assert_eq!(addresses, [grants[0].address]);
    let Ok(Answer::Released { absent, .. }) = lab.release(one) else { panic!() };
    assert_eq!(absent, [grants[0].address], "what is not held is no error");
    let Ok(Answer::Released { addresses, .. }) = lab.release(Release::Owner(pod.attributes)) else {
        panic!()
    };
    assert_eq!(addresses.len(), 4, "in two blocks");
    assert!(lab.view.is_held_by(&"other".try_into().unwrap()));
    let nobody = lab.release(Release::Owner(BTreeMap::new())).unwrap();
    assert_eq!(nobody, Answer::Released { addresses: vec![], absent: vec![] });
}

#[test]
fn a_release_that_does_not_match_releases_nothing_at_all() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/24", 26)]);
    let old = lab.assign("n1", exactly("h", "10.0.0.1")).unwrap().remove(0);
    lab.assign("n1", exactly("i", "10.0.0.2")).unwrap();
    lab.release(Release::Handle("h".try_into().unwrap())).unwrap();
    lab.assign("n1", exactly("h", "10.0.0.1")).unwrap();
    let before = lab.view.block("10.0.0.0/26".parse().unwrap()).unwrap().1.clone();
    let stale = Release::Address {
        address: old.address,
        handle: Some(old.handle),
        serial: Some(old.serial),
    };
    let other = Release::Handle("i".try_into().unwrap());
    let error = lab.ask("n1", Ask::Release(vec![other, stale])).unwrap_err();
    assert!(matches!(error, IpamError::Stale { .. }), "{error}");
    assert_eq!(lab.view.block(before.cidr()).unwrap().1, &before);
}

#[test]
fn a_block_nobody_owns_goes_with_its_last_address() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/24", 26)]);
    lab.assign("n1", request("h", 1, 0)).unwrap();
    assert_eq!(lab.ask("n2", Ask::ReleaseNode("n1".try_into().unwrap())), Ok(Answer::Blocks(1)));
    assert_eq!(lab.view.len(), 1, "addresses of the node stay held");
    lab.release(Release::Handle("h".try_into().unwrap())).unwrap();
    assert!(lab.view.is_empty());
}

#[test]
fn a_leftover_is_taken_over_before_anything_is_borrowed() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/30", 30)]);
    lab.assign("n1", request("h", 1, 0)).unwrap();
    lab.ask("n2", Ask::ReleaseNode("n1".try_into().unwrap())).unwrap();
    assert!(!lab.assign("n2", request("i", 1, 0)).unwrap()[0].borrowed);
    assert_eq!(lab.owner_of("10.0.0.0/30").as_deref(), Some("n2"));
}

#[test]
fn an_empty_block_is_given_up_only_as_it_was_seen() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/30", 30)]);
    lab.assign("n1", request("h", 1, 0)).unwrap();
    let block = "10.0.0.0/30".parse().unwrap();
    let give_up = |lab: &Lab| {
        let revision = lab.view.block(block).unwrap().0;
        Ask::GiveUp { block, revision }
    };
    let early = give_up(&lab);
    assert_eq!(lab.ask("n1", early.clone()), Ok(Answer::Blocks(0)), "it is in use");
    lab.release(Release::Handle("h".try_into().unwrap())).unwrap();
    assert_eq!(lab.ask("n1", early), Ok(Answer::Blocks(0)), "it was written since");
    let now = give_up(&lab);
    assert_eq!(lab.ask("n1", now), Ok(Answer::Blocks(1)));
    assert!(lab.view.is_empty());
}

#[test]
fn a_draining_block_gives_nothing_more_and_ends() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/29", 30)]);
    let block = lab.assign("n1", request("h", 1, 0)).unwrap()[0].block;
    // As `check` leaves one that lies in no pool, or over another.
    let (base, stored) = lab.view.block(block).unwrap();
    let mut draining = Block::clone(stored);
    draining.set_state(BlockState::Draining);
    let step = Step { cidr: block, base: Some(base), after: Some(Arc::new(draining)) };
    lab.commit(&Plan { steps: vec![step], outcomes: vec![] });
    assert_ne!(lab.assign("n1", request("i", 1, 0)).unwrap()[0].block, block);
    lab.release(Release::Handle("h".try_into().unwrap())).unwrap();
    assert!(lab.view.block(block).is_none());
}

#[test]
fn blocks_of_other_sizes_are_never_overlapped() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/28", 28)]);
    lab.assign("n1", request("h", 1, 0)).unwrap();
    // The pool is made again with smaller blocks while one large block is left.
    lab.pools = Pools::new([pool("a", "10.0.0.0/28", 30)]);
    let grant = lab.assign("n2", request("i", 1, 0)).unwrap().remove(0);
    assert!(grant.borrowed, "there is no place beside the large block");
    // The other way round: small ones keep a large one away.
    let mut lab = Lab::new([pool("a", "10.0.0.0/28", 30)]);
    lab.assign("n1", exactly("h", "10.0.0.9")).unwrap();
    lab.pools = Pools::new([pool("a", "10.0.0.0/27", 28)]);
    let grant = lab.assign("n2", request("i", 1, 0)).unwrap().remove(0);
    assert_eq!(grant.block.to_string(), "10.0.0.16/28");
    let error = lab.addresses("n2", exactly("j", "10.0.0.1")).unwrap_err();
    assert!(error.contains("blocks of another size"), "{error}");
}

#[test]
fn nothing_is_assigned_from_blocks_that_overlap() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/28", 28)]);
    for (at, cidr) in ["10.0.0.0/28", "10.0.0.4/30"].iter().enumerate() {
        let block = Block::new("a", cidr.parse().unwrap(), owner("n1"), lab.now).unwrap();
        let revision = Revision(u64::try_from(at + 1).unwrap());
        lab.view.put(block.cidr(), revision, Stored::Sound(Arc::new(block)));
    }
    lab.revision = 2;
    assert!(lab.assign("n1", request("h", 1, 0)).is_err());
    let error = lab.addresses("n1", exactly("h", "10.0.0.5")).unwrap_err();
    assert!(error.contains("overlaps another block"), "{error}");
}

#[test]
fn a_damaged_block_is_never_taken_for_free_space() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/30", 30)]);
    let cidr = "10.0.0.0/30".parse().unwrap();
    lab.view.put(cidr, Revision(1), Stored::read(cidr, b"{\"version\":9}"));
    assert!(lab.assign("n1", request("h", 1, 0)).is_err());
    let error = lab.addresses("n1", exactly("h", "10.0.0.1")).unwrap_err();
    assert_eq!(error, "block 10.0.0.0/30 cannot be used: it cannot be read");
}

#[test]
fn an_earlier_life_of_the_node_is_no_owner() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/30", 30)]);
    lab.assign("n1", request("h", 1, 0)).unwrap();
    let second = Owner { node: "n1".try_into().unwrap(), instance: "two".try_into().unwrap() };
    assert_eq!(lab.view.owned(&second).count(), 0);
    let world = World {
        host: &second,
        view: &lab.view,
        pools: &lab.pools,
        reservations: &lab.reservations,
        busy: &lab.busy,
        settings: &lab.settings,
        now: lab.now,
    };
    let plan = plan(world, &[Ask::Adopt], 0);
    lab.commit(&plan);
    assert_eq!(lab.view.owned(&second).map(|block| block.held_len()).sum::<usize>(), 1);
}

#[test]
fn wrong_counts_are_refused() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/24", 26)]);
    assert_eq!(lab.assign("n1", request("h", 0, 0)), Err(IpamError::Count(0)));
    assert_eq!(lab.assign("n1", request("h", 4097, 0)), Err(IpamError::Count(4097)));
    let none = Request { want: Want::Exactly(vec![]), ..request("h", 0, 0) };
    assert_eq!(lab.assign("n1", none), Err(IpamError::Count(0)));
}

#[test]
fn the_blocks_of_a_node_lie_side_by_side_while_there_is_room() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/16", 26)]);
    let mut blocks: Vec<u128> = Vec::new();
    for at in 0..4 {
        lab.now.0 += 1;
        let grant = lab.assign("n1", request(&format!("h{at}"), 64, 0)).unwrap().remove(0);
        blocks.push(crate::net::span(grant.block).0);
    }
    assert!(blocks.is_sorted_by(|a, b| b - a == 64), "{blocks:?}");
}

#[derive(Clone, Debug)]
enum Deed {
    Assign(usize, usize),
    Exactly(usize, u8),
    Release(usize),
    Gone(usize),
    Pass(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0..4_usize, 1..4_usize).prop_map(|(node, n)| Deed::Assign(node, n)),
        1 => (0..4_usize, 0..40_u8).prop_map(|(node, at)| Deed::Exactly(node, at)),
        3 => (0..40_usize).prop_map(Deed::Release),
        1 => (0..4_usize).prop_map(Deed::Gone),
        1 => (0..40_u64).prop_map(Deed::Pass),
    ]
}

proptest! {
    /// Against a map of who has what: nothing is given twice, nothing refused while it is there.
    #[test]
    fn a_cluster_does_what_a_map_does(
        deeds in prop::collection::vec(deed(), 1..60),
        size in 28..=32_u8,
        strict in any::<bool>(),
        cooldown in prop_oneof![Just(0_u64), Just(20)],
    ) {
        let mut lab = Lab::new([pool("a", "10.0.0.0/27", size)]);
        lab.settings.strict_affinity = strict;
        lab.settings.cooldown = Duration::from_secs(cooldown);
        let mut have: BTreeMap<IpAddr, String> = BTreeMap::new();
        let mut released: BTreeMap<IpAddr, u64> = BTreeMap::new();
        for (at, deed) in deeds.into_iter().enumerate() {
            let handle = format!("h{at}");
            let node = |node: usize| format!("n{node}");
            let got = match deed {
                Deed::Assign(on, n) => match lab.assign(&node(on), request(&handle, n, 0)) {
                    Ok(got) => {
                        prop_assert_eq!(got.len(), n);
                        got
                    }
                    Err(error) => {
                        let full = matches!(error, IpamError::Full { .. });
                        prop_assert!(full, "{}", error);
                        let cool = released.values().filter(|at| **at + cooldown * 1000 > lab.now.0);
                        let left = 32 - have.len() - cool.count();
                        prop_assert!(strict || left < n, "{} left, {} wanted", left, n);
                        continue;
                    }
                },
                Deed::Exactly(on, at) => {
                    let address = format!("10.0.0.{at}");
                    match lab.assign(&node(on), exactly(&handle, &address)) {
                        Ok(got) => got,
                        Err(error) => {
                            let taken = have.contains_key(&address.parse().unwrap());
                            prop_assert!(strict || taken || at >= 32, "{}", error);
                            continue;
                        }
                    }
                }
                Deed::Release(at) => {
                    let handle = format!("h{at}");
                    lab.release(Release::Handle(handle.as_str().try_into().unwrap())).unwrap();
                    for (address, _) in have.iter().filter(|(_, held)| **held == handle) {
                        released.insert(*address, lab.now.0);
                    }
                    have.retain(|_, held| *held != handle);
                    continue;
                }
                Deed::Gone(on) => {
                    let gone = Ask::ReleaseNode(node(on).as_str().try_into().unwrap());
                    lab.ask("other", gone).unwrap();
                    continue;
                }
                Deed::Pass(seconds) => {
                    lab.now.0 += seconds * 1000;
                    continue;
                }
            };
            for grant in got {
                let twice = have.insert(grant.address, handle.clone());
                prop_assert!(twice.is_none(), "{} is given twice", grant.address);
                released.remove(&grant.address);
            }
            let stored: BTreeMap<IpAddr, String> = lab
                .view
                .blocks()
                .flat_map(|block| {
                    block.held().map(|(at, held)| (block.address(at), held.handle.to_string()))
                })
                .collect();
            prop_assert_eq!(&stored, &have);
        }
    }
}

#[test]
fn a_slot_is_told_for_every_address_of_a_block() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/30", 30)]);
    lab.assign("n1", exactly("h", "10.0.0.1")).unwrap();
    let (_, block) = lab.view.block("10.0.0.0/30".parse().unwrap()).unwrap();
    let slot =
        |address: &str| block.ordinal(address.parse().unwrap()).and_then(|at| block.slot(at));
    assert!(matches!(slot("10.0.0.1"), Some(Slot::Held(held)) if held.node.as_str() == "n1"));
    assert_eq!(slot("10.0.0.2"), Some(Slot::Free));
    assert_eq!(slot("10.0.0.4"), None);
}

#[test]
fn a_refused_address_claims_no_block() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/24", 28)]);
    lab.busy = ["10.0.0.5".parse().unwrap()].into();
    let plan = lab.plan("n1", &[Ask::Assign(exactly("h", "10.0.0.5"))]);
    assert!(plan.outcomes[0].answer.is_err());
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
}

#[test]
fn a_block_whose_holders_have_long_names_is_full_before_it_is_too_large_to_be_stored() {
    let mut lab = Lab::new([pool("a", "10.0.0.0/16", 20)]);
    let long = "x".repeat(255);
    for at in 0..2300 {
        let handle = format!("{at:04}{}", &long[4..]);
        let mut request = request(&handle, 1, 0);
        request.attributes = [("pod".to_owned(), long.clone())].into();
        lab.assign("n1", request).expect("another block is claimed");
    }
    let largest = lab.view.blocks().map(|block| block.to_json().len()).max();
    assert!(largest.is_some_and(|octets| octets < 1024 * 1024), "{largest:?}");
    assert_eq!(lab.view.blocks().count(), 2);
}
