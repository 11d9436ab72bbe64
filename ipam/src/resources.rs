//! What the planner needs, out of `projectcalico.org/v3` resources.
//!
//! Owns the reading of `IPPool`, `IPReservation` and `IPAMConfiguration`: defaults, selectors
//! evaluated for one node and one namespace. Leaves to others where the resources and labels come
//! from.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use margay_model::{
    Selector,
    kinds::{
        AllowedUse, AssignmentMode as Mode, ConditionStatus, IpPool, IpReservation,
        IpamConfiguration,
    },
};

use crate::pool::{AssignmentMode, Pool, Pools, Reservations, Settings, Use};

/// Labels by name.
pub type Labels = BTreeMap<String, String>;

/// The pools as they are for a node with these labels.
pub fn pools<'a>(all: impl IntoIterator<Item = &'a IpPool>, node: &Labels) -> Pools {
    Pools::new(all.into_iter().map(|pool| self::pool(pool, node)))
}

/// One pool as it is for a node with these labels.
///
/// A pool that is being deleted, or that the pool controller declared not allocatable, is disabled.
pub fn pool(pool: &IpPool, node: &Labels) -> Pool {
    let spec = &pool.spec;
    let uses = [
        (AllowedUse::Workload, Use::Workload),
        (AllowedUse::Tunnel, Use::Tunnel),
        (AllowedUse::LoadBalancer, Use::LoadBalancer),
    ];
    let ending = pool.metadata.deletion_timestamp.is_some();
    Pool {
        name: pool.name().to_owned(),
        cidr: spec.cidr.net().trunc(),
        block_size: spec.block_size(),
        disabled: spec.disabled == Some(true) || ending || !is_allocatable(pool),
        mode: match spec.assignment_mode {
            Some(Mode::Manual) => AssignmentMode::Manual,
            Some(Mode::Automatic) | None => AssignmentMode::Automatic,
        },
        uses: uses.into_iter().filter(|(v3, _)| spec.allows(*v3)).map(|(_, use_)| use_).collect(),
        selects_node: selects(spec.node_selector.as_ref(), node),
    }
}

/// The names of the pools that a namespace with these labels may not use; what is in no namespace
/// has no labels.
pub fn not_for_namespace<'a>(
    all: impl IntoIterator<Item = &'a IpPool>,
    namespace: &Labels,
) -> BTreeSet<String> {
    all.into_iter()
        .filter(|pool| !selects(pool.spec.namespace_selector.as_ref(), namespace))
        .map(|pool| pool.name().to_owned())
        .collect()
}

/// All reservations together.
pub fn reservations<'a>(all: impl IntoIterator<Item = &'a IpReservation>) -> Reservations {
    Reservations::new(
        all.into_iter()
            .flat_map(|reservation| &reservation.spec.reserved_cidrs)
            .map(margay_model::Cidr::net),
    )
}

/// The settings; those of a cluster without an `IPAMConfiguration` are the defaults.
pub fn settings(configuration: Option<&IpamConfiguration>) -> Settings {
    let defaults = Settings::default();
    let Some(spec) = configuration.map(|configuration| &configuration.spec) else {
        return defaults;
    };
    let cooldown = spec.ip_cooldown_seconds.map(|seconds| Duration::from_secs(seconds.into()));
    Settings {
        strict_affinity: spec.strict_affinity.unwrap_or(defaults.strict_affinity),
        auto_allocate_blocks: spec.auto_allocate_blocks.unwrap_or(defaults.auto_allocate_blocks),
        max_blocks_per_host: spec.max_blocks_per_host.unwrap_or(defaults.max_blocks_per_host),
        cooldown: cooldown.unwrap_or(defaults.cooldown),
    }
}

/// Whether no condition says that nothing may be taken from it.
fn is_allocatable(pool: &IpPool) -> bool {
    let conditions = pool.status.iter().flat_map(|status| &status.conditions);
    let mut allocatable = conditions.filter(|condition| condition.kind == "Allocatable");
    allocatable.all(|condition| condition.status != ConditionStatus::False)
}

/// No selector selects everything.
fn selects(selector: Option<&Selector>, labels: &Labels) -> bool {
    selector.is_none_or(|selector| selector.matches(labels))
}

#[cfg(test)]
mod tests;
