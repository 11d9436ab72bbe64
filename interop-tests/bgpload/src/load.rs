//! N peers and K monitors played toward one daemon from a single epoll loop.

use crate::procfs::{self, Shared};
use crate::table::*;
use crate::wire::*;
use crate::{Args, die, sys};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

#[derive(PartialEq, Clone, Copy, Debug)]
enum St {
    Idle,
    Connecting,
    OpenSent,
    OpenConfirm,
    Up,
    Gone,
}

/// What one session has been told: for each prefix the marker of the path it holds.
struct Rib {
    via: Vec<u16>,
    per_via: Vec<u64>,
    present: u64,
    paths: HashSet<u64>,
    nlri: u64,
    withdrawn: u64,
    updates: u64,
    bytes: u64,
    unknown: u64,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Rib {
    fn new(n: usize, peers: usize) -> Rib {
        Rib {
            via: vec![0; n],
            per_via: vec![0; peers + 2],
            present: 0,
            paths: HashSet::new(),
            nlri: 0,
            withdrawn: 0,
            updates: 0,
            bytes: 0,
            unknown: 0,
            first: None,
            last: None,
        }
    }
}

struct Conn {
    fd: Option<std::os::fd::OwnedFd>,
    src: u32,
    asn: u32,
    sender: Option<usize>,
    st: St,
    rx: Vec<u8>,
    rx_len: usize,
    tx: VecDeque<Arc<Vec<u8>>>,
    tx_off: usize,
    armed_out: bool,
    retry: Instant,
    since: Instant,
    last_ka: Instant,
    rib: Option<Box<Rib>>,
    ap_rx: bool,
    ap_tx: bool,
    why: String,
}

pub struct Load<'a> {
    a: &'a Args,
    ep: sys::Epoll,
    conns: Vec<Conn>,
    table: Table,
    started: bool,
    dropped: Option<usize>,
    lost: u64,
    sampler: Option<Arc<Shared>>,
    lo: u32,
    hi: u32,
}

fn ms(d: Duration) -> f64 {
    (d.as_secs_f64() * 1e4).round() / 1e4
}

impl<'a> Load<'a> {
    fn open_socket(&mut self, i: usize) {
        let a = self.a;
        let c = &mut self.conns[i];
        let fd = sys::connect(c.src, a.dut, a.port, a.sndbuf);
        c.st = St::Connecting;
        c.since = Instant::now();
        c.rx_len = 0;
        c.tx.clear();
        c.tx_off = 0;
        c.armed_out = true;
        self.ep.add(&fd, i as u64, true);
        c.fd = Some(fd);
    }

    fn close(&mut self, i: usize, why: &str) {
        let c = &mut self.conns[i];
        c.fd = None;
        if !why.is_empty() {
            c.why = why.to_string();
        }
        if self.started {
            c.st = St::Gone;
            if self.dropped != Some(i) {
                self.lost += 1;
            }
        } else {
            c.st = St::Idle;
            c.retry = Instant::now() + Duration::from_millis(250);
        }
    }

    fn push(&mut self, i: usize, m: Arc<Vec<u8>>) {
        if m.is_empty() || self.conns[i].fd.is_none() {
            return;
        }
        let c = &mut self.conns[i];
        c.tx.push_back(m);
        if !c.armed_out {
            c.armed_out = true;
            if let Some(fd) = &c.fd {
                self.ep.modify(fd, i as u64, true);
            }
        }
    }

    fn writable(&mut self, i: usize) {
        if self.conns[i].st == St::Connecting {
            let e = self.conns[i].fd.as_ref().map_or(0, sys::so_error);
            if e != 0 {
                self.close(i, &format!("connect: errno {e}"));
                return;
            }
            let c = &mut self.conns[i];
            c.st = St::OpenSent;
            let fam = self.a.family;
            let o = open(c.asn, c.src, 600, fam, c.ap_rx, c.ap_tx);
            c.tx.push_back(Arc::new(o));
        }
        let mut budget = 4usize << 20;
        loop {
            let c = &mut self.conns[i];
            let Some(m) = c.tx.front() else { break };
            let Some(fd) = &c.fd else { return };
            let n = sys::send(fd, &m[c.tx_off..m.len().min(c.tx_off + (1 << 20))]);
            if n < 0 {
                let e = sys::errno();
                if e == libc::EAGAIN {
                    return;
                }
                self.close(i, &format!("send: errno {e}"));
                return;
            }
            c.tx_off += n as usize;
            c.last_ka = Instant::now();
            if c.tx_off == m.len() {
                c.tx.pop_front();
                c.tx_off = 0;
            }
            budget = budget.saturating_sub(n as usize);
            if budget == 0 {
                return;
            }
        }
        let c = &mut self.conns[i];
        if c.armed_out {
            c.armed_out = false;
            if let Some(fd) = &c.fd {
                self.ep.modify(fd, i as u64, false);
            }
        }
    }

