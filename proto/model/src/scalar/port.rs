//! Ports of rules: a number, a range or a name.

use std::{fmt, str::FromStr};

use serde_json::Value as Json;

use super::{ScalarError, names};
use crate::{
    text::Node,
    wire::{Reader, Wire, rules::Answer},
};

/// A port of a rule. Port 0 does not exist; the ends of a range are part of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// One port.
    Number(u16),
    /// All ports from the first to the last.
    Range(u16, u16),
    /// The ports an endpoint gives this name.
    Named(String),
}

impl Port {
    /// The first and the last port, unless it is a name.
    pub fn range(&self) -> Option<(u16, u16)> {
        match self {
            Self::Number(port) => Some((*port, *port)),
            Self::Range(first, last) => Some((*first, *last)),
            Self::Named(_) => None,
        }
    }
}

impl FromStr for Port {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let error = || ScalarError { found: text.to_owned(), allowed: Self::expected() };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        if is_number(text) {
            return port(text).map(Self::Number).ok_or_else(error);
        }
        match text.split_once(':') {
            Some((first, last)) if is_number(first) && is_number(last) => {
                match port(first).zip(port(last)).ok_or_else(error)? {
                    (first, last) if first == last => Ok(Self::Number(first)),
                    (first, last) if first < last => Ok(Self::Range(first, last)),
                    _ => Err(error()),
                }
            }
            _ => match names::port_name(text) {
                Ok(()) => Ok(Self::Named(text.to_owned())),
                Err(_) => Err(error()),
            },
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(port) => port.fmt(f),
            Self::Range(first, last) => write!(f, "{first}:{last}"),
            Self::Named(name) => name.fmt(f),
        }
    }
}

impl Wire for Port {
    fn read(node: &Node<'_>, reader: &mut Reader) -> Option<Self> {
        let number = node.as_integer().map(|number| number.to_string());
        let text = number.as_deref().or_else(|| node.as_text());
        let port = text.and_then(|text| text.parse().ok());
        port.or_else(|| reader.refuse(node, Self::expected()))
    }

    fn write(&self) -> Json {
        match self {
            Self::Number(port) => (*port).into(),
            _ => self.to_string().into(),
        }
    }

    fn expected() -> String {
        "a port 1 to 65535, a range \"first:last\", or a port name of at most 15 of a-z, 0-9 and -"
            .into()
    }
}

/// A rule: no name.
pub(crate) fn numeric(port: &Port) -> Answer {
    match port {
        Port::Named(_) => Err("a port number or a range \"first:last\"".into()),
        _ => Ok(()),
    }
}
