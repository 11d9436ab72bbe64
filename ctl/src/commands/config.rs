//! `margay config`.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use margay_proto::v1::{self, ConfigText};
use tokio::process::Command;

use super::connect;
use crate::{
    cli::{ConfigCommand, Global},
    error::{Failure, plain},
    output::{Out, Sheet, table::Paint},
    view::{Change, CheckResult},
};

/// Where a daemon has its configuration.
pub const DEFAULT_FILE: &str = "/etc/margay/bgpd.toml";
/// The daemon's program.
pub const DAEMON: &str = "margay-bgpd";

/// Checks, compares, shows or reloads the configuration.
pub async fn run(
    command: ConfigCommand,
    options: &Global,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { file } => check(file, out).await,
        ConfigCommand::Diff { file } => {
            let source = read(file)?;
            let mut config = connect(options).await?.config();
            let answer = config.diff(v1::DiffRequest { source }).await?.into_inner();
            changes(answer.changes, "a reload would change nothing", out)
        }
        ConfigCommand::Show { file } => {
            let source = read(file)?;
            let mut config = connect(options).await?.config();
            let answer = config.show(v1::ShowRequest { source }).await?.into_inner();
            show(&answer.text, out)
        }
        ConfigCommand::Reload { file } => {
            let source = read(file)?;
            let mut config = connect(options).await?.config();
            let answer = config.reload(v1::ReloadRequest { source }).await?.into_inner();
            changes(answer.changes, "reloaded, nothing has changed", out)
        }
    }
}

/// The text of a file that is not the daemon's own: it may not be able to read ours.
fn read(file: Option<PathBuf>) -> Result<Option<ConfigText>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let text = fs::read_to_string(&file).map_err(|error| Failure::reading(&file, &error))?;
    Ok(Some(ConfigText { file_name: file.display().to_string(), text }))
}

fn changes(
    changes: Vec<v1::ConfigChange>,
    nothing: &'static str,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    if changes.is_empty() && out.is_table() {
        return Ok(out.sheet(&Text(nothing))?);
    }
    let changes: Vec<_> = changes.into_iter().map(Change::from).collect();
    Ok(out.all(&changes)?)
}

/// TOML as it is, or its content as an object.
fn show(text: &str, out: &mut Out<'_>) -> Result<(), Failure> {
    if out.is_table() {
        return Ok(out.sheet(&Text(text.trim_end()))?);
    }
    let value: serde_json::Value = toml::from_str(text)
        .map_err(|error| Failure::failed(format!("the daemon sent what is not TOML: {error}")))?;
    Ok(out.sheet(&Content(value))?)
}

/// Runs the daemon's own check, so that there is one opinion on what is valid.
async fn check(file: Option<PathBuf>, out: &mut Out<'_>) -> Result<(), Failure> {
    let file = file.unwrap_or_else(|| DEFAULT_FILE.into());
    let daemon = daemon(env::current_exe().ok().as_deref());
    let run = Command::new(&daemon).arg("--config").arg(&file).arg("--check").output().await;
    let run = run.map_err(|error| {
        let daemon = Path::new(&daemon).display();
        Failure::failed(format!("cannot run {daemon}: {}", plain(&error)))
            .with_help("margay-bgpd is looked for beside margay, then in PATH")
    })?;
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    let exit = match run.status.code() {
        Some(exit @ (0 | 2)) => exit,
        _ => {
            let text = if told.is_empty() { run.status.to_string() } else { unlabelled(&told) };
            return Err(Failure::failed(format!("{DAEMON} --check: {text}")));
        }
    };
    let labelled = |label| {
        let texts = told.lines().filter_map(|line| line.strip_prefix(label));
        texts.map(str::to_owned).collect()
    };
    let result = CheckResult {
        file: file.display().to_string(),
        valid: exit == 0,
        errors: labelled("error: "),
        warnings: labelled("warning: "),
    };
    if out.is_table() {
        // As the daemon has it, with the lines of the file.
        io::stderr().write_all(told.as_bytes())?;
        if result.valid {
            out.sheet(&result)?;
        }
    } else {
        out.sheet(&result)?;
    }
    if result.valid { Ok(()) } else { Err(Failure::Silent { exit: 2 }) }
}

/// The daemon beside this program, else whichever PATH has.
pub fn daemon(current: Option<&Path>) -> OsString {
    let beside = current.map(|current| current.with_file_name(DAEMON));
    beside.filter(|path| path.is_file()).map_or_else(|| DAEMON.into(), PathBuf::into_os_string)
}

/// Without the `error: ` that is put there again.
pub fn unlabelled(text: &str) -> String {
    let lines = text.lines().map(|line| line.strip_prefix("error: ").unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// A text for humans.
#[derive(serde::Serialize)]
struct Text<'a>(&'a str);

impl Sheet for Text<'_> {
    fn text(&self, _wide: bool, _paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "{}", self.0)
    }
}

/// Data without a text.
#[derive(serde::Serialize)]
struct Content(serde_json::Value);

impl Sheet for Content {
    fn text(&self, _wide: bool, _paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "{}", self.0)
    }
}
