//! `margay config`: what a reload changes, whether a file is valid.

use std::io::{self, Write};

use margay_proto::v1::{self, ChangeEffect};
use serde::Serialize;

use crate::{
    output::{
        Row, Sheet,
        table::{Cell, Column, Paint, Tone},
    },
    values,
};

/// One difference between two configurations.
#[derive(Debug, Serialize)]
pub struct Change {
    kind: Option<&'static str>,
    key: String,
    old: Option<String>,
    new: Option<String>,
    effect: Option<&'static str>,
}

impl From<v1::ConfigChange> for Change {
    fn from(change: v1::ConfigChange) -> Self {
        Self {
            kind: values::named(change.kind().name()),
            effect: values::named(change.effect().name()),
            key: change.path,
            old: change.old,
            new: change.new,
        }
    }
}

impl Row for Change {
    const COLUMNS: &'static [Column] = &[
        Column::left("CHANGE"),
        Column::left("KEY"),
        Column::left("EFFECT"),
        Column::left("OLD"),
        Column::left("NEW"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let tone = match self.effect {
            Some(effect) if effect == ChangeEffect::Session.name() => Tone::Warn,
            Some(effect) if effect == ChangeEffect::Restart.name() => Tone::Bad,
            _ => Tone::Plain,
        };
        let line = |value: &Option<String>| value.as_ref().map(|text| text.replace('\n', " "));
        vec![
            Cell::maybe(self.kind),
            Cell::new(self.key.clone()),
            Cell::maybe(self.effect).tone(tone),
            Cell::maybe(line(&self.old)),
            Cell::maybe(line(&self.new)),
        ]
    }
}

/// What `margay-bgpd --check` said of a file.
#[derive(Debug, Serialize)]
pub struct CheckResult {
    /// The file.
    pub file: String,
    /// Whether it can be used.
    pub valid: bool,
    /// What is wrong with it, a fault a line.
    pub errors: Vec<String>,
}

impl Sheet for CheckResult {
    fn text(&self, _wide: bool, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        if self.valid {
            writeln!(to, "{}: {}", self.file, paint.tone(Tone::Good, "valid"))
        } else {
            writeln!(to, "{}: {}", self.file, paint.tone(Tone::Bad, "invalid"))
        }
    }
}
