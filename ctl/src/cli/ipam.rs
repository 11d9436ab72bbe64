//! `margay ipam`: what can be said.

use std::{net::IpAddr, path::PathBuf};

use clap::{ArgGroup, Args, Subcommand};

/// Addresses and blocks.
#[derive(Debug, Subcommand)]
pub enum IpamCommand {
    /// Take addresses: all that are asked for, or none
    Assign(AssignArgs),
    /// Pools and blocks, how full they are; who has an address
    Show(ShowArgs),
    /// Everything that should not be so; exit code 1 if there is anything
    Check(CheckArgs),
    /// Give addresses back
    Release(ReleaseArgs),
    /// Change how addresses are given out in the whole cluster
    Configure(ConfigureArgs),
    /// Put equal smaller pools in the place of a pool
    Split(SplitArgs),
}

/// `margay ipam assign`.
#[derive(Debug, Args)]
pub struct AssignArgs {
    /// How many IPv4 addresses; one if nothing else is asked for
    #[arg(long, value_name = "N")]
    pub v4: Option<u32>,
    /// How many IPv6 addresses
    #[arg(long, value_name = "N")]
    pub v6: Option<u32>,
    /// This very address, reserved or not; may be repeated
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["v4", "v6"])]
    pub ip: Vec<IpAddr>,
    /// Only from this pool, by name or CIDR; may be repeated
    #[arg(long, value_name = "POOL")]
    pub pool: Vec<String>,
    /// By which they are released together; one is made by default
    #[arg(long, value_name = "HANDLE")]
    pub handle: Option<String>,
    /// For this node, which must have a Node resource; the daemon's own by default
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
}

/// `margay ipam show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Also each block
    #[arg(long)]
    pub show_blocks: bool,
    /// Only who has this address
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["show_blocks", "show_borrowed", "show_configuration"])]
    pub ip: Option<IpAddr>,
    /// Only addresses used on another node than that of their block
    #[arg(long, conflicts_with_all = ["show_blocks", "show_configuration"])]
    pub show_borrowed: bool,
    /// Only the settings in force
    #[arg(long, conflicts_with = "show_blocks")]
    pub show_configuration: bool,
}

/// `margay ipam check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Mend what can be mended
    #[arg(long, conflicts_with_all = ["show_all_ips", "show_problem_ips", "report"])]
    pub fix: bool,
    /// Also show every address that is held
    #[arg(long)]
    pub show_all_ips: bool,
    /// Also show addresses that look leaked: no endpoint in the datastore has them
    #[arg(long)]
    pub show_problem_ips: bool,
    /// Also write all of this into a file, for `release --from-report`
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// `margay ipam release`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["ip", "handle", "from_report"]))]
pub struct ReleaseArgs {
    /// This address; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Vec<IpAddr>,
    /// All addresses of this handle; with --ip only if this handle has it
    #[arg(long, value_name = "HANDLE")]
    pub handle: Option<String>,
    /// What this report of `check` calls leaked; of several only what all of them do
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ip", "handle"])]
    pub from_report: Vec<PathBuf>,
    /// Although the datastore is not locked, or another version made the reports
    #[arg(long, requires = "from_report")]
    pub force: bool,
}

/// `margay ipam configure`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("field").required(true).multiple(true).args([
    "strict_affinity", "auto_allocate_blocks", "max_blocks_per_host", "ip_cooldown_seconds",
]))]
pub struct ConfigureArgs {
    /// Whether nodes take addresses from their own blocks only
    #[arg(long, alias = "strictaffinity", value_name = "true|false")]
    pub strict_affinity: Option<bool>,
    /// Whether nodes claim blocks as they need them
    #[arg(long, value_name = "true|false")]
    pub auto_allocate_blocks: Option<bool>,
    /// How many blocks of a family a node may own; 0 is no limit
    #[arg(long, value_name = "N")]
    pub max_blocks_per_host: Option<u32>,
    /// How long a released address rests
    #[arg(long, value_name = "SECONDS")]
    pub ip_cooldown_seconds: Option<u32>,
}

/// `margay ipam split`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["name", "cidr"]))]
pub struct SplitArgs {
    /// Into so many: 2, 4, 8, 16, 32 or 64
    #[arg(value_name = "NUMBER")]
    pub parts: u32,
    /// The pool by its name
    #[arg(long, alias = "pool", value_name = "NAME")]
    pub name: Option<String>,
    /// The pool by its CIDR
    #[arg(long, value_name = "CIDR")]
    pub cidr: Option<String>,
}
