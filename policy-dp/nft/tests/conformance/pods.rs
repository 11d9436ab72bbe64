//! Nine pods around a host, and packets between them.
//!
//! All is done by one thread on one CPU, with sockets opened in the pods' namespaces: what it sends
//! goes through one queue of the kernel in the order it was sent. So when a control packet has come,
//! of a connection that every table lets go on, everything sent before it has come or never will.

use std::{
    fs,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    process::Command,
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CloneFlags, CpuSet, sched_getcpu, sched_setaffinity, unshare},
    sys::socket::{setsockopt, sockopt},
    unistd::{Pid, gettid},
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::wire::{Family, PODS, PROBES, Seen, places, pod};

/// The pods. Their namespaces last as long as this.
pub struct Pods {
    family: Family,
    pods: Vec<Pod>,
    round: u16,
    control: u64,
}

/// A pod's sockets.
struct Pod {
    /// Sends packets with their headers.
    out: Socket,
    /// Hears every packet that comes.
    heard: Socket,
    /// Sends control packets.
    control: UdpSocket,
}

/// What became of probes.
pub struct Packets {
    /// Came to the other pod.
    pub arrived: Seen,
    /// Were answered, and the answer came back.
    pub answered: Seen,
}

/// The port of control packets.
const CONTROL: u16 = 9999;
/// The first source port of probes.
const FIRST: u16 = 20_000;
const PATIENCE: Duration = Duration::from_secs(60);

impl Pods {
    /// Makes the calling thread a host with pods that speak this; `None` without the right to do so.
    pub fn new(family: Family) -> Option<Self> {
        if let Err(err) = unshare(CloneFlags::CLONE_NEWNET) {
            report_skipped(&err);
            return None;
        }
        let mut one = CpuSet::new();
        one.set(sched_getcpu().expect("a CPU")).expect("it exists");
        sched_setaffinity(Pid::from_raw(0), &one).expect("this thread stays where it is");
        run("ip link set lo up");
        let forwarding = match family {
            Family::V4 => "ipv4/ip_forward",
            Family::V6 => "ipv6/conf/all/forwarding",
        };
        fs::write(format!("/proc/sys/net/{forwarding}"), "1").expect("forwarding");
        let pods = (0..PODS).map(|number| Pod::new(number, family)).collect();
        // Tens of thousands of connections a second that nobody needs again; the control ones do.
        for (key, seconds) in [
            ("udp_timeout", "3"),
            ("udp_timeout_stream", "36000"),
            ("icmp_timeout", "3"),
            ("icmpv6_timeout", "3"),
            ("tcp_timeout_syn_sent", "3"),
            ("tcp_timeout_close", "3"),
        ] {
            fs::write(format!("/proc/sys/net/netfilter/nf_conntrack_{key}"), seconds)
                .expect("connection tracking");
        }
        Some(Self { family, pods, round: FIRST, control: 0 })
    }

    /// Every pod speaks to every other, by what control packets will be part of. Policies must be
    /// there, for connections to be tracked, and let it.
    pub fn meet(&mut self) {
        for _ in 0..2 {
            self.settle(|_, _| {});
        }
    }

    /// A source port that no probe had for long.
    fn begin(&mut self) -> u16 {
        self.round = if self.round == u16::MAX { FIRST } else { self.round + 1 };
        self.round
    }

    /// Sends everything once.
    pub fn probe(&mut self) -> Packets {
        let round = self.begin();
        for (from, to, probe) in places() {
            let [source, at] = [from, to].map(|pod| self.family.address(pod));
            let packet = PROBES[probe].packet(self.family, source, at, round);
            let at = SockAddr::from(SocketAddr::new(at, 0));
            self.pods[from].out.send_to(&packet, &at).expect("sent");
        }
        let mut packets = Packets { arrived: Seen::none(), answered: Seen::none() };
        let family = self.family;
        // The second time for answers, which were sent before the first control packet came.
        for _ in 0..2 {
            self.settle(|at, packet| note(&mut packets, family, round, at, packet));
        }
        packets
    }

    /// Waits until everything has come that will, and shows what did.
    fn settle(&mut self, mut show: impl FnMut(usize, &[u8])) {
        self.control += 1;
        let text = self.control.to_be_bytes();
        for (from, to, _) in places().filter(|place| place.2 == 0) {
            let at = SocketAddr::new(self.family.address(to), CONTROL);
            self.pods[from].control.send_to(&text, at).expect("sent");
        }
        let deadline = Instant::now() + PATIENCE;
        for at in 0..PODS {
            let mut missing: Vec<_> = (0..PODS).filter(|from| *from != at).collect();
            let mut buf = [0; 256];
            while !missing.is_empty() {
                match (&self.pods[at].heard).read(&mut buf) {
                    Ok(length) => match Heard::of(self.family, &buf[..length]) {
                        Some(heard) if (heard.protocol, heard.ports) == (17, [CONTROL; 2]) => {
                            if heard.body.get(8..16) == Some(&text) {
                                missing.retain(|from| *from != heard.from);
                            }
                        }
                        _ => show(at, &buf[..length]),
                    },
                    Err(err) if err.kind() == std::io::ErrorKind::WouldBlock => {
                        let names = missing.iter().map(|from| pod(*from)).collect::<Vec<_>>();
                        let late = Instant::now() > deadline;
                        assert!(!late, "no control packet came to {} from {names:?}", pod(at));
                        thread::yield_now();
                    }
                    Err(err) => panic!("{err}"),
                }
            }
        }
    }
}

