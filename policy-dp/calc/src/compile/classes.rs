//! Classes: addresses, and ports at addresses, that the same sets hold are one.
//!
//! A set here is a number of a criterion: a set of the state, or a list of ranges in a rule.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use crate::PortMember;

/// Names a class while it is in use. 0 is that of what no set holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub u32);

/// A number of a criterion.
pub(super) type Number = u32;

/// Combinations of criteria, each under an id of its own as long as somebody has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    ids: BTreeMap<BTreeSet<Number>, ClassId>,
    rows: BTreeMap<ClassId, (BTreeSet<Number>, u32)>,
    /// The classes that meet a criterion.
    by_number: BTreeMap<Number, BTreeSet<ClassId>>,
    free: BTreeSet<ClassId>,
    /// Ids that came, went or changed their meaning since somebody last asked.
    touched: BTreeSet<ClassId>,
}

impl Table {
    fn acquire(&mut self, row: BTreeSet<Number>) -> ClassId {
        if row.is_empty() {
            return ClassId::default();
        }
        if let Some(id) = self.ids.get(&row) {
            if let Some((_, users)) = self.rows.get_mut(id) {
                *users += 1;
            }
            return *id;
        }
        let next = || ClassId(u32::try_from(self.rows.len()).unwrap_or(u32::MAX).saturating_add(1));
        let id = self.free.pop_first().unwrap_or_else(next);
        self.touched.insert(id);
        for number in &row {
            self.by_number.entry(*number).or_default().insert(id);
        }
        self.ids.insert(row.clone(), id);
        self.rows.insert(id, (row, 1));
        id
    }

    fn release(&mut self, id: ClassId) {
        let Some((_, users)) = self.rows.get_mut(&id) else { return };
        *users -= 1;
        if *users == 0
            && let Some((row, _)) = self.rows.remove(&id)
        {
            for number in &row {
                if let Some(classes) = self.by_number.get_mut(number) {
                    classes.remove(&id);
                    if classes.is_empty() {
                        self.by_number.remove(number);
                    }
                }
            }
            self.ids.remove(&row);
            self.free.insert(id);
            self.touched.insert(id);
        }
    }

    /// The criteria of a class; `None` if there is no such class.
    pub(super) fn row(&self, id: ClassId) -> Option<&BTreeSet<Number>> {
        self.rows.get(&id).map(|(row, _)| row)
    }

    /// The classes that meet any of these criteria.
    pub(super) fn meeting<'a>(
        &self,
        numbers: impl Iterator<Item = &'a Number>,
    ) -> BTreeSet<ClassId> {
        numbers.filter_map(|number| self.by_number.get(number)).flatten().copied().collect()
    }

    pub(super) fn take_touched(&mut self) -> BTreeSet<ClassId> {
        std::mem::take(&mut self.touched)
    }
}

/// Classes of addresses. Each range that stands in a criterion has the class of its addresses, as
/// far as no longer range holds them.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    pub(super) table: Table,
    ranges: BTreeMap<IpNet, Range>,
    /// How many ranges of each length there are, of either family.
    lengths: BTreeMap<(bool, u8), u32>,
    /// Ranges whose class may have changed since somebody last asked.
    touched: BTreeSet<IpNet>,
}

#[derive(Clone, Debug, Default)]
struct Range {
    /// The criteria that this very range stands in.
    own: BTreeSet<Number>,
    class: ClassId,
}

impl Addresses {
    /// A criterion holds a range.
    pub(super) fn insert(&mut self, net: IpNet, criterion: Number) {
        let range = self.ranges.entry(net).or_insert_with(|| {
            *self.lengths.entry(length(net)).or_insert(0) += 1;
            Range::default()
        });
        if range.own.insert(criterion) {
            self.classify(net);
        }
    }

