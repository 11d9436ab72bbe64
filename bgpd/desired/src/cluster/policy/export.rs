//! The built-in part of export.

use std::collections::BTreeSet;

use bgp_core::policy::{
    RouteSource, RuleAction,
    definition::{
        CommunityItem, MatchDefinition, NextHopSetting, Range, RuleDefinition, SetDefinition,
    },
};
use bgp_packet::Family;
use ipnet::IpNet;
use margay_model::kinds::{
    BgpConfiguration, IpPool, PeerType, PrefixAdvertisement, ProgramClusterRoutes,
};

use super::{
    Context, MAX_PRIORITY, Remark, all_inside, filter, inside, interfaces, pattern_exactly,
    pattern_inside, rule, services,
};

/// Step 1: what says in other nodes' kernels that a route of ours is a usual one.
pub(super) fn own_priority(context: &Context<'_>, rules: &mut Vec<RuleDefinition>) {
    let [v4, v6] = context.normal_priorities();
    let mut add = |family: Option<Family>, priority: u32| {
        let matches = MatchDefinition {
            family: family.map(|family| vec![family]),
            source: Some(vec![
                RouteSource::Originate,
                RouteSource::Connected,
                RouteSource::Static,
                RouteSource::Kernel,
            ]),
            ..MatchDefinition::default()
        };
        let set =
            SetDefinition { local_pref: Some(MAX_PRIORITY - priority), ..SetDefinition::default() };
        let name = Some("priority of own routes".to_owned());
        rules.push(RuleDefinition { name, matches, set, action: RuleAction::Next });
    };
    if v4 == v6 {
        add(None, v4);
    } else {
        add(Some(Family::IPV4_UNICAST), v4);
        add(Some(Family::IPV6_UNICAST), v6);
    }
}

/// Towards other nodes: what a workload told leads through this node. They have a route to its block
/// only, if at all, and next hops behind routes of BGP are not for every one of them.
pub(super) fn next_hop_of_workloads(context: &Context<'_>, rules: &mut Vec<RuleDefinition>) {
    let matches = MatchDefinition {
        next_hop: Some(context.workloads.iter().copied().collect()),
        ..MatchDefinition::default()
    };
    let set =
        SetDefinition { next_hop: Some(NextHopSetting::SelfAddress), ..SetDefinition::default() };
    let name = Some("next hop is a workload".to_owned());
    rules.push(RuleDefinition { name, matches, set, action: RuleAction::Next });
}

/// Steps 3 to 10; the default is the last.
pub(super) fn built_in(
    context: &Context<'_>,
    peer: PeerType,
    rules: &mut Vec<RuleDefinition>,
    remarks: &mut BTreeSet<Remark>,
) {
    let pools = context.sorted_pools();
    let ranges = services::Ranges::of(context);
    let routes = services::originated(context);
    let reflected = |range: &BTreeSet<IpNet>| {
        if context.reflector { range.clone() } else { BTreeSet::new() }
    };
    let (load_balancer, external) = (reflected(&ranges.load_balancer), reflected(&ranges.external));

    let pool_nets: Vec<IpNet> = pools.iter().map(|pool| pool.spec.cidr.net().trunc()).collect();
    let known: BTreeSet<IpNet> = pool_nets
        .iter()
        .chain(&context.blocks)
        .chain(&routes)
        .chain(&load_balancer)
        .chain(&external)
        .copied()
        .collect();
    if !known.is_empty() {
        let elsewhere = MatchDefinition {
            not_prefix: Some(known.into_iter().map(pattern_inside).collect()),
            ..MatchDefinition::default()
        };
        let name = "outside pools, own blocks and services".to_owned();
        rules.push(rule(name, elsewhere, RuleAction::Reject));
    }

    let (hidden, open): (Vec<&IpPool>, Vec<&IpPool>) =
        pools.into_iter().partition(|pool| pool.spec.disable_bgp_export == Some(true));
    for pool in hidden {
        let name = format!("pool {}: disableBGPExport", pool.name());
        rules.push(rule(name, inside(pool.spec.cidr.net()), RuleAction::Reject));
    }

    if peer == PeerType::Ibgp {
        let mut tunnels = vec!["*.cali", "*.calico"];
        let by_bgp = [ProgramClusterRoutes::Enabled, ProgramClusterRoutes::EnabledIpipOnly];
        if !by_bgp.contains(&context.programs()) {
            tunnels.push("tunl0");
        }
        let name = "tunnel device, internal peer".to_owned();
        rules.push(rule(name, interfaces(&tunnels), RuleAction::Reject));
    }
    rules.push(rule("bpf device".to_owned(), interfaces(&["bpf*.cali"]), RuleAction::Reject));

    communities(context, rules, remarks);

    for block in &context.blocks {
        own_block(context, *block, rules);
    }

    let accept = |label: &str, nets: &BTreeSet<IpNet>, rules: &mut Vec<RuleDefinition>| {
        for net in nets {
            rules.push(rule(format!("{label} {net}"), inside(*net), RuleAction::Accept));
        }
    };
    let (single, whole): (BTreeSet<IpNet>, BTreeSet<IpNet>) =
        routes.into_iter().partition(|net| context.services.contains(net));
    accept("service range", &whole, rules);
    if !single.is_empty() {
        // Many, and all for the same reason.
        rules.push(rule("service address".to_owned(), all_inside(single), RuleAction::Accept));
    }
    accept("reflector: load balancer range", &load_balancer, rules);
    accept("reflector: external range", &external, rules);

    for pool in open {
        let name = format!("pool {}", pool.name());
        rules.push(rule(name, inside(pool.spec.cidr.net()), RuleAction::Accept));
    }
}

