//! What the sessions of a cluster take and tell: everything in, pools out.

use std::{collections::BTreeSet, sync::Arc};

use bgp_core::policy::{
    Definition, PrefixPattern, RoutePolicy, RuleAction, Sets,
    definition::{Default as DefaultAction, MatchDefinition, RuleDefinition, SetDefinition},
};
use ipnet::IpNet;

use super::{resources::Resources, session::Policies};

/// Own blocks as a whole, what else lies in pools that may be told, nothing more.
pub(super) fn policies(resources: &Resources, blocks: &BTreeSet<IpNet>) -> Policies {
    let mut rules = Vec::new();
    let mut rule = |name: String, prefix: Option<PrefixPattern>, action| {
        let Some(prefix) = prefix else { return };
        let matches = MatchDefinition { prefix: Some(vec![prefix]), ..MatchDefinition::default() };
        let set = SetDefinition::default();
        rules.push(RuleDefinition { name: Some(name), matches, set, action });
    };
    for (name, pool) in resources.pools().filter(|(_, p)| p.disable_bgp_export == Some(true)) {
        let name = format!("pool {name} is not exported");
        rule(name, inside(pool.cidr.net()), RuleAction::Reject);
    }
    for block in blocks {
        rule(format!("own block {block}"), exactly(*block), RuleAction::Accept);
        rule(format!("in own block {block}"), inside(*block), RuleAction::Reject);
    }
    for (name, pool) in resources.pools() {
        rule(format!("pool {name}"), inside(pool.cidr.net()), RuleAction::Accept);
    }
    let definition =
        Definition { name: "cluster-export".to_owned(), default: DefaultAction::Reject, rules };
    let export = RoutePolicy::compile(definition, &Sets::default());
    Policies {
        import: Arc::new(RoutePolicy::accept()),
        // It names no set, so it compiles.
        export: Arc::new(export.unwrap_or_else(|_| RoutePolicy::reject())),
    }
}

fn exactly(net: IpNet) -> Option<PrefixPattern> {
    net.trunc().to_string().parse().ok()
}

fn inside(net: IpNet) -> Option<PrefixPattern> {
    format!("{} le {}", net.trunc(), net.max_prefix_len()).parse().ok()
}
