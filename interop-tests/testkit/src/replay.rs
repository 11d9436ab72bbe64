//! Plays recorded messages: one BGP session for each recorded peer, UPDATEs octet by octet as
//! they were, everything that comes back thrown away.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{lab::Host, mrt::Record};

const HEADER: usize = 19;
const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const NOTIFICATION: u8 = 3;
const KEEPALIVE: u8 = 4;
const AS_TRANS: u16 = 23456;
const HOLD_TIME: u16 = 180;
const PATIENCE: Duration = Duration::from_secs(20);

/// A peer of the recording and what it said.
#[derive(Debug, Clone)]
pub struct RecordedPeer {
    /// Its AS.
    pub asn: u32,
    /// Its address.
    pub address: Ipv4Addr,
    /// Whether its session had 4-octet AS numbers (RFC 6793).
    pub four_octet: bool,
    /// Its UPDATEs in order.
    pub updates: Vec<Vec<u8>>,
}

/// The IPv4 peers of a recording that sent UPDATEs, by address.
pub fn peers(records: &[Record]) -> Vec<RecordedPeer> {
    let mut peers: BTreeMap<Ipv4Addr, RecordedPeer> = BTreeMap::new();
    for record in records.iter().filter(|record| record.is_update()) {
        let IpAddr::V4(address) = record.peer_address else { continue };
        let peer = peers.entry(address).or_insert_with(|| RecordedPeer {
            asn: record.peer_asn,
            address,
            four_octet: record.four_octet,
            updates: Vec::new(),
        });
        peer.updates.push(record.message.clone());
    }
    peers.into_values().collect()
}

/// A session that is up; it is closed on drop.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
    stop: Arc<AtomicBool>,
    down: Arc<AtomicBool>,
}

impl Session {
    /// Waits on `host` until the speaker at `remote` calls `peer`'s address, and shakes hands.
    ///
    /// # Errors
    /// When nobody calls, or the OPEN is refused.
    pub fn accept(host: &Host, peer: &RecordedPeer) -> Result<Self> {
        let address = SocketAddr::from((peer.address, 179));
        let stream = host.enter(|| {
            let listener = TcpListener::bind(address).with_context(|| format!("on {address}"))?;
            listener.set_nonblocking(true)?;
            let end = Instant::now() + PATIENCE;
            loop {
                match listener.accept() {
                    Ok((stream, _)) => break Ok(stream),
                    Err(_) if Instant::now() < end => thread::sleep(Duration::from_millis(20)),
                    Err(e) => break Err(e).with_context(|| format!("nobody called {address}")),
                }
            }
        })?;
        stream.set_nonblocking(false)?;
        Self::establish(stream, peer)
    }

    fn establish(mut stream: TcpStream, peer: &RecordedPeer) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&open(peer))?;
        for wanted in [OPEN, KEEPALIVE] {
            let (kind, body) = read_message(&mut stream)?;
            if kind == NOTIFICATION {
                bail!("AS {} got NOTIFICATION {:?}", peer.asn, body.get(..2));
            }
            ensure!(kind == wanted, "AS {} got message type {kind}", peer.asn);
            if kind == OPEN {
                stream.write_all(&message(KEEPALIVE, &[]))?;
            }
        }
        let (stop, down) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let session = Self { stream: stream.try_clone()?, stop, down };
        session.read_on(stream)?;
        Ok(session)
    }

    /// Plays UPDATEs as they are.
    ///
    /// # Errors
    /// When the session is gone.
    pub fn play(&mut self, updates: &[Vec<u8>]) -> Result<()> {
        for update in updates {
            self.stream.write_all(update)?;
        }
        Ok(())
    }

    /// True when the other side has ended the session.
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// Reads and throws away what comes, and keeps the session alive.
    fn read_on(&self, mut reader: TcpStream) -> Result<()> {
        let (stop, down) = (Arc::clone(&self.stop), Arc::clone(&self.down));
        let mut writer = reader.try_clone()?;
        reader.set_read_timeout(Some(Duration::from_millis(500)))?;
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            let mut last = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                match reader.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
                // Between UPDATEs only: `play` writes whole messages, so does this.
                if last.elapsed() > Duration::from_secs(u64::from(HOLD_TIME) / 6) {
                    last = Instant::now();
                    if writer.write_all(&message(KEEPALIVE, &[])).is_err() {
                        break;
                    }
                }
            }
            down.store(true, Ordering::Relaxed);
        });
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The other side may have closed it already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// All of `peers` towards the speaker that calls them on `host`.
///
/// # Errors
/// When a session does not come up.
pub fn accept_all(host: &Host, peers: &[RecordedPeer]) -> Result<Vec<Session>> {
    thread::scope(|scope| {
        let all: Vec<_> =
            peers.iter().map(|peer| scope.spawn(|| Session::accept(host, peer))).collect();
        let joined = all.into_iter().map(|one| one.join().ok().context("a session panicked")?);
        joined.collect()
    })
}

