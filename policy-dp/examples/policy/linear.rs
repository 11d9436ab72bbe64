//! The same policies as plain rules for `nft -f`, in the shape that Felix gives its iptables chains: a
//! chain for each endpoint, in which a rule for each of its policies jumps to the policy's chain and
//! another looks at the mark behind it; what comes from an endpoint must have a way back there. Which
//! endpoint a packet belongs to is told by a map and who is selected by a hash set, as the kindest form
//! of them has it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use margay_model::{Resource, kinds::Action};
use policy_calc::{Direction, Endpoint, EndpointId, Graph, Interface, Member, Rule, SetId, State};

/// Accepted, and passed on by a tier.
const ACCEPTED: &str = "0x10000";
const PASSED: &str = "0x20000";

/// What is to be enforced on the node `here`.
pub fn state(resources: Vec<Resource>) -> State {
    let mut graph = Graph::new("here");
    for resource in resources {
        graph.update(&resource.key(), Some(resource));
    }
    graph.in_sync();
    let mut state = State::default();
    state.apply(&graph.flush());
    state
}

/// Everything.
pub fn script(state: &State) -> Result<String> {
    let mut text = "table inet linear {\n".to_owned();
    for (id, members) in &state.sets {
        let members: Vec<String> = members.iter().filter_map(member).collect();
        writeln!(text, "set {} {{ type ipv4_addr", set_name(*id))?;
        if !members.is_empty() {
            writeln!(text, "elements = {{ {} }}", members.join(", "))?;
        }
        text += "}\n";
    }
    for (index, (_, policy)) in state.policies.iter().enumerate() {
        for direction in Direction::BOTH {
            let rules = rules(policy.rules(direction))?;
            writeln!(
                text,
                "chain {} {{\n{}\n}}",
                policy_chain(index, direction),
                rules.join("\n")
            )?;
        }
    }
    for (index, (_, profile)) in state.profiles.iter().enumerate() {
        for direction in Direction::BOTH {
            let rules = rules(profile.rules(direction))?;
            writeln!(
                text,
                "chain {} {{\n{}\n}}",
                profile_chain(index, direction),
                rules.join("\n")
            )?;
        }
    }
    let places = Places::of(state);
    for endpoint in state.endpoints.values() {
        for direction in Direction::BOTH {
            let (chain, rules) = places.chain(endpoint, direction)?;
            writeln!(text, "chain {chain} {{\n{}\n}}", rules.join("\n"))?;
        }
    }
    for direction in Direction::BOTH {
        let (map, side) = dispatch(direction);
        let elements = state.endpoints.values().map(|endpoint| {
            let link = link(endpoint)?;
            Ok(format!("{link} : goto {}", link_chain(link, direction)))
        });
        let elements = elements.collect::<Result<Vec<_>>>()?;
        writeln!(
            text,
            "map {map} {{ type ifname : verdict\nelements = {{ {} }}\n}}",
            elements.join(", ")
        )?;
        writeln!(text, "chain dispatch_{map} {{\n{side} vmap @{map}\ndrop\n}}")?;
    }
    writeln!(
        text,
        "chain raw {{ type filter hook prerouting priority -300; policy accept;\n\
         iifname \"cali*\" fib saddr . iif oif eq 0 drop\n}}\n\
         chain forward {{ type filter hook forward priority 0; policy accept;\n\
         iifname \"cali*\" jump dispatch_from\noifname \"cali*\" jump dispatch_to\n\
         meta mark and {ACCEPTED} == {ACCEPTED} accept\n}}\n}}"
    )?;
    Ok(text)
}

/// The change that makes a policy have the rules it has in `state`.
pub fn edit(state: &State, name: &str) -> Result<String> {
    let found = state.policies.iter().enumerate().find(|(_, (id, _))| id.name() == name);
    let (index, (_, policy)) = found.context("the policy is in use")?;
    let chain = policy_chain(index, Direction::Ingress);
    let mut text = format!("flush chain inet linear {chain}\n");
    for rule in rules(policy.rules(Direction::Ingress))? {
        writeln!(text, "add rule inet linear {chain} {rule}")?;
    }
    Ok(text)
}

/// A member more in the sets that an endpoint is in.
pub fn join(state: &State, of: std::net::IpAddr, address: &str) -> Result<String> {
    let is_in = |members: &&std::collections::BTreeSet<Member>| {
        members.iter().any(|one| matches!(one, Member::Net(net) if net.contains(&of)))
    };
    let sets = state.sets.iter().filter(|(_, members)| is_in(members));
    let mut text = String::new();
    for (id, _) in sets {
        writeln!(text, "add element inet linear {} {{ {address} }}", set_name(*id))?;
    }
    ensure!(!text.is_empty(), "{of} is in no set");
    Ok(text)
}

/// A pod more, on a link of this name and under the policies of another endpoint.
pub fn pod(state: &State, like: &EndpointId, link: &str) -> Result<String> {
    let mut endpoint = Endpoint::clone(state.endpoints.get(like).context("an endpoint")?);
    endpoint.interface = Interface::Named(link.to_owned());
    let places = Places::of(state);
    let mut text = String::new();
    for direction in Direction::BOTH {
        let (chain, rules) = places.chain(&endpoint, direction)?;
        writeln!(text, "add chain inet linear {chain}")?;
        for rule in rules {
            writeln!(text, "add rule inet linear {chain} {rule}")?;
        }
        let (map, _) = dispatch(direction);
        writeln!(text, "add element inet linear {map} {{ {link} : goto {chain} }}")?;
    }
    Ok(text)
}

