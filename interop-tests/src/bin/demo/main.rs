//! `cargo xtask demo`: Margay at work among real routers, in four acts: a router in a fabric, the
//! nodes of a cluster, the pods on them, and what policy lets through between pods. Everything lives in network namespaces and is gone
//! afterwards. Acts may be named, to see only those: `cargo xtask demo pods`.

use std::{
    env,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use testkit::{Margay, have_root};

mod cluster;
mod pods;
mod policy;
mod router;

/// How long anything may take to settle.
const SOON: Duration = Duration::from_secs(30);

/// Its name, and how it is played.
type Act = (&'static str, fn() -> Result<()>);

/// Every act, in the order they are played in.
const ACTS: [Act; 4] = [
    ("router", router::play),
    ("cluster", cluster::play),
    ("pods", pods::play),
    ("policy", policy::play),
];

fn main() -> ExitCode {
    let wanted: Vec<String> = env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|name| ACTS.iter().all(|(act, _)| act != *name)) {
        let acts = ACTS.map(|(name, _)| name).join(", ");
        eprintln!("error: {unknown:?} is no act; there are {acts}");
        return ExitCode::from(2);
    }
    if !have_root("the demo") {
        return ExitCode::FAILURE;
    }
    let start = Instant::now();
    let played =
        ACTS.iter().filter(|(act, _)| wanted.is_empty() || wanted.iter().any(|name| name == act));
    match played.into_iter().try_for_each(|(_, play)| play()) {
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
