//! Graceful restart (RFC 4724) with real peers: whoever of the two is killed, or ends to come back,
//! the other goes on by its routes, and forgets those that do not come again.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use interop_tests::{pair::SOON, wire::Wire};
use serde_json::Value;
use testkit::{
    Host, Lab, Margay,
    bgp::{Announcement, Neighbor, Speaker},
    etcd::Cluster,
    have_root,
    kernel::PROTOCOL,
    peer::{Bird, Frr, Peer},
    resources, until,
    wait::{holds, until_eq},
};

const OURS: &str = "10.1.0.0/24";
const OURS_TOO: &str = "10.1.1.0/24";
const THEIRS: &str = "10.2.0.0/24";
const THEIRS_TOO: &str = "10.2.1.0/24";
/// Long enough for a withdrawal to show.
const WHILE: Duration = Duration::from_secs(3);
/// Long enough for everybody to have caught up.
const LONGER: Duration = Duration::from_secs(8);

fn config(originate: &[&str]) -> String {
    format!(
        "[bgp]\nasn = 65001\nrouter-id = \"10.0.0.1\"\nrequire-policy = false\n\
         originate = {originate:?}\n\n\
         [[bgp.peer]]\nname = \"far\"\naddress = \"10.0.0.2\"\nasn = 65002\nconnect-retry = 1\n\
         graceful-restart = {{ restart-time = 60 }}\n"
    )
}

/// A peer of another make.
enum Far {
    Bird(Bird),
    Frr(Frr),
}

#[derive(Clone, Copy, PartialEq)]
enum Make {
    Bird,
    Frr,
}

impl Far {
    /// `again`: it was here before, and knows it.
    fn new(make: Make, host: &Host, announces: &[&str], again: bool) -> Self {
        let speaker = Speaker {
            asn: 65002,
            router_id: "10.0.0.2".into(),
            // BIRD's is written out below.
            neighbors: match make {
                Make::Bird => Vec::new(),
                Make::Frr => vec![Neighbor::new("10.0.0.2", "10.0.0.1", 65001)],
            },
            announcements: announces.iter().map(|prefix| Announcement::plain(prefix)).collect(),
        };
        match make {
            Make::Bird => {
                let bird = Bird::new(host, speaker).with(
                    "protocol bgp x {\n local 10.0.0.2 as 65002; neighbor 10.0.0.1 as 65001;\n \
                     direct; connect delay time 1; connect retry time 2; error wait time 1, 2;\n \
                     graceful restart on; graceful restart time 60;\n \
                     ipv4 { import all; export where source = RTS_STATIC; };\n}\n",
                );
                Self::Bird(if again { bird.recovering() } else { bird })
            }
            Make::Frr => Self::Frr(Frr::new(host, speaker).with(
                "router bgp 65002\n bgp graceful-restart\n bgp graceful-restart preserve-fw-state\n \
                 bgp graceful-restart restart-time 60\nexit\n",
            )),
        }
    }

    fn peer(&mut self) -> &mut dyn Peer {
        match self {
            Self::Bird(bird) => bird,
            Self::Frr(frr) => frr,
        }
    }

    /// Prefixes it has from us.
    fn has(&mut self) -> Result<Vec<String>> {
        let mut prefixes: Vec<String> = match self {
            Self::Bird(bird) => {
                bird.routes("protocol x")?.into_iter().map(|route| route.prefix).collect()
            }
            Self::Frr(frr) => {
                // What is asked for by neighbour it does not show of one that is away.
                let table = frr.show("show bgp ipv4 unicast json")?;
                let routes = table["routes"].as_object().into_iter().flatten();
                let from_us = |paths: &Value| paths[0]["peerId"] == "10.0.0.1";
                routes
                    .filter(|(_, paths)| from_us(paths))
                    .map(|(prefix, _)| prefix.clone())
                    .collect()
            }
        };
        prefixes.sort();
        Ok(prefixes)
    }
}

/// What of theirs the kernel forwards.
fn kernel(host: &Host) -> Result<Vec<String>> {
    let text = host.ip(&["route", "show", "table", "main", "proto", PROTOCOL])?;
    let mut prefixes: Vec<_> =
        text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    prefixes.sort();
    Ok(prefixes)
}

/// Best paths of theirs, and whether they are stale.
fn table(margay: &Margay) -> Result<Vec<(String, bool)>> {
    let rows = margay.routes(&["--received-from", "far"])?;
    let mut found: Vec<_> = rows
        .iter()
        .filter(|row| row["best"] == true)
        .map(|row| (row["prefix"].as_str().unwrap_or("?").to_owned(), row["stale"] == true))
        .collect();
    found.sort();
    Ok(found)
}

