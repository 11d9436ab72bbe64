//! How many claims a block takes when many nodes want blocks of one pool at once: `cargo run
//! --profile lab -p margay-ipam --example claims -- [NODES] [BLOCKS A NODE] [POOL]`.
//!
//! The cluster is the one of the simulation, in virtual time: whatever is asked for must be answered
//! and every view must be right in the end.

#![allow(dead_code, unused_imports, reason = "only a part of the simulation is played here")]
#![allow(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

#[path = "../tests/sim/load.rs"]
mod load;
#[path = "../tests/sim/store.rs"]
mod store;
#[path = "../tests/sim/truth.rs"]
mod truth;
#[path = "../tests/sim/world.rs"]
mod world;

use std::time::Instant;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |or| arguments.next().map_or(or, |text| text.parse().expect("a number"));
    let (nodes, each) = (number(200), number(25));
    // Of single addresses as blocks, filled to six tenths.
    let pool = arguments.next().unwrap_or_else(|| "10.0.0.0/19".to_owned());
    let start = Instant::now();
    load::claims_per_block(nodes, each, &pool);
    println!("simulated: seconds={:.1}", start.elapsed().as_secs_f64());
}
