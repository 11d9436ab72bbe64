//! A naive evaluator, written from the description of Calico's own filters, rule by rule on the
//! resources as they are; compared with the policies on random clusters and routes.

use bgp_core::policy::CommunityValue;
use margay_model::{
    AsNumber,
    kinds::{
        AddCommunity, AllowedUse, BgpConfigurationSpec, BgpFilterSpec, EncapMode, FilterAction,
        FilterCommunities, FilterOperation, FilterRuleV4, IpPoolSpec, MatchOperator,
        NamedCommunity, PrefixAdvertisement, PrefixLengthV4, PrependAsPath, RouteSource as From,
        ServiceBlock, SetPriority, Switch,
    },
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;

const MAX: u32 = 2_147_483_647;

/// A route while it is judged.
#[derive(Debug, Clone, PartialEq)]
struct Naive {
    net: IpNet,
    learned: bool,
    originated: bool,
    interface: String,
    local_pref: Option<u32>,
    communities: Vec<String>,
    path: Vec<u32>,
    next_hop: std::net::IpAddr,
}

impl Naive {
    fn inside(&self, cidr: &IpNet) -> bool {
        cidr.contains(&self.net)
    }

    fn metric(&self, normal: u32) -> u32 {
        if self.learned || self.local_pref.is_some() {
            MAX.saturating_sub(self.local_pref.unwrap_or(100))
        } else {
            normal
        }
    }
}

fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => {
            let Some(rest) = text.strip_prefix(head) else { return false };
            (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| glob(tail, rest)))
        }
    }
}

fn net_of(cidr: &margay_model::Cidr) -> IpNet {
    cidr.net()
}

/// `None` where the rule makes no sense.
fn prefix_holds(rule: &FilterRuleV4, route: &Naive) -> Option<bool> {
    let Some(cidr) = rule.cidr.as_ref().map(net_of) else { return Some(true) };
    let range = rule.prefix_length.as_ref().map(|range| {
        let min = range.min.unwrap_or(0).max(cidr.prefix_len());
        (min, range.max.unwrap_or(32).min(32))
    });
    if range.is_some_and(|(min, max)| min > max) {
        return None;
    }
    let len = route.net.prefix_len();
    let in_range = range.is_none_or(|(min, max)| min <= len && len <= max);
    let equal = match range {
        None => route.net == cidr,
        Some(_) => route.net.addr() == cidr.addr() && in_range,
    };
    Some(match rule.match_operator? {
        MatchOperator::Equal => equal,
        MatchOperator::NotEqual => !equal,
        MatchOperator::In => route.inside(&cidr) && in_range,
        MatchOperator::NotIn => !(route.inside(&cidr) && in_range),
    })
}

fn holds(rule: &FilterRuleV4, route: &Naive, peer: PeerType, normal: u32) -> bool {
    let broken = |it: &FilterOperation| {
        it.prepend_as_path.as_ref().is_some_and(|it| it.prefix.contains(&AsNumber(0)))
    };
    if rule.operations.iter().any(broken) {
        return false;
    }
    let path: Vec<u32> = rule.as_path_prefix.iter().map(|asn| asn.0).collect();
    let known = |value: &String| {
        let value =
            if value.matches(':').count() == 2 { format!("large:{value}") } else { value.clone() };
        route.communities.contains(&value)
    };
    prefix_holds(rule, route) == Some(true)
        && (rule.source != Some(From::RemotePeers) || route.learned)
        && rule.interface.as_ref().is_none_or(|pattern| glob(pattern, &route.interface))
        && rule.peer_type.is_none_or(|wanted| wanted == peer)
        && rule.communities.as_ref().is_none_or(|it| it.values.iter().any(known))
        && route.path.starts_with(&path)
        && rule.priority.is_none_or(|priority| route.metric(normal) == priority)
}

fn operate(rule: &FilterRuleV4, route: &mut Naive) {
    for operation in &rule.operations {
        if let Some(add) = &operation.add_community {
            let value = &add.value;
            let large = value.matches(':').count() == 2;
            let value = if large { format!("large:{value}") } else { value.clone() };
            if !route.communities.contains(&value) {
                route.communities.push(value);
            }
        }
        if let Some(prepend) = &operation.prepend_as_path {
            for asn in prepend.prefix.iter().rev() {
                route.path.insert(0, asn.0);
            }
        }
        if let Some(priority) = &operation.set_priority {
            route.local_pref = Some(MAX - priority.value);
        }
    }
}

