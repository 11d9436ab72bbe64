//! A network namespace of the test's own, and somebody else in it who changes the ruleset.

use std::{
    io::Write,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};
use policy_nft::wire::{
    BATCH_BEGIN, BATCH_END, CREATE, ERROR, Encoder, Messages, REQUEST, SUBSYSTEM, kind, verdict,
};

/// Moves this thread into a namespace of its own. False without the right to do so: the test is
/// then skipped, and says so past the harness, which shows a passing test's output to nobody.
pub fn enter() -> bool {
    if let Err(err) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
        let name = std::thread::current().name().unwrap_or("test").to_owned();
        let text = format!("\n*** SKIPPED {name}: cannot make a network namespace: {err}\n");
        std::io::stderr().write_all(text.as_bytes()).ok();
        return false;
    }
    true
}

/// Another program with the right to nf_tables.
pub struct Stranger {
    socket: OwnedFd,
}

impl Stranger {
    /// One in this namespace.
    pub fn new() -> Self {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )
        .expect("a socket");
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0)).expect("bound");
        Self { socket }
    }

    /// One message as a batch; the error number, 0 if it was carried out.
    pub fn does(&self, message: u16, flags: u16, body: impl FnOnce(&mut Encoder)) -> i32 {
        let mut e = Encoder::default();
        let at = e.begin(BATCH_BEGIN, REQUEST, 1, 0, SUBSYSTEM);
        e.end(at);
        let at = e.begin(kind(message), REQUEST | flags, 2, INET, 0);
        body(&mut e);
        e.end(at);
        let at = e.begin(BATCH_END, REQUEST, 3, 0, SUBSYSTEM);
        e.end(at);
        send(self.socket.as_raw_fd(), e.octets(), MsgFlags::empty()).expect("sent");
        let mut buf = vec![0; 1 << 16];
        let mut errno = 0;
        while let Ok(n) = recv(self.socket.as_raw_fd(), &mut buf, MsgFlags::MSG_DONTWAIT) {
            for m in Messages(&buf[..n]).filter(|m| m.kind == ERROR) {
                let refused = verdict(&m).expect("an answer").err();
                errno = errno.max(refused.map_or(0, |refusal| refusal.errno));
            }
        }
        errno
    }

    /// `nft add table inet NAME`.
    pub fn adds_table(&self, name: &str) -> i32 {
        self.does(0, CREATE, |e| e.text(1, name))
    }

    /// `nft delete table inet NAME`.
    pub fn deletes_table(&self, name: &str) -> i32 {
        self.does(2, 0, |e| e.text(1, name))
    }

    /// `nft flush ruleset`.
    pub fn flushes_everything(&self) -> i32 {
        let mut e = Encoder::default();
        let edge = |e: &mut Encoder, message, seq| {
            let at = e.begin(message, REQUEST, seq, 0, SUBSYSTEM);
            e.end(at);
        };
        edge(&mut e, BATCH_BEGIN, 1);
        let at = e.begin(kind(2), REQUEST, 2, 0, 0);
        e.end(at);
        edge(&mut e, BATCH_END, 3);
        send(self.socket.as_raw_fd(), e.octets(), MsgFlags::empty()).expect("sent");
        let mut buf = vec![0; 1 << 16];
        match recv(self.socket.as_raw_fd(), &mut buf, MsgFlags::MSG_DONTWAIT) {
            Ok(n) => Messages(&buf[..n]).filter_map(|m| verdict(&m)?.err()).map(|r| r.errno).sum(),
            Err(_) => 0,
        }
    }

    /// `nft flush chain inet TABLE CHAIN`.
    pub fn clears_chain(&self, table: &str, chain: &str) -> i32 {
        self.does(8, 0, |e| {
            e.text(1, table);
            e.text(2, chain);
        })
    }
}

const INET: u8 = 1;
