//! Removes the container's interface with the daemon away; the host's end goes with it.
//!
//! The only netlink outside `fib`: one message, RTM_DELLINK by name. The calling thread stays in
//! the container's network namespace, which is all right for a process that is about to end.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        linux::fs::MetadataExt,
    },
    path::Path,
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto,
            setsockopt, socket, sockopt::ReceiveTimeout,
        },
        time::TimeVal,
    },
};

/// A request is acknowledged at once or never.
const PATIENCE_SECONDS: i64 = 5;

const NLMSG_HEADER: usize = 16;
const IFINFO: usize = 16;
const NLMSG_ERROR: u16 = 2;
const RTM_DELLINK: u16 = 17;
const NLM_F_REQUEST_ACK: u16 = 1 | 4;
const IFLA_IFNAME: u16 = 3;

/// Whether a path is the network namespace of this process: then nothing in it is a container's.
pub fn is_own_netns(netns: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|meta| (meta.st_dev(), meta.st_ino()));
    matches!((identity(netns), identity(Path::new("/proc/self/ns/net"))), (Ok(a), Ok(b)) if a == b)
}

/// Deletes the interface. A namespace or an interface that is gone is no error.
pub fn interface(netns: &Path, ifname: &str) -> io::Result<()> {
    let netns = match File::open(netns) {
        Ok(netns) => netns,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    match setns(&netns, CloneFlags::CLONE_NEWNET) {
        // What is left of a namespace that was unmounted is an ordinary file.
        Err(Errno::EINVAL) => return Ok(()),
        entered => entered?,
    }
    match request(&delete_message(ifname))? {
        0 => Ok(()),
        errno if errno == Errno::ENODEV as i32 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// `struct nlmsghdr`, `struct ifinfomsg`, one attribute.
fn delete_message(ifname: &str) -> Vec<u8> {
    // A name has 15 octets at most, so lengths are small.
    let attribute = u16::try_from(4 + ifname.len() + 1).unwrap_or(u16::MAX);
    let mut message = vec![0; NLMSG_HEADER + IFINFO];
    message.extend(attribute.to_ne_bytes());
    message.extend(IFLA_IFNAME.to_ne_bytes());
    message.extend(ifname.as_bytes());
    message.push(0);
    message.resize(message.len().next_multiple_of(4), 0);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let header = [
        length.to_ne_bytes().as_slice(),
        &RTM_DELLINK.to_ne_bytes(),
        &NLM_F_REQUEST_ACK.to_ne_bytes(),
        &1_u32.to_ne_bytes(),
    ]
    .concat();
    message.splice(..header.len(), header);
    message
}

/// Sends it and waits for the acknowledgement: 0 or an errno.
fn request(message: &[u8]) -> io::Result<i32> {
    let socket: OwnedFd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::new(PATIENCE_SECONDS, 0))?;
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), message, &kernel, MsgFlags::empty())?;
    let mut answer = [0; 4096];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    acknowledged(answer.get(..length).unwrap_or_default()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "no acknowledgement of the kernel")
    })
}

/// The errno in an acknowledgement.
fn acknowledged(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let error = i32::from_ne_bytes(answer.get(NLMSG_HEADER..NLMSG_HEADER + 4)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then(|| error.saturating_neg())
}

#[cfg(test)]
mod tests;
