//! Rules of one value: what is allowed where its type alone does not say so.
//!
//! A rule answers `Err` with what is allowed, in the words of a fault.

use std::{collections::BTreeSet, fmt::Display, ops::RangeInclusive};

use super::{Reader, Wire};
use crate::{fault::Step, text::Node};

/// What a rule answers.
pub(crate) type Answer = Result<(), String>;

/// Something that may hold values a rule looks at: the value itself, an option, a list.
pub(crate) trait Holds<T: ?Sized> {
    /// Asks the rule of each value; false if one is refused, which was then reported.
    fn ask(&self, rule: &dyn Fn(&T) -> Answer, reader: &mut Reader, node: &Node<'_>) -> bool;
}

impl<T: Wire> Holds<T> for T {
    fn ask(&self, rule: &dyn Fn(&T) -> Answer, reader: &mut Reader, node: &Node<'_>) -> bool {
        match rule(self) {
            Ok(()) => true,
            Err(allowed) => {
                let _: Option<()> = reader.refuse(node, allowed);
                false
            }
        }
    }
}

impl<T: Wire> Holds<T> for Option<T> {
    fn ask(&self, rule: &dyn Fn(&T) -> Answer, reader: &mut Reader, node: &Node<'_>) -> bool {
        self.as_ref().is_none_or(|value| value.ask(rule, reader, node))
    }
}

impl<T: Wire> Holds<T> for Vec<T> {
    fn ask(&self, rule: &dyn Fn(&T) -> Answer, reader: &mut Reader, node: &Node<'_>) -> bool {
        let mut holds = true;
        for (index, value) in self.iter().enumerate() {
            let Some(node) = node.item(index) else { continue };
            reader.within(Step::Index(index), |reader| {
                holds &= value.ask(rule, reader, node);
            });
        }
        holds
    }
}

/// Makes a rule one of a field.
pub(crate) fn field<T, F: Holds<T>>(
    rule: impl Fn(&T) -> Answer,
) -> impl Fn(&F, &mut Reader, &Node<'_>) -> bool {
    move |value, reader, node| value.ask(&rule, reader, node)
}

/// Both rules.
pub(crate) fn both<T: ?Sized>(
    first: impl Fn(&T) -> Answer,
    second: impl Fn(&T) -> Answer,
) -> impl Fn(&T) -> Answer {
    move |value| first(value).and_then(|()| second(value))
}

/// A number in a range.
pub(crate) fn within<T: PartialOrd + Display>(range: RangeInclusive<T>) -> impl Fn(&T) -> Answer {
    move |value| allow(range.contains(value), || format!("{} to {}", range.start(), range.end()))
}

/// A string of at most this many octets.
pub(crate) fn at_most(octets: usize) -> impl Fn(&String) -> Answer {
    move |text| allow(text.len() <= octets, || format!("at most {octets} characters"))
}

/// A list of at most this many items.
pub(crate) fn items<T>(count: usize) -> impl Fn(&Vec<T>) -> Answer {
    move |list| allow(list.len() <= count, || format!("at most {count} items"))
}

/// A list in which no item stands twice.
pub(crate) fn unique<T: Ord>(list: &Vec<T>) -> Answer {
    let set: BTreeSet<_> = list.iter().collect();
    allow(set.len() == list.len(), || "each item only once".into())
}

/// `Ok` if it holds, else what is allowed.
pub(crate) fn allow(holds: bool, allowed: impl FnOnce() -> String) -> Answer {
    if holds { Ok(()) } else { Err(allowed()) }
}

/// A point in time as RFC 3339 writes it.
pub(crate) fn timestamp(text: &String) -> Answer {
    let digits = |text: Option<&str>, count: usize| {
        text.is_some_and(|text| text.len() == count && text.bytes().all(|c| c.is_ascii_digit()))
    };
    let part = |from: usize, to: usize| text.get(from..to);
    let date = digits(part(0, 4), 4)
        && part(4, 5) == Some("-")
        && digits(part(5, 7), 2)
        && part(7, 8) == Some("-")
        && digits(part(8, 10), 2)
        && part(10, 11) == Some("T");
    let time = digits(part(11, 13), 2)
        && part(13, 14) == Some(":")
        && digits(part(14, 16), 2)
        && part(16, 17) == Some(":")
        && digits(part(17, 19), 2);
    let rest = text.get(19..).unwrap_or_default();
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let offset = zone.strip_prefix(['+', '-']).and_then(|offset| offset.split_once(':'));
    let zone = zone == "Z"
        || offset
            .is_some_and(|(hours, minutes)| digits(Some(hours), 2) && digits(Some(minutes), 2));
    allow(date && time && zone, || "a time such as \"2026-08-01T12:00:00Z\"".into())
}

/// One of some words.
pub(crate) fn one_of(words: &'static [&'static str]) -> impl Fn(&String) -> Answer {
    move |text| allow(words.contains(&text.as_str()), || format!("one of {}", words.join(", ")))
}

/// One of some words, whatever their case.
pub(crate) fn one_of_any_case(words: &'static [&'static str]) -> impl Fn(&String) -> Answer {
    move |text| {
        let known = words.iter().any(|word| word.eq_ignore_ascii_case(text));
        allow(known, || format!("one of {}", words.join(", ")))
    }
}
