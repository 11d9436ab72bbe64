//! What the rest of the daemon sees of the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

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
    /// Whether a next hop may be reached over a default route.
    pub resolve_default: bool,
    /// Tables whose foreign routes are told as [`FibEvent::Learned`]; none = learn nothing.
    pub learn_tables: BTreeSet<u32>,
}

impl Default for FibConfig {
    /// The contract's `[fib]` without keys; the main table is learned.
    fn default() -> Self {
        Self {
            enabled: true,
            table: 254,
            metric: 32,
            protocol: 186,
            nexthop_objects: NexthopObjects::Auto,
            nexthop_compat_off: false,
            preferred_source: None,
            resolve_default: true,
            learn_tables: BTreeSet::from([254]),
        }
    }
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

/// Who told a route: when it ends, whatever hangs on it alone moves at once. A number its user
/// never gives out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(pub u32);

/// A wish for one prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wish {
    /// What to do.
    pub target: Target,
    /// Who told the next hops of the target. One that is not named here is never given up for
    /// want of a source; one named several times lives as long as any of its sources.
    pub sources: Vec<(BgpNextHop, Source)>,
    /// What takes the target's place, without a word from anybody, once none of its next hops is
    /// left: unreachable, or [ended](crate::FibHandle::source_down) with their sources.
    pub backup: Option<(BgpNextHop, Source)>,
    /// Instead of [`FibConfig::metric`].
    pub metric: Option<u32>,
    /// Instead of [`FibConfig::preferred_source`].
    pub preferred_source: Option<IpAddr>,
}

impl Wish {
    /// Does this and nothing else: no other metric, no backup.
    pub fn plain(target: Target) -> Self {
        let (sources, backup) = (Vec::new(), None);
        Self { target, sources, backup, metric: None, preferred_source: None }
    }
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
    /// The link it is reached by, where it is one.
    pub interface: Option<u32>,
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
    /// Its link, where it is one; none for an own address of a single host.
    pub interface: Option<u32>,
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
    /// Octets a packet may have.
    pub mtu: u32,
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

/// What peers need of the kernel beside what BGP tells: a way to them, and an address to call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Gateways by the peer behind them, of one family: a route to this one address each.
    pub gateways: BTreeMap<IpAddr, IpAddr>,
    /// Addresses of ours that peers call, by the link they are on: each a /32 or /128. They are not
    /// among those of [`Link`], for they say nothing of this host to others; on `lo` the host never
    /// takes one as a source by itself.
    pub addresses: BTreeMap<String, BTreeSet<IpAddr>>,
}

/// The host's route to a workload's address, or to a peer behind a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoute {
    /// The address; the route is a /32 or /128.
    pub address: IpAddr,
    /// The gateway; `None` to a workload.
    pub gateway: Option<IpAddr>,
    /// The link it is wished over; without a wish, the one it is over. Empty where the gateway is on
    /// no link.
    pub link: String,
    /// How it stands.
    pub state: HostRouteState,
}

/// How a route to a workload stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRouteState {
    /// In the kernel as wished.
    Installed,
    /// On its way.
    Pending,
    /// There is no link of this name, or it is down, or the gateway is on none; comes when it does.
    NoLink,
    /// Somebody else says where the address is, and is left alone; comes when that ends.
    Conflict(HostRouteConflict),
    /// The kernel refused with this error number; tried again later.
    Refused(i32),
    /// Left by a former process and not wished for since; goes once the sources are complete.
    Unwanted,
    /// No routes are written: `[fib] enabled = false`, or no right to.
    Off,
}

/// Who else has a workload's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRouteConflict {
    /// It is an address of the host.
    OwnAddress,
    /// A route to exactly this address, which is not ours.
    Route {
        /// Route protocol number: who put it there.
        protocol: u8,
        /// Its metric.
        metric: u32,
        /// Its link, where it has one.
        link: Option<String>,
    },
}

impl std::fmt::Display for HostRouteConflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OwnAddress => write!(f, "it is an address of the host"),
            Self::Route { protocol, link, .. } => {
                let over = link.as_ref().map(|l| format!(" over {l}")).unwrap_or_default();
                write!(f, "a route of protocol {protocol}{over} has it")
            }
        }
    }
}

/// Why a route to a workload is not in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostRouteError {
    /// Somebody else has the address.
    #[error("no route to {address} over {link}: {by}")]
    Conflict {
        /// The workload's address.
        address: IpAddr,
        /// The link it was wished over.
        link: String,
        /// Who.
        by: HostRouteConflict,
    },
    /// The kernel refused.
    #[error("no route to {address} over {link}: {}", std::io::Error::from_raw_os_error(*.errno))]
    Refused {
        /// The workload's address.
        address: IpAddr,
        /// The link it was wished over.
        link: String,
        /// Its answer.
        errno: i32,
    },
    /// The link is not there or not up, or the kernel did not answer in time. The wish stands.
    #[error("no route to {address} over {link} in time: {why}")]
    TimedOut {
        /// The workload's address.
        address: IpAddr,
        /// The link it was wished over.
        link: String,
        /// What it waited for.
        why: &'static str,
    },
    /// Another wish for the address came meanwhile.
    #[error("the route to {address} over {link} is no longer wished for")]
    Replaced {
        /// The workload's address.
        address: IpAddr,
        /// The link it was wished over.
        link: String,
    },
    /// No routes are written.
    #[error("no routes are written: [fib] enabled = false, or CAP_NET_ADMIN is missing")]
    Off,
    /// The threads have ended.
    #[error("the kernel side has stopped")]
    Stopped,
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
    /// Why it cannot be there, where that is known.
    pub error: Option<&'static str>,
}