fn texts(prefixes: &[&str]) -> Vec<String> {
    prefixes.iter().map(ToString::to_string).collect()
}

fn play(make: Make, name: &str) -> Result<()> {
    let mut wire = Wire::new(name)?;
    let (near, host) = (wire.near.clone(), wire.far.clone());
    let mut margay = Margay::new(&near, &config(&[OURS, OURS_TOO]));
    let mut far = Far::new(make, &host, &[THEIRS, THEIRS_TOO], false);
    let result = (|| {
        far.peer().start()?;
        margay.start()?;
        until("the session", SOON, || margay.established("far"))?;
        let both = texts(&[OURS, OURS_TOO]);
        let theirs = texts(&[THEIRS, THEIRS_TOO]);
        until_eq("our routes there", SOON, &both, || far.has())?;
        until_eq("their routes here", SOON, &theirs, || kernel(&near))?;

        // We are killed, and come back: nobody notices.
        margay.kill()?;
        let undisturbed = |far: &mut Far| {
            let (has, kernel) = (far.has()?, kernel(&near)?);
            ensure!(has == both && kernel == theirs, "there {has:?}, in the kernel {kernel:?}");
            Ok(true)
        };
        holds("all routes while we are dead", WHILE, || undisturbed(&mut far))?;
        margay.launch()?;
        holds("all routes while we come back", LONGER, || undisturbed(&mut far))?;
        until("the session again", SOON, || margay.established("far"))?;
        holds("all routes after it", LONGER, || undisturbed(&mut far))?;
        ensure!(margay.log().contains("caught up after the restart"));

        // Stopped to come back, likewise.
        margay.terminate()?;
        holds("all routes while we are away", WHILE, || undisturbed(&mut far))?;
        margay.launch()?;
        holds("all routes while we start", LONGER, || undisturbed(&mut far))?;
        until("the session after a stop", SOON, || margay.established("far"))?;

        // What we do not tell again goes.
        margay.kill()?;
        margay.reconfigure(&config(&[OURS]))?;
        margay.start()?;
        until_eq("one route is left there", SOON, &texts(&[OURS]), || far.has())?;
        until("the session", SOON, || margay.established("far"))?;
        until_eq("theirs are fresh", SOON, &fresh(&theirs), || table(&margay))?;

        // They are killed: we go on by their routes.
        far.peer().kill()?;
        let stale: Vec<_> = theirs.iter().map(|prefix| (prefix.clone(), true)).collect();
        until_eq("theirs are stale", SOON, &stale, || table(&margay))?;
        holds("their routes while they are dead", WHILE, || Ok(kernel(&near)? == theirs))?;
        far = Far::new(make, &host, &[THEIRS], true);
        far.peer().start()?;
        let one = texts(&[THEIRS]);
        until_eq("one of theirs is left", SOON * 2, &fresh(&one), || {
            ensure!(kernel(&near)?.contains(&one[0]), "it was gone for a while");
            table(&margay)
        })?;
        until_eq("in the kernel, too", SOON, &one, || kernel(&near))?;

        // We go for good.
        margay.daemon()?.interrupt()?;
        until_eq("nothing of ours", SOON, &Vec::new(), || far.has())?;
        until_eq("nothing in the kernel", SOON, &Vec::new(), || kernel(&near))
    })();
    let logs = || format!("margay: {}\nfar: {}", margay.log(), far.peer().log());
    wire.conclude(result, logs)
}

fn fresh(prefixes: &[String]) -> Vec<(String, bool)> {
    prefixes.iter().map(|prefix| (prefix.clone(), false)).collect()
}

#[test]
fn with_bird_either_side_restarts_and_no_route_is_withdrawn() -> Result<()> {
    if !have_root("with_bird_either_side_restarts_and_no_route_is_withdrawn") {
        return Ok(());
    }
    play(Make::Bird, "restart-bird")
}

#[test]
fn with_frr_either_side_restarts_and_no_route_is_withdrawn() -> Result<()> {
    if !have_root("with_frr_either_side_restarts_and_no_route_is_withdrawn") {
        return Ok(());
    }
    play(Make::Frr, "restart-frr")
}

