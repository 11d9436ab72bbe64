//! Route policy: rules compiled once, evaluated on a route.
//!
//! The text form (`[policy]` of the configuration) is read by `bgp-desired`, which builds the
//! [`definition`]s; [`PrefixSet::new`], [`CommunitySet::new`] and [`AsPathSet::new`] turn prefix
//! sets into tries, communities into sorted arrays and patterns into automatons, once for all the
//! policies that name them; [`RoutePolicy::compile`] joins the two. Evaluation allocates nothing
//! until a rule changes an attribute. Leaves to others: which policy applies to whom (`rib`), what
//! is written over a policy's result on the way out (next hop, own AS number).

use std::net::{IpAddr, Ipv4Addr};

use bgp_packet::{Asn, PathAttributes};
use ipnet::IpNet;

mod as_path;
mod automaton;
mod community;
mod compiled;
pub mod definition;
mod interface;
mod prefix;

pub use as_path::{AsPathSet, as_path_len, as_path_text};
pub use automaton::PatternError;
pub use community::{CommunityParseError, CommunityPattern, CommunitySet, CommunityValue};
pub use definition::{Definition, Sets};
pub use interface::{InterfaceName, InterfacePattern, InterfacePatternError};
pub use prefix::{PrefixPattern, PrefixPatternError, PrefixSet};

use compiled::{Candidate, Rule};
use definition::Default as DefaultAction;

/// Where a route came from, for `match.source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteSource {
    /// Learned from a peer.
    Bgp,
    /// `bgp.originate`, `margay routes add`.
    Originate,
    /// Redistributed.
    Connected,
    /// Redistributed.
    Static,
    /// Redistributed.
    Kernel,
}

/// Values a policy may set that never go on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct LocalAttributes {
    /// First step of the decision; higher wins.
    pub weight: u32,
    /// Kernel route metric instead of `[fib] metric`.
    pub metric: Option<u32>,
    /// Kernel preferred source address.
    pub preferred_source: Option<IpAddr>,
}

/// A route as a policy sees it.
#[derive(Debug, Clone, Copy)]
pub struct RouteView<'a> {
    /// Its prefix.
    pub prefix: IpNet,
    /// Its attributes.
    pub attributes: &'a PathAttributes,
    /// What earlier policies set.
    pub local: LocalAttributes,
    /// Where it came from.
    pub source: RouteSource,
    /// Name of the peer it came from; for export too.
    pub peer: Option<&'a str>,
    /// AS of the peer it came from.
    pub peer_asn: Option<Asn>,
    /// The interface it leads out by, for `match.interface`: of a route of the kernel, its own; of
    /// one learned from a peer, at import the session's where the peer shares the link (the next
    /// hop is resolved later), afterwards that of the resolved next hop. `None` where there is
    /// none: for what we originate, for a next hop over several interfaces or none.
    pub interface: Option<InterfaceName>,
    /// For `next-hop = self` like settings: our address towards the peer, where known.
    pub local_address: Option<IpAddr>,
    /// Our AS, for prepending without a number.
    pub local_asn: Asn,
    /// Our router id.
    pub router_id: Ipv4Addr,
}

/// What a policy makes of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Taken. `attributes` is `None` where nothing on the wire changed.
    Accept {
        /// The attributes after all `set` of matching rules.
        attributes: Option<Box<PathAttributes>>,
        /// The local values after them.
        local: LocalAttributes,
        /// What a matching rule set, though it be to the value that was there already.
        chosen: Chosen,
    },
    /// Not taken.
    Reject,
}

/// Which of the attributes that are rewritten on the way out a rule set: what was chosen is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chosen {
    /// MULTI_EXIT_DISC.
    pub med: bool,
    /// The next hop.
    pub next_hop: bool,
}

/// One line of an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleHit {
    /// 0-based index, or `None` for the policy's default.
    pub index: Option<usize>,
    /// The rule's name, if it has one.
    pub name: Option<String>,
    /// `accept`, `reject` or `next`.
    pub action: RuleAction,
}

/// What a rule ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleAction {
    /// The route is taken.
    Accept,
    /// The route is dropped.
    Reject,
    /// The following rule is asked.
    Next,
}

/// A definition that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A rule names a set that is not there.
    #[error("{kind} {name:?} is not defined")]
    MissingSet {
        /// `prefix-set`, `community-set` or `as-path-set`.
        kind: &'static str,
        /// The name in the rule.
        name: String,
    },
    /// `communities` or `add-communities` with a pattern, alone or in a set.
    #[error("{0:?} is a pattern: it can be matched and removed, not added")]
    PatternAdded(String),
    /// A pattern in `community` or `remove-communities` is wrong.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// A compiled policy. Equal when definition and the contents of the sets it names are.
