//! `bgpload run`: one daemon through all phases, one line of JSON.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use serde_json::{Value, json};

use crate::{
    Args,
    decode::{self, Event, Lens},
    load::Load,
    phase::{self, Phase, Script},
    plan::Plan,
    procfs::{self, Sampler},
    wire::{HEADER, announce},
};

/// CPU seconds at one moment.
struct Clock {
    machine: (f64, f64, f64),
    own: f64,
    daemon: f64,
}

impl Clock {
    fn read(load: &Load<'_>) -> Self {
        Self {
            machine: procfs::machine_seconds(),
            own: procfs::cpu_seconds(std::process::id()).unwrap_or(0.0),
            daemon: load.exact_cpu(),
        }
    }
}

/// Runs and prints; the exit code is 0, 2 when sessions did not come up, 3 when a phase failed.
pub fn run(args: &Args) -> i32 {
    let mut load = Load::new(args, Plan::new(args));
    let up = match load.connect(Duration::from_secs(args.connect_timeout)) {
        Ok(up) => up,
        Err(why) => {
            println!("{}", json!({ "error": why }));
            return 2;
        }
    };
    load.sampler = Some(Sampler::start(args.pids.clone()));
    load.settle(Duration::from_secs(10));
    // Encoding happens before any clock starts.
    let tables: Vec<Vec<u8>> = load
        .plan
        .speakers
        .iter()
        .zip(&load.plan.parts)
        .map(|(speaker, parts)| announce(&load.plan.table, speaker, args.seed, parts))
        .collect();
    let sent: Vec<Vec<u32>> = tables.iter().map(|table| digests(args, table)).collect();
    let mut result = json!({
        "paths": load.plan.paths(),
        "prefixes": load.plan.reachable(),
        "octets": tables.iter().map(Vec::len).sum::<usize>(),
        "up_s": up.as_secs_f64(),
        "idle_rss_mb": megabytes(procfs::rss_kb(&procfs::tree(&args.pids))),
        "phases": {},
    });
    let script = Script::new(&load, tables);
    let kernel_before = args.pids.first().map_or(0, |pid| procfs::kernel_routes(*pid));
    let mut code = 0;
    for phase in &args.phases {
        let (figures, failed) = measure(&mut load, &script, phase, kernel_before, &sent);
        result["phases"][phase.name()] = figures;
        if let Some(why) = failed {
            result["error"] = format!("{}: {why}", phase.name()).into();
            code = 3;
            break;
        }
    }
    println!("{result}");
    code
}

fn measure(
    load: &mut Load<'_>,
    script: &Script,
    phase: &Phase,
    kernel_before: u64,
    sent: &[Vec<u32>],
) -> (Value, Option<String>) {
    let args = load.args;
    let counts: Vec<_> = load.heard().map(|h| h.counts).collect();
    let before = Clock::read(load);
    let outcome = phase::run(load, script, phase, kernel_before);
    let done = load.exact_cpu();
    let (settle_s, calm) = match outcome.failed {
        None => load.settle(Duration::from_secs_f64(args.settle)),
        Some(_) => (0.0, false),
    };
    let after = Clock::read(load);
    let mut figures = Value::Object(outcome.figures);
    let sum = |field: fn(&crate::heard::Counts) -> u64| -> u64 {
        load.heard().zip(&counts).map(|(h, before)| field(&h.counts) - field(before)).sum()
    };
    let busy = after.machine.0 - before.machine.0;
    let others = busy
        - (after.own - before.own)
        - (after.daemon - before.daemon)
        - (after.machine.1 - before.machine.1)
        - (after.machine.2 - before.machine.2);
    let pids = procfs::tree(&args.pids);
    let sampled = load.sampler.as_ref().map_or(0, |s| s.rss_peak_kb.load(Relaxed));
    for (key, value) in [
        ("ok", Value::from(outcome.failed.is_none())),
        ("settle_s", settle_s.into()),
        ("calm", calm.into()),
        ("held", load.heard().map(|h| h.present()).sum::<u64>().into()),
        ("announced", sum(|c| c.announced).into()),
        ("withdrawn", sum(|c| c.withdrawn).into()),
        ("updates", sum(|c| c.updates).into()),
        ("octets", sum(|c| c.octets).into()),
        ("unknown", sum(|c| c.unknown).into()),
        ("cpu_done_s", (done - before.daemon).into()),
        ("cpu_s", (after.daemon - before.daemon).into()),
        ("own_cpu_s", (after.own - before.own).into()),
        ("other_cpu_s", others.max(0.0).into()),
        ("peak_mb", megabytes(procfs::hwm_kb(&pids)).into()),
        ("sampled_peak_mb", megabytes(sampled).into()),
        ("rss_mb", megabytes(procfs::rss_kb(&pids)).into()),
        ("pss_mb", megabytes(procfs::pss_kb(&pids)).into()),
    ] {
        figures[key] = value;
    }
    let mut failed = outcome.failed;
    if failed.is_none() && *phase != Phase::Withdraw {
        figures["compared"] = compare(load, sent);
        failed = if load.lost > 0 { Some("a session was lost after the end".into()) } else { None };
    }
    (figures, failed)
}

fn compare(load: &Load<'_>, sent: &[Vec<u32>]) -> Value {
    let (mut sessions, mut total, mut invented, mut altered) = (0, 0, 0, 0);
    for one in load.heard().filter_map(|h| h.compare(&load.plan, sent)) {
        sessions += 1;
        total += one.compared;
        invented += one.invented;
        altered += one.altered;
    }
    json!({ "sessions": sessions, "paths": total, "invented": invented, "altered": altered })
}

fn megabytes(kilobytes: u64) -> f64 {
    kilobytes as f64 / 1024.0
}

/// The digest of each UPDATE of a table, read as a monitor reads them.
fn digests(args: &Args, table: &[u8]) -> Vec<u32> {
    let lens = Lens {
        low: 0,
        high: 0,
        own_as: args.dut_as,
        internal: args.internal,
        deep: true,
        stamps: true,
        multiprotocol: true,
    };
    let mut found = Vec::new();
    let mut rest = table;
    while let Some(header) = rest.first_chunk::<HEADER>() {
        let (message, tail) =
            rest.split_at(usize::from(u16::from_be_bytes([header[16], header[17]])));
        rest = tail;
        let mut digest = 0;
        let read = decode::update(&message[HEADER..], &lens, |event| {
            if let Event::Announce(_, told) = event {
                digest = told.digest;
            }
        });
        debug_assert!(read.is_ok(), "our own encoding");
        found.push(digest);
    }
    found
}
