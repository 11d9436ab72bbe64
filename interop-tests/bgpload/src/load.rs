//! All sessions in one epoll loop.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use crate::{
    Args,
    connection::{Connection, Ended, State},
    decode::{self, Lens},
    heard::Heard,
    plan::{KEEPER_AS, MARKER, MONITOR_AS, Plan},
    procfs::{self, Sampler},
    sys,
    wire::{self, KEEPALIVE, NOTIFICATION, OPEN, UPDATE},
};

/// How many sessions that count have their attributes compared too.
const DEEP: usize = 8;
/// A daemon that took the connection before it was ready may never answer: try again.
const ANSWER: Duration = Duration::from_secs(5);

/// The peers and monitors of one daemon.
#[derive(Debug)]
pub struct Load<'a> {
    pub args: &'a Args,
    pub plan: Plan,
    pub connections: Vec<Connection>,
    /// The session that sends probes, and the one that only keeps alive.
    pub prober: Option<usize>,
    pub keeper: Option<usize>,
    /// Sessions that ended after the start without our doing.
    pub lost: u64,
    pub sampler: Option<Arc<Sampler>>,
    epoll: sys::Epoll,
    started: bool,
    taken_down: Option<usize>,
    lens: Lens,
    buffer: Vec<u8>,
}

impl<'a> Load<'a> {
    /// All sessions of the plan, none connected.
    pub fn new(args: &'a Args, plan: Plan) -> Self {
        let mut connections = Vec::new();
        let counting = if args.all_receive { args.peers } else { 0 } + args.monitors;
        let every = counting.div_ceil(DEEP).max(1);
        let mut counted = 0;
        let mut heard = |own: Option<usize>, session: usize, plan: &Plan| {
            let deep = counted % every == 0;
            counted += 1;
            Some(Box::new(Heard::new(plan, own, plan.class(session), deep)))
        };
        let internal = |asn: u32| if args.internal { args.dut_as } else { asn };
        for peer in 0..args.peers {
            let asn = internal(MARKER + peer as u32);
            let heard = if args.all_receive { heard(Some(peer), peer, &plan) } else { None };
            connections.push(Connection::new(args.src + peer as u32, asn, Some(peer), heard));
        }
        for monitor in 0..args.monitors {
            let asn = internal(MONITOR_AS + monitor as u32);
            let heard = heard(None, args.peers + monitor, &plan);
            connections.push(Connection::new(args.monitor_src + monitor as u32, asn, None, heard));
        }
        let mut helper = |source: u32, asn: u32| {
            connections.push(Connection::new(source, asn, None, None));
            connections.len() - 1
        };
        let prober =
            args.prober.then(|| helper(args.src + args.peers as u32, MARKER + args.peers as u32));
        let keeper = args.keeper.then(|| helper(args.keeper_src, KEEPER_AS));
        if let Some(keeper) = keeper {
            connections[keeper].hold = 3;
            connections[keeper].keepalive_every = Duration::from_secs(1);
        }
        Self {
            args,
            lens: Lens {
                low: MARKER,
                high: MARKER + args.peers as u32 + 1,
                own_as: args.dut_as,
                internal: args.internal,
                deep: false,
                stamps: args.classes > 0 || !args.reload.is_empty(),
                multiprotocol: args.family.v6,
            },
            plan,
            connections,
            prober,
            keeper,
            lost: 0,
            sampler: None,
            epoll: sys::Epoll::new(),
            started: false,
            taken_down: None,
            buffer: Vec::new(),
        }
    }

    /// Connects all sessions; an error tells which did not come up, and why.
    pub fn connect(&mut self, limit: Duration) -> Result<Duration, String> {
        let begun = Instant::now();
        while !self.connections.iter().all(|c| c.state == State::Up) {
            self.turn(20);
            if begun.elapsed() > limit {
                let down: Vec<_> =
                    self.connections.iter().filter(|c| c.state != State::Up).collect();
                let mut why: Vec<_> =
                    down.iter().map(|c| format!("{:?} {}", c.state, c.why)).collect();
                why.sort();
                why.dedup();
                return Err(format!(
                    "{} of {} sessions not up after {} s: {}",
                    down.len(),
                    self.connections.len(),
                    limit.as_secs(),
                    why.join("; ")
                ));
            }
        }
        self.started = true;
        Ok(begun.elapsed())
    }

