//! A value of a text, as written.

use std::borrow::Cow;

use crate::fault::Position;

/// A value and where it stood.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'a> {
    /// Its first character.
    pub at: Position,
    /// What it is.
    pub value: Value<'a>,
}

/// A field's name and where it stood.
#[derive(Clone, Debug, PartialEq)]
pub struct Key<'a> {
    /// Its first character.
    pub at: Position,
    /// The name.
    pub name: Cow<'a, str>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`, `~` or nothing at all.
    Null,
    /// A boolean of JSON.
    Bool(bool),
    /// A number of JSON, as written.
    Number(Cow<'a, str>),
    /// A quoted string or a block of text.
    Text(Cow<'a, str>),
    /// An unquoted YAML scalar, undecided.
    Plain(Cow<'a, str>),
    /// A list.
    List(Vec<Node<'a>>),
    /// A mapping in the order of the text; a key may stand twice.
    Map(Vec<(Key<'a>, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// A string: quoted, or plain and nothing else by the rules of YAML 1.2.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Plain(text) if !is_number(text) && !is_core_bool(text) => Some(text),
            _ => None,
        }
    }

    /// What a field of strings takes: a string, or a scalar of another type that is written as
    /// everybody would print it. So `5432` and `true` stand for themselves, as they do for
    /// calicoctl, and `1.10` has to be quoted: it would be `1.1` there.
    pub fn as_string(&self) -> Option<&str> {
        let is_plain = |text: &&str| match &self.value {
            Value::Number(_) | Value::Plain(_) => prints_as_written(text),
            _ => true,
        };
        self.as_text().or_else(|| self.as_scalar().filter(is_plain))
    }

    /// A boolean; of plain scalars also the words of YAML 1.1.
    pub fn as_bool(&self) -> Option<bool> {
        match &self.value {
            Value::Bool(value) => Some(*value),
            Value::Plain(text) => match &**text {
                "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
                "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
                    Some(false)
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// A whole number; of plain scalars also `0x…` and `0o…`.
    pub fn as_integer(&self) -> Option<i64> {
        match &self.value {
            Value::Number(text) => text.parse().ok().or_else(|| whole(text)),
            Value::Plain(text) => {
                if let Some(digits) = text.strip_prefix("0x") {
                    return i64::from_str_radix(digits, 16).ok().filter(|_| is_number(text));
                }
                if let Some(digits) = text.strip_prefix("0o") {
                    return i64::from_str_radix(digits, 8).ok().filter(|_| is_number(text));
                }
                if !is_number(text) {
                    return None;
                }
                text.parse().ok().or_else(|| whole(text))
            }
            _ => None,
        }
    }

    /// A finite number.
    pub fn as_float(&self) -> Option<f64> {
        match &self.value {
            Value::Number(text) => text.parse().ok().filter(|value: &f64| value.is_finite()),
            Value::Plain(text) if is_number(text) => match self.as_integer() {
                // Twice the same rule would be two rules: hexadecimal is only known there.
                Some(value) if text.starts_with('0') => value.to_string().parse().ok(),
                _ => text.parse().ok().filter(|value: &f64| value.is_finite()),
            },
            _ => None,
        }
    }

    /// The characters of a scalar that is not null, whatever its type.
    pub fn as_scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Number(text) | Value::Text(text) | Value::Plain(text) => Some(text),
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Whether it is a number, as written.
    pub fn is_number(&self) -> bool {
        match &self.value {
            Value::Number(_) => true,
            Value::Plain(text) => is_number(text),
            _ => false,
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The value of a field, the first one if it stands twice; without any, of the first whose name
    /// differs in case only.
    pub fn field(&self, name: &str) -> Option<&Node<'a>> {
        let Value::Map(entries) = &self.value else { return None };
        let named = |is: &dyn Fn(&str) -> bool| entries.iter().find(|(key, _)| is(&key.name));
        named(&|key| key == name)
            .or_else(|| named(&|key| key.eq_ignore_ascii_case(name)))
            .map(|(_, node)| node)
    }

    /// An item of a list.
    pub fn item(&self, index: usize) -> Option<&Node<'a>> {
        match &self.value {
            Value::List(items) => items.get(index),
            _ => None,
        }
    }

    /// In the words of a fault: `number 5`, `"text"`, `a list`.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".into(),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a mapping".into(),
            Value::Text(text) => shorten(text),
            Value::Plain(text) if is_core_bool(text) => format!("boolean {text}"),
            Value::Plain(text) | Value::Number(text) if self.is_number() => {
                format!("number {}", text.chars().take(40).collect::<String>())
            }
            Value::Plain(text) | Value::Number(text) => shorten(text),
            Value::Bool(value) => format!("boolean {value}"),
        }
    }
}

/// A string as a fault shows it.
pub(crate) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

/// `1.0` and `1e3` are whole numbers too, as long as a float holds them exactly.
fn whole(text: &str) -> Option<i64> {
    let value: f64 = text.parse().ok()?;
    let exact = value.fract() == 0.0 && value.abs() < 9.0e15;
    // A float without a fraction prints as an integer.
    exact.then(|| format!("{value:.0}").parse().ok()).flatten()
}

/// Whether what is no string by the rules of YAML is printed just so: `true`, decimal numbers without
/// anything to spare.
fn prints_as_written(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.bytes().all(|c| c.is_ascii_digit()) {
        return digits == "0" || !digits.is_empty() && !digits.starts_with('0');
    }
    let value = text.parse().ok().filter(|value: &f64| (1e-4..1e15).contains(&value.abs()));
    matches!(text, "true" | "false") || value.is_some_and(|value| value.to_string() == text)
}

fn is_core_bool(text: &str) -> bool {
    matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE")
}

/// The numbers of YAML's core schema, but for infinity and "not a number".
fn is_number(text: &str) -> bool {
    if let Some(digits) = text.strip_prefix("0x") {
        return !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_hexdigit());
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return !digits.is_empty() && digits.bytes().all(|c| (b'0'..=b'7').contains(&c));
    }
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    let exponent_holds = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent_holds
}
