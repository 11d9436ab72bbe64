//! Socket options, and a word to the allocator, that no safe wrapper offers. The only `unsafe` of this crate.

use std::{
    io,
    mem::{size_of_val, zeroed},
    net::IpAddr,
    os::fd::{AsRawFd, BorrowedFd},
};

use libc::{c_int, c_void, socklen_t};
use tokio::io::{Interest, unix::AsyncFd};

/// Longest key of TCP-MD5 (Linux `TCP_MD5SIG_MAXKEYLEN`).
pub(crate) const MD5_KEY_MAX: usize = 80;
const TCP_MD5SIG: c_int = 14;
const TCP_MD5SIG_EXT: c_int = 32;
const TCP_MD5SIG_FLAG_PREFIX: u8 = 1;
const IPV6_MINHOPCOUNT: c_int = 73;
const ICMP6_FILTER: c_int = 1;

/// `struct tcp_md5sig` of linux/tcp.h.
#[repr(C)]
struct TcpMd5Sig {
    address: libc::sockaddr_storage,
    flags: u8,
    prefix_len: u8,
    key_len: u16,
    ifindex: c_int,
    key: [u8; MD5_KEY_MAX],
}

const _: () = assert!(size_of::<TcpMd5Sig>() == 216);

/// Gives pages that the allocator holds free back to the system. Takes milliseconds for each 100 MB,
/// in which other threads that allocate may wait.
pub(crate) fn return_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes no pointers; glibc locks each arena while it looks at it.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn set<T>(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let len = socklen_t::try_from(size_of::<T>()).expect("options are small");
    // SAFETY: `fd` is open for the life of the borrow; `value` is a plain C value of `len` octets
    // that the kernel only reads during the call.
    let done = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), len)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn storage(address: IpAddr) -> libc::sockaddr_storage {
    let address = socket2::SockAddr::from(std::net::SocketAddr::new(address, 0));
    // SAFETY: `sockaddr_storage` is plain octets, for which all zero is a value.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let len = usize::try_from(address.len()).expect("socket addresses are small");
    // SAFETY: `as_ptr` points to `len` initialised octets, `storage` has room for any address.
    unsafe {
        std::ptr::copy_nonoverlapping(
            address.as_ptr().cast::<u8>(),
            std::ptr::from_mut(&mut storage).cast::<u8>(),
            len.min(size_of::<libc::sockaddr_storage>()),
        );
    }
    storage
}

/// Sets the TCP-MD5 key (RFC 2385) for segments to and from `address`; `prefix_len` makes it a
/// range. An empty key removes; then a missing one is no error.
///
/// # Errors
/// What the kernel says; `InvalidInput` for a key longer than [`MD5_KEY_MAX`].
pub(crate) fn set_md5(
    fd: BorrowedFd<'_>,
    address: IpAddr,
    prefix_len: Option<u8>,
    key: &[u8],
) -> io::Result<()> {
    let mut option = TcpMd5Sig {
        address: storage(address),
        flags: 0,
        prefix_len: 0,
        key_len: u16::try_from(key.len()).unwrap_or(u16::MAX),
        ifindex: 0,
        key: [0; MD5_KEY_MAX],
    };
    let Some(room) = option.key.get_mut(..key.len()) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "TCP-MD5 keys have at most 80 octets",
        ));
    };
    room.copy_from_slice(key);
    let name = match prefix_len {
        None => TCP_MD5SIG,
        Some(len) => {
            option.flags = TCP_MD5SIG_FLAG_PREFIX;
            option.prefix_len = len;
            TCP_MD5SIG_EXT
        }
    };
    match set(fd, libc::IPPROTO_TCP, name, &option) {
        Err(error) if key.is_empty() && error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

/// Segments that arrive with a smaller TTL (hop limit) are dropped (RFC 5082); 0 = all are taken.
pub(crate) fn set_min_ttl(fd: BorrowedFd<'_>, remote: IpAddr, ttl: u8) -> io::Result<()> {
    let value = c_int::from(ttl);
    match remote {
        IpAddr::V4(_) => set(fd, libc::IPPROTO_IP, libc::IP_MINTTL, &value),
        IpAddr::V6(_) => set(fd, libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT, &value),
    }
}

/// Octets that have arrived and were not read yet.
pub(crate) fn unread(fd: BorrowedFd<'_>) -> usize {
    let mut count: c_int = 0;
    // SAFETY: FIONREAD writes one int to the address given, which is ours.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &mut count) };
    if done == 0 { usize::try_from(count).unwrap_or(0) } else { 0 }
}

/// Lets only these ICMPv6 types through (`struct icmp6_filter`: a set bit blocks).
pub(crate) fn set_icmp6_filter(fd: BorrowedFd<'_>, types: &[u8]) -> io::Result<()> {
    let mut filter = [u32::MAX; 8];
    for kind in types {
        if let Some(word) = filter.get_mut(usize::from(kind >> 5)) {
            *word &= !(1 << (kind & 31));
        }
    }
    set(fd, libc::IPPROTO_ICMPV6, ICMP6_FILTER, &filter)
}

/// Closes with RST instead of FIN when the socket is dropped.
pub(crate) fn reset_on_close(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 })
}

/// One ICMPv6 message with its source and hop limit.
pub(crate) struct Icmp6 {
    /// Octets of the message in the caller's buffer.
    pub(crate) len: usize,
    /// Who sent it.
    pub(crate) source: std::net::Ipv6Addr,
    /// 255 unless a router forwarded it.
    pub(crate) hop_limit: Option<c_int>,
}

/// Receives one message from a raw ICMPv6 socket that has `IPV6_RECVHOPLIMIT` set.
pub(crate) fn receive_icmp6(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Icmp6> {
    // SAFETY: all three are plain C structures, for which all zero is a value.
    let (mut header, mut source): (libc::msghdr, libc::sockaddr_in6) = unsafe { zeroed() };
    let mut control = [0_u64; 8];
    let mut slice =
        libc::iovec { iov_base: buffer.as_mut_ptr().cast::<c_void>(), iov_len: buffer.len() };
    header.msg_name = std::ptr::from_mut(&mut source).cast();
    header.msg_namelen = socklen_t::try_from(size_of::<libc::sockaddr_in6>()).expect("28 octets");
    header.msg_iov = &mut slice;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control);
    // SAFETY: every pointer in `header` is to a live local of the length given beside it.
    let received = unsafe { libc::recvmsg(fd.as_raw_fd(), &mut header, libc::MSG_DONTWAIT) };
    let Ok(len) = usize::try_from(received) else {
        return Err(io::Error::last_os_error());
    };
    let mut hop_limit = None;
    // SAFETY: the kernel filled `control` and set its length; the macros walk within it, and the
    // data of IPV6_HOPLIMIT is one int.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(&header);
        while !message.is_null() {
            if (*message).cmsg_level == libc::IPPROTO_IPV6
                && (*message).cmsg_type == libc::IPV6_HOPLIMIT
            {
                hop_limit = Some(libc::CMSG_DATA(message).cast::<c_int>().read_unaligned());
            }
            message = libc::CMSG_NXTHDR(&header, message);
        }
    }
    Ok(Icmp6 { len, source: source.sin6_addr.s6_addr.into(), hop_limit })
}

/// A raw socket that tells when it can be read.
pub(crate) fn watch_readable(socket: socket2::Socket) -> io::Result<AsyncFd<socket2::Socket>> {
    // SAFETY: the socket owns its descriptor, moves into the result, and gives it out by reference
    // only: it stays open and the same for as long as the result lives.
    unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }.map_err(Into::into)
}
