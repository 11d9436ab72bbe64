//! A peer that is nothing but a socket: it sends and hears what a test wants.

use std::{net::SocketAddr, time::Duration};

use bgp_packet::{
    Announce, AsPath, Capability, EncodeContext, Family, HEADER_LEN, MAX_LEN, Message, NextHop,
    Open, PathAttributes, RefreshKind, RouteRefresh, message,
};
use bytes::BytesMut;
use ipnet::IpNet;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{End, PATIENCE};

/// Type codes of messages, as in a header.
pub const KEEP_ALIVE: u8 = 4;

/// Connects to an end from an address, once it listens.
pub async fn call(from: &End, to: &End) -> TcpStream {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match call_once(from, to).await {
            Ok(stream) => return stream,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Tries to. Who listens and refuses may do so before this end knows that it was connected.
pub async fn call_once(from: &End, to: &End) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(from.address(), 0)).expect("loopback");
    socket.connect(SocketAddr::new(to.address(), to.port)).await
}

/// See the module.
pub struct RawPeer {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl RawPeer {
    /// Calls and comes to Established, hold time off.
    pub async fn establish(from: &End, to: &End, more: Vec<Capability>) -> Self {
        let mut peer = Self { stream: call(from, to).await, buffer: Vec::new() };
        let mut capabilities = vec![
            Capability::Multiprotocol(Family::IPV4_UNICAST),
            Capability::FourOctetAsn(from.asn()),
        ];
        capabilities.extend(more);
        let router_id = std::net::Ipv4Addr::new(10, 0, 0, from.host);
        let open = Open::new(from.asn(), 0, router_id, capabilities);
        peer.send(&message::encode_open(&open)).await;
        peer.send(&message::keep_alive()).await;
        while peer.frame().await[HEADER_LEN - 1] != KEEP_ALIVE {}
        peer
    }

    pub async fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.expect("it takes what we send");
    }

    /// One prefix, with the least attributes.
    pub async fn announce(&mut self, from: &End, prefix: &str) {
        let prefix: IpNet = prefix.parse().expect("a prefix");
        let mut attributes = PathAttributes::local(NextHop::new(from.next_hop()));
        attributes.as_path = AsPath::sequence([from.asn()]);
        let context = EncodeContext { four_octet_asn: true, add_path: false, max_len: MAX_LEN };
        let announce = Announce::new(Family::IPV4_UNICAST, &attributes, context).expect("it fits");
        let mut octets = BytesMut::new();
        announce.encode_all([(0, prefix)], &mut octets, |_, _| {});
        self.send(&octets).await;
    }

    pub async fn refresh(&mut self, kind: RefreshKind) {
        let refresh = RouteRefresh { family: Family::IPV4_UNICAST, kind };
        self.send(&message::encode_route_refresh(refresh)).await;
    }

    /// What comes next but a KEEPALIVE.
    pub async fn next(&mut self) -> Vec<u8> {
        loop {
            let frame = self.frame().await;
            if frame[HEADER_LEN - 1] != KEEP_ALIVE {
                return frame;
            }
        }
    }

    async fn frame(&mut self) -> Vec<u8> {
        loop {
            if let Ok(Some(len)) = message::frame_len(&self.buffer, MAX_LEN)
                && len <= self.buffer.len()
            {
                return self.buffer.drain(..len).collect();
            }
            let mut octets = [0; 4096];
            let read = timeout(PATIENCE, self.stream.read(&mut octets)).await;
            let read = read.expect("in time").expect("open");
            assert_ne!(read, 0, "the speaker has closed the connection");
            self.buffer.extend_from_slice(&octets[..read]);
        }
    }
}

/// A bracket of a refresh, if a message is one.
pub fn bracket(frame: &[u8]) -> Option<RefreshKind> {
    match message::decode(frame) {
        Ok(Message::RouteRefresh(refresh)) => Some(refresh.kind),
        _ => None,
    }
}
