//! What `margay monitor` shows of peers.

use std::{net::SocketAddr, sync::Arc};

use bgp_core::fsm::State;

use crate::peer::AdminState;

/// A session changed its state.
#[derive(Debug, Clone)]
pub struct PeerEvent {
    /// Name of the peer.
    pub name: String,
    /// Its address where known.
    pub address: Option<SocketAddr>,
    /// Before.
    pub from: State,
    /// After.
    pub to: State,
    /// Whether the peer may be up.
    pub admin: AdminState,
    /// Why.
    pub why: Arc<str>,
}
