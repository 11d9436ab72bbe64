//! What is sent between pods, and tables of what came through.

use policy_calc::Header;

/// How many pods there are.
pub const PODS: usize = 9;

/// A kind of packet: protocol, and destination port or type of ICMP.
#[derive(Clone, Copy)]
pub struct Probe {
    /// As case files call it.
    pub name: &'static str,
    /// Number of the protocol.
    pub protocol: u8,
    /// Destination port, or type of ICMP.
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

impl Probe {
    /// Whether a pod that gets it answers at once.
    pub fn is_answered(self) -> bool {
        matches!(self.protocol, 1 | 6)
    }

    /// As policy sees it.
    pub fn header(self, round: u16) -> Header {
        match self.protocol {
            1 => Header::Icmp { kind: u8::try_from(self.what).expect("a type"), code: 0 },
            _ => Header::Ports { source: round, destination: self.what },
        }
    }

    /// The packet, with an IP header; `round` is its source port or identifier.
    pub fn packet(self, from: [u8; 4], to: [u8; 4], round: u16) -> Vec<u8> {
        let mut body = match self.protocol {
            1 => vec![u8::try_from(self.what).expect("a type"), 0, 0, 0],
            _ => [round.to_be_bytes(), self.what.to_be_bytes()].concat(),
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
        let mut pseudo = [from, to].concat();
        let length = u16::try_from(body.len()).expect("short");
        pseudo.extend([0, self.protocol]);
        pseudo.extend(length.to_be_bytes());
        let (at, value) = match self.protocol {
            1 => (2, ones(&[&body])),
            6 => (16, ones(&[&pseudo, &body])),
            17 => (6, ones(&[&pseudo, &body])),
            _ => {
                let value = crc32c(&body).to_le_bytes();
                body[8..12].copy_from_slice(&value);
                (8, [value[0], value[1]])
            }
        };
        body[at..at + 2].copy_from_slice(&value);
        let mut packet = vec![0x45, 0];
        packet.extend((length + 20).to_be_bytes());
        packet.extend([0, 0, 0, 0, 64, self.protocol, 0, 0]);
        packet.extend(from);
        packet.extend(to);
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
    pub fn answerable(&self) -> Self {
        let mut some = self.clone();
        for (from, to, probe) in places().filter(|place| !PROBES[place.2].is_answered()) {
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

/// Its address.
pub fn address(number: usize) -> [u8; 4] {
    let small = |number: usize| u8::try_from(number).expect("small");
    [10, 1, small(number / 3), small(number % 3 + 1)]
}

/// From, to and probe of everything that is sent.
pub fn places() -> impl Iterator<Item = (usize, usize, usize)> {
    let pairs = (0..PODS).flat_map(|from| (0..PODS).map(move |to| (from, to)));
    pairs
        .filter(|(from, to)| from != to)
        .flat_map(|(from, to)| (0..PROBES.len()).map(move |probe| (from, to, probe)))
}
