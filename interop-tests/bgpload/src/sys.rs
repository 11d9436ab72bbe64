//! The socket, epoll and netlink calls, each behind a safe function.

use std::{
    mem::{size_of, zeroed},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// `errno` of the call just made.
pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn own(fd: i32, what: &str) -> OwnedFd {
    if fd < 0 {
        crate::die(&format!("{what}: errno {}", errno()));
    }
    // SAFETY: the kernel just gave us `fd`; nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn addr(a: u32, port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: a.to_be() },
        sin_zero: [0; 8],
    }
}

fn set<T>(fd: &OwnedFd, level: i32, name: i32, value: &T) {
    // SAFETY: `value` is a plain struct that lives through the call; its own size is given.
    unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as u32,
        )
    };
}

/// An integer socket option; failure is not fatal to a measurement.
pub fn setopt(fd: &OwnedFd, level: i32, name: i32, value: i32) {
    set(fd, level, name, &value);
}

fn stream() -> OwnedFd {
    let flags = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers.
    let fd = own(unsafe { libc::socket(libc::AF_INET, flags, 0) }, "socket");
    setopt(&fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1);
    fd
}

fn bind(fd: &OwnedFd, a: u32, port: u16) {
    let local = addr(a, port);
    let len = size_of::<libc::sockaddr_in>() as u32;
    // SAFETY: `local` is a sockaddr_in of that length.
    let rc = unsafe { libc::bind(fd.as_raw_fd(), std::ptr::from_ref(&local).cast(), len) };
    if rc < 0 {
        crate::die(&format!("bind {}: errno {}", std::net::Ipv4Addr::from(a), errno()));
    }
}

/// Begins to connect; [`so_error`] tells the outcome once the socket is writable.
pub fn connect(src: u32, dst: u32, port: u16) -> OwnedFd {
    let fd = stream();
    setopt(&fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
    bind(&fd, src, 0);
    let remote = addr(dst, port);
    let len = size_of::<libc::sockaddr_in>() as u32;
    // SAFETY: `remote` is a sockaddr_in of that length.
    unsafe { libc::connect(fd.as_raw_fd(), std::ptr::from_ref(&remote).cast(), len) };
    fd
}

/// A listening socket.
pub fn listen(a: u32, port: u16) -> OwnedFd {
    let fd = stream();
    bind(&fd, a, port);
    // SAFETY: no pointers.
    if unsafe { libc::listen(fd.as_raw_fd(), 1024) } < 0 {
        crate::die(&format!("listen: errno {}", errno()));
    }
    fd
}

/// The next connection that waits, if any.
pub fn accept(listener: &OwnedFd) -> Option<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let none = std::ptr::null_mut();
    // SAFETY: null for the address is allowed.
    let fd = unsafe { libc::accept4(listener.as_raw_fd(), none, none.cast(), flags) };
    (fd >= 0).then(|| own(fd, "accept"))
}

/// Octets the socket took; negative: see [`errno`].
pub fn send(fd: &OwnedFd, octets: &[u8]) -> isize {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: pointer and length of one slice.
    unsafe { libc::send(fd.as_raw_fd(), octets.as_ptr().cast(), octets.len(), flags) }
}

/// Octets received into `buffer` without waiting; negative: see [`errno`]. 0 = closed.
pub fn recv(fd: &OwnedFd, buffer: &mut [u8]) -> isize {
    // SAFETY: pointer and length of one slice.
    unsafe {
        libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT)
    }
}

/// Throws up to `most` octets away inside the kernel; result as of [`recv`].
pub fn discard(fd: &OwnedFd, most: usize) -> isize {
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: with MSG_TRUNC, TCP discards instead of copying (tcp(7)): the null is never written.
    unsafe { libc::recv(fd.as_raw_fd(), std::ptr::null_mut(), most, flags) }
}

/// The pending error of a socket; 0 = none.
pub fn so_error(fd: &OwnedFd) -> i32 {
    let (mut value, mut len) = (0i32, size_of::<i32>() as u32);
    // SAFETY: an i32 and its size, both ours.
    unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            std::ptr::from_mut(&mut value).cast(),
            &mut len,
        )
    };
    value
}

