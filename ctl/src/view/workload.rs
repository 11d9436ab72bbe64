//! What `margay workload` prints.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use margay_proto::v1;
use serde::Serialize;

use super::{Labels, tame};
use crate::{
    output::{
        self, Sheet,
        table::{Cell, Column, Paint, Table, Tone},
    },
    values::timestamp,
};

const LABELS: Labels = Labels { indent: 0, width: 11 };

/// A container of this node, or an endpoint applied by hand.
#[derive(Debug, Serialize)]
pub struct Row {
    namespace: Option<String>,
    pod: Option<String>,
    pod_uid: Option<String>,
    /// `allocating`, `configured`, `live`, `deleting`, `applied`.
    state: String,
    addresses: Vec<String>,
    /// The host's end of the link.
    host_interface: Option<String>,
    mac: Option<String>,
    mtu: Option<u32>,
    network: Option<String>,
    container_id: Option<String>,
    /// The container's end.
    interface: Option<String>,
    netns: Option<String>,
    endpoint: Option<Endpoint>,
    /// Seconds since the Unix epoch.
    created: Option<u64>,
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Endpoint {
    namespace: String,
    name: String,
}

impl From<v1::Workload> for Row {
    fn from(one: v1::Workload) -> Self {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let pod = one.pod.unwrap_or_default();
        let attachment = one.attachment.unwrap_or_default();
        let endpoint = given(one.endpoint_name)
            .map(|name| Endpoint { namespace: one.endpoint_namespace, name });
        Self {
            namespace: given(pod.namespace)
                .or_else(|| endpoint.as_ref().map(|endpoint| endpoint.namespace.clone())),
            pod: given(pod.name),
            pod_uid: given(pod.uid),
            state: one.state,
            addresses: one.addresses,
            host_interface: given(one.host_interface),
            mac: given(one.mac),
            mtu: Some(one.mtu).filter(|mtu| *mtu > 0),
            network: given(attachment.network),
            container_id: given(attachment.container_id),
            interface: given(attachment.ifname),
            netns: given(one.netns),
            endpoint,
            created: Some(one.created).filter(|created| *created > 0),
            problem: given(one.problem),
        }
    }
}

impl Row {
    /// The pod; without one the endpoint, or the container.
    fn name(&self) -> Option<&String> {
        let endpoint = self.endpoint.as_ref().map(|endpoint| &endpoint.name);
        self.pod.as_ref().or(endpoint).or(self.container_id.as_ref())
    }

    fn tone(&self) -> Tone {
        match self.state.as_str() {
            _ if self.problem.is_some() => Tone::Bad,
            "live" | "applied" => Tone::Good,
            _ => Tone::Warn,
        }
    }
}

impl output::Row for Row {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAMESPACE"),
        Column::left("NAME"),
        Column::left("STATE"),
        Column::left("ADDRESSES"),
        Column::left("HOST INTERFACE"),
        Column::left("NETWORK").wide(),
        Column::left("INTERFACE").wide(),
        Column::left("MAC").wide(),
        Column::right("MTU").wide(),
        Column::left("CONTAINER").wide(),
        Column::left("CREATED").wide(),
        Column::left("PROBLEM").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::maybe(self.namespace.as_ref()),
            Cell::maybe(self.name()),
            Cell::new(self.state.clone()).tone(self.tone()),
            Cell::new(self.addresses.join(",")),
            Cell::maybe(self.host_interface.as_ref()),
            Cell::maybe(self.network.as_ref()),
            Cell::maybe(self.interface.as_ref()),
            Cell::maybe(self.mac.as_ref()),
            Cell::maybe(self.mtu),
            Cell::maybe(self.container_id.as_ref()),
            Cell::maybe(self.created.map(timestamp)),
            Cell::maybe(self.problem.as_ref()),
        ]
    }
}

/// One of them, and how it is.
#[derive(Debug, Serialize)]
pub struct Shown {
    #[serde(flatten)]
    workload: Row,
    findings: Vec<Finding>,
}

/// What there should be.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    good: bool,
    detail: String,
}

impl From<v1::TraceWorkloadResponse> for Shown {
    fn from(answer: v1::TraceWorkloadResponse) -> Self {
        let finding = |finding| {
            let v1::WorkloadFinding { what, good, detail } = finding;
            Finding { what, good, detail }
        };
        Self {
            workload: answer.workload.unwrap_or_default().into(),
            findings: answer.findings.into_iter().map(finding).collect(),
        }
    }
}

