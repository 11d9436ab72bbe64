//! What is done to the daemon, phase by phase, and when it has coped.

use std::{
    process::{Child, Command, Stdio},
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

use crate::{
    connection::State,
    heard::{Heard, MAX_PROBES, PROBES},
    load::Load,
    procfs,
    table::mix,
    watch::{Seen, Watch, Wish},
    wire::{Part, announce, end_of_rib, probe, withdraw},
};

/// The stamp of the policy that a reload brings.
pub const RELOADED: u16 = 77;
/// Between two probes: no divisor of a second, so that they drift through the churn.
const PROBE_EVERY: Duration = Duration::from_millis(23);
/// How long the last probes may take.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// One phase of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Every peer tells its table.
    Load,
    /// Every peer takes its table back.
    Withdraw,
    /// A share of the table goes and comes back every second, while probes pass.
    Churn { permille: u64, seconds: f64 },
    /// Peer 0 is reset.
    Drop,
    /// A command changes the daemon's policy.
    Reload,
    /// Nothing happens.
    Idle { seconds: f64 },
}

impl FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split(':').collect();
        let number = |at: usize| -> Result<f64, String> {
            let field = fields.get(at).ok_or_else(|| format!("{text}: a number is missing"))?;
            field.parse().map_err(|e| format!("{text}: {e}"))
        };
        match fields[0] {
            "load" => Ok(Self::Load),
            "withdraw" => Ok(Self::Withdraw),
            "churn" => {
                Ok(Self::Churn { permille: (number(1)? * 10.0) as u64, seconds: number(2)? })
            }
            "drop" => Ok(Self::Drop),
            "reload" => Ok(Self::Reload),
            "idle" => Ok(Self::Idle { seconds: number(1)? }),
            _ => Err(format!("unknown phase {text}")),
        }
    }
}

impl Phase {
    /// The key of its result.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Withdraw => "withdraw",
            Self::Churn { .. } => "churn",
            Self::Drop => "drop",
            Self::Reload => "reload",
            Self::Idle { .. } => "idle",
        }
    }
}

type Octets = Arc<Vec<u8>>;

/// Octets made before any clock starts, per peer.
#[derive(Debug, Default)]
pub struct Script {
    tables: Vec<Octets>,
    withdrawals: Vec<Octets>,
    /// What goes, and how it comes back.
    churn: Vec<(Octets, Octets)>,
}

impl Script {
    /// Encodes what the phases will send; the tables are given.
    pub fn new(load: &Load<'_>, tables: Vec<Vec<u8>>) -> Self {
        let args = load.args;
        let mut script = Self::default();
        for (peer, mut table) in tables.into_iter().enumerate() {
            table.extend_from_slice(&end_of_rib(args.family));
            script.tables.push(Arc::new(table));
            let parts = &load.plan.parts[peer];
            for phase in &args.phases {
                match phase {
                    Phase::Withdraw => {
                        let octets = withdraw(&load.plan.table, parts);
                        script.withdrawals.push(Arc::new(octets));
                    }
                    Phase::Churn { permille, .. } => {
                        let chosen: Vec<Part> = parts
                            .iter()
                            .filter(|p| mix(args.seed ^ 5, u64::from(p.group)) % 1000 < *permille)
                            .copied()
                            .collect();
                        let speaker = &load.plan.speakers[peer];
                        let back = announce(&load.plan.table, speaker, args.seed, &chosen);
                        let gone = withdraw(&load.plan.table, &chosen);
                        script.churn.push((Arc::new(gone), Arc::new(back)));
                    }
                    _ => {}
                }
            }
        }
        script
    }
}

/// The course of one phase.
#[derive(Debug)]
pub struct Outcome {
    /// Why it did not end well; the run ends with it.
    pub failed: Option<String>,
    /// Figures, times in seconds from the start of the phase.
    pub figures: Map<String, Value>,
}

