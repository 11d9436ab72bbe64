//! Network policy between pods of a node.
//!
//! ```text
//!     worker                      margay-bgpd, margay-policy-dp
//!     frontend  backend  stranger
//! ```
//! First every pod reaches the backend, then none, then the frontend by its label.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use interop_tests::{
    dataplane::Dataplane,
    runtime::Container,
    shop::{self, PORT, Rig},
};
use testkit::{Host, Margay, margay::utf8, until, until_some};

use crate::{SOON, step};

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
    let mut rig = Rig::of("demo-policy", "worker", &["frontend", "backend", "stranger"])?;
    rig.dataplane.start()?;
    let result = show(&rig);
    if result.is_err() {
        let (margay, dataplane) = (rig.margay.log(), rig.dataplane.log());
        eprintln!("--- margay-bgpd\n{margay}--- margay-policy-dp\n{dataplane}");
    }
    step("Cleaning up");
    result
}

fn show(rig: &Rig) -> Result<()> {
    let Rig { margay, dataplane, runtime, pods, .. } = rig;
    let [frontend, backend, stranger] = pods.as_slice() else { bail!("three pods") };
    let start = |pod: &Host| {
        let name = pod.name();
        shop::add(runtime, &Container::new(name, pod), &shop::labelled("app", name))
    };
    start(frontend)?;
    let to_backend = start(backend)?;
    let from_stranger = start(stranger)?;
    shop::serve(backend)?;
    for pod in [frontend, stranger] {
        reaches(pod, to_backend, true)?;
    }
    println!("    without a policy frontend and stranger reach {to_backend}:{PORT}");

    step("Default deny, then allow frontend to backend by label");
    apply(margay, CLOSED)?;
    for pod in [frontend, stranger] {
        reaches(pod, to_backend, false)?;
    }
    println!("    nobody reaches it any more");
    apply(margay, OPEN)?;
    reaches(frontend, to_backend, true)?;
    ensure!(!connects(stranger, to_backend), "the stranger gets in");
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

fn connects(pod: &Host, to: IpAddr) -> bool {
    shop::connect(pod, to, TRY).is_ok()
}

/// Waits until a pod reaches the server, or does not any more.
fn reaches(pod: &Host, to: IpAddr, wanted: bool) -> Result<()> {
    let what = if wanted { "reaches" } else { "no longer reaches" };
    let what = format!("{} {what} the backend", pod.name());
    until_some(&what, SOON, || Ok((connects(pod, to) == wanted).then_some(())))
}
