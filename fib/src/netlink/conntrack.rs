//! Makes the kernel forget connections of an address that is somebody else's now: what is left of the
//! former workload's would let packets past policy, or send them where they were sent before.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;

use margay_netlink::Socket;
use margay_netlink::wire::{ACK, DONE, DUMP, ERROR, Encoder, Message, REQUEST, Reader, verdict};
use margay_netlink::{Protocol, Wait};

/// Deletes every tracked connection in which one of the addresses has a part, before or after
/// translation; how many there were.
///
/// A kernel that tracks no connections has none. The caller's thread says in which namespace. Blocks
/// while the kernel walks its table: some milliseconds, and as many more for each hundred thousand
/// connections, so it is not for an async task, and cheaper for many addresses at once. Whoever moves
/// an address does this before the new route stands.
pub fn forget_connections(addresses: &[IpAddr]) -> io::Result<usize> {
    let meant: BTreeSet<IpAddr> = addresses.iter().copied().collect();
    // Without conntrack in the kernel there is no such file; then the kernel says so itself.
    let count = fs::read_to_string(COUNT);
    let counted = !count.as_ref().is_err_and(|err| err.kind() == io::ErrorKind::NotFound);
    let tracked = count.ok().and_then(|n| n.trim().parse::<usize>().ok());
    if meant.is_empty() || tracked == Some(0) {
        return Ok(0);
    }
    let found = Work::open().and_then(|mut work| {
        let found = match tracked {
            Some(many) if many > FEW => work.asked_for(&meant),
            _ => work.picked(&meant),
        };
        Ok((work, found?))
    });
    let (mut work, found) = match found {
        Err(err) if err.raw_os_error().is_some_and(|e| untracked(e, counted)) => return Ok(0),
        found => found?,
    };
    let mut deleted = 0;
    for connections in found.into_iter().collect::<Vec<_>>().chunks(BATCH) {
        deleted += work.delete(connections)?;
    }
    Ok(deleted)
}

/// What names a connection, as the kernel told it: attributes to be sent back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Connection {
    family: u8,
    tuple: Vec<u8>,
    zone: Option<Vec<u8>>,
    id: Option<Vec<u8>>,
}

struct Work {
    socket: Socket,
    buf: Vec<u8>,
    seq: u32,
}

impl Work {
    fn open() -> io::Result<Self> {
        let socket = Socket::open(Protocol::Netfilter)?;
        socket.give_up_after(PATIENCE_SECS)?;
        Ok(Self { socket, buf: vec![0; 1 << 16], seq: 0 })
    }

    /// All connections that are meant, out of one walk in which the kernel tells everything.
    fn picked(&mut self, meant: &BTreeSet<IpAddr>) -> io::Result<BTreeSet<Connection>> {
        let mut found = BTreeSet::new();
        self.dump(None, meant, &mut found)?;
        Ok(found)
    }

    /// The same out of walks in which the kernel tells only what is asked for: four for each address,
    /// but less to be read.
    fn asked_for(&mut self, meant: &BTreeSet<IpAddr>) -> io::Result<BTreeSet<Connection>> {
        let mut found = BTreeSet::new();
        for address in meant {
            for part in PARTS {
                match self.dump(Some((*address, part)), meant, &mut found) {
                    Ok(()) => {}
                    // Older than filters.
                    Err(err)
                        if matches!(err.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)) =>
                    {
                        return self.picked(meant);
                    }
                    Err(err) => return Err(err),
                }
            }
        }
        Ok(found)
    }

    /// Reads connections that the filter lets through, and keeps those that are meant: a kernel that
    /// does not know the filter tells all of them.
    fn dump(
        &mut self,
        filter: Option<(IpAddr, Part)>,
        meant: &BTreeSet<IpAddr>,
        found: &mut BTreeSet<Connection>,
    ) -> io::Result<()> {
        let seq = self.next();
        let mut e = Encoder::default();
        let at = e.begin(CT_GET, REQUEST | DUMP, seq);
        e.put(&[filter.map_or(0, |(address, _)| family(address)), 0, 0, 0]);
        if let Some((address, (tuple, source))) = filter {
            let outer = e.open(tuple | NESTED);
            let ip = e.open(CTA_TUPLE_IP | NESTED);
            match address {
                IpAddr::V4(a) => e.attribute(if source { 1 } else { 2 }, &a.octets()),
                IpAddr::V6(a) => e.attribute(if source { 3 } else { 4 }, &a.octets()),
            }
            e.close(ip);
            e.close(outer);
            let flags: u32 = if source { 1 } else { 2 };
            let filter = e.open(CTA_FILTER | NESTED);
            let flags = |of: u16| if of == tuple { flags } else { 0 };
            e.attribute(CTA_FILTER_ORIG_FLAGS, &flags(CTA_TUPLE_ORIG).to_ne_bytes());
            e.attribute(CTA_FILTER_REPLY_FLAGS, &flags(CTA_TUPLE_REPLY).to_ne_bytes());
            e.close(filter);
        }
        e.end(at);
        self.socket.send(e.octets())?;
        loop {
            for m in self.socket.receive(&mut self.buf, Wait::Block).map_err(late)? {
                if m.seq != seq {
                    continue;
                }
                match m.kind {
                    ERROR | DONE => {
                        return match verdict(&m) {
                            Some(Err(refused)) => Err(plain(refused.errno)),
                            _ => Ok(()),
                        };
                    }
                    _ => found.extend(connection(&m, meant)),
                }
            }
        }
    }

    /// How many were deleted; those that ended meanwhile are not.
    fn delete(&mut self, connections: &[Connection]) -> io::Result<usize> {
        let mut e = Encoder::default();
        let mut last = self.seq;
        for (n, connection) in connections.iter().enumerate() {
            last = self.next();
            let ack = if n + 1 == connections.len() { ACK } else { 0 };
            let at = e.begin(CT_DELETE, REQUEST | ack, last);
            e.put(&[connection.family, 0, 0, 0]);
            e.attribute(CTA_TUPLE_ORIG | NESTED, &connection.tuple);
            for (kind, value) in [(CTA_ZONE, &connection.zone), (CTA_ID, &connection.id)] {
                if let Some(value) = value {
                    e.attribute(kind, value);
                }
            }
            e.end(at);
        }
        let refusals = self.socket.commit(e.octets(), last, &mut self.buf).map_err(late)?;
        match refusals.iter().find(|(_, r)| r.errno != libc::ENOENT) {
            Some((_, refusal)) => Err(plain(refusal.errno)),
            None => Ok(connections.len() - refusals.len()),
        }
    }

    fn next(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }
}