#[derive(Clone)]
pub struct RoutePolicy {
    definition: Definition,
    /// Only those the definition names.
    sets: Sets,
    rules: Vec<Rule>,
    looks_at: LooksAt,
}

/// What the rules of a policy look at, besides attributes.
#[derive(Debug, Clone, Copy, Default)]
struct LooksAt {
    prefix: bool,
    source: bool,
    interface: bool,
}

impl RoutePolicy {
    /// Built in: takes everything unchanged.
    pub fn accept() -> Self {
        Self::built_in("accept", DefaultAction::Accept)
    }

    /// Built in: takes nothing.
    pub fn reject() -> Self {
        Self::built_in("reject", DefaultAction::Reject)
    }

    fn built_in(name: &str, default: DefaultAction) -> Self {
        let definition = Definition { name: name.to_owned(), default, rules: Vec::new() };
        let (sets, rules, looks_at) = Default::default();
        Self { definition, sets, rules, looks_at }
    }

    /// Joins rules and the sets they name.
    ///
    /// # Errors
    /// A set that is not defined, or a community pattern where only values make sense.
    pub fn compile(definition: Definition, sets: &Sets) -> Result<Self, CompileError> {
        let mut used = Sets::default();
        let rules: Vec<Rule> = definition
            .rules
            .iter()
            .map(|rule| Rule::compile(rule, sets, &mut used))
            .collect::<Result<_, _>>()?;
        let looks_at = LooksAt {
            prefix: rules.iter().any(Rule::looks_at_prefix),
            source: rules.iter().any(Rule::looks_at_source),
            interface: rules.iter().any(Rule::looks_at_interface),
        };
        Ok(Self { definition, sets: used, rules, looks_at })
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// What it was compiled from.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Whether the verdict can depend on the prefix (or its family or interface); otherwise it may be cached by
    /// attribute set, and peer of origin where [`looks_at_source`](Self::looks_at_source). What
    /// else goes in is the same for a whole session: our AS and address; and the local values of
    /// the route, which pass through but for what is set.
    pub fn looks_at_prefix(&self) -> bool {
        self.looks_at.prefix
    }

    /// Whether the verdict can depend on the peer the route came from, or on `source`.
    pub fn looks_at_source(&self) -> bool {
        self.looks_at.source
    }

    /// Whether the verdict can depend on the interface.
    pub fn looks_at_interface(&self) -> bool {
        self.looks_at.interface
    }

    /// Applies the rules in order, then the default.
    pub fn evaluate(&self, route: &RouteView<'_>) -> Verdict {
        self.run(route, |_, _| {})
    }

    /// The same, with every rule that matched.
    pub fn explain(&self, route: &RouteView<'_>) -> (Verdict, Vec<RuleHit>) {
        let mut hits = Vec::new();
        let verdict = self.run(route, |index, action| {
            let name = index
                .and_then(|index| self.definition.rules.get(index))
                .and_then(|rule| rule.name.clone());
            hits.push(RuleHit { index, name, action });
        });
        (verdict, hits)
    }

    fn run(
        &self,
        route: &RouteView<'_>,
        mut hit: impl FnMut(Option<usize>, RuleAction),
    ) -> Verdict {
        let mut candidate = Candidate::new(route);
        for (index, rule) in self.rules.iter().enumerate() {
            if !rule.matches(&candidate) {
                continue;
            }
            hit(Some(index), rule.action());
            match rule.action() {
                RuleAction::Reject => return Verdict::Reject,
                RuleAction::Accept => {
                    rule.apply(&mut candidate);
                    return candidate.accept();
                }
                RuleAction::Next => rule.apply(&mut candidate),
            }
        }
        match self.definition.default {
            DefaultAction::Accept => {
                hit(None, RuleAction::Accept);
                candidate.accept()
            }
            DefaultAction::Reject => {
                hit(None, RuleAction::Reject);
                Verdict::Reject
            }
        }
    }
}

impl std::fmt::Debug for RoutePolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RoutePolicy").field(&self.definition).finish_non_exhaustive()
    }
}

impl PartialEq for RoutePolicy {
    fn eq(&self, other: &Self) -> bool {
        self.definition == other.definition && self.sets == other.sets
    }
}

impl Eq for RoutePolicy {}

#[cfg(test)]
mod tests;
