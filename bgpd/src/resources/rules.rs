//! What resources ask of each other.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use margay_datastore::{Store, list_all};
use margay_model::{
    Area, Compare, Expect, Guard, Key, Kind, Resource, Txn,
    kinds::{BUILT_IN_TIERS, IpPool},
};

use super::{Broken, ResourceError, guards};

/// What is stored of the kinds that others refer to.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    tiers: BTreeSet<String>,
    filters: BTreeSet<String>,
    /// By name.
    pools: BTreeMap<String, IpNet>,
    /// Pools that cannot be read: nobody can say what they overlap with.
    unreadable: BTreeSet<Key>,
    blocks: Vec<IpNet>,
}

impl Cluster {
    /// Reads what the rules for `written` look at.
    ///
    /// # Errors
    /// The datastore.
    pub(super) async fn load(
        store: &dyn Store,
        written: &[&Resource],
    ) -> Result<Self, ResourceError> {
        let writes = |wanted: &[Kind]| written.iter().any(|r| wanted.contains(&r.kind()));
        let mut cluster = Self::default();
        if writes(Kind::TIERED) {
            cluster.tiers = names(store, Kind::Tier).await?;
            cluster.tiers.extend(BUILT_IN_TIERS.iter().map(|(name, ..)| (*name).to_owned()));
        }
        if writes(&[Kind::BgpPeer]) {
            cluster.filters = names(store, Kind::BgpFilter).await?;
        }
        if writes(&[Kind::IpPool]) {
            let (entries, _) = list_all(store, &Area::Kind(Kind::IpPool, None)).await?;
            for entry in entries {
                // Where it lies is all that matters, whatever a newer release has added.
                if let Ok(Resource::IpPool(pool)) = Resource::decode_lenient(&entry.value.value) {
                    cluster.pools.insert(pool.name().to_owned(), pool.spec.cidr.net());
                } else {
                    cluster.unreadable.insert(entry.key);
                }
            }
            let (entries, _) = list_all(store, &Area::Blocks).await?;
            for entry in entries {
                if let Key::Block(cidr) = entry.key {
                    cluster.blocks.push(cidr);
                }
            }
        }
        Ok(cluster)
    }

    /// What is stored of that which others name, but for what nobody can delete.
    pub(super) fn named(&self) -> impl Iterator<Item = Key> {
        let tiers = self.tiers.iter().filter(|tier| !is_built_in(tier));
        let tiers = tiers.map(|name| Key::cluster(Kind::Tier, name));
        tiers.chain(self.filters.iter().map(|name| Key::cluster(Kind::BgpFilter, name)))
    }

    /// Asks every rule of every resource; gives all that do not hold.
    pub(super) fn check(mut self, written: &[&Resource]) -> Vec<Broken> {
        for resource in written {
            self.unreadable.remove(&resource.key());
            let name = resource.name().to_owned();
            match resource {
                Resource::Tier(_) => {
                    self.tiers.insert(name);
                }
                Resource::BgpFilter(_) => {
                    self.filters.insert(name);
                }
                _ => {}
            }
        }
        let mut broken = Vec::new();
        for (at, resource) in written.iter().enumerate() {
            let key = resource.key();
            let faults = self.faults(resource).into_iter();
            broken.extend(faults.map(|(path, fault)| Broken::rule(&key, path, fault).at(at)));
        }
        broken
    }

