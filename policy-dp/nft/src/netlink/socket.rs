//! A netlink socket as this crate uses it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use margay_netlink::{Protocol, Wait};

use crate::{
    encode::{FAMILY_INET, GEN_ID, GETGEN, NEWGEN},
    wire::{
        Attributes, DONE, DUMP, DUMP_INTR, ERROR, Encoder, Message, Messages, Netfilter as _,
        REQUEST, kind, u32_of, verdict,
    },
};

/// A socket with its buffer.
#[derive(Debug)]
pub struct Socket {
    socket: margay_netlink::Socket,
    buf: Vec<u8>,
    seq: u32,
    room: usize,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Socket {
    /// Opens one in the calling thread's network namespace.
    pub fn open() -> io::Result<Self> {
        let socket = margay_netlink::Socket::open(Protocol::Netfilter)?;
        socket.widen_receive(RECEIVE);
        let mut socket = Self { socket, buf: vec![0; 1 << 17], seq: 1, room: 0 };
        socket.make_room(SEND);
        Ok(socket)
    }

    /// The number by which the kernel marks what this socket caused.
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    /// Hears of every change, but not of those caused by the socket with this port.
    pub fn listen(&self, but: u32) -> io::Result<()> {
        self.socket.ignore(but)?;
        self.socket.join(GROUP_NFTABLES)
    }

    /// Exactly this receive buffer, to see it overflow.
    pub fn receive_buffer(&self, octets: i32) -> io::Result<()> {
        self.socket.receive_buffer(octets)
    }

    /// Takes so many sequence numbers; the first.
    pub fn numbers(&mut self, how_many: u32) -> u32 {
        let first = self.seq;
        self.seq = self.seq.wrapping_add(how_many);
        first
    }

    /// Sends messages in one piece; the kernel works them off before this returns.
    pub fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        if octets.len() > self.room {
            self.make_room(octets.len());
        }
        self.socket.send(octets)
    }

    /// Receives one datagram.
    pub fn receive(&mut self, wait: Wait) -> io::Result<Messages<'_>> {
        self.socket.receive(&mut self.buf, wait)
    }

    /// The number of the ruleset as it is now.
    pub fn generation(&mut self) -> io::Result<u32> {
        let mut id = None;
        self.ask(
            GETGEN,
            0,
            0,
            |_| {},
            |m| {
                if m.nftables() == Some(NEWGEN) {
                    let mut all = m.attributes().unwrap_or(Attributes(&[]));
                    id = all.find(|(number, _)| *number == GEN_ID).and_then(|(_, v)| u32_of(v));
                }
            },
        )?;
        id.ok_or_else(|| io::Error::other("the kernel told no generation of its ruleset"))
    }

    /// Reads all of something. False where the kernel says that it changed meanwhile.
    pub fn dump(
        &mut self,
        message: u16,
        body: impl FnOnce(&mut Encoder),
        each: impl FnMut(&Message<'_>),
    ) -> io::Result<bool> {
        self.ask(message, DUMP, FAMILY_INET, body, each)
    }

    /// Asks for one thing.
    pub fn get(
        &mut self,
        message: u16,
        body: impl FnOnce(&mut Encoder),
        each: impl FnMut(&Message<'_>),
    ) -> io::Result<()> {
        self.ask(message, 0, FAMILY_INET, body, each).map(|_| ())
    }

    fn ask(
        &mut self,
        message: u16,
        flags: u16,
        family: u8,
        body: impl FnOnce(&mut Encoder),
        mut each: impl FnMut(&Message<'_>),
    ) -> io::Result<bool> {
        let seq = self.numbers(1);
        let mut e = Encoder::default();
        let at = e.begin(kind(message), REQUEST | flags, seq, family, 0);
        body(&mut e);
        e.end(at);
        self.send(e.octets())?;
        let mut consistent = true;
        loop {
            for m in self.receive(Wait::Block)? {
                if m.seq != seq {
                    continue; // late words of an earlier request
                }
                consistent &= m.flags & DUMP_INTR == 0;
                match m.kind {
                    DONE => return Ok(consistent),
                    ERROR => match verdict(&m) {
                        Some(Ok(())) => return Ok(consistent),
                        Some(Err(refusal)) => return Err(refusal.into()),
                        None => return Err(io::Error::other("an answer is cut short")),
                    },
                    _ => each(&m),
                }
                // One thing is one message; a list has an end of its own.
                if flags & DUMP == 0 {
                    return Ok(consistent);
                }
            }
        }
    }

    fn make_room(&mut self, octets: usize) {
        let wanted = octets.saturating_mul(2).clamp(SEND, 1 << 30);
        self.socket.widen_send(wanted);
        self.room = octets;
    }
}

/// Room for what is refused, or for what others change, in octets.
const RECEIVE: usize = 16 << 20;
/// Room for a batch; larger ones get more.
const SEND: usize = 4 << 20;
const GROUP_NFTABLES: i32 = 7;
