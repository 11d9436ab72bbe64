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
        let config = derive(&template, remote.ip(), interface_of(remote));
        if self.peers.contains_key(&config.name) {
            // Given to somebody else by hand; two rows of one name would be one.
            warn!(%remote, peer = %config.name, "connection refused: a peer has its address as name");
            return None;
        }
        info!(%remote, template = %name, "dynamic peer");
        self.add_peer(Arc::new(config), Some(name.clone()))
    }

    /// The settings of a dynamic peer after its template has changed; `None`: it has no place any
    /// more.
    pub(super) fn derive_again(&self, entry: &Entry) -> Option<PeerConfig> {
        let template = self.templates.get(entry.template.as_ref()?)?;
        let (PeerAddress::Dynamic { prefix, .. }, PeerAddress::Address { address, interface }) =
            (&template.address, &entry.config.address)
        else {
            return None;
        };
        IpNet::contains(prefix, address).then(|| derive(template, *address, interface.clone()))
    }
}

/// The interface that a link-local address belongs to: on another one it is somebody else.
fn interface_of(remote: SocketAddr) -> Option<String> {
    let SocketAddr::V6(v6) = remote else { return None };
    let scope = Some(v6.scope_id()).filter(|_| v6.ip().is_unicast_link_local())?;
    nix::net::if_::if_indextoname(scope).ok()?.into_string().ok()
}

fn derive(template: &PeerConfig, address: IpAddr, interface: Option<String>) -> PeerConfig {
    let name = match &interface {
        Some(interface) => format!("{address}%{interface}"),
        None => address.to_string(),
    };
    PeerConfig {
        name,
        address: PeerAddress::Address { address, interface },
        passive: true,
        ..template.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV6;

    use super::*;

    #[test]
    fn a_link_local_address_is_told_by_its_interface() {
        let lo = nix::net::if_::if_nametoindex("lo").expect("every host has one");
        let address = "fe80::5".parse().expect("an address");
        let on = |scope| SocketAddr::V6(SocketAddrV6::new(address, 179, 0, scope));
        assert_eq!(interface_of(on(lo)).as_deref(), Some("lo"));
        assert_eq!(interface_of("192.0.2.1:179".parse().expect("an address")), None);
    }
}
