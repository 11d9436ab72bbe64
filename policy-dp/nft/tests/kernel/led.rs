//! Policies that are asked by who they concern, under packets: addresses come to sets and go, policies
//! change their rules, come and go. One address is let through by every state, another one by none.

use std::process::Command;

use policy_nft::{
    Keeper,
    layout::{Settings, ToHost},
};

use crate::{churn::Dice, moves::under_packets, net::enter, packets::Cluster, sample::name};

/// How often something changes.
const CHANGES: u32 = 500;

/// The host itself as a workload that sends to its own addresses.
const ENDPOINT: &str = "apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: { namespace: a, name: here-k8s-lo-eth0, labels: { app: lo } }
spec:
  node: here
  orchestrator: k8s
  pod: lo
  endpoint: eth0
  interfaceName: lo
  ipNetworks: [127.0.0.1/32]
  profiles: []
";

fn set(name: &str, net: &str, label: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {{ name: {name}, labels: \
         {{ {label} }} }}\nspec: {{ nets: [{net}] }}\n"
    )
}

fn policy(name: &str, order: u32, rules: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{ name: {name} }}\nspec: \
         {{ order: {order}, selector: all(), types: [Egress], egress: [{rules}] }}\n"
    )
}

fn to(action: &str, selector: &str) -> String {
    format!("{{ action: {action}, destination: {{ {selector} }} }}")
}

/// Something else of the cluster; whatever is said, `127.0.0.1` is let through and `127.0.0.2` is not.
fn change(dice: &mut Dice) -> String {
    let one = |dice: &mut Dice, of: &[&str]| {
        let sides = u32::try_from(of.len()).expect("few");
        of[dice.roll(sides) as usize].to_owned()
    };
    match dice.roll(6) {
        // It is in either of two sets, or in both.
        0 => set("good", "127.0.0.1/32", &format!("g: {}", one(dice, &["a", "b", "both"]))),
        1 => set("bad", "127.0.0.2/32", &format!("h: {}", one(dice, &["a", "b", "both"]))),
        // Others come and go.
        2 => {
            let label = one(dice, &["g: a", "h: b", "other: x", "g: both"]);
            set("others", &one(dice, &["10.0.0.0/30", "10.0.0.9/32"]), &label)
        }
        // Two policies share the work in another way.
        3 => {
            let [a, b] =
                ["a", "b"].map(|of| to("Allow", &format!("selector: \"g in {{'{of}', 'both'}}\"")));
            let way = dice.roll(3);
            let [first, second] = match way {
                0 => [a.clone(), b.clone()],
                1 => [b.clone(), a.clone()],
                _ => [format!("{a}, {b}"), String::new()],
            };
            policy("allow-one", 20, &first) + &policy("allow-two", 30, &second)
        }
        4 => {
            let [a, b] =
                ["a", "b"].map(|of| to("Deny", &format!("selector: \"h in {{'{of}', 'both'}}\"")));
            let [first, second] = match dice.roll(3) {
                0 => [a.clone(), b.clone()],
                1 => [b.clone(), a.clone()],
                _ => [String::new(), format!("{b}, {a}")],
            };
            policy("deny-one", 10, &first) + &policy("deny-two", 12, &second)
        }
        // One that lets nobody through whom others do not.
        _ => {
            let rules = one(
                dice,
                &[
                    "",
                    "{ action: Allow, destination: { notSelector: \"g in {'b', 'both'}\", nets: [127.0.0.1/32] } }",
                    "{ action: Deny, protocol: TCP, destination: { ports: [80] } }",
                    "{ action: Deny, destination: { selector: other == 'x' } }",
                    "{ action: Allow, protocol: UDP, destination: { selector: g == 'b' } }",
                ],
            );
            policy("more", dice.roll(50), &rules)
        }
    }
}

#[test]
fn packets_meet_the_old_or_the_new_policies_where_addresses_lead_to_them() {
    play(0);
}

#[test]
fn packets_meet_the_old_or_the_new_policies_where_each_is_asked() {
    play(usize::MAX);
}

/// With as many policies asked one after the other.
fn play(few: usize) {
    if !enter() {
        return;
    }
    let all = |verb: &str, of: char| {
        to(verb, &format!("selector: \"{of} in {{'a', 'both'}}\"")).to_string()
            + ", "
            + &to(verb, &format!("selector: \"{of} in {{'b', 'both'}}\""))
    };
    let mut cluster = Cluster::new(
        &(ENDPOINT.to_owned()
            + &set("good", "127.0.0.1/32", "g: a")
            + &set("bad", "127.0.0.2/32", "h: b")
            + &policy("deny-one", 10, &all("Deny", 'h'))
            + &policy("allow-one", 20, &all("Allow", 'g'))
            // Who gets past those above would get through.
            + &policy("zz", 900, &to("Allow", "nets: [127.0.0.2/32]"))),
    );
    let settings = Settings {
        prefixes: vec!["lo".to_owned()],
        to_host: ToHost::Accept,
        few,
        ..Settings::default()
    };
    let mut keeper = Keeper::open(name()).expect("a keeper");
    cluster.enforce(&mut keeper, &settings);
    let mut dice = Dice(7);
    let mut steps = 0;
    under_packets(|| {
        for _ in 0..CHANGES {
            for _ in 0..=dice.roll(2) {
                cluster.apply(&change(&mut dice));
            }
            steps += cluster.enforce(&mut keeper, &settings);
        }
    });
    assert!(steps > 1000, "{steps} steps");
    // Whoever looks sees it.
    for words in ["-j list ruleset", "list table inet margay"] {
        let shown = Command::new("nft").args(words.split(' ')).output().expect("nft");
        let text = String::from_utf8_lossy(&shown.stdout);
        assert!(shown.status.success(), "{}: {shown:?}", shown.status);
        let led = text.contains("classes4") && text.contains("@concern/");
        assert_eq!(led, few == 0, "{text}");
    }
}
