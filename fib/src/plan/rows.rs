//! What `margay fib` shows.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::api::{FibRow, HostRouteState, RowFilter};
use crate::plan::fact::{Form, Hops, Via};
use crate::plan::key::{Key, Key4, Key6};
use crate::plan::locals::LOCAL_METRIC;
use crate::plan::routes::{Entry, Half, Have, Want};
use crate::plan::state::State;
use crate::plan::wishes::Outcome;

impl State {
    /// At most `limit` rows after `after`, IPv4 first, in order of prefix; one more where a
    /// workload's route and another share a prefix.
    pub fn rows(&self, filter: RowFilter, after: Option<IpNet>, limit: usize) -> Vec<FibRow> {
        let mut rows = Vec::new();
        let (mut v4, mut v6) = (Some(Key4::everything()), Some(Key6::everything()));
        let (mut after4, mut after6) = (None, None);
        match after {
            Some(IpNet::V4(n)) => after4 = Some(Key4::from(n)),
            Some(IpNet::V6(n)) => {
                v4 = None;
                after6 = Some(Key6::from(n));
            }
            None => {}
        }
        match filter {
            RowFilter::All => {}
            RowFilter::Exact(IpNet::V4(n)) => {
                let key = Key4::from(n);
                (v4, v6) = (v4.map(|_| (key, key)), None);
            }
            RowFilter::Exact(IpNet::V6(n)) => {
                let key = Key6::from(n);
                (v4, v6) = (None, Some((key, key)));
            }
            RowFilter::Within(IpNet::V4(n)) => {
                (v4, v6) = (v4.map(|_| Key4::from(n).span()), None);
            }
            RowFilter::Within(IpNet::V6(n)) => (v4, v6) = (None, Some(Key6::from(n).span())),
            RowFilter::Lookup(address) => {
                let workload = self.locals.known_between(address, address).next();
                let found = workload.map(|address| self.local_row(address));
                let found = found.or_else(|| self.longest(&self.routes.v4, address));
                let found = found.or_else(|| self.longest(&self.routes.v6, address));
                return found.filter(|_| after.is_none()).into_iter().collect();
            }
        }
        if let Some(span) = v4 {
            self.fill(&self.routes.v4, span, after4, limit, &mut rows);
        }
        if let Some(span) = v6 {
            self.fill(&self.routes.v6, span, after6, limit, &mut rows);
        }
        rows
    }

    fn fill<K: Key>(
        &self,
        half: &Half<K>,
        span: (K, K),
        after: Option<K>,
        limit: usize,
        rows: &mut Vec<FibRow>,
    ) {
        let mut workloads = self.local_rows_in(span, after).peekable();
        for (key, entry) in half.range(span, after) {
            while rows.len() < limit
                && let Some((_, row)) = workloads.next_if(|(at, _)| *at < key)
            {
                rows.push(row);
            }
            if rows.len() >= limit {
                return;
            }
            // Two of one prefix are not parted: the next slice begins after it.
            rows.extend(workloads.next_if(|(at, _)| *at == key).map(|(_, row)| row));
            rows.extend(self.row(key.net(), entry));
        }
        while rows.len() < limit
            && let Some((_, row)) = workloads.next()
        {
            rows.push(row);
        }
    }

    /// Routes to workloads in a span, after a key.
    fn local_rows_in<K: Key>(
        &self,
        (first, last): (K, K),
        after: Option<K>,
    ) -> impl Iterator<Item = (K, FibRow)> {
        let from = after.unwrap_or(first).net().addr();
        self.locals.known_between(from, last.net().addr()).filter_map(move |address| {
            let key = K::around(address, K::BITS)?;
            let inside = first <= key && key <= last && after.is_none_or(|a| a < key);
            inside.then(|| (key, self.local_row(address)))
        })
    }

