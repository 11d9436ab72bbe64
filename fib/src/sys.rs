//! The only unsafe code of this crate: waiting for two descriptors, a thread's niceness, and its move
//! into another network namespace.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Moves the calling thread, and no other, into a network namespace. To be used on threads of our
/// own only, which end afterwards: nobody else may find himself elsewhere.
pub fn enter(namespace: &impl AsFd) -> io::Result<()> {
    // SAFETY: no pointers. The call changes what the thread's later system calls see, never memory.
    let r = unsafe { libc::setns(namespace.as_fd().as_raw_fd(), libc::CLONE_NEWNET) };
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sleeps until one of two descriptors can be read; whether the second can.
pub fn wait_either(a: &impl AsFd, b: &impl AsFd) -> io::Result<bool> {
    let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut fds = [entry(a.as_fd().as_raw_fd()), entry(b.as_fd().as_raw_fd())];
    // SAFETY: the array has the two entries that are given.
    let r = unsafe { libc::poll(fds.as_mut_ptr(), 2, -1) };
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(fds[1].revents != 0) }
}

/// Sets the calling thread's own niceness; negative takes CAP_SYS_NICE.
pub fn nice(value: i32) -> io::Result<()> {
    // SAFETY: no pointers. On Linux 0 means the calling thread.
    let r = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, value) };
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
