//! Netlink sockets as this crate uses them: one to write, one to listen, one to read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::netlink::decode::{GETADDR, GETLINK, GETNEXTHOP, GETROUTE};
use crate::netlink::wire::{
    ACK, DONE, DUMP, DUMP_INTR, ERROR, Encoder, Message, Messages, REQUEST, Refusal, refusal,
};
use crate::sys::{self, Protocol, Wait};

/// A netlink socket with our options.
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
    /// Opens one in the calling thread's network namespace.
    pub fn open() -> io::Result<Self> {
        Self::open_for(Protocol::Route)
    }

    /// Likewise, to another part of the kernel.
    pub fn open_for(protocol: Protocol) -> io::Result<Self> {
        let fd = sys::open(protocol)?;
        // Each is a comfort that old kernels lack: refusals in words, short acknowledgements,
        // dumps that heed their filter.
        for option in [NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK] {
            if let Err(err) = sys::set(&fd, SOL_NETLINK, option, 1) {
                tracing::debug!(option, %err, "netlink option is not there");
            }
        }
        let port = sys::port(&fd)?;
        Ok(Self { fd, port })
    }

    /// Large buffers; without the right to that, as large as allowed.
    pub fn widen(&self, octets: i32) {
        let pairs =
            [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)];
        for (force, ask) in pairs {
            let set = sys::set(&self.fd, libc::SOL_SOCKET, force, octets)
                .or_else(|_| sys::set(&self.fd, libc::SOL_SOCKET, ask, octets));
            if let Err(err) = set {
                tracing::debug!(%err, "socket buffer stays small");
            }
        }
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

    /// Sends messages; the kernel works them off before this returns.
    pub fn send(&self, octets: &[u8]) -> io::Result<()> {
        sys::send(&self.fd, octets)
    }

    /// Receives one datagram.
    pub fn receive<'a>(&self, buf: &'a mut [u8], wait: Wait) -> io::Result<Messages<'a>> {
        let n = loop {
            match sys::receive(&self.fd, buf, wait) {
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
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
                if let Some(refusal) = refusal(&m) {
                    refusals.push((m.seq, refusal));
                }
                if m.seq == last {
                    return Ok(refusals);
                }
            }
        }
    }
}

/// What can be read in whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Links.
    Links,
    /// Addresses of both families.
    Addresses,
    /// Next-hop objects.
    Objects,
    /// IPv4 routes of all tables.
    Routes4,
    /// IPv6 routes of all tables.
    Routes6,
}

impl Subject {
    /// In plain words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Links => "links",
            Self::Addresses => "addresses",
            Self::Objects => "next-hop objects",
            Self::Routes4 => "IPv4 routes",
            Self::Routes6 => "IPv6 routes",
        }
    }
}

/// What a step of a dump came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is more.
    More,
    /// That was all of it.
    Complete,
    /// All of it, but the kernel changed it meanwhile: read again.
    Inconsistent,
}

/// A dump under way on a socket of its own.
#[derive(Debug)]
pub struct Dump {
    socket: Socket,
    buf: Vec<u8>,
    interrupted: bool,
    seq: u32,
}

impl Dump {
    /// A socket for dumps.
    pub fn new() -> io::Result<Self> {
        let socket = Socket::open()?;
        Ok(Self { socket, buf: vec![0; 1 << 17], interrupted: false, seq: 0 })
    }

    /// Asks for all of a subject; to be followed by [`step`](Self::step) until it is complete.
    pub fn ask(&mut self, subject: Subject) -> io::Result<()> {
        let (v4, v6) = (2, 10);
        let (kind, family, len) = match subject {
            Subject::Links => (GETLINK, 0, 16),
            Subject::Addresses => (GETADDR, 0, 8),
            Subject::Objects => (GETNEXTHOP, 0, 8),
            Subject::Routes4 => (GETROUTE, v4, 12),
            Subject::Routes6 => (GETROUTE, v6, 12),
        };
        self.interrupted = false;
        self.seq = self.seq.wrapping_add(1);
        let mut e = Encoder::default();
        let at = e.begin(kind, REQUEST | DUMP, self.seq);
        let mut body = vec![0; len];
        if let Some(first) = body.first_mut() {
            *first = family;
        }
        e.put(&body);
        e.end(at);
        self.socket.send(e.octets())
    }

    /// Takes one datagram of the answer.
    pub fn step(&mut self, mut each: impl FnMut(&Message<'_>)) -> io::Result<Step> {
        for m in self.socket.receive(&mut self.buf, Wait::Block)? {
            if m.seq != self.seq {
                continue; // the rest of a dump that was given up
            }
            if m.flags & DUMP_INTR != 0 {
                self.interrupted = true;
            }
            match m.kind {
                ERROR | DONE => {
                    if let Some(refusal) = refusal(&m) {
                        return Err(refusal.into());
                    }
                    let complete = !self.interrupted;
                    return Ok(if complete { Step::Complete } else { Step::Inconsistent });
                }
                _ => each(&m),
            }
        }
        Ok(Step::More)
    }
}

/// What every written message gets that must be answered even if it is done.
pub const ASK_ACK: u16 = ACK;

const SOL_NETLINK: i32 = 270;
const NETLINK_ADD_MEMBERSHIP: i32 = 1;
const NETLINK_CAP_ACK: i32 = 10;
const NETLINK_EXT_ACK: i32 = 11;
const NETLINK_GET_STRICT_CHK: i32 = 12;
