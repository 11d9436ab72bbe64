//! Addresses and blocks given back.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use margay_model::Revision;

use super::{Answer, Draft, Release};
use crate::{
    block::{NodeName, Ordinal, Slot},
    error::IpamError,
    gc,
    pool::Pools,
    view::View,
};

/// Releases what is named. Everything is looked at before anything is changed: a single assignment
/// that is not the one meant stops them all.
pub(super) fn release(draft: &mut Draft<'_>, releases: &[Release]) -> Result<Answer, IpamError> {
    let mut places: BTreeSet<(IpNet, Ordinal)> = BTreeSet::new();
    let mut absent = Vec::new();
    for release in releases {
        match release {
            Release::Address { address, handle, serial } => {
                let Some((cidr, ordinal)) = place(draft, *address) else {
                    absent.push(*address);
                    continue;
                };
                let slot = draft.block(cidr).and_then(|block| block.slot(ordinal));
                let Some(Slot::Held(held)) = slot else {
                    absent.push(*address);
                    continue;
                };
                let other = handle.as_ref().is_some_and(|handle| *handle != held.handle)
                    || serial.is_some_and(|serial| serial != held.serial);
                if other {
                    let handle = held.handle.clone();
                    return Err(IpamError::Stale { address: *address, handle });
                }
                places.insert((cidr, ordinal));
            }
            Release::Handle(handle) => {
                places.extend(draft.held_by(handle).into_iter().map(|(cidr, at, _)| (cidr, at)));
            }
            Release::Owner(attributes) => {
                places.extend(of_owner(draft, attributes));
            }
        }
    }
    let (now, cooldown) = (draft.world.now, draft.world.settings.cooldown);
    let mut addresses: Vec<IpAddr> = Vec::new();
    for (cidr, ordinal) in places {
        let Some(block) = draft.edit(cidr) else { continue };
        if block.release(ordinal, now, cooldown) {
            addresses.push(block.address(ordinal));
        }
    }
    Ok(Answer::Released { addresses, absent })
}

/// Where an address lies.
fn place(draft: &Draft<'_>, address: IpAddr) -> Option<(IpNet, Ordinal)> {
    let of = |cidr: IpNet| Some((cidr, draft.block(cidr)?.ordinal(address)?));
    draft.world.view.overlaps(IpNet::from(address)).find_map(of).or_else(|| {
        let pool = draft.world.pools.of(address)?;
        of(crate::net::around(address, pool.block_size)?)
    })
}

/// The blocks, there or not, of those addresses that are not held as the releases name them.
pub(crate) fn unknown(view: &View, pools: &Pools, releases: &[Release]) -> BTreeSet<IpNet> {
    let mut blocks = BTreeSet::new();
    for release in releases {
        let Release::Address { address, handle, serial } = release else { continue };
        let there = view.overlaps(IpNet::from(*address)).next();
        let held = there.and_then(|cidr| {
            let (_, block) = view.block(cidr)?;
            match block.slot(block.ordinal(*address)?) {
                Some(Slot::Held(held)) => Some(held),
                _ => None,
            }
        });
        let known = held.is_some_and(|held| {
            handle.as_ref().is_none_or(|handle| *handle == held.handle)
                && serial.is_none_or(|serial| serial == held.serial)
        });
        if !known {
            let by_pool = || crate::net::around(*address, pools.of(*address)?.block_size);
            blocks.extend(there.or_else(by_pool));
        }
    }
    blocks
}

/// All assignments whose attributes have all of these; none for no attributes.
fn of_owner(draft: &Draft<'_>, attributes: &BTreeMap<String, String>) -> Vec<(IpNet, Ordinal)> {
    if attributes.is_empty() {
        return Vec::new();
    }
    let mut places = Vec::new();
    for cidr in draft.world.view.entries().map(|(cidr, _)| cidr) {
        let Some(block) = draft.block(cidr) else { continue };
        let matching = block.held().filter(|(_, held)| {
            attributes.iter().all(|(name, value)| held.attributes.get(name) == Some(value.as_str()))
        });
        places.extend(matching.map(|(ordinal, _)| (cidr, ordinal)));
    }
    places
}

/// Gives up an empty block that nobody has touched since it was looked at.
pub(super) fn give_up(draft: &mut Draft<'_>, cidr: IpNet, seen: Revision) -> Answer {
    let (now, cooldown) = (draft.world.now, draft.world.settings.cooldown);
    let same = draft.world.view.block(cidr).is_some_and(|(revision, _)| revision == seen);
    let empty = draft.block(cidr).is_some_and(|block| block.is_empty(now, cooldown));
    if same && empty {
        draft.delete(cidr);
        return Answer::Blocks(1);
    }
    Answer::Blocks(0)
}

/// A node is gone: what is empty goes, what is not loses its owner and is there to be taken over.
pub(super) fn node(draft: &mut Draft<'_>, node: &NodeName) -> Answer {
    let blocks: Vec<IpNet> = draft.world.view.of_node(node).map(|block| block.cidr()).collect();
    let (now, cooldown) = (draft.world.now, draft.world.settings.cooldown);
    let mut changed = 0;
    for cidr in blocks {
        let owned = draft.block(cidr).and_then(|block| block.owner());
        if owned.is_none_or(|owner| owner.node != *node) {
            continue;
        }
        let Some(block) = draft.edit(cidr) else { continue };
        changed += 1;
        if block.is_empty(now, cooldown) {
            draft.delete(cidr);
        } else {
            block.set_owner(None, now);
        }
    }
    Answer::Blocks(changed)
}

/// Blocks of an earlier instance of this node, and leftovers of nobody in use here, become ours with
/// all that is held in them.
pub(super) fn adopt(draft: &mut Draft<'_>) -> Answer {
    let (host, now) = (draft.world.host, draft.world.now);
    let blocks: Vec<IpNet> = gc::orphans(draft.world.view, host).collect();
    let mut changed = 0;
    for cidr in blocks {
        if let Some(block) = draft.edit(cidr) {
            block.set_owner(Some(host.clone()), now);
            changed += 1;
        }
    }
    Answer::Blocks(changed)
}
