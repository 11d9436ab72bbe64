//! Network policy of a node, as its dataplane would tell it.

use margay_proto::v1::{self, FlowDirection, FlowVerdict, policy_server::Policy};
use tonic::{Request, Response, Status};

pub struct Fake;

fn rule(index: u32, action: &str, matches: &str, fault: &str) -> v1::PolicyRule {
    let (action, matches, fault) = (action.to_owned(), matches.to_owned(), fault.to_owned());
    v1::PolicyRule { index, action, matches, fault, count: None }
}

fn entry(kind: &str, name: &str, staged: bool, rules: Vec<v1::PolicyRule>) -> v1::PolicyEntry {
    v1::PolicyEntry { kind: kind.to_owned(), name: name.to_owned(), staged, rules }
}

fn step(direction: &str, tier: &str, policy: &str, rule: Option<u32>) -> v1::PolicyStep {
    let kind = if policy.is_empty() { "" } else { "NetworkPolicy" };
    v1::PolicyStep {
        endpoint: format!("wep:shop/n1-k8s-{direction}-eth0"),
        direction: direction.to_owned(),
        tier: tier.to_owned(),
        kind: kind.to_owned(),
        policy: policy.to_owned(),
        profile: String::new(),
        rule,
        action: if rule.is_some() { "allow" } else { "deny" }.to_owned(),
        class: String::new(),
        matches: if rule.is_some() { "to ports 80" } else { "" }.to_owned(),
    }
}

fn denied() -> v1::Flow {
    v1::Flow {
        start_millis: 1_772_355_600_123,
        end_millis: 1_772_355_600_999,
        direction: FlowDirection::Ingress.into(),
        verdict: FlowVerdict::Deny.into(),
        by: "end of tier default (GlobalNetworkPolicy closed)".to_owned(),
        source: "192.0.2.9".to_owned(),
        destination: "10.10.0.7".to_owned(),
        source_endpoint: String::new(),
        destination_endpoint: "shop/node1-k8s-web-eth0".to_owned(),
        protocol: 6,
        port: Some(8080),
        icmp_type: None,
        icmp_code: None,
        packets: 3,
        staged_verdict: FlowVerdict::Allow.into(),
        staged_by: "StagedNetworkPolicy shop/soon rule 1".to_owned(),
    }
}

fn allowed() -> v1::Flow {
    v1::Flow {
        direction: FlowDirection::Egress.into(),
        verdict: FlowVerdict::Allow.into(),
        by: "profile kns.shop rule 0".to_owned(),
        source: "2001:db8::7".to_owned(),
        source_endpoint: "shop/node1-k8s-web-eth0".to_owned(),
        destination: "2001:db8::9".to_owned(),
        destination_endpoint: String::new(),
        protocol: 58,
        port: None,
        icmp_type: Some(128),
        icmp_code: Some(0),
        packets: 1,
        staged_verdict: FlowVerdict::Unspecified.into(),
        staged_by: String::new(),
        ..denied()
    }
}

#[tonic::async_trait]
impl Policy for Fake {
    async fn show(
        &self,
        request: Request<v1::ShowPolicyRequest>,
    ) -> Result<Response<v1::ShowPolicyResponse>, Status> {
        let v1::ShowPolicyRequest { endpoint, count_seconds } = request.into_inner();
        if endpoint != "shop/web" {
            return Err(Status::not_found(format!("{endpoint} is no endpoint of this node")));
        }
        let odd = "ingress rule 0: ports without a protocol that has ports; it matches nothing";
        // As many packets as seconds were asked for.
        let packets = u64::from(count_seconds);
        let count =
            |octets| (packets > 0).then_some(v1::PolicyCount { packets, octets: packets * octets });
        let mut policies = vec![
            entry(
                "NetworkPolicy",
                "shop/friends",
                false,
                vec![
                    rule(0, "log", "TCP", ""),
                    rule(1, "allow", "TCP, from selected addresses (2 in s:00ff), to ports 80", ""),
                ],
            ),
            entry("GlobalNetworkPolicy", "odd", false, vec![rule(0, "allow", "nothing", odd)]),
            entry("StagedNetworkPolicy", "shop/none", true, Vec::new()),
        ];
        for rule in policies.iter_mut().flat_map(|policy| &mut policy.rules) {
            rule.count = count(60);
        }
        let tier = v1::PolicyTier {
            name: "default".to_owned(),
            exists: true,
            default_action: "deny".to_owned(),
            policies,
            default_count: count(40),
        };
        let early = v1::PolicyTier {
            default_action: "pass".to_owned(),
            policies: vec![entry("GlobalNetworkPolicy", "early", false, Vec::new())],
            ..tier.clone()
        };
        Ok(Response::new(v1::ShowPolicyResponse {
            endpoint: "wep:shop/n1-k8s-web-eth0".to_owned(),
            interface: "cali0123456789a".to_owned(),
            addresses: vec!["10.10.0.7".to_owned(), "fd10::7".to_owned()],
            in_force: false,
            reason: "the kernel has not taken it yet".to_owned(),
            ingress: vec![tier],
            egress: Vec::new(),
            profiles: vec![v1::PolicyProfile {
                name: "kns.shop".to_owned(),
                exists: true,
                ingress: Vec::new(),
                egress: vec![rule(0, "allow", "everything", "")],
            }],
            broken: vec!["NetworkPolicy shop/bad: spec.selector: no selector".to_owned()],
            counted_seconds: (packets > 0).then_some(7),
            unallowed_ingress: count(84),
            unallowed_egress: None,
            classes: vec![v1::PolicyClass {
                name: "preDNAT".to_owned(),
                ingress: vec![early],
                egress: Vec::new(),
            }],
        }))
    }

