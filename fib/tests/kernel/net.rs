//! A network namespace of the test's own: the calling thread moves into it, whatever it starts
//! follows, and the kernel removes it when the last of them is gone.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use margay_fib::{
    BgpNextHop, Fib, FibConfig, FibEvent, FibHandle, FibRow, RowFilter, Target, Tuning, Wish,
};

/// Moves this thread into a namespace with `lo` up. `None` without the right to do so: the test is
/// then skipped, and says so past the harness, which shows a passing test's output to nobody.
pub fn enter() -> Option<Net> {
    if let Err(err) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
        let name = std::thread::current().name().unwrap_or("test").to_owned();
        let text = format!("\n*** SKIPPED {name}: cannot make a network namespace: {err}\n");
        std::io::stderr().write_all(text.as_bytes()).ok();
        return None;
    }
    let net = Net;
    net.ip("link set lo up");
    Some(net)
}

/// The namespace.
#[derive(Debug, Clone, Copy)]
pub struct Net;

impl Net {
    /// `ip ARGS`, which must succeed.
    pub fn ip(&self, args: &str) -> String {
        let (ok, out) = self.try_ip(args);
        assert!(ok, "ip {args}: {out}");
        out
    }

    /// `ip ARGS`: whether it succeeded, and what it said.
    pub fn try_ip(&self, args: &str) -> (bool, String) {
        let out = Command::new("ip").args(args.split_whitespace()).output().expect("ip runs");
        let text = [out.stdout, out.stderr].concat();
        (out.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// `ip -batch` of these lines.
    pub fn batch(&self, lines: &str) {
        let mut child = Command::new("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("ip runs");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(lines.as_bytes()).expect("ip reads");
        drop(stdin);
        assert!(child.wait().expect("ip ends").success());
    }

    /// A link NAME that is up with these addresses; its other end NAMEp stays here, up.
    pub fn link(&self, name: &str, addresses: &[&str]) -> u32 {
        self.ip(&format!("link add name {name} type veth peer name {name}p"));
        for end in [name.to_owned(), format!("{name}p")] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/accept_dad"), "0").ok();
        }
        for address in addresses {
            self.ip(&format!("addr add {address} dev {name}"));
        }
        self.ip(&format!("link set dev {name}p up"));
        self.ip(&format!("link set dev {name} up"));
        self.await_carrier(name);
        self.index(name)
    }

    /// Waits until a link may carry packets: the kernel takes its time to say so.
    pub fn await_carrier(&self, name: &str) {
        until("the link is up", || self.ip(&format!("link show dev {name}")).contains("state UP"));
    }

    /// Index of a link.
    pub fn index(&self, name: &str) -> u32 {
        nix::net::if_::if_nametoindex(name).expect("link exists")
    }

    /// The next hops of the route to a prefix as `ip route` shows them, `VIA dev LINK xWEIGHT`,
    /// sorted; the kind for a route without; empty when there is none. ARGS go to `ip route show`.
    pub fn hops(&self, prefix: &str, args: &str) -> Vec<String> {
        let family = if prefix.contains(':') { "-6" } else { "-4" };
        let text = self.ip(&format!("{family} route show exact {prefix} {args}"));
        let words: Vec<&str> = text.split_whitespace().collect();
        if let Some(kind) = words.first()
            && ["blackhole", "unreachable", "prohibit"].contains(kind)
        {
            return vec![(*kind).to_owned()];
        }
        let mut hops: Vec<String> = Vec::new();
        let mut at = words.iter();
        while let Some(word) = at.next() {
            match *word {
                "via" => {
                    let via = at.next().expect("a gateway");
                    let via = if *via == "inet6" { at.next().expect("a gateway") } else { via };
                    hops.push(format!("{via} x1"));
                }
                "dev" => {
                    let link = at.next().expect("a link");
                    let hop = hops.last_mut().expect("a gateway before");
                    *hop = hop.replace(" x1", &format!(" dev {link} x1"));
                }
                "weight" => {
                    let weight = at.next().expect("a weight");
                    let hop = hops.last_mut().expect("a gateway before");
                    *hop = hop.replace(" x1", &format!(" x{weight}"));
                }
                _ => {}
            }
        }
        hops.sort();
        hops
    }

    /// Whether the kernel has a route to exactly this prefix.
    pub fn has(&self, prefix: &str) -> bool {
        let family = if prefix.contains(':') { "-6" } else { "-4" };
        !self.ip(&format!("{family} route show exact {prefix}")).trim().is_empty()
    }
}

/// A running kernel side and what it told.
pub struct Running {
    pub handle: FibHandle,
    events: Receiver<FibEvent>,
    seen: Vec<FibEvent>,
}

/// Starts one in this namespace.
pub fn start(config: FibConfig) -> Running {
    start_tuned(config, Tuning::default())
}

/// The same with other sizes and times.
pub fn start_tuned(config: FibConfig, tuning: Tuning) -> Running {
    let (tx, events) = channel();
    let handle = Fib::start_tuned(config, tuning, move |events| {
        for event in events {
            tx.send(event).ok();
        }
    })
    .expect("the kernel side starts");
    Running { handle, events, seen: Vec::new() }
}

impl Running {
    /// Waits for an event; those before it are kept for later calls.
    pub fn await_event(&mut self, what: &str, matches: impl Fn(&FibEvent) -> bool) -> FibEvent {
        if let Some(at) = self.seen.iter().position(&matches) {
            return self.seen.remove(at);
        }
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) if matches(&event) => return event,
                Ok(event) => self.seen.push(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no event: {what}; there were {:?}", self.seen)
                }
            }
        }
    }

    /// Forgets what was told so far.
    pub fn forget(&mut self) {
        self.seen.clear();
        while self.events.try_recv().is_ok() {}
    }

    /// Waits until everything wished is in the kernel.
    pub fn settle(&self) {
        until("nothing pending", || {
            // After the answer the figures count everything asked before.
            self.handle.rows_after(RowFilter::All, None, 1);
            let s = self.handle.status();
            s.pending == 0
        });
    }

    /// All rows.
    pub fn rows(&self) -> Vec<FibRow> {
        self.handle.rows(RowFilter::All).collect()
    }
}

/// Set for a process that a test starts from its own binary.
pub const CHILD: &str = "MARGAY_FIB_TEST_CHILD";

/// Polls until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A prefix.
pub fn prefix(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

/// A plain BGP next hop.
pub fn nh(address: &str) -> BgpNextHop {
    BgpNextHop { address: address.parse().expect("an address"), link_local: None, interface: None }
}

/// A wish over these next hops, weight 1 each.
pub fn via(next_hops: &[&str]) -> Option<Wish> {
    weighted(&next_hops.iter().map(|n| (*n, 1)).collect::<Vec<_>>())
}

/// A wish over these next hops.
pub fn weighted(next_hops: &[(&str, u16)]) -> Option<Wish> {
    wish(Target::Via(next_hops.iter().map(|(n, w)| (nh(n), *w)).collect()))
}

/// A wish.
pub fn wish(target: Target) -> Option<Wish> {
    Some(Wish::plain(target))
}

/// Long enough on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(20);
