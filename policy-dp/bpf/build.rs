//! Compiles the programs that run in the kernel.

use std::{env, path::PathBuf, process::Command};

const SOURCE: &str = "src/guard.bpf.c";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=CLANG");
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".into());
    let object = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("guard.bpf.o");
    // The same object wherever it is made: what is in the kernel is known by its hash.
    let status = Command::new(&clang)
        .args(["-target", "bpf", "-O2", "-g", "-fdebug-compilation-dir=.", "-Wall", "-Werror"])
        .args(["-c", SOURCE, "-o"])
        .arg(&object)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{clang} {SOURCE}: {status}"),
        Err(error) => panic!(
            "{clang} cannot be run: {error} (programs for the kernel need it: install clang, or \
             say in CLANG where it is)"
        ),
    }
}