/// Runs one phase until every counting session has what it must have (and the kernel too), or
/// the time is up.
pub fn run(load: &mut Load<'_>, script: &Script, phase: &Phase, kernel_before: u64) -> Outcome {
    let args = load.args;
    let mut figures = Map::new();
    match phase {
        Phase::Drop => load.plan.lose(0),
        Phase::Withdraw => (0..args.peers).for_each(|peer| load.plan.lose(peer)),
        _ => {}
    }
    let reloaded = *phase == Phase::Reload;
    load.aim(|class| if reloaded { RELOADED } else { class });
    if let Some(keeper) = load.keeper {
        load.connections[keeper].take_silence();
    }
    let pid = args.pids.first().copied();
    let wish = match (phase, args.fib) {
        (Phase::Load, true) => Some(Wish::Entries(kernel_before + load.plan.reachable())),
        (Phase::Withdraw, true) => Some(Wish::Entries(kernel_before)),
        (Phase::Drop, true) => load.plan.speakers.get(1).map(|s| Wish::Gateway(s.next_hop)),
        _ => None,
    };
    let watch = wish.zip(pid).map(|(wish, pid)| Watch::start(&load.plan, pid, wish));
    if watch.is_some() {
        // It picks its samples before the clock starts.
        serve(load, Duration::from_millis(300));
    }
    let mut begun = Instant::now();
    let mut command = None;
    match phase {
        Phase::Load => script.tables.iter().enumerate().for_each(|(p, t)| load.push(p, t.clone())),
        Phase::Withdraw => {
            script.withdrawals.iter().enumerate().for_each(|(p, t)| load.push(p, t.clone()));
        }
        Phase::Churn { seconds, .. } => begun = churn(load, script, *seconds, &mut figures),
        Phase::Drop => load.reset(0),
        Phase::Reload => match start(&args.reload) {
            Ok(child) => command = Some(child),
            Err(e) => return Outcome { failed: Some(format!("{}: {e}", args.reload)), figures },
        },
        Phase::Idle { seconds } => idle(load, *seconds, &mut figures),
    }
    let failed = wait(load, phase, begun, watch.as_ref(), &mut figures);
    if let Some(mut child) = command {
        // It may wait for the daemon longer than we did; its outcome shows in the table.
        let _ = child.kill();
        let _ = child.wait();
    }
    let since = |at: Option<Instant>| {
        at.map(|at| at.saturating_duration_since(begun).as_secs_f64())
            .map_or(Value::Null, Value::from)
    };
    figures.insert("first_s".into(), since(load.heard().filter_map(|h| h.first).min()));
    figures.insert("last_s".into(), since(load.heard().filter_map(|h| h.last).max()));
    if let Some(keeper) = load.keeper {
        let keeper = &mut load.connections[keeper];
        figures.insert("keeper_silence_s".into(), keeper.take_silence().as_secs_f64().into());
        figures.insert("keeper_up".into(), (keeper.state == State::Up).into());
    }
    Outcome { failed, figures }
}

fn start(command: &str) -> std::io::Result<Child> {
    let null = Stdio::null;
    Command::new("sh").args(["-c", command]).stdin(null()).stdout(null()).stderr(null()).spawn()
}

/// Waits for the end of a phase; notes when what was reached.
fn wait(
    load: &mut Load<'_>,
    phase: &Phase,
    begun: Instant,
    watch: Option<&Watch>,
    figures: &mut Map<String, Value>,
) -> Option<String> {
    let seconds = |at: Instant| Value::from(at.saturating_duration_since(begun).as_secs_f64());
    let mut done = false;
    let mut kernel: Option<Seen> = None;
    let failed = loop {
        load.turn(5);
        if !figures.contains_key("sent_s") && load.sent_all() {
            figures.insert("sent_s".into(), seconds(Instant::now()));
        }
        if !done && reached(load) {
            done = true;
            // The message that completed the last session, not the turn of our loop.
            let last = load.heard().filter_map(|h| h.last).max();
            let at = if *phase == Phase::Load { Some(Instant::now()) } else { last };
            figures.insert("seconds".into(), at.map_or(Value::from(0.0), seconds));
        }
        if kernel.is_none() {
            kernel = watch.and_then(Watch::seen);
        }
        if done && (watch.is_none() || kernel.is_some()) {
            break None;
        }
        let late = begun.elapsed().as_secs_f64() > load.args.timeout;
        if load.lost > 0 || late {
            let why =
                if late { format!("not done in {} s", load.args.timeout) } else { lost(load) };
            break Some(format!("{why}{}", missing(load, watch.is_some() && kernel.is_none())));
        }
    };
    if let Some(seen) = kernel {
        figures.insert("fib_first_s".into(), seconds(seen.first));
        figures.insert("fib_wrong_s".into(), seconds(seen.wrong.unwrap_or(begun)));
        figures.insert("fib_s".into(), seconds(seen.last));
    }
    failed
}

