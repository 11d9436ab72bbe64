//! Small fixed workloads, one for each stage of a route's way: `micro` prints CPU time an item,
//! `micro NAME` runs one of them once, for a tool that counts instructions. `cargo xtask bench
//! --micro` does that and compares with the figures of `bgpd/core/examples/micro.txt`.

#[path = "full_table/feed.rs"]
#[allow(dead_code, reason = "shared with full_table")]
mod feed;
#[path = "full_table/rig.rs"]
#[allow(dead_code, reason = "shared with full_table")]
mod rig;

use std::{collections::BTreeMap, hint::black_box, process::ExitCode, sync::Arc, time::Duration};

use bgp_core::{
    policy::{
        CommunitySet, LocalAttributes, PrefixSet, RoutePolicy, RouteSource, RouteView, RuleAction,
        definition::{self, Definition, MatchDefinition, RuleDefinition, SetDefinition, Sets},
    },
    rib::{AttrKey, AttrTable, Attrs, Batch},
};
use bgp_packet::{
    Announce, Asn, EncodeContext, Family, Message, NextHop, PathAttributes, Update, message,
};
use bytes::BytesMut;

use feed::{Clock, Decoder, address, context, nets, table, withdrawals};
use rig::Rig;

/// Prefixes of each workload.
const PREFIXES: usize = 20_000;
/// How often each is run for its time.
const ROUNDS: usize = 20;

type Workload = fn() -> Duration;

const WORKLOADS: [(&str, Workload); 10] = [
    ("decode", decode),
    ("decode-rules", decode_rules),
    ("intern-known", intern_known),
    ("encode", encode),
    ("insert", insert),
    ("insert-known", insert_known),
    ("decide", decide),
    ("export", export),
    ("withdraw", withdraw),
    ("policy", policy),
];