/// What the filters say; `None`: nothing.
fn filters(world: &World, way: Way, peer: PeerType, route: &mut Naive) -> Option<bool> {
    let normal = normal(world);
    for filter in &world.filters {
        let rules = match way {
            Way::Import => &filter.spec.import_v4,
            Way::Export => &filter.spec.export_v4,
        };
        if let Some(rule) = rules.iter().find(|rule| holds(rule, route, peer, normal)) {
            let accepted = rule.action == FilterAction::Accept;
            if accepted {
                operate(rule, route);
            }
            return Some(accepted);
        }
    }
    None
}

fn configuration(world: &World) -> BgpConfigurationSpec {
    world.configurations.first().map(|it| it.spec.clone()).unwrap_or_default()
}

fn normal(world: &World) -> u32 {
    configuration(world).ipv4_normal_route_priority.unwrap_or(1024)
}

fn cidrs(list: &[ServiceBlock]) -> Vec<IpNet> {
    list.iter().filter_map(|it| it.cidr.as_ref()).map(net_of).collect()
}

/// Steps 1 to 11.
fn export(world: &World, peer: PeerType, mut route: Naive) -> Option<Naive> {
    let spec = configuration(world);
    let normal = normal(world);
    // 1.
    let metric = if route.learned { route.metric(normal) } else { normal };
    if !route.learned {
        route.local_pref = Some(MAX - metric);
    }
    // 2.
    match filters(world, Way::Export, peer, &mut route) {
        Some(true) => return Some(route),
        Some(false) => return None,
        None => {}
    }
    // 3.
    let (hidden, open): (Vec<&IpPool>, Vec<&IpPool>) =
        world.pools.iter().partition(|pool| pool.spec.disable_bgp_export == Some(true));
    if hidden.iter().any(|pool| route.inside(&net_of(&pool.spec.cidr))) {
        return None;
    }
    // 4.
    let agent_has_ipip = matches!(
        spec.program_cluster_routes,
        Some(ProgramClusterRoutes::Disabled | ProgramClusterRoutes::EnabledNoEncapOnly)
    );
    if peer == PeerType::Ibgp {
        let device = route.interface.as_str();
        if device.ends_with(".cali") || device.ends_with(".calico") {
            return None;
        }
        if device == "tunl0" && agent_has_ipip {
            return None;
        }
    }
    // 5.
    if route.interface.starts_with("bpf") && route.interface.ends_with(".cali") {
        return None;
    }
    // 6.
    for advertisement in &spec.prefix_advertisements {
        if route.inside(&net_of(&advertisement.cidr)) {
            for community in &advertisement.communities {
                let named = spec.communities.iter().find(|it| it.name == *community);
                let value = named.map_or(community, |it| &it.value).clone();
                if !route.communities.contains(&value) {
                    route.communities.push(value);
                }
            }
        }
    }
    // 7.
    for block in world.blocks.iter().map(|block| net(block)) {
        if route.net == block {
            return Some(route);
        }
        if route.inside(&block) {
            return (metric < normal).then_some(route);
        }
    }
    // 8.
    let single = |net: &IpNet| net.prefix_len() == 32;
    let external = cidrs(&spec.service_external_ips);
    let balanced = cidrs(&spec.service_load_balancer_ips);
    let mut services = cidrs(&spec.service_cluster_ips);
    services.extend(external.iter().filter(|net| !single(net)));
    if spec.service_load_balancer_aggregation != Some(Switch::Disabled) {
        services.extend(balanced.iter().filter(|net| !single(net)));
    }
    services.extend(world.services.iter().map(|service| net(service)));
    if !world.excluded && services.iter().any(|net| route.inside(net)) {
        return Some(route);
    }
    // 9.
    if world.reflector && balanced.iter().chain(&external).any(|net| route.inside(net)) {
        return Some(route);
    }
    // 10 and 11.
    open.iter().any(|pool| route.inside(&net_of(&pool.spec.cidr))).then_some(route)
}

fn import(world: &World, peer: PeerType, mut route: Naive) -> Option<Naive> {
    (filters(world, Way::Import, peer, &mut route) != Some(false)).then_some(route)
}