impl Sheet for Shown {
    fn text(&self, _wide: bool, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        let one = &self.workload;
        let state = paint.tone(one.tone(), tame(&one.state));
        LABELS.line(to, "Name", one.name().map_or_else(|| "-".to_owned(), |name| tame(name)))?;
        LABELS.line(to, "State", state)?;
        let mut line = |label: &str, value: Option<String>| match value {
            Some(value) => LABELS.line(to, label, tame(&value)),
            None => Ok(()),
        };
        line("Problem", one.problem.clone())?;
        line("Namespace", one.namespace.clone())?;
        line("Addresses", Some(one.addresses.join(", ")).filter(|text| !text.is_empty()))?;
        line("Interface", one.interface.clone())?;
        line("On the host", one.host_interface.clone())?;
        line("MAC", one.mac.clone())?;
        line("MTU", one.mtu.map(|mtu| mtu.to_string()))?;
        line("Network", one.network.clone())?;
        line("Container", one.container_id.clone())?;
        line("Netns", one.netns.clone())?;
        let endpoint = |endpoint: &Endpoint| format!("{}/{}", endpoint.namespace, endpoint.name);
        line("Endpoint", one.endpoint.as_ref().map(endpoint))?;
        line("Created", one.created.map(timestamp))?;
        if !self.findings.is_empty() {
            writeln!(to)?;
        }
        for finding in &self.findings {
            let (word, tone) =
                if finding.good { ("good", Tone::Good) } else { ("bad ", Tone::Bad) };
            let word = paint.tone(tone, word);
            writeln!(to, "{word}  {}: {}", tame(&finding.what), tame(&finding.detail))?;
        }
        Ok(())
    }
}

/// One of them with its history.
#[derive(Debug, Serialize)]
pub struct Trace {
    #[serde(flatten)]
    shown: Shown,
    steps: Vec<Step>,
}

/// Something that was done.
#[derive(Debug, Serialize)]
struct Step {
    step: String,
    /// When it began, milliseconds since the Unix epoch.
    at_millis: u64,
    micros: u64,
    error: Option<String>,
    detail: Option<String>,
}

impl From<v1::TraceWorkloadResponse> for Trace {
    fn from(mut answer: v1::TraceWorkloadResponse) -> Self {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let step = |step| {
            let v1::WorkloadStep { step, at, micros, error, detail } = step;
            Step { step, at_millis: at, micros, error: given(error), detail: given(detail) }
        };
        let steps = std::mem::take(&mut answer.steps).into_iter().map(step).collect();
        Self { shown: answer.into(), steps }
    }
}

impl Sheet for Trace {
    fn text(&self, wide: bool, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        self.shown.text(wide, paint, to)?;
        if self.steps.is_empty() {
            return writeln!(to, "\nNothing was done for it since the daemon started.");
        }
        writeln!(to)?;
        let mut table = Table::new(STEPS, wide, paint);
        for step in &self.steps {
            let (result, tone) = match &step.error {
                Some(error) => (error.clone(), Tone::Bad),
                None => ("done".to_owned(), Tone::Good),
            };
            let cells = vec![
                Cell::new(moment(step.at_millis)),
                Cell::new(took(step.micros)),
                Cell::new(step.step.clone()),
                Cell::new(result).tone(tone),
                Cell::maybe(step.detail.as_ref()),
            ];
            table.push(cells, to)?;
        }
        table.finish(to)
    }
}

const STEPS: &[Column] = &[
    Column::left("AT"),
    Column::right("TOOK"),
    Column::left("STEP"),
    Column::left("RESULT"),
    Column::left("DETAIL"),
];

/// `2026-03-01T09:30:00.123Z`
fn moment(millis: u64) -> String {
    let seconds = timestamp(millis / 1000);
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), millis % 1000)
}

/// Milliseconds, as long as they say more than seconds.
fn took(micros: u64) -> String {
    match micros {
        0..10_000_000 => format!("{}.{:03} ms", micros / 1000, micros % 1000),
        _ => format!("{}.{:01} s", micros / 1_000_000, micros / 100_000 % 10),
    }
}

/// What an installation came to.
#[derive(Debug, Default, Serialize)]
pub struct Installed {
    /// Files that were made or replaced.
    pub installed: Vec<PathBuf>,
    /// Files that were as they should be.
    pub unchanged: Vec<PathBuf>,
    /// Configurations that runtimes take before ours.
    pub shadowed_by: Vec<PathBuf>,
}

impl Sheet for Installed {
    fn text(&self, _wide: bool, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        for path in &self.installed {
            writeln!(to, "installed {}", path.display())?;
        }
        for path in &self.unchanged {
            writeln!(to, "unchanged {}", path.display())?;
        }
        for path in &self.shadowed_by {
            let warning = paint.tone(Tone::Warn, "warning:");
            writeln!(to, "{warning} runtimes take {} first", path.display())?;
        }
        Ok(())
    }
}

/// What was taken away.
#[derive(Debug, Default, Serialize)]
pub struct Removed {
    /// Files that are gone.
    pub removed: Vec<PathBuf>,
    /// Files of our names that are not ours.
    pub left: Vec<PathBuf>,
}

impl Sheet for Removed {
    fn text(&self, _wide: bool, _paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        for path in &self.removed {
            writeln!(to, "removed {}", path.display())?;
        }
        for path in &self.left {
            writeln!(to, "left {}: not installed by this command", path.display())?;
        }
        if self.removed.is_empty() && self.left.is_empty() {
            writeln!(to, "nothing is installed")?;
        }
        Ok(())
    }
}