fn main() -> ExitCode {
    let Some(wanted) = std::env::args().nth(1) else {
        for (name, workload) in WORKLOADS {
            // The clock moves in ticks: the mean of a few, not the best.
            let total: Duration = (0..ROUNDS).map(|_| workload()).sum();
            let each = total.as_nanos() / (ROUNDS * PREFIXES) as u128;
            println!("{name:<14} {each:>5} ns a prefix");
        }
        return ExitCode::SUCCESS;
    };
    if wanted == "--list" {
        WORKLOADS.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    match WORKLOADS.iter().find(|(name, _)| *name == wanted) {
        Some((_, workload)) => {
            workload();
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("no workload {wanted:?}; `micro --list` names them");
            ExitCode::from(2)
        }
    }
}

/// What is counted: the counting tool knows this function by its name.
#[inline(never)]
fn measured<T>(work: impl FnOnce() -> T) -> Duration {
    let begun = Clock::now();
    black_box(work());
    begun.elapsed()
}

/// Octets of a first table to batches of routes, every attribute set new.
fn decode() -> Duration {
    let (stream, context) = (table(PREFIXES, 1), context());
    let (mut attrs, mut time) = (AttrTable::default(), Duration::ZERO);
    measured(|| Decoder::default().batches(&stream, &context, &mut attrs, &mut time).len())
}

fn updates(stream: &[u8], mut each: impl FnMut(&[u8])) {
    let mut rest = stream;
    while let Some(len) = message::frame_len(rest, 4096).expect("our own messages") {
        let (frame, after) = rest.split_at(len);
        rest = after;
        let Ok(Message::Update(body)) = message::decode(frame) else { unreachable!() };
        each(body);
    }
}

/// The same by the rules of RFC 7606, as for attributes out of the ordinary.
fn decode_rules() -> Duration {
    let (stream, context) = (table(PREFIXES, 1), context());
    measured(|| {
        updates(&stream, |body| {
            let update = Update::parse(body, &context).expect("our own messages");
            black_box(update.decode_attributes(&context).expect("our own messages"));
        });
    })
}

/// Attribute sets that some route has already.
fn intern_known() -> Duration {
    let (stream, context) = (table(PREFIXES, 1), context());
    let (mut attrs, mut time) = (AttrTable::default(), Duration::ZERO);
    let held = Decoder::default().batches(&stream, &context, &mut attrs, &mut time);
    let mut key = AttrKey::default();
    let took = measured(|| {
        updates(&stream, |body| {
            let update = Update::parse(body, &context).expect("our own messages");
            assert!(key.read(&update, &context), "our own messages are plain");
            black_box(attrs.find(&key).expect("interned before"));
        });
    });
    drop(held);
    took
}

/// Routes of 5 prefixes to an attribute set as UPDATEs.
fn encode() -> Duration {
    let nets: Vec<_> = nets(PREFIXES).into_iter().map(|net| (0, net)).collect();
    let mut attributes = PathAttributes::local(NextHop::new(address(1)));
    attributes.local_pref = Some(100);
    let context = EncodeContext { four_octet_asn: true, add_path: false, max_len: 4096 };
    measured(|| {
        let mut out = BytesMut::new();
        for same in nets.chunks(5) {
            let announce = Announce::new(Family::IPV4_UNICAST, &attributes, context);
            let prefixes = same.iter().copied();
            announce.expect("it fits").encode_all(prefixes, &mut out, |_, _| {});
        }
        out
    })
}

/// Octets of a feed as the shard is told them.
fn batches(rig: &mut Rig, stream: &[u8]) -> Vec<Batch> {
    let mut time = Duration::ZERO;
    Decoder::default().batches(stream, &context(), &mut rig.attrs, &mut time)
}

/// A rig with so many sessions that has taken the tables of the first few.
fn rig(sessions: u16, feeds: u16) -> Rig {
    let mut rig = Rig::new(sessions);
    for feed in 1..=feeds {
        let batches = batches(&mut rig, &table(PREFIXES, feed));
        batches.into_iter().for_each(|batch| rig.routes(feed, batch));
    }
    rig.work();
    rig
}

/// What it costs a rig to take octets of a feed.
fn take(mut rig: Rig, feed: u16, stream: &[u8]) -> Duration {
    let batches = batches(&mut rig, stream);
    measured(|| batches.into_iter().for_each(|batch| rig.routes(feed, batch)))
}

/// New prefixes into an empty table, nobody to tell.
fn insert() -> Duration {
    take(rig(1, 0), 1, &table(PREFIXES, 1))
}

/// The same routes once more.
fn insert_known() -> Duration {
    take(rig(1, 1), 1, &table(PREFIXES, 1))
}

/// A fourth path for each prefix.
fn decide() -> Duration {
    take(rig(4, 3), 4, &table(PREFIXES, 4))
}

/// New prefixes to three receivers.
fn export() -> Duration {
    take(rig(4, 0), 1, &table(PREFIXES, 1))
}

/// All of them gone.
fn withdraw() -> Duration {
    take(rig(2, 1), 1, &withdrawals(PREFIXES))
}

/// Three rules: a set of 1000 prefixes, a set of communities, a change.
fn policy() -> Duration {
    let nets = nets(PREFIXES);
    let texts = nets.iter().step_by(20).map(|net| format!("{net} le 32"));
    let patterns = texts.map(|text| text.parse().expect("a prefix pattern")).collect();
    let communities = vec!["65000:1".parse().expect("a community"), "0:5".parse().expect("one")];
    let sets = Sets {
        prefix: BTreeMap::from([("p".to_owned(), Arc::new(PrefixSet::new(patterns)))]),
        community: BTreeMap::from([(
            "c".to_owned(),
            Arc::new(CommunitySet::new(communities).expect("it compiles")),
        )]),
        ..Sets::default()
    };
    let rule = |matches, set, action| RuleDefinition { name: None, matches, set, action };
    let rules = vec![
        rule(
            MatchDefinition { prefix_set: Some(vec!["p".to_owned()]), ..Default::default() },
            SetDefinition::default(),
            RuleAction::Reject,
        ),
        rule(
            MatchDefinition { community_set: Some(vec!["c".to_owned()]), ..Default::default() },
            SetDefinition { local_pref: Some(200), ..Default::default() },
            RuleAction::Next,
        ),
        rule(
            MatchDefinition::default(),
            SetDefinition { med: Some(5), ..Default::default() },
            RuleAction::Accept,
        ),
    ];
    let default = definition::Default::Reject;
    let policy = RoutePolicy::compile(Definition { name: "micro".into(), default, rules }, &sets)
        .expect("it compiles");
    let mut decoded = Vec::new();
    let context = context();
    updates(&table(2_000, 1), |body| {
        let update = Update::parse(body, &context).expect("our own messages");
        let attributes = update.decode_attributes(&context).expect("our own messages").attributes;
        decoded.push(attributes.expect("nothing wrong"));
    });
    // Interned as a shard has them.
    let attrs: Vec<Attrs> = decoded.iter().map(Attrs::new).collect();
    let decoded: Vec<PathAttributes> = attrs.iter().map(Attrs::decode).collect();
    measured(|| {
        for (net, attributes) in nets.iter().zip(decoded.iter().cycle()) {
            black_box(policy.evaluate(&RouteView {
                prefix: *net,
                attributes,
                local: LocalAttributes::default(),
                source: RouteSource::Bgp,
                peer: Some("p1"),
                peer_asn: Some(Asn(64001)),
                interface: None,
                local_address: None,
                local_asn: Asn(65000),
                router_id: address(100),
            }));
        }
    })
}
