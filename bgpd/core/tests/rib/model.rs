//! The great promise: whatever happened on the way, everybody ends up with what they would have been
//! told had there been nothing but the final state.

use std::collections::BTreeMap;

use bgp_core::{
    policy::{
        RoutePolicy, RuleAction,
        definition::{self, SetDefinition},
    },
    rib::{Event, Install, PeerId, SoftReset, TrackedNextHop},
};
use bgp_packet::{AsPath, Asn, Community, PathAttributes, RefreshKind, RouteRefresh};
use ipnet::IpNet;
use proptest::prelude::*;

use super::rig::{Rig, Spec, accept, net, reject, rule};

/// Roles of the peers, by id from 1.
const PEERS: u16 = 10;

fn role(id: u16, servers: bool, spec: &mut Spec) {
    match id {
        _ if servers => spec.route_server_client(),
        1 | 2 => {}
        3 => spec.internal(),
        4 | 5 => spec.client(),
        6 | 7 => spec.route_server_client(),
        8 => spec.add_path(2),
        9 => {
            spec.client();
            spec.add_path(3);
        }
        _ => {
            spec.internal();
            spec.addresses.v4 = Some("10.9.9.9".parse().unwrap());
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Announce { peer: u16, prefix: u8, path_id: u32, variant: u8 },
    Withdraw { peer: u16, prefix: u8, path_id: u32 },
    Flap(u16),
    Replace(u16),
    Block(u16),
    Drain(u16),
    Refresh(u16),
    SoftIn(u16),
    NextHop(u16, bool),
    Policy(u16, u8),
    Import(u16, u8),
    Step,
    Flush,
    Settle,
}

fn op() -> impl Strategy<Value = Op> {
    let peer = 1..=PEERS;
    prop_oneof![
        12 => (peer.clone(), 0u8..6, 0u32..3, 0u8..6).prop_map(|(peer, prefix, path_id, variant)| {
            Op::Announce { peer, prefix, path_id, variant }
        }),
        5 => (peer.clone(), 0u8..6, 0u32..3)
            .prop_map(|(peer, prefix, path_id)| Op::Withdraw { peer, prefix, path_id }),
        1 => peer.clone().prop_map(Op::Flap),
        1 => peer.clone().prop_map(Op::Replace),
        2 => peer.clone().prop_map(Op::Block),
        3 => peer.clone().prop_map(Op::Drain),
        1 => peer.clone().prop_map(Op::Refresh),
        1 => peer.clone().prop_map(Op::SoftIn),
        1 => (peer.clone(), any::<bool>()).prop_map(|(peer, up)| Op::NextHop(peer, up)),
        1 => (peer.clone(), 0u8..5).prop_map(|(peer, policy)| Op::Policy(peer, policy)),
        1 => (peer, 0u8..4).prop_map(|(peer, policy)| Op::Import(peer, policy)),
        6 => Just(Op::Step),
        4 => Just(Op::Flush),
        1 => Just(Op::Settle),
    ]
}

fn prefix(number: u8) -> IpNet {
    match number {
        0 => net("2001:db8:1::/48"),
        n => net(&format!("192.0.{n}.0/24")),
    }
}

fn variant(rig: &Rig, peer: u16, variant: u8) -> PathAttributes {
    rig.attributes(peer, |attributes| {
        let mut path: Vec<Asn> = attributes.as_path.asns().collect();
        match variant {
            0 => {}
            1 => path.push(Asn(7)),
            2 => path.extend([Asn(7), Asn(8)]),
            3 => attributes.med = Some(u32::from(peer) * 10),
            4 => attributes.communities.push(Community::NO_EXPORT),
            _ => path.push(super::rig::OUR_ASN),
        }
        attributes.as_path = AsPath::sequence(path);
    })
}

fn policy(number: u8) -> Option<std::sync::Arc<RoutePolicy>> {
    match number {
        0 => accept(),
        1 => reject(),
        2 => rule(&["192.0.2.0/24"], SetDefinition::default(), RuleAction::Reject),
        4 => by_attributes(),
        _ => rule(
            &["192.0.1.0/24", "192.0.3.0/24"],
            SetDefinition { med: Some(77), ..SetDefinition::default() },
            RuleAction::Accept,
        ),
    }
}

/// Rejects paths by what they are, not by their prefix: short ones, and what two of the peers say.
fn by_attributes() -> Option<std::sync::Arc<RoutePolicy>> {
    let rejects = |matches| definition::RuleDefinition {
        name: None,
        matches,
        set: SetDefinition::default(),
        action: RuleAction::Reject,
    };
    let short = Some(vec![definition::Range { ge: 0, le: 1 }]);
    let peers = Some(vec![Asn(65001), Asn(65004)]);
    let rules = vec![
        rejects(definition::MatchDefinition { as_path_length: short, ..Default::default() }),
        rejects(definition::MatchDefinition { peer_asn: peers, ..Default::default() }),
    ];
    let name = "by-attributes".to_owned();
    let definition = definition::Definition { name, default: definition::Default::Accept, rules };
    Some(RoutePolicy::compile(definition, &definition::Sets::default()).unwrap().into())
}

/// The final state, as the peers know it.
#[derive(Default)]
struct Model {
    /// All peers are clients of a route server.
    servers: bool,
    routes: BTreeMap<(u16, IpNet, u32), PathAttributes>,
    export: BTreeMap<u16, u8>,
    import: BTreeMap<u16, u8>,
    hops: BTreeMap<u16, bool>,
}

impl Model {
    fn up(&self, rig: &mut Rig, id: u16) {
        let (export, import) = (self.export.get(&id), self.import.get(&id));
        rig.up(id, |spec| {
            role(id, self.servers, spec);
            spec.config.export = export.and_then(|number| policy(*number));
            spec.config.import = import.and_then(|number| policy(*number));
        });
    }

    fn reconfigure(&self, rig: &mut Rig) {
        rig.reconfigure(|id, config| {
            config.export = self.export.get(&id).and_then(|number| policy(*number));
            config.import = self.import.get(&id).and_then(|number| policy(*number));
        });
    }

    fn path_id(&self, peer: u16, path_id: u32) -> u32 {
        if !self.servers && matches!(peer, 8 | 9) { path_id } else { 0 }
    }

    fn run(&mut self, rig: &mut Rig, op: Op) {
        match op {
            Op::Announce { peer, prefix: number, path_id, variant: kind } => {
                let path_id = self.path_id(peer, path_id);
                let mut attributes = variant(rig, peer, kind);
                let of = prefix(number);
                if of.addr().is_ipv6() {
                    attributes.next_hop.address = format!("2001:db8::{peer}").parse().unwrap();
                }
                rig.send(peer, of, path_id, Some(&attributes));
                self.routes.insert((peer, of, path_id), attributes);
            }
            Op::Withdraw { peer, prefix: number, path_id } => {
                let path_id = self.path_id(peer, path_id);
                rig.send(peer, prefix(number), path_id, None);
                self.routes.remove(&(peer, prefix(number), path_id));
            }
            Op::Flap(peer) => {
                rig.down(peer);
                self.routes.retain(|(from, ..), _| *from != peer);
                self.up(rig, peer);
            }
            Op::Replace(peer) => {
                // A new session without word of the old one's end.
                self.routes.retain(|(from, ..), _| *from != peer);
                self.up(rig, peer);
            }
            Op::Block(peer) => {
                let epoch = rig.peers[&peer].epoch;
                rig.event(Event::Blocked(PeerId(peer), epoch));
            }
            Op::Drain(peer) => {
                let epoch = rig.peers[&peer].epoch;
                rig.event(Event::Drained(PeerId(peer), epoch));
            }
            Op::Refresh(peer) => {
                let epoch = rig.peers[&peer].epoch;
                for family in bgp_packet::Family::SUPPORTED {
                    let refresh = RouteRefresh { family, kind: RefreshKind::Request };
                    rig.event(Event::Refresh { peer: PeerId(peer), epoch, refresh });
                }
            }
            Op::SoftIn(peer) => {
                let direction = SoftReset::In;
                rig.event(Event::SoftReset { peer: PeerId(peer), direction });
            }
            Op::NextHop(peer, up) => {
                self.hops.insert(peer, up);
                let state = bgp_core::rib::Resolved {
                    cost: 0,
                    direct: true,
                    local: false,
                    interface: None,
                };
                rig.resolve(&format!("10.0.0.{peer}"), up.then_some(state));
            }
            Op::Policy(peer, number) => {
                self.export.insert(peer, number);
                self.reconfigure(rig);
            }
            Op::Import(peer, number) => {
                self.import.insert(peer, number);
                self.reconfigure(rig);
            }
            Op::Step => {
                rig.step();
            }
            Op::Flush => rig.flush(),
            Op::Settle => rig.settle(),
        }
    }

    /// A rig that has seen nothing but the final state.
    fn fresh(&self) -> Rig {
        let mut rig = Rig::with(|global| global.require_policy = false, Install::All);
        for (peer, up) in &self.hops {
            let state =
                bgp_core::rib::Resolved { cost: 0, direct: true, local: false, interface: None };
            rig.resolve(&format!("10.0.0.{peer}"), up.then_some(state));
        }
        for id in 1..=PEERS {
            self.up(&mut rig, id);
        }
        for ((peer, prefix, path_id), attributes) in &self.routes {
            rig.send(*peer, *prefix, *path_id, Some(attributes));
        }
        rig.settle();
        rig
    }
}

/// What a peer holds; path identifiers are ours to choose.
fn holdings(rig: &Rig, id: u16) -> Vec<(IpNet, String)> {
    let mut held: Vec<_> = rig.peers[&id]
        .table
        .iter()
        .map(|((prefix, _), attributes)| (*prefix, format!("{attributes:?}")))
        .collect();
    held.sort();
    held
}

/// What the kernel is to do, and over whom when that ends; sessions have other numbers each time.
fn installed(rig: &Rig) -> BTreeMap<IpNet, (Vec<TrackedNextHop>, Option<TrackedNextHop>)> {
    let hops = rig.kernel.iter().map(|(prefix, route)| {
        let next_hops = route.next_hops.iter().map(|(next_hop, _)| *next_hop).collect();
        (*prefix, (next_hops, route.backup.map(|(next_hop, _)| next_hop)))
    });
    hops.collect()
}

fn check(ops: Vec<Op>, slice: usize, servers: bool) {
    let mut rig = Rig::with(|global| global.require_policy = false, Install::All);
    rig.slice = slice;
    let mut model = Model { servers, ..Model::default() };
    for id in 1..=PEERS {
        model.up(&mut rig, id);
    }
    for op in ops {
        model.run(&mut rig, op);
    }
    for id in 1..=PEERS {
        model.run(&mut rig, Op::Drain(id));
    }
    rig.settle();
    let mut fresh = model.fresh();
    for id in 1..=PEERS {
        assert_eq!(holdings(&rig, id), holdings(&fresh, id), "what p{id} holds");
        let counts = rig.shard.peer_counts(PeerId(id)).unwrap();
        let advertised: u64 = counts.iter().map(|counts| counts.advertised).sum();
        assert_eq!(advertised as usize, rig.peers[&id].table.len(), "advertised to p{id}");
        let received: u64 = counts.iter().map(|counts| counts.received).sum();
        let sent = model.routes.keys().filter(|(peer, ..)| *peer == id).count();
        assert_eq!(received as usize, sent, "received from p{id}");
        assert_eq!(counts, fresh.shard.peer_counts(PeerId(id)).unwrap(), "counts of p{id}");
    }
    assert_eq!(installed(&rig), installed(&fresh));
    // Groups may differ in what they were made for; all else is the same.
    let totals = |rig: &Rig| rig.shard.counts().map(|c| (c.prefixes, c.paths, c.best, c.installed));
    assert_eq!(totals(&rig), totals(&fresh));
    for id in 1..=PEERS {
        rig.down(id);
        fresh.down(id);
    }
    assert_eq!(totals(&rig), [(0, 0, 0, 0); 2]);
    assert_eq!(rig.shard.counts()[0].attributes, 0, "every attribute set has been released");
    assert!(rig.kernel.is_empty() && rig.tracked.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_way_there_leaves_no_trace(
        ops in proptest::collection::vec(op(), 0..60),
        slice in prop_oneof![Just(1usize), Just(4096)],
    ) {
        check(ops, slice, false);
    }

    #[test]
    fn nor_do_clients_of_a_route_server_see_any(
        ops in proptest::collection::vec(op(), 0..60),
        slice in prop_oneof![Just(1usize), Just(4096)],
    ) {
        check(ops, slice, true);
    }
}
