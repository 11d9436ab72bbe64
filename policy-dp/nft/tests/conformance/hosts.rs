//! Host endpoints by packets: a host with two links to others and one to a pod, and what comes from
//! whom to whom. Case files (`hosts.cases`): a line is one thing.
//!
//! - `= NAME` begins a case; `+ NAME` goes on from the one above.
//! - `hep`, `gnp`, `np`, `tier`, `set`, `profile NAME SPEC`: a resource; host endpoints are of this
//!   node and have their name as the label `host`. `felix SPEC`: settings. `gone WORD NAME`.
//! - `FROM > TO : PROBES`: what of it arrives; whatever is not named does not. A pair without a line:
//!   everything arrives. `FROM < TO : PROBES`: what is answered, if that is not all that can be.
//!
//! The kernel, the table by hand and the oracle must agree, which is asked class by class in the
//! order of the reference, section 2.4.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket},
    thread,
};

use margay_model::{Key, Resource};
use nix::sched::{CloneFlags, CpuSet, sched_getcpu, sched_setaffinity, unshare};
use nix::unistd::{Pid, gettid};
use policy_calc::{Class, Decision, Direction, EndpointId, Graph, Header, Naive, Packet, State};
use policy_nft::{
    Keeper, Name,
    layout::{self, Failsafe, Layout, Settings, ToHost},
    table::Table,
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{
    cluster,
    pods::{report_skipped, run},
    random,
    wire::{Family, Probe},
};

/// Somebody, and the link of the host behind which he is; the host itself has none.
struct Place {
    name: &'static str,
    link: Option<&'static str>,
    address: [u8; 4],
    /// Of the host, as it is seen from here.
    gateway: [u8; 4],
}

const PLACES: [Place; 4] = [
    Place { name: "host", link: None, address: [192, 0, 2, 1], gateway: [0; 4] },
    Place { name: "out", link: Some("eth0"), address: [192, 0, 2, 2], gateway: [192, 0, 2, 1] },
    Place {
        name: "far",
        link: Some("eth1"),
        address: [198, 51, 100, 2],
        gateway: [198, 51, 100, 1],
    },
    Place { name: "pod", link: Some("calipod"), address: [10, 1, 0, 1], gateway: [169, 254, 1, 1] },
];
const HOST: usize = 0;
const FAR: usize = 2;
const POD: usize = 3;

/// 8080 of the host's is rewritten to the pod's 80, 8081 to the host's own 80, for who comes by eth0;
/// 9090 of somewhere else to 80 of `far`, for the host.
const PROBES: [Probe; 8] = [
    Probe { name: "tcp22", protocol: 6, what: 22 },
    Probe { name: "tcp80", protocol: 6, what: 80 },
    Probe { name: "tcp81", protocol: 6, what: 81 },
    Probe { name: "udp80", protocol: 17, what: 80 },
    Probe { name: "icmp8", protocol: 1, what: 8 },
    Probe { name: "tcp8080", protocol: 6, what: 8080 },
    Probe { name: "tcp8081", protocol: 6, what: 8081 },
    Probe { name: "tcp9090", protocol: 6, what: 9090 },
];
const ELSEWHERE: [u8; 4] = [203, 0, 113, 9];

/// From, to and probe of what is sent.
type At = (usize, usize, usize);

fn places() -> impl Iterator<Item = At> {
    let pairs = (0..4).flat_map(|from| (0..4).map(move |to| (from, to)));
    let all = pairs
        .filter(|(from, to)| from != to)
        .flat_map(|(from, to)| (0..PROBES.len()).map(move |probe| (from, to, probe)));
    all.filter(|(from, to, probe)| match PROBES[*probe].what {
        8080 | 8081 => (*from, *to) == (1, HOST),
        9090 => (*from, *to) == (HOST, FAR),
        _ => true,
    })
}

/// Where it is sent to.
fn target((from, to, probe): At) -> [u8; 4] {
    match (PROBES[probe].what, to) {
        (9090, _) => ELSEWHERE,
        (_, HOST) => PLACES[from].gateway,
        _ => PLACES[to].address,
    }
}

fn source((from, to, _): At) -> [u8; 4] {
    match from {
        HOST => PLACES[to].gateway,
        _ => PLACES[from].address,
    }
}

/// Where it comes to in the end: who, and at which address and port.
fn end(at: At) -> (usize, [u8; 4], u16) {
    match PROBES[at.2].what {
        8080 => (POD, PLACES[POD].address, 80),
        8081 => (HOST, target(at), 80),
        9090 => (FAR, PLACES[FAR].address, 80),
        what => (at.1, target(at), what),
    }
}

struct Case {
    name: String,
    objects: BTreeMap<(String, String), String>,
    arrived: BTreeSet<At>,
    /// Where it is said.
    answered: BTreeMap<At, bool>,
}

fn read(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if matches!(word, "=" | "+") {
            let before = cases.last().filter(|_| word == "+").map(|case| case.objects.clone());
            let (objects, arrived) = (before.unwrap_or_default(), places().collect());
            let answered = BTreeMap::new();
            cases.push(Case { name: rest.to_owned(), objects, arrived, answered });
            continue;
        }
        let case = cases.last_mut().filter(|_| word != "#");
        let Some(case) = case else { continue };
        let answers = rest.starts_with('<');
        if let Some((to, probes)) = rest.trim_start_matches(['>', '<']).trim().split_once(" :") {
            let probes: Vec<_> = probes.split_whitespace().collect();
            assert!(
                probes.iter().all(|name| PROBES.iter().any(|probe| probe.name == *name)),
                "{line}"
            );
            for at in places().filter(|at| PLACES[at.0].name == word && PLACES[at.1].name == to) {
                let named = probes.contains(&PROBES[at.2].name);
                if answers {
                    case.answered.insert(at, named);
                } else if named {
                    case.arrived.insert(at);
                } else {
                    case.arrived.remove(&at);
                }
            }
            continue;
        }
        match word {
            "felix" => {
                case.objects.insert(("felix".to_owned(), String::new()), rest.to_owned());
            }
            "gone" => {
                let (word, name) = rest.split_once(' ').expect("gone WORD NAME");
                let was = case.objects.remove(&(word.to_owned(), name.to_owned()));
                assert!(was.is_some(), "{}: no {rest}", case.name);
            }
            _ => {
                let (name, spec) = rest.split_once(' ').expect("WORD NAME SPEC");
                case.objects.insert((word.to_owned(), name.to_owned()), spec.to_owned());
            }
        }
    }
    cases
}

