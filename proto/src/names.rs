//! The names that enumerations have in configurations, tables and JSON.

use crate::v1::{
    AdminState, AsSegmentKind, ChangeImpact, ErrorDirection, Family, FibRouteType, FlowDirection,
    FlowVerdict, Origin, Reason, RouteSource, Rpki, RuleAction, SessionState, StepOutcome,
};

macro_rules! names {
    ($($kind:ident { $($variant:ident = $name:literal),* $(,)? })*) => {$(
        impl $kind {
            /// The name; empty for a value that is not specified.
            pub fn name(self) -> &'static str {
                match self {
                    Self::Unspecified => "",
                    $(Self::$variant => $name,)*
                }
            }

            /// The value with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    )*};
}

names! {
    Family { Ipv4Unicast = "ipv4-unicast", Ipv6Unicast = "ipv6-unicast" }
    SessionState {
        Idle = "Idle",
        Connect = "Connect",
        Active = "Active",
        OpenSent = "OpenSent",
        OpenConfirm = "OpenConfirm",
        Established = "Established",
    }
    AdminState { Up = "up", Down = "down" }
    FlowDirection { Ingress = "ingress", Egress = "egress" }
    FlowVerdict { Allow = "allow", Deny = "deny", Log = "log" }
    ErrorDirection { Sent = "sent", Received = "received", Local = "local" }
    Origin { Igp = "igp", Egp = "egp", Incomplete = "incomplete" }
    Rpki { Valid = "valid", Invalid = "invalid", NotFound = "not-found" }
    RouteSource {
        Bgp = "bgp",
        Originate = "originate",
        Connected = "connected",
        Static = "static",
        Kernel = "kernel",
    }
    Reason {
        OnlyPath = "only-path",
        LocalPref = "local-pref",
        Weight = "weight",
        LocalRoute = "local-route",
        AsPathLength = "as-path-length",
        Origin = "origin",
        Med = "med",
        PeerType = "peer-type",
        IgpMetric = "igp-metric",
        Older = "older",
        RouterId = "router-id",
        ClusterList = "cluster-list",
        PeerAddress = "peer-address",
        PathId = "path-id",
        Stale = "stale",
        NextHopUnreachable = "next-hop-unreachable",
        Policy = "policy",
        AsLoop = "as-loop",
        OriginatorLoop = "originator-loop",
    }
    AsSegmentKind {
        Sequence = "sequence",
        Set = "set",
        ConfedSequence = "confed-sequence",
        ConfedSet = "confed-set",
    }
    RuleAction { Accept = "accept", Reject = "reject", Next = "next" }
    StepOutcome { Equal = "equal", Decided = "decided", Skipped = "skipped" }
    FibRouteType {
        Unicast = "unicast",
        Blackhole = "blackhole",
        Unreachable = "unreachable",
        Prohibit = "prohibit",
    }
    ChangeImpact { Live = "live", Soft = "soft", Reset = "reset", Restart = "restart" }
}
