//! Names of what comes out.

use std::{cmp::Ordering, fmt, sync::Arc};

use margay_model::{Kind, ResourceKey};

/// An endpoint that policies apply to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointId {
    /// A `WorkloadEndpoint`.
    Workload {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A `HostEndpoint`, by its name.
    Host(String),
}

impl EndpointId {
    /// The endpoint a resource is, if it is one.
    pub fn of(key: &ResourceKey) -> Option<Self> {
        match key.kind {
            Kind::WorkloadEndpoint => {
                Some(Self::Workload { namespace: key.namespace.clone(), name: key.name.clone() })
            }
            Kind::HostEndpoint => Some(Self::Host(key.name.clone())),
            _ => None,
        }
    }

    /// The resource it is.
    pub fn key(&self) -> ResourceKey {
        let (kind, namespace, name) = match self {
            Self::Workload { namespace, name } => (Kind::WorkloadEndpoint, namespace.clone(), name),
            Self::Host(name) => (Kind::HostEndpoint, String::new(), name),
        };
        ResourceKey { kind, namespace, name: name.clone() }
    }
}

impl fmt::Display for EndpointId {
    /// `wep:NAMESPACE/NAME` or `hep:NAME`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload { namespace, name } => write!(f, "wep:{namespace}/{name}"),
            Self::Host(name) => write!(f, "hep:{name}"),
        }
    }
}

/// A policy, staged or not: the resource it is. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PolicyId(Arc<ResourceKey>);

impl Ord for PolicyId {
    fn cmp(&self, other: &Self) -> Ordering {
        // Long lists of the same policies are compared often.
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for PolicyId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PolicyId {
    /// The policy a resource is, if it is one.
    pub fn of(key: &ResourceKey) -> Option<Self> {
        let is_policy = key.kind.is_tiered() || key.kind == Kind::StagedKubernetesNetworkPolicy;
        is_policy.then(|| Self(Arc::new(key.clone())))
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Its namespace; empty for a cluster-wide one.
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The resource it is.
    pub fn key(&self) -> &ResourceKey {
        &self.0
    }

    /// Whether it is computed and reported, but never enforced.
    pub fn is_staged(&self) -> bool {
        !matches!(self.0.kind, Kind::NetworkPolicy | Kind::GlobalNetworkPolicy)
    }

    /// The text by which policies of equal order are sorted, octet by octet.
    pub fn sort_text(&self) -> String {
        format!("{}/{}/{}", self.0.name, self.0.namespace, self.0.kind)
    }
}

impl fmt::Display for PolicyId {
    /// `KIND NAMESPACE/NAME` or `KIND NAME`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.namespace.as_str() {
            "" => write!(f, "{} {}", self.0.kind, self.0.name),
            namespace => write!(f, "{} {namespace}/{}", self.0.kind, self.0.name),
        }
    }
}

/// What rules belong to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A policy.
    Policy(PolicyId),
    /// A profile, by its name.
    Profile(String),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(policy) => policy.fmt(f),
            Self::Profile(name) => write!(f, "Profile {name}"),
        }
    }
}

/// What the members of a set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetKind {
    /// Ranges of addresses: [`Member::Net`](crate::Member::Net).
    Addresses,
    /// A port at an address: [`Member::Port`](crate::Member::Port).
    Ports,
}

/// A set that rules refer to. It is made of what the set is of, not of what is in it: equal
/// definitions share one set, and its name is the same on every node and after every restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId {
    kind: SetKind,
    digest: [u8; 16],
}

impl SetId {
    pub(crate) fn new(kind: SetKind, digest: [u8; 16]) -> Self {
        Self { kind, digest }
    }

    /// What its members are.
    pub fn kind(self) -> SetKind {
        self.kind
    }

    /// What tells it from others of its kind.
    pub fn digest(self) -> [u8; 16] {
        self.digest
    }
}

impl fmt::Display for SetId {
    /// `s:` (addresses) or `n:` (ports), and 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            SetKind::Addresses => "s:",
            SetKind::Ports => "n:",
        })?;
        self.digest.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}
