//! A full table through one shard: octets in from each feed, octets out to each receiver, on one
//! thread and without sockets. Prints CPU time and memory of each stage.
//!
//! `cargo run --profile lab -p bgp-core --example full_table -- [prefixes] [feeds] [receivers]`

mod feed;
mod rig;

use std::time::Duration;

use bgp_core::rib::{Epoch, Event, PeerId};

use feed::{Clock, Decoder, context, table, withdrawals};
use rig::Rig;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let prefixes = arguments.next().unwrap_or(1_000_000);
    let feeds = arguments.next().unwrap_or(1) as u16;
    let receivers = arguments.next().unwrap_or(1) as u16;

    let context = context();
    let streams: Vec<Vec<u8>> = (1..=feeds).map(|feed| table(prefixes, feed)).collect();
    let withdrawals = withdrawals(prefixes);
    println!("{prefixes} prefixes, {feeds} feeds, {receivers} receivers");
    let start = memory();

    let mut rig = Rig::new(feeds + receivers);
    for (feed, stream) in (1..).zip(&streams) {
        let mut decoder = Decoder::default();
        let (mut decode, mut handle) = (Duration::ZERO, Duration::ZERO);
        let sent = rig.octets;
        for batch in decoder.batches(stream, &context, &mut rig.attrs, &mut decode) {
            let begun = Clock::now();
            rig.routes(feed, batch);
            handle += begun.elapsed();
        }
        let begun = Clock::now();
        rig.work();
        handle += begun.elapsed();
        println!(
            "feed {feed}: decode {decode:.0?}, shard {handle:.0?}, {} octets out, {} MB held",
            rig.octets - sent,
            (memory() - start) >> 20,
        );
    }
    println!("{:?}", rig.shard.counts()[0]);

    let begun = Clock::now();
    rig.up(1000);
    rig.work();
    println!("first table of a late receiver: {:.0?}", begun.elapsed());

    if feeds > 1 {
        let begun = Clock::now();
        rig.event(Event::PeerDown {
            peer: PeerId(1),
            epoch: Epoch(1),
            keep: bgp_packet::FamilySet::EMPTY,
        });
        rig.work();
        println!("feed 1 goes down: {:.0?}", begun.elapsed());
    }
    for feed in if feeds > 1 { 2..=feeds } else { 1..=1 } {
        let mut decoder = Decoder::default();
        let (mut decode, mut handle) = (Duration::ZERO, Duration::ZERO);
        for batch in decoder.batches(&withdrawals, &context, &mut rig.attrs, &mut decode) {
            let begun = Clock::now();
            rig.routes(feed, batch);
            handle += begun.elapsed();
        }
        let begun = Clock::now();
        rig.work();
        handle += begun.elapsed();
        println!(
            "feed {feed} withdraws: decode {decode:.0?}, shard {handle:.0?}, {} MB held",
            (memory().saturating_sub(start)) >> 20
        );
    }
}

/// Resident octets of this process.
fn memory() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * 4096
}
