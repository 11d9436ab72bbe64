use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    block::{Block, Held},
    pool::Pool,
    time::UnixMillis,
    view::Stored,
};

struct Lab {
    host: Owner,
    view: View,
    pools: Pools,
    settings: Settings,
    leases: Leases,
    revision: u64,
    collector: Collector,
}

const GRACE: Duration = Duration::from_secs(60);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn held(handle: &str, node: &str, attributes: &[(&str, &str)]) -> Held {
    let pairs = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let map: BTreeMap<String, String> = pairs.collect();
    Held {
        handle: handle.try_into().unwrap(),
        node: node.try_into().unwrap(),
        serial: 0,
        since: UnixMillis(1),
        attributes: map.into(),
    }
}

fn pod(handle: &str, node: &str) -> Held {
    held(handle, node, &[("pod", handle), ("namespace", "n")])
}

impl Lab {
    fn new() -> Self {
        let host = Owner { node: "n1".try_into().unwrap(), instance: "one".try_into().unwrap() };
        let pool = Pool::new("a", "10.0.0.0/28".parse().unwrap(), 30).unwrap();
        let mut lab = Self {
            host,
            view: View::default(),
            pools: Pools::new([pool]),
            settings: Settings { cooldown: Duration::ZERO, ..Settings::default() },
            leases: none(),
            revision: 0,
            collector: Collector::default(),
        };
        lab.lease("n1");
        lab
    }

    /// A node takes its lease.
    fn lease(&mut self, node: &str) {
        self.revision += 1;
        let at = Revision(self.revision);
        self.leases.apply(&node.try_into().unwrap(), Some(at), at, secs(0));
    }

    /// Its lease ends then.
    fn lease_ends(&mut self, node: &str, now: u64) {
        self.revision += 1;
        let at = Revision(self.revision);
        self.leases.apply(&node.try_into().unwrap(), None, at, secs(now));
    }

    fn block(&mut self, cidr: &str, node: &str, helds: &[Held]) {
        let owner = Owner { node: node.try_into().unwrap(), instance: "one".try_into().unwrap() };
        let mut block = Block::new("a", cidr.parse().unwrap(), owner, UnixMillis(1)).unwrap();
        block.begin(UnixMillis(1), Duration::ZERO);
        for held in helds {
            block.assign(1, held, |_| false);
        }
        self.revision += 1;
        self.view.put(block.cidr(), Revision(self.revision), Stored::Sound(Arc::new(block)));
    }

    fn scene(&self, at: u64) -> Scene<'_> {
        Scene {
            host: &self.host,
            view: &self.view,
            pools: &self.pools,
            settings: &self.settings,
            leases: &self.leases,
            now: Now { wall: UnixMillis(at * 1000), steady: secs(at) },
            grace: GRACE,
        }
    }

    /// The addresses a collector releases that looks at these times.
    fn leaks(&mut self, evidence: &Evidence, times: &[u64]) -> Vec<String> {
        let mut collector = std::mem::take(&mut self.collector);
        let mut asks = Vec::new();
        for at in times {
            let evidence = Evidence { taken: secs(*at), ..evidence.clone() };
            asks = collector.leaks(self.scene(*at), &evidence, &BTreeSet::new());
        }
        asks.iter().flat_map(addresses).collect()
    }
}

/// It is known for long that there are no leases; one that ends lasts a thousand seconds more.
fn none() -> Leases {
    let mut leases = Leases::new(secs(1000));
    leases.replace(&[], Revision(0), secs(0));
    leases
}

fn addresses(ask: &Ask) -> Vec<String> {
    let Ask::Release(releases) = ask else { return Vec::new() };
    let one = |release: &Release| match release {
        Release::Address { address, handle: Some(_), serial: Some(_) } => address.to_string(),
        other => panic!("a release must name its assignment: {other:?}"),
    };
    releases.iter().map(one).collect()
}

fn journal(entries: &[(&str, Option<&str>)]) -> Evidence {
    let entry = |(handle, address): &(&str, Option<&str>)| {
        let addresses = address.map(|address| [address.parse().unwrap()].into());
        ((*handle).try_into().unwrap(), addresses)
    };
    Evidence { attachments: entries.iter().map(entry).collect(), ..Evidence::default() }
}

#[test]
fn what_nothing_here_uses_is_released_after_its_grace_and_not_before() {
    let mut lab = Lab::new();
    lab.block("10.0.0.0/30", "n1", &[pod("h", "n1"), pod("i", "n1")]);
    let evidence = journal(&[("h", Some("10.0.0.0"))]);
    assert_eq!(lab.leaks(&evidence, &[0, 59]), Vec::<String>::new());
    assert_eq!(lab.leaks(&evidence, &[0, 60]), ["10.0.0.1"]);
    assert_eq!(lab.leaks(&evidence, &[60]), Vec::<String>::new(), "one look proves nothing");
}

#[test]
fn a_live_link_vetoes_even_if_the_journal_is_lost() {
    let mut lab = Lab::new();
    lab.block("10.0.0.0/30", "n1", &[pod("h", "n1"), pod("h", "n1"), pod("i", "n1")]);
    let addresses = ["10.0.0.1".parse().unwrap()].into();
    let evidence = Evidence { addresses, ..Evidence::default() };
    assert_eq!(lab.leaks(&evidence, &[0, 60]), ["10.0.0.2"], "all of a handle or none");
}

