//! Peers behind a gateway: where a route to a single address leads.
//!
//! The gateway is looked for among the routes of others alone, so that nothing BGP says can take
//! away the route by which BGP is spoken.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::plan::fact::Via;
use crate::plan::locals::Way;
use crate::plan::resolve::{View, is_link_local, tables};
use crate::plan::state::State;

impl State {
    /// All peers behind gateways; those that were told before and are not among them are none any
    /// more.
    pub fn set_gateways(&mut self, gateways: BTreeMap<IpAddr, IpAddr>) {
        let locals = &mut self.locals;
        let old = std::mem::replace(&mut locals.gateways, gateways);
        let both: BTreeSet<IpAddr> = old.keys().chain(locals.gateways.keys()).copied().collect();
        for address in both {
            locals.stale.remove(&address);
            if old.get(&address) == locals.gateways.get(&address) {
                continue;
            }
            locals.refused.remove(&address);
            locals.later.remove(&address);
            locals.dirty.insert(address);
            self.tracker.touch(address.into());
        }
    }
}

/// The way to an address that is wished for, if its link is there.
pub(super) fn way(view: View<'_>, address: IpAddr) -> Option<Way> {
    if let Some(name) = view.locals.link_of(address) {
        return Some(Way { oif: view.links.usable(name)?, gateway: None });
    }
    let gateway = view.locals.gateway_of(address)?;
    Some(Way { oif: link_of(view, gateway)?, gateway: Some(gateway) })
}

/// The link a gateway is on.
fn link_of(view: View<'_>, gateway: IpAddr) -> Option<u32> {
    if view.links.is_own(gateway) || is_link_local(gateway) {
        return None;
    }
    let lengths: BTreeSet<u8> =
        tables(view.config).flat_map(|table| view.foreign.lengths(table, gateway)).collect();
    for length in lengths.into_iter().rev() {
        let prefix = IpNet::new(gateway, length).ok()?.trunc();
        let mut kinds: Vec<_> = tables(view.config)
            .flat_map(|table| view.foreign.at(table, prefix))
            .filter_map(|(_, kind)| (kind.tos == 0).then_some(kind))
            .collect();
        kinds.sort_by_key(|kind| kind.form.metric);
        for kind in kinds {
            let hops = match &kind.form.via {
                Via::Hops(hops) => hops.clone(),
                Via::Object(id) => view.objects.expand(*id),
                Via::Other => continue,
                Via::Blackhole | Via::Unreachable | Via::Prohibit | Via::Local => return None,
            };
            if let Some((hop, _)) = hops.iter().find(|(hop, _)| view.links.running(hop.oif)) {
                return hop.gateway.is_none().then_some(hop.oif);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
