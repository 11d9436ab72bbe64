//! What is sent between pods, and tables of what came through.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policy_calc::Header;

/// How many pods there are.
pub const PODS: usize = 9;

/// The version of IP that pods speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// 4.
    V4,
    /// 6.
    V6,
}

/// A kind of packet: protocol, and destination port or type of ICMP.
#[derive(Clone, Copy)]
pub struct Probe {
    /// As case files call it.
    pub name: &'static str,
    /// Number of the protocol with IPv4.
    pub protocol: u8,
    /// Destination port, or type of ICMP with IPv4.
    pub what: u16,
}

/// Everything that each pod sends to each other.
pub const PROBES: [Probe; 7] = [
    Probe { name: "tcp80", protocol: 6, what: 80 },
    Probe { name: "tcp81", protocol: 6, what: 81 },
    Probe { name: "udp80", protocol: 17, what: 80 },
    Probe { name: "udp81", protocol: 17, what: 81 },
    Probe { name: "sctp80", protocol: 132, what: 80 },
    Probe { name: "icmp8", protocol: 1, what: 8 },
    Probe { name: "icmp13", protocol: 1, what: 13 },
];

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The address of a pod.
    pub fn address(self, number: usize) -> IpAddr {
        let small = |number: usize| u8::try_from(number).expect("small");
        self.of(Ipv4Addr::new(10, 1, small(number / 3), small(number % 3 + 1)))
    }

    /// What stands for an address of case files: with IPv6 it is the end of one.
    fn of(self, address: Ipv4Addr) -> IpAddr {
        match self {
            Self::V4 => address.into(),
            Self::V6 => {
                let [a, b, c, d] = address.octets().map(u16::from);
                Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, a << 8 | b, c << 8 | d).into()
            }
        }
    }

    /// What case files say, for this family: they are written for IPv4. Addresses and ranges become those of IPv6, ICMP
    /// that of the other family and the other way round, and its types as [`Probe::what`] has them.
    pub fn words(self, text: &str) -> String {
        if self == Self::V4 {
            return text.to_owned();
        }
        let mut words = String::new();
        // Before a range there is no letter or digit, and behind it neither.
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
            let (before, word) = rest.split_at(at);
            let end = word.find(|c: char| !(c.is_ascii_alphanumeric() || "./".contains(c)));
            let (word, behind) = word.split_at(end.unwrap_or(word.len()));
            words += before;
            words += &self.range(word).unwrap_or_else(|| word.to_owned());
            rest = behind;
        }
        words += rest;
        for (old, new) in [
            ("rotocol: ICMPv6", "rotocol: ICMP of IPv4"),
            ("rotocol: ICMP ", "rotocol: ICMPv6 "),
            ("rotocol: ICMP,", "rotocol: ICMPv6,"),
            ("rotocol: ICMPv6 of IPv4", "rotocol: ICMP"),
            ("{ type: 8", "{ type: 128"),
            ("{ type: 13", "{ type: 139"),
            ("ipVersion: 4", "ipVersion: six"),
            ("ipVersion: 6", "ipVersion: 4"),
            ("ipVersion: six", "ipVersion: 6"),
            ("addressType: IPv4", "addressType: IPv6"),
        ] {
            words = words.replace(old, new);
        }
        words
    }

    fn range(self, word: &str) -> Option<String> {
        if let Ok(address) = word.parse() {
            return Some(format!("'{}'", self.of(address)));
        }
        let (address, length) = word.split_once('/')?;
        let (address, length): (Ipv4Addr, u8) = (address.parse().ok()?, length.parse().ok()?);
        // All addresses are all addresses.
        let all = (length == 0).then(|| "'::/0'".to_owned());
        Some(all.unwrap_or_else(|| format!("'{}/{}'", self.of(address), length + 96)))
    }
}

impl Probe {
    /// Number of the protocol.
    pub fn protocol(self, family: Family) -> u8 {
        match (self.protocol, family) {
            (1, Family::V6) => 58,
            (other, _) => other,
        }
    }

    /// Destination port, or type of ICMP. For the timestamp, which ICMPv6 has not, stands what asks for the
    /// name of a node: both begin a connection, as tracking has it.
    pub fn what(self, family: Family) -> u16 {
        match (self.protocol, self.what, family) {
            (1, 8, Family::V6) => 128,
            (1, 13, Family::V6) => 139,
            (_, other, _) => other,
        }
    }

    /// Whether a pod that gets it answers at once.
    pub fn is_answered(self, family: Family) -> bool {
        match self.protocol {
            6 => true,
            1 => family == Family::V4 || self.what == 8,
            _ => false,
        }
    }

    /// As policy sees it.
    pub fn header(self, family: Family, round: u16) -> Header {
        let what = self.what(family);
        match self.protocol {
            1 => Header::Icmp { kind: u8::try_from(what).expect("a type"), code: 0 },
            _ => Header::Ports { source: round, destination: what },
        }
    }

