//! Netlink as nfnetlink uses it: a second header behind the first, and numbers in attributes
//! big-endian. The framing itself is `margay-netlink`'s.

use margay_netlink::wire::{self, NESTED};
pub use margay_netlink::wire::{
    ACK, APPEND, Attributes, CREATE, DONE, DUMP, DUMP_INTR, ERROR, EXCL, HEADER, Message, Messages,
    REQUEST, Refusal, align, verdict,
};

/// What nfnetlink and nf_tables say in the first octets of a message.
pub trait Netfilter<'a> {
    /// The attributes behind the nfnetlink header; `None` for a message too short to have one.
    fn attributes(&self) -> Option<Attributes<'a>>;
    /// The number of a message of nf_tables; `None` for other subsystems and control messages.
    fn nftables(&self) -> Option<u16>;
    /// The address family in the nfnetlink header.
    fn family(&self) -> Option<u8>;
}

impl<'a> Netfilter<'a> for Message<'a> {
    fn attributes(&self) -> Option<Attributes<'a>> {
        self.body.get(GENERIC..).map(Attributes)
    }

    fn nftables(&self) -> Option<u16> {
        (self.kind >> 8 == SUBSYSTEM).then_some(self.kind & 0xff)
    }

    fn family(&self) -> Option<u8> {
        self.body.first().copied()
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

/// The value of an attribute of eight octets.
pub fn u64_of(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}

/// The value of an attribute that is text ended by NUL.
pub fn text_of(value: &[u8]) -> Option<&str> {
    let end = value.iter().position(|octet| *octet == 0).unwrap_or(value.len());
    std::str::from_utf8(value.get(..end)?).ok()
}

/// Messages to be sent together.
#[derive(Debug, Default)]
pub struct Encoder(wire::Encoder);

impl Encoder {
    /// The octets so far.
    pub fn octets(&self) -> &[u8] {
        self.0.octets()
    }

    /// The octets themselves.
    pub fn into_octets(self) -> Vec<u8> {
        self.0.into_octets()
    }

    /// Opens a message with its nfnetlink header; to be closed by [`end`](Self::end) with what this
    /// returns. `resource` is the header's last field.
    pub fn begin(&mut self, kind: u16, flags: u16, seq: u32, family: u8, resource: u16) -> usize {
        let at = self.0.begin(kind, flags, seq);
        self.0.put(&[family, 0]);
        self.0.put(&resource.to_be_bytes());
        at
    }

    /// Closes a message.
    pub fn end(&mut self, at: usize) {
        self.0.end(at);
    }

    /// An attribute.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.0.attribute(kind, value);
    }

    /// An attribute of one octet.
    pub fn u8(&mut self, kind: u16, value: u8) {
        self.attribute(kind, &[value]);
    }

    /// An attribute of two octets.
    pub fn u16(&mut self, kind: u16, value: u16) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// An attribute of eight octets.
    pub fn u64(&mut self, kind: u16, value: u64) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// An attribute of four octets.
    pub fn u32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// An attribute that is text, ended by NUL.
    pub fn text(&mut self, kind: u16, value: &str) {
        let at = self.0.open(kind);
        self.0.put(value.as_bytes());
        self.0.put(&[0]);
        self.0.close(at);
    }

    /// Opens an attribute of attributes.
    pub fn open(&mut self, kind: u16) -> usize {
        self.0.open(kind | NESTED)
    }

    /// Closes it, padded to four octets.
    pub fn close(&mut self, at: usize) {
        self.0.close(at);
    }
}

/// The kind of an nf_tables message.
pub const fn kind(message: u16) -> u16 {
    SUBSYSTEM << 8 | message
}

/// Octets of the nfnetlink header behind the netlink header.
pub const GENERIC: usize = 4;
/// `NFNL_SUBSYS_NFTABLES`.
pub const SUBSYSTEM: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN`.
pub const BATCH_BEGIN: u16 = 16;
/// `NFNL_MSG_BATCH_END`.
pub const BATCH_END: u16 = 17;

#[cfg(test)]
mod tests;
