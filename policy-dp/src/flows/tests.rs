use std::{collections::BTreeMap, net::IpAddr};

use margay_model::{Kind, ResourceKey};
use policy_calc::{Direction, Header, Packet};
use policy_nft::seen::{Fate, Seen};

use super::{Flows, KEPT, Names, OPEN, WINDOW};

fn seen(last: [u8; 2], source: u16, fate: Fate) -> Seen {
    let packet = Packet {
        source: IpAddr::from([10, 0, 0, 1]),
        destination: IpAddr::from([10, 1, last[0], last[1]]),
        protocol: 6,
        header: Header::Ports { source, destination: 80 },
    };
    Seen { direction: Direction::Ingress, fate, by: "a rule".to_owned(), packet }
}

fn octets(n: usize) -> [u8; 2] {
    u16::try_from(n % 65_536).expect("below").to_be_bytes()
}

#[test]
fn packets_of_one_flow_make_one_record_with_the_names_of_its_ends() {
    let mut flows = Flows::default();
    let pod = ResourceKey {
        kind: Kind::WorkloadEndpoint,
        namespace: "shop".to_owned(),
        name: "here-k8s-db-eth0".to_owned(),
    };
    let names = BTreeMap::from([(IpAddr::from([10, 1, 0, 2]), pod.clone())]);
    for (now, port) in [(5000, 40_000), (5100, 40_001), (5900, 40_002)] {
        flows.see(now, seen([0, 2], port, Fate::Denied));
    }
    flows.see(5900, seen([0, 2], 40_003, Fate::Allowed));
    assert_eq!(flows.close(5000 + WINDOW - 1, &names), []);
    assert!(flows.gathers());
    let ended = flows.close(5000 + WINDOW, &names);
    assert_eq!(flows.keep(ended), 2);
    assert!(!flows.gathers());
    let (records, until) = flows.records(0);
    let told: Vec<_> = records.iter().map(|one| (one.flow.fate, one.packets, one.seen)).collect();
    assert_eq!(told, [(Fate::Allowed, 1, [5900, 5900]), (Fate::Denied, 3, [5000, 5900])]);
    assert!(records.iter().all(|one| one.ends == [None, Some(pod.clone())]));
    assert_eq!((until, flows.records(1).0.len(), flows.records(2).0.len()), (2, 1, 0));
    assert_eq!((flows.counts().allowed, flows.counts().denied), ([1, 0], [3, 0]));
}

#[test]
fn whatever_comes_takes_bounded_room_and_is_counted() {
    let mut flows = Flows::default();
    let mut made = 0;
    for window in 0..3_u64 {
        for n in 0..OPEN + 10 {
            flows.see(window * WINDOW, seen(octets(n), 1, Fate::Denied));
        }
        let ended = flows.close((window + 1) * WINDOW, &BTreeMap::new());
        made += ended.len();
        flows.keep(ended);
    }
    flows.lose(5);
    assert_eq!((made, flows.counts().lost), (3 * OPEN, 35));
    let (records, until) = flows.records(0);
    assert_eq!((records.len(), until), (KEPT, 3 * OPEN as u64));
    assert_eq!(flows.records(until - 1).0.len(), 1);
}

#[test]
fn a_clock_that_goes_back_ends_what_gathers() {
    let mut flows = Flows::default();
    flows.see(9000, seen([0, 2], 1, Fate::Allowed));
    assert_eq!(flows.close(10, &BTreeMap::new()).len(), 1);
}

#[test]
fn what_stands_for_a_description_becomes_that_and_a_prefix_is_apart() {
    let texts = BTreeMap::from([("cut~1".to_owned(), "whole|of logs".to_owned())]);
    let names = Names { texts: texts.into(), ..Names::default() };
    let described = |by: &str| {
        let mut seen = Seen { by: by.to_owned(), ..seen([0, 1], 1, Fate::Logged) };
        let prefix = names.describe(&mut seen);
        (seen.by, prefix)
    };
    assert_eq!(described("cut~1"), ("whole".to_owned(), Some("of logs".to_owned())));
    assert_eq!(described("cut~2"), ("cut~2".to_owned(), None));
    assert_eq!(described("short|x"), ("short".to_owned(), Some("x".to_owned())));
}
