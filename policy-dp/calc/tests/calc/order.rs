//! Tiers, policies and rules in order; actions; types.

use margay_model::{Order, kinds::*};
use policy_calc::{Class, Decision, Direction};

use crate::world::*;

const DENY: &str = "ingress: [{ action: Deny }]";
const ALLOW: &str = "ingress: [{ action: Allow }]";

#[test]
fn an_endpoint_without_policies_is_left_to_its_profiles() {
    let outcome = World::new("").to_db("10.0.0.1", 80);
    assert_eq!(steps(&outcome), ["profile kns.a#0 Allow"]);
    assert_eq!(outcome.decision, Decision::Allow);
}

#[test]
fn tiers_come_by_their_order_and_the_first_that_decides_counts() {
    let yaml = tier("late", "order: 20, defaultAction: Deny")
        + &tier("soon", "order: 3, defaultAction: Deny")
        + &global("late.p", &format!("tier: late, {ALLOW}"))
        + &global("soon.p", &format!("tier: soon, {DENY}"));
    assert_eq!(steps(&World::new(&yaml).to_db("10.0.0.1", 80)), ["soon/soon.p#0 Deny"]);
}

#[test]
fn tiers_of_one_order_come_by_their_names() {
    let yaml = tier("bb", "order: 7")
        + &tier("ba", "order: 7")
        + &global("bb.p", &format!("tier: bb, {ALLOW}"))
        + &global("ba.p", &format!("tier: ba, {DENY}"));
    assert_eq!(steps(&World::new(&yaml).to_db("10.0.0.1", 80)), ["ba/ba.p#0 Deny"]);
}

#[test]
fn a_tier_without_order_comes_after_every_number() {
    let mut world = World::new(
        &(tier("high", "order: 1000000000")
            + &global("high.p", &format!("tier: high, {DENY}"))
            + &global("a.p", &format!("tier: a, {ALLOW}"))),
    );
    world.put(Tier::new("a", TierSpec { order: None, default_action: None }));
    assert_eq!(steps(&world.to_db("10.0.0.1", 80)), ["high/high.p#0 Deny"]);
}

#[test]
fn a_policy_of_a_tier_that_is_missing_is_enforced_after_all_others_and_its_tier_denies() {
    let yaml = tier("known", "order: 1000000000, defaultAction: Pass")
        + &global("known.p", "tier: known, ingress: [{ action: Log }]")
        + &global("gone.p", "tier: gone, ingress: [{ action: Log }]");
    assert_eq!(
        steps(&World::new(&yaml).to_db("10.0.0.1", 80)),
        ["known/known.p#0 Log", "known Pass", "gone/gone.p#0 Log", "gone Deny"]
    );
}

#[test]
fn policies_of_a_tier_come_by_their_order_and_those_without_last() {
    let yaml = global("a", DENY)
        + &global("b", &format!("order: 10, {ALLOW}"))
        + &global("c", "order: 9.5, ingress: [{ action: Log }]");
    assert_eq!(
        steps(&World::new(&yaml).to_db("10.0.0.1", 80)),
        ["default/c#0 Log", "default/b#0 Allow"]
    );
}

#[test]
fn policies_of_one_order_come_by_name_then_namespace_then_kind_octet_by_octet() {
    // The hyphen sorts before the slash that ends a name.
    let yaml = global("p", ALLOW) + &global("p-a", "ingress: [{ action: Log }]");
    assert_eq!(
        steps(&World::new(&yaml).to_db("10.0.0.1", 80)),
        ["default/p-a#0 Log", "default/p#0 Allow"]
    );
    // A global one has no namespace, so it comes before one of the same name that has.
    let yaml = global("p", "ingress: [{ action: Log }]") + &policy("p", ALLOW);
    let outcome = World::new(&yaml).to_db("10.0.0.1", 80);
    assert_eq!(steps(&outcome), ["default/p#0 Log", "default/p#0 Allow"]);
}

#[test]
fn the_first_rule_that_decides_ends_a_policy() {
    let yaml = policy(
        "p",
        "ingress: [{ action: Deny, protocol: UDP }, { action: Allow }, { action: Deny }]",
    );
    assert_eq!(steps(&World::new(&yaml).to_db("10.0.0.1", 80)), ["default/p#1 Allow"]);
}

#[test]
fn a_policy_that_governs_a_direction_brings_the_default_deny_even_without_rules() {
    let world = World::new(&policy("p", "types: [Ingress]"));
    assert_eq!(steps(&world.to_db("10.0.0.1", 80)), ["default Deny"]);
    assert!(world.lets_out("10.0.0.1", 80), "the other direction is left alone");
}

#[test]
fn a_tier_that_passes_in_the_end_goes_on_to_the_next() {
    let yaml = tier("first", "order: 1, defaultAction: Pass")
        + &global("first.p", "tier: first, types: [Ingress]")
        + &policy("p", ALLOW);
    let outcome = World::new(&yaml).to_db("10.0.0.1", 80);
    assert_eq!(steps(&outcome), ["first Pass", "default/p#0 Allow"]);
}

#[test]
fn a_tier_without_policies_for_the_endpoint_is_skipped_default_action_and_all() {
    let yaml = tier("first", "order: 1, defaultAction: Deny")
        + &global("first.p", "tier: first, selector: app == 'nobody', types: [Ingress]");
    assert!(World::new(&yaml).lets_in("10.0.0.1", 80));
}

