//! The command line.

use std::{net::Ipv4Addr, str::FromStr};

use crate::{die, phase::Phase, wire::Family};

/// Everything that can be set; each command takes what concerns it.
#[derive(Debug)]
pub struct Args {
    pub dut: u32,
    pub port: u16,
    pub dut_as: u32,
    pub src: u32,
    pub monitor_src: u32,
    pub keeper_src: u32,
    pub peers: usize,
    pub monitors: usize,
    pub routes: usize,
    pub universe: usize,
    pub layout: String,
    pub family: Family,
    pub v6_permille: u64,
    pub seed: u64,
    pub internal: bool,
    pub all_receive: bool,
    pub prefer_first: bool,
    pub classes: usize,
    pub prober: bool,
    pub keeper: bool,
    pub fib: bool,
    pub copies: bool,
    pub phases: Vec<Phase>,
    pub reload: String,
    pub pids: Vec<u32>,
    pub timeout: f64,
    pub settle: f64,
    pub connect_timeout: u64,
    pub batch: usize,
    pub nhid: u32,
    pub via: u32,
    pub dev: String,
}

/// What `bgpload` without a command prints.
pub const USAGE: &str = "\
bgpload run    play peers and monitors toward a daemon, print one line of JSON
bgpload floor  be a daemon that copies every UPDATE to every other session
bgpload kpush  push a table into the kernel by netlink, print one line of JSON

 --dut A --port N --dut-as N        the daemon under test
 --src A --monitor-src A --keeper-src A   first source addresses of peers, monitors; the keeper's
 --peers N --monitors N
 --routes N                         per peer
 --layout same|distinct|random      every peer the same N; each its own; each a random N of --universe
 --universe N
 --family 4|6|46  --v6-permille N
 --seed N
 --internal                         peers share the daemon's AS (route-reflector clients)
 --all-receive                      every peer counts what it is told, not only the monitors
 --prefer-first                     peer 0 has the shorter path for everything
 --classes N                        session i is under export policy i mod N: see the source, plan
 --prober                           a session of its own sends the probes of churn
 --keeper                           a session with a hold time of 3 s is told nothing
 --fib                              also wait for the kernel of --pid's namespace
 --copies                           the daemon is `bgpload floor`
 --phases load,withdraw,churn:PERCENT:SECONDS,drop,reload,idle:SECONDS
 --reload COMMAND                   what brings the new policy (community DUT-AS:77 on every route)
 --pid P,P                          roots of the daemon's process trees
 --timeout S --settle S --connect-timeout S
 --batch N --nhid ID --via A --dev D     for kpush
";

impl Default for Args {
    fn default() -> Self {
        let address = |c: u8, d: u8| Ipv4Addr::new(10, 99, c, d).into();
        Self {
            dut: address(0, 1),
            port: 179,
            dut_as: 65000,
            src: address(1, 1),
            monitor_src: address(200, 1),
            keeper_src: address(250, 1),
            peers: 1,
            monitors: 1,
            routes: 1000,
            universe: 0,
            layout: "same".into(),
            family: Family { v4: true, v6: false },
            v6_permille: 180,
            seed: 1,
            internal: false,
            all_receive: false,
            prefer_first: false,
            classes: 0,
            prober: false,
            keeper: false,
            fib: false,
            copies: false,
            phases: vec![Phase::Load],
            reload: String::new(),
            pids: vec![],
            timeout: 300.0,
            settle: 60.0,
            connect_timeout: 60,
            batch: 256,
            nhid: 0,
            via: address(1, 1),
            dev: "lo".into(),
        }
    }
}

impl Args {
    /// The options after the command; ends the program at the first that is wrong.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let mut args = Self::default();
        while let Some(key) = words.next() {
            if !args.switch(&key) {
                let Some(value) = words.next() else { die(&format!("{key}: a value is missing")) };
                args.set(&key, &value);
            }
        }
        if args.universe == 0 {
            args.universe = args.routes;
        }
        args
    }

    fn switch(&mut self, key: &str) -> bool {
        let switch = match key {
            "--internal" => &mut self.internal,
            "--all-receive" => &mut self.all_receive,
            "--prefer-first" => &mut self.prefer_first,
            "--prober" => &mut self.prober,
            "--keeper" => &mut self.keeper,
            "--fib" => &mut self.fib,
            "--copies" => &mut self.copies,
            _ => return false,
        };
        *switch = true;
        true
    }

    fn set(&mut self, key: &str, value: &str) {
        match key {
            "--dut" => self.dut = address(key, value),
            "--port" => self.port = parsed(key, value),
            "--dut-as" => self.dut_as = parsed(key, value),
            "--src" => self.src = address(key, value),
            "--monitor-src" => self.monitor_src = address(key, value),
            "--keeper-src" => self.keeper_src = address(key, value),
            "--peers" => self.peers = parsed(key, value),
            "--monitors" => self.monitors = parsed(key, value),
            "--routes" => self.routes = parsed(key, value),
            "--universe" => self.universe = parsed(key, value),
            "--layout" => value.clone_into(&mut self.layout),
            "--family" => {
                self.family = Family { v4: value.contains('4'), v6: value.contains('6') };
            }
            "--v6-permille" => self.v6_permille = parsed(key, value),
            "--seed" => self.seed = parsed(key, value),
            "--classes" => self.classes = parsed(key, value),
            "--phases" => self.phases = value.split(',').map(|p| parsed(key, p)).collect(),
            "--reload" => value.clone_into(&mut self.reload),
            "--pid" => self.pids = value.split(',').map(|p| parsed(key, p)).collect(),
            "--timeout" => self.timeout = parsed(key, value),
            "--settle" => self.settle = parsed(key, value),
            "--connect-timeout" => self.connect_timeout = parsed(key, value),
            "--batch" => self.batch = parsed(key, value),
            "--nhid" => self.nhid = parsed(key, value),
            "--via" => self.via = address(key, value),
            "--dev" => value.clone_into(&mut self.dev),
            _ => die(&format!("unknown option {key}\n\n{USAGE}")),
        }
    }
}

fn parsed<T: FromStr>(key: &str, value: &str) -> T {
    value.parse().unwrap_or_else(|_| die(&format!("bad value for {key}: {value}")))
}

fn address(key: &str, value: &str) -> u32 {
    parsed::<Ipv4Addr>(key, value).into()
}
