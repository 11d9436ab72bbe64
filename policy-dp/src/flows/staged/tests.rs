use std::net::IpAddr;

use margay_model::{Item, Mode, decode};
use policy_calc::{Graph, Header, Packet};

use super::*;
use crate::flows::Flow;

const CLUSTER: &str = "
apiVersion: projectcalico.org/v3
kind: Profile
metadata: { name: kns.shop }
spec: { ingress: [{ action: Allow }], egress: [{ action: Allow }] }
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: { namespace: shop, name: web }
spec:
  order: 9
  selector: app == 'web'
  types: [Ingress]
  ingress: [{ action: Allow, protocol: TCP, destination: { ports: [80] } }]
---
apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata: { namespace: shop, name: soon }
spec:
  order: 1
  selector: app == 'web'
  types: [Ingress]
  ingress:
    - { action: Deny, protocol: TCP, source: { nets: [192.0.2.0/24] } }
    - { action: Allow, protocol: TCP, destination: { ports: [443] } }
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: { namespace: shop, name: n-k8s-web-eth0, labels: { app: web } }
spec: { node: n, orchestrator: k8s, pod: web, endpoint: eth0, interfaceName: caliweb, ipNetworks: [10.0.0.1/32], profiles: [kns.shop] }
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: { name: eth0 }
spec: { node: n, interfaceName: eth0, expectedIPs: [192.0.2.1] }
";

fn state() -> State {
    let mut graph = Graph::new("n");
    for document in decode(CLUSTER.as_bytes(), Mode::Strict).expect("good").documents {
        let Item::Resource(mut resource) = document.item else { panic!("ours") };
        resource.apply_defaults();
        graph.update(&resource.key(), Some(resource));
    }
    graph.in_sync();
    let mut state = State::default();
    state.apply(&graph.flush());
    state
}

/// A record of TCP.
fn record(direction: Direction, fate: Fate, source: [u8; 4], to: [u8; 4], port: u16) -> Record {
    let [source, destination] = [source, to].map(IpAddr::from);
    let header = Header::Ports { source: 40_000, destination: port };
    let name = |address: IpAddr| {
        let all = [
            (
                "10.0.0.1",
                EndpointId::Workload { namespace: "shop".into(), name: "n-k8s-web-eth0".into() },
            ),
            ("192.0.2.1", EndpointId::Host("eth0".into())),
        ];
        let found = all.into_iter().find(|(text, _)| *text == address.to_string());
        found.map(|(_, id)| id.key())
    };
    Record {
        flow: Flow {
            direction,
            fate,
            by: "something".to_owned(),
            source,
            destination,
            protocol: 6,
            port: Some(port),
            icmp: None,
        },
        ends: [source, destination].map(name),
        seen: [1, 1],
        packets: 1,
        first: Packet { source, destination, protocol: 6, header },
        staged: None,
    }
}

#[test]
fn a_record_says_what_staged_policies_would_have_done_where_that_is_anything_else() {
    let state = state();
    let (web, near, far) = ([10, 0, 0, 1], [192, 0, 2, 9], [198, 51, 100, 9]);
    let would = |mut record: Record| {
        record.play(&state);
        record.staged.map(|would| (would.fate, would.by))
    };
    let comes = |fate, from, port| would(record(Direction::Ingress, fate, from, web, port));
    let by = |rule: usize| format!("StagedNetworkPolicy shop/soon rule {rule}");
    assert_eq!(comes(Fate::Allowed, near, 80), Some((Fate::Denied, by(0))));
    assert_eq!(comes(Fate::Denied, far, 443), Some((Fate::Allowed, by(1))));
    // The same rules decide.
    assert_eq!(comes(Fate::Allowed, far, 80), None);
    assert_eq!(comes(Fate::Denied, far, 81), None);
    // No decision, nothing staged for it, and somebody of whom it cannot be said.
    assert_eq!(comes(Fate::Logged, near, 80), None);
    assert_eq!(would(record(Direction::Egress, Fate::Allowed, web, near, 80)), None);
    assert_eq!(would(record(Direction::Ingress, Fate::Allowed, near, [192, 0, 2, 1], 80)), None);
    assert_eq!(would(record(Direction::Ingress, Fate::Allowed, web, far, 80)), None);
}
