//! Empties a connection's queue into its socket.

use std::{
    collections::VecDeque,
    io::{ErrorKind, IoSlice},
    net::Shutdown,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::{Buf, Bytes};
use socket2::SockRef;
use tokio::{net::TcpStream, task::yield_now, time::timeout};

use super::{
    Link,
    queue::{Next, SendQueue},
};
use crate::metrics::MessageKind;

/// How long what is left is given to leave once the connection closes.
const FLUSH_TIME: Duration = Duration::from_secs(2);
/// Buffers handed to the kernel at once.
const SLICES: usize = 64;

/// Runs until the queue is closed and empty (`Ok`), or the socket fails.
pub(crate) async fn run(link: Arc<Link>, socket: Arc<TcpStream>) -> std::io::Result<()> {
    let work = write_queue(&link, &link.queue, &socket);
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => done,
        () = link.closing.cancelled() => {
            // A peer that does not read gets no more than a moment.
            timeout(FLUSH_TIME, work).await.unwrap_or(Ok(()))
        }
    }
}

async fn write_queue(link: &Link, queue: &SendQueue, socket: &TcpStream) -> std::io::Result<()> {
    let mut batch = VecDeque::new();
    loop {
        match queue.next(&mut batch) {
            Next::Wait => queue.ready().await,
            Next::Finished => return SockRef::from(socket).shutdown(Shutdown::Write),
            Next::Write { drained, updates } => {
                if drained != 0 {
                    link.shards.drained(link.peer, drained);
                }
                link.counters.sent(MessageKind::Update, updates);
                while !batch.is_empty() {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let mut used = 0;
                    for (slice, octets) in slices.iter_mut().zip(&batch) {
                        *slice = IoSlice::new(octets);
                        used += 1;
                    }
                    let slices = slices.get(..used).unwrap_or_default();
                    let written = match socket.try_write_vectored(slices) {
                        Ok(written) => written,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {
                            socket.writable().await?;
                            continue;
                        }
                        Err(error) => return Err(error),
                    };
                    link.pulse.progressed();
                    let octets = u64::try_from(written).unwrap_or(u64::MAX);
                    link.counters.octets_sent.fetch_add(octets, Relaxed);
                    advance(&mut batch, written);
                }
                // A peer that takes all we have must not keep others from their turn.
                yield_now().await;
            }
        }
    }
}

fn advance(batch: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = batch.front_mut() {
        if written < front.len() {
            front.advance(written);
            return;
        }
        written -= front.len();
        batch.pop_front();
    }
}