/// All that a node says of BGP stands in etcd; the switch restarts gracefully with it.
#[test]
fn a_node_that_comes_back_while_its_datastore_is_away_keeps_its_peers_and_its_blocks() -> Result<()>
{
    if !have_root(
        "a_node_that_comes_back_while_its_datastore_is_away_keeps_its_peers_and_its_blocks",
    ) {
        return Ok(());
    }
    let mut lab = Lab::new("restartaway")?;
    let mut etcd = Cluster::start_one(&mut lab)?;
    let host = etcd.host(&mut lab, "a", 111)?;
    let tor = etcd.host(&mut lab, "tor", 254)?;
    let speaker = Speaker {
        asn: 65001,
        router_id: "10.99.0.254".into(),
        neighbors: Vec::new(),
        announcements: vec![Announcement::plain(THEIRS)],
    };
    let mut bird = Bird::new(&tor, speaker).with(
        "protocol bgp x {\n local 10.99.0.254 as 65001; neighbor 10.99.0.111 as 64513;\n direct; \
         connect delay time 1; connect retry time 2; error wait time 1, 2;\n graceful restart on; \
         graceful restart time 120;\n ipv4 { import all; export where source = RTS_STATIC; };\n}\n",
    );
    let mut margay = Margay::new(&host, &etcd.datastore());
    margay.set_node_keys("register = false\n");
    margay.set_log_level("info");
    let result = (|| {
        bird.start()?;
        margay.start()?;
        let tor = "{peerIP: 10.99.0.254, asNumber: 65001, maxRestartTime: 120s}";
        let documents = [
            resources::asn(64513),
            resources::pool("pods", "10.10.0.0/16"),
            resources::node("a", "10.99.0.111/24", None),
            resources::peer("tor", tor),
        ];
        until("etcd takes it", SOON, || Ok(margay.apply(&resources::all(&documents)).is_ok()))?;
        let mut assigned = Value::Null;
        until("an address", SOON, || {
            let row = margay.json(&["ipam", "assign", "--handle", "one"]);
            assigned = row.unwrap_or_default();
            Ok(assigned[0]["block"].is_string())
        })?;
        let block = assigned[0]["block"].as_str().unwrap_or_default().to_owned();
        let ours = vec![block.clone()];
        let has = || -> Result<Vec<String>> {
            Ok(bird.routes("protocol x")?.into_iter().map(|route| route.prefix).collect())
        };
        until_eq("the block there", SOON, &ours, has)?;
        until_eq("their route here", SOON, &texts(&[THEIRS]), || unicast(&host))?;
        let state = host.dir().join("state");
        until("it is kept", SOON, || {
            let read = |name: &str| fs::read_to_string(state.join(name)).unwrap_or_default();
            let kept = read("last-resources.json");
            Ok(read("last-own.json").contains(&block) && kept.contains("10.99.0.254"))
        })?;

        etcd.kill(0)?;
        margay.kill()?;
        let undisturbed = || {
            let (there, here) = (has()?, unicast(&host)?);
            let dropped = host.ip(&["route", "show", "type", "blackhole"])?;
            ensure!(there == ours && here == texts(&[THEIRS]), "there {there:?}, here {here:?}");
            ensure!(dropped.contains(&block), "the kernel has {dropped:?}");
            Ok(true)
        };
        // Not for long: another node may have the block once the lease has ended.
        holds("all while we are dead", Duration::from_secs(1), undisturbed)?;
        margay.start()?;
        until("caught up", SOON * 3, || {
            undisturbed()?;
            Ok(margay.log().contains("caught up after the restart"))
        })?;
        let (peer, established) = ("Global_10_99_0_254", margay.established("Global_10_99_0_254")?);
        ensure!(established, "{}", margay.peer(peer)?);
        ensure!(margay.log().contains("starting with what the cluster said last"));
        holds("all once it has caught up", LONGER, undisturbed)?;
        // New addresses wait for the datastore.
        let (_, said) = margay.refusal(&["ipam", "assign", "--handle", "two"])?;
        ensure!(said.contains("error: "), "{said}");

        // The datastore is back: nothing changes, and the session is the same.
        etcd.start_member(0)?;
        until("it assigns again", SOON * 2, || {
            undisturbed()?;
            Ok(margay.json(&["ipam", "assign", "--handle", "three"]).is_ok())
        })?;
        holds("all after that", WHILE, undisturbed)?;
        let flaps = margay.peer(peer)?["flaps"].clone();
        ensure!(flaps == 0, "the session fell {flaps} times");
        // And what goes, goes.
        margay.text(&["delete", "bgppeer", "tor"])?;
        until_eq("nothing there", SOON, &Vec::new(), has)
    })();
    let logs = || vec![margay.log(), bird.log()];
    lab.told(result, logs)
}

/// What the kernel forwards of what a peer told.
fn unicast(host: &Host) -> Result<Vec<String>> {
    let text = host.ip(&["route", "show", "type", "unicast", "proto", PROTOCOL])?;
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}
