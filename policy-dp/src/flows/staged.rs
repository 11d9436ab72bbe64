//! What would have become of packets if staged policies were enforced.

use policy_calc::{Class, Decision, Direction, EndpointId, Outcome, Staged, State, Step};
use policy_nft::seen::Fate;

use super::Record;

/// What would have become of a packet, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Would {
    /// What.
    pub(crate) fate: Fate,
    /// In the words of [`Flow::by`](super::Flow::by).
    pub(crate) by: String,
}

impl Record {
    /// Adds what staged policies would have done, as they are now.
    pub(crate) fn play(&mut self, state: &State) {
        self.staged = self.would(state);
    }

    fn would(&self, state: &State) -> Option<Would> {
        let direction = self.flow.direction;
        let [source, destination] = &self.ends;
        let own = match direction {
            Direction::Ingress => destination,
            Direction::Egress => source,
        };
        let id = EndpointId::of(own.as_ref()?)?;
        // Records do not say in which class of a host endpoint it was decided.
        let is_decided =
            self.flow.fate != Fate::Logged && matches!(id, EndpointId::Workload { .. });
        let mut tiers = state.endpoints.get(&id)?.class(Class::Normal).tiers(direction).iter();
        let any = tiers.any(|tier| tier.policies.iter().any(|policy| policy.is_staged()));
        if !is_decided || !any {
            return None;
        }
        let play = |staged| state.decide(&id, Class::Normal, direction, &self.first, staged);
        let would = play(Staged::Enforced)?;
        (Some(&would) != play(Staged::Ignored).as_ref()).then(|| Would::of(&would))
    }
}

impl Would {
    fn of(outcome: &Outcome) -> Self {
        let fate = match outcome.decision {
            Decision::Allow | Decision::Continue => Fate::Allowed,
            Decision::Deny => Fate::Denied,
        };
        let by = match outcome.steps.last() {
            Some(Step::Policy { policy, rule, .. }) => format!("{policy} rule {rule}"),
            Some(Step::TierDefault { tier, .. }) => format!("end of tier {tier}"),
            Some(Step::Profile { profile, rule, .. }) => format!("profile {profile} rule {rule}"),
            Some(Step::NoProfile) | None => "no profile allowed it".to_owned(),
        };
        Self { fate, by }
    }
}

#[cfg(test)]
mod tests;
