//! Routes of the kernel that are not ours: what next hops resolve through, what is redistributed,
//! and what must not be overwritten.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::plan::fact::{Arrival, Form, KernelRoute, Via};
use crate::plan::intern::Interner;
use crate::plan::key::{Key, Key4, Key6};

/// A foreign route but for its prefix and table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// Route protocol number.
    pub protocol: u8,
    /// 0 for plain routes.
    pub tos: u8,
    /// Directly attached.
    pub link_scope: bool,
    /// The rest.
    pub form: Form,
}

/// A prefix in a table, and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignRoute {
    /// Table.
    pub table: u32,
    /// Prefix.
    pub prefix: IpNet,
    /// The rest.
    pub kind: Kind,
}

/// Mirror of the tables we follow.
#[derive(Debug, Default)]
pub struct Foreign {
    kinds: Interner<Kind>,
    tables: BTreeMap<u32, Table>,
}

#[derive(Debug, Default)]
struct Table {
    v4: Lpm<Key4>,
    v6: Lpm<Key6>,
}

#[derive(Debug)]
struct Lpm<K> {
    routes: BTreeSet<(K, u32)>,
    /// Routes of each length, to skip lengths that do not occur.
    lengths: BTreeMap<u8, u32>,
}

impl<K> Default for Lpm<K> {
    fn default() -> Self {
        Self { routes: BTreeSet::new(), lengths: BTreeMap::new() }
    }
}

impl<K: Key> Lpm<K> {
    fn insert(&mut self, key: K, kind: u32) -> bool {
        let new = self.routes.insert((key, kind));
        if new {
            *self.lengths.entry(key.length()).or_default() += 1;
        }
        new
    }

    fn remove(&mut self, key: K, kind: u32) -> bool {
        let was = self.routes.remove(&(key, kind));
        if was && let Some(n) = self.lengths.get_mut(&key.length()) {
            *n -= 1;
            if *n == 0 {
                self.lengths.remove(&key.length());
            }
        }
        was
    }

    fn at(&self, key: K) -> impl Iterator<Item = u32> {
        self.routes.range((key, 0)..=(key, u32::MAX)).map(|(_, kind)| *kind)
    }
}

impl Foreign {
    /// A route came or changed. What it displaced is returned, and whether anything is new.
    pub fn set(&mut self, route: KernelRoute, arrival: Arrival) -> (Vec<ForeignRoute>, bool) {
        let (table, prefix) = (route.table, route.prefix);
        let kind = Kind {
            protocol: route.protocol,
            tos: route.tos,
            link_scope: route.link_scope,
            form: route.form,
        };
        // An IPv6 notification always tells the whole of what is at this prefix and metric.
        let displaces = arrival == Arrival::Replaced || matches!(prefix, IpNet::V6(_));
        let mut old = Vec::new();
        if displaces {
            for (id, was) in self.at(table, prefix) {
                if was.tos == kind.tos && was.form.metric == kind.form.metric && *was != kind {
                    old.push((id, was.clone()));
                }
            }
        }
        for (id, _) in &old {
            self.drop_at(table, prefix, *id);
        }
        let id = self.kinds.hold(kind);
        let place = self.tables.entry(table).or_default();
        let new = match prefix {
            IpNet::V4(n) => place.v4.insert(n.into(), id),
            IpNet::V6(n) => place.v6.insert(n.into(), id),
        };
        if !new {
            self.kinds.release(id);
        }
        let old = old.into_iter().map(|(_, kind)| ForeignRoute { table, prefix, kind }).collect();
        (old, new)
    }

    /// A route went; those it was, usually one.
    pub fn remove(&mut self, route: &KernelRoute) -> Vec<ForeignRoute> {
        let (table, prefix) = (route.table, route.prefix);
        let same = |kind: &Kind| {
            kind.tos == route.tos
                && kind.protocol == route.protocol
                && kind.form.metric == route.form.metric
        };
        let mut found: Vec<(u32, Kind)> = self
            .at(table, prefix)
            .filter(|(_, kind)| same(kind))
            .map(|(id, kind)| (id, kind.clone()))
            .collect();
        // Several with one key (IPv4 append): the one that says the same.
        if found.len() > 1 && found.iter().any(|(_, kind)| kind.form.via == route.form.via) {
            found.retain(|(_, kind)| kind.form.via == route.form.via);
            found.truncate(1);
        }
        let mut gone = Vec::new();
        for (id, kind) in found {
            self.drop_at(table, prefix, id);
            if let Some(rest) = without(&kind, route) {
                let id = self.kinds.hold(rest);
                if let (Some(t), IpNet::V6(n)) = (self.tables.get_mut(&table), prefix) {
                    t.v6.insert(n.into(), id);
                }
            }
            gone.push(ForeignRoute { table, prefix, kind });
        }
        gone
    }

    /// Forgets the routes that match; they are returned.
    pub fn remove_where(&mut self, gone: impl Fn(&Kind) -> bool) -> Vec<ForeignRoute> {
        let found = self.places_where(gone);
        let mut routes = Vec::with_capacity(found.len());
        for (table, prefix, id) in found {
            if let Some(kind) = self.kinds.at(id).cloned() {
                routes.push(ForeignRoute { table, prefix, kind });
            }
            self.drop_at(table, prefix, id);
        }
        routes
    }

    /// The routes that match.
    pub fn routes_where(&self, matches: impl Fn(&Kind) -> bool) -> Vec<ForeignRoute> {
        let found = self.places_where(matches).into_iter();
        let route = |(table, prefix, id)| {
            Some(ForeignRoute { table, prefix, kind: self.kinds.at(id)?.clone() })
        };
        found.filter_map(route).collect()
    }