impl Case {
    fn is_answered(&self, at: At) -> bool {
        let said = self.answered.get(&at).copied();
        said.unwrap_or_else(|| self.arrived.contains(&at) && PROBES[at.2].is_answered(Family::V4))
    }

    fn settings(&self) -> Settings {
        let felix = self.objects.get(&("felix".to_owned(), String::new()));
        let has = |word: &str| felix.is_some_and(|felix| felix.contains(word));
        let near = |port| Failsafe {
            protocol: 6,
            port,
            net: Some("192.0.2.0/24".parse().expect("a net")),
        };
        Settings {
            to_host: if has("drop") { ToHost::Drop } else { ToHost::Accept },
            failsafe_inbound: match has("none-in") {
                true => Vec::new(),
                false if has("near") => vec![near(22)],
                false => Failsafe::inbound(),
            },
            failsafe_outbound: match has("ssh-out") {
                true => vec![Failsafe { protocol: 6, port: 22, net: None }],
                false => Failsafe::outbound(),
            },
            ..Settings::default()
        }
    }

    fn resources(&self) -> BTreeMap<Key, Resource> {
        let mut yaml = "
apiVersion: v1
kind: Namespace
metadata: { name: x }
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: { namespace: x, name: here-k8s-pod-eth0, labels: { pod: pod } }
spec: { node: here, orchestrator: k8s, pod: pod, endpoint: eth0, interfaceName: calipod, ipNetworks: [10.1.0.1/32], profiles: [kns.x] }
"
        .to_owned();
        for ((word, name), spec) in &self.objects {
            let (kind, more) = match word.as_str() {
                "hep" => ("HostEndpoint", format!(", labels: {{ host: {name} }}")),
                "gnp" => ("GlobalNetworkPolicy", String::new()),
                "np" => ("NetworkPolicy", ", namespace: x".to_owned()),
                "set" => ("GlobalNetworkSet", ", labels: { set: a }".to_owned()),
                "tier" => ("Tier", String::new()),
                "profile" => ("Profile", String::new()),
                "felix" => continue,
                other => panic!("{}: what is {other}?", self.name),
            };
            let spec = match word.as_str() {
                "hep" => spec.replacen('{', "{ node: here,", 1),
                _ => spec.clone(),
            };
            yaml += &format!(
                "---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{ name: {name}{more} }}\nspec: {spec}\n"
            );
        }
        cluster::read(&self.name, &yaml)
    }
}

