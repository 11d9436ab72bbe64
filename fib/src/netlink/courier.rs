//! The thread that waits for the kernel while the writer plans the next batch.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::netlink::handle::Shared;
use crate::sys;
use margay_netlink::Socket;
use margay_netlink::wire::Refusal;

/// A batch to be written.
#[derive(Debug)]
pub struct Batch {
    /// Encoded messages; the last asks to be acknowledged.
    pub octets: Vec<u8>,
    /// Sequence number of the first.
    pub first: u32,
    /// How many there are.
    pub len: u32,
}

/// What became of it.
#[derive(Debug)]
pub struct Delivered {
    /// The buffer, to be used again.
    pub octets: Vec<u8>,
    /// Refused messages by position, ascending; or the socket failed and nothing is known.
    pub result: io::Result<Vec<(usize, Refusal)>>,
    /// How long the kernel took.
    pub took: Duration,
}

/// Delivers until the other end of `batches` is gone.
pub fn run(shared: &Arc<Shared>, socket: &Socket, batches: &Receiver<Batch>) {
    let mut buf = vec![0; 1 << 16];
    go_first(COURIER);
    while let Ok(batch) = batches.recv() {
        let start = Instant::now();
        let last = batch.first.wrapping_add(batch.len.saturating_sub(1));
        let result = socket.commit(&batch.octets, last, &mut buf).map(|refusals| {
            let position = |seq: u32| usize::try_from(seq.wrapping_sub(batch.first)).ok();
            let mut refused: Vec<_> = refusals
                .into_iter()
                .filter_map(|(seq, refusal)| Some((position(seq)?, refusal)))
                .collect();
            refused.sort_by_key(|(at, _)| *at);
            refused
        });
        let took = start.elapsed();
        let delivered = Delivered { octets: batch.octets, result, took };
        shared.inbox.put(|work| work.delivered.push_back(delivered));
    }
}

/// The kernel takes routes one after the other on the courier's thread, so a full table is in force
/// when that is done: it goes first where threads are more than processors, and behind it the writer,
/// without which it would have nothing to do.
pub fn go_first(nice: i32) {
    if let Err(err) = sys::nice(nice) {
        tracing::debug!(%err, "routes are written at the priority of everything else");
    }
}

/// About ninety times the share of a thread that is not nice: it sleeps whenever the kernel has all.
const COURIER: i32 = -20;
/// About ten times the share.
pub const WRITER: i32 = -10;
