//! Addresses asked for by name.
//!
//! Whoever names an address gets it although it is reserved or cooling down: reservations hold for
//! automatic assignment only, and a cool-down is there to keep strangers away, not a pod that comes
//! back for its own.

use std::net::IpAddr;

use super::{Answer, Draft, Grant, Request, assign, choose};
use crate::{
    block::{Block, BlockState, Slot},
    error::{IpamError, MOST_AT_ONCE},
    net,
};

pub(super) fn assign(
    draft: &mut Draft<'_>,
    request: &Request,
    addresses: &[IpAddr],
) -> Result<Answer, IpamError> {
    if addresses.is_empty() || addresses.len() > MOST_AT_ONCE {
        return Err(IpamError::Count(addresses.len()));
    }
    let grants: Result<Vec<Grant>, IpamError> =
        addresses.iter().map(|address| one(draft, request, *address)).collect();
    Ok(Answer::Assigned(grants?))
}

fn one(draft: &mut Draft<'_>, request: &Request, address: IpAddr) -> Result<Grant, IpamError> {
    let world = draft.world;
    let pool = world.pools.of(address).ok_or(IpamError::OutsidePools(address))?;
    if !request.pools.is_empty()
        && !request.pools.iter().any(|name| world.pools.find(name) == Some(pool))
    {
        return Err(IpamError::OutsidePools(address));
    }
    if let Some(why) = choose::why_unusable(pool, request) {
        return Err(IpamError::UnfitPool { pool: pool.name.clone(), why });
    }
    let place = net::around(address, pool.block_size).ok_or(IpamError::OutsidePools(address))?;
    let bad = |why: &str| IpamError::Block { block: place, why: why.to_owned() };
    // The block around the address: one of this plan, one of the view, or a new one.
    let cidr = if draft.block(place).is_some() {
        place
    } else if let Some(there) = world.view.overlaps(place).find(|net| net.contains(&address)) {
        there
    } else if world.view.overlapping(place).is_some() {
        return Err(bad("its place is taken by blocks of another size"));
    } else {
        let block = Block::new(&pool.name, place, world.host.clone(), world.now)
            .map_err(|error| bad(&error.to_string()))?;
        draft.create(block);
        place
    };
    let block = draft.block(cidr).ok_or_else(|| bad("it cannot be read"))?;
    let ordinal = block.ordinal(address).ok_or(IpamError::OutsidePools(address))?;
    let held = assign::held(draft, request);
    let take_over = match block.slot(ordinal) {
        Some(Slot::Held(there)) if request.reuse && there.handle == request.handle => {
            let grant = assign::grant(draft, block, address, there);
            draft.rely_on(cidr);
            return Ok(grant);
        }
        Some(Slot::Held(there)) if Some(&there.handle) == request.replaces.as_ref() => true,
        Some(Slot::Held(there)) => {
            return Err(IpamError::Taken {
                address,
                handle: there.handle.clone(),
                node: there.node.clone(),
            });
        }
        _ => false,
    };
    if world.busy.contains(&address) && !take_over {
        return Err(IpamError::InUse(address));
    }
    if block.state() != BlockState::Active {
        return Err(IpamError::Block { block: cidr, why: "it is being emptied".into() });
    }
    if world.view.is_contested(cidr) {
        return Err(IpamError::Block { block: cidr, why: "it overlaps another block".into() });
    }
    if world.settings.strict_affinity && !block.is_owned_by(world.host) {
        let owner = block.owner().map_or_else(|| "nobody".to_owned(), |o| format!("node {o}"));
        return Err(IpamError::Affinity { address, block: cidr, owner });
    }
    if block.room_for(&held) == 0 {
        let why = "those who hold its addresses have such long names that it takes no more".into();
        return Err(IpamError::Block { block: cidr, why });
    }
    let block = draft.edit(cidr).ok_or_else(|| bad("it cannot be read"))?;
    if take_over {
        block.hand_over(ordinal, &held);
    } else {
        block.assign_exactly(ordinal, &held);
    }
    let block = draft.block(cidr).ok_or_else(|| bad("it cannot be read"))?;
    let held = block.held.get(&ordinal).ok_or_else(|| bad("it cannot be read"))?;
    Ok(assign::grant(draft, block, address, held))
}
