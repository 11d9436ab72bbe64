//! Random clusters: few names, few addresses, few labels, so that everything meets everything.

use std::net::IpAddr;

use ipnet::IpNet;
use margay_model::{Key, ObjectMeta, Order, Port, Protocol, Resource, Selector, kinds::*};
use policy_calc::{Header, Packet};

use crate::world::NODE;

/// A generator of numbers (splitmix64): equal seeds, equal numbers.
pub struct Dice(pub u64);

const NAMESPACES: [&str; 2] = ["a", "b"];
const SERVICES: [&str; 2] = ["s", "t"];
const PORT_NAMES: [&str; 2] = ["http", "dns"];
const TIERS: [&str; 5] = ["default", "t1", "t2", "t3", "kube-baseline"];
const PROFILES: [&str; 4] = ["kns.a", "kns.b", "ksa.a.x", "plain"];
const SELECTORS: [&str; 16] = [
    "all()",
    "app == 'w'",
    "app == 'd'",
    "app != 'w'",
    "app in {'w', 'd'}",
    "has(zone)",
    "!has(zone)",
    "zone == 'x' || app == 'c'",
    "zone == 'y' && app != 'c'",
    "app not in {'c'}",
    "pcns.team == 'red'",
    "projectcalico.org/namespace == 'a'",
    "zone starts with 'x'",
    "app contains 'c'",
    "!(app == 'w' && has(zone))",
    "pcsa.trust == 'high'",
];
const NAMESPACE_SELECTORS: [&str; 5] =
    ["all()", "global()", "team == 'red'", "team != 'red'", "has(team) || all()"];
const PROTOCOLS: [Protocol; 6] = [
    Protocol::Tcp,
    Protocol::Udp,
    Protocol::Sctp,
    Protocol::Icmp,
    Protocol::Icmpv6,
    Protocol::Number(47),
];

