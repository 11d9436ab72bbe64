//! AS paths as text, and sets of patterns over it.

use std::fmt;

use bgp_packet::{AsPath, AsSegment, Asn};

use super::automaton::{self, Automaton, PatternError};

/// Patterns over the text of an AS path, found anywhere in it unless they say `^` or `$`.
///
/// The text is what [`as_path_text`] writes. `_` stands for a border of a number: the start, the
/// end, a space, comma or bracket; `_65001_` is thus the AS 65001 anywhere.
#[derive(Clone)]
pub struct AsPathSet {
    patterns: Vec<String>,
    automaton: Automaton,
}

impl AsPathSet {
    /// A set of all these.
    ///
    /// # Errors
    /// A pattern that is no regular expression, or an automaton that would be too large.
    pub fn new(patterns: Vec<String>) -> Result<Self, PatternError> {
        let texts: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let automaton = Automaton::new(&texts, borders)?;
        Ok(Self { patterns, automaton })
    }

    /// Whether a pattern is a regular expression; [`new`](Self::new) names the first only that is
    /// none.
    ///
    /// # Errors
    /// It is none.
    pub fn check(pattern: &str) -> Result<(), PatternError> {
        automaton::check(pattern, &borders(pattern))
    }

    /// Whether one of the patterns is found in the path.
    pub fn contains(&self, path: &AsPath) -> bool {
        let mut run = self.automaton.run();
        write_path(path, &mut |octets| run.push(octets));
        run.finish()
    }

    /// As written.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }
}

impl fmt::Debug for AsPathSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.patterns.fmt(f)
    }
}

impl PartialEq for AsPathSet {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Eq for AsPathSet {}

/// The path for people and patterns: numbers separated by spaces, an AS_SET as `{1,2}`, a
/// confederation's sequence as `(1 2)` and its set as `[1,2]`. Empty for an empty path.
pub fn as_path_text(path: &AsPath) -> String {
    let mut text = String::new();
    write_path(path, &mut |octets| {
        text.extend(octets.iter().map(|&octet| char::from(octet)));
    });
    text
}

/// Length as the decision process counts it: a set is one, a confederation's segments nothing
/// (RFC 4271 §9.1.2.2, RFC 5065 §5.3).
pub fn as_path_len(path: &AsPath) -> usize {
    path.0
        .iter()
        .map(|segment| match segment {
            AsSegment::Sequence(asns) => asns.len(),
            AsSegment::Set(_) => 1,
            AsSegment::ConfedSequence(_) | AsSegment::ConfedSet(_) => 0,
        })
        .sum()
}

fn write_path(path: &AsPath, sink: &mut dyn FnMut(&[u8])) {
    for (index, segment) in path.0.iter().enumerate() {
        if index > 0 {
            sink(b" ");
        }
        let (open, asns, separator, close): (&[u8], &[Asn], &[u8], &[u8]) = match segment {
            AsSegment::Sequence(asns) => (b"", asns, b" ", b""),
            AsSegment::Set(asns) => (b"{", asns, b",", b"}"),
            AsSegment::ConfedSequence(asns) => (b"(", asns, b" ", b")"),
            AsSegment::ConfedSet(asns) => (b"[", asns, b",", b"]"),
        };
        sink(open);
        for (index, asn) in asns.iter().enumerate() {
            if index > 0 {
                sink(separator);
            }
            write_number(asn.0, sink);
        }
        sink(close);
    }
}

fn write_number(number: u32, sink: &mut dyn FnMut(&[u8])) {
    let mut digits = Digits::new();
    digits.prepend_number(number);
    sink(digits.as_slice());
}

/// Decimal text on the stack, from its end: for every AS number and community a pattern looks at.
pub(super) struct Digits {
    octets: [u8; Self::ROOM],
    start: usize,
}

impl Digits {
    /// Two numbers of five digits and a colon, or one of ten.
    const ROOM: usize = 11;

    pub(super) fn new() -> Self {
        Self { octets: [0; Self::ROOM], start: Self::ROOM }
    }

    pub(super) fn prepend(&mut self, octet: u8) {
        self.start = self.start.saturating_sub(1);
        if let Some(slot) = self.octets.get_mut(self.start) {
            *slot = octet;
        }
    }

    pub(super) fn prepend_number(&mut self, mut number: u32) {
        loop {
            self.prepend(b"0123456789".get((number % 10) as usize).copied().unwrap_or(b'0'));
            number /= 10;
            if number == 0 {
                return;
            }
        }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.octets.get(self.start..).unwrap_or(&[])
    }
}

/// Replaces `_` by what it stands for, but where it is escaped or in a bracket expression.
fn borders(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut escaped = false;
    let mut brackets = 0usize;
    for c in pattern.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => brackets += 1,
            ']' => brackets = brackets.saturating_sub(1),
            '_' if brackets == 0 => {
                out.push_str(r"(?:^|$|[ ,{}()\[\]])");
                continue;
            }
            _ => {}
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests;
