//! From resources to packets: what policies say is what becomes of them.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::mpsc::channel,
    time::{Duration, Instant},
};

use margay_model::{Item, Mode, decode};
use policy_calc::{Deltas, Direction, Graph, Interfaces, Owner, PolicyId, State};
use policy_nft::{
    Keeper,
    expr::Rate,
    layout::{Layout, Place as Decided, Pool, Settings, ToHost, links, table},
    netlink::{Sight, Wait},
    seen::{Fate, Seen, without_prefix},
};

use crate::{
    net::enter,
    pods::{Place, run, serve},
    sample::name,
};

/// Resources, as a daemon would hear them.
pub struct Cluster {
    graph: Graph,
    state: State,
}

impl Cluster {
    pub fn new(yaml: &str) -> Self {
        let mut graph = Graph::new("here");
        graph.in_sync();
        let mut cluster = Self { graph, state: State::default() };
        cluster.apply(yaml);
        cluster
    }

    pub fn apply(&mut self, yaml: &str) {
        let manifest = decode(yaml.as_bytes(), Mode::Strict).unwrap_or_else(|e| panic!("{e}"));
        for document in manifest.documents {
            let mut resource = match document.item {
                Item::Resource(resource) => resource,
                Item::Kubernetes(object) => {
                    object.into_resource().resource.expect("it stands for something")
                }
            };
            resource.apply_defaults();
            let key = resource.key();
            self.graph.update(&key, Some(resource));
        }
        self.flush();
    }

    fn flush(&mut self) -> Deltas {
        let deltas = self.graph.flush();
        self.state.apply(&deltas);
        deltas
    }

    /// The table, to be kept with what changes.
    fn layout(&self) -> Layout {
        let links = links(&self.state, &Settings::default(), &Interfaces::new());
        Layout::new(Settings::default(), &self.state, &links)
    }

    pub fn enforce(&self, keeper: &mut Keeper, settings: &Settings) -> usize {
        keeper.sync(&table(&self.state, settings)).expect("taken").steps
    }
}

/// A workload endpoint of this node.
fn endpoint(pod: &str, address: &str) -> String {
    format!(
        "---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {{ namespace: a, name: here-k8s-{pod}-eth0, labels: {{ app: {pod} }} }}
spec:
  node: here
  orchestrator: k8s
  pod: {pod}
  endpoint: eth0
  interfaceName: cali{pod}
  ipNetworks: [{address}/32]
  profiles: [kns.a]
  ports: [{{ name: http, protocol: TCP, port: 80 }}]
"
    )
}

/// `web` takes TCP 80 to 90 and echoes from `front`, and UDP 53 from 10.1.0.0/30 but one address;
/// everything else is open.
const POLICIES: &str = "---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: { namespace: a, name: web }
spec:
  selector: app == 'web'
  ingress:
    - { action: Log, protocol: TCP }
    - action: Allow
      protocol: TCP
      source: { selector: app == 'front' }
      destination: { ports: ['80:90'] }
    - { action: Allow, protocol: ICMP, icmp: { type: 8 }, source: { selector: app == 'front' } }
    - action: Allow
      protocol: UDP
      source: { nets: [10.1.0.0/30], notNets: [10.1.0.3/32] }
      destination: { ports: [53] }
";

const NAMESPACE: &str = "apiVersion: v1
kind: Namespace
metadata: { name: a }
";

/// Enters a host that forwards, with three pods on it.
fn host() -> Option<[Place; 3]> {
    if !enter() {
        return None;
    }
    run("ip link set lo up");
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("forwarding");
    let front = Place::pod("califront", "10.1.0.1", &[80]);
    let web = Place::pod("caliweb", "10.1.0.2", &[53, 79, 80]);
    let back = Place::pod("caliback", "10.1.0.3", &[80]);
    Some([front, web, back])
}

/// 192.0.2.2, beside the host, which is 192.0.2.1 there.
fn world() -> Place {
    let world = Place::new();
    run("ip link add world0 type veth peer name eth0");
    run("ip addr add 192.0.2.1/24 dev world0");
    run("ip link set world0 up");
    world.take("eth0");
    world.within(|| {
        run("ip addr add 192.0.2.2/24 dev eth0");
        run("ip link set eth0 up");
    });
    world
}

