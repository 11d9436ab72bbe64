//! How long a workload's link takes: `attach [--links N] [--at-once N]`.
//!
//! Runs in a network namespace of its own (needs root). Makes N links with their routes, IPv4 and
//! IPv6, into N namespaces, so many at once, and removes them; then the same one after the other;
//! then with one `ip -batch` for each link, which is what a plugin that runs programs does at best
//! (link, addresses, routes and settings; it waits for nothing). One line of JSON comes out, times in
//! microseconds.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use margay_fib::{Fib, FibConfig, FibHandle, LinkSpec, attach, detach};

fn main() {
    if let Err(err) = run() {
        eprintln!("error: {err}");
        std::process::exit(1);
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn run() -> Result<(), Failure> {
    let (links, at_once) = options()?;
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
    let namespaces = (0..links).map(|_| Namespace::new()).collect::<Result<Vec<_>, _>>()?;
    let fib = Fib::start(FibConfig::default(), |_| {})?;
    let mut parts = vec![format!("\"links\": {links}, \"at_once\": {at_once}")];
    for (name, threads) in [("together", at_once), ("in_turn", 1)] {
        let start = Instant::now();
        let mut added = each(&namespaces, threads, |n, ns| add(&fib, n, ns))?;
        let add_all = start.elapsed();
        let start = Instant::now();
        let mut removed = each(&namespaces, threads, |n, _| remove(&fib, n))?;
        parts.push(format!(
            "\"{name}\": {{\"add\": {}, \"add_all_ms\": {}, \"del\": {}, \"del_all_ms\": {}}}",
            quantiles(&mut added),
            add_all.as_millis(),
            quantiles(&mut removed),
            start.elapsed().as_millis(),
        ));
    }
    let mut batches = each(&namespaces, 1, by_hand)?;
    parts.push(format!("\"ip_batch_in_turn\": {{\"add\": {}}}", quantiles(&mut batches)));
    fib.stop(true);
    println!("{{{}}}", parts.join(", "));
    Ok(())
}

/// Makes one: from nothing to the route in the kernel.
fn add(fib: &FibHandle, n: usize, ns: &Namespace) -> Result<(), Failure> {
    let spec = LinkSpec::new(&name(n), "eth0", addresses(n).to_vec());
    attach(&ns.path, &spec)?;
    let routes = spec.addresses.iter().map(|a| (*a, Some(spec.host_name.clone())));
    fib.set_host_routes(routes);
    for address in &spec.addresses {
        fib.host_route(*address, &spec.host_name, Duration::from_secs(10))?;
    }
    Ok(())
}

fn remove(fib: &FibHandle, n: usize) -> Result<(), Failure> {
    fib.set_host_routes(addresses(n).map(|address| (address, None)));
    detach(&name(n))?;
    Ok(())
}

/// What `ip` does with a link: one process on the host's side, one in the container.
fn by_hand(n: usize, ns: &Namespace) -> Result<(), Failure> {
    let (name, [v4, v6]) = (name(n), addresses(n));
    let thread = ns.thread;
    batch(&format!(
        "link add name {name} address ee:ee:ee:ee:ee:ee type veth peer name eth0 netns {thread}\n\
         link set dev {name} up\n\
         addr add fe80::ecee:eeff:feee:eeee/64 dev {name} nodad\n\
         route add {v4}/32 dev {name} scope link\n\
         route add {v6}/128 dev {name}\n",
    ))?;
    for key in ["ipv4/conf/#/proxy_arp", "ipv4/conf/#/forwarding", "ipv6/conf/#/forwarding"] {
        std::fs::write(format!("/proc/sys/net/{}", key.replace('#', &name)), "1")?;
    }
    ns.run(move || {
        batch(&format!(
            "link set dev eth0 up\n\
             addr add {v4}/32 dev eth0\n\
             addr add {v6}/128 dev eth0 nodad\n\
             route add default via 169.254.1.1 dev eth0 onlink\n\
             route add default via fe80::ecee:eeff:feee:eeee dev eth0\n",
        ))
    })
}

fn batch(lines: &str) -> Result<(), Failure> {
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn()?;
    let mut stdin = ip.stdin.take().ok_or("no pipe")?;
    stdin.write_all(lines.as_bytes())?;
    drop(stdin);
    if ip.wait()?.success() { Ok(()) } else { Err(format!("ip refused one of\n{lines}").into()) }
}

fn name(n: usize) -> String {
    format!("cali{n}")
}

fn addresses(n: usize) -> [IpAddr; 2] {
    let [.., high, low] = n.to_be_bytes();
    [
        IpAddr::from([10, 65, high, low]),
        IpAddr::from([0xfd, 0x65, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, high, low]),
    ]
}

/// Does something with each namespace, so many at once; how long each took.
fn each(
    namespaces: &[Namespace],
    threads: usize,
    work: impl Fn(usize, &Namespace) -> Result<(), Failure> + Sync,
) -> Result<Vec<Duration>, Failure> {
    let next = Mutex::new(namespaces.iter().enumerate());
    thread::scope(|scope| {
        let worker = || -> Result<Vec<Duration>, Failure> {
            let mut took = Vec::new();
            loop {
                let taken = next.lock().map_err(|_| "another failed")?.next();
                let Some((n, ns)) = taken else { return Ok(took) };
                let start = Instant::now();
                work(n, ns)?;
                took.push(start.elapsed());
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let mut took = Vec::new();
        for worker in workers {
            took.extend(worker.join().map_err(|_| "a worker panicked")??);
        }
        Ok(took)
    })
}

fn quantiles(took: &mut [Duration]) -> String {
    took.sort_unstable();
    let at = |percent: usize| {
        let last = took.len().saturating_sub(1);
        took.get((took.len() * percent / 100).min(last)).map_or(0, Duration::as_micros)
    };
    format!("{{\"p50\": {}, \"p99\": {}, \"max\": {}}}", at(50), at(99), at(100))
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread that lives in a network namespace of its own.
struct Namespace {
    thread: i32,
    path: PathBuf,
    jobs: Sender<Job>,
}

impl Namespace {
    fn new() -> Result<Self, Failure> {
        let (jobs, received) = channel::<Job>();
        let (tell, told) = channel();
        // It ends, and the namespace with it, when nobody can give it anything to do.
        thread::Builder::new().stack_size(1 << 18).spawn(move || {
            let moved = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
            tell.send(moved.map(|()| nix::unistd::gettid())).ok();
            for job in received {
                job();
            }
        })?;
        let thread = told.recv()??.as_raw();
        Ok(Self { thread, path: PathBuf::from(format!("/proc/self/task/{thread}/ns/net")), jobs })
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (tell, told) = channel();
        let job = move || drop(tell.send(work()));
        self.jobs.send(Box::new(job)).map_err(|_| "the namespace's thread has ended")?;
        told.recv()?
    }
}

fn options() -> Result<(usize, usize), Failure> {
    let (mut links, mut at_once) = (200, 50);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument}: a number is missing"));
        match argument.as_str() {
            "--links" => links = value()?.parse()?,
            "--at-once" => at_once = value()?.parse()?,
            _ => return Err(format!("{argument}: unknown; --links N, --at-once N").into()),
        }
    }
    Ok((links, at_once))
}
