//! Octets taken apart and put together: what every decoder and encoder of this crate shares.

use std::fmt;

/// Attribute flags (RFC 4271 §4.3).
pub(crate) mod flag {
    /// Not well-known.
    pub(crate) const OPTIONAL: u8 = 0x80;
    /// Passed on to other peers.
    pub(crate) const TRANSITIVE: u8 = 0x40;
    /// Some router on the way did not know it.
    pub(crate) const PARTIAL: u8 = 0x20;
    /// The length has two octets.
    pub(crate) const EXTENDED: u8 = 0x10;
    /// The three bits that mean something beyond one message.
    pub(crate) const LASTING: u8 = OPTIONAL | TRANSITIVE | PARTIAL;
}

/// Splits off a big-endian 16-bit number.
pub(crate) fn take_u16(octets: &[u8]) -> Option<(u16, &[u8])> {
    let (head, rest) = octets.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*head), rest))
}

/// Splits off a field that follows its own 16-bit length.
pub(crate) fn take_counted16(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = take_u16(octets)?;
    rest.split_at_checked(usize::from(len))
}

/// Splits off a field that follows its own 8-bit length.
pub(crate) fn take_counted8(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = octets.split_first()?;
    rest.split_at_checked(usize::from(*len))
}

/// A length as two octets; what we encode never exceeds them, a caller's excess saturates.
pub(crate) fn len16(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}

/// A length as one octet, saturating likewise.
pub(crate) fn len8(len: usize) -> u8 {
    u8::try_from(len).unwrap_or(u8::MAX)
}

/// Octets as hexadecimal digits, for logs.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// One path attribute as it stands in a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WireAttribute<'a> {
    pub(crate) flags: u8,
    pub(crate) code: u8,
    pub(crate) value: &'a [u8],
    /// Header and value.
    pub(crate) whole: &'a [u8],
}

/// The block ends inside an attribute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CutShort<'a> {
    /// Type code of the attribute, if that much is left.
    pub(crate) code: Option<u8>,
    /// What is left.
    pub(crate) whole: &'a [u8],
}

/// The attributes of a block in wire order; ends after the first that is cut short.
#[derive(Debug, Clone)]
pub(crate) struct WireAttributes<'a> {
    rest: &'a [u8],
}

impl<'a> WireAttributes<'a> {
    pub(crate) fn new(block: &'a [u8]) -> Self {
        Self { rest: block }
    }

    fn take(block: &'a [u8]) -> Option<(WireAttribute<'a>, &'a [u8])> {
        let (&[flags, code], rest) = block.split_first_chunk::<2>()?;
        let (value, rest) =
            if flags & flag::EXTENDED == 0 { take_counted8(rest)? } else { take_counted16(rest)? };
        let whole = block.get(..block.len() - rest.len())?;
        Some((WireAttribute { flags, code, value, whole }, rest))
    }
}

impl<'a> Iterator for WireAttributes<'a> {
    type Item = Result<WireAttribute<'a>, CutShort<'a>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match Self::take(self.rest) {
            Some((attribute, rest)) => {
                self.rest = rest;
                Some(Ok(attribute))
            }
            None => {
                let whole = std::mem::take(&mut self.rest);
                Some(Err(CutShort { code: whole.get(1).copied(), whole }))
            }
        }
    }
}
