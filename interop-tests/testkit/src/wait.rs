//! Waiting for the outside world: a condition, a deadline, and what was seen last.

use std::{
    fmt::Debug,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(100);

/// Asks `probe` until it answers `Some`, at most `limit` long.
///
/// # Errors
/// Names `what` and the probe's last error, when there was one.
pub fn until_some<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + limit;
    let mut last = String::from("not yet");
    loop {
        match probe() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => {}
            Err(e) => last = format!("{e:#}"),
        }
        if Instant::now() >= end {
            bail!("{what}: not within {} s ({last})", limit.as_secs_f32());
        }
        thread::sleep(POLL);
    }
}

/// Asks `probe` until it answers true, at most `limit` long.
///
/// # Errors
/// As [`until_some`].
pub fn until(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<bool>) -> Result<()> {
    until_some(what, limit, || Ok(probe()?.then_some(())))
}

/// Asks `probe` until its answer equals `wanted`; a miss shows both.
///
/// # Errors
/// As [`until_some`], with the wanted and the last value.
pub fn until_eq<T: PartialEq + Debug>(
    what: &str,
    limit: Duration,
    wanted: &T,
    mut probe: impl FnMut() -> Result<T>,
) -> Result<()> {
    until_some(what, limit, || {
        let got = probe()?;
        if got == *wanted {
            return Ok(Some(()));
        }
        bail!("wanted {wanted:?}, have {got:?}")
    })
}

/// Checks that `probe` stays true for the whole of `span`.
///
/// # Errors
/// Names `what` as soon as it does not hold.
pub fn holds(what: &str, span: Duration, mut probe: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + span;
    while Instant::now() < end {
        if !probe()? {
            bail!("{what}: no longer true");
        }
        thread::sleep(POLL);
    }
    Ok(())
}
