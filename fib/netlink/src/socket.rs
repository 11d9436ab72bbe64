//! A netlink socket: opened, given its options and buffers, written and read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys;
use crate::wire::{ERROR, Messages, Refusal, verdict};

/// Which part of the kernel a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses, routes.
    Route,
    /// Connection tracking.
    Netfilter,
}

/// Whether a receive may sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until something is there.
    Block,
    /// `WouldBlock` when nothing is there.
    Poll,
}

/// A bound netlink socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    port: u32,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Socket {
    /// Opens one in the calling thread's network namespace; it stays there wherever the thread goes.
    pub fn open(protocol: Protocol) -> io::Result<Self> {
        let fd = sys::open(protocol)?;
        // Each is a comfort that old kernels lack: refusals with their reason and place, short
        // acknowledgements, dumps that heed their filter.
        for option in [NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK] {
            if let Err(err) = sys::set(&fd, SOL_NETLINK, option, 1) {
                tracing::debug!(option, %err, "netlink option is not there");
            }
        }
        let port = sys::port(&fd)?;
        Ok(Self { fd, port })
    }

    /// Room for so many octets to be received; without the right to that, as much as allowed.
    pub fn widen_receive(&self, octets: usize) {
        self.widen(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, octets);
    }

    /// Room for so many octets to be sent at once; without the right to that, as much as allowed.
    pub fn widen_send(&self, octets: usize) {
        self.widen(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, octets);
    }

    /// Waits no longer for an answer than this.
    pub fn give_up_after(&self, secs: u8) -> io::Result<()> {
        sys::give_up_after(&self.fd, secs)
    }

    /// Exactly this receive buffer, to see it overflow.
    pub fn receive_buffer(&self, octets: i32) -> io::Result<()> {
        sys::set(&self.fd, libc::SOL_SOCKET, libc::SO_RCVBUF, octets)
    }

    /// The number by which the kernel marks what this socket caused.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Joins a notification group.
    pub fn join(&self, group: i32) -> io::Result<()> {
        sys::set(&self.fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
    }

    /// Never hears what the socket with this port number causes.
    pub fn ignore(&self, port: u32) -> io::Result<()> {
        sys::ignore_port(&self.fd, port)
    }

    /// Sends messages in one piece; the kernel works them off before this returns.
    pub fn send(&self, octets: &[u8]) -> io::Result<()> {
        uninterrupted(|| sys::send(&self.fd, octets))
    }

    /// Receives one datagram.
    pub fn receive<'a>(&self, buf: &'a mut [u8], wait: Wait) -> io::Result<Messages<'a>> {
        let n = uninterrupted(|| sys::receive(&self.fd, buf, wait))?;
        Ok(Messages(buf.get(..n).unwrap_or_default()))
    }

    /// Sends a batch whose last message, `last`, asks to be acknowledged. Refusals by sequence
    /// number, in order.
    pub fn commit(
        &self,
        octets: &[u8],
        last: u32,
        buf: &mut [u8],
    ) -> io::Result<Vec<(u32, Refusal)>> {
        self.send(octets)?;
        let mut refusals = Vec::new();
        loop {
            for m in self.receive(buf, Wait::Block)? {
                if m.kind != ERROR {
                    continue;
                }
                if let Some(Err(refusal)) = verdict(&m) {
                    refusals.push((m.seq, refusal));
                }
                if m.seq == last {
                    return Ok(refusals);
                }
            }
        }
    }

    fn widen(&self, force: i32, ask: i32, octets: usize) {
        let octets = i32::try_from(octets).unwrap_or(i32::MAX);
        let set = sys::set(&self.fd, libc::SOL_SOCKET, force, octets)
            .or_else(|_| sys::set(&self.fd, libc::SOL_SOCKET, ask, octets));
        if let Err(err) = set {
            tracing::debug!(%err, "socket buffer stays small");
        }
    }
}

/// Again when a signal came between: nothing was sent or received then.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

const SOL_NETLINK: i32 = 270;
const NETLINK_ADD_MEMBERSHIP: i32 = 1;
const NETLINK_CAP_ACK: i32 = 10;
const NETLINK_EXT_ACK: i32 = 11;
const NETLINK_GET_STRICT_CHK: i32 = 12;
