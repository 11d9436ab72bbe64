//! How fast routes get from a wish into the kernel: `push [--routes N] [--file F] [--objects on|off]
//! [--compat-off]`.
//!
//! Runs in a network namespace of its own (needs root). F holds prefixes, anywhere in its lines; only
//! lines with one count. Without it the prefixes are made up. One line of JSON comes out: seconds and
//! rates for adding, replacing, moving all routes by rewriting a group, losing one of two next hops,
//! and deleting.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};
use margay_fib::{
    BgpNextHop, Fib, FibConfig, FibEvent, FibHandle, NexthopObjects, RowFilter, Target, Wish,
};

fn main() {
    if let Err(err) = run() {
        eprintln!("error: {err}");
        std::process::exit(1);
    }
}

type Failure = Box<dyn std::error::Error>;

fn run() -> Result<(), Failure> {
    let options = Options::parse()?;
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
    for line in [
        "link set dev lo up",
        "link add name v0 type veth peer name v0p",
        "link add name v1 type veth peer name v1p",
        "addr add 10.255.0.1/24 dev v0",
        "addr add 10.255.1.1/24 dev v1",
        "link set dev v0p up",
        "link set dev v1p up",
        "link set dev v0 up",
        "link set dev v1 up",
        // What the recursive next hop resolves through.
        "route add 10.254.0.1/32 via 10.255.0.2",
    ] {
        ip(line)?;
    }
    let prefixes = options.prefixes()?;
    let n = prefixes.len();
    let told = Arc::new(AtomicU64::new(0));
    let counted = told.clone();
    let (tx, next_hops) = mpsc::channel();
    let config = FibConfig {
        nexthop_objects: options.objects,
        nexthop_compat_off: options.compat_off,
        learn_tables: Default::default(),
        ..FibConfig::default()
    };
    let fib = Fib::start(config, move |events| {
        for event in events {
            match event {
                FibEvent::Installed(..) => drop(counted.fetch_add(1, Ordering::Relaxed)),
                FibEvent::NextHop(next_hop, to) => drop(tx.send((next_hop, to))),
                _ => {}
            }
        }
    })?;
    let [direct, second, recursive] = ["10.255.0.2", "10.255.1.2", "10.254.0.1"].map(next_hop);
    for hop in [direct, second, recursive] {
        fib.track(hop);
        while next_hops.recv_timeout(Duration::from_secs(5))?.1.is_none() {}
    }
    let mut out = format!("{{\"routes\":{n},\"objects\":{}", fib.status().nexthop_objects);
    let mut note = |name: &str, took: Duration, rate: bool| {
        let s = took.as_secs_f64();
        out.push_str(&format!(",\"{name}_s\":{s:.4}"));
        if rate {
            let n = u32::try_from(n).map_or(f64::NAN, f64::from);
            out.push_str(&format!(",\"{name}_rate\":{:.0}", n / s));
        }
    };

    note("add", set(&fib, &prefixes, Some(via(&[recursive])))?, true);
    let memory = resident();
    let threads = thread_times();

    // One rewrite: the route the next hop resolves through changes.
    let start = Instant::now();
    ip("route replace 10.254.0.1/32 via 10.255.1.2")?;
    let forked = start.elapsed();
    let sample = *prefixes.first().ok_or("no prefixes")?;
    wait(|| row_is(&fib, sample, &["10.255.1.2"]))?;
    note("move_all", start.elapsed(), false);
    note("move_all_of_that_ip_command", forked, false);

    note("replace", set(&fib, &prefixes, Some(via(&[direct, second])))?, true);

    // One of two next hops dies.
    let start = Instant::now();
    ip("link set dev v1p down")?;
    let forked = start.elapsed();
    wait(|| row_is(&fib, sample, &["10.255.0.2"]))?;
    note("lose_one_of_two", start.elapsed(), false);
    note("lose_one_of_that_ip_command", forked, false);

    let left = prefixes.len() / 10;
    note("delete_tenth", set(&fib, prefixes.get(..left).unwrap_or_default(), None)?, false);
    let start = Instant::now();
    fib.stop(false);
    note("stop_and_flush", start.elapsed(), false);
    let mib = memory / (1 << 20);
    eprintln!("cpu while adding (thread, user s, system s): {threads:?}");
    println!("{out},\"rss_mib\":{mib},\"events\":{}}}", told.load(Ordering::Relaxed));
    Ok(())
}

