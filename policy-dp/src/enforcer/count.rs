//! Whose packets are counted by rule.

use policy_calc::EndpointId;
use policy_nft::layout::{self, Counted};

use super::Enforcer;

impl Enforcer {
    /// Counts an endpoint's packets from now on. False where it has no link of its own, and so no packets.
    pub(crate) fn count(&mut self, id: &EndpointId) -> bool {
        let Some(link) = self.link_of(id).map(str::to_owned) else { return false };
        if self.counted.get(id) != Some(&link) {
            self.uncount(id);
            self.count_link(&link, true);
            self.counted.insert(id.clone(), link);
        }
        true
    }

    /// Counts them no longer.
    pub(crate) fn uncount(&mut self, id: &EndpointId) {
        if let Some(link) = self.counted.remove(id) {
            self.count_link(&link, false);
        }
    }

    /// The chains that count an endpoint's packets.
    pub(crate) fn counted(&self, id: &EndpointId) -> Vec<Counted> {
        let link = self.link_of(id);
        let layout = self.layout.as_ref();
        layout.zip(link).map(|(layout, link)| layout.counted(&self.state, link)).unwrap_or_default()
    }

    fn count_link(&mut self, link: &str, on: bool) {
        let Some(layout) = &mut self.layout else { return };
        let touched = layout.count(&self.state, link, on);
        self.changed |= !touched.is_empty();
        if let Some(missing) = &mut self.missing {
            missing.join(touched);
        }
    }

    fn link_of(&self, id: &EndpointId) -> Option<&str> {
        let endpoint = self.state.endpoints.get(id).filter(|_| self.links.is_owner(id))?;
        layout::link_of(id, endpoint)
    }
}
