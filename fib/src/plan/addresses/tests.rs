use std::time::Duration;

use ipnet::IpNet;

use super::*;
use crate::api::{FibConfig, FibEvent};
use crate::plan::fact::{Fact, KernelAddress, KernelLink, Presence};
use crate::plan::readings::{Occasion, ReadRoutes, Reading};
use crate::plan::state::Abilities;

const OURS: &str = "192.0.2.1";

struct Bench {
    state: State,
    now: Instant,
}

impl Bench {
    /// `v1` and `v2`, and these addresses that a former process left on `v1`.
    fn new(left: &[&str]) -> Self {
        let abilities = Abilities { objects: true, write: true };
        let state = State::new(FibConfig::default(), abilities);
        let mut bench = Self { state, now: Instant::now() };
        bench.read(left);
        bench
    }

    /// The kernel is read, with these addresses of protocol 186 on `v1`.
    fn read(&mut self, left: &[&str]) {
        let left = left.iter().map(|address| on(1, address, 186)).collect();
        let reading = Reading {
            links: Some([1, 2].map(|i| link(i, true)).to_vec()),
            addresses: Some(left),
            objects: Some(Vec::new()),
            routes: Some(ReadRoutes::default()),
        };
        self.state.read(reading, Occasion::Start, self.now);
    }

    fn want(&mut self, wishes: &[(&str, &str)]) {
        let mut all: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
        for (link, address) in wishes {
            all.entry((*link).to_owned()).or_default().insert(ip(address));
        }
        self.state.set_addresses(all);
    }

    fn refused(&mut self, refused: &[(usize, i32)]) -> Vec<(AddressVerb, u32, String)> {
        let ops = self.state.plan_addresses(100, self.now);
        self.state.addresses_done(&ops, refused, self.now);
        ops.iter().map(|op| (op.verb, op.link, op.address.to_string())).collect()
    }

    /// All that is due, done.
    fn work(&mut self) -> Vec<(AddressVerb, u32, String)> {
        self.refused(&[])
    }

    /// What redistribution was told since the last call: prefixes, and whether they are there.
    fn told_since(&mut self) -> Vec<(String, bool)> {
        let events = self.state.take_events().into_iter();
        let learned = events.filter_map(|event| match event {
            FibEvent::Learned(learned, there) => Some((learned.prefix.addr().to_string(), there)),
            _ => None,
        });
        learned.collect()
    }

