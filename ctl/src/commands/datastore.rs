//! `margay datastore`: everything at once, and whether anybody may write.
//!
//! Asks the running daemon, or, with `--offline`, has the daemon's own program do the work while no
//! daemon runs. Never opens a datastore itself.

mod lock;

pub use lock::set_ready;

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use margay_proto::v1::{self, datastore_client::DatastoreClient, import_datastore_request::Part};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncReadExt, process::Command};
use tonic::{Code, transport::Channel};

use super::{
    config::{DAEMON, DEFAULT_FILE, daemon, unlabelled},
    connect,
};
use crate::{
    cli::{DatastoreCommand, Global, ImportArgs, Offline},
    error::{Failure, plain},
    output::{Out, Sheet, table::Paint},
};

/// Octets of one message of an upload.
const PIECE: usize = 256 << 10;

/// Exports, imports or migrates.
pub async fn run(
    command: DatastoreCommand,
    options: &Global,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    match command {
        DatastoreCommand::Export { file, offline } => {
            let mut sink = Sink::create(&file)?;
            if offline.offline {
                export_offline(&offline, &mut sink).await?;
            } else {
                export(client(options).await?, &mut sink).await?;
            }
            match sink.finish()? {
                // The backup itself is the output.
                None => Ok(()),
                Some(exported) => Ok(out.sheet(&exported)?),
            }
        }
        DatastoreCommand::Import(args) => {
            let done = if args.offline.offline {
                let task = ["--import".as_ref(), args.file.as_os_str()];
                let mut command = offline_command(&args.offline, &task);
                if args.replace {
                    command.arg("--replace");
                }
                if args.dry_run {
                    command.arg("--dry-run");
                }
                counted(command).await.map_err(|failure| remedy(failure, args.replace))?
            } else {
                import(&args, client(options).await?).await?
            };
            Ok(out.sheet(&Filled { dry_run: args.dry_run, ..done })?)
        }
        DatastoreCommand::Migrate { to, config } => {
            let from = Offline { offline: true, config };
            let task = ["--migrate-to".as_ref(), to.as_os_str()];
            let done = counted(offline_command(&from, &task)).await.map_err(|failure| {
                failure.with_help("the daemons of both configurations have to be stopped")
            })?;
            Ok(out.sheet(&done)?)
        }
        DatastoreCommand::Lock => ready(false, options, out).await,
        DatastoreCommand::Unlock => ready(true, options, out).await,
    }
}

async fn ready(ready: bool, options: &Global, out: &mut Out<'_>) -> Result<(), Failure> {
    set_ready(ready, &mut connect(options).await?.resources()).await?;
    Ok(out.sheet(&Ready { datastore_ready: ready })?)
}

/// Whether anybody may write.
#[derive(Serialize)]
struct Ready {
    datastore_ready: bool,
}

impl Sheet for Ready {
    fn text(&self, _: bool, _: Paint, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "Datastore {}.", if self.datastore_ready { "unlocked" } else { "locked" })
    }
}

async fn client(options: &Global) -> Result<DatastoreClient<Channel>, Failure> {
    let client = connect(options).await.map_err(|failure| {
        failure.with_help("the datastore of a stopped daemon: --offline [--config FILE]")
    })?;
    Ok(client.datastore())
}

/// Prints a backup.
///
/// # Errors
/// The daemon, or whoever reads it.
pub async fn print_backup(client: DatastoreClient<Channel>) -> Result<(), Failure> {
    let mut sink = Sink::create(Path::new("-"))?;
    export(client, &mut sink).await?;
    sink.finish().map(drop)
}

/// Fills an empty datastore with a backup; how many values it has.
///
/// # Errors
/// The file, or the daemon.
pub async fn fill(client: DatastoreClient<Channel>, file: &Path) -> Result<u64, Failure> {
    let offline = Offline { offline: false, config: None };
    let args = ImportArgs { file: file.to_owned(), replace: false, dry_run: false, offline };
    Ok(import(&args, client).await?.values)
}

async fn export(mut client: DatastoreClient<Channel>, sink: &mut Sink) -> Result<(), Failure> {
    let mut pieces = client.export_datastore(v1::ExportDatastoreRequest {}).await?.into_inner();
    while let Some(piece) = pieces.message().await? {
        sink.write(&piece.octets)?;
    }
    Ok(())
}

