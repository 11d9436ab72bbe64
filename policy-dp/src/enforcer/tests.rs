use margay_proto::v1::{InSync, ResourceName, SyncReset};
use policy_nft::{
    Name,
    encode::batch::Object,
    expr::{Expr, Rate, Rule, Verdict},
    table::Span,
};

use super::*;

/// An object as of a revision.
fn object(revision: u64, text: &str) -> SyncEvent {
    SyncEvent { event: Some(Event::Object(text.to_owned())), revision }
}

/// Interfaces with an address each.
fn interfaces(all: &[(&str, &str)]) -> Interfaces {
    let address = |text: &str| text.parse().expect("an address");
    all.iter().map(|(name, text)| ((*name).to_owned(), [address(text)].into())).collect()
}

fn pod(revision: u64, name: &str, node: &str, address: &str) -> SyncEvent {
    object(
        revision,
        &format!(
            r#"{{"apiVersion":"projectcalico.org/v3","kind":"WorkloadEndpoint","metadata":{{"name":
            "{node}-k8s-{name}-eth0","namespace":"shop","labels":{{"app":"{name}"}}}},"spec":{{"node":
            "{node}","orchestrator":"k8s","pod":"{name}","endpoint":"eth0","interfaceName":
            "cali{name}","ipNetworks":["{address}/32"],"profiles":["kns.shop"]}}}}"#
        ),
    )
}

fn policy(revision: u64, selector: &str) -> SyncEvent {
    object(
        revision,
        &format!(
            r#"{{"apiVersion":"projectcalico.org/v3","kind":"NetworkPolicy","metadata":{{"name":"p",
            "namespace":"shop"}},"spec":{{"selector":"{selector}","types":["Ingress"],"ingress":[
            {{"action":"Allow","source":{{"selector":"app == 'db'"}}}}]}}}}"#
        ),
    )
}

fn in_sync(revision: u64) -> SyncEvent {
    SyncEvent { event: Some(Event::InSync(InSync { revision })), revision }
}

fn reset() -> SyncEvent {
    SyncEvent { event: Some(Event::Reset(SyncReset {})), revision: 0 }
}

fn deleted(kind: &str, namespace: &str, name: &str) -> SyncEvent {
    let (kind, namespace, name) = (kind.to_owned(), namespace.to_owned(), name.to_owned());
    SyncEvent { event: Some(Event::Deleted(ResourceName { kind, namespace, name })), revision: 9 }
}

/// Tells this; nothing is to be remarked.
fn tell(enforcer: &mut Enforcer, events: Vec<SyncEvent>) {
    assert_eq!(enforcer.hear(events), []);
}

fn table(enforcer: &mut Enforcer) -> Table {
    enforcer.wanted().expect("everything was heard").table.clone()
}

/// In force, by name.
fn in_force(enforcer: &Enforcer) -> Vec<(&str, u64)> {
    enforcer.in_force().iter().map(|(key, revision)| (key.name.as_str(), *revision)).collect()
}

/// A node with a web pod, told and in force.
fn enforcing() -> Enforcer {
    let mut enforcer = Enforcer::new("a", interfaces(&[("eth0", "192.0.2.1")]), Own::default());
    let web = pod(3, "web", "a", "10.0.0.1");
    let far = pod(4, "far", "b", "10.0.0.2");
    tell(&mut enforcer, vec![web, far, policy(5, "app == 'web'"), in_sync(5)]);
    table(&mut enforcer);
    enforcer.done();
    enforcer
}

#[test]
fn nothing_is_wanted_before_everything_was_heard() {
    let mut enforcer = Enforcer::new("a", interfaces(&[("eth0", "192.0.2.1")]), Own::default());
    tell(&mut enforcer, vec![reset(), pod(3, "web", "a", "10.0.0.1")]);
    assert!(enforcer.wanted().is_none());
    tell(&mut enforcer, vec![in_sync(3)]);
    assert!(enforcer.wanted().is_some());
}

#[test]
fn an_endpoint_counts_once_the_kernel_has_its_table_and_only_on_its_node() {
    let mut enforcer = Enforcer::new("a", interfaces(&[("eth0", "192.0.2.1")]), Own::default());
    let pods = vec![pod(3, "web", "a", "10.0.0.1"), pod(4, "far", "b", "10.0.0.2")];
    tell(&mut enforcer, pods);
    tell(&mut enforcer, vec![in_sync(4)]);
    table(&mut enforcer);
    assert_eq!(in_force(&enforcer), []);
    enforcer.done();
    assert_eq!(in_force(&enforcer), [("a-k8s-web-eth0", 3)]);
    let counts = enforcer.counts();
    assert_eq!((counts.endpoints, counts.in_force), (1, 1));
}

#[test]
fn a_new_revision_counts_when_it_is_whole_and_a_pod_that_goes_is_taken_back() {
    let mut enforcer = enforcing();
    tell(&mut enforcer, vec![pod(7, "web", "a", "10.0.0.9")]);
    table(&mut enforcer);
    enforcer.done();
    assert_eq!(in_force(&enforcer), [("a-k8s-web-eth0", 3)]);
    tell(&mut enforcer, vec![in_sync(7)]);
    assert_eq!(enforcer.counts().in_force, 0);
    table(&mut enforcer);
    enforcer.done();
    assert_eq!(in_force(&enforcer), [("a-k8s-web-eth0", 7)]);
    tell(&mut enforcer, vec![deleted("WorkloadEndpoint", "shop", "a-k8s-web-eth0"), in_sync(8)]);
    table(&mut enforcer);
    enforcer.done();
    assert_eq!(in_force(&enforcer), []);
}

