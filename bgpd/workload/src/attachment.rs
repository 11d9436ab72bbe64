//! What an attachment is: what it is known by, what was asked for it, how far it is.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{failure::Failure, qos::Qos};

/// What an attachment is known by. None of the three has a `/` in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttachmentId {
    /// The name of the network configuration.
    pub network: String,
    /// The container, as the runtime names it.
    pub container: String,
    /// The interface in the container.
    pub ifname: String,
}

impl AttachmentId {
    /// Of these three, by the rules of the CNI specification.
    ///
    /// # Errors
    /// One of them cannot be a name.
    pub fn new(network: &str, container: &str, ifname: &str) -> Result<Self, Failure> {
        for (field, text) in [("network", network), ("container_id", container)] {
            let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-');
            let holds = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
                && text.bytes().all(fits)
                && text.len() <= LONGEST;
            if !holds {
                let text = format!(
                    "{text:?} cannot be: a letter or digit, then letters, digits, _ . -, at most \
                     {LONGEST}"
                );
                return Err(Failure::invalid(field, text));
            }
        }
        let bad = |c: char| "/:%".contains(c) || c.is_whitespace() || c.is_control();
        let length = ifname.len();
        if !(1..=15).contains(&length) || ifname == "." || ifname == ".." || ifname.contains(bad) {
            let text = format!(
                "{ifname:?} cannot be an interface: 1 to 15 octets without slash, colon, percent \
                 sign or white space"
            );
            return Err(Failure::invalid("ifname", text));
        }
        Ok(Self { network: network.into(), container: container.into(), ifname: ifname.into() })
    }

    /// By what its addresses are held: `NETWORK.CONTAINER` as users know it, and with slashes where
    /// that could be another's.
    pub fn handle(&self) -> String {
        let Self { network, container, ifname } = self;
        if ifname == "eth0" && !network.contains('.') && !container.contains('.') {
            format!("{network}.{container}")
        } else {
            format!("{network}/{container}/{ifname}")
        }
    }
}

impl fmt::Display for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.network, self.container, self.ifname)
    }
}

/// A pod of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
    /// Tells it from one of the same name before or after; may be empty.
    pub uid: String,
}

/// How far an attachment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Addresses are asked for.
    Allocating,
    /// The addresses are known; link, routes and endpoint are made.
    Configured,
    /// All of it is there, and may have been answered.
    Live,
    /// All of it is taken down.
    Deleting,
}

impl State {
    /// Its name, as users see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allocating => "allocating",
            Self::Configured => "configured",
            Self::Live => "live",
            Self::Deleting => "deleting",
        }
    }
}

/// What an attachment consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Addresses, a link that carries them, a WorkloadEndpoint.
    Link,
    /// Addresses only.
    Addresses,
}

/// Addresses that are wanted of our pools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// One of IPv4.
    pub v4: bool,
    /// One of IPv6.
    pub v6: bool,
    /// Just these; then the families do not count.
    pub exactly: Vec<IpAddr>,
    /// Names or CIDRs of pools for IPv4; empty: those whose selectors match.
    pub v4_pools: Vec<String>,
    /// Likewise for IPv6.
    pub v6_pools: Vec<String>,
}

/// Where addresses come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Our pools.
    Assign(Wish),
    /// Somebody else gave them and takes them back. May be none.
    Given(Vec<IpAddr>),
    /// Somebody else gives them, whom a client asks over the link: none before the link is there. He
    /// takes them back over the link, too.
    Leased(Vec<IpAddr>),
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// What it consists of.
    pub mode: Mode,
    /// The path of the network namespace.
    pub netns: String,
    /// Whose it is, where it is a pod's.
    pub pod: Option<Pod>,
    /// Where addresses come from.
    pub source: Source,
    /// The pod's labels.
    pub labels: BTreeMap<String, String>,
    /// Where the container sends to over our gateway; `None`: everywhere.
    pub routes: Option<Vec<IpNet>>,
    /// Octets.
    pub mtu: u32,
    /// The hardware address of the container's end; `None`: one made from its name.
    pub mac: Option<Mac>,
    /// Whether the container may forward; `None`: as it is.
    pub forwarding: Option<bool>,
    /// Addresses outside that stand for the container's own.
    pub floating: Vec<IpAddr>,
    /// Sources the container may send from besides its own addresses.
    pub spoofed: Vec<IpNet>,
    /// Limits of its traffic.
    #[serde(default, skip_serializing_if = "Qos::is_none")]
    pub qos: Qos,
    /// How long to wait for the policy dataplane, seconds.
    pub policy_wait: u32,
}

impl Spec {
    /// Asks whether any address is wanted where they are ours to choose.
    ///
    /// # Errors
    /// None is.
    pub fn check_wish(&self) -> Result<(), Failure> {
        match &self.source {
            Source::Assign(wish) if !wish.v4 && !wish.v6 && wish.exactly.is_empty() => {
                let text = "assign_ipv4 and assign_ipv6 are both false, no address would be left";
                Err(Failure::invalid("assign", text))
            }
            _ => Ok(()),
        }
    }
}

