//! Durations as Go writes them.

use std::{fmt, str::FromStr, time};

use super::ScalarError;
use crate::wire::rules::{Answer, allow};

/// A duration such as `90s`, `1m30s` or `500ms`; kept as written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    text: String,
    value: time::Duration,
}

impl Duration {
    /// How long it is.
    pub fn get(&self) -> time::Duration {
        self.value
    }

    /// Rounded to whole seconds, half a second up: what BGP timers take.
    pub fn rounded_secs(&self) -> u64 {
        self.value.as_secs() + u64::from(self.value.subsec_millis() >= 500)
    }
}

impl FromStr for Duration {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        match parse(text) {
            Some(value) => Ok(Self { text: text.to_owned(), value }),
            None => Err(ScalarError { found: text.to_owned(), allowed: EXPECTED.into() }),
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

textual!(Duration, EXPECTED, |text| text.parse().map_err(|error: ScalarError| error.allowed));

const EXPECTED: &str = "a duration such as \"90s\", \"1m30s\" or \"500ms\"";

/// A rule: no decimal point.
pub(crate) fn without_fraction(duration: &Duration) -> Answer {
    allow(!duration.text.contains('.'), || {
        "a duration without a decimal point such as \"1500ms\"".into()
    })
}

const UNITS: &[(&str, u128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

fn parse(text: &str) -> Option<time::Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(time::Duration::ZERO);
    }
    let mut total: u128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(end)?;
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end)?;
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(nanoseconds(number, *scale)?)?;
        rest = tail;
    }
    let nanoseconds = u64::try_from(total).ok().filter(|total| i64::try_from(*total).is_ok())?;
    Some(time::Duration::from_nanos(nanoseconds))
}

/// What a decimal number of units comes to; digits below a nanosecond fall away.
fn nanoseconds(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let mut total = if whole.is_empty() { 0 } else { whole.parse::<u128>().ok()? };
    total = total.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.bytes() {
        place /= 10;
        total = total.checked_add(u128::from(digit - b'0') * place)?;
    }
    Some(total)
}
