//! Host endpoints with real daemons: a node that is closed by its own policy and keeps its BGP
//! sessions, its etcd and its way in, beside a neighbour that nobody closes.

use std::{
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use interop_tests::{dataplane::Dataplane, pair::SOON};
use serde_json::{Value, json};
use testkit::{Host, Lab, Margay, have_root, until, until_some};

/// How long is waited for a connection that may not come.
const VAIN: Duration = Duration::from_secs(1);
const NODE: &str = "10.0.0.1";
const OTHER: &str = "10.0.0.2";
/// Of the way in, of etcd, and of what nobody keeps open.
const SSH: u16 = 22;
const ETCD: u16 = 2379;
const WEB: u16 = 8080;

fn config(asn: u32, end: u8, datastore: &str) -> String {
    let (other, far) = (3 - end, 130_003 - asn);
    format!(
        "[bgp]\nasn = {asn}\nrouter-id = \"10.0.0.{end}\"\nrequire-policy = false\n\
         {datastore}\
         [[bgp.peer]]\nname = \"four\"\naddress = \"10.0.0.{other}\"\nasn = {far}\nconnect-retry = 1\n\
         [[bgp.peer]]\nname = \"six\"\naddress = \"fd00::{other}\"\nasn = {far}\nconnect-retry = 1\n"
    )
}

/// Says nothing to who connects.
fn serve(host: &Host, port: u16) -> Result<()> {
    let listener = host.enter(|| Ok(TcpListener::bind(("0.0.0.0", port))?))?;
    thread::spawn(move || listener.incoming().for_each(drop));
    Ok(())
}

fn connects(from: &Host, to: &str, port: u16) -> Result<bool> {
    let to = SocketAddr::new(to.parse::<IpAddr>()?, port);
    from.enter(|| Ok(TcpStream::connect_timeout(&to, VAIN).is_ok()))
}

fn reaches(from: &Host, to: &str, port: u16) -> Result<()> {
    let what = format!("{} reaches {to} port {port}", from.name());
    until(&what, SOON, || connects(from, to, port))
}

/// Waits until a connection cannot be made, though one to a port that stays open can right after.
fn is_denied(from: &Host, to: &str, port: u16, open: u16) -> Result<()> {
    let what = format!("{} does not reach {to} port {port}", from.name());
    until(&what, SOON, || Ok(!connects(from, to, port)? && connects(from, to, open)?))
}

fn established(margay: &Margay) -> Result<()> {
    let mut peers = ["four", "six"].into_iter();
    peers.try_for_each(|peer| until(&format!("session {peer}"), SOON, || margay.established(peer)))
}

fn endpoint(spec: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {{name: node-a, labels: \
         {{role: node}}}}\nspec: {{node: a, {spec}}}\n"
    )
}

fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: {name}}}\n\
         spec: {{selector: role == 'node', {spec}}}\n"
    )
}

#[test]
fn a_node_is_closed_by_its_host_endpoint_and_keeps_what_it_lives_by() -> Result<()> {
    if !have_root("a_node_is_closed_by_its_host_endpoint_and_keeps_what_it_lives_by") {
        return Ok(());
    }
    let mut lab = Lab::new("hosts")?;
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    lab.link(
        (&a, "eth0", &["10.0.0.1/24", "fd00::1/64"]),
        (&b, "eth0", &["10.0.0.2/24", "fd00::2/64"]),
    )?;
    let mut near = Margay::new(&a, &config(65001, 1, "[datastore]\ntype = \"embedded\"\n"));
    near.set_node_keys("register = false\n");
    let mut far = Margay::new(&b, &config(65002, 2, ""));
    let mut dataplane = Dataplane::new(&near)?;
    let result = enforce(&mut near, &mut far, &mut dataplane);
    lab.told(result, || vec![near.log(), far.log(), dataplane.log()])
}

