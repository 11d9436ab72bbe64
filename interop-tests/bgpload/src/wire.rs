//! Encoding and decoding of the few BGP messages the lab needs.

use crate::table::*;

pub const HDR: usize = 19;
pub const OPEN: u8 = 1;
pub const UPDATE: u8 = 2;
pub const NOTIFICATION: u8 = 3;
pub const KEEPALIVE: u8 = 4;

#[derive(Clone, Copy)]
pub struct Family {
    pub v4: bool,
    pub v6: bool,
}

fn begin(out: &mut Vec<u8>, typ: u8) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0xff; 16]);
    out.extend_from_slice(&[0, 0, typ]);
    at
}
fn finish(out: &mut [u8], at: usize) {
    let l = (out.len() - at) as u16;
    out[at + 16..at + 18].copy_from_slice(&l.to_be_bytes());
}

pub fn keepalive() -> Vec<u8> {
    let mut o = Vec::new();
    let a = begin(&mut o, KEEPALIVE);
    finish(&mut o, a);
    o
}

pub fn open(
    asn: u32,
    id: u32,
    hold: u16,
    fam: Family,
    addpath_rx: bool,
    addpath_tx: bool,
) -> Vec<u8> {
    let mut caps: Vec<u8> = Vec::new();
    let mut afis: Vec<u16> = Vec::new();
    if fam.v4 {
        afis.push(1);
    }
    if fam.v6 {
        afis.push(2);
    }
    for a in &afis {
        caps.extend_from_slice(&[1, 4, 0, *a as u8, 0, 1]);
    }
    caps.extend_from_slice(&[2, 0]); // route refresh
    caps.extend_from_slice(&[65, 4]);
    caps.extend_from_slice(&asn.to_be_bytes());
    let mode = addpath_rx as u8 | (addpath_tx as u8) << 1;
    if mode != 0 {
        caps.extend_from_slice(&[69, 4 * afis.len() as u8]);
        for a in &afis {
            caps.extend_from_slice(&[0, *a as u8, 1, mode]);
        }
    }
    let mut o = Vec::new();
    let at = begin(&mut o, OPEN);
    o.push(4);
    let as2 = if asn > 0xffff { 23456 } else { asn as u16 };
    o.extend_from_slice(&as2.to_be_bytes());
    o.extend_from_slice(&hold.to_be_bytes());
    o.extend_from_slice(&id.to_be_bytes());
    o.push(caps.len() as u8 + 2);
    o.push(2);
    o.push(caps.len() as u8);
    o.extend_from_slice(&caps);
    finish(&mut o, at);
    o
}

/// What the peer's OPEN says: (AS, router id, add-path modes it offered: 1 receive, 2 send).
pub fn parse_open(b: &[u8]) -> (u32, u32, u8) {
    let mut asn = u16::from_be_bytes([b[1], b[2]]) as u32;
    let id = u32::from_be_bytes([b[5], b[6], b[7], b[8]]);
    let mut ap = 0;
    let opt = &b[10..];
    let mut i = 0;
    while i + 2 <= opt.len() {
        let (t, l) = (opt[i], opt[i + 1] as usize);
        let end = (i + 2 + l).min(opt.len());
        if t == 2 {
            let mut j = i + 2;
            while j + 2 <= end {
                let (c, cl) = (opt[j], opt[j + 1] as usize);
                if j + 2 + cl > end {
                    break;
                }
                let v = &opt[j + 2..j + 2 + cl];
                if c == 65 && cl == 4 {
                    asn = u32::from_be_bytes([v[0], v[1], v[2], v[3]]);
                }
                if c == 69 && cl >= 4 {
                    ap = v[3];
                }
                j += 2 + cl;
            }
        }
        i = end;
    }
    (asn, id, ap)
}

pub fn end_of_rib(fam: Family) -> Vec<u8> {
    let mut o = Vec::new();
    if fam.v4 {
        let a = begin(&mut o, UPDATE);
        o.extend_from_slice(&[0, 0, 0, 0]);
        finish(&mut o, a);
    }
    if fam.v6 {
        let a = begin(&mut o, UPDATE);
        o.extend_from_slice(&[0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1]);
        finish(&mut o, a);
    }
    o
}

