//! The few system calls the standard library has no name for.

use std::{
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
};

/// The effective user id of this process.
pub fn effective_uid() -> u32 {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}

/// Moves the calling thread into the network namespace behind `ns`.
pub fn enter_netns(ns: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as `ns` is borrowed; setns touches no memory.
    check(unsafe { libc::setns(ns.as_raw_fd(), libc::CLONE_NEWNET) })
}

/// Makes `command` run inside the network namespace behind `ns`, and end with the thread that
/// started it, however that thread ends.
pub fn run_in_netns(command: &mut Command, ns: File) {
    let hook = move || {
        enter_netns(&ns)?;
        // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })
    };
    // SAFETY: the hook makes two system calls and allocates nothing, so it is sound after a fork.
    unsafe { command.pre_exec(hook) };
}

/// Sends `signal` to the process `pid`.
pub fn kill(pid: u32, signal: i32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: kill takes two numbers and touches no memory.
    check(unsafe { libc::kill(pid, signal) })
}

/// A raw socket that hears every frame on the interface `ifname` of the calling thread's
/// namespace, both ways. Reads give up after a fifth of a second.
pub fn packet_socket(ifname: &str) -> io::Result<OwnedFd> {
    let name = CString::new(ifname).map_err(io::Error::other)?;
    // SAFETY: the name is a C string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    let index = match i32::try_from(index) {
        Ok(index) if index > 0 => index,
        _ => return Err(io::Error::last_os_error()),
    };
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: socket touches no memory.
    let raw = unsafe {
        libc::socket(
            libc::AF_PACKET,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            libc::c_int::from(protocol),
        )
    };
    check(raw)?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: sockaddr_ll is plain numbers; all zeroes is a value of it.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = protocol;
    address.sll_ifindex = index;
    // SAFETY: the pointer and the length describe `address`.
    check(unsafe {
        libc::bind(raw, (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as u32)
    })?;
    let patience = libc::timeval { tv_sec: 0, tv_usec: 200_000 };
    // SAFETY: the pointer and the length describe `patience`.
    check(unsafe {
        libc::setsockopt(
            raw,
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            (&raw const patience).cast(),
            size_of::<libc::timeval>() as u32,
        )
    })?;
    Ok(socket)
}

/// Reads one frame into `buffer`; an error of kind `WouldBlock` means that none came in time.
pub fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length describe `buffer`, which is borrowed for the call.
    let length =
        unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    usize::try_from(length).map_err(|_| io::Error::last_os_error())
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
