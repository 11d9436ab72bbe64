//! The compiler that dataplanes share: section 9.3 of the reference.
//!
//! Addresses become classes, endpoints with the same policies share one program, and a program
//! decides by rows of bits. A member that comes or goes moves one range to another class, and only
//! a class that was not there before touches programs.

mod classes;
mod criteria;
mod cut;
mod intervals;
mod program;
mod row;
mod side;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

pub use classes::ClassId;
pub use criteria::{Classes, Criterion};
pub use cut::{Piece, pieces};
pub use intervals::Intervals;
pub use program::{Effect, Entry, Program, ProgramKey};
pub use row::Row;
pub use side::SideRows;

use crate::{
    Class, Deltas, Direction, Endpoint, EndpointId, Outcome, Owner, Packet, PolicyId, PortMember,
    Rule, State,
};

/// A [`State`], compiled and kept so.
#[derive(Debug, Default)]
pub struct Compiler {
    state: State,
    classes: Classes,
    programs: BTreeMap<ProgramKey, Program>,
    /// How many endpoints, counted once for each class, use a program.
    users: BTreeMap<ProgramKey, usize>,
}

/// What a change of the state did to what was compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Ranges of addresses whose class may have changed; `None`: there is no such range any more.
    pub addresses: BTreeMap<IpNet, Option<ClassId>>,
    /// Ports whose class changed; `None`: it is 0 now.
    pub ports: BTreeMap<PortMember, Option<ClassId>>,
    /// Classes of addresses whose rows are to be read again from every program.
    pub address_classes: BTreeSet<ClassId>,
    /// Classes of ports likewise.
    pub port_classes: BTreeSet<ClassId>,
    /// Programs that are new or compiled anew, and others than their rows of classes.
    pub programs: BTreeSet<ProgramKey>,
    /// Programs that no endpoint uses any more.
    pub programs_removed: BTreeSet<ProgramKey>,
}

impl Compiler {
    /// With nothing to enforce.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is compiled.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The programs, by what endpoints share them for.
    pub fn programs(&self) -> &BTreeMap<ProgramKey, Program> {
        &self.programs
    }

    /// Every range of addresses with its class; longer ranges count before those around them.
    pub fn ranges(&self) -> impl Iterator<Item = (IpNet, ClassId)> {
        self.classes.ranges()
    }

    /// Every port at an address that any rule names, with its class.
    pub fn ports(&self) -> impl Iterator<Item = (PortMember, ClassId)> {
        self.classes.ports.members()
    }

    /// The class of an address.
    pub fn class(&self, address: IpAddr) -> ClassId {
        self.classes.class(address)
    }

    /// What an endpoint's program of a class and direction is kept under.
    pub fn key(endpoint: &Endpoint, class: Class, direction: Direction) -> ProgramKey {
        ProgramKey {
            direction,
            tiers: endpoint.class(class).tiers(direction).clone(),
            profiles: (class == Class::Normal).then(|| endpoint.profiles.clone()),
        }
    }

    /// What the policies of an endpoint say to a packet; `None` if there is no such endpoint.
    pub fn decide(
        &self,
        endpoint: &EndpointId,
        class: Class,
        direction: Direction,
        packet: &Packet,
    ) -> Option<Outcome> {
        let endpoint = self.state.endpoints.get(endpoint)?;
        let program = self.programs.get(&Self::key(endpoint, class, direction))?;
        let port = |address: IpAddr, port: Option<u16>| {
            let protocol = packet.protocol;
            let named = port.map(|port| self.classes.port(PortMember { address, protocol, port }));
            (self.classes.class(address), named.unwrap_or_default())
        };
        let ports = packet.ports();
        let (decision, steps) = program.decide(
            packet,
            port(packet.source, ports.map(|ports| ports.0)),
            port(packet.destination, ports.map(|ports| ports.1)),
        );
        Some(Outcome { decision, steps })
    }

    /// Takes in a change of the state.
    pub fn apply(&mut self, deltas: &Deltas) -> Changes {
        let dirty = self.rewritten(deltas);
        let moved = self.recount(deltas);
        let by = self.count(deltas);
        for (id, delta) in &deltas.sets_changed {
            self.classes.change(*id, delta);
        }
        self.state.apply(deltas);
        self.classes.ask(&self.state, by);
        self.recompile(&dirty, moved)
    }

    /// Owners whose rules are others now.
    fn rewritten(&self, deltas: &Deltas) -> BTreeSet<Owner> {
        let policies = deltas.policies.keys().chain(&deltas.policies_removed);
        let profiles = deltas.profiles.keys().chain(&deltas.profiles_removed);
        let policies = policies.cloned().map(Owner::Policy);
        policies.chain(profiles.cloned().map(Owner::Profile)).collect()
    }

