//! What can be seen of the enforcer: for who asks what is in force, and why not.

use policy_calc::{EndpointId, State};
use policy_nft::layout;

use super::{Enforcer, object};

impl Enforcer {
    /// What is to be enforced, as of the last moment that was whole.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Objects that cannot be read, each with why.
    pub(crate) fn broken(&self) -> impl Iterator<Item = String> {
        self.broken.iter().map(|(key, why)| format!("{}: {why}", object::display(key)))
    }

    /// Why an endpoint of this node is not in force as it was told last; `None` if it is.
    pub(crate) fn why_not_in_force(&self, id: &EndpointId) -> Option<String> {
        if matches!(id, EndpointId::Host(_)) {
            return Some("host endpoints are not enforced in this version".to_owned());
        }
        let link = self.state.endpoints.get(id).and_then(|endpoint| layout::link_of(id, endpoint));
        let Some(link) = link else {
            return Some("it names no link of this host, so none is opened for it".to_owned());
        };
        let owner = self.links.owner(link);
        if let Some(owner) = owner.filter(|owner| *owner != id) {
            return Some(format!("its link {link} is that of {owner}, told later"));
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
}
