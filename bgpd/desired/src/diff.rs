//! What changes between two configurations, and what each change costs.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr};

use bgp_core::{config::PeerConfig, fsm, policy::RoutePolicy};

use crate::{
    desired::Desired,
    show::{self, Keys},
};

/// What a step is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepKind {
    /// `[node]`, `[api]`, `[http]`, `[datastore]`, `[sync]`: a key.
    Daemon,
    /// A key of `[bgp]` itself, or all of it.
    Bgp,
    /// A route policy, by name.
    Policy,
    /// A peer that was not there.
    PeerAdded,
    /// A peer that is no longer there.
    PeerRemoved,
    /// A peer with other settings.
    PeerChanged,
    /// An entry of `originate`.
    Originate,
    /// An entry of `redistribute`.
    Redistribute,
    /// A key of `[fib]`.
    Fib,
}

impl StepKind {
    /// For JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Bgp => "bgp",
            Self::Policy => "policy",
            Self::PeerAdded => "peer-added",
            Self::PeerRemoved => "peer-removed",
            Self::PeerChanged => "peer-changed",
            Self::Originate => "originate",
            Self::Redistribute => "redistribute",
            Self::Fib => "fib",
        }
    }
}

/// What a step costs, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Impact {
    /// Taken over as it runs.
    Live,
    /// Sessions stay; routes are evaluated again.
    Soft,
    /// The sessions concerned start, stop or start again.
    Reset,
    /// Only a restart of the daemon takes it over; until then the old value is in force.
    Restart,
}

impl Impact {
    /// For JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Soft => "soft",
            Self::Reset => "reset",
            Self::Restart => "restart",
        }
    }
}

impl From<fsm::Impact> for Impact {
    fn from(impact: fsm::Impact) -> Self {
        match impact {
            fsm::Impact::None | fsm::Impact::Live => Self::Live,
            fsm::Impact::Soft => Self::Soft,
            fsm::Impact::Reset => Self::Reset,
        }
    }
}

/// One difference. Displayed on one line; secrets are never part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it is about.
    pub kind: StepKind,
    /// The name of the peer or policy, the key, or the prefix.
    pub subject: String,
    /// What it costs.
    pub impact: Impact,
    /// From what to what.
    pub text: String,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, subject, text, .. } = self;
        match kind {
            StepKind::Daemon | StepKind::Bgp | StepKind::Fib => write!(f, "{subject}: {text}"),
            StepKind::Policy => write!(f, "policy {subject}: {text}"),
            StepKind::PeerAdded | StepKind::PeerRemoved | StepKind::PeerChanged => {
                write!(f, "peer {subject}: {text}")
            }
            StepKind::Originate => write!(f, "originate {subject}: {text}"),
            StepKind::Redistribute => write!(f, "redistribute {subject}: {text}"),
        }?;
        let consequence = match (kind, self.impact) {
            (_, Impact::Restart) => "needs a restart of the daemon",
            (StepKind::PeerAdded, _) => "its session starts",
            (StepKind::PeerRemoved, _) => "its session ends",
            (_, Impact::Live) => return Ok(()),
            (_, Impact::Soft) => "routes are evaluated again",
            (StepKind::PeerChanged, Impact::Reset) => "its session starts again",
            (_, Impact::Reset) => "every session starts again",
        };
        write!(f, " ({consequence})")
    }
}

/// The steps from `old` to `new`, in the order of the file's sections; none where they mean the
/// same.
pub fn diff(old: &Desired, new: &Desired) -> Vec<Step> {
    let mut steps = Steps(Vec::new());
    let daemon = |_: &str| Impact::Restart;
    // The daemon is called what it was called at its start; what it registers may change.
    let node = |key: &str| match key {
        "name" | "state-dir" | "secrets-dir" => Impact::Restart,
        _ => Impact::Live,
    };
    steps.keys(StepKind::Daemon, "node", show::node(old), show::node(new), node);
    steps.keys(StepKind::Daemon, "api", show::api(old), show::api(new), daemon);
    steps.keys(StepKind::Daemon, "http", show::http(old), show::http(new), daemon);
    let (before, after) = (show::datastore(old), show::datastore(new));
    steps.keys(StepKind::Daemon, "datastore", before, after, daemon);
    steps.keys(StepKind::Daemon, "sync", show::sync(old), show::sync(new), daemon);
    steps.policies(&old.policies, &new.policies);
    steps.bgp(old, new);
    steps.peers(old.peers(), new.peers());
    steps.fib(old, new);
    let (before, after) = (show::reach(&old.reach), show::reach(&new.reach));
    steps.named(StepKind::Fib, before, after, Impact::Live, |_: &String, after| after.clone());
    steps.0
}