#[test]
fn pass_leaves_the_tier_and_after_the_last_one_profiles_decide() {
    let yaml = tier("first", "order: 1, defaultAction: Deny")
        + &global("first.p", "tier: first, ingress: [{ action: Pass }, { action: Deny }]")
        + &policy("p", "ingress: [{ action: Pass }]");
    assert_eq!(
        steps(&World::new(&yaml).to_db("10.0.0.1", 80)),
        ["first/first.p#0 Pass", "default/p#0 Pass", "profile kns.a#0 Allow"]
    );
}

#[test]
fn log_writes_down_and_goes_on() {
    let yaml = policy("p", "ingress: [{ action: Log }, { action: Log }, { action: Allow }]");
    assert_eq!(
        steps(&World::new(&yaml).to_db("10.0.0.1", 80)),
        ["default/p#0 Log", "default/p#1 Log", "default/p#2 Allow"]
    );
}

#[test]
fn the_tiers_of_kubernetes_exist_without_being_written() {
    let yaml =
        global(
            "kcnp.kube-baseline.z",
            "tier: kube-baseline, order: 1, ingress: [{ action: Deny }]",
        ) + &global("kcnp.kube-admin.z", "tier: kube-admin, order: 5, ingress: [{ action: Pass }]");
    assert_eq!(
        steps(&World::new(&yaml).to_db("10.0.0.1", 80)),
        ["kube-admin/kcnp.kube-admin.z#0 Pass", "kube-baseline/kcnp.kube-baseline.z#0 Deny"]
    );
}

#[test]
fn types_follow_from_the_rules_where_they_are_not_given() {
    let world = World::new(&policy("p", "ingress: [{ action: Allow }]"));
    assert!(world.lets_out("9.9.9.9", 80), "ingress only");
    let world = World::new(&policy("p", "egress: [{ action: Allow, protocol: UDP }]"));
    assert!(world.lets_in("9.9.9.9", 80) && !world.lets_out("9.9.9.9", 80), "egress only");
    let world = World::new(&policy("p", "egress: [{ action: Deny }], ingress: [{ action: Deny }]"));
    assert!(!world.lets_in("9.9.9.9", 80) && !world.lets_out("9.9.9.9", 80), "both");
    let world = World::new(&policy("p", "order: 1"));
    assert!(!world.lets_in("9.9.9.9", 80) && world.lets_out("9.9.9.9", 80), "no rules: ingress");
}

#[test]
fn a_policy_that_reached_us_without_types_governs_both_directions() {
    let mut world = World::new("");
    let spec = NetworkPolicySpec { order: Some(Order::from(1)), ..NetworkPolicySpec::default() };
    let mut policy = NetworkPolicy::new("p", spec);
    policy.metadata.namespace = Some("a".into());
    world.put(policy);
    assert!(!world.lets_in("10.0.0.1", 80));
    assert!(!world.lets_out("10.0.0.1", 80));
}

#[test]
fn rules_of_a_direction_that_the_types_exclude_never_apply() {
    let world = World::new(&policy("p", "types: [Egress], ingress: [{ action: Deny }]"));
    assert!(world.lets_in("10.0.0.1", 80));
    assert!(!world.lets_out("10.0.0.1", 80));
}

#[test]
fn a_policy_of_a_namespace_selects_only_there() {
    let yaml = object("NetworkPolicy", "namespace: b, ", "p", "types: [Ingress]");
    assert!(World::new(&yaml).lets_in("10.0.0.1", 80));
}

#[test]
fn a_global_policy_selects_by_namespace_and_service_account_too() {
    let deny = |more: &str| World::new(&global("p", &format!("{more}, types: [Ingress]")));
    assert!(!deny("namespaceSelector: team == 'red'").lets_in("10.0.0.1", 80));
    assert!(deny("namespaceSelector: team == 'blue'").lets_in("10.0.0.1", 80));
    let world = deny("serviceAccountSelector: trust == 'high'");
    assert!(world.lets_in("10.0.0.1", 80), "db has no service account");
    let packet = tcp("10.0.0.2", "10.0.0.1", 80);
    let outcome = world.ask(&wep("a", "web"), Class::Normal, Direction::Ingress, &packet);
    assert_eq!(outcome.decision, Decision::Deny);
}

#[test]
fn a_policy_of_kubernetes_has_order_1000_in_the_default_tier() {
    let yaml = "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { namespace: a, name: z }
spec: { podSelector: {}, ingress: [{ from: [{ podSelector: { matchLabels: { app: web } } }] }] }
"
    .to_owned()
        + &policy("before", "order: 999, ingress: [{ action: Log }]")
        + &policy("after", "order: 1001, ingress: [{ action: Log }]");
    let world = World::new(&yaml);
    let outcome = world.to_db("10.0.0.1", 80);
    assert_eq!(steps(&outcome), ["default/before#0 Log", "default/knp.default.z#0 Allow"]);
    let other_namespace = world.to_db("10.0.1.1", 80);
    assert_eq!(other_namespace.decision, Decision::Deny);
}

#[test]
fn staged_policies_do_nothing_and_isolate_nobody() {
    let spec = "selector: app == 'db', ingress: [{ action: Deny }]";
    let yaml = object("StagedNetworkPolicy", "namespace: a, ", "s", spec)
        + &object("StagedGlobalNetworkPolicy", "", "s", "types: [Ingress]")
        + &object("StagedKubernetesNetworkPolicy", "namespace: a, ", "s", "podSelector: {}");
    assert_eq!(steps(&World::new(&yaml).to_db("10.0.0.1", 80)), ["profile kns.a#0 Allow"]);
}
