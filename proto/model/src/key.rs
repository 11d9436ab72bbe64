//! What a stored value is called, and how that is written as a path.

use std::fmt;

use ipnet::IpNet;

use crate::{
    kind::{Kind, Scope},
    object::API_VERSION,
};

/// Names one value of the datastore.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A resource: one of `projectcalico.org/v3`, or of Kubernetes.
    Resource(ResourceKey),
    /// An IPAM block, by its masked CIDR.
    Block(IpNet),
    /// The lease by which a running daemon proves that its node lives, by node name.
    NodeLease(String),
    /// What rules between resources hold on to.
    Guard(Guard),
    /// What is kept of a request of several transactions until the last of them is made.
    Undo(Undo),
}

/// A family of rules between resources, each with one value of no meaning: whoever writes what could
/// break such a rule writes it anew in the same transaction, and whoever has asked the rule before
/// compares it in his. It lies in no [`Area`]: nobody lists, watches or backs it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guard {
    /// Pools do not overlap.
    Pools,
    /// A tier that policies lie in does not go.
    Tiers,
}

impl Guard {
    fn name(self) -> &'static str {
        match self {
            Self::Pools => "pools",
            Self::Tiers => "tiers",
        }
    }
}

/// A piece of what takes back a request that was broken off between two of its transactions. It lies in
/// [`Area::Undo`] alone: nobody watches it or backs it up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Undo {
    /// Which request: an id of lower-case letters, digits and hyphens.
    pub request: String,
    /// Which piece.
    pub piece: Piece,
}

/// What a value says of a request of several transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Piece {
    /// Whose it is. It is there from before the first transaction until the last.
    Head,
    /// What a key held before, by number.
    Before(u32),
    /// Which keys a transaction wrote, by number; it is written with them.
    Part(u32),
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str(HEAD),
            Self::Before(number) => write!(f, "{BEFORE}{number:010}"),
            Self::Part(number) => write!(f, "{PART}{number:010}"),
        }
    }
}

impl Undo {
    /// Reads back what stands behind [`UNDO`] in a path.
    fn from_rest(rest: &str) -> Option<Self> {
        let (request, piece) = rest.split_once('/')?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if request.is_empty() || !request.bytes().all(plain) {
            return None;
        }
        let number = |text: &str| text.parse().ok();
        let read = match piece {
            HEAD => Piece::Head,
            _ => match piece.strip_prefix(BEFORE) {
                Some(text) => Piece::Before(number(text)?),
                None => Piece::Part(number(piece.strip_prefix(PART)?)?),
            },
        };
        // One name each.
        (read.to_string() == piece).then(|| Self { request: request.to_owned(), piece: read })
    }
}

/// Names a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for a cluster-wide kind.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What a list or a watch covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// Everything but [`Key::Guard`]s and [`Key::Undo`]s.
    All,
    /// Every resource of every kind.
    Resources,
    /// Resources of one kind, in one namespace if one is given.
    Kind(Kind, Option<String>),
    /// Every IPAM block.
    Blocks,
    /// Every node lease.
    NodeLeases,
    /// Every IPAM block and every node lease: what an allocator follows, in the order of commits.
    Ipam,
    /// What is kept of requests of several transactions.
    Undo,
}

impl Area {
    /// Whether `key` lies in it.
    pub fn contains(&self, key: &Key) -> bool {
        match (self, key) {
            (Self::All, Key::Resource(_) | Key::Block(_) | Key::NodeLease(_))
            | (Self::Resources, Key::Resource(_))
            | (Self::Blocks, Key::Block(_))
            | (Self::NodeLeases, Key::NodeLease(_))
            | (Self::Ipam, Key::Block(_) | Key::NodeLease(_))
            | (Self::Undo, Key::Undo(_)) => true,
            (Self::Kind(kind, namespace), Key::Resource(key)) => {
                *kind == key.kind && namespace.as_ref().is_none_or(|name| *name == key.namespace)
            }
            _ => false,
        }
    }

    /// The beginnings of the paths ([`Key::path`]) of all keys in it, in the order of the paths.
    /// No key outside the area has a path with such a beginning.
    pub fn path_prefixes(&self) -> Vec<String> {
        match self {
            Self::All => {
                vec![BLOCKS.into(), LEASES.into(), OTHERS.into(), RESOURCES.into()]
            }
            Self::Resources => vec![OTHERS.into(), RESOURCES.into()],
            Self::Kind(kind, None) => vec![format!("{}{}/", home(*kind), kind.plural())],
            Self::Kind(kind, Some(namespace)) => {
                vec![format!("{}{}/{namespace}/", home(*kind), kind.plural())]
            }
            Self::Blocks => vec![BLOCKS.into()],
            Self::NodeLeases => vec![LEASES.into()],
            Self::Ipam => vec![BLOCKS.into(), LEASES.into()],
            Self::Undo => vec![UNDO.into()],
        }
    }
}

/// Why octets are no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The path names nothing of this model.
    #[error("{0:?} is no key of this datastore")]
    Unknown(String),
    /// The namespace is missing, or there is one too many.
    #[error("{path:?}: {kind} is {scope}")]
    Scope {
        /// What was found.
        path: String,
        /// The kind in it.
        kind: Kind,
        /// How that kind is scoped.
        scope: Scope,
    },
}

