//! Under which table and protocol number this node has written to the kernel.
//!
//! Owns the file `written` in the state directory. A process knows what a former one left by these two
//! numbers; when they are changed between two runs, nobody would know it any more. So the file names
//! numbers before the first write under them, and until nothing is left under them: a stop that takes
//! all out, or a boot of the host. What bears them then is somebody else's. Leaves taking routes and
//! addresses out to the kernel side.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use margay_fib::FibConfig;
use tracing::warn;

use crate::{durable, restart};

const FILE: &str = "written";

/// A table and a protocol number.
pub(crate) type Numbers = (u32, u8);

/// See the module.
#[derive(Debug)]
pub(crate) struct Written {
    path: PathBuf,
    /// The boot since when numbers count, as the file's first line; `None` where boots cannot be told
    /// apart: they count for no other process then.
    boot: Option<String>,
}

impl Written {
    /// What was written by those who used this state directory.
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self::since(restart::boot(), state_dir)
    }

    fn since(boot: Option<String>, state_dir: &Path) -> Self {
        let boot = boot.map(|boot| format!("boot {}", boot.trim()));
        Self { path: state_dir.join(FILE), boot }
    }

    /// Numbers that are not those of this configuration, under which something may be left.
    pub(crate) fn others(&self, config: &FibConfig) -> BTreeSet<Numbers> {
        let mut all = self.read();
        all.retain(|numbers| Some(*numbers) != self::numbers(config));
        all
    }

    /// This configuration is about to be written by, too.
    pub(crate) fn also(&self, config: &FibConfig) {
        let mut all = self.read();
        all.extend(numbers(config));
        self.write(&all);
    }

    /// Nothing is left but by this configuration, and by `others`.
    pub(crate) fn only(&self, config: &FibConfig, others: impl IntoIterator<Item = Numbers>) {
        self.write(&numbers(config).into_iter().chain(others).collect());
    }

    /// All that was written has been taken out.
    pub(crate) fn nothing(&self) {
        self.write(&BTreeSet::new());
    }

    fn read(&self) -> BTreeSet<Numbers> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    warn!(path = %self.path.display(), err = %error, "it is not known what an earlier run may have left in the kernel");
                }
                return BTreeSet::new();
            }
        };
        let numbers = |line: &str| {
            let (table, protocol) = line.split_once(' ')?;
            Some((table.parse().ok()?, protocol.parse().ok()?))
        };
        let mut lines = text.lines();
        if self.boot.is_none() || lines.next() != self.boot.as_deref() {
            return BTreeSet::new();
        }
        lines.filter_map(numbers).collect()
    }

    fn write(&self, all: &BTreeSet<Numbers>) {
        if *all == self.read() {
            return;
        }
        let Some(boot) = &self.boot else { return };
        let lines = all.iter().map(|(table, protocol)| format!("{table} {protocol}\n"));
        let text = format!("{boot}\n{}", lines.collect::<String>());
        if let Err(error) = durable::write(&self.path, &text) {
            warn!(path = %self.path.display(), err = %error, "after a change of fib.table or fib.protocol the next start will not know what this one left");
        }
    }
}

fn numbers(config: &FibConfig) -> Option<Numbers> {
    config.enabled.then_some((config.table, config.protocol))
}

#[cfg(test)]
mod tests;
