//! A table in octets, and what a connection makes of it.

use std::{net::Ipv4Addr, time::Duration};

use bgp_core::rib::{AttrKey, AttrTable, Attrs, Batch};
use bgp_packet::{
    Announce, AsPath, Asn, Community, EncodeContext, Family, FamilySet, LargeCommunity, Message,
    NextHop, PathAttributes, SessionKind, Update, UpdateContext, encode_withdraw, message,
};
use bytes::BytesMut;
use ipnet::{IpNet, Ipv4Net};

/// Prefixes handed to the shard at a time.
const BATCH: usize = 1024;

/// What a connection does: framing, decoding, recognising attribute blocks.
#[derive(Default)]
pub struct Decoder {
    key: AttrKey,
}

impl Decoder {
    pub fn batches<'a>(
        &'a mut self,
        mut stream: &'a [u8],
        context: &'a UpdateContext,
        attrs: &mut AttrTable,
        time: &mut Duration,
    ) -> Vec<Batch> {
        let begun = Clock::now();
        let mut batches = Vec::new();
        let mut batch = Batch::default();
        while let Some(len) = message::frame_len(stream, 4096).expect("our own messages") {
            let (frame, rest) = stream.split_at(len);
            stream = rest;
            let Ok(Message::Update(body)) = message::decode(frame) else { unreachable!() };
            let update = Update::parse(body, context).expect("our own messages");
            for (id, prefix) in update.withdrawn.iter().flatten().flat_map(|nlri| nlri.iter()) {
                batch.push(None, id, prefix);
            }
            if update.announced.iter().flatten().next().is_some() {
                if !self.key.read(&update, context) {
                    let decoded = update.decode_attributes(context).expect("our own");
                    self.key.set(&decoded.attributes.expect("nothing wrong"));
                }
                let shared = match attrs.find(&self.key) {
                    Some(shared) => shared,
                    None => attrs.intern(Attrs::of(&self.key)),
                };
                for nlri in update.announced.iter().flatten() {
                    for (id, prefix) in nlri.iter() {
                        batch.push(Some(&shared), id, prefix);
                    }
                }
            }
            if batch.len() >= BATCH {
                batches.push(std::mem::take(&mut batch));
            }
        }
        batches.push(batch);
        *time += begun.elapsed();
        batches
    }
}

/// About what the Internet looks like: 5.5 prefixes to an attribute set, most of them /24.
pub fn table(prefixes: usize, feed: u16) -> Vec<u8> {
    let mut random = Random(7);
    let mut out = BytesMut::new();
    let mut left = nets(prefixes).into_iter();
    let encode = EncodeContext { four_octet_asn: true, add_path: false, max_len: 4096 };
    loop {
        let size = match random.below(10) {
            0..4 => 1,
            4..9 => 2 + random.below(10) as usize,
            _ => 24,
        };
        let mine: Vec<(u32, IpNet)> = left.by_ref().take(size).map(|net| (0, net)).collect();
        if mine.is_empty() {
            return out.to_vec();
        }
        let mut path = vec![Asn(64000 + u32::from(feed))];
        path.extend((0..3 + random.below(3)).map(|_| Asn(1 + random.below(400_000))));
        if u32::from(feed) % 2 == 0 && random.below(3) == 0 {
            path.push(Asn(9));
        }
        let mut attributes = PathAttributes::local(NextHop::new(address(feed)));
        attributes.as_path = AsPath::sequence(path);
        attributes.communities = (0..random.below(5)).map(|n| Community(n << 16 | 5)).collect();
        attributes.med = (random.below(5) == 0).then(|| random.below(100));
        if random.below(10) == 0 {
            attributes.large_communities.push(LargeCommunity(1, 2, random.below(1000)));
        }
        let announce = Announce::new(Family::IPV4_UNICAST, &attributes, encode).expect("it fits");
        announce.encode_all(mine, &mut out, |_, _| {});
    }
}

/// All of them withdrawn.
pub fn withdrawals(prefixes: usize) -> Vec<u8> {
    let mut out = BytesMut::new();
    let encode = EncodeContext { four_octet_asn: true, add_path: false, max_len: 4096 };
    let mut nets = nets(prefixes).into_iter().map(|net| (0, net));
    encode_withdraw(Family::IPV4_UNICAST, encode, &mut nets, &mut out, &mut |_, _| {});
    out.to_vec()
}

/// Distinct prefixes, neighbours mostly adjacent.
pub fn nets(prefixes: usize) -> Vec<IpNet> {
    let mut random = Random(42);
    let mut at = 0x0100_0000u32;
    (0..prefixes)
        .map(|_| {
            let len: u8 = match random.below(100) {
                0..64 => 24,
                64..75 => 22,
                75..85 => 23,
                _ => 21,
            };
            let size = 1u32 << (32 - len);
            at = at.div_ceil(size) * size;
            let net = Ipv4Net::new(at.into(), len).expect("a length of IPv4");
            at += size;
            IpNet::V4(net)
        })
        .collect()
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.0 >> 33) % u64::from(bound)) as u32
    }
}

/// Of a peer.
pub fn address(id: u16) -> Ipv4Addr {
    Ipv4Addr::from(0x0A00_0000 + u32::from(id))
}

/// How its UPDATEs are read.
pub fn context() -> UpdateContext {
    UpdateContext {
        kind: SessionKind::External,
        peer_asn: Asn(0),
        four_octet_asn: true,
        families: [Family::IPV4_UNICAST].into_iter().collect(),
        add_path: FamilySet::EMPTY,
        extended_next_hop: FamilySet::EMPTY,
        enforce_first_as: false,
        reject_as_set: false,
    }
}

/// CPU time of this thread: other work on the machine does not count.
pub struct Clock(u64);

impl Clock {
    pub fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        Self(stat.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0))
    }

    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(Self::now().0 - self.0)
    }
}
