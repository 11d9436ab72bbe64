//! What the kernel tells, taken in: notifications one by one, and whole readings.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

use crate::api::{FibEvent, Learned};
use crate::plan::fact::{
    Arrival, Fact, KernelLink, KernelObject, KernelRoute, ObjectKind, Origin, Presence, Via,
};
use crate::plan::foreign::ForeignRoute;
use crate::plan::key::{Key4, Key6};
use crate::plan::links::LinkChange;
use crate::plan::resolve::{MAIN, is_link_local};
use crate::plan::routes::{Half, Have, Want};
use crate::plan::state::State;

/// A whole reading of the kernel.
#[derive(Debug, Default)]
pub struct Reading {
    /// All links; `None` = not read.
    pub links: Option<Vec<KernelLink>>,
    /// All addresses with their links; `None` = not read.
    pub addresses: Option<Vec<(u32, IpNet)>>,
    /// All next-hop objects; `None` = not read, or the kernel has none.
    pub objects: Option<Vec<KernelObject>>,
    /// Routes, taken in with [`State::collect`].
    pub routes: Option<ReadRoutes>,
}

/// Routes of a reading: ours compact, others whole.
#[derive(Debug, Default)]
pub struct ReadRoutes {
    v4: Vec<(Key4, u32)>,
    v6: Vec<(Key6, u32)>,
    foreign: Vec<KernelRoute>,
}

/// Why a whole reading was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The first: what is ours was left by a former process.
    Start,
    /// Notifications were lost.
    Resync,
    /// To be sure.
    Audit,
}

