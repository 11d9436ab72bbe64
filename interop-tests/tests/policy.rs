//! Network policy with real daemons: pods made by the plugin, packets between them, and a dataplane
//! that is stopped, killed and started again.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use interop_tests::{
    dataplane::Dataplane,
    pair::SOON,
    runtime::{Answer, Container, Runtime},
};
use serde_json::{Value, json};
use testkit::{Host, Lab, Margay, have_root, resources, until, until_some};

/// Where servers listen.
const PORT: u16 = 8080;
/// How long is waited for a connection that may not come.
const VAIN: Duration = Duration::from_secs(1);

/// A node with both daemons, and hosts to be its pods.
struct Rig {
    margay: Margay,
    dataplane: Dataplane,
    runtime: Runtime,
    pods: Vec<Host>,
    lab: Lab,
}

impl Rig {
    fn start(name: &str) -> Result<Self> {
        let mut lab = Lab::new(name)?;
        let host = lab.host("a")?;
        host.configure("lo", &["192.0.2.1/32", "2001:db8::1/128"])?;
        let mut margay = Margay::new(&host, "[datastore]\ntype = \"embedded\"\n");
        margay.set_node_keys("register = false\n");
        margay.start()?;
        // What a pod's namespace allows where no policy says anything: everything.
        let open = "{ingress: [{action: Allow}], egress: [{action: Allow}]}";
        margay.apply(&resources::all(&[
            resources::pool("four", "10.10.0.0/16"),
            resources::pool("six", "fd10::/48"),
            resources::document("Profile", "kns.shop", open),
        ]))?;
        let pods = ["web", "friend", "stranger", "late"].map(|name| lab.host(name)).into_iter();
        let pods = pods.collect::<Result<_>>()?;
        let dataplane = Dataplane::new(&margay)?;
        let runtime = Runtime::of(&margay)?;
        Ok(Self { margay, dataplane, runtime, pods, lab })
    }

    /// Of a failure, what the daemons logged.
    fn told(&mut self, result: Result<()>) -> Result<()> {
        let logs = || vec![self.margay.log(), self.dataplane.log()];
        self.lab.told(result, logs)
    }
}

/// The configuration of a pod with this label.
fn labelled(key: &str, value: &str) -> Value {
    json!({"args": {"cni": {"labels": [{"key": key, "value": value}]}}})
}

/// ADD that must succeed, at once or when it is asked again; the pod's IPv4 address.
fn add(runtime: &Runtime, container: &Container, more: &Value) -> Result<IpAddr> {
    address(&runtime.settled("ADD", container, more)?.done("ADD")?)
}

fn address(answer: &Answer) -> Result<IpAddr> {
    let all = answer.addresses();
    all.first().context("an address")?.parse().context("an address")
}

/// A server in a pod: what it is sent it sends back.
fn serve(pod: &Host) -> Result<()> {
    let listener = pod.enter(|| Ok(TcpListener::bind(("0.0.0.0", PORT))?))?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            thread::spawn(move || {
                let Ok(mut back) = stream.try_clone() else { return };
                // It ends with the test.
                let _ = std::io::copy(&mut &stream, &mut back);
            });
        }
    });
    Ok(())
}

fn connect(pod: &Host, to: IpAddr, patience: Duration) -> Result<TcpStream> {
    pod.enter(|| Ok(TcpStream::connect_timeout(&SocketAddr::new(to, PORT), patience)?))
}

/// Whether what is said over a connection comes back.
fn echoes(stream: &mut TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(b"hello")?;
    let mut back = [0; 5];
    stream.read_exact(&mut back)?;
    ensure!(&back == b"hello", "{back:?}");
    Ok(())
}

/// Waits until a connection can be made; it.
fn reaches(pod: &Host, to: IpAddr) -> Result<TcpStream> {
    let what = format!("{} reaches {to}", pod.name());
    until_some(&what, SOON, || Ok(connect(pod, to, VAIN).ok()))
}

