//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Margay's node daemon.
#[derive(Debug, Parser)]
#[command(name = "margay-bgpd", version, about)]
pub(crate) struct Args {
    /// Configuration file [default: /etc/margay/bgpd.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Only check the configuration: exit 0, or 2 with every fault
    #[arg(long)]
    pub(crate) check: bool,
    /// With the daemon stopped: write everything in its datastore to this file, `-` is standard
    /// output
    #[arg(long, value_name = "FILE", group = "task", conflicts_with = "check")]
    pub(crate) export: Option<PathBuf>,
    /// With the daemon stopped: make its datastore hold what this file has, `-` is standard input;
    /// a datastore that holds something else is refused
    #[arg(long, value_name = "FILE", group = "task", conflicts_with = "check")]
    pub(crate) import: Option<PathBuf>,
    /// With the daemon stopped: copy everything to the datastore of this configuration
    #[arg(long, value_name = "FILE", group = "task", conflicts_with = "check")]
    pub(crate) migrate_to: Option<PathBuf>,
    /// With --import: replace or delete what is there
    #[arg(long, requires = "import")]
    pub(crate) replace: bool,
    /// With --import: only say what would be done
    #[arg(long, requires = "import")]
    pub(crate) dry_run: bool,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// error, warn, info, debug or trace; also per module, as `info,bgp_speaker=debug` [default: as
    /// configured, else info]
    #[arg(long, value_name = "LEVEL", value_parser = directives)]
    pub(crate) log_level: Option<String>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

fn directives(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
