//! `input.jsonl`: one event a line.
//!
//! ```text
//! {"peer": "a", "announce": "10.0.0.0/8", "as_path": [65001], "med": 5, ...}
//! {"peer": "a", "withdraw": "10.0.0.0/8"}
//! {"originate": "10.1.0.0/16", "communities": ["65000:1"]}     {"forget": "10.1.0.0/16"}
//! {"peer_down": "a"}   {"peer_up": "a"}   {"refresh": "a"}   {"soft_reset": "a"}
//! {"begin_refresh": "a"}   {"end_refresh": "a"}    brackets around what a peer sends again
//! {"next_hop": "10.9.9.9", "cost": 5}     {"next_hop": "10.9.9.9"} is one that is gone
//! {"configure": "a", "settings": "import=other"}    "speaker" for the speaker
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use bgp_core::policy::RouteSource;
use bgp_packet::{AsPath, Asn, NextHop, Origin, PathAttributes};
use ipnet::IpNet;
use serde::Deserialize;

use super::topology::{Peer, Topology};

/// What happens, with all defaults filled in.
#[derive(Debug, Clone)]
pub enum Step {
    PeerUp(usize),
    PeerDown(usize),
    Announce { peer: usize, prefix: IpNet, path_id: u32, attributes: Box<PathAttributes> },
    Withdraw { peer: usize, prefix: IpNet, path_id: u32 },
    Local { source: RouteSource, prefix: IpNet, route: Option<Box<Own>> },
    NextHop { address: IpAddr, cost: Option<u32> },
    Refresh(usize),
    BeginRefresh(usize),
    EndRefresh(usize),
    SoftReset(usize),
    ConfigurePeer(usize, String),
    ConfigureSpeaker(String),
}