impl Dice {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// True in so many of a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()].clone()
    }

    fn small(&mut self, end: u64) -> u8 {
        u8::try_from(self.below(end)).unwrap()
    }

    fn maybe<T>(&mut self, percent: u64, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance(percent).then(|| make(self))
    }

    fn some<T>(&mut self, most: u64, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    fn address(&mut self) -> IpAddr {
        match self.chance(70) {
            true => IpAddr::from([10, 0, 0, self.small(12)]),
            false => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(self.small(6))]),
        }
    }

    fn net(&mut self) -> IpNet {
        let address = self.address();
        let (full, shorter) = if address.is_ipv4() { (32, 3) } else { (128, 3) };
        let length = match self.below(20) {
            0 => 0,
            _ => full - self.small(shorter + 1),
        };
        IpNet::new(address, length).unwrap()
    }

    pub fn packet(&mut self) -> Packet {
        let source = self.address();
        let destination = loop {
            let address = self.address();
            if address.is_ipv4() == source.is_ipv4() {
                break address;
            }
        };
        let protocol = self.one(&PROTOCOLS).number();
        let header = match protocol {
            6 | 17 | 132 => Header::Ports {
                source: self.one(&[80, 1000, 5000]),
                destination: self.one(&[52, 53, 80, 81, 90]),
            },
            1 | 58 => Header::Icmp { kind: self.one(&[0, 8, 128]), code: self.small(2) },
            _ => Header::Other,
        };
        Packet { source, destination, protocol, header }
    }

    fn selector(&mut self) -> Selector {
        self.one(&SELECTORS).parse().unwrap()
    }

    fn port(&mut self) -> Port {
        match self.below(3) {
            0 => Port::Named(self.one(&PORT_NAMES).to_owned()),
            1 => Port::Range(self.one(&[50, 80]), self.one(&[80, 85, 1000])),
            _ => Port::Number(self.one(&[53, 80, 81, 1000])),
        }
    }

    fn service(&mut self) -> ServiceMatch {
        let namespace = self.maybe(60, |dice| dice.one(&NAMESPACES).to_owned());
        ServiceMatch { name: self.maybe(98, |dice| dice.one(&SERVICES).to_owned()), namespace }
    }

    fn entity(&mut self) -> EntityRule {
        // Hardly anything may stand beside a service.
        if self.chance(15) {
            let services = Some(self.service());
            let ports = if self.chance(15) { self.some(2, Self::port) } else { vec![] };
            return EntityRule { services, ports, ..EntityRule::default() };
        }
        EntityRule {
            nets: if self.chance(25) { self.some(2, |dice| dice.net().into()) } else { vec![] },
            not_nets: if self.chance(15) { self.some(2, |dice| dice.net().into()) } else { vec![] },
            selector: self.maybe(35, Self::selector),
            not_selector: self.maybe(15, Self::selector),
            namespace_selector: self
                .maybe(15, |dice| dice.one(&NAMESPACE_SELECTORS).parse().unwrap()),
            service_accounts: self.maybe(5, |dice| ServiceAccountMatch {
                names: dice.some(1, |_| "x".to_owned()),
                selector: dice.maybe(50, |_| "trust == 'high'".parse().unwrap()),
            }),
            services: self.maybe(2, Self::service),
            ports: if self.chance(25) { self.some(3, Self::port) } else { vec![] },
            not_ports: if self.chance(10) { self.some(2, Self::port) } else { vec![] },
        }
    }

    fn icmp_fields(&mut self) -> IcmpFields {
        IcmpFields {
            kind: self.maybe(90, |dice| dice.one(&[0, 8, 128])),
            code: self.maybe(40, |dice| dice.small(2)),
        }
    }

    fn rule(&mut self) -> Rule {
        let action =
            self.one(&[Action::Allow, Action::Allow, Action::Deny, Action::Pass, Action::Log]);
        let protocol = self.maybe(60, |dice| dice.one(&PROTOCOLS));
        let is_icmp = matches!(protocol, Some(Protocol::Icmp | Protocol::Icmpv6));
        let icmp = if is_icmp { 40 } else { 1 };
        Rule {
            ip_version: self.maybe(10, |dice| dice.one(&[4, 6])),
            protocol,
            not_protocol: self.maybe(8, |dice| dice.one(&PROTOCOLS)),
            icmp: self.maybe(icmp, Self::icmp_fields),
            not_icmp: self.maybe(icmp / 2, Self::icmp_fields),
            source: self.maybe(50, Self::entity),
            destination: self.maybe(50, Self::entity),
            ..Rule::new(action)
        }
    }

    fn types(&mut self) -> Vec<PolicyType> {
        match self.below(4) {
            0 => vec![PolicyType::Ingress],
            1 => vec![PolicyType::Egress],
            2 => vec![],
            _ => vec![PolicyType::Ingress, PolicyType::Egress],
        }
    }

    fn order(&mut self) -> Option<Order> {
        self.maybe(80, |dice| Order::from(i32::from(dice.small(4))))
    }

    fn labels(&mut self) -> std::collections::BTreeMap<String, String> {
        let mut labels = std::collections::BTreeMap::new();
        for (key, values) in [("app", ["w", "d", "c"]), ("zone", ["x", "xy", "y"])] {
            if self.chance(70) {
                labels.insert(key.to_owned(), self.one(&values).to_owned());
            }
        }
        labels
    }

    fn metadata(&mut self, namespaced: bool, names: u64) -> ObjectMeta {
        let name = format!("n{}", self.below(names));
        let labels = self.labels();
        match namespaced {
            true => {
                let namespace = self.one(&NAMESPACES);
                ObjectMeta { labels, ..ObjectMeta::namespaced(namespace, name) }
            }
            false => ObjectMeta { labels, ..ObjectMeta::named(name) },
        }
    }

    /// Any resource.
    pub fn resource(&mut self) -> (Key, Resource) {
        let resource = match self.below(22) {
            20..=21 => self.slice(),
            0..=4 => self.workload(),
            5 => self.host(),
            6 => {
                let metadata = self.metadata(true, 3);
                let spec = NetworkSetSpec { nets: self.some(3, |dice| dice.net().into()) };
                NetworkSet { metadata, spec, status: None }.into()
            }
            7 => {
                let metadata = self.metadata(false, 3);
                let spec = GlobalNetworkSetSpec { nets: self.some(3, |dice| dice.net().into()) };
                GlobalNetworkSet { metadata, spec, status: None }.into()
            }
            8..=9 => self.profile(),
            10..=11 => {
                let spec = TierSpec {
                    order: self.order(),
                    default_action: self
                        .maybe(80, |dice| dice.one(&[TierAction::Deny, TierAction::Pass])),
                };
                Tier::new(self.one(&TIERS[1..4]), spec).into()
            }
            12..=15 => {
                let metadata = self.metadata(true, 4);
                let spec = NetworkPolicySpec {
                    tier: self.maybe(60, |dice| dice.one(&TIERS).to_owned()),
                    order: self.order(),
                    ingress: self.some(3, Self::rule),
                    egress: self.some(3, Self::rule),
                    selector: self.maybe(50, Self::selector),
                    types: self.types(),
                    service_account_selector: None,
                    performance_hints: self.some(1, |_| PerformanceHint::AssumeNeededOnEveryNode),
                };
                if self.chance(15) {
                    let staged_action = self.maybe(70, |dice| {
                        dice.one(&[StagedAction::Set, StagedAction::Learn, StagedAction::Delete])
                    });
                    let spec = StagedNetworkPolicySpec {
                        staged_action,
                        tier: spec.tier,
                        order: spec.order,
                        ingress: spec.ingress,
                        egress: spec.egress,
                        selector: spec.selector,
                        types: spec.types,
                        ..StagedNetworkPolicySpec::default()
                    };
                    StagedNetworkPolicy { metadata, spec, status: None }.into()
                } else {
                    NetworkPolicy { metadata, spec, status: None }.into()
                }
            }
            _ => {
                let metadata = self.metadata(false, 4);
                let early = self.below(10);
                let spec = GlobalNetworkPolicySpec {
                    tier: self.maybe(60, |dice| dice.one(&TIERS).to_owned()),
                    order: self.order(),
                    ingress: self.some(3, Self::rule),
                    egress: self.some(3, Self::rule),
                    selector: self.maybe(50, Self::selector),
                    types: self.types(),
                    do_not_track: (early == 0).then_some(true),
                    pre_dnat: (early == 1).then_some(true),
                    apply_on_forward: (early < 4).then_some(true),
                    service_account_selector: self.maybe(5, |_| "trust == 'high'".parse().unwrap()),
                    namespace_selector: self
                        .maybe(15, |dice| dice.one(&["team == 'red'", "all()"]).parse().unwrap()),
                    performance_hints: vec![],
                };
                GlobalNetworkPolicy { metadata, spec, status: None }.into()
            }
        };
        (resource.key(), resource)
    }

    fn workload(&mut self) -> Resource {
        let metadata = self.metadata(true, 3);
        let profile = format!("kns.{}", metadata.namespace.as_deref().unwrap());
        let mut profiles = self.some(2, |dice| dice.one(&PROFILES).to_owned());
        if self.chance(80) && !profiles.contains(&profile) {
            profiles.push(profile);
        }
        let spec = WorkloadEndpointSpec {
            node: Some(self.one(&[NODE, NODE, "there"]).to_owned()),
            orchestrator: Some("k8s".into()),
            service_account_name: self.maybe(50, |_| "x".to_owned()),
            interface_name: Some("cali1".into()),
            // Validation refuses ranges; the answers are one all the same.
            ip_networks: self.some(2, |dice| match dice.chance(10) {
                true => dice.net().into(),
                false => IpNet::from(dice.address()).into(),
            }),
            profiles,
            ports: self.some(3, |dice| WorkloadEndpointPort {
                name: dice.maybe(90, |dice| dice.one(&PORT_NAMES).to_owned()),
                protocol: dice.one(&[Protocol::Tcp, Protocol::Udp]),
                port: dice.one(&[53, 80, 81]),
                host_port: None,
                host_ip: None,
            }),
            ..WorkloadEndpointSpec::default()
        };
        WorkloadEndpoint { metadata, spec, status: None }.into()
    }

    fn slice(&mut self) -> Resource {
        let mut metadata = self.metadata(true, 4);
        if self.chance(90) {
            let service = self.one(&SERVICES).to_owned();
            metadata.labels.insert(SERVICE_NAME_LABEL.to_owned(), service);
        }
        let endpoint = |dice: &mut Self| SliceEndpoint {
            addresses: dice.some(2, |dice| match dice.chance(90) {
                true => SliceAddress::Ip(dice.address()),
                false => SliceAddress::Name("a.example.com".into()),
            }),
            conditions: dice.maybe(50, |dice| SliceConditions {
                ready: Some(dice.chance(50)),
                serving: None,
                terminating: Some(dice.chance(50)),
            }),
            hostname: None,
            target_ref: None,
            deprecated_topology: [].into(),
            node_name: None,
            zone: None,
            hints: None,
        };
        let spec = EndpointSliceSpec {
            address_type: AddressType::Ipv4,
            endpoints: self.some(3, endpoint),
            ports: self.some(2, |dice| SlicePort {
                name: dice.maybe(50, |dice| dice.one(&PORT_NAMES).to_owned()),
                protocol: dice
                    .maybe(70, |dice| dice.one(&[Protocol::Tcp, Protocol::Udp, Protocol::Sctp])),
                port: dice.maybe(90, |dice| dice.one(&[53, 80, 81])),
                app_protocol: None,
            }),
        };
        EndpointSlice { metadata, spec, status: None }.into()
    }

    fn host(&mut self) -> Resource {
        let metadata = self.metadata(false, 3);
        let spec = HostEndpointSpec {
            node: Some(self.one(&[NODE, "there"]).to_owned()),
            interface_name: self.maybe(70, |dice| dice.one(&["eth0", "*"]).to_owned()),
            expected_ips: self.some(2, Self::address),
            profiles: self.some(1, |dice| {
                dice.one(&["projectcalico-default-allow", "plain", "gone"]).to_owned()
            }),
            ports: self.some(1, |dice| EndpointPort {
                name: dice.one(&PORT_NAMES).to_owned(),
                protocol: Protocol::Tcp,
                port: 90,
            }),
        };
        HostEndpoint { metadata, spec, status: None }.into()
    }

    fn profile(&mut self) -> Resource {
        let name = self.one(&PROFILES);
        let mut spec = ProfileSpec::default();
        let mut label =
            |key: &str, value: String| spec.labels_to_apply.insert(key.to_owned(), value);
        match name {
            "kns.a" | "kns.b" => {
                label("pcns.team", self.one(&["red", "blue"]).to_owned());
            }
            "ksa.a.x" => {
                label("pcsa.trust", self.one(&["high", "low"]).to_owned());
            }
            _ => {
                label("zone", self.one(&["x", "y"]).to_owned());
            }
        }
        spec.ingress = match self.chance(60) {
            true => vec![Rule::new(Action::Allow)],
            false => self.some(3, Self::rule),
        };
        spec.egress = self.some(3, Self::rule);
        Profile::new(name, spec).into()
    }
}