async fn export_offline(offline: &Offline, sink: &mut Sink) -> Result<(), Failure> {
    let mut command = offline_command(offline, &["--export".as_ref(), "-".as_ref()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| not_run(&error))?;
    let mut errors = child.stderr.take();
    let told = tokio::spawn(async move {
        let mut told = Vec::new();
        if let Some(errors) = &mut errors {
            // What cannot be read is only the reason; the exit code says that there is one.
            let _ = errors.read_to_end(&mut told).await;
        }
        told
    });
    let mut buffer = vec![0; PIECE];
    if let Some(stdout) = &mut child.stdout {
        loop {
            let size = stdout.read(&mut buffer).await.map_err(|error| reading(&error))?;
            match buffer.get(..size) {
                None | Some([]) => break,
                Some(octets) => sink.write(octets)?,
            }
        }
    }
    let status = child.wait().await.map_err(|error| reading(&error))?;
    let told = told.await.unwrap_or_default();
    if status.success() { Ok(()) } else { Err(failed(status, &told)) }
}

async fn import(
    args: &ImportArgs,
    mut client: DatastoreClient<Channel>,
) -> Result<Filled, Failure> {
    let mut from: Box<dyn Read + Send> = if is_standard(&args.file) {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(&args.file).map_err(|error| Failure::reading(&args.file, &error))?)
    };
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let begin = v1::ImportOptions { replace: args.replace, dry_run: args.dry_run };
    // A thread of its own: a file, a pipe and a terminal are read alike. It ends with the file, or
    // when the daemon wants no more.
    let reader = tokio::task::spawn_blocking(move || -> io::Result<()> {
        let message = |part| v1::ImportDatastoreRequest { part: Some(part) };
        if sender.blocking_send(message(Part::Options(begin))).is_err() {
            return Ok(());
        }
        let mut buffer = vec![0; PIECE];
        loop {
            let size = match from.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            match buffer.get(..size) {
                None | Some([]) => return Ok(()),
                Some(octets) => {
                    if sender.blocking_send(message(Part::Octets(octets.to_vec()))).is_err() {
                        return Ok(());
                    }
                }
            }
        }
    });
    let upload = Upload(receiver);
    let refused = |status: tonic::Status| {
        let place = match status.code() {
            Code::InvalidArgument => format!("{}: ", args.file.display()),
            _ => String::new(),
        };
        let status = tonic::Status::new(status.code(), format!("{place}{}", status.message()));
        remedy(status.into(), args.replace)
    };
    let mut answer = client.import_datastore(upload).await.map_err(refused)?.into_inner();
    let answer = answer.message().await.map_err(refused)?;
    // A file that could be read only in part is not whole, so nothing was written.
    if let Ok(Err(error)) = reader.await {
        return Err(Failure::reading(&args.file, &error));
    }
    let done = answer.ok_or_else(|| Failure::failed("the daemon did not say what it did"))?;
    Ok(Filled { values: done.values, written: done.written, deleted: done.deleted, dry_run: false })
}

/// What is read, as a stream of messages.
struct Upload(tokio::sync::mpsc::Receiver<v1::ImportDatastoreRequest>);

