//! Netlink framing as nfnetlink uses it: headers in host order, numbers in attributes big-endian.

/// A message inside a received buffer.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// `nlmsg_type`: subsystem in the upper octet, message in the lower.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub seq: u32,
    /// `nlmsg_pid`: whose request caused it; 0 = the kernel itself.
    pub port: u32,
    /// What follows the netlink header.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes behind the nfnetlink header; `None` for a message too short to have one.
    pub fn attributes(&self) -> Option<Attributes<'a>> {
        self.body.get(GENERIC..).map(Attributes)
    }

    /// The number of a message of nf_tables; `None` for other subsystems and control messages.
    pub fn nftables(&self) -> Option<u16> {
        (self.kind >> 8 == SUBSYSTEM).then_some(self.kind & 0xff)
    }

    /// The address family in the nfnetlink header.
    pub fn family(&self) -> Option<u8> {
        self.body.first().copied()
    }
}

/// The messages of a buffer; ends at the first that does not fit.
#[derive(Debug, Clone)]
pub struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let (header, _) = self.0.split_first_chunk::<HEADER>()?;
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, p0, p1, p2, p3] = *header;
        let len = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
        let body = self.0.get(HEADER..len)?;
        self.0 = self.0.get(align(len)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            seq: u32::from_ne_bytes([s0, s1, s2, s3]),
            port: u32::from_ne_bytes([p0, p1, p2, p3]),
            body,
        })
    }
}

/// Attributes: number (without the nested and byte-order bits) and value.
#[derive(Debug, Clone)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let ([l0, l1, k0, k1], _) = self.0.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let kind = u16::from_ne_bytes([*k0, *k1]) & !(NESTED | BYTE_ORDER);
        let value = self.0.get(4..len)?;
        self.0 = self.0.get(align(len)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// The value of an attribute of one octet.
pub fn u8_of(value: &[u8]) -> Option<u8> {
    match value {
        [v] => Some(*v),
        _ => None,
    }
}

/// The value of an attribute of two octets.
pub fn u16_of(value: &[u8]) -> Option<u16> {
    value.try_into().ok().map(u16::from_be_bytes)
}

/// The value of an attribute of four octets.
pub fn u32_of(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

/// The value of an attribute that is text ended by NUL.
pub fn text_of(value: &[u8]) -> Option<&str> {
    let end = value.iter().position(|octet| *octet == 0).unwrap_or(value.len());
    std::str::from_utf8(value.get(..end)?).ok()
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

    /// The octets themselves.
    pub fn into_octets(self) -> Vec<u8> {
        self.buf
    }

    /// Opens a message with its nfnetlink header; to be closed by [`end`](Self::end) with what this
    /// returns. `resource` is the header's last field.
    pub fn begin(&mut self, kind: u16, flags: u16, seq: u32, family: u8, resource: u16) -> usize {
        let at = self.buf.len();
        self.buf.extend_from_slice(&[0; 4]);
        self.buf.extend_from_slice(&kind.to_ne_bytes());
        self.buf.extend_from_slice(&flags.to_ne_bytes());
        self.buf.extend_from_slice(&seq.to_ne_bytes());
        self.buf.extend_from_slice(&[0; 4]);
        self.buf.extend_from_slice(&[family, 0]);
        self.buf.extend_from_slice(&resource.to_be_bytes());
        at
    }

    /// Closes a message.
    pub fn end(&mut self, at: usize) {
        let len = u32::try_from(self.buf.len() - at).unwrap_or(u32::MAX);
        if let Some(field) = self.buf.get_mut(at..at + 4) {
            field.copy_from_slice(&len.to_ne_bytes());
        }
    }

    /// An attribute.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let at = self.header(kind);
        self.buf.extend_from_slice(value);
        self.close(at);
    }

    /// An attribute of one octet.
    pub fn u8(&mut self, kind: u16, value: u8) {
        self.attribute(kind, &[value]);
    }

    /// An attribute of two octets.
    pub fn u16(&mut self, kind: u16, value: u16) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// An attribute of four octets.
    pub fn u32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// An attribute that is text, ended by NUL.
    pub fn text(&mut self, kind: u16, value: &str) {
        let at = self.header(kind);
        self.buf.extend_from_slice(value.as_bytes());
        self.buf.push(0);
        self.close(at);
    }

    /// Opens an attribute of attributes.
    pub fn open(&mut self, kind: u16) -> usize {
        self.header(kind | NESTED)
    }

    /// Closes it, padded to four octets.
    pub fn close(&mut self, at: usize) {
        // Lists of elements are split long before; nothing else comes near 65535. If it did, the
        // kernel would refuse the message, not read beyond it.
        let len = u16::try_from(self.buf.len() - at).unwrap_or(u16::MAX);
        if let Some(field) = self.buf.get_mut(at..at + 2) {
            field.copy_from_slice(&len.to_ne_bytes());
        }
        self.buf.resize(align(self.buf.len()), 0);
    }

    fn header(&mut self, kind: u16) -> usize {
        let at = self.buf.len();
        self.buf.extend_from_slice(&[0; 2]);
        self.buf.extend_from_slice(&kind.to_ne_bytes());
        at
    }
}

/// What an `NLMSG_ERROR` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Positive errno; 0 = an acknowledgement.
    pub errno: i32,
    /// `NLMSGERR_ATTR_MSG`.
    pub text: Option<String>,
    /// `NLMSGERR_ATTR_OFFS`: where in the refused message the offending attribute begins.
    pub offset: Option<usize>,
}

