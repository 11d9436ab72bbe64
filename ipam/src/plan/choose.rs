//! Which pools a request may use, and where a node begins to look in them.

use super::{Request, World};
use crate::{
    block::NodeName,
    error::{IpamError, Unfit},
    net::Family,
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

/// Where in a pool's grid a node begins to look for a free block: the same place each time, another
/// one for each node, and another one after each lost attempt.
pub(super) fn start(node: &NodeName, attempt: u32) -> u128 {
    let octets = node.as_str().bytes().chain(attempt.to_be_bytes());
    // FNV-1a, then a finaliser (MurmurHash3's): names that differ in their last digit would begin
    // side by side otherwise.
    let mut hash = octets.fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    u128::from(hash ^ (hash >> 33))
}
