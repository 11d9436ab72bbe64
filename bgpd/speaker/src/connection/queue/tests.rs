use super::*;

fn octets(len: usize) -> Bytes {
    Bytes::from(vec![0; len])
}

#[test]
fn control_goes_before_updates() {
    let queue = SendQueue::default();
    queue.push_updates(0, octets(100), 1, 1);
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
    assert_eq!(queue.push_updates(0, octets(HIGH_WATER - 1), 1, 1), Pushed::Room);
    assert_eq!(queue.push_updates(2, octets(1), 1, 1), Pushed::Full);
    assert_eq!(queue.octets(), HIGH_WATER);
    let mut batch = VecDeque::new();
    assert_eq!(queue.next(&mut batch), Next::Write { drained: 0b100, updates: 1 });
    batch.clear();
    // Told once only.
    assert_eq!(queue.next(&mut batch), Next::Write { drained: 0, updates: 1 });
}

#[test]
fn octets_told_to_others_too_count_for_a_part() {
    let queue = SendQueue::default();
    assert_eq!(queue.push_updates(0, octets(2 * HIGH_WATER), 1, 1000), Pushed::Room);
    assert_eq!(queue.push_updates(0, octets(2 * HIGH_WATER), 1, 1000), Pushed::Full);
    assert_eq!(queue.octets(), 4 * HIGH_WATER);
    let mut batch = VecDeque::new();
    assert_eq!(queue.next(&mut batch), Next::Write { drained: 0, updates: 1 });
    assert_eq!(queue.next(&mut batch), Next::Write { drained: 1, updates: 1 });
    assert_eq!(queue.push_updates(0, octets(HIGH_WATER), 1, 1), Pushed::Full);
}

#[test]
fn closing_drops_updates_but_not_the_notification() {
    let queue = SendQueue::default();
    queue.push_updates(0, octets(100), 1, 1);
    queue.push_control(octets(21));
    queue.close();
    queue.push_updates(0, octets(100), 1, 1);
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
        queue.push_updates(0, octets(4096), 1, 1);
    }
    let mut batch = VecDeque::new();
    queue.next(&mut batch);
    assert_eq!(batch.len(), 16);
}

#[test]
fn the_last_shard_to_end_ends_the_table_of_its_family() {
    let queue = SendQueue::default();
    let (v4, v6) = (Family::IPV4_UNICAST, Family::IPV6_UNICAST);
    assert_eq!(queue.push_end_of_rib((0, 3), v4, octets(23)), None);
    assert_eq!(queue.push_end_of_rib((1, 3), v4, octets(23)), None);
    assert_eq!(queue.push_end_of_rib((0, 3), v6, octets(29)), None);
    assert_eq!(queue.octets(), 0);
    assert_eq!(queue.push_end_of_rib((2, 3), v4, octets(23)), Some(Pushed::Room));
    assert_eq!(queue.octets(), 23);
}

#[test]
fn brackets_stand_around_what_all_shards_send_again() {
    let queue = SendQueue::default();
    let family = Family::IPV4_UNICAST;
    let bracket =
        |shard, bracket, len| queue.push_bracket((shard, 2), family, bracket, octets(len));
    let begin = |request| Bracket::Begin { request };
    // Before the End-of-RIB there are none.
    assert_eq!(bracket(0, begin(1), 1), None);
    assert_eq!((bracket(0, Bracket::End, 2), bracket(1, begin(1), 1)), (None, None));
    assert_eq!(bracket(1, Bracket::End, 2), None);
    for shard in 0..2 {
        queue.push_end_of_rib((shard, 2), family, octets(23));
    }
    assert_eq!(bracket(1, begin(2), 1), Some(Pushed::Room));
    queue.push_updates(1, octets(100), 1, 1);
    assert_eq!((bracket(1, Bracket::End, 2), bracket(0, begin(2), 1)), (None, None));
    queue.push_updates(0, octets(101), 1, 1);
    assert_eq!(bracket(0, Bracket::End, 2), Some(Pushed::Room));
    let mut batch = VecDeque::new();
    assert_eq!(queue.next(&mut batch), Next::Write { drained: 0, updates: 3 });
    assert_eq!(batch.iter().map(Bytes::len).collect::<Vec<_>>(), [23, 1, 100, 101, 2]);
}
