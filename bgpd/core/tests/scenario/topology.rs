//! `topology.txt`: the speaker, its peers, their policies and how next hops are reached.
//!
//! ```text
//! # anything behind a hash
//! order-matters                                   the result depends on the order of the input
//! speaker asn=65000 router-id=10.0.0.1 multipath-ebgp=4 ...
//! peer NAME asn=65001 address=192.0.2.11 ...      settings by the names of the contract
//! policy NAME accept|reject                       the default; rules follow
//! rule NAME prefix=10.0.0.0/8 ... local-pref=200 ... accept|reject|next
//! next-hop ADDRESS cost=5 | unreachable
//! ```
//!
//! Addresses of 192.0.2.0/24 and 2001:db8::/64 are on a link of ours (cost 0), anything else is ten
//! away. We are `.1` of a peer's /24, or 2001:db8::1; a network with others on it is shared with the
//! peers that have `subnet=PREFIX`. Policies are `accept` unless named, so that a
//! scenario about RFC 8212 says `import=none`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use bgp_core::{
    config::{
        Confederation, GlobalConfig, LocalAsnMode, MaxPrefixAction, MaxPrefixes, NextHopMode,
        PeerConfig, RemovePrivate,
    },
    fsm::{ConnectionId, Input, Negotiated, Output, Session},
    policy::{Definition, RoutePolicy, Sets, definition, definition::RuleDefinition},
    rib::{Resolved, SessionAddresses},
};
use bgp_packet::{AddPathMode, Asn, Capability, Family, FamilySet, Open};
use ipnet::IpNet;

use super::{common, rules};

/// One peer and what it says in its OPEN.
#[derive(Debug, Clone)]
pub struct Peer {
    pub config: PeerConfig,
    pub address: IpAddr,
    pub asn: Asn,
    pub router_id: Ipv4Addr,
    /// Not up until a `peer_up`.
    pub starts_down: bool,
    /// Shared with it, for third-party next hops.
    subnet: Option<IpNet>,
    two_octet: bool,
    settings: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Topology {
    pub global: GlobalConfig,
    /// In the order of the file; their place is their `PeerId`.
    pub peers: Vec<Peer>,
    pub next_hops: BTreeMap<IpAddr, Option<u32>>,
    pub order_matters: bool,
    speaker: Vec<String>,
    policies: BTreeMap<String, Arc<RoutePolicy>>,
}

/// A word of a line: `key=value`, or `key` alone.
pub fn split(word: &str) -> (&str, &str) {
    word.split_once('=').unwrap_or((word, ""))
}

fn number<T: std::str::FromStr>(value: &str) -> T {
    value.parse().unwrap_or_else(|_| panic!("{value:?} has no such value"))
}

impl Topology {
    /// # Panics
    /// With the line that is wrong.
    pub fn parse(text: &str) -> Self {
        let mut topology = Self {
            global: common::global(Asn(65000), Ipv4Addr::new(10, 0, 0, 1)),
            peers: Vec::new(),
            next_hops: BTreeMap::new(),
            order_matters: false,
            speaker: Vec::new(),
            policies: BTreeMap::new(),
        };
        let builtin = [RoutePolicy::accept(), RoutePolicy::reject()];
        for policy in builtin {
            topology.policies.insert(policy.name().to_owned(), Arc::new(policy));
        }
        let mut open: Option<Definition> = None;
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some((kind, rest)) = words.split_first() else { continue };
            if *kind == "rule" {
                let definition = open.as_mut().expect("a rule stands behind its policy");
                definition.rules.push(RuleDefinition {
                    name: rest.first().map(|name| (*name).to_owned()),
                    ..rules::parse(rest.get(1..).unwrap_or_default())
                });
                continue;
            }
            topology.close(open.take());
            match (*kind, rest) {
                ("order-matters", []) => topology.order_matters = true,
                ("speaker", settings) => topology.set_speaker(settings),
                ("peer", [name, settings @ ..]) => topology.add_peer(name, settings),
                ("policy", [name, default]) => {
                    let default = match *default {
                        "accept" => definition::Default::Accept,
                        "reject" => definition::Default::Reject,
                        other => panic!("{other:?} is no default of a policy"),
                    };
                    let name = (*name).to_owned();
                    open = Some(Definition { name, default, rules: Vec::new() });
                }
                ("next-hop", [address, state]) => {
                    let cost = (*state != "unreachable").then(|| number(split(state).1));
                    topology.next_hops.insert(number(address), cost);
                }
                _ => panic!("no such line: {line:?}"),
            }
        }
        topology.close(open);
        // Only now every policy is known.
        for peer in &mut topology.peers {
            peer.config = configure(peer, &topology.policies);
        }
        topology
    }

    fn close(&mut self, definition: Option<Definition>) {
        if let Some(definition) = definition {
            let name = definition.name.clone();
            let policy = RoutePolicy::compile(definition, &Sets::default())
                .unwrap_or_else(|error| panic!("policy {name}: {error}"));
            self.policies.insert(name, Arc::new(policy));
        }
    }

