//! Network policy between pods of a node.
//!
//! ```text
//!     worker                      margay-bgpd, margay-policy-dp
//!     frontend  backend  stranger
//! ```
//! First every pod reaches the backend, then none, then the frontend by its label.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use interop_tests::{
    dataplane::Dataplane,
    runtime::{Container, Runtime},
};
use serde_json::json;
use testkit::{Host, Lab, Margay, margay::utf8, resources, until, until_some};

use crate::{SOON, step};

/// Where the backend listens.
const PORT: u16 = 8080;
/// How long a connection is tried that may not come.
const TRY: Duration = Duration::from_secs(1);

/// Everything to the backend is denied.
const CLOSED: &str = "apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: { name: default-deny }
spec: { order: 1000, selector: app == 'backend', types: [Ingress] }
";

/// But what the frontend asks.
const OPEN: &str = "apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: { name: frontend-to-backend, namespace: shop }
spec:
  order: 10
  selector: app == 'backend'
  types: [Ingress]
  ingress:
  - { action: Allow, protocol: TCP, source: { selector: app == 'frontend' }, destination: { ports: [8080] } }
";

/// The fourth act.
///
/// # Errors
/// When something does not come as it should.
pub fn play() -> Result<()> {
    step("Policy: a node with its dataplane, and three pods by the CNI plugin");
    let mut lab = Lab::new("demo-policy")?;
    let host = lab.host("worker")?;
    host.configure("lo", &["192.0.2.1/32", "2001:db8::1/128"])?;
    let mut margay = Margay::new(&host, "[datastore]\ntype = \"embedded\"\n");
    margay.set_node_keys("register = false\n");
    margay.start()?;
    // Where no policy applies the profile of the namespace does.
    let open = "{ingress: [{action: Allow}], egress: [{action: Allow}]}";
    margay.apply(&resources::all(&[
        resources::pool("pods-v4", "10.48.0.0/16"),
        resources::pool("pods-v6", "fd48::/48"),
        resources::document("Profile", "kns.shop", open),
    ]))?;
    let mut dataplane = Dataplane::new(&margay)?;
    dataplane.start()?;
    let result = show(&mut lab, &margay, &dataplane);
    if result.is_err() {
        eprintln!("--- margay-bgpd\n{}--- margay-policy-dp\n{}", margay.log(), dataplane.log());
    }
    step("Cleaning up");
    result
}

fn show(lab: &mut Lab, margay: &Margay, dataplane: &Dataplane) -> Result<()> {
    let runtime = Runtime::of(margay)?;
    let mut start = |name: &str| -> Result<(Host, IpAddr)> {
        let pod = lab.host(name)?;
        let labels = json!({"args": {"cni": {"labels": [{"key": "app", "value": name}]}}});
        let answer = runtime.settled("ADD", &Container::new(name, &pod), &labels)?.done("ADD")?;
        let addresses = answer.addresses();
        Ok((pod, addresses.first().context("an address")?.parse()?))
    };
    let (frontend, _) = start("frontend")?;
    let (backend, to_backend) = start("backend")?;
    let (stranger, from_stranger) = start("stranger")?;
    serve(&backend)?;
    for pod in [&frontend, &stranger] {
        reaches(pod, to_backend, true)?;
    }
    println!("    without a policy frontend and stranger reach {to_backend}:{PORT}");

    step("Default deny, then allow frontend to backend by label");
    apply(margay, CLOSED)?;
    for pod in [&frontend, &stranger] {
        reaches(pod, to_backend, false)?;
    }
    println!("    nobody reaches it any more");
    apply(margay, OPEN)?;
    reaches(&frontend, to_backend, true)?;
    ensure!(!connects(&stranger, to_backend)?, "the stranger gets in");
    println!("    frontend reaches it again, stranger does not");

    step("What was denied is on record, and explained");
    let from = from_stranger.to_string();
    until("the denied flow is on record", SOON, || {
        let flows = dataplane.said(margay, &["flows"])?;
        let denied = flows.as_array().context("an array")?.iter().any(|flow| {
            flow["verdict"] == "deny"
                && flow["source"]["address"] == from.as_str()
                && flow["by"].as_str().is_some_and(|by| by.contains("default-deny"))
        });
        Ok(denied)
    })?;
    said(margay, &["flows"])?;
    let trace = ["trace", "--from", "shop/stranger", "--to", "shop/backend"];
    let port = PORT.to_string();
    said(margay, &[&trace[..], &["--protocol", "tcp", "--port", &port]].concat())?;
    said(margay, &["show", "shop/backend"])
}

/// Applies a policy, and shows it.
fn apply(margay: &Margay, policy: &str) -> Result<()> {
    println!("\n{}$ margay apply -f -", margay.host().name());
    policy.lines().for_each(|line| println!("    {line}"));
    margay.apply(policy)
}

/// Runs a command of `margay policy`, and shows its answer.
fn said(margay: &Margay, arguments: &[&str]) -> Result<()> {
    println!("\n{}$ margay policy {}", margay.host().name(), arguments.join(" "));
    let socket = Dataplane::socket(margay.host());
    let all = [&["--policy-socket", utf8(&socket)?, "policy"], arguments].concat();
    margay.text(&all)?.lines().for_each(|line| println!("    {line}"));
    Ok(())
}

/// A server that says hello.
fn serve(pod: &Host) -> Result<()> {
    let listener = pod.enter(|| Ok(TcpListener::bind(("0.0.0.0", PORT))?))?;
    thread::spawn(move || {
        // It ends with the demo; who went away meanwhile hears nothing.
        listener.incoming().flatten().for_each(|mut stream| drop(stream.write_all(b"hello")));
    });
    Ok(())
}

fn connects(pod: &Host, to: IpAddr) -> Result<bool> {
    let stream = pod.enter(|| Ok(TcpStream::connect_timeout(&SocketAddr::new(to, PORT), TRY)));
    Ok(stream?.is_ok())
}

/// Waits until a pod reaches the server, or does not any more.
fn reaches(pod: &Host, to: IpAddr, wanted: bool) -> Result<()> {
    let what = if wanted { "reaches" } else { "no longer reaches" };
    let what = format!("{} {what} the backend", pod.name());
    until_some(&what, SOON, || Ok((connects(pod, to)? == wanted).then_some(())))
}
