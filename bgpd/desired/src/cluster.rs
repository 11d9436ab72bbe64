//! The cluster's resources and the configuration file, made into one [`Desired`].
//!
//! Owns what the resources of a cluster mean for this node's speaker. Promises: the same input
//! gives the same answer in whatever order it came; what the file says wins over what resources
//! say; what cannot be done is told in a [`Remark`], never passed over. Leaves to others where
//! resources, blocks and secrets come from, and taking the answer into force.

mod origin;
mod peers;
pub mod policy;
mod resources;
mod secrets;
mod session;
mod workloads;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use bgp_core::policy::RoutePolicy;
use ipnet::IpNet;
use margay_model::kinds::BindMode;
use sha2::{Digest, Sha256};

pub use resources::{ClusterNode, Resources, Workload};
pub use secrets::{ReadSecretRef, SecretRef};

use crate::{
    bgp,
    desired::{Bgp, Desired},
};

use peers::Own;
use policy::Context;
use secrets::Secrets;
use session::{PATHS, Policies};

/// What a merge needs to know beside file and resources.
pub struct Host<'a> {
    /// The name of our Node.
    pub node: &'a str,
    /// The blocks of addresses that this node owns.
    pub blocks: &'a BTreeSet<IpNet>,
    /// Addresses that are used here out of blocks of other nodes.
    pub borrowed: &'a BTreeSet<IpAddr>,
    /// The highest IPv4 address of the host, if it has one.
    pub address: Option<Ipv4Addr>,
    /// Reads a key of a secret.
    pub read_secret: ReadSecretRef<'a>,
    /// The policies in force, by name: those that stay the same are shared with them.
    pub policies: &'a BTreeMap<String, Arc<RoutePolicy>>,
}

/// What comes of a merge.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// What the daemon should be.
    pub desired: Desired,
    /// What an operator must know.
    pub remarks: BTreeSet<Remark>,
}

/// Something that is not as a resource would have it, or as its author may think.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// The resource, or what was made from resources.
    pub subject: String,
    /// What about it.
    pub text: String,
}

impl Remark {
    fn new(subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self { subject: subject.into(), text: text.into() }
    }
}

impl From<&policy::Remark> for Remark {
    fn from(remark: &policy::Remark) -> Self {
        let text = remark.to_string();
        match text.split_once(": ") {
            Some((subject, text)) => Self::new(subject, text),
            None => Self::new("policies", text),
        }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.text)
    }
}

/// Merges the file with the resources.
///
/// Without a Node of our name that speaks BGP only the blocks are added, where the file has a
/// `[bgp]` to originate them.
pub fn merge(file: &Desired, resources: &Resources, host: &Host<'_>) -> Merged {
    let mut desired = file.clone();
    let mut remarks = Vec::new();
    if let Some(node) = resources.node(host.node) {
        let asn = file.bgp.as_ref().map_or_else(|| resources.asn_of(node), |bgp| bgp.asn);
        let own = Own { name: host.node, node, asn };
        Merge { own, resources, host }.take(file, &mut desired, &mut remarks);
    }
    if let Some(bgp) = &mut desired.bgp {
        origin::addresses(host.blocks, host.borrowed, &mut bgp.originate);
    }
    Merged { desired, remarks: remarks.into_iter().collect() }
}

/// A merge for a node that speaks BGP.
struct Merge<'a> {
    own: Own<'a>,
    resources: &'a Resources,
    host: &'a Host<'a>,
}

