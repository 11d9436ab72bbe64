//! `NetworkPolicy` and `GlobalNetworkPolicy`.

use crate::{
    meta::TIER_LABEL,
    object::Object,
    scalar::{Order, names},
    selector::{self, Selector},
    wire::{At, rules},
};

use super::{
    Rule,
    rule::{check_directions, check_service_namespaces},
};

/// The tier of policies that name none.
pub const DEFAULT_TIER: &str = "default";

choice! {
    /// A direction, seen from the endpoint.
    pub enum PolicyType {
        /// Towards it.
        Ingress = "Ingress",
        /// From it.
        Egress = "Egress",
    }
}

choice! {
    /// Something that may make a policy cheaper and never changes what it does.
    pub enum PerformanceHint {
        /// Every node will need it.
        AssumeNeededOnEveryNode = "AssumeNeededOnEveryNode",
    }
}

record! {
    /// The spec of a `NetworkPolicy`.
    #[derive(Default)]
    pub struct NetworkPolicySpec {
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
    }
}

record! {
    /// The spec of a `GlobalNetworkPolicy`.
    #[derive(Default)]
    pub struct GlobalNetworkPolicySpec {
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
    }
}

spec!(
    NetworkPolicySpec,
    NetworkPolicy,
    defaults | policy | {
        let spec = &mut policy.spec;
        default_types(&mut spec.types, &spec.ingress, &spec.egress);
        let tier = spec.tier.get_or_insert_with(|| DEFAULT_TIER.into()).clone();
        policy.metadata.labels.insert(TIER_LABEL.into(), tier);
    }
);
spec!(
    GlobalNetworkPolicySpec,
    GlobalNetworkPolicy,
    defaults | policy | {
        let spec = &mut policy.spec;
        default_types(&mut spec.types, &spec.ingress, &spec.egress);
        let tier = spec.tier.get_or_insert_with(|| DEFAULT_TIER.into()).clone();
        policy.metadata.labels.insert(TIER_LABEL.into(), tier);
    }
);

/// A `NetworkPolicy`.
pub type NetworkPolicy = Object<NetworkPolicySpec>;
/// A `GlobalNetworkPolicy`.
pub type GlobalNetworkPolicy = Object<GlobalNetworkPolicySpec>;

/// Without types a policy applies to ingress, unless it has egress rules only; with both kinds of
/// rules to both.
pub(super) fn default_types(types: &mut Vec<PolicyType>, ingress: &[Rule], egress: &[Rule]) {
    if types.is_empty() {
        *types = match (ingress.is_empty(), egress.is_empty()) {
            (_, true) => vec![PolicyType::Ingress],
            (true, false) => vec![PolicyType::Egress],
            (false, false) => vec![PolicyType::Ingress, PolicyType::Egress],
        };
    }
}

/// What holds for every policy.
pub(super) fn check_policy(
    at: &mut At<'_, '_>,
    types: &Vec<PolicyType>,
    ingress: &[Rule],
    egress: &[Rule],
    hints: &Vec<PerformanceHint>,
) {
    for (field, count) in [("ingress", ingress.len()), ("egress", egress.len())] {
        if count > 1024 {
            at.refuse(field, "at most 1024 items");
        }
    }
    if let Err(allowed) = rules::unique(types) {
        at.refuse("types", allowed);
    }
    if let Err(allowed) = rules::unique(hints) {
        at.refuse("performanceHints", allowed);
    }
    check_directions(at, ingress, egress);
}

/// What holds for policies that come early in a host's path.
pub(super) fn check_host_flags(
    at: &mut At<'_, '_>,
    do_not_track: Option<bool>,
    pre_dnat: Option<bool>,
    apply_on_forward: Option<bool>,
    types: &[PolicyType],
    egress: &[Rule],
) {
    let on = |flag: Option<bool>| flag == Some(true);
    if on(do_not_track) && on(pre_dnat) {
        at.refuse("preDNAT", "not both doNotTrack and preDNAT");
    }
    if (on(do_not_track) || on(pre_dnat)) && !on(apply_on_forward) {
        at.refuse("applyOnForward", "true beside doNotTrack or preDNAT");
    }
    if on(pre_dnat) && !egress.is_empty() {
        at.refuse("egress", "no egress rules beside preDNAT");
    }
    if on(pre_dnat) && types.contains(&PolicyType::Egress) {
        at.refuse("types", "no Egress beside preDNAT");
    }
}
