//! Namespaces and service accounts: the labels that profiles hand on.

use std::collections::BTreeMap;

use crate::{
    fault::Step,
    kinds::{Action, Profile, ProfileSpec, Rule},
    meta::ObjectMeta,
    object,
    resource::reversed_uid,
    scalar::names,
    wire::{At, Raw},
};

record! {
    /// A Namespace; only its name and labels mean something here.
    pub struct Namespace {
        /// `v1`.
        api_version: Option<String> = "apiVersion",
        /// `Namespace`.
        kind: Option<String> = "kind",
        /// Its name and labels.
        metadata: ObjectMeta = "metadata",
        /// Kept as it is.
        spec: Option<Raw> = "spec",
        /// Kept as it is.
        status: Option<Raw> = "status",
    }
    check |namespace, at: &mut At<'_, '_>| check_name(&namespace.metadata, false, at)
}

record! {
    /// A ServiceAccount; only its name, namespace and labels mean something here.
    pub struct ServiceAccount {
        /// `v1`.
        api_version: Option<String> = "apiVersion",
        /// `ServiceAccount`.
        kind: Option<String> = "kind",
        /// Its name, namespace and labels.
        metadata: ObjectMeta = "metadata",
        /// Kept as it is.
        secrets: Vec<Raw> = "secrets",
        /// Kept as it is.
        image_pull_secrets: Vec<Raw> = "imagePullSecrets",
        /// Kept as it is.
        automount_service_account_token: Option<bool> = "automountServiceAccountToken",
    }
    check |account, at: &mut At<'_, '_>| check_name(&account.metadata, true, at)
}

/// What the name of an object of Kubernetes must be.
pub(super) fn check_name(metadata: &ObjectMeta, namespaced: bool, at: &mut At<'_, '_>) {
    let field = |field: &str| [Step::Key("metadata".into()), Step::Key(field.into())];
    match &metadata.name {
        None => at.refuse_at(&field("name"), "the name of the object"),
        Some(name) => {
            if let Err(allowed) = names::subdomain(name) {
                at.refuse_at(&field("name"), allowed);
            }
        }
    }
    match &metadata.namespace {
        Some(_) if !namespaced => {
            at.refuse_at(&field("namespace"), "no namespace: the kind is not namespaced");
        }
        Some(namespace) => {
            if let Err(allowed) = names::label(namespace) {
                at.refuse_at(&field("namespace"), allowed);
            }
        }
        None => {}
    }
}

/// The label under which the name of a namespace or service account is found.
const NAME_LABEL: &str = "projectcalico.org/name";
/// What the labels of a namespace begin with, where endpoints carry them.
pub const NAMESPACE_LABEL_PREFIX: &str = "pcns.";
/// What the labels of a service account begin with, where endpoints carry them.
pub const SERVICE_ACCOUNT_LABEL_PREFIX: &str = "pcsa.";

/// What a namespace asks for its pods that do not ask themselves; kept in the metadata of its profile.
pub const NAMESPACE_ANNOTATIONS: [&str; 3] = [
    "cni.projectcalico.org/ipFamilies",
    "cni.projectcalico.org/ipv4pools",
    "cni.projectcalico.org/ipv6pools",
];

impl Namespace {
    /// The profile `kns.NAME`, which allows everything, hands on the labels, and keeps the
    /// [annotations](NAMESPACE_ANNOTATIONS) that say of which pools its pods get addresses.
    pub fn to_profile(&self) -> Profile {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let spec = ProfileSpec {
            ingress: vec![Rule::new(Action::Allow)],
            egress: vec![Rule::new(Action::Allow)],
            ..inherited(NAMESPACE_LABEL_PREFIX, name, &self.metadata)
        };
        let named = namespace_profile(name);
        let mut profile = profile(named, spec, &self.metadata, |revision| format!("{revision}/"));
        profile.metadata.annotations = namespace_annotations(&self.metadata.annotations);
        profile
    }
}

impl ServiceAccount {
    /// The profile `ksa.NAMESPACE.NAME`, which has no rules and hands on the labels.
    pub fn to_profile(&self) -> Profile {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let namespace = self.metadata.namespace.as_deref().unwrap_or("default");
        let spec = inherited(SERVICE_ACCOUNT_LABEL_PREFIX, name, &self.metadata);
        let name = service_account_profile(namespace, name);
        profile(name, spec, &self.metadata, |revision| format!("/{revision}"))
    }
}

/// Of the annotations of a namespace, or of its profile, those that mean something here.
pub fn namespace_annotations(of: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let pair = |key: &str| Some((key.to_owned(), of.get(key)?.clone()));
    NAMESPACE_ANNOTATIONS.into_iter().filter_map(pair).collect()
}

/// The name of a namespace's profile.
pub fn namespace_profile(namespace: &str) -> String {
    format!("kns.{namespace}")
}

/// The name of a service account's profile.
pub fn service_account_profile(namespace: &str, name: &str) -> String {
    format!("ksa.{namespace}.{name}")
}

fn inherited(prefix: &str, name: &str, metadata: &ObjectMeta) -> ProfileSpec {
    let labels = metadata.labels.iter();
    let mut labels_to_apply: BTreeMap<_, _> =
        labels.map(|(key, value)| (format!("{prefix}{key}"), value.clone())).collect();
    labels_to_apply.insert(format!("{prefix}{NAME_LABEL}"), name.to_owned());
    ProfileSpec { labels_to_apply, ..ProfileSpec::default() }
}

fn profile(
    name: String,
    spec: ProfileSpec,
    source: &ObjectMeta,
    revision: impl Fn(&String) -> String,
) -> Profile {
    let mut profile = object::Object::new(name, spec);
    profile.metadata.uid = source.uid.as_deref().and_then(reversed_uid);
    profile.metadata.creation_timestamp = source.creation_timestamp.clone();
    profile.metadata.resource_version = source.resource_version.as_ref().map(revision);
    profile
}
