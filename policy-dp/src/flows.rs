//! Flows: packets that were told of, gathered. No socket, no clock.
//!
//! Owns what makes two packets parts of one flow, how long a record gathers, and how many there may
//! be. Promises that memory is bounded whatever packets come: what finds no room is counted. Leaves
//! to others who hears of packets, and who is told of flows.

mod staged;

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::Arc,
};

use margay_model::ResourceKey;
use policy_calc::{Direction, Header, Packet};
use policy_nft::{
    layout::Texts,
    seen::{Fate, Seen, without_prefix},
};

pub(crate) use staged::Would;

/// Who and what packets are told of with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    /// Endpoints of this node by their addresses.
    pub(crate) ends: Arc<BTreeMap<IpAddr, ResourceKey>>,
    /// What decided, by what stands for it beside a packet where it has no room there.
    pub(crate) texts: Arc<Texts>,
}

impl Names {
    /// Puts what decided in place of what stands for it. Gives the prefix that a rule logs with.
    pub(crate) fn describe(&self, seen: &mut Seen) -> Option<String> {
        let whole = self.texts.get(&seen.by).unwrap_or(&seen.by);
        let (by, prefix) = without_prefix(whole);
        let (by, prefix) = (by.to_owned(), prefix.map(str::to_owned));
        seen.by = by;
        prefix
    }
}

/// How long a record gathers, in milliseconds.
pub(crate) const WINDOW: u64 = 1000;
/// Flows that gather at once.
const OPEN: usize = 8192;
/// Records that are kept for who asks later.
pub(crate) const KEPT: usize = 8192;

/// What makes two packets parts of one flow: all but the port of who asked, and the time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flow {
    /// Seen from which end.
    pub(crate) direction: Direction,
    /// What became of it there.
    pub(crate) fate: Fate,
    /// By what.
    pub(crate) by: String,
    /// Where it comes from.
    pub(crate) source: IpAddr,
    /// Where it goes.
    pub(crate) destination: IpAddr,
    /// Number of the protocol.
    pub(crate) protocol: u8,
    /// Where it goes, for protocols with ports.
    pub(crate) port: Option<u16>,
    /// Type and code of ICMP.
    pub(crate) icmp: Option<(u8, u8)>,
}

/// A flow in a span of time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The flow.
    pub(crate) flow: Flow,
    /// Whose the addresses are, of this node's endpoints.
    pub(crate) ends: [Option<ResourceKey>; 2],
    /// When it was seen first and last, in milliseconds since 1970.
    pub(crate) seen: [u64; 2],
    /// How many packets asked for a decision: of what is let through the first of each connection.
    pub(crate) packets: u64,
    /// The first of them.
    pub(crate) first: Packet,
    /// What would have become of it if staged policies were enforced, where that is anything else.
    pub(crate) staged: Option<Would>,
}

/// What gathers, and what was gathered.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    open: BTreeMap<Flow, Gathering>,
    since: Option<u64>,
    kept: VecDeque<Arc<Record>>,
    /// How many records there were before those that are kept.
    before: u64,
    counts: Counts,
}

/// What gathers of a flow.
#[derive(Debug)]
struct Gathering {
    seen: [u64; 2],
    packets: u64,
    first: Packet,
}

/// Of packets, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Let through, by direction.
    pub(crate) allowed: [u64; 2],
    /// Dropped, by direction.
    pub(crate) denied: [u64; 2],
    /// Told of in vain: faster than they could be heard, or of too many flows at once.
    pub(crate) lost: u64,
}

impl Flow {
    fn of(seen: Seen) -> Self {
        let Seen { direction, fate, by, packet } = seen;
        let port = match packet.header {
            Header::Ports { destination, .. } => Some(destination),
            Header::Icmp { .. } | Header::Other => None,
        };
        Self {
            direction,
            fate,
            by,
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol,
            port,
            icmp: packet.icmp(),
        }
    }
}

impl Flows {
    /// Takes in a packet; `now` in milliseconds since 1970.
    pub(crate) fn see(&mut self, now: u64, seen: Seen) {
        let way = usize::from(seen.direction == Direction::Egress);
        let counts = match seen.fate {
            Fate::Allowed => Some(&mut self.counts.allowed),
            Fate::Denied => Some(&mut self.counts.denied),
            Fate::Logged => None,
        };
        if let Some(count) = counts.and_then(|counts| counts.get_mut(way)) {
            *count += 1;
        }
        let first = seen.packet;
        let flow = Flow::of(seen);
        if let Some(gathering) = self.open.get_mut(&flow) {
            gathering.seen[1] = now;
            gathering.packets += 1;
        } else if self.open.len() < OPEN {
            self.open.insert(flow, Gathering { seen: [now, now], packets: 1, first });
            self.since.get_or_insert(now);
        } else {
            self.counts.lost += 1;
        }
    }

    /// So many were told of that nobody heard.
    pub(crate) fn lose(&mut self, packets: u64) {
        self.counts.lost += packets;
    }

    /// Whether anything gathers.
    pub(crate) fn gathers(&self) -> bool {
        self.since.is_some()
    }

    /// Ends what has gathered long enough: the records of it, to be [kept](Self::keep). A clock that went back
    /// ends it, too.
    pub(crate) fn close(&mut self, now: u64, names: &BTreeMap<IpAddr, ResourceKey>) -> Vec<Record> {
        let due = self.since.is_some_and(|since| now < since || now - since >= WINDOW);
        if !due {
            return Vec::new();
        }
        self.since = None;
        let open = std::mem::take(&mut self.open).into_iter();
        open.map(|(flow, Gathering { seen, packets, first })| {
            let ends = [flow.source, flow.destination].map(|address| names.get(&address).cloned());
            Record { flow, ends, seen, packets, first, staged: None }
        })
        .collect()
    }

    /// Keeps records for who asks; how many there were until now.
    pub(crate) fn keep(&mut self, records: Vec<Record>) -> u64 {
        self.kept.extend(records.into_iter().map(Arc::new));
        while self.kept.len() > KEPT {
            self.kept.pop_front();
            self.before += 1;
        }
        self.until()
    }

    fn until(&self) -> u64 {
        self.before + u64::try_from(self.kept.len()).unwrap_or(u64::MAX)
    }

    /// The records behind the first `after`, and how many there were until now.
    pub(crate) fn records(&self, after: u64) -> (Vec<Arc<Record>>, u64) {
        let skip = usize::try_from(after.saturating_sub(self.before)).unwrap_or(usize::MAX);
        let records = self.kept.iter().skip(skip).cloned().collect();
        (records, self.until())
    }

    /// Of packets, since the start.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests;
