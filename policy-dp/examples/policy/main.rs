//! What policy costs in a large cluster, by the daemon itself and by rules in the shape of iptables
//! chains beside it: `cargo xtask bench policy`, or `cargo build --profile lab -p margay-policy-dp &&
//! cargo run --profile lab -p margay-policy-dp --example policy`, as root, in network namespaces of
//! its own. Each line is `WHAT: NAME=NUMBER …`.
//!
//! `policy changes [POLICIES ENDPOINTS LOCAL]`: from the event of the stream until the kernel announces
//! its new ruleset, for a pod until the daemon reports it; and how long `nft -f` takes for the same.
//! `policy packets [POLICIES…]`: what a packet costs on a node with so many policies.

#[path = "../../calc/examples/world/mod.rs"]
mod world;

mod changes;
mod hosts;
mod linear;
mod packets;
mod rig;

use std::env;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let mut words = env::args().skip(1);
    let what = words.next().unwrap_or_else(|| "changes".to_owned());
    let numbers = words.map(|word| word.parse()).collect::<Result<Vec<u32>, _>>()?;
    match (what.as_str(), numbers.as_slice()) {
        ("changes", []) => changes::measure(10_000, 10_000, 250),
        ("changes", [policies, endpoints, local]) => {
            changes::measure(*policies, *endpoints, *local)
        }
        ("packets", []) => packets::measure(&[10, 100, 1000, 10_000]),
        ("packets", sizes) => packets::measure(sizes),
        _ => bail!("usage: policy changes [POLICIES ENDPOINTS LOCAL] | packets [POLICIES…]"),
    }
}
