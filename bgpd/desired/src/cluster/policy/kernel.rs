//! What goes to the kernel.

use std::collections::BTreeSet;

use bgp_core::policy::{
    RouteSource, RuleAction,
    definition::{MatchDefinition, RuleDefinition},
};
use margay_model::kinds::{EncapMode, IpPool, ProgramClusterRoutes};

use super::{Context, Remark, inside, pattern_exactly, rule, services};

pub(super) fn rules(
    context: &Context<'_>,
    rules: &mut Vec<RuleDefinition>,
    remarks: &mut BTreeSet<Remark>,
) {
    for range in services::Ranges::of(context).all() {
        rules.push(rule(format!("service range {range}"), inside(range), RuleAction::Reject));
    }
    let start = rules.len();
    for pool in context.sorted_pools() {
        pool_rules(context, pool, rules, remarks);
    }
    if rules.len() == start {
        return;
    }
    let own = context.blocks.iter().map(|block| {
        let matches = MatchDefinition {
            prefix: Some(vec![pattern_exactly(*block)]),
            source: Some(vec![RouteSource::Originate]),
            ..MatchDefinition::default()
        };
        rule(format!("own block {block}"), matches, RuleAction::Accept)
    });
    rules.splice(start..start, own);
}

/// Nothing for a pool whose routes go to the kernel as they are.
fn pool_rules(
    context: &Context<'_>,
    pool: &IpPool,
    rules: &mut Vec<RuleDefinition>,
    remarks: &mut BTreeSet<Remark>,
) {
    use ProgramClusterRoutes::{Disabled, EnabledIpipOnly, EnabledNoEncapOnly};
    let within = || inside(pool.spec.cidr.net());
    let mut reject = |why: &str| {
        rules.push(rule(format!("pool {}: {why}", pool.name()), within(), RuleAction::Reject));
    };
    let mut remark = |mode, what| {
        remarks.insert(Remark::Tunnel { pool: pool.name().to_owned(), mode, what });
    };
    let nothing = "its routes do not reach";
    let vxlan = pool.spec.vxlan_mode.unwrap_or(EncapMode::Never);
    let ipip = pool.spec.ipip_mode.unwrap_or(EncapMode::Never);
    match (vxlan, ipip, context.programs()) {
        (EncapMode::Always | EncapMode::CrossSubnet, ..) => {
            reject("vxlanMode");
            remark("vxlanMode", nothing);
        }
        (_, EncapMode::Never, Disabled | EnabledIpipOnly)
        | (_, EncapMode::Always | EncapMode::CrossSubnet, Disabled | EnabledNoEncapOnly) => {
            reject("programClusterRoutes");
        }
        (_, EncapMode::Never, _) => {}
        (_, EncapMode::Always, _) => {
            reject("ipipMode");
            remark("ipipMode Always", nothing);
        }
        (_, EncapMode::CrossSubnet, _) => {
            remark("ipipMode CrossSubnet", "its routes over other subnets do not reach");
            if let Some(subnet) = context.subnet {
                let matches = MatchDefinition { next_hop: Some(vec![subnet.trunc()]), ..within() };
                let name = format!("pool {}: same subnet", pool.name());
                rules.push(rule(name, matches, RuleAction::Accept));
            }
            let name = format!("pool {}: ipipMode", pool.name());
            rules.push(rule(name, within(), RuleAction::Reject));
        }
    }
}
