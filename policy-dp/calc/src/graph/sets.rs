//! The sets that rules in use need, and who is in them.
//!
//! Every member is counted: two endpoints may share an address for a while. Of ranges that overlap
//! only the outermost are shown, so that a set is one of ranges side by side.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipnet::IpNet;
use margay_model::{
    ResourceKey,
    selector::{Event, Index},
};

use super::{
    item::{Item, ItemId, Part},
    services::{Services, Slice},
};
use crate::{
    Deltas, Member, SetDelta, SetId,
    resolve::{Definition, Origin},
};

#[derive(Debug, Default)]
pub(super) struct Sets {
    /// Which items belong to which set.
    index: Index<SetId, ItemId>,
    services: Services,
    sets: BTreeMap<SetId, Set>,
    /// Sets to be looked at in the next flush.
    touched: BTreeSet<SetId>,
}

/// What the sets of policies are of, each kept once.
#[derive(Debug, Default)]
pub(super) struct Definitions(BTreeMap<SetId, (usize, Arc<Definition>)>);

impl Definitions {
    /// Rules need these: what is known already is shared.
    pub(super) fn share(&mut self, sets: &mut [(SetId, Arc<Definition>)]) {
        for (id, definition) in sets {
            let (users, known) = self.0.entry(*id).or_insert_with(|| (0, definition.clone()));
            *users += 1;
            definition.clone_from(known);
        }
    }

    /// They do not any more.
    pub(super) fn give_back(&mut self, sets: &[(SetId, Arc<Definition>)]) {
        for (id, _) in sets {
            let Some((users, _)) = self.0.get_mut(id) else { continue };
            *users -= 1;
            if *users == 0 {
                self.0.remove(id);
            }
        }
    }
}

#[derive(Debug)]
struct Set {
    definition: Definition,
    /// Rules that need it.
    users: usize,
    members: Counted,
    /// Whether it was told of.
    told: bool,
    /// Members that may have come or gone since then, and whether they were shown.
    before: BTreeMap<Member, bool>,
}

#[derive(Debug, Default)]
struct Counted {
    counts: BTreeMap<Member, u32>,
    /// How many ranges of each length there are, of either family.
    lengths: BTreeMap<(bool, u8), u32>,
}

impl Sets {
    /// One more rule needs this set.
    pub(super) fn acquire(
        &mut self,
        id: SetId,
        definition: &Definition,
        items: &BTreeMap<ItemId, Item>,
    ) {
        if let Some(set) = self.sets.get_mut(&id) {
            set.users += 1;
            return;
        }
        self.touched.insert(id);
        let mut members = Counted::default();
        match definition.origin() {
            Origin::Selected(expression) => {
                for event in self.index.set_selector(id, expression.clone()) {
                    let Event::Started(_, item) = event else { continue };
                    let part = items.get(&item).map(|item| item.part.members(definition));
                    part.into_iter().flatten().for_each(|member| members.add(member));
                }
            }
            Origin::Service(service) => {
                let all = self.services.members(service, definition);
                all.for_each(|member| members.add(member));
            }
        }
        let definition = definition.clone();
        let set = Set { definition, users: 1, members, told: false, before: BTreeMap::new() };
        self.sets.insert(id, set);
    }

    /// One rule less needs this set.
    pub(super) fn release(&mut self, id: SetId) {
        let Some(set) = self.sets.get_mut(&id) else { return };
        set.users -= 1;
        self.touched.insert(id);
    }

    /// Takes an item's part out of all sets it is in. It must be given back by
    /// [`Sets::place`] or end by [`Sets::remove`].
    pub(super) fn withdraw(&mut self, item: ItemId, part: &Part) {
        let sets: Vec<_> = self.index.selectors_of(&item).copied().collect();
        sets.into_iter().for_each(|id| self.change(id, |of| part.members(of), false));
    }

    /// Puts an item where its labels belong. `withdrawn`: its part is in no set.
    pub(super) fn place(
        &mut self,
        item: ItemId,
        part: &Part,
        labels: BTreeMap<String, String>,
        withdrawn: bool,
    ) {
        let events = self.index.set_labels(item, labels);
        if withdrawn {
            let sets: Vec<_> = self.index.selectors_of(&item).copied().collect();
            sets.into_iter().for_each(|id| self.change(id, |of| part.members(of), true));
            return;
        }
        for event in events {
            match event {
                Event::Started(id, _) => self.change(id, |of| part.members(of), true),
                Event::Stopped(id, _) => self.change(id, |of| part.members(of), false),
            }
        }
    }

    /// Forgets an item whose part was withdrawn.
    pub(super) fn remove(&mut self, item: ItemId) {
        self.index.remove_labels(&item);
    }

