//! Which host endpoint has which interface of the host, as resources and interfaces come and go.

use std::collections::BTreeSet;

use policy_calc::{Deltas, EndpointId, HostLinks, Interface, Interfaces};
use policy_nft::layout::{At, host_owners};

use super::{Enforcer, Remark, object};

impl Enforcer {
    /// The host has these addresses now. Whether any link has another endpoint by that.
    pub(crate) fn interfaces(&mut self, interfaces: Interfaces) -> bool {
        self.interfaces = interfaces;
        if !self.in_sync {
            return false;
        }
        let nothing = Deltas::default();
        let links = self.stand(&nothing, &mut Vec::new());
        let any = !links.is_empty();
        self.renamed |= any;
        self.link(BTreeSet::new(), &links);
        self.lay_out(&nothing, links);
        any
    }

    /// Brings up to date which host endpoint has which interface; the links that may have another
    /// endpoint now.
    pub(super) fn stand(&mut self, deltas: &Deltas, remarks: &mut Vec<Remark>) -> BTreeSet<At> {
        let now = HostLinks::of(&self.state, &self.interfaces, |name| self.is_workloads(name));
        let before = std::mem::replace(&mut self.hosts, now);
        let all = host_owners(&before).chain(host_owners(&self.hosts));
        let touched = all.filter(|(at, id)| {
            deltas.endpoints.contains_key(*id) || owner(&before, at) != owner(&self.hosts, at)
        });
        let touched = touched.map(|(at, _)| at).collect();
        for id in deltas.endpoints.keys().filter(|id| matches!(id, EndpointId::Host(_))) {
            if let Some(why) = self.why_nowhere(id) {
                let name = object::display(&id.key());
                remarks.push(Remark::Ignored(format!("{name}: {why}")));
            }
        }
        touched
    }

    /// Why a host endpoint is enforced at no interface; `None` if it is at one.
    pub(super) fn why_nowhere(&self, id: &EndpointId) -> Option<String> {
        if self.hosts.has(id) {
            return None;
        }
        let taken = |what: &str, by: Option<&EndpointId>| match by {
            Some(by) => {
                format!("{what} has {}, whose name comes first", object::display(&by.key()))
            }
            None => format!("{what} belongs to a workload"),
        };
        Some(match &self.state.endpoints.get(id)?.interface {
            Interface::Named(name) => taken(&format!("its interface {name}"), self.hosts.named.get(name)),
            Interface::All => taken("every other interface", self.hosts.others.as_ref()),
            Interface::ByAddress => {
                "no interface of this host has one of its expectedIPs, or another host endpoint has it".to_owned()
            }
        })
    }

    /// How many host endpoints have no interface here.
    pub(super) fn hosts_without(&self) -> usize {
        self.host_endpoints().filter(|id| !self.hosts.has(id)).count()
    }

    /// Those of this node.
    pub(super) fn host_endpoints(&self) -> impl Iterator<Item = &EndpointId> {
        self.state.endpoints.range(EndpointId::Host(String::new())..).map(|(id, _)| id)
    }

    /// The interfaces that a host endpoint has.
    pub(crate) fn interfaces_of(&self, id: &EndpointId) -> Vec<&str> {
        let named = self.hosts.named.iter().filter(|(_, owner)| *owner == id);
        let others = self.hosts.others.as_ref().filter(|owner| *owner == id);
        named.map(|(name, _)| name.as_str()).chain(others.map(|_| "*")).collect()
    }

    fn is_workloads(&self, name: &str) -> bool {
        self.settings.is_workloads(name) || self.links.owner(name).is_some()
    }
}

fn owner<'a>(links: &'a HostLinks, at: &At) -> Option<&'a EndpointId> {
    match at {
        At::Workload(_) => None,
        At::Host(link) => links.named.get(link),
        At::OtherHost => links.others.as_ref(),
    }
}
