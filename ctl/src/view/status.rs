//! `margay status`.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, Write},
};

use margay_proto::v1;
use serde::Serialize;

use super::{Labels, enforcement::Enforcement};
use crate::{
    output::{
        Sheet,
        table::{Paint, Tone},
    },
    values,
};

/// The daemon at a glance.
#[derive(Debug, Serialize)]
pub struct Status {
    node: String,
    version: String,
    router_id: Option<String>,
    asn: Option<u32>,
    uptime_seconds: u64,
    peers: Peers,
    routes: BTreeMap<&'static str, Routes>,
    datastore: Datastore,
    registration: Option<Registration>,
    listen_missing: Vec<String>,
    upstream: Option<Upstream>,
    /// `null` where the node has no policy dataplane.
    policy: Option<Enforcement>,
}

/// Who tells the daemon what changes in the datastore.
#[derive(Debug, Serialize)]
struct Upstream {
    address: String,
    connected: bool,
    path: Vec<String>,
    lag_seconds: Option<u64>,
    cause: Option<String>,
}

impl From<v1::UpstreamStatus> for Upstream {
    fn from(status: v1::UpstreamStatus) -> Self {
        let v1::UpstreamStatus { address, connected, path, lag_milliseconds, cause } = status;
        let lag_seconds = lag_milliseconds.map(|lag| lag / 1000);
        let cause = Some(cause).filter(|cause| !cause.is_empty());
        Self { address, connected, path, lag_seconds, cause }
    }
}

impl Upstream {
    fn line(&self, paint: Paint) -> Cow<'_, str> {
        let Self { address, connected, lag_seconds, cause, .. } = self;
        let known = match lag_seconds {
            Some(lag) => format!("what is known is {} old", values::duration(*lag)),
            None => "nothing is known yet".to_owned(),
        };
        match (connected, lag_seconds) {
            (true, Some(lag)) if *lag > OLD => {
                paint.tone(Tone::Warn, format!("{address}, connected; {known}"))
            }
            (true, _) => paint.tone(Tone::Good, format!("{address}, connected")),
            (false, _) => {
                let cause = cause.as_deref().unwrap_or("being asked");
                paint.tone(Tone::Bad, format!("{address}, not connected ({cause}); {known}"))
            }
        }
    }
}

/// Seconds after which what an upstream tells is worth a remark: it says every two that it lives.
const OLD: u64 = 10;

/// The node's own Node in the datastore.
#[derive(Debug, Serialize)]
struct Registration {
    registered: bool,
    ipv4: Option<String>,
    ipv6: Option<String>,
    problems: Vec<String>,
}

impl From<v1::RegistrationStatus> for Registration {
    fn from(status: v1::RegistrationStatus) -> Self {
        let v1::RegistrationStatus { registered, ipv4, ipv6, problems } = status;
        Self { registered, ipv4, ipv6, problems }
    }
}

#[derive(Debug, Serialize)]
struct Peers {
    total: u64,
    established: u64,
}

#[derive(Debug, Serialize)]
struct Routes {
    paths: u64,
    best: u64,
    installed: u64,
}

#[derive(Debug, Serialize)]
struct Datastore {
    r#type: String,
    connected: Option<bool>,
}

impl From<v1::GetStatusResponse> for Status {
    fn from(status: v1::GetStatusResponse) -> Self {
        let peers = status.peers.unwrap_or_default();
        let datastore = status.datastore.unwrap_or_default();
        let routes = status.routes.iter().map(|totals| {
            let v1::FamilyTotals { paths, best, installed, .. } = *totals;
            (totals.family().name(), Routes { paths, best, installed })
        });
        Self {
            node: status.node,
            version: status.version,
            router_id: Some(status.router_id).filter(|id| !id.is_empty()),
            // Nobody has AS 0 (RFC 7607): a daemon without `[bgp]`.
            asn: Some(status.asn).filter(|asn| *asn > 0),
            uptime_seconds: status.uptime_seconds,
            peers: Peers { total: peers.total, established: peers.established },
            routes: routes.collect(),
            datastore: Datastore { r#type: datastore.r#type, connected: datastore.connected },
            registration: status.registration.map(Registration::from),
            listen_missing: status.listen_missing,
            upstream: status.upstream.map(Upstream::from),
            policy: None,
        }
    }
}

impl Status {
    /// The node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// With how policy stands on it.
    pub fn with(self, policy: Option<Enforcement>) -> Self {
        Self { policy, ..self }
    }
}

impl Sheet for Status {
    fn text(&self, _wide: bool, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        let labels = Labels { indent: 0, width: 12 };
        labels.line(to, "Node", paint.tone(Tone::Strong, self.node.as_str()))?;
        labels.line(to, "Version", &self.version)?;
        labels.line(to, "Router ID", super::or_dash(self.router_id.as_deref()))?;
        labels.line(to, "ASN", super::or_dash(self.asn))?;
        labels.line(to, "Uptime", values::duration(self.uptime_seconds))?;
        let Peers { total, established } = self.peers;
        let tone = if established < total { Tone::Warn } else { Tone::Good };
        let peers = format!("{established} of {total} established");
        labels.line(to, "Peers", paint.tone(tone, peers))?;
        for (family, Routes { paths, best, installed }) in &self.routes {
            let counts = format!("{paths} paths, {best} best, {installed} in the kernel");
            labels.line(to, family, counts)?;
        }
        let connection = match self.datastore.connected {
            Some(true) => paint.tone(Tone::Good, ", connected"),
            Some(false) => paint.tone(Tone::Bad, ", not connected"),
            None => "".into(),
        };
        labels.line(to, "Datastore", format!("{}{connection}", self.datastore.r#type))?;
        for address in &self.listen_missing {
            let text = format!("{address} is not an address of this host");
            labels.line(to, "Listening", paint.tone(Tone::Warn, text))?;
        }
        if let Some(upstream) = &self.upstream {
            labels.line(to, "Upstream", upstream.line(paint))?;
        }
        if let Some(registration) = &self.registration {
            let addresses = [&registration.ipv4, &registration.ipv6];
            let addresses: Vec<_> = addresses.into_iter().flatten().map(String::as_str).collect();
            let text = match (registration.registered, addresses.as_slice()) {
                (false, _) => paint.tone(Tone::Bad, "not registered"),
                (true, []) => paint.tone(Tone::Good, "registered, without an address"),
                (true, addresses) => {
                    paint.tone(Tone::Good, format!("registered as {}", addresses.join(", ")))
                }
            };
            labels.line(to, "Cluster", text)?;
            for problem in &registration.problems {
                labels.line(to, "", paint.tone(Tone::Warn, problem.as_str()))?;
            }
        }
        if let Some(policy) = &self.policy {
            policy.text(labels, paint, to)?;
        }
        Ok(())
    }
}
