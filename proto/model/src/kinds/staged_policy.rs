//! Staged policies: computed and reported, never enforced.

use crate::{
    fault::Step,
    kubernetes::{self, LabelSelector, NetworkPolicyEgressRule, NetworkPolicyIngressRule},
    meta::TIER_LABEL,
    object::Object,
    scalar::{Order, names},
    selector::{self, Selector},
    wire::{At, rules},
};

use super::{
    DEFAULT_TIER, PerformanceHint, PolicyType, Rule,
    network_policy::{check_host_flags, check_policy, default_types},
    rule::check_service_namespaces,
};

choice! {
    /// What a staged policy would do to the policy of its name.
    pub enum StagedAction {
        /// Create or replace it.
        Set = "Set",
        /// Delete it.
        Delete = "Delete",
        /// Made by a recommendation.
        Learn = "Learn",
        /// Nothing.
        Ignore = "Ignore",
    }
}

record! {
    /// The spec of a `StagedNetworkPolicy`: that of a `NetworkPolicy` and what to do with it.
    #[derive(Default)]
    pub struct StagedNetworkPolicySpec {
        /// What it would do; `Set` if absent.
        staged_action: Option<StagedAction> = "stagedAction",
        /// Its tier; `default` if absent.
        tier: Option<String> = "tier" => names::label,
        /// Its place in the tier, lower first; last if absent.
        order: Option<Order> = "order",
        /// Rules for what comes to an endpoint, in order.
        ingress: Vec<Rule> = "ingress",
        /// Rules for what leaves it, in order.
        egress: Vec<Rule> = "egress",
        /// The endpoints of the namespace it applies to; all if absent.
        selector: Option<Selector> = "selector" => selector::plain,
        /// The directions it applies to; by its rules if absent.
        types: Vec<PolicyType> = "types",
        /// The labels of the service accounts it applies to; all if absent.
        service_account_selector: Option<Selector> = "serviceAccountSelector" => selector::plain,
        /// What may make it cheaper.
        performance_hints: Vec<PerformanceHint> = "performanceHints",
    }
    check |spec, at: &mut At<'_, '_>| {
        check_policy(at, &spec.types, &spec.ingress, &spec.egress, &spec.performance_hints);
        if spec.staged_action == Some(StagedAction::Delete) {
            let other = Self {
                staged_action: spec.staged_action,
                tier: spec.tier.clone(),
                ..Self::default()
            };
            nothing_but_tier(at, *spec == other);
        }
    }
}

record! {
    /// The spec of a `StagedGlobalNetworkPolicy`: that of a `GlobalNetworkPolicy` and what to do
    /// with it.
    #[derive(Default)]
    pub struct StagedGlobalNetworkPolicySpec {
        /// What it would do; `Set` if absent.
        staged_action: Option<StagedAction> = "stagedAction",
        /// Its tier; `default` if absent.
        tier: Option<String> = "tier" => names::label,
        /// Its place in the tier, lower first; last if absent.
        order: Option<Order> = "order",
        /// Rules for what comes to an endpoint, in order.
        ingress: Vec<Rule> = "ingress",
        /// Rules for what leaves it, in order.
        egress: Vec<Rule> = "egress",
        /// The endpoints it applies to; all if absent.
        selector: Option<Selector> = "selector" => selector::plain,
        /// The directions it applies to; by its rules if absent.
        types: Vec<PolicyType> = "types",
        /// Whether it comes before connection tracking; host endpoints only.
        do_not_track: Option<bool> = "doNotTrack",
        /// Whether it comes before the host's NAT; host endpoints only.
        pre_dnat: Option<bool> = "preDNAT",
        /// Whether host endpoints apply it to forwarded traffic too.
        apply_on_forward: Option<bool> = "applyOnForward",
        /// The labels of the service accounts it applies to; all if absent.
        service_account_selector: Option<Selector> = "serviceAccountSelector" => selector::plain,
        /// The labels of the namespaces it applies to; no restriction if absent.
        namespace_selector: Option<Selector> = "namespaceSelector" => selector::plain,
        /// What may make it cheaper.
        performance_hints: Vec<PerformanceHint> = "performanceHints",
    }
    check |spec, at: &mut At<'_, '_>| {
        check_policy(at, &spec.types, &spec.ingress, &spec.egress, &spec.performance_hints);
        check_service_namespaces(at, &spec.ingress, &spec.egress);
        check_host_flags(
            at, spec.do_not_track, spec.pre_dnat, spec.apply_on_forward, &spec.types, &spec.egress,
        );
        if spec.staged_action == Some(StagedAction::Delete) {
            let other = Self {
                staged_action: spec.staged_action,
                tier: spec.tier.clone(),
                ..Self::default()
            };
            nothing_but_tier(at, *spec == other);
        }
    }
}

