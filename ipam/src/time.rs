//! Time as arguments: the wall clock for what is stored, a steady one for what is waited for.

use std::{fmt, time::Duration};

/// Milliseconds since 1970 by the wall clock of whoever wrote it. Clocks differ and jump: use it
/// for what people read and for cool-downs, never to decide who owns what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// How long before `now` this was; `None` if it lies in the future.
    pub fn age(self, now: Self) -> Option<Duration> {
        now.0.checked_sub(self.0).map(Duration::from_millis)
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The wall clock. May jump either way.
    pub wall: UnixMillis,
    /// Time since some fixed point of this process. Never goes back.
    pub steady: Duration,
}
