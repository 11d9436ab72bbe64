//! AS_PATH and AS4_PATH values, with AS numbers of 2 or 4 octets.

use super::{AsPath, AsSegment, MAX_SEGMENT_LEN};
use crate::{Asn, wire::len8};

/// Octets of an AS number in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AsnWidth {
    Two,
    Four,
}

impl AsnWidth {
    /// The width on a session where both sides, or not both, sent capability 65.
    pub(crate) fn negotiated(four_octet_asn: bool) -> Self {
        if four_octet_asn { Self::Four } else { Self::Two }
    }

    fn octets(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }
}

/// What makes a path malformed (RFC 7606 §7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error("segment type {0} is unknown")]
    SegmentType(u8),
    #[error("a segment is empty")]
    EmptySegment,
    #[error("a segment of {0} numbers runs past the end")]
    Overrun(u8),
    #[error("one octet is left over")]
    LeftOver,
}

impl AsPath {
    /// Reads the value of the attribute; AS 0 is the caller's to find.
    pub(crate) fn from_wire(mut octets: &[u8], width: AsnWidth) -> Result<Self, PathError> {
        let mut path = Self::default();
        while let Some((&kind, rest)) = octets.split_first() {
            let (&count, rest) = rest.split_first().ok_or(PathError::LeftOver)?;
            if !(1..=4).contains(&kind) {
                return Err(PathError::SegmentType(kind));
            }
            if count == 0 {
                return Err(PathError::EmptySegment);
            }
            let (numbers, rest) = rest
                .split_at_checked(usize::from(count) * width.octets())
                .ok_or(PathError::Overrun(count))?;
            let asns: Vec<Asn> = match width {
                AsnWidth::Four => numbers
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|asn| Asn(u32::from_be_bytes(*asn)))
                    .collect(),
                AsnWidth::Two => numbers
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|asn| Asn(u32::from(u16::from_be_bytes(*asn))))
                    .collect(),
            };
            let segment =
                AsSegment::from_wire_type(kind, asns).ok_or(PathError::SegmentType(kind))?;
            path.0.push(segment);
            octets = rest;
        }
        Ok(path)
    }

    /// Octets that [`AsPath::to_wire`] appends.
    pub(crate) fn wire_len(&self, width: AsnWidth) -> usize {
        self.wire_segments(width).map(|(_, asns)| 2 + asns.len() * width.octets()).sum()
    }

    /// Appends the value of the attribute. Segments longer than [`MAX_SEGMENT_LEN`] are split,
    /// empty ones left out, and so is what a value of 65535 octets does not hold.
    pub(crate) fn to_wire(&self, width: AsnWidth, out: &mut Vec<u8>) {
        for (kind, asns) in self.wire_segments(width) {
            out.extend_from_slice(&[kind, len8(asns.len())]);
            for asn in asns {
                match width {
                    AsnWidth::Four => out.extend_from_slice(&asn.0.to_be_bytes()),
                    AsnWidth::Two => out.extend_from_slice(&asn.two_octet().to_be_bytes()),
                }
            }
        }
    }

    /// Type and numbers of each segment to be written.
    fn wire_segments(&self, width: AsnWidth) -> impl Iterator<Item = (u8, &[Asn])> {
        let mut left = usize::from(u16::MAX);
        self.0
            .iter()
            .flat_map(|segment| {
                segment.asns().chunks(MAX_SEGMENT_LEN).map(|asns| (segment.wire_type(), asns))
            })
            .take_while(move |(_, asns)| {
                let fits = left.checked_sub(2 + asns.len() * width.octets());
                left = fits.unwrap_or(0);
                fits.is_some()
            })
    }
}
