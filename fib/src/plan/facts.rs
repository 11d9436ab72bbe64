//! What the kernel tells, taken in: notifications one by one, and whole readings.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

use crate::api::{FibConfig, FibEvent, Learned};
use crate::plan::fact::{
    Arrival, Fact, Hop, KernelAddress, KernelLink, KernelRoute, ObjectKind, Origin, Presence, Via,
};
use crate::plan::foreign::ForeignRoute;
use crate::plan::links::LinkChange;
use crate::plan::resolve::{MAIN, is_link_local, only_link};
use crate::plan::routes::{Have, Want};
use crate::plan::state::State;

impl State {
    /// Takes in one notification.
    pub fn learn(&mut self, fact: Fact, now: Instant) {
        match fact {
            Fact::Link(link, presence) => {
                match presence {
                    Presence::Here => self.link_here(link, now),
                    Presence::Gone => self.link_gone(link.index, now),
                }
                self.tell_hosts();
            }
            Fact::Address(address, Presence::Here) => {
                let KernelAddress { link: index, net, protocol } = address;
                self.address_here(index, net.addr(), protocol);
                if self.links.add_address(index, net) {
                    self.address_changed(index, net.addr(), now);
                    self.forgive();
                    self.tell_link(index);
                    self.tell_hosts();
                }
            }
            Fact::Address(KernelAddress { link: index, net, .. }, Presence::Gone) => {
                if self.links.remove_address(index, net) {
                    self.addresses.gone(index, net.addr());
                    self.address_lost(index, net.addr(), now);
                    self.tell_link(index);
                    self.tell_hosts();
                }
            }
            Fact::Route(route, arrival, origin) => self.route_here(route, arrival, origin, now),
            Fact::RouteGone(route, origin) => self.route_gone(&route, origin, now),
            Fact::Object(object, Presence::Here, origin) => {
                let ours = self.objects.is_ours(&object);
                let id = object.id;
                if self.objects.set(object) {
                    if ours {
                        self.counters.drift_repaired += u64::from(origin == Origin::Other);
                        self.group_changed(id);
                    }
                    self.tracker.touch_all();
                }
            }
            Fact::Object(object, Presence::Gone, origin) => {
                if self.objects.has_ours(object.id) {
                    self.counters.drift_repaired += u64::from(origin == Origin::Other);
                }
                self.object_gone(object.id, now);
            }
        }
    }

    pub(super) fn link_here(&mut self, link: KernelLink, now: Instant) {
        let index = link.index;
        let running = link.running;
        let was_running = self.links.running(index);
        let (before, name) = (self.links.name(index), link.name.clone());
        let change = self.links.set(link);
        if change != LinkChange::Nothing {
            self.locals_over(&name);
            self.addresses.look_again();
            if before != name {
                self.locals_over(&before);
            }
        }
        match change {
            LinkChange::Nothing => return,
            LinkChange::Changed => {
                if running {
                    self.forgive();
                }
            }
            LinkChange::LostCarrier => self.asks.objects |= self.objects.any_on_link(index),
            LinkChange::WentDown => self.over_link_lost(index, now),
        }
        if running != was_running {
            self.carrier_changed(index);
        }
        self.tracker.touch_all();
        self.tell_link(index);
    }

    pub(super) fn link_gone(&mut self, index: u32, now: Instant) {
        let name = self.links.name(index);
        let Some(addresses) = self.links.remove(index) else { return };
        self.locals_over(&name);
        self.addresses.link_gone(index);
        self.over_link_lost(index, now);
        self.carrier_changed(index);
        for address in addresses {
            self.address_changed(index, address, now);
        }
        self.tracker.touch_all();
        self.events.push(FibEvent::LinkGone(index));
    }

    /// The kernel drops routes and objects over a link that goes down, IPv4 ones unheard.
    fn over_link_lost(&mut self, index: u32, _now: Instant) {
        let only_over = |via: &Via| match via {
            Via::Hops(hops) => hops.iter().all(|(hop, _)| hop.oif == index),
            _ => false,
        };
        for route in self.foreign.remove_where(|kind| only_over(&kind.form.via)) {
            self.foreign_gone(&route);
        }
        self.doubt_forms(|form, _| match &form.via {
            Via::Hops(hops) => hops.iter().any(|(hop, _)| hop.oif == index),
            _ => false,
        });
        self.asks.objects |= self.objects.any_on_link(index);
        self.locals_lost_with(index, |_| true);
    }

