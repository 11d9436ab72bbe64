//! YAML and JSON texts as trees of nodes that know where they stood.
//!
//! Owns syntax: documents, positions, scalars as written. A plain YAML scalar stays undecided
//! (`1.10` may become a number, a string or an AS number) until a typed field reads it. Promises
//! that nesting and the growth by aliases are bounded. Leaves meaning to [`crate::wire`].

mod json;
mod node;
mod yaml;

pub(crate) use node::shorten;
pub use node::{Key, Node, Value};

use crate::fault::Position;

/// How deep lists and mappings may nest.
const MAX_DEPTH: usize = 64;
/// How many nodes the aliases of one document may add.
const MAX_ALIAS_NODES: usize = 100_000;

/// Why a text is no YAML or JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where reading stopped.
    pub at: Position,
    /// Why.
    pub reason: String,
}

/// One document of a text.
#[derive(Debug)]
pub struct Part<'a> {
    /// Its number, from 1.
    pub number: usize,
    /// Its root, `None` if nothing but comments stands in it.
    pub root: Result<Option<Node<'a>>, SyntaxError>,
}

/// Takes a text apart into its documents. A document that cannot be parsed does not keep the
/// others from being read. Documents without content are left out, but counted.
pub fn parse(text: &str) -> Vec<Part<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parts = Vec::new();
    for (number, (first_line, document)) in split(text).into_iter().enumerate() {
        let root = parse_one(document, first_line);
        if !matches!(root, Ok(None)) {
            parts.push(Part { number: number + 1, root });
        }
    }
    parts
}

/// The documents and the lines they start in. A line that starts with `---` always starts a
/// document, even within a block scalar.
fn split(text: &str) -> Vec<(u32, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut start_line) = (0, 1);
    let (mut offset, mut line) = (0, 1);
    for text_line in text.split_inclusive('\n') {
        let rest = text_line.strip_prefix("---");
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
            && offset > 0
        {
            parts.push((start_line, text.get(start..offset).unwrap_or_default()));
            (start, start_line) = (offset, line);
        }
        offset += text_line.len();
        line += 1;
    }
    parts.push((start_line, text.get(start..).unwrap_or_default()));
    // What stands before the first `---` is a document only if there is something in it.
    if parts.len() > 1 && parts.first().is_some_and(|(_, text)| is_blank(text)) {
        parts.remove(0);
    }
    parts
}

fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

fn parse_one(text: &str, first_line: u32) -> Result<Option<Node<'_>>, SyntaxError> {
    if text.trim_start().starts_with(['{', '[']) {
        match json::parse(text, first_line) {
            Ok(root) => return Ok(Some(root)),
            // A YAML flow mapping looks like JSON at first.
            Err(error) => {
                return match yaml::parse(text, first_line) {
                    Ok(root) => Ok(root),
                    Err(_) => Err(error),
                };
            }
        }
    }
    yaml::parse(text, first_line)
}
