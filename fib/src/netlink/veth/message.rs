//! What is asked about links, as routing messages.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::attach::steps::Write;
use crate::attach::{Bucket, LinkSpec};
use crate::netlink::decode::{
    GETADDR, GETLINK, GETROUTE, NEWLINK, NEWROUTE, ONLINK, RTA_DST, RTA_GATEWAY, RTA_OIF,
    RTA_PRIORITY, UNICAST,
};
use crate::netlink::veth::channel::Ask;
use margay_netlink::wire::{CREATE, EXCL, Encoder, REPLACE};

/// Both ends of a new link.
#[derive(Debug)]
pub struct Create<'a> {
    /// What it should be.
    pub spec: &'a LinkSpec,
    /// Where the container end goes.
    pub netns: BorrowedFd<'a>,
}

impl Ask for Create<'_> {
    fn encode(&self, e: &mut Encoder, flags: u16, seq: u32) {
        let spec = self.spec;
        let at = e.begin(NEWLINK, flags | CREATE | EXCL, seq);
        header(e, 0, 0, 0);
        end_of_pair(e, spec, &spec.host_name, Some(spec.host_mac));
        let info = e.open(IFLA_LINKINFO);
        e.attribute(IFLA_INFO_KIND, VETH);
        let data = e.open(IFLA_INFO_DATA);
        let peer = e.open(VETH_INFO_PEER);
        header(e, 0, 0, 0);
        end_of_pair(e, spec, &spec.container_name, spec.container_mac);
        e.attribute(IFLA_NET_NS_FD, &self.netns.as_raw_fd().to_ne_bytes());
        e.close(peer);
        e.close(data);
        e.close(info);
        e.end(at);
    }

    fn describe(&self) -> String {
        let (host, container) = (&self.spec.host_name, &self.spec.container_name);
        format!("create veth pair {host} and {container}")
    }
}

fn end_of_pair(e: &mut Encoder, spec: &LinkSpec, name: &str, mac: Option<[u8; 6]>) {
    e.attribute(IFLA_IFNAME, &zero_ended(name));
    e.attribute(IFLA_MTU, &spec.mtu.to_ne_bytes());
    if let Some(len) = spec.tx_queue_len {
        e.attribute(IFLA_TXQLEN, &len.to_ne_bytes());
    }
    // One each way is in use anyway. Unasked, the kernel makes as many as there may be processors, with
    // their files, and takes all but one away again.
    e.attribute(IFLA_NUM_TX_QUEUES, &1_u32.to_ne_bytes());
    e.attribute(IFLA_NUM_RX_QUEUES, &1_u32.to_ne_bytes());
    if let Some(mac) = mac {
        e.attribute(IFLA_ADDRESS, &mac);
    }
}

/// The end of a link.
#[derive(Debug)]
pub struct Delete<'a> {
    /// Index; 0 = by name.
    pub index: u32,
    /// Name, for the error if there is an index.
    pub name: &'a str,
}

impl Ask for Delete<'_> {
    fn encode(&self, e: &mut Encoder, flags: u16, seq: u32) {
        let at = e.begin(DELLINK, flags, seq);
        header(e, self.index, 0, 0);
        if self.index == 0 {
            e.attribute(IFLA_IFNAME, &zero_ended(self.name));
        }
        e.end(at);
    }

    fn describe(&self) -> String {
        format!("delete interface {}", self.name)
    }
}

