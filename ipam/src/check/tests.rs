use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    block::{Ordinal, Owner},
    pool::Pool,
};

struct Lab {
    view: View,
    pools: Pools,
    settings: Settings,
    nodes: BTreeSet<NodeName>,
    gone: BTreeSet<NodeName>,
    used: Option<Vec<Used>>,
    pools_missing: bool,
    revision: u64,
}

const NOW: UnixMillis = UnixMillis(1_000_000);

fn attributes() -> BTreeMap<String, String> {
    [("pod", "p"), ("namespace", "n")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}

fn used(handle: &str, address: &str) -> Used {
    Used {
        address: address.parse().unwrap(),
        handle: handle.try_into().unwrap(),
        node: "n1".try_into().unwrap(),
        attributes: attributes(),
    }
}

impl Lab {
    fn new() -> Self {
        let pool = Pool::new("a", "10.0.0.0/28".parse().unwrap(), 30).unwrap();
        Self {
            view: View::default(),
            pools: Pools::new([pool]),
            settings: Settings::default(),
            nodes: ["n1".try_into().unwrap()].into(),
            gone: ["gone".try_into().unwrap()].into(),
            used: None,
            pools_missing: false,
            revision: 0,
        }
    }

    fn block(&mut self, cidr: &str, node: &str, handles: &[&str], change: impl Fn(&mut Block)) {
        let owner = Owner { node: node.try_into().unwrap(), instance: "one".try_into().unwrap() };
        let mut block = Block::new("a", cidr.parse().unwrap(), owner, UnixMillis(1)).unwrap();
        block.begin(UnixMillis(1), Duration::ZERO);
        for handle in handles {
            let mut user = used(handle, "10.0.0.0");
            user.node = node.try_into().unwrap();
            block.assign(1, &held(&user, UnixMillis(1)), |_| false);
        }
        change(&mut block);
        self.revision += 1;
        let (cidr, revision) = (block.cidr(), Revision(self.revision));
        self.view.put(cidr, revision, Stored::Sound(Arc::new(block)));
    }

    fn octets(&mut self, cidr: &str, octets: &[u8]) {
        self.revision += 1;
        let cidr = cidr.parse().unwrap();
        self.view.put(cidr, Revision(self.revision), Stored::read(cidr, octets));
    }

    fn check(&self) -> Report {
        check(Facts {
            view: &self.view,
            pools: &self.pools,
            settings: &self.settings,
            gone: &self.gone,
            nodes: Some(&self.nodes),
            used: self.used.as_deref(),
            pools_missing: self.pools_missing,
            now: NOW,
        })
    }

    /// The kinds found, after which the mending is written and leaves nothing to find.
    fn found(&mut self) -> Vec<Kind> {
        let report = self.check();
        assert!(report.problems.iter().all(|problem| problem.by_hand.is_none()));
        for step in &report.steps {
            assert_eq!(self.view.entry(step.cidr).map(|entry| entry.revision), step.base);
            self.revision += 1;
            match &step.after {
                Some(block) => {
                    let stored = Stored::read(step.cidr, &block.to_json());
                    self.view.put(step.cidr, Revision(self.revision), stored)
                }
                None => self.view.remove(step.cidr, Revision(self.revision)),
            };
        }
        assert_eq!(self.check().problems, [], "clean after the mending");
        report.problems.into_iter().map(|problem| problem.kind).collect()
    }

    fn holder(&self, address: &str) -> Option<String> {
        let address = address.parse().unwrap();
        self.view.blocks().find_map(|block| match block.slot(block.ordinal(address)?)? {
            Slot::Held(held) => Some(held.handle.to_string()),
            _ => None,
        })
    }
}

#[test]
fn a_sound_cluster_has_nothing_wrong() {
    let mut lab = Lab::new();
    lab.block("10.0.0.0/30", "n1", &["h"], |_| {});
    lab.used = Some(vec![used("h", "10.0.0.0"), used("x", "192.0.2.1")]);
    assert_eq!(lab.check(), Report::default());
}

#[test]
fn ordinals_that_do_not_add_up_are_put_right() {
    let mut lab = Lab::new();
    lab.block("10.0.0.0/30", "n1", &["h"], |_| {});
    let cidr = "10.0.0.0/30".parse().unwrap();
    let text = lab.view.block(cidr).unwrap().1.to_json();
    let text = String::from_utf8(text.to_vec()).unwrap().replace("[[1,3]]", "[[0,2]]");
    lab.octets("10.0.0.0/30", text.as_bytes());
    assert_eq!(lab.found(), [Kind::BlockOrdinals, Kind::BlockOrdinals]);
    assert_eq!(lab.holder("10.0.0.0").as_deref(), Some("h"), "what is held stays held");
}

#[test]
fn a_block_that_cannot_be_read_is_made_anew_from_what_is_in_use() {
    let mut lab = Lab::new();
    lab.octets("10.0.0.0/30", b"nonsense");
    let report = lab.check();
    assert!(report.problems[0].by_hand.is_some(), "not without knowing what is in use");
    assert!(report.steps.is_empty());
    lab.used = Some(vec![used("h", "10.0.0.2")]);
    assert_eq!(lab.found(), [Kind::BlockUnreadable]);
    assert_eq!(lab.holder("10.0.0.2").as_deref(), Some("h"));
    let (_, block) = lab.view.block("10.0.0.0/30".parse().unwrap()).unwrap();
    assert_eq!(block.cooling().count(), 3, "whoever had the others may still send");
    lab.octets("10.0.0.0/30", b"nonsense");
    lab.used = Some(vec![]);
    assert_eq!(lab.found(), [Kind::BlockUnreadable]);
    assert!(lab.view.is_empty());
}

#[test]
fn a_block_of_a_newer_version_is_left_alone() {
    let mut lab = Lab::new();
    lab.used = Some(vec![]);
    lab.octets("10.0.0.0/30", b"{\"version\":2}");
    let report = lab.check();
    assert!(report.problems[0].by_hand.as_deref().is_some_and(|text| text.contains("upgrade")));
    assert!(report.steps.is_empty());
}

#[test]
fn of_two_blocks_that_overlap_the_emptier_gives_way() {
    let mut lab = Lab::new();
    lab.block("10.0.0.0/28", "n1", &["h", "i"], |_| {});
    lab.block("10.0.0.4/30", "n1", &[], |_| {});
    assert_eq!(lab.found(), [Kind::BlocksOverlap]);
    assert_eq!(lab.view.len(), 1);
    lab.block("10.0.0.4/30", "n1", &["j"], |_| {});
    assert_eq!(lab.found(), [Kind::BlocksOverlap]);
    let (_, block) = lab.view.block("10.0.0.4/30".parse().unwrap()).unwrap();
    assert_eq!(block.state(), BlockState::Draining);
}

#[test]
fn pools_that_overlap_are_for_a_person_to_part() {
    let mut lab = Lab::new();
    let pool = |name, cidr: &str| Pool::new(name, cidr.parse().unwrap(), 30).unwrap();
    let disabled = Pool { disabled: true, ..pool("b", "10.0.0.8/29") };
    lab.pools = Pools::new([pool("a", "10.0.0.0/28"), disabled, pool("c", "10.0.1.0/28")]);
    lab.block("10.0.0.0/30", "n1", &["h"], |_| {});
    let report = lab.check();
    let [problem] = &report.problems[..] else { panic!("{report:?}") };
    assert_eq!(problem.kind, Kind::PoolsOverlap);
    assert_eq!(problem.detail, "pool b (10.0.0.8/29) overlaps pool a (10.0.0.0/28)");
    assert!(problem.by_hand.is_some() && report.steps.is_empty(), "{report:?}");
}

#[test]
fn a_block_outside_all_pools_is_emptied() {
    let mut lab = Lab::new();
    lab.block("10.9.0.0/30", "n1", &["h"], |_| {});
    lab.block("10.9.0.4/30", "n1", &[], |_| {});
    assert_eq!(lab.found(), [Kind::BlockOutsidePools, Kind::BlockOutsidePools]);
    assert_eq!(lab.view.len(), 1, "the empty one is gone at once");
}

#[test]
fn what_a_gone_node_has_is_taken_back() {
    let mut lab = Lab::new();
    lab.settings.cooldown = Duration::ZERO;
    lab.block("10.0.0.0/30", "gone", &["h"], |_| {});
    lab.block("10.0.0.4/30", "gone", &["i"], |block| {
        // Of a live node, borrowed.
        block.hand_over(Ordinal(0), &held(&used("i", "10.0.0.4"), NOW));
    });
    assert_eq!(
        lab.found(),
        [Kind::BlockOfGoneNode, Kind::AddressOfGoneNode, Kind::BlockOfGoneNode]
    );
    assert_eq!(lab.holder("10.0.0.4").as_deref(), Some("i"));
    assert_eq!(lab.view.len(), 1);
}

#[test]
fn a_node_without_a_resource_that_is_silent_keeps_all_it_has_until_a_person_says_it_is_gone() {
    let mut lab = Lab::new();
    lab.block("10.0.0.0/30", "silent", &["h"], |_| {});
    let report = lab.check();
    assert!(report.steps.is_empty());
    let kinds: Vec<Kind> = report.problems.iter().map(|problem| problem.kind).collect();
    assert_eq!(kinds, [Kind::BlockOfGoneNode]);
    assert!(report.problems.iter().all(|problem| problem.by_hand.is_some()));
    lab.nodes.insert("silent".try_into().unwrap());
    assert_eq!(lab.check(), Report::default());
}

#[test]
fn a_release_in_the_future_is_set_to_now() {
    let mut lab = Lab::new();
    lab.block("10.0.0.0/30", "n1", &["h"], |block| {
        block.release(Ordinal(0), UnixMillis(NOW.0 + 5), Duration::from_secs(30));
    });
    assert_eq!(lab.found(), [Kind::ReleasedInFuture]);
}

#[test]
fn what_nobody_uses_is_told_all_of_a_handle_or_none() {
    let mut lab = Lab::new();
    lab.block("10.0.0.0/30", "n1", &["h", "h", "i", "i"], |_| {});
    lab.used = Some(vec![used("h", "10.0.0.0")]);
    let report = lab.check();
    let told: Vec<_> = report.problems.iter().map(|it| (it.kind, it.address)).collect();
    let unused = |address: &str| (Kind::AddressUnused, Some(address.parse().unwrap()));
    assert_eq!(told, [unused("10.0.0.2"), unused("10.0.0.3")], "the handle of .1 is in use");
    assert!(report.problems.iter().all(|problem| problem.by_hand.is_some()));
    assert!(report.steps.is_empty(), "it may be in use the next moment");
    // Who has just been given an address is about to use it.
    let mut lab = Lab::new();
    lab.block("10.0.0.0/30", "n1", &[], |block| {
        let held = Held { since: UnixMillis(NOW.0 - 14_000), ..held(&used("h", "10.0.0.0"), NOW) };
        block.assign_exactly(Ordinal(0), &held);
    });
    lab.used = Some(Vec::new());
    assert_eq!(lab.check().problems, []);
}

#[test]
fn what_is_emptied_for_a_reason_that_is_gone_is_used_again() {
    let mut lab = Lab::new();
    lab.block("10.9.9.0/30", "n1", &["h"], |_| {});
    // A pool that cannot be read may be the one it lies in.
    lab.pools_missing = true;
    assert_eq!(lab.check().problems, []);
    lab.pools_missing = false;
    let draining = lab.check().steps[0].after.clone().unwrap();
    assert_eq!(draining.state(), BlockState::Draining);
    let mut lab = Lab::new();
    lab.block("10.0.0.0/30", "n1", &["h"], |block| block.set_state(BlockState::Draining));
    assert_eq!(lab.found(), [Kind::BlockDraining]);
    assert_eq!(lab.holder("10.0.0.0").as_deref(), Some("h"));
}

#[test]
fn what_is_used_and_not_held_is_given_to_its_user() {
    let mut lab = Lab::new();
    lab.block("10.0.0.0/30", "n1", &["old"], |_| {});
    lab.used = Some(vec![used("new", "10.0.0.0"), used("i", "10.0.0.1"), used("j", "10.0.0.9")]);
    assert_eq!(
        lab.found(),
        [Kind::AddressOfOtherHandle, Kind::AddressUnallocated, Kind::AddressUnallocated]
    );
    let holders: Vec<_> =
        ["10.0.0.0", "10.0.0.1", "10.0.0.9"].map(|at| lab.holder(at).unwrap()).into();
    assert_eq!(holders, ["new", "i", "j"]);
}

#[test]
fn an_address_two_use_is_for_a_person_to_decide() {
    let mut lab = Lab::new();
    lab.block("10.0.0.0/30", "n1", &["h"], |_| {});
    lab.used = Some(vec![used("h", "10.0.0.0"), used("i", "10.0.0.0")]);
    let report = lab.check();
    assert_eq!(report.problems[0].kind, Kind::AddressUsedTwice);
    assert_eq!(report.problems[0].detail, "used by h and i");
    assert!(report.problems[0].by_hand.is_some() && report.steps.is_empty());
}

/// Several things wrong at once, as seeds have it. A handle is of one node, as a container is.
fn messy(seed: u64) -> Lab {
    let mut state = seed;
    let mut dice = move |below: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    };
    let mut lab = Lab::new();
    if dice(2) == 0 {
        lab.settings.cooldown = Duration::ZERO;
    }
    for _ in 0..1 + dice(5) {
        let length = 28 + dice(3);
        let third = [0, 0, 0, 9][usize::try_from(dice(4)).unwrap()];
        let cidr: IpNet = format!("10.0.{third}.{}/{length}", dice(16)).parse().unwrap();
        let cidr = cidr.trunc().to_string();
        let node = ["n1", "n1", "gone"][usize::try_from(dice(3)).unwrap()];
        let handles: Vec<String> = (0..dice(4)).map(|_| format!("{node}-h{}", dice(5))).collect();
        let handles: Vec<&str> = handles.iter().map(String::as_str).collect();
        let (early, kind) = (dice(3) == 0, dice(6));
        lab.block(&cidr, node, &handles, |block| {
            if early {
                let future = UnixMillis(NOW.0 + 5);
                block.release(Ordinal(0), future, Duration::from_secs(30));
            }
        });
        match kind {
            0 => lab.octets(&cidr, b"nonsense"),
            1 => {
                let (_, block) = lab.view.block(cidr.parse().unwrap()).unwrap();
                let text = String::from_utf8(block.to_json().to_vec()).unwrap();
                let text = text.replace("\"free\":[[", "\"free\":[[0,1],[");
                lab.octets(&cidr, text.as_bytes());
            }
            _ => {}
        }
    }
    if dice(3) > 0 {
        let mut all = BTreeMap::new();
        for _ in 0..dice(6) {
            let address = format!("10.0.0.{}", dice(16));
            all.insert(address.clone(), used(&format!("n1-h{}", dice(6)), &address));
        }
        lab.used = Some(all.into_values().collect());
    }
    lab
}

#[test]
fn whatever_is_wrong_at_once_one_mending_leaves_only_what_a_person_must_decide() {
    for seed in 0..10_000 {
        let mut lab = messy(seed);
        let before = lab.check();
        for step in &before.steps {
            assert_eq!(lab.view.entry(step.cidr).map(|entry| entry.revision), step.base);
            lab.revision += 1;
            match &step.after {
                Some(block) => {
                    let stored = Stored::read(step.cidr, &block.to_json());
                    lab.view.put(step.cidr, Revision(lab.revision), stored)
                }
                None => lab.view.remove(step.cidr, Revision(lab.revision)),
            };
        }
        let after = lab.check();
        let left: Vec<_> = after.problems.iter().filter(|it| it.by_hand.is_none()).collect();
        assert!(left.is_empty(), "seed {seed}: {before:#?}\nand then {left:#?}");
        for user in lab.used.iter().flatten() {
            let of_hand = after.problems.iter().any(|it| it.address == Some(user.address));
            let address = user.address.to_string();
            let told = || format!("seed {seed}: {address}: {before:#?}");
            assert!(of_hand || lab.holder(&address) == Some(user.handle.to_string()), "{}", told());
        }
    }
}
