//! The workshop of the repository: `cargo xtask demo|test|bench|fuzz|fmt|lint|dist`.
//!
//! Owns which tools run, in which order and what counts as a failure. Depends on no crate of the
//! workspace, so it builds in seconds on a machine that has nothing yet; the demo and the
//! benchmark themselves live in `interop-tests`.

mod dist;
mod fuzz;
mod micro;
mod packages;
mod step;
mod suite;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};

use step::cargo;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo [ACT...]       Margay between BIRD and FRR (router), as the nodes of a cluster (cluster),
                      and with pods of a real containerd (pods), as root
  test [--no-fuzz]    everything CI runs: lints, unit tests, interop tests (as root), fuzzing
  bench [ARGS]        Margay beside other BGP daemons, as root; see `cargo xtask bench --help`
  bench ipam [ARGS]   addresses, resources and the datastore, with real etcd, as root; see
                      `cargo xtask bench ipam --help`
  bench cni [ARGS]    pods through the CNI plugin, beside the reference plugins, as root; see
                      `cargo xtask bench cni --help`
  bench policy [ARGS] network policy and packets under it, beside rules in the shape of iptables
                      chains, as root; see `cargo xtask bench policy --help`
  bench --micro [--update]
                      instructions of small workloads against those on record; needs valgrind
  fuzz [--seconds N]  every fuzz target for N seconds (60)
  fmt                 format the sources
  lint                what must be clean before a commit: formatting, clippy, licences
  dist                release binaries, completions and the man page as a tarball in target/dist
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode> {
    std::env::set_current_dir(root())?;
    let Some((command, rest)) = arguments.split_first() else {
        eprint!("{USAGE}");
        return Ok(ExitCode::from(2));
    };
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (command.as_str(), rest.as_slice()) {
        ("test", []) => suite::test(true),
        ("test", ["--no-fuzz"]) => suite::test(false),
        ("lint", []) => suite::lint(),
        ("fmt", []) => {
            step::run("cargo fmt", &mut cargo(&["fmt", "--all"]))?;
            Ok(ExitCode::SUCCESS)
        }
        ("fuzz", []) => fuzz::all(60),
        ("fuzz", ["--seconds", seconds]) => {
            fuzz::all(seconds.parse().with_context(|| format!("--seconds {seconds}"))?)
        }
        ("demo", rest) => lab_program("demo", packages::LAB, rest),
        ("bench", ["--micro"]) => micro::run(false),
        ("bench", ["--micro", "--update"]) => micro::run(true),
        ("bench", ["ipam", rest @ ..]) => bench_ipam(rest),
        ("bench", ["cni", rest @ ..]) => bench_cni(rest),
        ("bench", ["policy", rest @ ..]) => bench_policy(rest),
        ("bench", rest) => bench(rest),
        ("dist", []) => dist::tarball(),
        ("-h" | "--help" | "help", _) => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprint!("error: unknown command or option\n{USAGE}");
            Ok(ExitCode::from(2))
        }
    }
}

/// Builds the daemons and a program of `interop-tests`, and runs it.
fn lab_program(name: &str, packages: &[&str], arguments: &[&str]) -> Result<ExitCode> {
    packages::install(packages)?;
    suite::build_lab()?;
    let build = ["build", "--quiet", "--profile", "lab", "-p", "interop-tests", "--bin", name];
    step::run(&format!("build {name}"), &mut cargo(&build))?;
    let lab = target_dir()?.join("lab");
    let mut command = std::process::Command::new(lab.join(name));
    // Just built: nothing is to be built again on the way.
    command.args(arguments).env("MARGAY_BIN_DIR", &lab);
    let status = command.status().with_context(|| format!("running {name}"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds everything and runs the benchmark; `--profile lab` builds faster, and less fast code.
fn bench(arguments: &[&str]) -> Result<ExitCode> {
    let profile = profile(arguments);
    packages::install(packages::BUILD)?;
    packages::install(packages::LAB)?;
    let title = format!("cargo build --profile {profile}");
    let parts = ["-p", "margay-bgpd", "-p", "bgpload", "-p", "interop-tests"];
    step::run(&title, cargo(&["build", "--profile", &profile]).args(parts))?;
    let program = target_dir()?.join(&profile).join("bench");
    run_bench(std::process::Command::new(program).args(arguments))
}

/// The benchmark of addresses and resources: its measuring programs are the examples of the crates.
fn bench_ipam(arguments: &[&str]) -> Result<ExitCode> {
    let profile = profile(arguments);
    packages::install(packages::BUILD)?;
    packages::install(packages::IPAM)?;
    suite::build_examples(&profile)?;
    let title = format!("cargo build --profile {profile}");
    let parts = ["-p", "margay-bgpd", "-p", "margay", "-p", "interop-tests"];
    step::run(&title, cargo(&["build", "--bins", "--profile", &profile]).args(parts))?;
    let built = target_dir()?.join(&profile);
    let mut program = std::process::Command::new(built.join("bench-ipam"));
    run_bench(program.args(arguments).env("MARGAY_BIN_DIR", built))
}

/// The benchmark of pods.
fn bench_cni(arguments: &[&str]) -> Result<ExitCode> {
    let profile = profile(arguments);
    packages::install(packages::BUILD)?;
    packages::install(packages::CNI)?;
    let title = format!("cargo build --profile {profile}");
    let parts = ["-p", "margay-bgpd", "-p", "margay", "-p", "interop-tests"];
    step::run(&title, cargo(&["build", "--bins", "--profile", &profile]).args(parts))?;
    suite::build_cni(&profile)?;
    let built = target_dir()?.join(&profile);
    let mut program = std::process::Command::new(built.join("bench-cni"));
    run_bench(program.args(arguments).env("MARGAY_BIN_DIR", built))
}

/// The benchmark of policy: what measures is an example of the dataplane.
fn bench_policy(arguments: &[&str]) -> Result<ExitCode> {
    let profile = profile(arguments);
    packages::install(packages::BUILD)?;
    packages::install(packages::ENFORCEMENT)?;
    suite::build_examples(&profile)?;
    let title = format!("cargo build --profile {profile}");
    let parts = ["-p", "margay-policy-dp", "-p", "interop-tests"];
    step::run(&title, cargo(&["build", "--bins", "--profile", &profile]).args(parts))?;
    let built = target_dir()?.join(&profile);
    let mut program = std::process::Command::new(built.join("bench-policy"));
    run_bench(program.args(arguments).env("MARGAY_BIN_DIR", built))
}

fn run_bench(program: &mut std::process::Command) -> Result<ExitCode> {
    let status = program.status().context("running the benchmark")?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}

/// What the arguments name, or release.
fn profile(arguments: &[&str]) -> String {
    let given = |pair: &[&str]| match pair {
        ["--profile", profile] => Some((*profile).to_owned()),
        [_, one] | [one] => one.strip_prefix("--profile=").map(str::to_owned),
        _ => None,
    };
    arguments
        .windows(2)
        .chain(arguments.chunks(1))
        .find_map(given)
        .unwrap_or_else(|| "release".to_owned())
}

/// The folder of the workspace.
fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// Where cargo puts what it builds.
fn target_dir() -> Result<PathBuf> {
    let output = cargo(&["metadata", "--format-version", "1", "--no-deps"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let Some((_, rest)) = text.split_once("\"target_directory\":\"") else {
        bail!("cargo metadata names no target directory");
    };
    let Some((folder, _)) = rest.split_once('"') else { bail!("cargo metadata is cut short") };
    Ok(PathBuf::from(folder))
}
