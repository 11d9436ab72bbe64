//! A conversation with the kernel in one namespace: short batches, each refusal with what was asked.

use std::io;

use margay_netlink::wire::{
    ACK, DONE, DUMP, DUMP_INTR, ERROR, Encoder, Message, REQUEST, Refusal, verdict,
};
use margay_netlink::{Protocol, Socket, Wait};

use crate::attach::{AttachError, Stage};

/// Something to be asked of the kernel.
pub trait Ask {
    /// Puts the message, with these flags beside its own.
    fn encode(&self, encoder: &mut Encoder, flags: u16, seq: u32);
    /// In plain words, for an error.
    fn describe(&self) -> String;
}

/// A routing socket and its next sequence number.
#[derive(Debug)]
pub struct Channel {
    socket: Socket,
    buf: Vec<u8>,
    seq: u32,
}

/// How an exchange ended.
enum End {
    Done,
    /// The kernel changed what it told while it told it.
    Interrupted,
    Refused(Refusal),
}

impl Channel {
    /// Opens one in the thread's namespace; it stays there.
    pub fn open() -> Result<Self, AttachError> {
        let opened = Socket::open(Protocol::Route).and_then(|socket| {
            socket.give_up_after(PATIENCE_SECS)?;
            Ok(socket)
        });
        let socket = opened
            .map_err(|err| AttachError::System { what: "cannot open a routing socket", err })?;
        Ok(Self { socket, buf: vec![0; 1 << 16], seq: 0 })
    }

    /// Has the kernel do all of these. The first refusal is the error; those after it in the same
    /// batch may have been done.
    pub fn write<A: Ask>(&mut self, stage: Stage, asks: &[A]) -> Result<(), AttachError> {
        let Some(more) = asks.len().checked_sub(1) else { return Ok(()) };
        let first = self.seq;
        let mut encoder = Encoder::default();
        for (at, ask) in asks.iter().enumerate() {
            let flags = if at == more { ACK } else { 0 };
            ask.encode(&mut encoder, REQUEST | flags, self.seq);
            self.seq = self.seq.wrapping_add(1);
        }
        let last = self.seq.wrapping_sub(1);
        let mut refusals =
            self.socket.commit(encoder.octets(), last, &mut self.buf).map_err(no_answer)?;
        refusals.sort_by_key(|(seq, _)| seq.wrapping_sub(first));
        let Some((seq, refusal)) = refusals.into_iter().next() else { return Ok(()) };
        let position = usize::try_from(seq.wrapping_sub(first)).ok();
        let asked = position.and_then(|at| asks.get(at)).map(Ask::describe);
        let Refusal { errno, text: said, .. } = refusal;
        let err = io::Error::from_raw_os_error(errno);
        Err(AttachError::Kernel { stage, asked: asked.unwrap_or_default(), err, said })
    }

    /// Asks for one thing: what `take` makes of the answer. `None` when there is no such thing.
    pub fn one<T>(
        &mut self,
        ask: &impl Ask,
        mut take: impl FnMut(&Message<'_>) -> Option<T>,
    ) -> Result<Option<T>, AttachError> {
        let mut found = None;
        let end = self.exchange(ask, ACK, |m| {
            if let Some(t) = take(m) {
                found = Some(t);
            }
        })?;
        match end {
            End::Refused(r) if matches!(r.errno, libc::ENODEV | libc::ENOENT) => Ok(None),
            End::Refused(r) => Err(unread(ask, r)),
            End::Done | End::Interrupted => Ok(found),
        }
    }

    /// Asks for all of a kind: what `take` makes of each answer.
    pub fn all<T>(
        &mut self,
        ask: &impl Ask,
        mut take: impl FnMut(&Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, AttachError> {
        let mut found = Vec::new();
        for _ in 0..ATTEMPTS {
            found.clear();
            match self.exchange(ask, DUMP, |m| found.extend(take(m)))? {
                End::Done => break,
                End::Interrupted => {}
                // A kernel without IPv6 has nothing of it.
                End::Refused(r) if matches!(r.errno, libc::EAFNOSUPPORT | libc::EOPNOTSUPP) => {
                    break;
                }
                End::Refused(r) => return Err(unread(ask, r)),
            }
        }
        Ok(found)
    }

    fn exchange(
        &mut self,
        ask: &impl Ask,
        flags: u16,
        mut each: impl FnMut(&Message<'_>),
    ) -> Result<End, AttachError> {
        let seq = self.seq;
        self.seq = self.seq.wrapping_add(1);
        let mut encoder = Encoder::default();
        ask.encode(&mut encoder, REQUEST | flags, seq);
        self.socket.send(encoder.octets()).map_err(no_answer)?;
        let mut interrupted = false;
        loop {
            for m in self.socket.receive(&mut self.buf, Wait::Block).map_err(no_answer)? {
                if m.seq != seq {
                    continue;
                }
                interrupted |= m.flags & DUMP_INTR != 0;
                match m.kind {
                    ERROR | DONE => {
                        return Ok(match verdict(&m) {
                            Some(Err(refusal)) => End::Refused(refusal),
                            _ if interrupted => End::Interrupted,
                            _ => End::Done,
                        });
                    }
                    _ => each(&m),
                }
            }
        }
    }
}

fn unread(ask: &impl Ask, refusal: Refusal) -> AttachError {
    let Refusal { errno, text: said, .. } = refusal;
    let err = io::Error::from_raw_os_error(errno);
    AttachError::Kernel { stage: Stage::Look, asked: ask.describe(), err, said }
}

fn no_answer(err: io::Error) -> AttachError {
    let err = match err.kind() {
        io::ErrorKind::WouldBlock => io::Error::from_raw_os_error(libc::ETIMEDOUT),
        _ => err,
    };
    AttachError::System { what: "no answer from the kernel", err }
}

/// An answer comes within milliseconds, but the kernel's lock on links may be held by others.
const PATIENCE_SECS: u8 = 20;
/// A dump that the kernel changed meanwhile is made again this often, then taken as it is.
const ATTEMPTS: usize = 4;
