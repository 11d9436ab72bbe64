//! Prefix patterns and sets of them.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// `NETWORK [ge N] [le M]`: prefixes inside the network whose length lies between the two.
///
/// Without both the network alone; with `ge` only up to the longest length; with `le` only from
/// the network's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrefixPattern {
    network: IpNet,
    ge: u8,
    le: u8,
}

/// Why a text is no [`PrefixPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixPatternError {
    /// Not `NETWORK [ge N] [le M]`.
    #[error("{0:?} is not a prefix, with or without lengths, like \"10.0.0.0/8 ge 9 le 24\"")]
    Syntax(String),
    /// Bits are set behind the length.
    #[error("{found} has host bits set, the network is {masked}")]
    HostBits {
        /// As written.
        found: IpNet,
        /// What it would be.
        masked: IpNet,
    },
    /// Lengths that no prefix of the network has.
    #[error(
        "ge {ge} le {le} does not fit {network}: allowed is {} <= ge <= le <= {}",
        network.prefix_len(), network.max_prefix_len()
    )]
    Lengths {
        /// The network.
        network: IpNet,
        /// Lower end.
        ge: u8,
        /// Upper end.
        le: u8,
    },
}

impl PrefixPattern {
    /// A pattern; `ge` and `le` default as described above.
    ///
    /// # Errors
    /// Host bits are set, or `network length <= ge <= le <= 32 (128)` does not hold.
    pub fn new(network: IpNet, ge: Option<u8>, le: Option<u8>) -> Result<Self, PrefixPatternError> {
        let masked = network.trunc();
        if masked != network {
            return Err(PrefixPatternError::HostBits { found: network, masked });
        }
        let (own, max) = (network.prefix_len(), network.max_prefix_len());
        let (ge, le) = match (ge, le) {
            (None, None) => (own, own),
            (Some(ge), None) => (ge, max),
            (None, Some(le)) => (own, le),
            (Some(ge), Some(le)) => (ge, le),
        };
        if own <= ge && ge <= le && le <= max {
            Ok(Self { network, ge, le })
        } else {
            Err(PrefixPatternError::Lengths { network, ge, le })
        }
    }

    /// Whether `prefix` matches.
    pub fn contains(&self, prefix: &IpNet) -> bool {
        self.network.contains(prefix) && (self.ge..=self.le).contains(&prefix.prefix_len())
    }

    /// The network.
    pub fn network(&self) -> IpNet {
        self.network
    }
}

impl FromStr for PrefixPattern {
    type Err = PrefixPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || PrefixPatternError::Syntax(text.to_owned());
        let mut words = text.split_ascii_whitespace();
        let network = words.next().and_then(|word| word.parse().ok()).ok_or_else(syntax)?;
        let (mut ge, mut le) = (None, None);
        while let Some(word) = words.next() {
            let slot = match word {
                "ge" if ge.is_none() => &mut ge,
                "le" if le.is_none() => &mut le,
                _ => return Err(syntax()),
            };
            let number = words.next().ok_or_else(syntax)?;
            *slot = Some(number.parse().map_err(|_| syntax())?);
        }
        Self::new(network, ge, le)
    }
}

impl fmt::Display for PrefixPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (own, max) = (self.network.prefix_len(), self.network.max_prefix_len());
        write!(f, "{}", self.network)?;
        if self.ge != own {
            write!(f, " ge {}", self.ge)?;
        }
        let implied = if self.ge == own { own } else { max };
        if self.le != implied {
            write!(f, " le {}", self.le)?;
        }
        Ok(())
    }
}

/// Prefix patterns, to be asked with many prefixes.
#[derive(Clone)]
pub struct PrefixSet {
    patterns: Vec<PrefixPattern>,
    v4: Trie<Key4>,
    v6: Trie<Key6>,
}

impl PrefixSet {
    /// A set of all these.
    pub fn new(patterns: Vec<PrefixPattern>) -> Self {
        let of = |v4: bool| patterns.iter().filter(move |p| p.network.addr().is_ipv4() == v4);
        Self { v4: Trie::new(of(true)), v6: Trie::new(of(false)), patterns }
    }

    /// Whether one of the patterns matches.
    pub fn contains(&self, prefix: &IpNet) -> bool {
        match prefix {
            IpNet::V4(_) => self.v4.contains(prefix),
            IpNet::V6(_) => self.v6.contains(prefix),
        }
    }