    pub fn peer_index(&self, name: &str) -> usize {
        let found = self.peers.iter().position(|peer| peer.config.name == name);
        found.unwrap_or_else(|| panic!("no peer {name:?}"))
    }

    /// More settings, later ones winning.
    pub fn change_peer(&mut self, index: usize, settings: &str) {
        let peer = &mut self.peers[index];
        peer.settings.extend(settings.split_whitespace().map(str::to_owned));
        peer.config = configure(peer, &self.policies);
    }

    pub fn change_speaker(&mut self, settings: &str) {
        let words: Vec<_> = settings.split_whitespace().collect();
        self.set_speaker(&words);
    }

    fn set_speaker(&mut self, settings: &[&str]) {
        self.speaker.extend(settings.iter().map(|word| (*word).to_owned()));
        let mut global = common::global(Asn(65000), Ipv4Addr::new(10, 0, 0, 1));
        let mut cluster_id = None;
        for word in &self.speaker {
            let (key, value) = split(word);
            match key {
                "asn" => global.asn = number(value),
                "router-id" => global.router_id = number(value),
                "cluster-id" => cluster_id = Some(number(value)),
                "confederation" => {
                    let (id, members) = value.split_once(':').expect("ID:MEMBER,MEMBER");
                    let members = members.split(',').map(number).collect();
                    global.confederation = Some(Confederation { id: number(id), members });
                }
                "multipath-ebgp" => global.multipath_ebgp = number(value),
                "multipath-ibgp" => global.multipath_ibgp = number(value),
                "relax-as-path" => global.multipath_relax = true,
                "require-policy" => global.require_policy = number(value),
                "always-compare-med" => global.decision.always_compare_med = true,
                "missing-med-worst" => global.decision.missing_med_worst = true,
                "deterministic-med" => global.decision.deterministic_med = number(value),
                "prefer-older" => global.decision.prefer_older = number(value),
                _ => panic!("no setting {key:?} of the speaker"),
            }
        }
        global.cluster_id = cluster_id.unwrap_or(global.router_id);
        self.global = global;
    }

    fn add_peer(&mut self, name: &str, settings: &[&str]) {
        let last = 11 + u8::try_from(self.peers.len()).expect("few peers");
        let value = |key| settings.iter().map(|word| split(word)).find(|(k, _)| *k == key);
        let asn = value("asn").map_or(self.global.asn, |(_, v)| number(v));
        let net = if asn == self.global.asn { [10, 0, 0, last] } else { [192, 0, 2, last] };
        let address = value("address").map_or(IpAddr::from(net), |(_, v)| number(v));
        let router_id = value("router-id").map(|(_, v)| number(v)).unwrap_or(match address {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => Ipv4Addr::from(net),
        });
        self.peers.push(Peer {
            config: common::peer(name, address, asn),
            address,
            asn,
            router_id,
            starts_down: false,
            subnet: None,
            two_octet: false,
            settings: settings.iter().map(|word| (*word).to_owned()).collect(),
        });
        let peer = self.peers.last_mut().expect("just pushed");
        peer.starts_down = settings.contains(&"down");
        peer.two_octet = settings.contains(&"two-octet");
        peer.subnet = value("subnet").map(|(_, v)| number(v));
    }

    /// What the session with this peer would agree on, by a session.
    pub fn negotiated(&self, index: usize) -> Arc<Negotiated> {
        let peer = &self.peers[index];
        let mut session = Session::new(self.global.clone(), peer.config.clone(), peer.address, 0);
        #[allow(clippy::disallowed_methods)] // nothing here depends on it
        let now = Instant::now();
        let connection = ConnectionId(0);
        let local = SocketAddr::new(local_address(peer.address), 40000);
        let remote = SocketAddr::new(peer.address, 179);
        let mut out = Vec::new();
        session.handle(now, Input::Start, &mut out);
        session.handle(now, Input::Connected { connection, local, remote }, &mut out);
        session.handle(now, Input::Open(connection, peer.open()), &mut out);
        session.handle(now, Input::KeepAlive(connection), &mut out);
        let agreed = out.into_iter().find_map(|output| match output {
            Output::Established(_, negotiated) => Some(negotiated),
            _ => None,
        });
        let error = session.last_error();
        agreed.unwrap_or_else(|| panic!("no session with {}: {error:?}", peer.config.name))
    }

    /// Our own addresses towards a peer.
    pub fn addresses(&self, index: usize) -> SessionAddresses {
        let peer = &self.peers[index];
        let shares_link = peer.asn != self.global.asn && on_link(peer.address);
        SessionAddresses {
            v4: Some(match local_address(peer.address) {
                IpAddr::V4(address) => address,
                IpAddr::V6(_) => Ipv4Addr::new(192, 0, 2, 1),
            }),
            v6: Some(LOCAL_V6),
            link_local: shares_link.then_some(LOCAL_LINK),
            interface: shares_link.then_some(1),
            interface_name: None,
            subnet: peer.subnet,
        }
    }