pub struct Speaker {
    pub index: usize,
    /// the AS that marks this peer's paths: its own over eBGP, a made-up upstream over iBGP
    pub marker: u32,
    pub ibgp: bool,
    pub nexthop4: u32,
    pub nexthop6: [u8; 16],
    pub prefer_first: bool,
    pub addpath: bool,
}

fn attr(o: &mut Vec<u8>, flags: u8, typ: u8, v: &[u8]) {
    if v.len() > 255 {
        o.extend_from_slice(&[flags | 0x10, typ]);
        o.extend_from_slice(&(v.len() as u16).to_be_bytes());
    } else {
        o.extend_from_slice(&[flags, typ, v.len() as u8]);
    }
    o.extend_from_slice(v);
}

fn nlri(o: &mut Vec<u8>, k: u64, pathid: Option<u32>) {
    if let Some(p) = pathid {
        o.extend_from_slice(&p.to_be_bytes());
    }
    let l = key_len(k);
    o.push(l);
    o.extend_from_slice(&key_bytes(k)[..(l as usize).div_ceil(8)]);
}

/// The attributes of one group as this peer tells them (a group's origin, tail of the path and
/// communities are the same from every peer; the head of the path is the peer's own).
fn attrs(sp: &Speaker, seed: u64, g: u64, v4: bool, o: &mut Vec<u8>) {
    let mut r = Rng::new(mix(seed, g));
    let mut path: Vec<u32> = vec![sp.marker];
    let per_peer = mix(mix(seed, g), 77 + sp.index as u64);
    let extra =
        if sp.prefer_first { (sp.index > 0) as usize } else { per_peer.is_multiple_of(3) as usize };
    for _ in 0..extra {
        path.push(if sp.prefer_first { sp.marker } else { 3000 + (per_peer >> 8) as u32 % 60 });
    }
    path.push(1000 + r.below(400) as u32); // transit
    let more = match r.below(20) {
        0..=5 => 0,
        6..=13 => 1,
        14..=17 => 2,
        _ => 3,
    };
    for _ in 0..more {
        path.push(4000 + r.below(9000) as u32);
    }
    // half of the origins have a four-octet AS
    path.push(if r.below(2) == 0 {
        20000 + r.below(40000) as u32
    } else {
        200_000 + r.below(70000) as u32
    });
    let origin = if r.below(12) == 0 { 2u8 } else { 0 };
    attr(o, 0x40, 1, &[origin]);
    let mut v = vec![2u8, path.len() as u8];
    for a in &path {
        v.extend_from_slice(&a.to_be_bytes());
    }
    attr(o, 0x40, 2, &v);
    if v4 {
        attr(o, 0x40, 3, &sp.nexthop4.to_be_bytes());
    }
    if r.below(5) == 0 {
        attr(o, 0x80, 4, &(r.below(200) as u32).to_be_bytes());
    }
    if sp.ibgp {
        attr(o, 0x40, 5, &100u32.to_be_bytes());
    }
    if r.below(10) < 7 {
        let n = 1 + r.below(7);
        let mut cs: Vec<u32> = (0..n)
            .map(|_| (1000 + r.below(400) as u32) << 16 | (r.below(50) * 10) as u32)
            .collect();
        cs.sort();
        cs.dedup();
        let v: Vec<u8> = cs.iter().flat_map(|c| c.to_be_bytes()).collect();
        attr(o, 0xc0, 8, &v);
    }
    if r.below(10) == 0 {
        let mut v = Vec::new();
        for x in [200_000 + r.below(500) as u32, r.below(10) as u32, r.below(100) as u32] {
            v.extend_from_slice(&x.to_be_bytes());
        }
        attr(o, 0xc0, 32, &v);
    }
}

/// One UPDATE per attribute group: `parts` are (group, first prefix, past-the-last prefix).
pub fn announce(t: &Table, sp: &Speaker, seed: u64, parts: &[(u32, u32, u32)]) -> Vec<u8> {
    let mut o = Vec::with_capacity(parts.len() * 120);
    let mut a = Vec::new();
    let pid = if sp.addpath { Some(1) } else { None };
    for &(g, s, e) in parts {
        let v4 = is_v4(t.keys[s as usize]);
        a.clear();
        if !v4 {
            let mut m = vec![0, 2, 1, 16];
            m.extend_from_slice(&sp.nexthop6);
            m.push(0);
            for i in s..e {
                nlri(&mut m, t.keys[i as usize], pid);
            }
            attr(&mut a, 0x80, 14, &m);
        }
        attrs(sp, seed, g as u64, v4, &mut a);
        let at = begin(&mut o, UPDATE);
        o.extend_from_slice(&[0, 0]);
        o.extend_from_slice(&(a.len() as u16).to_be_bytes());
        o.extend_from_slice(&a);
        if v4 {
            for i in s..e {
                nlri(&mut o, t.keys[i as usize], pid);
            }
        }
        finish(&mut o, at);
        debug_assert!(o.len() - at <= 4096);
    }
    o
}