/// UPDATEs that announce `prefixes` (each with 24 bits) by way of `next_hop`, packed.
pub fn announcements(asn: u32, next_hop: Ipv4Addr, prefixes: &[Ipv4Addr]) -> Vec<Vec<u8>> {
    let mut attributes = vec![0x40, 1, 1, 0, 0x40, 2, 6, 2, 1];
    attributes.extend(asn.to_be_bytes());
    attributes.extend([0x40, 3, 4]);
    attributes.extend(next_hop.octets());
    let update = |some: &[Ipv4Addr]| {
        let mut body = vec![0, 0];
        body.extend(u16::try_from(attributes.len()).unwrap_or(0).to_be_bytes());
        body.extend(&attributes);
        for prefix in some {
            let [a, b, c, _] = prefix.octets();
            body.extend([24, a, b, c]);
        }
        message(UPDATE, &body)
    };
    // 4096 octets hold a thousand prefixes of four octets less the head.
    prefixes.chunks(1000).map(update).collect()
}

/// The End-of-RIB of IPv4 unicast (RFC 4724 §2).
pub fn end_of_rib() -> Vec<u8> {
    message(UPDATE, &[0, 0, 0, 0])
}

/// `count` prefixes of 24 bits, one after another from 20.0.0.0 on.
pub fn prefixes(count: u32) -> Vec<Ipv4Addr> {
    let first = u32::from(Ipv4Addr::new(20, 0, 0, 0));
    (0..count).map(|number| Ipv4Addr::from(first + (number << 8))).collect()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut octets = vec![0xff; 16];
    octets.extend(u16::try_from(HEADER + body.len()).unwrap_or(u16::MAX).to_be_bytes());
    octets.push(kind);
    octets.extend(body);
    octets
}

/// IPv4 unicast, and 4-octet AS numbers where the recorded session had them.
fn open(peer: &RecordedPeer) -> Vec<u8> {
    let mut capabilities = vec![1, 4, 0, 1, 0, 1];
    if peer.four_octet {
        capabilities.extend([65, 4]);
        capabilities.extend(peer.asn.to_be_bytes());
    }
    let mut body = vec![4];
    body.extend(u16::try_from(peer.asn).unwrap_or(AS_TRANS).to_be_bytes());
    body.extend(HOLD_TIME.to_be_bytes());
    body.extend(peer.address.octets());
    let length = u8::try_from(capabilities.len()).unwrap_or(0);
    body.extend([length + 2, 2, length]);
    body.extend(capabilities);
    message(OPEN, &body)
}

fn read_message(stream: &mut TcpStream) -> Result<(u8, Vec<u8>)> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).context("reading a message")?;
    let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
    let mut body = vec![0; length.saturating_sub(HEADER)];
    stream.read_exact(&mut body).context("reading a message")?;
    Ok((header[18], body))
}

#[cfg(test)]
mod tests {
    use super::{RecordedPeer, open};

    #[test]
    fn a_two_octet_session_shows_its_as_and_no_capability_for_more() {
        let mut peer = RecordedPeer {
            asn: 28220,
            address: [200, 219, 130, 75].into(),
            four_octet: false,
            updates: Vec::new(),
        };
        let short = open(&peer);
        assert_eq!(short[20..22], 28220u16.to_be_bytes());
        peer.four_octet = true;
        assert_eq!(open(&peer).len(), short.len() + 6);
    }
}