fn cluster() -> Cluster {
    let mut yaml = NAMESPACE.to_owned();
    for (pod, address) in [("front", "10.1.0.1"), ("web", "10.1.0.2"), ("back", "10.1.0.3")] {
        yaml += &endpoint(pod, address);
    }
    Cluster::new(&(yaml + POLICIES))
}

#[test]
fn packets_go_where_policies_let_them() {
    let Some([front, web, back]) = host() else { return };
    let mut keeper = Keeper::open(name()).expect("a keeper");
    let (mut cluster, settings) = (cluster(), Settings::default());
    // Before: everything goes.
    back.tcp("10.1.0.2", 79, true);
    assert!(cluster.enforce(&mut keeper, &settings) > 30);
    front.tcp("10.1.0.2", 80, true);
    front.tcp("10.1.0.2", 79, false);
    front.ping("10.1.0.2", true);
    front.udp("10.1.0.1", "10.1.0.2", 53, true);
    front.udp("10.1.0.1", "10.1.0.2", 80, false);
    back.tcp("10.1.0.2", 80, false);
    back.ping("10.1.0.2", false);
    back.udp("10.1.0.3", "10.1.0.2", 53, false);
    // Nothing governs these.
    web.tcp("10.1.0.3", 80, true);
    back.tcp("10.1.0.1", 80, true);
    // The host itself always may; what the workload may to it is told apart.
    serve(8080);
    web.tcp("169.254.1.1", 8080, false);
    let accept = Settings { to_host: ToHost::Accept, ..Settings::default() };
    assert_eq!(cluster.enforce(&mut keeper, &accept), 5);
    web.tcp("169.254.1.1", 8080, true);

    // A label more: one member more, and the policy holds for the pod.
    cluster.apply(&endpoint("back", "10.1.0.3").replace("app: back", "app: front"));
    assert_eq!(cluster.enforce(&mut keeper, &accept), 1);
    back.tcp("10.1.0.2", 80, true);
    back.tcp("10.1.0.2", 79, false);
}

#[test]
fn each_decision_is_told_with_who_made_it() {
    let Some([front, _web, back]) = host() else { return };
    let mut keeper = Keeper::open(name()).expect("a keeper");
    cluster().enforce(&mut keeper, &Settings { flows: true, ..Settings::default() });
    let mut sight = Sight::open().expect("nobody else listens");
    assert_eq!(Sight::open().map(drop).map_err(|err| err.raw_os_error()), Err(Some(libc::EPERM)));
    front.tcp("10.1.0.2", 80, true);
    back.tcp("10.1.0.2", 80, false);
    // Told of last: what was told before is there by then.
    front.ping("10.1.0.2", true);
    let mut told = BTreeSet::new();
    let ping = (Direction::Ingress, Fate::Allowed, "NetworkPolicy a/web rule 2".to_owned(), None);
    sight.give_up_after(30).expect("taken");
    while !told.contains(&ping) {
        let sighted = sight.next(Wait::Block).expect("it listens");
        assert_eq!(sighted.lost, 0);
        assert!(!sighted.seen.is_empty(), "nothing more is told: {told:?}");
        let of = |seen: Seen| {
            let port = seen.packet.ports().map(|(_, port)| port);
            (seen.direction, seen.fate, seen.by, port)
        };
        told.extend(sighted.seen.into_iter().map(of));
    }
    let line = |direction, fate, by: &str, port| (direction, fate, by.to_owned(), Some(port));
    for each in [
        line(Direction::Egress, Fate::Allowed, "profile kns.a rule 0", 80),
        line(Direction::Ingress, Fate::Logged, "NetworkPolicy a/web rule 0", 80),
        line(Direction::Ingress, Fate::Allowed, "NetworkPolicy a/web rule 1", 80),
        line(Direction::Ingress, Fate::Denied, "end of tier default (NetworkPolicy a/web)", 80),
    ] {
        assert!(told.contains(&each), "{each:?} in {told:#?}");
    }
}

