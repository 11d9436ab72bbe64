//! When the kernel forwards by the runner-up, and when it must not.

use std::time::Duration;

use anyhow::Result;
use interop_tests::{pair::SOON, wire::Wire};
use testkit::{
    Host, Margay,
    bgp::{Announcement, Family, Neighbor, Speaker},
    have_root, kernel,
    peer::{Bird, Peer},
    wait::{holds, until_eq},
};

/// 10.0.0.2 in AS 65002 is preferred, for its router id is lower; 10.0.1.2 in AS 65003 survives.
fn config(compat: &str, rest: &str) -> String {
    format!(
        "[bgp]\nasn = 65001\nrouter-id = \"10.0.0.1\"\nrequire-policy = false\n\n\
         [fib]\nnexthop-compat = \"{compat}\"\n\n\
         [[bgp.peer]]\naddress = \"10.0.0.2\"\nasn = 65002\nconnect-retry = 1\n{rest}\n\
         [[bgp.peer]]\naddress = \"10.0.1.2\"\nasn = 65003\nconnect-retry = 1\n"
    )
}

fn bird(host: &Host, own: &str, gateway: &str, asn: u32, prefixes: &[String]) -> Bird {
    Bird::new(
        host,
        Speaker {
            asn,
            router_id: own.into(),
            neighbors: vec![Neighbor::new(own, gateway, 65001)],
            announcements: prefixes.iter().map(|prefix| Announcement::plain(prefix)).collect(),
        },
    )
}

/// A second cable, to the survivor's host.
fn survivor(wire: &mut Wire) -> Result<Host> {
    let host = wire.lab.host("survivor")?;
    wire.lab.link((&wire.near, "eth1", &["10.0.1.1/24"]), (&host, "eth0", &["10.0.1.2/24"]))?;
    Ok(host)
}

#[test]
fn a_next_hop_that_drops_keeps_its_routes_from_the_runner_up() -> Result<()> {
    const DROPPED: &str = "20.0.0.0/24";
    if !have_root("a_next_hop_that_drops_keeps_its_routes_from_the_runner_up") {
        return Ok(());
    }
    let mut wire = Wire::new("failover-drop")?;
    let other = survivor(&mut wire)?;
    let policy = "import = \"drop\"\n\n[policy.route.drop]\ndefault = \"accept\"\n\
                  rules = [{ match = { any = true }, then = { set = { next-hop = \"192.0.2.1\" }, \
                  action = \"accept\" } }]\n";
    let mut margay = Margay::new(&wire.near, &config("keep", policy));
    let prefixes = [DROPPED.to_owned()];
    let mut first = bird(&wire.far, "10.0.0.2", "10.0.0.1", 65002, &prefixes);
    let mut second = bird(&other, "10.0.1.2", "10.0.1.1", 65003, &prefixes);
    let result = (|| {
        wire.near.ip(&["route", "add", "blackhole", "192.0.2.1/32"])?;
        margay.start()?;
        second.start()?;
        first.start()?;
        let route = || -> Result<Option<(String, String)>> {
            let routes = kernel::bgp_routes(&wire.near, Family::Ipv4)?;
            Ok(routes.into_iter().find(|route| route.prefix == DROPPED).map(|route| {
                let gateway = route.hops.into_iter().next().map(|(gateway, _)| gateway);
                (route.kind, gateway.unwrap_or_default())
            }))
        };
        let drops = Some(("blackhole".to_owned(), String::new()));
        let survivors = Some(("unicast".to_owned(), "10.0.1.2".to_owned()));
        until_eq("packets are dropped", SOON, &drops, route)?;
        holds("they stay dropped", Duration::from_secs(2), || Ok(route()? == drops))?;
        // Without the host route that next hop leads nowhere: the runner-up is the best there is.
        wire.near.ip(&["route", "del", "blackhole", "192.0.2.1/32"])?;
        until_eq("the survivor's route", SOON, &survivors, route)?;
        wire.near.ip(&["route", "add", "blackhole", "192.0.2.1/32"])?;
        until_eq("packets are dropped again", SOON, &drops, route)?;
        first.kill()?;
        until_eq("the survivor's route, for good", SOON, &survivors, route)?;
        holds("it stays", Duration::from_secs(2), || Ok(route()? == survivors))
    })();
    wire.conclude(result, || margay.log())
}
