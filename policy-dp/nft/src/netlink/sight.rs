//! Hears of packets that rules tell of.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd},
};

use margay_netlink::{Protocol, Socket, Wait};
use policy_calc::Direction;

use crate::{
    seen::{Seen, group, number},
    wire::{ACK, Encoder, REQUEST},
};

/// A socket that packets are told to. A group has one listener in a network namespace.
#[derive(Debug)]
pub struct Sight {
    socket: Socket,
    buf: Vec<u8>,
    /// The number that comes next in each group.
    next: BTreeMap<u16, u32>,
}

/// What was told at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sighted {
    /// The packets, in order.
    pub seen: Vec<Seen>,
    /// How many more there were that nobody was told of in time.
    pub lost: u64,
}

impl AsFd for Sight {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Sight {
    /// Begins to listen in the calling thread's network namespace.
    ///
    /// # Errors
    /// When there is no socket to be had; `EPERM` without the right to listen, and where somebody else
    /// does already.
    pub fn open() -> io::Result<Self> {
        let socket = Socket::open(Protocol::Netfilter)?;
        socket.widen_receive(RECEIVE);
        let mut sight = Self { socket, buf: vec![0; DATAGRAM], next: BTreeMap::new() };
        for direction in Direction::BOTH {
            sight.join(group(direction))?;
        }
        Ok(sight)
    }

    fn join(&mut self, group: u16) -> io::Result<()> {
        let mut e = Encoder::default();
        let each: [&dyn Fn(&mut Encoder); 2] = [&|e| e.u8(COMMAND, BIND), &|e| {
            // Of each packet so much as tells what it is.
            let mode: Vec<u8> =
                PACKET_OCTETS.to_be_bytes().into_iter().chain([COPY_PACKET, 0]).collect();
            e.attribute(MODE, &mode);
            e.u32(TIMEOUT, GATHER);
            e.u32(TOGETHER, PACKETS);
            e.u16(FLAGS, NUMBERED);
        }];
        for (seq, body) in (0_u32..).zip(each) {
            let at = e.begin(CONFIGURE, REQUEST | ACK, seq, UNSPECIFIED, group);
            body(&mut e);
            e.end(at);
        }
        let refused = self.socket.commit(e.octets(), 1, &mut self.buf)?;
        match refused.into_iter().next() {
            Some((_, refusal)) => Err(refusal.into()),
            None => Ok(()),
        }
    }

    /// A receive that waits ends after so many seconds without a packet; 0: never.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub fn give_up_after(&self, secs: u8) -> io::Result<()> {
        self.socket.give_up_after(secs)
    }

    /// What was told since; nothing if nothing was, or nothing in time.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn next(&mut self, wait: Wait) -> io::Result<Sighted> {
        let mut sighted = Sighted::default();
        let messages = match self.socket.receive(&mut self.buf, wait) {
            Ok(messages) => messages,
            // How much it was the numbers say.
            Err(err) if err.raw_os_error() == Some(libc::ENOBUFS) => return Ok(sighted),
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(sighted),
            Err(err) => return Err(err),
        };
        for message in messages {
            if let Some((group, number)) = number(&message) {
                let expected = self.next.insert(group, number.wrapping_add(1));
                let between = expected.map_or(0, |expected| number.wrapping_sub(expected));
                sighted.lost = sighted.lost.saturating_add(between.into());
            }
            sighted.seen.extend(Seen::read(&message));
        }
        Ok(sighted)
    }
}

/// Room for what is told while nobody listens, in octets.
const RECEIVE: usize = 4 << 20;
/// The kernel puts no more together.
const DATAGRAM: usize = 1 << 17;
/// Octets of a packet that are looked at: addresses, a few extension headers, ports.
const PACKET_OCTETS: u32 = 128;
/// So many packets are told at once,
const PACKETS: u32 = 64;
/// or those of so many hundredths of a second.
const GATHER: u32 = 20;
/// `NFNL_SUBSYS_ULOG` with `NFULNL_MSG_CONFIG`.
const CONFIGURE: u16 = 4 << 8 | 1;
/// `AF_UNSPEC`.
const UNSPECIFIED: u8 = 0;
/// `NFULA_CFG_CMD`, `NFULNL_CFG_CMD_BIND`.
const COMMAND: u16 = 1;
const BIND: u8 = 1;
/// `NFULA_CFG_MODE`, `NFULNL_COPY_PACKET`.
const MODE: u16 = 2;
const COPY_PACKET: u8 = 2;
/// `NFULA_CFG_TIMEOUT`, `NFULA_CFG_QTHRESH`.
const TIMEOUT: u16 = 4;
const TOGETHER: u16 = 5;
/// `NFULA_CFG_FLAGS`, `NFULNL_CFG_F_SEQ`.
const FLAGS: u16 = 6;
const NUMBERED: u16 = 1;