#[test]
fn what_is_being_set_up_or_worked_on_is_spared() {
    let mut lab = Lab::new();
    lab.block("10.0.0.0/30", "n1", &[pod("h", "n1"), pod("i", "n1")]);
    assert_eq!(lab.leaks(&journal(&[("h", None)]), &[0, 60]), ["10.0.0.1"]);
    let spared = ["i".try_into().unwrap()].into();
    let mut collector = Collector::default();
    for at in [0, 60, 120] {
        let evidence = Evidence { taken: secs(at), ..journal(&[("h", None)]) };
        assert_eq!(collector.leaks(lab.scene(at), &evidence, &spared), []);
    }
}

#[test]
fn an_address_a_live_attachment_was_never_told_of_is_released() {
    let mut lab = Lab::new();
    lab.block("10.0.0.0/30", "n1", &[pod("h", "n1"), pod("h", "n1")]);
    let evidence = journal(&[("h", Some("10.0.0.1"))]);
    assert_eq!(lab.leaks(&evidence, &[0, 60]), ["10.0.0.0"]);
}

#[test]
fn tunnels_users_words_and_other_nodes_are_left_alone() {
    let mut lab = Lab::new();
    let tunnel = held("t", "n1", &[("type", "vxlanTunnelAddress")]);
    lab.block("10.0.0.0/30", "n1", &[tunnel, held("cli", "n1", &[]), pod("far", "n2")]);
    lab.block("10.0.0.4/30", "n1", &[pod("both", "n1"), pod("both", "n2")]);
    assert_eq!(lab.leaks(&Evidence::default(), &[0, 60, 120]), Vec::<String>::new());
}

#[test]
fn an_empty_block_is_given_up_after_its_grace_but_never_the_last() {
    let mut lab = Lab::new();
    lab.block("10.0.0.0/30", "n1", &[]);
    lab.block("10.0.0.4/30", "n1", &[]);
    let mut collector = Collector::default();
    assert_eq!(collector.idle_blocks(lab.scene(0)), []);
    assert_eq!(collector.idle_blocks(lab.scene(59)), []);
    assert_eq!(collector.idle_blocks(lab.scene(60)).len(), 1, "one of the two");
    lab.view.remove("10.0.0.0/30".parse().unwrap(), Revision(99));
    assert_eq!(collector.idle_blocks(lab.scene(200)), []);
    // In a pool that does not serve this node any more none is kept.
    let mut pool = Pool::new("a", "10.0.0.0/28".parse().unwrap(), 30).unwrap();
    pool.selects_node = false;
    lab.pools = Pools::new([pool]);
    assert_eq!(collector.idle_blocks(lab.scene(200)).len(), 1);
}

#[test]
fn a_block_written_meanwhile_waits_anew() {
    let mut lab = Lab::new();
    lab.block("10.0.0.0/30", "n1", &[]);
    lab.block("10.0.0.4/30", "n1", &[]);
    let mut collector = Collector::default();
    collector.idle_blocks(lab.scene(0));
    lab.block("10.0.0.0/30", "n1", &[]);
    lab.block("10.0.0.4/30", "n1", &[]);
    assert_eq!(collector.idle_blocks(lab.scene(60)), []);
}

#[test]
fn a_gone_node_is_cleaned_up_behind_by_the_first_of_the_living() {
    let mut lab = Lab::new();
    lab.block(
        "10.0.0.0/30",
        "gone",
        &[pod("h", "gone"), held("t", "gone", &[("type", "ipipTunnelAddress")])],
    );
    lab.block("10.0.0.4/30", "n1", &[pod("i", "gone"), held("cli", "gone", &[])]);
    let nodes = BTreeMap::from([("gone".try_into().unwrap(), secs(1000))]);
    let collector = Collector::default();
    let asks = collector.departed(lab.scene(1001), &nodes);
    let released: Vec<String> = asks.iter().flat_map(addresses).collect();
    assert_eq!(released, ["10.0.0.0", "10.0.0.4", "10.0.0.1"]);
    assert!(asks.contains(&Ask::ReleaseNode("gone".try_into().unwrap())));
    lab.lease("a-first");
    assert_eq!(collector.departed(lab.scene(1001), &nodes), [], "another one does it");
    assert_eq!(collector.departed(lab.scene(1060), &nodes), asks, "it does not know");
}

#[test]
fn a_deleted_node_whose_lease_lives_keeps_everything_and_so_does_a_dead_one_that_exists() {
    let mut lab = Lab::new();
    lab.block("10.0.0.0/30", "n2", &[pod("h", "n2")]);
    let collector = Collector::default();
    let alone = BTreeMap::from([("n2".try_into().unwrap(), secs(1000))]);
    lab.lease("n2");
    assert_eq!(collector.departed(lab.scene(9000), &alone), []);
    lab.lease_ends("n2", 9000);
    assert_eq!(collector.departed(lab.scene(9999), &alone), [], "it may come back");
    assert_eq!(collector.departed(lab.scene(10_000), &alone).len(), 2);
    assert_eq!(collector.departed(lab.scene(10_000), &BTreeMap::new()), []);
}

#[test]
fn a_leftover_in_use_here_is_an_orphan_of_ours() {
    let mut lab = Lab::new();
    lab.block("10.0.0.0/30", "n1", &[pod("h", "n1")]);
    assert!(!Collector::has_orphans(lab.scene(0)));
    let (_, block) = lab.view.block("10.0.0.0/30".parse().unwrap()).unwrap();
    let mut block = block.as_ref().clone();
    block.set_owner(None, UnixMillis(1));
    lab.view.put(block.cidr(), Revision(50), Stored::Sound(Arc::new(block)));
    assert!(Collector::has_orphans(lab.scene(0)));
}
