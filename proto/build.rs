//! Compiles the protos without protoc.

use std::{env, error::Error, fs, path::PathBuf};

const FILES: [&str; 8] = [
    "margay/v1/config.proto",
    "margay/v1/datastore.proto",
    "margay/v1/ipam.proto",
    "margay/v1/policy.proto",
    "margay/v1/resources.proto",
    "margay/v1/routing.proto",
    "margay/v1/sync.proto",
    "margay/v1/workloads.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=margay");
    // With comments: they are the documentation of the generated code.
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_source_info(true).include_imports(true).open_files(FILES)?;
    let descriptors = compiler.file_descriptor_set();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    tonic_prost_build::configure().compile_fds(descriptors)?;
    // Without: the daemon keeps these for reflection as long as it lives.
    compiler.include_source_info(false);
    fs::write(out.join("margay.v1.bin"), compiler.encode_file_descriptor_set())?;
    Ok(())
}
