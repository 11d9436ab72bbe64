//! Which endpoint has which link.
//!
//! Promises: of several that name one link the one told last has it, as what was added last is what
//! is there; the others are named, and whoever is told anew has the link then, so nobody who waits
//! for what was just told waits in vain.

use std::collections::{BTreeMap, BTreeSet};

use policy_calc::EndpointId;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// Who names a link, the youngest last; no entry is empty.
    claims: BTreeMap<String, BTreeSet<(u64, EndpointId)>>,
    /// What a workload names: its link, if a link can be called so, and its revision.
    named: BTreeMap<EndpointId, Claim>,
}

#[derive(Debug, PartialEq, Eq)]
struct Claim {
    link: Option<String>,
    age: u64,
}

impl Links {
    /// A workload names this link, as of a revision; gives the links whose claims changed.
    pub(super) fn claim(
        &mut self,
        id: &EndpointId,
        link: Option<&str>,
        age: u64,
    ) -> BTreeSet<String> {
        let claim = Claim { link: link.map(str::to_owned), age };
        if self.named.get(id) == Some(&claim) {
            return BTreeSet::new();
        }
        let mut touched = self.release(id);
        if let Some(link) = &claim.link {
            self.claims.entry(link.clone()).or_default().insert((age, id.clone()));
            touched.insert(link.clone());
        }
        self.named.insert(id.clone(), claim);
        touched
    }

    /// It names none any more, as it is gone.
    pub(super) fn release(&mut self, id: &EndpointId) -> BTreeSet<String> {
        let before = self.named.remove(id);
        let Some(Claim { link: Some(link), age }) = before else { return BTreeSet::new() };
        if let Some(claims) = self.claims.get_mut(&link) {
            claims.remove(&(age, id.clone()));
            if claims.is_empty() {
                self.claims.remove(&link);
            }
        }
        BTreeSet::from([link])
    }

    /// Who has a link.
    pub(super) fn owner(&self, link: &str) -> Option<&EndpointId> {
        self.claims.get(link)?.last().map(|(_, id)| id)
    }

    /// Whether a workload has the link that it names.
    pub(super) fn is_owner(&self, id: &EndpointId) -> bool {
        let link = self.named.get(id).and_then(|claim| claim.link.as_deref());
        link.and_then(|link| self.owner(link)) == Some(id)
    }

    /// Every link that somebody has, and who.
    pub(super) fn owners(&self) -> impl Iterator<Item = (&str, &EndpointId)> {
        let owners = self.claims.iter();
        owners.filter_map(|(link, claims)| Some((link.as_str(), &claims.last()?.1)))
    }

    /// Those who name this link and have it not.
    pub(super) fn losers(&self, link: &str) -> impl Iterator<Item = &EndpointId> {
        let claims = self.claims.get(link).into_iter();
        claims.flat_map(|claims| claims.iter().rev().skip(1)).map(|(_, id)| id)
    }

    /// How many workloads have no link here.
    pub(super) fn without(&self) -> usize {
        self.named.len() - self.claims.len()
    }
}

#[cfg(test)]
mod tests;
