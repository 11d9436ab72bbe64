//! A fresh process adopts what a killed one left, and sweeps only when it may.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use margay_fib::{FibConfig, FibEvent, NexthopObjects, Target};

use crate::net::*;

const ROUTES: u32 = 200_000;

fn many(n: u32) -> impl Iterator<Item = IpNet> {
    (0..n).map(|i| IpNet::V4(Ipv4Net::new(((20 << 24) + (i << 8)).into(), 24).expect("/24")))
}

/// What the process does that gets killed: installs routes and waits for its end. Does nothing
/// unless the test below starts it.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let fib = start(FibConfig::default());
    let same = via(&["10.0.0.2", "10.0.1.2"]).map(Arc::new);
    fib.handle.set_all(many(ROUTES).map(|p| (p, same.clone())));
    fib.handle.set(prefix("2001:db8:1::/48"), via(&["2001:db8::2"]));
    fib.handle.set(prefix("198.51.100.0/24"), wish(Target::Blackhole));
    fib.handle.set(prefix("203.0.113.0/24"), via(&["10.0.0.2"]));
    fib.settle();
    println!("installed {}", fib.handle.status().routes_v4);
    std::io::stdin().read_to_end(&mut Vec::new()).expect("the parent lives");
}

#[test]
fn killed_and_restarted_nothing_valid_is_deleted() {
    let Some(net) = enter() else { return };
    net.link("v0", &["10.0.0.1/24", "2001:db8::1/64"]);
    net.link("v1", &["10.0.1.1/24"]);
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "restart::child", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut said = BufReader::new(child.stdout.take().expect("piped")).lines();
    let installed = said.find_map(|l| l.ok().filter(|l| l.contains("installed")));
    assert!(installed.is_some_and(|l| l.ends_with(&format!("installed {}", ROUTES + 2))));
    child.kill().expect("killed"); // SIGKILL
    child.wait().expect("dead");
    let before = net.ip("nexthop show");

    let monitor = Monitor::start(&net);
    let mut fib = start(FibConfig::default());
    fib.await_event("in sync", |e| *e == FibEvent::InSync);
    assert_eq!(fib.handle.status().routes_v4, usize::try_from(ROUTES).expect("fits") + 2);
    // The same wishes again, in another order, but for one.
    fib.handle.set(prefix("2001:db8:1::/48"), via(&["2001:db8::2"]));
    fib.handle.set(prefix("198.51.100.0/24"), wish(Target::Blackhole));
    let all: Vec<_> = many(ROUTES).collect();
    let wish = via(&["10.0.0.2", "10.0.1.2"]).map(Arc::new);
    fib.handle.set_all(all.iter().rev().map(|p| (*p, wish.clone())));
    fib.settle();
    assert!(net.has("203.0.113.0/24"), "nothing is swept before the sources are in sync");
    fib.handle.in_sync();
    fib.settle();
    assert!(!net.has("203.0.113.0/24"), "then it is");
    let seen = monitor.end(&net);
    let changed: Vec<_> = seen.iter().filter(|l| !l.contains("203.0.113.0/24")).collect();
    assert!(
        changed.is_empty(),
        "{} changes: {:?}",
        changed.len(),
        &changed[..changed.len().min(9)]
    );
    assert_eq!(fib.handle.status().applied, 1, "nothing is written twice");
    assert_eq!(net.ip("nexthop show"), before, "objects are adopted, too");
    assert!(fib.rows().iter().all(|row| row.in_kernel));
    fib.handle.stop(true);
}

#[test]
fn what_was_left_is_corrected_without_a_gap() {
    let Some(net) = enter() else { return };
    net.link("v0", &["10.0.0.1/24"]);
    let inline = FibConfig { nexthop_objects: NexthopObjects::Off, ..FibConfig::default() };
    let fib = start(inline);
    fib.handle.set(prefix("192.0.2.0/24"), via(&["10.0.0.2"]));
    fib.handle.set(prefix("198.51.100.0/24"), via(&["10.0.0.2"]));
    fib.settle();
    fib.handle.stop(true);
    // Ours of another metric, and somebody else's: the one goes, the other stays.
    net.ip("route add 192.0.2.0/24 via 10.0.0.9 metric 99 proto 186");
    net.ip("route add 192.0.2.0/24 via 10.0.0.9 metric 98 proto static");

    let monitor = Monitor::start(&net);
    let fib = start(FibConfig::default());
    fib.handle.set(prefix("192.0.2.0/24"), via(&["10.0.0.3"]));
    fib.settle();
    fib.handle.in_sync();
    fib.settle();
    let shown = net.ip("route show exact 192.0.2.0/24");
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(shown.contains("10.0.0.3") && shown.contains("metric 98"), "{shown}");
    assert!(!net.has("198.51.100.0/24"));
    let seen = monitor.end(&net);
    let deleted: Vec<_> = seen.iter().filter(|l| l.contains("Deleted")).collect();
    assert_eq!(deleted.len(), 2, "{seen:?}");
    assert!(deleted.iter().all(|l| l.contains("198.51.100.0") || l.contains("metric 99")));
    fib.handle.stop(true);
}

#[test]
fn unused_objects_of_a_former_process_are_not_trusted_with_other_next_hops() {
    let Some(net) = enter() else { return };
    net.link("v0", &["10.0.0.1/24"]);
    let fib = start(FibConfig::default());
    fib.handle.set(prefix("192.0.2.0/24"), via(&["10.0.0.2"]));
    fib.settle();
    fib.handle.stop(true);
    // While nobody looks the next hop becomes another one.
    let fib = start(FibConfig::default());
    fib.handle.set(prefix("192.0.2.0/24"), via(&["10.0.0.3"]));
    fib.settle();
    assert_eq!(net.hops("192.0.2.0/24", ""), ["10.0.0.3 dev v0 x1"]);
    fib.handle.in_sync();
    fib.settle();
    assert_eq!(net.hops("192.0.2.0/24", ""), ["10.0.0.3 dev v0 x1"]);
    fib.handle.stop(true);
}

/// `ip monitor route` from now on.
struct Monitor {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Monitor {
    fn start(net: &Net) -> Self {
        let mut child = Command::new("ip")
            .args(["monitor", "route"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("ip runs");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut monitor = Self { child, lines };
        // It listens when it has seen something.
        until("the monitor listens", || {
            net.ip("route add 240.0.0.1/32 dev lo");
            net.ip("route del 240.0.0.1/32 dev lo");
            nix::poll::poll(
                &mut [nix::poll::PollFd::new(
                    std::os::fd::AsFd::as_fd(monitor.lines.get_ref()),
                    nix::poll::PollFlags::POLLIN,
                )],
                50u8,
            )
            .is_ok_and(|n| n > 0)
        });
        monitor.read_to_mark(net, "240.0.0.2");
        monitor
    }

    /// What it saw since the start, marks left out.
    fn end(mut self, net: &Net) -> Vec<String> {
        let seen = self.read_to_mark(net, "240.0.0.3");
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
        seen
    }

    fn read_to_mark(&mut self, net: &Net, mark: &str) -> Vec<String> {
        net.ip(&format!("route add {mark}/32 dev lo"));
        net.ip(&format!("route del {mark}/32 dev lo"));
        let mut seen = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).expect("readable") > 0, "the monitor ended");
            if line.contains(mark) && line.contains("Deleted") {
                return seen;
            }
            if !line.contains("240.0.0.") {
                seen.push(line.trim().to_owned());
            }
        }
    }
}
