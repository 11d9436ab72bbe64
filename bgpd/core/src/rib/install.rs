//! Wishes for the kernel: the best route and its equals, and what comes after them.

use std::sync::Arc;

use bgp_packet::PathAttributes;
use smallvec::SmallVec;

use super::{
    core::Core,
    decision::{self, Few},
    event::{Effect, Epoch, Install, Installed, TrackedNextHop},
    family::Rib,
    net::Net,
    session::source_of,
    table::{BLACKHOLE, NONE, Path},
};
use crate::policy::{LocalAttributes, RouteSource, RouteView, Verdict};

/// Tells the shell every wish that may have changed since the last flush. Neighbours that are alike
/// share theirs.
pub(crate) fn flush<N: Net>(rib: &mut Rib<N>, core: &Core, out: &mut Vec<Effect>) {
    if core.deferring {
        return;
    }
    let mut latest: Option<Arc<Installed>> = None;
    for at in 0..rib.kernel.entries.len() {
        let (slot, _) = rib.kernel.entries[at];
        let route = wish(rib, core, slot).map(|route| match &latest {
            Some(same) if **same == route => Arc::clone(same),
            _ => Arc::clone(latest.insert(Arc::new(route))),
        });
        let was = rib.installed.put(slot, route.is_some());
        if was || route.is_some() {
            out.push(Effect::Install { prefix: rib.table.prefix(slot).net.to_ip(), route });
        }
    }
    rib.kernel.clear();
}

fn wish<N: Net>(rib: &Rib<N>, core: &Core, slot: u32) -> Option<Installed> {
    if !rib.table.occupied(slot) {
        return None;
    }
    let best = rib.table.best(slot)?;
    let path = rib.table.path(best);
    let local = accepted(core, path, rib.table.prefix(slot).net)?;
    let mut route =
        Installed { next_hops: SmallVec::new(), sources: SmallVec::new(), backup: None, local };
    match source_of(path.session) {
        RouteSource::Bgp => {}
        RouteSource::Originate if path.flags.any(BLACKHOLE) => return Some(route),
        _ => return None,
    }
    let used = equals(rib, core, slot);
    for (next_hop, source) in used.iter().filter_map(|path| told(rib, core, *path)) {
        route.next_hops.push((next_hop, 1));
        route.sources.push((next_hop, source));
    }
    if used.len() > 1 {
        route.next_hops.sort_unstable();
        route.next_hops.dedup();
        route.sources.sort_unstable();
        route.sources.dedup();
    }
    route.backup = backup(rib, core, slot, &used);
    (!route.next_hops.is_empty()).then_some(route)
}

/// The next hop of a path, and the session that told it.
fn told<N: Net>(rib: &Rib<N>, core: &Core, path: u32) -> Option<(TrackedNextHop, Epoch)> {
    let path = rib.table.path(path);
    let hop = core.sets.hop(path.attrs);
    let session = core.sessions.peer(path.session)?;
    (hop != NONE).then(|| (*core.sets.resolved(hop).0, session.source))
}

/// What would be the best path if the sessions of those in use ended.
fn backup<N: Net>(
    rib: &Rib<N>,
    core: &Core,
    slot: u32,
    used: &[u32],
) -> Option<(TrackedNextHop, Epoch)> {
    rib.table.paths(slot).nth(1)?;
    let (mut paths, mut candidates) = rib.candidates(core, slot);
    let lost = |session: u16| used.iter().any(|path| rib.table.path(*path).session == session);
    paths.retain(|path| !lost(rib.table.path(*path).session));
    candidates.retain(|candidate| !lost(candidate.session));
    let best = decision::decide(&candidates, None, core.decision())?;
    told(rib, core, *paths.get(best)?)
}

/// The local values for the kernel, if `[fib] export` lets the route there.
fn accepted<N: Net>(core: &Core, path: &Path, net: N) -> Option<LocalAttributes> {
    let local = core.sets.extra(path.attrs).local;
    let policy = match &core.config.install {
        Install::Nothing => return None,
        Install::All => return Some(local),
        Install::Policy(policy) => policy,
    };
    let attributes: PathAttributes = core.sets.attrs(path.attrs).decode();
    let peer = core.sessions.peer(path.session);
    let view = RouteView {
        prefix: net.to_ip(),
        attributes: &attributes,
        local,
        source: source_of(path.session),
        peer: peer.map(|peer| &*peer.name),
        peer_asn: peer.map(|peer| peer.negotiated.peer_asn),
        interface: core.interface(policy, path, net.to_ip()),
        local_address: None,
        local_asn: core.config.global.asn,
        router_id: core.config.global.router_id,
    };
    match policy.evaluate(&view) {
        Verdict::Accept { local, .. } => Some(local),
        Verdict::Reject => None,
    }
}

/// The best path and those used beside it.
pub(crate) fn equals<N: Net>(rib: &Rib<N>, core: &Core, slot: u32) -> Few<u32> {
    let Some(best) = rib.table.best(slot) else { return Few::new() };
    if !core.multipath() {
        return Few::from_slice(&[best]);
    }
    let (paths, candidates) = rib.candidates(core, slot);
    let Some(at) = paths.iter().position(|path| *path == best) else { return Few::new() };
    let global = &core.config.global;
    let held = &candidates[at];
    let limit = if held.external { global.multipath_ebgp } else { global.multipath_ibgp };
    let path_of = |at: usize| core.sets.attrs(rib.table.path(paths[at]).attrs).header().path_hash;
    let same_path = |other: usize| {
        global.multipath_relax
            || if held.external {
                candidates[other].neighbour == held.neighbour
            } else {
                path_of(other) == path_of(at)
            }
    };
    decision::multipath(&candidates, at, limit.into(), core.decision(), same_path)
        .into_iter()
        .map(|at| paths[at])
        .collect()
}