fn interfaces() -> policy_calc::Interfaces {
    let all = PLACES.iter().filter_map(|place| Some((place.link?, place.gateway)));
    all.map(|(link, address)| (link.to_owned(), [Ipv4Addr::from(address).into()].into())).collect()
}

/// What the oracle says of a packet on its whole way.
struct Oracle<'a> {
    naive: Naive<'a>,
    settings: Settings,
}

impl Oracle<'_> {
    fn arrives(&self, at: At) -> bool {
        let probe = PROBES[at.2];
        let packet = |destination: [u8; 4], what: u16| Packet {
            source: Ipv4Addr::from(source(at)).into(),
            destination: Ipv4Addr::from(destination).into(),
            protocol: probe.protocol,
            header: Probe { what, ..probe }.header(Family::V4, 30_000),
        };
        let (who, address, what) = end(at);
        let (before, after) = (packet(target(at), probe.what), packet(address, what));
        let (input, output) = (PLACES[at.0].link, PLACES[who].link);
        match (input, output) {
            (None, None) => true,
            (None, Some(output)) => {
                let meant = if target(at) == ELSEWHERE { "eth0" } else { output };
                self.leaves(meant, &before, output, &after)
            }
            (Some(input), None) => self.comes(input, &before).map_or_else(
                |end| end,
                |passed| {
                    if input == "calipod" {
                        return self.pod(Direction::Egress, &after)
                            && self.settings.to_host != ToHost::Drop;
                    }
                    passed || self.normal(input, Direction::Ingress, &after)
                },
            ),
            (Some(input), Some(output)) => self.comes(input, &before).map_or_else(
                |end| end,
                |passed| {
                    let forward = |link, direction| {
                        self.class(link, Class::Forward, direction, &after) != Some(Decision::Deny)
                    };
                    (passed || forward(input, Direction::Ingress))
                        && (input != "calipod" || self.pod(Direction::Egress, &after))
                        && (output != "calipod" || self.pod(Direction::Ingress, &after))
                        && forward(output, Direction::Egress)
                },
            ),
        }
    }

    /// Before routing: dropped, or whether all that the host has to say was said.
    fn comes(&self, link: &str, packet: &Packet) -> Result<bool, bool> {
        for class in [Class::Untracked, Class::PreDnat] {
            let workload = link == "calipod" && class == Class::Untracked;
            if workload || self.stays_open(Direction::Ingress, packet) {
                continue;
            }
            match self.class(link, class, Direction::Ingress, packet) {
                Some(Decision::Allow) => return Ok(true),
                Some(Decision::Deny) => return Err(false),
                Some(Decision::Continue) | None => {}
            }
        }
        Ok(false)
    }

    fn leaves(&self, meant: &str, before: &Packet, link: &str, after: &Packet) -> bool {
        if link == "calipod" {
            return true;
        }
        if !self.stays_open(Direction::Egress, before) {
            match self.class(meant, Class::Untracked, Direction::Egress, before) {
                Some(Decision::Allow) => return true,
                Some(Decision::Deny) => return false,
                Some(Decision::Continue) | None => {}
            }
        }
        self.normal(link, Direction::Egress, after)
    }

    fn normal(&self, link: &str, direction: Direction, packet: &Packet) -> bool {
        self.stays_open(direction, packet)
            || self.class(link, Class::Normal, direction, packet) != Some(Decision::Deny)
    }

    fn pod(&self, direction: Direction, packet: &Packet) -> bool {
        let id = EndpointId::Workload {
            namespace: "x".to_owned(),
            name: "here-k8s-pod-eth0".to_owned(),
        };
        let outcome = self.naive.decide(&id, Class::Normal, direction, packet).expect("the pod");
        outcome.decision == Decision::Allow
    }

    /// `None`: no endpoint has it.
    fn class(
        &self,
        link: &str,
        class: Class,
        direction: Direction,
        packet: &Packet,
    ) -> Option<Decision> {
        let addresses: Vec<IpAddr> = match link {
            "calipod" => Vec::new(),
            _ => interfaces()[link].iter().copied().collect(),
        };
        let id = self.naive.host_endpoint("here", link, &addresses)?;
        Some(self.naive.decide(&id, class, direction, packet)?.decision)
    }

    fn stays_open(&self, direction: Direction, packet: &Packet) -> bool {
        let (list, other) = match direction {
            Direction::Ingress => (&self.settings.failsafe_inbound, packet.source),
            Direction::Egress => (&self.settings.failsafe_outbound, packet.destination),
        };
        let Header::Ports { destination, .. } = packet.header else { return false };
        list.iter().any(|open| {
            (open.protocol, open.port) == (packet.protocol, destination)
                && open.net.is_none_or(|net| net.contains(&other))
        })
    }
}

