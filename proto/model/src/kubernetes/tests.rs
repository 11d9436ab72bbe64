use serde_json::{Value as Json, json};

use super::*;
use crate::{Item, Mode, decode};

fn converted(text: &str) -> (Json, Vec<Skipped>) {
    let mut manifest = decode(text.as_bytes(), Mode::Strict).unwrap_or_else(|f| panic!("{f}"));
    let Some(Item::Kubernetes(object)) = manifest.documents.pop().map(|found| found.item) else {
        panic!("no object of Kubernetes");
    };
    let Converted { resource, skipped } = object.into_resource();
    let resource = resource.expect("it stands for something");
    resource.check().unwrap_or_else(|faults| panic!("{faults}"));
    (resource.to_json(), skipped)
}

#[test]
fn a_namespace_hands_on_its_labels() {
    let (profile, _) =
        converted("{apiVersion: v1, kind: Namespace, metadata: {name: prod, labels: {team: a}}}");
    assert_eq!(profile["kind"], "Profile");
    assert_eq!(profile["metadata"]["name"], "kns.prod");
    assert_eq!(
        profile["spec"],
        json!({"ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}],
            "labelsToApply": {"pcns.projectcalico.org/name": "prod", "pcns.team": "a"}})
    );
}

#[test]
fn a_namespace_hands_on_what_it_asks_for_its_pods_and_no_other_annotation() {
    let (profile, _) = converted(
        "{apiVersion: v1, kind: Namespace, metadata: {name: prod, annotations: {\
         cni.projectcalico.org/ipv4pools: '[\"blue\"]', cni.projectcalico.org/ipFamilies: '[]', \
         cni.projectcalico.org/ipAddrs: '[\"10.0.0.1\"]', note: n}}}",
    );
    assert_eq!(
        profile["metadata"]["annotations"],
        json!({"cni.projectcalico.org/ipv4pools": "[\"blue\"]",
            "cni.projectcalico.org/ipFamilies": "[]"})
    );
}

#[test]
fn a_service_account_hands_on_its_labels_without_rules() {
    let (profile, _) = converted(
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, labels: {team: a}}}",
    );
    assert_eq!(profile["metadata"]["name"], "ksa.default.web");
    assert_eq!(
        profile["spec"],
        json!({"labelsToApply": {"pcsa.projectcalico.org/name": "web", "pcsa.team": "a"}})
    );
}

#[test]
fn ports_are_gathered_by_protocol_and_crossed_with_peers() {
    let (policy, skipped) = converted(
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: prod}
spec:
  podSelector:
    matchLabels: {b: '2', a: '1'}
    matchExpressions: [{key: c, operator: DoesNotExist}]
  ingress:
    - ports: [{port: 80}, {port: 81}, {port: 82}, {port: 443, protocol: TCP}, {port: 53, protocol: UDP}]
      from:
        - podSelector: {matchExpressions: [{key: r, operator: In, values: [y, x]}]}
        - namespaceSelector: {}
    - {}
  egress:
    - to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]
",
    );
    assert!(skipped.is_empty());
    assert_eq!(policy["metadata"]["name"], "knp.default.web");
    let spec = &policy["spec"];
    assert_eq!((&spec["order"], &spec["tier"]), (&json!(1000), &json!("default")));
    assert_eq!(
        spec["selector"],
        "projectcalico.org/orchestrator == 'k8s' && a == '1' && b == '2' && ! has(c)"
    );
    assert_eq!(spec["types"], json!(["Ingress", "Egress"]));
    let pods = "projectcalico.org/orchestrator == 'k8s' && r in { 'x', 'y' }";
    let everyone = "projectcalico.org/orchestrator == 'k8s'";
    let rule = |protocol: &str, ports: Json, source: Json| {
        json!({"action": "Allow", "protocol": protocol, "source": source,
            "destination": {"ports": ports}})
    };
    let tcp = json!(["80:82", 443]);
    assert_eq!(
        spec["ingress"],
        json!([
            rule("TCP", tcp.clone(), json!({"selector": pods})),
            rule("TCP", tcp, json!({"selector": everyone, "namespaceSelector": "all()"})),
            rule("UDP", json!([53]), json!({"selector": pods})),
            rule("UDP", json!([53]), json!({"selector": everyone, "namespaceSelector": "all()"})),
            {"action": "Allow"},
        ])
    );
    assert_eq!(
        spec["egress"],
        json!([{"action": "Allow",
            "destination": {"nets": ["10.0.0.0/8"], "notNets": ["10.1.0.0/16"]}}])
    );
}