impl State {
    /// Takes in one notification.
    pub fn learn(&mut self, fact: Fact, now: Instant) {
        match fact {
            Fact::Link(link, Presence::Here) => self.link_here(link, now),
            Fact::Link(link, Presence::Gone) => self.link_gone(link.index, now),
            Fact::Address(index, net, Presence::Here) => {
                if self.links.add_address(index, net) {
                    self.address_changed(index, net.addr(), now);
                    self.forgive();
                    self.tell_link(index);
                }
            }
            Fact::Address(index, net, Presence::Gone) => {
                if self.links.remove_address(index, net) {
                    self.address_lost(index, net.addr(), now);
                    self.tell_link(index);
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

    /// Takes one route into a reading.
    pub fn collect(&mut self, into: &mut ReadRoutes, route: KernelRoute) {
        if self.is_ours(&route) {
            let form = self.hold_form(route.form);
            match route.prefix {
                IpNet::V4(n) => into.v4.push((n.into(), form)),
                IpNet::V6(n) => into.v6.push((n.into(), form)),
            }
        } else if self.follows(route.table) {
            into.foreign.push(route);
        }
    }

    /// Takes in a whole reading.
    pub fn read(&mut self, reading: Reading, occasion: Occasion, now: Instant) {
        if let Some(links) = reading.links {
            let here: BTreeSet<u32> = links.iter().map(|l| l.index).collect();
            let gone: Vec<u32> = self.links.indexes().filter(|i| !here.contains(i)).collect();
            for index in gone {
                self.link_gone(index, now);
            }
            for link in links {
                self.link_here(link, now);
            }
        }
        if let Some(addresses) = reading.addresses {
            self.read_addresses(addresses, now);
        }
        if let Some(objects) = reading.objects {
            self.read_objects(objects, occasion, now);
        }
        if let Some(routes) = reading.routes {
            let touched = self.touched.take().unwrap_or_default();
            let excused = |prefix: &IpNet| touched.contains(prefix);
            let (went, came) = self.foreign.become_(routes.foreign, excused);
            for route in went {
                self.foreign_gone(&route);
            }
            for route in came {
                self.foreign_came(&route, now);
            }
            let v4 = differences(&self.routes.v4, routes.v4, |f| self.metric(f));
            self.reconcile(v4, &touched, occasion, now);
            let v6 = differences(&self.routes.v6, routes.v6, |f| self.metric(f));
            self.reconcile(v6, &touched, occasion, now);
        }
        if occasion == Occasion::Start {
            for id in self.objects.ids() {
                self.objects.adopt(id);
            }
            self.settle(now);
            self.events.push(FibEvent::InSync);
        }
    }

    /// From now on an audit reads the routes: what changes meanwhile is not judged by it.
    pub fn begin_audit(&mut self) {
        self.touched = Some(BTreeSet::new());
    }

    /// It came to nothing.
    pub fn end_audit(&mut self, unread: ReadRoutes) {
        self.touched = None;
        let v4 = unread.v4.into_iter().map(|(_, form)| form);
        let v6 = unread.v6.into_iter().map(|(_, form)| form);
        for form in v4.chain(v6).collect::<Vec<_>>() {
            self.release_form(form);
        }
    }

    fn read_addresses(&mut self, addresses: Vec<(u32, IpNet)>, now: Instant) {
        let here: BTreeSet<(u32, IpNet)> = addresses.into_iter().collect();
        let mut gone = Vec::new();
        for index in self.links.indexes().collect::<Vec<_>>() {
            let nets = self.links.addresses(index).filter(|net| !here.contains(&(index, *net)));
            gone.extend(nets.map(|net| (index, net)));
        }
        for (index, net) in gone {
            self.learn(Fact::Address(index, net, Presence::Gone), now);
        }
        for (index, net) in here {
            self.learn(Fact::Address(index, net, Presence::Here), now);
        }
    }

    /// All next-hop objects as the kernel has them.
    pub fn read_objects(&mut self, objects: Vec<KernelObject>, occasion: Occasion, now: Instant) {
        let here: BTreeSet<u32> = objects.iter().map(|o| o.id).collect();
        for id in self.objects.ids() {
            if !here.contains(&id) {
                self.object_gone(id, now);
            }
        }
        for object in objects {
            let (id, ours) = (object.id, self.objects.is_ours(&object));
            if self.objects.set(object) {
                if ours && occasion != Occasion::Start {
                    self.group_changed(id);
                }
                self.tracker.touch_all();
            }
        }
    }

    fn link_here(&mut self, link: KernelLink, now: Instant) {
        let index = link.index;
        let running = link.running;
        match self.links.set(link) {
            LinkChange::Nothing => return,
            LinkChange::Changed => {
                if running {
                    self.forgive();
                }
            }
            LinkChange::LostCarrier => self.asks.objects |= self.objects.any_on_link(index),
            LinkChange::WentDown => self.over_link_lost(index, now),
        }
        self.tracker.touch_all();
        self.tell_link(index);
    }

    fn link_gone(&mut self, index: u32, now: Instant) {
        let Some(addresses) = self.links.remove(index) else { return };
        self.over_link_lost(index, now);
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
        self.tracker.touch_all();
    }

    fn tell_link(&mut self, index: u32) {
        if let Some(link) = self.links.link(index) {
            self.events.push(FibEvent::Link(link));
        }
    }

    fn route_here(&mut self, route: KernelRoute, arrival: Arrival, origin: Origin, now: Instant) {
        if let Some(touched) = &mut self.touched {
            touched.insert(route.prefix);
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
        for old in &old {
            // The same route with other next hops is a change, not a loss.
            if old.kind.protocol != told.kind.protocol {
                self.foreign_gone(old);
            }
        }
        if new {
            self.foreign_came(&told, now);
        }
    }

    /// Somebody's route took the place of ours: theirs stays.
    fn displaced(&mut self, by: &KernelRoute) {
        if by.table != self.config.table || by.tos != 0 {
            return;
        }
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

    fn foreign_came(&mut self, route: &ForeignRoute, now: Instant) {
        self.tracker.touch(route.prefix);
        if !self.failed.is_empty() {
            // A next hop may be on a link now.
            self.retry_at = Some(self.retry_at.map_or(now, |at| at.min(now + RETRY_SOON)));
            for failure in self.failed.values_mut() {
                failure.at = failure.at.min(now + RETRY_SOON);
            }
        }
        if let Some(learned) = self.learned(route) {
            self.events.push(FibEvent::Learned(learned, true));
        }
    }

    fn foreign_gone(&mut self, route: &ForeignRoute) {
        self.tracker.touch(route.prefix);
        if !self.conflicts.is_empty() && self.conflicts.contains(&route.prefix) {
            self.routes.enqueue(route.prefix);
        }
        if let Some(learned) = self.learned(route) {
            self.events.push(FibEvent::Learned(learned, false));
        }
    }

    /// What redistribution is told of a foreign route, if anything.
    fn learned(&self, route: &ForeignRoute) -> Option<Learned> {
        let kind = &route.kind;
        if kind.tos != 0
            || !self.config.learn_tables.contains(&route.table)
            || kind.protocol == self.config.protocol
            || !can_be_announced(route.prefix)
        {
            return None;
        }
        let hops = match &kind.form.via {
            Via::Hops(hops) => hops.clone(),
            Via::Object(id) => self.objects.expand(*id),
            // The kernel's own ones are guards, not routes.
            Via::Blackhole | Via::Unreachable | Via::Prohibit if kind.protocol != KERNEL => {
                Vec::new()
            }
            _ => return None,
        };
        let gateway = hops.iter().find_map(|(hop, _)| hop.gateway);
        let leads = !hops.is_empty();
        Some(Learned {
            prefix: route.prefix,
            table: route.table,
            protocol: kind.protocol,
            metric: kind.form.metric,
            gateway,
            connected: leads && gateway.is_none() && (kind.link_scope || kind.protocol == KERNEL),
        })
    }

    /// Tables whose foreign routes matter.
    fn follows(&self, table: u32) -> bool {
        table == MAIN || table == self.config.table || self.config.learn_tables.contains(&table)
    }

    /// Makes our picture of our routes that of a reading.
    fn reconcile(
        &mut self,
        found: Vec<Difference>,
        touched: &BTreeSet<IpNet>,
        occasion: Occasion,
        now: Instant,
    ) {
        for difference in found {
            let prefix = difference.prefix;
            if occasion != Occasion::Start && touched.contains(&prefix) {
                if let Some(form) = difference.form {
                    self.release_form(form);
                }
                continue;
            }
            let entry = self.routes.get(prefix);
            match (difference.what, difference.form) {
                (What::Same, Some(form)) => {
                    self.release_form(form);
                }
                (What::Extra, Some(form)) => {
                    let metric = self.metric(form);
                    if let Some(was) = self.extras.insert((prefix, metric), form) {
                        self.release_form(was);
                    }
                    if self.in_sync {
                        self.routes.enqueue(prefix);
                    }
                }
                (What::Other, Some(form)) => {
                    self.set_have(prefix, Have::Form(form));
                    match entry.want() {
                        Want::Nothing if !self.in_sync => {
                            self.routes.update(prefix, |e| e.set_want(Want::Stale));
                        }
                        Want::Nothing | Want::Spec(_) => self.drifted(prefix, true, now),
                        Want::Stale => {}
                    }
                }
                _ => {
                    self.set_have(prefix, Have::Nothing);
                    match entry.want() {
                        Want::Spec(_) => {
                            self.events.push(FibEvent::Installed(prefix, false));
                            self.drifted(prefix, true, now);
                        }
                        Want::Stale => {
                            self.routes.update(prefix, |e| e.set_want(Want::Nothing));
                        }
                        Want::Nothing => {}
                    }
                }
            }
        }
    }
}

/// One finding of a reading about a prefix of ours.
#[derive(Debug)]
struct Difference {
    prefix: IpNet,
    what: What,
    form: Option<u32>,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    /// As we thought; the form was held for the reading.
    Same,
    /// Not as we thought, or not known.
    Other,
    /// A second route of ours, with another metric.
    Extra,
    /// Not there.
    Missing,
}

/// Compares what we think to be there with what was read; both are walked once, in order.
fn differences<K: crate::plan::key::Key>(
    known: &Half<K>,
    mut read: Vec<(K, u32)>,
    metric: impl Fn(u32) -> u32,
) -> Vec<Difference> {
    read.sort_unstable();
    let mut found = Vec::new();
    let mut at = 0;
    let mut note = |key: K, what, form| found.push(Difference { prefix: key.net(), what, form });
    let mut known = known.iter().filter(|(_, e)| e.have() != Have::Nothing).peekable();
    while let Some(&(key, _)) = read.get(at) {
        while let Some((missing, _)) = known.next_if(|(k, _)| *k < key) {
            note(missing, What::Missing, None);
        }
        let end = at + read.iter().skip(at).take_while(|(k, _)| *k == key).count();
        let forms: Vec<u32> = read.get(at..end).unwrap_or_default().iter().map(|r| r.1).collect();
        at = end;
        let have = known.next_if(|(k, _)| *k == key).and_then(|(_, e)| e.have().form());
        // Of several, the one at the metric we think of is the route; the others are beside it.
        let main = have
            .and_then(|h| forms.iter().position(|f| metric(*f) == metric(h)))
            .unwrap_or_default();
        for (i, form) in forms.into_iter().enumerate() {
            let what = match have {
                _ if i != main => What::Extra,
                Some(h) if h == form => What::Same,
                _ => What::Other,
            };
            note(key, what, Some(form));
        }
    }
    for (missing, _) in known {
        note(missing, What::Missing, None);
    }
    found
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
fn can_be_announced(prefix: IpNet) -> bool {
    let address = prefix.network();
    let local = match address {
        IpAddr::V4(a) => a.is_link_local(),
        IpAddr::V6(_) => is_link_local(address),
    };
    !local && !address.is_loopback() && !address.is_multicast()
}

/// `RTPROT_KERNEL`.
const KERNEL: u8 = 2;
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