    /// A network that nobody on our side can reach is not announced. The kernel keeps the routes of
    /// a link without carrier, so nothing else tells.
    fn carrier_changed(&mut self, index: u32) {
        let routes = self.foreign.routes_where(|kind| match &kind.form.via {
            Via::Hops(hops) => hops.iter().any(|(hop, _)| hop.oif == index),
            Via::Object(id) => self.objects.expand(*id).iter().any(|(hop, _)| hop.oif == index),
            _ => false,
        });
        for route in routes {
            match self.told(&route) {
                Some(learned) if learned.connected => {
                    self.events.push(FibEvent::Learned(learned, true));
                }
                Some(_) => {}
                None => self.tell_gone(&route),
            }
        }
    }

    fn address_lost(&mut self, index: u32, address: IpAddr, now: Instant) {
        // With the last IPv4 address the kernel drops all IPv4 routes over the link.
        let last = address.is_ipv4() && !self.links.addresses(index).any(|n| n.addr().is_ipv4());
        if last {
            let over = |via: &Via| match via {
                Via::Hops(hops) => hops.iter().all(|(hop, _)| hop.oif == index),
                _ => false,
            };
            let routes: Vec<ForeignRoute> = self
                .foreign
                .routes()
                .filter(|r| matches!(r.prefix, IpNet::V4(_)) && over(&r.kind.form.via))
                .collect();
            for route in routes {
                self.foreign.remove(&whole(&route));
                self.foreign_gone(&route);
            }
            self.doubt_forms(|form, family| {
                family == 0
                    && match &form.via {
                        Via::Hops(hops) => hops.iter().any(|(hop, _)| hop.oif == index),
                        _ => false,
                    }
            });
            self.asks.objects |= self.objects.any_on_link(index);
            self.locals_lost_with(index, IpAddr::is_ipv4);
        }
        self.address_changed(index, address, now);
    }

    /// An address came or went: own addresses resolve to nothing, sources may be usable or not.
    fn address_changed(&mut self, _index: u32, address: IpAddr, _now: Instant) {
        let sources = BTreeSet::from([address]);
        for spec in self.wishes.specs_from(&sources, self.config.preferred_source) {
            self.reconsider(spec);
        }
        if !self.links.is_own(address) {
            // The kernel drops routes that prefer a source which is gone; old ones do so unheard.
            self.doubt_forms(|form, _| Self::uses_source(form, &sources));
        }
        self.local_claim_changed(address.into());
        self.tracker.touch_all();
    }

    fn tell_link(&mut self, index: u32) {
        if let Some(link) = self.told_link(index) {
            self.events.push(FibEvent::Link(link));
        }
    }

    fn route_here(&mut self, route: KernelRoute, arrival: Arrival, origin: Origin, now: Instant) {
        if let Some(touched) = &mut self.touched {
            touched.insert(route.prefix);
        }
        if let Some(way) = self.local_way(&route) {
            self.local_here(route.prefix.addr(), way, now);
            return;
        }
        if self.is_ours(&route) {
            self.own_changed(route, origin, now);
            return;
        }
        if !self.follows(route.table) {
            return;
        }
        if arrival == Arrival::Replaced {
            self.displaced(&route);
        }
        let told = ForeignRoute {
            table: route.table,
            prefix: route.prefix,
            kind: crate::plan::foreign::Kind {
                protocol: route.protocol,
                tos: route.tos,
                link_scope: route.link_scope,
                form: route.form.clone(),
            },
        };
        let (old, new) = self.foreign.set(route, arrival);
        if new {
            self.foreign_came(&told, now);
        }
        for old in &old {
            self.foreign_gone(old);
        }
    }

