//! Where answers go: rows one by one, so that a million of them need no memory, or one object.
//!
//! Owns formats, columns and colours; leaves to [`crate::view`] what stands in them.

pub mod json;
pub mod table;
pub mod yaml;

use std::{
    env,
    io::{self, BufWriter, IsTerminal, Write},
};

use serde::Serialize;

use crate::{
    cli::{Format, Global},
    output::table::{Cell, Column, Paint, Table},
};

/// Something that is shown as one line of a table or one element of an array.
pub trait Row: Serialize {
    /// The columns, left to right.
    const COLUMNS: &'static [Column];

    /// One cell for each column.
    fn cells(&self) -> Vec<Cell>;
}

/// Something that is shown on its own: an object, or text for a human.
pub trait Sheet: Serialize {
    /// The text of `-o table` and, where there is more to say, `-o wide`.
    fn text(&self, wide: bool, paint: Paint, to: &mut dyn Write) -> io::Result<()>;
}

/// The output of a command.
pub struct Out<'a> {
    format: Format,
    paint: Paint,
    to: Box<dyn Write + 'a>,
}

impl<'a> Out<'a> {
    /// Standard output; colours only on a terminal.
    pub fn stdout(options: &Global, format: Format) -> Self {
        let stdout = io::stdout();
        let colour = stdout.is_terminal()
            && !options.no_color
            && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let to = Box::new(BufWriter::with_capacity(1 << 16, stdout));
        Self { format, paint: Paint(colour), to }
    }

    /// Somewhere else, as on a terminal or not.
    #[cfg(test)]
    pub fn to(to: impl Write + 'a, format: Format, paint: Paint) -> Self {
        Self { format, paint, to: Box::new(to) }
    }

    /// Whether a table is asked for, not data.
    pub fn is_table(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// Prints one object.
    pub fn sheet<T: Sheet>(&mut self, sheet: &T) -> io::Result<()> {
        match self.format {
            Format::Table => sheet.text(false, self.paint, &mut self.to)?,
            Format::Wide => sheet.text(true, self.paint, &mut self.to)?,
            Format::Json => json::object(sheet, &mut self.to)?,
            Format::Yaml => yaml::object(sheet, &mut self.to)?,
        }
        self.to.flush()
    }

    /// Starts an array or a table.
    pub fn rows<R: Row>(&mut self) -> Rows<'_> {
        let shape = match self.format {
            Format::Table => Shape::Table(Table::new(R::COLUMNS, false, self.paint)),
            Format::Wide => Shape::Table(Table::new(R::COLUMNS, true, self.paint)),
            Format::Json => Shape::Json(json::Array::default()),
            Format::Yaml => Shape::Yaml(yaml::Sequence::default()),
        };
        Rows { shape, to: &mut *self.to }
    }

    /// Prints all of an array or a table.
    pub fn all<R: Row>(&mut self, rows: &[R]) -> io::Result<()> {
        let mut list = self.rows::<R>();
        rows.iter().try_for_each(|row| list.push(row))?;
        list.finish()
    }

    /// Prints an element of an endless stream and sends it on its way.
    pub fn line<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        match self.format {
            Format::Yaml => yaml::document(value, &mut self.to)?,
            _ => json::line(value, &mut self.to)?,
        }
        self.to.flush()
    }
}

/// An array or table that is being printed.
pub struct Rows<'a> {
    shape: Shape,
    to: &'a mut dyn Write,
}

enum Shape {
    Table(Table),
    Json(json::Array),
    Yaml(yaml::Sequence),
}

impl Rows<'_> {
    /// Prints a row, or keeps it until the widths of the columns are known.
    pub fn push<R: Row>(&mut self, row: &R) -> io::Result<()> {
        match &mut self.shape {
            Shape::Table(table) => table.push(row.cells(), self.to),
            Shape::Json(array) => array.push(row, self.to),
            Shape::Yaml(sequence) => sequence.push(row, self.to),
        }
    }

    /// Ends it.
    pub fn finish(self) -> io::Result<()> {
        match self.shape {
            Shape::Table(table) => table.finish(self.to)?,
            Shape::Json(array) => array.finish(self.to)?,
            Shape::Yaml(sequence) => sequence.finish(self.to)?,
        }
        self.to.flush()
    }
}

#[cfg(test)]
mod tests;
