//! bpf(2): as much of it as a guard needs.

use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use aya_obj::generated::bpf_insn;

use crate::Rule;

/// Where in the way of packets a program is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// `NFPROTO_*`.
    pub(crate) family: u32,
    /// `NF_INET_*`.
    pub(crate) hook: u32,
    /// Behind which others.
    pub(crate) priority: i32,
}

/// The array of one that a rule stands in.
#[derive(Debug)]
pub(crate) struct RuleArray(OwnedFd);

impl RuleArray {
    /// A new one, of which nobody is stopped.
    pub(crate) fn new() -> io::Result<Self> {
        /// Of `BPF_MAP_CREATE`.
        #[repr(C)]
        struct Create {
            kind: u32,
            key_size: u32,
            value_size: u32,
            max_entries: u32,
        }
        let create =
            Create { kind: BPF_MAP_TYPE_ARRAY, key_size: 4, value_size: RULE, max_entries: 1 };
        // SAFETY: `Create` is what the command reads, and has no pointers.
        unsafe { made(BPF_MAP_CREATE, &create) }.map(Self)
    }

    /// The object of a name, if it is such an array.
    pub(crate) fn of(object: OwnedFd) -> io::Result<Option<Self>> {
        /// The beginning of `bpf_map_info`.
        #[repr(C)]
        #[derive(Default)]
        struct Info {
            kind: u32,
            id: u32,
            key_size: u32,
            value_size: u32,
        }
        /// Of `BPF_OBJ_GET_INFO_BY_FD`.
        #[repr(C)]
        struct Ask {
            object: u32,
            size: u32,
            info: u64,
        }
        let mut info = Info::default();
        let ask = Ask {
            object: number(object.as_raw_fd())?,
            size: u32::try_from(size_of::<Info>()).map_err(io::Error::other)?,
            info: pointer(&raw mut info)?,
        };
        // SAFETY: `Ask` is what the command reads; it writes no more of `info` than there is, and any
        // octets are one.
        unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &ask) }?;
        let is_one = (info.kind, info.key_size, info.value_size) == (BPF_MAP_TYPE_ARRAY, 4, RULE);
        Ok(is_one.then_some(Self(object)))
    }

    /// The rule in it.
    pub(crate) fn read(&self) -> io::Result<Rule> {
        let (key, mut rule) = (0_u32, Rule::default());
        let element = self.element(&key, &raw mut rule)?;
        // SAFETY: key and value live as long as the call; values of the array have the size of a rule,
        // and any octets are one.
        unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &element) }?;
        Ok(rule)
    }

    /// Puts another one there.
    pub(crate) fn write(&self, rule: &Rule) -> io::Result<()> {
        let key = 0_u32;
        let element = self.element(&key, rule)?;
        // SAFETY: key and value live as long as the call; values of the array have the size of a rule,
        // which has no octets between its fields.
        unsafe { bpf(BPF_MAP_UPDATE_ELEM, &element) }.map(drop)
    }

    fn element(&self, key: &u32, value: *const Rule) -> io::Result<Element> {
        let (map, key) = (number(self.0.as_raw_fd())?, pointer(key)?);
        Ok(Element { map, unused: 0, key, value: pointer(value)?, flags: 0 })
    }
}

impl AsFd for RuleArray {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Of `BPF_MAP_*_ELEM`.
#[repr(C)]
struct Element {
    map: u32,
    unused: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Loads a program of netfilter. Where the kernel's verifier refuses it, the error has its last words.
pub(crate) fn load(program: &[bpf_insn], license: &CStr) -> io::Result<OwnedFd> {
    /// Of `BPF_PROG_LOAD`.
    #[repr(C)]
    struct Load {
        kind: u32,
        instruction_count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
        link_index: u32,
        attach_type: u32,
    }
    let mut load = Load {
        kind: BPF_PROG_TYPE_NETFILTER,
        instruction_count: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: pointer(program.as_ptr())?,
        license: pointer(license.as_ptr())?,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: *b"margay_guard\0\0\0\0",
        link_index: 0,
        attach_type: BPF_NETFILTER,
    };
    // SAFETY: `Load` is what the command reads; what its pointers point at lives as long as the call.
    let refused = match unsafe { made(BPF_PROG_LOAD, &load) } {
        Ok(loaded) => return Ok(loaded),
        Err(error) => error,
    };
    let mut log = vec![0_u8; 1 << 16];
    load.log_level = 1;
    load.log_size = u32::try_from(log.len()).map_err(io::Error::other)?;
    load.log = pointer(log.as_mut_ptr())?;
    // SAFETY: as above; the log has the size it is said to have.
    if let Ok(loaded) = unsafe { made(BPF_PROG_LOAD, &load) } {
        return Ok(loaded);
    }
    let text = log.split(|octet| *octet == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let last: Vec<&str> = text.lines().filter(|line| !line.starts_with("processed ")).collect();
    match last.last() {
        Some(last) => Err(io::Error::new(refused.kind(), format!("{refused}: {last}"))),
        None => Err(refused),
    }
}

/// Has a program called there, in the network namespace of the calling thread, for as long as the
/// link lives.
pub(crate) fn link(program: BorrowedFd<'_>, place: Place) -> io::Result<OwnedFd> {
    /// Of `BPF_LINK_CREATE`.
    #[repr(C)]
    struct Create {
        program: u32,
        target: u32,
        attach_type: u32,
        flags: u32,
        family: u32,
        hook: u32,
        priority: i32,
        netfilter_flags: u32,
    }
    let Place { family, hook, priority } = place;
    let create = Create {
        program: number(program.as_raw_fd())?,
        target: 0,
        attach_type: BPF_NETFILTER,
        flags: 0,
        family,
        hook,
        priority,
        netfilter_flags: 0,
    };
    // SAFETY: `Create` is what the command reads, and has no pointers.
    unsafe { made(BPF_LINK_CREATE, &create) }
}

/// Gives an object a name in bpffs, by which it outlives us.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let named =
        Named { path: pointer(path.as_ptr())?, object: number(object.as_raw_fd())?, flags: 0 };
    // SAFETY: `Named` is what the command reads; the path lives as long as the call.
    unsafe { bpf(BPF_OBJ_PIN, &named) }.map(drop)
}

/// The object of a name.
pub(crate) fn pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let named = Named { path: pointer(path.as_ptr())?, object: 0, flags: 0 };
    // SAFETY: `Named` is what the command reads; the path lives as long as the call.
    unsafe { made(BPF_OBJ_GET, &named) }
}

/// Of `BPF_OBJ_*`.
#[repr(C)]
struct Named {
    path: u64,
    object: u32,
    flags: u32,
}

/// # Safety
/// `attributes` is what the command reads, without octets that are not initialised, and its pointers
/// are good for the call.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<RawFd> {
    // SAFETY: the pointer and the size are of `attributes`; the rest the caller promises.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    match RawFd::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A command that makes a descriptor.
///
/// # Safety
/// That of [`bpf`]; the command makes a descriptor.
unsafe fn made<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller promises it.
    let raw = unsafe { bpf(command, attributes) }?;
    // SAFETY: the kernel just gave it to us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

fn pointer<T>(to: *const T) -> io::Result<u64> {
    u64::try_from(to.addr()).map_err(io::Error::other)
}

fn number(fd: RawFd) -> io::Result<u32> {
    u32::try_from(fd).map_err(io::Error::other)
}

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_PROG_TYPE_NETFILTER: u32 = 32;
const BPF_NETFILTER: u32 = 45;
/// Octets of a rule, as `struct rule` of the program has them.
const RULE: u32 = 264;
const _: () = assert!(size_of::<Rule>() == 264);
