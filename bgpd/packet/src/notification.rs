//! NOTIFICATION and its codes (RFC 4271 §4.5 and §6, RFC 4486, 6608, 9003, 9384, 9687).

use bytes::Bytes;

/// A NOTIFICATION as sent or received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode; 0 is unspecific.
    pub subcode: u8,
    /// Data octets as the code and subcode define.
    pub data: Bytes,
}

impl Notification {
    /// Without data.
    pub fn new(code: u8, subcode: u8) -> Self {
        Self { code, subcode, data: Bytes::new() }
    }
}

/// Error codes and the subcodes that other crates name.
pub mod code {
    /// Message header error.
    pub const HEADER: u8 = 1;
    /// OPEN message error.
    pub const OPEN: u8 = 2;
    /// UPDATE message error.
    pub const UPDATE: u8 = 3;
    /// Hold timer expired.
    pub const HOLD_TIMER: u8 = 4;
    /// FSM error; subcodes RFC 6608.
    pub const FSM: u8 = 5;
    /// Cease; subcodes RFC 4486, 8538, 9384.
    pub const CEASE: u8 = 6;
    /// ROUTE-REFRESH message error (RFC 7313).
    pub const ROUTE_REFRESH: u8 = 7;
    /// Send hold timer expired (RFC 9687).
    pub const SEND_HOLD_TIMER: u8 = 8;
}

/// Subcodes of Cease.
pub mod cease {
    /// Maximum number of prefixes reached.
    pub const MAX_PREFIXES: u8 = 1;
    /// Administrative shutdown; data is an RFC 9003 text.
    pub const ADMIN_SHUTDOWN: u8 = 2;
    /// Peer de-configured.
    pub const DECONFIGURED: u8 = 3;
    /// Administrative reset; data is an RFC 9003 text.
    pub const ADMIN_RESET: u8 = 4;
    /// Connection rejected.
    pub const REJECTED: u8 = 5;
    /// Other configuration change.
    pub const CONFIG_CHANGE: u8 = 6;
    /// Connection collision resolution.
    pub const COLLISION: u8 = 7;
    /// Out of resources.
    pub const OUT_OF_RESOURCES: u8 = 8;
    /// Hard reset (RFC 8538).
    pub const HARD_RESET: u8 = 9;
    /// BFD down (RFC 9384).
    pub const BFD_DOWN: u8 = 10;
}
