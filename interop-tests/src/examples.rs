//! The example of each kind of resource, as a folder that can be applied.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// A filter that an example names and none makes.
const NAMED: &str = "\
apiVersion: projectcalico.org/v3
kind: BGPFilter
metadata:
  name: no-defaults
spec:
  importV4:
    - action: Reject
      matchOperator: Equal
      cidr: 0.0.0.0/0
";

/// The kinds that have an example and can be written, in lower case, with the files of their
/// examples. Block affinities are a view of blocks, which nobody writes.
///
/// # Errors
/// When the folder cannot be read.
pub fn all() -> Result<Vec<(String, PathBuf)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/model/tests/examples");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let kind = path.file_stem().and_then(|stem| stem.to_str()).context("a name")?.to_owned();
        if kind != "blockaffinity" {
            found.push((kind, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Puts everything that is needed into this folder, which is made; in the order of the names each
/// resource finds what it needs.
///
/// # Errors
/// When it cannot be written.
pub fn into(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (kind, file) in all()? {
        let order = if kind == "tier" { "0-" } else { "" };
        fs::copy(file, folder.join(format!("{order}{kind}.yaml")))?;
    }
    fs::write(folder.join("0-named.yaml"), NAMED)?;
    Ok(())
}
