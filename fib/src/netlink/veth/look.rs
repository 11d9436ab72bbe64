//! What there is of a link, read from the kernel.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::attach::steps::Kin;
use crate::attach::{AttachError, ContainerSide, Filling, HostLink};
use crate::netlink::decode::{self, NEWLINK, NEWROUTE};
use crate::netlink::veth::channel::Channel;
use crate::netlink::veth::message::{
    IFF_UP, IFLA_ADDRESS, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO,
    IFLA_MASTER, IFLA_MTU, IFLA_QDISC, IpFamily, NDA_DST, NDA_LLADDR, NEWQDISC, NUD_PERMANENT,
    Question, ROOT, TBF, TCA_KIND, TCA_OPTIONS, TCA_TBF_PARMS, TCA_TBF_PRATE64, TCA_TBF_RATE64,
    VETH,
};
use crate::plan::fact::{Fact, Presence, Via};
use margay_netlink::wire::{Message, Reader, number};

/// A link of any kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// As a veth is told.
    pub link: HostLink,
    /// What it is.
    pub is_veth: bool,
    /// What it sends goes through a bucket.
    pub is_limited: bool,
}

/// The host end; an error where the link of this name is none.
pub fn host_link(channel: &mut Channel, name: &str) -> Result<Option<HostLink>, AttachError> {
    match link(channel, name)? {
        Some(Seen { link, is_veth: true, .. }) => Ok(Some(link)),
        Some(_) => Err(AttachError::NameTaken { name: name.to_owned() }),
        None => Ok(None),
    }
}

/// The host end and its limit; an error where the link of this name is none.
pub fn host_side(channel: &mut Channel, name: &str) -> Result<Option<HostLink>, AttachError> {
    match link(channel, name)? {
        Some(Seen { mut link, is_veth: true, is_limited }) => {
            if is_limited {
                link.limit = limit(channel, link.index)?;
            }
            Ok(Some(link))
        }
        Some(_) => Err(AttachError::NameTaken { name: name.to_owned() }),
        None => Ok(None),
    }
}

/// The bucket of what a link sends. The kernel tells those of all its links.
fn limit(channel: &mut Channel, index: u32) -> Result<Option<Filling>, AttachError> {
    let all = channel.all(&Question::Queues, |m| filling(m, index))?;
    Ok(all.into_iter().next())
}

/// The link of this name.
pub fn link(channel: &mut Channel, name: &str) -> Result<Option<Seen>, AttachError> {
    channel.one(&Question::Link(name), seen)
}

/// All veths of the host whose name starts so.
pub fn host_links(channel: &mut Channel, prefix: &str) -> Result<Vec<HostLink>, AttachError> {
    let ours = |m: &Message<'_>| {
        seen(m).filter(|s| s.is_veth && s.link.name.starts_with(prefix)).map(|s| s.link)
    };
    let mut links = channel.all(&Question::Links, ours)?;
    links.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(links)
}

/// All links of the host, as far as it says who is at their other ends.
pub fn kin(channel: &mut Channel) -> Result<Vec<Kin>, AttachError> {
    channel.all(&Question::Links, |m| {
        let index = seen(m)?.link.index;
        let mut kin = Kin { index, ..Kin::default() };
        for (kind, value) in Reader(m.body.get(IFINFOMSG..)?).attributes() {
            match kind {
                IFLA_IFNAME => kin.name = text(value),
                IFLA_MASTER => kin.master = number(value),
                IFLA_LINKINFO => kin.kind = info_kind(value).unwrap_or_default(),
                _ => {}
            }
        }
        Some(kin)
    })
}

/// The container end.
pub fn container_side(
    channel: &mut Channel,
    name: &str,
) -> Result<Option<ContainerSide>, AttachError> {
    let Some(Seen { link, is_veth, is_limited }) = link(channel, name)? else { return Ok(None) };
    let index = link.index;
    let limit = if is_limited { limit(channel, index)? } else { None };
    let addresses = channel.all(&Question::Addresses(index), |m| match decode::fact(m) {
        Some(Fact::Address(at, Presence::Here)) if at.link == index => Some(at.net),
        _ => None,
    })?;
    let mut routes = Vec::new();
    for family in [IpFamily::V4, IpFamily::V6] {
        routes.extend(channel.all(&Question::Routes(family, index), |m| route(m, index))?);
    }
    let neighbours = channel.all(&Question::Neighbours(index), |m| neighbour(m, index))?;
    let link_local = |net: &IpNet| matches!(net, IpNet::V6(n) if n.addr().is_unicast_link_local());
    Ok(Some(ContainerSide {
        index,
        mac: link.mac,
        mtu: link.mtu,
        up: link.up,
        peer_index: is_veth.then_some(link.peer_index),
        addresses: addresses.into_iter().filter(|net| !link_local(net)).collect(),
        routes: routes.into_iter().collect(),
        neighbours: neighbours.into_iter().collect(),
        limit,
    }))
}

