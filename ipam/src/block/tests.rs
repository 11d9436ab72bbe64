use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::*;

fn owner() -> Owner {
    Owner { node: "node1".try_into().unwrap(), instance: "one".try_into().unwrap() }
}

fn held(handle: &str) -> Held {
    Held {
        handle: handle.try_into().unwrap(),
        node: "node1".try_into().unwrap(),
        serial: 0,
        since: UnixMillis(1),
        attributes: BTreeMap::from([("pod".to_owned(), handle.to_owned())]).into(),
    }
}

fn block(cidr: &str) -> Block {
    Block::new("pool1", cidr.parse().unwrap(), owner(), UnixMillis(1000)).unwrap()
}

const NO_COOLDOWN: Duration = Duration::ZERO;

#[test]
fn a_new_block_gives_its_addresses_in_order_the_first_and_the_last_too() {
    let mut block = block("10.0.0.0/30");
    block.begin(UnixMillis(1000), NO_COOLDOWN);
    let taken = block.assign(9, &held("h"), |_| false);
    let addresses: Vec<String> = taken.iter().map(|at| block.address(*at).to_string()).collect();
    assert_eq!(addresses, ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"]);
}

#[test]
fn a_released_address_goes_to_the_end_of_the_queue() {
    let mut block = block("10.0.0.0/30");
    block.begin(UnixMillis(1000), NO_COOLDOWN);
    let first = block.assign(1, &held("h"), |_| false);
    assert!(block.release(first[0], UnixMillis(1000), NO_COOLDOWN));
    let order: Vec<u16> = block.free().map(|at| at.0).collect();
    assert_eq!(order, [1, 2, 3, 0]);
    assert!(!block.release(first[0], UnixMillis(1000), NO_COOLDOWN), "twice changes nothing");
}

#[test]
fn a_skipped_address_keeps_its_place_in_the_queue() {
    let mut block = block("10.0.0.0/30");
    block.begin(UnixMillis(1000), NO_COOLDOWN);
    let taken = block.assign(2, &held("h"), |address| address.to_string() == "10.0.0.0");
    assert_eq!(taken, [Ordinal(1), Ordinal(2)]);
    assert_eq!(block.free().next(), Some(Ordinal(0)));
}

#[test]
fn a_cooling_address_is_neither_held_nor_free_until_its_time_has_come() {
    let (mut block, cooldown) = (block("10.0.0.0/31"), Duration::from_secs(30));
    block.begin(UnixMillis(1000), cooldown);
    block.assign(2, &held("h"), |_| false);
    block.release(Ordinal(1), UnixMillis(1000), cooldown);
    block.release(Ordinal(0), UnixMillis(2000), cooldown);
    assert!(block.assign(1, &held("i"), |_| false).is_empty());
    assert!(!block.is_empty(UnixMillis(31_999), cooldown), "cooling is not empty");
    block.begin(UnixMillis(31_000), cooldown);
    assert_eq!(block.free().collect::<Vec<_>>(), [Ordinal(1)]);
    assert!(block.is_empty(UnixMillis(32_000), cooldown), "nobody has to write it to say so");
    block.begin(UnixMillis(32_000), cooldown);
    assert_eq!(block.free().collect::<Vec<_>>(), [Ordinal(1), Ordinal(0)], "longest idle first");
}

#[test]
fn a_release_in_the_future_cools_down_from_now() {
    let (mut block, cooldown) = (block("10.0.0.0/32"), Duration::from_secs(30));
    block.begin(UnixMillis(0), cooldown);
    block.assign(1, &held("h"), |_| false);
    block.release(Ordinal(0), UnixMillis(3_600_000), cooldown);
    block.begin(UnixMillis(1000), cooldown);
    block.begin(UnixMillis(31_000), cooldown);
    assert_eq!(block.free().count(), 1, "one cool-down, not an hour");
}

#[test]
fn a_block_is_read_as_it_was_written() {
    let mut block = block("fd00::/124");
    block.begin(UnixMillis(5000), Duration::from_secs(1));
    block.assign(3, &held("h"), |_| false);
    block.release(Ordinal(1), UnixMillis(5000), Duration::from_secs(1));
    block.assign_exactly(Ordinal(9), &held("i"));
    assert_eq!(Block::from_json(&block.to_json()), Ok(block));
}

#[test]
fn an_unknown_field_version_or_shape_is_refused() {
    let text = String::from_utf8(block("10.0.0.0/30").to_json().to_vec()).unwrap();
    let with = |from: &str, to: &str| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from} is there");
        Block::from_json(changed.as_bytes()).unwrap_err()
    };
    assert!(matches!(with("\"pool\"", "\"colour\":1,\"pool\""), BlockError::Json(_)));
    assert_eq!(with("\"version\":1", "\"version\":2"), BlockError::Version(2));
    assert_eq!(
        with("10.0.0.0/30", "10.0.0.1/30"),
        BlockError::Unmasked("10.0.0.1/30".parse().unwrap())
    );
    assert_eq!(
        with("10.0.0.0/30", "10.0.0.0/19"),
        BlockError::Length("10.0.0.0/19".parse().unwrap())
    );
    assert!(matches!(with("node1", ""), BlockError::Name(NameError::Empty(_))));
    assert!(matches!(Block::from_json(b"{}"), Err(BlockError::Json(_))));
}

