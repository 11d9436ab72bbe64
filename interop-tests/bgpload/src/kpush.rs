//! How fast the kernel takes routes: RTM_NEWROUTE messages, many to a sendmsg, no daemon involved.

use std::time::Instant;

use serde_json::json;

use crate::{
    Args, die,
    netlink::{
        ACK, CREATE, NHA_GATEWAY, NHA_ID, NHA_OIF, Netlink, REPLACE, RTA_DST, RTA_GATEWAY,
        RTA_NH_ID, RTA_OIF, RTM_DELROUTE, RTM_NEWNEXTHOP, RTM_NEWROUTE, message,
    },
    procfs, sys,
    table::{Table, key_bytes, key_len},
};

/// First sequence number of a route.
const FIRST: u32 = 10;

/// Adds, replaces and deletes the whole table, and prints how long each took.
pub fn run(args: &Args) -> i32 {
    let table = Table::generate(args.routes, args.seed, 0, 0);
    let interface = sys::interface_index(&args.dev).to_ne_bytes();
    if interface == [0; 4] {
        die("no such device");
    }
    let mut netlink = Netlink::new();
    let (id, via) = (args.nhid.to_ne_bytes(), args.via.to_be_bytes());
    if args.nhid > 0 {
        let mut out = Vec::new();
        // struct nhmsg: family, scope, protocol, reserved, flags
        let body = [2, 0, 12, 0, 0, 0, 0, 0];
        let attributes: [(u16, &[u8]); 3] =
            [(NHA_ID, &id), (NHA_OIF, &interface), (NHA_GATEWAY, &via)];
        message(&mut out, RTM_NEWNEXTHOP, CREATE | REPLACE | ACK, 1, &body, &attributes);
        netlink.send(&out);
        netlink.wait(1);
        if netlink.errors > 0 {
            die(&format!("next-hop object: {}", netlink.last_error));
        }
    }
    let next_hop: &[(u16, &[u8])] = if args.nhid > 0 {
        &[(RTA_NH_ID, &id)]
    } else {
        &[(RTA_OIF, &interface), (RTA_GATEWAY, &via)]
    };
    let mut result = json!({ "routes": table.keys.len(), "batch": args.batch, "nhid": args.nhid });
    for (name, kind, flags) in [
        ("add", RTM_NEWROUTE, CREATE),
        ("replace", RTM_NEWROUTE, CREATE | REPLACE),
        ("delete", RTM_DELROUTE, 0),
    ] {
        let next_hop = if kind == RTM_NEWROUTE { next_hop } else { &[] };
        let batches = encode(&table, args.batch, kind, flags, next_hop);
        let errors = netlink.errors;
        let me = std::process::id();
        let cpu = procfs::cpu_seconds(me).unwrap_or(0.0);
        let begun = Instant::now();
        for (batch, last) in &batches {
            netlink.send(batch);
            netlink.wait(*last);
        }
        let seconds = begun.elapsed().as_secs_f64();
        result[name] = json!({
            "seconds": seconds,
            "rate": table.keys.len() as f64 / seconds,
            "cpu_s": procfs::cpu_seconds(me).unwrap_or(0.0) - cpu,
            "errors": netlink.errors - errors,
            "table": procfs::kernel_routes(me),
        });
    }
    println!("{result}");
    0
}

/// Datagrams of `batch` messages each, with the sequence number that will be acknowledged: one
/// acknowledgement a batch is enough, errors are told regardless.
fn encode(
    table: &Table,
    batch: usize,
    kind: u16,
    flags: u16,
    next_hop: &[(u16, &[u8])],
) -> Vec<(Vec<u8>, u32)> {
    let mut batches = Vec::new();
    let mut sequence = FIRST;
    for keys in table.keys.chunks(batch.max(1)) {
        let mut out = Vec::new();
        for (i, key) in keys.iter().enumerate() {
            let ack = if i + 1 == keys.len() { ACK } else { 0 };
            let destination = key_bytes(*key);
            // struct rtmsg: main table, protocol static
            let body = [2, key_len(*key), 0, 0, 254, 12, 0, 1, 0, 0, 0, 0];
            let mut attributes = vec![(RTA_DST, &destination[..4])];
            attributes.extend_from_slice(next_hop);
            message(&mut out, kind, flags | ack, sequence, &body, &attributes);
            sequence += 1;
        }
        batches.push((out, sequence - 1));
    }
    batches
}