/// Two who may talk to each other, so that a machine that is slow does not look like policy.
type Control<'a> = (&'a Host, IpAddr);

/// Whether a connection comes to be, though one that is tried after it and may come to be does not
/// before its end; `None` if nothing was told, as that one did not come in time either.
fn tried(pod: &Host, to: IpAddr, control: Control<'_>) -> Result<Option<bool>> {
    thread::scope(|scope| {
        let vain = scope.spawn(|| connect(pod, to, VAIN).is_ok());
        // Its first packet is sent within a moment.
        thread::sleep(VAIN / 10);
        let begun = Instant::now();
        let came = connect(control.0, control.1, VAIN).and_then(|mut stream| echoes(&mut stream));
        let told = came.is_ok() && begun.elapsed() < VAIN / 2;
        match vain.join() {
            Ok(true) => Ok(Some(true)),
            Ok(false) => Ok(told.then_some(false)),
            Err(_) => anyhow::bail!("a try panicked"),
        }
    })
}

/// Waits until no connection can be made any more.
fn is_denied(pod: &Host, to: IpAddr, control: Control<'_>) -> Result<()> {
    let what = format!("{} does not reach {to}", pod.name());
    until(&what, SOON, || Ok(tried(pod, to, control)? == Some(false)))
}

/// Fails if a connection can be made now.
fn stays_denied(pod: &Host, to: IpAddr, control: Control<'_>) -> Result<()> {
    let what = format!("a try of {} that tells whether it reaches {to}", pod.name());
    let reached = until_some(&what, SOON, || tried(pod, to, control))?;
    ensure!(!reached, "{} reaches {to}", pod.name());
    Ok(())
}

/// What selects servers, and lets nobody in.
const DENY: &str = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata:\n  \
                    name: closed\nspec: {order: 1000, selector: app == 'web', types: [Ingress]}\n";

/// What lets in who has this label.
fn allow(from: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata:\n  name: friends\n  \
         namespace: shop\nspec:\n  order: 10\n  selector: app == 'web'\n  types: [Ingress]\n  \
         ingress:\n  - {{action: Allow, protocol: TCP, source: {{selector: {from}}}, \
         destination: {{ports: [{PORT}]}}}}\n"
    )
}

#[test]
fn policy_is_enforced_between_pods_and_outlives_the_dataplane() -> Result<()> {
    if !have_root("policy_is_enforced_between_pods_and_outlives_the_dataplane") {
        return Ok(());
    }
    let mut rig = Rig::start("policy")?;
    let result = enforce(&mut rig);
    rig.told(result)
}