/// With the deviations that the module names.
fn kernel(world: &World, route: &Naive) -> bool {
    let spec = configuration(world);
    let services = [
        cidrs(&spec.service_cluster_ips),
        cidrs(&spec.service_external_ips),
        cidrs(&spec.service_load_balancer_ips),
    ];
    if services.iter().flatten().any(|net| route.inside(net)) {
        return false;
    }
    if route.originated && world.blocks.iter().any(|block| net(block) == route.net) {
        return true;
    }
    let Some(pool) = world.pools.iter().find(|pool| route.inside(&net_of(&pool.spec.cidr))) else {
        return true;
    };
    let is = |mode: Option<EncapMode>| mode.unwrap_or(EncapMode::Never);
    let programs = spec.program_cluster_routes.unwrap_or(ProgramClusterRoutes::Enabled);
    if is(pool.spec.vxlan_mode) != EncapMode::Never {
        return false;
    }
    match is(pool.spec.ipip_mode) {
        EncapMode::Never => matches!(
            programs,
            ProgramClusterRoutes::Enabled | ProgramClusterRoutes::EnabledNoEncapOnly
        ),
        EncapMode::Always => false,
        EncapMode::CrossSubnet => {
            matches!(
                programs,
                ProgramClusterRoutes::Enabled | ProgramClusterRoutes::EnabledIpipOnly
            ) && world.subnet.is_some_and(|subnet| net(subnet).contains(&route.next_hop))
        }
    }
}

// --- Random clusters and routes ---

const BLOCKS: [&str; 4] = ["10.0.0.0/26", "10.0.1.64/26", "10.1.0.0/24", "10.2.2.2/32"];
const SERVICES: [&str; 3] = ["10.3.1.0/24", "10.3.2.2/32", "192.0.2.0/24"];
const COMMUNITIES: [&str; 3] = ["65001:1", "65001:2", "65001:1:2"];

/// Inside 10.0.0.0/8, near one another.
fn nets() -> impl Strategy<Value = IpNet> {
    let random = (
        0u8..4,
        0u8..3,
        select(vec![0u8, 1, 2, 64, 65]),
        select(vec![8u8, 14, 15, 16, 17, 24, 25, 26, 27, 32]),
    )
        .prop_map(|(b, c, d, len)| {
            IpNet::new(Ipv4Addr::new(10, b, c, d).into(), len).expect("it fits").trunc()
        });
    let known =
        select([&BLOCKS[..], &SERVICES[..], &["0.0.0.0/0", "10.0.0.0/16", "10.3.0.0/16"]].concat());
    prop_oneof![3 => random, 2 => known.prop_map(net)]
}

fn rules() -> impl Strategy<Value = Vec<FilterRuleV4>> {
    use MatchOperator::{Equal, In, NotEqual, NotIn};
    let lengths = option::weighted(0.4, (option::of(0u8..=32), option::of(0u8..=32)));
    let prefix = option::weighted(0.7, (nets(), select(vec![Equal, NotEqual, In, NotIn]), lengths));
    let asns = |numbers: &'static [u32], size| vec(select(numbers).prop_map(AsNumber), size);
    let operation = prop_oneof![
        select(&COMMUNITIES[..]).prop_map(|value| FilterOperation {
            add_community: Some(AddCommunity { value: value.into() }),
            ..FilterOperation::default()
        }),
        asns(&[65001, 65002, 65003, 65004, 0], 1..3).prop_map(|prefix| FilterOperation {
            prepend_as_path: Some(PrependAsPath { prefix }),
            ..FilterOperation::default()
        }),
        select(vec![512u32, 1024, 2000]).prop_map(|value| FilterOperation {
            set_priority: Some(SetPriority { value }),
            ..FilterOperation::default()
        }),
    ];
    let rule = (
        (any::<bool>(), prefix),
        option::weighted(0.2, Just(From::RemotePeers)),
        option::weighted(0.3, select(vec!["eth0", "eth*", "*.calico", "*", "tunl0"])),
        option::weighted(0.2, select(vec![PeerType::Ibgp, PeerType::Ebgp])),
        option::weighted(0.2, select(&COMMUNITIES[..])),
        option::weighted(0.2, asns(&[65001, 65002], 1..3)),
        option::weighted(0.2, select(vec![512u32, 1024, MAX - 100])),
        vec(operation, 0..3),
    );
    let rule = rule.prop_map(
        |(
            (accept, prefix),
            source,
            interface,
            peer_type,
            community,
            path,
            priority,
            operations,
        )| {
            let ordered = |(min, max): (Option<u8>, Option<u8>)| match (min, max) {
                (Some(a), Some(b)) => PrefixLengthV4 { min: Some(a.min(b)), max: Some(a.max(b)) },
                (min, max) => PrefixLengthV4 { min, max },
            };
            FilterRuleV4 {
                action: if accept { FilterAction::Accept } else { FilterAction::Reject },
                cidr: prefix.map(|(net, _, _)| net.into()),
                match_operator: prefix.map(|(_, operator, _)| operator),
                prefix_length: prefix.and_then(|(_, _, lengths)| lengths).map(ordered),
                source,
                interface: interface.map(str::to_owned),
                peer_type,
                communities: community
                    .map(|value| FilterCommunities { values: vec![value.to_owned()] }),
                as_path_prefix: path.unwrap_or_default(),
                priority,
                operations: if accept { operations } else { Vec::new() },
            }
        },
    );
    vec(rule, 0..4)
}

