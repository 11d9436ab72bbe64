//! Answers in the shape of the contract: what JSON has, what tables show of it.

mod config;
pub mod enforcement;
mod event;
mod explain;
mod explain_text;
mod fib;
pub mod ipam;
mod node_status;
mod peer;
mod peer_detail;
pub mod policy;
mod route;
mod status;
pub mod workload;

pub use self::{
    config::{Change, CheckResult},
    event::Event,
    explain::Explanation,
    fib::FibRoute,
    node_status::NodeStatus,
    peer::Peer,
    peer_detail::PeerDetail,
    route::Route,
    status::Status,
};

use std::io::{self, Write};

use serde::Serialize;

use crate::output::{Sheet, table::Paint};

/// What an action did, as one line or `{SUBJECT: …, "action": …}`.
#[derive(Debug, Serialize)]
pub struct Done {
    /// The peer it was done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The prefix it was done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// What was done, in the past tense.
    pub action: &'static str,
}

impl Done {
    /// Done to a peer.
    pub fn peer(peer: String, action: &'static str) -> Self {
        Self { peer: Some(peer), prefix: None, action }
    }

    /// Done to a prefix.
    pub fn prefix(prefix: String, action: &'static str) -> Self {
        Self { peer: None, prefix: Some(prefix), action }
    }
}

impl Sheet for Done {
    fn text(&self, _wide: bool, _paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        let subject = self.peer.as_ref().or(self.prefix.as_ref());
        writeln!(to, "{}: {}", subject.map_or("", String::as_str), self.action)
    }
}

/// Lines of `label  value`, the values aligned.
struct Labels {
    indent: usize,
    width: usize,
}

impl Labels {
    fn line(
        &self,
        to: &mut dyn Write,
        label: &str,
        value: impl std::fmt::Display,
    ) -> io::Result<()> {
        writeln!(
            to,
            "{:indent$}{label:<width$}  {value}",
            "",
            indent = self.indent,
            width = self.width
        )
    }
}

/// Text of a peer must not steer a terminal.
fn tame(text: &str) -> String {
    text.replace(char::is_control, "?")
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
