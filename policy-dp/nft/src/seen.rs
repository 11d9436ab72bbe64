//! Packets that a `log` expression told of, as nfnetlink_log hands them over (`NFLOG`).
//!
//! Owns what rules put before a packet, and what the message and the beginning of the packet in it
//! say. Promises that what is cut short or no IP is left out, whatever octets come.

mod packet;

use std::borrow::Cow;

use policy_calc::{Direction, Packet};
use sha2::{Digest as _, Sha256};

use crate::{
    encode::LONGEST_PREFIX,
    expr::{Log, short},
    wire::{Message, Netfilter as _, text_of, u32_of},
};

pub use packet::packet;

/// What became of a packet where it was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It was let through, as far as this endpoint is concerned.
    Allowed,
    /// It was dropped.
    Denied,
    /// A rule with the action `Log` matched it; what became of it others say.
    Logged,
}

impl Fate {
    const ALL: [(Self, &str); 3] =
        [(Self::Allowed, "A "), (Self::Denied, "D "), (Self::Logged, "L ")];

    fn prefix(self) -> &'static str {
        Self::ALL.into_iter().find(|(fate, _)| *fate == self).map_or("", |(_, prefix)| prefix)
    }
}

/// A packet that was told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whether it came from the endpoint or was for it.
    pub direction: Direction,
    /// What became of it.
    pub fate: Fate,
    /// By what, as [`fitted`] has it.
    pub by: String,
    /// The packet.
    pub packet: Packet,
}

/// The group of NFLOG for packets of one direction.
pub const fn group(direction: Direction) -> u16 {
    match direction {
        Direction::Ingress => 1,
        Direction::Egress => 2,
    }
}

/// What tells of a packet of this fate, decided by what is described so.
pub fn log(direction: Direction, fate: Fate, by: &str) -> Log {
    Log { group: group(direction), prefix: format!("{}{}", fate.prefix(), fitted(by)) }
}

/// A description of a rule that logs with this prefix.
pub fn with_prefix(by: &str, prefix: &str) -> String {
    format!("{by}{PREFIXED}{prefix}")
}

/// A description, and the prefix that the rule logs with if it has one.
pub fn without_prefix(by: &str) -> (&str, Option<&str>) {
    match by.split_once(PREFIXED) {
        Some((by, prefix)) => (by, Some(prefix)),
        None => (by, None),
    }
}

/// What stands for a description beside a packet: itself, or where there is no room for it as much of
/// it as there is, and a digest of the whole behind a sign that no description has. It is the same
/// whenever and wherever it is made.
pub fn fitted(by: &str) -> Cow<'_, str> {
    const ROOM: usize = LONGEST_PREFIX - 2;
    if by.len() <= ROOM {
        return by.into();
    }
    let digest = Sha256::digest(by);
    let digest: String = digest.iter().take(8).map(|octet| format!("{octet:02x}")).collect();
    format!("{}~{digest}", short(by, ROOM - 1 - digest.len())).into()
}

impl Seen {
    /// What a message tells; `None` if it tells of no packet of ours.
    pub fn read(message: &Message<'_>) -> Option<Self> {
        if message.kind != PACKET {
            return None;
        }
        let group = u16::from_be_bytes([*message.body.get(2)?, *message.body.get(3)?]);
        let direction = [Direction::Ingress, Direction::Egress]
            .into_iter()
            .find(|direction| self::group(*direction) == group)?;
        let (mut prefix, mut octets) = (None, None);
        for (number, value) in message.attributes()? {
            match number {
                PREFIX => prefix = text_of(value),
                PAYLOAD => octets = Some(value),
                _ => {}
            }
        }
        let prefix = prefix?;
        let (fate, by) = Fate::ALL
            .into_iter()
            .find_map(|(fate, mark)| Some((fate, prefix.strip_prefix(mark)?)))?;
        Some(Self { direction, fate, by: by.to_owned(), packet: packet(octets?)? })
    }
}

/// The number of a packet in its group, one more for each; `None` for a message about none.
pub fn number(message: &Message<'_>) -> Option<(u16, u32)> {
    if message.kind != PACKET {
        return None;
    }
    let group = u16::from_be_bytes([*message.body.get(2)?, *message.body.get(3)?]);
    let mut all = message.attributes()?;
    let number = all.find(|(number, _)| *number == SEQUENCE).and_then(|(_, v)| u32_of(v))?;
    Some((group, number))
}

/// Stands in no name, and in no prefix that validation lets through.
const PREFIXED: char = '|';
/// `NFNL_SUBSYS_ULOG` with `NFULNL_MSG_PACKET`.
const PACKET: u16 = 4 << 8;
/// `NFULA_PAYLOAD`.
const PAYLOAD: u16 = 9;
/// `NFULA_PREFIX`.
const PREFIX: u16 = 10;
/// `NFULA_SEQ`.
const SEQUENCE: u16 = 12;

#[cfg(test)]
mod tests;
