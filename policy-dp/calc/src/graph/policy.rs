//! Policies of all kinds in one form.

use std::sync::Arc;

use margay_model::{
    ObjectMeta, Order, Resource, ResourceKey,
    kinds::{
        DEFAULT_TIER, PerformanceHint, PolicyType, Rule, StagedAction,
        StagedKubernetesNetworkPolicySpec,
    },
    kubernetes,
    selector::{Expression, scope},
};

use crate::{
    Class, Direction, Policy, PolicyId, RuleFault, SetId,
    resolve::{Definition, faults, resolved},
};

/// A policy as it is wanted. Its rules are kept as they are enforced, which takes a third of the room of
/// those that were written; most policies of a cluster apply to nobody here, and all are kept.
#[derive(Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) id: PolicyId,
    pub(super) place: Place,
    pub(super) selects: Expression,
    /// Whether it is computed though no local endpoint has it.
    pub(super) everywhere: bool,
    pub(super) policy: Arc<Policy>,
    /// The sets its rules need, each as often as they name it.
    pub(super) sets: Box<[(SetId, Arc<Definition>)]>,
    /// Rules that do not mean what they say.
    pub(super) faults: Vec<RuleFault>,
}

/// All that decides where among the policies of an endpoint it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) tier: String,
    pub(super) order: Option<Order>,
    pub(super) sort_text: String,
    /// Whether it is a global one; others never apply to host endpoints.
    pub(super) global: bool,
    types: Vec<PolicyType>,
    untracked: bool,
    pre_dnat: bool,
    on_forward: bool,
}

impl Wanted {
    /// `None` for what is no policy, and for staged ones that would delete or do nothing.
    pub(super) fn of(key: &ResourceKey, resource: Resource) -> Option<Self> {
        let id = PolicyId::of(key)?;
        Some(match resource {
            Resource::NetworkPolicy(policy) => {
                let spec = policy.spec;
                let selects = scope::network_policy(&key.namespace, &spec);
                let place = place(&id, spec.tier, spec.order, spec.types);
                rules(id, place, selects, &spec.performance_hints, spec.ingress, spec.egress)
            }
            Resource::StagedNetworkPolicy(policy) => {
                let spec = policy.spec;
                is_computed(spec.staged_action)?;
                let selects = scope::policy(
                    Some(&key.namespace),
                    spec.selector.as_ref(),
                    None,
                    spec.service_account_selector.as_ref(),
                );
                let place = place(&id, spec.tier, spec.order, spec.types);
                rules(id, place, selects, &spec.performance_hints, spec.ingress, spec.egress)
            }
            Resource::GlobalNetworkPolicy(policy) => {
                let spec = policy.spec;
                let selects = scope::global_network_policy(&spec);
                let place = Place {
                    global: true,
                    untracked: spec.do_not_track == Some(true),
                    pre_dnat: spec.pre_dnat == Some(true),
                    on_forward: spec.apply_on_forward == Some(true),
                    ..place(&id, spec.tier, spec.order, spec.types)
                };
                rules(id, place, selects, &spec.performance_hints, spec.ingress, spec.egress)
            }
            Resource::StagedGlobalNetworkPolicy(policy) => {
                let spec = policy.spec;
                is_computed(spec.staged_action)?;
                let selects = scope::policy(
                    None,
                    spec.selector.as_ref(),
                    spec.namespace_selector.as_ref(),
                    spec.service_account_selector.as_ref(),
                );
                let place = Place {
                    global: true,
                    untracked: spec.do_not_track == Some(true),
                    pre_dnat: spec.pre_dnat == Some(true),
                    on_forward: spec.apply_on_forward == Some(true),
                    ..place(&id, spec.tier, spec.order, spec.types)
                };
                rules(id, place, selects, &spec.performance_hints, spec.ingress, spec.egress)
            }
            Resource::StagedKubernetesNetworkPolicy(policy) => {
                is_computed(policy.spec.staged_action)?;
                let spec = converted(&key.namespace, policy.spec)?;
                let selects = scope::network_policy(&key.namespace, &spec);
                let place = place(&id, spec.tier, spec.order, spec.types);
                rules(id, place, selects, &[], spec.ingress, spec.egress)
            }
            _ => return None,
        })
    }
}