    /// Queues octets on one session.
    pub fn push(&mut self, id: usize, octets: Arc<Vec<u8>>) {
        self.connections[id].push(&self.epoll, id as u64, octets);
    }

    /// Queues octets on one session and sends what goes at once.
    pub fn send_now(&mut self, id: usize, octets: Arc<Vec<u8>>) {
        self.push(id, octets);
        if let Err(why) = self.connections[id].flush(&self.epoll, id as u64) {
            self.close(id, why);
        }
    }

    /// Resets one session's connection, as the kernel of a peer that was killed does.
    pub fn reset(&mut self, id: usize) {
        if let Some(socket) = &self.connections[id].socket {
            sys::linger0(socket);
        }
        self.taken_down = Some(id);
        self.close(id, "reset on purpose".into());
    }

    fn close(&mut self, id: usize, why: Ended) {
        let connection = &mut self.connections[id];
        connection.socket = None;
        connection.why = why;
        if self.started {
            connection.state = State::Gone;
            self.lost += u64::from(self.taken_down != Some(id));
        } else {
            connection.state = State::Idle;
            connection.retry = Instant::now() + Duration::from_millis(250);
        }
    }

    /// One turn of the loop, at most `wait_ms` milliseconds long when nothing happens.
    pub fn turn(&mut self, wait_ms: i32) {
        for ready in self.epoll.wait(wait_ms) {
            let id = ready.id as usize;
            if self.connections[id].socket.is_none() {
                continue;
            }
            let connecting = self.connections[id].state == State::Connecting;
            let mut result = Ok(());
            if ready.writable || (connecting && (ready.error || ready.readable)) {
                result = self.writable(id);
            }
            let open = self.connections[id].state != State::Connecting;
            if result.is_ok() && open && (ready.readable || ready.error) {
                result = self.readable(id);
            }
            if let Err(why) = result {
                self.close(id, why);
            }
        }
        self.timers();
    }

    fn timers(&mut self) {
        let now = Instant::now();
        for id in 0..self.connections.len() {
            let c = &mut self.connections[id];
            match c.state {
                State::Idle if now >= c.retry && !self.started => {
                    let socket = sys::connect(c.source, self.args.dut, self.args.port);
                    self.epoll.add(&socket, id as u64, true);
                    c.begin(socket);
                }
                State::Connecting | State::OpenSent | State::OpenConfirm
                    if !self.started && now.duration_since(c.since) > ANSWER =>
                {
                    let why = format!("no answer in {:?}", c.state);
                    self.close(id, why);
                }
                State::Up
                    if c.sent_all() && now.duration_since(c.last_sent) > c.keepalive_every =>
                {
                    c.last_sent = now;
                    self.push(id, Arc::new(wire::keepalive()));
                }
                _ => {}
            }
        }
    }

    fn writable(&mut self, id: usize) -> Result<(), Ended> {
        let family = self.args.family;
        let c = &mut self.connections[id];
        if c.state == State::Connecting {
            match c.socket.as_ref().map_or(0, sys::so_error) {
                0 => {}
                errno => return Err(format!("connect: errno {errno}")),
            }
            c.state = State::OpenSent;
            let open = wire::open(c.asn, c.source, c.hold, family);
            c.push(&self.epoll, id as u64, Arc::new(open));
        }
        c.flush(&self.epoll, id as u64)
    }

