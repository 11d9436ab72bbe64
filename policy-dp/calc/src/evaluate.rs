//! Plays a packet against a [`State`], rule by rule.

use std::{collections::BTreeSet, net::IpAddr};

use margay_model::kinds::{Action, TierAction};

use crate::{
    Class, Decision, Direction, EndpointId, IcmpMatch, Member, Outcome, Packet, PortMatch,
    PortMember, Rule, SetId, Side, State, Step, set::holds_address,
};

/// What staged policies do in a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staged {
    /// Nothing, as in a dataplane.
    Ignored,
    /// What they would do if they were enforced.
    Enforced,
}

impl State {
    /// What the policies of an endpoint say to a packet; `None` if there is no such endpoint here.
    pub fn decide(
        &self,
        endpoint: &EndpointId,
        class: Class,
        direction: Direction,
        packet: &Packet,
        staged: Staged,
    ) -> Option<Outcome> {
        let endpoint = self.endpoints.get(endpoint)?;
        let mut steps = Vec::new();
        for tier in endpoint.class(class).tiers(direction).iter() {
            let mut passed = false;
            let mut counts = false;
            let policies = tier
                .policies
                .iter()
                .filter(|policy| staged == Staged::Enforced || !policy.is_staged());
            'policies: for id in policies {
                counts = true;
                let rules = self.policies.get(id).map(|policy| policy.rules(direction));
                for (index, rule) in rules.unwrap_or_default().iter().enumerate() {
                    if !self.matches(rule, packet) {
                        continue;
                    }
                    steps.push(Step::Policy {
                        tier: tier.tier.clone(),
                        policy: id.clone(),
                        rule: index,
                        action: rule.action,
                    });
                    match rule.action {
                        Action::Log => {}
                        Action::Allow => return Some(Outcome { decision: Decision::Allow, steps }),
                        Action::Deny => return Some(Outcome { decision: Decision::Deny, steps }),
                        Action::Pass => {
                            passed = true;
                            break 'policies;
                        }
                    }
                }
            }
            if passed || !counts {
                continue;
            }
            let action = tier.default_action;
            steps.push(Step::TierDefault { tier: tier.tier.clone(), action });
            if action == TierAction::Deny {
                return Some(Outcome { decision: Decision::Deny, steps });
            }
        }
        if class != Class::Normal {
            return Some(Outcome { decision: Decision::Continue, steps });
        }
        let decision = self.profiles(&endpoint.profiles, direction, packet, &mut steps);
        Some(Outcome { decision, steps })
    }

    fn profiles(
        &self,
        names: &[String],
        direction: Direction,
        packet: &Packet,
        steps: &mut Vec<Step>,
    ) -> Decision {
        for name in names {
            let rules = self.profiles.get(name).map(|profile| profile.rules(direction));
            for (index, rule) in rules.unwrap_or_default().iter().enumerate() {
                if !self.matches(rule, packet) {
                    continue;
                }
                let action = rule.action;
                steps.push(Step::Profile { profile: name.clone(), rule: index, action });
                match action {
                    Action::Log => {}
                    Action::Allow => return Decision::Allow,
                    Action::Deny | Action::Pass => return Decision::Deny,
                }
            }
        }
        steps.push(Step::NoProfile);
        Decision::Deny
    }

    fn matches(&self, rule: &Rule, packet: &Packet) -> bool {
        let icmp = |wanted: IcmpMatch| {
            packet.icmp().is_some_and(|(kind, code)| wanted.matches(kind, code))
        };
        let ports = packet.ports();
        rule.families.has(packet.source)
            && rule.protocol.is_none_or(|wanted| wanted == packet.protocol)
            && rule.not_protocol.is_none_or(|unwanted| unwanted != packet.protocol)
            && rule.icmp.is_none_or(icmp)
            && !rule.not_icmp.is_some_and(icmp)
            && self.side(&rule.source, packet.source, packet.protocol, ports.map(|ports| ports.0))
            && self.side(
                &rule.destination,
                packet.destination,
                packet.protocol,
                ports.map(|ports| ports.1),
            )
    }

    fn side(&self, side: &Side, address: IpAddr, protocol: u8, port: Option<u16>) -> bool {
        let in_any = |nets: &[ipnet::IpNet]| nets.iter().any(|net| net.contains(&address));
        let on = |ports: &PortMatch| {
            port.is_some_and(|port| {
                let member = Member::Port(PortMember { address, protocol, port });
                ports.ranges.iter().any(|(first, last)| (*first..=*last).contains(&port))
                    || ports.sets.iter().any(|id| self.set(*id).contains(&member))
            })
        };
        (side.nets.is_empty() || in_any(&side.nets))
            && !in_any(&side.not_nets)
            && side.set.is_none_or(|id| holds_address(self.set(id), address))
            && !side.not_set.is_some_and(|id| holds_address(self.set(id), address))
            && side.ports.as_ref().is_none_or(on)
            && !side.not_ports.as_ref().is_some_and(on)
    }

    fn set(&self, id: SetId) -> &BTreeSet<Member> {
        static EMPTY: BTreeSet<Member> = BTreeSet::new();
        self.sets.get(&id).unwrap_or(&EMPTY)
    }
}
