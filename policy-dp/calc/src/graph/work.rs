//! One flush: from changed resources through labels, policies and profiles to endpoints and sets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use margay_model::{
    Kind, Order, Resource, ResourceKey,
    kinds::{BUILT_IN_TIERS, TierAction, TierSpec},
    selector::Event,
};

use super::{
    Entry, Graph, PolicyNumber,
    item::{Item, ItemId},
    policy::Wanted,
    services::Slice,
};
use crate::{
    Class, Direction, Directions, Endpoint, Owner, Profile, RuleFault, TierPolicies,
    resolve::{faults, resolved},
};

impl Graph {
    pub(super) fn work(&mut self) {
        for (key, resource) in std::mem::take(&mut self.changed) {
            let was = self.knows(&key);
            self.take_in(&key, resource);
            let is = self.knows(&key);
            let count = self.known.entry(key.kind).or_insert(0);
            *count = *count + usize::from(is) - usize::from(was);
        }
        for (id, withdrawn) in std::mem::take(&mut self.dirty.items) {
            self.label(id, withdrawn);
        }
        for number in std::mem::take(&mut self.dirty.policies) {
            self.policy(number);
        }
        for name in std::mem::take(&mut self.dirty.profiles) {
            self.profile(&name);
        }
        self.rank();
        let endpoints = std::mem::take(&mut self.dirty.endpoints);
        if !endpoints.is_empty() {
            let tiers = self.all_tiers();
            for id in endpoints {
                self.endpoint(id, &tiers);
            }
            self.lists.retain(|list| Arc::strong_count(list) > 1);
        }
        self.sets.flush(&mut self.deltas);
    }

    fn take_in(&mut self, key: &ResourceKey, resource: Option<Resource>) {
        match key.kind {
            Kind::WorkloadEndpoint
            | Kind::HostEndpoint
            | Kind::NetworkSet
            | Kind::GlobalNetworkSet => {
                let item = resource.and_then(|resource| Item::of(key, resource, &self.node));
                self.take_item(key, item);
            }
            Kind::NetworkPolicy
            | Kind::GlobalNetworkPolicy
            | Kind::StagedNetworkPolicy
            | Kind::StagedGlobalNetworkPolicy
            | Kind::StagedKubernetesNetworkPolicy => {
                let wanted = resource.and_then(|resource| Wanted::of(key, resource));
                self.take_policy(key, wanted);
            }
            Kind::EndpointSlice => {
                let slice = resource.and_then(|resource| Slice::of(key, &resource));
                self.sets.take_slice(key, slice);
            }
            Kind::Profile => {
                let spec = match resource {
                    Some(Resource::Profile(profile)) => Some(profile.spec),
                    _ => None,
                };
                let faults = spec.as_ref().map(faults_of);
                let entry = self.profiles.entry(&key.name);
                let old = std::mem::replace(&mut entry.spec, spec);
                let labels = |spec: &Option<margay_model::kinds::ProfileSpec>| {
                    spec.as_ref().map(|spec| spec.labels_to_apply.clone()).unwrap_or_default()
                };
                if labels(&old) != labels(&entry.spec) {
                    for heir in &entry.heirs {
                        self.dirty.items.entry(*heir).or_insert(false);
                    }
                }
                let before = old.map(|spec| faults_of(&spec)).unwrap_or_default();
                self.report(Owner::Profile(key.name.clone()), faults.unwrap_or_default(), &before);
                self.dirty.profiles.insert(key.name.clone());
            }
            Kind::Tier => {
                let old = match resource {
                    Some(Resource::Tier(tier)) => {
                        self.tiers.insert(key.name.clone(), tier.spec.clone()) != Some(tier.spec)
                    }
                    _ => self.tiers.remove(&key.name).is_some(),
                };
                if old {
                    self.unsorted = true;
                    self.dirty.endpoints.extend(self.endpoints.keys());
                }
            }
            _ => {}
        }
    }

