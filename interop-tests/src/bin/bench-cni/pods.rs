//! Calls for many containers, and how long they take.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use interop_tests::runtime::{Container, Runtime};
use serde_json::Value;

/// A call that must succeed: how long it took.
///
/// # Errors
/// When it fails.
pub fn timed(runtime: &Runtime, verb: &str, container: &Container) -> Result<Duration> {
    let answer = runtime.call(verb, container, &Value::Null)?;
    Ok(answer.done(&format!("{verb} {}", container.id))?.took)
}

/// The same call for many at the same moment: how long each took.
///
/// # Errors
/// When one fails.
pub fn at_once(runtime: &Runtime, verb: &str, containers: &[Container]) -> Result<Vec<Duration>> {
    let start = Barrier::new(containers.len());
    let one = |container: &Container| {
        let waited = AtomicBool::new(false);
        let wait = || {
            start.wait();
            waited.store(true, Ordering::Relaxed);
        };
        let answer = runtime.call_after(verb, container, &Value::Null, wait);
        // One that cannot be prepared must not keep the others waiting.
        if !waited.load(Ordering::Relaxed) {
            start.wait();
        }
        Ok(answer?.done(&format!("{verb} {}", container.id))?.took)
    };
    thread::scope(|scope| {
        let call = |container| {
            let one = &one;
            scope.spawn(move || one(container))
        };
        let calls: Vec<_> = containers.iter().map(call).collect();
        calls.into_iter().map(|call| call.join().map_err(|_| anyhow!("panicked"))?).collect()
    })
}

/// Of some durations, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
}

impl Times {
    /// Of these.
    ///
    /// # Errors
    /// When there are none.
    pub fn of(mut all: Vec<Duration>) -> Result<Self> {
        all.sort();
        let at = |percent: usize| {
            let index = (all.len() * percent).div_ceil(100).saturating_sub(1);
            all.get(index).map(|took| took.as_secs_f64() * 1e3).context("nothing was measured")
        };
        Ok(Self { p50: at(50)?, p99: at(99)? })
    }
}
