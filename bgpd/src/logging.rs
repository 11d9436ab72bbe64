//! Log lines on standard error.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::args::{Args, LogFormat};

/// Crates below us whose every frame would drown our own lines; `--log-level debug,h2=debug` has
/// them back.
const QUIET: &str = "h2=warn,hyper_util=warn,tower=warn";

/// Starts logging as asked for on the command line.
pub(crate) fn start(args: &Args) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("{QUIET},{}", args.log_level)))
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    match args.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
