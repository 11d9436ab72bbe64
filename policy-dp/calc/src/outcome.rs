//! What becomes of a packet, and why.

use margay_model::kinds::{Action, TierAction};

use crate::PolicyId;

/// What one endpoint's policies of one class and direction say to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// It is let through, as far as this endpoint and class are concerned.
    Allow,
    /// It is dropped.
    Deny,
    /// This class has no say: it goes on to what comes next. Never in [`Class::Normal`] of an
    /// endpoint, where profiles decide in the end.
    ///
    /// [`Class::Normal`]: crate::Class::Normal
    Continue,
}

/// A decision, and everything that matched on the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The decision.
    pub decision: Decision,
    /// What matched, in order; the last one decided, unless nothing did.
    pub steps: Vec<Step>,
}

/// Something that matched a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A rule of a policy.
    Policy {
        /// The tier of the policy.
        tier: String,
        /// The policy.
        policy: PolicyId,
        /// The rule, from 0, among those of the direction.
        rule: usize,
        /// What it says.
        action: Action,
    },
    /// No rule of a tier decided.
    TierDefault {
        /// The tier.
        tier: String,
        /// Its default action.
        action: TierAction,
    },
    /// A rule of a profile. `Pass` means `Deny` there.
    Profile {
        /// The profile.
        profile: String,
        /// The rule, from 0, among those of the direction.
        rule: usize,
        /// What it says.
        action: Action,
    },
    /// No profile allowed it, so it is denied.
    NoProfile,
}