    /// Somebody's route took the place of ours: theirs stays.
    fn displaced(&mut self, by: &KernelRoute) {
        if by.table != self.config.table || by.tos != 0 {
            return;
        }
        self.local_displaced(by);
        let entry = self.routes.get(by.prefix);
        if let Some(form) = entry.have().form()
            && self.metric(form) == by.form.metric
        {
            self.set_have(by.prefix, Have::Nothing);
            self.routes.enqueue(by.prefix);
            self.events.push(FibEvent::Installed(by.prefix, false));
        }
    }

    /// Somebody wrote a route with our protocol number.
    fn own_changed(&mut self, route: KernelRoute, origin: Origin, now: Instant) {
        let prefix = route.prefix;
        let metric = route.form.metric;
        let entry = self.routes.get(prefix);
        let form = self.hold_form(route.form);
        match entry.have().form() {
            Some(old) if old == form => self.release_form(form),
            Some(old) if self.metric(old) != metric => {
                if let Some(was) = self.extras.insert((prefix, metric), form) {
                    self.release_form(was);
                }
                self.drifted(prefix, origin == Origin::Other, now);
            }
            _ => {
                self.set_have(prefix, Have::Form(form));
                self.drifted(prefix, origin == Origin::Other, now);
            }
        }
    }

    fn route_gone(&mut self, route: &KernelRoute, origin: Origin, now: Instant) {
        let prefix = route.prefix;
        if let Some(touched) = &mut self.touched {
            touched.insert(prefix);
        }
        if let Some(way) = self.local_way(route) {
            self.local_gone(prefix.addr(), way, origin, now);
            return;
        }
        if !self.is_ours(route) {
            for gone in self.foreign.remove(route) {
                self.foreign_gone(&gone);
                // IPv6 may have lost one sibling of several.
                let rest = self.foreign.at(gone.table, prefix).find(|(_, kind)| {
                    kind.protocol == gone.kind.protocol
                        && kind.form.metric == gone.kind.form.metric
                        && matches!(prefix, IpNet::V6(_))
                });
                if let Some((_, kind)) = rest {
                    let kind = kind.clone();
                    let rest = ForeignRoute { table: gone.table, prefix, kind };
                    self.foreign_came(&rest, now);
                }
            }
            return;
        }
        let metric = route.form.metric;
        if let Some(form) = self.extras.remove(&(prefix, metric)) {
            self.release_form(form);
            return;
        }
        let entry = self.routes.get(prefix);
        let ours = entry.have().form().is_some_and(|form| self.metric(form) == metric);
        if !ours {
            return;
        }
        self.set_have(prefix, Have::Nothing);
        match entry.want() {
            Want::Spec(_) => {
                self.events.push(FibEvent::Installed(prefix, false));
                self.drifted(prefix, origin == Origin::Other, now);
            }
            Want::Stale => drop(self.routes.update(prefix, |e| e.set_want(Want::Nothing))),
            Want::Nothing => {}
        }
    }

    pub(super) fn foreign_came(&mut self, route: &ForeignRoute, now: Instant) {
        self.tracker.touch(route.prefix);
        self.local_claim_changed(route.prefix);
        if !self.failed.is_empty() {
            // A next hop may be on a link now.
            self.retry_at = Some(self.retry_at.map_or(now, |at| at.min(now + RETRY_SOON)));
            for failure in self.failed.values_mut() {
                failure.at = failure.at.min(now + RETRY_SOON);
            }
        }
        if let Some(learned) = self.told(route) {
            self.events.push(FibEvent::Learned(learned, true));
        }
    }

    pub(super) fn foreign_gone(&mut self, route: &ForeignRoute) {
        self.tracker.touch(route.prefix);
        self.local_claim_changed(route.prefix);
        if !self.conflicts.is_empty() && self.conflicts.contains(&route.prefix) {
            self.routes.enqueue(route.prefix);
        }
        self.tell_gone(route);
    }

