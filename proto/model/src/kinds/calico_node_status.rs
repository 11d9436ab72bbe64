//! `CalicoNodeStatus`: asks a node for its BGP state, and holds the answer.

use crate::{
    object::Object,
    wire::{At, rules},
};

choice! {
    /// What is asked for.
    pub enum NodeStatusClass {
        /// The agent itself.
        Agent = "Agent",
        /// The sessions.
        Bgp = "BGP",
        /// The routes.
        Routes = "Routes",
    }
}

record! {
    /// The spec of a `CalicoNodeStatus`.
    pub struct CalicoNodeStatusSpec {
        /// The node that is asked.
        node: String = "node",
        /// What is asked for.
        classes: Vec<NodeStatusClass> = "classes",
        /// How often the answer is renewed, in seconds; 0 is never.
        update_period_seconds: u32 = "updatePeriodSeconds" => rules::within(0u32..=86_400),
    }
    check |spec, at: &mut At<'_, '_>| {
        if spec.node.is_empty() {
            at.refuse("node", "the name of a node");
        }
        if spec.classes.is_empty() {
            at.refuse("classes", "at least one of Agent, BGP, Routes");
        }
        if rules::unique(&spec.classes).is_err() {
            at.refuse("classes", "each class only once");
        }
    }
}

choice! {
    /// Whether a BGP daemon is there.
    pub enum BgpDaemonState {
        /// It is.
        Ready = "Ready",
        /// It is not.
        NotReady = "NotReady",
    }
}

record! {
    /// A BGP daemon of a node.
    #[derive(Default)]
    pub struct BgpDaemonStatus {
        /// Whether it is there.
        state: Option<BgpDaemonState> = "state",
        /// Its version.
        version: Option<String> = "version",
        /// Its router identifier.
        router_id: Option<String> = "routerID",
        /// When it started.
        last_boot_time: Option<String> = "lastBootTime",
        /// When it was configured last.
        last_reconfiguration_time: Option<String> = "lastReconfigurationTime",
    }
}

record! {
    /// The BGP daemons of a node, one a family.
    #[derive(Default)]
    pub struct AgentStatus {
        /// For IPv4.
        bird_v4: Option<BgpDaemonStatus> = "birdV4",
        /// For IPv6.
        bird_v6: Option<BgpDaemonStatus> = "birdV6",
    }
}

choice! {
    /// Where a peer comes from.
    pub enum NodePeerType {
        /// The mesh.
        NodeMesh = "NodeMesh",
        /// A BGPPeer of the node.
        NodePeer = "NodePeer",
        /// A BGPPeer of every node.
        GlobalPeer = "GlobalPeer",
    }
}

choice! {
    /// The state of a session, as in RFC 4271.
    pub enum NodePeerState {
        /// Nothing is tried.
        Idle = "Idle",
        /// A connection is being made.
        Connect = "Connect",
        /// Waiting to try again.
        Active = "Active",
        /// Our OPEN is out.
        OpenSent = "OpenSent",
        /// Theirs is in.
        OpenConfirm = "OpenConfirm",
        /// Up.
        Established = "Established",
        /// On its way down.
        Close = "Close",
    }
}

record! {
    /// A session of a node.
    #[derive(Default)]
    pub struct NodePeerStatus {
        /// The peer's address.
        peer_ip: Option<String> = "peerIP",
        /// Where the peer comes from.
        kind: Option<NodePeerType> = "type",
        /// The session's state.
        state: Option<NodePeerState> = "state",
        /// Since when.
        since: Option<String> = "since",
    }
}

record! {
    /// The sessions of a node.
    #[derive(Default)]
    pub struct NodeBgpStatus {
        /// How many of IPv4 are up.
        number_established_v4: Option<u32> = "numberEstablishedV4",
        /// How many of IPv4 are not.
        number_not_established_v4: Option<u32> = "numberNotEstablishedV4",
        /// How many of IPv6 are up.
        number_established_v6: Option<u32> = "numberEstablishedV6",
        /// How many of IPv6 are not.
        number_not_established_v6: Option<u32> = "numberNotEstablishedV6",
        /// Those of IPv4.
        peers_v4: Vec<NodePeerStatus> = "peersV4",
        /// Those of IPv6.
        peers_v6: Vec<NodePeerStatus> = "peersV6",
    }
}

choice! {
    /// Where a route lies.
    pub enum NodeRouteType {
        /// In the kernel.
        Fib = "FIB",
        /// In the daemon only.
        Rib = "RIB",
    }
}

choice! {
    /// Who told a route.
    pub enum RouteSourceType {
        /// The kernel.
        Kernel = "Kernel",
        /// The configuration.
        Static = "Static",
        /// An interface.
        Direct = "Direct",
        /// A node of the mesh.
        NodeMesh = "NodeMesh",
        /// Another BGP peer.
        BgpPeer = "BGPPeer",
    }
}

record! {
    /// Who told a route.
    #[derive(Default)]
    pub struct LearnedFrom {
        /// What it was.
        source_type: Option<RouteSourceType> = "sourceType",
        /// Which peer.
        peer_ip: Option<String> = "peerIP",
    }
}

record! {
    /// A route of a node.
    #[derive(Default)]
    pub struct NodeRoute {
        /// Where it lies.
        kind: Option<NodeRouteType> = "type",
        /// Its prefix.
        destination: Option<String> = "destination",
        /// Its next hop.
        gateway: Option<String> = "gateway",
        /// Its interface.
        interface: Option<String> = "interface",
        /// Who told it.
        learned_from: Option<LearnedFrom> = "learnedFrom",
    }
}

record! {
    /// The routes of a node.
    #[derive(Default)]
    pub struct NodeRoutes {
        /// Of IPv4.
        routes_v4: Vec<NodeRoute> = "routesV4",
        /// Of IPv6.
        routes_v6: Vec<NodeRoute> = "routesV6",
    }
}

record! {
    /// The answer of a node.
    #[derive(Default)]
    pub struct CalicoNodeStatusStatus {
        /// When it was given.
        last_updated: Option<String> = "lastUpdated" => rules::timestamp,
        /// The daemons.
        agent: Option<AgentStatus> = "agent",
        /// The sessions.
        bgp: Option<NodeBgpStatus> = "bgp",
        /// The routes.
        routes: Option<NodeRoutes> = "routes",
    }
}

spec!(CalicoNodeStatusSpec, CalicoNodeStatus, status CalicoNodeStatusStatus);

/// A `CalicoNodeStatus`.
pub type CalicoNodeStatus = Object<CalicoNodeStatusSpec>;