    /// As written.
    pub fn patterns(&self) -> &[PrefixPattern] {
        &self.patterns
    }
}

impl fmt::Debug for PrefixSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.patterns.fmt(f)
    }
}

impl PartialEq for PrefixSet {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Eq for PrefixSet {}

/// A trie over the networks of one address family, laid out as a sorted array with parent links:
/// one binary search finds the neighbourhood, and a step or two upwards the longest network that
/// covers the prefix. Each network also holds the lengths its ancestors allow, so that one is
/// enough. The keys stand apart, so that the search touches few cache lines.
#[derive(Debug, Clone)]
struct Trie<K> {
    keys: Vec<K>,
    nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
struct Node {
    lengths: Lengths,
    /// The longest network that covers this one.
    parent: Option<usize>,
}

/// Address bits and length; the order puts a network before all that it covers.
trait Key: Copy + Ord {
    fn of(prefix: &IpNet) -> Self;
    fn covers(self, other: Self) -> bool;
}

/// Address, then length, in the lower 40 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key4(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key6 {
    bits: u128,
    len: u8,
}

/// A set over the lengths 0 to 128.
#[derive(Debug, Clone, Copy, Default)]
struct Lengths {
    below_128: u128,
    host: bool,
}

impl<K: Key> Trie<K> {
    fn new<'a>(patterns: impl Iterator<Item = &'a PrefixPattern>) -> Self {
        let mut sorted: Vec<(K, &PrefixPattern)> =
            patterns.map(|pattern| (K::of(&pattern.network), pattern)).collect();
        sorted.sort_by_key(|(key, _)| *key);
        let mut nodes: Vec<Node> = Vec::with_capacity(sorted.len());
        // The path from the root to the node added last.
        let mut open: Vec<(K, usize)> = Vec::new();
        for (key, pattern) in &sorted {
            while open.last().is_some_and(|(above, _)| !above.covers(*key)) {
                open.pop();
            }
            let parent = open.last().map(|(_, parent)| *parent);
            let mut lengths = parent
                .and_then(|parent| nodes.get(parent))
                .map_or_else(Lengths::default, |node| node.lengths);
            lengths.insert(pattern.ge, pattern.le);
            open.push((*key, nodes.len()));
            nodes.push(Node { lengths, parent });
        }
        Self { keys: sorted.into_iter().map(|(key, _)| key).collect(), nodes }
    }

    fn contains(&self, prefix: &IpNet) -> bool {
        let key = K::of(prefix);
        let behind = self.keys.partition_point(|known| *known <= key);
        let mut next = behind.checked_sub(1);
        while let Some((known, node)) = next.and_then(|i| self.keys.get(i).zip(self.nodes.get(i))) {
            if known.covers(key) {
                return node.lengths.contains(prefix.prefix_len());
            }
            next = node.parent;
        }
        false
    }
}

impl Key for Key4 {
    fn of(prefix: &IpNet) -> Self {
        let bits = match prefix.addr() {
            IpAddr::V4(address) => address.to_bits(),
            // Never asked: each family has its own trie.
            IpAddr::V6(_) => 0,
        };
        Self(u64::from(bits) << 8 | u64::from(prefix.prefix_len()))
    }

    fn covers(self, other: Self) -> bool {
        let (len, other_len) = (self.0 & 0xFF, other.0 & 0xFF);
        // Shifted down by the length, the address is the lower half.
        len <= other_len && u64::from(((self.0 ^ other.0) >> 8).leading_zeros()) >= 32 + len
    }
}

impl Key for Key6 {
    fn of(prefix: &IpNet) -> Self {
        let bits = match prefix.addr() {
            IpAddr::V6(address) => address.to_bits(),
            IpAddr::V4(_) => 0,
        };
        Self { bits, len: prefix.prefix_len() }
    }

    fn covers(self, other: Self) -> bool {
        let differing = self.bits ^ other.bits;
        self.len <= other.len && differing.leading_zeros() >= u32::from(self.len)
    }
}

impl Lengths {
    fn insert(&mut self, ge: u8, le: u8) {
        for len in ge..=le {
            match 1u128.checked_shl(u32::from(len)) {
                Some(bit) => self.below_128 |= bit,
                None => self.host = true,
            }
        }
    }

    fn contains(self, len: u8) -> bool {
        match 1u128.checked_shl(u32::from(len)) {
            Some(bit) => self.below_128 & bit != 0,
            None => self.host,
        }
    }
}

#[cfg(test)]
mod tests;
