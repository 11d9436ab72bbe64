//! Policies as clusters have them, by packets of IPv4 and then of IPv6 ([`wire::Family::words`]): nine pods in
//! network namespaces around one host that keeps our table. Each case is a truth table over every pair of pods and [`wire::PROBES`], and five
//! must agree on it: what the case file says by hand, the oracle, the graph, the compiler, and
//! the kernel. `MARGAY_CONFORMANCE_SETS` sets how many random sets (60 by default, every second with IPv6),
//! `MARGAY_CONFORMANCE_SEED` the first. Needs root; says so and is skipped without it.
//!
//! Host endpoints have a host and cases of their own ([`hosts`]), of IPv4. Not here: `natOutgoing` (`tests/kernel` masquerades),
//! packets of a pod to itself (no hook sees them), source ports below 20000.

mod cases;
mod cluster;
mod hosts;
mod pods;
mod random;
mod wire;

use cases::Case;
use cluster::Cluster;
use pods::Pods;
use policy_nft::{Keeper, Name, layout::Settings};
use wire::{Family, Seen};

/// A host in whose kernel policies are put, and what they are made of.
struct Rig {
    family: Family,
    pods: Pods,
    keeper: Keeper,
    cluster: Cluster,
    /// Whether each list of policies, however short, is asked by who they concern: every second time, and
    /// of a case that comes in both families in one of them.
    by_concern: bool,
    /// How often an address led to policies.
    led: usize,
}

impl Rig {
    /// `None` without the right to make namespaces.
    fn new(family: Family) -> Option<Self> {
        let pods = Pods::new(family)?;
        let keeper = Keeper::open(Name::of("margay")).expect("a keeper");
        let by_concern = family == Family::V6;
        let mut rig =
            Self { family, pods, keeper, cluster: Cluster::new(family), by_concern, led: 0 };
        rig.enforce(&Case::default());
        rig.pods.meet();
        Some(rig)
    }

    fn enforce(&mut self, case: &Case) {
        self.cluster.become_of(case);
        self.by_concern = !self.by_concern;
        let few = if self.by_concern { 0 } else { Settings::default().few };
        let table = self.cluster.table(few);
        self.led += usize::from(table.sets.contains_key(&Name::from("classes4")));
        self.keeper.sync(&table).expect("the kernel takes it");
    }

    /// Where somebody says otherwise than the oracle; empty is good.
    fn check(&mut self, case: &Case, by_hand: Option<&Seen>) -> Vec<String> {
        self.enforce(case);
        let mut wrong = Vec::new();
        let [oracle, graph, compiled] = self.cluster.expected();
        let packets = self.pods.probe();
        wrong.extend(graph.differences("graph", &oracle));
        wrong.extend(compiled.differences("compiler", &oracle));
        wrong.extend(packets.arrived.differences("kernel", &oracle));
        wrong.extend(packets.answered.differences("answers", &oracle.answerable(self.family)));
        wrong.extend(by_hand.iter().flat_map(|table| table.differences("by hand", &oracle)));
        wrong
    }
}

/// Every case of a file, of which there are at least so many.
fn run(text: &str, least: usize) {
    let cases = cases::read(text);
    assert!(cases.len() >= least, "{} cases", cases.len());
    let mut failed = Vec::new();
    for family in Family::BOTH {
        let Some(mut rig) = Rig::new(family) else { return };
        for case in &cases {
            let wrong = rig.check(case, Some(&case.table));
            if !wrong.is_empty() {
                failed.push(format!("{family:?}, {}:\n  {}", case.name, wrong.join("\n  ")));
            }
        }
        assert!(rig.led > cases.len() / 10, "{} of {} cases", rig.led, cases.len());
    }
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

#[test]
fn policies_of_kubernetes_do_what_they_say() {
    run(include_str!("kubernetes.cases"), 100);
}

#[test]
fn policies_of_calico_do_what_they_say() {
    run(include_str!("calico.cases"), 60);
}

#[test]
fn packets_go_where_the_oracle_says_whatever_the_policies() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("MARGAY_CONFORMANCE_SEED").unwrap_or(1);
    let sets = number("MARGAY_CONFORMANCE_SETS").unwrap_or(60);
    for family in Family::BOTH {
        let Some(mut rig) = Rig::new(family) else { return };
        let (mut denied, mut allowed) = (0, 0);
        // Others for each.
        let seeds = (first..first + sets).filter(|seed| (seed % 2 == 0) == (family == Family::V6));
        for seed in seeds {
            let text = random::case(seed);
            for case in cases::read(&text) {
                let wrong = rig.check(&case, None);
                assert!(wrong.is_empty(), "{family:?}, seed {seed}:\n{text}\n{}", wrong.join("\n"));
                let count = rig.cluster.expected()[0].count();
                allowed += count;
                denied += Seen::all().count() - count;
            }
        }
        println!("{family:?}: {allowed} packets were to be let through, {denied} not");
        println!("in {} sets an address led to policies", rig.led);
        assert!(sets < 40 || rig.led > 0, "no address led to policies");
        assert!(sets < 4 || allowed > 0 && denied > 0, "{allowed} allowed, {denied} denied");
    }
}
