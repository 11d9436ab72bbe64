//! The selector language: `role == "db" && has(rack)`.
//!
//! Owns its syntax, canonical form, evaluation over label sets and how selectors of policies and
//! rules combine with namespaces. Promises that `parse(canonical(x)) == x`, and that a fault names
//! its column. Leaves to others which selector a field needs.

mod expression;
pub mod index;
mod parse;
pub mod scope;

use std::{fmt, str::FromStr};

pub use expression::{Expression, Labels};
pub use index::{Event, Index};

use crate::wire::rules::{Answer, allow};

/// A selector as it was written, and what it means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    text: String,
    expression: Expression,
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: found {found}, expected {expected}")]
pub struct SelectorError {
    /// The column of the fault in characters, from 1; one past the end if something is missing.
    pub column: usize,
    /// What stands there.
    pub found: String,
    /// What could stand there.
    pub expected: &'static str,
}

impl Selector {
    /// What it means.
    pub fn expression(&self) -> &Expression {
        &self.expression
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The form that equal selectors share, whatever their blanks, quotes and order of sets.
    pub fn canonical(&self) -> String {
        self.expression.to_string()
    }

    /// Whether a label set is selected.
    pub fn matches(&self, labels: &impl Labels) -> bool {
        self.expression.matches(labels)
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Ok(Self { text: text.to_owned(), expression: parse::parse(text)? })
    }
}

impl From<Expression> for Selector {
    fn from(expression: Expression) -> Self {
        Self { text: expression.to_string(), expression }
    }
}

impl fmt::Display for Selector {
    /// The text as it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

textual!(Selector, "a selector such as \"role == 'db'\"", |text| {
    text.parse().map_err(|error: SelectorError| format!("a selector; {error}"))
});

/// A rule: at most 1024 octets, and no `global()` in it.
pub(crate) fn plain(selector: &Selector) -> Answer {
    short(selector)?;
    allow(!selector.expression.has_global(), || "a selector without global()".into())
}

/// A rule: at most 1024 octets; `global()` stands alone or not at all.
pub(crate) fn global_alone(selector: &Selector) -> Answer {
    short(selector)?;
    let alone = selector.expression == Expression::Global;
    allow(alone || !selector.expression.has_global(), || {
        "a selector without global(), or global() alone".into()
    })
}

/// A rule: at most 1024 octets.
pub(crate) fn short(selector: &Selector) -> Answer {
    allow(selector.text.len() <= 1024, || "at most 1024 characters".into())
}

#[cfg(test)]
mod tests;