    fn readable(&mut self, i: usize) {
        // A pure sender's incoming routes are thrown away inside the kernel.
        if self.conns[i].st == St::Up
            && self.conns[i].rib.is_none()
            && self.started
            && !self.a.parse_all
        {
            for _ in 0..4 {
                let Some(fd) = &self.conns[i].fd else { return };
                let n = sys::discard(fd, 1 << 20);
                if n == 0 {
                    self.close(i, "closed by the daemon");
                    return;
                }
                if n < 0 {
                    let e = sys::errno();
                    if e != libc::EAGAIN {
                        self.close(i, &format!("recv: errno {e}"));
                    }
                    return;
                }
            }
            return;
        }
        let c = &mut self.conns[i];
        if c.rx.len() < 1 << 18 {
            c.rx.resize(1 << 18, 0);
        }
        let Some(fd) = &c.fd else { return };
        let n = sys::recv(fd, &mut c.rx[c.rx_len..]);
        if n == 0 {
            self.close(i, "");
            if self.conns[i].why.is_empty() {
                self.conns[i].why = "closed by the daemon".into();
            }
            return;
        }
        if n < 0 {
            let e = sys::errno();
            if e != libc::EAGAIN {
                self.close(i, &format!("recv: errno {e}"));
            }
            return;
        }
        c.rx_len += n as usize;
        let now = Instant::now();
        let mut at = 0;
        let mut buf = std::mem::take(&mut self.conns[i].rx);
        let len = self.conns[i].rx_len;
        let mut bad = None;
        while len - at >= HDR {
            let l = u16::from_be_bytes([buf[at + 16], buf[at + 17]]) as usize;
            if !(HDR..=65535).contains(&l) {
                bad = Some("bad length".to_string());
                break;
            }
            if len - at < l {
                break;
            }
            let typ = buf[at + 18];
            let body = at + HDR..at + l;
            at += l;
            match typ {
                UPDATE => {
                    let (lo, hi) = (self.lo, self.hi);
                    let table = &self.table;
                    let c = &mut self.conns[i];
                    let ap = c.ap_rx;
                    if let Some(rib) = c.rib.as_deref_mut() {
                        rib.updates += 1;
                        rib.bytes += l as u64;
                        let mut hit = false;
                        let r = walk(&buf[body], ap, lo, hi, |e, marker| match e {
                            Event::Announce(k, p) => {
                                rib.nlri += 1;
                                hit = true;
                                let Some(x) = table.find(k) else {
                                    rib.unknown += 1;
                                    return;
                                };
                                let v = if marker >= lo {
                                    (marker - lo + 1) as u16
                                } else {
                                    (hi - lo + 1) as u16
                                };
                                if ap {
                                    if rib.paths.insert((x as u64) << 32 | p as u64) {
                                        rib.present += 1;
                                    }
                                    return;
                                }
                                let o = std::mem::replace(&mut rib.via[x], v);
                                if o == 0 {
                                    rib.present += 1;
                                } else {
                                    rib.per_via[o as usize] -= 1;
                                }
                                rib.per_via[v as usize] += 1;
                            }
                            Event::Withdraw(k, p) => {
                                rib.withdrawn += 1;
                                hit = true;
                                let Some(x) = table.find(k) else { return };
                                if ap {
                                    if rib.paths.remove(&((x as u64) << 32 | p as u64)) {
                                        rib.present -= 1;
                                    }
                                    return;
                                }
                                let o = std::mem::replace(&mut rib.via[x], 0);
                                if o != 0 {
                                    rib.present -= 1;
                                    rib.per_via[o as usize] -= 1;
                                }
                            }
                        });
                        if r.is_err() {
                            bad = Some("malformed UPDATE".into());
                            break;
                        }
                        if hit {
                            rib.first.get_or_insert(now);
                            rib.last = Some(now);
                        }
                    }
                }
                OPEN => {
                    let (asn, _, ap) = parse_open(&buf[body]);
                    let c = &mut self.conns[i];
                    if asn != self.a.dut_as {
                        c.why = format!("daemon's AS is {asn}");
                    }
                    c.ap_rx = c.ap_rx && ap & 2 != 0;
                    c.ap_tx = c.ap_tx && ap & 1 != 0;
                    if c.st == St::OpenSent {
                        c.st = St::OpenConfirm;
                    }
                    self.push(i, Arc::new(keepalive()));
                }
                KEEPALIVE if self.conns[i].st == St::OpenConfirm => {
                    self.conns[i].st = St::Up;
                }
                NOTIFICATION => {
                    let b = &buf[body];
                    bad = Some(format!(
                        "NOTIFICATION {}/{}",
                        b.first().unwrap_or(&0),
                        b.get(1).unwrap_or(&0)
                    ));
                    break;
                }
                _ => {}
            }
        }
        if at > 0 {
            buf.copy_within(at..len, 0);
        }
        self.conns[i].rx = buf;
        self.conns[i].rx_len = len - at;
        if let Some(w) = bad {
            self.close(i, &w);
        }
    }

