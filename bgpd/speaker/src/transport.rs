//! TCP sockets of peers: what is set on them, and connecting.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    time::Duration,
};

use bgp_core::config::{GlobalConfig, PeerAsn, PeerConfig};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use crate::sys;

/// DSCP CS6, network control.
const TOS_CS6: u32 = 0xC0;
/// Send and receive buffers asked for, octets.
const BUFFER: usize = 512 << 10;
/// TTL of a session that may cross routers.
const TTL_FAR: u8 = 64;
/// TTL and hop limit under RFC 5082.
const TTL_SECURITY: u8 = 255;

/// How the segments of a peer's connection leave and what is taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hops {
    /// TTL (hop limit) of what we send.
    pub(crate) ttl: u8,
    /// Smallest TTL taken; 0 = any.
    pub(crate) min_ttl: u8,
}

impl Hops {
    /// RFC 5082 where asked for; 1 for an eBGP peer that must be on a link of ours; else far.
    pub(crate) fn of(global: &GlobalConfig, peer: &PeerConfig) -> Self {
        if let Some(hops) = peer.ttl_security {
            let min_ttl = TTL_SECURITY.saturating_sub(hops.saturating_sub(1));
            return Self { ttl: TTL_SECURITY, min_ttl };
        }
        let direct = match &peer.asn {
            PeerAsn::External => true,
            PeerAsn::OneOf(asns) => {
                let ours = peer.local_asn.unwrap_or(global.asn);
                asns.iter().all(|asn| *asn != ours && *asn != global.asn)
            }
            PeerAsn::Internal | PeerAsn::Any => false,
        };
        let ttl = peer.multihop.unwrap_or(if direct { 1 } else { TTL_FAR });
        Self { ttl, min_ttl: 0 }
    }
}

/// Sets on a connected or connecting socket what every session has.
pub(crate) fn prepare(socket: &SockRef<'_>, remote: IpAddr, hops: Hops) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    // Not being given larger buffers or a traffic class is no reason to have no session.
    let _ = socket.set_send_buffer_size(BUFFER);
    let _ = socket.set_recv_buffer_size(BUFFER);
    match remote {
        IpAddr::V4(_) => {
            let _ = socket.set_tos_v4(TOS_CS6);
            socket.set_ttl_v4(u32::from(hops.ttl))?;
        }
        IpAddr::V6(_) => {
            let _ = socket.set_tclass_v6(TOS_CS6);
            socket.set_unicast_hops_v6(u32::from(hops.ttl))?;
        }
    }
    if hops.min_ttl > 0 {
        sys::set_min_ttl(socket.as_fd(), remote, hops.min_ttl)?;
    }
    Ok(())
}

/// The kernel gives a connection up after the hold time without an acknowledgement.
pub(crate) fn set_user_timeout(socket: &TcpStream, hold_time: Duration) {
    if !hold_time.is_zero() {
        let _ = SockRef::from(socket).set_tcp_user_timeout(Some(hold_time));
    }
}

/// Connects to a peer.
///
/// # Errors
/// What the kernel says, with the step that failed.
pub(crate) async fn dial(
    global: &GlobalConfig,
    peer: &PeerConfig,
    remote: SocketAddr,
) -> Result<TcpStream, String> {
    let failed = |step: &'static str| move |error: io::Error| format!("{step}: {error}");
    let socket = Socket::new(
        Domain::for_address(remote),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )
    .map_err(failed("socket"))?;
    prepare(&SockRef::from(&socket), remote.ip(), Hops::of(global, peer))
        .map_err(failed("socket options"))?;
    if let Some(key) = &peer.password {
        sys::set_md5(socket.as_fd(), remote.ip(), None, &key.0).map_err(failed("TCP-MD5 key"))?;
    }
    if let Some(local) = peer.local_address {
        let scope = match remote {
            SocketAddr::V6(remote) => remote.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        socket
            .bind(&scoped(local, 0, scope).into())
            .map_err(|error| format!("bind to local-address {local}: {error}"))?;
    }
    TcpSocket::from_std_stream(socket.into()).connect(remote).await.map_err(failed("connect"))
}

/// A socket address; the scope counts for link-local addresses only.
pub(crate) fn scoped(address: IpAddr, port: u16, scope: u32) -> SocketAddr {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            std::net::SocketAddrV6::new(v6, port, 0, scope).into()
        }
        other => SocketAddr::new(other, port),
    }
}

/// The address without the mapping of an IPv4 one into IPv6.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(v4.into(), v6.port()),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}

#[cfg(test)]
pub(crate) mod tests;
