//! Dumps: all of a subject, as the kernel has it.

use std::io;

use margay_netlink::wire::{DONE, DUMP, DUMP_INTR, ERROR, Encoder, Message, REQUEST, verdict};
use margay_netlink::{Protocol, Socket, Wait};

use crate::netlink::decode::{GETADDR, GETLINK, GETNEXTHOP, GETROUTE};

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
        let socket = Socket::open(Protocol::Route)?;
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
                    if let Some(Err(refusal)) = verdict(&m) {
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