/// A link of an answer.
pub fn seen(m: &Message<'_>) -> Option<Seen> {
    if m.kind != NEWLINK {
        return None;
    }
    let mut r = Reader(m.body);
    r.u32()?;
    let mut seen = Seen::default();
    let link = &mut seen.link;
    link.index = r.u32()?;
    link.up = r.u32()? & IFF_UP != 0;
    r.u32()?;
    for (kind, value) in r.attributes() {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_IFALIAS => link.alias = text(value),
            IFLA_ADDRESS => link.mac = value.try_into().unwrap_or_default(),
            IFLA_MTU => link.mtu = number(value)?,
            IFLA_LINK => link.peer_index = number(value)?,
            IFLA_QDISC => seen.is_limited = text(value) == TBF,
            IFLA_LINKINFO => {
                seen.is_veth = info_kind(value).is_some_and(|kind| kind.as_bytes() == VETH);
            }
            _ => {}
        }
    }
    Some(seen)
}

/// What a link is, in the kernel's words.
fn info_kind(info: &[u8]) -> Option<String> {
    let kind = Reader(info).attributes().find(|(kind, _)| *kind == IFLA_INFO_KIND);
    kind.map(|(_, name)| text(name))
}

fn route(m: &Message<'_>, index: u32) -> Option<(IpNet, Option<IpAddr>)> {
    if m.kind != NEWROUTE {
        return None;
    }
    let Some(Fact::Route(route, ..)) = decode::fact(m) else { return None };
    let Via::Hops(hops) = &route.form.via else { return None };
    let own = route.table == MAIN && route.protocol != KERNEL;
    let hop = hops.iter().find(|(hop, _)| hop.oif == index)?;
    own.then_some((route.prefix, hop.0.gateway))
}

/// The bucket that stands first on this link, of an answer.
pub fn filling(m: &Message<'_>, index: u32) -> Option<Filling> {
    if m.kind != NEWQDISC {
        return None;
    }
    let mut r = Reader(m.body);
    r.u32()?;
    let on = r.u32()?;
    r.u32()?;
    let parent = r.u32()?;
    r.u32()?;
    let (mut is_bucket, mut filling, mut rates) = (false, None, (None, None));
    for (kind, value) in r.attributes() {
        match kind {
            TCA_KIND => is_bucket = text(value) == TBF,
            TCA_OPTIONS => {
                for (kind, value) in Reader(value).attributes() {
                    let long = || value.try_into().ok().map(u64::from_ne_bytes);
                    match kind {
                        TCA_TBF_PARMS => filling = parameters(value),
                        TCA_TBF_RATE64 => rates.0 = long(),
                        TCA_TBF_PRATE64 => rates.1 = long(),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let mut filling = filling.filter(|_| is_bucket && on == index && parent == ROOT)?;
    filling.rate = rates.0.unwrap_or(filling.rate);
    filling.peak = rates.1.unwrap_or(filling.peak);
    Some(filling)
}

/// `struct tc_tbf_qopt`.
fn parameters(value: &[u8]) -> Option<Filling> {
    let mut r = Reader(value);
    r.bytes(8)?;
    let rate = r.u32()?.into();
    r.bytes(8)?;
    let peak = r.u32()?.into();
    let (queue, burst, peak_burst) = (r.u32()?, r.u32()?, r.u32()?);
    Some(Filling { rate, burst, peak, peak_burst, queue })
}

fn neighbour(m: &Message<'_>, index: u32) -> Option<(IpAddr, [u8; 6])> {
    let mut r = Reader(m.body);
    let family = i32::from(r.u8()?);
    r.bytes(3)?;
    let on = r.u32()?;
    let state = r.u16()?;
    r.u16()?;
    let (mut address, mut mac) = (None, None);
    for (kind, value) in r.attributes() {
        match kind {
            NDA_DST if family == libc::AF_INET => {
                address = <[u8; 4]>::try_from(value).ok().map(IpAddr::from);
            }
            NDA_DST if family == libc::AF_INET6 => {
                address = <[u8; 16]>::try_from(value).ok().map(IpAddr::from);
            }
            NDA_LLADDR => mac = value.try_into().ok(),
            _ => {}
        }
    }
    (on == index && state & NUD_PERMANENT != 0).then_some((address?, mac?))
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

/// Octets of a link's message before its attributes.
const IFINFOMSG: usize = 16;
const MAIN: u32 = 254;
const KERNEL: u8 = 2;
