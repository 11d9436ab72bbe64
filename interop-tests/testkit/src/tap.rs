//! A witness on the wire: every BGP message that passes an interface, in order, whoever sent it.
//! What a daemon says about itself need not be believed.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::Result;

use crate::{lab::Host, sys};

/// Message type codes, RFC 4271 §4.1 and RFC 2918.
pub mod kind {
    /// OPEN.
    pub const OPEN: u8 = 1;
    /// UPDATE.
    pub const UPDATE: u8 = 2;
    /// NOTIFICATION.
    pub const NOTIFICATION: u8 = 3;
    /// KEEPALIVE.
    pub const KEEPALIVE: u8 = 4;
    /// ROUTE-REFRESH.
    pub const ROUTE_REFRESH: u8 = 5;
}

const BGP: u16 = 179;
const HEADER: usize = 19;

/// A message that passed.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When its last octet passed.
    pub at: Instant,
    /// Its sender.
    pub from: IpAddr,
    /// One of [`kind`].
    pub kind: u8,
    /// What follows the header.
    pub body: Vec<u8>,
}

/// A running witness; it stops on drop.
#[derive(Debug)]
pub struct Tap {
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
}

impl Tap {
    /// Listens on an interface of `host`. Start it before the daemons: it follows a connection
    /// from its first octet only.
    ///
    /// # Errors
    /// When there is no such interface, or no right to listen.
    pub fn on(host: &Host, ifname: &str) -> Result<Self> {
        let socket = host.enter(|| Ok(sys::packet_socket(ifname)?))?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, halt) = (Arc::clone(&seen), Arc::clone(&stop));
        thread::spawn(move || {
            let mut wire = Wire::default();
            // A veth passes frames of up to 64 KiB: segmentation is left to the receiver.
            let mut frame = vec![0; 1 << 17];
            while !halt.load(Ordering::Relaxed) {
                match sys::receive(&socket, &mut frame) {
                    Ok(length) => {
                        let new = wire.frame(frame.get(..length).unwrap_or_default());
                        theirs.lock().unwrap_or_else(PoisonError::into_inner).extend(new);
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        });
        Ok(Self { seen, stop })
    }

    /// What `from` sent of one kind so far.
    pub fn sent(&self, from: &str, kind: u8) -> Vec<Seen> {
        let Ok(from) = from.parse::<IpAddr>() else { return Vec::new() };
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter(|seen| seen.from == from && seen.kind == kind).cloned().collect()
    }

    /// How many messages of one kind `from` sent so far.
    pub fn count(&self, from: &str, kind: u8) -> usize {
        self.sent(from, kind).len()
    }

    /// The codes of the NOTIFICATIONs `from` sent: `(code, subcode)`.
    pub fn notifications(&self, from: &str) -> Vec<(u8, u8)> {
        let sent = self.sent(from, kind::NOTIFICATION);
        sent.iter().filter_map(|seen| Some((*seen.body.first()?, *seen.body.get(1)?))).collect()
    }

    /// The UPDATEs of `from` that are more than an End-of-RIB.
    pub fn updates(&self, from: &str) -> usize {
        let sent = self.sent(from, kind::UPDATE);
        sent.iter().filter(|seen| !is_end_of_rib(&seen.body)).count()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// RFC 4724 §2: an UPDATE without routes, or with nothing but an empty MP_UNREACH_NLRI.
fn is_end_of_rib(body: &[u8]) -> bool {
    match body {
        [0, 0, 0, 0] => true,
        [0, 0, 0, 6, 0x80, 15, 3, ..] => body.len() == 10,
        [0, 0, 0, 7, 0x90, 15, 0, 3, ..] => body.len() == 11,
        _ => false,
    }
}

type Flow = (IpAddr, u16, IpAddr, u16);

/// Puts the octets of every flow in order and cuts them into messages.
#[derive(Debug, Default)]
struct Wire {
    flows: HashMap<Flow, Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    /// Sequence number and position in the stream of the octet wanted next.
    next: u32,
    position: i64,
    early: BTreeMap<i64, Vec<u8>>,
    octets: Vec<u8>,
}

impl Wire {
    /// Takes one Ethernet frame; returns the messages it completed.
    fn frame(&mut self, frame: &[u8]) -> Vec<Seen> {
        let Some(segment) = segment(frame) else { return Vec::new() };
        let Segment { flow, sequence, syn, payload } = segment;
        if flow.1 != BGP && flow.3 != BGP {
            return Vec::new();
        }
        if syn {
            let stream = Stream { next: sequence.wrapping_add(1), ..Stream::default() };
            self.flows.insert(flow, stream);
            return Vec::new();
        }
        let Some(stream) = self.flows.get_mut(&flow) else { return Vec::new() };
        stream.take(sequence, payload);
        let mut seen = Vec::new();
        while let Some((kind, body)) = stream.message() {
            seen.push(Seen { at: Instant::now(), from: flow.0, kind, body });
        }
        seen
    }
}

impl Stream {
    fn take(&mut self, sequence: u32, payload: &[u8]) {
        if payload.is_empty() {
            return;
        }
        // Sequence numbers wrap; positions do not.
        let ahead = i64::from(sequence.wrapping_sub(self.next).cast_signed());
        self.early.insert(self.position + ahead, payload.to_vec());
        while let Some((start, payload)) = self.early.pop_first() {
            if start > self.position {
                self.early.insert(start, payload);
                return;
            }
            let known = usize::try_from(self.position - start).unwrap_or(usize::MAX);
            let fresh = payload.get(known..).unwrap_or_default();
            self.octets.extend_from_slice(fresh);
            self.position += i64::try_from(fresh.len()).unwrap_or(0);
            self.next = self.next.wrapping_add(u32::try_from(fresh.len()).unwrap_or(0));
        }
    }

    fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        let length = u16::from_be_bytes([*self.octets.get(16)?, *self.octets.get(17)?]);
        let length = usize::from(length).max(HEADER);
        if self.octets.len() < length {
            return None;
        }
        let message: Vec<u8> = self.octets.drain(..length).collect();
        Some((*message.get(18)?, message.get(HEADER..)?.to_vec()))
    }
}

struct Segment<'a> {
    flow: Flow,
    sequence: u32,
    syn: bool,
    payload: &'a [u8],
}

/// The TCP segment in an Ethernet frame, if there is one.
fn segment(frame: &[u8]) -> Option<Segment<'_>> {
    let ethertype = u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]);
    let packet = frame.get(14..)?;
    let (from, to, tcp): (IpAddr, IpAddr, &[u8]) = match ethertype {
        0x0800 if *packet.get(9)? == 6 => {
            let header = usize::from(packet.first()? & 0xf) * 4;
            let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
            let at = |start: usize| -> Option<Ipv4Addr> {
                Some(<[u8; 4]>::try_from(packet.get(start..start + 4)?).ok()?.into())
            };
            (at(12)?.into(), at(16)?.into(), packet.get(header..total)?)
        }
        0x86dd if *packet.get(6)? == 6 => {
            let length = usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
            let at = |start: usize| -> Option<Ipv6Addr> {
                Some(<[u8; 16]>::try_from(packet.get(start..start + 16)?).ok()?.into())
            };
            (at(8)?.into(), at(24)?.into(), packet.get(40..40 + length)?)
        }
        _ => return None,
    };
    let port = |at: usize| Some(u16::from_be_bytes([*tcp.get(at)?, *tcp.get(at + 1)?]));
    let flow = (from, port(0)?, to, port(2)?);
    let sequence = u32::from_be_bytes(<[u8; 4]>::try_from(tcp.get(4..8)?).ok()?);
    let header = usize::from(tcp.get(12)? >> 4) * 4;
    Some(Segment { flow, sequence, syn: tcp.get(13)? & 2 != 0, payload: tcp.get(header..)? })
}

