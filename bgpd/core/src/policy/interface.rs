//! Names of network interfaces, and patterns over them.

use std::{fmt, str::FromStr};

/// A name as the kernel has it: 1 to 15 octets (`IFNAMSIZ` less its end), of UTF-8.
///
/// Small enough to be copied: routes pass by the hundred thousand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName {
    octets: [u8; Self::ROOM],
    len: u8,
}

impl InterfaceName {
    const ROOM: usize = 15;

    /// `None`: no interface can have this name.
    pub fn new(name: &str) -> Option<Self> {
        let mut octets = [0; Self::ROOM];
        octets.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        let len = u8::try_from(name.len()).ok().filter(|len| *len > 0)?;
        Some(Self { octets, len })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let name = self.octets.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(name).expect("it was made of a str")
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name, with `*` for anything, also for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfacePattern(String);

/// The text is no [`InterfacePattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of an interface (1 to 15 octets), with or without *")]
pub struct InterfacePatternError(pub String);

impl FromStr for InterfacePattern {
    type Err = InterfacePatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let printable = text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'/');
        if printable && (1..=InterfaceName::ROOM).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InterfacePatternError(text.to_owned()))
        }
    }
}

impl InterfacePattern {
    /// Whether the route's interface matches. A route without one counts as one whose interface
    /// has the empty name: only patterns of nothing but `*` match it.
    pub fn matches(&self, interface: Option<InterfaceName>) -> bool {
        let name = interface.as_ref().map_or("", InterfaceName::as_str);
        let mut parts = self.0.split('*');
        let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
            return false;
        };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        let Some(mut rest) = rest.strip_suffix(last) else { return false };
        // The leftmost place is as good as any for what lies between two stars.
        parts.all(|part| match rest.find(part) {
            Some(at) => {
                rest = rest.get(at + part.len()..).unwrap_or_default();
                true
            }
            None => false,
        })
    }
}

impl fmt::Display for InterfacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
