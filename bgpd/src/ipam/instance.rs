//! Which life of the node this is: a random id in the state directory.
//!
//! Promises: the same id for as long as the state directory lives, a new one with a new directory,
//! and never half of one. Two daemons under one node name differ in it.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context, Result};
use margay_ipam::Instance;

use crate::durable;

const FILE: &str = "instance";

/// The id kept in `state_dir`, made at the first call.
///
/// # Errors
/// The file cannot be read or written, or holds something else.
pub(super) fn of(state_dir: &Path) -> Result<Instance> {
    let path = state_dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = uuid::Uuid::new_v4().to_string();
            durable::write(&path, &format!("{text}\n"))
                .with_context(|| format!("cannot write {}", path.display()))?;
            text
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    let id = text.trim();
    let is_id = uuid::Uuid::try_parse(id).is_ok();
    let instance = Instance::try_from(id).ok().filter(|_| is_id);
    instance.with_context(|| {
        format!(
            "{} holds no instance id; delete it only if nothing of an earlier run lives on this \
             node: its blocks then wait until their lease has ended",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests;
