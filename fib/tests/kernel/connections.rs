//! Tracked connections, made without any packet.

use std::net::IpAddr;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use std::os::fd::AsRawFd;

/// A UDP connection from one address to another, from this port.
pub fn make(from: &str, to: &str, port: u16) {
    let [from, to] = [from, to].map(|a| a.parse::<IpAddr>().expect("an address"));
    let family = if from.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut body = vec![u8::try_from(family).expect("small"), 0, 0, 0];
    body.extend(tuple(1, (from, port), (to, 9)));
    body.extend(tuple(2, (to, 9), (from, port)));
    body.extend(attribute(7, &60_u32.to_be_bytes())); // CTA_TIMEOUT, seconds
    let mut message = u32::try_from(16 + body.len()).expect("short").to_ne_bytes().to_vec();
    message.extend(0x100_u16.to_ne_bytes()); // IPCTNL_MSG_CT_NEW
    message.extend(0x605_u16.to_ne_bytes()); // REQUEST, ACK, CREATE, EXCL
    message.extend([0; 8]);
    message.extend(body);
    let (netlink, flags) = (AddressFamily::Netlink, SockFlag::SOCK_CLOEXEC);
    let protocol = SockProtocol::NetlinkNetFilter;
    let fd = socket(netlink, SockType::Raw, flags, protocol).expect("a socket");
    let kernel = NetlinkAddr::new(0, 0);
    sendto(fd.as_raw_fd(), &message, &kernel, MsgFlags::empty()).expect("sent");
    let mut answer = [0; 512];
    let n = recv(fd.as_raw_fd(), &mut answer, MsgFlags::empty()).expect("answered");
    let errno = answer.get(16..20).filter(|_| n >= 20).expect("an acknowledgement");
    assert_eq!(errno, [0; 4], "the kernel takes the connection");
}

fn tuple(kind: u16, (from, from_port): (IpAddr, u16), (to, to_port): (IpAddr, u16)) -> Vec<u8> {
    let ip = match (from, to) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            [attribute(1, &a.octets()), attribute(2, &b.octets())].concat()
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            [attribute(3, &a.octets()), attribute(4, &b.octets())].concat()
        }
        _ => panic!("two families"),
    };
    let ports = [(2, from_port), (3, to_port)].map(|(k, port)| attribute(k, &port.to_be_bytes()));
    let proto = [attribute(1, &[17]), ports.concat()].concat();
    let nested = 0x8000;
    attribute(kind | nested, &[attribute(1 | nested, &ip), attribute(2 | nested, &proto)].concat())
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut octets = u16::try_from(4 + value.len()).expect("short").to_ne_bytes().to_vec();
    octets.extend(kind.to_ne_bytes());
    octets.extend(value);
    octets.resize(octets.len().next_multiple_of(4), 0);
    octets
}
