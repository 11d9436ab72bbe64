//! What is to be in the kernel, and of which endpoints it is. No socket, no clock: events in, the
//! wanted table and what can be reported out.
//!
//! Owns: the resources heard that are not yet told to be whole, the calculation, the settings that
//! resources make, and what the kernel refused. Promises: nothing is wanted before everything there
//! is has been heard; what is wanted is always of a moment that the stream marked as whole; an object
//! that cannot be read is named and stops no other; an endpoint counts as in force only when the
//! kernel took the very table in which all its chains are as they should be. Leaves to others when to
//! try again.

mod count;
mod hosts;
mod isolated;
mod links;
mod object;
mod settings;
mod sight;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use margay_model::{Key, Kind, Resource, ResourceKey};
use margay_proto::v1::{SyncEvent, sync_event::Event};
use policy_calc::{Deltas, Endpoint, EndpointId, Families, Graph, HostLinks, Interfaces, State};
use policy_nft::{
    layout::{self, At, Layout, Settings},
    netlink::Refused,
    plan::Touched,
    table::Table,
};

use isolated::Isolated;
use links::Links;
use object::Told;
use settings::Inputs;

use crate::flows::Names;

pub(crate) use object::KINDS;

/// See the module.
#[derive(Debug)]
pub(crate) struct Enforcer {
    node: String,
    own: Own,
    graph: Graph,
    /// As of the last moment that was whole.
    state: State,
    /// Of workloads, likewise.
    links: Links,
    /// Of host endpoints, likewise, with the interfaces that are there now.
    hosts: HostLinks,
    interfaces: Interfaces,
    inputs: Inputs,
    /// What they came to at that moment.
    settings: Settings,
    /// What of their resources is not followed, and why.
    ignored: Vec<String>,
    /// Objects that cannot be read, and why.
    broken: BTreeMap<ResourceKey, String>,
    /// Revisions of endpoints, as of the last moment that was whole; those of others too.
    generations: BTreeMap<EndpointId, u64>,
    /// Heard since.
    newer: BTreeMap<EndpointId, Option<u64>>,
    /// A snapshot was whole once.
    in_sync: bool,
    /// Something differs from what `ready` and `cut` were made of.
    changed: bool,
    /// The table, as of the last moment that was whole; none while it has to be laid out anew.
    layout: Option<Layout>,
    /// The same without what the kernel refused, if it refused anything.
    cut: Option<Table>,
    /// What of the wanted table the kernel may not have yet; `None`: any of it.
    missing: Option<Touched>,
    /// Endpoints with a link of their own, each as of which revision, as of the last moment that was whole.
    linked: Revisions,
    /// What is in force once the kernel has the wanted table: all of them that nothing is cut off.
    ready: Revisions,
    isolated: Isolated,
    /// Whose packets are counted, with the link.
    counted: BTreeMap<EndpointId, String>,
    in_force: Revisions,
    /// Of what is in force.
    names: Names,
    /// Endpoints differ from those in force.
    renamed: bool,
    /// Those in force differ from those that have names.
    rename: bool,
}

/// The kinds of policies.
const POLICIES: [Kind; 5] = [
    Kind::NetworkPolicy,
    Kind::GlobalNetworkPolicy,
    Kind::StagedNetworkPolicy,
    Kind::StagedGlobalNetworkPolicy,
    Kind::StagedKubernetesNetworkPolicy,
];

/// What this host itself says of the table.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Own {
    /// It tells of each decision.
    pub(crate) flows: bool,
    /// It marks for a guard.
    pub(crate) guard: bool,
}

impl Own {
    fn with(self, settings: Settings) -> Settings {
        Settings { flows: self.flows, guard: self.guard, ..settings }
    }
}

/// Endpoints, each as of which revision.
pub(crate) type Revisions = Arc<BTreeMap<ResourceKey, u64>>;

/// The table that the kernel should have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// All of it.
    pub(crate) table: &'a Table,
    /// What of it differs from the one that was [`done`](Enforcer::done) last; `None`: it may be any.
    pub(crate) touched: Option<&'a Touched>,
}

