//! Log lines on standard error.

use std::io::{IsTerminal, stderr};

use bgp_desired::LogLevel;
use tracing::warn;
use tracing_subscriber::{EnvFilter, reload};

use crate::args::{Args, LogFormat};

/// Crates below us whose every frame would drown our own lines; `--log-level debug,h2=debug` has
/// them back.
const QUIET: &str = "h2=warn,hyper_util=warn,tower=warn";

/// How much is logged, as it runs.
pub(crate) struct Logging {
    /// The command line says so, whatever else does.
    fixed: bool,
    level: LogLevel,
    set: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send>,
}

impl Logging {
    /// Starts logging as asked for on the command line, else at this level.
    pub(crate) fn start(args: &Args, level: Option<LogLevel>) -> Self {
        let level = level.unwrap_or(LogLevel::Info);
        let directives = args.log_level.as_deref().unwrap_or_else(|| level.as_str());
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter(directives))
            .with_writer(stderr)
            .with_ansi(stderr().is_terminal());
        let set: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send> = match args.log_format
        {
            LogFormat::Text => {
                let builder = builder.with_filter_reloading();
                let handle = builder.reload_handle();
                builder.init();
                Box::new(move |filter| handle.reload(filter))
            }
            LogFormat::Json => {
                let builder = builder.json().flatten_event(true).with_filter_reloading();
                let handle = builder.reload_handle();
                builder.init();
                Box::new(move |filter| handle.reload(filter))
            }
        };
        Self { fixed: args.log_level.is_some(), level, set }
    }

    /// Logs at this level from now on; at the usual one if none is given. The command line wins.
    pub(crate) fn set(&mut self, level: Option<LogLevel>) {
        let level = level.unwrap_or(LogLevel::Info);
        if self.fixed || level == self.level {
            return;
        }
        match (self.set)(filter(level.as_str())) {
            Ok(()) => self.level = level,
            Err(error) => warn!(level = level.as_str(), err = %error, "log level not changed"),
        }
    }
}

fn filter(directives: &str) -> EnvFilter {
    EnvFilter::new(format!("{QUIET},{directives}"))
}

#[cfg(test)]
mod tests;