    fn readable(&mut self, id: usize) -> Result<(), Ended> {
        let c = &mut self.connections[id];
        // What a session that does not count is told is thrown away inside the kernel.
        if c.state == State::Up && c.heard.is_none() && self.started && self.keeper != Some(id) {
            return c.discard();
        }
        let (plan, lens, epoll, dut_as) = (&self.plan, self.lens, &self.epoll, self.args.dut_as);
        c.read(&mut self.buffer, |c, kind, body, now| match kind {
            UPDATE => match c.heard.as_deref_mut() {
                Some(heard) => heard_update(heard, plan, lens, body, now),
                None => Ok(()),
            },
            OPEN => {
                let (asn, _) = decode::open(body).map_err(|_| "a malformed OPEN".to_owned())?;
                if asn != dut_as {
                    return Err(format!("the daemon's AS is {asn}"));
                }
                if c.state == State::OpenSent {
                    c.state = State::OpenConfirm;
                }
                c.push(epoll, id as u64, Arc::new(wire::keepalive()));
                Ok(())
            }
            KEEPALIVE => {
                if c.state == State::OpenConfirm {
                    c.state = State::Up;
                }
                Ok(())
            }
            NOTIFICATION => {
                let code = |at: usize| body.get(at).copied().unwrap_or_default();
                Err(format!("NOTIFICATION {}/{}", code(0), code(1)))
            }
            _ => Ok(()),
        })
    }

    /// The sessions that count.
    pub fn heard(&self) -> impl Iterator<Item = &Heard> {
        self.connections.iter().filter_map(|c| c.heard.as_deref())
    }

    /// Counts every session anew against the plan.
    pub fn aim(&mut self, stamp: impl Fn(u16) -> u16) {
        for (id, c) in self.connections.iter_mut().enumerate() {
            if let Some(heard) = c.heard.as_deref_mut() {
                heard.aim(&self.plan, c.peer, stamp(self.plan.class(id)));
                (heard.first, heard.last) = (None, None);
            }
        }
    }

    /// Has every session told its table?
    pub fn sent_all(&self) -> bool {
        self.connections.iter().all(Connection::sent_all)
    }

    fn cpu(&self) -> f64 {
        self.sampler.as_ref().map_or(0.0, |s| s.cpu_us.load(Relaxed) as f64 / 1e6)
    }

    /// CPU seconds of the daemon's processes, read now.
    pub fn exact_cpu(&self) -> f64 {
        procfs::tree(&self.args.pids).iter().filter_map(|pid| procfs::cpu_seconds(*pid)).sum()
    }

    /// Serves the sessions until the daemon has used under 3% of a core for 0.4 s; how long that
    /// took, and whether it came to rest within `limit`.
    pub fn settle(&mut self, limit: Duration) -> (f64, bool) {
        let begun = Instant::now();
        let mut sampled = (Instant::now(), self.cpu());
        let mut calm_from = Instant::now();
        while begun.elapsed() < limit {
            self.turn(10);
            if sampled.0.elapsed() >= Duration::from_millis(100) {
                let used = self.cpu() - sampled.1;
                sampled = (Instant::now(), self.cpu());
                if used > 0.011 || !self.sent_all() {
                    calm_from = Instant::now();
                } else if calm_from.elapsed() > Duration::from_millis(400) {
                    return ((calm_from - begun).as_secs_f64(), true);
                }
            }
        }
        (begun.elapsed().as_secs_f64(), false)
    }
}

fn heard_update(
    heard: &mut Heard,
    plan: &Plan,
    lens: Lens,
    body: &[u8],
    now: Instant,
) -> Result<(), Ended> {
    heard.counts.updates += 1;
    heard.counts.octets += (body.len() + wire::HEADER) as u64;
    let lens = Lens { deep: heard.is_deep(), ..lens };
    let mut changes = false;
    let result = decode::update(body, &lens, |event| {
        changes = true;
        heard.take(plan, event, now);
    });
    if changes {
        heard.first.get_or_insert(now);
        heard.last = Some(now);
    }
    result.map_err(|_| "a malformed UPDATE".into())
}
