//! Objects of Kubernetes that are taken as input, and what they become.
//!
//! Owns their shapes and the conversion to `projectcalico.org/v3`. Nothing further in knows that
//! they existed. Promises that what cannot be converted is told, and that a rule that cannot be
//! converted never opens anything. Leaves watching the Kubernetes API to `datastore`.

mod admin_policy;
mod cluster_policy;
mod convert;
mod labels;
mod network_policy;
mod objects;
mod ports;

pub use admin_policy::*;
pub use cluster_policy::*;
pub(crate) use convert::policy_faults;
pub use convert::{Converted, Skipped};
pub use labels::{LabelSelector, LabelSelectorOperator, LabelSelectorRequirement};
pub use network_policy::*;
pub use objects::*;
pub use ports::PortOrName;

use crate::{
    meta::ObjectMeta,
    text::Node,
    wire::{Reader, Wire},
};

/// An object of Kubernetes that has a meaning here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// `v1` Namespace.
    Namespace(Box<Namespace>),
    /// `v1` ServiceAccount.
    ServiceAccount(Box<ServiceAccount>),
    /// `networking.k8s.io/v1` NetworkPolicy.
    NetworkPolicy(Box<NetworkPolicy>),
    /// `policy.networking.k8s.io/v1alpha2` ClusterNetworkPolicy.
    ClusterNetworkPolicy(Box<ClusterNetworkPolicy>),
    /// `policy.networking.k8s.io/v1alpha1` AdminNetworkPolicy.
    AdminNetworkPolicy(Box<AdminNetworkPolicy>),
    /// `policy.networking.k8s.io/v1alpha1` BaselineAdminNetworkPolicy.
    BaselineAdminNetworkPolicy(Box<BaselineAdminNetworkPolicy>),
}

impl Object {
    /// What it says about itself.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Namespace(object) => &object.metadata,
            Self::ServiceAccount(object) => &object.metadata,
            Self::NetworkPolicy(object) => &object.metadata,
            Self::ClusterNetworkPolicy(object) => &object.metadata,
            Self::AdminNetworkPolicy(object) => &object.metadata,
            Self::BaselineAdminNetworkPolicy(object) => &object.metadata,
        }
    }

    /// Whether it lives in a namespace.
    pub fn is_namespaced(&self) -> bool {
        matches!(self, Self::ServiceAccount(_) | Self::NetworkPolicy(_))
    }

    /// Puts an object that lives in a namespace, and names none, into this one.
    pub fn default_namespace(&mut self, namespace: &str) {
        let metadata = match self {
            Self::ServiceAccount(object) => &mut object.metadata,
            Self::NetworkPolicy(object) => &mut object.metadata,
            _ => return,
        };
        metadata.namespace.get_or_insert_with(|| namespace.to_owned());
    }

    /// Its group and version, and its kind.
    pub fn group_and_kind(&self) -> (&'static str, &'static str) {
        match self {
            Self::Namespace(_) => ("v1", "Namespace"),
            Self::ServiceAccount(_) => ("v1", "ServiceAccount"),
            Self::NetworkPolicy(_) => ("networking.k8s.io/v1", "NetworkPolicy"),
            Self::ClusterNetworkPolicy(_) => {
                ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy")
            }
            Self::AdminNetworkPolicy(_) => {
                ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy")
            }
            Self::BaselineAdminNetworkPolicy(_) => {
                ("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy")
            }
        }
    }

    /// Reads an object; the outer `None` if nothing of this group and kind is taken.
    pub(crate) fn read(
        group: &str,
        kind: &str,
        node: &Node<'_>,
        reader: &mut Reader,
    ) -> Option<Option<Self>> {
        fn of<T: Wire>(node: &Node<'_>, reader: &mut Reader) -> Option<Box<T>> {
            T::read(node, reader).map(Box::new)
        }
        let policy_group = group.strip_prefix("policy.networking.k8s.io/");
        Some(match (group, policy_group, kind) {
            ("v1", _, "Namespace") => of(node, reader).map(Self::Namespace),
            ("v1", _, "ServiceAccount") => of(node, reader).map(Self::ServiceAccount),
            ("networking.k8s.io/v1", _, "NetworkPolicy") => {
                of(node, reader).map(Self::NetworkPolicy)
            }
            (_, Some("v1alpha2"), "ClusterNetworkPolicy") => {
                of(node, reader).map(Self::ClusterNetworkPolicy)
            }
            (_, Some("v1alpha1"), "AdminNetworkPolicy") => {
                of(node, reader).map(Self::AdminNetworkPolicy)
            }
            (_, Some("v1alpha1"), "BaselineAdminNetworkPolicy") => {
                of(node, reader).map(Self::BaselineAdminNetworkPolicy)
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
