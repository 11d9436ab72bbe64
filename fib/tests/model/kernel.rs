//! A kernel small enough to be right: routes by key, next-hop objects, links; silent where the real
//! one is.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use margay_fib::plan::fact::{
    Arrival, Fact, Form, Hop, KernelAddress, KernelLink, KernelObject, KernelRoute, ObjectKind,
    Origin, Presence, Via,
};
use margay_fib::plan::objects::ObjectOp;
use margay_fib::plan::work::{RouteOp, Verb};

const OURS: u8 = 186;
const STATIC: u8 = 4;
const KERNEL: u8 = 2;

#[derive(Debug, Default)]
pub struct Kernel {
    links: BTreeMap<u32, (bool, bool)>,
    routes: BTreeMap<(IpNet, u32), (u8, Via)>,
    objects: BTreeMap<u32, KernelObject>,
    /// What the listener has not taken yet.
    pub facts: Vec<Fact>,
    /// Routes of others that our operations destroyed.
    pub foreign_lost: u32,
}

impl Kernel {
    pub fn set_link(&mut self, index: u32, admin: bool, running: bool) {
        let (was_admin, was_running) =
            self.links.insert(index, (admin, running)).unwrap_or_default();
        if was_running && !running {
            let over = |o: &KernelObject| matches!(o.kind, ObjectKind::Hop(h) if h.oif == index);
            let gone: Vec<u32> = self.objects.values().filter(|o| over(o)).map(|o| o.id).collect();
            for id in gone {
                self.remove_object(id);
            }
        }
        if was_admin && !admin {
            self.routes.retain(|_, (_, via)| !over_link(via, index));
        }
        self.facts.push(Fact::Link(link(index, admin, running), Presence::Here));
        if admin && !was_admin {
            let prefix = connected(index);
            let via = Via::Hops(vec![(Hop { gateway: None, oif: index, onlink: false }, 1)]);
            self.routes.insert((prefix, 0), (KERNEL, via));
            self.tell_route(prefix, 0, Arrival::Added);
        }
    }

    pub fn runs(&self, index: u32) -> bool {
        self.links.get(&index).is_some_and(|(_, running)| *running)
    }

    pub fn links(&self) -> Vec<KernelLink> {
        self.links.iter().map(|(i, (admin, running))| link(*i, *admin, *running)).collect()
    }

    pub fn addresses(&self) -> Vec<KernelAddress> {
        let own = |i: &u32| format!("10.0.{i}.1/24").parse().expect("address");
        self.links.keys().map(|i| KernelAddress::unmarked(*i, own(i))).collect()
    }

    pub fn objects(&self) -> Vec<KernelObject> {
        self.objects.values().cloned().collect()
    }

    pub fn dump(&self) -> Vec<KernelRoute> {
        self.routes.keys().map(|(prefix, metric)| self.whole(*prefix, *metric)).collect()
    }

    /// Objects that routes lead to.
    pub fn used_objects(&self) -> BTreeSet<u32> {
        let mut used = BTreeSet::new();
        for (_, via) in self.routes.values() {
            if let Via::Object(id) = via {
                used.insert(*id);
                if let Some(ObjectKind::Group(members)) = self.objects.get(id).map(|o| &o.kind) {
                    used.extend(members.iter().map(|(id, _)| *id));
                }
            }
        }
        used
    }