#[test]
fn a_protocol_without_a_port_is_every_port_of_it() {
    let (policy, _) = converted(
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a}, spec: \
         {podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: 80}, {protocol: TCP}]}]}}",
    );
    assert_eq!(policy["spec"]["ingress"], json!([{"action": "Allow", "protocol": "TCP"}]));
    assert_eq!(policy["metadata"]["namespace"], "default");
}

const CLUSTER: &str = "
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: base}
spec:
  tier: Admin
  priority: 7
  subject: {namespaces: {matchLabels: {env: prod}}}
  egress:
    - name: cluster
      action: Accept
      to: [{namespaces: {}}]
      protocols: [{tcp: {destinationPort: {number: 80}}}, {destinationNamedPort: dns}]
    - action: Deny
      to: [{networks: [10.0.0.0/8, 'fd00::/8']}]
";

#[test]
fn a_cluster_policy_goes_to_its_tier() {
    let (policy, skipped) = converted(CLUSTER);
    assert!(skipped.is_empty());
    let spec = &policy["spec"];
    assert_eq!((&spec["tier"], &spec["order"]), (&json!("kube-admin"), &json!(7)));
    assert_eq!(spec["types"], json!(["Egress"]));
    assert_eq!(spec["namespaceSelector"], "env == 'prod'");
    assert_eq!(spec["selector"], "projectcalico.org/orchestrator == 'k8s'");
    let rules = spec["egress"].as_array().unwrap();
    assert_eq!(rules.len(), 4);
    assert_eq!(rules[0]["metadata"]["annotations"]["name"], "cluster");
    assert_eq!(rules[0]["destination"]["ports"], json!([80]));
    assert_eq!(rules[1]["destination"]["ports"], json!(["dns"]));
    assert_eq!(rules[1].get("protocol"), None);
    assert_eq!(rules[2]["destination"], json!({"nets": ["10.0.0.0/8"]}));
    assert_eq!(rules[3]["destination"], json!({"nets": ["fd00::/8"]}));
}

#[test]
fn what_cannot_be_converted_fails_closed() {
    let with = |action: &str| {
        CLUSTER
            .replace("action: Deny", &format!("action: {action}"))
            .replace("networks: [10.0.0.0/8, 'fd00::/8']", "nodes: {}")
    };
    for (action, rules) in [("Accept", 2), ("Deny", 3), ("Pass", 3)] {
        let (policy, skipped) = converted(&with(action));
        assert_eq!(skipped.len(), 1);
        assert_eq!(skipped[0].path.to_string(), "spec.egress[1].to[0].nodes");
        let found = policy["spec"]["egress"].as_array().unwrap();
        assert_eq!(found.len(), rules, "{action}");
        if action != "Accept" {
            assert_eq!(found[2], json!({"action": "Deny"}));
        }
    }
}

#[test]
fn the_older_pair_becomes_global_policies_too() {
    let text = |kind: &str, priority: &str| {
        format!(
            "{{apiVersion: policy.networking.k8s.io/v1alpha1, kind: {kind}, metadata: {{name: a}}, \
             spec: {{{priority}subject: {{pods: {{namespaceSelector: {{}}, podSelector: {{}}}}}}, \
             ingress: [{{action: Allow, from: [{{namespaces: {{}}}}], \
             ports: [{{portRange: {{protocol: UDP, start: 1, end: 9}}}}]}}]}}}}"
        )
    };
    let (admin, _) = converted(&text("AdminNetworkPolicy", "priority: 5, "));
    assert_eq!(admin["metadata"]["name"], "kanp.adminnetworkpolicy.a");
    assert_eq!(admin["spec"]["order"], 5);
    assert_eq!(admin["spec"]["ingress"][0]["destination"]["ports"], json!(["1:9"]));
    let (baseline, _) = converted(&text("BaselineAdminNetworkPolicy", ""));
    assert_eq!(baseline["metadata"]["name"], "kbanp.baselineadminnetworkpolicy.a");
    assert_eq!(baseline["spec"]["tier"], "kube-baseline");
}
