//! Which of a host's addresses is the address of the node.
//!
//! Owns: the methods, the interfaces nobody means, the order of preference. Promises: the same
//! facts give the same answer, and an address that is still a good one is kept. Leaves to others:
//! asking the kernel, and whether somebody else has the address already.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use regex_automata::meta::Regex;

/// One of the two kinds of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl AddressFamily {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The one an address is of.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl fmt::Display for AddressFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// How the address is found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Method {
    /// The source of packets to the datastore, else the interface of the default route, else the
    /// first found.
    #[default]
    Auto,
    /// The first address of the first interface that is none of [`EXCLUDED`].
    FirstFound,
    /// The source of packets to this host.
    CanReach(String),
    /// The first address of the first interface with such a name, in the order of the patterns.
    Interface(Vec<Pattern>),
    /// As first found, without these.
    SkipInterface(Vec<Pattern>),
    /// The first address inside one of these; on interfaces of [`EXCLUDED`] only if there is no
    /// other.
    Cidr(Vec<IpNet>),
    /// The first address of the interface of the default route.
    DefaultRoute,
}

/// A pattern of interface names: a regular expression, found anywhere in the name.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

/// The forms a method can have.
pub(crate) const METHODS: &str = "\"auto\", \"first-found\", \"can-reach=HOST\", \
     \"interface=REGEX,…\", \"skip-interface=REGEX,…\", \"cidr=CIDR,…\", \"default-route\"";

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.trim())),
            None => (text, None),
        };
        let list = |value: &str| -> Vec<String> {
            value.split(',').map(|part| part.trim().to_owned()).collect()
        };
        let patterns = |value: &str| -> Result<Vec<Pattern>, String> {
            list(value).into_iter().map(pattern).collect()
        };
        match (name, value.filter(|value| !value.is_empty())) {
            ("auto", None) if value.is_none() => Ok(Self::Auto),
            ("first-found", None) if value.is_none() => Ok(Self::FirstFound),
            ("default-route", None) if value.is_none() => Ok(Self::DefaultRoute),
            ("can-reach", Some(host)) => {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-');
                match host.chars().all(plain) {
                    true => Ok(Self::CanReach(host.to_owned())),
                    false => Err(format!("{host:?} is no address and no name of a host")),
                }
            }
            ("interface", Some(value)) => patterns(value).map(Self::Interface),
            ("skip-interface", Some(value)) => patterns(value).map(Self::SkipInterface),
            ("cidr", Some(value)) => list(value)
                .iter()
                .map(|part| {
                    let net: IpNet =
                        part.parse().map_err(|_| format!("{part:?} is no CIDR like 10.0.0.0/8"))?;
                    Ok(net.trunc())
                })
                .collect::<Result<_, _>>()
                .map(Self::Cidr),
            ("kubernetes-internal-ip", _) => Err(format!(
                "\"kubernetes-internal-ip\" not supported in this version, allowed: {METHODS}"
            )),
            _ => Err(format!("found {text:?}, allowed: {METHODS}")),
        }
    }
}

fn pattern(text: String) -> Result<Pattern, String> {
    if text.is_empty() {
        return Err("an empty pattern would match every interface".to_owned());
    }
    match Regex::new(&text) {
        Ok(regex) => Ok(Pattern { text, regex }),
        Err(_) => Err(format!("{text:?} is no regular expression")),
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns = |patterns: &[Pattern]| {
            patterns.iter().map(|pattern| pattern.text.as_str()).collect::<Vec<_>>().join(",")
        };
        match self {
            Self::Auto => f.write_str("auto"),
            Self::FirstFound => f.write_str("first-found"),
            Self::CanReach(host) => write!(f, "can-reach={host}"),
            Self::Interface(names) => write!(f, "interface={}", patterns(names)),
            Self::SkipInterface(names) => write!(f, "skip-interface={}", patterns(names)),
            Self::Cidr(nets) => {
                let nets: Vec<_> = nets.iter().map(ToString::to_string).collect();
                write!(f, "cidr={}", nets.join(","))
            }
            Self::DefaultRoute => f.write_str("default-route"),
        }
    }
}

