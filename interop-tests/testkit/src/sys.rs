//! The few system calls the standard library has no name for.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd, unix::process::CommandExt},
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

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
