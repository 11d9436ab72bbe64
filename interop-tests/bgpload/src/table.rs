//! Deterministic synthetic routing table.
//!
//! A prefix is one u64 key, so a million of them are 8 MB and compare fast:
//!   IPv4: bit 63 set, address in bits 8..40, length in bits 0..8
//!   IPv6: the upper 64 address bits (length <= 48, so the low 16 are free) with the length in bits 0..8
//! Every global IPv6 address in use (2000::/3) has bit 63 clear, so the two never collide.

use std::collections::HashSet;

/// A seeded generator of numbers (splitmix64).
#[derive(Debug, Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        ((self.next() as u128 * n as u128) >> 64) as u64
    }
}

pub fn mix(a: u64, b: u64) -> u64 {
    Rng(a ^ b.wrapping_mul(0xD6E8_FEB8_6659_FD93)).next()
}

pub const V4: u64 = 1 << 63;

pub fn v4_key(addr: u32, len: u8) -> u64 {
    V4 | (addr as u64) << 8 | len as u64
}
pub fn key_len(k: u64) -> u8 {
    k as u8
}
pub fn is_v4(k: u64) -> bool {
    k & V4 != 0
}
/// The address bytes as they go on the wire (16 for v6, 4 for v4); only the first (len+7)/8 are sent.
pub fn key_bytes(k: u64) -> [u8; 16] {
    let mut b = [0u8; 16];
    if is_v4(k) {
        b[..4].copy_from_slice(&((k >> 8) as u32).to_be_bytes());
    } else {
        b[..8].copy_from_slice(&(k & !0xff).to_be_bytes());
    }
    b
}

/// Prefixes and the groups that share attributes.
#[derive(Debug)]
pub struct Table {
    pub keys: Vec<u64>,
    /// groups[i]..groups[i+1] share one attribute set
    pub groups: Vec<u32>,
    index: Vec<(u64, u32)>,
    mask: usize,
}

/// Per mille by prefix length, today's default-free zone roughly; the rest is /24.
const V4_LENS: &[(u8, u32)] = &[
    (23, 950),
    (22, 1100),
    (21, 500),
    (20, 420),
    (19, 270),
    (18, 140),
    (17, 80),
    (16, 140),
    (15, 20),
    (14, 10),
    (13, 6),
    (12, 3),
    (24, 6361),
];
const V6_LENS: &[(u8, u32)] = &[
    (32, 1200),
    (33, 200),
    (34, 200),
    (35, 100),
    (36, 500),
    (38, 150),
    (40, 900),
    (42, 300),
    (44, 1000),
    (45, 200),
    (46, 450),
    (47, 300),
    (48, 4500),
];
const GROUP_SIZES: &[u32] = &[1, 1, 1, 1, 2, 2, 3, 4, 6, 8, 12, 24];

fn pick_len(r: &mut Rng, t: &[(u8, u32)]) -> u8 {
    let total: u64 = t.iter().map(|x| x.1 as u64).sum();
    let mut v = r.below(total) as i64;
    for &(l, w) in t {
        v -= w as i64;
        if v < 0 {
            return l;
        }
    }
    24
}

fn first_octet(r: &mut Rng) -> u32 {
    loop {
        let o = 1 + r.below(223) as u32;
        // The lab's own net (10/8) and the ones daemons treat as special are left out.
        if !matches!(o, 10 | 100 | 127 | 169 | 172 | 192 | 198 | 203) {
            return o;
        }
    }
}

impl Table {
    /// `chunk`: a group never crosses a multiple of it (0: no limit). `v6_permille`: share of IPv6.
    pub fn generate(n: usize, seed: u64, chunk: usize, v6_permille: u64) -> Table {
        let mut r = Rng::new(seed ^ 0xB6);
        let mut keys: Vec<u64> = Vec::with_capacity(n);
        let mut seen: HashSet<u64> = HashSet::with_capacity(n);
        let mut groups = vec![0u32];
        while keys.len() < n {
            let mut want = GROUP_SIZES[r.below(GROUP_SIZES.len() as u64) as usize] as usize;
            want = want.min(n - keys.len());
            if chunk > 0 {
                want = want.min(chunk - keys.len() % chunk);
            }
            let v6 = r.below(1000) < v6_permille;
            // One origin's prefixes lie together in one allocation, as they do in the Internet.
            let base4 = first_octet(&mut r) << 24 | (r.next() as u32 & 0x00ff_f000);
            let base6 =
                0x2000_0000_0000_0000u64 | (r.below(0x1fff) << 48) | (r.below(0x10000) << 32);
            let mut got = 0;
            let mut tries = 0;
            while got < want {
                let k = if v6 {
                    let l = pick_len(&mut r, V6_LENS);
                    let rand_low = if tries > 20 {
                        r.next() & 0x0fff_ffff_ffff_0000
                    } else {
                        r.next() & 0xffff_0000
                    };
                    let a = if tries > 20 {
                        0x2000_0000_0000_0000 | rand_low
                    } else {
                        base6 | rand_low
                    };
                    (a & (!0u64 << (64 - l as u32))) | l as u64
                } else {
                    let l = pick_len(&mut r, V4_LENS);
                    let a = if l < 18 || tries > 20 {
                        first_octet(&mut r) << 24 | (r.next() as u32 & 0x00ff_ffff)
                    } else {
                        base4 | (r.next() as u32 & 0x3fff)
                    };
                    v4_key(a & (!0u32 << (32 - l as u32)), l)
                };
                tries += 1;
                if seen.insert(k) {
                    keys.push(k);
                    got += 1;
                }
            }
            groups.push(keys.len() as u32);
        }
        let size = (n * 2).next_power_of_two().max(16);
        let mask = size - 1;
        let mut index = vec![(0u64, u32::MAX); size];
        for (i, &k) in keys.iter().enumerate() {
            let mut h = Self::hash(k) & mask;
            while index[h].1 != u32::MAX {
                h = (h + 1) & mask;
            }
            index[h] = (k, i as u32);
        }
        Table { keys, groups, index, mask }
    }

    #[inline]
    fn hash(k: u64) -> usize {
        (k.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 29) as usize
    }

    /// The place of a prefix; `near` is a guess that is tried first (its neighbours in the table
    /// mostly come together).
    #[inline]
    pub fn find(&self, k: u64, near: usize) -> Option<usize> {
        if self.keys.get(near) == Some(&k) {
            return Some(near);
        }
        let mut h = Self::hash(k) & self.mask;
        loop {
            let e = self.index[h];
            if e.1 == u32::MAX {
                return None;
            }
            if e.0 == k {
                return Some(e.1 as usize);
            }
            h = (h + 1) & self.mask;
        }
    }
}
