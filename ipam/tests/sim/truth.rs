//! What must be true once everything has come to rest.

use std::{collections::BTreeMap, net::IpAddr};

use margay_ipam::{
    Handle, UnixMillis,
    check::{Facts, Used, check},
};

use crate::world::{World, secs};

/// How long until leases have ended, grace has passed and everything has cooled down.
pub fn settle(world: &mut World) {
    world.wire = crate::world::Wire::default();
    for node in 0..world.nodes.len() {
        if world.nodes[node].exists {
            world.start(node);
        }
    }
    world.run(secs(140));
}

/// `check` of every daemon has nothing to say, with all that lives as evidence.
pub fn assert_clean(world: &World, what: &str) {
    let there = || world.nodes.iter().filter(|node| node.exists);
    let nodes = there().map(|node| node.name.clone()).collect();
    let mut used = Vec::new();
    for node in there() {
        for (handle, addresses) in &node.pods {
            used.extend(addresses.iter().map(|address| Used {
                address: *address,
                handle: handle.clone(),
                node: node.name.clone(),
                attributes: BTreeMap::new(),
            }));
        }
    }
    for node in &world.nodes {
        let Some(daemon) = &node.daemon else { continue };
        let report = check(Facts {
            view: daemon.view(),
            pools: &world.pools,
            settings: &world.settings,
            gone: &daemon.gone(world.now),
            nodes: Some(&nodes),
            used: Some(&used),
            pools_missing: false,
            now: UnixMillis(u64::MAX / 2),
        });
        assert!(report.problems.is_empty(), "{what}: {} finds {:#?}", node.name, report.problems);
    }
}

/// No address twice, none lost, no block with two owners, all views true.
pub fn assert_whole(world: &World, what: &str) {
    for node in &world.nodes {
        assert!(node.adding.is_empty(), "{what}: {} never answers {:?}", node.name, node.adding);
        assert!(node.spool.is_empty(), "{what}: {} never releases {:?}", node.name, node.spool);
    }
    let mut held: BTreeMap<IpAddr, Handle> = BTreeMap::new();
    let blocks = world.blocks();
    for (_, block) in &blocks {
        for (at, entry) in block.held() {
            let address = block.address(at);
            let twice = held.insert(address, entry.handle.clone());
            assert!(twice.is_none(), "{what}: {address} is in two blocks");
        }
    }
    let mut live: BTreeMap<IpAddr, Handle> = BTreeMap::new();
    for node in &world.nodes {
        for (handle, addresses) in &node.pods {
            for address in addresses {
                let twice = live.insert(*address, handle.clone());
                assert!(twice.is_none(), "{what}: two pods have {address}");
            }
        }
    }
    for (address, handle) in &live {
        assert_eq!(held.get(address), Some(handle), "{what}: {address} of a live pod");
    }
    for (address, handle) in &held {
        assert_eq!(live.get(address), Some(handle), "{what}: {address} is lost");
    }
    for (at, (_, a)) in blocks.iter().enumerate() {
        for (_, b) in blocks.iter().skip(at + 1) {
            let overlap = a.cidr().contains(&b.cidr()) || b.cidr().contains(&a.cidr());
            assert!(!overlap, "{what}: {} and {} overlap", a.cidr(), b.cidr());
        }
    }
    for (_, block) in &blocks {
        let Some(owner) = block.owner() else { continue };
        let mut lives = world.nodes.iter().filter(|node| node.name == owner.node && node.exists);
        // A name may have two daemons, of which one refuses to work.
        let adopted = lives.clone().any(|node| node.instance == owner.instance);
        let working = lives.any(|node| node.daemon.as_ref().is_some_and(|it| it.is_ready()));
        assert!(adopted || !working, "{what}: {} is not adopted by {owner}", block.cidr());
    }
    for node in &world.nodes {
        let Some(daemon) = &node.daemon else { continue };
        let stored: Vec<_> = blocks
            .iter()
            .filter(|(_, block)| {
                block.owner().is_some_and(|o| o.node == node.name && o.instance == node.instance)
            })
            .map(|(_, block)| block.cidr())
            .collect();
        let told: Vec<_> = node.owned.iter().copied().collect();
        assert_eq!(told, stored, "{what}: what {} announces", node.name);
        let seen: Vec<_> = daemon.view().blocks().map(|block| block.as_ref().clone()).collect();
        let there: Vec<_> = blocks.iter().map(|(_, block)| block.clone()).collect();
        assert_eq!(seen, there, "{what}: the view of {}", node.name);
        assert_eq!(daemon.pending(), 0, "{what}: {} still waits", node.name);
    }
}
