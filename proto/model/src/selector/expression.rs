//! What a selector means: its tree, canonical form and evaluation.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A selector's tree. Groups have at least two members; a negation is never negated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expression {
    /// `all()`: everything.
    All,
    /// `global()`: everything, but where a rule's namespace selector gives it its own meaning.
    Global,
    /// `has(label)`: the label is there, even if empty.
    Has(String),
    /// `label == "value"`.
    Equal(String, String),
    /// `label != "value"`: true too if the label is not there.
    NotEqual(String, String),
    /// `label in {"a", "b"}`.
    In(String, BTreeSet<String>),
    /// `label not in {"a", "b"}`: true too if the label is not there.
    NotIn(String, BTreeSet<String>),
    /// `label contains "part"`.
    Contains(String, String),
    /// `label starts with "part"`.
    StartsWith(String, String),
    /// `label ends with "part"`.
    EndsWith(String, String),
    /// `!expression`.
    Not(Box<Expression>),
    /// `a && b`.
    And(Vec<Expression>),
    /// `a || b`.
    Or(Vec<Expression>),
}

/// A set of labels.
pub trait Labels {
    /// The value of a label, if it is there.
    fn value(&self, label: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn value(&self, label: &str) -> Option<&str> {
        self.get(label).map(String::as_str)
    }
}

impl Labels for [(&str, &str)] {
    fn value(&self, label: &str) -> Option<&str> {
        self.iter().find(|(key, _)| *key == label).map(|(_, value)| *value)
    }
}

impl<const N: usize> Labels for [(&str, &str); N] {
    fn value(&self, label: &str) -> Option<&str> {
        self.as_slice().value(label)
    }
}

impl<T: Labels + ?Sized> Labels for &T {
    fn value(&self, label: &str) -> Option<&str> {
        (**self).value(label)
    }
}

impl Expression {
    /// Whether a label set is selected.
    pub fn matches(&self, labels: &impl Labels) -> bool {
        let value = |label: &String| labels.value(label);
        match self {
            Self::All | Self::Global => true,
            Self::Has(label) => value(label).is_some(),
            Self::Equal(label, wanted) => value(label) == Some(wanted),
            Self::NotEqual(label, unwanted) => value(label) != Some(unwanted),
            Self::In(label, set) => value(label).is_some_and(|value| set.contains(value)),
            Self::NotIn(label, set) => value(label).is_none_or(|value| !set.contains(value)),
            Self::Contains(label, part) => {
                value(label).is_some_and(|value| value.contains(part.as_str()))
            }
            Self::StartsWith(label, part) => {
                value(label).is_some_and(|value| value.starts_with(part.as_str()))
            }
            Self::EndsWith(label, part) => {
                value(label).is_some_and(|value| value.ends_with(part.as_str()))
            }
            Self::Not(inner) => !inner.matches(labels),
            Self::And(members) => members.iter().all(|member| member.matches(labels)),
            Self::Or(members) => members.iter().any(|member| member.matches(labels)),
        }
    }

    /// The opposite.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// All of them; everything if there is none.
    pub fn and(members: impl IntoIterator<Item = Self>) -> Self {
        let mut members: Vec<_> = members.into_iter().collect();
        match (members.pop(), members.is_empty()) {
            (None, _) => Self::All,
            (Some(only), true) => only,
            (Some(last), false) => {
                members.push(last);
                Self::And(members)
            }
        }
    }

    /// The same with something done to every part that is no group and no negation.
    #[must_use]
    pub fn map(self, change: &dyn Fn(Self) -> Self) -> Self {
        match self {
            Self::Not(inner) => inner.map(change).negated(),
            Self::And(members) => {
                Self::And(members.into_iter().map(|member| member.map(change)).collect())
            }
            Self::Or(members) => {
                Self::Or(members.into_iter().map(|member| member.map(change)).collect())
            }
            leaf => change(leaf),
        }
    }

    /// The label a part that is no group looks at.
    pub fn label(&self) -> Option<&str> {
        match self {
            Self::Has(label)
            | Self::Equal(label, _)
            | Self::NotEqual(label, _)
            | Self::In(label, _)
            | Self::NotIn(label, _)
            | Self::Contains(label, _)
            | Self::StartsWith(label, _)
            | Self::EndsWith(label, _) => Some(label),
            Self::All | Self::Global | Self::Not(_) | Self::And(_) | Self::Or(_) => None,
        }
    }

    /// The same with every label renamed.
    #[must_use]
    pub fn rename(self, name: &dyn Fn(String) -> String) -> Self {
        self.map(&|leaf| match leaf {
            Self::Has(label) => Self::Has(name(label)),
            Self::Equal(label, value) => Self::Equal(name(label), value),
            Self::NotEqual(label, value) => Self::NotEqual(name(label), value),
            Self::In(label, set) => Self::In(name(label), set),
            Self::NotIn(label, set) => Self::NotIn(name(label), set),
            Self::Contains(label, part) => Self::Contains(name(label), part),
            Self::StartsWith(label, part) => Self::StartsWith(name(label), part),
            Self::EndsWith(label, part) => Self::EndsWith(name(label), part),
            other => other,
        })
    }

    /// Whether `global()` stands anywhere in it.
    pub fn has_global(&self) -> bool {
        match self {
            Self::Global => true,
            Self::Not(inner) => inner.has_global(),
            Self::And(members) | Self::Or(members) => members.iter().any(Self::has_global),
            _ => false,
        }
    }
}

impl fmt::Display for Expression {
    /// The canonical form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all()"),
            Self::Global => f.write_str("global()"),
            Self::Has(label) => write!(f, "has({label})"),
            Self::Equal(label, value) => write!(f, "{label} == {}", Quoted(value)),
            Self::NotEqual(label, value) => write!(f, "{label} != {}", Quoted(value)),
            Self::In(label, set) => write!(f, "{label} in {}", Set(set)),
            Self::NotIn(label, set) => write!(f, "{label} not in {}", Set(set)),
            Self::Contains(label, part) => write!(f, "{label} contains {}", Quoted(part)),
            Self::StartsWith(label, part) => write!(f, "{label} starts with {}", Quoted(part)),
            Self::EndsWith(label, part) => write!(f, "{label} ends with {}", Quoted(part)),
            Self::Not(inner) => write!(f, "!{inner}"),
            Self::And(members) => group(f, members, " && "),
            Self::Or(members) => group(f, members, " || "),
        }
    }
}

fn group(f: &mut fmt::Formatter<'_>, members: &[Expression], sign: &str) -> fmt::Result {
    f.write_str("(")?;
    for (index, member) in members.iter().enumerate() {
        write!(f, "{}{member}", if index == 0 { "" } else { sign })?;
    }
    f.write_str(")")
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if self.0.contains('"') { '\'' } else { '"' };
        write!(f, "{quote}{}{quote}", self.0)
    }
}

struct Set<'a>(&'a BTreeSet<String>);

impl fmt::Display for Set<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, value) in self.0.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { ", " }, Quoted(value))?;
        }
        f.write_str("}")
    }
}