    /// One turn of the loop, at most `wait_ms` long when nothing happens.
    fn turn(&mut self, wait_ms: i32) {
        for ready in self.ep.wait(wait_ms) {
            let i = ready.id as usize;
            if self.conns[i].fd.is_none() {
                continue;
            }
            let connecting = self.conns[i].st == St::Connecting;
            if ready.writable || (connecting && (ready.error || ready.readable)) {
                self.writable(i);
            }
            let open = self.conns[i].fd.is_some() && self.conns[i].st != St::Connecting;
            if open && (ready.readable || ready.error) {
                self.readable(i);
            }
        }
        let now = Instant::now();
        for i in 0..self.conns.len() {
            let c = &self.conns[i];
            if c.st == St::Idle && now >= c.retry && !self.started {
                self.open_socket(i);
            } else if !self.started
                && matches!(c.st, St::Connecting | St::OpenSent | St::OpenConfirm)
                && now.duration_since(c.since) > Duration::from_secs(5)
            {
                // a daemon that accepted before it was ready may never answer; try again
                let st = c.st;
                self.close(i, &format!("no answer for 5 s in {st:?}"));
            } else if c.st == St::Up
                && c.tx.is_empty()
                && now.duration_since(c.last_ka) > Duration::from_secs(9)
            {
                self.conns[i].last_ka = now;
                self.push(i, Arc::new(keepalive()));
            }
        }
    }

    fn ribs(&self) -> impl Iterator<Item = &Rib> {
        self.conns.iter().filter_map(|c| c.rib.as_deref())
    }
    /// Prefixes held by the counting sessions. A client's own routes told back to it (FRR's reflector
    /// does that) don't count.
    fn present(&self) -> u64 {
        let distinct = self.a.layout == "distinct";
        self.conns
            .iter()
            .filter_map(|c| {
                let r = c.rib.as_deref()?;
                Some(
                    r.present
                        - c.sender.filter(|_| distinct && !c.ap_rx).map_or(0, |p| r.per_via[p + 1]),
                )
            })
            .sum()
    }
    fn sent(&self) -> bool {
        self.conns.iter().all(|c| c.tx.is_empty())
    }
    fn cpu(&self) -> f64 {
        self.sampler.as_ref().map_or(0.0, |s| s.cpu_us.load(Relaxed) as f64 / 1e6)
    }
    fn exact_cpu(&self) -> f64 {
        std::thread::sleep(Duration::from_millis(1));
        let pids = procfs::tree(&self.a.pids);
        let live: u64 = pids.iter().filter_map(|p| procfs::cpu_us(*p)).sum();
        live as f64 / 1e6
    }

