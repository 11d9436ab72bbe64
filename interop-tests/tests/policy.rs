//! Network policy with real daemons: pods made by the plugin, packets between them, and a dataplane
//! that is stopped, killed and started again.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use interop_tests::{
    dataplane::Dataplane,
    pair::SOON,
    runtime::Container,
    shop::{
        DENY, PORT, Rig, add, allow, echoes, is_denied, labelled, reaches, serve, stays_denied,
    },
};
use serde_json::{Value, json};
use testkit::{Host, Lab, Margay, have_root, until, until_some};

/// What would keep friends out.
const STAGED: &str = "apiVersion: projectcalico.org/v3\nkind: StagedNetworkPolicy\nmetadata:\n  name: soon\n  \
                      namespace: shop\nspec: {order: 1, selector: app == 'web', types: [Ingress], ingress: \
                      [{action: Deny, source: {selector: role == 'friend'}}]}\n";

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
    // What staged policies would have done stands beside it, and is not done.
    margay.apply(STAGED)?;
    let would = until_some("a flow that a staged policy would deny is recorded", SOON, || {
        reaches(friend, to_web)?;
        let flows = dataplane.said(margay, &["flows"])?;
        let staged = flows.as_array().into_iter().flatten().find(|flow| flow["staged"].is_object());
        Ok(staged.cloned())
    })?;
    ensure!(
        would["verdict"] == "allow"
            && would["staged"]
                == json!({"verdict": "deny", "by": "StagedNetworkPolicy shop/soon rule 0"}),
        "{would}"
    );
    margay.text(&["delete", "stagednetworkpolicy", "soon", "-n", "shop"])?;
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
    // It asks for an address of IPv6 in a protocol of IPv4: nobody has that.
    margay.apply(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: odd, namespace: \
         shop}\nspec:\n  order: 20\n  selector: app == 'web'\n  types: [Ingress]\n  ingress:\n  - \
         {action: Allow, protocol: ICMP, source: {nets: ['fd00::/8']}}\n---\napiVersion: \
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

    // The same at a glance, of all endpoints.
    let socket = Dataplane::socket(margay.host()).display().to_string();
    let policy = margay.json(&["--policy-socket", &socket, "status"])?["policy"].clone();
    ensure!(policy["connected"] == true && policy["enforcing"] == true, "{policy}");
    ensure!(policy["endpoints"] == 3 && policy["in_force"] == 3, "{policy}");
    ensure!(policy["rules"]["total"] == 1 && policy["refused"]["total"] == 0, "{policy}");
    let rule = policy["rules"]["first"][0].as_str().unwrap_or_default();
    ensure!(rule.starts_with("NetworkPolicy shop/odd: ingress rule 0: "), "{policy}");

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
fn a_policy_about_a_service_follows_its_slices() -> Result<()> {
    if !have_root("a_policy_about_a_service_follows_its_slices") {
        return Ok(());
    }
    let mut rig = Rig::start("policyservice")?;
    let result = follow_slices(&mut rig);
    rig.told(result)
}

/// A slice of the service `friends` in the namespace of the pods, as Kubernetes writes it.
fn slice(address: IpAddr, port: u16) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: friends-abcde\n  \
         generateName: friends-\n  namespace: shop\n  labels:\n    kubernetes.io/service-name: \
         friends\naddressType: IPv4\nendpoints:\n- addresses: [{address}]\n  conditions: {{ready: \
         false, serving: true, terminating: true}}\n  targetRef: {{kind: Pod, name: friend, \
         namespace: shop}}\nports:\n- {{name: '', protocol: TCP, port: {port}}}\n"
    )
}

