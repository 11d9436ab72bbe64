use std::net::Ipv4Addr;

use bgp_core::policy::{InterfaceName, LocalAttributes, RouteSource, RouteView, Verdict};
use bgp_packet::{AsPath, AsSegment, Asn, NextHop, PathAttributes};
use margay_model::{Item, Mode, Resource, decode};

use super::*;

mod filters;
mod kernel;
mod oracle;
mod steps;

/// Resources, as a cluster has them.
#[derive(Debug, Default)]
struct World {
    pools: Vec<IpPool>,
    configurations: Vec<BgpConfiguration>,
    filters: Vec<BgpFilter>,
    blocks: Vec<&'static str>,
    services: Vec<&'static str>,
    reflector: bool,
    excluded: bool,
    subnet: Option<&'static str>,
}

impl World {
    /// Kind, name and spec (as flow-style YAML) of each resource, one a line.
    fn new(lines: &str) -> Self {
        let mut world = Self::default();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().expect("KIND NAME SPEC");
            let (kind, name, spec) = (word(), word(), word());
            let text = format!(
                "apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: {name}}}\n\
                 spec: {spec}\n"
            );
            let manifest = decode(text.as_bytes(), Mode::Strict);
            let manifest = manifest.unwrap_or_else(|faults| panic!("{line}: {faults}"));
            for document in manifest.documents {
                match document.item {
                    Item::Resource(Resource::IpPool(pool)) => world.pools.push(*pool),
                    Item::Resource(Resource::BgpConfiguration(it)) => {
                        world.configurations.push(*it);
                    }
                    Item::Resource(Resource::BgpFilter(filter)) => world.filters.push(*filter),
                    other => panic!("{other:?} is not for this"),
                }
            }
        }
        world
    }

    fn context(&self) -> Context<'_> {
        let named = |name: &str| self.configurations.iter().find(|it| it.name() == name);
        let nets = |texts: &[&str]| texts.iter().map(|text| net(text)).collect();
        Context {
            pools: self.pools.iter().collect(),
            blocks: nets(&self.blocks),
            configuration: named("default"),
            node_configuration: named("node.n1"),
            reflector: self.reflector,
            excluded_from_services: self.excluded,
            services: nets(&self.services),
            subnet: self.subnet.map(net),
            workloads: BTreeSet::new(),
        }
    }

    /// All filters, in the order in which they were given.
    fn names(&self) -> Vec<String> {
        self.filters.iter().map(|filter| filter.name().to_owned()).collect()
    }

    fn import(&self, peer: PeerType) -> Arc<RoutePolicy> {
        Policies::new(&self.context(), &self.filters).import(&self.names(), peer)
    }

    fn export(&self, peer: PeerType) -> Arc<RoutePolicy> {
        Policies::new(&self.context(), &self.filters).export(&self.names(), peer)
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap_or_else(|_| panic!("{text} is no prefix"))
}

/// A route: its prefix, then `KEY=VALUE`: `from` (a source), `dev`, `lp`, `path`, `com`, `via`.
struct Route {
    prefix: IpNet,
    source: RouteSource,
    interface: Option<InterfaceName>,
    attributes: PathAttributes,
}

impl Route {
    fn new(text: &str) -> Self {
        let mut words = text.split_whitespace();
        let prefix = net(words.next().expect("a prefix"));
        let next_hop = if prefix.addr().is_ipv4() { "192.0.2.1" } else { "2001:db8::1" };
        let next_hop = NextHop::new(next_hop.parse::<std::net::IpAddr>().expect("an address"));
        let (source, interface) = (RouteSource::Bgp, None);
        let attributes = PathAttributes::local(next_hop);
        let mut route = Self { prefix, source, interface, attributes };
        for word in words {
            let (key, value) = word.split_once('=').expect("KEY=VALUE");
            let attributes = &mut route.attributes;
            match key {
                "from" => {
                    route.source = match value {
                        "bgp" => RouteSource::Bgp,
                        "own" => RouteSource::Originate,
                        "connected" => RouteSource::Connected,
                        "static" => RouteSource::Static,
                        "kernel" => RouteSource::Kernel,
                        _ => panic!("{word}"),
                    }
                }
                "dev" => route.interface = InterfaceName::new(value),
                "lp" => attributes.local_pref = Some(value.parse().expect("a number")),
                "path" => {
                    let asns = value.split(',').map(|asn| Asn(asn.parse().expect("a number")));
                    attributes.as_path = AsPath(vec![AsSegment::Sequence(asns.collect())]);
                }
                "com" => {
                    let value = value.parse::<bgp_core::policy::CommunityValue>();
                    value.expect("a community").add_to(attributes);
                }
                "via" => {
                    attributes.next_hop = NextHop::new(value.parse::<Ipv4Addr>().expect("one"))
                }
                _ => panic!("{word}"),
            }
        }
        route
    }

    fn view(&self) -> RouteView<'_> {
        let learned = self.source == RouteSource::Bgp;
        RouteView {
            prefix: self.prefix,
            attributes: &self.attributes,
            local: LocalAttributes::default(),
            source: self.source,
            peer: learned.then_some("n2"),
            peer_asn: learned.then_some(Asn(64512)),
            interface: self.interface,
            local_address: None,
            local_asn: Asn(64512),
            router_id: Ipv4Addr::new(10, 0, 0, 1),
        }
    }
}

/// `accept` or `reject`, and the rule that said so (`default` where none did).
fn verdict(policy: &RoutePolicy, route: &str) -> String {
    let (verdict, hits) = policy.explain(&Route::new(route).view());
    let last = hits.last().and_then(|hit| hit.name.clone()).unwrap_or("default".into());
    let word = if verdict == Verdict::Reject { "reject" } else { "accept" };
    format!("{word}: {last}")
}

/// The attributes a route leaves with.
fn after(policy: &RoutePolicy, route: &str) -> PathAttributes {
    let route = Route::new(route);
    match policy.evaluate(&route.view()) {
        Verdict::Accept { attributes, .. } => attributes.map_or(route.attributes, |it| *it),
        Verdict::Reject => panic!("rejected"),
    }
}
