//! Rows for one side of a packet: its address and its port.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{ClassId, Criterion, Intervals, Row, classes::Number};
use crate::{PortMatch, Rule, SetId, Side};

/// Rows for one side of a packet. An entry accepts a side if its bits say so:
/// `address & (port | named_port) & !refused_port & !refused_named_port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideRows {
    /// Entries that accept an address, by its class, where that differs from `other_addresses`.
    pub addresses: BTreeMap<ClassId, Row>,
    /// Entries that accept an address of any other class, among them the unknown ones.
    pub other_addresses: Row,
    /// Entries that accept a port by its number, or do not look at it.
    pub ports: Intervals,
    /// Entries that accept a port by the class of address, protocol and port; others accept none.
    pub named_ports: BTreeMap<ClassId, Row>,
    /// Entries that refuse a port by its number.
    pub refused_ports: Intervals,
    /// Entries that refuse a port by the class of address, protocol and port.
    pub refused_named_ports: BTreeMap<ClassId, Row>,
    criteria: Vec<Criteria>,
    /// The entries that look at a criterion of addresses, and at one of ports.
    pub(super) lookers: BTreeMap<Number, Vec<usize>>,
    pub(super) port_lookers: BTreeMap<Number, Vec<usize>>,
}

/// The criteria one entry has on one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Criteria {
    wanted: Vec<Number>,
    unwanted: Vec<Number>,
    ports: Vec<Number>,
    not_ports: Vec<Number>,
}

impl SideRows {
    pub(super) fn new<'a>(
        rules: &[Option<&'a Rule>],
        of: fn(&Rule) -> &Side,
        number: &dyn Fn(Criterion) -> Option<Number>,
    ) -> Self {
        let sides: Vec<Option<&'a Side>> = rules.iter().map(|rule| rule.map(of)).collect();
        let nets = |nets: &Vec<IpNet>| {
            let criterion = (!nets.is_empty()).then(|| Criterion::Nets(nets.clone()));
            criterion.into_iter().filter_map(number).collect::<Vec<_>>()
        };
        let sets = |sets: &[SetId]| -> Vec<Number> {
            sets.iter().filter_map(|id| number(Criterion::Set(*id))).collect()
        };
        let ports = |ports: &Option<PortMatch>| {
            sets(ports.as_ref().map(|ports| ports.sets.as_slice()).unwrap_or_default())
        };
        let of_side = |side: &&Side| Criteria {
            wanted: [nets(&side.nets), sets(side.set.as_slice())].concat(),
            unwanted: [nets(&side.not_nets), sets(side.not_set.as_slice())].concat(),
            ports: ports(&side.ports),
            not_ports: ports(&side.not_ports),
        };
        let criteria: Vec<_> =
            sides.iter().map(|side| side.as_ref().map(of_side).unwrap_or_default()).collect();
        let numbers = |of: fn(&Side) -> &Option<PortMatch>, otherwise: bool| {
            let ports = |side: &Option<&'a Side>| side.and_then(|side| of(side).as_ref());
            let base = Row::new(sides.len(), |entry| {
                otherwise && sides.get(entry).is_some_and(|side| ports(side).is_none())
            });
            let ranges = sides.iter().enumerate().flat_map(|(entry, side)| {
                let ranges = ports(side).into_iter().flat_map(|ports| &ports.ranges);
                ranges.map(move |range| (entry, *range))
            });
            Intervals::new(base, ranges.collect())
        };
        let (mut lookers, mut port_lookers) = (BTreeMap::new(), BTreeMap::new());
        for (entry, criteria) in criteria.iter().enumerate() {
            let look = |at: &mut BTreeMap<Number, Vec<usize>>, numbers: &[Number]| {
                numbers.iter().for_each(|number| at.entry(*number).or_default().push(entry));
            };
            look(&mut lookers, &criteria.wanted);
            look(&mut lookers, &criteria.unwanted);
            look(&mut port_lookers, &criteria.ports);
            look(&mut port_lookers, &criteria.not_ports);
        }
        Self {
            addresses: BTreeMap::new(),
            other_addresses: Row::new(criteria.len(), |entry| {
                criteria.get(entry).is_some_and(|criteria| criteria.wanted.is_empty())
            }),
            ports: numbers(|side| &side.ports, true),
            named_ports: BTreeMap::new(),
            refused_ports: numbers(|side| &side.not_ports, false),
            refused_named_ports: BTreeMap::new(),
            criteria,
            lookers,
            port_lookers,
        }
    }

    pub(super) fn classify(&mut self, class: ClassId, met: Option<&BTreeSet<Number>>) {
        let mut row = self.other_addresses.clone();
        let looked = met.into_iter().flatten().filter_map(|number| self.lookers.get(number));
        for entry in looked.flatten() {
            let Some(criteria) = self.criteria.get(*entry) else { continue };
            let meets = |number: &Number| met.is_some_and(|met| met.contains(number));
            let accepts = criteria.wanted.iter().all(meets) && !criteria.unwanted.iter().any(meets);
            row.put(*entry, accepts);
        }
        if row == self.other_addresses {
            self.addresses.remove(&class);
        } else {
            self.addresses.insert(class, row);
        }
    }

    pub(super) fn classify_ports(&mut self, class: ClassId, met: Option<&BTreeSet<Number>>) {
        let none = Row::new(self.criteria.len(), |_| false);
        let (mut accepted, mut refused) = (none.clone(), none);
        for number in met.into_iter().flatten() {
            for entry in self.port_lookers.get(number).into_iter().flatten() {
                let Some(criteria) = self.criteria.get(*entry) else { continue };
                if criteria.ports.contains(number) {
                    accepted.put(*entry, true);
                }
                if criteria.not_ports.contains(number) {
                    refused.put(*entry, true);
                }
            }
        }
        for (rows, row) in
            [(&mut self.named_ports, accepted), (&mut self.refused_named_ports, refused)]
        {
            if row.is_empty() {
                rows.remove(&class);
            } else {
                rows.insert(class, row);
            }
        }
    }

    pub(super) fn word(
        &self,
        index: usize,
        (class, named): (ClassId, ClassId),
        port: Option<u16>,
    ) -> u64 {
        let of = |rows: &BTreeMap<ClassId, Row>| rows.get(&named).map_or(0, |row| row.word(index));
        let addresses = self.addresses.get(&class).unwrap_or(&self.other_addresses);
        addresses.word(index)
            & (self.ports.row(port).word(index) | of(&self.named_ports))
            & !self.refused_ports.row(port).word(index)
            & !of(&self.refused_named_ports)
    }
}