#[test]
fn a_rule_that_logs_tells_no_more_often_than_it_may() {
    let Some([front, _web, _back]) = host() else { return };
    let mut keeper = Keeper::open(name()).expect("a keeper");
    let settings = Settings {
        flows: true,
        log_rate: Rate { times: 1, seconds: 86_400, burst: 3 },
        log_prefix: Some("%k of %t: %p".into()),
        ..Settings::default()
    };
    cluster().enforce(&mut keeper, &settings);
    let mut sight = Sight::open().expect("nobody else listens");
    for _ in 0..10 {
        front.tcp("10.1.0.2", 80, true);
    }
    front.ping("10.1.0.2", true);
    sight.give_up_after(30).expect("taken");
    let mut logged = Vec::new();
    loop {
        let sighted = sight.next(Wait::Block).expect("it listens");
        assert!(!sighted.seen.is_empty(), "the last is not told of: {logged:?}");
        let last = sighted.seen.iter().any(|seen| seen.by == "NetworkPolicy a/web rule 2");
        logged.extend(sighted.seen.into_iter().filter(|seen| seen.fate == Fate::Logged));
        if last {
            break;
        }
    }
    // The packet that is due and those at once.
    assert!((1..=4).contains(&logged.len()), "{logged:?}");
    let of = |seen: &Seen| {
        without_prefix(&seen.by) == ("NetworkPolicy a/web rule 0", Some("np of default: a/web"))
    };
    assert!(logged.iter().all(of), "{logged:?}");
}

#[test]
fn a_packet_without_ports_is_on_none_however_short_it_is() {
    let Some([front, web, _back]) = host() else { return };
    let mut keeper = Keeper::open(name()).expect("a keeper");
    let mut cluster = cluster();
    let mut enforce = |rules: &str| {
        cluster.apply(&format!(
            "---\napiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {{ namespace: a, \
             name: web }}\nspec: {{ selector: app == 'web', ingress: [{rules}] }}\n"
        ));
        cluster.enforce(&mut keeper, &Settings::default());
    };
    enforce("{ action: Allow, destination: { notPorts: [http] } }");
    front.nothing_but_a_header(&web, "10.1.0.2", true);
    front.tcp("10.1.0.2", 79, true);
    front.tcp("10.1.0.2", 80, false);
    enforce("{ action: Deny, destination: { notPorts: [http] } }, { action: Allow }");
    front.nothing_but_a_header(&web, "10.1.0.2", false);
    front.tcp("10.1.0.2", 79, false);
    front.tcp("10.1.0.2", 80, true);
}

#[test]
fn nobody_sends_from_an_address_of_others() {
    let Some([front, _web, _back]) = host() else { return };
    let mut keeper = Keeper::open(name()).expect("a keeper");
    let settings = Settings::default();
    cluster().enforce(&mut keeper, &settings);
    front.within(|| run("ip addr add 10.1.0.77/32 dev eth0"));
    run("ip route add 10.1.0.77/32 dev califront");
    front.udp("10.1.0.1", "10.1.0.3", 80, true);
    front.udp("10.1.0.77", "10.1.0.3", 80, false);
}

#[test]
fn a_link_that_no_endpoint_names_carries_nothing_even_after_us() {
    let Some([front, _web, back]) = host() else { return };
    let stray = Place::pod("calistray", "10.1.0.9", &[80]);
    front.tcp("10.1.0.9", 80, true);
    stray.tcp("10.1.0.3", 80, true);
    let mut keeper = Keeper::open(name()).expect("a keeper");
    let settings = Settings { to_host: ToHost::Accept, ..Settings::default() };
    cluster().enforce(&mut keeper, &settings);
    let holds = keeper.session().holds();
    drop(keeper); // what the kernel does when the process is killed
    front.tcp("10.1.0.9", 80, false);
    stray.tcp("10.1.0.3", 80, false);
    stray.ping("169.254.1.1", false);
    back.tcp("10.1.0.1", 80, true);
    // The next one takes over and finds nothing to do.
    let mut keeper = Keeper::open(name()).expect("a keeper");
    assert_eq!(cluster().enforce(&mut keeper, &settings), usize::from(holds));
}