    fn told(&mut self, address: KernelAddress, presence: Presence) {
        self.state.learn(Fact::Address(address, presence), self.now);
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn on(link: u32, address: &str, protocol: u8) -> KernelAddress {
    KernelAddress { link, net: IpNet::from(ip(address)), protocol }
}

fn link(index: u32, up: bool) -> KernelLink {
    let name = format!("v{index}");
    KernelLink { index, name, admin_up: up, running: up, mac: None, mtu: 1500 }
}

fn add(link: u32) -> (AddressVerb, u32, String) {
    (AddressVerb::Add, link, OURS.to_owned())
}

fn delete(link: u32) -> (AddressVerb, u32, String) {
    (AddressVerb::Delete, link, OURS.to_owned())
}

#[test]
fn an_address_comes_and_goes_with_the_wish_and_the_link() {
    let mut bench = Bench::new(&[]);
    bench.state.addresses_in_sync();
    bench.want(&[("v1", OURS), ("v2", OURS), ("v3", OURS)]);
    assert_eq!(bench.work(), [add(1), add(2)]);
    assert_eq!(bench.work(), [], "the kernel's word may come later");
    bench.told(on(1, OURS, 186), Presence::Here);
    bench.told(on(2, OURS, 186), Presence::Here);
    bench.state.learn(Fact::Link(link(3, true), Presence::Here), bench.now);
    assert_eq!(bench.work(), [add(3)]);
    bench.want(&[("v1", OURS)]);
    assert_eq!(bench.work(), [delete(2), delete(3)]);
    // Somebody takes it away, or the link is made anew.
    bench.told(on(1, OURS, 186), Presence::Gone);
    assert_eq!(bench.work(), [add(1)]);
    bench.state.learn(Fact::Link(link(1, true), Presence::Gone), bench.now);
    bench
        .state
        .learn(Fact::Link(KernelLink { index: 9, ..link(1, true) }, Presence::Here), bench.now);
    assert_eq!(bench.work(), [add(9)]);
}

#[test]
fn what_a_former_process_left_goes_once_all_is_told_and_what_others_put_there_stays() {
    let mut bench = Bench::new(&[OURS, "192.0.2.2"]);
    bench.told(on(1, "192.0.2.3", 0), Presence::Here);
    bench.want(&[("v1", OURS)]);
    assert_eq!(bench.work(), []);
    bench.state.addresses_in_sync();
    assert_eq!(bench.work(), [(AddressVerb::Delete, 1, "192.0.2.2".to_owned())]);
    // One that is there already is neither added nor, later, removed.
    bench.want(&[("v1", OURS), ("v1", "192.0.2.3")]);
    assert_eq!(bench.work(), []);
    bench.want(&[("v1", OURS)]);
    assert_eq!(bench.work(), []);
}

#[test]
fn what_the_kernel_refuses_is_tried_again_and_not_all_the_time() {
    let mut bench = Bench::new(&[]);
    bench.want(&[("v1", OURS)]);
    assert_eq!(bench.refused(&[(0, libc::ENOBUFS)]), [add(1)]);
    assert_eq!(bench.work(), []);
    assert_eq!(bench.state.addresses.deadline(), Some(bench.now + RETRY_MIN));
    bench.now += RETRY_MIN;
    assert_eq!(bench.refused(&[(0, libc::ENOBUFS)]), [add(1)]);
    bench.now += RETRY_MIN;
    assert_eq!(bench.work(), [], "the pause is longer now");
    bench.now += RETRY_MIN + Duration::from_millis(1);
    assert_eq!(bench.work(), [add(1)]);
    assert_eq!(bench.state.addresses.deadline(), None);
    // Not wished for any more, it is not waited for.
    bench.want(&[("v2", OURS)]);
    assert_eq!(bench.refused(&[(0, libc::ENOBUFS)]), [add(2)]);
    bench.want(&[]);
    assert_eq!(bench.work(), []);
    assert_eq!(bench.state.addresses.deadline(), None);
}

#[test]
fn such_an_address_is_not_announced_as_the_hosts() {
    let mut bench = Bench::new(&[]);
    bench.want(&[("v1", OURS)]);
    assert_eq!(bench.work(), [add(1)]);
    bench.told(on(1, OURS, 186), Presence::Here);
    bench.told(on(2, "192.0.2.7", 0), Presence::Here);
    assert_eq!(bench.told_since(), [("192.0.2.7".to_owned(), true)]);
}

#[test]
fn on_another_link_the_same_address_is_the_hosts() {
    let mut bench = Bench::new(&[]);
    bench.told(on(2, OURS, 0), Presence::Here);
    assert_eq!(bench.told_since(), [(OURS.to_owned(), true)]);
    bench.want(&[("v1", OURS)]);
    assert_eq!(bench.work(), [add(1)]);
    bench.told(on(1, OURS, 186), Presence::Here);
    let links = bench.state.told_links().into_iter().map(|link| (link.index, link.addresses));
    assert_eq!(links.collect::<Vec<_>>(), [(1, vec![]), (2, vec![IpNet::from(ip(OURS))])]);
    assert_eq!(bench.told_since(), [], "it is announced as before");
    // Its own comes and goes, whatever we have.
    bench.told(on(2, OURS, 0), Presence::Gone);
    assert_eq!(bench.told_since(), [(OURS.to_owned(), false)]);
    bench.told(on(2, OURS, 0), Presence::Here);
    assert_eq!(bench.told_since(), [(OURS.to_owned(), true)]);
}

#[test]
fn under_another_protocol_number_an_address_stays_and_carries_it() {
    let mut bench = Bench::new(&[OURS]);
    bench.want(&[("v1", OURS)]);
    assert_eq!(bench.work(), []);
    let config = FibConfig { protocol: 187, ..FibConfig::default() };
    let abilities = Abilities { objects: true, write: true };
    bench.state = bench.state.moved(config, abilities, bench.now);
    bench.read(&[OURS]);
    let renumber = (AddressVerb::Renumber, 1, OURS.to_owned());
    assert_eq!(bench.work(), [renumber]);
    assert_eq!(bench.work(), [], "once");
    // It is ours still, and goes when nobody wants it.
    bench.state.addresses_in_sync();
    bench.want(&[]);
    assert_eq!(bench.work(), [(AddressVerb::Delete, 1, OURS.to_owned())]);
    assert_eq!(bench.work(), []);
}

#[test]
fn an_address_that_goes_is_not_renumbered_first() {
    let mut bench = Bench::new(&[OURS]);
    bench.state.addresses_in_sync();
    bench.want(&[("v1", OURS)]);
    bench.want(&[]);
    let config = FibConfig { protocol: 187, ..FibConfig::default() };
    bench.state = bench.state.moved(config, Abilities { objects: true, write: true }, bench.now);
    assert_eq!(bench.work(), [(AddressVerb::Delete, 1, OURS.to_owned())]);
}