/// Something to be said about what was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remark {
    /// An object cannot be read, why, and what counts instead.
    Broken(String),
    /// Of a setting or rule, with why it is not followed.
    Ignored(String),
}

/// What becomes of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// What was refused is set aside: try again at once.
    Isolated,
    /// It cannot be set aside without taking others with it: the kernel stays as it is.
    Whole,
}

/// How many of what there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Workload and host endpoints of this node.
    pub(crate) endpoints: usize,
    /// Of them in force as they were heard last.
    pub(crate) in_force: usize,
    /// Of them without a link of their own here: carried by none, and never in force.
    pub(crate) linkless: usize,
    /// Policies that apply to them.
    pub(crate) policies: usize,
    /// Sets of addresses and ports.
    pub(crate) sets: usize,
    /// Rules that do not mean what they say.
    pub(crate) rule_faults: usize,
    /// Objects that cannot be read.
    pub(crate) broken: usize,
    /// Chains, sets and elements that the kernel refused.
    pub(crate) refused: usize,
    /// Chains of the wanted table.
    pub(crate) chains: usize,
    /// In the whole cluster.
    pub(crate) cluster: Cluster,
}

/// How many resources there are in the cluster, wherever they apply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// Of all kinds, staged ones too.
    pub(crate) policies: usize,
    pub(crate) profiles: usize,
    pub(crate) tiers: usize,
    pub(crate) host_endpoints: usize,
    pub(crate) workload_endpoints: usize,
}

impl Enforcer {
    /// For the node of this name, with these interfaces, which has heard nothing.
    pub(crate) fn new(node: &str, interfaces: Interfaces, own: Own) -> Self {
        Self {
            node: node.to_owned(),
            own,
            graph: Graph::new(node),
            state: State::default(),
            links: Links::default(),
            hosts: HostLinks::default(),
            interfaces,
            inputs: Inputs::default(),
            settings: own.with(Settings { members: Families::NONE, ..Settings::default() }),
            ignored: Vec::new(),
            broken: BTreeMap::new(),
            generations: BTreeMap::new(),
            newer: BTreeMap::new(),
            in_sync: false,
            changed: false,
            layout: None,
            cut: None,
            missing: None,
            linked: Revisions::default(),
            ready: Revisions::default(),
            isolated: Isolated::default(),
            counted: BTreeMap::new(),
            in_force: Revisions::default(),
            names: Names::default(),
            renamed: false,
            rename: false,
        }
    }

    /// The node's name.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// Everything will be told anew: what is not told again before the stream is in sync is gone.
    pub(crate) fn begin_anew(&mut self) {
        self.graph.restart();
        self.inputs.restart();
        self.broken.clear();
        self.newer = self.generations.keys().map(|id| (id.clone(), None)).collect();
    }

    /// Takes in what the stream told, in its order.
    pub(crate) fn hear(&mut self, events: Vec<SyncEvent>) -> Vec<Remark> {
        let mut remarks = Vec::new();
        for SyncEvent { event, revision } in events {
            match event {
                Some(Event::Reset(_)) => self.begin_anew(),
                Some(Event::InSync(_)) => self.whole(&mut remarks),
                Some(Event::Object(text)) => match object::read(&text) {
                    Ok(told) => self.object(told, revision),
                    Err(object::Broken { key, why }) => {
                        let name = key.as_ref().map_or("an object".to_owned(), object::display);
                        let closed = object::closed(&text);
                        let instead = match key {
                            Some(key) => self.unreadable(key, &why, closed, revision),
                            None => "nothing is known of it",
                        };
                        remarks.push(Remark::Broken(format!("{name}: {why}; {instead}")));
                    }
                },
                Some(Event::Deleted(name)) => {
                    if let Some(key) = object::named(&name) {
                        self.broken.remove(&key);
                        self.gone(&key);
                    }
                }
                // No policy in it, or of a later version.
                Some(Event::Stored(_) | Event::Alive(_)) | None => {}
            }
        }
        remarks
    }

