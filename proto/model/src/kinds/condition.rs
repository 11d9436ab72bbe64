//! Conditions in the status of an object.

use crate::wire::rules;

choice! {
    /// Whether a condition holds.
    pub enum ConditionStatus {
        /// It does.
        True = "True",
        /// It does not.
        False = "False",
        /// Nobody knows.
        Unknown = "Unknown",
    }
}

record! {
    /// One condition of an object, as in Kubernetes.
    pub struct Condition {
        /// Which one.
        kind: String = "type",
        /// Whether it holds.
        status: ConditionStatus = "status",
        /// The generation it was seen at.
        observed_generation: Option<i64> = "observedGeneration",
        /// When it changed last.
        last_transition_time: Option<String> = "lastTransitionTime" => rules::timestamp,
        /// Why, in one word.
        reason: Option<String> = "reason",
        /// Why, for a human.
        message: Option<String> = "message",
    }
}

record! {
    /// A status that holds conditions only.
    #[derive(Default)]
    pub struct Conditions {
        /// The conditions.
        conditions: Vec<Condition> = "conditions",
    }
}