/// Close will send RST.
pub fn linger0(fd: &OwnedFd) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set(fd, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
}

/// An epoll instance.
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

/// What epoll says of one socket.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// The number given with [`Epoll::add`].
    pub id: u64,
    /// Octets wait, or the end of the stream.
    pub readable: bool,
    /// There is room to send, or a connect ended.
    pub writable: bool,
    /// An error is pending (a failed connect among them).
    pub error: bool,
}

impl Epoll {
    /// An empty set.
    pub fn new() -> Self {
        // SAFETY: no pointers.
        let fd = own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }, "epoll_create1");
        Self { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; 256] }
    }

    fn ctl(&self, op: i32, fd: &OwnedFd, id: u64, out: bool) {
        let mut events = libc::EPOLLIN as u32;
        if out {
            events |= libc::EPOLLOUT as u32;
        }
        let mut event = libc::epoll_event { events, u64: id };
        // SAFETY: `event` lives through the call.
        unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), op, fd.as_raw_fd(), &mut event) };
    }

    /// Watches `fd` for input, and for room to send with `out`.
    pub fn add(&self, fd: &OwnedFd, id: u64, out: bool) {
        self.ctl(libc::EPOLL_CTL_ADD, fd, id, out);
    }

    /// Changes what is watched.
    pub fn modify(&self, fd: &OwnedFd, id: u64, out: bool) {
        self.ctl(libc::EPOLL_CTL_MOD, fd, id, out);
    }

    /// Waits at most `millis` for something to happen.
    pub fn wait(&mut self, millis: i32) -> Vec<Ready> {
        let room = self.events.len() as i32;
        // SAFETY: the vector has `room` initialised elements.
        let n = unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), self.events.as_mut_ptr(), room, millis)
        };
        let happened = usize::try_from(n).unwrap_or(0);
        self.events
            .iter()
            .take(happened)
            .map(|e| {
                let has = |bits: i32| e.events & bits as u32 != 0;
                Ready {
                    id: e.u64,
                    readable: has(libc::EPOLLIN | libc::EPOLLHUP),
                    writable: has(libc::EPOLLOUT),
                    error: has(libc::EPOLLERR),
                }
            })
            .collect()
    }
}

/// A bound rtnetlink socket with large buffers and short acknowledgements.
pub fn netlink() -> OwnedFd {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers.
    let fd =
        own(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) }, "netlink socket");
    // SAFETY: all zero is a valid sockaddr_nl.
    let mut local: libc::sockaddr_nl = unsafe { zeroed() };
    local.nl_family = libc::AF_NETLINK as u16;
    let len = size_of::<libc::sockaddr_nl>() as u32;
    // SAFETY: `local` is a sockaddr_nl of that length.
    let rc = unsafe { libc::bind(fd.as_raw_fd(), std::ptr::from_ref(&local).cast(), len) };
    if rc < 0 {
        crate::die("netlink bind");
    }
    setopt(&fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 8 << 20);
    setopt(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 8 << 20);
    setopt(&fd, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1);
    fd
}

/// Sends one datagram, waiting; octets sent.
pub fn send_wait(fd: &OwnedFd, octets: &[u8]) -> isize {
    // SAFETY: pointer and length of one slice.
    unsafe { libc::send(fd.as_raw_fd(), octets.as_ptr().cast(), octets.len(), 0) }
}

/// Receives one datagram, waiting; octets received.
pub fn recv_wait(fd: &OwnedFd, buffer: &mut [u8]) -> isize {
    // SAFETY: pointer and length of one slice.
    unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) }
}

/// The index of a network interface; 0 = there is none.
pub fn interface_index(name: &str) -> u32 {
    let Ok(name) = std::ffi::CString::new(name) else { return 0 };
    // SAFETY: a C string that lives through the call.
    unsafe { libc::if_nametoindex(name.as_ptr()) }
}

/// Moves the calling thread into the network namespace of a process.
pub fn enter_netns_of(pid: u32) -> std::io::Result<()> {
    let file = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
    // SAFETY: the descriptor is open; setns touches no memory.
    if unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

/// Clock ticks a second, as `/proc/PID/stat` counts.
pub fn ticks_per_second() -> u64 {
    // SAFETY: no pointers.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100)
}