#[test]
fn encapsulation_of_a_workloads_own_is_dropped_and_answers_to_its_port_are_not() {
    let Some([front, _web, back]) = host() else { return };
    let mut keeper = Keeper::open(name()).expect("a keeper");
    cluster().enforce(&mut keeper, &Settings::default());
    back.serve(&[4789]);
    front.udp("10.1.0.1", "10.1.0.3", 80, true);
    front.udp("10.1.0.1", "10.1.0.3", 4789, false);
    // Whoever asks from that port is answered there.
    let answered = front.within(|| {
        let socket = UdpSocket::bind("10.1.0.1:4789").expect("a port");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
        socket.send_to(b"?", "10.1.0.3:80").expect("sent");
        socket.recv_from(&mut [0; 8]).is_ok()
    });
    assert!(answered);
}

#[test]
fn a_connection_outlives_a_policy_that_ends_it_for_others() {
    let Some([front, web, _back]) = host() else { return };
    let mut keeper = Keeper::open(name()).expect("a keeper");
    let (mut cluster, settings) = (cluster(), Settings::default());
    cluster.enforce(&mut keeper, &settings);
    let (tell, told) = channel();
    web.within(move || {
        let listener = std::net::TcpListener::bind("0.0.0.0:90").expect("a port");
        std::thread::spawn(move || tell.send(listener.accept().expect("a client").0));
    });
    let client = front.within(|| TcpStream::connect("10.1.0.2:90").expect("allowed"));
    let server = told.recv().expect("accepted");
    cluster.apply(&POLICIES.replace("'80:90'", "79"));
    cluster.enforce(&mut keeper, &settings);
    front.tcp("10.1.0.2", 80, false);
    front.tcp("10.1.0.2", 79, true);
    std::io::Write::write_all(&mut (&client), b"still here").expect("sent");
    let mut octets = [0; 10];
    server.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    std::io::Read::read_exact(&mut (&server), &mut octets).expect("heard");
    assert_eq!(&octets, b"still here");
}

#[test]
fn pods_of_a_masquerading_pool_reach_others_by_the_hosts_address() {
    let Some([front, web, _back]) = host() else { return };
    let world = world();
    world.serve(&[80]);
    let mut keeper = Keeper::open(name()).expect("a keeper");
    let cluster = cluster();
    let mut settings = Settings::default();
    cluster.enforce(&mut keeper, &settings);
    // It has no way back to the pod.
    front.udp("10.1.0.1", "192.0.2.2", 80, false);
    let range = "10.1.0.0/24".parse().expect("a prefix");
    settings.pools.push(Pool { range, masquerade: true });
    cluster.enforce(&mut keeper, &settings);
    front.udp("10.1.0.1", "192.0.2.2", 80, true);
    // To a pod it is himself: only his address is let in there.
    front.udp("10.1.0.1", "10.1.0.2", 53, true);
    // By an address that is chosen for them; the world has a way back to no other.
    run("ip addr add 192.0.2.77/32 dev lo");
    world.within(|| run("ip route add blackhole 192.0.2.1"));
    front.udp("10.1.0.1", "192.0.2.2", 80, false);
    settings.masquerade_as = Some("192.0.2.77".parse().expect("an address"));
    assert_eq!(cluster.enforce(&mut keeper, &settings), 3);
    front.udp("10.1.0.1", "192.0.2.2", 80, true);
    web.tcp("10.1.0.3", 80, true);
    // From ports that are chosen for them, with the address and without.
    world.within(|| {
        run("ip route del blackhole 192.0.2.1");
        run("nft add table ip some");
        run("nft add chain ip some in { type filter hook input priority 0 ; }");
        run("nft add rule ip some in udp dport 80 udp sport != 20000-20009 drop");
    });
    front.udp("10.1.0.1", "192.0.2.2", 80, false);
    settings.masquerade_ports = Some((20_000, 20_009));
    assert_eq!(cluster.enforce(&mut keeper, &settings), 7);
    front.udp("10.1.0.1", "192.0.2.2", 80, true);
    settings.masquerade_as = None;
    cluster.enforce(&mut keeper, &settings);
    front.udp("10.1.0.1", "192.0.2.2", 80, true);
    // Only what leaves by some links.
    for (by, is) in
        [("world", false), ("world0", true), ("eth+", false), ("wor+", true), ("+", true)]
    {
        settings.masquerade_by = Some(by.to_owned());
        cluster.enforce(&mut keeper, &settings);
        front.udp("10.1.0.1", "192.0.2.2", 80, is);
    }
}

