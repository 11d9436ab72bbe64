//! What the kernel says, as values.

use std::net::IpAddr;

use ipnet::IpNet;

/// An immediate next hop: a gateway on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hop {
    /// Gateway; `None` = the destination itself is on the link.
    pub gateway: Option<IpAddr>,
    /// Interface index; 0 only where the kernel gave none.
    pub oif: u32,
    /// The gateway need not lie in a connected prefix.
    pub onlink: bool,
}

/// Immediate next hops with their weights (1..=256), sorted.
pub type Hops = Vec<(Hop, u16)>;

/// Where a route of the kernel leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Via {
    /// A next-hop object or group.
    Object(u32),
    /// Next hops written in the route itself.
    Hops(Hops),
    /// Drop in silence.
    Blackhole,
    /// Drop, host unreachable.
    Unreachable,
    /// Drop, prohibited.
    Prohibit,
    /// One of our own addresses (type local).
    Local,
    /// Anything else (throw, broadcast, multicast, tunnels …): not for us.
    Other,
}

/// All of a route but its prefix and table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Form {
    /// Where it leads.
    pub via: Via,
    /// Metric (priority).
    pub metric: u32,
    /// Preferred source address.
    pub prefsrc: Option<IpAddr>,
}

/// A route of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRoute {
    /// Prefix.
    pub prefix: IpNet,
    /// Table.
    pub table: u32,
    /// Route protocol number: who put it there.
    pub protocol: u8,
    /// Type of service (IPv4) or whether a source prefix is set (IPv6): 0 for plain routes.
    pub tos: u8,
    /// Link scope or narrower: directly attached.
    pub link_scope: bool,
    /// The rest.
    pub form: Form,
}

/// An address on a link of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelAddress {
    /// Link.
    pub link: u32,
    /// With its prefix length.
    pub net: IpNet,
    /// Who put it there, as far as they say (`IFA_PROTO`, Linux 5.18); 0 = nobody knows.
    pub protocol: u8,
}

impl KernelAddress {
    /// One of which nobody says who put it there.
    pub fn unmarked(link: u32, net: IpNet) -> Self {
        Self { link, net, protocol: 0 }
    }
}

/// A next-hop object of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelObject {
    /// Its number.
    pub id: u32,
    /// Who made it.
    pub protocol: u8,
    /// What it is.
    pub kind: ObjectKind,
}

/// What a next-hop object leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// One next hop.
    Hop(Hop),
    /// Other objects by number, with weights; sorted.
    Group(Vec<(u32, u16)>),
    /// Drop.
    Blackhole,
}

/// A network interface of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelLink {
    /// Index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Administratively up: without it the kernel drops all routes over the link.
    pub admin_up: bool,
    /// Up and with carrier.
    pub running: bool,
    /// Hardware address, if Ethernet.
    pub mac: Option<[u8; 6]>,
    /// Octets a packet may have.
    pub mtu: u32,
}

/// Whether something is there now or gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It came or changed.
    Here,
    /// It went.
    Gone,
}

/// How a route came to be; matters for what it displaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Beside what was there.
    Added,
    /// In place of the route with the same key.
    Replaced,
}

/// One notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A link came, changed or went.
    Link(KernelLink, Presence),
    /// An address on a link.
    Address(KernelAddress, Presence),
    /// A route came or changed.
    Route(KernelRoute, Arrival, Origin),
    /// A route went.
    RouteGone(KernelRoute, Origin),
    /// A next-hop object.
    Object(KernelObject, Presence, Origin),
}

/// Who caused a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The kernel itself (a link went down, say).
    Kernel,
    /// Another program.
    Other,
}
