//! `-o go-template=TEMPLATE`: the templates of Go's `text/template`, as far as printing resources
//! needs them.
//!
//! Knows text, comments, fields, variables, `if`, `else`, `range`, `with`, pipelines, comparisons
//! and some functions. A field is found under its name in JSON or, since templates of the original
//! are written for its types, under the name of those: whatever the case of its letters,
//! `ObjectMeta` as `metadata`, and what `metadata` holds without it. What is not there is nothing.

mod parse;
mod run;

use std::fmt;

use serde_json::Value;

/// A parsed template.
#[derive(Debug)]
pub struct GoTemplate(Vec<Step>);

/// What is wrong with a template, or with what it is given.
#[derive(Debug, PartialEq, Eq)]
pub struct GoTemplateError(String);

impl fmt::Display for GoTemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn wrong(text: impl Into<String>) -> GoTemplateError {
    GoTemplateError(text.into())
}

impl GoTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, GoTemplateError> {
        parse::template(text).map(Self)
    }

    /// What it makes of a value. `asn` is what `config "asnumber"` gives.
    ///
    /// # Errors
    /// A function that does not take what it is given.
    pub fn render(&self, data: &Value, asn: u64) -> Result<String, GoTemplateError> {
        run::render(&self.0, data, asn)
    }
}

/// A part of a template.
#[derive(Debug)]
enum Step {
    Text(String),
    Print(Pipeline),
    /// `$name := pipeline` and `$name = pipeline`.
    Set {
        name: String,
        new: bool,
        to: Pipeline,
    },
    If {
        condition: Pipeline,
        then: Vec<Step>,
        otherwise: Vec<Step>,
    },
    /// Like `If`, with the value in the place of the dot.
    With {
        value: Pipeline,
        then: Vec<Step>,
        otherwise: Vec<Step>,
    },
    Range {
        /// Names for the index or key, and for the element.
        names: Vec<String>,
        over: Pipeline,
        each: Vec<Step>,
        otherwise: Vec<Step>,
    },
}

/// Commands, each given the result of the one before as its last argument.
#[derive(Debug)]
struct Pipeline(Vec<Vec<Term>>);

/// A word of a command.
#[derive(Debug)]
enum Term {
    /// The dot and fields of it.
    Field(Vec<String>),
    /// A variable and fields of it; the empty name is `$`, the whole of the data.
    Variable(String, Vec<String>),
    Literal(Value),
    Function(String),
    /// In parentheses, and fields of it.
    Pipeline(Pipeline, Vec<String>),
}

#[cfg(test)]
mod tests;
