//! A BGP speaker on sockets and threads: connections, timers, RIB shards.
//!
//! Owns: TCP (MD5, TTL, listening, dialling), router advertisements, one task for each peer around
//! `bgp_core::fsm::Session`, the threads around `bgp_core::rib::Shard`. Promises: keep-alives and
//! hold timers never wait for a table; every queue is bounded. Leaves to others: what is sent and
//! why (`bgp-core`), octets (`bgp-packet`), the kernel's routes (`margay-fib`), configuration files.

#![deny(unsafe_code)]

mod addresses;
mod arrivals;
mod connection;
mod events;
mod handle;
mod kernel;
mod listener;
mod metrics;
mod newcomers;
mod originate;
mod peer;
mod ra;
mod shard;
mod speaker;
#[allow(unsafe_code, reason = "socket options without a safe wrapper")]
mod sys;
mod transport;

pub use events::PeerEvent;
pub use handle::{NoSuchPeer, Peer, Rows, SpeakerHandle};
pub use kernel::{Kernel, KernelEvents};
pub use listener::{ListenError, strangers};
pub use metrics::{MessageKind, PeerCounters};
pub use originate::AddedRoute;
pub use peer::{AdminState, PeerStatus, TimersLeft, Transport};
pub use shard::{RouteChange, ShardGauge};
pub use speaker::{ByHand, Knowledge, Speaker, SpeakerConfig, Stop};
