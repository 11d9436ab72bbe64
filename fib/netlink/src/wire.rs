//! Netlink framing: headers, attributes, acknowledgements. Integers of headers are in host order; in
//! attributes each part of the kernel has its own way.

use std::io;

/// A message inside a received buffer.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub seq: u32,
    /// `nlmsg_pid`: whose request caused it; 0 = the kernel itself.
    pub port: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

/// The messages of a buffer; ends at the first that does not fit.
#[derive(Debug, Clone)]
pub struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let mut r = Reader(self.0);
        let len = usize::try_from(r.u32()?).ok()?;
        let kind = r.u16()?;
        let flags = r.u16()?;
        let seq = r.u32()?;
        let port = r.u32()?;
        let body = self.0.get(HEADER..len)?;
        self.0 = self.0.get(align(len)..).unwrap_or_default();
        Some(Message { kind, flags, seq, port, body })
    }
}

/// Takes fixed fields off the front of a body.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// One octet.
    pub fn u8(&mut self) -> Option<u8> {
        let (&v, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(v)
    }

    /// Two octets.
    pub fn u16(&mut self) -> Option<u16> {
        let (v, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_ne_bytes(*v))
    }

    /// Four octets.
    pub fn u32(&mut self) -> Option<u32> {
        let (v, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_ne_bytes(*v))
    }

    /// So many octets.
    pub fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (v, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(v)
    }

    /// The rest as attributes.
    pub fn attributes(self) -> Attributes<'a> {
        Attributes(self.0)
    }
}

/// Attributes: number (without the nested and byte-order bits) and value.
#[derive(Debug, Clone)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let mut r = Reader(self.0);
        let len = usize::from(r.u16()?);
        let kind = r.u16()? & 0x3fff;
        let value = self.0.get(4..len)?;
        self.0 = self.0.get(align(len)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// The value of an attribute of four octets.
pub fn number(value: &[u8]) -> Option<u32> {
    Reader(value).u32()
}

/// Messages to be sent together.
#[derive(Debug, Default)]
pub struct Encoder {
    buf: Vec<u8>,
}

impl Encoder {
    /// The octets so far.
    pub fn octets(&self) -> &[u8] {
        &self.buf
    }

    /// An empty one that uses this room.
    pub fn over(mut buf: Vec<u8>) -> Self {
        buf.clear();
        Self { buf }
    }

    /// The octets themselves.
    pub fn into_octets(self) -> Vec<u8> {
        self.buf
    }

    /// Opens a message; to be closed by [`end`](Self::end) with what this returns.
    pub fn begin(&mut self, kind: u16, flags: u16, seq: u32) -> usize {
        let at = self.buf.len();
        self.buf.extend_from_slice(&[0; 4]);
        self.buf.extend_from_slice(&kind.to_ne_bytes());
        self.buf.extend_from_slice(&flags.to_ne_bytes());
        self.buf.extend_from_slice(&seq.to_ne_bytes());
        self.buf.extend_from_slice(&[0; 4]);
        at
    }

    /// Closes a message.
    pub fn end(&mut self, at: usize) {
        let len = u32::try_from(self.buf.len() - at).unwrap_or(u32::MAX);
        if let Some(field) = self.buf.get_mut(at..at + 4) {
            field.copy_from_slice(&len.to_ne_bytes());
        }
    }

    /// Fixed octets of a body.
    pub fn put(&mut self, octets: &[u8]) {
        self.buf.extend_from_slice(octets);
    }

    /// An attribute.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let at = self.open(kind);
        self.buf.extend_from_slice(value);
        self.close(at);
    }

    /// Opens a structure whose first two octets are its length: an attribute or a next hop of a
    /// list (then the second two octets are flags and hops).
    pub fn open(&mut self, kind: u16) -> usize {
        let at = self.buf.len();
        self.buf.extend_from_slice(&[0; 2]);
        self.buf.extend_from_slice(&kind.to_ne_bytes());
        at
    }

    /// Closes it, padded to four octets.
    pub fn close(&mut self, at: usize) {
        // Long lists are split before; nothing else comes near 65535. If it did, the kernel would
        // refuse the message, not read beyond it.
        let len = u16::try_from(self.buf.len() - at).unwrap_or(u16::MAX);
        if let Some(field) = self.buf.get_mut(at..at + 2) {
            field.copy_from_slice(&len.to_ne_bytes());
        }
        self.buf.resize(align(self.buf.len()), 0);
    }
}

/// A refusal of the kernel: errno and, where it gave them, the reason in words and the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Positive errno.
    pub errno: i32,
    /// `NLMSGERR_ATTR_MSG`.
    pub text: Option<String>,
    /// `NLMSGERR_ATTR_OFFS`: where in the refused message the offending attribute begins, octets.
    pub offset: Option<usize>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plain = io::Error::from_raw_os_error(self.errno);
        match &self.text {
            Some(text) => write!(f, "{text} ({plain})"),
            None => write!(f, "{plain}"),
        }
    }
}

impl From<Refusal> for io::Error {
    fn from(r: Refusal) -> Self {
        match r.text {
            None => Self::from_raw_os_error(r.errno),
            Some(_) => Self::new(Self::from_raw_os_error(r.errno).kind(), r.to_string()),
        }
    }
}

/// What an `NLMSG_ERROR` says: done, or refused; `None` when it is cut short.
pub fn verdict(m: &Message<'_>) -> Option<Result<(), Refusal>> {
    let mut r = Reader(m.body);
    let errno = i32::from_ne_bytes(r.u32()?.to_ne_bytes()).checked_neg()?;
    if errno == 0 {
        return Some(Ok(()));
    }
    let mut refusal = Refusal { errno, text: None, offset: None };
    if m.flags & ACK_TLVS != 0 {
        let original = usize::try_from(Reader(r.0).u32()?).ok()?;
        // A capped answer repeats the header of the request only.
        let skip = if m.flags & CAPPED != 0 { HEADER } else { align(original) };
        for (kind, value) in Attributes(r.0.get(skip..).unwrap_or_default()) {
            match kind {
                EXT_TEXT => {
                    let text = String::from_utf8_lossy(value);
                    refusal.text = Some(text.trim_end_matches('\0').to_owned());
                }
                EXT_OFFSET => {
                    refusal.offset = number(value).and_then(|at| usize::try_from(at).ok())
                }
                _ => {}
            }
        }
    }
    Some(Err(refusal))
}

/// Rounds up to the alignment of messages and attributes.
pub fn align(len: usize) -> usize {
    len.saturating_add(3) & !3
}

/// Octets of a message header.
pub const HEADER: usize = 16;
/// `NLMSG_ERROR`: a refusal or an acknowledgement.
pub const ERROR: u16 = 2;
/// `NLMSG_DONE`: end of a dump.
pub const DONE: u16 = 3;
/// `NLM_F_REQUEST`.
pub const REQUEST: u16 = 1;
/// `NLM_F_ACK`.
pub const ACK: u16 = 4;
/// `NLM_F_DUMP_INTR`: the dump is inconsistent.
pub const DUMP_INTR: u16 = 0x10;
/// `NLM_F_DUMP`.
pub const DUMP: u16 = 0x300;
/// `NLM_F_REPLACE`.
pub const REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`.
pub const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`.
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`.
pub const APPEND: u16 = 0x800;
/// `NLA_F_NESTED`, in the number of an attribute of attributes.
pub const NESTED: u16 = 0x8000;

const CAPPED: u16 = 0x100;
const ACK_TLVS: u16 = 0x200;
const EXT_TEXT: u16 = 1;
const EXT_OFFSET: u16 = 2;

#[cfg(test)]
mod tests;
