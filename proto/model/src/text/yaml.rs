//! YAML with positions, from the events of `saphyr-parser`.

use std::{borrow::Cow, collections::BTreeMap};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::{
    MAX_ALIAS_NODES, MAX_DEPTH, SyntaxError,
    node::{Key, Node, Value},
};
use crate::fault::Position;

/// Reads one document; `None` if nothing but comments stands in it.
pub fn parse(text: &str, first_line: u32) -> Result<Option<Node<'_>>, SyntaxError> {
    let mut builder = Builder { first_line, ..Builder::default() };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| builder.scan_error(&error))?;
        let at = builder.position(&span.start);
        builder.event(event, at)?;
    }
    // An empty document is one plain scalar without characters.
    Ok(builder.root.filter(|root| !root.is_null()))
}

/// An open list or mapping.
struct Open<'a> {
    at: Position,
    anchor: usize,
    kind: OpenKind<'a>,
}

enum OpenKind<'a> {
    List(Vec<Node<'a>>),
    Map(Vec<(Key<'a>, Node<'a>)>, Option<Key<'a>>),
}

/// What an alias stands for.
struct Anchored<'a> {
    node: Node<'a>,
    /// Its nodes.
    size: usize,
    /// How deep they nest.
    depth: usize,
}

#[derive(Default)]
struct Builder<'a> {
    first_line: u32,
    open: Vec<Open<'a>>,
    anchors: BTreeMap<usize, Anchored<'a>>,
    alias_nodes: usize,
    root: Option<Node<'a>>,
}

impl<'a> Builder<'a> {
    fn position(&self, mark: &Marker) -> Position {
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX >> 1);
        Position {
            line: self.first_line.saturating_add(small(mark.line())).saturating_sub(1),
            column: small(mark.col()).saturating_add(1),
        }
    }

    fn scan_error(&self, error: &ScanError) -> SyntaxError {
        SyntaxError { at: self.position(error.marker()), reason: error.info().to_owned() }
    }

    fn event(&mut self, event: Event<'a>, at: Position) -> Result<(), SyntaxError> {
        let error = |reason: &str| SyntaxError { at, reason: reason.to_owned() };
        match event {
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(text, style, tag.as_deref())
                    .map_err(|tag| error(&format!("the tag {tag} means nothing here")))?;
                self.add(Node { at, value }, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                self.open(Open { at, anchor, kind: OpenKind::List(Vec::new()) })
            }
            Event::MappingStart(anchor, _) => {
                self.open(Open { at, anchor, kind: OpenKind::Map(Vec::new(), None) })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Err(error("nothing to close")) };
                let value = match open.kind {
                    OpenKind::List(items) => Value::List(items),
                    OpenKind::Map(entries, _) => Value::Map(merged(entries)?),
                };
                self.add(Node { at: open.at, value }, open.anchor)
            }
            Event::Alias(anchor) => {
                let Some(anchored) = self.anchors.get(&anchor) else {
                    return Err(error("the alias has no anchor, or stands within it"));
                };
                self.alias_nodes = self.alias_nodes.saturating_add(anchored.size);
                if self.alias_nodes > MAX_ALIAS_NODES {
                    return Err(error("aliases make the document too large"));
                }
                if self.open.len() + anchored.depth > MAX_DEPTH {
                    return Err(error("nested too deep"));
                }
                let node = anchored.node.clone();
                self.add(node, 0)
            }
        }
    }

    fn open(&mut self, open: Open<'a>) -> Result<(), SyntaxError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(SyntaxError { at: open.at, reason: "nested too deep".into() });
        }
        self.open.push(open);
        Ok(())
    }

    fn add(&mut self, node: Node<'a>, anchor: usize) -> Result<(), SyntaxError> {
        if anchor > 0 {
            let (size, depth) = measure(&node);
            self.anchors.insert(anchor, Anchored { node: node.clone(), size, depth });
        }
        let error = |reason: &str| SyntaxError { at: node.at, reason: reason.to_owned() };
        match self.open.last_mut().map(|open| &mut open.kind) {
            None if self.root.is_some() => return Err(error("a second value in the document")),
            None => self.root = Some(node),
            Some(OpenKind::List(items)) => items.push(node),
            Some(OpenKind::Map(entries, key)) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(as_key(node)?),
            },
        }
        Ok(())
    }
}

/// How many nodes there are, and how deep they nest.
fn measure(node: &Node<'_>) -> (usize, usize) {
    let below = |(size, depth): (usize, usize), node| {
        let (more, deeper) = measure(node);
        (size + more, depth.max(deeper + 1))
    };
    match &node.value {
        Value::List(items) => items.iter().fold((1, 0), below),
        Value::Map(entries) => entries.iter().map(|(_, node)| node).fold((1, 0), below),
        _ => (1, 0),
    }
}

/// What an untagged or core-tagged scalar is.
fn scalar<'a>(
    text: Cow<'a, str>,
    style: ScalarStyle,
    tag: Option<&Tag>,
) -> Result<Value<'a>, String> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => {
            return Ok(Value::Text(text));
        }
        // The field that reads it knows what it must be.
        Some(tag) if tag.is_yaml_core_schema() => {}
        Some(tag) => return Err(tag.to_string()),
        None => {}
    }
    Ok(match (style, &*text) {
        (ScalarStyle::Plain, "" | "~" | "null" | "Null" | "NULL") => Value::Null,
        (ScalarStyle::Plain, _) => Value::Plain(text),
        _ => Value::Text(text),
    })
}

fn as_key(node: Node<'_>) -> Result<Key<'_>, SyntaxError> {
    let at = node.at;
    let name = match node.value {
        Value::Text(name) | Value::Plain(name) | Value::Number(name) => name,
        Value::Null => Cow::Borrowed("null"),
        Value::Bool(_) | Value::List(_) | Value::Map(_) => {
            return Err(SyntaxError { at, reason: "the name of a field must be text".into() });
        }
    };
    Ok(Key { at, name })
}

/// Resolves `<<: *anchor`: fields of the mapping itself win over those merged in.
fn merged<'a>(entries: Vec<(Key<'a>, Node<'a>)>) -> Result<Vec<(Key<'a>, Node<'a>)>, SyntaxError> {
    if !entries.iter().any(|(key, _)| key.name == "<<") {
        return Ok(entries);
    }
    let (merges, mut own): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(key, _)| key.name == "<<");
    for (key, node) in merges {
        let sources = match node.value {
            Value::List(items) => items,
            _ => vec![node],
        };
        for source in sources {
            let Value::Map(fields) = source.value else {
                let reason = "only mappings can be merged".into();
                return Err(SyntaxError { at: key.at, reason });
            };
            for field in fields {
                if !own.iter().any(|(key, _)| key.name == field.0.name) {
                    own.push(field);
                }
            }
        }
    }
    Ok(own)
}
