//! Profiles: labels to hand on, and last rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use margay_model::{
    Kind, ResourceKey,
    kinds::{Action, DEFAULT_ALLOW_PROFILE, ProfileSpec, Rule},
};

use super::item::ItemId;
use crate::{Profile, SetId};

#[derive(Debug, Default)]
pub(super) struct Profiles(BTreeMap<String, Entry>);

/// A profile that exists or that somebody names.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) spec: Option<ProfileSpec>,
    /// Who inherits its labels.
    pub(super) heirs: BTreeSet<ItemId>,
    /// The local endpoints it applies to.
    pub(super) users: BTreeSet<ItemId>,
    /// What was told of it, and the sets it holds.
    pub(super) told: Option<(Arc<Profile>, Vec<SetId>)>,
}

impl Profiles {
    /// The resources there are.
    pub(super) fn existing(&self) -> impl Iterator<Item = ResourceKey> {
        let existing = self.0.iter().filter(|(_, entry)| entry.spec.is_some());
        existing.map(|(name, _)| ResourceKey {
            kind: Kind::Profile,
            namespace: String::new(),
            name: name.clone(),
        })
    }

    /// Whether there is such a resource.
    pub(super) fn exists(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|entry| entry.spec.is_some())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.0.get(name)
    }

    /// The labels a profile hands on.
    pub(super) fn labels(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.0.get(name)?.spec.as_ref().map(|spec| &spec.labels_to_apply)
    }

    /// The entry of a name, made if it was not there.
    pub(super) fn entry(&mut self, name: &str) -> &mut Entry {
        self.0.entry(name.to_owned()).or_default()
    }

    /// Forgets what neither exists nor is named nor was told of.
    pub(super) fn tidy(&mut self, name: &str) {
        let idle = |entry: &Entry| {
            entry.spec.is_none()
                && entry.heirs.is_empty()
                && entry.users.is_empty()
                && entry.told.is_none()
        };
        if self.0.get(name).is_some_and(idle) {
            self.0.remove(name);
        }
    }
}

impl Entry {
    /// Whether it exists, and its rules for ingress and egress: one that does not denies, the
    /// built-in one allows.
    pub(super) fn rules(&self, name: &str) -> (bool, Vec<Rule>, Vec<Rule>) {
        let all = |action| vec![Rule::new(action)];
        match &self.spec {
            _ if name == DEFAULT_ALLOW_PROFILE => (true, all(Action::Allow), all(Action::Allow)),
            Some(spec) => (true, spec.ingress.clone(), spec.egress.clone()),
            None => (false, all(Action::Deny), all(Action::Deny)),
        }
    }
}