/// A moment by a clock that nobody sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uptime {
    /// Which start of the host it counts from; 0: nobody knows.
    boot: u64,
    /// Nanoseconds since then.
    nanos: u64,
}

impl Uptime {
    /// So long after the start that the kernel calls `boot_id`, a random UUID. What is none is not
    /// known.
    pub fn new(boot_id: &str, nanos: u64) -> Self {
        let digits: String = boot_id.chars().filter(|c| *c != '-').take(16).collect();
        Self { boot: u64::from_str_radix(&digits, 16).unwrap_or_default(), nanos }
    }

    /// Whether it was before another one or just then; `None`: they are of different starts.
    pub(crate) fn is_until(self, other: Self) -> Option<bool> {
        self.is_same_boot(other).then_some(self.nanos <= other.nanos)
    }

    /// Whether it counts from the same start.
    pub(crate) fn is_same_boot(self, other: Self) -> bool {
        self.boot == other.boot
    }

    /// Whether somebody knows.
    pub(crate) fn is_known(self) -> bool {
        self.boot != 0
    }
}

/// When something was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since the Unix epoch, by a clock that may have been set since.
    pub wall: u64,
    /// By one that nobody sets.
    pub up: Uptime,
}

/// A journal entry: an attachment and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is known by.
    pub id: AttachmentId,
    /// How far it is.
    pub state: State,
    /// When it was begun, milliseconds since the Unix epoch.
    pub created: u64,
    /// When it was last asked for. Not known of what an earlier version wrote.
    #[serde(default)]
    pub begun: Uptime,
    /// What was asked.
    pub spec: Spec,
    /// The host's end of its link; empty where it has none, or a newer container of its pod has
    /// taken its place.
    pub host_interface: String,
    /// Its addresses, IPv4 first; known from `Configured` on.
    pub addresses: Vec<IpAddr>,
}

impl Entry {
    /// Whose it is: all that is done for one workload is done one after the other.
    pub fn workload(&self) -> String {
        workload(&self.id, self.spec.pod.as_ref())
    }

    /// The hardware address of the container's end.
    pub fn mac(&self) -> Mac {
        self.spec.mac.unwrap_or_else(|| crate::name::mac(&self.id))
    }

    /// Whether it was there when a DEL was asked, so that the DEL is about it.
    pub(crate) fn is_meant(&self, asked: Moment, now: Uptime) -> bool {
        if !self.begun.is_known() || !asked.up.is_known() {
            return self.created <= asked.wall;
        }
        // Of two starts of the host the DEL is of the later, unless the entry is of this one: what
        // began before this one runs no more, so its DEL does no harm.
        self.begun.is_until(asked.up).unwrap_or_else(|| !self.begun.is_same_boot(now))
    }

    /// Whether its addresses are held by its handle.
    pub fn holds_addresses(&self) -> bool {
        matches!(self.spec.source, Source::Assign(_))
    }

    /// Whether it is no more than a link over which addresses are asked for.
    pub fn is_bare(&self) -> bool {
        self.state != State::Live
            && self.addresses.is_empty()
            && matches!(self.spec.source, Source::Leased(_))
    }

    /// Where the container sends to over our gateway: of the families it has addresses of.
    pub fn routes(&self) -> Vec<IpNet> {
        let has = |v4: bool| self.addresses.iter().any(|address| address.is_ipv4() == v4);
        let default = || {
            let v4 = IpNet::V4(ipnet::Ipv4Net::default());
            vec![v4, IpNet::V6(ipnet::Ipv6Net::default())]
        };
        let mut routes = self.spec.routes.clone().unwrap_or_else(default);
        routes.retain(|route| has(route.addr().is_ipv4()));
        routes
    }
}

/// Whose an attachment is.
pub(crate) fn workload(id: &AttachmentId, pod: Option<&Pod>) -> String {
    match pod {
        Some(pod) => format!("{}/{}", pod.namespace, pod.name),
        None => id.container.clone(),
    }
}

/// A hardware address; `aa:bb:cc:dd:ee:ff` as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = Failure;

    fn try_from(text: String) -> Result<Self, Failure> {
        let octet = |part: &str| match part.len() {
            2 => u8::from_str_radix(part, 16).ok(),
            _ => None,
        };
        let octets: Option<Vec<u8>> = text.split(':').map(octet).collect();
        let octets: Option<[u8; 6]> = octets.and_then(|octets| octets.try_into().ok());
        octets.map(Self).ok_or_else(|| {
            Failure::invalid("annotations", format!("{text:?} is no hardware address"))
        })
    }
}

/// Of network and container: handles have room for both.
const LONGEST: usize = 200;

#[cfg(test)]
mod tests;
