//! `margay selector`.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use margay_model::Selector;
use serde::Serialize;

use crate::{
    cli::SelectorArgs,
    error::Failure,
    output::{Out, Sheet, table::Paint},
};

/// What a selector means.
#[derive(Debug, Serialize)]
struct Meaning {
    canonical: String,
    r#match: bool,
}

impl Sheet for Meaning {
    fn text(&self, _: bool, _: Paint, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "canonical  {}", self.canonical)?;
        writeln!(to, "match      {}", self.r#match)
    }
}

/// Parses a selector and matches it with the labels that were given, none by default.
pub fn run(args: &SelectorArgs, out: &mut Out<'_>) -> Result<(), Failure> {
    let labels = labels(args)?;
    let selector: Selector =
        args.expression.parse().map_err(|error| Failure::usage(format!("selector: {error}")))?;
    let meaning = Meaning { canonical: selector.canonical(), r#match: selector.matches(&labels) };
    Ok(out.sheet(&meaning)?)
}

fn labels(args: &SelectorArgs) -> Result<BTreeMap<String, String>, Failure> {
    let mut labels = BTreeMap::new();
    let given = args.labels.iter().filter(|label| !label.is_empty()).chain(&args.label);
    for label in given {
        let Some((key, value)) = label.split_once('=') else {
            return Err(Failure::usage(format!("{label:?} is no label: expected key=value")));
        };
        let earlier = labels.insert(key.trim().to_owned(), value.to_owned());
        if earlier.is_some_and(|earlier| earlier != value) {
            return Err(Failure::usage(format!("the label {key} was given two values")));
        }
    }
    Ok(labels)
}
