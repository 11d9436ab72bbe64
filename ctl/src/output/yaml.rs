//! YAML, element by element: the JSON data model in block style.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

/// A sequence that is being written.
#[derive(Debug, Default)]
pub struct Sequence {
    started: bool,
}

impl Sequence {
    /// Writes an element.
    pub fn push<T: Serialize>(&mut self, element: &T, to: &mut dyn Write) -> io::Result<()> {
        self.started = true;
        item(&serde_json::to_value(element)?, 0, to)
    }

    /// Ends the sequence.
    pub fn finish(self, to: &mut dyn Write) -> io::Result<()> {
        if self.started { Ok(()) } else { to.write_all(b"[]\n") }
    }
}

/// Writes an object on its own.
pub fn object<T: Serialize>(value: &T, to: &mut dyn Write) -> io::Result<()> {
    let value = serde_json::to_value(value)?;
    match inline(&value) {
        Some(text) => writeln!(to, "{text}"),
        None => block(&value, 0, to),
    }
}

/// Writes a document of a stream.
pub fn document<T: Serialize>(value: &T, to: &mut dyn Write) -> io::Result<()> {
    to.write_all(b"---\n")?;
    object(value, to)
}

/// What fits on a line: scalars, sequences of scalars, and what is empty.
fn inline(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("null".to_owned()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(value) => Some(scalar(value)),
        Value::Array(values) => {
            let scalars = values
                .iter()
                .map(|value| match value {
                    Value::Array(_) | Value::Object(_) => None,
                    scalar => inline(scalar),
                })
                .collect::<Option<Vec<_>>>()?;
            Some(format!("[{}]", scalars.join(", ")))
        }
        Value::Object(fields) => fields.is_empty().then(|| "{}".to_owned()),
    }
}

fn block(value: &Value, indent: usize, to: &mut dyn Write) -> io::Result<()> {
    match value {
        Value::Object(fields) => {
            for (i, (key, value)) in fields.iter().enumerate() {
                // The first key stands where its parent left off.
                let pad = if i == 0 { 0 } else { indent };
                write!(to, "{:pad$}{}:", "", scalar(key))?;
                match inline(value) {
                    Some(text) => writeln!(to, " {text}")?,
                    None if value.is_array() => {
                        to.write_all(b"\n")?;
                        block(value, indent, to)?;
                    }
                    None => {
                        writeln!(to)?;
                        write!(to, "{:1$}", "", indent + 2)?;
                        block(value, indent + 2, to)?;
                    }
                }
            }
            Ok(())
        }
        Value::Array(values) => values.iter().try_for_each(|value| item(value, indent, to)),
        scalar => writeln!(to, "{}", inline(scalar).unwrap_or_default()),
    }
}

fn item(value: &Value, indent: usize, to: &mut dyn Write) -> io::Result<()> {
    write!(to, "{:indent$}- ", "")?;
    match inline(value) {
        Some(text) => writeln!(to, "{text}"),
        None if value.is_array() => {
            writeln!(to)?;
            block(value, indent + 2, to)
        }
        None => block(value, indent + 2, to),
    }
}

/// A string, quoted unless no reader of any version could take it for something else.
fn scalar(text: &str) -> String {
    const RESERVED: [&str; 11] =
        ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "inf", "nan"];
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && !RESERVED.iter().any(|word| text.eq_ignore_ascii_case(word));
    // A JSON string is a double-quoted scalar.
    if plain { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests;