    fn take_item(&mut self, key: &ResourceKey, item: Option<Item>) {
        let id = match (self.item_ids.get(key), &item) {
            (Some(id), _) => *id,
            (None, None) => return,
            (None, Some(_)) => {
                let id = ItemId(self.number());
                self.item_ids.insert(key.clone(), id);
                id
            }
        };
        let old = self.items.remove(&id);
        let mut withdrawn = true;
        match (&old, &item) {
            (Some(old), Some(new)) if old == new => withdrawn = false,
            (Some(old), Some(new)) if old.part == new.part => withdrawn = false,
            (Some(old), _) => self.sets.withdraw(id, &old.part),
            (None, _) => {}
        }
        let is_local = |item: &Option<Item>| item.as_ref().is_some_and(|item| item.local.is_some());
        let was_local = is_local(&old);
        let names = |item: &Option<Item>, local: bool| -> BTreeSet<String> {
            let item = item.iter().filter(|item| !local || item.local.is_some());
            item.flat_map(|item| item.profiles.iter().cloned()).collect()
        };
        for name in names(&old, false).union(&names(&item, false)) {
            let entry = self.profiles.entry(name);
            if item.as_ref().is_some_and(|item| item.profiles.contains(name)) {
                entry.heirs.insert(id);
            } else {
                entry.heirs.remove(&id);
            }
            self.profiles.tidy(name);
        }
        let (before, after) = (names(&old, true), names(&item, true));
        for name in before.symmetric_difference(&after) {
            let entry = self.profiles.entry(name);
            if after.contains(name) {
                entry.users.insert(id);
            } else {
                entry.users.remove(&id);
            }
            self.dirty.profiles.insert(name.clone());
        }
        if was_local || is_local(&item) {
            self.dirty.endpoints.insert(id);
        }
        if was_local && !is_local(&item) {
            self.dirty.policies.extend(self.applied.selectors_of(&id).copied());
            self.applied.remove_labels(&id);
        }
        match item {
            Some(item) => {
                self.items.insert(id, item);
                let known = self.dirty.items.entry(id).or_insert(false);
                *known |= withdrawn;
            }
            None => {
                self.item_ids.remove(key);
                self.sets.remove(id);
                self.dirty.items.remove(&id);
            }
        }
    }

    fn take_policy(&mut self, key: &ResourceKey, wanted: Option<Wanted>) {
        let known = self.policy_ids.get(key).copied();
        let old = known.and_then(|number| self.policies.get(&number));
        let before = old.map(|old| old.wanted.faults.clone()).unwrap_or_default();
        let Some(mut wanted) = wanted else {
            let Some(number) = known else { return };
            self.policy_ids.remove(key);
            self.mark(number);
            self.applied.remove_selector(&number);
            if let Some(Entry { wanted, told, .. }) = self.policies.remove(&number) {
                if let Some((_, sets)) = told {
                    self.deltas.policies_removed.insert(wanted.id.clone());
                    sets.into_iter().for_each(|id| self.sets.release(id));
                }
                self.definitions.give_back(&wanted.sets);
                self.report(Owner::Policy(wanted.id), Vec::new(), &before);
            }
            return;
        };
        if old.is_some_and(|old| old.wanted == wanted) {
            return;
        }
        self.report(Owner::Policy(wanted.id.clone()), wanted.faults.clone(), &before);
        self.definitions.share(&mut wanted.sets);
        let number = known.unwrap_or_else(|| PolicyNumber(self.number()));
        self.dirty.policies.insert(number);
        let selects = match self.policies.get_mut(&number) {
            Some(entry) => {
                let replaced = entry.wanted.place != wanted.place;
                let selects =
                    (entry.wanted.selects != wanted.selects).then(|| wanted.selects.clone());
                let old = std::mem::replace(&mut entry.wanted, wanted);
                self.definitions.give_back(&old.sets);
                entry.changed = true;
                if replaced {
                    self.unsorted = true;
                    self.mark(number);
                }
                selects
            }
            None => {
                self.unsorted = true;
                self.policy_ids.insert(key.clone(), number);
                let selects = wanted.selects.clone();
                let entry = Entry { wanted, rank: 0, told: None, changed: true };
                self.policies.insert(number, entry);
                Some(selects)
            }
        };
        if let Some(selects) = selects {
            for event in self.applied.set_selector(number, selects) {
                let (Event::Started(_, id) | Event::Stopped(_, id)) = event;
                self.dirty.endpoints.insert(id);
            }
        }
    }

