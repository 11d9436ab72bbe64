//! Wishes for the kernel: the best route and its equals.

use bgp_packet::PathAttributes;

use super::{
    core::Core,
    decision::{self, Few},
    event::{Effect, Install, Installed, TrackedNextHop},
    family::Rib,
    net::Net,
    session::source_of,
    table::{BLACKHOLE, NONE, Path},
};
use crate::policy::{LocalAttributes, RouteSource, RouteView, Verdict};

/// Tells the shell every wish that may have changed since the last flush.
pub(crate) fn flush<N: Net>(rib: &mut Rib<N>, core: &Core, out: &mut Vec<Effect>) {
    for at in 0..rib.kernel.entries.len() {
        let (slot, _) = rib.kernel.entries[at];
        let route = wish(rib, core, slot);
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
    let blackhole = path.flags.any(BLACKHOLE);
    match source_of(path.session) {
        RouteSource::Bgp => {}
        RouteSource::Originate if blackhole => {
            return Some(Installed { next_hops: Vec::new(), local });
        }
        _ => return None,
    }
    let mut next_hops: Vec<(TrackedNextHop, u16)> = equals(rib, core, slot)
        .into_iter()
        .filter_map(|path| {
            let hop = core.sets.hop(rib.table.path(path).attrs);
            (hop != NONE).then(|| (*core.sets.resolved(hop).0, 1))
        })
        .collect();
    next_hops.sort_unstable();
    next_hops.dedup();
    (!next_hops.is_empty()).then_some(Installed { next_hops, local })
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