/// Wishes the same for all prefixes, as a RIB would: in lots.
fn set(fib: &FibHandle, prefixes: &[IpNet], wish: Option<Wish>) -> Result<Duration, Failure> {
    let start = Instant::now();
    let wish = wish.map(Arc::new);
    for lot in prefixes.chunks(1000) {
        fib.set_all(lot.iter().map(|prefix| (*prefix, wish.clone())));
    }
    wait(|| {
        // After the answer the figures count everything asked before.
        fib.rows_after(RowFilter::All, None, 1);
        fib.status().pending == 0
    })?;
    let status = fib.status();
    if status.errors > 0 {
        return Err(format!("{} errors, last: {:?}", status.errors, status.last_error).into());
    }
    Ok(start.elapsed())
}

fn row_is(fib: &FibHandle, prefix: IpNet, gateways: &[&str]) -> bool {
    let rows: Vec<_> = fib.rows(RowFilter::Exact(prefix)).collect();
    let found: Vec<String> = rows
        .iter()
        .flat_map(|r| r.next_hops.iter().filter_map(|h| h.0).map(|a| a.to_string()))
        .collect();
    found == gateways
}

fn wait(holds: impl Fn() -> bool) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds() {
        if Instant::now() > deadline {
            return Err("not done in two minutes".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn next_hop(address: &str) -> BgpNextHop {
    let address = address.parse().expect("an address in this file");
    BgpNextHop { address, link_local: None, interface: None }
}

fn via(next_hops: &[BgpNextHop]) -> Wish {
    let target = Target::Via(next_hops.iter().map(|n| (*n, 1)).collect());
    Wish::plain(target)
}

fn ip(args: &str) -> Result<(), Failure> {
    let status = Command::new("ip").args(args.split_whitespace()).status()?;
    if status.success() { Ok(()) } else { Err(format!("ip {args}: {status}").into()) }
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

/// Name, user and system seconds of each thread so far.
fn thread_times() -> Vec<(String, f64, f64)> {
    let mut found = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let Some((head, rest)) = stat.split_once(") ") else { continue };
        let name = head.split_once('(').map(|(_, name)| name).unwrap_or_default();
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // Ticks of 10 ms.
        let tick =
            |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0) / 100.0;
        found.push((name.to_owned(), tick(11), tick(12)));
    }
    found
}

struct Options {
    routes: u32,
    file: Option<String>,
    objects: NexthopObjects,
    compat_off: bool,
}

impl Options {
    fn parse() -> Result<Self, Failure> {
        let mut options =
            Self { routes: 1_000_000, file: None, objects: NexthopObjects::On, compat_off: false };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--routes" => options.routes = value()?.parse()?,
                "--file" => options.file = Some(value()?),
                "--objects" if value()? == "off" => options.objects = NexthopObjects::Off,
                "--objects" => {}
                "--compat-off" => options.compat_off = true,
                other => return Err(format!("unknown option {other}").into()),
            }
        }
        Ok(options)
    }

    fn prefixes(&self) -> Result<Vec<IpNet>, Failure> {
        let Some(file) = &self.file else {
            // /24s from 20.0.0.0 on, then /25s of the same: a million fit.
            let make = |i: u32| {
                let base = (20 << 24) + ((i % 700_000) << 8);
                let len = if i < 700_000 { 24 } else { 25 };
                Ipv4Net::new(base.into(), len).map(IpNet::V4)
            };
            return Ok((0..self.routes).map(make).collect::<Result<_, _>>()?);
        };
        let text = std::fs::read_to_string(file)?;
        let mut found: Vec<IpNet> = text
            .lines()
            .filter_map(|l| l.split_whitespace().find_map(|w| w.parse().ok()))
            .collect();
        found.truncate(usize::try_from(self.routes)?);
        Ok(found)
    }
}
