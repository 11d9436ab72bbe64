//! TCP-MD5 keys of the listening sockets: they must be there before the SYN is.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tokio::net::TcpListener;
use tracing::warn;

use crate::listener;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    address: IpAddr,
    /// For a range.
    prefix_len: Option<u8>,
    key: Vec<u8>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    listeners: BTreeMap<SocketAddr, Arc<TcpListener>>,
    keys: BTreeMap<String, Key>,
}

impl Keys {
    /// A listening socket is there.
    pub(crate) fn opened(&mut self, address: SocketAddr, listener: &Arc<TcpListener>) {
        self.listeners.insert(address, Arc::clone(listener));
        for (peer, key) in &self.keys {
            apply(peer, listener, key, &key.key);
        }
    }

    /// A listening socket has gone.
    pub(crate) fn closed(&mut self, address: SocketAddr) {
        self.listeners.remove(&address);
    }

    /// The key of a peer; `None` removes it.
    pub(crate) fn set(
        &mut self,
        peer: &str,
        address: IpAddr,
        prefix_len: Option<u8>,
        key: Option<Vec<u8>>,
    ) {
        let new = key.map(|key| Key { address, prefix_len, key });
        if self.keys.get(peer) == new.as_ref() {
            return;
        }
        self.remove(peer);
        if let Some(new) = new {
            for listener in self.listeners.values() {
                apply(peer, listener, &new, &new.key);
            }
            self.keys.insert(peer.to_owned(), new);
        }
    }

    /// A peer has gone.
    pub(crate) fn remove(&mut self, peer: &str) {
        if let Some(old) = self.keys.remove(peer) {
            for listener in self.listeners.values() {
                apply(peer, listener, &old, &[]);
            }
        }
    }
}

fn apply(peer: &str, listener: &TcpListener, key: &Key, octets: &[u8]) {
    if let Err(error) = listener::set_key(listener, key.address, key.prefix_len, octets) {
        warn!(%peer, address = %key.address, err = %error, "TCP-MD5 key not set: the peer cannot connect to us");
    }
}
