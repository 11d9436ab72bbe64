//! The thread that hears the kernel, so that its buffer is always empty however busy the writer is.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use margay_netlink::{Protocol, Socket, Wait};

use crate::netlink::decode::fact;
use crate::netlink::handle::Shared;
use crate::plan::fact::Fact;
use crate::sys::wait_either;

/// Notification groups: links, addresses and routes of both families, next-hop objects.
const GROUPS: [i32; 6] = [1, 5, 7, 9, 11, 32];
/// Next-hop objects came later than the others.
const GROUP_NEXTHOP: i32 = 32;
/// As the kernel reference has it: 16 MiB ride out a second of churn.
const BUFFER: usize = 16 << 20;
/// Facts handed over at once.
const BATCH: usize = 1024;

/// Opens the socket of the listener; deaf to what `writer` causes.
pub fn open(writer: u32) -> io::Result<Socket> {
    let socket = Socket::open(Protocol::Route)?;
    socket.widen_receive(BUFFER);
    socket.ignore(writer)?;
    for group in GROUPS {
        match socket.join(group) {
            Err(err) if group == GROUP_NEXTHOP => {
                tracing::debug!(%err, "no notifications of next-hop objects");
            }
            other => other?,
        }
    }
    Ok(socket)
}

/// Hears until `stop` can be read.
pub fn run(shared: &Arc<Shared>, socket: &Socket, stop: &UnixStream) {
    let mut buf = vec![0; 1 << 16];
    let mut facts: Vec<Fact> = Vec::new();
    loop {
        match wait_either(socket, stop) {
            Ok(false) => {}
            Ok(true) => return,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            Err(err) => {
                tracing::error!(%err, "cannot wait for the kernel; its changes go unheard");
                return;
            }
        }
        while facts.len() < BATCH {
            match socket.receive(&mut buf, Wait::Poll) {
                Ok(messages) => facts.extend(messages.filter_map(|m| fact(&m))),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
                Err(err) => {
                    // ENOBUFS: the kernel threw some away. Anything else: the same remedy.
                    tracing::warn!(%err, "notifications were lost");
                    facts.clear();
                    shared.inbox.put(|work| work.lose());
                    break;
                }
            }
        }
        if !facts.is_empty() {
            shared.inbox.put(|work| work.tell(&mut facts));
        }
    }
}
