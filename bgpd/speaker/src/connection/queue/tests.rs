use super::*;

fn octets(len: usize) -> Bytes {
    Bytes::from(vec![0; len])
}

#[test]
fn control_goes_before_updates() {
    let queue = SendQueue::default();
    queue.push_updates(0, octets(100), 1);
    queue.push_control(octets(19));
    let mut batch = VecDeque::new();
    assert_eq!(queue.next(&mut batch), Next::Write { drained: 0, updates: 1 });
    assert_eq!(batch.iter().map(Bytes::len).collect::<Vec<_>>(), [19, 100]);
    batch.clear();
    assert_eq!(queue.next(&mut batch), Next::Wait);
}

#[test]
fn a_full_queue_says_so_and_names_who_may_go_on_once_drained() {
    let queue = SendQueue::default();
    assert_eq!(queue.push_updates(0, octets(HIGH_WATER - 1), 1), Pushed::Room);
    assert_eq!(queue.push_updates(2, octets(1), 1), Pushed::Full);
    assert_eq!(queue.octets(), HIGH_WATER);
    let mut batch = VecDeque::new();
    assert_eq!(queue.next(&mut batch), Next::Write { drained: 0b100, updates: 1 });
    batch.clear();
    // Told once only.
    assert_eq!(queue.next(&mut batch), Next::Write { drained: 0, updates: 1 });
}

#[test]
fn closing_drops_updates_but_not_the_notification() {
    let queue = SendQueue::default();
    queue.push_updates(0, octets(100), 1);
    queue.push_control(octets(21));
    queue.close();
    queue.push_updates(0, octets(100), 1);
    let mut batch = VecDeque::new();
    assert_eq!(queue.next(&mut batch), Next::Write { drained: 0, updates: 0 });
    assert_eq!(batch.iter().map(Bytes::len).collect::<Vec<_>>(), [21]);
    batch.clear();
    assert_eq!(queue.next(&mut batch), Next::Finished);
}

#[test]
fn one_write_is_bounded() {
    let queue = SendQueue::default();
    for _ in 0..1000 {
        queue.push_updates(0, octets(4096), 1);
    }
    let mut batch = VecDeque::new();
    queue.next(&mut batch);
    assert_eq!(batch.len(), 16);
}

#[test]
fn the_last_shard_to_end_ends_the_table_of_its_family() {
    let queue = SendQueue::default();
    assert!(!queue.is_last_end(Family::IPV4_UNICAST, 3));
    assert!(!queue.is_last_end(Family::IPV4_UNICAST, 3));
    assert!(!queue.is_last_end(Family::IPV6_UNICAST, 3));
    assert!(queue.is_last_end(Family::IPV4_UNICAST, 3));
}