    /// Counts who uses which program. Gives those that endpoints began or ceased to use.
    fn recount(&mut self, deltas: &Deltas) -> BTreeSet<ProgramKey> {
        let keys = |endpoint: &Endpoint| -> Vec<ProgramKey> {
            let each = |class| Direction::BOTH.map(|way| Self::key(endpoint, class, way));
            Class::ALL.into_iter().flat_map(each).collect()
        };
        let mut moved = BTreeSet::new();
        for id in deltas.endpoints.keys().chain(&deltas.endpoints_removed) {
            for key in deltas.endpoints.get(id).map(|new| keys(new)).unwrap_or_default() {
                *self.users.entry(key.clone()).or_insert(0) += 1;
                moved.insert(key);
            }
            for key in self.state.endpoints.get(id).map(|old| keys(old)).unwrap_or_default() {
                if let Some(users) = self.users.get_mut(&key) {
                    *users -= 1;
                    if *users == 0 {
                        self.users.remove(&key);
                    }
                }
                moved.insert(key);
            }
        }
        moved
    }

    /// Who uses which criterion, by how many more or fewer.
    fn count(&self, deltas: &Deltas) -> BTreeMap<Criterion, isize> {
        let mut change: BTreeMap<Criterion, isize> = BTreeMap::new();
        let mut add = |rules: &[Rule], by: isize| {
            for criterion in rules.iter().flat_map(Criterion::of) {
                *change.entry(criterion).or_insert(0) += by;
            }
        };
        let is_enforced = |id: &&PolicyId| !id.is_staged();
        for id in deltas.policies.keys().chain(&deltas.policies_removed).filter(is_enforced) {
            for (state, by) in [(self.state.policies.get(id), -1), (deltas.policies.get(id), 1)] {
                if let Some(policy) = state {
                    add(&policy.ingress, by);
                    add(&policy.egress, by);
                }
            }
        }
        for id in deltas.profiles.keys().chain(&deltas.profiles_removed) {
            for (state, by) in [(self.state.profiles.get(id), -1), (deltas.profiles.get(id), 1)] {
                if let Some(profile) = state {
                    add(&profile.ingress, by);
                    add(&profile.egress, by);
                }
            }
        }
        change
    }

    /// Brings the programs up to date.
    fn recompile(&mut self, dirty: &BTreeSet<Owner>, moved: BTreeSet<ProgramKey>) -> Changes {
        let mut changes = Changes {
            addresses: self.classes.addresses.take_touched(),
            ports: self.classes.ports.take_touched(),
            address_classes: self.classes.addresses.table.take_touched(),
            port_classes: self.classes.ports.table.take_touched(),
            ..Changes::default()
        };
        for (key, program) in &mut self.programs {
            if uses(key, dirty) {
                changes.programs.insert(key.clone());
                continue;
            }
            for class in &changes.address_classes {
                program.classify(*class, self.classes.addresses.table.row(*class));
            }
            for class in &changes.port_classes {
                program.classify_ports(*class, self.classes.ports.table.row(*class));
            }
        }
        for key in moved {
            match (self.users.contains_key(&key), self.programs.contains_key(&key)) {
                (true, false) => {
                    changes.programs.insert(key);
                }
                (false, true) => {
                    self.programs.remove(&key);
                    changes.programs.remove(&key);
                    changes.programs_removed.insert(key);
                }
                (true, true) | (false, false) => {}
            }
        }
        for key in &changes.programs {
            let number = |criterion: Criterion| self.classes.number(&criterion);
            let mut program = Program::new(key, &self.state, &number);
            for class in self.classes.addresses.table.meeting(program.address_criteria()) {
                program.classify(class, self.classes.addresses.table.row(class));
            }
            for class in self.classes.ports.table.meeting(program.port_criteria()) {
                program.classify_ports(class, self.classes.ports.table.row(class));
            }
            self.programs.insert(key.clone(), program);
        }
        changes
    }
}

/// Whether a program is made of any of these.
fn uses(key: &ProgramKey, owners: &BTreeSet<Owner>) -> bool {
    if owners.is_empty() {
        return false;
    }
    let policies = key.tiers.iter().flat_map(|tier| &tier.policies);
    let profiles = key.profiles.iter().flatten();
    policies.into_iter().any(|id| owners.contains(&Owner::Policy(id.clone())))
        || profiles.into_iter().any(|name| owners.contains(&Owner::Profile(name.clone())))
}