struct Steps(Vec<Step>);

impl Steps {
    fn push(
        &mut self,
        kind: StepKind,
        subject: impl Into<String>,
        impact: Impact,
        text: impl Into<String>,
    ) {
        self.0.push(Step { kind, subject: subject.into(), impact, text: text.into() });
    }

    /// A step for each key that differs.
    fn keys(
        &mut self,
        kind: StepKind,
        section: &str,
        old: Keys,
        new: Keys,
        impact: impl Fn(&str) -> Impact,
    ) {
        for (key, text) in changed(old, new) {
            self.push(kind, format!("{section}.{key}"), impact(key), text);
        }
    }

    /// A step for each thing that came, went or differs.
    fn named<T: PartialEq>(
        &mut self,
        kind: StepKind,
        old: BTreeMap<String, T>,
        new: BTreeMap<String, T>,
        impact: Impact,
        changed: impl Fn(&T, &T) -> String,
    ) {
        for name in old.keys().filter(|name| !new.contains_key(*name)) {
            self.push(kind, name, impact, "removed");
        }
        for (name, value) in &new {
            match old.get(name) {
                None => self.push(kind, name, impact, "added"),
                Some(before) if before != value => {
                    self.push(kind, name, impact, changed(before, value));
                }
                Some(_) => {}
            }
        }
    }

    fn policies<P: AsRef<RoutePolicy> + PartialEq>(
        &mut self,
        old: &BTreeMap<String, P>,
        new: &BTreeMap<String, P>,
    ) {
        fn by_name<P: AsRef<RoutePolicy>>(
            policies: &BTreeMap<String, P>,
        ) -> BTreeMap<String, &RoutePolicy> {
            policies.iter().map(|(name, policy)| (name.clone(), policy.as_ref())).collect()
        }
        // Those who use it have a step of their own.
        let kind = StepKind::Policy;
        self.named(kind, by_name(old), by_name(new), Impact::Live, |before, after| {
            let rules = before.definition() == after.definition();
            if rules { "its sets changed" } else { "changed" }.to_owned()
        });
    }

    fn bgp(&mut self, old: &Desired, new: &Desired) {
        match (&old.bgp, &new.bgp) {
            (None, None) => return,
            (None, Some(_)) => self.push(StepKind::Bgp, "bgp", Impact::Reset, "added"),
            (Some(_), None) => self.push(StepKind::Bgp, "bgp", Impact::Reset, "removed"),
            (Some(before), Some(after)) => {
                let (before, after) = (show::bgp_settings(before), show::bgp_settings(after));
                self.keys(StepKind::Bgp, "bgp", before, after, bgp_impact);
            }
        }
        // The router id is the same on both sides: whether it changed is seen above.
        let (old, new) = (old.global(Ipv4Addr::UNSPECIFIED), new.global(Ipv4Addr::UNSPECIFIED));
        let originate = |config: &bgp_core::config::GlobalConfig| {
            let text = show::origination;
            config.originate.iter().map(|o| (o.prefix.to_string(), text(o))).collect()
        };
        self.named(
            StepKind::Originate,
            originate(&old),
            originate(&new),
            Impact::Live,
            |before: &String, after| arrow(before, after),
        );
        let redistribute = |config: &bgp_core::config::GlobalConfig| {
            let subject = |r: &bgp_core::config::Redistribution| {
                format!("{} of table {}", crate::origin::source_text(r.source), r.table)
            };
            config
                .redistribute
                .iter()
                .map(|r| (subject(r), (show::redistribution(r), r.policy.clone())))
                .collect()
        };
        self.named(
            StepKind::Redistribute,
            redistribute(&old),
            redistribute(&new),
            Impact::Live,
            |(before, policy): &(String, _), (after, _)| match (before == after, policy) {
                (true, Some(policy)) => format!("policy {} changed", policy.name()),
                _ => arrow(before, after),
            },
        );
    }