    /// The packet, with an IP header; `round` is its source port or identifier.
    pub fn packet(self, family: Family, from: IpAddr, to: IpAddr, round: u16) -> Vec<u8> {
        let (what, protocol) = (self.what(family), self.protocol(family));
        let mut body = match self.protocol {
            1 => vec![u8::try_from(what).expect("a type"), 0, 0, 0],
            _ => [round.to_be_bytes(), what.to_be_bytes()].concat(),
        };
        match self.protocol {
            // Identifier, sequence number, and the three times of a timestamp.
            1 => {
                body.extend([round.to_be_bytes(), [0, 1]].concat());
                body.extend([0; 12]);
            }
            // A SYN: numbers, length of the header, flag, window.
            6 => body.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0]),
            17 => body.extend([0, 8, 0, 0]),
            // An INIT: no tag yet, checksum, then the chunk.
            _ => body.extend([
                0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20, 0, 0, 0, 7, 0, 0, 64, 0, 0, 1, 0, 1, 0, 0, 0,
                1,
            ]),
        }
        let octets = |address| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let ends = [octets(from), octets(to)].concat();
        let length = u16::try_from(body.len()).expect("short");
        let pseudo = [&ends[..], &[0, protocol], &length.to_be_bytes()].concat();
        let (at, value) = match (self.protocol, family) {
            (1, Family::V4) => (2, ones(&[&body])),
            (1, Family::V6) => (2, ones(&[&pseudo, &body])),
            (6, _) => (16, ones(&[&pseudo, &body])),
            (17, _) => (6, ones(&[&pseudo, &body])),
            _ => {
                let value = crc32c(&body).to_le_bytes();
                body[8..12].copy_from_slice(&value);
                (8, [value[0], value[1]])
            }
        };
        body[at..at + 2].copy_from_slice(&value);
        let mut packet = match family {
            Family::V4 => {
                let [high, low] = (length + 20).to_be_bytes();
                vec![0x45, 0, high, low, 0, 0, 0, 0, 64, protocol, 0, 0]
            }
            Family::V6 => {
                let [high, low] = length.to_be_bytes();
                vec![0x60, 0, 0, 0, high, low, protocol, 64]
            }
        };
        packet.extend(ends);
        packet.extend(body);
        packet
    }
}

/// The checksum of the Internet protocols.
fn ones(parts: &[&[u8]]) -> [u8; 2] {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).expect("folded")).to_be_bytes()
}

/// The checksum of SCTP.
fn crc32c(octets: &[u8]) -> u32 {
    !octets.iter().fold(!0, |mut crc: u32, octet| {
        crc ^= u32::from(*octet);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1));
        }
        crc
    })
}

/// Which probes came from which pod to which.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen(Vec<bool>);

impl Seen {
    /// None.
    pub fn none() -> Self {
        Self(vec![false; PODS * PODS * PROBES.len()])
    }

    /// All, but for those of a pod to itself.
    pub fn all() -> Self {
        let mut all = Self::none();
        places().for_each(|(from, to, probe)| all.set(from, to, probe, true));
        all
    }

    /// Whether this one did.
    pub fn has(&self, from: usize, to: usize, probe: usize) -> bool {
        self.0[(from * PODS + to) * PROBES.len() + probe]
    }

    /// Notes it.
    pub fn set(&mut self, from: usize, to: usize, probe: usize, came: bool) {
        self.0[(from * PODS + to) * PROBES.len() + probe] = came;
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.iter().filter(|came| **came).count()
    }

    /// Those that are answered, of what comes through.
    pub fn answerable(&self, family: Family) -> Self {
        let mut some = self.clone();
        for (from, to, probe) in places().filter(|place| !PROBES[place.2].is_answered(family)) {
            some.set(from, to, probe, false);
        }
        some
    }

    /// What is otherwise here than there, a line each, the first few.
    pub fn differences(&self, who: &str, oracle: &Self) -> Vec<String> {
        let differ = places().filter(|(from, to, probe)| {
            self.has(*from, *to, *probe) != oracle.has(*from, *to, *probe)
        });
        let line = |(from, to, probe): (usize, usize, usize)| {
            let word = if self.has(from, to, probe) { "passed" } else { "stopped" };
            format!("{who}: {} > {} {}: {word}", pod(from), pod(to), PROBES[probe].name)
        };
        differ.map(line).take(12).collect()
    }
}

/// The name of a pod.
pub fn pod(number: usize) -> String {
    format!("{}/{}", ["x", "y", "z"][number / 3], ["a", "b", "c"][number % 3])
}

/// From, to and probe of everything that is sent.
pub fn places() -> impl Iterator<Item = (usize, usize, usize)> {
    let pairs = (0..PODS).flat_map(|from| (0..PODS).map(move |to| (from, to)));
    pairs
        .filter(|(from, to)| from != to)
        .flat_map(|(from, to)| (0..PROBES.len()).map(move |probe| (from, to, probe)))
}
