//! Work on the datastore of a daemon that does not run: export, import, and moving to another one.
//!
//! Promises: nothing is made that was not there (an export of a mistyped path is no empty backup),
//! and no running daemon has the state directory meanwhile. Leaves to `margay-datastore` what is
//! written in which order.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use bgp_desired::{Backend, Desired};
use margay_datastore::{Backup, Existing, Restored, migrate};
use margay_model::Actor;

use crate::{
    datastore::{self, Datastore},
    lock::StateLock,
    node,
};

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Task {
    /// Write everything to this file; `-` is standard output.
    Export(PathBuf),
    /// Take everything out of this file; `-` is standard input.
    Import {
        /// Where it stands.
        from: PathBuf,
        /// What becomes of what is there.
        existing: Existing,
        /// Only say what would be done.
        dry_run: bool,
    },
    /// Copy everything to the datastore of another configuration.
    Migrate(Box<Desired>),
}

/// Does it, and tells on standard output what was done, as JSON on one line.
///
/// # Errors
/// Why it could not be done. An import or a migration that was broken off is ended by doing it
/// again.
pub(crate) fn run(task: &Task, desired: &Desired) -> Result<()> {
    let reads = !matches!(task, Task::Import { .. });
    let mut state_dirs = BTreeSet::from([&desired.node.state_dir]);
    if let Task::Migrate(to) = task {
        state_dirs.insert(&to.node.state_dir);
        if same_place(desired, to) {
            bail!("both configurations name the same datastore");
        }
    }
    if reads {
        datastore::must_exist(desired)?;
    }
    let _locks = state_dirs
        .into_iter()
        .map(|state_dir| StateLock::take(state_dir))
        .collect::<Result<Vec<_>>>()
        .context("the datastore is in use")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(work(task, desired))
}

async fn work(task: &Task, desired: &Desired) -> Result<()> {
    let actor = Actor {
        component: "margay-bgpd/offline".to_owned(),
        node: node::name_of(desired),
        user: Some(format!("uid {}", nix::unistd::getuid())),
    };
    let store = open(desired)?.store;
    match task {
        Task::Export(to) => {
            let backup = Backup::of(store.as_ref()).await?;
            write(&backup, to).with_context(|| format!("cannot write {}", to.display()))
        }
        Task::Import { from, existing, dry_run } => {
            let backup = read(from)?;
            told(if *dry_run {
                backup.compare(store.as_ref(), *existing).await?
            } else {
                backup.restore(store.as_ref(), *existing, &actor).await?
            })
        }
        Task::Migrate(to) => {
            let to = open(to)?.store;
            told(migrate(store.as_ref(), to.as_ref(), &actor).await?)
        }
    }
}

fn open(desired: &Desired) -> Result<Datastore> {
    datastore::open(desired)?.ok_or_else(|| anyhow!("there is none: [datastore] type is \"none\""))
}

/// Whether copying from one to the other would read what it writes.
fn same_place(from: &Desired, to: &Desired) -> bool {
    match (&from.datastore.backend, &to.datastore.backend) {
        (Backend::Embedded, Backend::Embedded) => from.node.state_dir == to.node.state_dir,
        (Backend::Etcd(from), Backend::Etcd(to)) => {
            let shared = from.endpoints.iter().any(|endpoint| to.endpoints.contains(endpoint));
            shared && from.prefix == to.prefix
        }
        _ => false,
    }
}

fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

fn write(backup: &Backup, to: &Path) -> io::Result<()> {
    let mut to: Box<dyn Write> = if is_standard(to) {
        Box::new(io::BufWriter::new(io::stdout()))
    } else {
        Box::new(io::BufWriter::new(File::create(to)?))
    };
    backup.lines().try_for_each(|line| to.write_all(&line))?;
    to.flush()
}

fn read(from: &Path) -> Result<Backup> {
    let mut from: Box<dyn BufRead> = if is_standard(from) {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
        Box::new(BufReader::new(file))
    };
    Ok(Backup::read(&mut from)?)
}

fn told(Restored { values, written, deleted }: Restored) -> Result<()> {
    let line = format!("{{\"values\":{values},\"written\":{written},\"deleted\":{deleted}}}\n");
    io::stdout().write_all(line.as_bytes()).context("cannot write the answer")
}
