//! AS paths: what decision and policy ask of them, how they change on the way, their text.

use std::{fmt, str::FromStr};

use crate::Asn;

mod wire;
pub(crate) use wire::AsnWidth;

/// Most AS numbers a segment holds on the wire.
pub const MAX_SEGMENT_LEN: usize = 255;

/// One segment of an AS path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AsSegment {
    /// Type 1.
    Set(Vec<Asn>),
    /// Type 2.
    Sequence(Vec<Asn>),
    /// Type 3 (RFC 5065).
    ConfedSequence(Vec<Asn>),
    /// Type 4 (RFC 5065).
    ConfedSet(Vec<Asn>),
}

impl AsSegment {
    /// The segment of a type code of the wire; `None` for an unknown type.
    pub fn from_wire_type(code: u8, asns: Vec<Asn>) -> Option<Self> {
        match code {
            1 => Some(Self::Set(asns)),
            2 => Some(Self::Sequence(asns)),
            3 => Some(Self::ConfedSequence(asns)),
            4 => Some(Self::ConfedSet(asns)),
            _ => None,
        }
    }

    /// Its type code on the wire.
    pub fn wire_type(&self) -> u8 {
        match self {
            Self::Set(_) => 1,
            Self::Sequence(_) => 2,
            Self::ConfedSequence(_) => 3,
            Self::ConfedSet(_) => 4,
        }
    }

    /// Its AS numbers, in wire order.
    pub fn asns(&self) -> &[Asn] {
        match self {
            Self::Set(asns)
            | Self::Sequence(asns)
            | Self::ConfedSequence(asns)
            | Self::ConfedSet(asns) => asns,
        }
    }

    /// Likewise, to be changed; must not be left empty.
    pub fn asns_mut(&mut self) -> &mut Vec<Asn> {
        match self {
            Self::Set(asns)
            | Self::Sequence(asns)
            | Self::ConfedSequence(asns)
            | Self::ConfedSet(asns) => asns,
        }
    }

    /// AS_CONFED_SEQUENCE or AS_CONFED_SET.
    pub fn is_confed(&self) -> bool {
        matches!(self, Self::ConfedSequence(_) | Self::ConfedSet(_))
    }

    /// AS_SET or AS_CONFED_SET, deprecated by RFC 9774.
    pub fn is_set(&self) -> bool {
        matches!(self, Self::Set(_) | Self::ConfedSet(_))
    }

    /// What it adds to the path length: a set counts 1, confederation segments nothing
    /// (RFC 4271 §9.1.2.2, RFC 5065 §5.3).
    pub fn hops(&self) -> usize {
        match self {
            Self::Sequence(asns) => asns.len(),
            Self::Set(_) => 1,
            Self::ConfedSequence(_) | Self::ConfedSet(_) => 0,
        }
    }
}

/// AS_PATH with AS4_PATH merged in (RFC 6793 §4.2.3). Adjacent sequences may stay apart as on the
/// wire; no segment is empty or longer than [`MAX_SEGMENT_LEN`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct AsPath(pub Vec<AsSegment>);

impl AsPath {
    /// A path of one sequence; empty without numbers.
    pub fn sequence(asns: impl IntoIterator<Item = Asn>) -> Self {
        let asns: Vec<Asn> = asns.into_iter().collect();
        Self(asns.chunks(MAX_SEGMENT_LEN).map(|c| AsSegment::Sequence(c.to_vec())).collect())
    }

    /// Whether it has no segment at all: a route of our own AS.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The length that the decision process compares.
    pub fn hops(&self) -> usize {
        self.0.iter().map(AsSegment::hops).sum()
    }

    /// Every number in wire order, of segments of any type.
    pub fn asns(&self) -> impl Iterator<Item = Asn> {
        self.0.iter().flat_map(|segment| segment.asns().iter().copied())
    }

