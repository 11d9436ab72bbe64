//! Octets of the few BGP messages the load needs, as they are sent. Reading is `decode`.

use crate::table::{Rng, Table, is_v4, key_bytes, key_len, mix};

/// Length of a message header.
pub const HEADER: usize = 19;
/// Message types.
pub const OPEN: u8 = 1;
pub const UPDATE: u8 = 2;
pub const NOTIFICATION: u8 = 3;
pub const KEEPALIVE: u8 = 4;

/// Second half of the communities `OWN_AS:TAG+n` that a table's routes are tagged with.
pub const TAG: u32 = 500;
/// How many different tags there are.
pub const TAGS: u64 = 8;

/// Address families of a session.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    pub v4: bool,
    pub v6: bool,
}

/// Prefixes `from..to` of the table, which share the attributes of `group`.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    pub group: u32,
    pub from: u32,
    pub to: u32,
}

impl Part {
    /// How many prefixes.
    pub fn len(&self) -> u64 {
        u64::from(self.to - self.from)
    }
}

fn begin(out: &mut Vec<u8>, kind: u8) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0xff; 16]);
    out.extend_from_slice(&[0, 0, kind]);
    at
}

fn finish(out: &mut [u8], at: usize) {
    let length = (out.len() - at) as u16;
    out[at + 16..at + 18].copy_from_slice(&length.to_be_bytes());
}

/// A KEEPALIVE.
pub fn keepalive() -> Vec<u8> {
    let mut out = Vec::new();
    let at = begin(&mut out, KEEPALIVE);
    finish(&mut out, at);
    out
}

/// An OPEN with the families, route refresh and four-octet AS numbers. `hold` in seconds.
pub fn open(asn: u32, id: u32, hold: u16, family: Family) -> Vec<u8> {
    let mut capabilities: Vec<u8> = Vec::new();
    for (afi, present) in [(1, family.v4), (2, family.v6)] {
        if present {
            capabilities.extend_from_slice(&[1, 4, 0, afi, 0, 1]);
        }
    }
    capabilities.extend_from_slice(&[2, 0]);
    capabilities.extend_from_slice(&[65, 4]);
    capabilities.extend_from_slice(&asn.to_be_bytes());
    let mut out = Vec::new();
    let at = begin(&mut out, OPEN);
    out.push(4);
    let short = u16::try_from(asn).unwrap_or(23456);
    out.extend_from_slice(&short.to_be_bytes());
    out.extend_from_slice(&hold.to_be_bytes());
    out.extend_from_slice(&id.to_be_bytes());
    out.push(capabilities.len() as u8 + 2);
    out.push(2);
    out.push(capabilities.len() as u8);
    out.extend_from_slice(&capabilities);
    finish(&mut out, at);
    out
}

/// End-of-RIB of each family.
pub fn end_of_rib(family: Family) -> Vec<u8> {
    let mut out = Vec::new();
    if family.v4 {
        let at = begin(&mut out, UPDATE);
        out.extend_from_slice(&[0, 0, 0, 0]);
        finish(&mut out, at);
    }
    if family.v6 {
        let at = begin(&mut out, UPDATE);
        out.extend_from_slice(&[0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1]);
        finish(&mut out, at);
    }
    out
}

/// Who tells a table, as far as it shows in the attributes.
#[derive(Debug, Clone)]
pub struct Speaker {
    pub index: usize,
    /// The AS that marks this peer's paths: its own over eBGP, a made-up upstream over iBGP.
    pub marker: u32,
    pub internal: bool,
    pub next_hop: u32,
    /// Peer 0 has the shorter path for everything.
    pub prefer_first: bool,
    /// Tag every route with one of [`TAGS`] communities of this AS; 0 = no tags.
    pub tag_as: u32,
}

impl Speaker {
    /// How much longer than the shortest this peer's path for `group` is.
    pub fn detour(&self, seed: u64, group: u32) -> u8 {
        if self.prefer_first {
            return u8::from(self.index > 0);
        }
        u8::from(self.per_peer(seed, group).is_multiple_of(3))
    }

    fn per_peer(&self, seed: u64, group: u32) -> u64 {
        mix(mix(seed, u64::from(group)), 77 + self.index as u64)
    }

    fn next_hop_v6(&self) -> [u8; 16] {
        let mut octets = [0xfd, 0, 0, 0, 0, 0, 0, 0x99, 0, 0, 0, 0, 0, 0, 0, 0];
        octets[12..].copy_from_slice(&self.next_hop.to_be_bytes());
        octets
    }
}

/// The tag of a group: the same from every peer, so a filter on it does not depend on the choice.
pub fn tag(seed: u64, group: u32) -> u8 {
    (mix(seed ^ 9, u64::from(group)) % TAGS) as u8
}

fn attribute(out: &mut Vec<u8>, flags: u8, kind: u8, value: &[u8]) {
    if value.len() > 255 {
        out.extend_from_slice(&[flags | 0x10, kind]);
        out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    } else {
        out.extend_from_slice(&[flags, kind, value.len() as u8]);
    }
    out.extend_from_slice(value);
}

fn nlri(out: &mut Vec<u8>, key: u64) {
    let length = key_len(key);
    out.push(length);
    out.extend_from_slice(&key_bytes(key)[..usize::from(length).div_ceil(8)]);
}

