//! The rig itself: every peer driver against BIRD, so that a red interop test means Margay.

use std::time::Duration;

use anyhow::Result;
use testkit::{
    Lab,
    bgp::{Announcement, Communities, Implementation, Neighbor, Speaker},
    have_root, peer,
    wait::{until, until_eq},
};

const SOON: Duration = Duration::from_secs(30);

fn announcement(prefix: &str) -> Announcement {
    Announcement {
        prefix: prefix.into(),
        communities: Communities::new(
            &["65001:1", "64999:77"],
            &["4200000001:1:2"],
            &["rt:65001:3"],
        ),
    }
}

fn speaker(asn: u32, router_id: &str, neighbors: Vec<Neighbor>, routes: &[&str]) -> Speaker {
    Speaker {
        asn,
        router_id: router_id.into(),
        neighbors,
        announcements: routes.iter().map(|prefix| announcement(prefix)).collect(),
    }
}

/// BIRD (AS 65001) and `implementation` (AS 4200000002) on one wire, both families.
fn routes_go_both_ways(implementation: Implementation) -> Result<()> {
    let mut lab = Lab::new("drivers")?;
    let (a, b) = (lab.host("bird")?, lab.host("peer")?);
    lab.link(
        (&a, "eth0", &["10.0.0.1/24", "fd00::1/64"]),
        (&b, "eth0", &["10.0.0.2/24", "fd00::2/64"]),
    )?;
    let pairs = [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")];
    let left = pairs.map(|(own, other)| Neighbor::new(own, other, 4_200_000_002)).to_vec();
    let right = pairs.map(|(own, other)| Neighbor::new(other, own, 65001)).to_vec();
    let mut bird = peer::on(
        Implementation::Bird,
        &a,
        speaker(65001, "10.0.0.1", left, &["10.1.0.0/24", "fd01::/64"]),
    );
    let mut other = peer::on(
        implementation,
        &b,
        speaker(4_200_000_002, "10.0.0.2", right, &["10.2.0.0/24", "fd02::/64"]),
    );
    bird.start()?;
    other.start()?;
    let outcome = (|| {
        for (own, address) in pairs {
            until("session up at BIRD", SOON, || bird.established(address))?;
            until("session up at the peer", SOON, || other.established(own))?;
        }
        for (own, address, to_peer, to_bird) in [
            ("10.0.0.1", "10.0.0.2", "10.1.0.0/24", "10.2.0.0/24"),
            ("fd00::1", "fd00::2", "fd01::/64", "fd02::/64"),
        ] {
            let at_peer = || -> Result<Vec<_>> {
                let routes = other.received(own)?;
                Ok(routes.into_iter().map(|r| (r.prefix, r.as_path, r.communities)).collect())
            };
            let wanted = announcement(to_peer).communities;
            until_eq(
                "route at the peer",
                SOON,
                &vec![(to_peer.into(), vec![65001], wanted)],
                at_peer,
            )?;
            let wanted = announcement(to_bird).communities;
            let at_bird = || -> Result<Vec<_>> {
                let routes = bird.received(address)?;
                Ok(routes.into_iter().map(|r| (r.prefix, r.as_path, r.communities)).collect())
            };
            let wanted = vec![(to_bird.into(), vec![4_200_000_002], wanted)];
            until_eq("route at BIRD", SOON, &wanted, at_bird)?;
        }
        other.withdraw("10.2.0.0/24")?;
        until("withdrawn at BIRD", SOON, || Ok(bird.received("10.0.0.2")?.is_empty()))?;
        other.announce(&announcement("10.22.0.0/16"))?;
        until("announced at BIRD", SOON, || {
            Ok(bird.received("10.0.0.2")?.iter().any(|route| route.prefix == "10.22.0.0/16"))
        })?;
        other.refresh("10.0.0.1")
    })();
    outcome.inspect_err(|_| {
        eprintln!("--- BIRD\n{}\n--- {implementation}\n{}", bird.log(), other.log());
        lab.keep();
    })
}

macro_rules! driver {
    ($name:ident, $implementation:ident) => {
        #[test]
        fn $name() -> Result<()> {
            if !have_root(stringify!($name)) {
                return Ok(());
            }
            routes_go_both_ways(Implementation::$implementation)
        }
    };
}

driver!(bird_is_driven, Bird);
driver!(frr_is_driven, Frr);
driver!(gobgp_is_driven, GoBgp);
driver!(openbgpd_is_driven, OpenBgpd);
driver!(exabgp_is_driven, ExaBgp);