fn enforce(rig: &mut Rig) -> Result<()> {
    let Rig { margay, dataplane, runtime, pods, lab } = rig;
    margay.apply(DENY)?;
    dataplane.start()?;
    // A second one would only be in the way.
    let second = margay.host().output(&mut dataplane.command()?)?;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    ensure!(second.status.code() == Some(1) && said.contains("another margay-policy-dp"), "{said}");

    let [web, friend, stranger, late] = pods.as_slice() else { anyhow::bail!("four pods") };
    let server = Container::new("web", web);
    let to_web = add(runtime, &server, &labelled("app", "web"))?;
    serve(web)?;
    let from_friend = Container::new("friend", friend);
    let to_friend = add(runtime, &from_friend, &labelled("role", "friend"))?;
    serve(friend)?;
    // What ADD answered for is in force: there is no moment in which it is open. What it sends is
    // its own affair.
    let outwards = (web, to_friend);
    stays_denied(friend, to_web, outwards)?;
    let to_stranger = add(runtime, &Container::new("stranger", stranger), &Value::Null)?;
    serve(stranger)?;
    stays_denied(stranger, to_web, outwards)?;
    // Where no policy applies the profile of the namespace does.
    reaches(friend, to_stranger)?;

    // By label, while it runs.
    margay.apply(&allow("role == 'friend'"))?;
    let mut open = reaches(friend, to_web)?;
    echoes(&mut open)?;
    stays_denied(stranger, to_web, outwards)?;
    // Who was denied, and by what, is on record; so is who was let in.
    let recorded = |what: &str, is_it: &dyn Fn(&Value) -> bool| -> Result<Value> {
        until_some(what, SOON, || {
            let flows = dataplane.said(margay, &["flows"])?;
            Ok(flows.as_array().and_then(|all| all.iter().find(|flow| is_it(flow)).cloned()))
        })
    };
    let from = to_stranger.to_string();
    let denied = recorded("the denied flow is recorded", &|flow| {
        flow["verdict"] == "deny" && flow["source"]["address"] == from.as_str()
    })?;
    let by_tier = "end of tier default (GlobalNetworkPolicy closed";
    ensure!(
        denied["by"].as_str().is_some_and(|by| by.starts_with(by_tier))
            && denied["direction"] == "ingress"
            && denied["destination"]["endpoint"]
                .as_str()
                .is_some_and(|name| name.contains("-web-"))
            && (&denied["protocol"], &denied["port"]) == (&json!("TCP"), &json!(PORT)),
        "{denied}"
    );
    recorded("the allowed flow is recorded", &|flow| {
        flow["verdict"] == "allow" && flow["by"] == "NetworkPolicy shop/friends rule 0"
    })?;
    margay.apply(&allow("role == 'enemy'"))?;
    is_denied(friend, to_web, outwards)?;
    // A known connection goes on.
    echoes(&mut open)?;
    margay.apply(&allow("role == 'friend'"))?;
    reaches(friend, to_web)?;

    // ADD waits for the dataplane, and undoes all where it does not come.
    dataplane.daemon()?.pause()?;
    let fourth = Container::new("late", late);
    let impatient = json!({"policy_wait_seconds": 1});
    let refused = runtime.call("ADD", &fourth, &impatient)?;
    ensure!(refused.code != 0 && refused.json["code"] == 11, "{}", refused.json);
    ensure!(!late.ip(&["-o", "link"])?.contains("eth0"), "a link is left");
    dataplane.daemon()?.resume()?;
    let to_late = add(runtime, &fourth, &Value::Null)?;
    serve(late)?;
    reaches(friend, to_late)?;

    // Dead is safe: what flowed flows, what was denied is denied, what is unknown is closed.
    dataplane.daemon()?.kill()?;
    echoes(&mut open)?;
    reaches(friend, to_web)?;
    stays_denied(stranger, to_web, outwards)?;
    let unknown = lab.host("unknown")?;
    lab.link((margay.host(), "plain0", &["10.77.0.1/24"]), (&unknown, "eth0", &["10.77.0.2/24"]))?;
    unknown.ip(&["route", "add", "default", "via", "10.77.0.1"])?;
    reaches(&unknown, to_late)?;
    let host = margay.host();
    host.ip(&["link", "set", "plain0", "down"])?;
    host.ip(&["link", "set", "plain0", "name", "cali0badcafe0"])?;
    host.ip(&["link", "set", "cali0badcafe0", "up"])?;
    until("the link is up again", SOON, || {
        Ok(host.ip(&["-4", "addr", "show", "dev", "cali0badcafe0"])?.contains("10.77.0.1"))
    })?;
    stays_denied(&unknown, to_late, (friend, to_late))?;
    let waits = json!({"policy_wait_seconds": 1});
    runtime.delete(&fourth)?;
    let refused = runtime.call("ADD", &fourth, &waits)?;
    ensure!(refused.json["code"] == 11, "{}", refused.json);

    // The next one finds what it needs, and touches nothing but the flag that says whose it is.
    dataplane.start()?;
    let steps = dataplane.metric("margay_policy_steps_applied_total")?;
    // The pod that went while nobody listened takes its chains and elements with it.
    ensure!(steps < 20, "{steps} steps to adopt");
    echoes(&mut open)?;
    stays_denied(stranger, to_web, outwards)?;
    stays_denied(&unknown, to_stranger, outwards)?;
    ensure!(dataplane.daemon()?.terminate()?.success(), "an orderly end");
    echoes(&mut open)?;
    stays_denied(stranger, to_web, outwards)?;
    reaches(friend, to_web)?;
    dataplane.start()?;
    let steps = dataplane.metric("margay_policy_steps_applied_total")?;
    ensure!(steps <= 1, "{steps} steps, and nothing had changed");

    // With bgpd away nothing changes; back again, changes come through.
    margay.kill()?;
    echoes(&mut open)?;
    stays_denied(stranger, to_web, outwards)?;
    reaches(friend, to_web)?;
    // Nor does a dataplane that begins then: it has nothing to say yet, and leaves what it finds.
    dataplane.daemon()?.kill()?;
    dataplane.spawn()?;
    echoes(&mut open)?;
    stays_denied(stranger, to_web, outwards)?;
    reaches(friend, to_web)?;
    margay.start()?;
    margay.apply(&allow("all()"))?;
    reaches(stranger, to_web)?;
    echoes(&mut open)?;
    let fifth = add(runtime, &fourth, &Value::Null)?;
    reaches(stranger, fifth).map(drop)
}