#[test]
fn floating_addresses_lead_to_their_pods_and_policies_see_the_pods_own() {
    let Some([front, web, back]) = host() else { return };
    let world = world();
    world.within(|| run("ip route add default via 192.0.2.1"));
    for (address, link) in [("198.51.100.8", "caliback"), ("198.51.100.9", "caliweb")] {
        run(&format!("ip route add {address}/32 dev {link}"));
    }
    let mut keeper = Keeper::open(name()).expect("a keeper");
    let mut cluster = cluster();
    let nat = |pod: &str, address: &str, outside: &str| {
        let nats = format!("  ipNATs: [{{ internalIP: {address}, externalIP: {outside} }}]\n");
        endpoint(pod, address) + &nats
    };
    cluster.apply(&nat("back", "10.1.0.3", "198.51.100.8"));
    cluster.apply(&nat("web", "10.1.0.2", "198.51.100.9"));
    let mut settings = Settings::default();
    cluster.enforce(&mut keeper, &settings);
    world.tcp("198.51.100.8", 80, false);
    settings.floating = true;
    assert!(cluster.enforce(&mut keeper, &settings) > 0);
    world.tcp("198.51.100.8", 80, true);
    front.tcp("198.51.100.8", 80, true);
    front.tcp("198.51.100.9", 80, true);
    // The policy of `web` decides, by what it is and who they are.
    back.tcp("198.51.100.9", 80, false);
    world.tcp("198.51.100.9", 80, false);
    front.tcp("198.51.100.9", 79, false);
    // To itself, and from the host.
    back.tcp("198.51.100.8", 80, true);
    let at: SocketAddr = "198.51.100.8:80".parse().expect("an address");
    TcpStream::connect_timeout(&at, Duration::from_secs(30)).expect("the host reaches it");
    drop(web);
    // What is there is read as it was made, and an address that changes hands costs two elements.
    assert_eq!(cluster.enforce(&mut keeper, &settings), 0);
    cluster.apply(&endpoint("back", "10.1.0.3"));
    cluster.apply(&nat("front", "10.1.0.1", "198.51.100.8"));
    assert!(cluster.enforce(&mut keeper, &settings) <= 4);
    back.tcp("198.51.100.8", 80, true);
    assert_eq!(cluster.enforce(&mut keeper, &Settings::default()), 10);
    world.tcp("198.51.100.8", 80, false);
}

/// The endpoint of `web` with these limits.
fn limited(limits: &str) -> String {
    format!("{}  qosControls: {{ {limits} }}\n", endpoint("web", "10.1.0.2"))
}

#[test]
fn no_more_connections_come_to_a_pod_than_it_may_have_until_one_is_over() {
    let Some([front, web, _back]) = host() else { return };
    let mut keeper = Keeper::open(name()).expect("a keeper");
    let (mut cluster, settings) = (cluster(), Settings::default());
    cluster.apply(&limited("ingressMaxConnections: 2"));
    cluster.enforce(&mut keeper, &settings);
    let at: SocketAddr = "10.1.0.2:80".parse().expect("an address");
    let held = front.within(move || {
        [at; 2]
            .map(|at| TcpStream::connect_timeout(&at, Duration::from_secs(30)).expect("one of two"))
    });
    front.tcp("10.1.0.2", 80, false);
    // They are counted still when its policies change.
    cluster.apply(
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: { name: all }\n\
         spec: { ingress: [{ action: Allow }], egress: [{ action: Allow }] }\n",
    );
    assert!(cluster.enforce(&mut keeper, &settings) > 0);
    front.tcp("10.1.0.2", 80, false);
    // Its own connections are others.
    web.tcp("10.1.0.1", 80, true);
    drop(held);
    front.tcp("10.1.0.2", 80, true);
    // Taken back, none is counted; what is in force stays as it is.
    cluster.apply(&endpoint("web", "10.1.0.2"));
    assert!(cluster.enforce(&mut keeper, &settings) > 0);
    assert_eq!(cluster.enforce(&mut keeper, &settings), 0);
}

