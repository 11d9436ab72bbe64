//! What there is of a link, read from the kernel.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::attach::steps::Kin;
use crate::attach::{AttachError, ContainerSide, HostLink};
use crate::netlink::decode::{self, NEWLINK, NEWROUTE};
use crate::netlink::veth::channel::Channel;
use crate::netlink::veth::message::{
    IFF_UP, IFLA_ADDRESS, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO,
    IFLA_MASTER, IFLA_MTU, IpFamily, NDA_DST, NDA_LLADDR, NUD_PERMANENT, Question, VETH,
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
}

/// The host end; an error where the link of this name is none.
pub fn host_link(channel: &mut Channel, name: &str) -> Result<Option<HostLink>, AttachError> {
    match link(channel, name)? {
        Some(Seen { link, is_veth: true }) => Ok(Some(link)),
        Some(_) => Err(AttachError::NameTaken { name: name.to_owned() }),
        None => Ok(None),
    }
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
    let Some(Seen { link, is_veth }) = link(channel, name)? else { return Ok(None) };
    let index = link.index;
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