/// The attributes of one group as this peer tells them (a group's origin, tail of the path and
/// communities are the same from every peer; the head of the path is the peer's own).
fn attributes(speaker: &Speaker, seed: u64, group: u32, v4: bool, out: &mut Vec<u8>) {
    let mut random = Rng::new(mix(seed, u64::from(group)));
    let mut path: Vec<u32> = vec![speaker.marker];
    if speaker.detour(seed, group) > 0 {
        let own = (speaker.per_peer(seed, group) >> 8) as u32 % 60;
        path.push(if speaker.prefer_first { speaker.marker } else { 3000 + own });
    }
    path.push(1000 + random.below(400) as u32); // transit
    let more = match random.below(20) {
        0..=5 => 0,
        6..=13 => 1,
        14..=17 => 2,
        _ => 3,
    };
    for _ in 0..more {
        path.push(4000 + random.below(9000) as u32);
    }
    // Half of the origins have a four-octet AS.
    path.push(if random.below(2) == 0 {
        20000 + random.below(40000) as u32
    } else {
        200_000 + random.below(70000) as u32
    });
    let origin = if random.below(12) == 0 { 2u8 } else { 0 };
    attribute(out, 0x40, 1, &[origin]);
    let mut value = vec![2u8, path.len() as u8];
    for asn in &path {
        value.extend_from_slice(&asn.to_be_bytes());
    }
    attribute(out, 0x40, 2, &value);
    if v4 {
        attribute(out, 0x40, 3, &speaker.next_hop.to_be_bytes());
    }
    if random.below(5) == 0 {
        attribute(out, 0x80, 4, &(random.below(200) as u32).to_be_bytes());
    }
    if speaker.internal {
        attribute(out, 0x40, 5, &100u32.to_be_bytes());
    }
    let mut communities: Vec<u32> = Vec::new();
    if random.below(10) < 7 {
        let n = 1 + random.below(7);
        communities.extend((0..n).map(|_| {
            let high = 1000 + random.below(400) as u32;
            high << 16 | (random.below(50) * 10) as u32
        }));
    }
    if speaker.tag_as > 0 {
        communities.push(speaker.tag_as << 16 | (TAG + u32::from(tag(seed, group))));
    }
    if !communities.is_empty() {
        communities.sort_unstable();
        communities.dedup();
        let value: Vec<u8> = communities.iter().flat_map(|c| c.to_be_bytes()).collect();
        attribute(out, 0xc0, 8, &value);
    }
    if random.below(10) == 0 {
        let parts =
            [200_000 + random.below(500) as u32, random.below(10) as u32, random.below(100) as u32];
        let value: Vec<u8> = parts.iter().flat_map(|x| x.to_be_bytes()).collect();
        attribute(out, 0xc0, 32, &value);
    }
}

/// One UPDATE for each part, in order.
pub fn announce(table: &Table, speaker: &Speaker, seed: u64, parts: &[Part]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.len() * 120);
    let mut attrs = Vec::new();
    for part in parts {
        let keys = &table.keys[part.from as usize..part.to as usize];
        let v4 = keys.first().is_some_and(|key| is_v4(*key));
        attrs.clear();
        if !v4 {
            let mut reach = vec![0, 2, 1, 16];
            reach.extend_from_slice(&speaker.next_hop_v6());
            reach.push(0);
            for key in keys {
                nlri(&mut reach, *key);
            }
            attribute(&mut attrs, 0x80, 14, &reach);
        }
        attributes(speaker, seed, part.group, v4, &mut attrs);
        let at = begin(&mut out, UPDATE);
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&(attrs.len() as u16).to_be_bytes());
        out.extend_from_slice(&attrs);
        if v4 {
            for key in keys {
                nlri(&mut out, *key);
            }
        }
        finish(&mut out, at);
        debug_assert!(out.len() - at <= 4096);
    }
    out
}

/// One host route of IPv4, out of any table, with a short path.
pub fn probe(speaker: &Speaker, address: u32) -> Vec<u8> {
    let mut attrs = Vec::new();
    attribute(&mut attrs, 0x40, 1, &[0]);
    let mut path = vec![2u8, 1];
    path.extend_from_slice(&speaker.marker.to_be_bytes());
    attribute(&mut attrs, 0x40, 2, &path);
    attribute(&mut attrs, 0x40, 3, &speaker.next_hop.to_be_bytes());
    let mut out = Vec::new();
    let at = begin(&mut out, UPDATE);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&(attrs.len() as u16).to_be_bytes());
    out.extend_from_slice(&attrs);
    out.push(32);
    out.extend_from_slice(&address.to_be_bytes());
    finish(&mut out, at);
    out
}

/// Withdraws all prefixes of `parts` in as few UPDATEs as go.
pub fn withdraw(table: &Table, parts: &[Part]) -> Vec<u8> {
    let mut out = Vec::new();
    for v4 in [true, false] {
        let mut lost: Vec<u8> = Vec::new();
        for part in parts {
            for key in &table.keys[part.from as usize..part.to as usize] {
                if is_v4(*key) != v4 {
                    continue;
                }
                if lost.len() > 4040 {
                    withdrawal(&mut out, v4, &lost);
                    lost.clear();
                }
                nlri(&mut lost, *key);
            }
        }
        if !lost.is_empty() {
            withdrawal(&mut out, v4, &lost);
        }
    }
    out
}

fn withdrawal(out: &mut Vec<u8>, v4: bool, lost: &[u8]) {
    let at = begin(out, UPDATE);
    if v4 {
        out.extend_from_slice(&(lost.len() as u16).to_be_bytes());
        out.extend_from_slice(lost);
        out.extend_from_slice(&[0, 0]);
    } else {
        let mut unreach = vec![0, 2, 1];
        unreach.extend_from_slice(lost);
        let mut attrs = Vec::new();
        attribute(&mut attrs, 0x80, 15, &unreach);
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&(attrs.len() as u16).to_be_bytes());
        out.extend_from_slice(&attrs);
    }
    finish(out, at);
}

#[cfg(test)]
mod tests;
