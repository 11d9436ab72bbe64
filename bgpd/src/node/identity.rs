//! What this node is called.

use std::{fs, io, path::Path};

use bgp_desired::Desired;
use margay_model::{Kind, meta};
use tracing::warn;

use crate::durable;

/// In the state directory: the name under which this node is known to a cluster.
const FILE: &str = "node-name";

/// The name configured, else the one this node had in its cluster, else that of the host. One of a
/// cluster is called in lower case.
pub(crate) fn name_of(desired: &Desired) -> String {
    let host = || {
        nix::unistd::gethostname()
            .map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
    };
    let node = &desired.node;
    match (&node.name, node.registration.enabled) {
        (Some(name), _) => name.clone(),
        (None, false) => host(),
        (None, true) => {
            let host = host().to_lowercase();
            stored(&node.state_dir.join(FILE)).unwrap_or(host)
        }
    }
}

/// The name of a daemon that starts. One that joins a cluster remembers it: a host that is called
/// otherwise after a new installation, or by another DHCP server, stays the node that it was.
pub(crate) fn settle(desired: &Desired) -> String {
    let name = name_of(desired);
    let path = desired.node.state_dir.join(FILE);
    if desired.node.registration.enabled
        && stored(&path).as_ref() != Some(&name)
        && let Err(error) = durable::write(&path, &format!("{name}\n"))
    {
        warn!(file = %path.display(), err = %error, "cannot remember the name of this node");
    }
    name
}

fn stored(path: &Path) -> Option<String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warn!(file = %path.display(), err = %error, "cannot read the name of this node");
            return None;
        }
    };
    let name = text.trim();
    if !meta::is_name(Kind::Node, name) {
        warn!(file = %path.display(), "does not hold the name of a node; left aside");
        return None;
    }
    Some(name.to_owned())
}

#[cfg(test)]
mod tests;
