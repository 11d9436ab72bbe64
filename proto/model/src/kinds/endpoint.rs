//! What host and workload endpoints share: named ports.

use crate::{
    scalar::Protocol,
    wire::rules::{Answer, allow},
};

/// A rule: TCP, UDP or SCTP.
pub(crate) fn with_ports(protocol: &Protocol) -> Answer {
    allow(protocol.has_ports(), || "one of TCP, UDP, SCTP".into())
}
