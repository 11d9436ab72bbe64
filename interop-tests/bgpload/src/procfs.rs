//! CPU, memory and wake-ups of the daemon's process tree, from `/proc`.

use std::{
    collections::HashMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crate::sys;

/// What a thread of its own samples every 50 ms, for as long as the program runs.
#[derive(Debug, Default)]
pub struct Sampler {
    /// User and system time of the tree, microseconds.
    pub cpu_us: AtomicU64,
    /// The largest sum of resident sets so far, kB.
    pub rss_peak_kb: AtomicU64,
}

impl Sampler {
    /// Starts the thread; `roots` are the daemon's processes, their children count with them.
    pub fn start(roots: Vec<u32>) -> Arc<Self> {
        let sampler = Arc::new(Self::default());
        let shared = Arc::clone(&sampler);
        thread::spawn(move || {
            let mut last: HashMap<u32, u64> = HashMap::new();
            let mut pids = tree(&roots);
            let mut scanned = Instant::now();
            loop {
                if scanned.elapsed() > Duration::from_secs(1) {
                    pids = tree(&roots);
                    scanned = Instant::now();
                }
                for pid in &pids {
                    if let Some(cpu) = cpu_us(*pid) {
                        last.insert(*pid, cpu);
                    }
                }
                shared.cpu_us.store(last.values().sum(), Relaxed);
                shared.rss_peak_kb.fetch_max(rss_kb(&pids), Relaxed);
                thread::sleep(Duration::from_millis(50));
            }
        });
        sampler
    }
}

fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_string).collect())
}

fn cpu_us(pid: u32) -> Option<u64> {
    let fields = stat_fields(pid)?;
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    Some((user + system) * 1_000_000 / sys::ticks_per_second())
}

/// User and system time of one process.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    cpu_us(pid).map(|us| us as f64 / 1e6)
}

/// These processes and all below them.
pub fn tree(roots: &[u32]) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>()
            && let Some(parent) = stat_fields(pid).and_then(|f| f.get(1)?.parse().ok())
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found: Vec<u32> = Vec::new();
    let mut todo: Vec<u32> = roots.to_vec();
    while let Some(pid) = todo.pop() {
        if !found.contains(&pid) {
            found.push(pid);
            todo.extend(children.get(&pid).into_iter().flatten());
        }
    }
    found
}

fn value_of(path: &str, key: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Proportional share of memory, summed, kB.
pub fn pss_kb(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| value_of(&format!("/proc/{pid}/smaps_rollup"), "Pss:")).sum()
}

/// The highest resident set of each process in its life, summed, kB.
pub fn hwm_kb(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| value_of(&format!("/proc/{pid}/status"), "VmHWM:")).sum()
}

/// Resident sets now, summed, kB.
pub fn rss_kb(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| value_of(&format!("/proc/{pid}/status"), "VmRSS:")).sum()
}

/// How often threads of these processes went to sleep of their own accord (and so were woken),
/// and how long they ran, in nanoseconds; sums since they began.
pub fn wakeups(pids: &[u32]) -> (u64, u64) {
    let (mut slept, mut ran) = (0, 0);
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let task = task.path();
            slept += value_of(&task.join("status").to_string_lossy(), "voluntary_ctxt_switches:");
            let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            ran += text.split(' ').next().and_then(|x| x.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    (slept, ran)
}

/// Busy seconds of the whole machine: (all but idle and waiting, of which interrupts, stolen).
pub fn machine_seconds() -> (f64, f64, f64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    let fields: Vec<u64> =
        first.split_whitespace().skip(1).map(|x| x.parse().unwrap_or(0)).collect();
    let [user, nice, system, _, _, irq, softirq, steal, ..] = fields.as_slice() else {
        return (0.0, 0.0, 0.0);
    };
    let seconds = |ticks: u64| ticks as f64 / sys::ticks_per_second() as f64;
    (seconds(user + nice + system + irq + softirq + steal), seconds(irq + softirq), seconds(*steal))
}

/// Routes in the kernel's IPv4 main table of the namespace `pid` lives in. The kernel walks the
/// whole table to tell, so ask rarely.
pub fn kernel_routes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/net/fib_triestat")).unwrap_or_default();
    let main = text.split("Main:").nth(1).unwrap_or_default();
    main.lines()
        .find_map(|line| line.trim().strip_prefix("Prefixes:"))
        .and_then(|rest| rest.trim().parse().ok())
        .unwrap_or(0)
}
