//! How many incoming connections may be without an Established session: a few for each source, and
//! so many in all from addresses nobody has named.
//!
//! Until its OPEN is taken a connection has proved no more than that packets reach its address. A
//! configured peer's session holds two of them at most, but those it has ended linger; and in a
//! range of dynamic peers anybody may come, each from another address.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Connections of one source: two that collide, and as many that are being closed.
pub(crate) const PER_SOURCE: usize = 4;
/// Connections of dynamic peers in all.
pub(crate) const DYNAMIC: usize = 512;

/// Whether somebody named the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is the address of a configured peer.
    ByAddress,
    /// It lies in a prefix.
    ByPrefix,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Crowded {
    /// The source has [`PER_SOURCE`] already.
    #[error("{PER_SOURCE} connections of this address are not established yet")]
    Source,
    /// There are [`DYNAMIC`] already.
    #[error("{DYNAMIC} connections of dynamic peers are not established yet")]
    All,
}

#[derive(Debug, Default)]
struct Counts {
    sources: BTreeMap<SocketAddr, usize>,
    dynamic: usize,
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Newcomers(Arc<Mutex<Counts>>);

impl Newcomers {
    /// Counts a connection until what is returned goes.
    pub(crate) fn enter(&self, remote: SocketAddr, known: Known) -> Result<Newcomer, Crowded> {
        // The scope stays: a link-local address is somebody else on another link.
        let mut source = remote;
        source.set_port(0);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known == Known::ByPrefix && counts.dynamic >= DYNAMIC {
            return Err(Crowded::All);
        }
        let count = counts.sources.entry(source).or_default();
        if *count >= PER_SOURCE {
            return Err(Crowded::Source);
        }
        *count += 1;
        counts.dynamic += usize::from(known == Known::ByPrefix);
        Ok(Newcomer { all: self.clone(), source, known })
    }
}

/// One connection that counts.
#[derive(Debug)]
pub(crate) struct Newcomer {
    all: Newcomers,
    source: SocketAddr,
    known: Known,
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        let mut counts = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.sources.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.sources.remove(&self.source);
            }
        }
        counts.dynamic -= usize::from(self.known == Known::ByPrefix);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_source_is_let_in_again_when_one_of_its_connections_has_gone() {
        let newcomers = Newcomers::default();
        let enter = |text: &str| newcomers.enter(from(text), Known::ByAddress);
        let mut present: Vec<_> = (1..=PER_SOURCE)
            .map(|port| enter(&format!("192.0.2.1:{port}")).expect("room"))
            .collect();
        assert_eq!(enter("192.0.2.1:99").err(), Some(Crowded::Source));
        assert!(enter("192.0.2.2:99").is_ok());
        present.pop();
        assert!(enter("192.0.2.1:99").is_ok());
        drop(present);
        assert!(
            newcomers.0.lock().expect("unharmed").sources.is_empty(),
            "nothing is kept of who has gone"
        );
    }

    #[test]
    fn equal_link_local_addresses_on_two_links_are_two_sources() {
        let newcomers = Newcomers::default();
        let on = |scope| {
            let address = "fe80::1".parse().expect("an address");
            SocketAddr::V6(std::net::SocketAddrV6::new(address, 179, 0, scope))
        };
        let present: Vec<_> = (0..PER_SOURCE)
            .map(|_| newcomers.enter(on(1), Known::ByAddress).expect("room"))
            .collect();
        assert!(newcomers.enter(on(2), Known::ByAddress).is_ok());
        drop(present);
    }

    #[test]
    fn a_crowd_in_a_range_leaves_room_for_configured_peers() {
        let newcomers = Newcomers::default();
        let from = |n: usize| from(&format!("10.0.{}.{}:1", n / 250, n % 250));
        let mut crowd: Vec<_> = (0..DYNAMIC)
            .map(|n| newcomers.enter(from(n), Known::ByPrefix).expect("room"))
            .collect();
        assert_eq!(newcomers.enter(from(DYNAMIC), Known::ByPrefix).err(), Some(Crowded::All));
        assert!(newcomers.enter(from(DYNAMIC), Known::ByAddress).is_ok());
        crowd.pop();
        assert!(newcomers.enter(from(DYNAMIC), Known::ByPrefix).is_ok());
    }
}