#[test]
fn a_table_that_the_kernel_did_not_take_puts_nothing_in_force() {
    let mut enforcer = enforcing();
    tell(&mut enforcer, vec![pod(6, "db", "a", "10.0.0.5"), in_sync(6)]);
    table(&mut enforcer);
    assert_eq!(enforcer.refused(&[]), Refusal::Whole);
    assert_eq!(in_force(&enforcer), [("a-k8s-web-eth0", 3)]);
}

#[test]
fn the_same_told_anew_wants_the_same_and_what_is_not_told_again_goes() {
    let mut enforcer = enforcing();
    let before = table(&mut enforcer);
    tell(&mut enforcer, vec![reset(), policy(5, "app == 'web'"), pod(3, "web", "a", "10.0.0.1")]);
    // Half a snapshot changes nothing.
    assert_eq!(table(&mut enforcer), before);
    tell(&mut enforcer, vec![in_sync(9)]);
    assert_eq!(table(&mut enforcer), before);
    enforcer.done();
    assert_eq!(in_force(&enforcer), [("a-k8s-web-eth0", 3)]);
    tell(&mut enforcer, vec![reset(), in_sync(10)]);
    table(&mut enforcer);
    enforcer.done();
    assert_eq!(in_force(&enforcer), []);
    assert_eq!(enforcer.counts().policies, 0);
}

#[test]
fn an_object_that_cannot_be_read_is_named_and_stops_no_other() {
    let mut enforcer = enforcing();
    let broken = r#"{"apiVersion":"projectcalico.org/v3","kind":"GlobalNetworkPolicy","metadata":
        {"name":"odd"},"spec":{"selector":"app == "}}"#;
    let remarks =
        enforcer.hear(vec![object(6, broken), object(6, "{"), pod(6, "db", "a", "10.0.0.5")]);
    let [Remark::Broken(first), Remark::Broken(second)] = &remarks[..] else {
        panic!("{remarks:?}")
    };
    assert!(first.starts_with("GlobalNetworkPolicy odd: "), "{first}");
    assert!(second.starts_with("an object: "), "{second}");
    tell(&mut enforcer, vec![in_sync(6)]);
    table(&mut enforcer);
    enforcer.done();
    assert_eq!(in_force(&enforcer), [("a-k8s-db-eth0", 6), ("a-k8s-web-eth0", 3)]);
    assert_eq!(enforcer.counts().broken, 1);
    let mended = broken.replace("app == ", "all()");
    tell(&mut enforcer, vec![object(7, &mended), in_sync(7)]);
    assert_eq!(enforcer.counts().broken, 0);
}

#[test]
fn a_rule_that_does_not_mean_what_it_says_is_said_with_its_place() {
    let mut enforcer = Enforcer::new("a", interfaces(&[("eth0", "192.0.2.1")]), Own::default());
    let text = r#"{"apiVersion":"projectcalico.org/v3","kind":"GlobalNetworkPolicy","metadata":
        {"name":"odd"},"spec":{"selector":"all()","types":["Egress"],"egress":[{"action":"Allow",
        "destination":{"services":{"name":"none","namespace":"shop"}}},{"action":"Deny","protocol":
        "ICMP","destination":{"nets":["fd00::/8"]}}]}}"#;
    let remarks = enforcer.hear(vec![object(2, text), pod(3, "web", "a", "10.0.0.1"), in_sync(3)]);
    let said = "GlobalNetworkPolicy odd: egress rule 1: its version of IP, protocol and ranges exclude \
                each other; it matches nothing";
    assert_eq!(remarks, [Remark::Ignored(said.to_owned())]);
    assert_eq!(enforcer.counts().rule_faults, 1);
}

/// A host endpoint of the node.
fn host(revision: u64, name: &str, spec: &str) -> SyncEvent {
    object(
        revision,
        &format!(
            r#"{{"apiVersion":"projectcalico.org/v3","kind":"HostEndpoint","metadata":{{"name":
            "{name}","labels":{{"role":"host"}}}},"spec":{{"node":"a",{spec}}}}}"#
        ),
    )
}

/// The interfaces that have an element in the map of what comes to the host.
fn hosts(table: &Table) -> Vec<String> {
    let map = table.sets.get(&Name::of("host-in"));
    let elements = map.into_iter().flat_map(|map| map.elements.keys());
    let name = |span: &Span| String::from_utf8_lossy(&span.from).trim_end_matches('\0').to_owned();
    elements.map(name).collect()
}

