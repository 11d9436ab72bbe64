//! The daemon as a process: what it refuses, what it keeps through a reload, how it stops.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use interop_tests::{pair::SOON, wire::Wire};
use serde_json::json;
use testkit::{
    Host, Lab, Margay, Tap,
    bgp::{Announcement, Neighbor, Speaker},
    have_root, margay,
    peer::{Bird, Peer},
    until,
    wait::{holds, until_eq},
};

const BASE: &str = "\
[bgp]
asn = 65001
router-id = \"10.0.0.1\"
require-policy = false
originate = [\"10.1.0.0/24\"]

[[bgp.peer]]
name = \"far\"
address = \"10.0.0.2\"
asn = 65002
connect-retry = 1
";

fn bird(host: &Host, own: &str, asn: u32, prefixes: &[&str]) -> Bird {
    let speaker = Speaker {
        asn,
        router_id: own.into(),
        neighbors: vec![Neighbor::new(own, "10.0.0.1", 65001)],
        announcements: prefixes.iter().map(|prefix| Announcement::plain(prefix)).collect(),
    };
    Bird::new(host, speaker)
}

#[test]
fn a_reload_keeps_sessions_that_it_does_not_concern() -> Result<()> {
    if !have_root("a_reload_keeps_sessions_that_it_does_not_concern") {
        return Ok(());
    }
    let mut wire = Wire::new("reload")?;
    let mut margay = Margay::new(&wire.near, BASE);
    let mut peer = bird(&wire.far, "10.0.0.2", 65002, &["10.2.0.0/24", "10.3.0.0/24"]);
    let result = (|| {
        margay.start()?;
        peer.start()?;
        until("session up", SOON, || margay.established("far"))?;
        until("two routes", SOON, || Ok(margay.routes(&["--received-from", "far"])?.len() == 2))?;
        // Both may have called at once at the start: a collision counts, too.
        let flaps = margay.peer("far")?["flaps"].clone();

        // A policy, another peer, another origin: the session stays, the routes change.
        let with_policy = format!(
            "{}\nimport = \"some\"\ndescription = \"through a policy now\"\n\n\
             [[bgp.peer]]\nname = \"nobody\"\naddress = \"10.0.0.99\"\nasn = 65009\n\n\
             [policy.route.some]\ndefault = \"reject\"\nrules = [\n  {{ match = {{ prefix = \
             \"10.2.0.0/16 le 24\" }}, then = {{ set = {{ local-pref = 300 }}, action = \
             \"accept\" }} }},\n]\n",
            BASE.replace("[\"10.1.0.0/24\"]", "[\"10.1.0.0/24\", \"10.4.0.0/24\"]").trim_end()
        );
        margay.reconfigure(&with_policy)?;
        margay.text(&["config", "reload"])?;
        until("the policy in force", SOON, || {
            let best = margay.best("10.2.0.0/24")?;
            Ok(best.is_some_and(|route| route["local_pref"] == 300)
                && margay.best("10.3.0.0/24")?.is_none())
        })?;
        until("the new origin at the peer", SOON, || {
            Ok(peer.received("10.0.0.1")?.iter().any(|route| route.prefix == "10.4.0.0/24"))
        })?;
        ensure!(margay.peer("nobody")?["state"] != "Established");
        let row = margay.peer("far")?;
        ensure!(row["flaps"] == flaps && row["state"] == "Established", "{row}");

        // A file with a fault changes nothing, by command and by signal.
        margay.reconfigure(
            &with_policy
                .replace("hold-time", "hold-tme")
                .replace("connect-retry = 1", "connect-rety = 1"),
        )?;
        let output = margay.output(&["config", "reload"])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success(), "a faulty file was taken");
        ensure!(said.contains("connect-rety") && said.contains("bgpd.toml:"), "{said}");
        margay.daemon()?.hang_up()?;
        holds("the session through a faulty reload", Duration::from_secs(2), || {
            margay.established("far")
        })?;

        // SIGHUP takes the file back to what it was.
        margay.reconfigure(BASE)?;
        margay.daemon()?.hang_up()?;
        until("both routes again", SOON, || Ok(margay.best("10.3.0.0/24")?.is_some()))?;
        until("the peer is forgotten", SOON, || Ok(margay.peer("nobody").is_err()))?;
        let row = margay.peer("far")?;
        ensure!(row["flaps"] == flaps && row["state"] == "Established", "{row}");
        Ok(())
    })();
    wire.conclude(result, || margay.log())
}