    async fn status(
        &self,
        _: Request<v1::PolicyStatusRequest>,
    ) -> Result<Response<v1::PolicyStatusResponse>, Status> {
        let faults = |total, first: &[(&str, &str)]| {
            let fault = |(subject, text): &(&str, &str)| v1::PolicyFault {
                subject: (*subject).to_owned(),
                text: (*text).to_owned(),
            };
            Some(v1::PolicyFaults { total, first: first.iter().map(fault).collect() })
        };
        let odd = "ingress rule 0: ports without a protocol that has ports; it matches nothing";
        let why = "the kernel refused a part of it, which is closed until it takes it";
        Ok(Response::new(v1::PolicyStatusResponse {
            node: "node1".to_owned(),
            enforcing: true,
            unheard: String::new(),
            trouble: String::new(),
            guarded: true,
            endpoints: 4,
            in_force: 3,
            waiting: faults(1, &[("wep:shop/n1-k8s-web-eth0", why)]),
            refused: faults(1, &[("", "rule 2 of chain ri-0123: Invalid argument (os error 22)")]),
            rules: faults(12, &[("GlobalNetworkPolicy odd", odd)]),
            broken: faults(1, &[("", "NetworkPolicy shop/bad: spec.selector: no selector")]),
            ignored: faults(0, &[]),
        }))
    }

    async fn trace(
        &self,
        request: Request<v1::TracePolicyRequest>,
    ) -> Result<Response<v1::TracePolicyResponse>, Status> {
        let asked = request.into_inner();
        if asked.protocol == 1 {
            // What the command line said, as it came.
            return Err(Status::not_found(format!("{asked:?}")));
        }
        let allow = v1::PolicyVerdict::Allow.into();
        let profile = v1::PolicyStep {
            tier: String::new(),
            kind: String::new(),
            policy: String::new(),
            profile: "kns.shop".to_owned(),
            ..step("egress", "", "", Some(0))
        };
        let early = v1::PolicyStep {
            class: "doNotTrack".to_owned(),
            action: "pass".to_owned(),
            ..step("ingress", "default", "", None)
        };
        let steps =
            vec![profile.clone(), early, step("ingress", "default", "shop/friends", Some(1))];
        let staged = vec![profile, step("ingress", "default", "", None)];
        Ok(Response::new(v1::TracePolicyResponse {
            source: "10.10.0.8".to_owned(),
            destination: "10.10.0.7".to_owned(),
            outcome: Some(v1::PolicyOutcome { verdict: allow, steps }),
            staged: Some(v1::PolicyOutcome {
                verdict: v1::PolicyVerdict::Deny.into(),
                steps: staged,
            }),
            notes: vec!["wep:shop/n1-k8s-ingress-eth0 is not in force: it is new".to_owned()],
        }))
    }

    type FlowsStream = tokio_stream::Iter<std::vec::IntoIter<Result<v1::FlowsResponse, Status>>>;

    async fn flows(
        &self,
        request: Request<v1::FlowsRequest>,
    ) -> Result<Response<Self::FlowsStream>, Status> {
        let (lost, missed) = if request.into_inner().follow { (7, 3) } else { (0, 0) };
        let some = [denied(), allowed()]
            .map(|flow| Ok(v1::FlowsResponse { flows: vec![flow], lost, missed }));
        Ok(Response::new(tokio_stream::iter(Vec::from(some))))
    }
}
