//! The kinds of `projectcalico.org/v3` and those of Kubernetes that are kept as they are, and the words
//! users call them by.

use std::fmt;

use crate::object::API_VERSION;

/// Whether objects of a kind live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One name in the whole cluster.
    Cluster,
    /// One name in each namespace.
    Namespaced,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "not namespaced",
            Self::Namespaced => "namespaced",
        })
    }
}

/// A kind of resource. Blocks and handles are no kinds here: blocks have a key of their own, and
/// handles are a view of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `BGPConfiguration`.
    BgpConfiguration,
    /// `BGPPeer`.
    BgpPeer,
    /// `BGPFilter`.
    BgpFilter,
    /// `IPPool`.
    IpPool,
    /// `IPReservation`.
    IpReservation,
    /// `IPAMConfiguration`.
    IpamConfiguration,
    /// `BlockAffinity`.
    BlockAffinity,
    /// `CalicoNodeStatus`.
    CalicoNodeStatus,
    /// `ClusterInformation`.
    ClusterInformation,
    /// `FelixConfiguration`.
    FelixConfiguration,
    /// `GlobalNetworkPolicy`.
    GlobalNetworkPolicy,
    /// `NetworkPolicy`.
    NetworkPolicy,
    /// `StagedGlobalNetworkPolicy`.
    StagedGlobalNetworkPolicy,
    /// `StagedNetworkPolicy`.
    StagedNetworkPolicy,
    /// `StagedKubernetesNetworkPolicy`.
    StagedKubernetesNetworkPolicy,
    /// `GlobalNetworkSet`.
    GlobalNetworkSet,
    /// `NetworkSet`.
    NetworkSet,
    /// `HostEndpoint`.
    HostEndpoint,
    /// `WorkloadEndpoint`.
    WorkloadEndpoint,
    /// `Profile`.
    Profile,
    /// `Node`.
    Node,
    /// `Tier`.
    Tier,
    /// `KubeControllersConfiguration`.
    KubeControllersConfiguration,
    /// `LiveMigration`.
    LiveMigration,
    /// `EndpointSlice` of Kubernetes.
    EndpointSlice,
}

/// What is known of a kind.
struct Facts {
    kind: Kind,
    name: &'static str,
    scope: Scope,
    plural: &'static str,
    words: &'static [&'static str],
}

impl Kind {
    /// The kinds whose objects lie in tiers: policies, and what they may become.
    pub const TIERED: &[Kind] = &[
        Self::NetworkPolicy,
        Self::GlobalNetworkPolicy,
        Self::StagedNetworkPolicy,
        Self::StagedGlobalNetworkPolicy,
    ];

    /// Whether it is one of [`Kind::TIERED`].
    pub fn is_tiered(self) -> bool {
        Self::TIERED.contains(&self)
    }

    /// Every kind, in the order of this list.
    pub const ALL: &[Kind] = &[
        Self::BgpConfiguration,
        Self::BgpPeer,
        Self::BgpFilter,
        Self::IpPool,
        Self::IpReservation,
        Self::IpamConfiguration,
        Self::BlockAffinity,
        Self::CalicoNodeStatus,
        Self::ClusterInformation,
        Self::FelixConfiguration,
        Self::GlobalNetworkPolicy,
        Self::NetworkPolicy,
        Self::StagedGlobalNetworkPolicy,
        Self::StagedNetworkPolicy,
        Self::StagedKubernetesNetworkPolicy,
        Self::GlobalNetworkSet,
        Self::NetworkSet,
        Self::HostEndpoint,
        Self::WorkloadEndpoint,
        Self::Profile,
        Self::Node,
        Self::Tier,
        Self::KubeControllersConfiguration,
        Self::LiveMigration,
        Self::EndpointSlice,
    ];

