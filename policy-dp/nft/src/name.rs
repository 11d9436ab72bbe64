//! Names of tables, chains and sets.

use std::{fmt, sync::Arc};

use sha2::{Digest, Sha256};

/// A name the kernel takes: 1 to 255 octets. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// A name made of this text. What the kernel or `nft` would not take is replaced, and what is
    /// too long is cut; then a hash of the whole text follows, so different texts stay different.
    pub fn of(text: &str) -> Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        let good = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(plain);
        if good && text.len() <= LONGEST {
            return Self(text.into());
        }
        let hash = Sha256::digest(text.as_bytes());
        let mut made: String = "n-".to_owned();
        made.extend(text.chars().take(READABLE).map(|c| if plain(c) { c } else { '_' }));
        made.push('-');
        for octet in hash.iter().take(16) {
            made.push_str(&format!("{octet:02x}"));
        }
        Self(made.into())
    }

    /// A name the kernel told us, whatever is in it; `None` when it is empty.
    pub fn told(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self::of(text)
    }
}

/// Well below the kernel's 255.
const LONGEST: usize = 128;
/// How much of a text that is no name stays readable.
const READABLE: usize = 60;

#[cfg(test)]
mod tests;