fn enforce(near: &mut Margay, far: &mut Margay, dataplane: &mut Dataplane) -> Result<()> {
    let (a, b) = (near.host().clone(), far.host().clone());
    near.start()?;
    far.start()?;
    for host in [&a, &b] {
        for port in [SSH, ETCD, WEB] {
            serve(host, port)?;
        }
    }
    // Without a host endpoint nothing of the host's own links is anybody's business.
    dataplane.start()?;
    reaches(&b, NODE, WEB)?;
    reaches(&a, OTHER, WEB)?;
    established(near)?;

    // By its address; it has no policy and no profile.
    near.apply(&endpoint(&format!("expectedIPs: [{NODE}]")))?;
    is_denied(&b, NODE, WEB, SSH)?;
    is_denied(&a, OTHER, WEB, ETCD)?;
    let shown = dataplane.said(near, &["show", "hep:node-a"])?;
    ensure!(shown["in_force"] == true && shown["interface"] == "eth0", "{shown}");
    // What the node lives by stays: sessions anew, by IPv6 too though nobody knows his neighbour.
    far.kill()?;
    for host in [&a, &b] {
        host.ip(&["neigh", "flush", "dev", "eth0"])?;
    }
    far.start()?;
    established(near)?;
    reaches(&b, NODE, ETCD)?;

    // Policies that let in, live.
    let web = format!("{{action: Allow, protocol: TCP, destination: {{ports: [{WEB}]}}}}");
    near.apply(&policy("web", &format!("types: [Ingress], ingress: [{web}]")))?;
    reaches(&b, NODE, WEB)?;
    is_denied(&a, OTHER, WEB, ETCD)?;
    let trace = |port: u16| -> Result<Value> {
        let port = port.to_string();
        let ends = ["trace", "--from", OTHER, "--to", "hep:node-a", "--protocol", "tcp", "--port"];
        dataplane.said(near, &[&ends[..], &[port.as_str()]].concat())
    };
    let allowed = trace(WEB)?;
    ensure!(allowed["verdict"] == "allow" && allowed["steps"][0]["policy"] == "web", "{allowed}");
    ensure!(trace(SSH)?["steps"][0]["policy"] == "failsafe ports");
    ensure!(trace(80)?["verdict"] == "deny");

    // Untracked, and denied: what was open before is closed, before anybody tracks it.
    let drop = format!("{{action: Deny, protocol: TCP, destination: {{ports: [{WEB}]}}}}");
    let raw =
        format!("doNotTrack: true, applyOnForward: true, types: [Ingress], ingress: [{drop}]");
    near.apply(&policy("raw", &raw))?;
    is_denied(&b, NODE, WEB, SSH)?;
    let denied = trace(WEB)?;
    let class = &denied["steps"][0]["class"];
    ensure!(denied["verdict"] == "deny" && *class == json!("doNotTrack"), "{denied}");

    // Dead is safe; the next one adopts what it finds.
    dataplane.daemon()?.kill()?;
    ensure!(!connects(&b, NODE, WEB)?, "open while the dataplane is dead");
    reaches(&b, NODE, SSH)?;
    dataplane.start()?;
    let steps = dataplane.metric("margay_policy_steps_applied_total")?;
    ensure!(steps <= 1, "{steps} steps, and nothing had changed");
    ensure!(!connects(&b, NODE, WEB)?, "open while the dataplane starts");
    near.text(&["delete", "gnp", "raw"])?;
    reaches(&b, NODE, WEB)?;

    // The address moves away, and with it the endpoint; it comes back.
    a.ip(&["addr", "add", "10.0.0.3/24", "dev", "eth0"])?;
    near.apply(&endpoint("expectedIPs: [10.0.0.3]"))?;
    is_denied(&a, OTHER, WEB, ETCD)?;
    a.ip(&["addr", "del", "10.0.0.3/24", "dev", "eth0"])?;
    reaches(&a, OTHER, WEB)?;
    let shown = dataplane.said(near, &["show", "hep:node-a"])?;
    ensure!(shown["in_force"] == false && shown["reason"].is_string(), "{shown}");
    a.ip(&["addr", "add", "10.0.0.3/24", "dev", "eth0"])?;
    is_denied(&a, OTHER, WEB, ETCD)?;

    // Every interface, and other ports that stay open.
    near.apply(&endpoint("interfaceName: '*'"))?;
    near.apply(
        "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {name: default}\nspec: \
         {failsafeOutboundHostPorts: [{protocol: TCP, port: 8080}, {protocol: TCP, port: 179}]}\n",
    )?;
    reaches(&a, OTHER, WEB)?;
    is_denied(&a, OTHER, ETCD, WEB)?;
    // The loopback is of no interface that is meant.
    reaches(&a, "127.0.0.1", WEB)?;
    near.text(&["delete", "hep", "node-a"])?;
    reaches(&a, OTHER, ETCD)?;
    let rules = until_some("nothing of the host's links is left", SOON, || {
        let table = a.run("nft", &["list", "table", "inet", "margay"])?;
        Ok((!table.contains("failsafe")).then_some(table))
    })?;
    ensure!(rules.contains("from-workload"), "{rules}");
    Ok(())
}
