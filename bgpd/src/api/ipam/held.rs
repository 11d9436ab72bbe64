//! `margay ipam check` with every address: what is held, and what of it looks leaked.
//!
//! What lives on a node only its own daemon knows, and it collects what leaks there. Here is looked at
//! what the datastore says: an address that was assigned to a pod with an endpoint, and that no endpoint
//! has, looks leaked. What has no endpoint, as pods of another main plugin, counts as in use.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use margay_datastore::{Store, StoreError, list_all};
use margay_ipam::{
    Handle, NodeName,
    check::{Kind as Problem, Report, Used},
    view::View,
};
use margay_model::{Area, Kind, Resource, kinds::WorkloadEndpoint};
use margay_proto::v1;
use margay_workload::endpoint;

/// What endpoints say.
#[derive(Default)]
pub(super) struct Endpoints {
    /// Written by daemons, for what holds the address by this handle.
    ours: Vec<Used>,
    /// Of endpoints applied by hand: whoever holds them, they are in use.
    others: BTreeSet<IpAddr>,
    /// Some cannot be read: any address may be theirs, so none looks leaked.
    unreadable: bool,
}

impl Endpoints {
    /// All that the datastore has.
    pub(super) async fn list(store: &dyn Store) -> Result<Self, StoreError> {
        let area = Area::Kind(Kind::WorkloadEndpoint, None);
        let (entries, _) = list_all(store, &area).await?;
        let mut all = Self::default();
        for entry in entries {
            match Resource::decode(&entry.value.value) {
                Ok(Resource::WorkloadEndpoint(endpoint)) => all.take(&endpoint),
                Ok(_) | Err(_) => all.unreadable = true,
            }
        }
        Ok(all)
    }

    fn take(&mut self, there: &WorkloadEndpoint) {
        let addresses = there.spec.ip_networks.iter().map(|network| network.net().addr());
        let handle = there.metadata.annotations.get(endpoint::HANDLE);
        let handle = handle.and_then(|handle| Handle::try_from(handle.as_str()).ok());
        let node = there.spec.node.as_deref().and_then(|node| NodeName::try_from(node).ok());
        match handle.zip(node) {
            Some((handle, node)) => self.ours.extend(addresses.map(|address| Used {
                address,
                handle: handle.clone(),
                node: node.clone(),
                attributes: BTreeMap::new(),
            })),
            None => self.others.extend(addresses),
        }
    }

    /// Everything in use: what endpoints have, and what is held by whom has none.
    pub(super) fn used(mut self, view: &View) -> Vec<Used> {
        for block in view.blocks() {
            for (ordinal, held) in block.held() {
                let address = block.address(ordinal);
                if self.unreadable
                    || held.attributes.get(endpoint::ATTRIBUTE).is_none()
                    || self.others.contains(&address)
                {
                    self.ours.push(Used {
                        address,
                        handle: held.handle.clone(),
                        node: held.node.clone(),
                        attributes: BTreeMap::new(),
                    });
                }
            }
        }
        // An endpoint may have what was assigned before assignments said so.
        self.ours.sort_by(|a, b| (a.address, &a.handle).cmp(&(b.address, &b.handle)));
        self.ours.dedup_by(|a, b| a.address == b.address && a.handle == b.handle);
        self.ours
    }
}

/// Every address that is held, in their order.
pub(super) fn addresses(view: &View, report: &Report) -> Vec<v1::HeldAddress> {
    let leaked: BTreeMap<IpAddr, &str> = report
        .problems
        .iter()
        .filter(|it| matches!(it.kind, Problem::AddressUnused | Problem::AddressOfGoneNode))
        .filter_map(|problem| Some((problem.address?, problem.detail.as_str())))
        .collect();
    let mut all = Vec::new();
    for block in view.blocks() {
        for (ordinal, held) in block.held() {
            let address = block.address(ordinal);
            let told = held.attributes.iter();
            all.push(v1::HeldAddress {
                address: address.to_string(),
                block: block.cidr().to_string(),
                handle: held.handle.to_string(),
                node: held.node.to_string(),
                attributes: told.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                serial: held.serial,
                leaked: leaked.get(&address).map(|why| (*why).to_owned()),
            });
        }
    }
    all
}

#[cfg(test)]
mod tests;