impl Ask for Write {
    fn encode(&self, e: &mut Encoder, flags: u16, seq: u32) {
        match self {
            Self::SetLink { index, mac, alias, no_own_link_local, answers, up } => {
                let at = e.begin(NEWLINK, flags, seq);
                let bit = if *up { IFF_UP } else { 0 };
                header(e, *index, bit, bit);
                if let Some(mac) = mac {
                    e.attribute(IFLA_ADDRESS, mac);
                }
                if let Some(alias) = alias {
                    e.attribute(IFLA_IFALIAS, alias.as_bytes());
                }
                if *no_own_link_local || *answers {
                    let spec = e.open(IFLA_AF_SPEC);
                    if *answers {
                        let v4 = e.open(u16::from(family(IpAddr::from([0; 4]))));
                        let settings = e.open(IFLA_INET_CONF);
                        for setting in [DEVCONF_PROXY_ARP, DEVCONF_ROUTE_LOCALNET] {
                            e.attribute(setting, &1_u32.to_ne_bytes());
                        }
                        e.close(settings);
                        e.close(v4);
                    }
                    if *no_own_link_local {
                        let v6 = e.open(u16::from(family(IpAddr::from([0; 16]))));
                        e.attribute(IFLA_INET6_ADDR_GEN_MODE, &[ADDR_GEN_NONE]);
                        e.close(v6);
                    }
                    e.close(spec);
                }
                e.end(at);
            }
            Self::Address { index, address } => {
                let at = e.begin(NEWADDR, flags | CREATE | EXCL, seq);
                e.put(&[family(address.addr()), address.prefix_len(), 0, 0]);
                e.put(&index.to_ne_bytes());
                ip(e, IFA_LOCAL, address.addr());
                ip(e, IFA_ADDRESS, address.addr());
                if !address.addr().is_ipv4() {
                    e.attribute(IFA_FLAGS, &IFA_F_NODAD.to_ne_bytes());
                }
                e.end(at);
            }
            Self::Neighbour { index, address, mac } => {
                let at = e.begin(NEWNEIGH, flags | CREATE | REPLACE, seq);
                e.put(&[family(*address), 0, 0, 0]);
                e.put(&index.to_ne_bytes());
                e.put(&NUD_PERMANENT.to_ne_bytes());
                e.put(&[0, 0]);
                ip(e, NDA_DST, *address);
                e.attribute(NDA_LLADDR, mac);
                e.end(at);
            }
            Self::Route { index, prefix, gateway, metric } => {
                let at = e.begin(NEWROUTE, flags | CREATE | EXCL, seq);
                let family = family(prefix.addr());
                e.put(&[family, prefix.prefix_len(), 0, 0, MAIN, STATIC, 0, UNICAST]);
                let onlink = if gateway.is_ipv4() { ONLINK } else { 0 };
                e.put(&onlink.to_ne_bytes());
                ip(e, RTA_DST, prefix.addr());
                e.attribute(RTA_OIF, &index.to_ne_bytes());
                ip(e, RTA_GATEWAY, *gateway);
                if let Some(metric) = metric {
                    e.attribute(RTA_PRIORITY, &metric.to_ne_bytes());
                }
                e.end(at);
            }
        }
    }

    fn describe(&self) -> String {
        Self::describe(self)
    }
}

/// The bucket of what a link sends; in place of another.
#[derive(Debug)]
pub struct Limit<'a> {
    /// The link.
    pub index: u32,
    /// Its name, for an error.
    pub name: &'a str,
    /// `None`: the kernel refuses, and by its words it is known whether it has buckets at all.
    pub bucket: Option<Bucket>,
}

