use super::*;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn node(name: &str) -> NodeName {
    name.try_into().unwrap()
}

/// Knows since the beginning that there is no lease.
fn none() -> Leases {
    let mut leases = Leases::new(secs(10));
    leases.replace(&[], Revision(0), secs(0));
    leases
}

#[test]
fn a_node_counts_as_alive_while_its_lease_is_there_and_for_its_grace_afterwards() {
    let (mut leases, n1) = (none(), node("n1"));
    leases.apply(&n1, Some(Revision(1)), Revision(1), secs(100));
    assert!(leases.is_alive(&n1, secs(1_000_000)));
    leases.apply(&n1, None, Revision(7), secs(200));
    assert!(leases.is_alive(&n1, secs(209)));
    assert_eq!(leases.alive(secs(209)).collect::<Vec<_>>(), [&n1]);
    assert_eq!(leases.next_end(secs(209)), Some(secs(210)));
    assert!(!leases.is_alive(&n1, secs(210)));
    assert_eq!(leases.alive(secs(210)).count(), 0);
    assert_eq!(leases.next_end(secs(210)), None);
}

#[test]
fn news_from_before_a_lease_ended_change_nothing() {
    let (mut leases, n1) = (none(), node("n1"));
    leases.apply(&n1, Some(Revision(6)), Revision(6), secs(100));
    leases.apply(&n1, None, Revision(7), secs(101));
    leases.apply(&n1, Some(Revision(6)), Revision(6), secs(102));
    assert_eq!((leases.of(&n1), leases.news(&n1)), (None, Revision(7)));
    leases.apply(&n1, Some(Revision(8)), Revision(8), secs(103));
    leases.apply(&n1, None, Revision(7), secs(104));
    assert_eq!(leases.of(&n1), Some(Revision(8)));
}

#[test]
fn after_all_leases_ended_together_everybody_has_time_to_come_back() {
    let (mut leases, n1, n2) = (none(), node("n1"), node("n2"));
    let held = [(n1.clone(), Revision(1)), (n2.clone(), Revision(2))];
    leases.replace(&held, Revision(2), secs(100));
    assert_eq!(leases.first_alive(secs(100)), Some(&n1));
    // The datastore was away for an hour and comes back without any.
    leases.replace(&[], Revision(9), secs(3700));
    assert_eq!(leases.alive(secs(3709)).count(), 2);
    leases.apply(&n2, Some(Revision(10)), Revision(10), secs(3705));
    assert_eq!(leases.first_alive(secs(3709)), Some(&n1), "its lease ended a moment ago");
    assert_eq!(leases.alive(secs(3710)).collect::<Vec<_>>(), [&n2]);
    assert_eq!(leases.first_alive(secs(3710)), Some(&n2));
    assert!(!leases.is_alive(&n1, secs(3710)));
}

#[test]
fn a_node_never_heard_of_counts_as_alive_for_a_while_after_the_first_list() {
    let mut leases = Leases::new(secs(10));
    assert!(leases.is_alive(&node("n1"), secs(1000)), "nothing is known yet");
    leases.replace(&[], Revision(1), secs(1000));
    leases.replace(&[], Revision(2), secs(1009));
    assert!(leases.is_alive(&node("n1"), secs(1009)));
    assert!(!leases.is_alive(&node("n1"), secs(1010)));
}
