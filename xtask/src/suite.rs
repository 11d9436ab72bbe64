//! `test` and `lint`: what must hold before a change lands.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    fuzz,
    packages::{self, is_root},
    step::{self, Tally, cargo},
    target_dir,
};

/// The version of the licence and source checker that `deny.toml` was written for.
const CARGO_DENY: &str = "0.20.2";

/// Everything CI runs.
pub fn test(with_fuzz: bool) -> Result<ExitCode> {
    packages::install(packages::BUILD)?;
    packages::install(packages::LAB)?;
    let mut tally = Tally::default();
    lints(&mut tally);
    // Plain tests first: they need no root and end within a minute.
    tally.step(
        "unit, property and scenario tests",
        // Plain `cargo test` kills the datastore's process a few times only.
        cargo(&["test", "--workspace", "--exclude", "interop-tests"]).env("DATASTORE_KILLS", "150"),
    );
    tally.work("build the daemon and the command line", build_lab);
    tally.work("build what measures", || build_examples("lab"));
    if !is_root() {
        println!("interop tests need root and are about to say that they are skipped");
    }
    tally.step(
        "interop tests in network namespaces",
        cargo(&["test", "--package", "interop-tests", "--no-fail-fast"])
            .env("MARGAY_BIN_DIR", target_dir()?.join("lab")),
    );
    if with_fuzz {
        fuzz::steps(&mut tally, 60);
    }
    Ok(if tally.close() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What must be clean before a commit.
pub fn lint() -> Result<ExitCode> {
    let mut tally = Tally::default();
    lints(&mut tally);
    Ok(if tally.close() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Optimised binaries for tests that talk to real peers.
///
/// # Errors
/// When they do not build.
pub fn build_lab() -> Result<()> {
    step::run(
        "cargo build --profile lab",
        cargo(&["build", "--profile", "lab"]).args(
            ["margay-bgpd", "margay-policy-dp", "margay", "bgpload"]
                .map(|p| format!("--package={p}")),
        ),
    )?;
    build_cni("lab")
}

/// The CNI plugin, which needs no library of the host: it may be run from a container's file system,
/// and starts faster. Its addresses are those it is linked for: a runtime starts it for a millisecond,
/// of which moving itself to others was more than a quarter. So was what glibc asks the processor before
/// `main`, which in a virtual machine leaves it some eighty times; musl asks nothing.
///
/// # Errors
/// When it does not build.
pub fn build_cni(profile: &str) -> Result<()> {
    let musl = musl();
    if musl.is_none() {
        println!(
            "margay-cni is linked with glibc, and starts slower: there is no Rust for musl here"
        );
    }
    let target = musl.as_ref().map(|target| format!("--target={target}"));
    let what = ["rustc", "--profile", profile, "--package=margay-cni", "--bin=margay-cni"];
    step::run(
        &format!("cargo rustc --profile {profile} of margay-cni, static"),
        cargo(&what).args(target).arg("--").args([
            "-Ctarget-feature=+crt-static",
            "-Crelocation-model=static",
            "-Cstrip=debuginfo",
        ]),
    )?;
    let all = target_dir()?;
    let program = all.join(profile).join("margay-cni");
    if let Some(target) = musl {
        let made = all.join(target).join(profile).join("margay-cni");
        // Beside the others; what is there may be running.
        let new = program.with_extension("new");
        fs::copy(&made, &new).with_context(|| format!("copying {}", made.display()))?;
        fs::rename(&new, &program).with_context(|| format!("naming {}", program.display()))?;
    }
    let octets = fs::read(&program).with_context(|| format!("{}", program.display()))?;
    match is_static(&octets) {
        Some(true) => Ok(()),
        told => bail!("{} is no static program: {told:?}", program.display()),
    }
}

/// Rust's target for musl on this processor, if its standard library is here or rustup can bring it.
fn musl() -> Option<String> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let is_here = || {
        let mut ask = Command::new(&rustc);
        let said = ask.args(["--print", "target-libdir", "--target", &target]).output().ok()?;
        let folder = String::from_utf8(said.stdout).ok()?;
        let is_here = said.status.success() && Path::new(folder.trim()).is_dir();
        is_here.then_some(())
    };
    if is_here().is_none() {
        // Where there is no rustup, or it cannot get there soon, glibc has to do.
        let mut add = Command::new("timeout");
        let _ = add.args(["60", "rustup", "target", "add", &target]).stderr(Stdio::null()).status();
        is_here()?;
    }
    Some(target)
}

/// Whether a program asks for no loader and no library; `None` of what is no ELF file of 64 bits in
/// little endian.
fn is_static(octets: &[u8]) -> Option<bool> {
    // As in Linux's `elf.h`.
    const PT_DYNAMIC: u32 = 2;
    const PT_INTERP: u32 = 3;
    let short = |at: usize| octets.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes);
    if !octets.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = octets.get(0x20..0x28)?.try_into().ok().map(u64::from_le_bytes)?;
    let (size, count) = (short(0x36)?, short(0x38)?);
    let kinds = (0..usize::from(count)).map(|number| {
        let at = usize::try_from(table).ok()?.checked_add(number * usize::from(size))?;
        octets.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
    });
    let kinds: Vec<u32> = kinds.collect::<Option<_>>()?;
    Some(!kinds.iter().any(|kind| [PT_DYNAMIC, PT_INTERP].contains(kind)))
}

/// The programs of `bench ipam` and `bench policy` that measure.
///
/// # Errors
/// When they do not build.
pub fn build_examples(profile: &str) -> Result<()> {
    let packages =
        ["margay-bgpd", "margay-ipam", "margay-model", "bgp-desired", "margay-policy-dp"];
    let examples =
        ["assign", "claims", "commits", "effect", "mesh", "policy", "selector_index", "subscribe"];
    step::run(
        &format!("cargo build --profile {profile} of what measures"),
        cargo(&["build", "--profile", profile])
            .args(packages.map(|name| format!("--package={name}")))
            .args(examples.map(|name| format!("--example={name}"))),
    )
}

fn lints(tally: &mut Tally) {
    tally.step("formatting", &mut cargo(&["fmt", "--all", "--check"]));
    tally.step(
        "clippy",
        &mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    );
    tally.work("licences, sources, duplicates", deny);
}

fn deny() -> Result<()> {
    let present = Command::new("cargo-deny").arg("--version").output().is_ok();
    if !present {
        let mut install = cargo(&["install", "cargo-deny", "--version", CARGO_DENY, "--locked"]);
        // It runs for a second: building it must not take minutes.
        for (key, value) in [("OPT_LEVEL", "0"), ("LTO", "off"), ("CODEGEN_UNITS", "16")] {
            install.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
        }
        step::run("cargo install cargo-deny", &mut install)?;
    }
    // Advisories come from a repository that CI may not reach; they are checked by hand.
    step::run("cargo deny", &mut cargo(&["deny", "check", "bans", "licenses", "sources"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_needs_a_loader_is_told_from_one_that_does_not() {
        // What runs this test is linked as programs are by default.
        let own = std::env::current_exe().and_then(fs::read).expect("this program");
        assert_eq!(is_static(&own), Some(false));
        // The same without its table of segments.
        let mut bare = own.clone();
        bare[0x38..0x3a].fill(0);
        assert_eq!(is_static(&bare), Some(true));
        assert_eq!(is_static(&own[..0x30]), None);
        assert_eq!(is_static(b"#!/bin/sh\n"), None);
    }
}