    /// The table that the kernel should have; none before everything was heard.
    pub(crate) fn wanted(&mut self) -> Option<Wanted<'_>> {
        if !self.in_sync {
            return None;
        }
        if self.layout.is_none() {
            let endpoint = |(at, id)| Some((at, self.state.endpoints.get(id)?.clone()));
            let links = self.owners().filter_map(endpoint).collect();
            let mut layout = Layout::new(self.settings.clone(), &self.state, &links);
            for link in self.counted.values() {
                layout.count(&self.state, link, true);
            }
            self.layout = Some(layout);
            (self.missing, self.changed) = (None, true);
        }
        if std::mem::take(&mut self.changed) {
            self.cut = None;
            self.ready = Arc::clone(&self.linked);
            if let Some(layout) = self.layout.as_ref().filter(|_| !self.isolated.is_empty()) {
                let mut table = layout.table().clone();
                let cut = self.isolated.apply(&mut table);
                let mut ready = (*self.linked).clone();
                for (_, id) in self.owners().filter(|(at, _)| cut.reaches(at)) {
                    ready.remove(&id.key());
                }
                (self.ready, self.cut, self.missing) = (Arc::new(ready), Some(table), None);
            }
        }
        self.table().map(|table| Wanted { table, touched: self.missing.as_ref() })
    }

    /// The table that was wanted last.
    fn table(&self) -> Option<&Table> {
        self.cut.as_ref().or_else(|| self.layout.as_ref().map(Layout::table))
    }

    /// The kernel has the table that was wanted last.
    pub(crate) fn done(&mut self) {
        self.in_force = Arc::clone(&self.ready);
        self.missing = Some(Touched::default());
        self.rename |= std::mem::take(&mut self.renamed);
        if let Some(texts) = self.layout.as_mut().and_then(Layout::new_texts) {
            self.names.texts = Arc::new(texts);
        }
    }

    /// The kernel refused these of the table that was wanted last, and did nothing.
    pub(crate) fn refused(&mut self, refused: &[Refused]) -> Refusal {
        let Some(table) = self.cut.as_ref().or(self.layout.as_ref().map(Layout::table)) else {
            return Refusal::Whole;
        };
        if !self.isolated.add(refused, table) {
            return Refusal::Whole;
        }
        self.changed = true;
        Refusal::Isolated
    }

    /// Whether anything is set aside.
    pub(crate) fn is_isolating(&self) -> bool {
        !self.isolated.is_empty()
    }

    /// The kernel may take now what it refused: all of it is wanted again.
    pub(crate) fn forgive(&mut self) {
        if self.is_isolating() {
            (self.changed, self.missing) = (true, None);
            self.isolated = Isolated::default();
        }
    }

    /// Endpoints in force, each as of which revision.
    pub(crate) fn in_force(&self) -> &Revisions {
        &self.in_force
    }

    /// Who and what packets are told of with, of what is in force: after [`done`](Self::done).
    pub(crate) fn names(&mut self) -> &Names {
        if std::mem::take(&mut self.rename) {
            let of = |(id, endpoint): (&EndpointId, &Arc<Endpoint>)| {
                let key = id.key();
                let all = endpoint.addresses.iter().copied().chain(self.addresses_of(id));
                all.map(|address| (address, key.clone())).collect::<Vec<_>>()
            };
            self.names.ends = Arc::new(self.state.endpoints.iter().flat_map(of).collect());
        }
        &self.names
    }

    /// Whether everything there is has been heard once.
    pub(crate) fn in_sync(&self) -> bool {
        self.in_sync
    }

    /// How many of what there are.
    pub(crate) fn counts(&self) -> Counts {
        let current =
            |(key, revision): &(&ResourceKey, &u64)| self.linked.get(*key) == Some(*revision);
        let in_force = match Arc::ptr_eq(&self.in_force, &self.linked) {
            true => self.in_force.len(),
            false => self.in_force.iter().filter(current).count(),
        };
        Counts {
            endpoints: self.state.endpoints.len(),
            in_force,
            linkless: self.links.without() + self.hosts_without(),
            policies: self.state.policies.len(),
            sets: self.state.sets.len(),
            rule_faults: self.state.faults.values().map(Vec::len).sum(),
            broken: self.broken.len(),
            refused: self.isolated.len(),
            chains: self.table().map_or(0, |table| table.chains.len()),
            cluster: self.cluster(),
        }
    }

    fn cluster(&self) -> Cluster {
        let known = |kind| self.graph.known(kind);
        Cluster {
            policies: POLICIES.into_iter().map(known).sum(),
            profiles: known(Kind::Profile),
            tiers: known(Kind::Tier),
            host_endpoints: known(Kind::HostEndpoint),
            workload_endpoints: known(Kind::WorkloadEndpoint),
        }
    }

    fn object(&mut self, told: Told, revision: u64) {
        let Told { key, resource } = told;
        self.broken.remove(&key);
        self.inputs.update(&key, Some(&resource));
        if let Some(id) = EndpointId::of(&key) {
            self.newer.insert(id, Some(revision));
        }
        self.graph.update(&Key::Resource(key), Some(resource));
    }

    /// What was known of an object stays; nothing was: a policy is closed to whom it selects. Gives
    /// what counts, in words.
    fn unreadable(
        &mut self,
        key: ResourceKey,
        why: &str,
        closed: Option<Resource>,
        revision: u64,
    ) -> &'static str {
        self.inputs.keep(&key);
        let known = self.graph.keep(&Key::Resource(key.clone()));
        let instead = match closed {
            _ if known => {
                // Not told anew, and not gone.
                if let Some(id) = EndpointId::of(&key)
                    && self.newer.get(&id) == Some(&None)
                {
                    self.newer.remove(&id);
                }
                "it stays as it could be read last"
            }
            Some(resource) => {
                self.object(Told { key: key.clone(), resource }, revision);
                "it denies everything to those it selects"
            }
            None => "nothing of it counts",
        };
        self.broken.insert(key, why.to_owned());
        instead
    }

    fn gone(&mut self, key: &ResourceKey) {
        self.inputs.update(key, None);
        if let Some(id) = EndpointId::of(key) {
            self.newer.insert(id, None);
        }
        self.graph.update(&Key::Resource(key.clone()), None);
    }

    /// All that there is at this moment has been told.
    fn whole(&mut self, remarks: &mut Vec<Remark>) {
        self.graph.in_sync();
        let deltas = self.graph.flush();
        for (owner, faults) in &deltas.faults {
            let told = faults.iter().map(|fault| Remark::Ignored(format!("{owner}: {fault}")));
            remarks.extend(told);
        }
        if self.inputs.in_sync() {
            let (settings, ignored) = self.inputs.settings(&self.node);
            let members = self.settings.members;
            let settings = self.own.with(Settings { members, ..settings });
            remarks.extend(ignored.iter().cloned().map(Remark::Ignored));
            self.ignored = ignored;
            if settings != self.settings {
                (self.settings, self.layout) = (settings, None);
            }
        }
        // A family stays once it was there: to lay out anew costs more than it saves.
        let changed = deltas.sets_changed.values().map(|set| &set.added);
        let added = deltas.sets_added.values().chain(changed);
        let members = added.fold(self.settings.members, Families::with);
        if members != self.settings.members {
            (self.settings.members, self.layout) = (members, None);
        }
        self.state.apply(&deltas);
        let told = deltas.endpoints.keys().chain(&deltas.endpoints_removed);
        let mut renewed: BTreeSet<EndpointId> = told.cloned().collect();
        self.renamed |= !renewed.is_empty();
        for (id, revision) in std::mem::take(&mut self.newer) {
            match revision {
                Some(revision) => self.generations.insert(id.clone(), revision),
                None => self.generations.remove(&id),
            };
            renewed.insert(id);
        }
        let mut links = self.claim(&renewed, remarks);
        links.extend(self.stand(&deltas, remarks));
        self.link(renewed, &links);
        links.extend(deltas.endpoints.iter().filter_map(|(id, endpoint)| {
            layout::link_of(id, endpoint).map(|link| At::Workload(link.to_owned()))
        }));
        self.lay_out(&deltas, links);
        self.in_sync = true;
    }

    /// Brings the table up to date with what changed, and the links that may have another endpoint.
    fn lay_out(&mut self, deltas: &Deltas, links: BTreeSet<At>) {
        let endpoint = |at: &At| self.state.endpoints.get(self.owner(at)?).cloned();
        let links = links.into_iter().map(|at| (at.clone(), endpoint(&at))).collect();
        let Some(layout) = &mut self.layout else { return };
        let touched = layout.apply(&self.state, deltas, &links);
        self.changed |= !touched.is_empty();
        if let Some(missing) = &mut self.missing {
            missing.join(touched);
        }
    }

    fn owner(&self, at: &At) -> Option<&EndpointId> {
        match at {
            At::Workload(link) => self.links.owner(link),
            At::Host(link) => self.hosts.named.get(link),
            At::OtherHost => self.hosts.others.as_ref(),
        }
    }

    /// Every link that somebody has, and who.
    fn owners(&self) -> impl Iterator<Item = (At, &EndpointId)> {
        let workloads = self.links.owners();
        let workloads = workloads.map(|(link, id)| (At::Workload(link.to_owned()), id));
        workloads.chain(layout::host_owners(&self.hosts))
    }

    /// Brings up to date which workload has which link; the links that may have another endpoint now.
    fn claim(&mut self, renewed: &BTreeSet<EndpointId>, remarks: &mut Vec<Remark>) -> BTreeSet<At> {
        let mut touched = BTreeSet::new();
        for id in renewed.iter().filter(|id| matches!(id, EndpointId::Workload { .. })) {
            touched.extend(match self.state.endpoints.get(id) {
                None => self.links.release(id),
                Some(endpoint) => {
                    let link = layout::link_of(id, endpoint);
                    if link.is_none() {
                        let name = object::display(&id.key());
                        let text = format!("{name}: it names no link, so none is opened for it");
                        remarks.push(Remark::Ignored(text));
                    }
                    let age = self.generations.get(id).copied().unwrap_or_default();
                    self.links.claim(id, link, age)
                }
            });
        }
        for link in &touched {
            let Some(owner) = self.links.owner(link) else { continue };
            let owner = object::display(&owner.key());
            remarks.extend(self.links.losers(link).map(|loser| {
                let loser = object::display(&loser.key());
                Remark::Ignored(format!("{loser}: its link {link} is that of {owner}, told later"))
            }));
        }
        touched.into_iter().map(At::Workload).collect()
    }

    /// Brings up to date which endpoints have a link of their own, after changes of these endpoints and
    /// of who has these links.
    fn link(&mut self, renewed: BTreeSet<EndpointId>, links: &BTreeSet<At>) {
        let mut concerned = renewed;
        for at in links {
            match at {
                At::Workload(link) => {
                    concerned.extend(self.links.owner(link).cloned());
                    concerned.extend(self.links.losers(link).cloned());
                }
                // There are few.
                At::Host(_) | At::OtherHost => concerned.extend(self.host_endpoints().cloned()),
            }
        }
        for id in concerned {
            let has = match id {
                EndpointId::Workload { .. } => self.links.is_owner(&id),
                EndpointId::Host(_) => self.hosts.has(&id),
            };
            let revision = self.generations.get(&id).copied().filter(|_| has);
            let key = id.key();
            if self.linked.get(&key).copied() == revision {
                continue;
            }
            let linked = Arc::make_mut(&mut self.linked);
            match revision {
                Some(revision) => linked.insert(key, revision),
                None => linked.remove(&key),
            };
            self.changed = true;
        }
    }
}

#[cfg(test)]
mod tests;
