//! Operations -> routing messages.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::netlink::decode::{
    BLACKHOLE, DELADDR, DELNEXTHOP, DELROUTE, IFA_ADDRESS, IFA_CACHEINFO, IFA_FLAGS, IFA_LOCAL,
    IFA_PROTO, NEWADDR, NEWNEXTHOP, NEWROUTE, NHA_GATEWAY, NHA_GROUP, NHA_ID, NHA_OIF, NO_DAD,
    ONLINK, PROHIBIT, RTA_DST, RTA_GATEWAY, RTA_MULTIPATH, RTA_NH_ID, RTA_OIF, RTA_PREFSRC,
    RTA_PRIORITY, RTA_TABLE, RTA_VIA, SCOPE_HOST, SCOPE_LINK, SCOPE_NOWHERE, UNICAST, UNREACHABLE,
};
use crate::plan::addresses::{AddressOp, AddressVerb};
use crate::plan::fact::{Form, Hop, ObjectKind, Via};
use crate::plan::objects::ObjectOp;
use crate::plan::work::Verb;
use margay_netlink::wire::{CREATE, EXCL, Encoder, REPLACE, REQUEST};

/// Whose routes these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Kernel table.
    pub table: u32,
    /// Route protocol number.
    pub protocol: u8,
}

/// One route operation. `flags` are added to those of the verb.
pub fn route(
    e: &mut Encoder,
    owner: Owner,
    verb: Verb,
    prefix: IpNet,
    form: &Form,
    flags: u16,
    seq: u32,
) {
    let (kind, verb_flags) = match verb {
        Verb::Add => (NEWROUTE, CREATE | EXCL),
        Verb::Replace => (NEWROUTE, CREATE | REPLACE),
        Verb::Delete => (DELROUTE, 0),
    };
    let at = e.begin(kind, REQUEST | verb_flags | flags, seq);
    let table = u8::try_from(owner.table).unwrap_or(0);
    let (scope, rtype, onlink) = match (verb, &form.via) {
        // Deleting compares prefix, table, metric and protocol; anything else may have changed.
        (Verb::Delete, _) => (SCOPE_NOWHERE, 0, 0),
        (_, Via::Blackhole) => (0, BLACKHOLE, 0),
        (_, Via::Unreachable) => (0, UNREACHABLE, 0),
        (_, Via::Prohibit) => (0, PROHIBIT, 0),
        (_, Via::Hops(hops)) => match hops.as_slice() {
            [(hop, _)] => {
                let scope = if hop.gateway.is_none() { SCOPE_LINK } else { 0 };
                (scope, UNICAST, if hop.onlink { ONLINK } else { 0 })
            }
            _ => (0, UNICAST, 0),
        },
        _ => (0, UNICAST, 0),
    };
    let family = family(prefix.addr());
    e.put(&[family, prefix.prefix_len(), 0, 0, table, owner.protocol, scope, rtype]);
    e.put(&onlink.to_ne_bytes());
    match prefix {
        IpNet::V4(n) => e.attribute(RTA_DST, &n.addr().octets()),
        IpNet::V6(n) => e.attribute(RTA_DST, &n.addr().octets()),
    }
    if table == 0 {
        e.attribute(RTA_TABLE, &owner.table.to_ne_bytes());
    }
    if form.metric != 0 {
        e.attribute(RTA_PRIORITY, &form.metric.to_ne_bytes());
    }
    if verb != Verb::Delete {
        if let Some(source) = form.prefsrc {
            address(e, RTA_PREFSRC, source);
        }
        match &form.via {
            Via::Object(id) => e.attribute(RTA_NH_ID, &id.to_ne_bytes()),
            Via::Hops(hops) => match hops.as_slice() {
                [(hop, _)] => {
                    e.attribute(RTA_OIF, &hop.oif.to_ne_bytes());
                    gateway(e, family, hop);
                }
                many => multipath(e, family, many),
            },
            _ => {}
        }
    }
    e.end(at);
}

fn multipath(e: &mut Encoder, family: u8, hops: &[(Hop, u16)]) {
    let list = e.open(RTA_MULTIPATH);
    for (hop, weight) in hops {
        let flags = if hop.onlink { 4 } else { 0 };
        let weight = u8::try_from(weight.saturating_sub(1)).unwrap_or(u8::MAX);
        let at = e.open(u16::from_ne_bytes([flags, weight]));
        e.put(&hop.oif.to_ne_bytes());
        gateway(e, family, hop);
        e.close(at);
    }
    e.close(list);
}

