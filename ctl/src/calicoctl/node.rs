//! `calicoctl node`: the sessions of this node, and what its host is.

mod checksystem;
mod diags;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use margay_proto::v1::{self, AdminState, SessionState};

use super::{boxed, cli::NodeCommand, print, refused::Refused, session::Session, unsupported};
use crate::error::Failure;

/// Shows the sessions, looks at the host, or packs up all of it; the rest is refused by name.
///
/// # Errors
/// No daemon, or something that is not supported.
pub async fn run(command: NodeCommand, session: &Session) -> Result<(), Refused> {
    match command {
        NodeCommand::Status => {
            let client = session
                .client()
                .await
                .map_err(|_| Refused::new("Calico process is not running."))?;
            let answer = client.routing().list_peers(v1::ListPeersRequest {}).await;
            let peers = answer.map_err(Failure::from)?.into_inner().peers;
            print(&status(&peers, SystemTime::now()))
        }
        NodeCommand::Checksystem { kernel_config } => checksystem::run(kernel_config.as_deref()),
        NodeCommand::Diags { log_dir } => diags::run(&log_dir, session.socket()).await,
        NodeCommand::Other(words) => Err(unsupported::node(&words)),
    }
}

const TITLES: [&str; 5] = ["PEER ADDRESS", "PEER TYPE", "STATE", "SINCE", "INFO"];

fn status(peers: &[v1::Peer], now: SystemTime) -> String {
    let mut text = "Calico process is running.\n".to_owned();
    for family in ["IPv4", "IPv6"] {
        let rows: Vec<_> = peers
            .iter()
            // Sessions with workloads of this node are not shown by the original either.
            .filter(|peer| !peer.name.starts_with("Local_"))
            .filter(|peer| {
                let six = peer.address.as_ref().is_none_or(|address| address.contains(':'));
                six == (family == "IPv6")
            })
            .map(|peer| row(peer, now))
            .collect();
        text += &format!("\n{family} BGP status\n");
        text += &if rows.is_empty() {
            format!("No {family} peers found.\n")
        } else {
            boxed::draw(&TITLES, &rows)
        };
    }
    text + "\n"
}

fn row(peer: &v1::Peer, now: SystemTime) -> Vec<String> {
    // As sessions out of resources are called; all others are this node's own.
    let kind = if peer.name.starts_with("Mesh_") {
        "node-to-node mesh"
    } else if peer.name.starts_with("Global_") {
        "global"
    } else {
        "node specific"
    };
    let state = match (peer.admin_state(), peer.state()) {
        (AdminState::Down, _) => "down",
        (_, SessionState::Established) => "up",
        _ => "start",
    };
    let since = peer.uptime_seconds.map(|age| since(age, now)).unwrap_or_default();
    let name = crate::values::named(peer.state().name()).unwrap_or_default();
    let error = peer.last_error.as_ref().filter(|_| peer.uptime_seconds.is_none());
    let info = match error.map(|error| error.text.as_str()) {
        Some(error) if !error.is_empty() => format!("{name} {error}"),
        _ => name.to_owned(),
    };
    // Text of a peer must not steer a terminal.
    let info = info.replace(char::is_control, "?");
    let address = peer.address.clone().or_else(|| peer.interface.clone()).unwrap_or_default();
    vec![address, kind.to_owned(), state.to_owned(), since, info]
}

/// Since when, in UTC: the time of today, else the date.
fn since(age: u64, now: SystemTime) -> String {
    const DAY: u64 = 24 * 60 * 60;
    let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let then = seconds(now.checked_sub(Duration::from_secs(age)).unwrap_or(UNIX_EPOCH));
    if then / DAY == seconds(now) / DAY {
        let (hours, minutes) = (then % DAY / 3600, then % 3600 / 60);
        return format!("{hours:02}:{minutes:02}:{:02}", then % 60);
    }
    // Counted from the first of March of the year 0, so that leap days come last: 400 years have
    // 146097 days, and month m of five begins after 153 m + 2 fifths of days.
    let days = then / DAY + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + next)
}

#[cfg(test)]
mod tests;