    /// Whether `asn` stands anywhere in the path.
    pub fn contains(&self, asn: Asn) -> bool {
        self.asns().any(|other| other == asn)
    }

    /// How often `asn` stands in AS_SEQUENCE and AS_SET segments.
    pub fn count(&self, asn: Asn) -> usize {
        self.count_in(asn, false)
    }

    /// How often `asn` stands in confederation segments.
    pub fn count_confed(&self, asn: Asn) -> usize {
        self.count_in(asn, true)
    }

    fn count_in(&self, asn: Asn, confed: bool) -> usize {
        self.0
            .iter()
            .filter(|segment| segment.is_confed() == confed)
            .flat_map(AsSegment::asns)
            .filter(|other| **other == asn)
            .count()
    }

    /// The AS the route came from outside our confederation: the first of the AS_SEQUENCE that
    /// follows any leading confederation segments. `None` for an empty path (a route of our own AS)
    /// and where a set comes first. MED is compared between paths where this is equal.
    pub fn neighbour(&self) -> Option<Asn> {
        match self.0.iter().find(|segment| !segment.is_confed())? {
            AsSegment::Sequence(asns) => asns.first().copied(),
            _ => None,
        }
    }

    /// The left-most number, whatever confederation it belongs to; `None` where a set comes first.
    pub fn first(&self) -> Option<Asn> {
        match self.0.first()? {
            AsSegment::Sequence(asns) | AsSegment::ConfedSequence(asns) => asns.first().copied(),
            AsSegment::Set(_) | AsSegment::ConfedSet(_) => None,
        }
    }

    /// The AS that originated the route: the last number, `None` where the path is empty or ends
    /// in anything but an AS_SEQUENCE (RFC 6811 §2).
    pub fn origin(&self) -> Option<Asn> {
        match self.0.last()? {
            AsSegment::Sequence(asns) => asns.last().copied(),
            _ => None,
        }
    }

    /// Whether a segment is an AS_SET or AS_CONFED_SET.
    pub fn has_set(&self) -> bool {
        self.0.iter().any(AsSegment::is_set)
    }

    /// Whether every number is of private use, and there is one.
    pub fn is_wholly_private(&self) -> bool {
        !self.is_empty() && self.asns().all(Asn::is_private)
    }

    /// Puts `asn` in front so many times, as towards an eBGP peer.
    pub fn prepend(&mut self, asn: Asn, times: usize) {
        self.prepend_kind(asn, times, AsSegment::Sequence);
    }

    /// Puts the member AS in front, as towards a peer in another member of our confederation.
    pub fn prepend_confed(&mut self, asn: Asn) {
        self.prepend_kind(asn, 1, AsSegment::ConfedSequence);
    }

    fn prepend_kind(&mut self, asn: Asn, times: usize, make: fn(Vec<Asn>) -> AsSegment) {
        let wire_type = make(Vec::new()).wire_type();
        let mut left = times;
        if let Some(first) = self.0.first_mut().filter(|s| s.wire_type() == wire_type) {
            let asns = first.asns_mut();
            let fits = left.min(MAX_SEGMENT_LEN.saturating_sub(asns.len()));
            asns.splice(..0, std::iter::repeat_n(asn, fits));
            left -= fits;
        }
        while left > 0 {
            let fits = left.min(MAX_SEGMENT_LEN);
            self.0.insert(0, make(vec![asn; fits]));
            left -= fits;
        }
    }

    /// Removes every confederation segment, as on leaving the confederation.
    pub fn strip_confed(&mut self) {
        self.0.retain(|segment| !segment.is_confed());
    }

    /// Keeps the numbers `keep` says, and drops segments that end up empty.
    pub fn retain(&mut self, mut keep: impl FnMut(Asn) -> bool) {
        for segment in &mut self.0 {
            segment.asns_mut().retain(|asn| keep(*asn));
        }
        self.0.retain(|segment| !segment.asns().is_empty());
    }