    /// What is wrong with one, by field.
    fn faults(&mut self, resource: &Resource) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if let Some(tier) = tier(resource)
            && !self.tiers.contains(tier)
        {
            let fault = format!("names tier {tier:?} in spec.tier, which does not exist");
            faults.push(("spec.tier", fault));
        }
        match resource {
            Resource::BgpPeer(peer) => {
                let missing = peer.spec.filters.iter().filter(|name| !self.filters.contains(*name));
                faults.extend(missing.map(|name| {
                    let fault =
                        format!("names BGPFilter {name:?} in spec.filters, which does not exist");
                    ("spec.filters", fault)
                }));
            }
            Resource::IpPool(pool) => {
                faults.extend(self.pool_faults(pool));
                self.pools.insert(pool.name().to_owned(), pool.spec.cidr.net());
            }
            _ => {}
        }
        faults
    }

    /// Where a pool lies is fixed once it is there: then what is beside it is no fault of what changes
    /// it, and one that overlaps can still be disabled.
    fn pool_faults(&self, pool: &IpPool) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if self.pools.contains_key(pool.name()) {
            return faults;
        }
        if let Some(unreadable) = self.unreadable.first() {
            let fault = format!(
                "may overlap with {unreadable}, which is in the datastore and cannot be read; \
                 delete that one first"
            );
            faults.push(("spec.cidr", fault));
        }
        let cidr = pool.spec.cidr.net();
        let other = self.pools.iter().find(|(name, other)| {
            name.as_str() != pool.name() && (other.contains(&cidr) || cidr.contains(*other))
        });
        if let Some((name, other)) = other {
            let fault = format!("overlaps in spec.cidr with {other} of the pool {name:?}");
            faults.push(("spec.cidr", fault));
        }
        let size = pool.spec.block_size();
        let block = self.blocks.iter().find(|block| {
            (cidr.contains(*block) || block.contains(&cidr)) && block.prefix_len() != size
        });
        if let Some(block) = block {
            let fault = format!(
                "has blocks of /{size} in spec.blockSize, but {block} is in its range already"
            );
            faults.push(("spec.blockSize", fault));
        }
        faults
    }
}

fn is_built_in(tier: &str) -> bool {
    BUILT_IN_TIERS.iter().any(|(name, ..)| *name == tier)
}

/// The tier of a policy.
pub(super) fn tier(resource: &Resource) -> Option<&str> {
    let tier = match resource {
        Resource::NetworkPolicy(policy) => policy.spec.tier.as_deref(),
        Resource::GlobalNetworkPolicy(policy) => policy.spec.tier.as_deref(),
        Resource::StagedNetworkPolicy(policy) => policy.spec.tier.as_deref(),
        Resource::StagedGlobalNetworkPolicy(policy) => policy.spec.tier.as_deref(),
        _ => return None,
    };
    Some(tier.unwrap_or("default"))
}

/// What a resource names, and what has to be there when it is written.
pub(super) fn named(resource: &Resource) -> Vec<Key> {
    match resource {
        Resource::BgpPeer(peer) => {
            peer.spec.filters.iter().map(|name| Key::cluster(Kind::BgpFilter, name)).collect()
        }
        other => tier(other).map(|name| Key::cluster(Kind::Tier, name)).into_iter().collect(),
    }
}

/// What a resource changes of the fields that are fixed once written.
pub(super) fn fixed(before: &Resource, after: &Resource) -> Vec<Broken> {
    let (Resource::IpPool(before), Resource::IpPool(new)) = (before, after) else {
        return Vec::new();
    };
    let key = after.key();
    let mut broken = Vec::new();
    let mut fixed = |path, fault: String| {
        broken.push(Broken::rule(&key, path, fault));
    };
    let (old_cidr, cidr) = (before.spec.cidr.net(), new.spec.cidr.net());
    if old_cidr != cidr {
        let fault =
            format!("has {cidr} in spec.cidr, which is fixed: it was created with {old_cidr}");
        fixed("spec.cidr", fault);
    }
    let (old_size, size) = (before.spec.block_size(), new.spec.block_size());
    if old_size != size {
        let fault =
            format!("has {size} in spec.blockSize, which is fixed: it was created with {old_size}");
        fixed("spec.blockSize", fault);
    }
    use margay_model::kinds::AllowedUse::LoadBalancer;
    if before.spec.allows(LoadBalancer) && !new.spec.allows(LoadBalancer) {
        let fault = "drops LoadBalancer from spec.allowedUses, which is fixed: create another pool";
        fixed("spec.allowedUses", fault.to_owned());
    }
    broken
}

