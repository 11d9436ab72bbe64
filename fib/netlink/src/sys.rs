//! The only unsafe code of this crate: the libc calls under a netlink socket.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use crate::socket::{Protocol, Wait};

/// Opens a bound netlink socket in the calling thread's network namespace; it stays there wherever
/// the thread goes.
pub(crate) fn open(protocol: Protocol) -> io::Result<OwnedFd> {
    let protocol = match protocol {
        Protocol::Route => libc::NETLINK_ROUTE,
        Protocol::Netfilter => libc::NETLINK_NETFILTER,
    };
    // SAFETY: no pointers; the result is checked before use.
    let fd =
        unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` is new, valid and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut addr = address();
    addr.nl_family = FAMILY;
    // SAFETY: `addr` is a sockaddr_nl and its size is given.
    let r = unsafe { libc::bind(fd.as_raw_fd(), (&raw const addr).cast(), ADDRESS_LEN) };
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
}

/// The port number the kernel gave the socket: what `nlmsg_pid` says in echoes of its requests.
pub(crate) fn port(fd: &impl AsFd) -> io::Result<u32> {
    let mut addr = address();
    let mut len = ADDRESS_LEN;
    // SAFETY: `addr` has room for `len` octets; the kernel writes no more than that.
    let r =
        unsafe { libc::getsockname(fd.as_fd().as_raw_fd(), (&raw mut addr).cast(), &raw mut len) };
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(addr.nl_pid) }
}

/// Sets an option whose value is an int.
pub(crate) fn set(fd: &impl AsFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the value is an int that lives through the call, and its size is given.
    let r = unsafe {
        libc::setsockopt(fd.as_fd().as_raw_fd(), level, option, (&raw const value).cast(), INT_LEN)
    };
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Receives fail with `WouldBlock` after so many seconds without a message.
pub(crate) fn give_up_after(fd: &impl AsFd, secs: u8) -> io::Result<()> {
    let time = libc::timeval { tv_sec: secs.into(), tv_usec: 0 };
    let len = libc::socklen_t::try_from(size_of::<libc::timeval>()).unwrap_or(0);
    // SAFETY: the value is a timeval that lives through the call, and its size is given.
    let r = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            (&raw const time).cast(),
            len,
        )
    };
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Drops, inside the kernel, every message caused by the socket with this port number.
pub(crate) fn ignore_port(fd: &impl AsFd, port: u32) -> io::Result<()> {
    // A classic filter reads words in network order, the header is in the host's.
    let port = u32::from_be_bytes(port.to_ne_bytes());
    let filter = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 12),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, port),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_ptr().cast_mut() };
    let len = libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).unwrap_or(0);
    // SAFETY: the kernel copies the program during the call; `filter` has the four instructions
    // that `len` says and outlives it.
    let r = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            len,
        )
    };
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends one buffer of messages to the kernel.
pub(crate) fn send(fd: &impl AsFd, buf: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length are of one slice.
    let n = unsafe { libc::send(fd.as_fd().as_raw_fd(), buf.as_ptr().cast(), buf.len(), 0) };
    match usize::try_from(n) {
        Ok(n) if n == buf.len() => Ok(()),
        Ok(n) => Err(io::Error::other(format!("{n} of {} octets sent", buf.len()))),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Receives one datagram; how long it is.
pub(crate) fn receive(fd: &impl AsFd, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
    let flags = match wait {
        Wait::Block => 0,
        Wait::Poll => libc::MSG_DONTWAIT,
    };
    // SAFETY: pointer and length are of one slice, which is ours alone during the call.
    let n =
        unsafe { libc::recv(fd.as_fd().as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), flags) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

fn address() -> libc::sockaddr_nl {
    // SAFETY: sockaddr_nl is integers; all zero is a value of it.
    unsafe { std::mem::zeroed() }
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k }
}

const FAMILY: libc::sa_family_t = 16;
const ADDRESS_LEN: libc::socklen_t = 12;
const INT_LEN: libc::socklen_t = 4;
const _: () = assert!(size_of::<libc::sockaddr_nl>() == 12);
const _: () = assert!(libc::AF_NETLINK == 16);
