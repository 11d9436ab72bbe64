//! How long `margay` takes to answer while a full table comes in: `cargo run --profile lab -p
//! interop-tests --bin answers` as root, after `cargo build --profile lab --workspace --bins`.
//!
//! One peer sends a table to a daemon in a namespace of its own, as in `cargo xtask bench`, and a
//! monitor gets it all. Meanwhile one command after the other is run, as a user would: the time
//! includes the start of the process. A mark of 100 ms is to hold for each.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use testkit::{Daemon, Lab, margay::bin};

/// What an answer may take.
const MARK: Duration = Duration::from_millis(100);
const ROUTES: u32 = 1_000_000;

const COMMANDS: [&[&str]; 4] =
    [&["status"], &["peers"], &["routes", "10.0.0.0/8"], &["routes", "explain", "10.99.0.0/16"]];

const CONFIG: &str = "\
[bgp]
asn = 65000
router-id = \"10.99.0.1\"
listen = [\"10.99.0.1:179\"]
require-policy = false
originate = [\"10.99.0.0/16\"]

[fib]
enabled = false

[[bgp.peer]]
name = \"feed\"
address = \"10.99.1.1\"
asn = 64700
passive = true

[[bgp.peer]]
name = \"monitor\"
address = \"10.99.200.1\"
asn = 64600
passive = true
";

fn main() -> ExitCode {
    if !testkit::have_root("answers") {
        return ExitCode::FAILURE;
    }
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every answer came in time.
fn run() -> Result<bool> {
    let mut lab = Lab::new("answers")?;
    let (near, far) = (lab.host("near")?, lab.host("far")?);
    lab.link(
        (&near, "eth0", &["10.99.0.1/16"]),
        (&far, "eth0", &["10.99.1.1/16", "10.99.200.1/16"]),
    )?;
    let dir = near.dir().to_path_buf();
    let socket = dir.join("sock");
    let config = dir.join("bgpd.toml");
    let own = format!(
        "[node]\nstate-dir = \"{0}\"\n[api]\nsocket = \"{1}\"\n[http]\nlisten = \"\"\n",
        dir.join("state").display(),
        socket.display()
    );
    fs::write(&config, own + CONFIG)?;
    let mut command = Command::new(bin("margay-bgpd")?);
    command.arg("--config").arg(&config);
    let mut daemon = Daemon::spawn(&near, &mut command, &dir.join("daemon.log"))?;
    thread::sleep(Duration::from_millis(500));
    daemon.check_running()?;

    let over = Arc::new(AtomicBool::new(false));
    let asking = thread::spawn({
        let (over, socket, margay) = (Arc::clone(&over), socket.clone(), bin("margay")?);
        move || ask(&margay, &socket, &over)
    });
    let mut load = Command::new(bin("bgpload")?);
    load.args(["run", "--dut", "10.99.0.1", "--dut-as", "65000", "--monitors", "1"])
        .args(["--src", "10.99.1.1", "--monitor-src", "10.99.200.1"])
        .args(["--peers", "1", "--routes", &ROUTES.to_string(), "--layout", "same"])
        .args(["--pid", &daemon.pid().to_string(), "--timeout", "60"]);
    let output = far.output(&mut load)?;
    over.store(true, Relaxed);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        said.contains("\"ok\":true"),
        "bgpload: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let taken = asking.join().map_err(|_| anyhow::anyhow!("the asking thread panicked"))??;
    println!("{:<32} {:>6} {:>9} {:>9} {:>9}", "command", "count", "median", "p99", "worst");
    let mut good = true;
    for (command, mut taken) in COMMANDS.iter().zip(taken) {
        taken.sort_unstable();
        let at = |permille: usize| taken.get((taken.len() * permille / 1000).min(taken.len() - 1));
        let ms = |at: Option<&Duration>| at.map_or(f64::NAN, |d| d.as_secs_f64() * 1000.0);
        good &= taken.last().is_some_and(|worst| *worst < MARK);
        println!(
            "{:<32} {:>6} {:>6.1} ms {:>6.1} ms {:>6.1} ms",
            command.join(" "),
            taken.len(),
            ms(at(500)),
            ms(at(990)),
            ms(taken.last())
        );
    }
    Ok(good)
}

/// Runs the commands in turn until it is over; how long each took.
fn ask(margay: &Path, socket: &Path, over: &AtomicBool) -> Result<Vec<Vec<Duration>>> {
    let mut taken = vec![Vec::new(); COMMANDS.len()];
    while !over.load(Relaxed) {
        for (arguments, taken) in COMMANDS.iter().zip(&mut taken) {
            let began = Instant::now();
            let status = Command::new(margay)
                .arg("--socket")
                .arg(socket)
                .args(*arguments)
                .stdout(Stdio::null())
                .status()
                .context("margay does not start")?;
            ensure!(status.success(), "margay {}: {status}", arguments.join(" "));
            taken.push(began.elapsed());
        }
    }
    Ok(taken)
}
