use margay_proto::v1::{InSync, SyncEvent, policy_client::PolicyClient, sync_event::Event};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use tokio::sync::watch;

use policy_calc::Direction;
use policy_nft::layout::Place;

use super::*;
use crate::enforcer::Own;

/// The service over a socket, and a thread's stand-in that has heard this.
async fn serving(enforcer: Option<Enforcer>) -> (PolicyClient<Channel>, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let (looks, mut asked) = mpsc::channel::<Question>(4);
    let stands = Stands {
        kernel: watch::channel(crate::status::Status::default()).1,
        stream: watch::channel(crate::status::Standing::default()).1,
    };
    tokio::spawn(serve(listener, looks, Witness::by_hand().0, stands));
    tokio::spawn(async move {
        while let Some(question) = asked.recv().await {
            match question {
                Question::Look(look) => look(enforcer.as_ref()),
                Question::Count(count) => {
                    let full = Err(Status::resource_exhausted(format!("{:?}", count.time)));
                    count.answer.send(full).expect("somebody waits");
                }
            }
        }
    });
    let endpoint = Endpoint::try_from(format!("unix:{}", path.display())).expect("a path");
    let channel = endpoint.connect().await.expect("listening");
    (PolicyClient::new(channel), dir)
}

fn pod(name: &str, addresses: &str) -> String {
    format!(
        r#"{{"apiVersion":"projectcalico.org/v3","kind":"WorkloadEndpoint","metadata":{{"name":
        "n-k8s-{name}-eth0","namespace":"shop","labels":{{"app":"{name}"}}}},"spec":{{"node":"n",
        "orchestrator":"k8s","pod":"{name}","endpoint":"eth0","interfaceName":"cali{name}",
        "ipNetworks":[{addresses}],"profiles":["kns.shop"]}}}}"#
    )
}

fn object(kind: &str, namespace: Option<&str>, name: &str, spec: &str) -> String {
    let space = namespace.map(|space| format!(",\"namespace\":\"{space}\"")).unwrap_or_default();
    format!(
        r#"{{"apiVersion":"projectcalico.org/v3","kind":"{kind}","metadata":{{"name":"{name}"{space}}},
        "spec":{spec}}}"#
    )
}

fn interfaces() -> policy_calc::Interfaces {
    let address = |text: &str| [text.parse().expect("an address")].into();
    let all = [
        ("eth0", "192.0.2.1"),
        ("eth1", "198.51.100.1"),
        ("caliweb", "169.254.1.1"),
        ("lo", "2001:db8::1"),
    ];
    all.map(|(name, text)| (name.to_owned(), address(text))).into()
}

fn enforcer() -> Enforcer {
    hearing(Vec::new())
}