fn gateway(e: &mut Encoder, route_family: u8, hop: &Hop) {
    let Some(to) = hop.gateway else { return };
    if family(to) == route_family {
        address(e, RTA_GATEWAY, to);
        return;
    }
    let at = e.open(RTA_VIA);
    e.put(&u16::from(family(to)).to_ne_bytes());
    match to {
        IpAddr::V4(a) => e.put(&a.octets()),
        IpAddr::V6(a) => e.put(&a.octets()),
    }
    e.close(at);
}

/// One operation on a next-hop object.
pub fn object(e: &mut Encoder, protocol: u8, op: &ObjectOp, flags: u16, seq: u32) {
    let (id, kind) = match op {
        ObjectOp::Put(id, kind) => (id, kind),
        ObjectOp::Delete(id) => {
            let at = e.begin(DELNEXTHOP, REQUEST | flags, seq);
            e.put(&[0; 8]);
            e.attribute(NHA_ID, &id.to_ne_bytes());
            e.end(at);
            return;
        }
    };
    let at = e.begin(NEWNEXTHOP, REQUEST | CREATE | REPLACE | flags, seq);
    let (family, onlink) = match kind {
        ObjectKind::Hop(hop) => {
            let v4 = libc_family(libc::AF_INET);
            (hop.gateway.map_or(v4, family), if hop.onlink { ONLINK } else { 0 })
        }
        ObjectKind::Blackhole => (libc_family(libc::AF_INET), 0),
        ObjectKind::Group(_) => (0, 0),
    };
    e.put(&[family, 0, protocol, 0]);
    e.put(&onlink.to_ne_bytes());
    e.attribute(NHA_ID, &id.to_ne_bytes());
    match kind {
        ObjectKind::Hop(hop) => {
            e.attribute(NHA_OIF, &hop.oif.to_ne_bytes());
            if let Some(to) = hop.gateway {
                address(e, NHA_GATEWAY, to);
            }
        }
        ObjectKind::Group(members) => {
            let list = e.open(NHA_GROUP);
            for (member, weight) in members {
                let [low, high] = weight.saturating_sub(1).to_le_bytes();
                e.put(&member.to_ne_bytes());
                e.put(&[low, high, 0, 0]);
            }
            e.close(list);
        }
        ObjectKind::Blackhole => e.attribute(4, &[]),
    }
    e.end(at);
}

/// One operation on an address that peers call. The kernel must not take it as the source of what
/// the host sends by itself: of IPv4 the scope keeps it from that, of IPv6 that it is deprecated.
pub fn own_address(e: &mut Encoder, protocol: u8, op: &AddressOp, flags: u16, seq: u32) {
    let (kind, verb_flags) = match op.verb {
        AddressVerb::Add => (NEWADDR, CREATE | EXCL),
        AddressVerb::Renumber => (NEWADDR, REPLACE),
        AddressVerb::Delete => (DELADDR, 0),
    };
    let at = e.begin(kind, REQUEST | verb_flags | flags, seq);
    let (length, scope) = if op.address.is_ipv4() { (32, SCOPE_HOST) } else { (128, 0) };
    e.put(&[family(op.address), length, 0, scope]);
    e.put(&op.link.to_ne_bytes());
    address(e, IFA_LOCAL, op.address);
    address(e, IFA_ADDRESS, op.address);
    if op.verb != AddressVerb::Delete {
        e.attribute(IFA_PROTO, &[protocol]);
        if op.address.is_ipv6() {
            e.attribute(IFA_FLAGS, &NO_DAD.to_ne_bytes());
            let lifetimes = [0, u32::MAX, 0, 0].map(u32::to_ne_bytes); // preferred, valid
            e.attribute(IFA_CACHEINFO, lifetimes.as_flattened());
        }
    }
    e.end(at);
}

fn address(e: &mut Encoder, kind: u16, value: IpAddr) {
    match value {
        IpAddr::V4(a) => e.attribute(kind, &a.octets()),
        IpAddr::V6(a) => e.attribute(kind, &a.octets()),
    }
}

fn family(address: IpAddr) -> u8 {
    libc_family(if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 })
}

fn libc_family(family: i32) -> u8 {
    u8::try_from(family).unwrap_or(0)
}
