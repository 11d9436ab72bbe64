//! Who is behind a service: endpoints of its slices, ready or not.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use margay_model::{Resource, ResourceKey};

use crate::{
    Member, PortMember,
    resolve::{Definition, ServiceName},
};

/// The slices there are, by service.
#[derive(Debug, Default)]
pub(super) struct Services {
    slices: BTreeMap<ResourceKey, Slice>,
    of: BTreeMap<ServiceName, BTreeSet<ResourceKey>>,
}

/// What a slice adds to its service.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slice {
    service: ServiceName,
    addresses: BTreeSet<IpAddr>,
    /// Protocol and number.
    ports: BTreeSet<(u8, u16)>,
}

impl Services {
    /// A slice as it is now. Gives what it was before.
    pub(super) fn put(&mut self, key: &ResourceKey, slice: Option<Slice>) -> Option<Slice> {
        if let Some(slice) = &slice {
            self.of.entry(slice.service.clone()).or_default().insert(key.clone());
        }
        let service = slice.as_ref().map(|slice| slice.service.clone());
        let old = match slice {
            Some(slice) => self.slices.insert(key.clone(), slice),
            None => self.slices.remove(key),
        };
        if let Some(left) = old.as_ref().map(|old| &old.service)
            && service.as_ref() != Some(left)
            && let Some(others) = self.of.get_mut(left)
        {
            others.remove(key);
            if others.is_empty() {
                self.of.remove(left);
            }
        }
        old
    }

    pub(super) fn get(&self, key: &ResourceKey) -> Option<&Slice> {
        self.slices.get(key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &ResourceKey> {
        self.slices.keys()
    }

    /// What all slices of a service add to a set; some may come twice.
    pub(super) fn members(
        &self,
        service: &ServiceName,
        definition: &Definition,
    ) -> impl Iterator<Item = Member> {
        let slices = self.of.get(service).into_iter().flatten();
        let slices = slices.filter_map(|key| self.slices.get(key));
        slices.flat_map(|slice| slice.members(definition))
    }
}

impl Slice {
    /// `None` for what is no slice, and for one of no service.
    pub(super) fn of(key: &ResourceKey, resource: &Resource) -> Option<Self> {
        let Resource::EndpointSlice(slice) = resource else { return None };
        let spec = &slice.spec;
        let name = slice.service()?.to_owned();
        let ports = spec.ports.iter().filter_map(|port| Some((port.protocol(), port.port?)));
        Some(Self {
            service: ServiceName { namespace: key.namespace.clone(), name },
            addresses: spec.addresses().collect(),
            ports: ports.collect(),
        })
    }

    /// The sets that it may add to.
    pub(super) fn definitions(&self) -> [Definition; 2] {
        let service = || self.service.clone();
        [Definition::ServiceAddresses(service()), Definition::ServicePorts(service())]
    }

    /// What it adds to one of them.
    pub(super) fn members(&self, definition: &Definition) -> Vec<Member> {
        let addresses = self.addresses.iter().copied();
        match definition {
            Definition::ServiceAddresses(_) => {
                addresses.map(|address| Member::Net(IpNet::from(address))).collect()
            }
            Definition::ServicePorts(_) => addresses
                .flat_map(|address| {
                    let at = move |(protocol, port): &(u8, u16)| PortMember {
                        address,
                        protocol: *protocol,
                        port: *port,
                    };
                    self.ports.iter().map(move |port| Member::Port(at(port)))
                })
                .collect(),
            Definition::Addresses(_) | Definition::Ports { .. } => Vec::new(),
        }
    }
}