/// Whether a resource may be deleted, and what has to hold when it is.
///
/// # Errors
/// What still needs it.
pub(super) async fn may_go(store: &dyn Store, key: &Key) -> Result<Vec<Compare>, ResourceError> {
    let Some(name) = key.resource() else { return Ok(Vec::new()) };
    match name.kind {
        Kind::BlockAffinity => {
            let cause = "is a view of IPAM blocks and is not deleted";
            Err(ResourceError::forbidden(key, cause))
        }
        Kind::Tier if is_built_in(&name.name) => {
            Err(ResourceError::forbidden(key, "it always exists"))
        }
        Kind::Tier => {
            let policies = guards::seen(store, Guard::Tiers).await?;
            for kind in Kind::TIERED {
                let (entries, _) = list_all(store, &Area::Kind(*kind, None)).await?;
                let policy = entries.iter().find(|entry| {
                    let policy = Resource::decode(&entry.value.value);
                    // One that cannot be read may be in any tier.
                    policy.map_or(true, |policy| tier(&policy) == Some(name.name.as_str()))
                });
                if let Some(policy) = policy {
                    let cause = format!("the tier is not empty: {} is in it", policy.key);
                    return Err(ResourceError::forbidden(key, cause));
                }
            }
            Ok(vec![guards::compare(Guard::Tiers, policies)])
        }
        _ => Ok(Vec::new()),
    }
}

/// What goes with a resource, one transaction each: of a Node all that is about this node alone. Endpoints
/// of its workloads stay while its daemon lives, for then they do.
pub(super) async fn go_with(store: &dyn Store, key: &Key) -> Result<Vec<Txn>, ResourceError> {
    let Some(name) = key.resource().filter(|name| name.kind == Kind::Node) else {
        return Ok(Vec::new());
    };
    let lease = Key::NodeLease(name.name.clone());
    let is_dead = store.get(&lease).await?.is_none();
    let mut all = Vec::new();
    for kind in OF_NODES {
        let (entries, _) = list_all(store, &Area::Kind(*kind, None)).await?;
        for entry in entries {
            let own = format!("node.{}", name.name);
            let is_own = matches!(&entry.key, Key::Resource(key) if key.name == own);
            let of = match Resource::decode(&entry.value.value) {
                Ok(Resource::BgpPeer(peer)) => peer.spec.node,
                Ok(Resource::HostEndpoint(endpoint)) => endpoint.spec.node,
                Ok(Resource::WorkloadEndpoint(endpoint)) if is_dead => endpoint.spec.node,
                Ok(Resource::BgpConfiguration(_) | Resource::FelixConfiguration(_)) if is_own => {
                    Some(name.name.clone())
                }
                // What nobody can read is nobody's.
                Ok(_) | Err(_) => None,
            };
            if of.as_deref() == Some(name.name.as_str()) {
                let mut txn = Txn::delete(entry.key, entry.value.revision);
                if *kind == Kind::WorkloadEndpoint {
                    txn.compares.push(Compare { key: lease.clone(), expect: Expect::Absent });
                }
                all.push(txn);
            }
        }
    }
    Ok(all)
}

/// Kinds that may be about one node alone.
const OF_NODES: &[Kind] = &[
    Kind::BgpPeer,
    Kind::BgpConfiguration,
    Kind::FelixConfiguration,
    Kind::HostEndpoint,
    Kind::WorkloadEndpoint,
];

async fn names(store: &dyn Store, kind: Kind) -> Result<BTreeSet<String>, ResourceError> {
    let (entries, _) = list_all(store, &Area::Kind(kind, None)).await?;
    let name = |key: &Key| key.resource().map(|key| key.name.clone());
    Ok(entries.iter().filter_map(|entry| name(&entry.key)).collect())
}
