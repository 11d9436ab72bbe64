//! Addresses of ours that peers call and that say nothing of this host to others: on links that are
//! named, for links come and go.
//!
//! By the protocol number that the kernel keeps with an address a fresh process knows its own (Linux
//! 5.18; before, what a former process left stays for as long as its link). They stay when the
//! process ends, unless it ends for good. Addresses that others put there are left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use crate::api::Link;
use crate::plan::state::State;
use crate::plan::work::{RETRY_MAX, RETRY_MIN};

/// A link and an address on it.
type Place = (u32, IpAddr);

/// A write to one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressOp {
    /// How.
    pub verb: AddressVerb,
    /// Link.
    pub link: u32,
    /// The address; it is a /32 or /128.
    pub address: IpAddr,
}

/// What becomes of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressVerb {
    /// It comes.
    Add,
    /// It goes.
    Delete,
    /// It stays, under our present protocol number.
    Renumber,
}

/// What is wished and what is there.
#[derive(Debug, Default)]
pub struct Addresses {
    wishes: BTreeMap<String, BTreeSet<IpAddr>>,
    /// In the kernel, and put there by us.
    ours: BTreeSet<Place>,
    /// Of these, those that may carry another protocol number: the next process would not know them.
    misnumbered: BTreeSet<Place>,
    in_flight: BTreeSet<Place>,
    refused: BTreeMap<Place, Refused>,
    /// Something changed.
    dirty: bool,
    /// All wishes of this start were told.
    in_sync: bool,
}

#[derive(Debug, Clone, Copy)]
struct Refused {
    tries: u32,
    again: Instant,
}

impl Addresses {
    /// Whether an address is on a link for peers only. On another link the same one may be the host's.
    pub fn has(&self, link: u32, address: IpAddr) -> bool {
        let place = (link, address);
        self.ours.contains(&place) || self.in_flight.contains(&place)
    }

    /// When something waits to be tried again.
    pub fn deadline(&self) -> Option<Instant> {
        let waiting = self.refused.iter().filter(|(place, _)| !self.in_flight.contains(place));
        waiting.map(|(_, refused)| refused.again).min()
    }

    /// Links or addresses changed.
    pub fn look_again(&mut self) {
        self.dirty = true;
    }

    /// An address went.
    pub fn gone(&mut self, link: u32, address: IpAddr) {
        self.ours.remove(&(link, address));
        self.misnumbered.remove(&(link, address));
        self.dirty = true;
    }

    /// A link went.
    pub fn link_gone(&mut self, link: u32) {
        self.ours.retain(|(on, _)| *on != link);
        self.misnumbered.retain(|(on, _)| *on != link);
        self.refused.retain(|(on, _), _| *on != link);
        self.dirty = true;
    }

    /// The same wishes for another protocol: what was ours stays so, under the new number.
    pub fn carried_over(&self) -> Self {
        Self {
            wishes: self.wishes.clone(),
            ours: self.ours.clone(),
            misnumbered: self.ours.clone(),
            dirty: true,
            in_sync: self.in_sync,
            ..Self::default()
        }
    }
}

impl State {
    /// A link as others see it: without these.
    pub(super) fn told_link(&self, index: u32) -> Option<Link> {
        let mut link = self.links.link(index)?;
        link.addresses.retain(|net| !self.addresses.has(index, net.addr()));
        Some(link)
    }

    /// All of them, by index.
    pub fn told_links(&self) -> Vec<Link> {
        self.links.indexes().filter_map(|index| self.told_link(index)).collect()
    }

    /// All addresses that links should have of us; those that were told before and are not among
    /// them go.
    pub fn set_addresses(&mut self, wishes: BTreeMap<String, BTreeSet<IpAddr>>) {
        if self.addresses.wishes != wishes {
            self.addresses.wishes = wishes;
            self.addresses.refused.clear();
            self.addresses.dirty = true;
        }
    }

    /// All addresses of this start have been told: what is left of a former process goes.
    pub fn addresses_in_sync(&mut self) {
        self.addresses.dirty |= !std::mem::replace(&mut self.addresses.in_sync, true);
    }

