use std::collections::{BTreeMap, BTreeSet};

use margay_model::{Item, Mode, decode, kinds::Action};
use policy_calc::{Criterion, Direction, Families, Graph, PortMatch, Rule, SetId, Side};

use super::{Node, Plan, Policies};

fn rule(action: Action) -> Rule {
    Rule {
        action,
        families: Families { v4: true, v6: true },
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: Side::default(),
        destination: Side::default(),
    }
}

/// What comes from these addresses.
fn from(net: &str) -> Rule {
    let mut rule = rule(Action::Allow);
    rule.families = Families { v4: true, v6: false };
    rule.source.nets = vec![net.parse().expect("a net")];
    rule
}

/// What is for these ports of a protocol.
fn on(mut rule: Rule, protocol: u8, ports: &[(u16, u16)]) -> Rule {
    rule.protocol = Some(protocol);
    rule.destination.ports = Some(PortMatch { ranges: ports.to_vec(), sets: Vec::new() });
    rule
}

fn meets(nets: &[&str]) -> BTreeSet<Criterion> {
    nets.iter().map(|net| Criterion::Nets(vec![net.parse().expect("a net")])).collect()
}

fn plan(policies: &[Vec<Rule>], rows: &[&[&str]], few: usize) -> Plan {
    let policies = Policies::new(policies.iter().map(Vec::as_slice), Direction::Ingress);
    policies.plan(rows.iter().map(|row| meets(row)).collect(), rows.len(), few)
}

fn of(plan: &Plan, row: &[&str]) -> Node {
    match plan {
        Plan::ByAddress { meeting, others } => meeting.get(&meets(row)).unwrap_or(others).clone(),
        other => panic!("{other:?}"),
    }
}

const A: &str = "10.0.0.0/24";
const B: &str = "10.0.1.0/24";

#[test]
fn an_address_leads_to_the_policies_that_ask_what_it_meets_and_no_further_than_to_one_that_decides()
{
    let mut careful = from(A);
    careful.icmp = Some(policy_calc::IcmpMatch { kind: 8, code: None });
    let policies = [vec![from(B)], vec![careful], vec![from(A)], vec![from(A)], vec![from(B)]];
    let plan = plan(&policies, &[&[A], &[B]], 2);
    assert_eq!(of(&plan, &[A]), Node::Line(vec![1, 2]));
    assert_eq!(of(&plan, &[B]), Node::Line(vec![0]));
    assert_eq!(of(&plan, &[]), Node::Line(Vec::new()));
}

#[test]
fn who_is_left_to_ask_is_told_by_protocol_and_port() {
    let policies = [
        vec![on(from(A), 6, &[(80, 80)])],
        vec![on(from(A), 6, &[(443, 443)]), on(from(A), 17, &[(53, 53)])],
        vec![on(from(A), 6, &[(1, 1000)])],
        vec![on(from(A), 6, &[(80, 81)])],
    ];
    let plan = plan(&policies, &[&[A]], 1);
    let Node::Split { ports, protocols, others } = of(&plan, &[A]) else { panic!("{plan:?}") };
    let wanted: BTreeMap<(u8, u16), Vec<usize>> = [
        ((6, 80), vec![0]),
        // Many ports are asked of whatever port it is, and decide for those named.
        ((6, 443), vec![1]),
        ((17, 53), vec![1]),
    ]
    .into();
    assert_eq!(ports, wanted);
    assert_eq!(protocols, [(6, vec![2])].into());
    assert_eq!(others, Vec::<usize>::new());
}

#[test]
fn what_cannot_be_told_matches_and_does_not_decide() {
    let not_a = |mut rule: Rule| {
        rule.destination.not_nets = vec![A.parse().expect("a net")];
        rule
    };
    let policies = [vec![not_a(from(A))], vec![rule(Action::Log)], vec![from(B)], vec![from(A)]];
    let plan = plan(&policies, &[&[A], &[A, B]], 1);
    // A log matches all and decides nothing; nor does one that asks more.
    let all = |node| match node {
        Node::Line(line) => line,
        Node::Split { others, .. } => others,
    };
    assert_eq!(all(of(&plan, &[A])), [0, 1, 3]);
    assert_eq!(all(of(&plan, &[A, B])), [0, 1, 2]);
    assert_eq!(all(of(&plan, &[])), [1]);
}

