//! Carries out: sockets, threads, octets. Decides nothing; that is `plan`'s.
//!
//! Three plain threads: the *writer* owns the state, the *courier* waits for the kernel with a batch
//! while the writer plans the next, the *listener* hears notifications.

mod audit;
mod backlog;
mod conflicts;
mod conntrack;
mod courier;
mod decode;
mod dump;
mod encode;
mod engine;
mod figures;
mod handle;
mod inbox;
mod interfaces;
mod listener;
mod reading;
mod veth;
mod waiting;

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use dump::Dump;
use engine::{Engine, Start};
use handle::Shared;
use margay_netlink::wire::ACK;
use margay_netlink::{Protocol, Socket};

use crate::api::{FibConfig, FibError, FibEvent, NexthopObjects};
use crate::plan::fact::{Form, Via};
use crate::plan::state::Abilities;
use crate::plan::work::Verb;

pub use conntrack::forget_connections;
pub use handle::{FibHandle, Rows};
pub use interfaces::Interfaces;
pub use veth::{
    Attached, Detached, Origin, attach, compare, detach, detach_marked, detach_own, fulfil,
    inspect, list,
};

/// The kernel side.
#[derive(Debug)]
pub struct Fib;

/// Sizes and times nobody but a test or a measurement has a reason to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Receive buffer of the listener in octets; `None` = 16 MiB.
    pub listener_buffer: Option<i32>,
    /// Between two slow looks at everything.
    pub audit_every: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { listener_buffer: None, audit_every: Duration::from_secs(300) }
    }
}

impl Fib {
    /// Reads the kernel's state and starts the threads. Sockets are opened here, so in the network
    /// namespace of the calling thread.
    ///
    /// `events` is called from the writer's thread with one or more events, in order, and must not
    /// block. Without CAP_NET_ADMIN this succeeds and only tracks and learns: see
    /// [`FibStatus::degraded`](crate::FibStatus::degraded).
    pub fn start(
        config: FibConfig,
        events: impl FnMut(Vec<FibEvent>) + Send + 'static,
    ) -> Result<FibHandle, FibError> {
        Self::start_tuned(config, Tuning::default(), events)
    }

    /// [`start`](Self::start) with other sizes and times.
    pub fn start_tuned(
        config: FibConfig,
        tuning: Tuning,
        events: impl FnMut(Vec<FibEvent>) + Send + 'static,
    ) -> Result<FibHandle, FibError> {
        check(&config)?;
        let shared = Arc::new(Shared::default());
        let writer = Socket::open(Protocol::Route).map_err(FibError::Socket)?;
        writer.widen_receive(WRITER_BUFFER);
        writer.widen_send(WRITER_BUFFER);
        // Subscribed before the first reading: nothing falls between.
        let listener = listener::open(writer.port()).map_err(FibError::Socket)?;
        if let Some(octets) = tuning.listener_buffer {
            listener.receive_buffer(octets).map_err(FibError::Socket)?;
        }
        let mut dump = Dump::new().map_err(FibError::Socket)?;
        let kernel_objects = reading::objects(&mut dump).is_ok();
        let objects = objects_wanted(&config, kernel_objects)?;
        let degraded = if config.enabled { may_write(&writer, &config) } else { None };
        if let Some(why) = &degraded {
            tracing::error!("{why}");
        }
        if config.nexthop_compat_off && objects && degraded.is_none() {
            turn_compat_off();
        }
        let (courier_tx, courier_rx) = sync_channel(8);
        let (stop_tx, stop_rx) = UnixStream::pair().map_err(FibError::Socket)?;
        let engine = Engine::new(Start {
            shared: shared.clone(),
            abilities: Abilities { objects, write: degraded.is_none() },
            kernel_objects,
            config,
            degraded,
            dump,
            courier: courier_tx,
            events: Box::new(events),
            tuning,
        })?;
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.to_owned()).spawn(run).map_err(FibError::Thread)
        };
        let mut threads = Vec::new();
        let s = shared.clone();
        let heard = move || listener::run(&s, &listener, &stop_rx);
        threads.push(spawn("fib-listener", Box::new(heard))?);
        let s = shared.clone();
        let delivered = move || courier::run(&s, &writer, &courier_rx);
        threads.push(spawn("fib-courier", Box::new(delivered))?);
        let written = move || {
            courier::go_first(courier::WRITER);
            engine.run();
            drop(stop_tx); // ends the listener, too
        };
        threads.push(spawn("fib-writer", Box::new(written))?);
        shared.keep_threads(threads);
        Ok(FibHandle::new(shared))
    }
}

/// Values that cannot be ours.
fn check(config: &FibConfig) -> Result<(), FibError> {
    if matches!(config.table, 0 | LOCAL_TABLE) {
        let why = "1 to 4294967295 but 255, the kernel's table of local addresses";
        return Err(FibError::Config { key: "table", value: config.table, why });
    }
    if config.protocol <= KERNEL_LAST {
        let value = u32::from(config.protocol);
        let why = "5 to 255; below are the kernel's and the administrator's own";
        return Err(FibError::Config { key: "protocol", value, why });
    }
    Ok(())
}

/// Whether routes point at next-hop objects.
fn objects_wanted(config: &FibConfig, kernel: bool) -> Result<bool, FibError> {
    match (config.nexthop_objects, kernel) {
        (NexthopObjects::Off, _) => Ok(false),
        (NexthopObjects::Auto, false) => {
            tracing::info!("the kernel has no next-hop objects; next hops go into each route");
            Ok(false)
        }
        (NexthopObjects::On, false) => Err(FibError::NoNexthopObjects),
        (NexthopObjects::Auto | NexthopObjects::On, true) => Ok(true),
    }
}

/// Why we may not write routes; found by deleting one that cannot exist.
fn may_write(socket: &Socket, config: &FibConfig) -> Option<String> {
    let mut e = margay_netlink::wire::Encoder::default();
    let owner = encode::Owner { table: config.table, protocol: config.protocol };
    let form = Form { via: Via::Unreachable, metric: u32::MAX, prefsrc: None };
    let prefix = ipnet::IpNet::V4(ipnet::Ipv4Net::new_assert([255; 4].into(), 32));
    encode::route(&mut e, owner, Verb::Delete, prefix, &form, ACK, u32::MAX);
    let mut buf = [0; 4096];
    match socket.commit(e.octets(), u32::MAX, &mut buf) {
        Ok(refusals) if refusals.iter().any(|(_, r)| r.errno == libc::EPERM) => {
            Some(NO_RIGHT.to_owned())
        }
        Ok(_) => None,
        Err(err) => Some(format!("cannot write routes: {err}")),
    }
}

/// Failover without an announcement per route, for everybody in this network namespace.
fn turn_compat_off() {
    match std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", "0\n") {
        Ok(()) => tracing::info!("net.ipv4.nexthop_compat_mode = 0"),
        Err(err) => tracing::warn!(%err, "cannot set net.ipv4.nexthop_compat_mode"),
    }
}

const NO_RIGHT: &str = "no right to write routes (CAP_NET_ADMIN is missing): next hops are \
     followed and routes learned, but nothing is installed";
const WRITER_BUFFER: usize = 8 << 20;
const LOCAL_TABLE: u32 = 255;
/// Protocols up to 4 are unspec, redirect, kernel, boot and static.
const KERNEL_LAST: u8 = 4;