#[cfg(test)]
mod tests {
    use super::{Stream, is_end_of_rib, kind};

    fn keepalive() -> Vec<u8> {
        let mut octets = vec![0xff; 16];
        octets.extend([0, 19, kind::KEEPALIVE]);
        octets
    }

    #[test]
    fn segments_out_of_order_and_repeated_make_whole_messages() {
        let mut octets = keepalive();
        octets.extend(keepalive());
        let mut stream = Stream { next: u32::MAX - 4, ..Stream::default() };
        let at = |offset: u32| (u32::MAX - 4).wrapping_add(offset);
        stream.take(at(20), &octets[20..]);
        assert!(stream.message().is_none());
        stream.take(at(0), &octets[..10]);
        stream.take(at(5), &octets[5..25]);
        assert_eq!(stream.message(), Some((kind::KEEPALIVE, vec![])));
        assert_eq!(stream.message(), Some((kind::KEEPALIVE, vec![])));
        assert_eq!(stream.message(), None);
    }

    #[test]
    fn an_end_of_rib_is_no_update_of_routes() {
        assert!(is_end_of_rib(&[0, 0, 0, 0]));
        assert!(is_end_of_rib(&[0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1]));
        assert!(!is_end_of_rib(&[0, 2, 8, 10, 0, 0]));
    }
}
