//! Clusters in virtual time: crashes at every write, lost and late news, twins, clocks that jump.
//!
//! Whatever happens: no address twice, no address lost, no block with two owners, and it goes on.
//! `MARGAY_SIM_CASES=1000000 cargo test -p margay-ipam --test sim` runs more of it; a failing case
//! names its seed, and `MARGAY_SIM_SEED=n` runs that one alone.

mod store;
mod truth;
mod world;

mod chaos;
mod crash;
mod crowd;
mod deaf;
mod load;
mod names;
