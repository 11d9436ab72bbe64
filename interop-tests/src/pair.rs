//! One wire with Margay at one end and a peer at the other: the topology of most scenarios.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use testkit::{
    Lab, Margay, Tap,
    bgp::{Announcement, Communities, Family, Implementation, Neighbor, Received, Speaker},
    kernel::{self, KernelRoute},
    margay,
    peer::{self, Peer},
    until,
    wait::until_eq,
};

/// How long anything has that takes no timer: sessions come up within two connect retries.
pub const SOON: Duration = Duration::from_secs(25);

/// The addresses of the two ends, by family.
pub const ENDS: [(Family, &str, &str); 2] =
    [(Family::Ipv4, "10.0.0.1", "10.0.0.2"), (Family::Ipv6, "fd00::1", "fd00::2")];

/// What Margay announces, by family.
pub const OURS: [(Family, &str); 2] = [(Family::Ipv4, "10.1.0.0/24"), (Family::Ipv6, "fd01::/64")];

/// What the peer announces, by family.
pub const THEIRS: [(Family, &str); 2] =
    [(Family::Ipv4, "10.2.0.0/24"), (Family::Ipv6, "fd02::/64")];

/// What distinguishes one pair from another.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Margay's AS.
    pub our_asn: u32,
    /// The peer's AS.
    pub peer_asn: u32,
    /// Who waits to be called.
    pub passive: Option<Side>,
    /// Margay's TCP-MD5 password.
    pub our_password: Option<String>,
    /// The peer's.
    pub peer_password: Option<String>,
    /// Proposed by both, in seconds.
    pub hold_time: u16,
    /// What both tag their routes with.
    pub communities: Communities,
}

/// An end of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Margay.
    Ours,
    /// The other implementation.
    Peers,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            our_asn: 65001,
            peer_asn: 65002,
            passive: None,
            our_password: None,
            peer_password: None,
            hold_time: 90,
            communities: Communities::default(),
        }
    }
}

/// The running pair. Sessions: one over IPv4 for IPv4 routes, one over IPv6 for IPv6 routes.
pub struct Pair {
    /// Our end.
    pub margay: Margay,
    /// The other end.
    pub peer: Box<dyn Peer + Send>,
    /// What passed between them.
    pub tap: Tap,
    /// How often each session had been lost when it was up last. Where both ends call at once the peer
    /// may close one connection when it has hardly come up.
    flaps: BTreeMap<&'static str, u64>,
    // Last: the hosts go after the daemons on them.
    lab: Lab,
}

impl Pair {
    /// Builds the wire and starts both ends.
    ///
    /// # Errors
    /// When either does not start.
    pub fn start(implementation: Implementation, setup: &Setup) -> Result<Self> {
        let mut lab = Lab::new("pair")?;
        let (a, b) = (lab.host("margay")?, lab.host("peer")?);
        lab.link(
            (&a, "eth0", &["10.0.0.1/24", "fd00::1/64"]),
            (&b, "eth0", &["10.0.0.2/24", "fd00::2/64"]),
        )?;
        let tap = Tap::on(&a, "eth0")?;
        let announcements = |prefixes: [(Family, &str); 2]| -> Vec<Announcement> {
            prefixes
                .iter()
                .map(|(_, prefix)| Announcement {
                    prefix: (*prefix).to_owned(),
                    communities: setup.communities.clone(),
                })
                .collect()
        };
        let neighbors = |side: Side| -> Vec<Neighbor> {
            let ours = side == Side::Ours;
            let row = |(_, us, them): &(Family, &str, &str)| {
                let (own, other) = if ours { (us, them) } else { (them, us) };
                let mut n =
                    Neighbor::new(own, other, if ours { setup.peer_asn } else { setup.our_asn });
                n.passive = setup.passive == Some(side);
                n.hold_time = setup.hold_time;
                let password = if ours { &setup.our_password } else { &setup.peer_password };
                n.password.clone_from(password);
                n
            };
            ENDS.iter().map(row).collect()
        };
        let us = Speaker {
            asn: setup.our_asn,
            router_id: "10.0.0.1".into(),
            neighbors: neighbors(Side::Ours),
            announcements: announcements(OURS),
        };
        let them = Speaker {
            asn: setup.peer_asn,
            router_id: "10.0.0.2".into(),
            neighbors: neighbors(Side::Peers),
            announcements: announcements(THEIRS),
        };
        let mut margay = Margay::new(&a, &margay::config(&us));
        let mut peer = peer::on(implementation, &b, them);
        if implementation == Implementation::OpenBgpd {
            // It mislays what comes before its filters are loaded; Margay would be too quick.
            peer.start().with_context(|| peer.log())?;
            margay.start().with_context(|| margay.log())?;
        } else {
            margay.start().with_context(|| margay.log())?;
            peer.start().with_context(|| peer.log())?;
        }
        Ok(Self { margay, peer, tap, flaps: BTreeMap::new(), lab })
    }