#[test]
fn without_a_policy_an_external_peer_gets_and_gives_nothing() -> Result<()> {
    if !have_root("without_a_policy_an_external_peer_gets_and_gives_nothing") {
        return Ok(());
    }
    let mut wire = Wire::new("rfc8212")?;
    let text = BASE.replace("require-policy = false\n", "");
    let mut margay = Margay::new(&wire.near, &text);
    let mut peer = bird(&wire.far, "10.0.0.2", 65002, &["10.2.0.0/24"]);
    let result = (|| {
        margay.start()?;
        peer.start()?;
        until("session up", SOON, || margay.established("far"))?;
        until("the route arrives", SOON, || {
            let rows = margay.routes(&["--received-from", "far", "--pre-policy"])?;
            Ok(rows.len() == 1)
        })?;
        holds("nothing in, nothing out", Duration::from_secs(2), || {
            Ok(margay.best("10.2.0.0/24")?.is_none() && peer.received("10.0.0.1")?.is_empty())
        })
    })();
    wire.conclude(result, || margay.log())
}

#[test]
fn dynamic_peers_are_taken_up_to_their_limit() -> Result<()> {
    if !have_root("dynamic_peers_are_taken_up_to_their_limit") {
        return Ok(());
    }
    let mut lab = Lab::new("dynamic")?;
    let switch = lab.switch("switch")?;
    let hub = lab.host("margay")?;
    lab.plug(&switch, &hub, "eth0", &["10.0.0.1/24"])?;
    let text = "[bgp]\nasn = 65001\nrouter-id = \"10.0.0.1\"\nrequire-policy = false\n\n\
        [[bgp.peer]]\nname = \"servers\"\nprefix = \"10.0.0.0/24\"\nasn = \"external\"\n\
        max-peers = 2\n";
    let mut margay = Margay::new(&hub, text);
    margay.start()?;
    let mut birds = Vec::new();
    for number in 2..=4u32 {
        let address = format!("10.0.0.{number}");
        let host = lab.host(&format!("bird{number}"))?;
        lab.plug(&switch, &host, "eth0", &[&format!("{address}/24")])?;
        birds.push(bird(&host, &address, 65000 + number, &[&format!("10.{number}.0.0/24")]));
    }
    let result = (|| {
        for (bird, address) in birds.iter_mut().zip(["10.0.0.2", "10.0.0.3"]) {
            bird.start()?;
            until("a dynamic peer", SOON, || {
                Ok(margay.peer(address).is_ok_and(|row| row["state"] == "Established"))
            })?;
            ensure!(margay.peer(address)?["template"] == "servers");
        }
        birds[2].start()?;
        holds("no third one", Duration::from_secs(4), || {
            let rows = margay.json(&["peers"])?;
            Ok(rows.as_array().map(Vec::len) == Some(2))
        })?;
        // One leaves, the third takes its place.
        birds[0].kill()?;
        until("the third in its place", SOON, || {
            Ok(margay.peer("10.0.0.4").is_ok_and(|row| row["state"] == "Established"))
        })
    })();
    lab.told(result, || vec![margay.log()])
}

#[test]
fn a_stop_says_goodbye_within_five_seconds() -> Result<()> {
    if !have_root("a_stop_says_goodbye_within_five_seconds") {
        return Ok(());
    }
    let mut wire = Wire::new("stop")?;
    let tap = Tap::on(&wire.near, "eth0")?;
    let mut margay = Margay::new(&wire.near, BASE);
    let mut peer = bird(&wire.far, "10.0.0.2", 65002, &["10.2.0.0/24"]);
    let result = (|| {
        margay.start()?;
        peer.start()?;
        until("session up", SOON, || margay.established("far"))?;
        margay.text(&["peers", "disable", "far", "--message", "back at ten"])?;
        until("Administrative Shutdown", SOON, || {
            Ok(tap.notifications("10.0.0.1").contains(&(6, 2)))
        })?;
        until("the peer heard why", SOON, || Ok(peer.log().contains("back at ten")))?;
        ensure!(margay.peer("far")?["admin_state"] == "down");
        for how in [&["--soft", "in"][..], &[]] {
            let refused = margay.output(&[&["peers", "reset", "far"], how].concat())?;
            let said = String::from_utf8_lossy(&refused.stderr);
            ensure!(!refused.status.success(), "a disabled peer was reset: {said}");
            ensure!(said.contains("far is disabled"), "{said}");
        }
        margay.text(&["peers", "enable", "far"])?;
        until("session up again", SOON, || margay.established("far"))?;
        let status = margay.terminate()?;
        ensure!(status.success(), "exit status {status}");
        until("a second Cease", SOON, || {
            Ok(tap.notifications("10.0.0.1").iter().filter(|n| **n == (6, 2)).count() == 2)
        })
    })();
    wire.conclude(result, || margay.log())
}

