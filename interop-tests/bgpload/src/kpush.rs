//! How fast the kernel takes routes: RTM_NEWROUTE messages, many to a sendmsg, no daemon involved.

use crate::table::*;
use crate::{Args, die, sys};
use std::time::Instant;

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEXTHOP: u16 = 104;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const REPLACE: u16 = 0x100;
const CREATE: u16 = 0x400;

fn put_attr(o: &mut Vec<u8>, t: u16, v: &[u8]) {
    o.extend_from_slice(&((4 + v.len()) as u16).to_ne_bytes());
    o.extend_from_slice(&t.to_ne_bytes());
    o.extend_from_slice(v);
    while !o.len().is_multiple_of(4) {
        o.push(0);
    }
}

fn msg(o: &mut Vec<u8>, typ: u16, flags: u16, seq: u32, body: &[u8], attrs: &[(u16, Vec<u8>)]) {
    let at = o.len();
    o.extend_from_slice(&[0; 4]);
    o.extend_from_slice(&typ.to_ne_bytes());
    o.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
    o.extend_from_slice(&seq.to_ne_bytes());
    o.extend_from_slice(&0u32.to_ne_bytes());
    o.extend_from_slice(body);
    for (t, v) in attrs {
        put_attr(o, *t, v);
    }
    let l = (o.len() - at) as u32;
    o[at..at + 4].copy_from_slice(&l.to_ne_bytes());
}

struct Nl {
    fd: std::os::fd::OwnedFd,
    errors: u64,
    last_err: i32,
    sends: u64,
}

impl Nl {
    fn new() -> Nl {
        Nl { fd: sys::netlink(), errors: 0, last_err: 0, sends: 0 }
    }
    fn send(&mut self, b: &[u8]) {
        let n = sys::send_wait(&self.fd, b);
        if n != b.len() as isize {
            die(&format!("netlink send: errno {}", sys::errno()));
        }
        self.sends += 1;
    }
    /// Reads answers until the acknowledgement of `seq`.
    fn wait(&mut self, seq: u32) {
        let mut b = vec![0u8; 1 << 16];
        loop {
            let n = sys::recv_wait(&self.fd, &mut b);
            if n < 0 {
                die(&format!("netlink recv: errno {}", sys::errno()));
            }
            let mut i = 0;
            while i + 20 <= n as usize {
                let l = u32::from_ne_bytes(b[i..i + 4].try_into().unwrap()) as usize;
                let t = u16::from_ne_bytes(b[i + 4..i + 6].try_into().unwrap());
                let s = u32::from_ne_bytes(b[i + 8..i + 12].try_into().unwrap());
                let e = i32::from_ne_bytes(b[i + 16..i + 20].try_into().unwrap());
                if t == 2 && e != 0 {
                    self.errors += 1;
                    self.last_err = e;
                }
                if t == 2 && s == seq {
                    return;
                }
                i += (l + 3) & !3;
                if l == 0 {
                    break;
                }
            }
        }
    }
}

pub fn run(a: &Args) -> i32 {
    let t = Table::generate(a.routes, a.seed, 0, 0);
    let ifi = sys::interface_index(&a.dev);
    if ifi == 0 {
        die("no such device");
    }
    let mut nl = Nl::new();
    if a.nhid > 0 {
        // struct nhmsg: family, scope, protocol, reserved, flags
        let mut o = Vec::new();
        msg(
            &mut o,
            RTM_NEWNEXTHOP,
            CREATE | REPLACE | ACK,
            1,
            &[2, 0, 12, 0, 0, 0, 0, 0],
            &[
                (1, (a.nhid as u32).to_ne_bytes().to_vec()),
                (5, { ifi }.to_ne_bytes().to_vec()),
                (6, a.via.to_be_bytes().to_vec()),
            ],
        );
        nl.send(&o);
        nl.wait(1);
        if nl.errors > 0 {
            die(&format!("nexthop object: {}", nl.last_err));
        }
    }
    let encode = |typ: u16, flags: u16| -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let mut o: Vec<u8> = Vec::new();
        let n = t.keys.len();
        for (i, &k) in t.keys.iter().enumerate() {
            let last = (i + 1) % a.batch == 0 || i + 1 == n;
            let body = [2, key_len(k), 0, 0, 254, 12, 0, 1, 0, 0, 0, 0];
            let mut at = vec![(1u16, key_bytes(k)[..4].to_vec())];
            if typ == RTM_NEWROUTE {
                if a.nhid > 0 {
                    at.push((30, (a.nhid as u32).to_ne_bytes().to_vec()));
                } else {
                    at.push((4, { ifi }.to_ne_bytes().to_vec()));
                    at.push((5, a.via.to_be_bytes().to_vec()));
                }
            }
            // one acknowledgement per batch is enough: errors are told regardless
            msg(&mut o, typ, flags | if last { ACK } else { 0 }, 10 + i as u32, &body, &at);
            if last {
                out.push(std::mem::take(&mut o));
            }
        }
        out
    };
    let mut res = String::new();
    for (name, typ, flags) in [
        ("add", RTM_NEWROUTE, CREATE),
        ("replace", RTM_NEWROUTE, CREATE | REPLACE),
        ("delete", RTM_DELROUTE, 0),
    ] {
        let m = encode(typ, flags);
        let e0 = nl.errors;
        let c0 = crate::procfs::cpu_us(std::process::id()).unwrap_or(0);
        let t0 = Instant::now();
        let mut seen = 0;
        for b in &m {
            nl.send(b);
            seen = (seen + a.batch).min(t.keys.len());
            nl.wait(10 + seen as u32 - 1);
        }
        let s = t0.elapsed().as_secs_f64();
        let c = crate::procfs::cpu_us(std::process::id()).unwrap_or(0) - c0;
        let k = crate::procfs::kernel_routes(std::process::id()).0;
        res.push_str(&format!(",\"{name}_s\":{s:.3},\"{name}_rate\":{:.0},\"{name}_cpu_s\":{:.2},\"{name}_errors\":{},\"{name}_table\":{k}", t.keys.len() as f64 / s, c as f64 / 1e6, nl.errors - e0));
    }
    println!(
        "{{\"label\":{},\"routes\":{},\"batch\":{},\"nhid\":{}{res}}}",
        crate::js(&a.label),
        t.keys.len(),
        a.batch,
        a.nhid
    );
    0
}

/// The same table as a file for `ip -batch`.
pub fn generate(a: &Args) -> i32 {
    use std::io::Write;
    let t = Table::generate(a.routes, a.seed, 0, 0);
    let o = std::io::stdout();
    let mut o = std::io::BufWriter::new(o.lock());
    for &k in &t.keys {
        let b = key_bytes(k);
        let _ = writeln!(
            o,
            "route {} {}.{}.{}.{}/{} via {} dev {}",
            a.verb,
            b[0],
            b[1],
            b[2],
            b[3],
            key_len(k),
            std::net::Ipv4Addr::from(a.via),
            a.dev
        );
    }
    0
}
