//! What lies between two configurations of the speaker, as a value.

use std::{collections::BTreeMap, sync::Arc};

use bgp_core::{
    config::{PeerAddress, PeerConfig},
    fsm::{Impact, global_change_concerns_peers, global_change_impact},
};

use super::SpeakerConfig;

/// Who has to hear of a new configuration. Own routes are left out: they have their own way, so a
/// node that claims a block of addresses says so in routes and disturbs no peer.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Difference {
    /// Peers that are no longer there, or are somebody else under the same name.
    pub(super) gone: Vec<String>,
    /// Peers that were not there, or were somebody else.
    pub(super) new: Vec<Arc<PeerConfig>>,
    /// Peers whose settings, or the speaker's, are others.
    pub(super) changed: Vec<Arc<PeerConfig>>,
    /// No session may stay as it is.
    pub(super) bounce_all: bool,
    /// Peers that were made from templates are to be made again.
    pub(super) dynamic: bool,
    /// The shards are to be told.
    pub(super) shards: bool,
}

impl Difference {
    pub(super) fn between(old: &SpeakerConfig, new: &SpeakerConfig) -> Self {
        let concerns_all = global_change_concerns_peers(&old.global, &new.global);
        let before = by_name(&old.peers);
        let after = by_name(&new.peers);
        let mut difference = Self {
            bounce_all: global_change_impact(&old.global, &new.global) == Impact::Reset,
            ..Self::default()
        };
        for (name, old) in &before {
            if !after.get(name).is_some_and(|new| is_same(old, new)) {
                difference.gone.push((*name).to_owned());
            }
        }
        for (name, new) in after {
            match before.get(name).filter(|old| is_same(old, new)) {
                None => difference.new.push(Arc::clone(new)),
                Some(old) if concerns_all || *old != new => {
                    difference.changed.push(Arc::clone(new));
                }
                Some(_) => {}
            }
        }
        difference.dynamic =
            concerns_all || !difference.gone.is_empty() || !difference.changed.is_empty();
        difference.shards = difference.dynamic || old.install != new.install;
        difference
    }
}

fn by_name(peers: &[Arc<PeerConfig>]) -> BTreeMap<&str, &Arc<PeerConfig>> {
    peers.iter().map(|peer| (peer.name.as_str(), peer)).collect()
}

/// Whether a peer of that name is still the same one: then its session may live on.
fn is_same(old: &PeerConfig, new: &PeerConfig) -> bool {
    match (&old.address, &new.address) {
        (PeerAddress::Dynamic { prefix: old, .. }, PeerAddress::Dynamic { prefix: new, .. }) => {
            old == new
        }
        (old, new) => old == new,
    }
}

#[cfg(test)]
mod tests;