fn reached(load: &Load<'_>) -> bool {
    // Whoever copies decides nothing: it has coped when it has passed on everything.
    (!load.args.copies || load.sent_all()) && load.heard().all(Heard::complete)
}

fn lost(load: &Load<'_>) -> String {
    let mut why: Vec<&str> = load
        .connections
        .iter()
        .filter(|c| c.state == State::Gone)
        .map(|c| c.why.as_str())
        .collect();
    why.sort_unstable();
    why.dedup();
    format!("{} sessions lost ({})", load.lost, why.join("; "))
}

fn missing(load: &Load<'_>, kernel: bool) -> String {
    let (right, expected) = load
        .heard()
        .map(Heard::progress)
        .fold((0, 0), |sum, (right, expected)| (sum.0 + right, sum.1 + expected));
    let kernel = if kernel { ", the kernel not as wanted" } else { "" };
    format!(": {right} of {expected} prefixes as they must be{kernel}")
}

fn serve(load: &mut Load<'_>, span: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < span {
        load.turn(5);
    }
}

/// Takes the chosen share away and brings it back, once a second, probes all the while. Returns
/// when the last routes came back: what follows is the daemon's backlog.
fn churn(
    load: &mut Load<'_>,
    script: &Script,
    seconds: f64,
    figures: &mut Map<String, Value>,
) -> Instant {
    let begun = Instant::now();
    let half = Duration::from_millis(500);
    let halves = (seconds * 2.0).ceil() as u32 & !1;
    let mut sent: Vec<Instant> = Vec::new();
    let mut last_push = begun;
    for turn in 0..halves {
        last_push = Instant::now();
        for (peer, (gone, back)) in script.churn.iter().enumerate() {
            load.push(peer, if turn % 2 == 0 { gone } else { back }.clone());
        }
        while begun.elapsed() < half * (turn + 1) {
            probe_if_due(load, begun, &mut sent);
            load.turn(1);
        }
    }
    let limit = Instant::now() + PROBE_LIMIT;
    let arrived =
        |load: &Load<'_>| load.heard().all(|h| h.probes.iter().flatten().count() == sent.len());
    while !arrived(load) && Instant::now() < limit && load.lost == 0 {
        load.turn(1);
    }
    let mut delays: Vec<f64> = Vec::new();
    for heard in load.heard() {
        for (i, sent) in sent.iter().enumerate() {
            let seen = heard.probes.get(i).copied().flatten();
            // One that never came counts as if it came now.
            delays.push(seen.unwrap_or_else(Instant::now).duration_since(*sent).as_secs_f64());
        }
    }
    let lost = load.heard().map(|h| sent.len() - h.probes.iter().flatten().count()).sum::<usize>();
    delays.sort_by(f64::total_cmp);
    let quantile = |q: f64| {
        let at = ((delays.len() as f64 * q).ceil() as usize).saturating_sub(1);
        delays.get(at).map(|s| s * 1e3)
    };
    figures.insert(
        "probe".into(),
        json!({
            "sent": sent.len(), "lost": lost, "p50_ms": quantile(0.5), "p99_ms": quantile(0.99),
            "max_ms": quantile(1.0),
        }),
    );
    last_push
}

fn probe_if_due(load: &mut Load<'_>, begun: Instant, sent: &mut Vec<Instant>) {
    let Some(prober) = load.prober else { return };
    if begun.elapsed() < PROBE_EVERY * sent.len() as u32 || sent.len() >= MAX_PROBES {
        return;
    }
    let mut speaker = load.plan.speakers[0].clone();
    speaker.marker = load.connections[prober].asn;
    speaker.next_hop = load.connections[prober].source;
    let octets = probe(&speaker, PROBES + sent.len() as u32);
    sent.push(Instant::now());
    load.send_now(prober, Arc::new(octets));
}

fn idle(load: &mut Load<'_>, seconds: f64, figures: &mut Map<String, Value>) {
    let pids = procfs::tree(&load.args.pids);
    let before = procfs::wakeups(&pids);
    let begun = Instant::now();
    let span = Duration::from_secs_f64(seconds);
    while begun.elapsed() < span {
        load.turn(100);
    }
    let after = procfs::wakeups(&pids);
    let elapsed = begun.elapsed().as_secs_f64();
    figures.insert("wakeups_per_s".into(), ((after.0 - before.0) as f64 / elapsed).into());
    figures.insert("cpu_ms_per_s".into(), ((after.1 - before.1) as f64 / 1e6 / elapsed).into());
}