    /// Runs `scenario` on a fresh pair; on failure the logs of both ends go with the error.
    ///
    /// # Errors
    /// Those of the scenario.
    pub fn play(
        implementation: Implementation,
        setup: &Setup,
        scenario: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let mut pair = Self::start(implementation, setup)?;
        scenario(&mut pair).map_err(|e| pair.explain(e))
    }

    fn explain(&mut self, e: anyhow::Error) -> anyhow::Error {
        self.lab.keep();
        let peers = self.margay.text(&["peers"]).unwrap_or_else(|e| format!("{e:#}"));
        let (ours, theirs) = (self.margay.log(), self.peer.log());
        e.context(format!("--- margay peers\n{peers}--- margay\n{ours}\n--- peer\n{theirs}\n---"))
    }

    /// Waits until both sessions are up at both ends.
    ///
    /// # Errors
    /// When one is not in time.
    pub fn up(&mut self) -> Result<()> {
        for (_, us, them) in ENDS {
            until(&format!("session with {them} up"), SOON, || self.margay.established(them))?;
            until(&format!("peer's session with {us} up"), SOON, || self.peer.established(us))?;
        }
        for (_, _, them) in ENDS {
            let flaps = self.margay.peer(them)?["flaps"].as_u64().unwrap_or_default();
            self.flaps.insert(them, flaps);
        }
        Ok(())
    }

    /// Waits until Margay holds the peer's route of a family and returns its best path.
    ///
    /// # Errors
    /// When it does not come in time.
    pub fn learned(&self, family: Family) -> Result<Value> {
        let prefix = of(THEIRS, family);
        until(&format!("{prefix} from the peer"), SOON, || {
            Ok(self.margay.best(prefix)?.is_some())
        })?;
        self.margay.best(prefix)?.with_context(|| format!("{prefix} came and went"))
    }

    /// Waits until the peer holds Margay's route of a family and returns it.
    ///
    /// # Errors
    /// When it does not come in time.
    pub fn told(&mut self, family: Family) -> Result<Received> {
        let prefix = of(OURS, family);
        let us = ends(family).0;
        testkit::until_some(&format!("{prefix} at the peer"), SOON, || {
            let routes = self.peer.received(us)?;
            Ok(routes.into_iter().find(|route| route.prefix == prefix))
        })
    }

    /// Waits until the kernel's routes from BGP are exactly the peer's announcement, or nothing.
    ///
    /// # Errors
    /// When it does not happen in time, with what the kernel has.
    pub fn kernel(&self, family: Family, present: bool) -> Result<()> {
        let prefix = of(THEIRS, family);
        let gateway = ends(family).1;
        let mut wanted = Vec::new();
        if present {
            wanted.push((prefix.to_owned(), vec![(gateway.to_owned(), "eth0".to_owned())]));
        }
        let what = format!("kernel route {prefix}");
        until_eq(&what, SOON, &wanted, || {
            let routes = kernel::bgp_routes(self.margay.host(), family)?;
            let pick = |mut route: KernelRoute| {
                for (hop, _) in &mut route.hops {
                    // A peer that tells its link-local address too may be reached by that one.
                    if hop.starts_with("fe80::") {
                        gateway.clone_into(hop);
                    }
                }
                (route.prefix, route.hops)
            };
            Ok(routes.into_iter().map(pick).collect::<Vec<_>>())
        })
    }

    /// Fails unless Margay keeps both sessions since they were [`up`](Self::up).
    ///
    /// # Errors
    /// When one is down.
    pub fn still_up(&self) -> Result<()> {
        for (_, _, them) in ENDS {
            let row = self.margay.peer(them)?;
            // Both ends may have called at once: the loser of that collision is no lost session.
            let last = &row["last_error"];
            let before = self.flaps.get(them).copied().unwrap_or_default();
            let flaps = row["flaps"].as_u64().unwrap_or(u64::MAX);
            let collided = flaps == 1 && last["code"] == 6 && last["subcode"] == 7;
            if row["state"] != "Established" || (flaps != before && !collided) {
                bail!("the session with {them} did not stay up: {row}");
            }
        }
        Ok(())
    }
}

/// The row of a family.
pub fn of(rows: [(Family, &'static str); 2], family: Family) -> &'static str {
    let row = if family == rows[0].0 { rows[0] } else { rows[1] };
    row.1
}

/// Margay's and the peer's address in a family.
pub fn ends(family: Family) -> (&'static str, &'static str) {
    let row = if family == Family::Ipv4 { ENDS[0] } else { ENDS[1] };
    (row.1, row.2)
}
