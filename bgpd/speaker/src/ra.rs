//! Router advertisements on the interfaces of unnumbered peers (RFC 4861): sent, so that the other
//! end finds us, and heard, to find it. Ours announce no default router (lifetime 0). Until the
//! other end was heard it is asked: a neighbour that knows us from before a restart would let us
//! wait for its next one.

use std::{
    io,
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::AsFd,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::unix::AsyncFd,
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, info, warn};

use crate::sys;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
/// Hop limit of everything in neighbour discovery; a lower one was forwarded (RFC 4861 §6.1).
const HOP_LIMIT: u8 = 255;
/// Between advertisements once the neighbour has been heard.
const INTERVAL: Duration = Duration::from_secs(10);
/// Between advertisements before that.
const EAGER: Duration = Duration::from_secs(1);
/// Least time between an advertisement and one that answers a solicitation.
const MIN_DELAY: Duration = Duration::from_millis(500);
/// Before looking again for an interface that is not there or not up.
const RETRY: Duration = Duration::from_secs(1);

/// A router was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) interface: String,
    pub(crate) index: u32,
    pub(crate) address: Ipv6Addr,
}

/// Advertises and listens on an interface until nobody wants to know any more.
pub(crate) async fn run(interface: String, heard: mpsc::Sender<Heard>) {
    let mut last = None;
    while !heard.is_closed() {
        let result = serve(&interface, &heard).await;
        if let Err(error) = result {
            let text = error.to_string();
            if last.as_ref() != Some(&text) {
                if error.kind() == io::ErrorKind::PermissionDenied {
                    warn!(ifname = %interface, err = text, "no router advertisements: unnumbered peers need CAP_NET_RAW");
                } else {
                    info!(ifname = %interface, err = text, "no router advertisements yet");
                }
                last = Some(text);
            }
        }
        tokio::select! {
            () = sleep(RETRY) => {}
            () = heard.closed() => return,
        }
    }
}

fn open(interface: &str, index: u32) -> io::Result<AsyncFd<Socket>> {
    let kind = Type::RAW.nonblocking().cloexec();
    let socket = Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_multicast_if_v6(index)?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_multicast_hops_v6(u32::from(HOP_LIMIT))?;
    socket.set_unicast_hops_v6(u32::from(HOP_LIMIT))?;
    socket.set_recv_hoplimit_v6(true)?;
    socket.join_multicast_v6(&ALL_ROUTERS, index)?;
    sys::set_icmp6_filter(socket.as_fd(), &[ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT])?;
    sys::watch_readable(socket)
}

async fn serve(interface: &str, heard: &mpsc::Sender<Heard>) -> io::Result<()> {
    let index = nix::net::if_::if_nametoindex(interface)?;
    let socket = open(interface, index)?;
    let mut neighbour = None;
    let mut next = Instant::now();
    let mut sent = None::<Instant>;
    let mut buffer = vec![0; 1500];
    loop {
        tokio::select! {
            () = heard.closed() => return Ok(()),
            () = sleep_until(next) => {
                // The interface may have been replaced by one of the same name.
                if nix::net::if_::if_nametoindex(interface)? != index {
                    return Ok(());
                }
                let to = |group| SocketAddrV6::new(group, 0, 0, index).into();
                socket.get_ref().send_to(&advertisement(), &to(ALL_NODES))?;
                if neighbour.is_none() {
                    socket.get_ref().send_to(&SOLICITATION, &to(ALL_ROUTERS))?;
                }
                let now = Instant::now();
                sent = Some(now);
                next = now + if neighbour.is_some() { INTERVAL } else { EAGER };
            }
            ready = socket.readable() => {
                let mut ready = ready?;
                let received =
                    ready.try_io(|socket| sys::receive_icmp6(socket.as_fd(), &mut buffer));
                let message = match received {
                    Err(_would_block) => continue,
                    Ok(message) => message?,
                };
                let valid = message.hop_limit == Some(i32::from(HOP_LIMIT));
                match buffer.first() {
                    Some(&ROUTER_SOLICITATION) if valid => {
                        let soonest = sent.map_or_else(Instant::now, |sent| sent + MIN_DELAY);
                        next = next.min(soonest);
                    }
                    Some(&ROUTER_ADVERTISEMENT)
                        if valid
                            && message.len >= ADVERTISEMENT_LEN
                            && message.source.is_unicast_link_local() =>
                    {
                        let address = message.source;
                        if neighbour != Some(address) {
                            info!(ifname = %interface, %address, "router heard");
                            neighbour = Some(address);
                            // It may not have heard us yet.
                            next = next.min(Instant::now() + MIN_DELAY);
                        }
                        let interface = interface.to_owned();
                        if heard.send(Heard { interface, index, address }).await.is_err() {
                            return Ok(());
                        }
                    }
                    _ => debug!(ifname = %interface, source = %message.source, "neighbour discovery message ignored"),
                }
            }
        }
    }
}

/// RFC 4861 §4.1 without options; the kernel adds the checksum.
const SOLICITATION: [u8; 8] = [ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];

const ADVERTISEMENT_LEN: usize = 16;

/// RFC 4861 §4.2 with no flags, no lifetime and no options; the kernel adds the checksum.
fn advertisement() -> [u8; ADVERTISEMENT_LEN] {
    let mut octets = [0; ADVERTISEMENT_LEN];
    octets[0] = ROUTER_ADVERTISEMENT;
    octets[4] = 64; // Hop limit that hosts should use.
    octets
}
