//! A row of `margay routes`.

use margay_proto::v1::{self, Reason, Rpki};
use serde::Serialize;

use crate::{
    output::{
        Row,
        table::{Cell, Column, Tone},
    },
    values::{self, PathElement, list},
};

/// A path for a prefix.
#[derive(Debug, Clone, Serialize)]
pub struct Route {
    pub(super) prefix: String,
    pub(super) family: &'static str,
    pub(super) best: bool,
    pub(super) multipath: bool,
    pub(super) peer: Option<String>,
    pub(super) path_id: Option<u32>,
    pub(super) next_hop: Option<String>,
    pub(super) next_hop_link_local: Option<String>,
    pub(super) as_path: Vec<PathElement>,
    pub(super) origin: Option<&'static str>,
    pub(super) med: Option<u32>,
    pub(super) local_pref: Option<u32>,
    pub(super) weight: u32,
    pub(super) communities: Vec<String>,
    pub(super) large_communities: Vec<String>,
    pub(super) ext_communities: Vec<String>,
    pub(super) aggregator: Option<Aggregator>,
    pub(super) atomic_aggregate: bool,
    pub(super) originator_id: Option<String>,
    pub(super) cluster_list: Vec<String>,
    pub(super) only_to_customer: Option<u32>,
    pub(super) unknown_attributes: Vec<UnknownAttribute>,
    pub(super) source: Option<&'static str>,
    pub(super) stale: bool,
    pub(super) rpki: Option<&'static str>,
    pub(super) installed: bool,
    pub(super) age_seconds: u64,
    pub(super) reason: Option<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Aggregator {
    pub(super) asn: u32,
    pub(super) address: String,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct UnknownAttribute {
    code: u32,
    flags: u32,
    value: String,
}

impl From<v1::Route> for Route {
    fn from(route: v1::Route) -> Self {
        let reason = route.reason.and_then(|value| Reason::try_from(value).ok());
        let rpki = route.rpki.and_then(|value| Rpki::try_from(value).ok());
        let unknown = route.unknown_attributes.iter().map(|attribute| UnknownAttribute {
            code: attribute.code,
            flags: attribute.flags,
            value: values::hex(&attribute.value),
        });
        Self {
            family: route.family().name(),
            origin: values::named(route.origin().name()),
            source: values::named(route.source().name()),
            reason: reason.and_then(|reason| values::named(reason.name())),
            rpki: rpki.and_then(|rpki| values::named(rpki.name())),
            communities: route.communities.iter().copied().map(values::community).collect(),
            large_communities: route
                .large_communities
                .iter()
                .map(values::large_community)
                .collect(),
            ext_communities: route
                .ext_communities
                .iter()
                .copied()
                .map(values::ext_community)
                .collect(),
            unknown_attributes: unknown.collect(),
            prefix: route.prefix,
            best: route.best,
            multipath: route.multipath,
            peer: route.peer,
            path_id: route.path_id,
            next_hop: route.next_hop,
            next_hop_link_local: route.next_hop_link_local,
            as_path: values::as_path(route.as_path),
            med: route.med,
            local_pref: route.local_pref,
            weight: route.weight,
            aggregator: route
                .aggregator
                .map(|aggregator| Aggregator { asn: aggregator.asn, address: aggregator.address }),
            atomic_aggregate: route.atomic_aggregate,
            originator_id: route.originator_id,
            cluster_list: route.cluster_list,
            only_to_customer: route.only_to_customer,
            stale: route.stale,
            installed: route.installed,
            age_seconds: route.age_seconds,
        }
    }
}

impl Row for Route {
    const COLUMNS: &'static [Column] = &[
        Column::left("BEST"),
        Column::left("PREFIX"),
        Column::left("NEXT-HOP"),
        Column::left("PEER"),
        Column::right("PATH-ID").wide(),
        Column::right("WEIGHT").wide(),
        Column::right("LOCAL-PREF"),
        Column::right("MED"),
        Column::right("AGE"),
        Column::left("REASON"),
        Column::left("KERNEL").wide(),
        Column::left("RPKI").wide(),
        Column::left("ORIGINATOR").wide(),
        Column::left("CLUSTERS").wide(),
        Column::left("COMMUNITIES").wide(),
        Column::left("ORIGIN"),
        Column::left("AS-PATH"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let best = match self {
            Self { best: true, .. } => Cell::new("*").tone(Tone::Good),
            Self { multipath: true, .. } => Cell::new("=").tone(Tone::Good),
            _ => Cell::new("-"),
        };
        let next_hop = match (&self.next_hop, &self.next_hop_link_local) {
            (Some(global), _) => Cell::new(global.clone()),
            (None, link_local) => Cell::maybe(link_local.as_ref()),
        };
        let peer = match (&self.peer, self.source) {
            (Some(peer), _) => Cell::new(peer.clone()),
            // Not a peer's name: what put it there.
            (None, source) => {
                Cell::new(source.map(|s| format!("({s})")).unwrap_or_default()).tone(Tone::Dim)
            }
        };
        let communities = [&self.communities, &self.large_communities, &self.ext_communities];
        let communities: Vec<_> = communities.into_iter().flatten().collect();
        vec![
            best,
            Cell::new(self.prefix.clone()),
            next_hop,
            peer,
            Cell::maybe(self.path_id),
            Cell::new(self.weight.to_string()),
            Cell::maybe(self.local_pref),
            Cell::maybe(self.med),
            Cell::new(values::duration(self.age_seconds)),
            Cell::maybe(self.reason),
            Cell::new(if self.installed { "yes" } else { "no" }),
            Cell::maybe(self.rpki),
            Cell::maybe(self.originator_id.as_ref()),
            Cell::new(list(&self.cluster_list, ",")),
            Cell::new(list(&communities, ",")),
            Cell::maybe(self.origin),
            Cell::new(values::as_path_text(&self.as_path)),
        ]
    }
}