/// The status line and the body of a GET to Margay's own HTTP server.
fn get(host: &Host, path: &str) -> Result<(String, String)> {
    let text = host.enter(|| {
        let mut stream = TcpStream::connect("127.0.0.1:9179")?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: margay\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    })?;
    let (head, body) = text.split_once("\r\n\r\n").context("an HTTP answer")?;
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}

#[test]
fn health_and_metrics_are_served() -> Result<()> {
    if !have_root("health_and_metrics_are_served") {
        return Ok(());
    }
    let mut wire = Wire::new("http")?;
    let mut margay = Margay::new(&wire.near, BASE);
    let mut peer = bird(&wire.far, "10.0.0.2", 65002, &["10.2.0.0/24"]);
    let result = (|| {
        margay.start()?;
        peer.start()?;
        until("the route", SOON, || Ok(margay.best("10.2.0.0/24")?.is_some()))?;
        for path in ["/livez", "/readyz"] {
            until(path, SOON, || Ok(get(&wire.near, path)?.0.contains(" 200 ")))?;
        }
        let (status, body) = get(&wire.near, "/metrics")?;
        ensure!(status.contains(" 200 "), "{status}");
        let counted = body.lines().any(|line| {
            line.starts_with("margay_bgp_updates_received_total{")
                && line.contains("peer=\"far\"")
                && !line.ends_with(" 0")
        });
        ensure!(counted, "no UPDATE counted in:\n{body}");
        ensure!(get(&wire.near, "/nowhere")?.0.contains(" 404 "));
        Ok(())
    })();
    wire.conclude(result, || margay.log())
}

#[test]
fn a_second_daemon_on_the_same_state_says_who_has_it() -> Result<()> {
    if !have_root("a_second_daemon_on_the_same_state_says_who_has_it") {
        return Ok(());
    }
    let mut wire = Wire::new("second")?;
    let mut margay = Margay::new(&wire.near, BASE);
    let result = (|| {
        margay.start()?;
        let pid = margay.daemon()?.pid();
        let mut command = Command::new(margay::bin("margay-bgpd")?);
        command.arg("--config").arg(margay.config_file());
        let output = wire.far.output(&mut command)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
        ensure!(said.contains(&pid.to_string()), "no process id {pid} in: {said}");
        // The first one is none the worse.
        margay.json(&["status"]).map(drop)
    })();
    wire.conclude(result, || margay.log())
}

#[test]
fn a_second_daemon_for_the_same_kernel_routes_says_who_writes_them() -> Result<()> {
    if !have_root("a_second_daemon_for_the_same_kernel_routes_says_who_writes_them") {
        return Ok(());
    }
    let mut wire = Wire::new("twice")?;
    let mut margay = Margay::new(&wire.near, BASE);
    let result = (|| {
        margay.start()?;
        let mut first = margay.daemon()?.pid();
        let dir = wire.near.dir().join("twin");
        fs::create_dir_all(&dir)?;
        let config = dir.join("bgpd.toml");
        let own = format!(
            "[node]\nstate-dir = \"{0}\"\n[api]\nsocket = \"{0}/sock\"\n[http]\nlisten = \"\"\n",
            dir.display()
        );
        fs::write(&config, format!("{own}{BASE}"))?;
        let near = wire.near.clone();
        let second = || -> Result<String> {
            let mut command = Command::new(margay::bin("margay-bgpd")?);
            command.arg("--config").arg(&config);
            let output = near.output(&mut command)?;
            ensure!(output.status.code() == Some(1), "{}", output.status);
            Ok(String::from_utf8_lossy(&output.stderr).into_owned())
        };
        for _ in 0..2 {
            let said = second()?;
            ensure!(said.contains(&format!("pid {first}")), "no process id {first} in: {said}");
            ensure!(said.contains("fib.protocol"), "no way out in: {said}");
            // Whoever is killed leaves nothing behind that would keep the next one out.
            margay.kill()?;
            margay.start()?;
            first = margay.daemon()?.pid();
        }
        Ok(())
    })();
    wire.conclude(result, || margay.log())
}