fn follow_slices(rig: &mut Rig) -> Result<()> {
    let Rig { margay, dataplane, runtime, pods, .. } = rig;
    margay.apply(DENY)?;
    let of_friends = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: \
                      friends, namespace: shop}\nspec:\n  order: 10\n  selector: app == 'web'\n  \
                      types: [Ingress]\n  ingress:\n  - {action: Allow, source: {services: {name: \
                      friends}}}\n---\napiVersion: projectcalico.org/v3\nkind: NetworkPolicy\n\
                      metadata: {name: to, namespace: shop}\nspec:\n  selector: role == 'client'\n  \
                      types: [Egress]\n  egress:\n  - {action: Allow, destination: {services: \
                      {name: friends}}}\n";
    margay.apply(of_friends)?;
    dataplane.start()?;
    let [web, friend, stranger, client] = pods.as_slice() else { anyhow::bail!("four pods") };
    let to_web = add(runtime, &Container::new("web", web), &labelled("app", "web"))?;
    let to_friend = add(runtime, &Container::new("friend", friend), &Value::Null)?;
    let to_stranger = add(runtime, &Container::new("stranger", stranger), &Value::Null)?;
    add(runtime, &Container::new("late", client), &labelled("role", "client"))?;
    for pod in [web, friend, stranger] {
        serve(pod)?;
    }
    let outwards = (web, to_friend);
    stays_denied(friend, to_web, outwards)?;
    stays_denied(client, to_friend, outwards)?;

    margay.apply(&slice(to_friend, PORT))?;
    reaches(friend, to_web)?;
    reaches(client, to_friend)?;
    stays_denied(stranger, to_web, outwards)?;
    stays_denied(client, to_stranger, outwards)?;
    let (from, to) = (to_friend.to_string(), to_web.to_string());
    let ends = ["trace", "--from", &from, "--to", &to, "--protocol", "tcp", "--port", "1"];
    let trace = dataplane.said(margay, &ends)?;
    let last = trace["steps"].as_array().and_then(|steps| steps.last()).context("a step")?;
    let matches = last["matches"].as_str().unwrap_or_default();
    ensure!(matches.contains("from endpoints of service shop/friends (1 in"), "{trace}");

    // It is kept as it was written, and is part of a backup.
    let kept =
        margay.json(&["get", "endpointslice", "friends-abcde", "-n", "shop", "-o", "json"])?;
    ensure!(kept["apiVersion"] == "discovery.k8s.io/v1", "{kept}");
    ensure!(kept["endpoints"][0]["targetRef"]["name"] == "friend", "{kept}");
    let all = margay.json(&["get", "endpointslices", "-A", "-o", "json"])?;
    ensure!(all["kind"] == "EndpointSliceList" && all["apiVersion"] == kept["apiVersion"], "{all}");
    let backup = margay.text(&["datastore", "export"])?;
    ensure!(backup.contains("/margay/resources/v1/endpointslices/shop/friends-abcde"), "{backup}");

    margay.apply(&slice(to_stranger, PORT))?;
    reaches(stranger, to_web)?;
    is_denied(friend, to_web, outwards)?;
    is_denied(client, to_friend, outwards)?;
    reaches(client, to_stranger)?;
    // Another port of it is none of the service's; who comes from there may come from any.
    margay.apply(&slice(to_stranger, PORT + 1))?;
    is_denied(client, to_stranger, outwards)?;
    reaches(stranger, to_web)?;
    margay.text(&["delete", "endpointslice", "friends-abcde", "-n", "shop"])?;
    is_denied(stranger, to_web, outwards)
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

#[test]
fn packets_are_counted_by_rule_while_somebody_asks() -> Result<()> {
    if !have_root("packets_are_counted_by_rule_while_somebody_asks") {
        return Ok(());
    }
    let mut rig = Rig::start("policycount")?;
    let result = count(&mut rig);
    rig.told(result)
}

fn count(rig: &mut Rig) -> Result<()> {
    let Rig { margay, dataplane, runtime, pods, .. } = rig;
    margay.apply(DENY)?;
    margay.apply(&allow("role == 'friend'"))?;
    dataplane.start()?;
    let [web, friend, stranger, _] = pods.as_slice() else { anyhow::bail!("four pods") };
    let to_web = add(runtime, &Container::new("web", web), &labelled("app", "web"))?;
    serve(web)?;
    let to_friend = add(runtime, &Container::new("friend", friend), &labelled("role", "friend"))?;
    serve(friend)?;
    add(runtime, &Container::new("stranger", stranger), &Value::Null)?;
    let address = to_web.to_string();
    // Nobody asked, nobody pays.
    let counters = || margay.host().run("nft", &["list", "table", "inet", "margay"]);
    ensure!(!counters()?.contains("counter"), "{}", counters()?);
    let shown = dataplane.said(margay, &["show", &address])?;
    ensure!(shown["counted_seconds"].is_null(), "{shown}");
    ensure!(shown["ingress"][0]["policies"][0]["rules"][0]["count"].is_null(), "{shown}");

    let shown = dataplane.said(margay, &["show", &address, "--counters"])?;
    ensure!(shown["counted_seconds"] == 0 && shown["in_force"] == true, "{shown}");
    ensure!(shown["ingress"][0]["default_count"] == json!({"packets": 0, "bytes": 0}), "{shown}");
    let mut open = reaches(friend, to_web)?;
    for _ in 0..20 {
        echoes(&mut open)?;
    }
    stays_denied(stranger, to_web, (web, to_friend))?;
    let shown = dataplane.said(margay, &["show", &address, "--counters=5"])?;
    let tier = &shown["ingress"][0];
    let friends = &tier["policies"][0];
    ensure!(friends["name"] == "shop/friends", "{shown}");
    let allowed = &friends["rules"][0]["count"];
    // The first of each connection is asked about, and no more.
    ensure!((1..20).contains(&allowed["packets"].as_u64().context("a count")?), "{shown}");
    ensure!(allowed["bytes"].as_u64() >= Some(40), "{shown}");
    ensure!(tier["default_count"]["packets"].as_u64() >= Some(1), "{shown}");
    // An edit begins anew where it was made; the end of the tier goes on.
    margay.apply(&allow("role == 'friend' || role == 'pal'"))?;
    until("the edited rule counts from 0", SOON, || {
        let shown = dataplane.said(margay, &["show", &address, "--counters=5"])?;
        let tier = &shown["ingress"][0];
        Ok(tier["policies"][0]["rules"][0]["count"]["packets"] == 0
            && tier["default_count"]["packets"].as_u64() >= Some(1))
    })?;
    let refused = dataplane.said(margay, &["show", &address, "--counters=3601"]);
    ensure!(refused.is_err());
    // A killed one leaves counters behind; the next takes them away, as it was asked for none.
    dataplane.daemon()?.kill()?;
    ensure!(counters()?.contains("counter"));
    dataplane.start()?;
    ensure!(!counters()?.contains("counter"), "{}", counters()?);
    echoes(&mut open)?;
    // Nobody asks any more: they go by themselves.
    dataplane.said(margay, &["show", &address, "--counters=1"])?;
    until("counters are gone", SOON, || Ok(!counters()?.contains("counter")))
}

