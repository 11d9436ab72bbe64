use super::*;

fn lease(instance: &str) -> Lease {
    Lease { instance: instance.try_into().unwrap(), renewals: 3, ttl: Duration::from_secs(10) }
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_lease_is_read_as_it_was_written_and_nothing_else_is() {
    assert_eq!(Lease::from_json(&lease("one").to_json()), Ok(lease("one")));
    assert!(Lease::from_json(br#"{"version":2,"instance":"a","renewals":1,"ttl_ms":1}"#).is_err());
    assert!(Lease::from_json(br#"{"version":1,"instance":"","renewals":1,"ttl_ms":1}"#).is_err());
    assert!(
        Lease::from_json(br#"{"version":1,"instance":"a","renewals":1,"ttl_ms":1,"x":1}"#).is_err()
    );
}

#[test]
fn a_lease_ends_when_its_observer_saw_no_renewal_for_twice_its_time() {
    let (mut leases, node) = (Leases::default(), "n1".try_into().unwrap());
    let octets = lease("one").to_json();
    leases.apply(&node, Some((Revision(1), &octets)), Revision(1), secs(100));
    assert!(leases.is_alive(&node, secs(119)));
    // The same value seen again is no renewal.
    leases.apply(&node, Some((Revision(1), &octets)), Revision(5), secs(119));
    assert!(!leases.is_alive(&node, secs(120)));
    leases.apply(&node, Some((Revision(6), &octets)), Revision(6), secs(121));
    assert_eq!(leases.alive(secs(122)).collect::<Vec<_>>(), [&node]);
    leases.apply(&node, None, Revision(7), secs(122));
    assert!(!leases.is_alive(&node, secs(122)));
    leases.apply(&node, Some((Revision(6), &octets)), Revision(6), secs(123));
    assert!(leases.of(&node).is_none(), "news from before it was deleted");
}

#[test]
fn a_lease_that_cannot_be_read_or_promises_forever_ends_too() {
    let (mut leases, node) = (Leases::default(), "n1".try_into().unwrap());
    leases.apply(&node, Some((Revision(1), b"?")), Revision(1), secs(0));
    assert!(leases.is_alive(&node, secs(1199)));
    assert!(!leases.is_alive(&node, secs(1200)));
    let endless = Lease { ttl: Duration::MAX, ..lease("one") };
    leases.apply(&node, Some((Revision(2), &endless.to_json())), Revision(2), secs(0));
    assert!(!leases.is_alive(&node, secs(1200)));
}
