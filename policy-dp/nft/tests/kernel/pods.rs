//! A host with pods behind links, and packets between them.

use std::{
    io::{self, Read as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::mpsc::{Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace with a thread that lives there and does what it is told. Gone when this is.
pub struct Place {
    tid: i32,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Place {
    /// An empty one.
    pub fn new() -> Self {
        let (jobs, received) = channel::<Job>();
        let (tell, told) = channel();
        let thread = thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a namespace");
            tell.send(nix::unistd::gettid().as_raw()).expect("the test waits");
            while let Ok(job) = received.recv() {
                job();
            }
        });
        let tid = told.recv().expect("the thread says its number");
        Self { tid, jobs: Some(jobs), thread: Some(thread) }
    }

    /// Does something inside.
    pub fn within<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = channel();
        let job = Box::new(move || drop(tell.send(work())));
        assert!(self.jobs.as_ref().expect("there").send(job).is_ok(), "the thread lives");
        told.recv().expect("an answer")
    }

    /// A pod of the host that the calling thread is in: behind a link of this name, with an
    /// address, a server for TCP and one for UDP at each of these ports.
    pub fn pod(link: &str, address: &str, ports: &'static [u16]) -> Self {
        let pod = Self::new();
        run(&format!("ip link add {link} type veth peer name eth0 netns {}", pod.tid));
        run(&format!("ip addr add 169.254.1.1/32 dev {link}"));
        run(&format!("ip link set {link} up"));
        run(&format!("ip route add {address}/32 dev {link}"));
        let address = address.to_owned();
        pod.within(move || {
            run("ip link set lo up");
            run(&format!("ip addr add {address}/32 dev eth0"));
            run("ip link set eth0 up");
            run("ip route add 169.254.1.1 dev eth0");
            run("ip route add default via 169.254.1.1");
        });
        pod.serve(ports);
        pod
    }

    /// Takes a link of the calling thread's namespace.
    pub fn take(&self, link: &str) {
        run(&format!("ip link set {link} netns {}", self.tid));
    }

    /// Answers at these ports.
    pub fn serve(&self, ports: &'static [u16]) {
        self.within(move || ports.iter().for_each(|port| serve(*port)));
    }

    /// Whether a TCP connection can be made.
    pub fn tcp(&self, to: &str, port: u16, expected: bool) {
        let at: SocketAddr = format!("{to}:{port}").parse().expect("an address");
        let done = self.within(move || {
            eventually(expected, |wait| TcpStream::connect_timeout(&at, wait).map(drop))
        });
        assert_eq!(done, expected, "TCP to {at}");
    }

    /// Whether a datagram is answered; sent from this address of the pod's.
    pub fn udp(&self, from: &str, to: &str, port: u16, expected: bool) {
        let at: SocketAddr = format!("{to}:{port}").parse().expect("an address");
        let from = format!("{from}:0");
        let done = self.within(move || {
            eventually(expected, |wait| {
                let socket = UdpSocket::bind(&from)?;
                socket.set_read_timeout(Some(wait))?;
                socket.send_to(b"?", at)?;
                socket.recv_from(&mut [0; 8]).map(drop)
            })
        });
        assert_eq!(done, expected, "UDP to {at}");
    }

    /// Whether a packet of a protocol that nobody knows, with nothing behind its IP header, comes to
    /// another.
    pub fn nothing_but_a_header(&self, to: &Self, address: &str, expected: bool) {
        let raw = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(253)));
        let heard = to.within(move || raw().expect("a socket"));
        let address: SocketAddr = format!("{address}:0").parse().expect("an address");
        let done = eventually(expected, |wait| {
            heard.set_read_timeout(Some(wait))?;
            self.within(move || raw()?.send_to(&[], &address.into()))?;
            // Who reads has the IP header, too.
            let len = (&heard).read(&mut [0; 64])?;
            assert_eq!(len, 20);
            Ok(())
        });
        assert_eq!(done, expected, "a bare header to {address}");
    }

    /// Whether an echo comes back.
    pub fn ping(&self, to: &str, expected: bool) {
        let line = format!("ping -n -c 1 -W 1 {to}");
        let done = self.within(move || {
            eventually(expected, |_| match try_run(&line) {
                (true, _) => Ok(()),
                (false, text) => Err(io::Error::other(text)),
            })
        });
        assert_eq!(done, expected, "echo from {to}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// What is allowed is tried until it works; what is not, once, for a second.
fn eventually(expected: bool, mut attempt: impl FnMut(Duration) -> io::Result<()>) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match attempt(Duration::from_secs(1)) {
            Ok(()) => return true,
            Err(_) if !expected || Instant::now() > deadline => return false,
            Err(_) => {}
        }
    }
}

/// Answers TCP and UDP at a port, in the calling thread's namespace, as long as the test lives.
pub fn serve(port: u16) {
    let tcp = TcpListener::bind(("0.0.0.0", port)).expect("a port");
    thread::spawn(move || tcp.incoming().for_each(drop));
    let udp = UdpSocket::bind(("0.0.0.0", port)).expect("a port");
    thread::spawn(move || {
        let mut buf = [0; 8];
        while let Ok((_, from)) = udp.recv_from(&mut buf) {
            udp.send_to(b"!", from).ok();
        }
    });
}

/// Runs a command in the calling thread's namespace, which must succeed.
pub fn run(line: &str) {
    let (ok, text) = try_run(line);
    assert!(ok, "{line}: {text}");
}

fn try_run(line: &str) -> (bool, String) {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("a program"));
    let out = command.args(words).output().expect("it runs");
    (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into())
}
