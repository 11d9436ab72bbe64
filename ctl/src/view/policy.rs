//! What `margay policy` prints.

use std::io::{self, Write};

use margay_proto::v1;
use serde::{Serialize, Serializer};

use super::{Labels, tame};
use crate::{
    output::{
        self, Sheet,
        table::{Cell, Column, Paint, Table, Tone},
    },
    values::{named, timestamp},
};

const LABELS: Labels = Labels { indent: 0, width: 11 };

/// What is in force for an endpoint.
#[derive(Debug, Serialize)]
pub struct Shown {
    endpoint: String,
    /// Of the host.
    interface: Option<String>,
    addresses: Vec<String>,
    in_force: bool,
    /// Why not.
    reason: Option<String>,
    ingress: Vec<Tier>,
    egress: Vec<Tier>,
    profiles: Vec<Profile>,
    /// Objects of the cluster that cannot be read.
    broken: Vec<String>,
    /// `null` where packets are not counted, as all counts are then.
    counted_seconds: Option<u64>,
    /// What no profile allowed.
    unallowed_ingress: Option<Count>,
    unallowed_egress: Option<Count>,
    /// Of a host endpoint.
    classes: Vec<Class>,
}

/// Policies about other packets than those that end or begin at the endpoint.
#[derive(Debug, Serialize)]
struct Class {
    /// `doNotTrack`, `preDNAT` or `forward`.
    name: String,
    ingress: Vec<Tier>,
    egress: Vec<Tier>,
}

/// Packets that something decided about.
#[derive(Debug, Serialize)]
struct Count {
    packets: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Tier {
    name: String,
    exists: bool,
    /// `null` where it does not count.
    default_action: Option<String>,
    /// What came to its end.
    default_count: Option<Count>,
    policies: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    kind: String,
    name: String,
    staged: bool,
    rules: Vec<Rule>,
}

#[derive(Debug, Serialize)]
struct Profile {
    name: String,
    exists: bool,
    ingress: Vec<Rule>,
    egress: Vec<Rule>,
}

#[derive(Debug, Serialize)]
struct Rule {
    rule: u32,
    action: String,
    matches: String,
    fault: Option<String>,
    count: Option<Count>,
}

/// What becomes of a packet.
#[derive(Debug, Serialize)]
pub struct Trace {
    #[serde(flatten)]
    outcome: Outcome,
    source: String,
    destination: String,
    /// With the staged policies in force; `null` if they change nothing.
    staged: Option<Outcome>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Outcome {
    /// `allow` or `deny`.
    verdict: &'static str,
    steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
struct Step {
    endpoint: String,
    direction: String,
    /// `null` after the tiers.
    tier: Option<String>,
    kind: Option<String>,
    policy: Option<String>,
    profile: Option<String>,
    rule: Place,
    action: String,
    /// As `Class` has it; `null` for what ends or begins at the endpoint.
    class: Option<String>,
    /// What the rule matches.
    matches: Option<String>,
}

/// The index of a rule, or `default`.
#[derive(Debug)]
struct Place(Option<u32>);

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(index) => to.serialize_u32(index),
            None => to.serialize_str("default"),
        }
    }
}

fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn all<T, U: From<T>>(all: Vec<T>) -> Vec<U> {
    all.into_iter().map(U::from).collect()
}

impl From<v1::PolicyCount> for Count {
    fn from(one: v1::PolicyCount) -> Self {
        Self { packets: one.packets, bytes: one.octets }
    }
}

impl From<v1::PolicyRule> for Rule {
    fn from(one: v1::PolicyRule) -> Self {
        let v1::PolicyRule { index, action, matches, fault, count } = one;
        Self { rule: index, action, matches, fault: given(fault), count: count.map(Count::from) }
    }
}

impl Count {
    fn text(&self) -> String {
        let Self { packets, bytes } = self;
        format!("{packets} packet{}, {bytes} bytes", if *packets == 1 { "" } else { "s" })
    }
}

impl From<v1::PolicyEntry> for Entry {
    fn from(one: v1::PolicyEntry) -> Self {
        let v1::PolicyEntry { kind, name, staged, rules } = one;
        Self { kind, name, staged, rules: all(rules) }
    }
}