    fn peers(&mut self, old: &[PeerConfig], new: &[PeerConfig]) {
        fn by_name(peers: &[PeerConfig]) -> BTreeMap<&str, &PeerConfig> {
            peers.iter().map(|peer| (peer.name.as_str(), peer)).collect()
        }
        let (before, after) = (by_name(old), by_name(new));
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            self.push(StepKind::PeerRemoved, *name, Impact::Reset, "removed");
        }
        for (name, peer) in after {
            match before.get(name) {
                None => self.push(StepKind::PeerAdded, name, Impact::Reset, "added"),
                Some(before) if *before != peer => {
                    let impact = fsm::change_impact(before, peer).into();
                    self.push(StepKind::PeerChanged, name, impact, peer_changes(before, peer));
                }
                Some(_) => {}
            }
        }
    }

    fn fib(&mut self, old: &Desired, new: &Desired) {
        let (before, after) = (show::fib(&old.fib), show::fib(&new.fib));
        let impact = |key: &str| match key {
            "export" => Impact::Soft,
            _ => Impact::Live,
        };
        self.keys(StepKind::Fib, "fib", before, after, impact);
        if let (Some(before), Some(after)) = (&old.fib.export, &new.fib.export)
            && before != after
            && before.name() == after.name()
        {
            let text = format!("policy {} changed", after.name());
            self.push(StepKind::Fib, "fib.export", Impact::Soft, text);
        }
    }
}

/// What [`fsm::global_change_impact`] says of the key, which is asked of whole configurations.
fn bgp_impact(key: &str) -> Impact {
    match key {
        "asn" | "router-id" | "confederation" => Impact::Reset,
        "cluster-id" | "multipath" | "require-policy" | "decision" => Impact::Soft,
        // `listen`; and `hold-time`, whose consequence the peers have that take it from here.
        _ => Impact::Live,
    }
}

fn peer_changes(old: &PeerConfig, new: &PeerConfig) -> String {
    let mut out: Vec<String> = changed(show::peer(old), show::peer(new))
        .into_iter()
        .map(|(key, text)| format!("{key} {text}"))
        .collect();
    let hidden = (old.password.is_some() || old.password_error.is_some())
        && (new.password.is_some() || new.password_error.is_some());
    if hidden && (&old.password, &old.password_error) != (&new.password, &new.password_error) {
        out.push("password changed".to_owned());
    }
    for (key, before, after) in
        [("import", &old.import, &new.import), ("export", &old.export, &new.export)]
    {
        if let (Some(before), Some(after)) = (before, after)
            && before != after
            && before.name() == after.name()
        {
            out.push(format!("{key} policy {} changed", after.name()));
        }
    }
    out.join(", ")
}

/// The keys that differ, with their values on both sides.
fn changed(old: Keys, new: Keys) -> Vec<(&'static str, String)> {
    let find = |keys: &Keys, key: &str| {
        keys.iter().find(|(known, _)| *known == key).map(|(_, value)| value.clone())
    };
    let mut out = Vec::new();
    for (key, before) in &old {
        match find(&new, key) {
            Some(after) if *before != after => out.push((*key, arrow(before, &after))),
            Some(_) => {}
            None => out.push((*key, arrow(before, "not set"))),
        }
    }
    for (key, after) in &new {
        if find(&old, key).is_none() {
            out.push((*key, arrow("not set", after)));
        }
    }
    out
}

fn arrow(before: &str, after: &str) -> String {
    format!("{before} -> {after}")
}

#[cfg(test)]
mod tests;
