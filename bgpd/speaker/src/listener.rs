//! Listening sockets.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tracing::{error, info, warn};

use crate::{sys, transport};

/// Connections the kernel holds for us; one of each peer and then some.
const BACKLOG: i32 = 1024;
/// Pause before trying again to listen where that failed.
const RETRY: Duration = Duration::from_secs(5);
/// Pause after a failed accept (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Hop limit of the answers to a SYN, so that peers under RFC 5082 take them.
const TTL: u32 = 255;

/// A connection nobody has looked at yet.
pub(crate) type Incoming = (TcpStream, SocketAddr);

/// Why an address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}{}", self.hint())]
pub struct ListenError {
    /// Which address.
    pub address: SocketAddr,
    /// What the kernel said.
    pub error: io::Error,
    /// Process that has it, where it can be told.
    pub holder: Option<String>,
}

impl ListenError {
    fn hint(&self) -> String {
        match (&self.holder, self.error.kind()) {
            (Some(holder), _) => format!(" (held by {holder})"),
            (None, io::ErrorKind::PermissionDenied) if self.address.port() < 1024 => {
                " (ports below 1024 need CAP_NET_BIND_SERVICE)".to_owned()
            }
            (None, _) => String::new(),
        }
    }
}

/// Opens a listening socket.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    open(address).map_err(|error| ListenError {
        address,
        holder: (error.kind() == io::ErrorKind::AddrInUse).then(|| holder(address)).flatten(),
        error,
    })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // The address may come to this host later, as those that workloads call do.
    match address {
        SocketAddr::V4(_) => {
            socket.set_freebind_v4(true)?;
            socket.set_ttl_v4(TTL)?;
        }
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(true)?;
            socket.set_unicast_hops_v6(TTL)?;
        }
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Those of these addresses that no connection can come to, because they are not this host's (yet):
/// listened on they are all the same. The kernel is asked, which knows links, local routes and
/// `ip_nonlocal_bind`.
pub fn strangers(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_stranger = |address: &&SocketAddr| {
        let mut probe = **address;
        probe.set_port(0);
        std::net::UdpSocket::bind(probe)
            .is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
    };
    addresses.iter().filter(is_stranger).copied().collect()
}

/// Keeps listening on an address and passes connections on, for as long as somebody takes them.
/// `ready` is called with the socket, before the first connection is accepted.
pub(crate) async fn run(
    address: SocketAddr,
    incoming: mpsc::Sender<Incoming>,
    ready: impl FnOnce(&Arc<TcpListener>) + Send,
) {
    let mut told = false;
    let listener = loop {
        match listen(address) {
            Ok(listener) => break Arc::new(listener),
            Err(failure) if !told => {
                error!(err = %failure, retry_seconds = RETRY.as_secs(), "not listening; sessions we open are not affected");
                told = true;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = incoming.closed() => return,
        }
    };
    info!(%address, "listening");
    ready(&listener);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = incoming.closed() => return,
        };
        match accepted {
            Ok((stream, remote)) => {
                let remote = transport::canonical(remote);
                if incoming.send((stream, remote)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                warn!(%address, err = %error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Closes with RST: whoever connected is told at once.
pub(crate) fn refuse(stream: TcpStream) {
    // Should this fail, the peer gets FIN instead.
    let _ = sys::reset_on_close(stream.as_fd());
    drop(stream);
}

/// Sets or removes (`key` empty) the TCP-MD5 key of a peer or range on a listening socket of its
/// family.
pub(crate) fn set_key(
    listener: &TcpListener,
    address: IpAddr,
    prefix_len: Option<u8>,
    key: &[u8],
) -> io::Result<()> {
    let same_family = SockRef::from(listener)
        .local_addr()?
        .as_socket()
        .is_some_and(|local| local.is_ipv4() == address.is_ipv4());
    if same_family { sys::set_md5(listener.as_fd(), address, prefix_len, key) } else { Ok(()) }
}

/// The process that listens on the port of an address, from /proc; `None` where that cannot be
/// read.
fn holder(address: SocketAddr) -> Option<String> {
    let port = format!(":{:04X}", address.port());
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| {
            table
                .lines()
                .filter_map(|line| {
                    let mut fields = line.split_ascii_whitespace().skip(1);
                    let local = fields.next()?;
                    // 0A is LISTEN; the inode is six fields further on.
                    let state = fields.nth(1)?;
                    let inode = fields.nth(5)?;
                    (local.ends_with(&port) && state == "0A").then(|| format!("socket:[{inode}]"))
                })
                .collect::<Vec<_>>()
        })
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|c| c.is_ascii_digit()))
        .find(|process| {
            fs::read_dir(process.path().join("fd")).is_ok_and(|files| {
                files
                    .flatten()
                    .filter_map(|file| fs::read_link(file.path()).ok())
                    .any(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str()))
            })
        })
        .map(|process| {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            format!("{} pid {}", name.trim(), process.file_name().to_string_lossy())
        })
}

#[cfg(test)]
mod tests;
