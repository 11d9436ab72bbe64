//! What `BGPFilter`, `BGPConfiguration` and `IPPool` say about routes, as route policies.
//!
//! Owns: the order in which a route is judged on its way in, out and into the kernel, as Calico has
//! it, and the names of the rules, which `margay routes explain` shows. Promises: a policy depends
//! on nothing but the [`Context`], the filters and the type of the peer; equal inputs give equal
//! policies, whatever order they come in, so that nothing changes where nothing changed; peers with
//! the same filters share one. Nothing is widened in silence: what cannot be obeyed is a
//! [`Remark`]. Leaves to others: which peers there are, what is originated for blocks, services
//! and `[fib] export` of the file.
//!
//! # Use
//! ```
//! # use bgp_desired::cluster::policy::{Context, Policies};
//! # use margay_model::kinds::PeerType;
//! let context = Context::default(); // pools, own blocks, configurations, …
//! let mut policies = Policies::new(&context, []); // and all BGPFilters there are
//! let filters = ["no-defaults".to_owned()]; // spec.filters of a BGPPeer; none for the mesh
//! let import = policies.import(&filters, PeerType::Ibgp);
//! let export = policies.export(&filters, PeerType::Ibgp);
//! let kernel = policies.kernel(); // None: every best route
//! # assert!(kernel.is_none());
//! for remark in policies.remarks() {
//!     println!("{remark}"); // BGPFilter no-defaults does not exist: …
//! }
//! # assert_eq!(policies.remarks().count(), 1);
//! # assert!(import.name() != export.name());
//! ```
//!
//! # Import
//! The import rules of the filters in the order listed, then everything is accepted.
//!
//! # Export
//! 1. Routes of our own get the local preference that stands for the normal priority:
//!    2147483647 less it, as other nodes of the cluster expect.
//! 2. The export rules of the filters in the order listed.
//! 3. Routes inside a pool with `disableBGPExport` are rejected.
//! 4. Towards internal peers: those that lead out by a tunnel device are rejected.
//! 5. So are those by `bpf*.cali`.
//! 6. `prefixAdvertisements` add their communities.
//! 7. An own block is accepted, what lies inside one is not, unless it has an elevated priority (a
//!    local preference above that of the first step).
//! 8. What lies inside a service route that this node originates is accepted.
//! 9. On a route reflector: what lies inside `serviceLoadBalancerIPs` and `serviceExternalIPs`.
//! 10. What lies inside a pool is accepted.
//! 11. The rest is rejected.
//!
//! Between steps 2 and 3 a rule rejects what lies outside of all that could be accepted later. It
//! changes no verdict; a full table costs one look-up a route instead of one for each rule.
//!
//! # Kernel
//! 1. Routes inside service ranges are rejected.
//! 2. The blackholes of own blocks are accepted.
//! 3. Routes inside a pool that this daemon cannot serve, or is not to serve, are rejected.
//! 4. The rest is accepted.
//!
//! # Where this is not what Calico does
//! - Kernel metrics are those of `[fib] metric`. Calico writes 2147483647 less the local
//!   preference, so a default route from a top-of-rack switch (local preference 100) loses to any
//!   other. A metric of the kernel's route does not become a local preference either.
//! - A BGP route of elevated priority does not displace a route of the kernel on import: nothing
//!   here puts a workload's own route into the RIB that it would have to displace.
//! - Own blocks' blackholes reach the kernel whatever kind their pool is: there is no agent beside
//!   this daemon that would write them, and without them traffic for free addresses loops.
//! - `programClusterRoutes` counts as `Enabled` where it is not set, for the same reason.
//! - There are no tunnels: in pools with IP in IP only what needs none reaches the kernel
//!   (`CrossSubnet`, and the next hop in the subnet of this node); of VXLAN pools nothing does.
//! - `Equal` and `NotEqual` with `prefixLength` compare the network's address, and its length with
//!   the range; a range without any length, and whatever cannot be read, makes a rule that matches
//!   nothing, also with `NotIn` and `NotEqual`.
//! - A filter that is named but not there is one that rejects everything that comes to it. Calico
//!   leaves it out, and what it held back passes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bgp_core::policy::{
    Definition, InterfacePattern, PrefixPattern, RoutePolicy, RuleAction, Sets,
    definition::{Default as DefaultAction, MatchDefinition, RuleDefinition, SetDefinition},
};
use ipnet::IpNet;
use margay_model::kinds::{BgpConfiguration, BgpFilter, IpPool, PeerType, ProgramClusterRoutes};

