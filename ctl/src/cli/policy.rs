//! `margay policy`: what can be said.

use clap::{Args, Subcommand};
use margay_model::Protocol;

/// Network policy on this node.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// What is in force for an endpoint, rule by rule, and what is not, with why
    Show {
        /// NAMESPACE/POD, wep:NAMESPACE/NAME, hep:NAME or an address
        #[arg(value_name = "ENDPOINT")]
        endpoint: String,
        /// Count its packets by rule from now on, for a minute or so many seconds; ask again to see them
        #[arg(
            long,
            value_name = "SECONDS",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "60",
            value_parser = clap::value_parser!(u32).range(1..=3600)
        )]
        counters: Option<u32>,
    },
    /// What becomes of a packet: which tier, policy and rule decide
    #[command(
        after_help = "One end at least is an endpoint of this node; only its own policies are asked, \
                      and those of the other end if it is one, too."
    )]
    Trace(TraceArgs),
    /// Connections that policies decided about: those that are remembered
    Flows {
        /// Those that come, one JSON object a line, until interrupted
        #[arg(short, long)]
        follow: bool,
    },
}

/// `margay policy trace`.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Who sends: NAMESPACE/POD, wep:NAMESPACE/NAME, hep:NAME or an address
    #[arg(long, value_name = "ENDPOINT|ADDRESS")]
    pub from: String,
    /// Who is to get it: likewise
    #[arg(long, value_name = "ENDPOINT|ADDRESS")]
    pub to: String,
    /// TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol)]
    pub protocol: Protocol,
    /// The destination's port
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,
    /// The source's port
    #[arg(long, value_name = "N")]
    pub source_port: Option<u16>,
    /// The type of ICMP; an echo request by default
    #[arg(long, value_name = "N")]
    pub icmp_type: Option<u8>,
    /// The code of ICMP; 0 by default
    #[arg(long, value_name = "N")]
    pub icmp_code: Option<u8>,
}

/// A name in any case, or a number.
fn protocol(text: &str) -> Result<Protocol, String> {
    let names = ["TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite"];
    let name = names.into_iter().find(|name| name.eq_ignore_ascii_case(text));
    name.unwrap_or(text)
        .parse()
        .map_err(|_| format!("expected {} or a number from 1 to 255", names.join(", ")))
}
