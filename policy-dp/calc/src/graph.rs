//! The incremental calculation: changes of resources in, changes of what is wanted out.
//!
//! Updates are only kept, the latest of each resource; [`Graph::flush`] works them off together,
//! and touches what they concern. Nothing is told before everything there is has been heard of.

mod item;
mod policy;
mod profiles;
mod services;
mod sets;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use margay_model::{Key, Kind, Resource, ResourceKey, kinds::TierSpec, selector::Index};

use crate::{Deltas, Endpoint, EndpointId, Owner, Policy, RuleFault, SetId, TierPolicies};

use item::{Item, ItemId};
use policy::Wanted;
use profiles::Profiles;
use sets::{Definitions, Sets};

/// What policy means for one node.
#[derive(Debug)]
pub struct Graph {
    node: String,
    in_sync: bool,
    /// Resources of an earlier snapshot that were not told again yet.
    stale: BTreeSet<ResourceKey>,
    /// What came since the last flush; `None`: it is gone.
    changed: BTreeMap<ResourceKey, Option<Resource>>,

    /// How many resources of each kind are known.
    known: BTreeMap<Kind, usize>,
    item_ids: BTreeMap<ResourceKey, ItemId>,
    items: BTreeMap<ItemId, Item>,
    policy_ids: BTreeMap<ResourceKey, PolicyNumber>,
    policies: BTreeMap<PolicyNumber, Entry>,
    profiles: Profiles,
    tiers: BTreeMap<String, TierSpec>,
    next: u64,

    /// Which policies select which local endpoints.
    applied: Index<PolicyNumber, ItemId>,
    sets: Sets,
    definitions: Definitions,
    /// Whether places among all policies are to be counted anew.
    unsorted: bool,
    lists: BTreeSet<Arc<[TierPolicies]>>,
    endpoints: BTreeMap<ItemId, (EndpointId, Arc<Endpoint>)>,
    dirty: Dirty,
    deltas: Deltas,
}

/// What is to be computed anew.
#[derive(Debug, Default)]
struct Dirty {
    /// Items whose labels may have changed, and whether their part is in no set.
    items: BTreeMap<ItemId, bool>,
    /// Policies that changed, or that may be in use or out of use now.
    policies: BTreeSet<PolicyNumber>,
    /// Profiles likewise.
    profiles: BTreeSet<String>,
    /// Local endpoints.
    endpoints: BTreeSet<ItemId>,
}

/// Names a policy while it lives. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PolicyNumber(u64);

#[derive(Debug)]
struct Entry {
    wanted: Wanted,
    /// Its place among all policies.
    rank: usize,
    /// What was told of it, if it is in use, and the sets it holds.
    told: Option<(Arc<Policy>, Vec<SetId>)>,
    /// Whether its rules may differ from what was told.
    changed: bool,
}

impl Graph {
    /// For the node of this name, without any resource.
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            in_sync: false,
            stale: BTreeSet::new(),
            changed: BTreeMap::new(),
            known: BTreeMap::new(),
            item_ids: BTreeMap::new(),
            items: BTreeMap::new(),
            policy_ids: BTreeMap::new(),
            policies: BTreeMap::new(),
            profiles: Profiles::default(),
            tiers: BTreeMap::new(),
            next: 0,
            applied: Index::new(),
            sets: Sets::default(),
            definitions: Definitions::default(),
            unsorted: false,
            lists: BTreeSet::new(),
            endpoints: BTreeMap::new(),
            dirty: Dirty::default(),
            deltas: Deltas::default(),
        }
    }

    /// A resource as it is now; `None` if it is gone, or cannot be read. Kinds that policy does not
    /// look at are ignored.
    pub fn update(&mut self, key: &Key, resource: Option<Resource>) {
        let Some(key) = key.resource() else { return };
        self.stale.remove(key);
        self.changed.insert(key.clone(), resource);
    }

    /// A resource is there, and cannot be read: what was known of it stays. False if nothing was.
    pub fn keep(&mut self, key: &Key) -> bool {
        let Some(key) = key.resource() else { return false };
        self.stale.remove(key);
        match self.changed.get(key) {
            Some(latest) => latest.is_some(),
            None => self.knows(key),
        }
    }

    /// How many resources of a kind there are in the whole cluster, as of the last flush.
    pub fn known(&self, kind: Kind) -> usize {
        self.known.get(&kind).copied().unwrap_or(0)
    }

    fn knows(&self, key: &ResourceKey) -> bool {
        self.item_ids.contains_key(key)
            || self.policy_ids.contains_key(key)
            || key.kind == Kind::Tier && self.tiers.contains_key(&key.name)
            || key.kind == Kind::Profile && self.profiles.exists(&key.name)
            || self.sets.knows_slice(key)
    }

    /// A snapshot begins anew: what is not told again before [`Graph::in_sync`] is gone then.
    /// Meanwhile nothing is told.
    pub fn restart(&mut self) {
        self.in_sync = false;
        let tier = |name: &String| ResourceKey {
            kind: Kind::Tier,
            namespace: String::new(),
            name: name.clone(),
        };
        self.stale = (self.item_ids.keys().cloned())
            .chain(self.policy_ids.keys().cloned())
            .chain(self.sets.slices().cloned())
            .chain(self.profiles.existing())
            .chain(self.tiers.keys().map(tier))
            .chain(self.changed.keys().cloned())
            .collect();
    }

    /// Everything there is has been told.
    pub fn in_sync(&mut self) {
        self.in_sync = true;
        for key in std::mem::take(&mut self.stale) {
            self.changed.insert(key, None);
        }
    }

    /// What changed since the last time; nothing before [`Graph::in_sync`].
    pub fn flush(&mut self) -> Deltas {
        if self.in_sync {
            self.work();
        }
        std::mem::take(&mut self.deltas)
    }

    /// Writes down which of an owner's rules do not mean what they say.
    fn report(&mut self, owner: Owner, faults: Vec<RuleFault>, before: &[RuleFault]) {
        if faults != before {
            self.deltas.faults.insert(owner, faults);
        }
    }
}
