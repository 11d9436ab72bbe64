//! Hosts with two pods each, in namespaces, and packets from one pod to the other.
//!
//! All is sent and heard by one thread that stays on one CPU: what it sends has passed the host when
//! the call that sent it is back, so the time of the calls is what packets cost, and no waking of
//! anybody is in it.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    process::Command,
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, CpuSet, sched_getcpu, sched_setaffinity, setns, unshare};
use nix::unistd::{Pid, gettid};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// The pods: who sends, who hears.
pub const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 64, 0, 1), Ipv4Addr::new(10, 64, 0, 2)];
/// Their links.
pub const LINKS: [&str; 2] = ["calisender", "calihearer"];
/// The port of who hears.
pub const PORT: u16 = 9000;
/// The first port that new connections come from.
const FIRST: u16 = 1024;
/// Packets sent before those that came are taken.
const TOGETHER: u32 = 64;

/// A host, its pods' sockets with it.
pub struct Host {
    namespace: File,
    /// Of an old connection.
    sender: UdpSocket,
    /// Sends packets with their headers.
    raw: Socket,
    hearer: UdpSocket,
    /// Where the next new connection comes from.
    next: u16,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packets {
    /// Of a connection that both sides know.
    Known,
    /// Each the first of its connection.
    First,
}

impl Host {
    /// Makes one.
    pub fn new() -> Result<Self> {
        thread::spawn(Self::make).join().map_err(|_| anyhow::anyhow!("a thread panicked"))?
    }

    fn make() -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET)
            .context("cannot make a network namespace (this needs root)")?;
        let namespace = File::open("/proc/thread-self/ns/net")?;
        run("ip link set lo up")?;
        fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        let mut pods = Vec::new();
        for (address, link) in ADDRESSES.into_iter().zip(LINKS) {
            pods.push(pod(address, link, |bound| {
                let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)))?;
                let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, bound))?;
                socket.set_nonblocking(true)?;
                Ok((socket, raw))
            })?);
        }
        let hearer = pods.pop().context("two pods")?.0;
        let (sender, raw) = pods.pop().context("two pods")?;
        Ok(Self { namespace, sender, raw, hearer, next: FIRST })
    }

    /// Works in the host's namespace.
    pub fn enter<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let namespace = self.namespace.try_clone()?;
        let inside = thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            work()
        });
        inside.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?
    }

    /// Both sides say something, so that their connection is known.
    pub fn meet(&self) -> Result<()> {
        let [sender, hearer] = ADDRESSES;
        for _ in 0..2 {
            self.sender.send_to(b"there", (hearer, PORT))?;
            let came = self.take();
            ensure!(came == 1, "{came} packets came where policy lets one through");
            self.hearer.send_to(b"back", (sender, PORT))?;
            self.sender.recv(&mut [0; 64]).context("no answer came")?;
        }
        Ok(())
    }

    /// Sends packets, at most so many and for so long; how long each took. All must come.
    pub fn send(&mut self, what: Packets, most: u32, longest: Duration) -> Result<Duration> {
        let (mut sent, mut took) = (0, Duration::ZERO);
        while sent < most && took < longest {
            let count = TOGETHER.min(most - sent);
            let begun = Instant::now();
            for _ in 0..count {
                match what {
                    Packets::Known => self.sender.send_to(b"there", (ADDRESSES[1], PORT))?,
                    Packets::First => self.first()?,
                };
            }
            took += begun.elapsed();
            sent += count;
            let came = self.take();
            ensure!(came == count, "of {count} packets {came} came");
        }
        Ok(took / sent.max(1))
    }

    /// Sends a packet from a port that nothing came from before.
    fn first(&mut self) -> Result<usize> {
        let source = self.next;
        self.next = self.next.checked_add(1).context("every port had its connection")?;
        let [from, to] = ADDRESSES;
        let packet: [&[u8]; 6] = [
            &[0x45, 0, 0, 33, 0, 0, 0, 0, 64, 17, 0, 0],
            &from.octets(),
            &to.octets(),
            &source.to_be_bytes(),
            &PORT.to_be_bytes(),
            // Its length, no checksum, and what it says.
            b"\0\x0d\0\0there",
        ];
        let at = SockAddr::from(SocketAddrV4::new(to, 0));
        Ok(self.raw.send_to(&packet.concat(), &at)?)
    }

    /// Takes what came; how much.
    fn take(&self) -> u32 {
        let mut buf = [0; 64];
        let mut came = 0;
        while self.hearer.recv(&mut buf).is_ok() {
            came += 1;
        }
        came
    }
}

/// Keeps the calling thread where it is.
pub fn stay() -> Result<()> {
    let mut one = CpuSet::new();
    one.set(sched_getcpu()?)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &one)?)
}

/// Makes a pod on a link of the calling thread's namespace, and there what is asked for.
fn pod<T: Send + 'static>(
    address: Ipv4Addr,
    link: &str,
    make: impl FnOnce(u16) -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let (tell, told) = channel();
    let (go, going) = channel::<()>();
    let pod = thread::spawn(move || -> Result<T> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        tell.send(gettid())?;
        going.recv()?;
        run("ip link set lo up")?;
        run(&format!("ip addr add {address}/32 dev eth0"))?;
        run("ip link set eth0 up")?;
        run("ip route add 169.254.1.1 dev eth0")?;
        run("ip route add default via 169.254.1.1")?;
        Ok(make(PORT)?)
    });
    let tid = told.recv()?;
    run(&format!("ip link add {link} type veth peer name eth0 netns {tid}"))?;
    run(&format!("ip addr add 169.254.1.1/32 dev {link}"))?;
    run(&format!("ip link set {link} up"))?;
    run(&format!("ip route add {address}/32 dev {link}"))?;
    go.send(())?;
    pod.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?
}

/// Runs a command in the calling thread's namespace.
fn run(line: &str) -> Result<()> {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().context("a program")?);
    let output = command.args(words).output().with_context(|| line.to_owned())?;
    ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