#[test]
fn a_host_endpoint_is_in_force_where_its_interface_is() {
    let mut enforcer = enforcing();
    let before = table(&mut enforcer);
    tell(&mut enforcer, vec![host(6, "up", r#""interfaceName":"eth7""#), in_sync(6)]);
    let with = table(&mut enforcer);
    assert_eq!(hosts(&with), ["eth7"], "there or not: it is expected");
    enforcer.done();
    assert_eq!(in_force(&enforcer), [("up", 6), ("a-k8s-web-eth0", 3)]);
    assert_eq!((enforcer.counts().endpoints, enforcer.counts().in_force), (2, 2));
    tell(&mut enforcer, vec![host(6, "near", r#""interfaceName":"eth0""#), in_sync(6)]);
    table(&mut enforcer);
    enforcer.done();
    // Of a host the address is known that the interface has.
    let name = enforcer.names().ends.get(&"192.0.2.1".parse().expect("an address"));
    assert_eq!(name.map(|key| key.name.as_str()), Some("near"));
    tell(&mut enforcer, vec![deleted("HostEndpoint", "", "near"), in_sync(6)]);
    tell(&mut enforcer, vec![deleted("HostEndpoint", "", "up"), in_sync(7)]);
    assert_eq!(table(&mut enforcer), before);
    enforcer.done();
    assert_eq!(in_force(&enforcer), [("a-k8s-web-eth0", 3)]);
}

#[test]
fn a_host_endpoint_follows_its_addresses_from_interface_to_interface() {
    let mut enforcer = enforcing();
    let lost = r#""expectedIPs":["192.0.2.7"]"#;
    let remarks = enforcer.hear(vec![host(6, "lost", lost), in_sync(6)]);
    let [Remark::Ignored(said)] = &remarks[..] else { panic!("{remarks:?}") };
    assert!(said.starts_with("HostEndpoint lost: no interface of this host has one of"), "{said}");
    assert_eq!(hosts(&table(&mut enforcer)), [""; 0]);
    enforcer.done();
    assert_eq!((enforcer.counts().in_force, enforcer.counts().linkless), (1, 1));
    for name in ["eth0", "eth1"] {
        assert!(enforcer.interfaces(interfaces(&[(name, "192.0.2.7")])));
        let wanted = enforcer.wanted().expect("everything was heard");
        assert_eq!(hosts(wanted.table), [name]);
        assert!(wanted.touched.is_some(), "a part of it only");
        enforcer.done();
        assert_eq!(in_force(&enforcer), [("lost", 6), ("a-k8s-web-eth0", 3)]);
    }
    assert!(!enforcer.interfaces(interfaces(&[("eth1", "192.0.2.7"), ("eth2", "192.0.2.8")])));
    assert!(enforcer.interfaces(interfaces(&[])));
    assert_eq!(hosts(&table(&mut enforcer)), [""; 0]);
    enforcer.done();
    assert_eq!(in_force(&enforcer), [("a-k8s-web-eth0", 3)]);
}

#[test]
fn the_link_of_a_workload_is_of_no_host_endpoint() {
    let mut enforcer = enforcing();
    let odd = host(6, "odd", r#""interfaceName":"caliweb""#);
    let said = "HostEndpoint odd: its interface caliweb belongs to a workload";
    assert_eq!(enforcer.hear(vec![odd, in_sync(6)]), [Remark::Ignored(said.to_owned())]);
    let second = host(7, "z", r#""interfaceName":"*""#);
    tell(&mut enforcer, vec![host(7, "b", r#""interfaceName":"*""#), in_sync(7)]);
    let said = "HostEndpoint z: every other interface has HostEndpoint b, whose name comes first";
    assert_eq!(enforcer.hear(vec![second, in_sync(8)]), [Remark::Ignored(said.to_owned())]);
    table(&mut enforcer);
    enforcer.done();
    assert_eq!(in_force(&enforcer), [("b", 7), ("a-k8s-web-eth0", 3)]);
}

#[test]
fn what_the_kernel_refuses_of_a_hosts_policy_leaves_open_what_stays_open() {
    let mut enforcer = enforcing();
    let policy = r#"{"apiVersion":"projectcalico.org/v3","kind":"GlobalNetworkPolicy","metadata":
        {"name":"g"},"spec":{"selector":"role == 'host'","types":["Ingress"],"ingress":[{"action":
        "Allow"}]}}"#;
    let up = host(6, "up", r#""interfaceName":"eth0""#);
    tell(&mut enforcer, vec![up, object(6, policy), in_sync(6)]);
    let whole = table(&mut enforcer);
    let own: Name = "host-in/eth0".into();
    let before: BTreeSet<_> = before_hosts().chains.into_keys().collect();
    let is_new = |name: &&Name| name.as_str().starts_with("ri-") && !before.contains(*name);
    let policy = whole.chains.keys().find(is_new).expect("its policy").clone();
    let object = Object::Rule { chain: policy.clone(), index: 0 };
    assert_eq!(enforcer.refused(&refusal(object)), Refusal::Isolated);
    let cut = table(&mut enforcer);
    assert_eq!(cut.chains[&own], whole.chains[&own]);
    assert_ne!(cut.chains[&policy], whole.chains[&policy]);
    enforcer.done();
    assert_eq!(in_force(&enforcer), [("a-k8s-web-eth0", 3)]);
    // What all of them need, and the first chain of each, keep things open: nothing stands in for them.
    for object in [Object::Chain(own), Object::Set("failsafe-inbound4".into())] {
        assert_eq!(enforcer.refused(&refusal(object.clone())), Refusal::Whole, "{object}");
    }
}

/// The table without any host endpoint.
fn before_hosts() -> Table {
    table(&mut enforcing())
}

#[test]
fn ports_that_stay_open_and_the_bits_of_marks_are_felix_configurations() {
    let mut enforcer = enforcing();
    tell(&mut enforcer, vec![host(6, "up", r#""interfaceName":"eth0""#), in_sync(6)]);
    let size = |table: &Table, set: &str| table.sets[&Name::of(set)].elements.len();
    let usual = table(&mut enforcer);
    assert_eq!(size(&usual, "failsafe-inbound4"), 9);
    let felix = r#"{"apiVersion":"projectcalico.org/v3","kind":"FelixConfiguration","metadata":
        {"name":"default"},"spec":{"failsafeInboundHostPorts":[{"port":22},{"protocol":"UDP","port":
        68,"net":"10.0.0.0/8"}],"failsafeOutboundHostPorts":[],"nftablesMarkMask":65280}}"#;
    tell(&mut enforcer, vec![object(7, felix), in_sync(7)]);
    let own = table(&mut enforcer);
    assert_eq!((size(&own, "failsafe-inbound4"), size(&own, "failsafe-inbound6")), (2, 1));
    assert_eq!(size(&own, "failsafe-outbound4"), 0);
    let clear = |table: &Table| table.chains[&Name::of("host-raw-output")].rules[0].clone();
    assert_ne!(clear(&own), clear(&usual));
}

#[test]
fn what_a_rule_logs_with_and_how_often_are_felix_configurations() {
    let mut enforcer = enforcing();
    let logs = r#"{"apiVersion":"projectcalico.org/v3","kind":"GlobalNetworkPolicy","metadata":{
        "name":"logs"},"spec":{"selector":"all()","types":["Egress"],"egress":[{"action":"Log"}]}}"#;
    tell(&mut enforcer, vec![object(6, logs), in_sync(6)]);
    let found = |enforcer: &mut Enforcer| -> BTreeSet<(Rate, String)> {
        let table = table(enforcer);
        let rules = table.chains.values().flat_map(|chain| &chain.rules);
        rules
            .filter_map(|rule| match rule.expressions() {
                [.., Expr::Within(rate), Expr::Log(log)] => Some((*rate, log.prefix.clone())),
                _ => None,
            })
            .collect()
    };
    let rate = |times, seconds, burst| Rate { times, seconds, burst };
    let plain = "L GlobalNetworkPolicy logs rule 0";
    assert_eq!(found(&mut enforcer), [(rate(10, 1, 50), plain.to_owned())].into());
    let mut with = |revision, spec: &str| {
        let felix = format!(
            r#"{{"apiVersion":"projectcalico.org/v3","kind":"FelixConfiguration","metadata":{{"name":
            "default"}},"spec":{spec}}}"#
        );
        tell(&mut enforcer, vec![object(revision, &felix), in_sync(revision)]);
        found(&mut enforcer).into_iter().next().expect("it logs")
    };
    assert_eq!(with(7, r#"{"logActionRateLimit":"3/hour"}"#).0, rate(3, 3600, 5));
    assert_eq!(with(8, r#"{"logActionRateLimitBurst":7}"#).0, rate(10, 1, 7));
    let all =
        r#"{"logActionRateLimit":"1/day","logActionRateLimitBurst":0,"logPrefix":"%k/%t %n 5%"}"#;
    assert_eq!(with(9, all), (rate(1, 86_400, 5), format!("{plain}|gnp/default logs 5%")));
}

#[test]
fn a_policy_whose_name_has_no_room_beside_a_packet_is_known_by_what_stands_for_it() {
    let name = "n".repeat(200);
    let long = |name: &str| {
        format!(
            r#"{{"apiVersion":"projectcalico.org/v3","kind":"NetworkPolicy","metadata":{{"name":
            "{name}","namespace":"shop"}},"spec":{{"selector":"all()","types":["Ingress"],"ingress":
            [{{"action":"Allow"}}]}}}}"#
        )
    };
    let known = |enforcer: &mut Enforcer| (*enforcer.names().texts).clone();
    let mut enforcer = Enforcer::new("a", interfaces(&[]), Own { flows: true, ..Own::default() });
    let web = || pod(3, "web", "a", "10.0.0.1");
    tell(&mut enforcer, vec![object(2, &long(&name)), web(), in_sync(3)]);
    enforcer.wanted().expect("all is heard");
    enforcer.done();
    let texts = known(&mut enforcer);
    let whole = [
        format!("NetworkPolicy shop/{name} rule 0"),
        format!("end of tier default (NetworkPolicy shop/{name})"),
    ];
    assert_eq!(texts.values().cloned().collect::<BTreeSet<_>>(), whole.into());
    // A process that comes later knows what the table of this one tells of.
    let mut next = Enforcer::new("a", interfaces(&[]), Own { flows: true, ..Own::default() });
    tell(&mut next, vec![object(2, &long(&name)), web(), in_sync(3)]);
    next.wanted().expect("all is heard");
    next.done();
    assert_eq!(known(&mut next), texts);
    // And nothing is kept of what is gone.
    tell(&mut enforcer, vec![deleted("NetworkPolicy", "shop", &name), in_sync(9)]);
    enforcer.wanted().expect("all is heard");
    enforcer.done();
    assert!(known(&mut enforcer).is_empty());
}

#[test]
fn settings_come_from_pools_and_the_nodes_own_felix_configuration_first() {
    let mut enforcer = enforcing();
    let before = table(&mut enforcer);
    let felix = |name: &str, spec: &str| {
        object(
            6,
            &format!(
                r#"{{"apiVersion":"projectcalico.org/v3","kind":"FelixConfiguration","metadata":
                {{"name":"{name}"}},"spec":{spec}}}"#
            ),
        )
    };
    let pool = r#"{"apiVersion":"projectcalico.org/v3","kind":"IPPool","metadata":{"name":"p"},
        "spec":{"cidr":"10.0.0.0/16","natOutgoing":true}}"#;
    tell(&mut enforcer, vec![object(6, pool), in_sync(6)]);
    let pooled = table(&mut enforcer);
    let members = |table: &Table, set: &str| table.sets[&Name::of(set)].elements.len();
    assert_eq!((members(&before, "masquerade4"), members(&pooled, "masquerade4")), (0, 1));
    let drops = |table: &Table| {
        let chain = &table.chains[&Name::of("workload-to-host")];
        let drop = Expr::Verdict(Verdict::Drop);
        chain.rules.iter().any(|rule| rule.expressions().contains(&drop))
    };
    assert!(drops(&pooled));
    let everybody = felix("default", r#"{"defaultEndpointToHostAction":"Accept"}"#);
    tell(&mut enforcer, vec![everybody, in_sync(7)]);
    assert!(!drops(&table(&mut enforcer)));
    let own = felix("node.a", r#"{"defaultEndpointToHostAction":"Drop"}"#);
    let others = felix("node.b", r#"{"defaultEndpointToHostAction":"Return"}"#);
    tell(&mut enforcer, vec![own, others, in_sync(8)]);
    assert!(drops(&table(&mut enforcer)));
    tell(&mut enforcer, vec![deleted("FelixConfiguration", "", "node.a"), in_sync(9)]);
    assert!(!drops(&table(&mut enforcer)));
    // Of a snapshot without it, nothing of it is left.
    tell(&mut enforcer, vec![reset(), pod(3, "web", "a", "10.0.0.1"), in_sync(9)]);
    assert!(drops(&table(&mut enforcer)));
    assert_eq!(members(&table(&mut enforcer), "masquerade4"), 0);
}

#[test]
fn a_pool_for_services_alone_is_no_pool_of_workloads() {
    let mut enforcer = enforcing();
    let pool = |uses: &str| {
        let text = format!(
            r#"{{"apiVersion":"projectcalico.org/v3","kind":"IPPool","metadata":{{"name":"p"}},
            "spec":{{"cidr":"10.0.0.0/16","natOutgoing":true,"allowedUses":[{uses}]}}}}"#
        );
        object(6, &text)
    };
    let mut known = |uses: &str| {
        tell(&mut enforcer, vec![pool(uses), in_sync(6)]);
        table(&mut enforcer).sets[&Name::of("pools4")].elements.len()
    };
    let services = r#""LoadBalancer""#;
    assert_eq!([known(services), known(r#""Tunnel""#), known(services)], [0, 1, 0]);
}

#[test]
fn a_field_of_felix_configuration_without_effect_is_said_where_it_would_apply() {
    let mut enforcer = enforcing();
    let felix = |name: &str, spec: &str| {
        let text = format!(
            r#"{{"apiVersion":"projectcalico.org/v3","kind":"FelixConfiguration","metadata":
            {{"name":"{name}"}},"spec":{spec}}}"#
        );
        object(6, &text)
    };
    let mut said = |name: &str, spec: &str| {
        let remarks = enforcer.hear(vec![felix(name, spec), in_sync(6)]);
        remarks.into_iter().map(|remark| format!("{remark:?}")).collect::<Vec<_>>().join(" ")
    };
    let heard =
        said("default", r#"{"iptablesBackend":"NFT","ipv6Support":false,"vxlanPort":4790}"#);
    assert!(heard.contains("ipv6Support, iptablesBackend of default: without effect"), "{heard}");
    assert!(!heard.contains("vxlanPort"), "{heard}");
    let heard = said("node.b", r#"{"ipv6Support":true}"#);
    assert!(!heard.contains("node.b"), "{heard}");
    // What is there in every stored one is nobody's wish.
    let heard =
        said("default", r#"{"floatingIPs":"Disabled","bpfConnectTimeLoadBalancing":"TCP"}"#);
    assert!(!heard.contains("without effect"), "{heard}");
    // Nor is what holds whatever is said.
    let so = r#"{"nftablesMode":"Auto","nftablesFilterDenyAction":"drop","chainInsertMode":"Append",
        "ipv6Support":true,"bpfEnabled":false}"#;
    let heard = said("default", so);
    assert!(!heard.contains("without effect"), "{heard}");
    let heard =
        said("default", r#"{"nftablesMode":"Disabled","nftablesFilterDenyAction":"Reject"}"#);
    let named = "nftablesMode, nftablesFilterDenyAction of default: without effect";
    assert!(heard.contains(named), "{heard}");
    let nats = r#"{"floatingIPs":"Enabled","natOutgoingAddress":"192.0.2.7"}"#;
    let heard = said("default", nats);
    assert!(!heard.contains("without effect") && !heard.contains("not supported"), "{heard}");
    let set = enforcer.settings();
    assert_eq!((set.floating, set.masquerade_as), (true, "192.0.2.7".parse().ok()));
}

/// The kernel's word against an object.
fn refusal(object: Object) -> Vec<Refused> {
    vec![Refused { object, errno: 22, text: None }]
}

/// The chain of the policy, for what comes to its endpoints.
fn policy_chain(table: &Table) -> Name {
    let mut names = table.chains.keys().filter(|name| name.as_str().starts_with("ri-"));
    names.next().expect("a policy").clone()
}

#[test]
fn a_rule_that_the_kernel_refuses_closes_who_needs_it_and_nobody_else() {
    let mut enforcer = enforcing();
    tell(&mut enforcer, vec![pod(6, "db", "a", "10.0.0.5"), in_sync(6)]);
    let whole = table(&mut enforcer);
    let chain = policy_chain(&whole);
    let object = Object::Rule { chain: chain.clone(), index: 0 };
    assert_eq!(enforcer.refused(&refusal(object.clone())), Refusal::Isolated);
    let cut = table(&mut enforcer);
    let [rule] = &cut.chains[&chain].rules[..] else { panic!("{cut:?}") };
    assert_eq!(rule.expressions(), [Expr::Verdict(Verdict::Drop)]);
    enforcer.done();
    assert_eq!(in_force(&enforcer), [("a-k8s-db-eth0", 6)]);
    assert_eq!(enforcer.counts().refused, 1);
    // The same again means that it did not help.
    assert_eq!(enforcer.refused(&refusal(object)), Refusal::Whole);
    enforcer.forgive();
    assert_eq!(table(&mut enforcer), whole);
    enforcer.done();
    assert_eq!(in_force(&enforcer), [("a-k8s-db-eth0", 6), ("a-k8s-web-eth0", 3)]);
}

#[test]
fn a_rule_that_the_kernel_refuses_closes_who_is_led_to_it_by_an_address() {
    let mut enforcer = enforcing();
    let more = |number: u64| {
        let SyncEvent { event: Some(Event::Object(text)), revision } =
            policy(6 + number, "app == 'web'")
        else {
            panic!("an object")
        };
        object(revision, &text.replace(r#""name":"p""#, &format!(r#""name":"p{number}""#)))
    };
    let db = pod(20, "db", "a", "10.0.0.5");
    tell(&mut enforcer, (0..5).map(more).chain([db, in_sync(20)]).collect());
    let whole = table(&mut enforcer);
    let led = whole.sets.values().flat_map(|set| set.elements.values());
    assert!(led.filter_map(|value| value.chain()).any(|to| to.as_str().starts_with("si-")));
    let object = Object::Rule { chain: policy_chain(&whole), index: 0 };
    assert_eq!(enforcer.refused(&refusal(object)), Refusal::Isolated);
    table(&mut enforcer);
    enforcer.done();
    assert_eq!(in_force(&enforcer), [("a-k8s-db-eth0", 20)]);
}

#[test]
fn a_set_that_the_kernel_refuses_closes_the_chains_that_ask_it() {
    let mut enforcer = enforcing();
    tell(&mut enforcer, vec![pod(6, "db", "b", "10.0.0.5"), in_sync(6)]);
    let whole = table(&mut enforcer);
    let chain = policy_chain(&whole);
    let set = whole.chains[&chain].rules.iter().flat_map(|rule| rule.sets()).next();
    let set = set.expect("the rule has a set").clone();
    let element = Object::Element { set: set.clone(), span: Span::one(&[10, 0, 0, 1]) };
    assert_eq!(enforcer.refused(&refusal(element)), Refusal::Isolated);
    let cut = table(&mut enforcer);
    assert!(!cut.sets.contains_key(&set));
    assert_eq!(cut.chains[&chain].rules.len(), 1);
    enforcer.done();
    assert_eq!(in_force(&enforcer), []);
}

#[test]
fn all_that_the_kernel_refuses_is_set_aside_at_once_but_not_what_only_needs_it() {
    let mut enforcer = enforcing();
    tell(&mut enforcer, vec![pod(6, "db", "a", "10.0.0.5"), in_sync(6)]);
    let whole = table(&mut enforcer);
    let chain = policy_chain(&whole);
    let set = whole.chains[&chain].rules.iter().flat_map(|rule| rule.sets()).next();
    let set = set.expect("the rule has a set").clone();
    let map = Name::of("to-workload");
    let begins = |span: &&Span| span.from.starts_with(b"calidb\0");
    let span = whole.sets[&map].elements.keys().find(begins).expect("its link").clone();
    let refused: Vec<_> = [
        Object::Set(set.clone()),
        Object::Element { set: set.clone(), span: Span::one(&[10, 0, 0, 1]) },
        Object::Rule { chain: chain.clone(), index: 0 },
        Object::Element { set: map.clone(), span: span.clone() },
    ]
    .into_iter()
    .flat_map(refusal)
    .collect();
    assert_eq!(enforcer.refused(&refused), Refusal::Isolated);
    let cut = table(&mut enforcer);
    assert!(!cut.sets.contains_key(&set) && !cut.sets[&map].elements.contains_key(&span));
    let told: Vec<_> = enforcer.refusals().collect();
    let [first, second] = &told[..] else { panic!("{told:?}") };
    assert!(first.starts_with(&format!("set {set}: ")), "{first}");
    assert!(second.starts_with("element ") && second.contains("of set to-workload"), "{second}");
    enforcer.done();
    assert_eq!(in_force(&enforcer), []);
}

#[test]
fn an_endpoint_whose_link_the_kernel_refuses_is_left_out_and_so_closed() {
    let mut enforcer = enforcing();
    tell(&mut enforcer, vec![pod(6, "db", "a", "10.0.0.5"), in_sync(6)]);
    let whole = table(&mut enforcer);
    let map = Name::of("to-workload");
    let begins = |span: &&Span| span.from.starts_with(b"calidb\0");
    let span = whole.sets[&map].elements.keys().find(begins).expect("its link").clone();
    let object = Object::Element { set: map.clone(), span: span.clone() };
    assert_eq!(enforcer.refused(&refusal(object)), Refusal::Isolated);
    assert!(!table(&mut enforcer).sets[&map].elements.contains_key(&span));
    enforcer.done();
    assert_eq!(in_force(&enforcer), [("a-k8s-web-eth0", 3)]);
}

#[test]
fn what_all_need_is_not_set_aside() {
    let mut enforcer = enforcing();
    let objects = [
        Object::Table,
        Object::Batch,
        Object::Chain("from-workload".into()),
        Object::Rule { chain: "forward-to".into(), index: 0 },
        Object::Set("states".into()),
        Object::Element { set: "other-links".into(), span: Span::one(&[0; 16]) },
    ];
    for object in objects {
        assert_eq!(enforcer.refused(&refusal(object.clone())), Refusal::Whole, "{object}");
    }
    assert!(!enforcer.is_isolating());
}

#[test]
fn settings_are_those_of_the_last_whole_moment() {
    let mut enforcer = enforcing();
    tell(&mut enforcer, vec![pod(6, "db", "a", "10.0.0.5"), in_sync(6)]);
    let whole = table(&mut enforcer);
    let pool = r#"{"apiVersion":"projectcalico.org/v3","kind":"IPPool","metadata":{"name":"p"},
        "spec":{"cidr":"10.0.0.0/16","natOutgoing":true}}"#;
    tell(&mut enforcer, vec![object(7, pool)]);
    let chain = policy_chain(&whole);
    let refused = Object::Rule { chain, index: 0 };
    assert_eq!(enforcer.refused(&refusal(refused)), Refusal::Isolated);
    enforcer.forgive();
    assert_eq!(table(&mut enforcer), whole);
    tell(&mut enforcer, vec![in_sync(7)]);
    assert_ne!(table(&mut enforcer), whole);
}

#[test]
fn of_two_endpoints_on_one_link_the_one_told_last_has_it_and_the_other_is_named() {
    let mut enforcer = enforcing();
    let double = |revision: u64, name: &str| {
        let SyncEvent { event, .. } = pod(revision, name, "a", "10.0.0.7");
        let Some(Event::Object(text)) = event else { panic!("an object") };
        object(revision, &text.replace(&format!("cali{name}"), "caliweb"))
    };
    let said = |loser: &str, owner: &str| {
        let name = |pod: &str| format!("WorkloadEndpoint shop/a-k8s-{pod}-eth0");
        let (loser, owner) = (name(loser), name(owner));
        vec![Remark::Ignored(format!("{loser}: its link caliweb is that of {owner}, told later"))]
    };
    assert_eq!(enforcer.hear(vec![double(6, "new"), in_sync(6)]), said("web", "new"));
    table(&mut enforcer);
    enforcer.done();
    assert_eq!(in_force(&enforcer), [("a-k8s-new-eth0", 6)]);
    assert_eq!(enforcer.counts().linkless, 1);
    // Who is told anew is in force as it was told: nobody waits for it in vain.
    let again = pod(7, "web", "a", "10.0.0.1");
    assert_eq!(enforcer.hear(vec![again, in_sync(7)]), said("new", "web"));
    table(&mut enforcer);
    enforcer.done();
    assert_eq!(in_force(&enforcer), [("a-k8s-web-eth0", 7)]);
    tell(&mut enforcer, vec![deleted("WorkloadEndpoint", "shop", "a-k8s-web-eth0"), in_sync(8)]);
    table(&mut enforcer);
    enforcer.done();
    assert_eq!(in_force(&enforcer), [("a-k8s-new-eth0", 6)]);
    assert_eq!(enforcer.counts().linkless, 0);
}

#[test]
fn after_a_change_only_what_it_touches_is_looked_at_until_the_kernel_has_it() {
    let mut enforcer = enforcing();
    // The first of its family.
    tell(&mut enforcer, vec![pod(6, "db", "b", "10.0.0.6"), in_sync(6)]);
    table(&mut enforcer);
    enforcer.done();
    let touched =
        |enforcer: &mut Enforcer| enforcer.wanted().expect("everything was heard").touched.cloned();
    assert_eq!(touched(&mut enforcer), Some(Touched::default()));
    // A remote pod that the policy lets in: one element.
    let more = pod(7, "db", "c", "10.0.0.5");
    tell(&mut enforcer, vec![more, in_sync(7)]);
    let some = touched(&mut enforcer).expect("a part");
    assert!(some.chains.is_empty() && some.sets.is_empty(), "{some:?}");
    assert_eq!(some.elements.values().map(BTreeSet::len).collect::<Vec<_>>(), [1]);
    // The kernel did not take it; what comes next is looked at beside it.
    tell(&mut enforcer, vec![policy(7, "app == 'none'"), in_sync(7)]);
    let both = touched(&mut enforcer).expect("a part");
    assert!(!both.chains.is_empty());
    assert!(some.elements.keys().all(|set| both.elements.contains_key(set)), "{both:?}");
    enforcer.done();
    assert_eq!(touched(&mut enforcer), Some(Touched::default()));
    // Another address of all things: everything is.
    let pool = r#"{"apiVersion":"projectcalico.org/v3","kind":"IPPool","metadata":{"name":"p"},
        "spec":{"cidr":"10.0.0.0/16","natOutgoing":true}}"#;
    tell(&mut enforcer, vec![object(8, pool), in_sync(8)]);
    assert_eq!(touched(&mut enforcer), None);
}

/// A policy of the shop that cannot be read, with what else its spec says.
fn broken_policy(revision: u64, spec: &str) -> SyncEvent {
    object(
        revision,
        &format!(
            r#"{{"apiVersion":"projectcalico.org/v3","kind":"NetworkPolicy","metadata":{{"name":"p",
            "namespace":"shop"}},"spec":{{{spec},"ingress":[{{"action":"Allow","source":{{"nets":
            ["everywhere"]}}}}]}}}}"#
        ),
    )
}

fn said(remarks: &[Remark]) -> &str {
    match remarks {
        [Remark::Broken(text)] => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_policy_that_cannot_be_read_any_more_stays_as_it_was_also_in_a_new_snapshot() {
    let mut enforcer = enforcing();
    let before = table(&mut enforcer);
    let broken = || broken_policy(6, r#""selector":"app == 'web'""#);
    let remarks = enforcer.hear(vec![broken(), in_sync(6)]);
    assert!(said(&remarks).ends_with("it stays as it could be read last"), "{remarks:?}");
    assert_eq!(table(&mut enforcer), before);
    assert_eq!(enforcer.counts().broken, 1);
    let web = pod(3, "web", "a", "10.0.0.1");
    enforcer.hear(vec![reset(), web, broken(), in_sync(7)]);
    assert_eq!(table(&mut enforcer), before);
    tell(&mut enforcer, vec![deleted("NetworkPolicy", "shop", "p"), in_sync(8)]);
    assert_ne!(table(&mut enforcer), before);
    assert_eq!(enforcer.counts().broken, 0);
}

#[test]
fn a_policy_that_could_never_be_read_denies_everything_to_those_it_selects() {
    let denied = |spec: &str| {
        let mut enforcer = Enforcer::new("a", interfaces(&[("eth0", "192.0.2.1")]), Own::default());
        let web = pod(3, "web", "a", "10.0.0.1");
        let remarks = enforcer.hear(vec![web, broken_policy(4, spec), in_sync(4)]);
        let instead = said(&remarks).rsplit("; ").next().expect("a part").to_owned();
        let state = &enforcer.state;
        let policy = state
            .policies
            .values()
            .next()
            .map(|policy| (policy.ingress.len(), policy.egress.len()));
        (instead, policy)
    };
    let closed = "it denies everything to those it selects".to_owned();
    let web = r#""selector":"app == 'web'""#;
    assert_eq!(denied(web), (closed.clone(), Some((1, 1))));
    assert_eq!(denied(&format!(r#"{web},"types":["Ingress"]"#)), (closed.clone(), Some((1, 0))));
    assert_eq!(denied(&format!(r#"{web},"order":"first""#)), (closed.clone(), Some((1, 1))));
    assert_eq!(denied(r#""selector":"app == 'other'""#), (closed, None));
    // Nobody can tell whom it selects.
    assert_eq!(denied(r#""selector":"app =""#), ("nothing of it counts".to_owned(), None));
}

#[test]
fn fields_that_nobody_knows_here_say_nothing() {
    let mut enforcer = enforcing();
    let SyncEvent { event, .. } = pod(6, "db", "a", "10.0.0.5");
    let Some(Event::Object(text)) = event else { panic!("an object") };
    let newer = text.replace(r#""orchestrator":"#, r#""ofTomorrow":{"x":1},"orchestrator":"#);
    assert_ne!(newer, text);
    tell(&mut enforcer, vec![object(6, &newer), in_sync(6)]);
    table(&mut enforcer);
    enforcer.done();
    assert_eq!(in_force(&enforcer), [("a-k8s-db-eth0", 6), ("a-k8s-web-eth0", 3)]);
}

#[test]
fn rules_that_ask_sets_exist_in_families_that_anybody_in_a_set_is_of() {
    let mut enforcer = enforcing();
    let rules = |enforcer: &mut Enforcer| {
        let table = table(enforcer);
        let all = table.chains.values().flat_map(|chain| &chain.rules);
        let asked: Vec<Name> = all.flat_map(Rule::sets).cloned().collect();
        let of = |family: &str| asked.iter().filter(|set| set.as_str().starts_with(family)).count();
        (of("s4-"), of("s6-"))
    };
    // Nobody is a db yet.
    assert_eq!(rules(&mut enforcer), (0, 0));
    tell(&mut enforcer, vec![pod(5, "db", "b", "10.0.0.5"), in_sync(5)]);
    assert_eq!(rules(&mut enforcer), (1, 0));
    enforcer.done();
    let six = pod(6, "db", "b", "fd00::5").event.map(|event| match event {
        Event::Object(text) => Event::Object(text.replace("/32", "/128")),
        other => other,
    });
    tell(&mut enforcer, vec![SyncEvent { event: six, revision: 6 }, in_sync(6)]);
    assert_eq!(rules(&mut enforcer), (1, 1));
    enforcer.done();
    tell(&mut enforcer, vec![pod(7, "db", "b", "10.0.0.5"), in_sync(7)]);
    assert_eq!(rules(&mut enforcer), (1, 1), "once there it stays");
}

#[test]
fn links_that_begin_with_any_prefix_are_workloads() {
    let mut enforcer = enforcing();
    let felix = |prefixes: &str| {
        let text = r#"{"apiVersion":"projectcalico.org/v3","kind":"FelixConfiguration","metadata":{
            "name":"default"},"spec":{"interfacePrefix":"@"}}"#;
        object(7, &text.replace('@', prefixes))
    };
    let others =
        |enforcer: &mut Enforcer| table(enforcer).sets[&Name::of("other-links")].elements.len();
    assert_eq!(others(&mut enforcer), 0);
    tell(&mut enforcer, vec![felix("tap, ens"), in_sync(7)]);
    assert_eq!(others(&mut enforcer), 1);
    // What another one covers is not asked for.
    tell(&mut enforcer, vec![felix("tap,calico,cali,tapx"), in_sync(8)]);
    assert_eq!(others(&mut enforcer), 0);
    assert_eq!(enforcer.settings().prefixes, ["tap", "cali"]);
    let remarks = enforcer.hear(vec![felix(",a-name-no-link-has"), in_sync(9)]);
    assert_eq!(remarks.len(), 2, "{remarks:?}");
    assert_eq!(enforcer.settings().prefixes, ["cali"]);
    let remarks = enforcer.hear(vec![felix("a,b,c,d,e,f,g,h,i"), in_sync(10)]);
    assert_eq!(enforcer.settings().prefixes.len(), 8);
    assert!(matches!(&remarks[..], [Remark::Ignored(text)] if text.contains("first 8")));
}

#[test]
fn what_tracking_makes_nothing_of_and_by_which_links_is_masqueraded_are_felix_configurations() {
    let mut enforcer = enforcing();
    let felix = r#"{"apiVersion":"projectcalico.org/v3","kind":"FelixConfiguration","metadata":{
        "name":"default"},"spec":{"disableConntrackInvalidCheck":true,"allowIPIPPacketsFromWorkloads":true,
        "iptablesNATOutgoingInterfaceFilter":"eth+"}}"#;
    let states = |enforcer: &mut Enforcer| table(enforcer).sets[&Name::of("states")].elements.len();
    assert_eq!(states(&mut enforcer), 3);
    let from = Name::of("from-workload");
    let before = table(&mut enforcer).chains[&from].rules.len();
    tell(&mut enforcer, vec![object(6, felix), in_sync(6)]);
    assert_eq!(states(&mut enforcer), 2);
    assert_eq!(table(&mut enforcer).chains[&from].rules.len(), before - 1);
    assert_eq!(enforcer.settings().masquerade_by.as_deref(), Some("eth+"));
}