impl From<v1::PolicyTier> for Tier {
    fn from(one: v1::PolicyTier) -> Self {
        let v1::PolicyTier { name, exists, default_action, policies, default_count } = one;
        Self {
            name,
            exists,
            default_action: given(default_action),
            default_count: default_count.map(Count::from),
            policies: all(policies),
        }
    }
}

impl From<v1::PolicyProfile> for Profile {
    fn from(one: v1::PolicyProfile) -> Self {
        let v1::PolicyProfile { name, exists, ingress, egress } = one;
        Self { name, exists, ingress: all(ingress), egress: all(egress) }
    }
}

impl From<v1::PolicyClass> for Class {
    fn from(one: v1::PolicyClass) -> Self {
        let v1::PolicyClass { name, ingress, egress } = one;
        Self { name, ingress: all(ingress), egress: all(egress) }
    }
}

impl From<v1::ShowPolicyResponse> for Shown {
    fn from(answer: v1::ShowPolicyResponse) -> Self {
        Self {
            endpoint: answer.endpoint,
            interface: given(answer.interface),
            addresses: answer.addresses,
            in_force: answer.in_force,
            reason: given(answer.reason),
            ingress: all(answer.ingress),
            egress: all(answer.egress),
            profiles: all(answer.profiles),
            broken: answer.broken,
            counted_seconds: answer.counted_seconds,
            unallowed_ingress: answer.unallowed_ingress.map(Count::from),
            unallowed_egress: answer.unallowed_egress.map(Count::from),
            classes: all(answer.classes),
        }
    }
}

impl From<v1::PolicyStep> for Step {
    fn from(one: v1::PolicyStep) -> Self {
        Self {
            endpoint: one.endpoint,
            direction: one.direction,
            tier: given(one.tier),
            kind: given(one.kind),
            policy: given(one.policy),
            profile: given(one.profile),
            rule: Place(one.rule),
            action: one.action,
            class: given(one.class),
            matches: given(one.matches),
        }
    }
}

impl From<v1::PolicyOutcome> for Outcome {
    fn from(one: v1::PolicyOutcome) -> Self {
        let verdict = match one.verdict() {
            v1::PolicyVerdict::Allow => "allow",
            // What is not known is not let through.
            v1::PolicyVerdict::Deny | v1::PolicyVerdict::Unspecified => "deny",
        };
        Self { verdict, steps: all(one.steps) }
    }
}

impl From<v1::TracePolicyResponse> for Trace {
    fn from(answer: v1::TracePolicyResponse) -> Self {
        Self {
            outcome: answer.outcome.unwrap_or_default().into(),
            source: answer.source,
            destination: answer.destination,
            staged: answer.staged.map(Outcome::from),
            notes: answer.notes,
        }
    }
}

impl Sheet for Shown {
    fn text(&self, _wide: bool, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        LABELS.line(to, "Endpoint", tame(&self.endpoint))?;
        if let Some(interface) = &self.interface {
            LABELS.line(to, "Interface", tame(interface))?;
        }
        LABELS.line(to, "Addresses", tame(&self.addresses.join(", ")))?;
        let standing = match &self.reason {
            None if self.in_force => paint.tone(Tone::Good, "yes"),
            reason => {
                let reason = reason.as_deref().unwrap_or("unknown why");
                paint.tone(Tone::Bad, format!("no: {}", tame(reason)))
            }
        };
        LABELS.line(to, "In force", standing)?;
        if let Some(seconds) = self.counted_seconds {
            LABELS.line(
                to,
                "Counted",
                format!("for {seconds} s, what policies were asked about"),
            )?;
        }
        let normal = [("Ingress".to_owned(), &self.ingress), ("Egress".to_owned(), &self.egress)];
        let classes = self.classes.iter().flat_map(|class| {
            let name = tame(&class.name);
            [
                (format!("Ingress, {name}"), &class.ingress),
                (format!("Egress, {name}"), &class.egress),
            ]
        });
        for (title, tiers) in normal.into_iter().chain(classes) {
            if tiers.is_empty() {
                continue;
            }
            writeln!(to, "\n{title}")?;
            tiers.iter().try_for_each(|one| tier(one, paint, to))?;
        }
        if !self.profiles.is_empty() {
            writeln!(to, "\nProfiles")?;
        }
        for profile in &self.profiles {
            let missing = if profile.exists { "" } else { "  (missing: denies)" };
            writeln!(to, "  {}{missing}", tame(&profile.name))?;
            for (title, listed) in [("ingress", &profile.ingress), ("egress", &profile.egress)] {
                writeln!(to, "    {title}{}", if listed.is_empty() { ": no rules" } else { "" })?;
                rules(listed, paint, to)?;
            }
        }
        for (title, count) in
            [("ingress", &self.unallowed_ingress), ("egress", &self.unallowed_egress)]
        {
            if let Some(count) = count {
                writeln!(to, "  no profile allowed, {title}: {}", count.text())?;
            }
        }
        if !self.broken.is_empty() {
            writeln!(to, "\nObjects that cannot be read, and so count as they were or close")?;
        }
        for one in &self.broken {
            writeln!(to, "  {}", paint.tone(Tone::Bad, tame(one)))?;
        }
        Ok(())
    }
}