    /// Replaces each number by what `with` makes of it.
    pub fn map(&mut self, mut with: impl FnMut(Asn) -> Asn) {
        for asn in self.0.iter_mut().flat_map(|segment| segment.asns_mut()) {
            *asn = with(*asn);
        }
    }

    /// The path behind a 2-octet AS_PATH and the AS4_PATH beside it (RFC 6793 §4.2.3).
    ///
    /// The leading hops that AS4_PATH lacks are taken from AS_PATH, with the confederation segments
    /// before, between and behind them. An AS4_PATH that is longer is ignored.
    pub(crate) fn merged(self, as4: Self) -> Self {
        let Some(mut missing) = self.hops().checked_sub(as4.hops()) else {
            return self;
        };
        let mut merged = Vec::with_capacity(self.0.len() + as4.0.len());
        for mut segment in self.0 {
            if segment.is_confed() {
                merged.push(segment);
                continue;
            }
            if missing == 0 {
                break;
            }
            let hops = segment.hops();
            if hops > missing {
                segment.asns_mut().truncate(missing);
                merged.push(segment);
                break;
            }
            missing -= hops;
            merged.push(segment);
        }
        let mut rest = as4.0.into_iter();
        if let Some(next) = rest.next() {
            match (merged.last_mut(), next) {
                (Some(AsSegment::Sequence(taken)), AsSegment::Sequence(asns))
                    if taken.len() + asns.len() <= MAX_SEGMENT_LEN =>
                {
                    taken.extend(asns);
                }
                (_, next) => merged.push(next),
            }
        }
        merged.extend(rest);
        Self(merged)
    }
}

/// `65001 65002 {1,2}`; confederation sequences in `( )`, confederation sets in `[ ]`.
impl fmt::Display for AsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            let (open, separator, close) = match segment {
                AsSegment::Sequence(_) => ("", " ", ""),
                AsSegment::Set(_) => ("{", ",", "}"),
                AsSegment::ConfedSequence(_) => ("(", " ", ")"),
                AsSegment::ConfedSet(_) => ("[", ",", "]"),
            };
            f.write_str(open)?;
            for (index, asn) in segment.asns().iter().enumerate() {
                if index > 0 {
                    f.write_str(separator)?;
                }
                asn.fmt(f)?;
            }
            f.write_str(close)?;
        }
        Ok(())
    }
}

/// The text is not an AS path as [`AsPath`] displays it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an AS path such as \"65001 65002 {{65003,65004}}\"")]
pub struct AsPathParseError(pub String);

/// The inverse of the display; adjacent numbers make one sequence.
impl FromStr for AsPath {
    type Err = AsPathParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_text(text).ok_or_else(|| AsPathParseError(text.to_owned()))
    }
}

fn parse_text(text: &str) -> Option<AsPath> {
    let numbers = |text: &str, separators: &[char]| -> Option<Vec<Asn>> {
        text.split(separators).filter(|t| !t.is_empty()).map(|t| t.parse().ok()).collect()
    };
    let mut path = AsPath::default();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let bracket = rest.find(['{', '(', '[']).unwrap_or(rest.len());
        let (plain, tail) = rest.split_at_checked(bracket)?;
        path.0.extend(AsPath::sequence(numbers(plain, &[' '])?).0);
        let mut after = tail.chars();
        let Some(open) = after.next() else { break };
        let (close, make): (char, fn(Vec<Asn>) -> AsSegment) = match open {
            '{' => ('}', AsSegment::Set),
            '(' => (')', AsSegment::ConfedSequence),
            _ => (']', AsSegment::ConfedSet),
        };
        let (inner, tail) = after.as_str().split_once(close)?;
        let asns = numbers(inner, &[' ', ','])?;
        if asns.is_empty() || asns.len() > MAX_SEGMENT_LEN {
            return None;
        }
        path.0.push(make(asns));
        rest = tail.trim_start();
    }
    Some(path)
}

#[cfg(test)]
mod tests;
