//! Routing messages of the kernel -> facts. What cannot be understood is `None`, never an error:
//! a newer kernel may say things we have no use for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::plan::fact::{
    Arrival, Fact, Form, Hop, Hops, KernelAddress, KernelLink, KernelObject, KernelRoute,
    ObjectKind, Origin, Presence, Via,
};
use margay_netlink::wire::{Message, REPLACE, Reader, number};

/// The fact a message tells, if it is one for us.
pub fn fact(m: &Message<'_>) -> Option<Fact> {
    let origin = if m.port == 0 { Origin::Kernel } else { Origin::Other };
    match m.kind {
        NEWLINK => Some(Fact::Link(link(m.body)?, Presence::Here)),
        DELLINK => Some(Fact::Link(link(m.body)?, Presence::Gone)),
        NEWADDR | DELADDR => {
            let (address, usable) = address(m.body)?;
            let here = m.kind == NEWADDR && usable;
            let presence = if here { Presence::Here } else { Presence::Gone };
            Some(Fact::Address(address, presence))
        }
        NEWROUTE => {
            let replaced = m.flags & REPLACE != 0;
            let arrival = if replaced { Arrival::Replaced } else { Arrival::Added };
            Some(Fact::Route(route(m.body)?, arrival, origin))
        }
        DELROUTE => Some(Fact::RouteGone(route(m.body)?, origin)),
        NEWNEXTHOP => Some(Fact::Object(object(m.body)?, Presence::Here, origin)),
        DELNEXTHOP => Some(Fact::Object(object(m.body)?, Presence::Gone, origin)),
        _ => None,
    }
}

fn link(body: &[u8]) -> Option<KernelLink> {
    let mut r = Reader(body);
    let family = r.u8()?;
    let _ = r.u8()?;
    let hardware = r.u16()?;
    let index = r.u32()?;
    let flags = r.u32()?;
    let _change = r.u32()?;
    if i32::from(family) != libc::AF_UNSPEC {
        return None; // a bridge telling of its port: not the link itself
    }
    let mut name = String::new();
    let mut mac = None;
    let mut mtu = 0;
    for (kind, value) in r.attributes() {
        match kind {
            IFLA_ADDRESS if hardware == ETHERNET => mac = value.try_into().ok(),
            IFLA_IFNAME => name = text(value),
            IFLA_MTU => mtu = number(value)?,
            _ => {}
        }
    }
    let admin_up = flags & IFF_UP != 0;
    let running = admin_up && flags & IFF_RUNNING != 0 && flags & IFF_LOWER_UP != 0;
    Some(KernelLink { index, name, admin_up, running, mac, mtu })
}

fn address(body: &[u8]) -> Option<(KernelAddress, bool)> {
    let mut r = Reader(body);
    let family = r.u8()?;
    let len = r.u8()?;
    let mut flags = u32::from(r.u8()?);
    let _scope = r.u8()?;
    let link = r.u32()?;
    let (mut peer, mut local, mut protocol) = (None, None, 0);
    for (kind, value) in r.attributes() {
        match kind {
            IFA_ADDRESS => peer = ip(family, value),
            IFA_LOCAL => local = ip(family, value),
            IFA_FLAGS => flags = number(value)?,
            IFA_PROTO => protocol = value.first().copied()?,
            _ => {}
        }
    }
    let usable = flags & (TENTATIVE | DAD_FAILED) == 0 || flags & OPTIMISTIC != 0;
    let net = IpNet::new(local.or(peer)?, len).ok()?;
    Some((KernelAddress { link, net, protocol }, usable))
}

