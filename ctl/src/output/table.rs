//! Aligned columns under one header line.
//!
//! Widths come from the first [`PAGE`] rows, which are kept for it; later rows are printed as they
//! come, in the same widths, so a table of any length needs the memory of a page.

use std::{
    borrow::Cow,
    io::{self, Write},
};

/// Rows that decide how wide the columns are.
pub const PAGE: usize = 4096;

/// A column.
#[derive(Debug, Clone)]
pub struct Column {
    title: Cow<'static, str>,
    right: bool,
    wide: bool,
}

impl Column {
    /// Text.
    pub const fn left(title: &'static str) -> Self {
        Self { title: Cow::Borrowed(title), right: false, wide: false }
    }

    /// Numbers.
    pub const fn right(title: &'static str) -> Self {
        Self { title: Cow::Borrowed(title), right: true, wide: false }
    }

    /// Only with `-o wide`.
    pub const fn wide(mut self) -> Self {
        self.wide = true;
        self
    }

    /// What stands above it.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Text under a title that a user chose.
    pub fn named(title: &str) -> Self {
        Self { title: Cow::Owned(title.to_owned()), right: false, wide: false }
    }
}

/// What a text says about the health of things, shown as its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing.
    Plain,
    /// As it should be.
    Good,
    /// On its way, or worth a look.
    Warn,
    /// Broken.
    Bad,
    /// Less important.
    Dim,
    /// More important.
    Strong,
}

/// Whether to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint(pub bool);

impl Paint {
    /// The text in its colour.
    pub fn tone<'t>(self, tone: Tone, text: impl Into<Cow<'t, str>>) -> Cow<'t, str> {
        let text = text.into();
        let code = match tone {
            _ if !self.0 || text.is_empty() => return text,
            Tone::Plain => return text,
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Dim => "2",
            Tone::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m").into()
    }
}

/// One value of a row.
#[derive(Debug, Clone)]
pub struct Cell {
    text: Cow<'static, str>,
    tone: Tone,
}

impl Cell {
    /// A value; `-` for nothing, so that every line has the same number of words.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        let text = match text.as_ref() {
            "" => "-".into(),
            // Text of a peer must not steer a terminal.
            s if s.contains(char::is_control) => s.replace(char::is_control, "?").into(),
            _ => text,
        };
        Self { text, tone: Tone::Plain }
    }

    /// A value that may be absent.
    pub fn maybe<T: ToString>(value: Option<T>) -> Self {
        Self::new(value.map(|value| value.to_string()).unwrap_or_default())
    }

    /// What stands in it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// With a colour.
    pub fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

/// A table that is being printed.
#[derive(Debug)]
pub struct Table {
    columns: Cow<'static, [Column]>,
    wide: bool,
    paint: Paint,
    page: Vec<Vec<Cell>>,
    /// Empty until the first page is complete.
    widths: Vec<usize>,
}

impl Table {
    /// An empty one.
    pub fn new(columns: impl Into<Cow<'static, [Column]>>, wide: bool, paint: Paint) -> Self {
        let columns = columns.into();
        Self { columns, wide, paint, page: Vec::new(), widths: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, cells: Vec<Cell>, to: &mut dyn Write) -> io::Result<()> {
        if !self.widths.is_empty() {
            return self.print(&cells, to);
        }
        self.page.push(cells);
        if self.page.len() < PAGE { Ok(()) } else { self.print_page(to) }
    }

    /// Prints what is left, and the header if nothing was there.
    pub fn finish(mut self, to: &mut dyn Write) -> io::Result<()> {
        if self.widths.is_empty() { self.print_page(to) } else { Ok(()) }
    }

    /// Prints what was kept, so that later rows appear at once, in the widths of those before.
    pub fn settle(&mut self, to: &mut dyn Write) -> io::Result<()> {
        if self.widths.is_empty() { self.print_page(to) } else { Ok(()) }
    }

    fn print_page(&mut self, to: &mut dyn Write) -> io::Result<()> {
        let page = std::mem::take(&mut self.page);
        self.widths = self.columns.iter().map(|column| column.title.len()).collect();
        for row in &page {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let header: Vec<_> = self
            .columns
            .iter()
            .map(|column| Cell::new(column.title.clone()).tone(Tone::Strong))
            .collect();
        self.print(&header, to)?;
        page.iter().try_for_each(|row| self.print(row, to))
    }

    fn print(&self, cells: &[Cell], to: &mut dyn Write) -> io::Result<()> {
        let mut pending = 0;
        let columns = self.columns.iter().zip(&self.widths).zip(cells);
        for ((column, width), cell) in columns.filter(|((c, _), _)| self.wide || !c.wide) {
            let padding = width.saturating_sub(cell.text.chars().count());
            let (before, after) = if column.right { (padding, 0) } else { (0, padding) };
            // Padding is written before the next cell, so that no line ends in blanks.
            let text = self.paint.tone(cell.tone, cell.text.as_ref());
            write!(to, "{:1$}{text}", "", pending + before)?;
            pending = after + 2;
        }
        to.write_all(b"\n")
    }
}
