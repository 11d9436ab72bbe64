//! `margay node diags`: everything worth knowing about a node, in one archive.
//!
//! What the daemon knows is asked by this very program, one process a question: a question that
//! fails or hangs costs its own answer only, and the archive says so.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use clap::CommandFactory;
use flate2::{Compression, write::GzEncoder};
use serde::Serialize;
use tokio::{io::AsyncReadExt, process::Command, time::timeout};

use super::epoch_seconds;
use crate::{
    cli::{Cli, Global},
    error::{Failure, plain},
    output::{Out, Sheet, table::Paint},
    values,
};

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Octets of an answer that are kept: a full table is not what is looked for.
const MOST: u64 = 8 << 20;
/// Peers that are asked for in detail.
const PEERS: usize = 64;

/// Questions: the name of the file, and what is asked.
const QUESTIONS: [(&str, &[&str]); 18] = [
    ("status.txt", &["status"]),
    ("status.json", &["-o", "json", "status"]),
    ("node-status.txt", &["-o", "wide", "node", "status"]),
    ("checksystem.txt", &["node", "checksystem"]),
    ("peers.json", &["-o", "json", "peers"]),
    ("routes.txt", &["-o", "wide", "routes", "--best", "--limit", "1000"]),
    ("fib.txt", &["-o", "wide", "fib"]),
    ("config.toml", &["config", "show"]),
    ("config-diff.txt", &["config", "diff"]),
    ("ipam.txt", &["ipam", "show", "--show-blocks"]),
    ("ipam-check.json", &["-o", "json", "ipam", "check"]),
    ("workloads.txt", &["workload", "list"]),
    ("nodes.yaml", &["-o", "yaml", "get", "nodes"]),
    ("ippools.yaml", &["-o", "yaml", "get", "ippools"]),
    ("bgpconfigurations.yaml", &["-o", "yaml", "get", "bgpconfigurations"]),
    ("bgppeers.yaml", &["-o", "yaml", "get", "bgppeers"]),
    ("bgpfilters.yaml", &["-o", "yaml", "get", "bgpfilters"]),
    ("clusterinformation.yaml", &["-o", "yaml", "get", "clusterinformations"]),
];

/// Files of the host.
const FILES: [&str; 14] = [
    "/proc/version",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/self/mounts",
    "/proc/net/dev",
    "/proc/net/route",
    "/proc/net/ipv6_route",
    "/proc/net/if_inet6",
    "/proc/net/fib_trie",
    "/proc/net/fib_triestat",
    "/proc/net/sockstat",
    "/proc/net/snmp",
    "/etc/os-release",
];

/// What was put together.
#[derive(Debug, Serialize)]
pub struct Collected {
    file: String,
    entries: Vec<Entry>,
}

/// A file of the archive.
#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    /// Why it is not, or not all, of what it should be.
    problem: Option<String>,
}

/// Asks, reads, packs.
pub async fn run(
    file: Option<PathBuf>,
    options: &Global,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let folder = format!("margay-diags-{}", stamp(epoch_seconds()));
    let path = file.unwrap_or_else(|| env::temp_dir().join(format!("{folder}.tar.gz")));
    let collected = collect(&path, folder, &options.socket, &[]).await?;
    Ok(out.sheet(&collected)?)
}

/// Makes the archive; all that is in it lies in `folder`. `logs` are files to be taken along.
///
/// # Errors
/// It cannot be written. What cannot be had is an entry with a problem.
pub async fn collect(
    path: &Path,
    folder: String,
    socket: &Path,
    logs: &[PathBuf],
) -> Result<Collected, Failure> {
    let program = env::current_exe()
        .map_err(|error| Failure::failed(format!("cannot find myself: {}", plain(&error))))?;
    let mut archive = Archive::create(path, folder)?;
    let commands = Cli::command();
    for (name, arguments) in QUESTIONS {
        if is_known(&commands, arguments) {
            let answer = ask(&program, socket, arguments).await;
            archive.add(name, answer)?;
        }
    }
    for peer in peers(&program, socket).await {
        let answer = ask(&program, socket, &["peers", "--", &peer]).await;
        archive.add(&format!("peers/{}.txt", file_name(&peer)), answer)?;
    }
    for source in FILES {
        archive.add(&format!("host{source}"), read(Path::new(source)))?;
    }
    archive.add("host/links.txt", Answer::whole(links().into_bytes()))?;
    for source in logs {
        let name = source.file_name().unwrap_or_default().to_string_lossy();
        archive.add(&format!("logs/{}", file_name(&name)), read(source))?;
    }
    archive.finish()
}

/// Whether this version has the command: some belong to later ones.
fn is_known(commands: &clap::Command, arguments: &[&str]) -> bool {
    let name = match arguments {
        ["-o", _, name, ..] | [name, ..] => name,
        [] => return false,
    };
    commands.find_subcommand(name).is_some()
}

/// What came of a question.
#[derive(Debug)]
struct Answer {
    octets: Vec<u8>,
    problem: Option<String>,
}

impl Answer {
    fn whole(octets: Vec<u8>) -> Self {
        Self { octets, problem: None }
    }

    fn none(problem: impl Into<String>) -> Self {
        Self { octets: Vec::new(), problem: Some(problem.into()) }
    }

