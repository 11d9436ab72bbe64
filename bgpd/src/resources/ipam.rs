//! Changes of resources that users make through IPAM: the `IPAMConfiguration`, a pool split.

use std::time::SystemTime;

use ipnet::IpNet;
use margay_datastore::{Outcome, list_all};
use margay_ipam::{
    Settings,
    resources::{self as pools, Labels},
    split::split,
};
use margay_model::{
    Actor, Area, Compare, Expect, Guard, Key, Kind, Resource, Txn, Write,
    kinds::{IpPool, IpamConfiguration, IpamConfigurationSpec},
};

use super::{ResourceError, Resources, TRIES, WriteMode, WriteOptions, guards};

/// Most parts of one split: they are made, and the pool goes, in one transaction.
const MOST_PARTS: u32 = 64;
/// The one `IPAMConfiguration`.
const CONFIGURATION: &str = "default";

/// Fields of the `IPAMConfiguration` to be set.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Configure {
    /// `strictAffinity`.
    pub(crate) strict_affinity: Option<bool>,
    /// `autoAllocateBlocks`.
    pub(crate) auto_allocate_blocks: Option<bool>,
    /// `maxBlocksPerHost`.
    pub(crate) max_blocks_per_host: Option<u32>,
    /// `ipCooldownSeconds`.
    pub(crate) ip_cooldown_seconds: Option<u32>,
}

