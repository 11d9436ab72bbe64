//! Whole readings of the kernel, compared with what we think it has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

use crate::api::FibEvent;
use crate::plan::fact::{Fact, KernelAddress, KernelLink, KernelObject, KernelRoute, Presence};
use crate::plan::key::{Key, Key4, Key6};
use crate::plan::locals::Way;
use crate::plan::routes::{Half, Have, Want};
use crate::plan::state::State;

/// A whole reading of the kernel.
#[derive(Debug, Default)]
pub struct Reading {
    /// All links; `None` = not read.
    pub links: Option<Vec<KernelLink>>,
    /// All addresses with their links; `None` = not read.
    pub addresses: Option<Vec<KernelAddress>>,
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
    locals: BTreeMap<IpAddr, Way>,
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
    /// Takes one route into a reading.
    pub fn collect(&mut self, into: &mut ReadRoutes, route: KernelRoute) {
        if let Some(way) = self.local_way(&route) {
            into.locals.insert(route.prefix.addr(), way);
        } else if self.is_ours(&route) {
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
            self.tell_hosts();
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
            // A whole reading is made while nothing is under way; an audit is not.
            let judged = |prefix: &IpNet| occasion != Occasion::Audit || !touched.contains(prefix);
            self.read_locals(&routes.locals, occasion, |prefix| !judged(prefix));
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
        // What is under way may reach the kernel before or after it is read.
        let locals = self.locals.in_flight().map(IpNet::from);
        self.touched = Some(self.in_flight.iter().copied().chain(locals).collect());
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

    fn read_addresses(&mut self, addresses: Vec<KernelAddress>, now: Instant) {
        let here: BTreeSet<(u32, IpNet)> = addresses.iter().map(|a| (a.link, a.net)).collect();
        let mut gone = Vec::new();
        for link in self.links.indexes().collect::<Vec<_>>() {
            let nets = self.links.addresses(link).filter(|net| !here.contains(&(link, *net)));
            gone.extend(nets.map(|net| KernelAddress::unmarked(link, net)));
        }
        for address in gone {
            self.learn(Fact::Address(address, Presence::Gone), now);
        }
        for address in addresses {
            self.learn(Fact::Address(address, Presence::Here), now);
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
fn differences<K: Key>(
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