/// Sockets of a place.
struct Mouth {
    out: Socket,
    ears: Vec<Socket>,
}

impl Mouth {
    fn new() -> Self {
        let raw = |number: i32| {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(number)));
            socket.expect("a raw socket")
        };
        // Raw sockets hear what was let in, and no more.
        let ears: Vec<Socket> = [1, 6, 17].map(raw).into();
        ears.iter().for_each(|ear| ear.set_nonblocking(true).expect("not blocking"));
        Self { out: raw(255), ears }
    }
}

struct Rig {
    places: Vec<Mouth>,
    /// Two who know nothing of the host.
    control: [UdpSocket; 2],
    /// None while one follows on another.
    keeper: Option<Keeper>,
    round: u16,
}

impl Rig {
    fn new() -> Option<Self> {
        if let Err(err) = unshare(CloneFlags::CLONE_NEWNET) {
            report_skipped(&err);
            return None;
        }
        let mut one = CpuSet::new();
        one.set(sched_getcpu().expect("a CPU")).expect("it exists");
        sched_setaffinity(Pid::from_raw(0), &one).expect("this thread stays where it is");
        run("ip link set lo up");
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("forwarding");
        let mut places = vec![Mouth::new()];
        places.extend(PLACES.iter().skip(1).map(|place| {
            let link = place.link.expect("it has one");
            inside(link, place.address, place.gateway, Mouth::new)
        }));
        // By another link than it will leave by.
        run(&format!("ip route add {} via 192.0.2.2 dev eth0 onlink", Ipv4Addr::from(ELSEWHERE)));
        for line in [
            "add table ip others",
            "add chain ip others in { type nat hook prerouting priority -100; }",
            "add chain ip others out { type nat hook output priority -100; }",
            "add rule ip others in iifname eth0 tcp dport 8080 dnat to 10.1.0.1:80",
            "add rule ip others in iifname eth0 tcp dport 8081 redirect to :80",
            "add rule ip others out tcp dport 9090 dnat to 198.51.100.2:80",
        ] {
            run(&format!("nft {line}"));
        }
        let apart = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
            run("ip link set lo up");
            let other = inside("c0", [10, 9, 0, 2], [10, 9, 0, 1], socket);
            [socket(), other]
        });
        let control = apart.join().expect("two apart");
        Some(Self { places, control, keeper: None, round: 20_000 })
    }

    /// Puts it into the kernel; whoever comes next, with no memory, finds it right. How many steps each
    /// took.
    fn enforce(&mut self, table: &Table) -> [usize; 2] {
        let mut steps = || {
            self.keeper = None;
            let keeper = self.keeper.insert(Keeper::open(Name::of("margay")).expect("a keeper"));
            keeper.sync(table).expect("the kernel takes it").steps
        };
        [steps(), steps()]
    }

    /// Waits until whatever was sent has come or never will: what goes from one end of a link to
    /// another waits in one queue, so that after some rounds apart from the host nothing is left.
    fn settle(&self) {
        let to = |address| SocketAddrV4::new(Ipv4Addr::from(address), 9999);
        let mut buf = [0; 8];
        for _ in 0..8 {
            self.control[0].send_to(b"?", to([10, 9, 0, 2])).expect("sent");
            self.control[1].recv_from(&mut buf).expect("it came");
            self.control[1].send_to(b"!", to([10, 9, 0, 1])).expect("sent");
            self.control[0].recv_from(&mut buf).expect("it came");
        }
    }

    /// What arrived of everything, and what was answered.
    fn probe(&mut self) -> [BTreeSet<At>; 2] {
        let first = self.round;
        let all: Vec<At> = places().collect();
        for at in &all {
            let (to, probe) = (target(*at), PROBES[at.2]);
            let packet = probe.packet(Family::V4, source(*at).into(), to.into(), self.round);
            let to = SockAddr::from(SocketAddrV4::new(to.into(), 0));
            // What the host's own policies stop, the sender is told.
            self.places[at.0].out.send_to(&packet, &to).ok();
            self.round += 1;
        }
        self.settle();
        let [mut arrived, mut answered] = [BTreeSet::new(), BTreeSet::new()];
        for (who, mouth) in self.places.iter().enumerate() {
            for ear in &mouth.ears {
                let mut buf = [0; 256];
                while let Ok(length) = (&*ear).read(&mut buf) {
                    let Some((asked, number)) = heard(&buf[..length]) else { continue };
                    let known = number.checked_sub(first).and_then(|n| all.get(usize::from(n)));
                    let Some(at) = known else { continue };
                    match asked {
                        true if end(*at).0 == who => arrived.insert(*at),
                        false if at.0 == who => answered.insert(*at),
                        _ => panic!("{at:?} came to {}", PLACES[who].name),
                    };
                }
            }
        }
        [arrived, answered]
    }
}

