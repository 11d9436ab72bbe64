//! What is wanted on one node, and changes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    Endpoint, EndpointId, Member, Owner, Policy, PolicyId, Profile, RuleFault, SetDelta, SetId,
};

/// Everything a dataplane must enforce on one node. Closed under reference: what an endpoint or a
/// rule names is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Members of the sets.
    pub sets: BTreeMap<SetId, BTreeSet<Member>>,
    /// Policies that apply to a local endpoint, or are expected to.
    pub policies: BTreeMap<PolicyId, Arc<Policy>>,
    /// Profiles that local endpoints name, by name.
    pub profiles: BTreeMap<String, Arc<Profile>>,
    /// The local endpoints.
    pub endpoints: BTreeMap<EndpointId, Arc<Endpoint>>,
    /// Rules that do not mean what they say, of all policies and profiles there are; no entry is empty.
    pub faults: BTreeMap<Owner, Vec<RuleFault>>,
}

/// A change of a [`State`]. To be worked off in the order of its fields: what is referred to comes
/// before who refers to it, and goes after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deltas {
    /// New sets with all their members.
    pub sets_added: BTreeMap<SetId, BTreeSet<Member>>,
    /// Sets whose members change.
    pub sets_changed: BTreeMap<SetId, SetDelta>,
    /// Policies that are new or changed.
    pub policies: BTreeMap<PolicyId, Arc<Policy>>,
    /// Profiles that are new or changed.
    pub profiles: BTreeMap<String, Arc<Profile>>,
    /// Endpoints that are new or changed.
    pub endpoints: BTreeMap<EndpointId, Arc<Endpoint>>,
    /// Endpoints that go.
    pub endpoints_removed: BTreeSet<EndpointId>,
    /// Profiles that go.
    pub profiles_removed: BTreeSet<String>,
    /// Policies that go.
    pub policies_removed: BTreeSet<PolicyId>,
    /// Sets that go.
    pub sets_removed: BTreeSet<SetId>,
    /// Rules that do not mean what they say, of owners where that changed; empty if there are none any more.
    pub faults: BTreeMap<Owner, Vec<RuleFault>>,
}

impl Deltas {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl State {
    /// Makes a change.
    pub fn apply(&mut self, deltas: &Deltas) {
        self.sets.extend(deltas.sets_added.iter().map(|(id, set)| (*id, set.clone())));
        for (id, delta) in &deltas.sets_changed {
            let set = self.sets.entry(*id).or_default();
            for member in &delta.removed {
                set.remove(member);
            }
            set.extend(&delta.added);
        }
        self.policies.extend(deltas.policies.iter().map(|(id, new)| (id.clone(), new.clone())));
        self.profiles.extend(deltas.profiles.iter().map(|(id, new)| (id.clone(), new.clone())));
        self.endpoints.extend(deltas.endpoints.iter().map(|(id, new)| (id.clone(), new.clone())));
        for id in &deltas.endpoints_removed {
            self.endpoints.remove(id);
        }
        for id in &deltas.profiles_removed {
            self.profiles.remove(id);
        }
        for id in &deltas.policies_removed {
            self.policies.remove(id);
        }
        for id in &deltas.sets_removed {
            self.sets.remove(id);
        }
        for (owner, faults) in &deltas.faults {
            if faults.is_empty() {
                self.faults.remove(owner);
            } else {
                self.faults.insert(owner.clone(), faults.clone());
            }
        }
    }
}