    /// How a next hop is reached now.
    pub fn resolve(&self, address: IpAddr) -> Option<Resolved> {
        let local = address == LOCAL_V6 || address == Ipv4Addr::new(192, 0, 2, 1);
        let direct = on_link(address);
        let cost = match self.next_hops.get(&address) {
            Some(state) => (*state)?,
            None if direct => 0,
            None => 10,
        };
        Some(Resolved { cost, direct, local, interface: None })
    }
}

const LOCAL_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const LOCAL_LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

fn on_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets().starts_with(&[192, 0, 2]),
        IpAddr::V6(address) => {
            address.is_unicast_link_local()
                || address.segments().starts_with(&[0x2001, 0xdb8, 0, 0])
        }
    }
}

fn local_address(remote: IpAddr) -> IpAddr {
    match remote {
        IpAddr::V4(remote) => {
            let [a, b, c, _] = remote.octets();
            IpAddr::from([a, b, c, 1])
        }
        IpAddr::V6(_) => IpAddr::V6(LOCAL_V6),
    }
}

impl Peer {
    fn families(&self) -> FamilySet {
        let default = bgp_core::config::default_families(self.address);
        self.config.families.unwrap_or(default)
    }

    fn open(&self) -> Open {
        let mut capabilities: Vec<_> =
            self.families().iter().map(Capability::Multiprotocol).collect();
        capabilities.extend([
            Capability::RouteRefresh,
            Capability::EnhancedRouteRefresh,
            Capability::ExtendedMessage,
        ]);
        let next_hops = vec![(Family::IPV4_UNICAST, 2)];
        capabilities.push(Capability::ExtendedNextHop(next_hops));
        if !self.two_octet {
            capabilities.push(Capability::FourOctetAsn(self.asn));
        }
        let modes = self.families().iter().map(|family| (family, AddPathMode::Both));
        capabilities.push(Capability::AddPath(modes.collect()));
        Open {
            version: 4,
            my_as: self.asn.two_octet(),
            hold_time: 90,
            router_id: self.router_id,
            capabilities,
        }
    }
}

fn configure(peer: &Peer, policies: &BTreeMap<String, Arc<RoutePolicy>>) -> PeerConfig {
    let policy = |name: &str| {
        let found = policies.get(name).cloned();
        (name != "none").then(|| found.unwrap_or_else(|| panic!("no policy {name:?}")))
    };
    let mut config = common::peer(&peer.config.name, peer.address, peer.asn);
    config.import = policy("accept");
    config.export = policy("accept");
    for word in &peer.settings {
        let (key, value) = split(word);
        match key {
            "asn" | "address" | "router-id" | "down" | "two-octet" | "subnet" => {}
            "families" => {
                let names = value.split(',').map(number::<Family>);
                config.families = Some(names.collect());
            }
            "import" => config.import = policy(value),
            "export" => config.export = policy(value),
            "local-asn" => config.local_asn = Some(number(value)),
            "local-asn-mode" => {
                config.local_asn_mode = match value {
                    "prepend" => LocalAsnMode::Prepend,
                    "no-prepend" => LocalAsnMode::NoPrepend,
                    "replace" => LocalAsnMode::Replace,
                    _ => panic!("no local-asn-mode {value:?}"),
                }
            }
            "next-hop" => {
                config.next_hop = match value {
                    "auto" => NextHopMode::Auto,
                    "self" => NextHopMode::SelfAddress,
                    "unchanged" => NextHopMode::Unchanged,
                    _ => panic!("no next-hop {value:?}"),
                }
            }
            "remove-private-asn" => {
                config.remove_private_asn = match value {
                    "true" => RemovePrivate::WhollyPrivate,
                    "all" => RemovePrivate::All,
                    "replace" => RemovePrivate::Replace,
                    _ => panic!("no remove-private-asn {value:?}"),
                }
            }
            "route-reflector-client" => config.route_reflector_client = true,
            "route-server-client" => {
                config.route_server_client = true;
                config.enforce_first_as = false;
            }
            "as-override" => config.as_override = true,
            "as-set" => config.reject_as_set = value == "reject",
            "allow-own-asn" => config.allow_own_asn = number(value),
            "enforce-first-as" => config.enforce_first_as = number(value),
            "extended-next-hop" => config.extended_next_hop = true,
            "extended-messages" => config.extended_messages = number(value),
            "add-path-receive" => config.add_path.receive = true,
            "add-path-send" => config.add_path.send = number(value),
            "discard-beyond" => {
                config.max_prefixes = Some(MaxPrefixes {
                    limit: number(value),
                    warn_at: 1.0,
                    action: MaxPrefixAction::Discard,
                });
            }
            _ => panic!("no setting {key:?} of a peer"),
        }
    }
    config
}
