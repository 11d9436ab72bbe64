//! JSON, element by element. Arrays have one element a line, objects on their own are indented.

use std::io::{self, Write};

use serde::Serialize;

/// An array that is being written.
#[derive(Debug, Default)]
pub struct Array {
    started: bool,
}

impl Array {
    /// Writes an element.
    pub fn push<T: Serialize>(&mut self, element: &T, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(if self.started { b",\n  " } else { b"[\n  " })?;
        self.started = true;
        serde_json::to_writer(to, element).map_err(io::Error::from)
    }

    /// Closes the array.
    pub fn finish(self, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(if self.started { b"\n]\n" } else { b"[]\n" })
    }
}

/// Writes an object on its own.
pub fn object<T: Serialize>(value: &T, mut to: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut to, value)?;
    to.write_all(b"\n")
}

/// Writes a value on a line of its own.
pub fn line<T: Serialize>(value: &T, mut to: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut to, value)?;
    to.write_all(b"\n")
}