#[test]
fn what_is_in_force_is_shown_and_a_packet_is_traced_as_it_fares() -> Result<()> {
    if !have_root("what_is_in_force_is_shown_and_a_packet_is_traced_as_it_fares") {
        return Ok(());
    }
    let mut rig = Rig::start("policysay")?;
    let result = explain(&mut rig);
    rig.told(result)
}

fn explain(rig: &mut Rig) -> Result<()> {
    let Rig { margay, dataplane, runtime, pods, .. } = rig;
    let gone = dataplane.said(margay, &["show", "shop/web"]);
    ensure!(gone.is_err_and(|error| format!("{error:#}").contains("is not running")));
    margay.apply(DENY)?;
    margay.apply(&allow("role == 'friend'"))?;
    // It asks for what is not known here, and would open everything if it were enforced.
    margay.apply(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: odd, namespace: \
         shop}\nspec:\n  order: 20\n  selector: app == 'web'\n  types: [Ingress]\n  ingress:\n  - \
         {action: Allow, protocol: TCP, source: {services: {name: s}}}\n---\napiVersion: \
         projectcalico.org/v3\nkind: StagedNetworkPolicy\nmetadata: {name: open, namespace: shop}\n\
         spec: {order: 30, selector: app == 'web', types: [Ingress], ingress: [{action: Allow}]}\n",
    )?;
    dataplane.start()?;
    let [web, friend, stranger, _] = pods.as_slice() else { anyhow::bail!("four pods") };
    let to_web = add(runtime, &Container::new("web", web), &labelled("app", "web"))?;
    serve(web)?;
    let friendly = labelled("role", "friend");
    let to_friend = add(runtime, &Container::new("friend", friend), &friendly)?;
    serve(friend)?;
    let to_stranger = add(runtime, &Container::new("stranger", stranger), &Value::Null)?;

    let address = to_web.to_string();
    let shown = dataplane.said(margay, &["show", &address])?;
    ensure!(shown["in_force"] == true && shown["reason"].is_null(), "{shown}");
    ensure!(shown["addresses"][0] == address.as_str(), "{shown}");
    let tier = &shown["ingress"][0];
    ensure!(tier["name"] == "default" && tier["default_action"] == "deny", "{shown}");
    let policies = tier["policies"].as_array().context("policies")?;
    let named: Vec<_> = policies.iter().filter_map(|policy| policy["name"].as_str()).collect();
    ensure!(named == ["shop/friends", "shop/odd", "shop/open", "closed"], "{named:?}");
    ensure!(policies[2]["staged"] == true && policies[0]["staged"] == false, "{shown}");
    let fault = policies[1]["rules"][0]["fault"].as_str().unwrap_or_default();
    ensure!(fault.contains("matches nothing"), "{shown}");

    let port = PORT.to_string();
    let trace = |from: IpAddr, port: &str| {
        let from = from.to_string();
        let ends = ["trace", "--from", &from, "--to", &address];
        dataplane.said(margay, &[&ends[..], &["--protocol", "tcp", "--port", port]].concat())
    };
    // As the trace says, so the kernel does.
    let allowed = trace(to_friend, &port)?;
    ensure!(allowed["verdict"] == "allow" && allowed["notes"] == json!([]), "{allowed}");
    let last = allowed["steps"].as_array().and_then(|steps| steps.last()).context("a step")?;
    ensure!(last["policy"] == "shop/friends" && last["rule"] == 0, "{allowed}");
    ensure!(last["tier"] == "default" && last["action"] == "allow", "{allowed}");
    reaches(friend, to_web)?;
    let denied = trace(to_stranger, &port)?;
    ensure!(denied["verdict"] == "deny", "{denied}");
    let last = denied["steps"].as_array().and_then(|steps| steps.last()).context("a step")?;
    ensure!(last["tier"] == "default" && last["rule"] == "default", "{denied}");
    ensure!(denied["staged"]["verdict"] == "allow", "{denied}");
    stays_denied(stranger, to_web, (web, to_friend))?;
    ensure!(trace(to_friend, "22")?["verdict"] == "deny");
    let nobody = ["trace", "--from", "192.0.2.7", "--to", "192.0.2.8", "--protocol", "icmp"];
    let refused = dataplane.said(margay, &nobody);
    ensure!(refused.is_err_and(|error| format!("{error:#}").contains("neither")));
    Ok(())
}

