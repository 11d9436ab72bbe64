//! Versions of the CNI specification: which there are, and what each of them knows.

use std::{fmt, str::FromStr};

/// A version that this plugin speaks; later ones compare greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.1.0
    V010,
    /// 0.2.0: what a configuration without a version means.
    V020,
    /// 0.3.0: results list interfaces and addresses.
    V030,
    /// 0.3.1
    V031,
    /// 0.4.0: CHECK.
    V040,
    /// 1.0.0: addresses without `version`.
    V100,
    /// 1.1.0: GC, STATUS, and more about links and routes.
    V110,
}

/// How the result of ADD looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `ip4` and `ip6`, one address each.
    Pair,
    /// Lists; each address says of which family it is.
    ListsWithFamily,
    /// Lists.
    Lists,
    /// Lists, with MTUs, tables and the like.
    ListsWithDetails,
}

impl Version {
    /// Every version, oldest first.
    pub const ALL: [Self; 7] =
        [Self::V010, Self::V020, Self::V030, Self::V031, Self::V040, Self::V100, Self::V110];

    /// The newest, which is what is answered where the runtime names none that we know.
    pub const NEWEST: Self = Self::V110;

    /// What a configuration without `cniVersion` is written for.
    pub const UNNAMED: Self = Self::V020;

    /// As it stands in `cniVersion`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::V010 => "0.1.0",
            Self::V020 => "0.2.0",
            Self::V030 => "0.3.0",
            Self::V031 => "0.3.1",
            Self::V040 => "0.4.0",
            Self::V100 => "1.0.0",
            Self::V110 => "1.1.0",
        }
    }

    /// How results look.
    pub const fn shape(self) -> Shape {
        match self {
            Self::V010 | Self::V020 => Shape::Pair,
            Self::V030 | Self::V031 | Self::V040 => Shape::ListsWithFamily,
            Self::V100 => Shape::Lists,
            Self::V110 => Shape::ListsWithDetails,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A version that this plugin does not speak.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("CNI version {0:?} is not supported")]
pub struct UnknownVersion(pub String);

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|version| version.text() == text)
            .ok_or_else(|| UnknownVersion(text.to_owned()))
    }
}
