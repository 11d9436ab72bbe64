//! What the rest of the daemon sees of the kernel.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// `[fib]`.
#[derive(Debug, Clone, PartialEq)]
pub struct FibConfig {
    /// Write routes at all. Next hops are tracked and routes learned in any case.
    pub enabled: bool,
    /// Kernel table; 254 = main.
    pub table: u32,
    /// Route metric (priority); ours never collide with another's.
    pub metric: u32,
    /// Route protocol, by which a fresh process knows its own; 186 = bgp.
    pub protocol: u8,
    /// Next-hop objects.
    pub nexthop_objects: NexthopObjects,
    /// Set net.ipv4.nexthop_compat_mode = 0.
    pub nexthop_compat_off: bool,
    /// Default preferred source of every route.
    pub preferred_source: Option<IpAddr>,
}

/// `nexthop-objects`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NexthopObjects {
    /// Where the kernel has them.
    Auto,
    /// Fail to start without them.
    On,
    /// Inline next hops.
    Off,
}

/// A next hop as BGP has it; resolved here, one level or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BgpNextHop {
    /// Address; IPv6 also for an IPv4 prefix.
    pub address: IpAddr,
    /// Link-local address to prefer as gateway, if the peer gave one.
    pub link_local: Option<Ipv6Addr>,
    /// Interface index, for link-local addresses and unnumbered peers.
    pub interface: Option<u32>,
}

/// What a prefix should do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Forward over these, with weights (1..=256).
    Via(Vec<(BgpNextHop, u16)>),
    /// Drop in silence.
    Blackhole,
    /// Drop, answer host unreachable.
    Unreachable,
    /// Drop, answer prohibited.
    Prohibit,
}

/// A wish for one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// What to do.
    pub target: Target,
    /// Instead of [`FibConfig::metric`].
    pub metric: Option<u32>,
    /// Instead of [`FibConfig::preferred_source`].
    pub preferred_source: Option<IpAddr>,
}

/// What became of a tracked next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// Metric of the route it resolves through; 0 = directly connected.
    pub cost: u32,
    /// On a link of ours (no gateway between).
    pub direct: bool,
    /// It is one of our own addresses: routes over it are not eligible.
    pub local: bool,
}

/// A route of the kernel that is not ours, for redistribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learned {
    /// Prefix.
    pub prefix: IpNet,
    /// Kernel table.
    pub table: u32,
    /// Route protocol number.
    pub protocol: u8,
    /// Its metric.
    pub metric: u32,
    /// Gateway, if it has one.
    pub gateway: Option<IpAddr>,
    /// Directly attached (link scope, or protocol kernel).
    pub connected: bool,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Kernel index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Administratively up and carrier there.
    pub up: bool,
    /// MAC address, if Ethernet.
    pub mac: Option<[u8; 6]>,
    /// Addresses with their prefix lengths.
    pub addresses: Vec<IpNet>,
}

/// What the kernel side reports, unasked.
#[derive(Debug, Clone, PartialEq)]
pub enum FibEvent {
    /// A tracked next hop changed; `None` = unreachable. Sent once at once after tracking starts.
    NextHop(BgpNextHop, Option<Resolution>),
    /// A foreign route came or changed (`true`) or went (`false`). All existing ones come first.
    Learned(Learned, bool),
    /// All that existed at the start has been told.
    InSync,
    /// A link or its addresses changed; gone when it is not in [`links`](Self) any more.
    Link(Link),
    /// A link went away.
    LinkGone(u32),
    /// A prefix is now in the kernel as wished (`true`), or no longer (`false`).
    Installed(IpNet, bool),
}

/// A row of `margay fib`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FibRow {
    /// Prefix.
    pub prefix: IpNet,
    /// `unicast blackhole unreachable prohibit`.
    pub kind: &'static str,
    /// Gateways (`None` = on link), interface name, weight.
    pub next_hops: Vec<(Option<IpAddr>, String, u16)>,
    /// Kernel metric.
    pub metric: u32,
    /// Kernel table.
    pub table: u32,
    /// Route protocol number.
    pub protocol: u8,
    /// Whether the kernel has it as wished.
    pub in_kernel: bool,
}
