//! What rules ask of addresses and of ports at addresses, as classes of these.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{
    ClassId,
    classes::{Addresses, Number, Ports},
};
use crate::{Member, PortMember, Rule, SetDelta, SetId, State};

/// Something a rule asks of an address, or of a port at an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Criterion {
    /// To be in a set.
    Set(SetId),
    /// To be in one of these ranges.
    Nets(Vec<IpNet>),
}

/// Classes of all that meets any criterion that somebody asks for.
#[derive(Debug, Default)]
pub struct Classes {
    known: BTreeMap<Criterion, Known>,
    by_number: BTreeMap<Number, Criterion>,
    numbers: Number,
    pub(super) addresses: Addresses,
    pub(super) ports: Ports,
}

/// A criterion that is asked for.
#[derive(Clone, Copy, Debug)]
struct Known {
    number: Number,
    users: usize,
}

impl Criterion {
    /// What a rule asks of either side.
    pub(super) fn of(rule: &Rule) -> Vec<Self> {
        let nets = [&rule.source, &rule.destination].into_iter().flat_map(|side| {
            [&side.nets, &side.not_nets].into_iter().filter(|nets| !nets.is_empty()).cloned()
        });
        nets.map(Self::Nets).chain(rule.sets().map(Self::Set)).collect()
    }

    /// What holds it.
    fn members(&self, state: &State) -> Vec<Member> {
        match self {
            Self::Nets(nets) => nets.iter().copied().map(Member::Net).collect(),
            Self::Set(id) => state.sets.get(id).into_iter().flatten().copied().collect(),
        }
    }
}

impl Classes {
    /// Criteria are asked for by so many more, or fewer. `state` is as it is now: members that came or
    /// went by the same change are told of before, by [`change`](Self::change).
    pub fn ask(&mut self, state: &State, by: BTreeMap<Criterion, isize>) {
        for (criterion, by) in by {
            let known = self.known.entry(criterion.clone()).or_insert_with(|| {
                self.numbers += 1;
                Known { number: self.numbers, users: 0 }
            });
            let before = known.users;
            known.users = before.saturating_add_signed(by);
            let Known { number, users } = *known;
            if users == 0 {
                self.known.remove(&criterion);
                self.by_number.remove(&number);
                self.addresses.forget(number);
                self.ports.forget(number);
            } else if before == 0 {
                for member in criterion.members(state) {
                    self.give(member, number);
                }
                self.by_number.insert(number, criterion);
            }
        }
    }

    /// A set has other members now.
    pub fn change(&mut self, id: SetId, delta: &SetDelta) {
        let Some(Known { number, .. }) = self.known.get(&Criterion::Set(id)).copied() else {
            return;
        };
        delta.removed.iter().for_each(|member| self.take(*member, number));
        delta.added.iter().for_each(|member| self.give(*member, number));
    }

    /// Every range of addresses with its class; longer ranges count before those around them.
    pub fn ranges(&self) -> impl Iterator<Item = (IpNet, ClassId)> {
        self.addresses.ranges()
    }

    /// The class of an address.
    pub fn class(&self, address: IpAddr) -> ClassId {
        self.addresses.class(address)
    }

    /// The criteria that addresses of a class meet; none if there is no such class.
    pub fn met(&self, class: ClassId) -> impl Iterator<Item = &Criterion> {
        let row = self.addresses.table.row(class).into_iter().flatten();
        row.filter_map(|number| self.by_number.get(number))
    }

    /// The classes of addresses that meet any of these.
    pub fn meeting<'a>(
        &self,
        criteria: impl IntoIterator<Item = &'a Criterion>,
    ) -> impl Iterator<Item = ClassId> {
        let numbers: Vec<Number> =
            criteria.into_iter().filter_map(|one| self.number(one)).collect();
        self.addresses.table.meeting(numbers.iter()).into_iter()
    }

    /// What became of ranges of addresses, and of their classes, since somebody last asked: ranges whose
    /// class may be another (`None`: there is no such range any more), and classes that came, went or
    /// changed their meaning.
    pub fn take_touched(&mut self) -> (BTreeMap<IpNet, Option<ClassId>>, Vec<ClassId>) {
        let classes = self.addresses.table.take_touched();
        (self.addresses.take_touched(), classes.into_iter().collect())
    }

    pub(super) fn number(&self, criterion: &Criterion) -> Option<Number> {
        self.known.get(criterion).map(|known| known.number)
    }

    /// The class of a port.
    pub(super) fn port(&self, member: PortMember) -> ClassId {
        self.ports.class(member)
    }

    fn give(&mut self, member: Member, number: Number) {
        match member {
            Member::Net(net) => self.addresses.insert(net, number),
            Member::Port(port) => self.ports.insert(port, number),
        }
    }

    fn take(&mut self, member: Member, number: Number) {
        match member {
            Member::Net(net) => self.addresses.remove(net, number),
            Member::Port(port) => self.ports.remove(port, number),
        }
    }
}
