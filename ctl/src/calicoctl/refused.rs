//! Why a command did not do what was asked, in this tool's words.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::error::Failure;

/// Told to the user; always exit code 1.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    text: String,
    /// Where the original has it: errors of the connection go to standard output.
    fatal: bool,
    /// Nobody is left to tell.
    gone: bool,
}

impl Refused {
    /// An error.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), fatal: false, gone: false }
    }

    /// What keeps the tool from doing anything at all.
    pub fn fatal(text: impl Into<String>) -> Self {
        Self { text: text.into(), fatal: true, gone: false }
    }

    /// Prints it.
    pub fn tell(&self) -> ExitCode {
        if self.gone {
            return ExitCode::SUCCESS;
        }
        // With the reader gone there is nobody to tell.
        let _ = if self.fatal {
            writeln!(io::stdout(), "{}", self.text)
        } else {
            writeln!(io::stderr(), "{}", self.text)
        };
        ExitCode::FAILURE
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.text
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        match &failure {
            Failure::Told { message, .. } => Self::new(in_its_words(message)),
            Failure::Silent { .. } => Self::new(String::new()),
            Failure::ReaderGone => Self { text: String::new(), fatal: false, gone: true },
        }
    }
}

impl From<io::Error> for Refused {
    /// An error of writing the output.
    fn from(error: io::Error) -> Self {
        Failure::from(error).into()
    }
}

/// What the daemon says, as the original says it.
pub fn in_its_words(message: &str) -> String {
    let because = |reason: &str| format!("{message} with error: {reason}");
    if message.contains(" with error: ") {
        message.to_owned()
    } else if message.starts_with("resource does not exist: ") {
        because("not found")
    } else if message.starts_with("resource already exists: ") {
        because("it is there")
    } else {
        match message.strip_suffix(" was changed by somebody else") {
            Some(conflict) if message.starts_with("update conflict: ") => conflict.to_owned(),
            _ => message.to_owned(),
        }
    }
}
