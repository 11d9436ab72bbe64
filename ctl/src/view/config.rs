//! `margay config`: what a reload changes, whether a file is valid.

use std::io::{self, Write};

use margay_proto::v1::{self, ChangeImpact};
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
    kind: String,
    subject: String,
    impact: Option<&'static str>,
    text: String,
}

impl From<v1::ConfigChange> for Change {
    fn from(change: v1::ConfigChange) -> Self {
        Self {
            impact: values::named(change.impact().name()),
            kind: change.kind,
            subject: change.subject,
            text: change.text,
        }
    }
}

impl Row for Change {
    const COLUMNS: &'static [Column] = &[
        Column::left("KIND"),
        Column::left("SUBJECT"),
        Column::left("IMPACT"),
        Column::left("CHANGE"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let tone = match self.impact {
            Some(impact) if impact == ChangeImpact::Reset.name() => Tone::Warn,
            Some(impact) if impact == ChangeImpact::Restart.name() => Tone::Bad,
            _ => Tone::Plain,
        };
        vec![
            Cell::new(self.kind.clone()),
            Cell::new(self.subject.clone()),
            Cell::maybe(self.impact).tone(tone),
            Cell::new(self.text.clone()),
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
    /// What is probably not meant so, likewise.
    pub warnings: Vec<String>,
}

impl Sheet for CheckResult {
    fn text(&self, _wide: bool, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        let (word, tone) = if self.valid { ("valid", Tone::Good) } else { ("invalid", Tone::Bad) };
        writeln!(to, "{}: {}", self.file, paint.tone(tone, word))
    }
}