    /// A slice as it is now.
    pub(super) fn take_slice(&mut self, key: &ResourceKey, slice: Option<Slice>) {
        if self.services.get(key) == slice.as_ref() {
            return;
        }
        if let Some(new) = &slice {
            self.change_slice(new, true);
        }
        if let Some(old) = self.services.put(key, slice) {
            self.change_slice(&old, false);
        }
    }

    fn change_slice(&mut self, slice: &Slice, add: bool) {
        for definition in slice.definitions() {
            self.change(definition.id(), |of| slice.members(of), add);
        }
    }

    /// Whether a slice is known.
    pub(super) fn knows_slice(&self, key: &ResourceKey) -> bool {
        self.services.get(key).is_some()
    }

    /// The slices that are known.
    pub(super) fn slices(&self) -> impl Iterator<Item = &ResourceKey> {
        self.services.keys()
    }

    fn change(&mut self, id: SetId, members: impl FnOnce(&Definition) -> Vec<Member>, add: bool) {
        let Some(set) = self.sets.get_mut(&id) else { return };
        for member in members(&set.definition) {
            if set.told {
                self.touched.insert(id);
                if set.members.would_change(member, add) {
                    set.members.remember(member, &mut set.before);
                }
            }
            if add {
                set.members.add(member);
            } else {
                set.members.take(member);
            }
        }
    }

    /// Tells what became of the sets since the last time.
    pub(super) fn flush(&mut self, deltas: &mut Deltas) {
        for id in std::mem::take(&mut self.touched) {
            let Some(set) = self.sets.get_mut(&id) else { continue };
            if set.users == 0 {
                if set.told {
                    deltas.sets_removed.insert(id);
                }
                self.sets.remove(&id);
                self.index.remove_selector(&id);
                continue;
            }
            if !set.told {
                set.told = true;
                deltas.sets_added.insert(id, set.members.shown());
                continue;
            }
            let mut delta = SetDelta::default();
            for (member, before) in std::mem::take(&mut set.before) {
                match (before, set.members.shows(member)) {
                    (false, true) => delta.added.insert(member),
                    (true, false) => delta.removed.insert(member),
                    _ => false,
                };
            }
            if delta != SetDelta::default() {
                deltas.sets_changed.insert(id, delta);
            }
        }
    }
}

impl Counted {
    fn add(&mut self, member: Member) {
        let count = self.counts.entry(member).or_insert(0);
        *count += 1;
        if *count == 1
            && let Some(length) = length(member)
        {
            *self.lengths.entry(length).or_insert(0) += 1;
        }
    }

    fn take(&mut self, member: Member) {
        let Some(count) = self.counts.get_mut(&member) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.counts.remove(&member);
        if let Some(length) = length(member)
            && let Some(ranges) = self.lengths.get_mut(&length)
        {
            *ranges -= 1;
            if *ranges == 0 {
                self.lengths.remove(&length);
            }
        }
    }

    /// Whether one more or one less of a member makes a difference.
    fn would_change(&self, member: Member, add: bool) -> bool {
        self.counts.get(&member).copied().unwrap_or(0) == u32::from(!add)
    }

    /// Whether a member is there, and within no other.
    fn shows(&self, member: Member) -> bool {
        if !self.counts.contains_key(&member) {
            return false;
        }
        let Member::Net(net) = member else { return true };
        let v6 = matches!(net, IpNet::V6(_));
        let shorter = self.lengths.range((v6, 0)..(v6, net.prefix_len()));
        !shorter.into_iter().any(|((_, length), _)| {
            let outer = IpNet::new(net.addr(), *length).map(|outer| Member::Net(outer.trunc()));
            outer.is_ok_and(|outer| self.counts.contains_key(&outer))
        })
    }

    fn shown(&self) -> BTreeSet<Member> {
        self.counts.keys().copied().filter(|member| self.shows(*member)).collect()
    }

    /// Writes down whether a member, and all within it, are shown, unless that is known already.
    fn remember(&self, member: Member, before: &mut BTreeMap<Member, bool>) {
        before.entry(member).or_insert_with(|| self.shows(member));
        if let Member::Net(net) = member {
            let last = Member::Net(IpNet::from(net.broadcast()));
            for (inner, _) in self.counts.range(member..=last) {
                before.entry(*inner).or_insert_with(|| self.shows(*inner));
            }
        }
    }
}

/// The family and the length of a range.
fn length(member: Member) -> Option<(bool, u8)> {
    match member {
        Member::Net(net) => Some((matches!(net, IpNet::V6(_)), net.prefix_len())),
        Member::Port(_) => None,
    }
}
