//! Addresses for a request: from blocks of this node, then from a new one, then from what others
//! left, then from what others have.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{Answer, Draft, Grant, Request, Want, World, choose, explicit};
use crate::{
    block::{Block, BlockState, Held, Ordinal},
    error::{IpamError, MOST_AT_ONCE},
    net::{self, Family},
    pool::Pool,
};

/// An empty block of another node may be taken over when it was claimed at least so long ago, so
/// that two nodes do not take a block from each other before one has used it.
const SETTLED: Duration = Duration::from_secs(60);

pub(super) fn assign(
    draft: &mut Draft<'_>,
    request: &Request,
    attempt: u32,
) -> Result<Answer, IpamError> {
    let (v4, v6) = match &request.want {
        Want::Exactly(addresses) => return explicit::assign(draft, request, addresses),
        Want::Any { v4, v6 } => (*v4, *v6),
    };
    if v4.saturating_add(v6) == 0 || v4.max(v6) > MOST_AT_ONCE {
        return Err(IpamError::Count(v4.max(v6)));
    }
    let mut grants = Vec::new();
    for (family, n) in [(Family::V4, v4), (Family::V6, v6)] {
        if n > 0 {
            grants.extend(family_of(draft, request, family, n, attempt)?);
        }
    }
    Ok(Answer::Assigned(grants))
}

/// What is written down for each address of a request.
pub(super) fn held(draft: &Draft<'_>, request: &Request) -> Held {
    Held {
        handle: request.handle.clone(),
        node: draft.world.host.node.clone(),
        serial: 0,
        since: draft.world.now,
        attributes: request.attributes.clone().into(),
    }
}

/// The answer for one address of a block.
pub(super) fn grant(draft: &Draft<'_>, block: &Block, address: IpAddr, held: &Held) -> Grant {
    let pool = draft.world.pools.of_block(block.cidr());
    Grant {
        address,
        block: block.cidr(),
        pool: pool.map_or(block.pool(), |pool| pool.name.as_str()).to_owned(),
        handle: held.handle.clone(),
        node: held.node.clone(),
        serial: held.serial,
        borrowed: block.owner().is_none_or(|owner| owner.node != held.node),
    }
}

/// One request and one family on their way.
struct Search<'a, 'w> {
    draft: &'a mut Draft<'w>,
    pools: Vec<&'w Pool>,
    held: Held,
    need: usize,
    grants: Vec<Grant>,
}

fn family_of(
    draft: &mut Draft<'_>,
    request: &Request,
    family: Family,
    n: usize,
    attempt: u32,
) -> Result<Vec<Grant>, IpamError> {
    let pools = choose::pools(draft.world, request, family)?;
    let held = held(draft, request);
    let mut search = Search { draft, pools, held, need: n, grants: Vec::new() };
    if request.reuse {
        search.reuse(family);
    }
    search.take_own();
    let mut stopped = None;
    if search.need > 0 {
        stopped = search.claim(attempt).err();
    }
    if search.need > 0 && stopped.is_none() {
        search.take_over();
    }
    if search.need > 0 && !search.draft.world.settings.strict_affinity {
        search.borrow();
    }
    if search.need > 0 {
        return Err(stopped.unwrap_or_else(|| search.full(n)));
    }
    Ok(search.grants)
}

impl Search<'_, '_> {
    /// Counts what the handle already holds on this node.
    fn reuse(&mut self, family: Family) {
        for (cidr, ordinal, held) in self.draft.held_by(&self.held.handle) {
            let here = held.node == self.held.node && Family::of_net(cidr) == family;
            let Some(block) = self.draft.block(cidr).filter(|_| here && self.need > 0) else {
                continue;
            };
            let grant = grant(self.draft, block, block.address(ordinal), &held);
            self.grants.push(grant);
            self.draft.rely_on(cidr);
            self.need -= 1;
        }
    }

    /// From blocks of this node, lowest first.
    fn take_own(&mut self) {
        for cidr in self.draft.own() {
            if self.need == 0 {
                break;
            }
            if self.is_usable(cidr) {
                self.take(cidr);
            }
        }
    }

    /// How many blocks this node owns in the pools of this request.
    fn owned(&self) -> u32 {
        let own = self.draft.own().into_iter().filter(|cidr| self.pool(*cidr).is_some());
        u32::try_from(own.count()).unwrap_or(u32::MAX)
    }

    /// From blocks nobody has yet. `Err` if more could be claimed but not by this node.
    fn claim(&mut self, attempt: u32) -> Result<(), IpamError> {
        let world = self.draft.world;
        let (node, settings) = (&world.host.node, world.settings);
        if !settings.auto_allocate_blocks {
            return Err(IpamError::NoAutoAllocate(node.clone()));
        }
        let limit = settings.max_blocks_per_host;
        let mut pools = self.pools.clone().into_iter().peekable();
        while let Some(pool) = pools.peek().filter(|_| self.need > 0) {
            if limit > 0 && self.owned() >= limit {
                return Err(IpamError::BlockLimit { node: node.clone(), limit });
            }
            let refused = |place| self.draft.takes(place) || is_spent(world, place);
            let hole = choose::place(self.draft, pool, attempt, refused);
            let block = hole
                .and_then(|hole| Block::new(&pool.name, hole, world.host.clone(), world.now).ok());
            let Some(block) = block else {
                pools.next();
                continue;
            };
            let (cidr, need) = (block.cidr(), self.need);
            self.draft.create(block);
            self.take(cidr);
            if self.need == need {
                pools.next();
            }
        }
        Ok(())
    }