    /// The endpoints a policy applies to are to be computed anew.
    fn mark(&mut self, number: PolicyNumber) {
        self.dirty.endpoints.extend(self.applied.matches(&number).copied());
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn label(&mut self, id: ItemId, withdrawn: bool) {
        let Some(item) = self.items.get(&id) else { return };
        let labels = item.labels(|name| self.profiles.labels(name));
        if item.local.is_some() {
            for event in self.applied.set_labels(id, labels.clone()) {
                let (Event::Started(number, _) | Event::Stopped(number, _)) = event;
                self.dirty.policies.insert(number);
                self.dirty.endpoints.insert(id);
            }
        }
        self.sets.place(id, &item.part, labels, withdrawn);
    }

    /// Tells of a policy that is in use, or no longer.
    fn policy(&mut self, number: PolicyNumber) {
        let Some(entry) = self.policies.get_mut(&number) else { return };
        let wanted = &entry.wanted;
        let in_use = wanted.everywhere
            || self.applied.matches(&number).any(|id| {
                let local = self.items.get(id).and_then(|item| item.local.as_ref());
                local.is_some_and(|local| {
                    wanted.place.global || matches!(local.id, crate::EndpointId::Workload { .. })
                })
            });
        let changed = std::mem::take(&mut entry.changed);
        if in_use == entry.told.is_some() && !changed {
            return;
        }
        let old = entry.told.take();
        if in_use {
            let policy = wanted.policy.clone();
            let ids = wanted.sets.iter().map(|(id, _)| *id).collect();
            for (id, definition) in &wanted.sets {
                self.sets.acquire(*id, definition, &self.items);
            }
            if old.as_ref().is_none_or(|(told, _)| *told != policy) {
                self.deltas.policies.insert(wanted.id.clone(), policy.clone());
            }
            entry.told = Some((policy, ids));
        } else if old.is_some() {
            self.deltas.policies_removed.insert(wanted.id.clone());
        }
        for id in old.into_iter().flat_map(|(_, sets)| sets) {
            self.sets.release(id);
        }
    }

    /// Tells of a profile that is in use, or no longer.
    fn profile(&mut self, name: &str) {
        let Some(entry) = self.profiles.get(name) else { return };
        let mut told = None;
        if !entry.users.is_empty() {
            let (exists, ingress, egress) = entry.rules(name);
            let (ingress, mut sets) = resolved(None, &ingress);
            let (egress, more) = resolved(None, &egress);
            sets.extend(more);
            let ids = sets.iter().map(|(id, _)| *id).collect();
            for (id, definition) in &sets {
                self.sets.acquire(*id, definition, &self.items);
            }
            told = Some((Arc::new(Profile { exists, ingress, egress }), ids));
        }
        let entry = self.profiles.entry(name);
        let old = std::mem::replace(&mut entry.told, told.clone());
        match (&old, told) {
            (Some((old, _)), Some((new, _))) if *old == new => {}
            (_, Some((new, _))) => {
                self.deltas.profiles.insert(name.to_owned(), new);
            }
            (Some(_), None) => {
                self.deltas.profiles_removed.insert(name.to_owned());
            }
            (None, None) => {}
        }
        for id in old.into_iter().flat_map(|(_, sets)| sets) {
            self.sets.release(id);
        }
        self.profiles.tidy(name);
    }

    /// Tiers that exist: those that are built in, and those there are.
    fn all_tiers(&self) -> BTreeMap<String, TierSpec> {
        let built_in = BUILT_IN_TIERS.iter().map(|(name, order, action)| {
            let spec = TierSpec { order: Some(Order::from(*order)), default_action: Some(*action) };
            ((*name).to_owned(), spec)
        });
        let mut tiers: BTreeMap<_, _> = built_in.collect();
        tiers.extend(self.tiers.iter().map(|(name, spec)| (name.clone(), spec.clone())));
        tiers
    }

    /// Counts the places of all policies, if they may have changed.
    fn rank(&mut self) {
        if !std::mem::take(&mut self.unsorted) {
            return;
        }
        let tiers = self.all_tiers();
        let last = |order: Option<Order>| (order.is_none(), order);
        let names: BTreeSet<&String> =
            self.policies.values().map(|entry| &entry.wanted.place.tier).collect();
        let mut names: Vec<_> = names
            .into_iter()
            .map(|name| {
                let tier = tiers.get(name);
                (tier.is_none(), last(tier.and_then(|tier| tier.order)), name.clone())
            })
            .collect();
        names.sort();
        let tier_ranks: BTreeMap<_, _> =
            names.into_iter().enumerate().map(|(rank, (.., name))| (name, rank)).collect();
        let mut order: Vec<_> = self
            .policies
            .values_mut()
            .map(|entry| (tier_ranks.get(&entry.wanted.place.tier).copied(), entry))
            .collect();
        order.sort_by(|(tier_a, a), (tier_b, b)| {
            let (a, b) = (&a.wanted.place, &b.wanted.place);
            (tier_a.cmp(tier_b))
                .then_with(|| last(a.order).cmp(&last(b.order)))
                .then_with(|| a.sort_text.cmp(&b.sort_text))
        });
        for (rank, (_, entry)) in order.into_iter().enumerate() {
            entry.rank = rank;
        }
    }

    fn endpoint(&mut self, id: ItemId, tiers: &BTreeMap<String, TierSpec>) {
        let item = self.items.get(&id);
        let Some((item, local)) = item.and_then(|item| Some((item, item.local.as_ref()?))) else {
            if let Some((name, _)) = self.endpoints.remove(&id) {
                self.deltas.endpoints_removed.insert(name);
            }
            return;
        };
        let host = matches!(local.id, crate::EndpointId::Host(_));
        let selected =
            self.applied.selectors_of(&id).filter_map(|number| self.policies.get(number));
        let mut selected: Vec<_> = selected.collect();
        selected.sort_by_key(|entry| entry.rank);
        let mut of = |class| {
            let mut list = |direction| {
                let list = tier_lists(&selected, tiers, class, direction, host);
                match self.lists.get(list.as_slice()) {
                    Some(known) => known.clone(),
                    None => {
                        let list: Arc<[TierPolicies]> = list.into();
                        self.lists.insert(list.clone());
                        list
                    }
                }
            };
            Directions { ingress: list(Direction::Ingress), egress: list(Direction::Egress) }
        };
        let endpoint = Arc::new(Endpoint {
            interface: local.interface.clone(),
            addresses: local.addresses.clone(),
            allowed_sources: local.allowed_sources.clone(),
            nats: local.nats.clone(),
            limits: local.limits,
            profiles: item.profiles.clone(),
            normal: of(Class::Normal),
            forward: of(Class::Forward),
            pre_dnat: of(Class::PreDnat),
            untracked: of(Class::Untracked),
        });
        let name = local.id.clone();
        let told = self.endpoints.insert(id, (name.clone(), endpoint.clone()));
        if told.is_none_or(|(_, told)| told != endpoint) {
            self.deltas.endpoints.insert(name, endpoint);
        }
    }
}

fn tier_lists(
    selected: &[&Entry],
    tiers: &BTreeMap<String, TierSpec>,
    class: Class,
    direction: Direction,
    host: bool,
) -> Vec<TierPolicies> {
    let here: Vec<_> = selected
        .iter()
        .map(|entry| &entry.wanted)
        .filter(|wanted| wanted.place.is_in(class, direction, host))
        .collect();
    let tier = |policies: &[&Wanted]| {
        let name = policies.first()?.place.tier.clone();
        let known = tiers.get(&name);
        let given = known.and_then(|tier| tier.default_action).unwrap_or(TierAction::Deny);
        let default_action = match class {
            Class::Normal | Class::Forward => given,
            Class::PreDnat | Class::Untracked => TierAction::Pass,
        };
        let policies = policies.iter().map(|wanted| wanted.id.clone()).collect();
        Some(TierPolicies { tier: name, exists: known.is_some(), default_action, policies })
    };
    here.chunk_by(|a, b| a.place.tier == b.place.tier).filter_map(tier).collect()
}

fn faults_of(spec: &margay_model::kinds::ProfileSpec) -> Vec<RuleFault> {
    faults(None, &spec.ingress, &spec.egress)
}