    /// Redistribution knows routes by less than the kernel does: one that went may live on in
    /// another that is the same to it, as on a second link.
    fn tell_gone(&mut self, route: &ForeignRoute) {
        let Some(gone) = self.learned_under(&self.config, route) else { return };
        let same = |other: &Learned| {
            (other.protocol, other.metric, other.gateway)
                == (gone.protocol, gone.metric, gone.gateway)
        };
        let (table, prefix) = (route.table, route.prefix);
        let others = self
            .foreign
            .at(table, prefix)
            .filter_map(|(_, kind)| self.told(&ForeignRoute { table, prefix, kind: kind.clone() }));
        let event = match others.filter(same).last() {
            Some(other) if other == gone => return,
            Some(other) => FibEvent::Learned(other, true),
            None => FibEvent::Learned(gone, false),
        };
        self.events.push(event);
    }

    /// What redistribution is told of a foreign route, if anything.
    fn told(&self, route: &ForeignRoute) -> Option<Learned> {
        self.told_under(&self.config, route)
    }

    /// The same under another configuration: connected ones while a link of theirs has carrier.
    pub(super) fn told_under(&self, config: &FibConfig, route: &ForeignRoute) -> Option<Learned> {
        let learned = self.learned_under(config, route)?;
        let carried = || {
            let hops = self.hops_of(&route.kind.form.via);
            hops.iter().any(|(hop, _)| self.links.running(hop.oif))
        };
        (!learned.connected || carried()).then_some(learned)
    }

    fn hops_of(&self, via: &Via) -> Vec<(Hop, u16)> {
        match via {
            Via::Hops(hops) => hops.clone(),
            Via::Object(id) => self.objects.expand(*id),
            _ => Vec::new(),
        }
    }

    /// What redistribution may be told of a foreign route, if anything.
    fn learned_under(&self, config: &FibConfig, route: &ForeignRoute) -> Option<Learned> {
        let kind = &route.kind;
        if kind.tos != 0
            || !config.learn_tables.contains(&route.table)
            || kind.protocol == config.protocol
            || !can_be_announced(route.prefix)
        {
            return None;
        }
        match &kind.form.via {
            Via::Hops(_) | Via::Object(_) => {}
            // The kernel's own ones are guards, not routes.
            Via::Blackhole | Via::Unreachable | Via::Prohibit if kind.protocol != KERNEL => {}
            _ => return None,
        }
        let hops = self.hops_of(&kind.form.via);
        let gateway = hops.iter().find_map(|(hop, _)| hop.gateway);
        let leads = !hops.is_empty();
        Some(Learned {
            prefix: route.prefix,
            table: route.table,
            protocol: kind.protocol,
            metric: kind.form.metric,
            gateway,
            interface: only_link(&hops),
            connected: leads && gateway.is_none() && (kind.link_scope || kind.protocol == KERNEL),
        })
    }

    /// Tables whose foreign routes matter.
    pub(super) fn follows(&self, table: u32) -> bool {
        table == MAIN || table == self.config.table || self.config.learn_tables.contains(&table)
    }
}

fn whole(route: &ForeignRoute) -> KernelRoute {
    KernelRoute {
        prefix: route.prefix,
        table: route.table,
        protocol: route.kind.protocol,
        tos: route.kind.tos,
        link_scope: route.kind.link_scope,
        form: route.kind.form.clone(),
    }
}

/// Prefixes that mean something beyond their link.
pub(super) fn can_be_announced(prefix: IpNet) -> bool {
    let address = prefix.network();
    let local = match address {
        IpAddr::V4(a) => a.is_link_local(),
        IpAddr::V6(_) => is_link_local(address),
    };
    !local && !address.is_loopback() && !address.is_multicast()
}

/// `RTPROT_KERNEL`.
pub(super) const KERNEL: u8 = 2;
/// A burst of new routes is waited for before refused wishes are tried again.
const RETRY_SOON: std::time::Duration = std::time::Duration::from_millis(200);

impl crate::plan::objects::Objects {
    /// Whether any object of ours may go with a link.
    pub fn any_on_link(&self, index: u32) -> bool {
        self.ids().into_iter().any(|id| {
            self.has_ours(id)
                && matches!(self.kind(id), Some(ObjectKind::Hop(hop)) if hop.oif == index)
        })
    }
}
