//! One session: its socket, what waits to be sent, and framing of what comes.

use std::{
    collections::VecDeque,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{heard::Heard, sys, wire::HEADER};

/// Room for one read, beside a message begun before.
pub const READ: usize = 1 << 18;
/// The longest message there is (RFC 8654).
const LONGEST: usize = 65_535;

/// Where a session stands.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub enum State {
    /// To be connected (again) at `retry`.
    Idle,
    Connecting,
    OpenSent,
    OpenConfirm,
    Up,
    /// Ended after the start: never to come back.
    Gone,
}

/// A session toward the daemon.
#[derive(Debug)]
pub struct Connection {
    pub socket: Option<OwnedFd>,
    /// Local address.
    pub source: u32,
    pub asn: u32,
    /// Seconds offered in OPEN.
    pub hold: u16,
    /// How often it sends a KEEPALIVE.
    pub keepalive_every: Duration,
    /// The peer of the plan it plays; `None` for monitors and helpers.
    pub peer: Option<usize>,
    pub state: State,
    pub retry: Instant,
    pub since: Instant,
    pub last_sent: Instant,
    /// When anything came last, and the longest silence so far.
    pub last_heard: Instant,
    pub silence: Duration,
    /// What it has been told, when that counts.
    pub heard: Option<Box<Heard>>,
    /// Why it ended.
    pub why: String,
    queue: VecDeque<Arc<Vec<u8>>>,
    sent_of_first: usize,
    watching_room: bool,
    rest: Vec<u8>,
}

/// The end of a stream, in words.
pub type Ended = String;

impl Connection {
    /// A session to be opened at once.
    pub fn new(source: u32, asn: u32, peer: Option<usize>, heard: Option<Box<Heard>>) -> Self {
        let now = Instant::now();
        Self {
            socket: None,
            source,
            asn,
            hold: 600,
            keepalive_every: Duration::from_secs(20),
            peer,
            state: State::Idle,
            retry: now,
            since: now,
            last_sent: now,
            last_heard: now,
            silence: Duration::ZERO,
            heard,
            why: String::new(),
            queue: VecDeque::new(),
            sent_of_first: 0,
            watching_room: false,
            rest: Vec::new(),
        }
    }

    /// Takes a fresh socket whose connect has begun; it is watched for room.
    pub fn begin(&mut self, socket: OwnedFd) {
        self.socket = Some(socket);
        self.state = State::Connecting;
        self.since = Instant::now();
        self.queue.clear();
        self.sent_of_first = 0;
        self.rest.clear();
        self.watching_room = true;
    }

    /// Queues octets.
    pub fn push(&mut self, epoll: &sys::Epoll, id: u64, octets: Arc<Vec<u8>>) {
        let Some(socket) = &self.socket else { return };
        if octets.is_empty() {
            return;
        }
        self.queue.push_back(octets);
        if !self.watching_room {
            self.watching_room = true;
            epoll.modify(socket, id, true);
        }
    }

    /// Is everything handed to the socket?
    pub fn sent_all(&self) -> bool {
        self.queue.is_empty()
    }

    /// Sends what the socket takes, a few megabytes at most so that others get their turn.
    pub fn flush(&mut self, epoll: &sys::Epoll, id: u64) -> Result<(), Ended> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let mut budget = 4usize << 20;
        while let Some(first) = self.queue.front() {
            let end = first.len().min(self.sent_of_first + (1 << 20));
            let Ok(n) = usize::try_from(sys::send(socket, &first[self.sent_of_first..end])) else {
                return match sys::errno() {
                    libc::EAGAIN => Ok(()),
                    errno => Err(format!("send: errno {errno}")),
                };
            };
            self.last_sent = Instant::now();
            self.sent_of_first += n;
            if self.sent_of_first == first.len() {
                self.queue.pop_front();
                self.sent_of_first = 0;
            }
            budget = budget.saturating_sub(n);
            if budget == 0 {
                return Ok(());
            }
        }
        if self.watching_room {
            self.watching_room = false;
            epoll.modify(socket, id, false);
        }
        Ok(())
    }

    /// Throws away what came, inside the kernel.
    pub fn discard(&mut self) -> Result<(), Ended> {
        let Some(socket) = &self.socket else { return Ok(()) };
        for _ in 0..4 {
            match sys::discard(socket, 1 << 20) {
                0 => return Err("closed by the daemon".into()),
                n if n < 0 => return again(),
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads once into `buffer` ([`READ`] and a message long) and gives each whole message, type
    /// and body, to `each`. A message that is not whole yet is kept for the next read.
    pub fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        mut each: impl FnMut(&mut Self, u8, &[u8], Instant) -> Result<(), Ended>,
    ) -> Result<(), Ended> {
        let Some(socket) = &self.socket else { return Ok(()) };
        buffer.resize(READ + LONGEST, 0);
        let kept = self.rest.len();
        buffer[..kept].copy_from_slice(&self.rest);
        let length = match sys::recv(socket, &mut buffer[kept..]) {
            0 => return Err("closed by the daemon".into()),
            n if n < 0 => return again(),
            n => kept + n as usize,
        };
        let now = Instant::now();
        self.silence = self.silence.max(now.duration_since(self.last_heard));
        self.last_heard = now;
        let mut rest = &buffer[..length];
        while rest.len() >= HEADER {
            let size = usize::from(u16::from_be_bytes([rest[16], rest[17]]));
            if size < HEADER {
                return Err("a message shorter than its header".into());
            }
            let Some((message, tail)) = rest.split_at_checked(size) else { break };
            rest = tail;
            each(self, message[18], &message[HEADER..], now)?;
        }
        self.rest.clear();
        self.rest.extend_from_slice(rest);
        Ok(())
    }

    /// The longest silence since the last call, the one that lasts included.
    pub fn take_silence(&mut self) -> Duration {
        let silence = self.silence.max(self.last_heard.elapsed());
        self.silence = Duration::ZERO;
        silence
    }
}

fn again() -> Result<(), Ended> {
    match sys::errno() {
        libc::EAGAIN => Ok(()),
        errno => Err(format!("recv: errno {errno}")),
    }
}
