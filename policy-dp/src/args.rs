//! The command line, and log lines on standard error.

use std::{
    io::{IsTerminal, stderr},
    path::PathBuf,
};

use bgp_desired::LogLevel;
use clap::{Parser, ValueEnum};
use tracing_subscriber::EnvFilter;

/// Margay's policy dataplane: enforces network policy on this node.
#[derive(Debug, Parser)]
#[command(name = "margay-policy-dp", version, about)]
pub(crate) struct Args {
    /// Configuration file [default: /etc/margay/policy-dp.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Only check the configuration: exit 0, or 2 with every fault
    #[arg(long)]
    pub(crate) check: bool,
    /// What enforces [default: as configured, else auto]
    #[arg(long, value_name = "BACKEND")]
    pub(crate) backend: Option<Backend>,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// error, warn, info, debug or trace; also per module, as `info,policy_nft=debug` [default: as
    /// configured, else info]
    #[arg(long, value_name = "LEVEL", value_parser = directives)]
    pub(crate) log_level: Option<String>,
}

/// What enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// The best there is; so far that is nftables.
    Auto,
    /// One table of nf_tables.
    Nftables,
    /// Not supported in this version.
    Ebpf,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Crates below us whose every frame would drown our own lines.
const QUIET: &str = "aya_obj=warn,h2=warn,hyper_util=warn,tower=warn";

impl Args {
    /// Starts logging as asked for on the command line, else at this level.
    pub(crate) fn log(&self, level: Option<LogLevel>) {
        let level = level.unwrap_or(LogLevel::Info);
        let directives = self.log_level.as_deref().unwrap_or_else(|| level.as_str());
        let builder = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(format!("{QUIET},{directives}")))
            .with_writer(stderr)
            .with_ansi(stderr().is_terminal());
        match self.log_format {
            LogFormat::Text => builder.init(),
            LogFormat::Json => builder.json().flatten_event(true).init(),
        }
    }
}

fn directives(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