impl Key {
    /// A cluster-wide resource.
    pub fn cluster(kind: Kind, name: impl Into<String>) -> Self {
        Self::Resource(ResourceKey { kind, namespace: String::new(), name: name.into() })
    }

    /// A resource in a namespace.
    pub fn namespaced(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self::Resource(ResourceKey { kind, namespace: namespace.into(), name: name.into() })
    }

    /// The name of the resource that it names, if it does.
    pub fn resource(&self) -> Option<&ResourceKey> {
        match self {
            Self::Resource(key) => Some(key),
            Self::Block(_) | Self::NodeLease(_) | Self::Guard(_) | Self::Undo(_) => None,
        }
    }

    /// Its path under the datastore's root, without the configured prefix in front of resources:
    /// `resources/v3/projectcalico.org/ippools/pool1`, and `/margay/…` for what is ours alone.
    pub fn path(&self) -> String {
        match self {
            Self::Resource(key) if key.namespace.is_empty() => {
                format!("{}{}/{}", home(key.kind), key.kind.plural(), key.name)
            }
            Self::Resource(key) => {
                let (home, plural) = (home(key.kind), key.kind.plural());
                format!("{home}{plural}/{}/{}", key.namespace, key.name)
            }
            Self::Block(cidr) => format!("{BLOCKS}{}-{}", cidr.addr(), cidr.prefix_len()),
            Self::NodeLease(node) => format!("{LEASES}{node}"),
            Self::Guard(guard) => format!("{GUARDS}{}", guard.name()),
            Self::Undo(Undo { request, piece }) => format!("{UNDO}{request}/{piece}"),
        }
    }

    /// Reads back what [`Key::path`] wrote.
    pub fn from_path(path: &str) -> Result<Self, KeyError> {
        let unknown = || KeyError::Unknown(path.to_owned());
        if let Some(rest) = path.strip_prefix(BLOCKS) {
            let (address, length) = rest.rsplit_once('-').ok_or_else(unknown)?;
            let cidr: IpNet = format!("{address}/{length}").parse().map_err(|_| unknown())?;
            return if cidr.trunc() == cidr { Ok(Self::Block(cidr)) } else { Err(unknown()) };
        }
        if let Some(node) = path.strip_prefix(LEASES) {
            return if node.is_empty() { Err(unknown()) } else { Ok(Self::NodeLease(node.into())) };
        }
        if let Some(name) = path.strip_prefix(GUARDS) {
            let guard = [Guard::Pools, Guard::Tiers].into_iter().find(|guard| guard.name() == name);
            return guard.map(Self::Guard).ok_or_else(unknown);
        }
        if let Some(rest) = path.strip_prefix(UNDO) {
            return Undo::from_rest(rest).map(Self::Undo).ok_or_else(unknown);
        }
        let found = [OTHERS, RESOURCES].into_iter().find_map(|home| {
            let (plural, rest) = path.strip_prefix(home)?.split_once('/')?;
            Some((home, Kind::from_plural(plural)?, rest))
        });
        let known = found.filter(|(found, kind, _)| *found == home(*kind));
        let (_, kind, rest) = known.ok_or_else(unknown)?;
        let scope = || KeyError::Scope { path: path.to_owned(), kind, scope: kind.scope() };
        let (namespace, name) = match (kind.scope(), rest.split_once('/')) {
            (Scope::Cluster, None) => ("", rest),
            (Scope::Namespaced, Some((namespace, name))) if !namespace.is_empty() => {
                (namespace, name)
            }
            _ => return Err(scope()),
        };
        if name.is_empty() || name.contains('/') {
            return Err(unknown());
        }
        Ok(Self::namespaced(kind, namespace, name))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(key) if key.namespace.is_empty() => {
                write!(f, "{}({})", key.kind, key.name)
            }
            Self::Resource(key) => write!(f, "{}({}/{})", key.kind, key.namespace, key.name),
            Self::Block(cidr) => write!(f, "block {cidr}"),
            Self::NodeLease(node) => write!(f, "lease of node {node}"),
            Self::Guard(guard) => write!(f, "guard of {}", guard.name()),
            Self::Undo(Undo { request, piece }) => write!(f, "{piece} of request {request}"),
        }
    }
}

/// Where Calico keeps resources, under its own prefix (`/calico`).
const RESOURCES: &str = "resources/v3/projectcalico.org/";
/// Where resources lie that Calico's tools do not know.
const OTHERS: &str = "/margay/resources/v1/";
/// Where blocks lie.
const BLOCKS: &str = "/margay/ipam/v1/blocks/";
/// Where node leases lie.
const LEASES: &str = "/margay/nodes/v1/leases/";
/// Where guards lie.
const GUARDS: &str = "/margay/guards/v1/";
/// Where requests of several transactions are kept until they are made.
const UNDO: &str = "/margay/undo/v1/";
/// What [`Piece`]s are called.
const HEAD: &str = "head";
const BEFORE: &str = "before-";
const PART: &str = "part-";

/// Where the resources of a kind lie.
fn home(kind: Kind) -> &'static str {
    if kind.api_version() == API_VERSION { RESOURCES } else { OTHERS }
}

#[cfg(test)]
mod tests;
