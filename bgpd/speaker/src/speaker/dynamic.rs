//! Peers that come from a configured prefix.

use ipnet::IpNet;

use super::*;

impl Speaker {
    /// A new peer for a connection from a configured range, if there is room for it.
    pub(super) fn dynamic_for(&mut self, remote: SocketAddr) -> Option<PeerHandle> {
        let (template, max_peers) = self
            .templates
            .values()
            .filter(|template| template.enabled)
            .filter_map(|template| match &template.address {
                PeerAddress::Dynamic { prefix, max_peers } => {
                    Some((Arc::clone(template), *prefix, *max_peers))
                }
                _ => None,
            })
            .filter(|(_, prefix, _)| prefix.contains(&remote.ip()))
            .max_by_key(|(_, prefix, _)| prefix.prefix_len())
            .map(|(template, _, max_peers)| (template, max_peers))?;
        let name = &template.name;
        let present =
            self.peers.values().filter(|entry| entry.template.as_ref() == Some(name)).count();
        if present >= usize::try_from(max_peers).unwrap_or(usize::MAX) {
            warn!(%remote, template = %name, max_peers, "connection refused: max-peers reached");
            return None;
        }
        info!(%remote, template = %name, "dynamic peer");
        let config = derive(&template, remote);
        self.add_peer(Arc::new(config), Some(name.clone()))
    }

    /// The settings of a dynamic peer after its template has changed; `None`: it has no place any
    /// more.
    pub(super) fn derive_again(&self, entry: &Entry) -> Option<PeerConfig> {
        let template = self.templates.get(entry.template.as_ref()?)?;
        let (PeerAddress::Dynamic { prefix, .. }, PeerAddress::Address { address, .. }) =
            (&template.address, &entry.config.address)
        else {
            return None;
        };
        IpNet::contains(prefix, address)
            .then(|| derive(template, SocketAddr::new(*address, template.port)))
    }
}

fn derive(template: &PeerConfig, remote: SocketAddr) -> PeerConfig {
    PeerConfig {
        name: remote.ip().to_string(),
        address: PeerAddress::Address { address: remote.ip(), interface: None },
        passive: true,
        ..template.clone()
    }
}
