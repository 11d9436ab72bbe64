//! Code points of the DS field.

use std::{fmt, str::FromStr};

use serde_json::Value as Json;

use super::ScalarError;
use crate::{
    text::Node,
    wire::{Reader, Wire},
};

/// A DSCP: 0 to 63, or one of the names of RFC 2474, 2597 and 3246, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dscp {
    value: u8,
    name: Option<String>,
}

impl Dscp {
    /// The six bits.
    pub fn get(&self) -> u8 {
        self.value
    }
}

impl FromStr for Dscp {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let error = || ScalarError { found: text.to_owned(), allowed: Self::expected() };
        if text.bytes().all(|c| c.is_ascii_digit()) {
            let value = text.parse().ok().filter(|value| *value < 64).ok_or_else(error)?;
            return Ok(Self { value, name: None });
        }
        let value = named(text).ok_or_else(error)?;
        Ok(Self { value, name: Some(text.to_owned()) })
    }
}

/// `AFxy` is 8x + 2y, `CSn` is 8n.
fn named(name: &str) -> Option<u8> {
    let digit = |byte: u8, range: std::ops::RangeInclusive<u8>| {
        let digit = byte.checked_sub(b'0')?;
        range.contains(&digit).then_some(digit)
    };
    match name.as_bytes() {
        b"DF" => Some(0),
        b"EF" => Some(46),
        [b'A', b'F', x, y] => Some(8 * digit(*x, 1..=4)? + 2 * digit(*y, 1..=3)?),
        [b'C', b'S', n] => Some(8 * digit(*n, 0..=6)?),
        _ => None,
    }
}

impl fmt::Display for Dscp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => name.fmt(f),
            None => self.value.fmt(f),
        }
    }
}

impl Wire for Dscp {
    fn read(node: &Node<'_>, reader: &mut Reader) -> Option<Self> {
        let number = node.as_integer().map(|number| number.to_string());
        let text = number.as_deref().or_else(|| node.as_text());
        let dscp = text.and_then(|text| text.parse().ok());
        dscp.or_else(|| reader.refuse(node, Self::expected()))
    }

    fn write(&self) -> Json {
        match &self.name {
            Some(name) => name.as_str().into(),
            None => self.value.into(),
        }
    }

    fn expected() -> String {
        "a DSCP: 0 to 63, DF, EF, AF11 to AF43, CS0 to CS6".into()
    }
}
