//! Which pools a request may use, and where a node begins to look in them.

use ipnet::IpNet;

use super::{Draft, Request, World};
use crate::{
    block::NodeName,
    error::{IpamError, Unfit},
    net::{self, Family},
    pool::{AssignmentMode, Pool},
};

/// The pools of a family for a request, by name.
pub(super) fn pools<'w>(
    world: World<'w>,
    request: &Request,
    family: Family,
) -> Result<Vec<&'w Pool>, IpamError> {
    if !request.pools.is_empty() {
        return named(world, request, family);
    }
    let of_family = world.pools.iter().filter(|pool| pool.family() == family);
    let (mut fit, mut unfit) = (Vec::new(), Vec::new());
    for pool in of_family {
        match why_unfit(pool, request) {
            None => fit.push(pool),
            Some(why) => unfit.push((pool.name.clone(), why)),
        }
    }
    if fit.is_empty() {
        return Err(none(world, request, family, unfit));
    }
    Ok(fit)
}

/// Pools named in a request are used whatever their selectors and mode say, and a name that cannot
/// be used is an error, not skipped.
fn named<'w>(
    world: World<'w>,
    request: &Request,
    family: Family,
) -> Result<Vec<&'w Pool>, IpamError> {
    let mut fit: Vec<&Pool> = Vec::new();
    for name in &request.pools {
        let pool = world.pools.find(name).ok_or_else(|| IpamError::UnknownPool(name.clone()))?;
        if pool.family() != family {
            continue;
        }
        if let Some(why) = why_unusable(pool, request) {
            return Err(IpamError::UnfitPool { pool: pool.name.clone(), why });
        }
        if !fit.iter().any(|known| known.name == pool.name) {
            fit.push(pool);
        }
    }
    if fit.is_empty() {
        let unfit = request.pools.iter().map(|name| (name.clone(), Unfit::Family)).collect();
        return Err(none(world, request, family, unfit));
    }
    Ok(fit)
}

fn none(
    world: World<'_>,
    request: &Request,
    family: Family,
    unfit: Vec<(String, Unfit)>,
) -> IpamError {
    IpamError::NoPool { node: world.host.node.clone(), family, use_: request.use_, unfit }
}

/// Why nobody may use a pool for this.
pub(super) fn why_unusable(pool: &Pool, request: &Request) -> Option<Unfit> {
    if pool.disabled {
        Some(Unfit::Disabled)
    } else if !pool.has_valid_blocks() {
        Some(Unfit::BlockSize)
    } else if !pool.uses.contains(&request.use_) {
        Some(Unfit::Uses)
    } else {
        None
    }
}

fn why_unfit(pool: &Pool, request: &Request) -> Option<Unfit> {
    why_unusable(pool, request).or_else(|| {
        if pool.mode == AssignmentMode::Manual {
            Some(Unfit::Manual)
        } else if !pool.selects_node {
            Some(Unfit::NodeSelector)
        } else if request.not_for_namespace.contains(&pool.name) {
            Some(Unfit::NamespaceSelector)
        } else {
            None
        }
    })
}

/// Where in a pool's grid a node looks for a free block: a row of places, the same each time, others
/// for each node, and others after each lost attempt.
fn probe(node: &NodeName, attempt: u32, probe: u32) -> u128 {
    let numbers = attempt.to_be_bytes().into_iter().chain(probe.to_be_bytes());
    let octets = node.as_str().bytes().chain(numbers);
    // FNV-1a, then a finaliser (MurmurHash3's): names that differ in their last digit would look
    // side by side otherwise.
    let mut hash = octets.fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    u128::from(hash ^ (hash >> 33))
}

/// So many places are tried before the pool is walked through. Walking from the first taken place
/// would lead all who meet at a filled stretch to its one end.
const PROBES: u32 = 8;

/// A place in a pool for a new block: behind the node's youngest one, else where its name says, else
/// the first there is.
pub(super) fn place(
    draft: &Draft<'_>,
    pool: &Pool,
    attempt: u32,
    refused: impl Fn(IpNet) -> bool,
) -> Option<IpNet> {
    let World { host, view, .. } = draft.world;
    let is_free = |place: &IpNet| view.overlapping(*place).is_none() && !refused(*place);
    let next = (attempt == 0).then(|| after_own(draft, pool)).flatten();
    let probes = (0..PROBES)
        .filter_map(|at| pool.block_at(probe(&host.node, attempt, at).checked_rem(pool.blocks())?));
    let walk = || view.hole(pool, probe(&host.node, attempt, PROBES), &refused);
    next.into_iter().chain(probes).find(is_free).or_else(walk)
}

/// The place behind the node's youngest block in a pool. No other node looks there for this reason.
fn after_own(draft: &Draft<'_>, pool: &Pool) -> Option<IpNet> {
    let own = draft
        .own()
        .into_iter()
        .filter(|cidr| pool.cidr.contains(cidr) && cidr.prefix_len() == pool.block_size);
    let claimed = |cidr: &IpNet| draft.block(*cidr).map(|block| block.claimed());
    let youngest = own.max_by_key(|cidr| (claimed(cidr), *cidr))?;
    let (first, _) = net::span(pool.cidr);
    let index = (net::span(youngest).0 - first) / pool.block_addresses();
    pool.block_at(index.checked_add(1)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn nodes_look_in_places_far_apart_and_each_in_the_same_again() {
        let places: BTreeSet<u128> = (0..200)
            .map(|at| probe(&format!("node{at}").as_str().try_into().unwrap(), 0, 0) % 8192)
            .collect();
        assert!(places.len() > 190, "{} different places", places.len());
        let node = "node1".try_into().unwrap();
        assert_eq!(probe(&node, 0, 0), probe(&node, 0, 0));
        assert_ne!(probe(&node, 0, 0), probe(&node, 1, 0));
        assert_ne!(probe(&node, 0, 0), probe(&node, 0, 1));
    }
}
