//! Watches the kernel's forwarding table in the daemon's namespace, from a thread of its own.
//!
//! A sample of prefixes is asked for one by one, each until it is as wanted; when the last one is,
//! so is the table, within a two-thousandth of the work. Reading the whole table instead would
//! take a fifth of a core from whoever fills it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    netlink::Netlink,
    plan::Plan,
    procfs, sys,
    table::{is_v4, key_bytes, key_len, v4_key},
};

const SAMPLES: usize = 2000;
const PAUSE: Duration = Duration::from_micros(500);

/// What the kernel's table must become.
#[derive(Debug, Clone, Copy)]
pub enum Wish {
    /// Each sampled prefix has an entry, and the table this many in all.
    Entries(u64),
    /// Packets to each sampled prefix go by this next hop.
    Gateway(u32),
}

/// A thread that reports once.
#[derive(Debug)]
pub struct Watch {
    result: Receiver<Seen>,
    stop: Arc<AtomicBool>,
}

/// When the wish came true.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// The first sampled prefix was as wanted.
    pub first: Instant,
    /// The last time that one was found otherwise. What is later than this is the asking: each
    /// question waits for the lock that the daemon's own changes to the table hold.
    pub wrong: Option<Instant>,
    /// All were as wanted.
    pub last: Instant,
}

impl Watch {
    /// Starts to watch the namespace of process `pid`.
    pub fn start(plan: &Plan, pid: u32, wish: Wish) -> Self {
        let samples = samples(plan);
        let (sender, result) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        thread::spawn(move || {
            if let Err(e) = sys::enter_netns_of(pid) {
                crate::die(&format!("entering the daemon's namespace: {e}"));
            }
            if let Some(seen) = watch(&samples, pid, wish, &stopped) {
                // Nobody listens any more when the phase ran out of time.
                let _ = sender.send(seen);
            }
        });
        Self { result, stop }
    }

    /// The report, once there is one.
    pub fn seen(&self) -> Option<Seen> {
        self.result.try_recv().ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

/// Address and length of prefixes spread over the table, in the order they are told; only such
/// that no longer prefix covers the address. The last ones told are among them.
fn samples(plan: &Plan) -> Vec<(u32, u8)> {
    let keys = &plan.table.keys;
    let step = (keys.len() / SAMPLES).max(1);
    let tail = keys.len().saturating_sub(20);
    keys.iter()
        .enumerate()
        .filter(|(i, key)| is_v4(**key) && plan.has_path(*i) && (i % step == 0 || *i >= tail))
        .filter_map(|(_, key)| {
            let [a, b, c, d, ..] = key_bytes(*key);
            let (address, length) = (u32::from_be_bytes([a, b, c, d]), key_len(*key));
            let longer =
                (length + 1..=32).any(|l| plan.table.find(v4_key(address, l), 0).is_some());
            (!longer).then_some((address, length))
        })
        .collect()
}

fn watch(samples: &[(u32, u8)], pid: u32, wish: Wish, stop: &AtomicBool) -> Option<Seen> {
    let mut netlink = Netlink::new();
    let (mut first, mut wrong) = (None, None);
    for (address, length) in samples {
        while !match wish {
            Wish::Entries(_) => netlink.route(*address, true).is_some_and(|r| r.length == *length),
            Wish::Gateway(by) => netlink.route(*address, false).is_some_and(|r| r.gateway == by),
        } {
            if stop.load(Relaxed) {
                return None;
            }
            wrong = Some(Instant::now());
            thread::sleep(PAUSE);
        }
        first.get_or_insert_with(Instant::now);
    }
    let mut last = Instant::now();
    if let Wish::Entries(count) = wish {
        // The samples may have been lucky: the whole table settles it.
        while procfs::kernel_routes(pid) != count {
            if stop.load(Relaxed) {
                return None;
            }
            thread::sleep(Duration::from_millis(50));
            last = Instant::now();
        }
    }
    Some(Seen { first: first.unwrap_or(last), wrong, last })
}
