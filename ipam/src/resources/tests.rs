use margay_model::{
    Object,
    kinds::{Condition, Conditions, IpPoolSpec, IpReservationSpec, IpamConfigurationSpec},
};

use super::*;

fn v3(name: &str, cidr: &str, change: impl FnOnce(&mut IpPoolSpec)) -> IpPool {
    let mut spec = IpPoolSpec::new(cidr.parse().unwrap());
    change(&mut spec);
    Object::new(name, spec)
}

fn labels(rack: &str) -> Labels {
    [("rack".to_owned(), rack.to_owned())].into()
}

fn selector(text: &str) -> Option<Selector> {
    Some(text.parse().unwrap())
}

#[test]
fn a_pool_with_nothing_said_is_open_to_all_for_workloads_and_tunnels() {
    let pool = pool(&v3("a", "10.0.0.0/16", |_| {}), &Labels::new());
    assert_eq!(pool, Pool::new("a", "10.0.0.0/16".parse().unwrap(), 26).unwrap());
    let six = self::pool(&v3("b", "fd00::/64", |_| {}), &Labels::new());
    assert_eq!(six.block_size, 122);
}

#[test]
fn a_node_selector_is_evaluated_for_this_node() {
    let racked = v3("a", "10.0.0.0/16", |spec| spec.node_selector = selector("rack == 'r1'"));
    assert!(pool(&racked, &labels("r1")).selects_node);
    assert!(!pool(&racked, &labels("r2")).selects_node);
}

#[test]
fn a_namespace_selector_keeps_other_namespaces_and_tunnels_out() {
    let pools = [
        v3("a", "10.0.0.0/16", |spec| spec.namespace_selector = selector("rack == 'r1'")),
        v3("b", "10.1.0.0/16", |_| {}),
    ];
    assert!(not_for_namespace(&pools, &labels("r1")).is_empty());
    assert_eq!(not_for_namespace(&pools, &Labels::new()), ["a".to_owned()].into());
}

#[test]
fn a_pool_that_ends_or_is_not_allocatable_is_disabled() {
    let open = v3("a", "10.0.0.0/16", |_| {});
    let mut ending = open.clone();
    ending.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".into());
    assert!(pool(&ending, &Labels::new()).disabled);
    let mut overlapping = open.clone();
    let condition = |status| Condition {
        kind: "Allocatable".into(),
        status,
        observed_generation: None,
        last_transition_time: None,
        reason: None,
        message: None,
    };
    overlapping.status = Some(Conditions { conditions: vec![condition(ConditionStatus::False)] });
    assert!(pool(&overlapping, &Labels::new()).disabled);
    overlapping.status = Some(Conditions { conditions: vec![condition(ConditionStatus::True)] });
    assert!(!pool(&overlapping, &Labels::new()).disabled);
    let closed = v3("a", "10.0.0.0/16", |spec| spec.disabled = Some(true));
    assert!(pool(&closed, &Labels::new()).disabled);
}

#[test]
fn uses_and_mode_are_taken_over() {
    let services = v3("a", "10.0.0.0/16", |spec| {
        spec.allowed_uses = Some(vec![AllowedUse::LoadBalancer]);
        spec.assignment_mode = Some(Mode::Manual);
    });
    let pool = pool(&services, &Labels::new());
    assert_eq!((pool.uses, pool.mode), ([Use::LoadBalancer].into(), AssignmentMode::Manual));
}

#[test]
fn reservations_of_several_resources_are_one() {
    let reservation = |cidr: &str| {
        let spec = IpReservationSpec { reserved_cidrs: vec![cidr.parse().unwrap()] };
        Object::new(cidr.replace(['.', '/'], "-"), spec)
    };
    let all = [reservation("10.0.0.0/27"), reservation("10.0.0.32/27"), reservation("10.0.1.1")];
    let all = reservations(&all);
    assert!(all.covers("10.0.0.0/26".parse().unwrap()));
    assert!(all.contains("10.0.1.1".parse().unwrap()));
}

#[test]
fn settings_come_from_the_configuration_or_are_the_defaults() {
    assert_eq!(settings(None), Settings::default());
    let spec = IpamConfigurationSpec {
        strict_affinity: Some(true),
        max_blocks_per_host: Some(3),
        auto_allocate_blocks: None,
        kube_virt_vm_address_persistence: None,
        ip_cooldown_seconds: Some(0),
    };
    let settings = settings(Some(&Object::new("default", spec)));
    let expected = Settings {
        strict_affinity: true,
        max_blocks_per_host: 3,
        cooldown: Duration::ZERO,
        ..Settings::default()
    };
    assert_eq!(settings, expected);
}
