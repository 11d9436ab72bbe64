//! Whatever happens in whatever order: in the end the kernel has what is wished, nothing foreign was
//! touched, and there is nothing left to do. Against a model of the kernel, so no root is needed.

mod kernel;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use margay_fib::plan::fact::{Hop, KernelRoute, Via};
use margay_fib::plan::readings::{Occasion, ReadRoutes, Reading};
use margay_fib::plan::state::{Abilities, State};
use margay_fib::{BgpNextHop, FibConfig, RowFilter, Target, Wish};
use proptest::prelude::*;

use crate::kernel::Kernel;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Event {
    Wish(usize, Wanted),
    Withdraw(usize),
    Link(u32, LinkState),
    ForeignAdd(usize, u32),
    ForeignReplace(usize, u32),
    ForeignDelete(usize, u32),
    DriftDelete(usize, u32),
    DriftChange(usize, u32),
    DriftObject(usize),
    Work(usize),
    Wait(u64),
    Audit,
    InSync,
    Restart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkState {
    Up,
    NoCarrier,
    Down,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    /// Indexes into `next_hops()`; none = blackhole.
    via: BTreeSet<usize>,
    metric: Option<u32>,
}

const METRICS: [u32; 2] = [32, 50];
/// The prefix that the recursive next hop lies in.
const BELOW: usize = 0;

fn prefixes() -> Vec<IpNet> {
    ["10.255.0.0/24", "192.0.0.0/24", "192.0.1.0/24", "192.0.2.0/24", "192.0.2.128/25"]
        .map(|p| p.parse().expect("prefix"))
        .to_vec()
}

fn next_hops() -> Vec<IpAddr> {
    ["10.0.1.2", "10.0.1.3", "10.0.2.2", "10.0.3.2", "10.255.0.1"]
        .map(|a| a.parse().expect("address"))
        .to_vec()
}

fn event() -> impl Strategy<Value = Event> {
    let prefix = 0..prefixes().len();
    let foreign = 1..prefixes().len(); // nobody else says how the recursive next hop is reached
    let metric = prop::sample::select(METRICS.to_vec());
    let via = prop::collection::btree_set(0..next_hops().len(), 0..4);
    let wanted =
        (via, prop::option::of(metric.clone())).prop_map(|(via, metric)| Wanted { via, metric });
    let link = prop::sample::select(vec![LinkState::Up, LinkState::NoCarrier, LinkState::Down]);
    let key = (foreign, metric);
    prop_oneof![
        6 => (prefix.clone(), wanted).prop_map(|(p, w)| Event::Wish(p, w)),
        2 => prefix.prop_map(Event::Withdraw),
        3 => (1..4u32, link).prop_map(|(i, s)| Event::Link(i, s)),
        1 => key.clone().prop_map(|(p, m)| Event::ForeignAdd(p, m)),
        1 => key.clone().prop_map(|(p, m)| Event::ForeignReplace(p, m)),
        1 => key.clone().prop_map(|(p, m)| Event::ForeignDelete(p, m)),
        1 => key.clone().prop_map(|(p, m)| Event::DriftDelete(p, m)),
        1 => key.prop_map(|(p, m)| Event::DriftChange(p, m)),
        1 => (0..8usize).prop_map(Event::DriftObject),
        8 => (1..4usize).prop_map(Event::Work),
        2 => (1..5000u64).prop_map(Event::Wait),
        1 => Just(Event::Audit),
        1 => Just(Event::InSync),
        1 => Just(Event::Restart),
    ]
}

/// The state, the model it acts on, and what should come of it.
struct World {
    objects: bool,
    state: State,
    kernel: Kernel,
    now: Instant,
    wanted: BTreeMap<usize, Wanted>,
}

impl World {
    fn new(objects: bool) -> Self {
        let mut world = Self {
            objects,
            state: State::new(FibConfig::default(), Abilities { objects, write: true }),
            kernel: Kernel::default(),
            now: Instant::now(),
            wanted: BTreeMap::new(),
        };
        for index in 1..4 {
            world.kernel.set_link(index, true, true);
        }
        world.kernel.facts.clear();
        world.read(Occasion::Start);
        world
    }

    fn read(&mut self, occasion: Occasion) {
        let mut routes = ReadRoutes::default();
        for route in self.kernel.dump() {
            self.state.collect(&mut routes, route);
        }
        let reading = Reading {
            links: Some(self.kernel.links()),
            addresses: Some(self.kernel.addresses()),
            objects: Some(self.kernel.objects()),
            routes: Some(routes),
        };
        self.state.read(reading, occasion, self.now);
    }

    fn happen(&mut self, event: &Event) {
        let prefix = |i: &usize| prefixes()[*i];
        match event {
            Event::Wish(i, wanted) => {
                self.wanted.insert(*i, wanted.clone());
                self.wish(*i, Some(wanted.clone()));
            }
            Event::Withdraw(i) => {
                self.wanted.remove(i);
                self.wish(*i, None);
            }
            Event::Link(index, to) => {
                let (admin, running) = match to {
                    LinkState::Up => (true, true),
                    LinkState::NoCarrier => (true, false),
                    LinkState::Down => (false, false),
                };
                self.kernel.set_link(*index, admin, running);
            }
            Event::ForeignAdd(p, m) => self.kernel.foreign_add(prefix(p), *m),
            Event::ForeignReplace(p, m) => self.kernel.foreign_replace(prefix(p), *m),
            Event::ForeignDelete(p, m) => self.kernel.foreign_delete(prefix(p), *m),
            Event::DriftDelete(p, m) => self.kernel.drift_delete(prefix(p), *m),
            Event::DriftChange(p, m) => self.kernel.drift_change(prefix(p), *m),
            Event::DriftObject(n) => self.kernel.drift_object(*n),
            Event::Work(rounds) => {
                for _ in 0..*rounds {
                    self.round(3);
                }
            }
            Event::Wait(ms) => self.now += Duration::from_millis(*ms),
            Event::Audit => {
                self.hear();
                self.read(Occasion::Audit);
            }
            Event::InSync => self.state.sources_in_sync(self.now),
            Event::Restart => {
                self.kernel.facts.clear();
                let abilities = Abilities { objects: self.objects, write: true };
                self.state = State::new(FibConfig::default(), abilities);
                self.read(Occasion::Start);
                for (i, wanted) in self.wanted.clone() {
                    self.wish(i, Some(wanted));
                }
            }
        }
    }

    fn wish(&mut self, i: usize, wanted: Option<Wanted>) {
        let prefix = prefixes()[i];
        let Some(wanted) = wanted else {
            self.state.want(prefix, None, self.now);
            return;
        };
        let member = |n: &usize| {
            let address = next_hops()[*n];
            (BgpNextHop { address, link_local: None, interface: None }, 1)
        };
        let target = if wanted.via.is_empty() {
            Target::Blackhole
        } else {
            Target::Via(wanted.via.iter().map(member).collect())
        };
        let wish = Wish { metric: wanted.metric, ..Wish::plain(target) };
        let id = self.state.hold_wish(&wish, self.now);
        self.state.want(prefix, Some(id), self.now);
        self.state.release_wish(id, self.now);
    }

    fn hear(&mut self) {
        for fact in std::mem::take(&mut self.kernel.facts) {
            self.state.learn(fact, self.now);
        }
    }

    /// What the writer does in a round; whether it did anything.
    fn round(&mut self, max: usize) -> bool {
        self.hear();
        self.state.settle(self.now);
        let asks = self.state.take_asks();
        if asks.objects {
            self.state.read_objects(self.kernel.objects(), Occasion::Resync, self.now);
        }
        if asks.everything {
            self.read(Occasion::Resync);
        }
        self.state.settle(self.now);
        let ops = self.state.plan_objects(self.now, true);
        for op in &ops {
            let result = self.kernel.object(op);
            self.state.object_done(op, result, self.now);
        }
        if !ops.is_empty() {
            return true;
        }
        let ops = self.state.plan_routes(max);
        let mut refused = Vec::new();
        for (at, op) in ops.iter().enumerate() {
            let form = self.state.form(op.form).expect("held by the operation").clone();
            if let Err(errno) = self.kernel.route(op, &form) {
                refused.push((at, errno));
            }
        }
        self.state.routes_done(&ops, &refused, self.now);
        !ops.is_empty() || asks.objects || asks.everything || self.state.waiting() > 0
    }

    /// Everything has time to come to rest.
    fn rest(&mut self) {
        for _ in 0..8 {
            let mut rounds = 0;
            while self.round(512) {
                rounds += 1;
                assert!(rounds < 500, "it never comes to rest");
            }
            self.now += Duration::from_secs(61);
        }
        assert!(!self.round(512), "there is always something to do");
    }

    /// Where a prefix should lead by now, straight from the wishes; `None` = not in the kernel.
    fn expected(&self, i: usize) -> Option<Expected> {
        let wanted = self.wanted.get(&i)?;
        let metric = wanted.metric.unwrap_or(32);
        if self.kernel.is_foreign(prefixes()[i], metric) {
            return None;
        }
        if wanted.via.is_empty() {
            return Some(Expected { metric, hops: None });
        }
        let hops = self.hops(&wanted.via, &mut Vec::new());
        (!hops.is_empty()).then_some(Expected { metric, hops: Some(hops) })
    }

    fn hops(&self, via: &BTreeSet<usize>, path: &mut Vec<IpAddr>) -> BTreeSet<Hop> {
        let mut hops = BTreeSet::new();
        for n in via {
            let address = next_hops()[*n];
            if path.contains(&address) {
                continue;
            }
            let IpAddr::V4(v4) = address else { continue };
            match v4.octets() {
                [10, 0, link, _] => {
                    if self.kernel.runs(link.into()) {
                        let oif = link.into();
                        hops.insert(Hop { gateway: Some(address), oif, onlink: false });
                    }
                }
                _ => {
                    let Some(below) = self.wanted.get(&BELOW) else { continue };
                    path.push(address);
                    hops.extend(self.hops(&below.via, path));
                    path.pop();
                }
            }
        }
        hops
    }

    fn check(&self) {
        let mut ours: BTreeMap<(IpNet, u32), KernelRoute> = BTreeMap::new();
        for route in self.kernel.dump() {
            if route.protocol == 186 {
                ours.insert((route.prefix, route.form.metric), route);
            }
        }
        for (i, prefix) in prefixes().into_iter().enumerate() {
            let Some(expected) = self.expected(i) else { continue };
            let found = ours.remove(&(prefix, expected.metric));
            let found = found.unwrap_or_else(|| panic!("{prefix} is missing"));
            match (&found.form.via, &expected.hops) {
                (Via::Blackhole, None) => {}
                (via, Some(hops)) => {
                    let has: BTreeSet<Hop> = self.kernel.expand(via).into_iter().collect();
                    assert_eq!(has, *hops, "{prefix}");
                    assert_eq!(matches!(via, Via::Object(_)), self.objects, "{prefix}");
                }
                other => panic!("{prefix}: {other:?}"),
            }
        }
        assert!(ours.is_empty(), "too many: {ours:?}");
        assert_eq!(self.kernel.foreign_lost, 0, "a foreign route was overwritten or deleted");
        for row in self.state.rows(RowFilter::All, None, 1000) {
            let i = prefixes().iter().position(|p| *p == row.prefix).expect("known");
            assert_eq!(row.in_kernel, self.expected(i).is_some(), "{row:?}");
        }
        // Every object that is left is used, or would be but for a foreign route.
        let mut used = self.kernel.used_objects();
        let wishes = self.wanted.values().map(|w| self.hops(&w.via, &mut Vec::new()));
        let wishes: Vec<BTreeSet<Hop>> = wishes.collect();
        for object in self.kernel.objects() {
            let hops: BTreeSet<Hop> =
                self.kernel.expand(&Via::Object(object.id)).into_iter().collect();
            if wishes.iter().any(|wish| hops.is_subset(wish)) {
                used.insert(object.id);
            }
            assert!(used.contains(&object.id), "{object:?} is left over");
        }
    }
}

#[derive(Debug)]
struct Expected {
    metric: u32,
    /// `None` = blackhole.
    hops: Option<BTreeSet<Hop>>,
}

fn run(objects: bool, events: &[Event]) {
    let mut world = World::new(objects);
    for event in events {
        world.happen(event);
    }
    world.happen(&Event::InSync);
    world.rest();
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn the_kernel_ends_as_wished_over_objects(events in prop::collection::vec(event(), 1..40)) {
        run(true, &events);
    }

    #[test]
    fn the_kernel_ends_as_wished_inline(events in prop::collection::vec(event(), 1..40)) {
        run(false, &events);
    }
}
