//! Profiles: last rules and labels.

use policy_calc::Decision;

use crate::world::*;

/// The cluster with other profiles for `db`.
fn with(profiles: &str, yaml: &str) -> World {
    let db = pod(NODE, "a", "db", "10.0.0.2/32", "db")
        .replace("[kns.a, ksa.a.db]", &format!("[{profiles}]"));
    World::new(&(db + yaml))
}

fn profile(name: &str, spec: &str) -> String {
    object("Profile", "", name, spec)
}

#[test]
fn an_endpoint_without_policies_and_profiles_denies_everything() {
    let outcome = with("", "").to_db("10.0.0.1", 80);
    assert_eq!(outcome.decision, Decision::Deny);
    assert_eq!(steps(&outcome), ["no profile"]);
}

#[test]
fn profiles_come_in_the_order_of_the_endpoint() {
    let yaml =
        profile("a", "ingress: [{ action: Deny }]") + &profile("b", "ingress: [{ action: Allow }]");
    assert!(!with("a, b", &yaml).lets_in("10.0.0.1", 80));
    assert!(with("b, a", &yaml).lets_in("10.0.0.1", 80));
}

#[test]
fn a_profile_that_does_not_decide_leaves_it_to_the_next() {
    let yaml = profile("a", "ingress: [{ action: Deny, protocol: UDP }]")
        + &profile("b", "ingress: [{ action: Allow }]");
    assert!(with("a, b", &yaml).lets_in("10.0.0.1", 80));
}

#[test]
fn pass_in_a_profile_denies() {
    let yaml =
        profile("a", "ingress: [{ action: Pass }]") + &profile("b", "ingress: [{ action: Allow }]");
    let outcome = with("a, b", &yaml).to_db("10.0.0.1", 80);
    assert_eq!(outcome.decision, Decision::Deny);
    assert_eq!(steps(&outcome), ["profile a#0 Pass"]);
}

#[test]
fn log_in_a_profile_goes_on() {
    let yaml = profile("a", "ingress: [{ action: Log }, { action: Allow }]");
    let outcome = with("a", &yaml).to_db("10.0.0.1", 80);
    assert_eq!(steps(&outcome), ["profile a#0 Log", "profile a#1 Allow"]);
}

#[test]
fn a_profile_that_is_missing_denies_in_its_place() {
    assert!(!with("gone, kns.a", "").lets_in("10.0.0.1", 80));
    assert!(with("kns.a, gone", "").lets_in("10.0.0.1", 80), "it comes too late");
}

#[test]
fn the_built_in_profile_allows_everything() {
    assert!(with("projectcalico-default-allow", "").lets_in("9.9.9.9", 80));
}

#[test]
fn an_endpoints_own_label_beats_an_inherited_one_and_the_first_profile_the_others() {
    let yaml = profile("one", "labelsToApply: { app: other, rank: one }")
        + &profile("two", "labelsToApply: { rank: two, tail: end }");
    let selects = |selector: &str| {
        let deny = global("deny", &format!("selector: \"{selector}\", types: [Ingress]"));
        let allow = profile("ok", "ingress: [{ action: Allow }]");
        !with("one, two, ok", &(yaml.clone() + &deny + &allow)).lets_in("10.0.0.1", 80)
    };
    assert!(selects("app == 'db'") && !selects("app == 'other'"));
    assert!(selects("rank == 'one'") && !selects("rank == 'two'"));
    assert!(selects("tail == 'end'"));
}

#[test]
fn rules_of_profiles_may_select() {
    let yaml = profile("a", "ingress: [{ action: Allow, source: { selector: app == 'web' } }]");
    assert!(with("a", &yaml).lets_in("10.0.1.1", 80));
    assert!(!with("a", &yaml).lets_in("10.0.0.9", 80));
}