/// Has `nft -f` carry this out in the calling thread's network namespace; how long it took.
pub fn load(text: &str) -> Result<Duration> {
    let file = PathBuf::from(format!("{}.nft", std::env::temp_dir().join(scratch()).display()));
    fs::write(&file, text)?;
    let begun = Instant::now();
    let output = Command::new("nft").arg("-f").arg(&file).output().context("running nft")?;
    let took = begun.elapsed();
    fs::remove_file(&file)?;
    let said = String::from_utf8_lossy(&output.stderr);
    let start: String = said.chars().take(2000).collect();
    ensure!(output.status.success(), "nft -f: {start}");
    Ok(took)
}

fn scratch() -> String {
    format!("margay-linear-{}", std::process::id())
}

/// The numbers of policies and profiles, which their chains are called by.
struct Places<'a> {
    policies: BTreeMap<&'a policy_calc::PolicyId, usize>,
    profiles: BTreeMap<&'a str, usize>,
}

impl<'a> Places<'a> {
    fn of(state: &'a State) -> Self {
        Self {
            policies: state.policies.keys().zip(0..).collect(),
            profiles: state.profiles.keys().map(String::as_str).zip(0..).collect(),
        }
    }

    /// The chain of an endpoint's own in one direction, and its rules.
    fn chain(&self, endpoint: &Endpoint, direction: Direction) -> Result<(String, Vec<String>)> {
        let mut rules = vec![
            "ct state established,related accept".to_owned(),
            "ct state invalid drop".to_owned(),
            "meta mark set meta mark and 0xfffcffff".to_owned(),
        ];
        let returned = format!("meta mark and {ACCEPTED} == {ACCEPTED} return");
        for tier in endpoint.normal.tiers(direction).iter() {
            rules.push("meta mark set meta mark and 0xfffdffff".to_owned());
            for id in &tier.policies {
                let index = self.policies.get(id).context("a policy that applies")?;
                let chain = policy_chain(*index, direction);
                rules.push(format!("meta mark and {PASSED} == 0 jump {chain}"));
                rules.push(returned.clone());
            }
            rules.push(format!("meta mark and {PASSED} == 0 drop"));
        }
        for name in &endpoint.profiles {
            let index = self.profiles.get(name.as_str()).context("a profile that applies")?;
            rules.push(format!("jump {}", profile_chain(*index, direction)));
            rules.push(returned.clone());
        }
        rules.push("drop".to_owned());
        Ok((link_chain(link(endpoint)?, direction), rules))
    }
}

/// The rules of a policy or profile: those that the worlds of this benchmark have.
fn rules(rules: &[Rule]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for rule in rules {
        ensure!(rule.action == Action::Allow, "a world without denials");
        let mut text = String::new();
        match rule.protocol {
            Some(6) => text += "meta l4proto tcp ",
            Some(17) => text += "meta l4proto udp ",
            Some(_) => anyhow::bail!("another protocol"),
            None => {}
        }
        if let Some(id) = rule.source.set {
            write!(text, "ip saddr @{} ", set_name(id))?;
        }
        if let Some(ports) = &rule.destination.ports {
            let range = |(low, high): &(u16, u16)| match low == high {
                true => low.to_string(),
                false => format!("{low}-{high}"),
            };
            let ports: Vec<String> = ports.ranges.iter().map(range).collect();
            write!(text, "th dport {{ {} }} ", ports.join(", "))?;
        }
        all.push(format!("{text}meta mark set meta mark or {ACCEPTED}"));
        all.push(format!("meta mark and {ACCEPTED} == {ACCEPTED} return"));
    }
    Ok(all)
}

fn member(member: &Member) -> Option<String> {
    match member {
        Member::Net(net) => Some(net.addr().to_string()),
        Member::Port(_) => None,
    }
}

fn link(endpoint: &Endpoint) -> Result<&str> {
    match &endpoint.interface {
        Interface::Named(name) => Ok(name),
        _ => anyhow::bail!("an endpoint without a link"),
    }
}

/// The map that leads to the endpoints' chains, and what it is asked for.
fn dispatch(direction: Direction) -> (&'static str, &'static str) {
    match direction {
        Direction::Ingress => ("to", "oifname"),
        Direction::Egress => ("from", "iifname"),
    }
}

fn link_chain(link: &str, direction: Direction) -> String {
    format!("{}_{link}", if direction == Direction::Ingress { "tw" } else { "fw" })
}

fn policy_chain(index: usize, direction: Direction) -> String {
    format!("{}_{index}", if direction == Direction::Ingress { "pi" } else { "po" })
}

fn profile_chain(index: usize, direction: Direction) -> String {
    format!("{}_{index}", if direction == Direction::Ingress { "pri" } else { "pro" })
}

fn set_name(id: SetId) -> String {
    let digest: String = id.digest().iter().map(|octet| format!("{octet:02x}")).collect();
    format!("s_{digest}")
}
