//! Floating addresses: what comes for an address outside goes to the workload that has it.
//!
//! The destination of a connection is rewritten before it is routed, or where the host begins it; so
//! policies see the workload's own address. A workload that calls itself by such an address would get
//! packets from its own, which no kernel takes from a link: their source becomes the floating address.
//! Of several workloads that have one the first by the name of its link gets it, until it has it no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use policy_calc::Endpoint;

use super::{
    FAMILIES, Layout,
    step::{Part, address, is_family},
};
use crate::{
    expr::{Expr, Octets, Reg, Rewritten, Rule},
    name::Name,
    table::{Chain, ChainKind, Field, Hook, HookPoint, Set, Shape, Span, Value},
};

/// By floating address: the links that have it, and the addresses it stands for there.
pub(super) type Claims = BTreeMap<IpAddr, BTreeMap<String, IpAddr>>;

impl Layout {
    /// The chains and maps, if floating addresses are used.
    pub(super) fn rewriting(&mut self) {
        if !self.settings.floating {
            return;
        }
        let (mut to, mut from) = (Vec::new(), Vec::new());
        for family in FAMILIES {
            let [inside, outside] = maps_of(family);
            let maps = [
                (inside, Shape::values(&[family], family)),
                (outside, Shape::values(&[family, family], family)),
            ];
            for (name, shape) in maps {
                self.table.sets.insert(name.into(), Set::new(shape));
            }
            let six = family == Field::Ipv6;
            let rewrite = |map: &str, which| {
                let value = Expr::ValueOf { map: map.into(), from: Reg::FIRST, to: Reg::FIRST };
                [value, Expr::Rewrite { which, six, from: Reg::FIRST, ports: None }]
            };
            let mut steps = is_family(family);
            steps.extend(address(family, Part::Destination, Reg::FIRST));
            steps.extend(rewrite(inside, Rewritten::Destination));
            to.push(Rule::new(steps, Some("floatingIPs")));
            let mut steps = is_family(family);
            steps.extend(address(family, Part::Source, Reg::FIRST));
            let behind = Reg::at(if six { 4 } else { 1 });
            steps.extend(address(family, Part::Destination, behind));
            steps.extend(rewrite(outside, Rewritten::Source));
            from.push(Rule::new(steps, Some("to itself by a floating address")));
        }
        // As others have destinations rewritten; sources before whoever masquerades.
        for (name, point, priority, rules) in [
            (PREROUTING, HookPoint::Prerouting, -100, to.clone()),
            (OUTPUT, HookPoint::Output, -100, to),
            (ITSELF, HookPoint::Postrouting, 99, from),
        ] {
            let hook = Some(Hook { kind: ChainKind::Nat, point, priority, drops: false });
            self.table.chains.insert(name.into(), Chain { hook, rules });
        }
    }

    /// A link's workload has these floating addresses now, and had others.
    pub(super) fn float(
        &mut self,
        link: &str,
        before: Option<&Endpoint>,
        endpoint: Option<&Endpoint>,
    ) {
        let nats = |of: Option<&Endpoint>| of.map(|of| of.nats.clone()).unwrap_or_default();
        let (before, now) = (nats(before), nats(endpoint));
        if !self.settings.floating || before == now {
            return;
        }
        for (outside, _) in &before {
            if let Some(claims) = self.floating.get_mut(outside) {
                claims.remove(link);
                if claims.is_empty() {
                    self.floating.remove(outside);
                }
            }
        }
        for (outside, inside) in &now {
            self.floating.entry(*outside).or_default().insert(link.to_owned(), *inside);
        }
        for (outside, inside) in before.iter().chain(&now) {
            self.place(*outside, *inside);
        }
    }

    /// What the maps have for a floating address, and for an address it stands for or stood for.
    fn place(&mut self, outside: IpAddr, inside: IpAddr) {
        let claims = self.floating.get(&outside);
        let claimed: BTreeSet<IpAddr> =
            claims.into_iter().flat_map(BTreeMap::values).copied().collect();
        let winner = claims.and_then(first);
        self.hold(maps(outside)[0], Span::one(&octets(outside)), winner);
        // Who has it now may not have had it before, and the other way round.
        for inside in claimed.into_iter().chain([inside]) {
            let mut own = self.floating.iter().filter(|(_, claims)| first(claims) == Some(inside));
            let itself = own.next().map(|(outside, _)| *outside);
            let one = Span::one(&octets(inside));
            self.hold(maps(inside)[1], one.clone().then(&one), itself);
        }
    }

    /// A map has this value for a key now, or none.
    fn hold(&mut self, map: &str, key: Span, value: Option<IpAddr>) {
        let map = Name::from(map);
        let Some(set) = self.table.sets.get_mut(&map) else { return };
        let value = value.map(|value| Value::Octets(octets(value)));
        if set.elements.get(&key) == value.as_ref() {
            return;
        }
        match value {
            Some(value) => set.elements.insert(key.clone(), value),
            None => set.elements.remove(&key),
        };
        self.touched.elements.entry(map).or_default().insert(key);
    }
}

/// What a floating address stands for that several may have.
fn first(claims: &BTreeMap<String, IpAddr>) -> Option<IpAddr> {
    claims.values().next().copied()
}

/// An address as it stands in packets.
pub(super) fn octets(address: IpAddr) -> Octets {
    match address {
        IpAddr::V4(address) => Octets::from_slice(&address.octets()),
        IpAddr::V6(address) => Octets::from_slice(&address.octets()),
    }
}

/// What a floating address stands for, and by which a workload is seen that calls itself by one.
fn maps(of: IpAddr) -> [&'static str; 2] {
    maps_of(if of.is_ipv4() { Field::Ipv4 } else { Field::Ipv6 })
}

fn maps_of(family: Field) -> [&'static str; 2] {
    if family == Field::Ipv4 { ["floating4", "itself4"] } else { ["floating6", "itself6"] }
}

const PREROUTING: &str = "nat-prerouting";
const OUTPUT: &str = "nat-output";
const ITSELF: &str = "nat-itself";
/// The chains and maps.
pub(super) const COMMON: [&str; 7] =
    [PREROUTING, OUTPUT, ITSELF, "floating4", "floating6", "itself4", "itself6"];
