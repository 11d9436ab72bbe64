//! `cargo xtask bench cni`: pods through the CNI plugin, beside the reference plugins.
//!
//! Plugins are called as a runtime does it, a process a call, and timed from its start to its end.

mod part;
mod pods;

use std::process::{Command, ExitCode};

use interop_tests::{bench::Bench, docs};

fn main() -> ExitCode {
    let bench = Bench {
        name: "cni",
        about: "Pods through the CNI plugin, as root",
        parts: &[
            ("floor", part::floor),
            ("burst", part::burst),
            ("sequence", part::sequence),
            ("many", part::many),
        ],
        others: || vec![reference()],
        section: docs::CNI,
    };
    bench.main()
}

/// Which reference plugins took part.
fn reference() -> String {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${Version}", "containernetworking-plugins"]);
    let output = query.output().ok().filter(|output| output.status.success());
    match output {
        Some(output) => {
            let version = String::from_utf8_lossy(&output.stdout);
            format!("reference: bridge and host-local of containernetworking-plugins {version}")
        }
        None => "reference: none, containernetworking-plugins is not installed".to_owned(),
    }
}
