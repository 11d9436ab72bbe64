//! A workload of a node that speaks BGP with it, and a peer behind a gateway, both of them BIRD; the
//! daemon dies in between.

use anyhow::{Context, Result, ensure};
use interop_tests::{
    pair::SOON,
    runtime::{Container, Runtime},
};
use testkit::{
    Host, Lab, Margay,
    bgp::{Announcement, Family, Speaker},
    have_root,
    kernel::Monitor,
    peer::{Bird, Peer},
    until,
};

/// Node a is ours; node b is a BIRD, and cares for nothing but its own session.
const CLUSTER: &str = "\
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata:
  name: default
spec:
  asNumber: 64513
  localWorkloadPeeringIPV4: 169.254.9.1
  localWorkloadPeeringIPV6: \"fd99:9::1\"
---
apiVersion: projectcalico.org/v3
kind: Node
metadata:
  name: a
spec:
  bgp: {ipv4Address: 10.99.0.111/24, ipv6Address: \"fd99::111/64\"}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata:
  name: b
spec:
  bgp: {ipv4Address: 10.99.0.112/24, ipv6Address: \"fd99::112/64\"}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: four
spec:
  cidr: 10.10.0.0/16
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: six
spec:
  cidr: fd10::/48
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: services-four
spec:
  cidr: 10.20.0.0/16
  disabled: true
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: services-six
spec:
  cidr: fd20::/48
  disabled: true
---
apiVersion: projectcalico.org/v3
kind: BGPFilter
metadata:
  name: vms
spec:
  importV4:
  - {action: Reject, matchOperator: Equal, cidr: 10.20.66.0/24}
  importV6:
  - {action: Reject, matchOperator: Equal, cidr: \"fd20:0:0:66::/64\"}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata:
  name: vms
spec:
  localWorkloadSelector: projectcalico.org/namespace == 'shop'
  node: a
  asNumber: 65010
  filters: [vms]
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata:
  name: far4
spec: {node: a, peerIP: 10.77.0.2, asNumber: 65002, reachableBy: 10.99.0.254}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata:
  name: far6
spec: {node: a, peerIP: \"fd77::2\", asNumber: 65002, reachableBy: \"fd99::254\"}
";

/// What is looked at in each family.
struct Facts {
    family: &'static str,
    /// The session of node a with the workload is called by its address.
    pod: String,
    /// A service of the workload, and the network it announces for it.
    service: &'static str,
    network: &'static str,
    /// What the filter keeps out.
    refused: &'static str,
    /// Node a, as others are to see it.
    node: &'static str,
    /// The peer behind the gateway, and what it announces.
    far: &'static str,
    gateway: &'static str,
    /// The address of the node that workloads call.
    called: &'static str,
    told: &'static str,
    session: &'static str,
}

impl Facts {
    fn of(pod: &[String]) -> Result<[Self; 2]> {
        let [four, six] = pod else { anyhow::bail!("an address of each family: {pod:?}") };
        Ok([
            Self {
                family: "-4",
                pod: four.clone(),
                service: "10.20.1.1",
                network: "10.20.1.0/24",
                refused: "10.20.66.0/24",
                node: "10.99.0.111",
                far: "10.77.0.2",
                gateway: "10.99.0.254",
                called: "169.254.9.1",
                told: "198.51.100.0/24",
                session: "Node_10_77_0_2",
            },
            Self {
                family: "-6",
                pod: six.clone(),
                service: "fd20:0:0:1::1",
                network: "fd20:0:0:1::/64",
                refused: "fd20:0:0:66::/64",
                node: "fd99::111",
                far: "fd77::2",
                gateway: "fd99::254",
                called: "fd99:9::1",
                told: "2001:db8:100::/48",
                session: "Node_fd77__2",
            },
        ])
    }

    fn workload(&self) -> String {
        format!("Local_Workload_{}", self.pod.replace(['.', ':'], "_"))
    }

    fn far_prefix(&self) -> String {
        format!("{}/{}", self.far, if self.family == "-4" { 32 } else { 128 })
    }

    /// The host's route to the peer behind the gateway, and the workload's address of the host.
    fn reach(&self, host: &Host) -> Result<bool> {
        let route = host.ip(&[self.family, "route", "show", &self.far_prefix()])?;
        let own = host.ip(&[self.family, "addr", "show", "dev", "lo"])?;
        let called = format!(" {}/", self.called);
        Ok(route.contains(&format!("via {}", self.gateway)) && own.contains(&called))
    }

    /// How often these two were taken away.
    fn taken_away(&self, monitor: &Monitor) -> Result<(usize, usize)> {
        let lines = monitor.deletions()?;
        let of = |what: &str| {
            let said = |line: &&String| {
                let mut words = line.split_whitespace().filter_map(|word| word.split('/').next());
                words.any(|word| word == what)
            };
            lines.iter().filter(said).count()
        };
        Ok((of(self.far), of(self.called)))
    }
}

/// A session of BIRD over several hops, as it is written; `export` is what it tells.
fn session(name: &str, own: (&str, u32), peer: (&str, u32), family: &str, export: &str) -> String {
    format!(
        "protocol bgp {name} {{\n local {} as {};\n neighbor {} as {};\n multihop;\n hold time 90;\n \
         connect delay time 1;\n connect retry time 2;\n error wait time 1, 2;\n \
         graceful restart aware;\n {family} {{ import all; export {export}; }};\n}}\n",
        own.0, own.1, peer.0, peer.1
    )
}

fn speaker(asn: u32, router_id: &str, announced: &[&str]) -> Speaker {
    Speaker {
        asn,
        router_id: router_id.to_owned(),
        neighbors: Vec::new(),
        announcements: announced.iter().map(|prefix| Announcement::plain(prefix)).collect(),
    }
}

fn next_hop(bird: &Bird, protocol: &str, prefix: &str) -> Result<Option<String>> {
    let routes = bird.routes(&format!("protocol {protocol}"))?;
    let found = routes.iter().find(|route| route.prefix == prefix);
    let next_hop = found.and_then(|route| route.attribute("next_hop"));
    Ok(next_hop.and_then(|text| text.split_whitespace().next()).map(str::to_owned))
}

#[test]
fn workloads_and_peers_behind_a_gateway_speak_bgp_with_their_node() -> Result<()> {
    if !have_root("workloads_and_peers_behind_a_gateway_speak_bgp_with_their_node") {
        return Ok(());
    }
    let mut lab = Lab::new("wlpeers")?;
    let switch = lab.switch("sw")?;
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    let (gateway, far, pod) = (lab.host("gw")?, lab.host("far")?, lab.host("pod")?);
    lab.plug(&switch, &a, "eth0", &["10.99.0.111/24", "fd99::111/64"])?;
    lab.plug(&switch, &b, "eth0", &["10.99.0.112/24", "fd99::112/64"])?;
    lab.plug(&switch, &gateway, "eth0", &["10.99.0.254/24", "fd99::254/64"])?;
    lab.link(
        (&gateway, "eth1", &["10.77.0.1/24", "fd77::1/64"]),
        (&far, "eth0", &["10.77.0.2/24", "fd77::2/64"]),
    )?;
    far.ip(&["route", "add", "default", "via", "10.77.0.1"])?;
    far.ip(&["-6", "route", "add", "default", "via", "fd77::1"])?;
    let mut margay = Margay::new(&a, "[datastore]\ntype = \"embedded\"\n");
    margay.set_node_keys("register = false\n");
    margay.start()?;
    margay.apply(CLUSTER)?;
    let added = Runtime::of(&margay)?.add(&Container::new("vm", &pod))?;
    let facts = Facts::of(&added.addresses())?;

    let mut inside = Bird::new(
        &pod,
        speaker(65010, "10.20.1.1", &facts.each_ref().map(|f| [f.network, f.refused]).concat()),
    );
    for (fact, called) in facts.iter().zip(["169.254.9.1", "fd99:9::1"]) {
        pod.ip(&[fact.family, "addr", "add", fact.service, "dev", "lo"])?;
        let family = Family::of(fact.service).short();
        let name = format!("w{}", fact.family.trim_start_matches('-'));
        inside = inside.with(&session(&name, (&fact.pod, 65010), (called, 64513), family, "all"));
    }
    let mut outside =
        Bird::new(&far, speaker(65002, "10.77.0.2", &facts.each_ref().map(|f| f.told)));
    let mut other = Bird::new(&b, speaker(64513, "10.99.0.112", &[])).with(
        "protocol kernel { ipv4 { export all; }; }\nprotocol kernel { ipv6 { export all; }; }\n\
         protocol direct { ipv4; ipv6; }\n",
    );
    for (fact, own) in facts.iter().zip(["10.99.0.112", "fd99::112"]) {
        let family = Family::of(fact.service).short();
        let name = fact.family.trim_start_matches('-');
        outside = outside.with(&session(
            &format!("f{name}"),
            (fact.far, 65002),
            (fact.node, 64513),
            family,
            "all",
        ));
        let name = format!("b{name}");
        other = other.with(&session(&name, (own, 64513), (fact.node, 64513), family, "none"));
    }
    for bird in [&mut inside, &mut outside, &mut other] {
        bird.start()?;
    }

    for fact in &facts {
        let name = fact.family.trim_start_matches('-');
        for session in [fact.workload(), fact.session.to_owned()] {
            until(&format!("{session} is up"), SOON, || margay.established(&session))
                .with_context(|| margay.log())?;
        }
        until("other nodes are told of the workload's network", SOON, || {
            Ok(next_hop(&other, &format!("b{name}"), fact.network)?.as_deref() == Some(fact.node))
        })
        .with_context(|| margay.log())?;
        ensure!(margay.best(fact.refused)?.is_none(), "the filter is in force");
        until(&format!("b reaches {}", fact.service), SOON, || Ok(b.pings(fact.service)))?;
        until(&format!("the kernel reaches {}", fact.told), SOON, || {
            let route = a.ip(&[fact.family, "route", "show", fact.told])?;
            Ok(route.contains(&format!("via {} dev eth0", fact.gateway)))
        })?;
        ensure!(fact.reach(&a)?, "{} is reached by {}", fact.far, fact.gateway);
    }
    // The workload hears of the node's block, from the address it called.
    until("the workload hears of the block", SOON, || {
        let heard = inside.routes("protocol w4")?;
        let own = |prefix: &str| prefix.starts_with("10.10.") && prefix.ends_with("/26");
        let block = heard.iter().find(|route| own(&route.prefix));
        Ok(block.and_then(|block| block.attribute("next_hop")) == Some("169.254.9.1"))
    })?;

    // It dies: nothing is lost, not even for a moment, and it comes again.
    let monitor = Monitor::start(&a, &["address", "route"])?;
    margay.kill()?;
    for fact in &facts {
        ensure!(fact.reach(&a)?, "dead is safe: {}", fact.far);
        until("dead is safe", SOON, || Ok(b.pings(fact.service)))?;
    }
    margay.start()?;
    for fact in &facts {
        for session in [fact.workload(), fact.session.to_owned()] {
            until(&format!("{session} is up again"), SOON, || margay.established(&session))
                .with_context(|| margay.log())?;
        }
        until("it is reached as before", SOON, || Ok(b.pings(fact.service)))?;
        ensure!(fact.reach(&a)?, "{} is reached as before", fact.far);
        let taken = fact.taken_away(&monitor)?;
        ensure!(taken == (0, 0), "taken away: {taken:?} {:?}", monitor.deletions()?);
    }

    // Under another protocol number, and once more so that only the kernel can tell whose all this is.
    margay.reconfigure("[datastore]\ntype = \"embedded\"\n\n[fib]\nprotocol = 187\n")?;
    for again in ["at first", "and again"] {
        margay.kill()?;
        margay.start()?;
        for fact in &facts {
            for session in [fact.workload(), fact.session.to_owned()] {
                until(&format!("{session} is up, {again}"), SOON, || margay.established(&session))
                    .with_context(|| margay.log())?;
            }
            until(&format!("{} is reached, {again}", fact.far), SOON, || fact.reach(&a))?;
            until(&format!("its route is there, {again}"), SOON, || {
                let route = a.ip(&[fact.family, "route", "show", fact.told, "proto", "187"])?;
                Ok(route.contains(&format!("via {} dev eth0", fact.gateway)))
            })?;
            let left = a.ip(&[fact.family, "route", "show", "table", "all", "proto", "186"])?;
            ensure!(left.is_empty(), "left under the former number: {left}");
        }
    }

    // What is no peer any more has nothing left.
    margay.text(&["delete", "bgppeer", "far4", "far6", "vms"])?;
    for fact in &facts {
        until(&format!("nothing is left of {}", fact.far), SOON, || {
            let route = a.ip(&[fact.family, "route", "show", &fact.far_prefix()])?;
            let own = a.ip(&[fact.family, "addr", "show", "dev", "lo"])?;
            Ok(route.is_empty() && !own.contains("169.254.9.1") && !own.contains("fd99:9::1"))
        })?;
        until("that was heard", SOON, || {
            let (route, address) = fact.taken_away(&monitor)?;
            Ok(route > 0 && address > 0)
        })?;
        until("its network is withdrawn", SOON, || {
            Ok(next_hop(
                &other,
                &format!("b{}", fact.family.trim_start_matches('-')),
                fact.network,
            )?
            .is_none())
        })?;
        ensure!(a.pings(&fact.pod), "the workload itself is reached");
    }
    Ok(())
}