impl Place {
    /// Whether it governs a direction; without types it governs both.
    pub(super) fn governs(&self, direction: Direction) -> bool {
        self.types.is_empty() || self.types.contains(&direction.policy_type())
    }

    /// Whether it stands in the list of a class and direction of an endpoint that it selects.
    pub(super) fn is_in(&self, class: Class, direction: Direction, host: bool) -> bool {
        let in_class = match class {
            Class::Normal => !self.untracked && !self.pre_dnat,
            Class::Forward => host && self.on_forward && !self.untracked && !self.pre_dnat,
            Class::PreDnat => {
                host && self.pre_dnat && !self.untracked && direction == Direction::Ingress
            }
            Class::Untracked => host && self.untracked,
        };
        in_class && self.governs(direction) && (self.global || !host)
    }
}

fn place(
    id: &PolicyId,
    tier: Option<String>,
    order: Option<Order>,
    types: Vec<PolicyType>,
) -> Place {
    Place {
        tier: tier.unwrap_or_else(|| DEFAULT_TIER.to_owned()),
        order,
        sort_text: id.sort_text(),
        global: false,
        types,
        untracked: false,
        pre_dnat: false,
        on_forward: false,
    }
}

fn rules(
    id: PolicyId,
    place: Place,
    selects: Expression,
    hints: &[PerformanceHint],
    ingress: Vec<Rule>,
    egress: Vec<Rule>,
) -> Wanted {
    let everywhere = hints.contains(&PerformanceHint::AssumeNeededOnEveryNode);
    let namespace = (!place.global).then(|| id.namespace());
    let faults = faults(namespace, &ingress, &egress);
    // Those of a direction it does not govern do not count.
    let governed = |direction, rules| if place.governs(direction) { rules } else { Vec::new() };
    let (ingress, mut sets) = resolved(namespace, &governed(Direction::Ingress, ingress));
    let (egress, more) = resolved(namespace, &governed(Direction::Egress, egress));
    sets.extend(more);
    let types = Direction::BOTH.into_iter().filter(|direction| place.governs(*direction));
    let policy = Policy {
        tier: place.tier.clone(),
        types: types.map(Direction::policy_type).collect(),
        ingress,
        egress,
    };
    let sets = sets.into_iter().map(|(id, definition)| (id, Arc::new(definition))).collect();
    Wanted { id, place, selects, everywhere, policy: Arc::new(policy), sets, faults }
}

fn is_computed(action: Option<StagedAction>) -> Option<()> {
    match action.unwrap_or(StagedAction::Set) {
        StagedAction::Set | StagedAction::Learn => Some(()),
        StagedAction::Delete | StagedAction::Ignore => None,
    }
}

/// What the policy of Kubernetes that is staged would become.
fn converted(
    namespace: &str,
    spec: StagedKubernetesNetworkPolicySpec,
) -> Option<margay_model::kinds::NetworkPolicySpec> {
    let policy = kubernetes::NetworkPolicy {
        api_version: None,
        kind: None,
        metadata: ObjectMeta::namespaced(namespace, "staged"),
        spec: kubernetes::NetworkPolicySpec {
            pod_selector: spec.pod_selector,
            ingress: spec.ingress,
            egress: spec.egress,
            policy_types: spec.policy_types,
        },
        status: None,
    };
    let converted = kubernetes::Object::NetworkPolicy(Box::new(policy)).into_resource();
    match converted.resource {
        Some(Resource::NetworkPolicy(policy)) => Some(policy.spec),
        _ => None,
    }
}