#[test]
fn after_a_boot_links_of_pods_are_closed_before_anything_is_known() -> Result<()> {
    let name = "after_a_boot_links_of_pods_are_closed_before_anything_is_known";
    if !have_root(name) {
        return Ok(());
    }
    let mut lab = Lab::new("policyboot")?;
    let host = lab.host("a")?;
    // It is not started: nobody tells anything.
    let margay = Margay::new(&host, "[datastore]\ntype = \"embedded\"\n");
    let mut dataplane = Dataplane::new(&margay)?;
    let result = boot(&mut lab, &host, &mut dataplane);
    lab.told(result, || vec![dataplane.log()])
}

fn boot(lab: &mut Lab, host: &Host, dataplane: &mut Dataplane) -> Result<()> {
    let mut linked = |name: &str, link: &str, third: u8| -> Result<(Host, IpAddr)> {
        let (pod, here) = (lab.host(name)?, format!("10.77.{third}.1"));
        let there = format!("10.77.{third}.2");
        lab.link(
            (host, link, &[&format!("{here}/24")]),
            (&pod, "eth0", &[&format!("{there}/24")]),
        )?;
        pod.ip(&["route", "add", "default", "via", &here])?;
        serve(&pod)?;
        Ok((pod, there.parse()?))
    };
    let (left, to_left) = linked("left", "plain0", 1)?;
    let (right, to_right) = linked("right", "plain1", 2)?;
    let (pod, to_pod) = linked("pod", "cali0badcafe0", 3)?;
    host.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
    drop((reaches(&pod, to_left)?, reaches(&right, to_pod)?));
    dataplane.spawn()?;
    let others = (&left, to_right);
    is_denied(&pod, to_left, others)?;
    is_denied(&right, to_pod, others)?;
    // What the host itself says is the host's affair.
    reaches(host, to_left)?;
    // It is told that it is not ready, and does not go away with its maker.
    ensure!(dataplane.ask("/readyz")?.starts_with("HTTP/1.1 503"));
    dataplane.daemon()?.kill()?;
    stays_denied(&pod, to_left, others)?;
    dataplane.spawn()?;
    stays_denied(&right, to_pod, others)?;
    reaches(&right, to_left).map(drop)
}
