//! `bgpload`: plays BGP peers and monitors toward a daemon and measures from outside what it takes.
//!
//! Its own numbers are in octets on the wire and `/proc`; no daemon is asked about itself.

mod floor;
mod kpush;
mod load;
mod procfs;
mod sys;
mod table;
mod wire;

use std::net::Ipv4Addr;

pub(crate) fn die(m: &str) -> ! {
    eprintln!("bgpload: {m}");
    std::process::exit(1)
}

pub(crate) fn js(s: &str) -> String {
    let mut o = String::from("\"");
    for c in s.chars() {
        match c {
            '"' | '\\' => {
                o.push('\\');
                o.push(c)
            }
            c if (c as u32) < 32 => o.push(' '),
            c => o.push(c),
        }
    }
    o.push('"');
    o
}

pub(crate) struct Args {
    pub(crate) dut: u32,
    pub(crate) port: u16,
    pub(crate) dut_as: u32,
    pub(crate) src: u32,
    pub(crate) monitor_src: u32,
    pub(crate) peers: usize,
    pub(crate) monitors: usize,
    pub(crate) routes: usize,
    pub(crate) universe: usize,
    pub(crate) layout: String,
    pub(crate) family: wire::Family,
    pub(crate) v6_permille: u64,
    pub(crate) seed: u64,
    pub(crate) ibgp: bool,
    pub(crate) all_receive: bool,
    pub(crate) prefer_first: bool,
    pub(crate) addpath: bool,
    pub(crate) parse_all: bool,
    pub(crate) fib: bool,
    pub(crate) phases: Vec<String>,
    pub(crate) pids: Vec<u32>,
    pub(crate) timeout: f64,
    pub(crate) settle: f64,
    pub(crate) connect_timeout: u64,
    pub(crate) label: String,
    pub(crate) marker_base: u32,
    pub(crate) sndbuf: i32,
    pub(crate) batch: usize,
    pub(crate) nhid: usize,
    pub(crate) via: u32,
    pub(crate) dev: String,
    pub(crate) verb: String,
}

impl Args {
    /// (percent, seconds) of the flap phase
    pub(crate) fn flap(&self) -> Option<(f64, f64)> {
        let p = self.phases.iter().find(|p| p.starts_with("flap"))?;
        let f: Vec<&str> = p.split(':').collect();
        Some((
            f.get(1).and_then(|x| x.parse().ok()).unwrap_or(5.0),
            f.get(2).and_then(|x| x.parse().ok()).unwrap_or(10.0),
        ))
    }
}

const USAGE: &str = "\
bgpload run    play peers and monitors toward a daemon, print one JSON line
bgpload floor  be a daemon that copies every UPDATE to every other session (the harness's floor)
bgpload kpush  push a synthetic table into the kernel by netlink, print one JSON line
bgpload gen    print the same table as an `ip -batch` file

 --dut A --port N --dut-as N        the daemon under test
 --src A --monitor-src A            first source address of the peers, of the monitors
 --peers N --monitors N
 --routes N                         per peer
 --layout same|distinct|random      every peer the same N; each its own N; each a random N of --universe
 --universe N
 --family 4|6|46  --v6-permille N
 --seed N
 --ibgp                             peers share the daemon's AS (route-reflector clients)
 --all-receive                      every peer counts what it gets, not only the monitors
 --prefer-first                     peer 0 has the shorter path for everything
 --addpath
 --phases load,withdraw,flap:PCT:SECS,drop
 --fib                              also wait until the routes are in the kernel of --pid's namespace
 --pid P,P                          roots of the daemon's process trees
 --timeout S --settle S --connect-timeout S
 --label TEXT
 --batch N --nhid ID --via A --dev D --verb add|del     for kpush and gen
";

fn main() {
    let mut argv = std::env::args().skip(1);
    let cmd = argv.next().unwrap_or_default();
    let mut a = Args {
        dut: Ipv4Addr::new(10, 99, 0, 1).into(),
        port: 179,
        dut_as: 65000,
        src: Ipv4Addr::new(10, 99, 1, 1).into(),
        monitor_src: Ipv4Addr::new(10, 99, 200, 1).into(),
        peers: 1,
        monitors: 1,
        routes: 1000,
        universe: 0,
        layout: "same".into(),
        family: wire::Family { v4: true, v6: false },
        v6_permille: 180,
        seed: 1,
        ibgp: false,
        all_receive: false,
        prefer_first: false,
        addpath: false,
        parse_all: false,
        fib: false,
        phases: vec!["load".into()],
        pids: vec![],
        timeout: 300.0,
        settle: 60.0,
        connect_timeout: 60,
        label: String::new(),
        marker_base: 64700,
        sndbuf: 0,
        batch: 256,
        nhid: 0,
        via: Ipv4Addr::new(10, 99, 1, 1).into(),
        dev: "lo".into(),
        verb: "add".into(),
    };
    fn num<T: std::str::FromStr>(k: &str, v: Option<String>) -> T {
        v.and_then(|x| x.parse().ok()).unwrap_or_else(|| die(&format!("bad value for {k}")))
    }
    fn ip(k: &str, v: Option<String>) -> u32 {
        num::<Ipv4Addr>(k, v).into()
    }
    while let Some(k) = argv.next() {
        let k = k.as_str();
        match k {
            "--ibgp" => a.ibgp = true,
            "--all-receive" => a.all_receive = true,
            "--prefer-first" => a.prefer_first = true,
            "--addpath" => a.addpath = true,
            "--parse-all" => a.parse_all = true,
            "--fib" => a.fib = true,
            _ => {
                let v = argv.next();
                match k {
                    "--dut" => a.dut = ip(k, v),
                    "--port" => a.port = num(k, v),
                    "--dut-as" => a.dut_as = num(k, v),
                    "--src" => a.src = ip(k, v),
                    "--monitor-src" => a.monitor_src = ip(k, v),
                    "--peers" => a.peers = num(k, v),
                    "--monitors" => a.monitors = num(k, v),
                    "--routes" => a.routes = num(k, v),
                    "--universe" => a.universe = num(k, v),
                    "--layout" => a.layout = num(k, v),
                    "--family" => {
                        let f: String = num(k, v);
                        a.family = wire::Family { v4: f.contains('4'), v6: f.contains('6') };
                    }
                    "--v6-permille" => a.v6_permille = num(k, v),
                    "--seed" => a.seed = num(k, v),
                    "--phases" => {
                        a.phases = num::<String>(k, v).split(',').map(str::to_string).collect()
                    }
                    "--pid" => {
                        a.pids =
                            num::<String>(k, v).split(',').filter_map(|x| x.parse().ok()).collect()
                    }
                    "--timeout" => a.timeout = num(k, v),
                    "--settle" => a.settle = num(k, v),
                    "--connect-timeout" => a.connect_timeout = num(k, v),
                    "--label" => a.label = num(k, v),
                    "--sndbuf" => a.sndbuf = num(k, v),
                    "--batch" => a.batch = num(k, v),
                    "--nhid" => a.nhid = num(k, v),
                    "--via" => a.via = ip(k, v),
                    "--dev" => a.dev = num(k, v),
                    "--verb" => a.verb = num(k, v),
                    _ => die(&format!("unknown option {k}\n\n{USAGE}")),
                }
            }
        }
    }
    if a.universe == 0 {
        a.universe = a.routes;
    }
    let rc = match cmd.as_str() {
        "run" => load::run(&a),
        "floor" => floor::run(&a),
        "kpush" => kpush::run(&a),
        "gen" => kpush::generate(&a),
        _ => {
            eprint!("{USAGE}");
            1
        }
    };
    std::process::exit(rc);
}