/// The body of an `NLMSG_ERROR`; `None` when it is cut short.
pub fn verdict(m: &Message<'_>) -> Option<Verdict> {
    let (code, rest) = m.body.split_first_chunk::<4>()?;
    let errno = i32::from_ne_bytes(*code).checked_neg()?;
    let mut verdict = Verdict { errno, text: None, offset: None };
    if m.flags & ACK_TLVS != 0 {
        let (original, _) = rest.split_first_chunk::<4>()?;
        let original = usize::try_from(u32::from_ne_bytes(*original)).ok()?;
        // A capped answer repeats the header of the request only.
        let skip = if m.flags & CAPPED != 0 { HEADER } else { align(original) };
        for (kind, value) in Attributes(rest.get(skip..).unwrap_or_default()) {
            match kind {
                EXT_TEXT => {
                    verdict.text = text_of(value).map(str::to_owned);
                }
                EXT_OFFSET => {
                    let offset = value.try_into().ok().map(u32::from_ne_bytes);
                    verdict.offset = offset.and_then(|at| usize::try_from(at).ok());
                }
                _ => {}
            }
        }
    }
    Some(verdict)
}

/// Rounds up to the alignment of messages and attributes.
pub fn align(len: usize) -> usize {
    len.saturating_add(3) & !3
}

/// The kind of an nf_tables message.
pub const fn kind(message: u16) -> u16 {
    SUBSYSTEM << 8 | message
}

/// Octets of a netlink header.
pub const HEADER: usize = 16;
/// Octets of the nfnetlink header behind it.
pub const GENERIC: usize = 4;
/// `NFNL_SUBSYS_NFTABLES`.
pub const SUBSYSTEM: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN`.
pub const BATCH_BEGIN: u16 = 16;
/// `NFNL_MSG_BATCH_END`.
pub const BATCH_END: u16 = 17;
/// `NLMSG_ERROR`.
pub const ERROR: u16 = 2;
/// `NLMSG_DONE`.
pub const DONE: u16 = 3;
/// `NLM_F_REQUEST`.
pub const REQUEST: u16 = 1;
/// `NLM_F_DUMP_INTR`: the dump is inconsistent.
pub const DUMP_INTR: u16 = 0x10;
/// `NLM_F_DUMP`.
pub const DUMP: u16 = 0x300;
/// `NLM_F_EXCL`.
pub const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`.
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`.
pub const APPEND: u16 = 0x800;

const NESTED: u16 = 0x8000;
const BYTE_ORDER: u16 = 0x4000;
const CAPPED: u16 = 0x100;
const ACK_TLVS: u16 = 0x200;
const EXT_TEXT: u16 = 1;
const EXT_OFFSET: u16 = 2;

#[cfg(test)]
mod tests;
