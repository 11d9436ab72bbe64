//! The words in which tests speak of BGP speakers and routes, whatever the implementation.

use std::{collections::BTreeSet, fmt};

/// An address family that the lab plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4 unicast.
    Ipv4,
    /// IPv6 unicast.
    Ipv6,
}

impl Family {
    /// The family of a prefix or an address in text.
    pub fn of(text: &str) -> Self {
        if text.contains(':') { Self::Ipv6 } else { Self::Ipv4 }
    }

    /// `ipv4-unicast` or `ipv6-unicast`.
    pub fn unicast(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4-unicast",
            Self::Ipv6 => "ipv6-unicast",
        }
    }

    /// `ipv4` or `ipv6`.
    pub fn short(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// The three kinds of communities, as `A:B`, `A:B:C` and `rt:A:N` or `ro:A:N`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Communities {
    /// RFC 1997.
    pub standard: BTreeSet<String>,
    /// RFC 8092.
    pub large: BTreeSet<String>,
    /// RFC 4360, route targets and route origins.
    pub extended: BTreeSet<String>,
}

impl Communities {
    /// Communities from their texts, by kind.
    pub fn new(standard: &[&str], large: &[&str], extended: &[&str]) -> Self {
        let set = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self { standard: set(standard), large: set(large), extended: set(extended) }
    }
}

/// A route a speaker is to originate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Masked prefix.
    pub prefix: String,
    /// What to tag it with.
    pub communities: Communities,
}

impl Announcement {
    /// A route without communities.
    pub fn plain(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), communities: Communities::default() }
    }

    /// Its family.
    pub fn family(&self) -> Family {
        Family::of(&self.prefix)
    }
}

/// A route as a speaker holds it from one neighbour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    /// Masked prefix.
    pub prefix: String,
    /// The next hop, where the implementation tells it.
    pub next_hop: Option<String>,
    /// The AS path, sets left out.
    pub as_path: Vec<u32>,
    /// All its communities.
    pub communities: Communities,
    /// ORIGINATOR_ID, RFC 4456.
    pub originator_id: Option<String>,
    /// CLUSTER_LIST, RFC 4456.
    pub cluster_list: Vec<String>,
}

/// One configured neighbour of a speaker.
#[derive(Debug, Clone)]
pub struct Neighbor {
    /// Its address; the session carries the unicast family of that address.
    pub address: String,
    /// Our address of that session.
    pub local_address: String,
    /// Its AS.
    pub asn: u32,
    /// Wait to be called.
    pub passive: bool,
    /// TCP-MD5, RFC 2385.
    pub password: Option<String>,
    /// It is a client of ours, RFC 4456.
    pub reflector_client: bool,
    /// Proposed hold time in seconds.
    pub hold_time: u16,
}

impl Neighbor {
    /// A neighbour with nothing special: hold time 90 s, both sides may call.
    pub fn new(local_address: &str, address: &str, asn: u32) -> Self {
        Self {
            address: address.to_owned(),
            local_address: local_address.to_owned(),
            asn,
            passive: false,
            password: None,
            reflector_client: false,
            hold_time: 90,
        }
    }

    /// The family the session carries.
    pub fn family(&self) -> Family {
        Family::of(&self.address)
    }
}

/// What one speaker is configured with.
#[derive(Debug, Clone)]
pub struct Speaker {
    /// Its AS.
    pub asn: u32,
    /// Its router id; also its cluster id where it reflects.
    pub router_id: String,
    /// Its neighbours.
    pub neighbors: Vec<Neighbor>,
    /// What it originates.
    pub announcements: Vec<Announcement>,
}

impl Speaker {
    /// The configured neighbour with this address.
    pub fn neighbor(&self, address: &str) -> Option<&Neighbor> {
        self.neighbors.iter().find(|neighbor| neighbor.address == address)
    }

    /// Adds or replaces an announcement.
    pub fn announce(&mut self, announcement: &Announcement) {
        self.withdraw(&announcement.prefix);
        self.announcements.push(announcement.clone());
    }

    /// Forgets an announcement.
    pub fn withdraw(&mut self, prefix: &str) {
        self.announcements.retain(|known| known.prefix != prefix);
    }
}

/// The implementations the lab can run beside Margay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Implementation {
    /// BIRD 2.
    Bird,
    /// FRR's bgpd with its zebra.
    Frr,
    /// GoBGP.
    GoBgp,
    /// OpenBGPD, the portable edition.
    OpenBgpd,
    /// ExaBGP: a route server's toolbox without a RIB of its own.
    ExaBgp,
}

impl Implementation {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 5] = [Self::Bird, Self::Frr, Self::GoBgp, Self::OpenBgpd, Self::ExaBgp];
}

impl fmt::Display for Implementation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bird => "BIRD",
            Self::Frr => "FRR",
            Self::GoBgp => "GoBGP",
            Self::OpenBgpd => "OpenBGPD",
            Self::ExaBgp => "ExaBGP",
        })
    }
}