fn tier(tier: &Tier, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
    let end = match &tier.default_action {
        Some(action) => format!("then {}", tame(action)),
        None => "staged policies only".to_owned(),
    };
    let missing = if tier.exists { "" } else { ", missing" };
    writeln!(to, "  tier {} ({end}{missing})", tame(&tier.name))?;
    for policy in &tier.policies {
        let staged = if policy.staged { "  (staged: not enforced)" } else { "" };
        let none = if policy.rules.is_empty() { ": no rules" } else { "" };
        writeln!(to, "    {} {}{none}{staged}", tame(&policy.kind), tame(&policy.name))?;
        rules(&policy.rules, paint, to)?;
    }
    if let Some(count) = &tier.default_count {
        writeln!(to, "    its end: {}", count.text())?;
    }
    Ok(())
}

fn rules(rules: &[Rule], paint: Paint, to: &mut dyn Write) -> io::Result<()> {
    for rule in rules {
        let action = paint.tone(tone(&rule.action), tame(&format!("{:<5}", rule.action)));
        let count = rule.count.as_ref().map(|count| format!("  ({})", count.text()));
        let count = count.unwrap_or_default();
        writeln!(to, "      {:>3}  {action}  {}{count}", rule.rule, tame(&rule.matches))?;
        if let Some(fault) = &rule.fault {
            writeln!(to, "           {}", paint.tone(Tone::Bad, tame(fault)))?;
        }
    }
    Ok(())
}

fn tone(action: &str) -> Tone {
    match action {
        "allow" => Tone::Good,
        "deny" => Tone::Bad,
        _ => Tone::Warn,
    }
}

impl Sheet for Trace {
    fn text(&self, wide: bool, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        let way = format!("{} -> {}", self.source, self.destination);
        LABELS.line(to, "Packet", tame(&way))?;
        let verdict = self.outcome.verdict;
        LABELS.line(to, "Verdict", paint.tone(tone(verdict), verdict))?;
        for note in &self.notes {
            LABELS.line(to, "Note", paint.tone(Tone::Warn, tame(note)))?;
        }
        writeln!(to)?;
        steps(&self.outcome.steps, wide, paint, to)?;
        let Some(staged) = &self.staged else { return Ok(()) };
        let verdict = paint.tone(tone(staged.verdict), staged.verdict);
        writeln!(to, "\nWith the staged policies in force: {verdict}\n")?;
        steps(&staged.steps, wide, paint, to)
    }
}

fn steps(steps: &[Step], wide: bool, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(STEPS, wide, paint);
    for step in steps {
        let by = step.policy.as_ref().or(step.profile.as_ref());
        let kind = match (&step.kind, &step.profile) {
            (Some(kind), _) => Some(kind.clone()),
            (None, Some(_)) => Some("Profile".to_owned()),
            (None, None) => None,
        };
        let cells = vec![
            Cell::new(match &step.class {
                Some(class) => format!("{}, {class}", step.direction),
                None => step.direction.clone(),
            }),
            Cell::maybe(step.tier.as_ref()),
            Cell::maybe(kind),
            Cell::maybe(by),
            Cell::new(step.rule.0.map_or_else(|| "default".to_owned(), |rule| rule.to_string())),
            Cell::new(step.action.clone()).tone(tone(&step.action)),
            Cell::new(step.endpoint.clone()),
            Cell::maybe(step.matches.clone()),
        ];
        table.push(cells, to)?;
    }
    table.finish(to)
}