#[test]
fn packets_that_come_faster_to_or_from_a_pod_than_they_may_are_lost() {
    let Some([front, _web, _back]) = host() else { return };
    let mut keeper = Keeper::open(name()).expect("a keeper");
    let (mut cluster, settings) = (cluster(), Settings::default());
    let answers = || {
        front.within(|| {
            let socket = UdpSocket::bind("10.1.0.1:0").expect("a socket");
            socket.set_read_timeout(Some(Duration::from_secs(1))).expect("it can");
            let since = Instant::now();
            for _ in 0..200 {
                socket.send_to(b"?", "10.1.0.2:53").expect("sent");
            }
            let mut count = 0;
            while socket.recv_from(&mut [0; 8]).is_ok() {
                count += 1;
            }
            (count, since.elapsed())
        })
    };
    for limits in [
        "ingressPacketRate: 2, ingressPacketBurst: 10",
        "egressPacketRate: 2, egressPacketBurst: 10",
    ] {
        cluster.apply(&limited(limits));
        assert!(cluster.enforce(&mut keeper, &settings) > 0);
        let (count, took) = answers();
        // Burst and rate at most, however long it took; what was allowed came.
        let most = 12 + 2 * took.as_secs();
        assert!((1..=most).contains(&count), "{limits}: {count} answers in {took:?}");
        assert_eq!(cluster.enforce(&mut keeper, &settings), 0, "read back as it was made");
    }
}

#[test]
fn packets_are_counted_by_rule_for_who_is_asked_about_and_nobody_else() {
    let Some([front, web, back]) = host() else { return };
    let mut keeper = Keeper::open(name()).expect("a keeper");
    let cluster = cluster();
    let mut layout = cluster.layout();
    let plain = layout.table().clone();
    keeper.sync(&plain).expect("taken");
    front.tcp("10.1.0.2", 80, true);
    assert_eq!(layout.counted(&cluster.state, "caliweb"), []);
    let touched = layout.count(&cluster.state, "caliweb", true);
    keeper.sync_touched(layout.table(), &touched).expect("taken");
    // What others have is as it was.
    assert!(plain.chains.iter().all(|(name, chain)| {
        layout
            .table()
            .chains
            .get(name)
            .is_none_or(|now| now == chain || name.as_str().ends_with("/caliweb"))
    }));
    assert_eq!(layout.counted(&cluster.state, "califront"), []);

    let id = |name: &str| {
        let mut all = cluster.state.policies.keys();
        all.find(|id: &&PolicyId| id.name() == name).cloned().expect("it is in use")
    };
    let rule =
        |index| (Direction::Ingress, Decided::Rule { owner: Owner::Policy(id("web")), index });
    let end = (Direction::Ingress, Decided::Tier("default".into()));
    let counts = |keeper: &mut Keeper, layout: &Layout| {
        keeper.counts(&layout.counted(&cluster.state, "caliweb")).expect("read")
    };
    let none = counts(&mut keeper, &layout);
    assert!(none.len() > 4 && none.values().all(|count| count.packets == 0), "{none:?}");
    front.tcp("10.1.0.2", 80, true);
    front.udp("10.1.0.1", "10.1.0.2", 53, true);
    back.udp("10.1.0.3", "10.1.0.2", 53, false);
    // Towards others nothing of this counts.
    web.tcp("10.1.0.1", 80, true);
    front.tcp("10.1.0.3", 80, true);
    let some = counts(&mut keeper, &layout);
    let packets = |place| some.get(&place).map(|count| count.packets);
    assert!(packets(rule(0)) >= Some(1), "{some:?}");
    assert_eq!((packets(rule(1)), packets(rule(0))), (packets(rule(0)), packets(rule(1))));
    assert_eq!((packets(rule(2)), packets(rule(3))), (Some(0), Some(1)), "{some:?}");
    assert_eq!(packets(end.clone()), Some(1), "{some:?}");
    // An IP header, one of UDP, and what is asked.
    assert_eq!(some.get(&end).map(|count| count.octets), Some(20 + 8 + 1));

    let touched = layout.count(&cluster.state, "caliweb", false);
    keeper.sync_touched(layout.table(), &touched).expect("taken");
    assert_eq!(*layout.table(), plain);
    assert!(counts(&mut keeper, &layout).is_empty());
    front.tcp("10.1.0.2", 80, true);
    back.udp("10.1.0.3", "10.1.0.2", 53, false);
}