    /// An address is on a link.
    pub(super) fn address_here(&mut self, link: u32, address: IpAddr, protocol: u8) {
        if protocol == self.config.protocol {
            self.addresses.misnumbered.remove(&(link, address));
            self.addresses.dirty |= self.addresses.ours.insert((link, address));
        }
    }

    /// Up to `max` writes that are due.
    pub fn plan_addresses(&mut self, max: usize, now: Instant) -> Vec<AddressOp> {
        if !self.may_write() {
            self.addresses.refused.clear();
            return Vec::new();
        }
        let due = self.addresses.deadline().is_some_and(|at| at <= now);
        if !(self.addresses.dirty || due) {
            return Vec::new();
        }
        let wished: BTreeSet<Place> = self
            .addresses
            .wishes
            .iter()
            .filter_map(|(name, addresses)| Some((self.links.usable(name)?, addresses)))
            .flat_map(|(link, addresses)| addresses.iter().map(move |address| (link, *address)))
            .collect();
        let Addresses { ours, misnumbered, in_flight, refused, in_sync, .. } = &mut self.addresses;
        let missing = |place: &Place| {
            !ours.contains(place) && self.links.addresses(place.0).all(|net| net.addr() != place.1)
        };
        // What waits to be tried again may have come to nothing meanwhile.
        refused.retain(|place, _| match wished.contains(place) {
            true => missing(place),
            false => ours.contains(place),
        });
        let free = |place: &Place| {
            let waits = refused.get(place).is_some_and(|refused| refused.again > now);
            !in_flight.contains(place) && !waits
        };
        let op = |verb| move |(link, address): Place| AddressOp { verb, link, address };
        let add = wished.iter().filter(|place| missing(place)).filter(|place| free(place));
        let delete = ours.difference(&wished).filter(|place| *in_sync && free(place));
        let stays = |place: &&Place| !*in_sync || wished.contains(*place);
        let renumber = misnumbered.iter().filter(stays).filter(|place| free(place));
        let ops: Vec<_> = add
            .copied()
            .map(op(AddressVerb::Add))
            .chain(delete.copied().map(op(AddressVerb::Delete)))
            .chain(renumber.copied().map(op(AddressVerb::Renumber)))
            .take(max)
            .collect();
        in_flight.extend(ops.iter().map(|op| (op.link, op.address)));
        self.addresses.dirty = ops.len() == max;
        ops
    }

    /// What became of writes: all done but those with an errno, by position, ascending.
    pub fn addresses_done(&mut self, ops: &[AddressOp], refused: &[(usize, i32)], now: Instant) {
        let mut errnos = refused.iter().peekable();
        let Addresses { ours, misnumbered, in_flight, refused, dirty, .. } = &mut self.addresses;
        *dirty = true; // the wish may be another by now
        for (at, op) in ops.iter().enumerate() {
            let place = (op.link, op.address);
            in_flight.remove(&place);
            let errno = errnos.next_if(|(i, _)| *i == at).map(|(_, errno)| *errno);
            match (op.verb, errno) {
                (AddressVerb::Add, None) => {
                    ours.insert(place);
                    refused.remove(&place);
                }
                (AddressVerb::Delete, None | Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => {
                    ours.remove(&place);
                    misnumbered.remove(&place);
                    refused.remove(&place);
                }
                (AddressVerb::Renumber, errno) => {
                    // Not tried again: it costs who comes after us the knowledge, and nobody else.
                    self.counters.errors += u64::from(errno.is_some());
                    misnumbered.remove(&place);
                }
                (AddressVerb::Add | AddressVerb::Delete, Some(_)) => {
                    self.counters.errors += 1;
                    let tries = refused.get(&place).map_or(0, |refused| refused.tries);
                    let delay = RETRY_MIN.saturating_mul(1 << tries.min(10)).min(RETRY_MAX);
                    refused.insert(place, Refused { tries: tries + 1, again: now + delay });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