impl Merge<'_> {
    fn take(&self, file: &Desired, desired: &mut Desired, remarks: &mut Vec<Remark>) {
        let Self { own, resources, host } = *self;
        desired.node.log_level = file.node.log_level.or_else(|| resources.log_level(own.name));
        let mut bgp = speaker(own, file, resources, host.address, remarks);
        let sessions = peers::choose(own, resources, file.peers(), remarks);
        workloads::listen(own, resources, &sessions, file.bgp.is_some(), &mut bgp, remarks);
        desired.reach = workloads::reach(&sessions);
        let context = self.context(&sessions);
        let mut policies = policy::Policies::new(&context, resources.filters());
        let mut shared = BTreeMap::new();
        let mut share = |policy: Arc<RoutePolicy>| self.share(policy, &mut shared);
        let mut secrets = Secrets::new(host.read_secret);
        let mut filters = BTreeSet::new();
        let mut names: BTreeSet<String> = bgp.peers.iter().map(|peer| peer.name.clone()).collect();
        for session in sessions {
            if !names.insert(session.name.clone()) {
                let text = format!("no session with {}: another has the name", session.address);
                remarks.push(Remark::new(format!("peer {}", session.name), text));
                continue;
            }
            session.remarks(remarks);
            filters.extend(session.filters().iter().cloned());
            let kind = session.peer_type(own.asn);
            let both = Policies {
                import: share(policies.import(session.filters(), kind)),
                export: share(match session.keeps_next_hops() {
                    true => policies.export_as_learned(session.filters(), kind),
                    false => policies.export(session.filters(), kind),
                }),
            };
            let peer = session.config(own, resources, bgp.hold_time, both, &mut secrets);
            bgp.peers.push(peer);
        }
        if desired.fib.export.is_none() {
            desired.fib.export = policies.kernel().map(&mut share);
        }
        origin::services(&context, &mut bgp.originate, remarks);
        if bgp.redistribute.is_empty() {
            let filters = resources.filters().filter(|filter| filters.contains(filter.name()));
            bgp.redistribute = origin::host_routes(filters, resources.configuration());
            for policy in bgp.redistribute.iter_mut().filter_map(|entry| entry.policy.as_mut()) {
                *policy = share(Arc::clone(policy));
            }
        }
        // Those that are always there have no table of their own.
        let own_table = |policy: &Arc<RoutePolicy>| !policy.definition().rules.is_empty();
        desired.policies.extend(shared.into_iter().filter(|(_, policy)| own_table(policy)));
        desired.bgp = Some(bgp);
        remarks.extend(policies.remarks().map(Remark::from));
        remarks.extend(
            secrets.failed().map(|why| {
                Remark::new("password", format!("{why}; sessions that need it stay down"))
            }),
        );
    }

    fn context(&self, sessions: &[peers::Session<'_>]) -> Context<'_> {
        let Self { own, resources, host } = self;
        Context {
            pools: resources.pools().collect(),
            blocks: host.blocks.clone(),
            configuration: resources.configuration(),
            node_configuration: resources.node_configuration(own.name),
            reflector: own.node.cluster_id.is_some(),
            excluded_from_services: origin::is_excluded(own.node),
            services: BTreeSet::new(),
            subnet: own.node.v4,
            workloads: workloads::next_hops(*own, resources, host.blocks, sessions),
        }
    }

    /// The policy in force, if it is the same: whoever has it already need not compare.
    fn share(
        &self,
        policy: Arc<RoutePolicy>,
        shared: &mut BTreeMap<String, Arc<RoutePolicy>>,
    ) -> Arc<RoutePolicy> {
        if let Some(shared) = shared.get(policy.name()) {
            return Arc::clone(shared);
        }
        let in_force = self.host.policies.get(policy.name()).filter(|known| **known == policy);
        let policy = in_force.map_or(policy, Arc::clone);
        shared.insert(policy.name().to_owned(), Arc::clone(&policy));
        policy
    }
}

/// `[bgp]` with the peers of the file only.
fn speaker(
    own: Own<'_>,
    file: &Desired,
    resources: &Resources,
    host_address: Option<Ipv4Addr>,
    remarks: &mut Vec<Remark>,
) -> Bgp {
    let remark = |text: String| Remark::new(format!("Node {}", own.name), text);
    let meant = resources.asn_of(own.node);
    if meant != own.asn {
        remarks.push(remark(format!(
            "AS {} is in force, as the configuration file has it; other nodes expect AS {meant}",
            own.asn
        )));
    }
    if own.node.addresses().next().is_none() {
        remarks.push(remark("no sessions with anybody: it has no address".to_owned()));
    }
    // Sessions of the file must not fall because our Node comes, goes or is late: its `[bgp]` holds
    // with its defaults.
    let mut bgp = match &file.bgp {
        Some(bgp) => bgp.clone(),
        None => cluster_bgp(own, resources, host_address),
    };
    let port = resources.port_of(own.name);
    if file.bgp.is_some() && bgp.listen().iter().all(|address| address.port() != port) {
        remarks.push(remark(format!(
            "other nodes connect to port {port}, where it does not listen, as the configuration \
             file has it"
        )));
    }
    bgp.cluster_id = bgp.cluster_id.or(own.node.cluster_id);
    bgp
}

/// `[bgp]` where the file has none.
fn cluster_bgp(own: Own<'_>, resources: &Resources, host_address: Option<Ipv4Addr>) -> Bgp {
    let own_v4 = own.node.v4.and_then(|net| match net.addr() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    Bgp {
        asn: own.asn,
        router_id: Some(own_v4.or(host_address).unwrap_or_else(|| hashed(own.name))),
        cluster_id: None,
        listen: Some(listen(own, resources)),
        confederation: None,
        hold_time: bgp::DEFAULT_HOLD_TIME,
        // Two top-of-rack switches may have an AS each.
        multipath_ebgp: PATHS,
        multipath_ibgp: PATHS,
        multipath_relax: true,
        require_policy: true,
        decision: Bgp::DECISION,
        originate: Vec::new(),
        redistribute: Vec::new(),
        peers: Vec::new(),
    }
}

fn listen(own: Own<'_>, resources: &Resources) -> Vec<SocketAddr> {
    let port = resources.port_of(own.name);
    let bind = resources.configuration().and_then(|config| config.spec.bind_mode);
    let mut addresses: Vec<IpAddr> = own.node.addresses().collect();
    if bind != Some(BindMode::NodeIp) {
        let everywhere = |address: IpAddr| match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        addresses.iter_mut().for_each(|address| *address = everywhere(*address));
    }
    addresses.into_iter().map(|address| (address, port).into()).collect()
}

/// A BGP identifier for a host without an IPv4 address: the beginning of the SHA-256 of the node's
/// name, below the multicast range, as the cluster's users know it.
fn hashed(name: &str) -> Ipv4Addr {
    const FIRST_MULTICAST: u8 = 224;
    let digest = Sha256::digest(name.as_bytes());
    let [mut first, second, third, fourth, ..] = <[u8; 32]>::from(digest);
    if first >= FIRST_MULTICAST {
        first -= 32;
    }
    Ipv4Addr::new(first, second, third, fourth)
}

#[cfg(test)]
mod tests;
