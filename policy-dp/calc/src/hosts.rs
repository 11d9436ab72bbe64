//! Which host endpoint has which interface: section 2.1 of the reference.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{EndpointId, Interface, State};

/// The addresses of each interface of the host that has any.
pub type Interfaces = BTreeMap<String, BTreeSet<IpAddr>>;

/// The host endpoints of a node by what they stand for; those that are nowhere have no interface
/// here, or another one comes before them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostLinks {
    /// By interface, there or not: one that is named is expected.
    pub named: BTreeMap<String, EndpointId>,
    /// The one that stands for every other interface but those of workloads.
    pub others: Option<EndpointId>,
}

impl HostLinks {
    /// Of these endpoints, with these addresses; interfaces of workloads are never theirs. Of several
    /// that want one interface the one whose name comes first has it.
    pub fn of(state: &State, interfaces: &Interfaces, is_workload: impl Fn(&str) -> bool) -> Self {
        let mut links = Self::default();
        // In the order of their names: the first stays.
        for (id, endpoint) in state.endpoints.range(EndpointId::Host(String::new())..) {
            let wanted: Vec<&String> = match &endpoint.interface {
                Interface::All => {
                    links.others.get_or_insert_with(|| id.clone());
                    continue;
                }
                Interface::Named(name) => vec![name],
                Interface::ByAddress => {
                    let has = |found: &BTreeSet<IpAddr>| {
                        endpoint.addresses.iter().any(|address| found.contains(address))
                    };
                    interfaces
                        .iter()
                        .filter(|(_, found)| has(found))
                        .map(|(name, _)| name)
                        .collect()
                }
            };
            for name in wanted.into_iter().filter(|name| !is_workload(name)) {
                links.named.entry(name.clone()).or_insert_with(|| id.clone());
            }
        }
        links
    }

    /// Whether an endpoint has any interface.
    pub fn has(&self, id: &EndpointId) -> bool {
        self.others.as_ref() == Some(id) || self.named.values().any(|owner| owner == id)
    }

    /// The endpoint of an interface that is no workload's.
    pub fn of_interface(&self, name: &str) -> Option<&EndpointId> {
        self.named.get(name).or(self.others.as_ref())
    }
}