/// Step 6. The node's own list replaces the cluster's whole.
fn communities(
    context: &Context<'_>,
    rules: &mut Vec<RuleDefinition>,
    remarks: &mut BTreeSet<Remark>,
) {
    let says =
        |configuration: &&BgpConfiguration| !configuration.spec.prefix_advertisements.is_empty();
    let Some(configuration) = context.node_configuration.filter(says).or(context.configuration)
    else {
        return;
    };
    for advertisement in &configuration.spec.prefix_advertisements {
        let cidr = advertisement.cidr.net().trunc();
        let add = resolved(configuration, advertisement, cidr, remarks);
        if add.is_empty() {
            continue;
        }
        let set = SetDefinition { add_communities: add, ..SetDefinition::default() };
        let name = Some(format!("prefix advertisement {cidr}"));
        let matches = inside(cidr);
        rules.push(RuleDefinition { name, matches, set, action: RuleAction::Next });
    }
}

/// The communities of an advertisement: values, and names of the same object.
fn resolved(
    configuration: &BgpConfiguration,
    advertisement: &PrefixAdvertisement,
    cidr: IpNet,
    remarks: &mut BTreeSet<Remark>,
) -> Vec<CommunityItem> {
    let mut out = Vec::new();
    for text in &advertisement.communities {
        let named = configuration.spec.communities.iter().find(|known| known.name == *text);
        match filter::community(named.map_or(text, |known| &known.value)) {
            Ok(value) => out.push(CommunityItem::Pattern(value)),
            Err(_) => {
                remarks.insert(Remark::Community {
                    configuration: configuration.name().to_owned(),
                    cidr,
                    community: text.clone(),
                });
            }
        }
    }
    out
}

/// Step 7.
fn own_block(context: &Context<'_>, block: IpNet, rules: &mut Vec<RuleDefinition>) {
    let exactly = MatchDefinition {
        prefix: Some(vec![pattern_exactly(block)]),
        ..MatchDefinition::default()
    };
    rules.push(rule(format!("own block {block}"), exactly, RuleAction::Accept));
    if block.prefix_len() == block.max_prefix_len() {
        return;
    }
    let above = context.normal_local_pref(&block) + 1;
    let elevated = MatchDefinition {
        local_pref: Some(vec![Range { ge: above, le: u32::MAX }]),
        ..inside(block)
    };
    rules.push(rule(format!("own block {block}: elevated"), elevated, RuleAction::Accept));
    rules.push(rule(format!("inside own block {block}"), inside(block), RuleAction::Reject));
}
