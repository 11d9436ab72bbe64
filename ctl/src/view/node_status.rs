//! `margay node status`: sessions by family and by what makes them.

use std::io::{self, Write};

use margay_proto::v1::{self, AdminState, SessionState};
use serde::Serialize;

use crate::{
    output::{
        Sheet,
        table::{Cell, Column, Paint, Table, Tone},
    },
    values,
};

/// The sessions of a node.
#[derive(Debug, Serialize)]
pub struct NodeStatus {
    ipv4: Vec<Session>,
    ipv6: Vec<Session>,
}

/// A session.
#[derive(Debug, Serialize)]
struct Session {
    address: Option<String>,
    name: String,
    r#type: &'static str,
    asn: Option<u32>,
    /// `up`, `start` or `down`.
    state: &'static str,
    /// Seconds since the Unix epoch; null where nothing has happened yet.
    since: Option<u64>,
    /// The state in the words of the RFC, and why the session went down.
    info: String,
}

impl NodeStatus {
    /// Of these peers, at this time (seconds since the Unix epoch).
    pub fn new(peers: Vec<v1::Peer>, now: u64) -> Self {
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for peer in peers {
            // A cable without addresses is spoken over with link-local ones.
            let is_v6 = peer.address.as_ref().map_or(peer.interface.is_some(), |a| a.contains(':'));
            let session = Session::new(peer, now);
            if is_v6 { ipv6.push(session) } else { ipv4.push(session) }
        }
        Self { ipv4, ipv6 }
    }
}

impl Session {
    fn new(peer: v1::Peer, now: u64) -> Self {
        let established = peer.state() == SessionState::Established;
        let down = peer.admin_state() == AdminState::Down;
        let state = match (established, down) {
            (true, _) => "up",
            (false, false) => "start",
            (false, true) => "down",
        };
        let since = match peer.uptime_seconds {
            Some(uptime) if established => Some(now.saturating_sub(uptime)),
            _ => peer.last_error.as_ref().map(|error| error.at),
        };
        let mut info = peer.state().name().to_owned();
        if let Some(error) = peer.last_error.as_ref().filter(|_| !established) {
            info = format!("{info}: {}", super::tame(&error.text));
        }
        let asn = Some(peer.asn).flatten();
        Self {
            r#type: kind(&peer.name),
            address: peer.address,
            name: peer.name,
            asn,
            state,
            since,
            info,
        }
    }

    fn cells(&self) -> Vec<Cell> {
        let tone = match self.state {
            "up" => Tone::Good,
            "down" => Tone::Warn,
            _ => Tone::Bad,
        };
        vec![
            Cell::new(self.address.clone().unwrap_or_else(|| self.name.clone())),
            Cell::new(self.r#type),
            Cell::maybe(self.asn),
            Cell::new(self.state).tone(tone),
            Cell::maybe(self.since.map(values::timestamp)),
            Cell::new(self.info.clone()),
            Cell::new(self.name.clone()),
        ]
    }
}

/// What makes a session of this name: those of resources have names of their own.
fn kind(name: &str) -> &'static str {
    const KINDS: [(&str, &str); 4] = [
        ("Mesh_", "node-to-node mesh"),
        ("Node_", "node specific"),
        ("Global_", "global"),
        ("Local_Workload_", "local workload"),
    ];
    let known = KINDS.iter().find(|(begin, _)| name.starts_with(begin));
    known.map_or("configuration file", |(_, kind)| kind)
}

const COLUMNS: &[Column] = &[
    Column::left("PEER-ADDRESS"),
    Column::left("PEER-TYPE"),
    Column::right("ASN").wide(),
    Column::left("STATE"),
    Column::left("SINCE"),
    Column::left("INFO"),
    Column::left("NAME").wide(),
];

impl Sheet for NodeStatus {
    fn text(&self, wide: bool, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        for (index, (family, sessions)) in
            [("IPv4", &self.ipv4), ("IPv6", &self.ipv6)].into_iter().enumerate()
        {
            if index > 0 {
                writeln!(to)?;
            }
            if sessions.is_empty() {
                writeln!(to, "{family}: no peers")?;
                continue;
            }
            writeln!(to, "{}", paint.tone(Tone::Strong, family))?;
            let mut table = Table::new(COLUMNS, wide, paint);
            for session in sessions {
                table.push(session.cells(), to)?;
            }
            table.finish(to)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