/// Beginnings of the names of interfaces that are not the host's own: bridges and cables of
/// containers, tunnels, devices of other cluster networks. The loopback is `lo` alone.
pub const EXCLUDED: [&str; 18] = [
    "docker",
    "cbr",
    "dummy",
    "podman",
    "virbr",
    "lxcbr",
    "veth",
    "br-",
    "cali",
    "tunl",
    "flannel",
    "kube-ipvs",
    "cni",
    "vxlan.calico",
    "vxlan-v6.calico",
    "wireguard.cali",
    "wg-v6.cali",
    "nodelocaldns",
];

/// An interface as the host has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkFacts {
    /// Its name.
    pub name: String,
    /// Whether it can carry packets.
    pub up: bool,
    /// Its addresses with the length of their networks.
    pub addresses: Vec<IpNet>,
}

/// What the kernel sends with, to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Whom, as configured.
    pub target: String,
    /// The source address of packets to it.
    pub source: IpAddr,
}

/// What a choice rests on.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Interfaces by index.
    pub links: Vec<LinkFacts>,
    /// For [`Method::CanReach`] its host, for [`Method::Auto`] the datastore, as far as there is a
    /// route; in order of preference.
    pub reached: Vec<Reached>,
    /// Names of the interfaces of default routes of the family, the preferred one first.
    pub default_links: Vec<String>,
}

/// What counts for the address the node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It stays for as long as the host has it: interfaces come and go.
    WhileThere,
    /// It stays where the method finds it, too: beside others on the interface that is chosen.
    AmongBest,
}

/// An address the host has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The address with the length of its network.
    pub net: IpNet,
    /// Its interface.
    pub link: String,
    /// Why it would be the one.
    pub why: Why,
}

/// Why an address would be the one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Packets to this host have it as their source.
    Reaches(String),
    /// It is on the interface of the default route.
    DefaultRoute,
    /// On the first interface that is not excluded.
    FirstFound,
    /// The name of its interface fits.
    Interface,
    /// It lies in one of the networks.
    Cidr,
    /// The node has it, and so has the host.
    StillThere,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reaches(target) => write!(f, "source of packets to {target}"),
            Self::DefaultRoute => f.write_str("interface of the default route"),
            Self::FirstFound => f.write_str("first found"),
            Self::Interface => f.write_str("name of the interface"),
            Self::Cidr => f.write_str("inside the networks named"),
            Self::StillThere => f.write_str("the node has it and the host has it still"),
        }
    }
}

/// A choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detection {
    /// The address; `None` where the method finds none.
    pub chosen: Option<Candidate>,
    /// What other addresses the method would have taken, in order.
    pub others: Vec<Candidate>,
}

/// Chooses an address of `family`; `current` is the one the node has.
pub fn detect(
    family: AddressFamily,
    method: &Method,
    facts: &Facts,
    current: Option<IpAddr>,
    keep: Keep,
) -> Detection {
    let mut found = candidates(family, method, facts);
    if keep == Keep::WhileThere
        && let Some(there) = current.and_then(|current| on_host(family, facts, current))
    {
        found.retain(|candidate| candidate.net.addr() != there.net.addr());
        return Detection { chosen: Some(there), others: found };
    }
    let Some(first) = found.first().cloned() else {
        return Detection { chosen: None, others: found };
    };
    // A second address on the interface, lower than the first, is no reason to move.
    let kept = found.iter().position(|candidate| {
        current == Some(candidate.net.addr())
            && candidate.link == first.link
            && candidate.why == first.why
    });
    let chosen = found.remove(kept.unwrap_or(0));
    Detection { chosen: Some(chosen), others: found }
}