/// A packet that came.
struct Heard<'a> {
    from: usize,
    protocol: u8,
    /// Source and destination.
    ports: [u16; 2],
    body: &'a [u8],
}

impl<'a> Heard<'a> {
    fn of(family: Family, packet: &'a [u8]) -> Option<Self> {
        let (body, source, protocol) = match family {
            Family::V4 => {
                let body = packet.get(usize::from(packet.first()? & 15) * 4..)?;
                let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
                (body, IpAddr::from(source), *packet.get(9)?)
            }
            // Nobody here puts a header between.
            Family::V6 => {
                let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
                (packet.get(40..)?, IpAddr::from(source), *packet.get(6)?)
            }
        };
        let number = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
        let from = (0..PODS).find(|pod| family.address(*pod) == source)?;
        Some(Self { from, protocol, ports: [number(0)?, number(2)?], body })
    }
}

/// What a packet that came to a pod means for the probes of a round.
fn note(packets: &mut Packets, family: Family, round: u16, at: usize, packet: &[u8]) {
    let Some(Heard { from, protocol, ports, body }) = Heard::of(family, packet) else { return };
    let of_it = PROBES.iter().enumerate().filter(|(_, p)| p.protocol(family) == protocol);
    for (index, probe) in of_it {
        let sent = probe.what(family);
        if matches!(protocol, 1 | 58) {
            let kind = u16::from(body[0]);
            if body.get(4..6) != Some(&round.to_be_bytes()) {
                continue;
            }
            match (kind, sent) {
                (kind, what) if kind == what => packets.arrived.set(from, at, index, true),
                (0, 8) | (14, 13) | (129, 128) => packets.answered.set(at, from, index, true),
                _ => {}
            }
        } else if ports == [round, sent] {
            packets.arrived.set(from, at, index, true);
        } else if ports == [sent, round] {
            packets.answered.set(at, from, index, true);
        }
    }
}

impl Pod {
    fn new(number: usize, family: Family) -> Self {
        let (address, link) = (family.address(number), format!("cali{}", name(number)));
        // The host on every link, and the length of one address. Nobody else has an address here, so nobody
        // needs to be asked first whether he has.
        let (host, network, one, how) = match family {
            Family::V4 => ("169.254.1.1", 32, 32, ""),
            Family::V6 => ("fe80::1", 64, 128, " nodad"),
        };
        let (tell, told) = channel();
        let (go, going) = channel::<()>();
        let pod = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
            tell.send(gettid()).expect("heard");
            going.recv().expect("the link is there");
            run("ip link set lo up");
            run(&format!("ip addr add {address}/{one} dev eth0{how}"));
            run("ip link set eth0 up");
            run(&format!("ip route add {host} dev eth0"));
            run(&format!("ip route add default via {host} dev eth0"));
            Self::sockets(family)
        });
        let tid = told.recv().expect("the thread says its number");
        run(&format!("ip link add {link} type veth peer name eth0 netns {tid}"));
        run(&format!("ip addr add {host}/{network} dev {link}{how}"));
        run(&format!("ip link set {link} up"));
        run(&format!("ip route add {address}/{one} dev {link}"));
        go.send(()).expect("it waits");
        pod.join().expect("a pod")
    }

    fn sockets(family: Family) -> Self {
        let (domain, number, any): (_, u16, IpAddr) = match family {
            Family::V4 => (Domain::IPV4, 0x0800, Ipv4Addr::UNSPECIFIED.into()),
            Family::V6 => (Domain::IPV6, 0x86dd, Ipv6Addr::UNSPECIFIED.into()),
        };
        // IPPROTO_RAW: packets come with their headers.
        let out = Socket::new(domain, Type::RAW, Some(Protocol::from(255))).expect("raw");
        let ip = Protocol::from(i32::from(number.to_be()));
        let heard = Socket::new(Domain::PACKET, Type::DGRAM, Some(ip)).expect("a packet socket");
        heard.set_nonblocking(true).expect("not blocking");
        setsockopt(&heard, sockopt::RcvBufForce, &(8 << 20)).expect("room");
        let control = UdpSocket::bind((any, CONTROL)).expect("a port");
        Self { out, heard, control }
    }
}

/// The name of a pod in its link's.
pub fn name(number: usize) -> String {
    pod(number).replace('/', "")
}

/// Says past the harness that the test was not made.
pub fn report_skipped(err: &nix::Error) {
    let name = thread::current().name().unwrap_or("test").to_owned();
    let text = format!("\n*** SKIPPED {name}: cannot make a network namespace: {err}\n");
    std::io::stderr().write_all(text.as_bytes()).ok();
}

/// Runs a command in the calling thread's namespace, which must succeed.
pub fn run(line: &str) {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("a program"));
    let out = command.args(words).output().expect("it runs");
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
}