    /// A criterion does not hold a range any more.
    pub(super) fn remove(&mut self, net: IpNet, criterion: Number) {
        let Some(range) = self.ranges.get_mut(&net) else { return };
        if !range.own.remove(&criterion) {
            return;
        }
        if range.own.is_empty() {
            let class = range.class;
            self.ranges.remove(&net);
            self.touched.insert(net);
            self.table.release(class);
            if let Some(count) = self.lengths.get_mut(&length(net)) {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&length(net));
                }
            }
        }
        self.classify(net);
    }

    /// A criterion holds no range any more.
    pub(super) fn forget(&mut self, criterion: Number) {
        let all: Vec<_> = self
            .ranges
            .iter()
            .filter(|(_, range)| range.own.contains(&criterion))
            .map(|(net, _)| *net)
            .collect();
        all.into_iter().for_each(|net| self.remove(net, criterion));
    }

    /// Gives a range and all within it the classes they have now.
    fn classify(&mut self, net: IpNet) {
        let inner: Vec<_> =
            self.ranges.range(net..=IpNet::from(net.broadcast())).map(|(net, _)| *net).collect();
        for net in inner {
            let row = self.covering(net).flat_map(|range| range.own.iter().copied()).collect();
            let class = self.table.acquire(row);
            let Some(range) = self.ranges.get_mut(&net) else { continue };
            let old = std::mem::replace(&mut range.class, class);
            self.table.release(old);
            if old != class {
                self.touched.insert(net);
            }
        }
    }

    /// The ranges that hold a range, itself among them.
    fn covering(&self, net: IpNet) -> impl Iterator<Item = &Range> {
        let (v6, own) = length(net);
        self.lengths.range((v6, 0)..=(v6, own)).filter_map(move |((_, length), _)| {
            let outer = IpNet::new(net.addr(), *length).ok()?;
            self.ranges.get(&outer.trunc())
        })
    }

    /// The class of an address: that of the longest range that holds it.
    pub(super) fn class(&self, address: IpAddr) -> ClassId {
        let longest = self.covering(IpNet::from(address)).last();
        longest.map(|range| range.class).unwrap_or_default()
    }

    /// Every range and its class.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (IpNet, ClassId)> {
        self.ranges.iter().map(|(net, range)| (*net, range.class))
    }

    /// Ranges whose class may have changed, and what it is now; `None`: there is no such range.
    pub(super) fn take_touched(&mut self) -> BTreeMap<IpNet, Option<ClassId>> {
        let touched = std::mem::take(&mut self.touched).into_iter();
        touched.map(|net| (net, self.ranges.get(&net).map(|range| range.class))).collect()
    }
}

/// Classes of ports at addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct Ports {
    pub(super) table: Table,
    members: BTreeMap<PortMember, ClassId>,
    touched: BTreeSet<PortMember>,
}

impl Ports {
    /// A criterion holds a port.
    pub(super) fn insert(&mut self, member: PortMember, criterion: Number) {
        self.change(member, |row| row.insert(criterion));
    }

    /// A criterion does not hold a port any more.
    pub(super) fn remove(&mut self, member: PortMember, criterion: Number) {
        self.change(member, |row| row.remove(&criterion));
    }

    /// A criterion holds no port any more.
    pub(super) fn forget(&mut self, criterion: Number) {
        let classes = self.table.meeting([criterion].iter());
        let held = self.members.iter().filter(|(_, class)| classes.contains(class));
        let all: Vec<_> = held.map(|(member, _)| *member).collect();
        all.into_iter().for_each(|member| self.remove(member, criterion));
    }

    fn change(&mut self, member: PortMember, change: impl FnOnce(&mut BTreeSet<Number>) -> bool) {
        let old = self.class(member);
        let mut row = self.table.row(old).cloned().unwrap_or_default();
        if !change(&mut row) {
            return;
        }
        let class = self.table.acquire(row);
        self.table.release(old);
        if class == ClassId::default() {
            self.members.remove(&member);
        } else {
            self.members.insert(member, class);
        }
        self.touched.insert(member);
    }

    /// The class of a port.
    pub(super) fn class(&self, member: PortMember) -> ClassId {
        self.members.get(&member).copied().unwrap_or_default()
    }

    /// Every port and its class.
    pub(super) fn members(&self) -> impl Iterator<Item = (PortMember, ClassId)> {
        self.members.iter().map(|(member, class)| (*member, *class))
    }

    /// Ports whose class changed, and what it is now; `None`: it is in no class any more.
    pub(super) fn take_touched(&mut self) -> BTreeMap<PortMember, Option<ClassId>> {
        let touched = std::mem::take(&mut self.touched).into_iter();
        touched.map(|member| (member, self.members.get(&member).copied())).collect()
    }
}

/// The family and the length of a range.
fn length(net: IpNet) -> (bool, u8) {
    (matches!(net, IpNet::V6(_)), net.prefix_len())
}

#[cfg(test)]
mod tests;