fn pools() -> impl Strategy<Value = Vec<IpPool>> {
    use EncapMode::{Always, CrossSubnet, Never};
    let one = (
        any::<bool>(),
        select(vec![
            (Never, Never),
            (Never, Never),
            (Always, Never),
            (CrossSubnet, Never),
            (Never, Always),
            (Never, CrossSubnet),
        ]),
    );
    (vec(option::of(one), 4)).prop_map(|chosen| {
        let all = chosen.into_iter().enumerate();
        all.filter_map(|(index, chosen)| {
            let (hidden, (vxlan, ipip)) = chosen?;
            let mut spec = IpPoolSpec::new(net(&format!("10.{index}.0.0/16")));
            spec.disable_bgp_export = Some(hidden && index > 1);
            (spec.vxlan_mode, spec.ipip_mode) = (Some(vxlan), Some(ipip));
            spec.allowed_uses = Some(vec![AllowedUse::Workload]);
            Some(IpPool::new(format!("p{index}"), spec))
        })
        .collect()
    })
}

fn worlds() -> impl Strategy<Value = World> {
    use ProgramClusterRoutes::{Disabled, Enabled, EnabledIpipOnly, EnabledNoEncapOnly};
    let list = || vec(nets().prop_map(|net| ServiceBlock { cidr: Some(net.into()) }), 0..2);
    let advertisement = (nets(), vec(select(vec!["65001:1", "65001:2", "tag"]), 0..3)).prop_map(
        |(net, communities)| PrefixAdvertisement {
            cidr: net.into(),
            communities: communities.into_iter().map(str::to_owned).collect(),
        },
    );
    let configuration = (
        (list(), list(), list(), option::of(select(vec![Switch::Enabled, Switch::Disabled]))),
        (vec(advertisement, 0..3), option::of(select(vec![512u32, 1024]))),
        option::of(select(vec![Disabled, Enabled, EnabledIpipOnly, EnabledNoEncapOnly])),
    )
        .prop_map(|(services, (advertisements, priority), programs)| BgpConfigurationSpec {
            service_cluster_ips: services.0,
            service_external_ips: services.1,
            service_load_balancer_ips: services.2,
            service_load_balancer_aggregation: services.3,
            communities: vec![NamedCommunity { name: "tag".into(), value: "65001:3".into() }],
            prefix_advertisements: advertisements,
            ipv4_normal_route_priority: priority,
            program_cluster_routes: programs,
            ..BgpConfigurationSpec::default()
        });
    let filter = (rules(), rules());
    (
        (pools(), option::weighted(0.8, configuration), vec(filter, 0..3)),
        proptest::sample::subsequence(BLOCKS.to_vec(), 0..=4),
        proptest::sample::subsequence(SERVICES.to_vec(), 0..=3),
        (any::<bool>(), any::<bool>(), option::of(Just("192.0.2.0/24"))),
    )
        .prop_map(|((pools, configuration, filters), blocks, services, flags)| World {
            pools,
            configurations: configuration
                .map(|spec| BgpConfiguration::new("default", spec))
                .into_iter()
                .collect(),
            filters: filters
                .into_iter()
                .enumerate()
                .map(|(index, (export_v4, import_v4))| {
                    let spec = BgpFilterSpec { export_v4, import_v4, ..BgpFilterSpec::default() };
                    BgpFilter::new(format!("f{index}"), spec)
                })
                .collect(),
            blocks,
            services,
            reflector: flags.0,
            excluded: flags.1,
            subnet: flags.2,
        })
}

fn routes() -> impl Strategy<Value = Naive> {
    let source = select(vec!["bgp", "bgp", "own", "kernel"]);
    let local_pref =
        option::of(select(vec![100u32, MAX - 2000, MAX - 1024, MAX - 1000, MAX - 512]));
    let interface = select(vec!["", "eth0", "tunl0", "vxlan.calico", "wg.cali", "bpfin.cali"]);
    let communities =
        proptest::sample::subsequence(vec!["65001:1", "65001:2", "large:65001:1:2"], 0..=3);
    let path = vec(select(vec![65001u32, 65002, 65003]), 0..4);
    let next_hop = select(vec!["192.0.2.7", "198.51.100.7"]);
    (nets(), source, local_pref, interface, communities, path, next_hop).prop_map(
        |(net, source, local_pref, interface, communities, path, next_hop)| Naive {
            net,
            learned: source == "bgp",
            originated: source == "own",
            interface: interface.to_owned(),
            local_pref: local_pref.filter(|_| source == "bgp"),
            communities: communities.into_iter().map(str::to_owned).collect(),
            path,
            next_hop: next_hop.parse().expect("an address"),
        },
    )
}

