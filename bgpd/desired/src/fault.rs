//! What is wrong with a configuration, and where.

use std::fmt;

/// Whether a fault keeps the configuration from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot be used.
    Error,
    /// It can, but is probably not what is meant.
    Warning,
}

/// The offending piece of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// The whole line, secrets hidden.
    pub line: String,
    /// Where the piece begins in it, in characters.
    pub start: usize,
    /// How many characters it has on this line; at least 1.
    pub len: usize,
}

/// One thing that is wrong. Displayed on one line: `FILE:LINE: PATH: TEXT`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {}{text}", Prefix(path))]
pub struct Fault {
    /// Whether it keeps the configuration from being used.
    pub severity: Severity,
    /// The file, as the caller named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Dotted path of the key; empty where the text is no TOML.
    pub path: String,
    /// What was found and what is allowed.
    pub text: String,
    /// The offending piece.
    pub snippet: Snippet,
}

impl Fault {
    /// For people: the fault, its line of the text, and a mark under the piece that is meant.
    pub fn render(&self) -> String {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        // Tabs stay tabs, so that the mark stands where the piece does.
        let indent: String = self
            .snippet
            .line
            .chars()
            .take(self.snippet.start)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let mark = "^".repeat(self.snippet.len);
        let line = &self.snippet.line;
        format!("{severity}: {self}\n{gutter} |\n{number} | {line}\n{gutter} | {indent}{mark}\n")
    }
}

struct Prefix<'a>(&'a str);

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}: ", self.0) }
    }
}