record! {
    /// The spec of a `StagedKubernetesNetworkPolicy`: that of a policy of Kubernetes and what to
    /// do with it.
    #[derive(Default)]
    pub struct StagedKubernetesNetworkPolicySpec {
        /// What it would do; `Set` if absent.
        staged_action: Option<StagedAction> = "stagedAction",
        /// The pods it applies to.
        pod_selector: Option<LabelSelector> = "podSelector",
        /// Who may come in.
        ingress: Vec<NetworkPolicyIngressRule> = "ingress",
        /// Where pods may go.
        egress: Vec<NetworkPolicyEgressRule> = "egress",
        /// The directions it applies to.
        policy_types: Vec<PolicyType> = "policyTypes",
    }
    check |spec, at: &mut At<'_, '_>| {
        if let Err(allowed) = rules::unique(&spec.policy_types) {
            at.refuse("policyTypes", allowed);
        }
        if spec.staged_action == Some(StagedAction::Delete) {
            let other = Self { staged_action: spec.staged_action, ..Self::default() };
            nothing_but_tier(at, *spec == other);
            return;
        }
        for fault in kubernetes::policy_faults(&spec.ingress, &spec.egress) {
            let steps: Vec<Step> = fault.steps;
            at.refuse_at(&steps, fault.allowed);
        }
    }
}

fn nothing_but_tier(at: &mut At<'_, '_>, holds: bool) {
    if !holds {
        at.refuse("stagedAction", "Set, as only the tier may stand beside Delete");
    }
}

spec!(
    StagedNetworkPolicySpec,
    StagedNetworkPolicy,
    defaults | policy | {
        let spec = &mut policy.spec;
        spec.staged_action.get_or_insert(StagedAction::Set);
        // With Delete nothing else may be there, not even by default.
        if spec.staged_action != Some(StagedAction::Delete) {
            default_types(&mut spec.types, &spec.ingress, &spec.egress);
        }
        let tier = spec.tier.get_or_insert_with(|| DEFAULT_TIER.into()).clone();
        policy.metadata.labels.insert(TIER_LABEL.into(), tier);
    }
);
spec!(
    StagedGlobalNetworkPolicySpec,
    StagedGlobalNetworkPolicy,
    defaults | policy | {
        let spec = &mut policy.spec;
        spec.staged_action.get_or_insert(StagedAction::Set);
        if spec.staged_action != Some(StagedAction::Delete) {
            default_types(&mut spec.types, &spec.ingress, &spec.egress);
        }
        let tier = spec.tier.get_or_insert_with(|| DEFAULT_TIER.into()).clone();
        policy.metadata.labels.insert(TIER_LABEL.into(), tier);
    }
);
spec!(
    StagedKubernetesNetworkPolicySpec,
    StagedKubernetesNetworkPolicy,
    defaults | policy | {
        policy.spec.staged_action.get_or_insert(StagedAction::Set);
    }
);

/// A `StagedNetworkPolicy`.
pub type StagedNetworkPolicy = Object<StagedNetworkPolicySpec>;
/// A `StagedGlobalNetworkPolicy`.
pub type StagedGlobalNetworkPolicy = Object<StagedGlobalNetworkPolicySpec>;
/// A `StagedKubernetesNetworkPolicy`.
pub type StagedKubernetesNetworkPolicy = Object<StagedKubernetesNetworkPolicySpec>;
