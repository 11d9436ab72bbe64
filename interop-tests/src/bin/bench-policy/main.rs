//! `cargo xtask bench policy`: the marks of network policy.
//!
//! What measures is an example of `margay-policy-dp`, which plays the node's daemon for the real
//! dataplane and loads the same policies as plain rules with `nft -f`, all in network namespaces of
//! its own.

mod part;

use std::process::ExitCode;

use interop_tests::{bench::Bench, docs};

fn main() -> ExitCode {
    let bench = Bench {
        name: "policy",
        about: "The marks of network policy, as root",
        parts: &[("changes", part::changes), ("packets", part::packets)],
        others: Vec::new,
        section: docs::POLICY,
    };
    bench.main()
}
