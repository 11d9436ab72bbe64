//! What can go wrong, told once on stderr, and the exit code it means.

use std::{fmt::Write as _, io, path::Path, process::ExitCode};

use tonic::{Code, Status};

use crate::client::NODE_DAEMON;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// Told to the user.
    Told {
        /// 1: the operation failed; 2: usage or invalid configuration.
        exit: u8,
        /// One error a line.
        message: String,
        /// Remedies, where known.
        help: Vec<String>,
    },
    /// All that there is to say has been said.
    Silent {
        /// 1: the operation failed; 2: usage or invalid configuration.
        exit: u8,
    },
    /// The reader of our output went away: nobody is left to tell.
    ReaderGone,
}

impl Failure {
    /// The operation failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Told { exit: 1, message: message.into(), help: Vec::new() }
    }

    /// The command line or a configuration is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Told { exit: 2, message: message.into(), help: Vec::new() }
    }

    /// With a remedy.
    pub fn with_help(mut self, remedy: impl Into<String>) -> Self {
        if let Self::Told { help, .. } = &mut self {
            help.push(remedy.into());
        }
        self
    }

    /// A file that could not be read.
    pub fn reading(path: &Path, error: &io::Error) -> Self {
        Self::failed(format!("cannot read {}: {}", path.display(), plain(error)))
    }

    /// A file that could not be written.
    pub fn writing(path: &Path, error: &io::Error) -> Self {
        Self::failed(format!("cannot write {}: {}", path.display(), plain(error)))
    }

    /// What went wrong, without remedies.
    pub fn message(&self) -> &str {
        match self {
            Self::Told { message, .. } => message,
            Self::Silent { .. } | Self::ReaderGone => "",
        }
    }

    /// What stands on stderr.
    pub fn text(&self) -> String {
        let Self::Told { message, help, .. } = self else { return String::new() };
        let mut text = String::new();
        for line in message.lines().filter(|line| !line.trim().is_empty()) {
            // A daemon may send remedies of its own.
            let label = if line.starts_with("help: ") { "" } else { "error: " };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{label}{line}");
        }
        for line in help {
            let _ = writeln!(text, "help: {line}");
        }
        text
    }

    /// The exit code.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Told { exit, .. } | Self::Silent { exit } => ExitCode::from(*exit),
            Self::ReaderGone => ExitCode::SUCCESS,
        }
    }
}

impl From<io::Error> for Failure {
    /// An error of writing the output.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::failed(format!("cannot write the output: {}", plain(&error))),
        }
    }
}

impl From<Status> for Failure {
    /// What the node's daemon answered.
    fn from(status: Status) -> Self {
        Self::of(NODE_DAEMON, status)
    }
}

impl Failure {
    /// What the daemon of this name answered.
    pub fn of(daemon: &str, status: Status) -> Self {
        let message = match status.message() {
            "" => format!("the daemon answered {:?}", status.code()),
            message => message.to_owned(),
        };
        match status.code() {
            Code::InvalidArgument => Self::usage(message),
            Code::Unimplemented => Self::failed(format!("the daemon cannot do this: {message}"))
                .with_help(format!(
                    "margay and {daemon} should be of the same version: `{daemon} --version`"
                )),
            // What tonic makes of its own time limit.
            Code::Cancelled if status.message() == "Timeout expired" => {
                Self::failed(format!("{daemon} is there but does not answer"))
            }
            // Not an answer of the daemon but an error of the transport, whose words help nobody.
            Code::Unknown | Code::Internal | Code::Cancelled | Code::Unavailable
                if std::error::Error::source(&status).is_some() =>
            {
                Self::failed(format!("{daemon} went away before it had answered"))
            }
            Code::Unavailable => Self::failed(format!("the daemon is not ready: {message}"))
                .with_help("it may be starting or stopping; try again in a moment"),
            _ => Self::failed(message),
        }
    }
}

/// The error without Rust's `(os error 2)`.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests;
