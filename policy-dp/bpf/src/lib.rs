//! The guard: what keeps workloads' links closed while the table of nf_tables is missing.
//!
//! Owns a program at FORWARD and INPUT of both families, which drops what passes a workload's link
//! without a mark that the table sets on all such packets, and the names in bpffs under which it
//! outlives us. No command of nf_tables touches it. Promises that it is attached only once
//! somebody says that the table marks, and that one of another version goes only when this one is there.
//! Leaves to others which mark that is, and when.

#![deny(unsafe_code)]

mod folder;
mod program;
mod stale;
#[allow(unsafe_code, reason = "bpf(2) has no safe wrapper")]
mod sys;

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
};

pub use folder::Folder;
pub use program::ProgramError;
pub use stale::sweep;
use sys::RuleArray;

/// Why there is no guard, or not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// bpffs cannot be used.
    #[error("cannot {what} {}: {error}", path.display())]
    Folder {
        /// Do what.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The program cannot be loaded.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// Its rule cannot be kept.
    #[error("the guard's rule: {0}")]
    Rule(io::Error),
    /// It cannot be attached.
    #[error("the guard cannot be attached: {0}")]
    Attach(io::Error),
}

/// What a guard lets pass.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rule {
    marks: u32,
    used: u32,
    prefixes: [Prefix; PREFIXES],
}

/// The beginning of a link's name, and which of the octets count.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Prefix {
    octets: [u8; NAME],
    counts: [u8; NAME],
}

impl Rule {
    /// On links whose names begin with one of these, of which only the first [`PREFIXES`] count, packets
    /// with one of these bits of the mark.
    pub fn new<S: AsRef<str>>(prefixes: &[S], marks: u32) -> Self {
        let mut rule = Self { marks, ..Self::default() };
        for (to, prefix) in rule.prefixes.iter_mut().zip(prefixes) {
            *to = Prefix::of(prefix.as_ref());
            rule.used += 1;
        }
        rule
    }
}

impl Prefix {
    fn of(text: &str) -> Self {
        let mut prefix = Self::default();
        let all = prefix.octets.iter_mut().zip(&mut prefix.counts).zip(text.as_bytes());
        for ((octet, counts), told) in all {
            (*octet, *counts) = (*told, u8::MAX);
        }
        prefix
    }
}

/// See the module. Dropping it detaches nothing.
#[derive(Debug)]
pub struct Guard {
    folder: Folder,
    array: RuleArray,
    /// What stands in it.
    told: Rule,
    /// None where all links were there.
    program: Option<OwnedFd>,
}

impl Guard {
    /// Makes ready what will be attached, or finds what is.
    ///
    /// # Errors
    /// This kernel has no guards, or we may not.
    pub fn open(folder: Folder) -> Result<Self, GuardError> {
        folder.make()?;
        let path = folder.rule();
        let failed = |what| {
            let path = path.clone();
            move |error| GuardError::Folder { what, path, error }
        };
        let found = match sys::pinned(&path) {
            Ok(object) => RuleArray::of(object).map_err(failed("look at"))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("open")(error)),
        };
        let array = match found {
            Some(array) => array,
            None => {
                // Guards that have their rules elsewhere would not hear of new ones.
                folder.clear()?;
                let array = RuleArray::new().map_err(GuardError::Rule)?;
                sys::pin(array.as_fd(), &path).map_err(failed("make"))?;
                array
            }
        };
        let told = array.read().map_err(GuardError::Rule)?;
        let whole = folder.links(&program::hash()).iter().all(|link| link.path.exists());
        let program = if whole { None } else { Some(program::load(array.as_fd())?) };
        Ok(Self { folder, array, told, program })
    }

    /// Before the table marks with other bits: lets packets with these pass, too.
    ///
    /// # Errors
    /// Its rule cannot be changed.
    pub fn widen(&mut self, marks: u32) -> Result<(), GuardError> {
        self.tell(Rule { marks: self.told.marks | marks, ..self.told })
    }

    /// The table marks so now: nothing else passes, and the guard is attached unless it is already.
    ///
    /// # Errors
    /// Its rule cannot be changed, or it cannot be attached; what is attached stays.
    pub fn hold(&mut self, rule: Rule) -> Result<(), GuardError> {
        self.tell(rule)?;
        let Some(program) = &self.program else { return Ok(()) };
        let own = program::hash();
        self.folder.make_links(&own)?;
        for link in self.folder.links(&own).into_iter().filter(|link| !link.path.exists()) {
            let place = |priority| sys::Place { family: link.family, hook: link.hook, priority };
            // A guard of another version may have the first place.
            let made =
                sys::link(program.as_fd(), place(PRIORITIES[0])).or_else(|error| {
                    match error.raw_os_error() {
                        Some(libc::EBUSY) => sys::link(program.as_fd(), place(PRIORITIES[1])),
                        _ => Err(error),
                    }
                });
            let made = made.map_err(GuardError::Attach)?;
            let pinned = sys::pin(made.as_fd(), &link.path);
            pinned.map_err(|error| GuardError::Folder { what: "make", path: link.path, error })?;
        }
        self.folder.clear_others(&own)?;
        self.program = None;
        Ok(())
    }

    fn tell(&mut self, rule: Rule) -> Result<(), GuardError> {
        if self.told != rule {
            self.array.write(&rule).map_err(GuardError::Rule)?;
            self.told = rule;
        }
        Ok(())
    }
}

/// Beginnings of names that a guard can tell apart.
pub const PREFIXES: usize = 8;
/// Octets of a link's name with the NUL behind it.
const NAME: usize = 16;
/// Behind the last chain of the table.
const PRIORITIES: [i32; 2] = [3, 4];

#[cfg(test)]
mod tests;
