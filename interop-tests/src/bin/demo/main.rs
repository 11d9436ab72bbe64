//! `cargo xtask demo`: Margay at work among real routers, in three acts: a router in a fabric, the
//! nodes of a cluster, and the pods on them. Everything lives in network namespaces and is gone afterwards.

use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use testkit::{Margay, have_root};

mod cluster;
mod pods;
mod router;

/// How long anything may take to settle.
const SOON: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    if !have_root("the demo") {
        return ExitCode::FAILURE;
    }
    let start = Instant::now();
    match router::play().and_then(|()| cluster::play()).and_then(|()| pods::play()) {
        Ok(()) => {
            println!("\nEverything is cleaned away. {:.1} s.", start.elapsed().as_secs_f32());
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("error: {e:?}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command of `margay` as a reader would, and shows at most `lines` of the answer.
fn run(margay: &Margay, arguments: &[&str], lines: usize) -> Result<()> {
    println!("\n{}$ margay {}", margay.host().name(), arguments.join(" "));
    for line in margay.text(arguments)?.lines().take(lines) {
        println!("    {line}");
    }
    // Time to read along, where somebody does.
    thread::sleep(Duration::from_millis(300));
    Ok(())
}

fn step(text: &str) {
    println!("\n==> {text}");
}