mod export;
mod filter;
mod kernel;
mod services;

use filter::Way;

/// Priority and local preference of a route are this together.
const MAX_PRIORITY: u32 = 2_147_483_647;

/// The priority of routes where `ipv4NormalRoutePriority` does not say.
const NORMAL_PRIORITY: u32 = 1024;

/// What the policies of a node are made from, beside filters: the same for all its peers.
#[derive(Debug, Clone, Default)]
pub struct Context<'a> {
    /// All pools, in any order.
    pub pools: Vec<&'a IpPool>,
    /// The blocks that are this node's for certain (affinity `confirmed` or stateless): none that
    /// is still being claimed or already being given up.
    pub blocks: BTreeSet<IpNet>,
    /// The `BGPConfiguration` named `default`.
    pub configuration: Option<&'a BgpConfiguration>,
    /// The one named `node.` and the name of this node.
    pub node_configuration: Option<&'a BgpConfiguration>,
    /// This node has a `routeReflectorClusterID`.
    pub reflector: bool,
    /// This node is labelled `node.kubernetes.io/exclude-from-external-load-balancers=true`: it
    /// advertises no services.
    pub excluded_from_services: bool,
    /// Addresses of services that this node advertises one by one.
    pub services: BTreeSet<IpNet>,
    /// The subnet of this node's IPv4 address (`spec.bgp.ipv4Address`), for `CrossSubnet`.
    pub subnet: Option<IpNet>,
    /// Where the next hops of routes lie that workloads of this node told: only this node has a way
    /// there. Empty where no workload is a peer.
    pub workloads: BTreeSet<IpNet>,
}

/// What cannot be obeyed as written, for whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Remark {
    /// A peer names a filter that is not there.
    #[error("BGPFilter {filter} does not exist: every route that comes to it is rejected")]
    MissingFilter {
        /// Its name.
        filter: String,
    },
    /// A rule of a filter that makes no sense.
    #[error("BGPFilter {filter}: {list}[{index}]: {why}: the rule matches nothing")]
    FilterRule {
        /// The filter.
        filter: String,
        /// `exportV4`, …
        list: &'static str,
        /// 0-based, as in paths of fields.
        index: usize,
        /// What is wrong.
        why: String,
    },
    /// A community of `prefixAdvertisements` that is neither a value nor a name.
    #[error(
        "BGPConfiguration {configuration}: community {community:?} of the prefix advertisement \
         {cidr} is neither defined nor a value: it is not added"
    )]
    Community {
        /// The object.
        configuration: String,
        /// The advertisement.
        cidr: IpNet,
        /// As written.
        community: String,
    },
    /// A pool that needs tunnels.
    #[error("IPPool {pool}: {mode} needs tunnels, which are not there: {what} the kernel")]
    Tunnel {
        /// The pool.
        pool: String,
        /// The mode.
        mode: &'static str,
        /// What becomes of its routes.
        what: &'static str,
    },
}

/// Route policies, made as they are asked for; each is made once.
#[derive(Debug)]
pub struct Policies<'a> {
    context: &'a Context<'a>,
    filters: BTreeMap<&'a str, &'a BgpFilter>,
    accept: Arc<RoutePolicy>,
    made: BTreeMap<String, Arc<RoutePolicy>>,
    remarks: BTreeSet<Remark>,
}