#[test]
fn ranges_that_an_address_may_not_be_in_leave_a_policy_out() {
    let mut rule = rule(Action::Deny);
    rule.source.not_nets = vec![A.parse().expect("a net")];
    let policies = [vec![rule.clone()], vec![from(A)], vec![from(B)]];
    let plan = plan(&policies, &[&[A], &[B]], 1);
    assert_eq!(of(&plan, &[A]), Node::Line(vec![1]));
    assert_eq!(of(&plan, &[B]), Node::Line(vec![0]));
    assert_eq!(of(&plan, &[]), Node::Line(vec![0]));
}

#[test]
fn a_rule_of_one_family_decides_only_about_who_is_in_its_ranges() {
    let mut six = rule(Action::Allow);
    six.families = Families { v4: false, v6: true };
    let policies = [vec![six], vec![rule(Action::Allow)], vec![rule(Action::Deny)]];
    assert_eq!(
        plan(&policies, &[], 1),
        Plan::Any(Node::Split {
            ports: BTreeMap::new(),
            protocols: BTreeMap::new(),
            others: vec![0, 1],
        })
    );
}

#[test]
fn where_telling_takes_too_much_all_are_asked() {
    // None of them decides.
    let log = |net: &str| Rule { action: Action::Log, ..from(net) };
    let policies: Vec<_> = (0..40).map(|_| vec![log(A)]).collect();
    assert_eq!(
        plan(&policies, &[&[A]], 4),
        Plan::ByAddress {
            meeting: [(
                meets(&[A]),
                Node::Split {
                    ports: BTreeMap::new(),
                    protocols: BTreeMap::new(),
                    others: (0..40).collect(),
                }
            )]
            .into(),
            others: Node::Line(Vec::new()),
        }
    );
    // Each of many kinds of addresses would have all of them.
    let nets: Vec<String> = (0..255).map(|at| format!("10.1.{at}.0/24")).collect();
    let rows: Vec<Vec<&str>> = nets.iter().map(|net| vec![net.as_str(), A]).collect();
    let mut policies: Vec<Vec<Rule>> = (0..400).map(|_| vec![log(A)]).collect();
    policies.extend(nets.iter().map(|net| vec![log(net)]));
    let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
    assert_eq!(plan(&policies, &rows, 4), Plan::Straight);
}

/// Two sets, as a graph names them.
fn sets() -> Vec<SetId> {
    let yaml = "apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: { namespace: a, name: here-k8s-p-eth0 }
spec: { node: here, orchestrator: k8s, pod: p, endpoint: eth0, interfaceName: cali, ipNetworks: [10.0.0.1/32] }
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: { name: p }
spec:
  selector: all()
  ingress:
    - { action: Allow, source: { selector: one == 'a' } }
    - { action: Allow, source: { selector: two == 'a' } }
";
    let mut graph = Graph::new("here");
    graph.in_sync();
    for document in decode(yaml.as_bytes(), Mode::Strict).expect("it is right").documents {
        let Item::Resource(mut resource) = document.item else { panic!("{yaml}") };
        resource.apply_defaults();
        graph.update(&resource.key(), Some(resource));
    }
    graph.flush().sets_added.into_keys().collect()
}

#[test]
fn a_set_that_any_rule_shuns_tells_nothing() {
    let [one, two] = &sets()[..] else { panic!("two") };
    let mut wants = rule(Action::Allow);
    wants.source.set = Some(*one);
    let mut shuns = rule(Action::Allow);
    shuns.source.not_set = Some(*one);
    let mut other = rule(Action::Allow);
    other.source.set = Some(*two);
    let rules = [vec![other.clone()], vec![wants.clone()], vec![shuns], vec![rule(Action::Deny)]];
    let policies = Policies::new(rules.iter().map(Vec::as_slice), Direction::Ingress);
    assert_eq!(policies.criteria(), [Criterion::Set(*two)].into());
    let Plan::ByAddress { meeting, others } =
        policies.plan([[Criterion::Set(*two)].into()].into(), 1, 1)
    else {
        panic!("not by address")
    };
    assert_eq!(meeting.into_values().collect::<Vec<_>>(), [Node::Line(vec![0])]);
    let Node::Split { others, .. } = others else { panic!("{others:?}") };
    assert_eq!(others, [1, 2, 3]);
}
