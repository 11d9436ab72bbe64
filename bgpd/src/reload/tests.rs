use super::*;

#[test]
fn a_change_does_not_wait_for_the_next_try_of_what_was_refused() {
    let now = Instant::now();
    assert_eq!(sooner(None, now), now + COALESCE);
    assert_eq!(sooner(Some(now + RETRY), now), now + COALESCE);
    let gathering = now + COALESCE / 2;
    assert_eq!(sooner(Some(gathering), now), gathering, "changes that go on put nothing off");
}

#[test]
fn who_follows_the_configuration_hears_only_of_another_one() {
    let (sender, mut receiver) = watch::channel(Arc::new(Desired::default()));
    publish(&sender, Desired::default());
    assert!(!receiver.has_changed().expect("the sender lives"));
    let mut other = Desired::default();
    other.fib.enabled = !other.fib.enabled;
    publish(&sender, other.clone());
    assert!(receiver.has_changed().expect("the sender lives"));
    assert_eq!(**receiver.borrow_and_update(), other);
}