#[test]
fn a_table_that_anybody_may_flush_is_there_again_and_never_open() -> Result<()> {
    if !have_root("a_table_that_anybody_may_flush_is_there_again_and_never_open") {
        return Ok(());
    }
    let mut rig = Rig::start("policyflush")?;
    let result = flush(&mut rig);
    rig.told(result)
}

fn flush(rig: &mut Rig) -> Result<()> {
    let Rig { margay, dataplane, runtime, pods, .. } = rig;
    // As every kernel before Linux 6.9 has it.
    dataplane.configure("[policy]\nhold-table = false\n")?;
    margay.apply(DENY)?;
    margay.apply(&allow("role == 'friend'"))?;
    dataplane.start()?;
    let [web, friend, stranger, _] = pods.as_slice() else { anyhow::bail!("four pods") };
    let to_web = add(runtime, &Container::new("web", web), &labelled("app", "web"))?;
    serve(web)?;
    let to_friend = add(runtime, &Container::new("friend", friend), &labelled("role", "friend"))?;
    serve(friend)?;
    add(runtime, &Container::new("stranger", stranger), &Value::Null)?;
    let mut open = reaches(friend, to_web)?;
    let outwards = (web, to_friend);
    stays_denied(stranger, to_web, outwards)?;
    let repairs = |dataplane: &Dataplane| dataplane.metric("margay_policy_repairs_total");
    for (times, deed) in
        ["flush ruleset", "delete table inet margay", "flush chain inet margay forward-to"]
            .into_iter()
            .enumerate()
    {
        ensure!(repairs(dataplane)? == u64::try_from(times)?, "nobody did anything");
        let words: Vec<&str> = deed.split(' ').collect();
        margay.host().run("nft", &words)?;
        until(
            &format!("{deed}: it is put right"),
            SOON,
            || Ok(repairs(dataplane)? > times as u64),
        )?;
        stays_denied(stranger, to_web, outwards)?;
        echoes(&mut open)?;
        drop(reaches(friend, to_web)?);
        let shown = dataplane.said(margay, &["show", &to_web.to_string()])?;
        ensure!(shown["in_force"] == true, "{shown}");
    }
    // Who has heard nothing yet closes what is flushed under his hands.
    margay.kill()?;
    dataplane.daemon()?.kill()?;
    dataplane.spawn()?;
    drop(reaches(friend, to_web)?);
    for (times, deed) in ["flush table inet margay", "flush ruleset"].into_iter().enumerate() {
        let words: Vec<&str> = deed.split(' ').collect();
        margay.host().run("nft", &words)?;
        until(&format!("{deed}: it is closed"), SOON, || Ok(repairs(dataplane)? > times as u64))?;
        // Nothing comes from a pod now, so the control stays inside one.
        is_denied(friend, to_web, (friend, to_friend))?;
    }
    margay.start()?;
    drop(reaches(friend, to_web)?);
    stays_denied(stranger, to_web, outwards)
}