/// The network length of an address of the host; `None` where the host does not have it.
pub fn net_of(links: &[LinkFacts], address: IpAddr) -> Option<IpNet> {
    links.iter().flat_map(|link| &link.addresses).find(|net| net.addr() == address).copied()
}

fn on_host(family: AddressFamily, facts: &Facts, address: IpAddr) -> Option<Candidate> {
    facts.links.iter().find_map(|link| {
        let net = usable(family, link).find(|net| net.addr() == address)?;
        Some(Candidate { net, link: link.name.clone(), why: Why::StillThere })
    })
}

/// In order of preference, each address once.
fn candidates(family: AddressFamily, method: &Method, facts: &Facts) -> Vec<Candidate> {
    let up = || facts.links.iter().filter(|link| link.up);
    let mut found = Vec::new();
    match method {
        Method::Auto => {
            reached(&mut found, family, facts);
            default_route(&mut found, family, facts);
            all_of(&mut found, family, up().filter(|link| !excluded(&link.name)), &Why::FirstFound);
        }
        Method::FirstFound => {
            all_of(&mut found, family, up().filter(|link| !excluded(&link.name)), &Why::FirstFound);
        }
        Method::CanReach(_) => reached(&mut found, family, facts),
        Method::Interface(patterns) => {
            for pattern in patterns {
                let fits = up().filter(|link| pattern.matches(&link.name));
                all_of(&mut found, family, fits, &Why::Interface);
            }
        }
        Method::SkipInterface(patterns) => {
            let skipped = |name: &str| patterns.iter().any(|pattern| pattern.matches(name));
            let rest = up().filter(|link| !excluded(&link.name) && !skipped(&link.name));
            all_of(&mut found, family, rest, &Why::FirstFound);
        }
        Method::Cidr(nets) => {
            all_of(&mut found, family, up().filter(|link| !excluded(&link.name)), &Why::Cidr);
            all_of(&mut found, family, up().filter(|link| excluded(&link.name)), &Why::Cidr);
            found.retain(|found| nets.iter().any(|net| net.contains(&found.net.addr())));
        }
        Method::DefaultRoute => default_route(&mut found, family, facts),
    }
    found
}

fn reached(found: &mut Vec<Candidate>, family: AddressFamily, facts: &Facts) {
    for Reached { target, source } in &facts.reached {
        if let Some(candidate) = on_host(family, facts, *source) {
            push(found, Candidate { why: Why::Reaches(target.clone()), ..candidate });
        }
    }
}

fn default_route(found: &mut Vec<Candidate>, family: AddressFamily, facts: &Facts) {
    for name in &facts.default_links {
        let link = facts.links.iter().filter(|link| link.up && link.name == *name);
        all_of(found, family, link, &Why::DefaultRoute);
    }
}

fn all_of<'a>(
    found: &mut Vec<Candidate>,
    family: AddressFamily,
    links: impl Iterator<Item = &'a LinkFacts>,
    why: &Why,
) {
    for link in links {
        for net in usable(family, link) {
            push(found, Candidate { net, link: link.name.clone(), why: why.clone() });
        }
    }
}

fn push(found: &mut Vec<Candidate>, candidate: Candidate) {
    if found.iter().all(|known| known.net.addr() != candidate.net.addr()) {
        found.push(candidate);
    }
}

fn excluded(name: &str) -> bool {
    name == "lo" || EXCLUDED.iter().any(|begin| name.starts_with(begin))
}

/// Addresses that other hosts can reach.
fn usable(family: AddressFamily, link: &LinkFacts) -> impl Iterator<Item = IpNet> {
    link.addresses.iter().copied().filter(move |net| {
        AddressFamily::of(net.addr()) == family
            && match net.addr() {
                _ if net.addr().is_loopback() || net.addr().is_unspecified() => false,
                IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_multicast() && !v4.is_broadcast(),
                IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_multicast(),
            }
    })
}

#[cfg(test)]
mod tests;
