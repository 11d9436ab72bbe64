//! Everything about one prefix: why its best path is the best, what became of the others, and what
//! a peer is told.

use std::cmp::Ordering;

use bgp_packet::Announce;

use super::{
    core::Core,
    decision::{Candidate, STEPS, med, named, step},
    event::PeerId,
    export,
    family::Rib,
    flush::wire_id,
    import,
    net::Net,
    query::{
        ConsideredPath, ExplainedExport, ExplainedPath, ExplainedStep, Explanation, NotSent, Reason,
    },
};

impl<N: Net> Rib<N> {
    /// Explains a prefix; `None` without any path.
    pub fn explain(&self, core: &Core, net: N, to: Option<PeerId>) -> Option<Explanation> {
        let slot = self.table.find(net).filter(|slot| self.table.occupied(*slot))?;
        let prefix = net.to_ip();
        let judged = self.judge(core, slot);
        let candidate = |at: usize| {
            judged.get(at).and_then(|judged| core.candidate(self.table.path(judged.path)))
        };
        let mut paths = Vec::new();
        for (at, verdict) in judged.iter().enumerate() {
            let path = self.table.path(verdict.path);
            let best = at == 0 && self.table.best(slot) == Some(verdict.path);
            let rival = if at == 0 { candidate(1) } else { candidate(0) };
            let steps = match (candidate(at), rival) {
                (Some(this), Some(rival)) => steps(&this, &rival, verdict.reason, core),
                _ => Vec::new(),
            };
            paths.push(ExplainedPath {
                row: self.row(core, slot, verdict, best),
                import: import::explain(core, path.session, path.attrs_in, prefix),
                changed_by_import: path.attrs != path.attrs_in,
                igp_metric: core.eligible(path).ok(),
                steps,
            });
        }
        let export = to.and_then(|peer| self.explain_export(core, slot, peer));
        Some(Explanation { prefix, paths, export })
    }

    fn explain_export(&self, core: &Core, slot: u32, peer: PeerId) -> Option<ExplainedExport> {
        let session = core.sessions.of_peer(peer)?;
        let peer_name = core.sessions.peer(session)?.name.clone();
        let group = self.group_of(session);
        let prefix = self.table.prefix(slot).net.to_ip();
        let mut considered = Vec::new();
        let mut sent = 0;
        let mut own_best = false;
        for (at, judged) in self.judge(core, slot).iter().enumerate() {
            let path = self.table.path(judged.path);
            let from = core.sessions.peer(path.session).map(|session| session.name.clone());
            let mut policy = None;
            let mut path_id = None;
            let outcome = match group {
                None => Err(NotSent::Family),
                _ if core.eligible(path).is_err() => Err(NotSent::NotBest),
                Some(group) => {
                    // A client of the route server gets the next one instead of its own.
                    let limit = group.key.paths;
                    let past = if group.key.by_client() || group.key.by_path() {
                        sent >= limit
                    } else {
                        at > 0
                    };
                    if past {
                        Err(NotSent::NotBest)
                    } else if path.session == session {
                        if group.key.by_path() {
                            sent += 1;
                        } else if sent == 0 {
                            own_best |= export::export(core, &group.key, path, prefix).is_ok();
                        }
                        Err(NotSent::SplitHorizon)
                    } else {
                        let key = &group.key;
                        if export::allowed(core, key, path).is_ok() {
                            policy = export::explain_policy(core, key, path, prefix);
                        }
                        path_id = key.by_path().then(|| wire_id(judged.path));
                        export::export(core, key, path, prefix).and_then(|attributes| {
                            if Announce::new(N::FAMILY, &attributes, key.encode).is_none() {
                                return Err(NotSent::TooLong);
                            }
                            if core.sessions.named_by(&attributes.next_hop).contains(&session) {
                                return Err(NotSent::OwnNextHop);
                            }
                            Ok(Box::new(attributes))
                        })
                    }
                }
            };
            // What the group is sent, this peer is not: nothing comes instead, but for a client of
            // the route server whose own route is the best.
            let withheld = matches!(outcome, Err(NotSent::OwnNextHop)) && !own_best;
            sent += usize::from(outcome.is_ok() || withheld);
            considered.push(ConsideredPath { from, policy, outcome, path_id });
        }
        Some(ExplainedExport { peer, peer_name, considered })
    }
}

/// Each step between two paths, up to the one that decided.
fn steps(this: &Candidate, rival: &Candidate, reason: Reason, core: &Core) -> Vec<ExplainedStep> {
    let config = core.decision();
    let mut steps = Vec::new();
    for known in STEPS {
        if known == Reason::RouterId && reason == Reason::Older {
            steps.push(ExplainedStep {
                step: Reason::Older,
                ours: String::new(),
                theirs: String::new(),
                decided: true,
            });
            return steps;
        }
        let order = step(known, this, rival, config);
        let decided = order != Ordering::Equal;
        let known = if decided { named(known, this, rival) } else { known };
        let value = |c: &Candidate| match known {
            Reason::Weight => c.weight.to_string(),
            Reason::LocalPref => c.local_pref.to_string(),
            Reason::LocalRoute => if c.local { "local" } else { "learned" }.to_owned(),
            Reason::AsPathLength => c.path_len.to_string(),
            Reason::Origin => match c.origin {
                bgp_packet::Origin::Igp => "igp",
                bgp_packet::Origin::Egp => "egp",
                bgp_packet::Origin::Incomplete => "incomplete",
            }
            .to_owned(),
            Reason::Med => {
                let of = c.neighbour.map_or_else(|| "own AS".to_owned(), |a| format!("AS {a}"));
                format!("{} ({of})", med(c, config))
            }
            Reason::PeerType => if c.external { "external" } else { "internal" }.to_owned(),
            Reason::IgpMetric => c.metric.to_string(),
            Reason::RouterId => std::net::Ipv4Addr::from(c.router_id).to_string(),
            Reason::ClusterList => c.cluster_len.to_string(),
            Reason::PeerAddress => c.address.to_string(),
            _ => c.path_id.to_string(),
        };
        steps.push(ExplainedStep { step: known, ours: value(this), theirs: value(rival), decided });
        if decided {
            break;
        }
    }
    steps
}