impl<'a> Policies<'a> {
    /// `filters` are all there are, in any order.
    pub fn new(context: &'a Context<'a>, filters: impl IntoIterator<Item = &'a BgpFilter>) -> Self {
        let filters = filters.into_iter().map(|filter| (filter.name(), filter)).collect();
        let accept = Arc::new(RoutePolicy::accept());
        let (made, remarks) = Default::default();
        Self { context, filters, accept, made, remarks }
    }

    /// What is taken from a peer of this type with these filters (`spec.filters`, in order): the
    /// built-in `accept` where they say nothing about it.
    pub fn import(&mut self, filters: &[String], peer: PeerType) -> Arc<RoutePolicy> {
        let name = self.name("cluster import", filters, self.by_peer(filters, Way::Import), peer);
        let policy = self.once(name, DefaultAction::Accept, |policies, rules| {
            policies.filter_rules(rules, filters, Way::Import, peer);
        });
        if policy.definition().rules.is_empty() { Arc::clone(&self.accept) } else { policy }
    }

    /// What is told to a peer of this type with these filters.
    pub fn export(&mut self, filters: &[String], peer: PeerType) -> Arc<RoutePolicy> {
        let name = self.name("cluster export", filters, true, peer);
        let through_us = peer == PeerType::Ibgp && !self.context.workloads.is_empty();
        self.once(name, DefaultAction::Reject, |policies, rules| {
            export::own_priority(policies.context, rules);
            if through_us {
                export::next_hop_of_workloads(policies.context, rules);
            }
            if policies.filter_rules(rules, filters, Way::Export, peer) {
                export::built_in(policies.context, peer, rules, &mut policies.remarks);
            }
        })
    }

    /// Likewise, where the peer is told next hops as they were learned (`nextHopMode: Keep`), those
    /// of workloads among them.
    pub fn export_as_learned(&mut self, filters: &[String], peer: PeerType) -> Arc<RoutePolicy> {
        if peer == PeerType::Ebgp || self.context.workloads.is_empty() {
            return self.export(filters, peer);
        }
        let name = self.name("cluster export, next hops kept", filters, true, peer);
        self.once(name, DefaultAction::Reject, |policies, rules| {
            export::own_priority(policies.context, rules);
            if policies.filter_rules(rules, filters, Way::Export, peer) {
                export::built_in(policies.context, peer, rules, &mut policies.remarks);
            }
        })
    }

    /// What of the best routes goes to the kernel; `None`: all.
    pub fn kernel(&mut self) -> Option<Arc<RoutePolicy>> {
        let name = "cluster kernel".to_owned();
        let policy = self.once(name, DefaultAction::Accept, |policies, rules| {
            kernel::rules(policies.context, rules, &mut policies.remarks);
        });
        (!policy.definition().rules.is_empty()).then_some(policy)
    }

    /// What the policies made so far could not obey, each once, in a stable order.
    pub fn remarks(&self) -> impl Iterator<Item = &Remark> {
        self.remarks.iter()
    }

    fn name(&self, base: &str, filters: &[String], by_peer: bool, peer: PeerType) -> String {
        let mut name = base.to_owned();
        if by_peer {
            name.push_str(match peer {
                PeerType::Ibgp => ", internal peers",
                PeerType::Ebgp => ", external peers",
            });
        }
        if !filters.is_empty() {
            name.push_str(": ");
            name.push_str(&filters.join(", "));
        }
        name
    }

    /// Whether the rules of some filter are not the same for all types of peers.
    fn by_peer(&self, filters: &[String], way: Way) -> bool {
        let known = filters.iter().filter_map(|name| self.filters.get(name.as_str()));
        known.into_iter().any(|filter| filter::by_peer(filter, way))
    }

    fn once(
        &mut self,
        name: String,
        default: DefaultAction,
        make: impl FnOnce(&mut Self, &mut Vec<RuleDefinition>),
    ) -> Arc<RoutePolicy> {
        if let Some(made) = self.made.get(&name) {
            return Arc::clone(made);
        }
        let mut rules = Vec::new();
        make(self, &mut rules);
        let definition = Definition { name: name.clone(), default, rules };
        let policy = RoutePolicy::compile(definition, &Sets::default())
            .expect("neither sets nor patterns are named");
        let policy = Arc::new(policy);
        self.made.insert(name, Arc::clone(&policy));
        policy
    }