    /// Waits until the daemon has used under 3% of a core for 0.4 s; the sessions are served meanwhile.
    fn settle(&mut self, limit: Duration) -> (f64, bool) {
        let t = Instant::now();
        let mut calm_since = (Instant::now(), self.cpu());
        let mut calm_from = Instant::now();
        while t.elapsed() < limit {
            self.turn(10);
            if calm_since.0.elapsed() >= Duration::from_millis(100) {
                let used = self.cpu() - calm_since.1;
                calm_since = (Instant::now(), self.cpu());
                if used > 0.011 || !self.sent() {
                    calm_from = Instant::now();
                } else if calm_from.elapsed() > Duration::from_millis(400) {
                    return (ms(calm_from - t), true);
                }
            }
        }
        (ms(t.elapsed()), false)
    }
}

struct Noise {
    m: (u64, u64, u64),
    own: f64,
    dut: f64,
}

pub fn run(a: &Args) -> i32 {
    let n_uni = match a.layout.as_str() {
        "distinct" => a.routes * a.peers,
        "random" => a.universe,
        _ => a.routes,
    };
    let chunk = if a.layout == "distinct" { a.routes } else { 0 };
    let v6pm = match (a.family.v4, a.family.v6) {
        (true, true) => a.v6_permille,
        (false, true) => 1000,
        _ => 0,
    };
    let table = Table::generate(n_uni, a.seed, chunk, v6pm);
    // which (group, range) each peer tells
    let mut parts: Vec<Vec<(u32, u32, u32)>> = Vec::new();
    for p in 0..a.peers {
        let all = (0..table.ngroups()).map(|g| (g as u32, table.groups[g], table.groups[g + 1]));
        let v: Vec<_> = match a.layout.as_str() {
            "distinct" => all.filter(|x| x.1 as usize / a.routes == p).collect(),
            "random" => {
                let mut gs: Vec<_> = all.collect();
                let mut r = Rng::new(mix(a.seed, 1000 + p as u64));
                for i in (1..gs.len()).rev() {
                    gs.swap(i, r.below(i as u64 + 1) as usize);
                }
                let mut out = Vec::new();
                let mut have = 0;
                for (g, s, e) in gs {
                    let e2 = e.min(s + (a.routes - have) as u32);
                    if e2 > s {
                        out.push((g, s, e2));
                        have += (e2 - s) as usize;
                    }
                    if have == a.routes {
                        break;
                    }
                }
                out
            }
            _ => all.collect(),
        };
        parts.push(v);
    }
    let mut holders = vec![0u16; n_uni];
    for v in &parts {
        for &(_, s, e) in v {
            for i in s..e {
                holders[i as usize] += 1;
            }
        }
    }
    let union = holders.iter().filter(|h| **h > 0).count() as u64;
    let total_paths: u64 = parts.iter().flatten().map(|x| (x.2 - x.1) as u64).sum();

    let lo = a.marker_base;
    let hi = lo + a.peers as u32;
    let mut ld = Load {
        a,
        ep: sys::Epoll::new(),
        conns: Vec::new(),
        table,
        started: false,
        dropped: None,
        lost: 0,
        sampler: None,
        lo,
        hi,
    };
    let now = Instant::now();
    for p in 0..a.peers + a.monitors {
        let mon = p >= a.peers;
        let src = if mon { a.monitor_src + (p - a.peers) as u32 } else { a.src + p as u32 };
        let asn = if a.ibgp {
            a.dut_as
        } else if mon {
            a.marker_base - 100 + (p - a.peers) as u32
        } else {
            lo + p as u32
        };
        ld.conns.push(Conn {
            fd: None,
            src,
            asn,
            sender: if mon { None } else { Some(p) },
            st: St::Idle,
            rx: Vec::new(),
            rx_len: 0,
            tx: VecDeque::new(),
            tx_off: 0,
            armed_out: false,
            retry: now,
            since: now,
            last_ka: now,
            rib: if mon || a.all_receive { Some(Box::new(Rib::new(n_uni, a.peers))) } else { None },
            ap_rx: a.addpath && mon,
            ap_tx: a.addpath && !mon,
            why: String::new(),
        });
    }

    let t = Instant::now();
    while !ld.conns.iter().all(|c| c.st == St::Up) {
        ld.turn(20);
        if t.elapsed() > Duration::from_secs(a.connect_timeout) {
            let up = ld.conns.iter().filter(|c| c.st == St::Up).count();
            let why: HashSet<String> = ld
                .conns
                .iter()
                .filter(|c| c.st != St::Up)
                .map(|c| format!("{:?} {}", c.st, c.why))
                .collect();
            println!(
                "{{\"label\":{},\"error\":{}}}",
                crate::js(&a.label),
                crate::js(&format!(
                    "{up} of {} sessions up after {} s: {why:?}",
                    ld.conns.len(),
                    a.connect_timeout
                ))
            );
            return 2;
        }
    }
    let t_up = ms(t.elapsed());
    ld.started = true;
    ld.settle(Duration::from_secs(5));

    // Encoding happens before the clock starts.
    let mut blobs = Vec::new();
    let mut wblobs = Vec::new();
    let mut flaps = Vec::new();
    for (p, v) in parts.iter().enumerate() {
        let c = &ld.conns[p];
        let mut nh6 = [0u8; 16];
        nh6[..8].copy_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0x99]);
        nh6[12..].copy_from_slice(&c.src.to_be_bytes());
        let sp = Speaker {
            index: p,
            marker: lo + p as u32,
            ibgp: a.ibgp,
            nexthop4: c.src,
            nexthop6: nh6,
            prefer_first: a.prefer_first,
            addpath: c.ap_tx,
        };
        let mut b = announce(&ld.table, &sp, a.seed, v);
        b.extend_from_slice(&end_of_rib(a.family));
        blobs.push(Arc::new(b));
        wblobs.push(Arc::new(withdraw(&ld.table, c.ap_tx, v)));
        if let Some((pct, _)) = a.flap() {
            let f: Vec<_> = v
                .iter()
                .copied()
                .filter(|x| mix(a.seed ^ 5, x.0 as u64) % 1000 < (pct * 10.0) as u64)
                .collect();
            let n: u64 = f.iter().map(|x| (x.2 - x.1) as u64).sum();
            flaps.push((
                Arc::new(withdraw(&ld.table, c.ap_tx, &f)),
                Arc::new(announce(&ld.table, &sp, a.seed, &f)),
                n,
            ));
        }
    }
    let tx_bytes: usize = blobs.iter().map(|b| b.len()).sum();
    let tx_groups: usize = parts.iter().map(|v| v.len()).sum();

    ld.sampler = Some(procfs::start(a.pids.clone()));
    std::thread::sleep(Duration::from_millis(120));

    let noise = |ld: &Load| Noise {
        m: procfs::machine_us(),
        own: procfs::cpu_us(std::process::id()).unwrap_or(0) as f64 / 1e6,
        dut: ld.exact_cpu(),
    };
    let mut out = String::new();
    let mut error = String::new();
    let mut rc = 0;
    let fib0 = a.pids.first().map_or((0, 0), |p| procfs::kernel_routes(*p));
    let idle_pss = procfs::pss_kb(&procfs::tree(&a.pids));

    for ph in a.phases.clone() {
        let name = ph.split(':').next().unwrap().to_string();
        let n0 = noise(&ld);
        let base: Vec<(u64, u64, u64, u64)> =
            ld.ribs().map(|r| (r.nlri, r.withdrawn, r.updates, r.bytes)).collect();
        for c in ld.conns.iter_mut() {
            if let Some(r) = c.rib.as_deref_mut() {
                r.first = None;
                r.last = None;
            }
        }
        let own_routes: Vec<u64> =
            parts.iter().map(|v| v.iter().map(|x| (x.2 - x.1) as u64).sum()).collect();
        let mut expect: u64 = 0;
        for c in &ld.conns {
            if c.rib.is_some() {
                expect += if c.ap_rx {
                    total_paths
                } else {
                    match c.sender {
                        // a client isn't told what it alone told
                        Some(p) if a.layout == "distinct" => union - own_routes[p],
                        _ => union,
                    }
                };
            }
        }
        let t0 = Instant::now();
        let mut fib: Option<(
            std::sync::mpsc::Receiver<f64>,
            Arc<std::sync::atomic::AtomicBool>,
            u64,
        )> = None;
        let mut flap_info = String::new();
        let mut flap_goal_from = t0;
        let want_fib = |v: (u64, u64)| {
            let (tx, rx) = std::sync::mpsc::channel();
            let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
            let s2 = stop.clone();
            let (pid, v6) = (a.pids[0], a.family.v6);
            std::thread::spawn(move || {
                while !s2.load(Relaxed) {
                    let t = Instant::now();
                    let k = procfs::kernel_routes(pid);
                    // the namespace's own IPv6 routes come and go, so only IPv4 must match when that's all there is
                    if k.0 == v.0 && (!v6 || k.1 >= v.1) {
                        let _ = tx.send(t0.elapsed().as_secs_f64());
                        return;
                    }
                    std::thread::sleep((t.elapsed() * 4).max(Duration::from_millis(100)));
                }
            });
            (rx, stop, v.0 + v.1)
        };
        match name.as_str() {
            "load" => {
                for (p, b) in blobs.iter().enumerate() {
                    ld.push(p, b.clone());
                }
                if a.fib {
                    let v4 = ld
                        .table
                        .keys
                        .iter()
                        .zip(&holders)
                        .filter(|x| is_v4(*x.0) && *x.1 > 0)
                        .count() as u64;
                    fib = Some(want_fib((fib0.0 + v4, fib0.1 + union - v4)));
                }
            }
            "withdraw" => {
                for (p, b) in wblobs.iter().enumerate() {
                    ld.push(p, b.clone());
                }
                expect = 0;
                if a.fib {
                    fib = Some(want_fib(fib0));
                }
            }
            "flap" => {
                let secs = a.flap().unwrap().1;
                let (mut cycles, mut msgs) = (0u64, 0u64);
                while t0.elapsed().as_secs_f64() < secs {
                    // one full withdraw-and-announce cycle per second, half a second apart; a daemon
                    // that can't keep up is slowed by its own TCP window
                    for half in 0..2 {
                        for (p, (withdraw, announce, prefixes)) in flaps.iter().enumerate() {
                            ld.push(p, if half == 0 { withdraw } else { announce }.clone());
                            msgs += prefixes;
                        }
                        let t = Instant::now();
                        while t.elapsed() < Duration::from_millis(500) || !ld.sent() {
                            ld.turn(10);
                            if t.elapsed() > Duration::from_secs(60) {
                                break;
                            }
                        }
                    }
                    cycles += 1;
                }
                flap_goal_from = Instant::now() - Duration::from_millis(500);
                flap_info = format!(
                    ",\"flap_cycles\":{cycles},\"flap_nlri_sent\":{msgs},\"flap_s\":{}",
                    ms(t0.elapsed())
                );
            }
            "drop" => {
                // The preferred peer goes: an RST, as a crashed router's next keepalive would earn.
                let c = &mut ld.conns[0];
                if let Some(fd) = &c.fd {
                    sys::linger0(fd);
                }
                ld.dropped = Some(0);
                ld.close(0, "dropped on purpose");
                expect = 0;
                let mut own = vec![false; n_uni];
                for &(_, x, y) in &parts[0] {
                    own[x as usize..y as usize].fill(true);
                }
                let only =
                    holders.iter().zip(&own).filter(|(h, o)| **h > **o as u16).count() as u64;
                for c in &ld.conns {
                    if c.rib.is_some() {
                        expect += only;
                    }
                }
            }
            _ => die(&format!("unknown phase {name}")),
        }
        let mut t_sent = None;
        let mut t_done = None;
        let mut t_fib = None;
        let mut timed_out = false;
        loop {
            ld.turn(5);
            if t_sent.is_none() && ld.sent() {
                t_sent = Some(t0.elapsed());
            }
            if t_done.is_none() && ld.present() == expect && (name != "flap" || t_sent.is_some()) {
                let gone_ok = name != "drop" || ld.ribs().all(|r| r.per_via[1] == 0);
                if gone_ok {
                    t_done = Some(match name.as_str() {
                        "flap" => ld
                            .ribs()
                            .filter_map(|r| r.last)
                            .max()
                            .unwrap_or(flap_goal_from)
                            .saturating_duration_since(flap_goal_from),
                        _ => t0.elapsed(),
                    });
                }
            }
            if let Some((rx, _, _)) = &fib
                && t_fib.is_none()
            {
                t_fib = rx.try_recv().ok();
            }
            if t_done.is_some() && (fib.is_none() || t_fib.is_some()) {
                break;
            }
            if ld.lost > 0 || t0.elapsed().as_secs_f64() > a.timeout {
                timed_out = true;
                break;
            }
        }
        let n1 = noise(&ld);
        if let Some((_, stop, _)) = &fib {
            stop.store(true, Relaxed);
        }
        let (settle, calm) =
            if timed_out { (0.0, false) } else { ld.settle(Duration::from_secs_f64(a.settle)) };
        let n2 = noise(&ld);
        let el = t0.elapsed().as_secs_f64();
        let first = ld.ribs().filter_map(|r| r.first).min().map(|x| ms(x - t0));
        let mut d = (0u64, 0u64, 0u64, 0u64);
        for (r, b) in ld.ribs().zip(&base) {
            d.0 += r.nlri - b.0;
            d.1 += r.withdrawn - b.1;
            d.2 += r.updates - b.2;
            d.3 += r.bytes - b.3;
        }
        let pids = procfs::tree(&a.pids);
        let sh = ld.sampler.clone().unwrap();
        let busy = (n2.m.0 - n0.m.0) as f64 / 1e6;
        let own = n2.own - n0.own;
        let dut = n2.dut - n0.dut;
        let irq = (n2.m.1 - n0.m.1) as f64 / 1e6;
        let steal = (n2.m.2 - n0.m.2) as f64 / 1e6;
        if !out.is_empty() {
            out.push(',');
        }
        let num = |x: Option<f64>| x.map_or("null".into(), |v| format!("{v:.4}"));
        let done = t_done.map(ms);
        out.push_str(&format!(
            "\"{name}\":{{\"ok\":{},\"seconds\":{},\"first_s\":{},\"sent_s\":{},\"fib_s\":{},\"settle_s\":{},\"calm\":{},\
             \"expected\":{expect},\"present\":{},\"rate\":{},\"nlri_rx\":{},\"withdrawn_rx\":{},\"updates_rx\":{},\"bytes_rx\":{},\
             \"cpu_s\":{:.2},\"cpu_settled_s\":{:.2},\"load_cpu_s\":{:.2},\"foreign_cpu_s\":{:.2},\"irq_cpu_s\":{:.2},\"steal_s\":{:.2},\"window_s\":{:.2},\
             \"rss_peak_mb\":{:.1},\"rss_hwm_mb\":{:.1},\"rss_mb\":{:.1},\"pss_mb\":{:.1},\"kernel_routes\":{},\"lost_sessions\":{}{}}}",
            !timed_out,
            if timed_out { "null".into() } else { num(done) },
            num(first),
            num(t_sent.map(ms)),
            num(t_fib),
            settle,
            calm,
            ld.present(),
            done.filter(|x| *x > 0.0).map_or("null".into(), |x| {
                let n = if name == "withdraw" { d.1 } else { expect };
                format!("{:.0}", n as f64 / x)
            }),
            d.0, d.1, d.2, d.3,
            n1.dut - n0.dut,
            dut,
            own,
            (busy - own - dut - irq - steal).max(0.0),
            irq,
            steal,
            el,
            sh.rss_peak_kb.load(Relaxed) as f64 / 1024.0,
            procfs::hwm_kb(&pids) as f64 / 1024.0,
            procfs::rss_kb(&pids) as f64 / 1024.0,
            procfs::pss_kb(&pids) as f64 / 1024.0,
            a.pids.first().map_or(0, |p| {
                let k = procfs::kernel_routes(*p);
                k.0 as i64 - fib0.0 as i64
            }),
            ld.lost,
            flap_info,
        ));
        if timed_out {
            let why: HashSet<&String> =
                ld.conns.iter().filter(|c| c.st == St::Gone).map(|c| &c.why).collect();
            error = format!(
                ",\"error\":{}",
                crate::js(&format!(
                    "{name}: {} after {el:.0} s; {} of {expect} present; lost {} {why:?}",
                    if ld.lost > 0 { "session lost" } else { "timed out" },
                    ld.present(),
                    ld.lost
                ))
            );
            rc = 3;
            break;
        }
    }
    let unknown: u64 = ld.ribs().map(|r| r.unknown).sum();
    println!(
        "{{\"label\":{},\"peers\":{},\"monitors\":{},\"routes\":{},\"layout\":{},\"universe\":{union},\"paths_sent\":{total_paths},\"tx_bytes\":{tx_bytes},\"tx_updates\":{tx_groups},\
         \"up_s\":{t_up},\"idle_pss_mb\":{:.1},\"unknown\":{unknown},\"phases\":{{{out}}}{error}}}",
        crate::js(&a.label),
        a.peers,
        a.monitors,
        a.routes,
        crate::js(&a.layout),
        idle_pss as f64 / 1024.0,
    );
    rc
}
