//! What can be seen of the enforcer: for who asks what is in force, and why not.

use std::net::IpAddr;

use policy_calc::{EndpointId, HostLinks, Owner, RuleFault, State};
use policy_nft::layout::{self, Settings};

use super::{Enforcer, object};

impl Enforcer {
    /// What is to be enforced, as of the last moment that was whole.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// What holds besides policies, as of that moment.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Which host endpoint has which interface, likewise.
    pub(crate) fn hosts(&self) -> &HostLinks {
        &self.hosts
    }

    /// The host endpoint of the interface that has this address.
    pub(crate) fn host_with_address(&self, address: IpAddr) -> Option<&EndpointId> {
        let mut all = self.interfaces.iter().filter(|(_, has)| has.contains(&address));
        all.find_map(|(name, _)| self.hosts.of_interface(name))
    }

    /// What a floating address stands for here, if they are used.
    pub(crate) fn floating(&self, address: IpAddr) -> Option<IpAddr> {
        let used = self.settings.floating;
        let endpoints = self.state.endpoints.iter().filter(|_| used);
        let claims = endpoints.filter_map(|(id, endpoint)| {
            let (_, own) = endpoint.nats.iter().rfind(|(outside, _)| *outside == address)?;
            Some((layout::link_of(id, endpoint)?, *own))
        });
        // As the table has it.
        claims.min_by_key(|(link, _)| *link).map(|(_, own)| own)
    }

    /// Whether the host itself has this address.
    pub(crate) fn has_address(&self, address: IpAddr) -> bool {
        self.interfaces.values().any(|has| has.contains(&address))
    }

    /// The addresses of the interfaces that a host endpoint has by name or address.
    pub(crate) fn addresses_of(&self, id: &EndpointId) -> Vec<IpAddr> {
        let named = self.hosts.named.iter().filter(|(_, owner)| *owner == id);
        named.filter_map(|(name, _)| self.interfaces.get(name)).flatten().copied().collect()
    }

    /// Objects that cannot be read, each with why.
    pub(crate) fn broken(&self) -> impl Iterator<Item = String> {
        self.broken.iter().map(|(key, why)| format!("{}: {why}", object::display(key)))
    }

    /// What the kernel refused and is closed meanwhile, in its words.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = &str> {
        self.isolated.reasons()
    }

    /// Rules that do not mean what they say, each with whose they are.
    pub(crate) fn faults(&self) -> impl Iterator<Item = (&Owner, &RuleFault)> {
        let all = self.state.faults.iter();
        all.flat_map(|(owner, faults)| std::iter::repeat(owner).zip(faults))
    }

    /// Settings and fields that are not followed, each with why.
    pub(crate) fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Endpoints of this node that are not in force as they were told last, each with why.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (&EndpointId, String)> {
        let waits = |id| Some((id, self.why_not_in_force(id)?));
        self.state.endpoints.keys().filter_map(waits)
    }

    /// Why an endpoint of this node is not in force as it was told last; `None` if it is.
    pub(crate) fn why_not_in_force(&self, id: &EndpointId) -> Option<String> {
        let nowhere = match id {
            EndpointId::Host(_) => self.why_nowhere(id),
            EndpointId::Workload { .. } => self.why_linkless(id),
        };
        if nowhere.is_some() {
            return nowhere;
        }
        let told = self.generations.get(id);
        if told.is_some() && self.in_force.get(&id.key()) == told {
            return None;
        }
        Some(if self.is_isolating() {
            "the kernel refused a part of it, which is closed until it takes it".to_owned()
        } else {
            "the kernel has not taken it yet".to_owned()
        })
    }
    /// Why a workload has no link; `None` if it has one.
    fn why_linkless(&self, id: &EndpointId) -> Option<String> {
        let link = self.state.endpoints.get(id).and_then(|endpoint| layout::link_of(id, endpoint));
        let Some(link) = link else {
            return Some("it names no link of this host, so none is opened for it".to_owned());
        };
        let owner = self.links.owner(link).filter(|owner| *owner != id)?;
        Some(format!("its link {link} is that of {owner}, told later"))
    }
}