    /// There are few kinds: the routes are looked at only where one matches.
    fn places_where(&self, matches: impl Fn(&Kind) -> bool) -> Vec<(u32, IpNet, u32)> {
        let ids: BTreeSet<u32> =
            self.kinds.iter().filter(|(_, kind)| matches(kind)).map(|(id, _)| id).collect();
        if ids.is_empty() {
            return Vec::new();
        }
        self.iter().filter(|(.., id)| ids.contains(id)).collect()
    }

    /// Everything that is not in `now` and not excused goes, everything that is comes.
    /// Returns what went and what came.
    pub fn become_(
        &mut self,
        now: Vec<KernelRoute>,
        excused: impl Fn(&IpNet) -> bool,
    ) -> (Vec<ForeignRoute>, Vec<ForeignRoute>) {
        let mut wanted = BTreeSet::new();
        let mut came = Vec::new();
        for route in now {
            if excused(&route.prefix) {
                continue;
            }
            let (table, prefix) = (route.table, route.prefix);
            let kind = Kind {
                protocol: route.protocol,
                tos: route.tos,
                link_scope: route.link_scope,
                form: route.form,
            };
            let id = self.kinds.hold(kind.clone());
            let place = self.tables.entry(table).or_default();
            let new = match prefix {
                IpNet::V4(n) => place.v4.insert(n.into(), id),
                IpNet::V6(n) => place.v6.insert(n.into(), id),
            };
            if new {
                came.push(ForeignRoute { table, prefix, kind });
            } else {
                self.kinds.release(id);
            }
            wanted.insert((table, prefix, id));
        }
        let gone: Vec<_> =
            self.iter().filter(|found| !wanted.contains(found) && !excused(&found.1)).collect();
        let mut went = Vec::with_capacity(gone.len());
        for (table, prefix, id) in gone {
            if let Some(kind) = self.kinds.at(id).cloned() {
                went.push(ForeignRoute { table, prefix, kind });
            }
            self.drop_at(table, prefix, id);
        }
        (went, came)
    }

    /// What stands at a prefix of a table.
    pub fn at(&self, table: u32, prefix: IpNet) -> impl Iterator<Item = (u32, &Kind)> {
        let ids: Vec<u32> = match (self.tables.get(&table), prefix) {
            (Some(t), IpNet::V4(n)) => t.v4.at(n.into()).collect(),
            (Some(t), IpNet::V6(n)) => t.v6.at(n.into()).collect(),
            (None, _) => Vec::new(),
        };
        ids.into_iter().filter_map(|id| Some((id, self.kinds.at(id)?)))
    }

    /// Whether somebody else has this very key: the kernel would replace it for us.
    pub fn holds(&self, table: u32, prefix: IpNet, metric: u32) -> bool {
        let Some(place) = self.tables.get(&table) else { return false };
        let none = match prefix {
            IpNet::V4(n) => !place.v4.lengths.contains_key(&n.prefix_len()),
            IpNet::V6(n) => !place.v6.lengths.contains_key(&n.prefix_len()),
        };
        // Most lengths have no foreign route at all: no need to look.
        !none && self.at(table, prefix).any(|(_, k)| k.tos == 0 && k.form.metric == metric)
    }

    /// The protocol of whoever has this very key.
    pub fn protocol_at(&self, table: u32, prefix: IpNet, metric: u32) -> Option<u8> {
        let mut kinds = self.at(table, prefix).map(|(_, kind)| kind);
        kinds.find(|k| k.tos == 0 && k.form.metric == metric).map(|k| k.protocol)
    }

    /// Prefix lengths of a family that occur in a table.
    pub fn lengths(&self, table: u32, address: IpAddr) -> impl Iterator<Item = u8> {
        self.tables
            .get(&table)
            .map(|t| match address {
                IpAddr::V4(_) => t.v4.lengths.keys(),
                IpAddr::V6(_) => t.v6.lengths.keys(),
            })
            .into_iter()
            .flatten()
            .copied()
    }

    /// All of it: table, prefix, number of the kind.
    fn iter(&self) -> impl Iterator<Item = (u32, IpNet, u32)> {
        self.tables.iter().flat_map(|(&table, t)| {
            let v4 = t.v4.routes.iter().map(move |(k, id)| (table, k.net(), *id));
            v4.chain(t.v6.routes.iter().map(move |(k, id)| (table, k.net(), *id)))
        })
    }

    /// All of it.
    pub fn routes(&self) -> impl Iterator<Item = ForeignRoute> {
        self.iter().filter_map(|(table, prefix, id)| {
            Some(ForeignRoute { table, prefix, kind: self.kinds.at(id)?.clone() })
        })
    }

    fn drop_at(&mut self, table: u32, prefix: IpNet, id: u32) {
        let Some(t) = self.tables.get_mut(&table) else { return };
        let was = match prefix {
            IpNet::V4(n) => t.v4.remove(n.into(), id),
            IpNet::V6(n) => t.v6.remove(n.into(), id),
        };
        if was {
            self.kinds.release(id);
        }
    }
}

/// IPv6 tells the loss of one sibling of a multipath route as a deletion of just that one: what is
/// left of the route, if anything.
fn without(kind: &Kind, gone: &KernelRoute) -> Option<Kind> {
    let (Via::Hops(all), Via::Hops(lost)) = (&kind.form.via, &gone.form.via) else { return None };
    if !matches!(gone.prefix, IpNet::V6(_)) || all.len() <= lost.len() {
        return None;
    }
    let rest: Vec<_> =
        all.iter().filter(|(hop, _)| !lost.iter().any(|(l, _)| l == hop)).copied().collect();
    if rest.is_empty() || rest.len() == all.len() {
        return None;
    }
    let mut kind = kind.clone();
    kind.form.via = Via::Hops(rest);
    Some(kind)
}

#[cfg(test)]
mod tests;
