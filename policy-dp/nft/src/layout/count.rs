//! Packets counted by rule, for as long as somebody wants to know: the link whose packets they are has
//! chains of its own then, in which the rules count.

use std::sync::Arc;

use policy_calc::{Class, Direction, Endpoint, Owner, State};

use crate::{
    expr::Digest,
    layout::{At, Layout, policy::Source},
    name::Name,
    plan::Touched,
};

/// What decides about a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A rule.
    Rule {
        /// Whose.
        owner: Owner,
        /// Its place among those of its direction, from 0.
        index: usize,
    },
    /// The end of this tier.
    Tier(String),
    /// That no profile allowed it.
    NoProfile,
}

/// A chain that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Its name.
    pub chain: Name,
    /// Of which direction it is.
    pub direction: Direction,
    /// Its rules, and what each is of; `None` for one that only leads on.
    pub rules: Vec<(Digest, Option<Place>)>,
}

impl Layout {
    /// Counts a link's packets from now on, or no longer; gives what of the table may be another.
    pub fn count(&mut self, state: &State, link: &str, on: bool) -> Touched {
        let changed = match on {
            true => self.counted.insert(link.into()),
            false => self.counted.remove(link),
        };
        let at = At::Workload(link.to_owned());
        if let Some(endpoint) = self.links.get(&at).cloned().filter(|_| changed) {
            self.link(state, &at, Some(&endpoint));
            self.settle(state);
        }
        std::mem::take(&mut self.touched)
    }

    /// The chains that count a link's packets, in the order in which they are asked; none if they are
    /// not counted.
    pub fn counted(&self, state: &State, link: &str) -> Vec<Counted> {
        let endpoint = self.links.get(&At::Workload(link.to_owned()));
        let (Some(name), Some(endpoint)) = (self.counted.get(link), endpoint) else {
            return Vec::new();
        };
        let of = |direction| self.counted_in(state, name, endpoint, direction);
        Direction::BOTH.into_iter().flat_map(of).collect()
    }

    fn counted_in(
        &self,
        state: &State,
        link: &Arc<str>,
        endpoint: &Endpoint,
        direction: Direction,
    ) -> Vec<Counted> {
        let (tiers, profiles) = Source::of(endpoint, Class::Normal, direction, Some(link));
        let with_parts = |source: Source| source.parts(state).into_iter().chain([source]);
        let all = tiers.into_iter().chain(profiles).flat_map(with_parts);
        let counted = |source: Source| {
            let chain = source.name();
            let rules = &self.table.chains.get(&chain)?.rules;
            let digests = rules.iter().map(|rule| rule.digest());
            let rules = digests.zip(source.places(state, &self.settings, &self.table)).collect();
            Some(Counted { chain, direction, rules })
        };
        all.filter_map(counted).collect()
    }
}
