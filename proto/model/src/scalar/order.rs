//! The order of tiers and policies.

use std::{cmp::Ordering, fmt};

use serde_json::{Number, Value as Json};

use crate::{
    text::Node,
    wire::{Reader, Wire},
};

/// A finite number by which tiers and policies are sorted, lower first.
///
/// Whole numbers are written without a fraction.
#[derive(Clone, Copy, Debug)]
pub struct Order(f64);

impl Order {
    /// `None` if it is not finite.
    pub fn new(value: f64) -> Option<Self> {
        // Adding zero makes -0 the 0 that it equals.
        value.is_finite().then_some(Self(value + 0.0))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl From<i32> for Order {
    fn from(value: i32) -> Self {
        Self(value.into())
    }
}

impl PartialEq for Order {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Order {}

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Order {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Wire for Order {
    fn read(node: &Node<'_>, reader: &mut Reader) -> Option<Self> {
        let order = node.as_float().and_then(Self::new);
        order.or_else(|| reader.refuse(node, Self::expected()))
    }

    fn write(&self) -> Json {
        // Rust prints a whole float without a fraction: as long as it fits it becomes an integer.
        let whole = (self.0.fract() == 0.0).then(|| format!("{:.0}", self.0).parse::<i64>().ok());
        match whole.flatten() {
            Some(whole) => whole.into(),
            None => Number::from_f64(self.0).map_or(Json::Null, Json::Number),
        }
    }

    fn expected() -> String {
        "a number".into()
    }
}
