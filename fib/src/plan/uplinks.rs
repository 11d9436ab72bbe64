//! The links over which nodes reach each other.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::api::Link;
use crate::plan::fact::Via;
use crate::plan::resolve::tables;
use crate::plan::state::State;

impl State {
    /// Links that have one of these addresses of the node, or a default route; but for `lo`.
    pub fn uplinks(&self, node: &[IpAddr]) -> Vec<Link> {
        let mut found = BTreeSet::new();
        for index in self.links.indexes() {
            if self.links.addresses(index).any(|net| node.contains(&net.addr())) {
                found.insert(index);
            }
        }
        let defaults = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        for default in defaults {
            let default = IpNet::new_assert(default, 0);
            for table in tables(&self.config) {
                for (_, kind) in self.foreign.at(table, default) {
                    self.links_of(&kind.form.via, &mut found);
                }
            }
            let ours = self.routes.get(default).have().form().and_then(|id| self.forms.at(id));
            if let Some(form) = ours {
                self.links_of(&form.via, &mut found);
            }
        }
        found.remove(&LOOPBACK);
        found.into_iter().filter_map(|index| self.links.link(index)).collect()
    }

    fn links_of(&self, via: &Via, found: &mut BTreeSet<u32>) {
        match via {
            Via::Hops(hops) => found.extend(hops.iter().map(|(hop, _)| hop.oif)),
            Via::Object(id) => found.extend(self.objects.expand(*id).iter().map(|(h, _)| h.oif)),
            _ => {}
        }
    }
}

/// Its index in every namespace.
const LOOPBACK: u32 = 1;

#[cfg(test)]
mod tests;
