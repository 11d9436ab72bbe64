//! The attachment journal: a file of lines in the state directory.
//!
//! Owns the file. Promises: what was said to be recorded is on disk; lines that come while the disk
//! is busy share one flush; a line that a crash cut off is as if it had never been begun; one that
//! is damaged is left out and said, never taken for another, and until a human has looked at it no
//! start takes the journal for whole. Leaves to `margay-workload` what entries mean. The lock of the
//! state directory keeps a second daemon away.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use anyhow::{Context, Result};
use margay_workload::{AttachmentId, Entry};
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use tokio::sync::oneshot;
use tracing::{error, warn};

/// In the state directory.
const FILE: &str = "attachments.journal";
/// The file is written anew when it has so many lines more than twice the entries.
const SLACK: usize = 1000;
/// Lines that share one flush at most.
const MOST_TOGETHER: usize = 256;
/// What to do about a journal with holes.
const HELP: &str = "delete the pods of this node that `margay workload list` does not know, so that \
                    they are made anew; then remove that file and restart";
/// Hexadecimal digits before each line.
const DIGITS: usize = 16;

/// What a line says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// It is so now.
    Put(Box<Entry>),
    /// It is gone.
    Drop(AttachmentId),
}

/// The way to the thread that writes.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    orders: Sender<Order>,
}

#[derive(Debug)]
struct Order {
    line: Line,
    done: oneshot::Sender<Result<(), String>>,
}

/// What stood in the file.
#[derive(Debug)]
pub(super) struct Found {
    /// The entries.
    pub(super) entries: Vec<Entry>,
    /// Nothing is missing in it: no line was damaged, at this start or at an earlier one that nobody
    /// has looked at yet.
    pub(super) whole: bool,
    /// There was no file.
    begun: bool,
    /// Where what was damaged is kept. While it is there, the journal is not whole.
    kept: PathBuf,
}

impl Found {
    /// Links of ours without a journal are those of a journal that is lost: it is not whole then,
    /// at this start and at the next ones.
    pub(super) fn compare(&mut self, ours: usize) {
        if !self.begun || ours == 0 {
            return;
        }
        self.whole = false;
        let text = format!("there was no journal of attachments, but links of {ours}\n");
        // Without it the next start takes what is recorded from now on for everything.
        if let Err(err) = keep(&self.kept, text.as_bytes()) {
            error!(%err, file = %self.kept.display(), "cannot be written");
        }
        error!(
            links = ours,
            file = %self.kept.display(),
            "there are links of workloads but no journal of attachments; they are left alone\n\
             help: {HELP}"
        );
    }
}