/// Which rows of `margay fib` are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFilter {
    /// Every route of ours.
    All,
    /// This prefix.
    Exact(IpNet),
    /// This prefix and all inside it.
    Within(IpNet),
    /// The longest prefix that covers this address.
    Lookup(IpAddr),
}

/// What the kernel side can do and what it did, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FibStatus {
    /// Why routes are not written although they should be (no CAP_NET_ADMIN); `None` = all well.
    pub degraded: Option<String>,
    /// Routes are written over next-hop objects.
    pub nexthop_objects: bool,
    /// Routes of ours in the kernel, IPv4.
    pub routes_v4: usize,
    /// Routes of ours in the kernel, IPv6.
    pub routes_v6: usize,
    /// Wishes not yet in the kernel.
    pub pending: usize,
    /// When the oldest of these came. Of what waits in the table (after a change of next hops, say)
    /// only the moment is known when it was last done.
    pub oldest_wish: Option<Instant>,
    /// Wishes the kernel refused (tried again later).
    pub failed: usize,
    /// Prefixes held by a foreign route of the same metric, which we leave alone.
    pub conflicts: usize,
    /// Routes to workloads, and to peers behind gateways, in the kernel; not among those above.
    pub host_routes: usize,
    /// Routes written, replaced or deleted since start.
    pub applied: u64,
    /// Batches of routes and objects that the kernel has worked off since start.
    pub batches: u64,
    /// Messages in these batches; a batch is one `sendmsg`.
    pub messages: u64,
    /// How long that took in all.
    pub apply_time: Duration,
    /// Routes refused since start, but for those to be deleted that were gone already.
    pub errors: u64,
    /// All refusals of routes and objects since start, and batches without an answer, by error
    /// number.
    pub refusals: Vec<(i32, u64)>,
    /// Routes put back after somebody else changed or deleted them, since start.
    pub drift_repaired: u64,
    /// Times the kernel's state was read anew after lost notifications, since start.
    pub resyncs: u64,
    /// The last refusal in plain words.
    pub last_error: Option<String>,
}

impl FibStatus {
    /// How long the oldest wish that the kernel has not acknowledged has waited; zero without one.
    pub fn lag(&self, now: Instant) -> Duration {
        self.oldest_wish.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// [`refusals`](Self::refusals) by name (`EEXIST`); what is rare goes by its number.
    pub fn refusals_by_name(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let name = |errno: i32| {
            let known = ERRNO_NAMES.iter().find(|(known, _)| *known == errno);
            known.map_or_else(|| errno.to_string(), |(_, name)| (*name).to_owned())
        };
        self.refusals.iter().map(move |(errno, count)| (name(*errno), *count))
    }
}

/// Why the kernel side could not start or take a configuration.
#[derive(Debug, thiserror::Error)]
pub enum FibError {
    /// No netlink socket.
    #[error("cannot open a routing socket: {0}")]
    Socket(std::io::Error),
    /// A dump failed.
    #[error("cannot read the kernel's {what}: {err}")]
    Read {
        /// Links, addresses, routes or next-hop objects.
        what: &'static str,
        /// What the kernel said.
        err: std::io::Error,
    },
    /// `nexthop-objects = "on"` and the kernel has none.
    #[error(
        "this kernel has no next-hop objects (Linux 5.3 or later is needed); set nexthop-objects to \"auto\" or \"off\""
    )]
    NoNexthopObjects,
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// Table 0 or protocol below 3 cannot be ours.
    #[error("{key} = {value} cannot be used: {why}")]
    Config {
        /// Key of `[fib]`.
        key: &'static str,
        /// Its value.
        value: u32,
        /// Allowed values.
        why: &'static str,
    },
    /// The threads have ended.
    #[error("the kernel side has stopped")]
    Stopped,
}

/// What the kernel may say to routes and next-hop objects.
const ERRNO_NAMES: &[(i32, &str)] = &[
    (libc::EPERM, "EPERM"),
    (libc::ENOENT, "ENOENT"),
    (libc::ESRCH, "ESRCH"),
    (libc::EINTR, "EINTR"),
    (libc::EAGAIN, "EAGAIN"),
    (libc::ENOMEM, "ENOMEM"),
    (libc::EACCES, "EACCES"),
    (libc::EBUSY, "EBUSY"),
    (libc::EEXIST, "EEXIST"),
    (libc::ENODEV, "ENODEV"),
    (libc::EINVAL, "EINVAL"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::EPIPE, "EPIPE"),
    (libc::ERANGE, "ERANGE"),
    (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP"),
    (libc::ENETDOWN, "ENETDOWN"),
    (libc::ENETUNREACH, "ENETUNREACH"),
    (libc::ENOBUFS, "ENOBUFS"),
    (libc::EHOSTUNREACH, "EHOSTUNREACH"),
];
