//! Route reflection (RFC 4456) on one LAN: Margay as the reflector of two clients, and as the
//! client of a reflector of another make.

use anyhow::{Result, ensure};
use testkit::{
    Lab, Margay,
    bgp::{Announcement, Implementation, Neighbor, Speaker},
    kernel, margay, peer, until, until_some,
    wait::until_eq,
};

use crate::{harness::Outcome, pair::SOON};

const ASN: u32 = 65001;
const REFLECTOR: &str = "10.0.0.1";
const CLIENTS: [&str; 2] = ["10.0.0.2", "10.0.0.3"];
const ROUTES: [&str; 2] = ["10.2.0.0/24", "10.3.0.0/24"];

fn client(address: &str, prefix: &str) -> Speaker {
    Speaker {
        asn: ASN,
        router_id: address.into(),
        neighbors: vec![Neighbor::new(address, REFLECTOR, ASN)],
        announcements: vec![Announcement::plain(prefix)],
    }
}

fn reflector() -> Speaker {
    let neighbors = CLIENTS.map(|address| {
        let mut neighbor = Neighbor::new(REFLECTOR, address, ASN);
        neighbor.reflector_client = true;
        neighbor
    });
    Speaker {
        asn: ASN,
        router_id: REFLECTOR.into(),
        neighbors: neighbors.into(),
        announcements: Vec::new(),
    }
}

/// Two clients of the same make, Margay between them.
pub fn margay_reflects(implementation: Implementation) -> Result<Outcome> {
    let mut lab = Lab::new("reflector")?;
    let switch = lab.switch("switch")?;
    let (rr, a, b) = (lab.host("margay")?, lab.host("client-a")?, lab.host("client-b")?);
    lab.plug(&switch, &rr, "eth0", &["10.0.0.1/24"])?;
    lab.plug(&switch, &a, "eth0", &["10.0.0.2/24"])?;
    lab.plug(&switch, &b, "eth0", &["10.0.0.3/24"])?;
    let mut margay = Margay::new(&rr, &margay::config(&reflector()));
    margay.start()?;
    let mut clients = [
        peer::on(implementation, &a, client(CLIENTS[0], ROUTES[0])),
        peer::on(implementation, &b, client(CLIENTS[1], ROUTES[1])),
    ];
    let result = clients.iter_mut().try_for_each(|client| client.start()).and_then(|()| {
        for (at, other) in [(0, 1), (1, 0)] {
            let route = until_some("the other client's route", SOON, || {
                let routes = clients[at].received(REFLECTOR)?;
                Ok(routes.into_iter().find(|route| route.prefix == ROUTES[other]))
            })?;
            let originator = route.originator_id.as_deref();
            ensure!(originator == Some(CLIENTS[other]), "ORIGINATOR_ID: {route:?}");
            ensure!(route.cluster_list == [REFLECTOR], "CLUSTER_LIST: {route:?}");
            ensure!(route.as_path.is_empty(), "AS path: {route:?}");
            if let Some(next_hop) = &route.next_hop {
                ensure!(next_hop == CLIENTS[other], "next hop changed: {route:?}");
            }
        }
        clients[0].withdraw(ROUTES[0])?;
        until("withdrawn at the other client", SOON, || {
            let routes = clients[1].received(REFLECTOR)?;
            Ok(routes.iter().all(|route| route.prefix != ROUTES[0]))
        })
    });
    result.map(|()| Outcome::Passed).map_err(|e| {
        lab.keep();
        let logs = format!("--- margay\n{}\n--- client\n{}", margay.log(), clients[0].log());
        e.context(logs)
    })
}

/// A reflector of another make, with Margay and a BIRD as its clients.
pub fn margay_is_client(implementation: Implementation) -> Result<Outcome> {
    if implementation == Implementation::ExaBgp {
        return Ok(Outcome::NotApplicable("ExaBGP has no RIB to reflect from"));
    }
    let mut lab = Lab::new("client")?;
    let switch = lab.switch("switch")?;
    let (rr, a, b) = (lab.host("reflector")?, lab.host("margay")?, lab.host("bird")?);
    lab.plug(&switch, &rr, "eth0", &["10.0.0.1/24"])?;
    lab.plug(&switch, &a, "eth0", &["10.0.0.2/24"])?;
    lab.plug(&switch, &b, "eth0", &["10.0.0.3/24"])?;
    let mut margay = Margay::new(&a, &margay::config(&client(CLIENTS[0], ROUTES[0])));
    let mut reflector = peer::on(implementation, &rr, reflector());
    let mut bird = peer::on(Implementation::Bird, &b, client(CLIENTS[1], ROUTES[1]));
    // The reflector first: OpenBGPD loses a client's routes that come while it loads its filters.
    let started = reflector.start().and_then(|()| margay.start()).and_then(|()| bird.start());
    let result = started.and_then(|()| {
        let route =
            until_some("BIRD's route by way of the reflector", SOON, || margay.best(ROUTES[1]))?;
        ensure!(route["originator_id"] == CLIENTS[1], "{route}");
        ensure!(route["cluster_list"] == serde_json::json!([REFLECTOR]), "{route}");
        ensure!(route["next_hop"] == CLIENTS[1], "{route}");
        let wanted = vec![(ROUTES[1].to_owned(), CLIENTS[1].to_owned())];
        until_eq("kernel route past the reflector", SOON, &wanted, || {
            let routes = kernel::bgp_routes(margay.host(), testkit::bgp::Family::Ipv4)?;
            let hop = |route: kernel::KernelRoute| {
                (route.prefix, route.hops.into_iter().map(|(gateway, _)| gateway).collect())
            };
            Ok(routes.into_iter().map(hop).collect::<Vec<_>>())
        })?;
        until("Margay's route at BIRD", SOON, || {
            let routes = bird.received(REFLECTOR)?;
            let ours = routes.into_iter().find(|route| route.prefix == ROUTES[0]);
            Ok(ours.is_some_and(|route| route.originator_id.as_deref() == Some(CLIENTS[0])))
        })
    });
    result.map(|()| Outcome::Passed).map_err(|e| {
        lab.keep();
        let logs = [margay.log(), reflector.log(), bird.log()].join("\n---\n");
        e.context(logs)
    })
}