    fn local_row(&self, address: IpAddr) -> FibRow {
        let host = self.host_route(address);
        FibRow {
            prefix: host.address.into(),
            kind: "unicast",
            next_hops: vec![(host.gateway, host.link, 1)],
            metric: LOCAL_METRIC,
            table: self.config.table,
            protocol: self.config.protocol,
            in_kernel: matches!(host.state, HostRouteState::Installed | HostRouteState::Unwanted),
            error: match host.state {
                HostRouteState::Conflict(_) => Some(LOCAL_CONFLICT),
                HostRouteState::NoLink if host.gateway.is_some() => Some(NO_GATEWAY),
                _ => None,
            },
        }
    }

    fn longest<K: Key>(&self, half: &Half<K>, address: IpAddr) -> Option<FibRow> {
        (0..=K::BITS).rev().find_map(|len| {
            let key = K::around(address, len)?;
            self.row(key.net(), half.get(key))
        })
    }

    /// For each of these, whether it is in the kernel as wished.
    pub fn in_kernel(&self, prefixes: &[IpNet]) -> Vec<bool> {
        let there = |prefix: &IpNet| {
            let entry = self.routes.get(*prefix);
            self.is_there(*prefix, entry, self.wanted(*prefix, entry))
        };
        prefixes.iter().map(there).collect()
    }

    /// The form an entry should have.
    fn wanted(&self, prefix: IpNet, entry: Entry) -> Option<u32> {
        match entry.want() {
            Want::Spec(id) => match self.outcome_of(id, prefix) {
                Outcome::Form(form) => Some(form),
                Outcome::Impossible => None,
            },
            Want::Nothing | Want::Stale => None,
        }
    }

    fn is_there(&self, prefix: IpNet, entry: Entry, wanted: Option<u32>) -> bool {
        match (entry.have(), entry.want()) {
            (Have::Form(form), Want::Spec(_)) => {
                wanted == Some(form) && !self.in_flight.contains(&prefix)
            }
            (Have::Form(_), Want::Stale) => true,
            _ => false,
        }
    }

    fn row(&self, prefix: IpNet, entry: Entry) -> Option<FibRow> {
        let wanted = self.wanted(prefix, entry);
        let in_kernel = self.is_there(prefix, entry, wanted);
        let id = entry.have().form().or(wanted);
        if id.is_none() && !matches!(entry.want(), Want::Spec(_)) {
            return None;
        }
        let form = id.and_then(|id| self.forms.at(id));
        Some(FibRow {
            prefix,
            kind: form.map_or("unicast", kind),
            next_hops: form.map(|f| self.next_hops(f)).unwrap_or_default(),
            metric: form.map_or(self.config.metric, |f| f.metric),
            table: self.config.table,
            protocol: self.config.protocol,
            in_kernel,
            error: (!in_kernel && self.conflicts.contains(&prefix)).then_some(CONFLICT),
        })
    }

    fn next_hops(&self, form: &Form) -> Vec<(Option<IpAddr>, String, u16)> {
        let hops: Hops = match &form.via {
            Via::Object(id) => self.objects.expand(*id),
            Via::Hops(hops) => hops.clone(),
            _ => Hops::new(),
        };
        hops.into_iter().map(|(hop, w)| (hop.gateway, self.links.name(hop.oif), w)).collect()
    }
}

/// Said of a workload's route that somebody else's address or route stands in the way of.
const LOCAL_CONFLICT: &str = "another program's route, or an address of the host, has this address";
/// Said of a route to a peer behind a gateway.
const NO_GATEWAY: &str = "the gateway is on no link of ours";
/// Said of a route that gives way to somebody else's.
const CONFLICT: &str = "another program's route has this prefix and metric; it is left alone";

fn kind(form: &Form) -> &'static str {
    match form.via {
        Via::Blackhole => "blackhole",
        Via::Unreachable => "unreachable",
        Via::Prohibit => "prohibit",
        _ => "unicast",
    }
}