impl Journal {
    /// Reads the journal in `state_dir`, or begins one, and starts the thread that writes it. The
    /// thread ends with the last of its handles.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub(super) fn open(state_dir: &Path) -> Result<(Self, Found)> {
        let path = state_dir.join(FILE);
        let name = path.display();
        let (octets, begun) = match fs::read(&path) {
            Ok(octets) => (octets, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), true),
            Err(error) => return Err(error).with_context(|| format!("cannot read {name}")),
        };
        let (lines, damaged) = read(&octets);
        let kept = state_dir.join(format!("{FILE}.damaged"));
        if damaged > 0 {
            error!(file = %name, lines = damaged, "lines of the journal of attachments are damaged");
            keep(&kept, &octets).with_context(|| {
                format!("cannot keep the damaged journal as {}", kept.display())
            })?;
        }
        let whole = !kept
            .try_exists()
            .with_context(|| format!("cannot see whether {} is there", kept.display()))?;
        if !whole {
            error!(
                file = %kept.display(),
                "the journal of attachments has holes; links without an entry are left alone\n\
                 help: {HELP}"
            );
        }
        let mut writer = Writer { path, lines, file: None, count: 0 };
        // One that is missing is written with its first line: until then it is missing, and what
        // links without it mean is not forgotten should this start go no further.
        if !begun {
            writer.rewrite().with_context(|| format!("cannot write {}", writer.path.display()))?;
        }
        let entries = writer.lines.values().filter_map(|line| match serde_json::from_str(line) {
            Ok(Line::Put(entry)) => Some(*entry),
            _ => None,
        });
        let found = Found { entries: entries.collect(), whole, begun, kept };
        let (orders, receiver) = channel();
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&receiver))
            .context("cannot start the thread of the journal")?;
        Ok((Self { orders }, found))
    }

    /// Writes an entry; returns once it is on disk.
    ///
    /// # Errors
    /// What the disk said; it may be there or not.
    pub(super) async fn record(&self, entry: Entry) -> Result<(), String> {
        self.order(Line::Put(Box::new(entry))).await
    }

    /// Takes an entry out; returns once that is on disk.
    ///
    /// # Errors
    /// What the disk said.
    pub(super) async fn forget(&self, id: AttachmentId) -> Result<(), String> {
        self.order(Line::Drop(id)).await
    }

    async fn order(&self, line: Line) -> Result<(), String> {
        let gone = || "the journal has ended".to_owned();
        let (done, answer) = oneshot::channel();
        self.orders.send(Order { line, done }).map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// The file, and the last line of each entry in it.
#[derive(Debug)]
struct Writer {
    path: PathBuf,
    lines: BTreeMap<AttachmentId, Box<str>>,
    /// `None` after a failure: it is written anew before anything else.
    file: Option<File>,
    count: usize,
}

impl Writer {
    fn run(mut self, orders: &Receiver<Order>) {
        while let Ok(first) = orders.recv() {
            let more = orders.try_iter().take(MOST_TOGETHER - 1);
            let together: Vec<Order> = std::iter::once(first).chain(more).collect();
            let result = self.write(&together);
            if let Err(err) = &result {
                warn!(%err, file = %self.path.display(), "the journal of attachments cannot be written");
            }
            for order in together {
                // Whoever asked may be gone.
                let _ = order.done.send(result.as_ref().copied().map_err(ToString::to_string));
            }
        }
    }

    fn write(&mut self, orders: &[Order]) -> io::Result<()> {
        let mut text = String::new();
        let mut changes = Vec::with_capacity(orders.len());
        for order in orders {
            let json = serde_json::to_string(&order.line).map_err(io::Error::other)?;
            text += &framed(&json);
            changes.push(match &order.line {
                Line::Put(entry) => (entry.id.clone(), Some(json)),
                Line::Drop(id) => (id.clone(), None),
            });
        }
        if self.file.is_none() {
            self.rewrite()?;
        }
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_data())
        {
            // What is on disk now nobody knows: it is written anew.
            self.file = None;
            return Err(error);
        }
        self.count += orders.len();
        for (id, json) in changes {
            match json {
                Some(json) => self.lines.insert(id, json.into_boxed_str()),
                None => self.lines.remove(&id),
            };
        }
        if self.count > self.lines.len() * 2 + SLACK {
            self.rewrite()?;
        }
        Ok(())
    }

    /// The file with one line an entry: whole or not at all.
    fn rewrite(&mut self) -> io::Result<()> {
        // Should it end half way, the file that is open may be one that has no name any more.
        self.file = None;
        let new = self.path.with_extension("journal.new");
        let mut file = File::create(&new)?;
        let text: String = self.lines.values().map(|json| framed(json)).collect();
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        (self.count, self.file) = (self.lines.len(), Some(file));
        Ok(())
    }
}

/// Keeps what a human has to look at, behind what is kept there already.
fn keep(path: &Path, octets: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(octets)?;
    file.sync_all()?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// The last line of each entry, and how many lines cannot be read.
fn read(octets: &[u8]) -> (BTreeMap<AttachmentId, Box<str>>, usize) {
    let (mut lines, mut damaged) = (BTreeMap::new(), 0);
    // What follows the last end of a line was never finished.
    let finished = octets.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
    let finished = octets.get(..finished).unwrap_or_default();
    for line in finished.split(|octet| *octet == b'\n').filter(|line| !line.is_empty()) {
        let json = std::str::from_utf8(line).ok().and_then(unframed);
        match json.and_then(|json| Some((json, serde_json::from_str(json).ok()?))) {
            Some((json, Line::Put(entry))) => {
                lines.insert(entry.id, json.into());
            }
            Some((_, Line::Drop(id))) => {
                lines.remove(&id);
            }
            None => damaged += 1,
        }
    }
    (lines, damaged)
}

fn framed(json: &str) -> String {
    format!("{} {json}\n", digest(json))
}

fn unframed(line: &str) -> Option<&str> {
    let (found, json) = line.split_once(' ')?;
    (found == digest(json)).then_some(json)
}

fn digest(json: &str) -> String {
    let digest = Sha1::digest(json.as_bytes());
    digest.iter().take(DIGITS / 2).map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests;
