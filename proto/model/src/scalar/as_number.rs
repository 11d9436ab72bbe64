//! Autonomous system numbers.

use std::{fmt, str::FromStr};

use serde_json::Value as Json;

use super::ScalarError;
use crate::{
    text::Node,
    wire::{Reader, Wire},
};

/// An AS number: a number, a decimal string, or `high.low` with 16 bits each (RFC 5396). Written
/// as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AsNumber(pub u32);

impl FromStr for AsNumber {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let number = match text.split_once('.') {
            None => digits::<u32>(text),
            Some((high, low)) => digits::<u16>(high)
                .zip(digits::<u16>(low))
                .map(|(high, low)| u32::from(high) << 16 | u32::from(low)),
        };
        number
            .map(Self)
            .ok_or_else(|| ScalarError { found: text.to_owned(), allowed: Self::expected() })
    }
}

/// A number without a sign.
fn digits<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for AsNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Wire for AsNumber {
    fn read(node: &Node<'_>, reader: &mut Reader) -> Option<Self> {
        // An unquoted 1.10 is taken as written: it must not become 1.1.
        let number = node.as_scalar().and_then(|text| text.parse().ok());
        let number = number.or_else(|| u32::try_from(node.as_integer()?).ok().map(Self));
        number.or_else(|| reader.refuse(node, Self::expected()))
    }

    fn write(&self) -> Json {
        self.0.into()
    }

    fn expected() -> String {
        "an AS number: 0 to 4294967295, or two 16-bit numbers as in \"1.10\"".into()
    }
}