#[test]
fn a_faulty_file_is_refused_with_its_line() -> Result<()> {
    if !have_root("a_faulty_file_is_refused_with_its_line") {
        return Ok(());
    }
    let mut wire = Wire::new("faults")?;
    let faults = [
        ("[bgp]\nasn = 65001\nhold-tme = 90\n", ":3", "hold-tme"),
        (
            "[bgp]\nasn = 65001\n\n[[bgp.peer]]\naddress = \"10.0.0.2\"\nasn = 1\n\
          bfd = { enabled = true }\n",
            ":7",
            "not supported in this version",
        ),
        (
            "[bgp]\nasn = 65001\n\n[[bgp.peer]]\naddress = \"10.0.0.2\"\nasn = 1\n\
          import = \"nowhere\"\n",
            ":7",
            "nowhere",
        ),
        ("[bgp\n", ":1", ""),
    ];
    let result = (|| {
        for (text, line, word) in faults {
            let file = wire.near.dir().join("faulty.toml");
            fs::write(&file, text)?;
            for arguments in [vec![], vec!["--check"]] {
                let mut command = Command::new(margay::bin("margay-bgpd")?);
                command.arg("--config").arg(&file).args(&arguments);
                let output = wire.near.output(&mut command)?;
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                ensure!(output.status.code() == Some(2), "{text}: {}: {said}", output.status);
                let place = format!("faulty.toml{line}");
                ensure!(said.contains(&place) && said.contains(word), "{text}: {said}");
            }
        }
        let mut command = Command::new(margay::bin("margay")?);
        command.args(["config", "check"]).arg(wire.near.dir().join("faulty.toml"));
        let output = wire.near.output(&mut command).context("margay config check")?;
        ensure!(output.status.code() == Some(2), "margay config check: {}", output.status);
        Ok(())
    })();
    wire.conclude(result, String::new)
}

#[test]
fn an_address_to_listen_on_that_is_not_the_hosts_is_told_until_it_comes() -> Result<()> {
    if !have_root("an_address_to_listen_on_that_is_not_the_hosts_is_told_until_it_comes") {
        return Ok(());
    }
    let mut lab = Lab::new("listen")?;
    let host = lab.host("node1")?;
    let config = "[bgp]\nasn = 65001\nrouter-id = \"10.0.0.1\"\n\
                  listen = [\"127.0.0.1:179\", \"192.0.2.9:179\"]\n";
    let mut margay = Margay::new(&host, config);
    let result =
        (|| {
            margay.start()?;
            let missing = || Ok(margay.json(&["status"])?["listen_missing"].clone());
            until_eq("one is missing", SOON, &json!(["192.0.2.9:179"]), missing)?;
            let told = margay.text(&["status"])?;
            ensure!(told.contains("192.0.2.9:179 is not an address of this host"), "{told}");
            let metrics = || host.run("curl", &["-sf", "http://127.0.0.1:9179/metrics"]);
            ensure!(metrics()?.contains("margay_bgp_listen_addresses_missing 1\n"));
            let log = || -> Result<String> { Ok(margay.log()) };
            until("it is logged", SOON, || {
                Ok(log()?.contains("nobody can connect to it until it is"))
            })?;
            host.ip(&["address", "add", "192.0.2.9/32", "dev", "lo"])?;
            until_eq("it has come", SOON, &json!([]), missing)?;
            until("that is logged", SOON, || Ok(log()?.contains("is no longer missing")))?;
            ensure!(metrics()?.contains("margay_bgp_listen_addresses_missing 0\n"));
            Ok(())
        })();
    lab.told(result, || vec![margay.log()])
}