impl Ask for Limit<'_> {
    fn encode(&self, e: &mut Encoder, flags: u16, seq: u32) {
        let how = if self.bucket.is_some() { REPLACE } else { EXCL };
        let at = e.begin(NEWQDISC, flags | CREATE | how, seq);
        traffic_header(e, self.index, HANDLE);
        e.attribute(TCA_KIND, &zero_ended(TBF));
        if let Some(bucket) = &self.bucket {
            let options = e.open(TCA_OPTIONS);
            let (peak, peak_burst) = bucket.peak.unwrap_or_default();
            let mut parameters =
                [rate_specification(bucket.rate), rate_specification(peak)].concat();
            parameters.extend(bucket.queue.to_ne_bytes());
            // How long both take to fill; not read beside the sizes themselves.
            parameters.extend([0; 8]);
            e.attribute(TCA_TBF_PARMS, &parameters);
            e.attribute(TCA_TBF_BURST, &bucket.burst.to_ne_bytes());
            if u32::try_from(bucket.rate).is_err() {
                e.attribute(TCA_TBF_RATE64, &bucket.rate.to_ne_bytes());
            }
            if bucket.peak.is_some() {
                e.attribute(TCA_TBF_PBURST, &peak_burst.to_ne_bytes());
            }
            if u32::try_from(peak).is_err() {
                e.attribute(TCA_TBF_PRATE64, &peak.to_ne_bytes());
            }
            e.close(options);
        }
        e.end(at);
    }

    fn describe(&self) -> String {
        format!("limit what interface {} sends", self.name)
    }
}

/// `struct tc_ratespec` of so many octets/s; 0: of nothing. With a link layer that the kernel knows it
/// reckons itself, without a table of ours.
fn rate_specification(rate: u64) -> [u8; 12] {
    let mut octets = [0; 12];
    if rate > 0 {
        octets[1] = LINKLAYER_ETHERNET;
        let rate = u32::try_from(rate).unwrap_or(u32::MAX);
        octets[8..].copy_from_slice(&rate.to_ne_bytes());
    }
    octets
}

/// A question.
#[derive(Debug)]
pub enum Question<'a> {
    /// The link of this name.
    Link(&'a str),
    /// All links.
    Links,
    /// Addresses of this link.
    Addresses(u32),
    /// Routes of a family over this link.
    Routes(IpFamily, u32),
    /// Neighbours on this link.
    Neighbours(u32),
    /// Queues of all links.
    Queues,
}

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Ask for Question<'_> {
    fn encode(&self, e: &mut Encoder, flags: u16, seq: u32) {
        match self {
            Self::Link(_) | Self::Links => {
                let at = e.begin(GETLINK, flags, seq);
                header(e, 0, 0, 0);
                if let Self::Link(name) = self {
                    e.attribute(IFLA_IFNAME, &zero_ended(name));
                }
                e.attribute(IFLA_EXT_MASK, &SKIP_STATS.to_ne_bytes());
                e.end(at);
            }
            Self::Addresses(index) => {
                let at = e.begin(GETADDR, flags, seq);
                e.put(&[0; 4]);
                e.put(&index.to_ne_bytes());
                e.end(at);
            }
            Self::Routes(version, index) => {
                let at = e.begin(GETROUTE, flags, seq);
                let family = match version {
                    IpFamily::V4 => family(IpAddr::from([0; 4])),
                    IpFamily::V6 => family(IpAddr::from([0; 16])),
                };
                e.put(&[family, 0, 0, 0, 0, 0, 0, 0]);
                e.put(&[0; 4]);
                e.attribute(RTA_OIF, &index.to_ne_bytes());
                e.end(at);
            }
            Self::Neighbours(index) => {
                let at = e.begin(GETNEIGH, flags, seq);
                e.put(&[0; 12]);
                e.attribute(NDA_IFINDEX, &index.to_ne_bytes());
                e.end(at);
            }
            Self::Queues => {
                let at = e.begin(GETQDISC, flags, seq);
                traffic_header(e, 0, 0);
                e.end(at);
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Link(name) => format!("look at interface {name}"),
            Self::Links => "list interfaces".to_owned(),
            Self::Addresses(_) => "list addresses".to_owned(),
            Self::Routes(..) => "list routes".to_owned(),
            Self::Neighbours(_) => "list neighbours".to_owned(),
            Self::Queues => "list queues".to_owned(),
        }
    }
}

/// `struct ifinfomsg` of no family and no hardware type.
fn header(e: &mut Encoder, index: u32, flags: u32, change: u32) {
    e.put(&[0; 4]);
    e.put(&index.to_ne_bytes());
    e.put(&flags.to_ne_bytes());
    e.put(&change.to_ne_bytes());
}

