//! `IPAMConfiguration`: how blocks and addresses are given out. One object, named `default`.

use crate::{
    object::Object,
    wire::{At, rules},
};

choice! {
    /// Whether something is on.
    pub enum Switch {
        /// On.
        Enabled = "Enabled",
        /// Off.
        Disabled = "Disabled",
    }
}

record! {
    /// The spec of an `IPAMConfiguration`.
    #[derive(Default)]
    pub struct IpamConfigurationSpec {
        /// Whether nodes take addresses from their own blocks only.
        strict_affinity: Option<bool> = "strictAffinity",
        /// How many blocks a node may own; 0 is no limit.
        max_blocks_per_host: Option<u32> = "maxBlocksPerHost" => rules::within(0u32..=1_000_000),
        /// Whether nodes claim blocks as they need them.
        auto_allocate_blocks: Option<bool> = "autoAllocateBlocks",
        /// Whether a virtual machine keeps its address over restarts.
        kube_virt_vm_address_persistence: Option<Switch> = "kubeVirtVMAddressPersistence",
        /// How long a released address rests, in seconds.
        ip_cooldown_seconds: Option<u32> = "ipCooldownSeconds" => rules::within(0u32..=1200),
    }
    check Self::check
}

spec!(IpamConfigurationSpec, IpamConfiguration, defaults defaults);

/// An `IPAMConfiguration`.
pub type IpamConfiguration = Object<IpamConfigurationSpec>;

impl IpamConfigurationSpec {
    fn check(&self, at: &mut At<'_, '_>) {
        if self.auto_allocate_blocks == Some(false) && self.strict_affinity != Some(true) {
            at.refuse("autoAllocateBlocks", "true unless strictAffinity is true");
        }
    }
}

fn defaults(config: &mut IpamConfiguration) {
    let spec = &mut config.spec;
    spec.strict_affinity.get_or_insert(false);
    spec.max_blocks_per_host.get_or_insert(0);
    spec.auto_allocate_blocks.get_or_insert(true);
}