    /// The `kind` field of an object.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The `apiVersion` field of an object.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::EndpointSlice => "discovery.k8s.io/v1",
            _ => API_VERSION,
        }
    }

    /// Whether its objects live in namespaces.
    pub fn scope(self) -> Scope {
        self.facts().scope
    }

    /// The plural in lower case, as in datastore paths and API addresses.
    pub fn plural(self) -> &'static str {
        self.facts().plural
    }

    /// The words of the command line for it, all lower case, the longest names first.
    pub fn words(self) -> &'static [&'static str] {
        self.facts().words
    }

    /// The kind whose objects say `kind: name`; the case matters.
    pub fn from_name(name: &str) -> Option<Self> {
        FACTS.iter().find(|facts| facts.name == name).map(|facts| facts.kind)
    }

    /// The kind with this plural.
    pub fn from_plural(plural: &str) -> Option<Self> {
        FACTS.iter().find(|facts| facts.plural == plural).map(|facts| facts.kind)
    }

    /// The kind a user means by `word`, whatever its case.
    pub fn from_word(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        FACTS.iter().find(|facts| facts.words.contains(&word.as_str())).map(|facts| facts.kind)
    }

    fn facts(self) -> &'static Facts {
        FACTS.iter().find(|facts| facts.kind == self).expect("every kind is in the table: a test")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const FACTS: &[Facts] = &[
    Facts {
        kind: Kind::BgpConfiguration,
        name: "BGPConfiguration",
        scope: Scope::Cluster,
        plural: "bgpconfigurations",
        words: &["bgpconfiguration", "bgpconfigurations", "bgpconfig", "bgpconfigs"],
    },
    Facts {
        kind: Kind::BgpPeer,
        name: "BGPPeer",
        scope: Scope::Cluster,
        plural: "bgppeers",
        words: &["bgppeer", "bgppeers", "bgpp", "bgpps", "bp", "bps"],
    },
    Facts {
        kind: Kind::BgpFilter,
        name: "BGPFilter",
        scope: Scope::Cluster,
        plural: "bgpfilters",
        words: &["bgpfilter", "bgpfilters", "bgpf", "bgpfs", "bf", "bfs"],
    },
    Facts {
        kind: Kind::IpPool,
        name: "IPPool",
        scope: Scope::Cluster,
        plural: "ippools",
        words: &["ippool", "ippools", "ipp", "ipps", "pool", "pools"],
    },
    Facts {
        kind: Kind::IpReservation,
        name: "IPReservation",
        scope: Scope::Cluster,
        plural: "ipreservations",
        words: &["ipreservation", "ipreservations", "reservation", "reservations"],
    },
    Facts {
        kind: Kind::IpamConfiguration,
        name: "IPAMConfiguration",
        scope: Scope::Cluster,
        plural: "ipamconfigurations",
        words: &["ipamconfiguration", "ipamconfigurations", "ipamconfig", "ipamconfigs"],
    },
    Facts {
        kind: Kind::BlockAffinity,
        name: "BlockAffinity",
        scope: Scope::Cluster,
        plural: "blockaffinities",
        words: &["blockaffinity", "blockaffinities", "affinity", "affinities"],
    },
    Facts {
        kind: Kind::CalicoNodeStatus,
        name: "CalicoNodeStatus",
        scope: Scope::Cluster,
        plural: "caliconodestatuses",
        words: &["caliconodestatus", "caliconodestatuses", "nodestatus", "nodestatuses"],
    },
    Facts {
        kind: Kind::ClusterInformation,
        name: "ClusterInformation",
        scope: Scope::Cluster,
        plural: "clusterinformations",
        words: &["clusterinformation", "clusterinformations", "clusterinfo", "clusterinfos"],
    },
    Facts {
        kind: Kind::FelixConfiguration,
        name: "FelixConfiguration",
        scope: Scope::Cluster,
        plural: "felixconfigurations",
        words: &["felixconfiguration", "felixconfigurations", "felixconfig", "felixconfigs"],
    },
    Facts {
        kind: Kind::GlobalNetworkPolicy,
        name: "GlobalNetworkPolicy",
        scope: Scope::Cluster,
        plural: "globalnetworkpolicies",
        words: &["globalnetworkpolicy", "globalnetworkpolicies", "gnp", "gnps", "cgnp"],
    },
    Facts {
        kind: Kind::NetworkPolicy,
        name: "NetworkPolicy",
        scope: Scope::Namespaced,
        plural: "networkpolicies",
        words: &[
            "networkpolicy",
            "networkpolicies",
            "policy",
            "np",
            "policies",
            "pol",
            "pols",
            "cnp",
            "caliconetworkpolicy",
        ],
    },
    Facts {
        kind: Kind::StagedGlobalNetworkPolicy,
        name: "StagedGlobalNetworkPolicy",
        scope: Scope::Cluster,
        plural: "stagedglobalnetworkpolicies",
        words: &["stagedglobalnetworkpolicy", "stagedglobalnetworkpolicies", "sgnp", "sgnps"],
    },
    Facts {
        kind: Kind::StagedNetworkPolicy,
        name: "StagedNetworkPolicy",
        scope: Scope::Namespaced,
        plural: "stagednetworkpolicies",
        words: &[
            "stagednetworkpolicy",
            "stagednetworkpolicies",
            "stagedpolicy",
            "snp",
            "stagedpolicies",
            "spol",
            "spols",
            "scnp",
        ],
    },
    Facts {
        kind: Kind::StagedKubernetesNetworkPolicy,
        name: "StagedKubernetesNetworkPolicy",
        scope: Scope::Namespaced,
        plural: "stagedkubernetesnetworkpolicies",
        words: &[
            "stagedkubernetesnetworkpolicy",
            "stagedkubernetesnetworkpolicies",
            "stagedkubernetespolicy",
            "stagedkubernetespolicies",
            "sknp",
            "skpol",
            "skpols",
        ],
    },
    Facts {
        kind: Kind::GlobalNetworkSet,
        name: "GlobalNetworkSet",
        scope: Scope::Cluster,
        plural: "globalnetworksets",
        words: &["globalnetworkset", "globalnetworksets", "gnetsets", "gns"],
    },
    Facts {
        kind: Kind::NetworkSet,
        name: "NetworkSet",
        scope: Scope::Namespaced,
        plural: "networksets",
        words: &["networkset", "networksets", "netsets"],
    },
    Facts {
        kind: Kind::HostEndpoint,
        name: "HostEndpoint",
        scope: Scope::Cluster,
        plural: "hostendpoints",
        words: &["hostendpoint", "hostendpoints", "hep", "heps"],
    },
    Facts {
        kind: Kind::WorkloadEndpoint,
        name: "WorkloadEndpoint",
        scope: Scope::Namespaced,
        plural: "workloadendpoints",
        words: &["workloadendpoint", "workloadendpoints", "wep", "weps"],
    },
    Facts {
        kind: Kind::Profile,
        name: "Profile",
        scope: Scope::Cluster,
        plural: "profiles",
        words: &["profile", "profiles", "pro", "pros"],
    },
    Facts {
        kind: Kind::Node,
        name: "Node",
        scope: Scope::Cluster,
        plural: "nodes",
        words: &["node", "nodes", "no", "nos"],
    },
    Facts {
        kind: Kind::Tier,
        name: "Tier",
        scope: Scope::Cluster,
        plural: "tiers",
        words: &["tier", "tiers"],
    },
    Facts {
        kind: Kind::KubeControllersConfiguration,
        name: "KubeControllersConfiguration",
        scope: Scope::Cluster,
        plural: "kubecontrollersconfigurations",
        words: &[
            "kubecontrollersconfiguration",
            "kubecontrollersconfigurations",
            "kubecontrollersconfig",
            "kubecontrollersconfigs",
            "kcc",
            "kccs",
        ],
    },
    Facts {
        kind: Kind::LiveMigration,
        name: "LiveMigration",
        scope: Scope::Namespaced,
        plural: "livemigrations",
        words: &["livemigration", "livemigrations"],
    },
    Facts {
        kind: Kind::EndpointSlice,
        name: "EndpointSlice",
        scope: Scope::Namespaced,
        plural: "endpointslices",
        words: &["endpointslice", "endpointslices"],
    },
];

#[cfg(test)]
mod tests;