#[test]
fn ordinals_that_do_not_add_up_are_told_and_mended() {
    let text = String::from_utf8(block("10.0.0.0/30").to_json().to_vec()).unwrap();
    let changed = text.replace("[[0,3]]", "[[0,1],[1,1],[7,7]]");
    let Err(BlockError::Ordinals { faults, mended }) = Block::from_json(changed.as_bytes()) else {
        panic!("it must be refused")
    };
    let expected = [
        Fault::Doubled(Ordinal(1)),
        Fault::Outside(Ordinal(7)),
        Fault::Lost(Ordinal(2)),
        Fault::Lost(Ordinal(3)),
    ];
    assert_eq!(faults, expected);
    assert_eq!(mended.free().map(|at| at.0).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let endless = text.replace("[[0,3]]", "[[0,65535],[0,65535],[0,65535]]");
    assert!(matches!(Block::from_json(endless.as_bytes()), Err(BlockError::Json(_))));
}

#[test]
fn a_handle_has_no_control_characters_and_is_not_empty() {
    assert_eq!(Handle::try_from(""), Err(NameError::Empty("the handle")));
    assert_eq!(Handle::try_from("a\rb"), Err(NameError::Control("the handle")));
    assert!(matches!(Handle::try_from("x".repeat(513).as_str()), Err(NameError::Long { .. })));
}

/// A block as slowly and plainly as can be.
#[derive(Default)]
struct Naive {
    held: BTreeMap<u16, String>,
    cooling: Vec<(u64, u16)>,
    free: Vec<u16>,
}

impl Naive {
    fn begin(&mut self, now: u64, cooldown: u64) {
        self.cooling.sort_unstable();
        while let Some((since, at)) = self.cooling.first().copied() {
            if since + cooldown > now {
                break;
            }
            self.cooling.remove(0);
            self.free.push(at);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Assign(usize),
    Exactly(u16),
    Release(u16),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..4_usize).prop_map(Step::Assign),
        (0..20_u16).prop_map(Step::Exactly),
        (0..16_u16).prop_map(Step::Release),
        (0..8_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn a_block_does_what_a_naive_one_does(
        steps in prop::collection::vec(step(), 1..80),
        cooldown in 0..6_u64,
    ) {
        let wait = Duration::from_millis(cooldown);
        let mut block = block("10.0.0.0/28");
        let mut naive = Naive { free: (0..16).collect(), ..Naive::default() };
        let mut now = 1000;
        for (at, step) in steps.iter().enumerate() {
            let serial = block.serial();
            block.begin(UnixMillis(now), wait);
            prop_assert!(block.serial() > serial);
            naive.begin(now, cooldown);
            let name = format!("h{at}");
            match step {
                Step::Assign(n) => {
                    let taken = block.assign(*n, &held(&name), |_| false);
                    let n = (*n).min(naive.free.len());
                    let expected: Vec<u16> = naive.free.drain(..n).collect();
                    prop_assert_eq!(taken.iter().map(|at| at.0).collect::<Vec<_>>(), expected.clone());
                    naive.held.extend(expected.into_iter().map(|at| (at, name.clone())));
                }
                Step::Exactly(at) => {
                    let can = *at < 16 && !naive.held.contains_key(at);
                    prop_assert_eq!(block.assign_exactly(Ordinal(*at), &held(&name)), can);
                    if can {
                        naive.free.retain(|free| free != at);
                        naive.cooling.retain(|(_, cooling)| cooling != at);
                        naive.held.insert(*at, name);
                    }
                }
                Step::Release(at) => {
                    let was = naive.held.remove(at).is_some();
                    prop_assert_eq!(block.release(Ordinal(*at), UnixMillis(now), wait), was);
                    if was && cooldown == 0 {
                        naive.free.push(*at);
                    } else if was {
                        naive.cooling.push((now, *at));
                    }
                }
                Step::Pass(time) => now += time,
            }
            prop_assert_eq!(block.free().map(|at| at.0).collect::<Vec<_>>(), naive.free.clone());
            let names: BTreeMap<u16, String> =
                block.held().map(|(at, held)| (at.0, held.handle.to_string())).collect();
            prop_assert_eq!(&names, &naive.held);
            prop_assert_eq!(block.size(), 16);
            prop_assert_eq!(Block::from_json(&block.to_json()), Ok(block.clone()));
        }
    }

    #[test]
    fn no_octets_make_the_reader_panic(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Block::from_json(&octets);
    }
}