fn route(body: &[u8]) -> Option<KernelRoute> {
    let mut r = Reader(body);
    let family = r.u8()?;
    let len = r.u8()?;
    let source_len = r.u8()?;
    let tos = r.u8()?;
    let mut table = u32::from(r.u8()?);
    let protocol = r.u8()?;
    let scope = r.u8()?;
    let kind = r.u8()?;
    let flags = r.u32()?;
    if flags & CLONED != 0 {
        return None; // a cache entry, not a route
    }
    let (mut to, mut metric, mut prefsrc, mut object) = (None, 0, None, None);
    let mut hop = Hop { gateway: None, oif: 0, onlink: flags & ONLINK != 0 };
    let mut hops: Hops = Vec::new();
    let mut special = false;
    for (attribute, value) in r.attributes() {
        match attribute {
            RTA_DST => to = Some(ip(family, value)?),
            RTA_OIF => hop.oif = number(value)?,
            RTA_GATEWAY => hop.gateway = Some(ip(family, value)?),
            RTA_VIA => hop.gateway = Some(via(value)?),
            RTA_PRIORITY => metric = number(value)?,
            RTA_PREFSRC => prefsrc = ip(family, value),
            RTA_MULTIPATH => hops = multipath(family, value),
            RTA_TABLE => table = number(value)?,
            RTA_NH_ID => object = Some(number(value)?),
            RTA_ENCAP | RTA_NEWDST => special = true,
            _ => {}
        }
    }
    let to = match to {
        Some(to) => to,
        None => unspecified(family)?,
    };
    let via = match (kind, object) {
        (BLACKHOLE, _) => Via::Blackhole,
        (UNREACHABLE, _) => Via::Unreachable,
        (PROHIBIT, _) => Via::Prohibit,
        (LOCAL, _) => Via::Local,
        (UNICAST, Some(id)) => Via::Object(id),
        (UNICAST, None) if special => Via::Other,
        (UNICAST, None) if hops.is_empty() => Via::Hops(vec![(hop, 1)]),
        (UNICAST, None) => {
            hops.sort_unstable();
            Via::Hops(hops)
        }
        _ => Via::Other,
    };
    Some(KernelRoute {
        prefix: IpNet::new(to, len).ok()?,
        table,
        protocol,
        tos: if source_len == 0 { tos } else { u8::MAX },
        link_scope: scope >= SCOPE_LINK,
        form: Form { via, metric, prefsrc },
    })
}

fn multipath(family: u8, value: &[u8]) -> Hops {
    let mut hops = Vec::new();
    let mut rest = value;
    while let Some((hop, weight, after)) = next_hop(family, rest) {
        hops.push((hop, weight));
        rest = after;
    }
    hops
}

fn next_hop(family: u8, value: &[u8]) -> Option<(Hop, u16, &[u8])> {
    let mut r = Reader(value);
    let len = usize::from(r.u16()?);
    let flags = u32::from(r.u8()?);
    let weight = u16::from(r.u8()?) + 1;
    let oif = r.u32()?;
    let attributes = Reader(value.get(8..len)?);
    let mut hop = Hop { gateway: None, oif, onlink: flags & ONLINK != 0 };
    for (kind, value) in attributes.attributes() {
        match kind {
            RTA_GATEWAY => hop.gateway = ip(family, value),
            RTA_VIA => hop.gateway = via(value),
            _ => {}
        }
    }
    Some((hop, weight, value.get(margay_netlink::wire::align(len)..).unwrap_or_default()))
}

fn object(body: &[u8]) -> Option<KernelObject> {
    let mut r = Reader(body);
    let family = r.u8()?;
    let _scope = r.u8()?;
    let protocol = r.u8()?;
    let _ = r.u8()?;
    let flags = r.u32()?;
    let mut id = None;
    let mut hop = Hop { gateway: None, oif: 0, onlink: flags & ONLINK != 0 };
    let mut kind = None;
    for (attribute, value) in r.attributes() {
        match attribute {
            NHA_ID => id = number(value),
            NHA_GROUP => kind = Some(ObjectKind::Group(group(value))),
            NHA_BLACKHOLE => kind = Some(ObjectKind::Blackhole),
            NHA_OIF => hop.oif = number(value)?,
            NHA_GATEWAY => hop.gateway = ip(family, value),
            _ => {}
        }
    }
    Some(KernelObject { id: id?, protocol, kind: kind.unwrap_or(ObjectKind::Hop(hop)) })
}

