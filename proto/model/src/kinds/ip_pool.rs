//! `IPPool`: a range that addresses of workloads come from.

use ipnet::IpNet;

use crate::{
    object::Object,
    scalar::Cidr,
    selector::{self, Selector},
    wire::{At, rules},
};

use super::Conditions;

choice! {
    /// When packets to other nodes are encapsulated.
    pub enum EncapMode {
        /// Never.
        Never = "Never",
        /// Always.
        Always = "Always",
        /// Only between nodes of different subnets.
        CrossSubnet = "CrossSubnet",
    }
}

choice! {
    /// What addresses of a pool are for.
    pub enum AllowedUse {
        /// Workloads.
        Workload = "Workload",
        /// Tunnel devices of nodes.
        Tunnel = "Tunnel",
        /// Services of type LoadBalancer.
        LoadBalancer = "LoadBalancer",
    }
}

choice! {
    /// Whether addresses are taken from a pool nobody asked for by name.
    pub enum AssignmentMode {
        /// They are.
        Automatic = "Automatic",
        /// Only on explicit request.
        Manual = "Manual",
    }
}

record! {
    /// The spec of an `IPPool`.
    pub struct IpPoolSpec {
        /// The range, without host bits. Fixed once written; pools do not overlap.
        cidr: Cidr = "cidr" => rules::both(crate::scalar::with_length, crate::scalar::masked),
        /// How addresses travel between nodes: VXLAN. `Never` if absent.
        vxlan_mode: Option<EncapMode> = "vxlanMode",
        /// How addresses travel between nodes: IP in IP, IPv4 only. `Never` if absent.
        ipip_mode: Option<EncapMode> = "ipipMode",
        /// Whether traffic that leaves all pools is masqueraded.
        nat_outgoing: Option<bool> = "natOutgoing",
        /// Whether nothing new is taken from it; routes and NAT stay.
        disabled: Option<bool> = "disabled",
        /// Whether its routes are kept from all BGP peers.
        disable_bgp_export: Option<bool> = "disableBGPExport",
        /// The prefix length of a block: 26 or 122 if absent. Fixed once written.
        block_size: Option<u8> = "blockSize",
        /// The nodes that may take blocks of it; all if absent.
        node_selector: Option<Selector> = "nodeSelector" => selector::plain,
        /// The namespaces whose workloads may take addresses of it; all if absent.
        namespace_selector: Option<Selector> = "namespaceSelector" => selector::plain,
        /// What it is for; workloads and tunnels if absent.
        allowed_uses: Option<Vec<AllowedUse>> = "allowedUses"
            => rules::both(rules::items(10), rules::unique),
        /// Whether it must be asked for by name; `Automatic` if absent.
        assignment_mode: Option<AssignmentMode> = "assignmentMode",
    }
    removed ["ipip", "nat-outgoing"]
    check Self::check
}

spec!(IpPoolSpec, IpPool, status Conditions, defaults defaults);

/// An `IPPool`.
pub type IpPool = Object<IpPoolSpec>;

impl IpPoolSpec {
    /// A pool of this range, with nothing else said.
    pub fn new(cidr: IpNet) -> Self {
        Self {
            cidr: cidr.trunc().into(),
            vxlan_mode: None,
            ipip_mode: None,
            nat_outgoing: None,
            disabled: None,
            disable_bgp_export: None,
            block_size: None,
            node_selector: None,
            namespace_selector: None,
            allowed_uses: None,
            assignment_mode: None,
        }
    }

    /// The prefix length of its blocks.
    pub fn block_size(&self) -> u8 {
        self.block_size.unwrap_or(match self.cidr.net() {
            IpNet::V4(_) => 26,
            IpNet::V6(_) => 122,
        })
    }

    /// Whether its addresses may be used so.
    pub fn allows(&self, what: AllowedUse) -> bool {
        match &self.allowed_uses {
            Some(uses) if !uses.is_empty() => uses.contains(&what),
            _ => what != AllowedUse::LoadBalancer,
        }
    }

    fn check(&self, at: &mut At<'_, '_>) {
        let cidr = self.cidr.net();
        let v4 = matches!(cidr, IpNet::V4(_));
        let sizes = if v4 { 20..=32 } else { 116..=128 };
        let size = self.block_size();
        if !sizes.contains(&size) {
            at.refuse("blockSize", format!("{} to {}", sizes.start(), sizes.end()));
        } else if cidr.prefix_len() > size && self.disabled != Some(true) {
            at.refuse("cidr", format!("a range that holds a block of /{size}"));
        }
        for reserved in ["169.254.0.0/16", "fe80::/10"] {
            let reserved: IpNet = reserved.parse().expect("a constant");
            if reserved.contains(&cidr) || cidr.contains(&reserved) {
                at.refuse("cidr", format!("a range apart from the link-local {reserved}"));
            }
        }
        let on = |mode: Option<EncapMode>| mode.is_some_and(|mode| mode != EncapMode::Never);
        if on(self.ipip_mode) && !v4 {
            at.refuse("ipipMode", "Never: there is no IP in IP for IPv6");
        }
        if on(self.ipip_mode) && on(self.vxlan_mode) {
            at.refuse("vxlanMode", "Never, as ipipMode is set: one encapsulation only");
        }
        self.check_uses(at, on(self.ipip_mode), on(self.vxlan_mode));
    }

    fn check_uses(&self, at: &mut At<'_, '_>, ipip: bool, vxlan: bool) {
        if self.namespace_selector.is_some()
            && self.allowed_uses.is_some()
            && self.allows(AllowedUse::Tunnel)
        {
            at.refuse("namespaceSelector", "no selector: tunnels are in no namespace");
        }
        if !self.allows(AllowedUse::LoadBalancer) {
            return;
        }
        if self.allows(AllowedUse::Workload) || self.allows(AllowedUse::Tunnel) {
            at.refuse("allowedUses", "LoadBalancer alone, or without it");
        }
        if ipip {
            at.refuse("ipipMode", "Never: addresses of load balancers are not encapsulated");
        }
        if vxlan {
            at.refuse("vxlanMode", "Never: addresses of load balancers are not encapsulated");
        }
        if self.disable_bgp_export == Some(true) {
            at.refuse("disableBGPExport", "false: addresses of load balancers are advertised");
        }
        if self.node_selector.as_ref().is_some_and(|selector| selector.as_str() != "all()") {
            at.refuse("nodeSelector", "all(): load balancers belong to no node");
        }
    }
}

fn defaults(pool: &mut IpPool) {
    let spec = &mut pool.spec;
    spec.cidr = spec.cidr.net().trunc().into();
    spec.block_size = Some(spec.block_size());
    spec.ipip_mode.get_or_insert(EncapMode::Never);
    spec.vxlan_mode.get_or_insert(EncapMode::Never);
    spec.assignment_mode.get_or_insert(AssignmentMode::Automatic);
    let everything = || selector::Expression::All.into();
    spec.node_selector.get_or_insert_with(everything);
    if spec.allowed_uses.as_ref().is_none_or(Vec::is_empty) {
        let mut uses = vec![AllowedUse::Workload];
        // A pool of some namespaces only is no place for tunnels.
        if spec.namespace_selector.is_none() {
            uses.push(AllowedUse::Tunnel);
        }
        spec.allowed_uses = Some(uses);
    }
}