pub fn withdraw(t: &Table, addpath: bool, parts: &[(u32, u32, u32)]) -> Vec<u8> {
    let pid = if addpath { Some(1) } else { None };
    let mut o = Vec::new();
    for v4 in [true, false] {
        let mut buf: Vec<u8> = Vec::new();
        let mut flush = |buf: &mut Vec<u8>| {
            if buf.is_empty() {
                return;
            }
            let at = begin(&mut o, UPDATE);
            if v4 {
                o.extend_from_slice(&(buf.len() as u16).to_be_bytes());
                o.extend_from_slice(buf);
                o.extend_from_slice(&[0, 0]);
            } else {
                let mut m = vec![0, 2, 1];
                m.extend_from_slice(buf);
                let mut a = Vec::new();
                attr(&mut a, 0x80, 15, &m);
                o.extend_from_slice(&[0, 0]);
                o.extend_from_slice(&(a.len() as u16).to_be_bytes());
                o.extend_from_slice(&a);
            }
            finish(&mut o, at);
            buf.clear();
        };
        for &(_, s, e) in parts {
            for i in s..e {
                let k = t.keys[i as usize];
                if is_v4(k) == v4 {
                    if buf.len() > 4040 - if addpath { 4 } else { 0 } {
                        flush(&mut buf);
                    }
                    nlri(&mut buf, k, pid);
                }
            }
        }
        flush(&mut buf);
    }
    o
}

#[inline]
fn take(b: &[u8], i: &mut usize, v4: bool, addpath: bool) -> Option<(u64, u32)> {
    let mut pid = 0;
    if addpath {
        if *i + 4 > b.len() {
            return None;
        }
        pid = u32::from_be_bytes([b[*i], b[*i + 1], b[*i + 2], b[*i + 3]]);
        *i += 4;
    }
    let l = *b.get(*i)?;
    let n = (l as usize).div_ceil(8);
    if *i + 1 + n > b.len() {
        return None;
    }
    let mut x = [0u8; 8];
    let m = n.min(8);
    x[..m].copy_from_slice(&b[*i + 1..*i + 1 + m]);
    *i += 1 + n;
    let a = u64::from_be_bytes(x);
    let k = if v4 { V4 | ((a >> 32) << 8) | l as u64 } else { (a & !0xff) | l as u64 };
    Some((k, pid))
}

pub enum Event {
    Announce(u64, u32),
    Withdraw(u64, u32),
}

