//! What both address families of a shard share: configuration, sessions, attribute sets; and
//! whether a path is eligible.

use std::collections::BTreeMap;

use bgp_packet::SessionKind;
use ipnet::IpNet;

use super::{
    decision::{Candidate, DEFAULT_LOCAL_PREF, LOCAL_WEIGHT},
    event::{Effect, Install, ShardConfig},
    interned::Interned,
    query::Reason,
    session::{Origin, Session, Sessions},
    table::{AS_LOOP, BAD_NEXT_HOP, INELIGIBLE, NONE, ORIGINATOR_LOOP, Path, REJECTED},
};
use crate::{
    config::DecisionConfig,
    policy::{InterfaceName, RoutePolicy},
};

/// The shared part of a shard.
#[derive(Debug)]
pub(crate) struct Core {
    pub config: ShardConfig,
    pub sets: Interned,
    pub sessions: Sessions,
    /// Seconds, as last told.
    pub now: u32,
    /// Not yet handed out.
    pub effects: Vec<Effect>,
    /// [`Effect::Changed`] is wanted.
    pub watched: bool,
    /// After a restart: nothing is installed yet, nor sent to peers that kept what they had of us.
    pub deferring: bool,
    /// Which interfaces routes of our own lead out by, by session and prefix: few have one.
    pub local_interfaces: BTreeMap<(u16, IpNet), InterfaceName>,
}

impl Core {
    pub fn new(config: ShardConfig) -> Self {
        Self {
            config,
            sets: Interned::default(),
            sessions: Sessions::new(),
            now: 0,
            effects: Vec::new(),
            watched: false,
            deferring: false,
            local_interfaces: BTreeMap::new(),
        }
    }

    pub fn decision(&self) -> &DecisionConfig {
        &self.config.global.decision
    }

    /// Whether a session is to hear nothing yet.
    pub fn withholds(&self, session: u16) -> bool {
        self.deferring && self.is_graceful(session)
    }

    /// Whether a session's peer kept what it had of us when we restarted (RFC 4724 §4.1). Any other
    /// forgot it, and a table in parts is more than it has.
    pub fn is_graceful(&self, session: u16) -> bool {
        let graceful = |peer: &Session| peer.negotiated.graceful_restart.is_some();
        self.sessions.peer(session).is_some_and(graceful)
    }

    /// Whether more than one path of a prefix may be installed.
    pub fn multipath(&self) -> bool {
        let global = &self.config.global;
        global.multipath_ebgp > 1 || global.multipath_ibgp > 1
    }

    /// Whether anything goes to the kernel.
    pub fn installs(&self) -> bool {
        !matches!(self.config.install, Install::Nothing)
    }

    /// The interface a route leads out by, where policies look at it.
    pub fn interface(
        &self,
        policy: &RoutePolicy,
        path: &Path,
        prefix: IpNet,
    ) -> Option<InterfaceName> {
        if !policy.looks_at_interface() {
            return None;
        }
        let own = self.local_interfaces.get(&(path.session, prefix));
        own.copied().or_else(|| {
            let hop = self.sets.hop(path.attrs);
            (hop != NONE).then(|| self.sets.resolved(hop).1?.interface)?
        })
    }

    /// Whether an export policy, or that of the kernel, looks at interfaces.
    pub fn looks_at_interfaces(&self) -> bool {
        let kernel = match &self.config.install {
            Install::Policy(policy) => policy.looks_at_interface(),
            Install::Nothing | Install::All => false,
        };
        kernel
            || self.sessions.alive().any(|session| {
                let export = self.sessions.peer(session).and_then(|s| s.config.export.as_ref());
                export.is_some_and(|policy| policy.looks_at_interface())
            })
    }

    /// The cost of a path's next hop, or why the path is out of the decision.
    pub fn eligible(&self, path: &Path) -> Result<u32, Reason> {
        if path.flags.any(INELIGIBLE) {
            return Err(if path.flags.any(AS_LOOP) {
                Reason::AsLoop
            } else if path.flags.any(ORIGINATOR_LOOP) {
                Reason::OriginatorLoop
            } else if path.flags.any(REJECTED) {
                Reason::Policy
            } else {
                debug_assert!(path.flags.any(BAD_NEXT_HOP));
                Reason::NextHopUnreachable
            });
        }
        let slot = self.sessions.get(path.session);
        if !slot.alive {
            return Err(Reason::Stale);
        }
        let hop = self.sets.hop(path.attrs);
        if hop == NONE {
            return Ok(0);
        }
        let (key, state) = self.sets.resolved(hop);
        let state = state.ok_or(Reason::NextHopUnreachable)?;
        let Some(session) = &slot.session else { return Ok(state.cost) };
        // The peer's own address is what its session proves.
        let peers_own = key.address == slot.seen.address;
        let one_hop = session.negotiated.kind == SessionKind::External
            && session.config.multihop.is_none()
            && session.config.ttl_security.is_none_or(|hops| hops <= 1)
            && self.sets.hop(path.attrs_in) == hop;
        if !peers_own && (state.local || (one_hop && !state.direct)) {
            return Err(Reason::NextHopUnreachable);
        }
        Ok(state.cost)
    }

    /// A path as the decision sees it; `None` when it is not eligible.
    pub fn candidate(&self, path: &Path) -> Option<Candidate> {
        let metric = self.eligible(path).ok()?;
        Some(self.considered(path, metric))
    }

    /// Likewise, of a path whose next hop costs `metric`.
    pub fn considered(&self, path: &Path, metric: u32) -> Candidate {
        let header = self.sets.attrs(path.attrs).header();
        let seen = &self.sessions.get(path.session).seen;
        let local = seen.origin == Origin::Local;
        Candidate {
            weight: match self.sets.extra(path.attrs).local.weight {
                0 if local => LOCAL_WEIGHT,
                weight => weight,
            },
            local_pref: header.local_pref().unwrap_or(DEFAULT_LOCAL_PREF),
            local,
            path_len: header.path_len,
            origin: header.origin,
            med: header.med(),
            neighbour: header.neighbour(),
            external: seen.origin == Origin::External,
            metric,
            router_id: header.originator().map_or(seen.router_id, u32::from),
            cluster_len: header.cluster_len,
            address: seen.address,
            path_id: path.path_id,
            session: path.session,
        }
    }
}