const STEPS: &[Column] = &[
    Column::left("DIRECTION"),
    Column::left("TIER"),
    Column::left("KIND"),
    Column::left("NAME"),
    Column::left("RULE"),
    Column::left("ACTION"),
    Column::left("ENDPOINT").wide(),
    Column::left("MATCHES").wide(),
];

/// Packets of one second that agree in all but the port they come from.
#[derive(Debug, Serialize)]
pub struct Flow {
    /// Milliseconds since the Unix epoch.
    start: u64,
    end: u64,
    /// `ingress` or `egress`, seen from the endpoint whose policies decided.
    direction: Option<&'static str>,
    /// `allow`, `deny` or `log`.
    verdict: Option<&'static str>,
    /// What decided.
    by: String,
    source: End,
    destination: End,
    /// As policies name it, or its number.
    protocol: String,
    port: Option<u32>,
    icmp_type: Option<u32>,
    icmp_code: Option<u32>,
    packets: u64,
    /// What would have become of it if staged policies were enforced, where that is anything else.
    staged: Option<Would>,
}

/// What would have become of a flow.
#[derive(Debug, Serialize)]
struct Would {
    /// `allow` or `deny`.
    verdict: &'static str,
    /// What would have decided.
    by: String,
}

/// One end of a flow.
#[derive(Debug, Serialize)]
struct End {
    address: String,
    /// `NAMESPACE/NAME` of a WorkloadEndpoint of the node, `hep:NAME` of a HostEndpoint.
    endpoint: Option<String>,
}

impl From<v1::Flow> for Flow {
    fn from(flow: v1::Flow) -> Self {
        let (direction, verdict) = (flow.direction().name(), flow.verdict().name());
        let would = named(flow.staged_verdict().name());
        let end = |address, endpoint: String| End {
            address,
            endpoint: Some(endpoint).filter(|endpoint| !endpoint.is_empty()),
        };
        Self {
            start: flow.start_millis,
            end: flow.end_millis,
            direction: named(direction),
            verdict: named(verdict),
            by: flow.by,
            source: end(flow.source, flow.source_endpoint),
            destination: end(flow.destination, flow.destination_endpoint),
            protocol: protocol(flow.protocol),
            port: flow.port,
            icmp_type: flow.icmp_type,
            icmp_code: flow.icmp_code,
            packets: flow.packets,
            staged: would.map(|verdict| Would { verdict, by: flow.staged_by }),
        }
    }
}

impl Would {
    fn text(&self) -> String {
        format!("{}: {}", self.verdict, self.by)
    }
}

impl End {
    fn text(&self) -> String {
        self.endpoint.as_ref().unwrap_or(&self.address).clone()
    }
}

impl output::Row for Flow {
    const COLUMNS: &'static [Column] = &[
        Column::left("TIME"),
        Column::left("VERDICT"),
        Column::left("DIRECTION"),
        Column::left("FROM"),
        Column::left("TO"),
        Column::left("PROTOCOL"),
        Column::right("PORT"),
        Column::right("PACKETS"),
        Column::left("BY"),
        Column::left("STAGED"),
        Column::left("SOURCE").wide(),
        Column::left("DESTINATION").wide(),
        Column::right("ICMP").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        let tone = match self.verdict {
            Some("allow") => Tone::Good,
            Some("deny") => Tone::Bad,
            _ => Tone::Warn,
        };
        let icmp = self.icmp_type.map(|kind| match self.icmp_code {
            Some(code) => format!("{kind}/{code}"),
            None => kind.to_string(),
        });
        vec![
            Cell::new(timestamp(self.start / 1000)),
            Cell::maybe(self.verdict).tone(tone),
            Cell::maybe(self.direction),
            Cell::new(self.source.text()),
            Cell::new(self.destination.text()),
            Cell::new(self.protocol.clone()),
            Cell::maybe(self.port),
            Cell::new(self.packets.to_string()),
            Cell::new(self.by.clone()),
            Cell::maybe(self.staged.as_ref().map(Would::text)),
            Cell::new(self.source.address.clone()),
            Cell::new(self.destination.address.clone()),
            Cell::maybe(icmp),
        ]
    }
}

/// The name that policies have for a protocol.
fn protocol(number: u32) -> String {
    let name = match number {
        1 => "ICMP",
        6 => "TCP",
        17 => "UDP",
        58 => "ICMPv6",
        132 => "SCTP",
        136 => "UDPLite",
        _ => return number.to_string(),
    };
    name.to_owned()
}
