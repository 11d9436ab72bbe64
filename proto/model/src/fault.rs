//! What is wrong with a document, and where.

use std::fmt;

/// A place in a text; both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Into a field of a mapping.
    Key(String),
    /// Into an item of a list, from 0.
    Index(usize),
}

/// Where a value lies in its document: `spec.ingress[0].action`.
///
/// A key that is no plain word is quoted: `metadata.labels["example.com/rack"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(pub Vec<Step>);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if is_word(key) => {
                    write!(f, "{}{key}", if depth == 0 { "" } else { "." })?;
                }
                Step::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

fn is_word(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-')
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The text is no YAML or JSON; nothing more of this document is known.
    Syntax(String),
    /// No such field exists here.
    Unknown {
        /// The field that may have been meant.
        meant: Option<&'static str>,
    },
    /// The field existed in an older release and means nothing now: a warning.
    Removed,
    /// The field stands twice in one mapping.
    Duplicate {
        /// Where it stood first.
        first: Position,
    },
    /// A field that must be there is not.
    Missing {
        /// What it would be.
        allowed: String,
    },
    /// The value cannot stand there: its type, its form, or beside the rest of the object.
    Refused {
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(reason) => write!(f, "cannot be parsed: {reason}"),
            Self::Unknown { meant } => {
                f.write_str("field is not recognized or is in the wrong location")?;
                meant.map_or(Ok(()), |meant| write!(f, ", did you mean {meant}?"))
            }
            Self::Removed => f.write_str("field of an older release, ignored"),
            Self::Duplicate { first } => {
                write!(f, "field stands twice, first in line {}", first.line)
            }
            Self::Missing { allowed } => write!(f, "missing, expected {allowed}"),
            Self::Refused { found, allowed } => write!(f, "found {found}, expected {allowed}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The document of the text, from 1.
    pub document: usize,
    /// The line and column; `None` if the value did not come from a text.
    pub position: Option<Position>,
    /// The value's place in the document; empty for the whole document.
    pub path: Path,
    /// What is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for Fault {
    /// `document 2, line 7: spec.blockSize: found 33, expected 20 to 32`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "document {}", self.document)?;
        if let Some(at) = self.position {
            write!(f, ", line {}, column {}", at.line, at.column)?;
        }
        if !self.path.0.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// Everything that is wrong with a text, in the order of the text. Never empty as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }

    pub(crate) fn sort(&mut self) {
        self.0.sort_by_key(|fault| (fault.document, fault.position));
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Faults {
    /// One fault a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