    /// Cut where it is too long.
    fn cut(octets: Vec<u8>) -> Self {
        let full = u64::try_from(octets.len()).is_ok_and(|length| length >= MOST);
        let problem = full.then(|| format!("only the first {} MiB", MOST >> 20));
        Self { octets, problem }
    }
}

async fn ask(program: &Path, socket: &Path, arguments: &[&str]) -> Answer {
    let child = Command::new(program)
        // Whatever it is called: under the other name it has other commands.
        .arg0("margay")
        .arg("--no-color")
        .arg("--socket")
        .arg(socket)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return Answer::none(format!("cannot ask: {}", plain(&error))),
    };
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Answer::none("cannot hear the answer");
    };
    let (mut octets, mut said) = (Vec::new(), Vec::new());
    let listen = async {
        let (mut stdout, mut stderr) = (stdout.take(MOST), stderr.take(MOST));
        let (answer, words) =
            tokio::join!(stdout.read_to_end(&mut octets), stderr.read_to_end(&mut said));
        answer.and(words).map(drop)?;
        // With the pipes closed one that has more to say ends, too.
        drop((stdout, stderr));
        child.wait().await
    };
    let ended = timeout(PATIENCE, listen).await;
    let mut answer = Answer::cut(octets);
    let problem = match ended {
        Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
        Ok(Err(error)) => Some(plain(&error)),
        Ok(Ok(status)) if !status.success() && !said.is_empty() => {
            Some(String::from_utf8_lossy(&said).trim().to_owned())
        }
        Ok(Ok(_)) => None,
    };
    if let Some(problem) = &problem {
        answer.octets.extend_from_slice(format!("{problem}\n").as_bytes());
    }
    answer.problem = answer.problem.or(problem);
    answer
}

async fn peers(program: &Path, socket: &Path) -> Vec<String> {
    let answer = ask(program, socket, &["-o", "json", "peers"]).await;
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&answer.octets).unwrap_or_default();
    let name = |row: &serde_json::Value| row["name"].as_str().map(str::to_owned);
    rows.iter().filter_map(name).take(PEERS).collect()
}

/// A name that stays in its folder.
fn file_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    let name: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    name.trim_start_matches('.').to_owned()
}

fn read(path: &Path) -> Answer {
    let mut octets = Vec::new();
    match File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut octets)) {
        Ok(_) => Answer::cut(octets),
        Err(error) => Answer::none(plain(&error)),
    }
}

/// Interfaces and how they are.
fn links() -> String {
    let Ok(found) = fs::read_dir("/sys/class/net") else { return String::new() };
    let mut names: Vec<_> = found.flatten().map(|entry| entry.path()).collect();
    names.sort();
    let mut text = String::new();
    for path in names {
        let field = |name: &str| {
            let value = fs::read_to_string(path.join(name)).unwrap_or_default();
            format!(" {name} {}", value.trim())
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let fields: String =
            ["ifindex", "operstate", "carrier", "mtu", "address", "flags"].map(field).concat();
        text += &format!("{name}:{fields}\n");
    }
    text
}

/// `20260301-093000`.
pub fn stamp(at: u64) -> String {
    values::timestamp(at).replace(['-', ':', 'Z'], "").replace('T', "-")
}

/// The archive while it is written.
struct Archive {
    path: PathBuf,
    folder: String,
    tar: tar::Builder<GzEncoder<File>>,
    entries: Vec<Entry>,
}

impl Archive {
    /// One that nobody else can read, and nobody has put there before.
    fn create(path: &Path, folder: String) -> Result<Self, Failure> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| failed(path, &error))?;
        let tar = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        Ok(Self { path: path.to_owned(), folder, tar, entries: Vec::new() })
    }

    fn add(&mut self, name: &str, answer: Answer) -> Result<(), Failure> {
        let path = format!("{}/{name}", self.folder);
        self.put(&path, &answer.octets).map_err(|error| failed(&self.path, &error))?;
        self.entries.push(Entry { name: name.to_owned(), problem: answer.problem });
        Ok(())
    }

    fn put(&mut self, path: &str, octets: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(octets.len().try_into().map_err(io::Error::other)?);
        header.set_mode(0o600);
        header.set_mtime(epoch_seconds());
        self.tar.append_data(&mut header, path, octets)
    }

    fn finish(mut self) -> Result<Collected, Failure> {
        let problems = self.entries.iter().filter_map(|entry| {
            entry.problem.as_ref().map(|problem| format!("{}: {problem}\n", entry.name))
        });
        let problems: String = problems.collect();
        if !problems.is_empty() {
            self.put(&format!("{}/problems.txt", self.folder), problems.as_bytes())
                .map_err(|error| failed(&self.path, &error))?;
        }
        let Self { path, tar, entries, .. } = self;
        let written =
            tar.into_inner().and_then(GzEncoder::finish).and_then(|mut file| file.flush());
        written.map_err(|error| failed(&path, &error))?;
        Ok(Collected { file: path.display().to_string(), entries })
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot write {}: {}", path.display(), plain(error)))
}

impl Sheet for Collected {
    fn text(&self, wide: bool, _paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        for entry in &self.entries {
            match &entry.problem {
                Some(problem) => {
                    let problem = problem.lines().next().unwrap_or_default();
                    writeln!(to, "{}: {problem}", entry.name)?;
                }
                None if wide => writeln!(to, "{}", entry.name)?,
                None => {}
            }
        }
        writeln!(to, "{}", self.file)
    }
}

#[cfg(test)]
mod tests;
