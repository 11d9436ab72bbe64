//! What the interop tests, the benchmark and the demo stand on: hosts made of network namespaces,
//! daemons run inside them, drivers for five BGP implementations, for etcd, containerd and Margay
//! itself, texts of resources, a reader and replayer of recorded updates, golden files and an order
//! permuter.
//!
//! Promises: everything made here has a name of its own, is taken away on drop, and what a run
//! that was killed left behind is swept by the next one. Processes are ended by the ids started
//! here, never by name; what a containerd left behind, by our own folder in its command line. The kit
//! knows no crate of the workspace, so any of them may use it.

pub mod bgp;
pub mod certificates;
pub mod containerd;
pub mod etcd;
pub mod golden;
pub mod kernel;
pub mod lab;
pub mod margay;
pub mod mrt;
pub mod order;
pub mod peer;
pub mod pods;
pub mod process;
pub mod replay;
pub mod resources;
mod sys;
pub mod tap;
pub mod trap;
pub mod wait;

pub use containerd::Containerd;
pub use lab::{Host, Lab, guard_folder};
pub use margay::Margay;
pub use pods::Pods;
pub use process::Daemon;
pub use tap::Tap;
pub use trap::Trap;
pub use wait::{until, until_some};

/// True when the test may make network namespaces. When not, says so on the terminal itself
/// (past the capture of the test harness), so a run without root never looks like a full one.
pub fn have_root(test: &str) -> bool {
    use std::io::Write;
    if sys::effective_uid() == 0 {
        return true;
    }
    // A terminal that went away is no reason to fail the test.
    let _ = writeln!(std::io::stderr(), "SKIPPED (needs root): {test}");
    false
}
