//! How fast the codec is on this machine: `cargo run --profile lab -p bgp-packet --example throughput`.

#![expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]

use std::{hint::black_box, net::Ipv4Addr, time::Instant};

use bgp_packet::{
    Announce, AsPath, Asn, Community, EncodeContext, Family, FamilySet, NextHop, PathAttributes,
    SessionKind, Update, UpdateContext, canonical_octets, from_canonical,
};
use bytes::BytesMut;
use ipnet::{IpNet, Ipv4Net};

const PREFIXES: u32 = 1_000_000;
const ROUNDS: u32 = 10;

fn main() {
    let prefixes: Vec<(u32, IpNet)> = (0..PREFIXES)
        .map(|i| {
            let address = Ipv4Addr::from_bits(0x0100_0000 + (i << 8));
            (i, Ipv4Net::new_assert(address, 24).into())
        })
        .collect();
    let mut attributes = PathAttributes::local(NextHop::new(Ipv4Addr::new(192, 0, 2, 1)));
    attributes.as_path = AsPath::sequence([65001, 65002, 65003, 65004, 65005].map(Asn));
    attributes.communities = (0..6).map(|i| Community(65001 << 16 | i)).collect();
    let context = UpdateContext {
        kind: SessionKind::External,
        peer_asn: Asn(65001),
        four_octet_asn: true,
        families: Family::SUPPORTED.into_iter().collect(),
        add_path: FamilySet::EMPTY,
        extended_next_hop: FamilySet::EMPTY,
        enforce_first_as: true,
        reject_as_set: false,
    };
    let encode = EncodeContext { four_octet_asn: true, add_path: false, max_len: 4096 };
    let announce =
        || Announce::new(Family::IPV4_UNICAST, &attributes, encode).expect("the block is small");

    for per_message in [5, 1000] {
        println!("{per_message} prefixes to an attribute set");
        let mut out = BytesMut::with_capacity(128 << 20);
        let mut ranges = Vec::new();
        report("encode", || {
            out.clear();
            ranges.clear();
            for chunk in prefixes.chunks(per_message) {
                announce().encode(&mut chunk.iter().copied(), &mut out, &mut |range, _| {
                    ranges.push(range);
                });
            }
        });
        report("parse, iterate", || {
            let mut sum = 0_u32;
            for range in &ranges {
                let body = out.get(range.start + 19..range.end).expect("a message");
                let update = Update::parse(body, &context).expect("well formed");
                for nlri in update.announced.iter().flatten() {
                    for (_, prefix) in nlri.iter_v4() {
                        sum = sum.wrapping_add(prefix.addr().to_bits());
                    }
                }
            }
            black_box(sum);
        });
        let mut key = Vec::new();
        report("parse, iterate as IpNet, plain attributes", || {
            for range in &ranges {
                let body = out.get(range.start + 19..range.end).expect("a message");
                let update = Update::parse(body, &context).expect("well formed");
                key.clear();
                black_box(update.plain_attributes(&context, &mut key));
                black_box(&key);
                for nlri in update.announced.iter().flatten() {
                    nlri.iter().for_each(|prefix| {
                        black_box(prefix);
                    });
                }
            }
        });
        report("parse, decode attributes", || {
            for range in &ranges {
                let body = out.get(range.start + 19..range.end).expect("a message");
                let update = Update::parse(body, &context).expect("well formed");
                black_box(update.decode_attributes(&context).expect("well formed"));
            }
        });
    }
    let mut octets = Vec::new();
    report("canonical octets and back, each", || {
        for _ in 0..PREFIXES {
            octets.clear();
            canonical_octets(&attributes, &mut octets);
            black_box(from_canonical(&octets, attributes.next_hop));
        }
    });
}

/// Best of some rounds, each over all prefixes.
fn report(what: &str, mut run: impl FnMut()) {
    let best = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .min()
        .expect("at least one round");
    let each = best / PREFIXES;
    let rate = f64::from(PREFIXES) / best.as_secs_f64() / 1e6;
    println!("  {what}: {each:?} a prefix, {rate:.1} M/s");
}