    /// Appends the rules of filters; whether anything comes after them.
    fn filter_rules(
        &mut self,
        rules: &mut Vec<RuleDefinition>,
        filters: &[String],
        way: Way,
        peer: PeerType,
    ) -> bool {
        for name in filters {
            let Some(filter) = self.filters.get(name.as_str()) else {
                let all = MatchDefinition::default();
                rules.push(rule(format!("filter {name} is missing"), all, RuleAction::Reject));
                self.remarks.insert(Remark::MissingFilter { filter: name.clone() });
                return false;
            };
            filter::rules(rules, filter, way, peer, &mut self.remarks);
        }
        true
    }
}

impl Context<'_> {
    /// What this node originates for services (without a blackhole in the kernel): whole ranges,
    /// and the addresses of [`Context::services`].
    pub fn service_routes(&self) -> BTreeSet<IpNet> {
        services::originated(self)
    }

    /// The priority of routes of IPv4 and of IPv6.
    fn normal_priorities(&self) -> [u32; 2] {
        let spec = self.configuration.map(|configuration| &configuration.spec);
        let or_usual = |priority: Option<u32>| match priority {
            Some(priority) => priority.min(MAX_PRIORITY),
            None => NORMAL_PRIORITY,
        };
        [
            or_usual(spec.and_then(|spec| spec.ipv4_normal_route_priority)),
            or_usual(spec.and_then(|spec| spec.ipv6_normal_route_priority)),
        ]
    }

    /// The local preference that stands for the normal priority of the prefix's family.
    fn normal_local_pref(&self, prefix: &IpNet) -> u32 {
        let [v4, v6] = self.normal_priorities();
        MAX_PRIORITY - if prefix.addr().is_ipv4() { v4 } else { v6 }
    }

    /// Which routes of pools BGP writes into the kernel. `Enabled` unless set: nobody else is here
    /// to write them.
    fn programs(&self) -> ProgramClusterRoutes {
        let spec = self.configuration.map(|configuration| &configuration.spec);
        spec.and_then(|spec| spec.program_cluster_routes).unwrap_or(ProgramClusterRoutes::Enabled)
    }

    /// By name.
    fn sorted_pools(&self) -> Vec<&IpPool> {
        let mut pools = self.pools.clone();
        pools.sort_by(|a, b| a.name().cmp(b.name()));
        pools
    }
}

fn rule(name: String, matches: MatchDefinition, action: RuleAction) -> RuleDefinition {
    RuleDefinition { name: Some(name), matches, set: SetDefinition::default(), action }
}

/// Routes inside a network, the network itself among them.
fn inside(network: IpNet) -> MatchDefinition {
    all_inside([network])
}

/// Routes inside one of some networks.
fn all_inside(networks: impl IntoIterator<Item = IpNet>) -> MatchDefinition {
    let patterns = networks.into_iter().map(pattern_inside).collect();
    MatchDefinition { prefix: Some(patterns), ..MatchDefinition::default() }
}

fn pattern_inside(network: IpNet) -> PrefixPattern {
    PrefixPattern::new(network.trunc(), None, Some(network.max_prefix_len()))
        .expect("a masked network and the longest length fit")
}

fn pattern_exactly(network: IpNet) -> PrefixPattern {
    PrefixPattern::new(network.trunc(), None, None).expect("a masked network")
}

fn interfaces(patterns: &[&str]) -> MatchDefinition {
    let pattern = |text: &&str| -> InterfacePattern { text.parse().expect("a constant") };
    MatchDefinition {
        interface: Some(patterns.iter().map(pattern).collect()),
        ..MatchDefinition::default()
    }
}

#[cfg(test)]
mod tests;
