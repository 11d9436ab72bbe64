//! `bgpload`: plays BGP peers and monitors toward a daemon and measures from outside what it takes.
//!
//! Its own numbers are in octets on the wire and `/proc`; no daemon is asked about itself. Each
//! phase ends when every counting session holds exactly what an independent reference (`plan`)
//! says, and then the attributes of sampled sessions are compared with what the peers sent.

mod args;
mod connection;
mod decode;
mod floor;
mod heard;
mod kpush;
mod load;
mod netlink;
mod phase;
mod plan;
mod procfs;
mod run;
mod sys;
mod table;
mod watch;
mod wire;

use args::{Args, USAGE};

/// Ends the program: a measurement that cannot be made is no measurement.
pub(crate) fn die(message: &str) -> ! {
    eprintln!("bgpload: {message}");
    std::process::exit(1)
}

fn main() {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let run: fn(&Args) -> i32 = match command.as_str() {
        "run" => run::run,
        "floor" => floor::run,
        "kpush" => kpush::run,
        _ => {
            eprint!("{USAGE}");
            std::process::exit(2)
        }
    };
    std::process::exit(run(&Args::parse(words)));
}