/// The same route for the policies.
fn real(naive: &Naive) -> Route {
    let mut attributes = PathAttributes::local(NextHop::new(naive.next_hop));
    attributes.local_pref = naive.local_pref;
    if !naive.path.is_empty() {
        let asns = naive.path.iter().copied().map(Asn).collect();
        attributes.as_path = AsPath(vec![AsSegment::Sequence(asns)]);
    }
    for community in &naive.communities {
        community.parse::<CommunityValue>().expect("a community").add_to(&mut attributes);
    }
    let source = match (naive.learned, naive.originated) {
        (true, _) => RouteSource::Bgp,
        (false, true) => RouteSource::Originate,
        (false, false) => RouteSource::Kernel,
    };
    let interface = InterfaceName::new(&naive.interface);
    Route { prefix: naive.net, source, interface, attributes }
}

/// What the policy makes of it, in the same terms.
fn judged(policy: &RoutePolicy, naive: &Naive) -> Option<Naive> {
    let route = real(naive);
    let Verdict::Accept { attributes, .. } = policy.evaluate(&route.view()) else { return None };
    let attributes = attributes.map_or(route.attributes, |it| *it);
    let plain = attributes.communities.iter().map(|it| CommunityValue::Plain(*it));
    let large = attributes.large_communities.iter().map(|it| CommunityValue::Large(*it));
    let path = attributes.as_path.0.iter().flat_map(|segment| match segment {
        AsSegment::Sequence(asns) => asns.iter().map(|asn| asn.0).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    });
    Some(Naive {
        local_pref: attributes.local_pref,
        communities: plain.chain(large).map(|it| it.to_string()).collect(),
        path: path.collect(),
        ..naive.clone()
    })
}

/// Plain ones are kept apart from large ones.
fn sorted(route: Option<Naive>) -> Option<Naive> {
    route.map(|mut route| {
        route.communities.sort();
        route
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn policies_do_what_the_description_says(
        world in worlds(),
        routes in vec(routes(), 1..20),
    ) {
        let context = world.context();
        let mut policies = Policies::new(&context, &world.filters);
        let into_kernel = policies.kernel();
        for peer in [PeerType::Ibgp, PeerType::Ebgp] {
            let imported = policies.import(&world.names(), peer);
            let exported = policies.export(&world.names(), peer);
            for route in &routes {
                if route.learned {
                    prop_assert_eq!(
                        sorted(judged(&imported, route)),
                        sorted(import(&world, peer, route.clone())),
                        "import of {:?}",
                        route
                    );
                }
                prop_assert_eq!(
                    sorted(judged(&exported, route)),
                    sorted(export(&world, peer, route.clone())),
                    "export of {:?}", route
                );
                let installed =
                    into_kernel.as_ref().is_none_or(|policy| judged(policy, route).is_some());
                prop_assert_eq!(installed, kernel(&world, route), "kernel of {:?}", route);
            }
        }
    }

    #[test]
    fn policies_do_not_depend_on_the_order_of_what_has_none(world in worlds()) {
        let mut turned = World::new("");
        turned.pools = world.pools.iter().rev().cloned().collect();
        turned.configurations.clone_from(&world.configurations);
        turned.filters = world.filters.iter().rev().cloned().collect();
        turned.blocks = world.blocks.iter().rev().copied().collect();
        turned.services = world.services.iter().rev().copied().collect();
        (turned.reflector, turned.excluded) = (world.reflector, world.excluded);
        turned.subnet = world.subnet;
        let (one, other) = (world.context(), turned.context());
        let mut one = Policies::new(&one, &world.filters);
        let mut other = Policies::new(&other, &turned.filters);
        let names = world.names();
        for peer in [PeerType::Ibgp, PeerType::Ebgp] {
            prop_assert_eq!(one.import(&names, peer), other.import(&names, peer));
            prop_assert_eq!(one.export(&names, peer), other.export(&names, peer));
        }
        prop_assert_eq!(one.kernel(), other.kernel());
        prop_assert!(one.remarks().eq(other.remarks()));
    }
}
