//! The oracle: policy as the reference describes it, from the resources themselves, one question at
//! a time.
//!
//! Shares nothing with what computes for a dataplane but the model and its selectors. Slow on
//! purpose: every question looks at every resource.

mod rules;
mod world;

use std::net::IpAddr;

use margay_model::{
    Order, Resource,
    kinds::{Action, HostEndpointSpec, Rule, TierAction},
};

use crate::{Class, Decision, Direction, EndpointId, Outcome, Packet, Step};

use world::{Candidate, Known, World};

/// The resources of a cluster, to be asked.
#[derive(Debug)]
pub struct Naive<'a> {
    world: World<'a>,
    known: Known,
}

impl<'a> Naive<'a> {
    /// A cluster with these resources.
    pub fn new(resources: impl IntoIterator<Item = &'a Resource>) -> Self {
        let world = World::new(resources);
        let known = world.known();
        Self { world, known }
    }

    /// What the policies of an endpoint say to a packet; `None` if there is no such endpoint.
    pub fn decide(
        &self,
        endpoint: &EndpointId,
        class: Class,
        direction: Direction,
        packet: &Packet,
    ) -> Option<Outcome> {
        let subject = self.world.subject(endpoint)?;
        let mut steps = Vec::new();
        let mut candidates: Vec<_> = self
            .world
            .policies()
            .filter(|policy| policy.is_of(class, direction, endpoint))
            .filter(|policy| policy.selects.matches(&subject.labels))
            .collect();
        candidates.sort_by_cached_key(|policy| {
            (self.tier_place(policy.tier), place(policy.order), policy.id.sort_text())
        });
        for tier in candidates.chunk_by(|a, b| a.tier == b.tier) {
            match self.tier(tier, class, direction, packet, &mut steps) {
                None => {}
                Some(decision) => return Some(Outcome { decision, steps }),
            }
        }
        if class != Class::Normal {
            return Some(Outcome { decision: Decision::Continue, steps });
        }
        let decision = self.profiles(&subject.profiles, direction, packet, &mut steps);
        Some(Outcome { decision, steps })
    }

    /// The host endpoint of an interface of a node that is no workload's, with these addresses.
    pub fn host_endpoint(
        &self,
        node: &str,
        interface: &str,
        addresses: &[IpAddr],
    ) -> Option<EndpointId> {
        let least = |stands: &dyn Fn(&HostEndpointSpec) -> bool| {
            let all = self.world.host_endpoints();
            let here = all.filter(|(_, spec)| spec.node.as_deref() == Some(node) && stands(spec));
            here.map(|(name, _)| EndpointId::Host(name.to_owned())).min()
        };
        let of_it = least(&|spec| match &spec.interface_name {
            Some(name) => name == interface,
            None => spec.expected_ips.iter().any(|address| addresses.contains(address)),
        });
        of_it.or_else(|| least(&|spec| spec.interface_name.as_deref() == Some("*")))
    }

    /// The decision of one tier; `None` if it goes on to the next.
    fn tier(
        &self,
        policies: &[Candidate<'_>],
        class: Class,
        direction: Direction,
        packet: &Packet,
        steps: &mut Vec<Step>,
    ) -> Option<Decision> {
        let tier = policies.first()?.tier;
        for policy in policies {
            for (index, rule) in policy.rules(direction).iter().enumerate() {
                if !rules::matches(&self.known, rule, policy.namespace, packet) {
                    continue;
                }
                steps.push(Step::Policy {
                    tier: tier.to_owned(),
                    policy: policy.id.clone(),
                    rule: index,
                    action: rule.action,
                });
                match rule.action {
                    Action::Allow => return Some(Decision::Allow),
                    Action::Deny => return Some(Decision::Deny),
                    Action::Pass => return None,
                    Action::Log => {}
                }
            }
        }
        let action = match class {
            Class::Normal | Class::Forward => self.world.tier_action(tier),
            Class::PreDnat | Class::Untracked => TierAction::Pass,
        };
        steps.push(Step::TierDefault { tier: tier.to_owned(), action });
        match action {
            TierAction::Deny => Some(Decision::Deny),
            TierAction::Pass => None,
        }
    }

    fn profiles(
        &self,
        names: &[String],
        direction: Direction,
        packet: &Packet,
        steps: &mut Vec<Step>,
    ) -> Decision {
        for name in names {
            let deny = [Rule::new(Action::Deny)];
            let allow = [Rule::new(Action::Allow)];
            let rules = match self.world.profile(name) {
                _ if name == margay_model::kinds::DEFAULT_ALLOW_PROFILE => &allow,
                None => deny.as_slice(),
                Some(profile) => match direction {
                    Direction::Ingress => &profile.ingress,
                    Direction::Egress => &profile.egress,
                },
            };
            for (index, rule) in rules.iter().enumerate() {
                if !rules::matches(&self.known, rule, None, packet) {
                    continue;
                }
                let action = rule.action;
                steps.push(Step::Profile { profile: name.clone(), rule: index, action });
                match action {
                    Action::Allow => return Decision::Allow,
                    Action::Deny | Action::Pass => return Decision::Deny,
                    Action::Log => {}
                }
            }
        }
        steps.push(Step::NoProfile);
        Decision::Deny
    }

    /// Known tiers by order, then unknown ones; equal ones by name.
    fn tier_place(&self, name: &str) -> (bool, (bool, Option<Order>), String) {
        let order = self.world.tier_order(name);
        (order.is_none(), place(order.flatten()), name.to_owned())
    }
}

/// What has no order comes after every number.
fn place(order: Option<Order>) -> (bool, Option<Order>) {
    (order.is_none(), order)
}

impl Candidate<'_> {
    fn is_of(&self, class: Class, direction: Direction, endpoint: &EndpointId) -> bool {
        if !self.types.is_empty() && !self.types.contains(&direction.policy_type()) {
            return false;
        }
        let early = self.untracked || self.pre_dnat;
        match (endpoint, class) {
            (EndpointId::Workload { .. }, class) => class == Class::Normal && !early,
            (EndpointId::Host(_), _) if self.namespace.is_some() => false,
            (EndpointId::Host(_), Class::Normal) => !early,
            (EndpointId::Host(_), Class::Forward) => self.on_forward && !early,
            (EndpointId::Host(_), Class::PreDnat) => {
                self.pre_dnat && !self.untracked && direction == Direction::Ingress
            }
            (EndpointId::Host(_), Class::Untracked) => self.untracked,
        }
    }

    fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => self.ingress,
            Direction::Egress => self.egress,
        }
    }
}