impl Resources {
    /// Sets fields of the `IPAMConfiguration` and tells all settings as they are then.
    ///
    /// # Errors
    /// Settings that contradict each other, or the datastore.
    pub(crate) async fn configure_ipam(
        &self,
        set: Configure,
        actor: &Actor,
    ) -> Result<Settings, ResourceError> {
        let key = Key::cluster(Kind::IpamConfiguration, CONFIGURATION);
        for _ in 0..TRIES {
            let stored = self.store.get(&key).await?;
            let mut configuration = match &stored {
                None => IpamConfiguration::new(CONFIGURATION, IpamConfigurationSpec::default()),
                Some(stored) => match Resource::decode(&stored.value) {
                    Ok(Resource::IpamConfiguration(configuration)) => *configuration,
                    Ok(_) => return Err(ResourceError::NotOne),
                    Err(faults) => return Err(ResourceError::Unreadable { key, faults }),
                },
            };
            let spec = &mut configuration.spec;
            spec.strict_affinity = set.strict_affinity.or(spec.strict_affinity);
            spec.auto_allocate_blocks = set.auto_allocate_blocks.or(spec.auto_allocate_blocks);
            spec.max_blocks_per_host = set.max_blocks_per_host.or(spec.max_blocks_per_host);
            spec.ip_cooldown_seconds = set.ip_cooldown_seconds.or(spec.ip_cooldown_seconds);
            let settings = pools::settings(Some(&configuration));
            settings.validate().map_err(|error| ResourceError::Settings(error.to_string()))?;
            // Made by somebody meanwhile it is there with settings of theirs.
            let mode = if stored.is_some() { WriteMode::Apply } else { WriteMode::Create };
            configuration.metadata.resource_version =
                stored.map(|stored| stored.revision.0.to_string());
            let resource = Resource::IpamConfiguration(Box::new(configuration));
            let options = WriteOptions { mode, dry_run: false, now: SystemTime::now() };
            match self.write(vec![resource], &options, actor).await {
                Ok(_) => return Ok(settings),
                // Somebody else was faster: set the fields in what they wrote.
                Err(ResourceError::Changed(_) | ResourceError::AlreadyExists(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(ResourceError::Contended)
    }

    /// Puts equal parts in the place of a pool, named by its name or CIDR. Blocks stay.
    ///
    /// # Errors
    /// Parts that cannot be, a pool that does not exist, or the datastore; nothing has changed.
    pub(crate) async fn split_pool(
        &self,
        name_or_cidr: &str,
        parts: u32,
        now: SystemTime,
        actor: &Actor,
    ) -> Result<Vec<(String, IpNet)>, ResourceError> {
        for _ in 0..TRIES {
            if let Some(parts) = self.try_split(name_or_cidr, parts, now, actor).await? {
                return Ok(parts);
            }
        }
        Err(ResourceError::Contended)
    }

    /// The same; none if other pools were written meanwhile.
    async fn try_split(
        &self,
        name_or_cidr: &str,
        parts: u32,
        now: SystemTime,
        actor: &Actor,
    ) -> Result<Option<Vec<(String, IpNet)>>, ResourceError> {
        let others = guards::seen(self.store.as_ref(), Guard::Pools).await?;
        let (entries, _) = list_all(self.store.as_ref(), &Area::Kind(Kind::IpPool, None)).await?;
        let cidr: Option<IpNet> = name_or_cidr.parse().ok();
        let found =
            entries.into_iter().find_map(|entry| match Resource::decode(&entry.value.value) {
                Ok(Resource::IpPool(pool)) => {
                    let is_it = pool.name() == name_or_cidr || cidr == Some(pool.spec.cidr.net());
                    is_it.then_some((*pool, entry.value.revision))
                }
                _ => None,
            });
        let (pool, revision) = found
            .ok_or_else(|| ResourceError::NotFound(Key::cluster(Kind::IpPool, name_or_cidr)))?;
        let cut = split(&pools::pool(&pool, &Labels::new()), parts)
            .map_err(|error| ResourceError::Split(error.to_string()))?;
        if parts > MOST_PARTS {
            return Err(ResourceError::Split(format!(
                "{parts} parts are more than {MOST_PARTS}, the most one split makes\nhelp: split it \
                 into {MOST_PARTS}, then split these"
            )));
        }
        let mut txn = Txn {
            compares: vec![
                Compare { key: pool.key(), expect: Expect::At(revision) },
                guards::compare(Guard::Pools, others),
            ],
            writes: vec![Write::Delete { key: pool.key() }, guards::mark(Guard::Pools)],
        };
        for part in &cut {
            let resource =
                Resource::IpPool(Box::new(self::part(&pool, &part.name, part.cidr, now)));
            resource.check().map_err(|faults| {
                ResourceError::Split(format!(
                    "the part {:?} could not be: {faults}\nhelp: a pool with a shorter name can be split",
                    part.name
                ))
            })?;
            let (key, value) = (resource.key(), resource.encode());
            txn.compares.push(Compare { key: key.clone(), expect: Expect::Absent });
            txn.writes.push(Write::Put { key, value, index: Vec::new() });
        }
        match self.store.commit(txn, actor).await? {
            Outcome::Committed(_) => {
                Ok(Some(cut.into_iter().map(|part| (part.name, part.cidr)).collect()))
            }
            Outcome::Conflict(conflict) if conflict.compare.key.resource().is_none() => Ok(None),
            Outcome::Conflict(conflict) if conflict.compare.expect == Expect::Absent => {
                Err(ResourceError::AlreadyExists(conflict.compare.key))
            }
            Outcome::Conflict(conflict) => Err(ResourceError::Changed(conflict.compare.key)),
        }
    }
}

/// A part of a pool: like it in everything but its name and range.
fn part(pool: &IpPool, name: &str, cidr: IpNet, now: SystemTime) -> IpPool {
    let mut spec = pool.spec.clone();
    spec.cidr = cidr.into();
    let mut part = IpPool::new(name, spec);
    part.metadata.labels = pool.metadata.labels.clone();
    part.metadata.annotations = pool.metadata.annotations.clone();
    part.metadata.uid = Some(uuid::Uuid::new_v4().to_string());
    part.metadata.creation_timestamp = Some(humantime::format_rfc3339_seconds(now).to_string());
    part
}

#[cfg(test)]
mod tests;
