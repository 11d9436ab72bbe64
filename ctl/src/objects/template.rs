//! `-o jsonpath=TEMPLATE` and `-o custom-columns=…`: paths into objects.
//!
//! The template language is the one of `kubectl`: text with expressions in braces, each a path
//! (`{.metadata.name}`, `{.items[*].spec.cidr}`), a string (`{"\n"}`), or a loop
//! (`{range .items[*]}…{end}`). Paths are those of RFC 9535 without the leading `$`.

use std::fmt;

use serde_json::Value;
use serde_json_path::JsonPath;

use super::columns::scalar;

/// A parsed template.
#[derive(Debug)]
pub struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Path(JsonPath),
    Range(JsonPath, Vec<Part>),
}

/// What is wrong with a template.
#[derive(Debug, PartialEq, Eq)]
pub struct TemplateError(String);

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut rest = text;
        let (parts, closed) = parts(&mut rest, 0)?;
        if closed {
            return Err(TemplateError("{end} without {range …}".into()));
        }
        Ok(Self(parts))
    }

    /// What it makes of an object.
    pub fn render(&self, object: &Value) -> String {
        let mut text = String::new();
        render(&self.0, object, &mut text);
        text
    }
}

/// A path as a custom column has it: `.metadata.name`, with or without braces.
///
/// # Errors
/// It is no path.
pub fn path(text: &str) -> Result<JsonPath, TemplateError> {
    let inner = text.trim();
    let inner = inner.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(inner);
    let inner = inner.trim();
    let absolute = match inner.chars().next() {
        Some('$') => inner.to_owned(),
        Some('@') => format!("${}", inner.get(1..).unwrap_or_default()),
        Some('.' | '[') => format!("${}", if inner == "." { "" } else { inner }),
        _ => format!("$.{inner}"),
    };
    JsonPath::parse(&absolute).map_err(|error| TemplateError(format!("{text:?}: {error}")))
}

/// What a path finds, on one line.
pub fn find(path: &JsonPath, object: &Value) -> String {
    let found: Vec<_> = path.query(object).all().into_iter().map(scalar).collect();
    found.join(" ")
}

/// How deep loops may nest.
const MAX_DEPTH: usize = 8;

/// Parts up to the end or an `{end}`; whether that was what ended them.
fn parts(rest: &mut &str, depth: usize) -> Result<(Vec<Part>, bool), TemplateError> {
    if depth > MAX_DEPTH {
        return Err(TemplateError(format!("more than {MAX_DEPTH} {{range …}} in each other")));
    }
    let mut all = Vec::new();
    loop {
        let (text, expression) = match rest.split_once('{') {
            None => {
                if !rest.is_empty() {
                    all.push(Part::Text((*rest).to_owned()));
                }
                *rest = "";
                return Ok((all, false));
            }
            Some((text, after)) => {
                let (expression, after) = expression(after)?;
                *rest = after;
                (text, expression.trim())
            }
        };
        if !text.is_empty() {
            all.push(Part::Text(text.to_owned()));
        }
        if expression == "end" {
            return Ok((all, true));
        }
        if let Some(over) = expression.strip_prefix("range ") {
            let over = path(over)?;
            let (inner, closed) = parts(rest, depth + 1)?;
            if !closed {
                return Err(TemplateError("{range …} without {end}".into()));
            }
            all.push(Part::Range(over, inner));
        } else if expression.starts_with(['"', '\'']) {
            all.push(Part::Text(literal(expression)?));
        } else {
            all.push(Part::Path(path(expression)?));
        }
    }
}

/// Up to the closing brace, which does not count within quotes.
fn expression(text: &str) -> Result<(&str, &str), TemplateError> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == '}' => {
                let (inner, after) = text.split_at(at);
                return Ok((inner, after.get(1..).unwrap_or_default()));
            }
            None => {}
        }
    }
    Err(TemplateError("a brace is not closed".into()))
}

fn literal(text: &str) -> Result<String, TemplateError> {
    let wrong = || TemplateError(format!("{text} is not a string"));
    let quote = text.chars().next().ok_or_else(wrong)?;
    let inner =
        text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote)).ok_or_else(wrong)?;
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next().ok_or_else(wrong)? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            },
            other => other,
        });
    }
    Ok(out)
}

fn render(parts: &[Part], object: &Value, to: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => to.push_str(text),
            Part::Path(path) => to.push_str(&find(path, object)),
            Part::Range(over, inner) => {
                for item in over.query(object).all() {
                    render(inner, item, to);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