/// A route of our own.
#[derive(Debug, Clone)]
pub struct Own {
    pub attributes: PathAttributes,
    pub blackhole: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum PathText {
    Text(String),
    Sequence(Vec<u32>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Line {
    peer: Option<String>,
    announce: Option<IpNet>,
    withdraw: Option<IpNet>,
    originate: Option<IpNet>,
    forget: Option<IpNet>,
    source: Option<String>,
    blackhole: bool,
    peer_up: Option<String>,
    peer_down: Option<String>,
    refresh: Option<String>,
    begin_refresh: Option<String>,
    end_refresh: Option<String>,
    soft_reset: Option<String>,
    configure: Option<String>,
    settings: Option<String>,
    cost: Option<u32>,
    next_hop: Option<IpAddr>,
    next_hop_link_local: Option<Ipv6Addr>,
    path_id: u32,
    as_path: Option<PathText>,
    origin: Option<String>,
    med: Option<u32>,
    local_pref: Option<u32>,
    communities: Vec<String>,
    large_communities: Vec<String>,
    ext_communities: Vec<String>,
    originator_id: Option<Ipv4Addr>,
    cluster_list: Vec<Ipv4Addr>,
    atomic_aggregate: bool,
}

fn texts<T: std::str::FromStr>(list: &[String]) -> Vec<T> {
    let parse = |text: &String| text.parse().unwrap_or_else(|_| panic!("{text:?} is wrong"));
    list.iter().map(parse).collect()
}

/// # Panics
/// With the line that is wrong.
pub fn parse(text: &str, topology: &Topology) -> Vec<Step> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|text| {
            let line: Line =
                serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            line.step(topology).unwrap_or_else(|| panic!("{text}: nothing happens"))
        })
        .collect()
}

impl Line {
    fn step(&self, topology: &Topology) -> Option<Step> {
        let index = |name: &String| topology.peer_index(name);
        Some(if let Some(name) = &self.peer {
            let (peer, path_id) = (index(name), self.path_id);
            match (self.announce, self.withdraw) {
                (Some(prefix), None) => {
                    let attributes = self.received(topology, &topology.peers[peer], prefix);
                    Step::Announce { peer, prefix, path_id, attributes: Box::new(attributes) }
                }
                (None, Some(prefix)) => Step::Withdraw { peer, prefix, path_id },
                _ => return None,
            }
        } else if let Some(prefix) = self.originate {
            let unspecified: IpAddr = match prefix {
                IpNet::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                IpNet::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let mut attributes = PathAttributes::local(NextHop::new(unspecified));
            self.fill(&mut attributes);
            let own = Own { attributes, blackhole: self.blackhole };
            Step::Local { source: self.source(), prefix, route: Some(Box::new(own)) }
        } else if let Some(prefix) = self.forget {
            Step::Local { source: self.source(), prefix, route: None }
        } else if let Some(name) = &self.peer_up {
            Step::PeerUp(index(name))
        } else if let Some(name) = &self.peer_down {
            Step::PeerDown(index(name))
        } else if let Some(name) = &self.refresh {
            Step::Refresh(index(name))
        } else if let Some(name) = &self.begin_refresh {
            Step::BeginRefresh(index(name))
        } else if let Some(name) = &self.end_refresh {
            Step::EndRefresh(index(name))
        } else if let Some(name) = &self.soft_reset {
            Step::SoftReset(index(name))
        } else if let Some(name) = &self.configure {
            let settings = self.settings.clone()?;
            match name.as_str() {
                "speaker" => Step::ConfigureSpeaker(settings),
                _ => Step::ConfigurePeer(index(name), settings),
            }
        } else {
            Step::NextHop { address: self.next_hop?, cost: self.cost }
        })
    }

    fn source(&self) -> RouteSource {
        match self.source.as_deref() {
            None | Some("originate") => RouteSource::Originate,
            Some("connected") => RouteSource::Connected,
            Some("static") => RouteSource::Static,
            Some("kernel") => RouteSource::Kernel,
            Some(other) => panic!("no source {other:?}"),
        }
    }

    /// What a peer sends, where the line is silent: its own AS as path, itself as next hop.
    fn received(&self, topology: &Topology, peer: &Peer, prefix: IpNet) -> PathAttributes {
        let next_hop: IpAddr = match (prefix, peer.address) {
            (IpNet::V6(_), IpAddr::V4(address)) => {
                let last = u16::from(address.octets()[3]);
                Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into()
            }
            (_, address) => address,
        };
        let mut attributes = PathAttributes::local(NextHop::new(next_hop));
        if peer.asn == topology.global.asn {
            attributes.local_pref = Some(100);
        } else {
            attributes.as_path = AsPath::sequence([peer.asn]);
        }
        self.fill(&mut attributes);
        attributes
    }

    fn fill(&self, attributes: &mut PathAttributes) {
        if let Some(address) = self.next_hop {
            attributes.next_hop.address = address;
        }
        attributes.next_hop.link_local = self.next_hop_link_local;
        match &self.as_path {
            None => {}
            Some(PathText::Sequence(asns)) if asns.is_empty() => {
                attributes.as_path = AsPath::default();
            }
            Some(PathText::Sequence(asns)) => {
                attributes.as_path = AsPath::sequence(asns.iter().copied().map(Asn));
            }
            Some(PathText::Text(text)) => {
                attributes.as_path = text.parse().unwrap_or_else(|error| panic!("{error}"));
            }
        }
        attributes.origin = match self.origin.as_deref() {
            None | Some("igp") => Origin::Igp,
            Some("egp") => Origin::Egp,
            Some("incomplete") => Origin::Incomplete,
            Some(other) => panic!("no origin {other:?}"),
        };
        attributes.med = self.med;
        attributes.local_pref = self.local_pref.or(attributes.local_pref);
        attributes.communities = texts(&self.communities);
        attributes.large_communities = texts(&self.large_communities);
        attributes.ext_communities = texts::<bgp_packet::ExtCommunity>(&self.ext_communities)
            .into_iter()
            .map(|community| community.0)
            .collect();
        attributes.originator_id = self.originator_id;
        attributes.cluster_list = self.cluster_list.clone();
        attributes.atomic_aggregate = self.atomic_aggregate;
    }
}

/// What is left of a run of steps: who is up, what was announced last, how next hops and settings
/// ended up. Playing it must end where playing the steps does.
#[derive(Debug, Clone, Default)]
pub struct Net {
    pub settings: Vec<Step>,
    pub next_hops: BTreeMap<IpAddr, Option<u32>>,
    pub up: Vec<usize>,
    /// By peer.
    pub announced: BTreeMap<(usize, IpNet, u32), Step>,
    pub local: BTreeMap<(IpNet, RouteSource), Step>,
}

impl Net {
    pub fn of(steps: &[Step]) -> Self {
        let mut net = Self::default();
        // Routes a peer has not sent again since it began a refresh.
        let mut stale = BTreeSet::new();
        for step in steps {
            if let Step::Announce { peer, prefix, path_id, .. } = step {
                stale.remove(&(*peer, *prefix, *path_id));
            }
            match step {
                Step::PeerUp(peer) => net.up.push(*peer),
                Step::PeerDown(peer) => {
                    net.up.retain(|up| up != peer);
                    net.announced.retain(|(from, _, _), _| from != peer);
                }
                Step::Announce { peer, prefix, path_id, .. } => {
                    net.announced.insert((*peer, *prefix, *path_id), step.clone());
                }
                Step::Withdraw { peer, prefix, path_id } => {
                    net.announced.remove(&(*peer, *prefix, *path_id));
                }
                Step::Local { source, prefix, route: Some(_) } => {
                    net.local.insert((*prefix, *source), step.clone());
                }
                Step::Local { source, prefix, route: None } => {
                    net.local.remove(&(*prefix, *source));
                }
                Step::NextHop { address, cost } => {
                    net.next_hops.insert(*address, *cost);
                }
                Step::ConfigurePeer(..) | Step::ConfigureSpeaker(_) => {
                    net.settings.push(step.clone());
                }
                Step::BeginRefresh(peer) => {
                    let of = net.announced.keys().filter(|(from, _, _)| from == peer);
                    stale.extend(of.copied());
                }
                Step::EndRefresh(peer) => {
                    net.announced.retain(|key, _| key.0 != *peer || !stale.contains(key));
                }
                Step::Refresh(_) | Step::SoftReset(_) => {}
            }
        }
        net
    }

    /// What one peer announces.
    pub fn announced_by(&self, peer: usize) -> Vec<Step> {
        let of = self.announced.iter().filter(|((from, _, _), _)| *from == peer);
        of.map(|(_, step)| step.clone()).collect()
    }

    /// Settings and next hops: what must stand before anything is played in another order.
    pub fn ground(&self) -> Vec<Step> {
        let next_hops = self.next_hops.iter();
        let next_hops =
            next_hops.map(|(address, cost)| Step::NextHop { address: *address, cost: *cost });
        self.settings.iter().cloned().chain(next_hops).collect()
    }

    pub fn ups(&self) -> Vec<Step> {
        self.up.iter().copied().map(Step::PeerUp).collect()
    }

    /// Every route, in the order of the keys.
    pub fn routes(&self) -> Vec<Step> {
        self.announced.values().chain(self.local.values()).cloned().collect()
    }
}
