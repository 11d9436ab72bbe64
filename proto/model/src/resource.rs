//! A resource of any kind.

use bytes::Bytes;
use serde_json::Value as Json;

use crate::{
    decode,
    fault::Faults,
    key::Key,
    kind::Kind,
    kinds::*,
    meta::{METADATA_ANNOTATION, ObjectMeta, is_name},
    object::{Object, Spec},
    text::Node,
    wire::{Mode, Reader},
};

macro_rules! resources {
    ($($(#[$meta:meta])* $kind:ident: $spec:ty,)*) => {
        /// A resource of any kind. One that was decoded is valid.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Resource {
            $( $(#[$meta])* $kind(Box<Object<$spec>>), )*
        }

        impl Resource {
            /// Its kind.
            pub fn kind(&self) -> Kind {
                match self {
                    $( Self::$kind(_) => Kind::$kind, )*
                }
            }

            /// What it is stored under.
            pub fn key(&self) -> Key {
                match self {
                    $( Self::$kind(object) => object.key(), )*
                }
            }

            /// What it says about itself.
            pub fn metadata(&self) -> &ObjectMeta {
                match self {
                    $( Self::$kind(object) => &object.metadata, )*
                }
            }

            /// What it says about itself, to be changed.
            pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
                match self {
                    $( Self::$kind(object) => &mut object.metadata, )*
                }
            }

            /// Fills in what a writer leaves out: the namespace, the defaults of the kind. Every
            /// stored resource has been through this.
            pub fn apply_defaults(&mut self) {
                match self {
                    $( Self::$kind(object) => {
                        if Kind::$kind.scope() == crate::kind::Scope::Namespaced {
                            object.metadata.namespace.get_or_insert_with(|| "default".into());
                        }
                        <$spec>::apply_defaults(object);
                    } )*
                }
            }

            /// Its canonical JSON, as users see it.
            pub fn to_json(&self) -> Json {
                match self {
                    $( Self::$kind(object) => object.write(), )*
                }
            }

            pub(crate) fn read(
                kind: Kind,
                node: &Node<'_>,
                reader: &mut Reader,
            ) -> Option<Self> {
                match kind {
                    $( Kind::$kind => Object::<$spec>::read_known(node, reader).map(Self::from), )*
                }
            }
        }

        $(
            impl From<Object<$spec>> for Resource {
                fn from(object: Object<$spec>) -> Self {
                    Self::$kind(Box::new(object))
                }
            }
        )*
    };
}

resources! {
    /// A `BGPConfiguration`.
    BgpConfiguration: BgpConfigurationSpec,
    /// A `BGPPeer`.
    BgpPeer: BgpPeerSpec,
    /// A `BGPFilter`.
    BgpFilter: BgpFilterSpec,
    /// An `IPPool`.
    IpPool: IpPoolSpec,
    /// An `IPReservation`.
    IpReservation: IpReservationSpec,
    /// An `IPAMConfiguration`.
    IpamConfiguration: IpamConfigurationSpec,
    /// A `BlockAffinity`.
    BlockAffinity: BlockAffinitySpec,
    /// A `CalicoNodeStatus`.
    CalicoNodeStatus: CalicoNodeStatusSpec,
    /// A `ClusterInformation`.
    ClusterInformation: ClusterInformationSpec,
    /// A `FelixConfiguration`.
    FelixConfiguration: FelixConfigurationSpec,
    /// A `GlobalNetworkPolicy`.
    GlobalNetworkPolicy: GlobalNetworkPolicySpec,
    /// A `NetworkPolicy`.
    NetworkPolicy: NetworkPolicySpec,
    /// A `StagedGlobalNetworkPolicy`.
    StagedGlobalNetworkPolicy: StagedGlobalNetworkPolicySpec,
    /// A `StagedNetworkPolicy`.
    StagedNetworkPolicy: StagedNetworkPolicySpec,
    /// A `StagedKubernetesNetworkPolicy`.
    StagedKubernetesNetworkPolicy: StagedKubernetesNetworkPolicySpec,
    /// A `GlobalNetworkSet`.
    GlobalNetworkSet: GlobalNetworkSetSpec,
    /// A `NetworkSet`.
    NetworkSet: NetworkSetSpec,
    /// A `HostEndpoint`.
    HostEndpoint: HostEndpointSpec,
    /// A `WorkloadEndpoint`.
    WorkloadEndpoint: WorkloadEndpointSpec,
    /// A `Profile`.
    Profile: ProfileSpec,
    /// A `Node`.
    Node: NodeSpec,
    /// A `Tier`.
    Tier: TierSpec,
    /// A `KubeControllersConfiguration`.
    KubeControllersConfiguration: KubeControllersConfigurationSpec,
    /// A `LiveMigration`.
    LiveMigration: LiveMigrationSpec,
    /// An `EndpointSlice`.
    EndpointSlice: EndpointSliceSpec,
}

impl Resource {
    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// Asks every rule of a resource that was put together in code.
    pub fn check(&self) -> Result<(), Faults> {
        let octets = self.to_json().to_string();
        decode::resource(octets.as_bytes(), Mode::Strict).map(|_| ())
    }

    /// The octets to store under [`Resource::key`]: JSON without `resourceVersion` and
    /// `selfLink`, in the form that Calico reads from etcd.
    pub fn encode(&self) -> Bytes {
        let mut stored = self.clone();
        let metadata = stored.metadata_mut();
        metadata.resource_version = None;
        metadata.self_link = None;
        if self.kind().is_tiered() {
            let name = serde_json::json!({ "name": self.name() }).to_string();
            metadata.annotations.insert(METADATA_ANNOTATION.into(), name);
        }
        let mut json = stored.to_json();
        if self.kind() == Kind::BlockAffinity {
            // Calico keeps this boolean as a string.
            if let Some(deleted) = json.pointer_mut("/spec/deleted") {
                *deleted = deleted.to_string().into();
            }
        }
        // Without the room that a text has left after it was written: it is kept as it is.
        json.to_string().into_boxed_str().into_boxed_bytes().into()
    }

    /// Reads octets of [`Resource::encode`], or those that Calico stored.
    pub fn decode(octets: &[u8]) -> Result<Self, Faults> {
        decode::resource(octets, Mode::Strict)
    }

    /// The same, without the fields that nobody here knows: those of a newer release.
    pub fn decode_lenient(octets: &[u8]) -> Result<Self, Faults> {
        decode::resource(octets, Mode::Lenient)
    }

    /// Gives the metadata back what the store keeps in an annotation.
    ///
    /// A policy without it, stored by an older release, may carry its tier in front of its name. In
    /// what a user wrote as v3 the annotation says nothing: it must not make it another resource.
    pub(crate) fn unpack(&mut self, is_crd: bool, stored: bool) {
        let kind = self.kind();
        let tier = match self {
            Self::NetworkPolicy(policy) => policy.spec.tier.as_deref(),
            Self::GlobalNetworkPolicy(policy) => policy.spec.tier.as_deref(),
            Self::StagedNetworkPolicy(policy) => policy.spec.tier.as_deref(),
            Self::StagedGlobalNetworkPolicy(policy) => policy.spec.tier.as_deref(),
            _ => None,
        };
        let in_default = kind.is_tiered() && tier.is_none_or(|tier| tier == "default");
        let metadata = self.metadata_mut();
        let packed = metadata.annotations.remove(METADATA_ANNOTATION);
        if !stored && !is_crd {
            return;
        }
        match packed.as_deref().and_then(decode::packed_metadata) {
            Some(packed) => {
                let name = packed.name.filter(|name| kind.is_tiered() && is_name(kind, name));
                metadata.name = name.or(metadata.name.take());
                if is_crd {
                    metadata.labels.extend(packed.labels);
                    metadata.annotations.extend(packed.annotations);
                }
            }
            None if in_default => {
                if let Some(name) = metadata.name.as_deref().and_then(without_default) {
                    metadata.name = Some(name.to_owned());
                }
            }
            None => {}
        }
        if is_crd {
            metadata.uid = metadata.uid.take().map(|uid| reversed_uid(&uid).unwrap_or(uid));
        }
    }
}

fn without_default(name: &str) -> Option<&str> {
    name.strip_prefix("default.").filter(|name| !name.is_empty())
}

/// The uid under which the v3 API shows an object stored as `crd.projectcalico.org/v1` or made
/// from an object of Kubernetes: the bits of every octet but those of version and variant are
/// reversed. Doing it twice gives the uid back. `None` if the text is no UUID.
pub fn reversed_uid(uid: &str) -> Option<String> {
    let digits: String = uid.chars().filter(|c| *c != '-').collect();
    if digits.len() != 32 || uid.len() != 36 {
        return None;
    }
    let mut text = String::with_capacity(36);
    for (index, pair) in digits.as_bytes().chunks(2).enumerate() {
        let octet = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        // Version and variant stay what they are, or it would be no UUID any more.
        let octet = if index == 6 || index == 8 { octet } else { octet.reverse_bits() };
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{octet:02x}"));
    }
    Some(text)
}

#[cfg(test)]
mod tests;
