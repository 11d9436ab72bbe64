//! A "daemon" that knows nothing: it answers the handshake and copies every UPDATE to every other
//! session. What bgpload measures against it is the harness's own floor.

use crate::wire::*;
use crate::{Args, sys};
use std::collections::VecDeque;
use std::sync::Arc;

struct C {
    fd: std::os::fd::OwnedFd,
    rx: Vec<u8>,
    tx: VecDeque<Arc<Vec<u8>>>,
    off: usize,
    out: bool,
    up: bool,
}

pub fn run(a: &Args) -> i32 {
    let mut ep = sys::Epoll::new();
    let l = sys::listen(a.dut, a.port);
    ep.add(&l, u64::MAX, false);
    let mut cs: Vec<Option<C>> = Vec::new();
    let mut buf = vec![0u8; 1 << 18];
    fn push(ep: &sys::Epoll, c: &mut C, i: usize, m: Arc<Vec<u8>>) {
        c.tx.push_back(m);
        if !c.out {
            c.out = true;
            ep.modify(&c.fd, i as u64, true);
        }
    }
    loop {
        for e in ep.wait(1000) {
            if e.id == u64::MAX {
                while let Some(fd) = sys::accept(&l) {
                    sys::setopt(&fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
                    let i = cs.len();
                    ep.add(&fd, i as u64, false);
                    let mut c = C {
                        fd,
                        rx: Vec::new(),
                        tx: VecDeque::new(),
                        off: 0,
                        out: false,
                        up: false,
                    };
                    push(
                        &ep,
                        &mut c,
                        i,
                        Arc::new(open(a.dut_as, a.dut, 600, a.family, true, true)),
                    );
                    push(&ep, &mut c, i, Arc::new(keepalive()));
                    cs.push(Some(c));
                }
                continue;
            }
            let i = e.id as usize;
            let mut dead = false;
            if e.writable
                && let Some(c) = cs[i].as_mut()
            {
                while let Some(m) = c.tx.front() {
                    let n = sys::send(&c.fd, &m[c.off..]);
                    if n < 0 {
                        dead = sys::errno() != libc::EAGAIN;
                        break;
                    }
                    c.off += n as usize;
                    if c.off == m.len() {
                        c.tx.pop_front();
                        c.off = 0;
                    }
                }
                if c.tx.is_empty() && c.out {
                    c.out = false;
                    ep.modify(&c.fd, i as u64, false);
                }
            }
            if e.readable
                && let Some(c) = cs[i].as_mut()
            {
                let n = sys::recv(&c.fd, &mut buf);
                if n == 0 || (n < 0 && sys::errno() != libc::EAGAIN) {
                    dead = true;
                } else if n > 0 {
                    c.rx.extend_from_slice(&buf[..n as usize]);
                    let mut at = 0;
                    let mut fwd = Vec::new();
                    while c.rx.len() - at >= HDR {
                        let l = u16::from_be_bytes([c.rx[at + 16], c.rx[at + 17]]) as usize;
                        if l < HDR || c.rx.len() - at < l {
                            break;
                        }
                        match c.rx[at + 18] {
                            UPDATE => fwd.extend_from_slice(&c.rx[at..at + l]),
                            KEEPALIVE => c.up = true,
                            _ => {}
                        }
                        at += l;
                    }
                    c.rx.drain(..at);
                    if !fwd.is_empty() {
                        let m = Arc::new(fwd);
                        for (j, o) in cs.iter_mut().enumerate() {
                            if j != i
                                && let Some(o) = o.as_mut()
                                && o.up
                            {
                                push(&ep, o, j, m.clone());
                            }
                        }
                    }
                }
            }
            if dead {
                cs[i] = None;
            }
        }
    }
}
