//! Netlink as both who speak it need it: sockets with their options, and the framing of messages,
//! attributes and refusals. What the messages mean is rtnetlink's (`margay-fib`) and nf_tables'
//! (`policy-nft`) alone.

pub mod socket;
pub mod wire;

mod sys;

pub use socket::{Protocol, Socket, Wait};
