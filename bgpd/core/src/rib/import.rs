//! From Adj-RIB-In to the decision: loops (RFC 4271 §9.1.2, RFC 4456 §8), import policy (RFC 8212),
//! graceful shutdown (RFC 8326), `local-asn`.

use std::sync::Arc;

use bgp_packet::{Community, PathAttributes};
use ipnet::IpNet;

use super::{
    attrs::{Attrs, WellKnown},
    core::Core,
    interned::Extra,
    session::{Origin, Session},
    table::{AS_LOOP, BAD_NEXT_HOP, MED_SET, ORIGINATOR_LOOP, REJECTED},
};
use crate::{
    config::{GlobalConfig, LocalAsnMode},
    policy::{Chosen, LocalAttributes, RoutePolicy, RouteSource, RouteView, RuleHit, Verdict},
};

/// What import made of a set: its number after policy, and flags.
pub(crate) type Imported = (u32, u16);

/// One attribute set of one session on its way in, for any number of prefixes.
#[derive(Debug)]
pub(crate) struct Importer {
    session: u16,
    attrs_in: u32,
    /// Decoded when first needed.
    decoded: Option<PathAttributes>,
    /// The result, where it is the same for every prefix.
    known: Option<Imported>,
    /// `known` has been counted for us.
    held: bool,
}

impl Importer {
    /// For a set that the caller has counted.
    pub fn new(core: &Core, session: u16, attrs_in: u32) -> Self {
        let mut importer = Self { session, attrs_in, decoded: None, known: None, held: false };
        let Some(peer) = core.sessions.peer(session) else {
            importer.known = Some((attrs_in, 0));
            return importer;
        };
        let attrs = core.sets.attrs(attrs_in);
        let origin = core.sessions.get(session).seen.origin;
        let flags = loops(attrs, peer, origin, &core.config.global);
        importer.known = if flags != 0 {
            Some((attrs_in, flags))
        } else {
            match &peer.config.import {
                None if refused(peer, origin, &core.config.global) => Some((attrs_in, REJECTED)),
                Some(policy) if takes_nothing(policy) => Some((attrs_in, REJECTED)),
                policy if policy.as_deref().is_none_or(takes_all) && plain(attrs, peer, origin) => {
                    Some((attrs_in, if attrs.next_hop().is_martian() { BAD_NEXT_HOP } else { 0 }))
                }
                _ => None,
            }
        };
        importer
    }

    /// The set after import, counted once for the caller.
    pub fn import(&mut self, core: &mut Core, prefix: impl FnOnce() -> IpNet) -> Imported {
        let (attrs, flags) = match self.known {
            Some(known) => {
                core.sets.retain(known.0);
                return known;
            }
            None => self.evaluate(core, prefix()),
        };
        let policy = core.sessions.peer(self.session).and_then(|p| p.config.import.as_deref());
        if policy.is_none_or(|policy| !policy.looks_at_prefix()) {
            core.sets.retain(attrs);
            self.held = true;
            self.known = Some((attrs, flags));
        }
        (attrs, flags)
    }

    /// Gives back what was counted for the run.
    pub fn finish(self, core: &mut Core) {
        if let Some((attrs, _)) = self.known
            && self.held
        {
            core.sets.release(attrs);
        }
    }

    fn evaluate(&mut self, core: &mut Core, prefix: IpNet) -> Imported {
        let peer = core.sessions.peer(self.session).expect("our own routes have no import policy");
        let origin = core.sessions.get(self.session).seen.origin;
        let attrs = core.sets.attrs(self.attrs_in);
        let decoded = self.decoded.get_or_insert_with(|| prepended(attrs.decode(), peer, origin));
        let interface = peer.addresses.interface;
        let verdict = match &peer.config.import {
            None => Verdict::Accept {
                attributes: None,
                local: LocalAttributes::default(),
                chosen: Chosen::default(),
            },
            Some(policy) => policy.evaluate(&view(core, peer, decoded, prefix)),
        };
        let Verdict::Accept { attributes, local, chosen } = verdict else {
            core.sets.retain(self.attrs_in);
            return (self.attrs_in, REJECTED);
        };
        let by_policy = attributes.is_some();
        let mut after = attributes.unwrap_or_else(|| Box::new(decoded.clone()));
        let mut flags = if chosen.med { MED_SET } else { 0 };
        if after.next_hop.is_martian() {
            flags |= BAD_NEXT_HOP;
        }
        let shutdown = origin == Origin::External
            && after.local_pref != Some(0)
            && after.communities.contains(&Community::GRACEFUL_SHUTDOWN);
        if shutdown {
            after.local_pref = Some(0);
        }
        let extra = Extra { local, interface };
        let unchanged = !by_policy && !shutdown && !prepends(peer, origin);
        let attrs = if unchanged { Arc::clone(attrs) } else { Arc::new(Attrs::new(&after)) };
        (core.sets.acquire(&attrs, extra), flags)
    }
}

