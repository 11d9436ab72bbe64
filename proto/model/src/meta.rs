//! What every object says about itself.

use std::collections::BTreeMap;

use crate::{
    fault::Step,
    kind::Kind,
    scalar::names,
    wire::{At, Raw, rules},
};

/// The label of a policy's tier.
pub const TIER_LABEL: &str = "projectcalico.org/tier";
/// The label of a workload's namespace.
pub const NAMESPACE_LABEL: &str = "projectcalico.org/namespace";
/// The label of a workload's orchestrator.
pub const ORCHESTRATOR_LABEL: &str = "projectcalico.org/orchestrator";
/// The label of a workload's service account.
pub const SERVICE_ACCOUNT_LABEL: &str = "projectcalico.org/serviceaccount";
/// The annotation in which stores keep what their own names and fields cannot hold.
pub(crate) const METADATA_ANNOTATION: &str = "projectcalico.org/metadata";
/// How much the annotations of one object may come to, in octets of keys and values.
const MAX_ANNOTATIONS: usize = 256 * 1024;

record! {
    /// The metadata of an object, as in Kubernetes.
    #[derive(Default)]
    pub struct ObjectMeta {
        /// Its name; empty only where a name is made from the spec (WorkloadEndpoint).
        name: Option<String> = "name",
        /// A prefix for a name chosen by the server: not supported on creation.
        generate_name: Option<String> = "generateName",
        /// Its namespace; `None` for a cluster-wide kind, or where it is still to be chosen.
        namespace: Option<String> = "namespace",
        /// An address of old; never kept.
        self_link: Option<String> = "selfLink",
        /// What tells it from an object of the same name before or after.
        uid: Option<String> = "uid",
        /// The revision of the store that wrote it last, opaque.
        resource_version: Option<String> = "resourceVersion",
        /// Counts changes of the spec.
        generation: Option<i64> = "generation",
        /// When it was made, RFC 3339.
        creation_timestamp: Option<String> = "creationTimestamp" => rules::timestamp,
        /// When it was asked to go, RFC 3339.
        deletion_timestamp: Option<String> = "deletionTimestamp" => rules::timestamp,
        /// How long it may take to go.
        deletion_grace_period_seconds: Option<i64> = "deletionGracePeriodSeconds",
        /// What selectors match.
        labels: BTreeMap<String, String> = "labels",
        /// Notes nobody selects by.
        annotations: BTreeMap<String, String> = "annotations",
        /// Objects it goes with.
        owner_references: Vec<Raw> = "ownerReferences",
        /// Who must agree before it goes.
        finalizers: Vec<String> = "finalizers",
        /// Who wrote which field.
        managed_fields: Vec<Raw> = "managedFields",
    }
    removed ["clusterName", "initializers"]
    check Self::check
}

impl ObjectMeta {
    /// The metadata of an object of this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// The metadata of an object of this name in a namespace.
    pub fn namespaced(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), ..Self::named(name) }
    }

    fn check(&self, at: &mut At<'_, '_>) {
        for (key, value) in &self.labels {
            let steps = [Step::Key("labels".into()), Step::Key(key.clone())];
            if !names::is_label_key(key) {
                at.refuse_key(&steps, "a label key: a name of at most 63 letters, digits, -, _ and ., after a DNS name and / if you like");
            }
            if !names::is_label_value(value) {
                at.refuse_at(&steps, "a label value: at most 63 letters, digits, -, _ and .");
            }
        }
        for key in self.annotations.keys() {
            if !names::is_label_key(&key.to_ascii_lowercase()) {
                let steps = [Step::Key("annotations".into()), Step::Key(key.clone())];
                at.refuse_key(&steps, "a qualified name");
            }
        }
        let size: usize = self.annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
        if size > MAX_ANNOTATIONS {
            at.refuse("annotations", format!("at most {MAX_ANNOTATIONS} octets of annotations"));
        }
    }

    /// What the kind asks of a name, a namespace and labels.
    pub(crate) fn check_for(&self, kind: Kind, at: &mut At<'_, '_>) {
        match &self.name {
            Some(name) => {
                if let Err(allowed) = name_rule(kind, name) {
                    at.refuse("name", allowed);
                }
            }
            None if self.generate_name.is_some() => {
                at.refuse("generateName", "a name: generated names are not supported");
            }
            // Made from the spec if it is left out.
            None if kind == Kind::WorkloadEndpoint => {}
            None => at.refuse("name", "the name of the object"),
        }
        match (&self.namespace, kind.scope()) {
            (Some(_), crate::kind::Scope::Cluster) => {
                at.refuse("namespace", format!("no namespace: {kind} is not namespaced"));
            }
            (Some(namespace), crate::kind::Scope::Namespaced) => {
                if let Err(allowed) = names::label(namespace) {
                    at.refuse("namespace", allowed);
                }
            }
            (None, _) => {}
        }
        let is_set = matches!(kind, Kind::NetworkSet | Kind::GlobalNetworkSet);
        if is_set && self.labels.contains_key(NAMESPACE_LABEL) {
            let steps = [Step::Key("labels".into()), Step::Key(NAMESPACE_LABEL.into())];
            at.refuse_at(&steps, "no such label: it is derived from the namespace");
        }
    }
}

/// Whether objects of a kind may be called so.
pub fn is_name(kind: Kind, name: &str) -> bool {
    name_rule(kind, &name.to_owned()).is_ok()
}

/// Whether an object may have this label.
pub fn is_label(key: &str, value: &str) -> bool {
    names::is_label_key(key) && names::is_label_value(value)
}

/// The rule for names of a kind.
fn name_rule(kind: Kind, name: &String) -> rules::Answer {
    match kind {
        Kind::Tier => names::label(name),
        Kind::NetworkPolicy | Kind::StagedNetworkPolicy => names::policy(name, true),
        Kind::GlobalNetworkPolicy | Kind::StagedGlobalNetworkPolicy => names::policy(name, false),
        Kind::IpamConfiguration | Kind::ClusterInformation if name != "default" => {
            Err("the name \"default\"".into())
        }
        _ => names::subdomain(name),
    }
}