/// `struct tcmsg` of what stands first on a link.
fn traffic_header(e: &mut Encoder, index: u32, handle: u32) {
    e.put(&[0; 4]);
    e.put(&index.to_ne_bytes());
    e.put(&handle.to_ne_bytes());
    e.put(&ROOT.to_ne_bytes());
    e.put(&[0; 4]);
}

fn zero_ended(name: &str) -> Vec<u8> {
    let mut octets = name.as_bytes().to_vec();
    octets.push(0);
    octets
}

fn ip(e: &mut Encoder, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(a) => e.attribute(kind, &a.octets()),
        IpAddr::V6(a) => e.attribute(kind, &a.octets()),
    }
}

fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    u8::try_from(family).unwrap_or(0)
}

const DELLINK: u16 = 17;
const NEWADDR: u16 = 20;
const NEWNEIGH: u16 = 28;
const GETNEIGH: u16 = 30;
/// Hardware address.
pub const IFLA_ADDRESS: u16 = 1;
/// Name.
pub const IFLA_IFNAME: u16 = 3;
/// Octets of a packet.
pub const IFLA_MTU: u16 = 4;
/// Of a veth: its other end.
pub const IFLA_LINK: u16 = 5;
/// Of which link it is a port.
pub const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
/// What kind of link.
pub const IFLA_LINKINFO: u16 = 18;
/// Alias.
pub const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
/// Inside `IFLA_LINKINFO`: the name of the kind.
pub const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
/// Inside `IFLA_AF_SPEC`, of IPv4: settings of the link by number, those below `net/ipv4/conf`.
const IFLA_INET_CONF: u16 = 1;
const DEVCONF_PROXY_ARP: u16 = 3;
const DEVCONF_ROUTE_LOCALNET: u16 = 26;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_NONE: u8 = 1;
const SKIP_STATS: u32 = 8;
/// The kind of link we make.
pub const VETH: &[u8] = b"veth";
/// Administratively up.
pub const IFF_UP: u32 = 1;
/// Address on this side.
pub const IFA_LOCAL: u16 = 2;
/// Address, of the other side if there is one.
pub const IFA_ADDRESS: u16 = 1;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 2;
/// A neighbour's address.
pub const NDA_DST: u16 = 1;
/// A neighbour's hardware address.
pub const NDA_LLADDR: u16 = 2;
const NDA_IFINDEX: u16 = 8;
/// State of a neighbour: never forgotten.
pub const NUD_PERMANENT: u16 = 0x80;
/// Of traffic control.
pub const NEWQDISC: u16 = 36;
const GETQDISC: u16 = 38;
/// What kind of queue.
pub const TCA_KIND: u16 = 1;
/// Its own settings.
pub const TCA_OPTIONS: u16 = 2;
/// `struct tc_tbf_qopt`: two rates, the queue, how long the bursts take.
pub const TCA_TBF_PARMS: u16 = 1;
/// A rate that 32 bits do not hold.
pub const TCA_TBF_RATE64: u16 = 4;
/// Likewise the peak rate.
pub const TCA_TBF_PRATE64: u16 = 5;
const TCA_TBF_BURST: u16 = 6;
const TCA_TBF_PBURST: u16 = 7;
/// The kind of queue that is a bucket.
pub const TBF: &str = "tbf";
/// The parent of what stands first.
pub const ROOT: u32 = u32::MAX;
/// By which ours is known: a number that nobody gives by hand or by itself.
const HANDLE: u32 = 0x4d61_0000;
const LINKLAYER_ETHERNET: u8 = 1;
/// Which kind of queue stands first on a link.
pub const IFLA_QDISC: u16 = 6;
const MAIN: u8 = 254;
const STATIC: u8 = 4;

#[cfg(test)]
mod tests;
