//! Capabilities of the OPEN message (RFC 5492).

use crate::{Asn, Family};

/// What an add-path entry allows its sender to do (RFC 7911 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddPathMode {
    /// 1: able to receive multiple paths.
    Receive,
    /// 2: able to send multiple paths.
    Send,
    /// 3: both.
    Both,
}

/// One capability. Unknown codes are kept as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capability {
    /// 1 (RFC 4760).
    Multiprotocol(Family),
    /// 2 (RFC 2918).
    RouteRefresh,
    /// 5 (RFC 8950): families whose next hop may be of the given AFI.
    ExtendedNextHop(Vec<(Family, u16)>),
    /// 6 (RFC 8654).
    ExtendedMessage,
    /// 9 (RFC 9234).
    Role(u8),
    /// 64 (RFC 4724, 8538).
    GracefulRestart {
        /// R: the sender has restarted.
        restarting: bool,
        /// N: NOTIFICATIONs also start the helper (RFC 8538).
        notification: bool,
        /// Seconds, 12 bits.
        restart_time: u16,
        /// Families and their F bit (forwarding state preserved).
        families: Vec<(Family, bool)>,
    },
    /// 65 (RFC 6793).
    FourOctetAsn(Asn),
    /// 69 (RFC 7911).
    AddPath(Vec<(Family, AddPathMode)>),
    /// 70 (RFC 7313).
    EnhancedRouteRefresh,
    /// 71 (RFC 9494): family, F bit, stale time in seconds (24 bits).
    LongLivedGracefulRestart(Vec<(Family, bool, u32)>),
    /// 73 (draft-walton-bgp-hostname-capability).
    Fqdn {
        /// Host name, not checked.
        host: String,
        /// Domain name, not checked.
        domain: String,
    },
    /// Anything else, octets as received.
    Unknown {
        /// Capability code.
        code: u8,
        /// Value octets.
        value: Vec<u8>,
    },
}
