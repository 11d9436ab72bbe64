//! Which addresses the links of a network namespace have, for who only wants to know that.
//!
//! Promises that nothing is missed: what changes while it is read is heard afterwards, and where
//! notifications were lost everything is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use margay_netlink::{Protocol, Socket, Wait};

use crate::api::FibError;
use crate::netlink::decode::fact;
use crate::netlink::dump::Dump;
use crate::netlink::reading;
use crate::plan::fact::{Fact, Presence};

/// See the module.
#[derive(Debug)]
pub struct Interfaces {
    ear: Socket,
    names: BTreeMap<u32, String>,
    addresses: BTreeSet<(u32, IpAddr)>,
}

impl AsFd for Interfaces {
    /// Can be read when there is something to [`hear`](Interfaces::hear).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ear.as_fd()
    }
}

impl Interfaces {
    /// Those of the calling thread's namespace, as they are now.
    ///
    /// # Errors
    /// The kernel tells nothing.
    pub fn open() -> Result<Self, FibError> {
        let ear = Socket::open(Protocol::Route).map_err(FibError::Socket)?;
        ear.widen_receive(BUFFER);
        for group in GROUPS {
            ear.join(group).map_err(FibError::Socket)?;
        }
        let mut interfaces = Self { ear, names: BTreeMap::new(), addresses: BTreeSet::new() };
        interfaces.read()?;
        Ok(interfaces)
    }

    /// The addresses of each link that has any.
    pub fn addresses(&self) -> BTreeMap<String, BTreeSet<IpAddr>> {
        let mut all: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
        for (index, address) in &self.addresses {
            if let Some(name) = self.names.get(index) {
                all.entry(name.clone()).or_default().insert(*address);
            }
        }
        all
    }

    /// Takes in what changed, without waiting; whether anything did.
    ///
    /// # Errors
    /// The kernel cannot be heard, or read.
    pub fn hear(&mut self) -> Result<bool, FibError> {
        let mut buf = vec![0; 1 << 16];
        let (mut facts, mut changed) = (Vec::new(), false);
        loop {
            match self.ear.receive(&mut buf, Wait::Poll) {
                Ok(messages) => facts.extend(messages.filter_map(|m| fact(&m))),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
                Err(err) if err.raw_os_error() == Some(libc::ENOBUFS) => {
                    facts.clear();
                    self.read()?;
                    changed = true;
                }
                Err(err) => return Err(FibError::Socket(err)),
            }
        }
        for fact in facts {
            changed |= self.learn(fact);
        }
        Ok(changed)
    }

    fn learn(&mut self, fact: Fact) -> bool {
        match fact {
            Fact::Link(link, Presence::Here) => {
                let before = self.names.insert(link.index, link.name.clone());
                before != Some(link.name)
            }
            Fact::Link(link, Presence::Gone) => {
                // Of its addresses the kernel does not always tell.
                self.addresses.retain(|(index, _)| *index != link.index);
                self.names.remove(&link.index).is_some()
            }
            Fact::Address(at, Presence::Here) => self.addresses.insert((at.link, at.net.addr())),
            Fact::Address(at, Presence::Gone) => self.addresses.remove(&(at.link, at.net.addr())),
            Fact::Route(..) | Fact::RouteGone(..) | Fact::Object(..) => false,
        }
    }

    fn read(&mut self) -> Result<(), FibError> {
        let mut dump = Dump::new().map_err(FibError::Socket)?;
        let (links, addresses) = reading::interfaces(&mut dump)?;
        self.names = links.into_iter().map(|link| (link.index, link.name)).collect();
        self.addresses = addresses.into_iter().map(|at| (at.link, at.net.addr())).collect();
        Ok(())
    }
}

/// Notification groups: links, addresses of both families.
const GROUPS: [i32; 3] = [1, 5, 9];
const BUFFER: usize = 1 << 20;
