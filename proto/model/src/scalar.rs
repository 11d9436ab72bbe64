//! Scalars with rules of their own: numbers that may be strings, CIDRs, durations, names.
//!
//! Owns their forms in documents (Calico's, as its users write them). Promises that a value that
//! exists is a valid one, and that it is written as it was given where users would notice.

mod as_number;
mod cidr;
mod dscp;
mod duration;
pub(crate) mod names;
mod order;
mod port;
mod protocol;

pub use as_number::AsNumber;
pub use cidr::Cidr;
pub(crate) use cidr::{address_net, host_length, masked, of_v4, of_v6, with_length};
pub use dscp::Dscp;
pub use duration::Duration;
pub(crate) use duration::without_fraction;
pub use order::Order;
pub use port::Port;
pub(crate) use port::numeric;
pub use protocol::Protocol;

/// A text that is no value of its type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not {allowed}")]
pub struct ScalarError {
    /// The text.
    pub found: String,
    /// What would have been one.
    pub allowed: String,
}
