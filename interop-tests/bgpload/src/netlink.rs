//! Just enough rtnetlink to push routes and to ask where a packet would go.

use std::os::fd::OwnedFd;

use crate::sys;

pub const RTM_NEWROUTE: u16 = 24;
pub const RTM_DELROUTE: u16 = 25;
pub const RTM_GETROUTE: u16 = 26;
pub const RTM_NEWNEXTHOP: u16 = 104;
pub const ACK: u16 = 4;
pub const REPLACE: u16 = 0x100;
pub const CREATE: u16 = 0x400;

pub const RTA_DST: u16 = 1;
pub const RTA_OIF: u16 = 4;
pub const RTA_GATEWAY: u16 = 5;
pub const RTA_NH_ID: u16 = 30;
pub const NHA_ID: u16 = 1;
pub const NHA_OIF: u16 = 5;
pub const NHA_GATEWAY: u16 = 6;

const REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const RTM_F_FIB_MATCH: u32 = 0x2000;

/// Appends one message.
pub fn message(
    out: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &[u8],
    attributes: &[(u16, &[u8])],
) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    out.extend_from_slice(&0u32.to_ne_bytes());
    out.extend_from_slice(body);
    for (kind, value) in attributes {
        out.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    let length = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&length.to_ne_bytes());
}

/// A socket in the namespace of the thread that made it.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    buffer: Vec<u8>,
    /// Refusals so far, and the last one's errno.
    pub errors: u64,
    pub last_error: i32,
}

/// Where a packet to an address would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Length of the route's prefix.
    pub length: u8,
    /// Its next hop; 0 = on the link.
    pub gateway: u32,
}

impl Netlink {
    /// Opens the socket.
    pub fn new() -> Self {
        Self { socket: sys::netlink(), buffer: vec![0; 1 << 16], errors: 0, last_error: 0 }
    }

    /// Sends messages as one datagram.
    pub fn send(&self, octets: &[u8]) {
        if usize::try_from(sys::send_wait(&self.socket, octets)) != Ok(octets.len()) {
            crate::die(&format!("netlink send: errno {}", sys::errno()));
        }
    }

    /// Reads answers until the acknowledgement of `sequence`, counting refusals.
    pub fn wait(&mut self, sequence: u32) {
        loop {
            let answers = Self::receive(&self.socket, &mut self.buffer);
            let mut done = false;
            for (kind, answered, body) in Messages(answers) {
                if let (NLMSG_ERROR, Some(code)) = (kind, body.first_chunk::<4>()) {
                    let code = i32::from_ne_bytes(*code);
                    if code != 0 {
                        self.errors += 1;
                        self.last_error = code;
                    }
                    done |= answered == sequence;
                }
            }
            if done {
                return;
            }
        }
    }

    /// Asks the kernel for its route to `address`: the very entry of the table with `entry`, else
    /// the next hop a packet takes. `None` when it has none.
    pub fn route(&mut self, address: u32, entry: bool) -> Option<Found> {
        let mut request = Vec::with_capacity(40);
        let flags = if entry { RTM_F_FIB_MATCH } else { 0 }.to_ne_bytes();
        let body = [2, 32, 0, 0, 0, 0, 0, 0, flags[0], flags[1], flags[2], flags[3]];
        message(&mut request, RTM_GETROUTE, 0, 1, &body, &[(RTA_DST, &address.to_be_bytes())]);
        self.send(&request);
        let answers = Self::receive(&self.socket, &mut self.buffer);
        let (kind, _, body) = Messages(answers).next()?;
        if kind != RTM_NEWROUTE {
            return None;
        }
        let mut found = Found { length: *body.get(1)?, gateway: 0 };
        let mut attributes = body.get(12..)?;
        while let [a, b, c, d, ..] = attributes {
            let length = usize::from(u16::from_ne_bytes([*a, *b]));
            let value = attributes.get(4..length)?;
            if u16::from_ne_bytes([*c, *d]) == RTA_GATEWAY
                && let Some(octets) = value.first_chunk::<4>()
            {
                found.gateway = u32::from_be_bytes(*octets);
            }
            attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Some(found)
    }

    fn receive<'a>(socket: &OwnedFd, buffer: &'a mut [u8]) -> &'a [u8] {
        match usize::try_from(sys::recv_wait(socket, buffer)) {
            Ok(length) => &buffer[..length],
            Err(_) => crate::die(&format!("netlink recv: errno {}", sys::errno())),
        }
    }
}

/// The messages of a datagram: type, sequence number, body.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = (u16, u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.0.first_chunk::<16>()?;
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let sequence = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
        let body = self.0.get(16..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, sequence, body))
    }
}
