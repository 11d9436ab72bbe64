//! Cutting a pool into equal parts.
//!
//! Blocks stay where they are: which pool a block belongs to is decided by its addresses. Everything
//! is checked before anything is written, so a split that cannot be leaves the pool as it was.

use crate::{net, pool::Pool};

/// Why a pool cannot be split so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Not 2, 4, 8, …
    #[error("{0} is no power of two greater than one")]
    Number(u32),
    /// Parts smaller than a block.
    #[error(
        "{parts} parts of pool {pool} would be /{length}, smaller than its blocks (/{block_size})"
    )]
    TooSmall {
        /// The pool.
        pool: String,
        /// How many parts were asked for.
        parts: u32,
        /// How long their prefixes would be.
        length: u32,
        /// How long those of its blocks are.
        block_size: u8,
    },
}

/// The parts of a pool: `split-NAME-0`, `split-NAME-1`, …, alike in everything but name and CIDR.
pub fn split(pool: &Pool, parts: u32) -> Result<Vec<Pool>, SplitError> {
    if parts < 2 || !parts.is_power_of_two() {
        return Err(SplitError::Number(parts));
    }
    let length = u32::from(pool.cidr.prefix_len()) + parts.trailing_zeros();
    let fits = u8::try_from(length).ok().filter(|length| *length <= pool.block_size);
    let Some(length) = fits else {
        return Err(SplitError::TooSmall {
            pool: pool.name.clone(),
            parts,
            length,
            block_size: pool.block_size,
        });
    };
    let (first, _) = net::span(pool.cidr);
    let step = 1_u128 << (pool.cidr.max_prefix_len() - length);
    let part = |index: u32| {
        let at = first + u128::from(index) * step;
        let cidr = net::around(net::address(pool.family(), at), length)?;
        Some(Pool { name: format!("split-{}-{index}", pool.name), cidr, ..pool.clone() })
    };
    Ok((0..parts).filter_map(part).collect())
}

#[cfg(test)]
mod tests;