/// The connection a message tells, if one of the addresses has a part in it.
fn connection(m: &Message<'_>, meant: &BTreeSet<IpAddr>) -> Option<Connection> {
    let mut r = Reader(m.body);
    let family = *r.bytes(4)?.first()?;
    let mut part = false;
    let (mut tuple, mut zone, mut id) = (None, None, None);
    for (kind, value) in r.attributes() {
        if matches!(kind, CTA_TUPLE_ORIG | CTA_TUPLE_REPLY) {
            part |= has(value, meant);
        }
        match kind {
            CTA_TUPLE_ORIG => tuple = Some(value.to_vec()),
            CTA_ZONE => zone = Some(value.to_vec()),
            CTA_ID => id = Some(value.to_vec()),
            _ => {}
        }
    }
    part.then_some(Connection { family, tuple: tuple?, zone, id })
}

/// Whether a tuple names one of the addresses.
fn has(tuple: &[u8], meant: &BTreeSet<IpAddr>) -> bool {
    let ips = Reader(tuple).attributes().filter(|(kind, _)| *kind == CTA_TUPLE_IP);
    let mut ips = ips.flat_map(|(_, ip)| Reader(ip).attributes());
    ips.any(|(_, value)| address(value).is_some_and(|address| meant.contains(&address)))
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    u8::try_from(family).unwrap_or(0)
}

/// Whether a refusal says that there are no connections. `EINVAL` says so where the kernel does not
/// count them either: it has `nfnetlink`, but nothing that answers for connections (no module
/// `nf_conntrack_netlink`). Where it counts them some are there, and cannot be ended.
fn untracked(errno: i32, counted: bool) -> bool {
    UNTRACKED.contains(&errno) || (errno == libc::EINVAL && !counted)
}

fn plain(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

fn late(err: io::Error) -> io::Error {
    match err.kind() {
        io::ErrorKind::WouldBlock => plain(libc::ETIMEDOUT),
        _ => err,
    }
}

/// A tuple, and whether its source (else its destination) is meant.
type Part = (u16, bool);
const PARTS: [Part; 4] = [
    (CTA_TUPLE_ORIG, true),
    (CTA_TUPLE_ORIG, false),
    (CTA_TUPLE_REPLY, true),
    (CTA_TUPLE_REPLY, false),
];
/// What a kernel without connection tracking, or without a way to speak of it, says; see
/// [`untracked`].
const UNTRACKED: [i32; 3] = [libc::EPROTONOSUPPORT, libc::ENOSYS, libc::ENOPROTOOPT];
/// How many connections there are in the namespace of who asks.
const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
/// Up to here reading all of them costs less than more walks of the kernel.
const FEW: usize = 30_000;
/// Messages at once.
const BATCH: usize = 256;
const PATIENCE_SECS: u8 = 20;
/// `NFNL_SUBSYS_CTNETLINK` with `IPCTNL_MSG_CT_GET`.
const CT_GET: u16 = 0x101;
/// With `IPCTNL_MSG_CT_DELETE`.
const CT_DELETE: u16 = 0x102;
const NESTED: u16 = 0x8000;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;

#[cfg(test)]
mod tests;