impl tokio_stream::Stream for Upload {
    type Item = v1::ImportDatastoreRequest;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

/// With what helps when a datastore is not empty.
fn remedy(failure: Failure, replace: bool) -> Failure {
    if !replace && failure.text().contains("the datastore is not empty") {
        failure
            .with_help("--replace makes it hold what the backup has and nothing else")
            .with_help("--dry-run tells how much that would change")
    } else {
        failure
    }
}

fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// The daemon's program, with a task instead of running.
fn offline_command(offline: &Offline, task: &[&std::ffi::OsStr]) -> Command {
    let mut command = Command::new(daemon(env::current_exe().ok().as_deref()));
    let config = offline.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    command.arg("--config").arg(config).args(task);
    command
}

/// Runs it, and reads what it did.
async fn counted(mut command: Command) -> Result<Filled, Failure> {
    let run = command.stdin(Stdio::inherit()).output().await.map_err(|error| not_run(&error))?;
    if !run.status.success() {
        return Err(failed(run.status, &run.stderr));
    }
    serde_json::from_slice(&run.stdout)
        .map_err(|error| Failure::failed(format!("{DAEMON} did not say what it did: {error}")))
}

fn not_run(error: &io::Error) -> Failure {
    Failure::failed(format!("cannot run {DAEMON}: {}", plain(error)))
        .with_help("margay-bgpd is looked for beside margay, then in PATH")
}

fn reading(error: &io::Error) -> Failure {
    Failure::failed(format!("{DAEMON} cannot be read: {}", plain(error)))
}

fn failed(status: std::process::ExitStatus, told: &[u8]) -> Failure {
    let told = String::from_utf8_lossy(told);
    let text = if told.trim().is_empty() { status.to_string() } else { unlabelled(&told) };
    let failure = match status.code() {
        Some(2) => Failure::usage(text),
        _ => Failure::failed(text),
    };
    if told.contains("is held by another margay-bgpd") {
        return failure.with_help("a running daemon exports and imports itself: without --offline");
    }
    failure
}

/// Where a backup goes: standard output, or a file that appears when it is whole.
struct Sink {
    to: Box<dyn Write>,
    /// Where it is written, and what it is called in the end.
    file: Option<(File, PathBuf, PathBuf)>,
    lines: u64,
    octets: u64,
}

impl Sink {
    fn create(path: &Path) -> Result<Self, Failure> {
        if is_standard(path) {
            let to = Box::new(io::BufWriter::new(io::stdout()));
            return Ok(Self { to, file: None, lines: 0, octets: 0 });
        }
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(name);
        // Resources may hold what is nobody else's business.
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&part).map_err(|error| Failure::writing(&part, &error))?;
        let to = file.try_clone().map_err(|error| Failure::writing(&part, &error))?;
        let to = Box::new(io::BufWriter::with_capacity(PIECE, to));
        Ok(Self { to, file: Some((file, part, path.to_owned())), lines: 0, octets: 0 })
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Failure> {
        let lines = octets.iter().filter(|octet| **octet == b'\n').count();
        self.lines += u64::try_from(lines).unwrap_or(u64::MAX);
        self.octets += u64::try_from(octets.len()).unwrap_or(u64::MAX);
        self.to.write_all(octets).map_err(|error| self.failure(error))
    }

    fn failure(&self, error: io::Error) -> Failure {
        match &self.file {
            Some((_, part, _)) => Failure::writing(part, &error),
            None => error.into(),
        }
    }

    /// Durable under its name; nothing to tell where the backup itself was the output.
    fn finish(mut self) -> Result<Option<Exported>, Failure> {
        self.to.flush().map_err(|error| self.failure(error))?;
        let Some((file, part, name)) = self.file.take() else { return Ok(None) };
        let done = file.sync_all().and_then(|()| fs::rename(&part, &name));
        done.map_err(|error| Failure::writing(&name, &error))?;
        // The head and the end are no values.
        let values = self.lines.saturating_sub(2);
        Ok(Some(Exported { file: name.display().to_string(), values, octets: self.octets }))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some((_, part, _)) = &self.file {
            // A part of a backup is of no use; that it cannot be removed changes nothing.
            let _ = fs::remove_file(part);
        }
    }
}

/// What was exported.
#[derive(Serialize)]
struct Exported {
    file: String,
    values: u64,
    octets: u64,
}

impl Sheet for Exported {
    fn text(&self, _: bool, _: Paint, to: &mut dyn Write) -> io::Result<()> {
        let Self { file, values, octets } = self;
        writeln!(to, "exported {values} values to {file} ({octets} octets)")
    }
}

/// What became of a datastore that was filled.
#[derive(Serialize, Deserialize)]
struct Filled {
    values: u64,
    written: u64,
    deleted: u64,
    #[serde(default)]
    dry_run: bool,
}

impl Sheet for Filled {
    fn text(&self, _: bool, _: Paint, to: &mut dyn Write) -> io::Result<()> {
        let Self { values, written, deleted, dry_run } = self;
        let would = if *dry_run { "would be " } else { "" };
        writeln!(to, "{values} values: {written} {would}written, {deleted} others {would}deleted")
    }
}