/// One that has heard this, too.
fn hearing(more: Vec<String>) -> Enforcer {
    let open = r#"{"ingress":[{"action":"Allow"}],"egress":[{"action":"Allow"}]}"#;
    let web = r#"{"selector":"app == 'web'","types":["Ingress"],"ingress":[
        {"action":"Log","protocol":"TCP"},
        {"action":"Allow","protocol":"TCP","source":{"selector":"app == 'db'"},
         "destination":{"ports":[80,"8000:8080"]}},
        {"action":"Allow","protocol":"TCP","source":{"services":{"name":"s"}}},
        {"action":"Allow","protocol":"ICMP","source":{"nets":["fd00::/8"]}}]}"#;
    let staged = r#"{"selector":"app == 'db'","types":["Egress"]}"#;
    let slice = r#"{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"s-1",
        "namespace":"shop","labels":{"kubernetes.io/service-name":"s"}},"addressType":"IPv4",
        "endpoints":[{"addresses":["10.0.0.3"]}],"ports":[{"port":80}]}"#;
    let texts = [
        object("Profile", None, "kns.shop", open),
        object("Tier", None, "default", r#"{"order":1000000,"defaultAction":"Deny"}"#),
        object("NetworkPolicy", Some("shop"), "web", web),
        object("StagedNetworkPolicy", Some("shop"), "none", staged),
        slice.to_owned(),
        pod("web", r#""10.0.0.1/32","fd00::1/128""#),
        pod("db", r#""10.0.0.2/32""#),
        pod("cat-dog", r#""10.0.0.3/32""#).replace("n-k8s-cat-dog-", "n-k8s-cat--dog-"),
    ];
    let mut events: Vec<SyncEvent> = (1..)
        .zip(texts.into_iter().chain(more))
        .map(|(revision, text)| SyncEvent { event: Some(Event::Object(text)), revision })
        .collect();
    events.push(SyncEvent { event: Some(Event::InSync(InSync { revision: 9 })), revision: 9 });
    let mut enforcer = Enforcer::new("n", interfaces(), Own::default());
    enforcer.hear(events);
    assert!(enforcer.wanted().is_some());
    enforcer.done();
    enforcer
}

fn tcp(from: &str, to: &str, port: u32) -> v1::TracePolicyRequest {
    let (from, to) = (from.to_owned(), to.to_owned());
    v1::TracePolicyRequest { from, to, protocol: 6, port: Some(port), ..Default::default() }
}

/// `deny: egress - - kns.shop 0 allow; ingress default shop/web - 1 deny`
fn short(outcome: Option<&v1::PolicyOutcome>) -> String {
    let Some(outcome) = outcome else { return "-".to_owned() };
    let verdict = match outcome.verdict() {
        v1::PolicyVerdict::Allow => "allow",
        v1::PolicyVerdict::Deny => "deny",
        v1::PolicyVerdict::Unspecified => "?",
    };
    let or = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let steps = outcome.steps.iter().map(|step| {
        let rule = step.rule.map_or("default".to_owned(), |rule| rule.to_string());
        let (tier, policy, profile) = (or(&step.tier), or(&step.policy), or(&step.profile));
        let class = if step.class.is_empty() { String::new() } else { format!(" {}", step.class) };
        let way = &step.direction;
        format!("{way}{class} {tier} {policy} {profile} {rule} {}", step.action)
    });
    format!("{verdict}: {}", steps.collect::<Vec<_>>().join("; "))
}

async fn traced(request: v1::TracePolicyRequest) -> Result<v1::TracePolicyResponse, Status> {
    traced_by(enforcer(), request).await
}

async fn traced_by(
    enforcer: Enforcer,
    request: v1::TracePolicyRequest,
) -> Result<v1::TracePolicyResponse, Status> {
    let (mut client, _dir) = serving(Some(enforcer)).await;
    client.trace(request).await.map(Response::into_inner)
}

#[tokio::test]
async fn a_trace_tells_every_step_and_what_decided() {
    let answer = traced(tcp("shop/db", "shop/web", 80)).await.expect("both are here");
    assert_eq!((answer.source.as_str(), answer.destination.as_str()), ("10.0.0.2", "10.0.0.1"));
    assert_eq!(
        short(answer.outcome.as_ref()),
        "allow: egress - - kns.shop 0 allow; ingress default shop/web - 0 log; \
         ingress default shop/web - 1 allow"
    );
    assert_eq!(short(answer.staged.as_ref()), "deny: egress default - - default deny");
    assert!(answer.notes.is_empty(), "{:?}", answer.notes);

    let answer = traced(tcp("10.9.9.9", "wep:shop/n-k8s-web-eth0", 80)).await.expect("one is");
    let expected = "deny: ingress default shop/web - 0 log; ingress default - - default deny";
    assert_eq!(short(answer.outcome.as_ref()), expected);
    assert_eq!(answer.staged, None, "nothing is staged for it");
    // By IPv6, of the one that has it.
    let answer = traced(tcp("fd00::1", "fd00::9", 443)).await.expect("one is");
    assert_eq!(short(answer.outcome.as_ref()), "allow: egress - - kns.shop 0 allow");
    // A name with a dash, and no ports.
    let ping =
        v1::TracePolicyRequest { protocol: 1, port: None, ..tcp("shop/cat-dog", "10.0.0.1", 0) };
    let answer = traced(ping).await.expect("both are here");
    assert_eq!(
        short(answer.outcome.as_ref()),
        "deny: egress - - kns.shop 0 allow; ingress default - - default deny"
    );
}

#[tokio::test]
async fn a_floating_address_is_traced_as_what_it_stands_for_where_they_are_used() {
    let nats = r#""ipNATs":[{"internalIP":"10.0.0.1","externalIP":"203.0.113.7"}],"profiles""#;
    let web = pod("web", r#""10.0.0.1/32""#).replace("\"profiles\"", nats);
    for (switch, expected) in [("Enabled", "10.0.0.1"), ("Disabled", "203.0.113.7")] {
        let switch = format!(r#"{{"floatingIPs":"{switch}"}}"#);
        let felix = object("FelixConfiguration", None, "default", &switch);
        let enforcer = hearing(vec![web.clone(), felix]);
        let answer = traced_by(enforcer, tcp("shop/db", "203.0.113.7", 80)).await.expect("one is");
        assert_eq!(answer.destination, expected);
        let told = answer.notes.iter().any(|note| note.contains("becomes 10.0.0.1"));
        assert_eq!(told, expected == "10.0.0.1", "{:?}", answer.notes);
    }
}

#[tokio::test]
async fn what_cannot_be_traced_is_said() {
    let refused = [
        (tcp("10.9.9.9", "10.9.9.8", 1), Code::NotFound, "neither 10.9.9.9 nor 10.9.9.8"),
        (tcp("shop/cat", "10.0.0.1", 1), Code::NotFound, "shop/cat is no endpoint"),
        (tcp("cat", "10.0.0.1", 1), Code::InvalidArgument, "expected NAMESPACE/POD"),
        (tcp("shop/db", "fd00::1", 1), Code::InvalidArgument, "one family"),
        (tcp("shop/db", "shop/web", 65_536), Code::InvalidArgument, "above 65535"),
        (
            v1::TracePolicyRequest { port: None, ..tcp("shop/db", "shop/web", 1) },
            Code::InvalidArgument,
            "the destination's port is needed",
        ),
        (
            v1::TracePolicyRequest { protocol: 1, ..tcp("shop/db", "shop/web", 1) },
            Code::InvalidArgument,
            "has none",
        ),
        (
            v1::TracePolicyRequest { protocol: 0, ..tcp("shop/db", "shop/web", 1) },
            Code::InvalidArgument,
            "1 to 255",
        ),
    ];
    for (request, code, text) in refused {
        let status = traced(request).await.expect_err(text);
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(text), "{status}");
    }
}

#[tokio::test]
async fn an_endpoint_is_shown_with_its_rules_and_their_faults() {
    let (mut client, _dir) = serving(Some(enforcer())).await;
    let ask =
        |endpoint: &str| v1::ShowPolicyRequest { endpoint: endpoint.to_owned(), count_seconds: 0 };
    let shown = client.show(ask("10.0.0.1")).await.expect("it is here").into_inner();
    assert_eq!(shown.endpoint, "wep:shop/n-k8s-web-eth0");
    assert_eq!(shown.interface, "caliweb");
    assert!(shown.in_force, "{}", shown.reason);
    let [tier] = shown.ingress.as_slice() else { panic!("{:?}", shown.ingress) };
    assert_eq!((tier.name.as_str(), tier.default_action.as_str()), ("default", "deny"));
    let [policy] = tier.policies.as_slice() else { panic!("{tier:?}") };
    let rules: Vec<_> = policy.rules.iter().map(|rule| rule.matches.as_str()).collect();
    let [first, second, third, fourth] = rules.as_slice() else { panic!("{rules:?}") };
    assert_eq!((*first, *fourth), ("TCP", "nothing"));
    assert!(third.starts_with("TCP, from endpoints of service shop/s (1 in s:"), "{third}");
    let ends = second.starts_with("TCP, from selected addresses (1 in s:")
        && second.ends_with("), to ports 80, 8000-8080");
    assert!(ends, "{second}");
    assert!(policy.rules[0].fault.is_empty());
    assert!(policy.rules[2].fault.is_empty());
    assert!(policy.rules[3].fault.contains("exclude each other"), "{policy:?}");
    assert!(shown.egress.is_empty(), "{:?}", shown.egress);
    assert_eq!(shown.profiles.len(), 1);
    assert_eq!(shown.profiles[0].egress[0].matches, "everything");

    // Staged policies alone do not bring the tier's default action.
    let shown = client.show(ask("shop/db")).await.expect("it is here").into_inner();
    let [tier] = shown.egress.as_slice() else { panic!("{:?}", shown.egress) };
    assert!(tier.default_action.is_empty() && tier.policies[0].staged, "{tier:?}");
}

#[tokio::test]
async fn before_everything_was_heard_there_is_no_answer() {
    for enforcer in [None, Some(Enforcer::new("n", interfaces(), Own::default()))] {
        let (mut client, _dir) = serving(enforcer).await;
        let request = v1::ShowPolicyRequest { endpoint: "shop/web".to_owned(), count_seconds: 0 };
        let status = client.show(request).await.expect_err("nothing is known");
        assert_eq!(status.code(), Code::Unavailable, "{status}");
    }
}

#[tokio::test]
async fn the_status_names_what_is_not_as_it_says_and_what_waits() {
    let odd = r#"{"selector":"all()","types":["Egress"],"egress":[{"action":"Deny","protocol":"ICMP",
        "destination":{"nets":["fd00::/8"]}}]}"#;
    let odd = object("GlobalNetworkPolicy", None, "odd", odd);
    let bad = object("GlobalNetworkPolicy", None, "bad", r#"{"selector":"app =="}"#);
    let felix = object("FelixConfiguration", None, "default", r#"{"ipv6Support":false}"#);
    let mut enforcer = hearing(vec![odd, bad, felix]);
    let event = Event::Object(pod("new", "\"10.0.0.77/32\""));
    let in_sync = Event::InSync(InSync { revision: 99 });
    let all = [event, in_sync].map(|event| SyncEvent { event: Some(event), revision: 99 });
    enforcer.hear(all.into());
    let (mut client, _dir) = serving(Some(enforcer)).await;
    let answer = client.status(v1::PolicyStatusRequest {}).await.expect("an answer").into_inner();
    let texts = |faults: Option<v1::PolicyFaults>| -> Vec<String> {
        let faults = faults.expect("all are told");
        assert_eq!(faults.total, faults.first.len() as u64);
        faults.first.into_iter().map(|fault| format!("{}|{}", fault.subject, fault.text)).collect()
    };
    assert_eq!(answer.node, "n");
    assert!(answer.in_force < answer.endpoints);
    let new = "wep:shop/n-k8s-new-eth0|the kernel has not taken it yet";
    let waiting = texts(answer.waiting);
    assert!(waiting.iter().any(|text| text == new), "{waiting:?}");
    assert_eq!(texts(answer.refused), [""; 0]);
    let rules = texts(answer.rules);
    let said = "GlobalNetworkPolicy odd|egress rule 0: its version of IP";
    assert!(rules.iter().any(|text| text.starts_with(said)), "{rules:?}");
    let broken = texts(answer.broken);
    assert!(broken.iter().any(|text| text.starts_with("|GlobalNetworkPolicy bad: ")), "{broken:?}");
    let ignored = texts(answer.ignored);
    assert!(ignored.iter().any(|text| text.contains("ipv6Support")), "{ignored:?}");
    assert!(answer.unheard.contains("asked"));
}

#[tokio::test]
async fn to_count_is_asked_of_who_has_the_table_and_not_for_too_long() {
    let (mut client, _dir) = serving(Some(enforcer())).await;
    let mut ask = async |count_seconds| {
        let request = v1::ShowPolicyRequest { endpoint: "shop/web".to_owned(), count_seconds };
        client.show(request).await.expect_err("nobody counts here")
    };
    let full = ask(3600).await;
    assert_eq!((full.code(), full.message()), (Code::ResourceExhausted, "3600s"));
    assert_eq!(ask(3601).await.code(), Code::InvalidArgument);
}

#[test]
fn counts_show_where_they_were_made() {
    let enforcer = enforcer();
    let owner = policy_calc::Owner::Profile("kns.shop".to_owned());
    let count = |packets| policy_nft::decode::Count { packets, octets: 10 * packets };
    let counts = [
        ((Direction::Ingress, Place::Tier("default".to_owned())), count(3)),
        ((Direction::Ingress, Place::NoProfile), count(4)),
        ((Direction::Egress, Place::Rule { owner, index: 0 }), count(5)),
    ];
    let counts = counts.into_iter().collect();
    let shown = show(&enforcer, "shop/web", Some((&counts, Duration::from_millis(7900))));
    let shown = shown.expect("it is there");
    let packets = |count: Option<v1::PolicyCount>| count.map(|count| (count.packets, count.octets));
    assert_eq!(shown.counted_seconds, Some(7));
    assert_eq!(packets(shown.ingress[0].default_count), Some((3, 30)));
    assert_eq!(packets(shown.ingress[0].policies[0].rules[0].count), None);
    assert_eq!(packets(shown.unallowed_ingress), Some((4, 40)));
    assert_eq!(packets(shown.profiles[0].egress[0].count), Some((5, 50)));
    assert_eq!(packets(shown.profiles[0].ingress[0].count), None);
}

/// With a host endpoint that has policies of all classes.
fn with_host() -> Enforcer {
    let policy = |name: &str, spec: &str| {
        let spec = format!(r#"{{"selector":"has(role)",{spec}}}"#);
        object("GlobalNetworkPolicy", None, name, &spec)
    };
    let allow = |port: u16| {
        format!(
            r#""types":["Ingress"],"ingress":[{{"action":"Allow","protocol":"TCP","destination":{{"ports":[{port}]}}}}]"#
        )
    };
    let early = r#""applyOnForward":true"#;
    let host = object("HostEndpoint", None, "up", r#"{"node":"n","interfaceName":"eth0"}"#)
        .replace(r#""name":"up""#, r#""name":"up","labels":{"role":"host"}"#);
    hearing(vec![
        host,
        policy("raw", &format!(r#"{early},"doNotTrack":true,{}"#, allow(1))),
        policy("dnat", &format!(r#"{early},"preDNAT":true,{}"#, allow(2))),
        policy("forward", &format!("{early},{}", allow(3))),
        policy("own", &allow(4)),
    ])
}

#[tokio::test]
async fn a_trace_to_a_host_asks_its_classes_in_order() {
    let trace = async |from: &str, to: &str, port: u32| {
        let answer = traced_by(with_host(), tcp(from, to, port)).await.expect("one is here");
        (short(answer.outcome.as_ref()), answer.notes)
    };
    let raw = "ingress doNotTrack default - - default pass";
    let dnat = "ingress preDNAT default - - default pass";
    for (port, expected) in [
        (1, "allow: ingress doNotTrack default raw - 0 allow".to_owned()),
        (2, format!("allow: {raw}; ingress preDNAT default dnat - 0 allow")),
        (4, format!("allow: {raw}; {dnat}; ingress default own - 0 allow")),
        (5, format!("deny: {raw}; {dnat}; ingress default - - default deny")),
        (22, "allow: ingress - failsafe ports - default allow".to_owned()),
    ] {
        assert_eq!(trace("10.9.9.9", "hep:up", port).await, (expected, Vec::new()), "{port}");
    }
    let (by_address, _) = trace("10.9.9.9", "192.0.2.1", 1).await;
    assert_eq!(by_address, "allow: ingress doNotTrack default raw - 0 allow");
    let (out, _) = trace("hep:up", "10.9.9.9", 80).await;
    assert_eq!(out, "deny: egress - - - default deny");
    let (to_own_host, _) = trace("shop/db", "hep:up", 4).await;
    assert_eq!(
        to_own_host,
        "deny: egress - - kns.shop 0 allow; egress - defaultEndpointToHostAction - default deny"
    );
    let (to_own_pod, notes) = trace("hep:up", "shop/web", 80).await;
    assert_eq!((to_own_pod.as_str(), notes.len()), ("allow: ", 1));
    let (_, notes) = trace("10.9.9.9", "shop/web", 80).await;
    assert!(notes[0].contains("by which interface it comes is not known"), "{notes:?}");
}

#[tokio::test]
async fn a_trace_ends_where_no_policy_has_a_say() {
    let trace = async |request: v1::TracePolicyRequest| {
        let answer = traced(request).await.expect("one is here");
        (short(answer.outcome.as_ref()), answer.notes)
    };
    // An address of the host that no host endpoint has.
    let (own_host, _) = trace(tcp("shop/db", "192.0.2.1", 53)).await;
    assert_eq!(
        own_host,
        "deny: egress - - kns.shop 0 allow; egress - defaultEndpointToHostAction - default deny"
    );
    let ipip = v1::TracePolicyRequest { protocol: 4, port: None, ..tcp("shop/db", "10.9.9.9", 0) };
    assert_eq!(trace(ipip).await.0, "deny: egress - allowIPIPPacketsFromWorkloads - default deny");
    let udp = |port| v1::TracePolicyRequest { protocol: 17, ..tcp("shop/db", "10.9.9.9", port) };
    let vxlan = "deny: egress - allowVXLANPacketsFromWorkloads - default deny";
    assert_eq!(trace(udp(4789)).await.0, vxlan);
    assert_eq!(trace(udp(4790)).await.0, "allow: egress - - kns.shop 0 allow");
    let finding = v1::TracePolicyRequest {
        protocol: 58,
        port: None,
        icmp_type: Some(135),
        ..tcp("shop/web", "2001:db8::1", 0)
    };
    let (found, notes) = trace(finding).await;
    assert_eq!((found.as_str(), notes.len()), ("allow: ", 1), "{notes:?}");
    let dhcp = |to: &str| v1::TracePolicyRequest {
        protocol: 17,
        source_port: Some(68),
        ..tcp("shop/db", to, 67)
    };
    let (found, notes) = trace(dhcp("192.0.2.1")).await;
    assert_eq!((found.as_str(), notes.len()), ("allow: ", 1), "{notes:?}");
    // To anybody else policies decide.
    assert_eq!(trace(dhcp("10.9.9.9")).await.0, "allow: egress - - kns.shop 0 allow");
    let limited = pod("late", r#""10.0.0.4/32""#).replace(
        r#""node":"n""#,
        r#""node":"n","qosControls":{"egressPacketRate":1000,"egressMaxConnections":5}"#,
    );
    let answer = traced_by(hearing(vec![limited]), tcp("shop/late", "10.9.9.9", 80)).await;
    let said = "what comes from wep:shop/n-k8s-late-eth0 beyond 1000 packets a second and 5 \
                connections is dropped";
    assert_eq!(answer.expect("one is here").notes, [said]);
}

#[tokio::test]
async fn a_host_endpoint_is_shown_with_its_classes() {
    let (mut client, _dir) = serving(Some(with_host())).await;
    let request = v1::ShowPolicyRequest { endpoint: "hep:up".to_owned(), count_seconds: 0 };
    let shown = client.show(request).await.expect("it is here").into_inner();
    assert_eq!((shown.interface.as_str(), shown.in_force), ("eth0", true), "{}", shown.reason);
    let names = |tiers: &[v1::PolicyTier]| -> Vec<String> {
        tiers.iter().flat_map(|tier| &tier.policies).map(|policy| policy.name.clone()).collect()
    };
    let classes: Vec<_> = shown
        .classes
        .iter()
        .map(|class| (class.name.as_str(), names(&class.ingress), class.egress.len()))
        .collect();
    let of = |name: &str| vec![name.to_owned()];
    let expected =
        [("doNotTrack", of("raw"), 0), ("preDNAT", of("dnat"), 0), ("forward", of("forward"), 0)];
    assert_eq!(classes, expected);
    assert_eq!(names(&shown.ingress), ["forward", "own"], "about the host itself, too");
}