/// The import policy of a session on one route, rule by rule.
pub(crate) fn explain(
    core: &Core,
    session: u16,
    attrs_in: u32,
    prefix: IpNet,
) -> Option<(String, Vec<RuleHit>)> {
    let slot = core.sessions.get(session);
    let peer = slot.session.as_deref()?;
    let policy = peer.config.import.as_deref()?;
    let decoded = prepended(core.sets.attrs(attrs_in).decode(), peer, slot.seen.origin);
    let (_, hits) = policy.explain(&view(core, peer, &decoded, prefix));
    Some((policy.name().to_owned(), hits))
}

/// A policy without rules that accepts.
pub(crate) fn takes_all(policy: &RoutePolicy) -> bool {
    let definition = policy.definition();
    definition.rules.is_empty() && definition.default == crate::policy::definition::Default::Accept
}

fn takes_nothing(policy: &RoutePolicy) -> bool {
    let definition = policy.definition();
    definition.rules.is_empty() && definition.default == crate::policy::definition::Default::Reject
}

/// RFC 8212: an eBGP session without a policy takes nothing.
fn refused(peer: &Session, origin: Origin, global: &GlobalConfig) -> bool {
    origin == Origin::External && global.require_policy && peer.config.import.is_none()
}

/// Whether nothing but a policy would change the set.
fn plain(attrs: &Attrs, peer: &Session, origin: Origin) -> bool {
    let shutdown =
        origin == Origin::External && attrs.header().well_known.has(WellKnown::GRACEFUL_SHUTDOWN);
    !shutdown && !prepends(peer, origin)
}

fn prepends(peer: &Session, origin: Origin) -> bool {
    origin == Origin::External
        && peer.config.local_asn.is_some()
        && peer.config.local_asn_mode == LocalAsnMode::Prepend
}

/// With the AS that we show the peer in front, where that is configured (RFC 7705 §3.1).
fn prepended(mut attributes: PathAttributes, peer: &Session, origin: Origin) -> PathAttributes {
    if prepends(peer, origin)
        && let Some(asn) = peer.config.local_asn
    {
        attributes.as_path.prepend(asn, 1);
    }
    attributes
}

fn view<'a>(
    core: &'a Core,
    peer: &'a Session,
    attributes: &'a PathAttributes,
    prefix: IpNet,
) -> RouteView<'a> {
    RouteView {
        prefix,
        attributes,
        local: LocalAttributes::default(),
        source: RouteSource::Bgp,
        peer: Some(&peer.name),
        peer_asn: Some(peer.negotiated.peer_asn),
        interface: peer.addresses.interface_name,
        local_address: match prefix {
            IpNet::V4(_) => peer.addresses.v4.map(Into::into),
            IpNet::V6(_) => peer.addresses.v6.map(Into::into),
        },
        local_asn: peer.negotiated.local_asn,
        router_id: core.config.global.router_id,
    }
}

/// Whether a set has been here before.
fn loops(attrs: &Attrs, peer: &Session, origin: Origin, global: &GlobalConfig) -> u16 {
    let mut flags = 0;
    let allowed = usize::from(peer.config.allow_own_asn);
    // Numbers that are ours outside a confederation, and inside it.
    let (outer, inner) = match &global.confederation {
        Some(confederation) => (confederation.id, Some(global.asn)),
        None => (global.asn, None),
    };
    let local = peer.config.local_asn;
    let suspects = [Some(outer), inner, local];
    if suspects.iter().flatten().any(|asn| attrs.may_contain(asn.0)) {
        let path = attrs.decode().as_path;
        let most = path
            .count(outer)
            .max(inner.map_or(0, |asn| path.count_confed(asn)))
            .max(local.map_or(0, |asn| path.count(asn)));
        if most > allowed {
            flags |= AS_LOOP;
        }
    }
    if matches!(origin, Origin::Internal | Origin::Client) {
        let header = attrs.header();
        let cluster = global.cluster_id;
        let reflected = header.originator() == Some(global.router_id)
            || (header.cluster_len > 0
                && attrs.may_contain(cluster.into())
                && attrs.decode().cluster_list.contains(&cluster));
        if reflected {
            flags |= ORIGINATOR_LOOP;
        }
    }
    flags
}