    pub fn expand(&self, via: &Via) -> Vec<Hop> {
        match via {
            Via::Hops(hops) => hops.iter().map(|(hop, _)| *hop).collect(),
            Via::Object(id) => match self.objects.get(id).map(|o| &o.kind) {
                Some(ObjectKind::Hop(hop)) => vec![*hop],
                Some(ObjectKind::Group(members)) => {
                    members.iter().flat_map(|(id, _)| self.expand(&Via::Object(*id))).collect()
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    pub fn is_foreign(&self, prefix: IpNet, metric: u32) -> bool {
        self.routes.get(&(prefix, metric)).is_some_and(|(protocol, _)| *protocol != OURS)
    }

    pub fn foreign_add(&mut self, prefix: IpNet, metric: u32) {
        if let Entry::Vacant(place) = self.routes.entry((prefix, metric)) {
            place.insert((STATIC, Via::Unreachable));
            self.tell_route(prefix, metric, Arrival::Added);
        }
    }

    pub fn foreign_replace(&mut self, prefix: IpNet, metric: u32) {
        self.routes.insert((prefix, metric), (STATIC, Via::Unreachable));
        self.tell_route(prefix, metric, Arrival::Replaced);
    }

    pub fn foreign_delete(&mut self, prefix: IpNet, metric: u32) {
        if self.is_foreign(prefix, metric) {
            self.tell_gone(prefix, metric);
        }
    }

    pub fn drift_delete(&mut self, prefix: IpNet, metric: u32) {
        if self.routes.contains_key(&(prefix, metric)) && !self.is_foreign(prefix, metric) {
            self.tell_gone(prefix, metric);
        }
    }

    pub fn drift_change(&mut self, prefix: IpNet, metric: u32) {
        if !self.is_foreign(prefix, metric) {
            self.routes.insert((prefix, metric), (OURS, Via::Prohibit));
            self.tell_route(prefix, metric, Arrival::Replaced);
        }
    }

    /// Somebody deletes the n-th object; the kernel says nothing of the routes over it.
    pub fn drift_object(&mut self, n: usize) {
        let Some(object) = self.objects.values().nth(n).cloned() else { return };
        self.remove_object(object.id);
        self.facts.push(Fact::Object(object, Presence::Gone, Origin::Other));
    }

    pub fn object(&mut self, op: &ObjectOp) -> Result<(), i32> {
        match op {
            ObjectOp::Delete(id) => {
                if !self.objects.contains_key(id) {
                    return Err(libc::ENOENT);
                }
                self.remove_object(*id);
            }
            ObjectOp::Put(id, kind) => {
                match kind {
                    ObjectKind::Hop(hop) if !self.runs(hop.oif) => return Err(libc::ENETDOWN),
                    ObjectKind::Group(members) => {
                        let known = |(id, _): &(u32, u16)| self.objects.contains_key(id);
                        if members.is_empty() || !members.iter().all(known) {
                            return Err(libc::EINVAL);
                        }
                    }
                    _ => {}
                }
                let group = |k: &ObjectKind| matches!(k, ObjectKind::Group(_));
                if self.objects.get(id).is_some_and(|old| group(&old.kind) != group(kind)) {
                    return Err(libc::EINVAL);
                }
                let object = KernelObject { id: *id, protocol: OURS, kind: kind.clone() };
                self.objects.insert(*id, object);
            }
        }
        Ok(())
    }

    pub fn route(&mut self, op: &RouteOp, form: &Form) -> Result<(), i32> {
        let key = (op.prefix, form.metric);
        let standing = self.routes.get(&key).map(|(protocol, _)| *protocol);
        match (op.verb, standing) {
            (Verb::Delete, Some(OURS)) => drop(self.routes.remove(&key)),
            (Verb::Delete, _) => return Err(libc::ESRCH),
            (Verb::Add, Some(_)) => return Err(libc::EEXIST),
            (Verb::Add | Verb::Replace, _) => {
                match &form.via {
                    Via::Object(id) if !self.objects.contains_key(id) => return Err(libc::EINVAL),
                    Via::Hops(hops) => {
                        let up = |oif: &u32| self.links.get(oif).is_some_and(|l| l.0);
                        if !hops.iter().all(|(hop, _)| up(&hop.oif)) {
                            return Err(libc::ENETDOWN);
                        }
                    }
                    _ => {}
                }
                if standing.is_some_and(|protocol| protocol != OURS) {
                    self.foreign_lost += 1;
                }
                self.routes.insert(key, (OURS, form.via.clone()));
            }
        }
        Ok(())
    }

    fn remove_object(&mut self, id: u32) {
        self.objects.remove(&id);
        self.routes.retain(|_, (_, via)| *via != Via::Object(id));
        let mut emptied = Vec::new();
        for object in self.objects.values_mut() {
            if let ObjectKind::Group(members) = &mut object.kind {
                members.retain(|(member, _)| *member != id);
                if members.is_empty() {
                    emptied.push(object.id);
                }
            }
        }
        for id in emptied {
            self.remove_object(id);
        }
    }

    fn tell_route(&mut self, prefix: IpNet, metric: u32, arrival: Arrival) {
        let route = self.whole(prefix, metric);
        self.facts.push(Fact::Route(route, arrival, Origin::Other));
    }

    fn tell_gone(&mut self, prefix: IpNet, metric: u32) {
        let route = self.whole(prefix, metric);
        self.routes.remove(&(prefix, metric));
        self.facts.push(Fact::RouteGone(route, Origin::Other));
    }

    fn whole(&self, prefix: IpNet, metric: u32) -> KernelRoute {
        let (protocol, via) = self.routes.get(&(prefix, metric)).expect("there").clone();
        KernelRoute {
            prefix,
            table: 254,
            protocol,
            tos: 0,
            link_scope: protocol == KERNEL,
            form: Form { via, metric, prefsrc: None },
        }
    }
}

fn link(index: u32, admin_up: bool, running: bool) -> KernelLink {
    KernelLink { index, name: format!("v{index}"), admin_up, running, mac: None, mtu: 1500 }
}

fn connected(index: u32) -> IpNet {
    format!("10.0.{index}.0/24").parse().expect("prefix")
}

fn over_link(via: &Via, index: u32) -> bool {
    matches!(via, Via::Hops(hops) if hops.iter().any(|(hop, _)| hop.oif == index))
}