fn group(value: &[u8]) -> Vec<(u32, u16)> {
    let mut members = Vec::new();
    let mut r = Reader(value);
    while let (Some(id), Some(low), Some(high), Some(_)) = (r.u32(), r.u8(), r.u8(), r.u16()) {
        let weight = u16::from_le_bytes([low, high]).saturating_add(1);
        members.push((id, weight));
    }
    members.sort_unstable();
    members
}

fn via(value: &[u8]) -> Option<IpAddr> {
    let mut r = Reader(value);
    let family = u8::try_from(r.u16()?).ok()?;
    ip(family, r.0)
}

fn ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => Some(IpAddr::from(<[u8; 4]>::try_from(value).ok()?)),
        libc::AF_INET6 => Some(IpAddr::from(<[u8; 16]>::try_from(value).ok()?)),
        _ => None,
    }
}

fn unspecified(family: u8) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => Some(Ipv4Addr::UNSPECIFIED.into()),
        libc::AF_INET6 => Some(Ipv6Addr::UNSPECIFIED.into()),
        _ => None,
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

/// Message types of rtnetlink(7).
pub const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
/// Dump request.
pub const GETLINK: u16 = 18;
/// Add an address.
pub const NEWADDR: u16 = 20;
/// Remove an address.
pub const DELADDR: u16 = 21;
/// Dump request.
pub const GETADDR: u16 = 22;
/// Add or change a route.
pub const NEWROUTE: u16 = 24;
/// Delete a route.
pub const DELROUTE: u16 = 25;
/// Dump request.
pub const GETROUTE: u16 = 26;
/// Add or change a next-hop object.
pub const NEWNEXTHOP: u16 = 104;
/// Delete a next-hop object.
pub const DELNEXTHOP: u16 = 105;
/// Dump request.
pub const GETNEXTHOP: u16 = 106;

pub(super) const RTA_DST: u16 = 1;
pub(super) const RTA_OIF: u16 = 4;
pub(super) const RTA_GATEWAY: u16 = 5;
pub(super) const RTA_PRIORITY: u16 = 6;
pub(super) const RTA_PREFSRC: u16 = 7;
pub(super) const RTA_MULTIPATH: u16 = 9;
pub(super) const RTA_TABLE: u16 = 15;
pub(super) const RTA_VIA: u16 = 18;
const RTA_NEWDST: u16 = 19;
const RTA_ENCAP: u16 = 22;
pub(super) const RTA_NH_ID: u16 = 30;
pub(super) const NHA_ID: u16 = 1;
pub(super) const NHA_GROUP: u16 = 2;
const NHA_BLACKHOLE: u16 = 4;
pub(super) const NHA_OIF: u16 = 5;
pub(super) const NHA_GATEWAY: u16 = 6;
pub(super) const UNICAST: u8 = 1;
const LOCAL: u8 = 2;
pub(super) const BLACKHOLE: u8 = 6;
pub(super) const UNREACHABLE: u8 = 7;
pub(super) const PROHIBIT: u8 = 8;
pub(super) const SCOPE_LINK: u8 = 253;
pub(super) const SCOPE_NOWHERE: u8 = 255;
/// `RTNH_F_ONLINK`.
pub(super) const ONLINK: u32 = 4;
const CLONED: u32 = 0x200;
const IFF_UP: u32 = 1;
const IFF_RUNNING: u32 = 0x40;
const IFF_LOWER_UP: u32 = 0x10000;
const ETHERNET: u16 = 1;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
pub(super) const IFA_ADDRESS: u16 = 1;
pub(super) const IFA_LOCAL: u16 = 2;
pub(super) const IFA_CACHEINFO: u16 = 6;
pub(super) const IFA_FLAGS: u16 = 8;
pub(super) const IFA_PROTO: u16 = 11;
pub(super) const SCOPE_HOST: u8 = 254;
/// `IFA_F_NODAD`.
pub(super) const NO_DAD: u32 = 0x02;
const OPTIMISTIC: u32 = 0x04;
const DAD_FAILED: u32 = 0x08;
const TENTATIVE: u32 = 0x40;

#[cfg(test)]
mod tests;
