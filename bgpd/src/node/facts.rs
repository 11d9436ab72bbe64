//! What the host says of itself: addresses, default routes, the source of packets to somebody.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use bgp_desired::{
    Backend, Datastore,
    autodetect::{AddressFamily, Facts, Keep, LinkFacts, Method, Reached, detect},
};
use margay_fib::FibHandle;
use tokio::{net::lookup_host, time::timeout};
use tracing::debug;

/// How long a name may take to become an address.
const RESOLVE: Duration = Duration::from_secs(2);
/// Nobody is sent anything: a socket that is connected only has to name a port (`discard`).
const PORT: u16 = 9;

/// What a method needs to know.
pub(super) async fn gather(
    fib: &FibHandle,
    datastore: &Datastore,
    family: AddressFamily,
    method: &Method,
) -> Facts {
    let targets: Vec<(String, u16)> = match (method, &datastore.backend) {
        (Method::CanReach(host), _) => vec![(host.clone(), PORT)],
        (Method::Auto, Backend::Etcd(etcd)) => {
            etcd.endpoints.iter().filter_map(|endpoint| host_and_port(endpoint)).collect()
        }
        _ => Vec::new(),
    };
    let mut reached = Vec::new();
    for (host, port) in targets {
        if let Some(source) = source_towards(family, &host, port).await {
            reached.push(Reached { target: host, source });
        }
    }
    let mut facts = Facts { links: links(fib), reached, default_links: Vec::new() };
    if needs_default_links(family, method, &facts) {
        // A full table is tens of megabytes of text.
        let read = tokio::task::spawn_blocking(move || default_links(family));
        facts.default_links = read.await.unwrap_or_default();
    }
    facts
}

/// Whether the default routes decide: for `auto` only where nothing that is reached does.
fn needs_default_links(family: AddressFamily, method: &Method, facts: &Facts) -> bool {
    match method {
        Method::DefaultRoute => true,
        Method::Auto => {
            let by_reach = Method::CanReach(String::new());
            detect(family, &by_reach, facts, None, Keep::AmongBest).chosen.is_none()
        }
        _ => false,
    }
}

/// The interfaces and their addresses.
pub(super) fn links(fib: &FibHandle) -> Vec<LinkFacts> {
    let links = fib.links();
    let one = |link: &margay_fib::Link| LinkFacts {
        name: link.name.clone(),
        up: link.up,
        addresses: link.addresses.clone(),
    };
    links.iter().map(one).collect()
}

/// Host and port of `http://HOST:PORT`, an IPv6 address without its brackets.
fn host_and_port(endpoint: &str) -> Option<(String, u16)> {
    let (_, rest) = endpoint.split_once("://")?;
    let (host, port) = rest.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), port.parse().ok()?))
}

/// The source address of packets to a host, as the kernel would choose it now.
async fn source_towards(family: AddressFamily, host: &str, port: u16) -> Option<IpAddr> {
    let found = match timeout(RESOLVE, lookup_host((host, port))).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            debug!(host, err = %error, "no address for the name");
            return None;
        }
        Err(_) => {
            debug!(host, "no address for the name in time");
            return None;
        }
    };
    let target = found.into_iter().find(|found| AddressFamily::of(found.ip()) == family)?;
    let any: SocketAddr = match family {
        AddressFamily::V4 => (Ipv4Addr::UNSPECIFIED, 0).into(),
        AddressFamily::V6 => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let asked = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(target)?;
        socket.local_addr()
    });
    match asked {
        Ok(source) => Some(source.ip()),
        Err(error) => {
            debug!(host, err = %error, "no route");
            None
        }
    }
}

/// Names of the interfaces of default routes in the main table, the lowest metric first.
fn default_links(family: AddressFamily) -> Vec<String> {
    let file = match family {
        AddressFamily::V4 => "/proc/net/route",
        AddressFamily::V6 => "/proc/net/ipv6_route",
    };
    let default = match family {
        AddressFamily::V4 => default_v4,
        AddressFamily::V6 => default_v6,
    };
    let routes = File::open(file).and_then(|file| {
        let lines = BufReader::new(file).lines();
        lines.filter_map(|line| line.map(|line| default(&line)).transpose()).collect()
    });
    match routes {
        Ok(routes) => in_order(routes),
        Err(error) => {
            debug!(file, err = %error, "cannot read the routes");
            Vec::new()
        }
    }
}

fn in_order(mut routes: Vec<(u32, String)>) -> Vec<String> {
    // What has the same metric stays in the kernel's order.
    routes.sort_by_key(|(metric, _)| *metric);
    let mut names: Vec<String> = Vec::new();
    for (_, name) in routes {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Route flags: usable, and refuses what it matches.
const RTF_UP: u32 = 0x1;
const RTF_REJECT: u32 = 0x200;

fn usable(flags: &str) -> bool {
    u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & (RTF_UP | RTF_REJECT) == RTF_UP)
}

/// Metric and interface of a line that is a default route: `Iface Destination Gateway Flags RefCnt
/// Use Metric Mask …`.
fn default_v4(line: &str) -> Option<(u32, String)> {
    let mut fields = line.split_ascii_whitespace();
    let name = fields.next()?;
    let destination = fields.next()?;
    let flags = fields.nth(1)?;
    let metric = fields.nth(2)?;
    let mask = fields.next()?;
    let is_default = destination == "00000000" && mask == "00000000" && usable(flags);
    is_default.then(|| Some((metric.parse().ok()?, name.to_owned())))?
}

/// The same of IPv6: `destination length source length gateway metric refcount use flags device`,
/// numbers in hexadecimal.
fn default_v6(line: &str) -> Option<(u32, String)> {
    let mut fields = line.split_ascii_whitespace();
    let destination = fields.next()?;
    let length = fields.next()?;
    let metric = fields.nth(3)?;
    let flags = fields.nth(2)?;
    let name = fields.next()?;
    let is_default = destination.bytes().all(|digit| digit == b'0')
        && length == "00"
        && usable(flags)
        && name != "lo";
    is_default.then(|| Some((u32::from_str_radix(metric, 16).ok()?, name.to_owned())))?
}

#[cfg(test)]
mod tests;
