//! What a pod's annotations limit of its traffic, with octets that really go.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use interop_tests::{
    pair::SOON,
    runtime::{Container, Runtime},
};
use serde_json::{Value, json};
use testkit::{Host, Lab, Margay, have_root, resources, until};

/// A node with its own datastore and pools, and a host to be its pod.
fn node(lab: &mut Lab) -> Result<(Margay, Host)> {
    let host = lab.host("a")?;
    host.configure("lo", &["192.0.2.1/32", "2001:db8::1/128"])?;
    let mut margay = Margay::new(&host, "[datastore]\ntype = \"embedded\"\n");
    margay.set_node_keys("register = false\n");
    margay.start()?;
    let documents = [
        resources::asn(64513),
        resources::pool("four", "10.10.0.0/16"),
        resources::pool("six", "fd10::/48"),
    ];
    margay.apply(&resources::all(&documents))?;
    Ok((margay, lab.host("p1")?))
}

/// The configuration of a pod with these annotations.
fn annotated(annotations: &[(&str, &str)]) -> Value {
    let all = annotations.iter().map(|(key, value)| json!({"key": key, "value": value}));
    json!({"args": {"cni": {"annotations": all.collect::<Vec<_>>()}}})
}

/// How long so many octets take from one host to an address of another.
fn takes(from: &Host, to: &Host, address: &str, octets: usize) -> Result<Duration> {
    let at = SocketAddr::new(address.parse()?, 5001);
    let listener = to.enter(|| Ok(TcpListener::bind(at)?))?;
    let receiver = std::thread::spawn(move || -> Result<(usize, Duration)> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(SOON))?;
        let (mut count, mut buffer, since) = (0, vec![0; 65536], Instant::now());
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok((count, since.elapsed())),
                more => count += more,
            }
        }
    });
    let mut stream = from.enter(|| Ok(TcpStream::connect_timeout(&at, SOON)?))?;
    stream.write_all(&vec![7; octets])?;
    drop(stream);
    let (count, took) = receiver.join().map_err(|_| anyhow::anyhow!("the receiver panicked"))??;
    ensure!(count == octets, "{count} of {octets} octets came");
    Ok(took)
}

#[test]
fn what_goes_to_and_from_a_pod_is_as_fast_as_its_annotations_say_and_not_faster() -> Result<()> {
    if !have_root("what_goes_to_and_from_a_pod_is_as_fast_as_its_annotations_say_and_not_faster") {
        return Ok(());
    }
    let mut lab = Lab::new("limits")?;
    let (margay, pod) = node(&mut lab)?;
    let result = limited(&margay, &pod);
    lab.told(result, || vec![margay.log()])
}

fn limited(margay: &Margay, pod: &Host) -> Result<()> {
    let (host, runtime) = (margay.host(), Runtime::of(margay)?);
    let bucket = ["qdisc", "add", "dev", "lo", "root", "tbf", "rate", "1mbit", "burst", "10k"];
    if let Err(error) = pod.run("tc", &[&bucket[..], &["limit", "10k"]].concat()) {
        // Past the test harness, which shows a passing test's output to nobody.
        let text = format!("\n*** NOT HERE: limits of traffic: {error:#}\n");
        let _ = std::io::stderr().write_all(text.as_bytes());
        return Ok(());
    }
    pod.run("tc", &["qdisc", "del", "dev", "lo", "root"])?;
    // One megabyte a second to the pod, by the annotation of Kubernetes, and two from it.
    let config = annotated(&[
        ("kubernetes.io/ingress-bandwidth", "8M"),
        ("qos.projectcalico.org/ingressBurst", "800k"),
        ("qos.projectcalico.org/egressBandwidth", "16M"),
        ("qos.projectcalico.org/egressBurst", "800k"),
        ("qos.projectcalico.org/egressMaxConnections", "none"),
    ]);
    let web = Container::new("web", pod);
    let answer = runtime.settled("ADD", &web, &config)?.done("ADD")?;
    let addresses = answer.addresses();
    for address in &addresses {
        until("the pod answers", SOON, || Ok(host.pings(address)))?;
    }
    // A bucket lets through its burst and its rate, however slow the machine is: that is the least
    // that it may take. Without a limit it takes some milliseconds.
    let to = takes(host, pod, &addresses[0], 3_000_000)?;
    ensure!(to >= Duration::from_millis(2_700), "3 MB to the pod in {to:?}");
    let from = takes(pod, host, "192.0.2.1", 6_000_000)?;
    ensure!(from >= Duration::from_millis(2_700), "6 MB from the pod in {from:?}");
    let six = takes(host, pod, &addresses[1], 2_000_000)?;
    ensure!(six >= Duration::from_millis(1_700), "2 MB to the pod by IPv6 in {six:?}");
    // Everybody is told.
    let endpoints = margay.json(&["get", "wep", "-A"])?;
    let said = &endpoints["items"][0]["spec"]["qosControls"];
    ensure!(said["ingressBandwidth"] == 8_000_000 && said["egressBurst"] == 800_000, "{said}");
    ensure!(said["egressMaxConnections"].is_null(), "{said}");
    ensure!(margay.log().contains("egressMaxConnections"), "what cannot be read is logged");
    // Taken away, it is missed, and made again by the same ADD.
    let link = answer.json["interfaces"][0]["name"].as_str().context("the host's end")?;
    let mut check = config.clone();
    check["prevResult"] = answer.json.clone();
    runtime.call("CHECK", &web, &check)?.done("CHECK")?;
    host.run("tc", &["qdisc", "del", "dev", link, "root"])?;
    let missed = runtime.call("CHECK", &web, &check)?;
    ensure!(missed.code != 0 && missed.json.to_string().contains("limit"), "{}", missed.json);
    let again = runtime.settled("ADD", &web, &config)?.done("the same ADD")?;
    ensure!(again.json == answer.json, "{}", again.json);
    runtime.call("DEL", &web, &config)?.done("DEL")?;
    Ok(())
}