    /// From blocks without an owner, then from blocks others own and do not use.
    fn take_over(&mut self) {
        let world = self.draft.world;
        let limit = world.settings.max_blocks_per_host;
        let cooldown = world.settings.cooldown;
        let (mut leftover, mut idle) = (Vec::new(), Vec::new());
        for cidr in self.of_pools() {
            let Some(block) = self.draft.block(cidr) else { continue };
            match block.owner() {
                None => leftover.push(cidr),
                Some(owner) if !world.host.includes(owner) => {
                    let settled = block.claimed().age(world.now).is_some_and(|age| age >= SETTLED);
                    if settled && block.is_empty(world.now, cooldown) {
                        idle.push(cidr);
                    }
                }
                Some(_) => {}
            }
        }
        for cidr in leftover.into_iter().chain(idle) {
            if self.need == 0 || (limit > 0 && self.owned() >= limit) {
                break;
            }
            if !self.is_usable(cidr) || !self.has_room(cidr) {
                continue;
            }
            if let Some(block) = self.draft.edit(cidr) {
                block.set_owner(Some(world.host.clone()), world.now);
            }
            self.take(cidr);
        }
    }

    /// From blocks of other nodes, the one with most room first.
    fn borrow(&mut self) {
        let mut blocks: Vec<(usize, IpNet)> = self
            .of_pools()
            .into_iter()
            .filter(|cidr| self.is_usable(*cidr))
            .map(|cidr| (self.room(cidr), cidr))
            .filter(|(room, _)| *room > 0)
            .collect();
        blocks.sort_by_key(|(room, cidr)| (std::cmp::Reverse(*room), *cidr));
        for (_, cidr) in blocks {
            if self.need == 0 {
                break;
            }
            self.take(cidr);
        }
    }

    /// Takes what is needed, or what there is, from one block.
    fn take(&mut self, cidr: IpNet) {
        if self.need == 0 || !self.has_room(cidr) {
            return;
        }
        let world = self.draft.world;
        let skip = |address| is_skipped(world.reservations, world.busy, address);
        let Some(block) = self.draft.edit(cidr) else { return };
        let taken = block.assign(self.need.min(block.room_for(&self.held)), &self.held, skip);
        self.need -= taken.len();
        let Some(block) = self.draft.block(cidr) else { return };
        for ordinal in taken {
            let Some(held) = block.held.get(&ordinal) else { continue };
            self.grants.push(grant(self.draft, block, block.address(ordinal), held));
        }
    }

    /// The pool of this request a block lies in.
    fn pool(&self, cidr: IpNet) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.cidr.contains(&cidr)).copied()
    }

    /// Whether addresses may be taken from a block.
    fn is_usable(&self, cidr: IpNet) -> bool {
        self.pool(cidr).is_some()
            && self.draft.block(cidr).is_some_and(|block| block.state() == BlockState::Active)
            && !self.draft.world.view.is_contested(cidr)
    }

    /// How many addresses can be taken from a block now.
    fn room(&self, cidr: IpNet) -> usize {
        self.available(cidr).count()
    }

    fn has_room(&self, cidr: IpNet) -> bool {
        self.available(cidr).next().is_some()
    }

    fn available(&self, cidr: IpNet) -> impl Iterator<Item = Ordinal> {
        let world = self.draft.world;
        let cooldown = world.settings.cooldown;
        let block = self.draft.block(cidr).filter(|block| block.room_for(&self.held) > 0);
        block.into_iter().flat_map(move |block| {
            let cooled = block
                .cooling()
                .filter(move |(_, since)| since.age(world.now).is_some_and(|age| age >= cooldown))
                .map(|(ordinal, _)| ordinal);
            block
                .free()
                .chain(cooled)
                .filter(move |at| !is_skipped(world.reservations, world.busy, block.address(*at)))
        })
    }

    /// All blocks in the pools of this request that existed before it.
    fn of_pools(&self) -> Vec<IpNet> {
        let view = self.draft.world.view;
        self.pools.iter().flat_map(|pool| view.within(pool.cidr)).collect()
    }

    fn full(&self, wanted: usize) -> IpamError {
        let host = self.draft.world.host;
        let (mut cooling, mut elsewhere) = (0, 0);
        for cidr in self.of_pools() {
            let Some(block) = self.draft.block(cidr) else { continue };
            cooling += block.cooling().count();
            if !block.is_owned_by(host) {
                elsewhere += self.room(cidr);
            }
        }
        let pools = self.pools.iter().map(|pool| pool.name.clone()).collect();
        IpamError::Full { pools, wanted, cooling, elsewhere }
    }
}

/// Whether a place has no address that may be taken, so that a block there would be of no use.
fn is_spent(world: World<'_>, place: IpNet) -> bool {
    let busy = world.busy.iter().filter(|address| place.contains(*address)).count();
    let busy = u128::try_from(busy).unwrap_or(u128::MAX);
    world.reservations.within(place).saturating_add(busy) >= net::size(place)
        && net::addresses(place).all(|at| is_skipped(world.reservations, world.busy, at))
}

fn is_skipped(
    reservations: &crate::pool::Reservations,
    busy: &std::collections::BTreeSet<IpAddr>,
    address: IpAddr,
) -> bool {
    reservations.contains(address) || busy.contains(&address)
}