/// Whether a packet asks or answers, and the number it has.
fn heard(packet: &[u8]) -> Option<(bool, u16)> {
    let body = packet.get(usize::from(packet.first()? & 15) * 4..)?;
    let number = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    match (packet.get(9)?, body.first()?) {
        (1, 8) => Some((true, number(4)?)),
        (1, 0) => Some((false, number(4)?)),
        (1, _) => None,
        _ => {
            let (from, to) = (number(0)?, number(2)?);
            Some(if from >= 20_000 { (true, from) } else { (false, to) })
        }
    }
}

fn socket() -> UdpSocket {
    UdpSocket::bind(("0.0.0.0", 9999)).expect("a port")
}

/// Makes something in a namespace behind a link of this one.
fn inside<T: Send + 'static>(
    link: &str,
    address: [u8; 4],
    gateway: [u8; 4],
    make: impl FnOnce() -> T + Send + 'static,
) -> T {
    let [address, gateway] = [address, gateway].map(Ipv4Addr::from);
    let (tell, told) = std::sync::mpsc::channel();
    let (go, going) = std::sync::mpsc::channel::<()>();
    let there = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
        tell.send(gettid()).expect("heard");
        going.recv().expect("the link is there");
        run("ip link set lo up");
        run(&format!("ip addr add {address}/32 dev uplink"));
        run("ip link set uplink up");
        run(&format!("ip route add {gateway} dev uplink"));
        run(&format!("ip route add default via {gateway}"));
        make()
    });
    let tid = told.recv().expect("the thread says its number");
    run(&format!("ip link add {link} type veth peer name uplink netns {tid}"));
    run(&format!("ip addr add {gateway}/32 dev {link}"));
    run(&format!("ip link set {link} up"));
    run(&format!("ip route add {address}/32 dev {link} src {gateway}"));
    go.send(()).expect("it waits");
    there.join().expect("somebody there")
}

