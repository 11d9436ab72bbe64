//! The compiled program, made to fit the running kernel.

use std::{
    collections::HashSet,
    io,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
};

use aya_obj::{Object, btf::Btf};
use sha2::{Digest as _, Sha256};

use crate::sys;

/// Why a program cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The kernel says nothing of its structs: `CONFIG_DEBUG_INFO_BTF` is missing.
    #[error("the kernel's BTF cannot be read: {0}")]
    Btf(#[from] aya_obj::btf::BtfError),
    /// They have not what the program reads.
    #[error("the program does not fit this kernel: {0}")]
    Relocation(#[from] aya_obj::btf::BtfRelocationError),
    /// The compiled program is not as it should be.
    #[error("the compiled program is damaged: {0}")]
    Damaged(String),
    /// The kernel takes no such program.
    #[error("the kernel does not take the program: {0}")]
    Refused(#[from] io::Error),
}

/// Aligned as its reader needs it.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/guard.bpf.o")));

const PROGRAM: &str = "guard";
const MAP: &str = "rule";

/// By which the program is told from others.
pub(crate) fn hash() -> String {
    let digest = Sha256::digest(&OBJECT.0);
    digest.iter().take(8).map(|octet| format!("{octet:02x}")).collect()
}

/// Loads the program, which reads its rule in this map.
pub(crate) fn load(map: BorrowedFd<'_>) -> Result<OwnedFd, ProgramError> {
    let damaged = |error: &dyn std::fmt::Display| ProgramError::Damaged(error.to_string());
    let mut object = Object::parse(&OBJECT.0).map_err(|error| damaged(&error))?;
    object.relocate_btf(&Btf::from_sys_fs()?)?;
    let definitions = std::mem::take(&mut object.maps);
    let maps = definitions.iter().filter(|(name, _)| *name == MAP);
    let maps = maps.map(|(name, definition)| (name.as_str(), map.as_raw_fd(), definition));
    object.relocate_maps(maps, &HashSet::new()).map_err(|error| damaged(&error))?;
    let missing = || damaged(&"it has no program");
    let program = object.programs.get(PROGRAM).ok_or_else(missing)?;
    let function = object.functions.get(&program.function_key()).ok_or_else(missing)?;
    Ok(sys::load(&function.instructions, &object.license)?)
}
