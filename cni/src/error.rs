//! What goes wrong, as the runtime is told: a code of the specification, a sentence, and more.

use std::fmt;

use serde::Serialize;

use crate::version::Version;

/// Codes of the specification (1.1.0, "Error"), then our own from 100 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The configuration is of a version that we do not speak, or that has no such verb.
    IncompatibleVersion,
    /// A field of the configuration that we do not support; the message has its name and value.
    UnsupportedField,
    /// There is no such container.
    UnknownContainer,
    /// A variable of the environment is missing or invalid; the message names it.
    InvalidEnvironment,
    /// Reading or writing failed.
    Io,
    /// Something is not the JSON it should be.
    Decode,
    /// The configuration is invalid.
    InvalidConfig,
    /// Nothing was changed; later it may work.
    TryAgainLater,
    /// STATUS: not ready for ADD.
    NotAvailable,
    /// STATUS: not ready, and containers that exist may be cut off.
    LimitedConnectivity,
    /// Our own: the kernel or the daemon failed.
    Daemon,
    /// Our own: CHECK found something that is not as ADD left it.
    Differs,
    /// Our own: an IPAM plugin ended without a proper answer.
    IpamPlugin,
    /// What the daemon or another plugin says, handed on.
    Foreign(u32),
}

impl Code {
    /// The number on the wire.
    pub const fn number(self) -> u32 {
        match self {
            Self::IncompatibleVersion => 1,
            Self::UnsupportedField => 2,
            Self::UnknownContainer => 3,
            Self::InvalidEnvironment => 4,
            Self::Io => 5,
            Self::Decode => 6,
            Self::InvalidConfig => 7,
            Self::TryAgainLater => 11,
            Self::NotAvailable => 50,
            Self::LimitedConnectivity => 51,
            Self::Daemon => 100,
            Self::Differs => 103,
            Self::IpamPlugin => 110,
            Self::Foreign(number) => number,
        }
    }
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What kind of failure.
    pub code: Code,
    /// One sentence.
    pub msg: String,
    /// What else helps, causes and remedies; may be empty.
    pub details: String,
}

impl Error {
    /// Without details.
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new() }
    }

    /// With details.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// One more line of details.
    #[must_use]
    pub fn and(mut self, line: &str) -> Self {
        if !self.details.is_empty() {
            self.details.push('\n');
        }
        self.details.push_str(line);
        self
    }

    /// The object for stdout.
    pub fn json(&self, version: Version) -> String {
        let object = Object {
            cni_version: version.text(),
            code: self.code.number(),
            msg: &self.msg,
            details: &self.details,
        };
        // Strings and numbers always serialise.
        serde_json::to_string_pretty(&object).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Object<'a> {
    #[serde(rename = "cniVersion")]
    cni_version: &'a str,
    code: u32,
    msg: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    details: &'a str,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.msg, self.code.number())?;
        self.details.lines().try_for_each(|line| write!(f, "; {line}"))
    }
}

impl std::error::Error for Error {}
