//! CPU and memory of the daemon's process tree, from /proc, in a thread of its own.

use crate::sys;
use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Shared {
    pub cpu_us: AtomicU64,
    pub rss_kb: AtomicU64,
    pub rss_peak_kb: AtomicU64,
    pub alive: AtomicU64,
    pub stop: AtomicBool,
}

fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let s = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let p = s.rfind(')')?;
    Some(s[p + 2..].split(' ').map(str::to_string).collect())
}

/// utime+stime in microseconds
pub fn cpu_us(pid: u32) -> Option<u64> {
    let f = stat_fields(pid)?;
    let t: u64 = f[11].parse::<u64>().ok()? + f[12].parse::<u64>().ok()?;
    Some(t * 1_000_000 / sys::ticks_per_second())
}

pub fn tree(roots: &[u32]) -> Vec<u32> {
    let mut kids: HashMap<u32, Vec<u32>> = HashMap::new();
    if let Ok(d) = fs::read_dir("/proc") {
        for e in d.flatten() {
            if let Ok(pid) = e.file_name().to_string_lossy().parse::<u32>()
                && let Some(f) = stat_fields(pid)
            {
                kids.entry(f[1].parse().unwrap_or(0)).or_default().push(pid);
            }
        }
    }
    let mut out: Vec<u32> = Vec::new();
    let mut todo: Vec<u32> = roots.to_vec();
    while let Some(p) = todo.pop() {
        if !out.contains(&p) {
            out.push(p);
            if let Some(k) = kids.get(&p) {
                todo.extend(k);
            }
        }
    }
    out
}

fn status_kb(pid: u32, file: &str, key: &str) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/{file}"))
        .ok()
        .and_then(|s| {
            s.lines()
                .find(|l| l.starts_with(key))
                .and_then(|l| l.split_whitespace().nth(1).and_then(|x| x.parse().ok()))
        })
        .unwrap_or(0)
}

pub fn pss_kb(pids: &[u32]) -> u64 {
    pids.iter().map(|p| status_kb(*p, "smaps_rollup", "Pss:")).sum()
}
pub fn hwm_kb(pids: &[u32]) -> u64 {
    pids.iter().map(|p| status_kb(*p, "status", "VmHWM:")).sum()
}
pub fn rss_kb(pids: &[u32]) -> u64 {
    pids.iter().map(|p| status_kb(*p, "status", "VmRSS:")).sum()
}

/// Busy time of the whole machine in microseconds: (all but idle and iowait, of which irq+softirq, steal)
pub fn machine_us() -> (u64, u64, u64) {
    let s = fs::read_to_string("/proc/stat").unwrap_or_default();
    let f: Vec<u64> = s
        .lines()
        .next()
        .unwrap_or("")
        .split_whitespace()
        .skip(1)
        .map(|x| x.parse().unwrap_or(0))
        .collect();
    if f.len() < 8 {
        return (0, 0, 0);
    }
    let k = 1_000_000 / sys::ticks_per_second();
    ((f[0] + f[1] + f[2] + f[5] + f[6] + f[7]) * k, (f[5] + f[6]) * k, f[7] * k)
}

pub fn start(roots: Vec<u32>) -> Arc<Shared> {
    let sh = Arc::new(Shared::default());
    let s2 = sh.clone();
    std::thread::spawn(move || {
        let mut last: HashMap<u32, u64> = HashMap::new();
        let mut pids = tree(&roots);
        let mut scanned = Instant::now();
        while !s2.stop.load(Relaxed) {
            if scanned.elapsed() > Duration::from_millis(1000) {
                pids = tree(&roots);
                scanned = Instant::now();
            }
            let mut alive = 0;
            for p in &pids {
                if let Some(c) = cpu_us(*p) {
                    last.insert(*p, c);
                    alive += 1;
                }
            }
            s2.alive.store(alive, Relaxed);
            s2.cpu_us.store(last.values().sum(), Relaxed);
            let r = rss_kb(&pids);
            s2.rss_kb.store(r, Relaxed);
            s2.rss_peak_kb.fetch_max(r, Relaxed);
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    sh
}

/// Routes in the kernel's IPv4 main table, and the IPv6 ones, of the namespace `pid` lives in.
pub fn kernel_routes(pid: u32) -> (u64, u64) {
    let s = fs::read_to_string(format!("/proc/{pid}/net/fib_triestat")).unwrap_or_default();
    let mut v4 = 0;
    let mut main = false;
    for l in s.lines() {
        if l.starts_with("Main:") {
            main = true;
        } else if !l.starts_with(char::is_whitespace) && l.ends_with(':') {
            main = false;
        }
        if main && let Some(x) = l.trim().strip_prefix("Prefixes:") {
            v4 = x.trim().parse().unwrap_or(0);
        }
    }
    let s = fs::read_to_string(format!("/proc/{pid}/net/rt6_stats")).unwrap_or_default();
    let v6 = s.split_whitespace().nth(3).and_then(|x| u64::from_str_radix(x, 16).ok()).unwrap_or(0);
    (v4, v6)
}