/// Walks an UPDATE body. `marker` is the first AS in `lo..hi` within the path, if any.
pub fn walk<F: FnMut(Event, u32)>(
    b: &[u8],
    addpath: bool,
    lo: u32,
    hi: u32,
    mut f: F,
) -> Result<(), ()> {
    if b.len() < 4 {
        return Err(());
    }
    let wl = u16::from_be_bytes([b[0], b[1]]) as usize;
    if 4 + wl > b.len() {
        return Err(());
    }
    let al = u16::from_be_bytes([b[2 + wl], b[3 + wl]]) as usize;
    if 4 + wl + al > b.len() {
        return Err(());
    }
    let w = &b[2..2 + wl];
    let mut i = 0;
    while i < w.len() {
        let (k, p) = take(w, &mut i, true, addpath).ok_or(())?;
        f(Event::Withdraw(k, p), 0);
    }
    let a = &b[4 + wl..4 + wl + al];
    let mut marker = 0;
    let mut mp: Option<&[u8]> = None;
    i = 0;
    while i + 3 <= a.len() {
        let (fl, t) = (a[i], a[i + 1]);
        let (l, h) = if fl & 0x10 != 0 {
            if i + 4 > a.len() {
                return Err(());
            }
            (u16::from_be_bytes([a[i + 2], a[i + 3]]) as usize, 4)
        } else {
            (a[i + 2] as usize, 3)
        };
        if i + h + l > a.len() {
            return Err(());
        }
        let v = &a[i + h..i + h + l];
        match t {
            2 => {
                let mut j = 2;
                while marker == 0 && j + 4 <= v.len() && j < 2 + 4 * 4 {
                    let x = u32::from_be_bytes([v[j], v[j + 1], v[j + 2], v[j + 3]]);
                    if x >= lo && x < hi {
                        marker = x;
                    }
                    j += 4;
                }
            }
            14 => mp = Some(v),
            15 if v.len() >= 3 && v[1] == 2 && v[2] == 1 => {
                let mut j = 3;
                while j < v.len() {
                    let (k, p) = take(v, &mut j, false, addpath).ok_or(())?;
                    f(Event::Withdraw(k, p), 0);
                }
            }
            15 if v.len() >= 3 && v[1] == 1 && v[2] == 1 => {
                let mut j = 3;
                while j < v.len() {
                    let (k, p) = take(v, &mut j, true, addpath).ok_or(())?;
                    f(Event::Withdraw(k, p), 0);
                }
            }
            _ => {}
        }
        i += h + l;
    }
    if let Some(v) = mp
        && v.len() >= 5
        && v[2] == 1
    {
        let v4 = v[1] == 1;
        let mut j = 5 + v[3] as usize;
        while j < v.len() {
            let (k, p) = take(v, &mut j, v4, addpath).ok_or(())?;
            f(Event::Announce(k, p), marker);
        }
    }
    let n = &b[4 + wl + al..];
    i = 0;
    while i < n.len() {
        let (k, p) = take(n, &mut i, true, addpath).ok_or(())?;
        f(Event::Announce(k, p), marker);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaker(addpath: bool) -> Speaker {
        Speaker {
            index: 0,
            marker: 64700,
            ibgp: false,
            nexthop4: 0x0a630101,
            nexthop6: [0xfd; 16],
            prefer_first: false,
            addpath,
        }
    }

    fn bodies(mut b: &[u8]) -> Vec<&[u8]> {
        let mut v = Vec::new();
        while !b.is_empty() {
            let l = u16::from_be_bytes([b[16], b[17]]) as usize;
            assert!((HDR..=4096).contains(&l) && b[18] == UPDATE && b[..16] == [0xff; 16]);
            v.push(&b[HDR..l]);
            b = &b[l..];
        }
        v
    }

    #[test]
    fn what_is_announced_and_withdrawn_is_read_back() {
        for (v6, addpath) in [(0, false), (1000, false), (300, false), (300, true)] {
            let t = Table::generate(20_000, 7, 0, v6);
            let parts: Vec<_> =
                (0..t.ngroups()).map(|g| (g as u32, t.groups[g], t.groups[g + 1])).collect();
            let mut seen = vec![false; t.keys.len()];
            let a = announce(&t, &speaker(addpath), 7, &parts);
            for b in bodies(&a) {
                walk(b, addpath, 64700, 64701, |e, m| match e {
                    Event::Announce(k, p) => {
                        assert_eq!((m, p), (64700, addpath as u32));
                        assert!(!std::mem::replace(&mut seen[t.find(k).unwrap()], true));
                    }
                    Event::Withdraw(..) => panic!(),
                })
                .unwrap();
            }
            assert!(seen.iter().all(|x| *x));
            let w = withdraw(&t, addpath, &parts);
            for b in bodies(&w) {
                walk(b, addpath, 64700, 64701, |e, _| match e {
                    Event::Withdraw(k, _) => {
                        assert!(std::mem::replace(&mut seen[t.find(k).unwrap()], false))
                    }
                    Event::Announce(..) => panic!(),
                })
                .unwrap();
            }
            assert!(seen.iter().all(|x| !*x));
        }
    }

    #[test]
    fn the_table_is_the_same_for_the_same_seed_and_looks_like_the_internet() {
        let (a, b) = (Table::generate(50_000, 3, 1000, 0), Table::generate(50_000, 3, 1000, 0));
        assert_eq!(a.keys, b.keys);
        let n24 = a.keys.iter().filter(|k| key_len(**k) == 24).count();
        assert!((28_000..35_000).contains(&n24), "{n24}");
        assert!((8_000..12_000).contains(&a.ngroups()), "{}", a.ngroups());
        assert!(a.groups.iter().filter(|g| **g % 1000 == 0).count() == 51);
    }
}