fn differences(who: &str, is: &BTreeSet<At>, expected: &BTreeSet<At>) -> Vec<String> {
    let line = |at: &At| {
        let word = if is.contains(at) { "passed" } else { "stopped" };
        let [from, to] = [at.0, at.1].map(|place| PLACES[place].name);
        format!("{who}: {from} > {to} {}: {word}", PROBES[at.2].name)
    };
    is.symmetric_difference(expected).map(line).take(12).collect()
}

/// What the kernel does with a case, and what the oracle says: what arrives, what is answered, what the oracle
/// lets arrive, and the steps of another process to adopt the table.
fn run_case(rig: &mut Rig, case: &Case, few: usize) -> ([BTreeSet<At>; 3], usize) {
    let (settings, resources) = (Settings { few, ..case.settings() }, case.resources());
    let mut graph = Graph::new("here");
    resources.iter().for_each(|(key, resource)| graph.update(key, Some(resource.clone())));
    graph.in_sync();
    let mut state = State::default();
    state.apply(&graph.flush());
    let links = layout::links(&state, &settings, &interfaces());
    let layout = Layout::new(settings.clone(), &state, &links);
    let [_, again] = rig.enforce(layout.table());
    let oracle = Oracle { naive: Naive::new(resources.values()), settings };
    let oracle = places().filter(|at| oracle.arrives(*at)).collect();
    let [arrived, answered] = rig.probe();
    ([arrived, answered, oracle], again)
}

/// `MARGAY_CONFORMANCE_SETS` and `MARGAY_CONFORMANCE_SEED` for more of them, and for others.
#[test]
fn packets_of_a_host_go_where_the_oracle_says_whatever_the_policies() {
    let Some(mut rig) = Rig::new() else { return };
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("MARGAY_CONFORMANCE_SEED").unwrap_or(1);
    let sets = number("MARGAY_CONFORMANCE_SETS").unwrap_or(60);
    let (mut let_in, mut kept_out) = (0, 0);
    for seed in first..first + sets {
        // Each packet has a port of its own to come from, of which there are enough for so many.
        if (seed - first) % 400 == 399 {
            rig = Rig::new().expect("as before");
        }
        let text = random::hosts(seed);
        for case in read(&text) {
            let few = if seed % 2 == 0 { 0 } else { Settings::default().few };
            let ([arrived, _, oracle], _) = run_case(&mut rig, &case, few);
            let wrong = differences("kernel", &arrived, &oracle);
            assert!(wrong.is_empty(), "{text}\n{}", wrong.join("\n"));
            let_in += oracle.len();
            kept_out += places().count() - oracle.len();
        }
    }
    assert!(sets < 4 || let_in > 0 && kept_out > 0, "{let_in} let in, {kept_out} not");
}

#[test]
fn host_endpoints_of_all_classes_do_what_they_say() {
    let Some(mut rig) = Rig::new() else { return };
    let mut failed = Vec::new();
    let cases = read(include_str!("hosts.cases"));
    // With lists of policies asked as they are, and with every one asked by whom it concerns.
    let each = |case| [Settings::default().few, 0].map(|few| (case, few));
    for (case, few) in cases.iter().flat_map(each) {
        let ([arrived, answered, oracle], again) = run_case(&mut rig, case, few);
        let expected = places().filter(|at| case.is_answered(*at)).collect();
        let mut wrong = differences("by hand", &case.arrived, &oracle);
        wrong.extend(differences("kernel", &arrived, &oracle));
        wrong.extend(differences("answers", &answered, &expected));
        // To hold the table is one.
        wrong.extend((again > 1).then(|| format!("kernel: {again} steps to adopt what is right")));
        if !wrong.is_empty() {
            failed.push(format!("{}, {few}:\n  {}", case.name, wrong.join("\n  ")));
        }
    }
    assert!(cases.len() >= 40, "{} cases", cases.len());
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), cases.len(), failed.join("\n"));
}
