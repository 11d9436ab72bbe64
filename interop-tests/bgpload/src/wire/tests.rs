use super::*;
use crate::decode::{self, Event, Lens};

const LENS: Lens = Lens {
    low: 64700,
    high: 64701,
    own_as: 65000,
    internal: false,
    deep: true,
    stamps: true,
    multiprotocol: true,
};

fn speaker() -> Speaker {
    Speaker {
        index: 0,
        marker: 64700,
        internal: false,
        next_hop: 0x0a63_0101,
        prefer_first: false,
        tag_as: 0,
    }
}

fn bodies(mut octets: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !octets.is_empty() {
        let length = usize::from(u16::from_be_bytes([octets[16], octets[17]]));
        assert!((HEADER..=4096).contains(&length));
        assert_eq!((octets[18], &octets[..16]), (UPDATE, [0xff; 16].as_slice()));
        found.push(&octets[HEADER..length]);
        octets = &octets[length..];
    }
    found
}

fn parts(table: &Table) -> Vec<Part> {
    let pairs = table.groups.windows(2).zip(0u32..);
    pairs.map(|(w, group)| Part { group, from: w[0], to: w[1] }).collect()
}

#[test]
fn what_is_announced_and_withdrawn_is_read_back() {
    for v6 in [0, 300, 1000] {
        let table = Table::generate(20_000, 7, 0, v6);
        let parts = parts(&table);
        let mut seen = vec![false; table.keys.len()];
        for body in bodies(&announce(&table, &speaker(), 7, &parts)) {
            decode::update(body, &LENS, |event| match event {
                Event::Announce(key, told) => {
                    assert_eq!((told.marker, told.stamp), (64700, 0));
                    assert!(!std::mem::replace(&mut seen[table.find(key, 0).unwrap()], true));
                }
                Event::Withdraw(_) => panic!("nothing was withdrawn"),
            })
            .unwrap();
        }
        assert!(seen.iter().all(|x| *x));
        for body in bodies(&withdraw(&table, &parts)) {
            decode::update(body, &LENS, |event| match event {
                Event::Withdraw(key) => {
                    assert!(std::mem::replace(&mut seen[table.find(key, 0).unwrap()], false));
                }
                Event::Announce(..) => panic!("nothing was announced"),
            })
            .unwrap();
        }
        assert!(seen.iter().all(|x| !*x));
    }
}

fn told(attributes: &[u8]) -> decode::Told {
    let mut body = vec![0, 0];
    body.extend_from_slice(&(attributes.len() as u16).to_be_bytes());
    body.extend_from_slice(attributes);
    body.extend_from_slice(&[24, 192, 0, 2]);
    let mut found = None;
    decode::update(&body, &LENS, |event| {
        if let Event::Announce(_, told) = event {
            found = Some(told);
        }
    })
    .unwrap();
    found.unwrap()
}

fn with_path(path: &[u32], communities: &[u32], origin: u8) -> decode::Told {
    let octets = |words: &[u32]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>();
    let mut out = Vec::new();
    attribute(&mut out, 0x40, 1, &[origin]);
    let mut value = vec![2, path.len() as u8];
    value.extend(octets(path));
    attribute(&mut out, 0x40, 2, &value);
    attribute(&mut out, 0xc0, 8, &octets(communities));
    told(&out)
}

#[test]
fn the_digest_ignores_what_a_daemon_may_change_and_nothing_else() {
    let (a, b) = (1000 << 16 | 1, 1001 << 16 | 7);
    let stamp = 65000 << 16 | 3;
    let sent = with_path(&[64700, 1000], &[a, b], 0);
    let daemon = with_path(&[65000, 64700, 1000], &[stamp, b, a], 0);
    assert_eq!(sent.digest, daemon.digest);
    assert_eq!((sent.stamp, daemon.stamp), (0, 3));
    for other in [
        with_path(&[65000, 64700, 1001], &[a, b], 0),
        with_path(&[65000, 65000, 64700, 1000], &[a, b], 0),
        with_path(&[65000, 64700, 1000], &[a], 0),
        with_path(&[65000, 64700, 1000], &[a, b], 2),
    ] {
        assert_ne!(sent.digest, other.digest);
    }
}

#[test]
fn octets_that_are_no_update_are_refused() {
    for body in [&[][..], &[0], &[0, 9, 1], &[0, 0, 0, 3, 0x40, 1, 9], &[0, 0, 0, 0, 24, 1]] {
        assert!(decode::update(body, &LENS, |_| {}).is_err(), "{body:?}");
    }
}

#[test]
fn the_table_is_the_same_for_the_same_seed_and_looks_like_the_internet() {
    let (a, b) = (Table::generate(50_000, 3, 1000, 0), Table::generate(50_000, 3, 1000, 0));
    assert_eq!(a.keys, b.keys);
    let n24 = a.keys.iter().filter(|k| key_len(**k) == 24).count();
    assert!((28_000..35_000).contains(&n24), "{n24}");
    assert!((8_000..12_000).contains(&(a.groups.len() - 1)), "{}", a.groups.len());
    assert!(a.groups.iter().filter(|g| **g % 1000 == 0).count() == 51);
}
