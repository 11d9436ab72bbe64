//! `calicoctl ipam`: what that tool asks about addresses, asked of the daemon.

use std::{net::IpAddr, path::PathBuf};

use clap::{ArgGroup, Args, Subcommand};
use margay_proto::v1;

use super::{boxed, print, refused::Refused, session::Session, version};
use crate::{
    cli::ipam::SplitArgs,
    commands::ipam::report::{self, Care, Report},
    error::Failure,
    output::Row,
    view::ipam::{self as view, Shown},
};

/// What can be asked.
#[derive(Debug, Subcommand)]
pub enum IpamCommand {
    /// How full pools and blocks are; who has an address
    Show(ShowArgs),
    /// Everything that should not be so
    Check(CheckArgs),
    /// Give an address back
    Release(ReleaseArgs),
    /// Change how addresses are given out
    Configure(ConfigureArgs),
    /// Put equal smaller pools in the place of a pool
    Split(SplitArgs),
}

/// `ipam show`; of several options the first of this list counts.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Only who has this address
    #[arg(long, value_name = "IP")]
    pub ip: Option<String>,
    /// Also each block
    #[arg(long)]
    pub show_blocks: bool,
    /// Only addresses used on another node than that of their block
    #[arg(long)]
    pub show_borrowed: bool,
    /// Only the settings in force
    #[arg(long)]
    pub show_configuration: bool,
}

/// `ipam check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Every address that is held
    #[arg(long)]
    pub show_all_ips: bool,
    /// Every address that looks leaked; problems are always shown
    #[arg(long)]
    pub show_problem_ips: bool,
    /// Write a report for `release --from-report`
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Where a Kubernetes API is: not supported
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<String>,
}

/// `ipam release`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["ip", "from_report"]))]
pub struct ReleaseArgs {
    /// This address
    #[arg(long, value_name = "IP")]
    pub ip: Option<String>,
    /// What this report of `check` calls leaked; of several only what all of them do
    #[arg(long, value_name = "FILE")]
    pub from_report: Vec<PathBuf>,
    /// Although the datastore is not locked, or another version made the reports
    #[arg(long)]
    pub force: bool,
}

/// `ipam configure`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("field").required(true).multiple(true).args([
    "strictaffinity", "max_blocks_per_host", "kubevirt_ip_persistence", "ip_cooldown_seconds",
]))]
pub struct ConfigureArgs {
    /// Whether nodes take addresses from their own blocks only
    #[arg(long, value_name = "true|false")]
    pub strictaffinity: Option<bool>,
    /// How many blocks of a family a node may own; 0 is no limit
    #[arg(long, value_name = "N")]
    pub max_blocks_per_host: Option<u32>,
    /// Whether virtual machines keep their addresses: not supported
    #[arg(long, value_name = "Enabled|Disabled")]
    pub kubevirt_ip_persistence: Option<String>,
    /// How long a released address rests
    #[arg(long, value_name = "SECONDS")]
    pub ip_cooldown_seconds: Option<u32>,
}

/// Asks, and shows the answer.
///
/// # Errors
/// What the daemon refuses, and what it does not have.
pub async fn run(command: IpamCommand, session: &Session) -> Result<(), Refused> {
    match command {
        IpamCommand::Show(args) => show(&args, session).await,
        IpamCommand::Check(args) => check(&args, session).await,
        IpamCommand::Release(args) => release(&args, session).await,
        IpamCommand::Configure(args) => configure(&args, session).await,
        IpamCommand::Split(args) => split(args, session).await,
    }
}

async fn show(args: &ShowArgs, session: &Session) -> Result<(), Refused> {
    if let Some(text) = &args.ip {
        let address = address(text)?.to_string();
        let request = v1::ShowAddressRequest { address };
        let answer = session.ipam().await?.show_address(request).await;
        return print(&who(&answer.map_err(Failure::from)?.into_inner()));
    }
    let request = v1::ShowIpamRequest { blocks: args.show_blocks };
    let answer = session.ipam().await?.show_ipam(request).await.map_err(Failure::from)?;
    let answer = answer.into_inner();
    if args.show_blocks || !(args.show_borrowed || args.show_configuration) {
        let rows: Vec<_> = answer.rows.into_iter().map(view::Use::from).collect();
        return print(&table(USE, &rows));
    }
    if args.show_borrowed {
        let rows: Vec<_> = answer.borrowed.into_iter().map(view::Borrowed::from).collect();
        return print(&table(usize::MAX, &rows));
    }
    let settings = view::Settings::from(answer.settings.unwrap_or_default());
    print(&table(usize::MAX, &settings.rows()))
}

/// As many of the first columns of `margay ipam show` does the original have, too.
const USE: usize = 6;

/// The first columns of these rows in a box.
fn table<R: Row>(columns: usize, rows: &[R]) -> String {
    let titles: Vec<_> = R::COLUMNS.iter().take(columns).map(|column| column.title()).collect();
    let cells = |row: &R| {
        row.cells().iter().take(columns).map(|cell| cell.text().to_owned()).collect::<Vec<_>>()
    };
    boxed::draw(&titles, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// Who has an address.
fn who(answer: &v1::ShowAddressResponse) -> String {
    let address = &answer.address;
    if answer.state != "in-use" {
        return format!("{address} is not assigned\n");
    }
    let mut text = format!("IP {address} is in use\n");
    if let Some(handle) = &answer.handle {
        text += &format!("Handle ID: {handle}\n");
    }
    let mut attributes: Vec<_> = answer.attributes.iter().collect();
    attributes.sort();
    if !attributes.is_empty() {
        text += "Active Owner Attributes:\n";
    }
    for (name, value) in attributes {
        text += &format!("  {name}: {value}\n");
    }
    text
}

async fn check(args: &CheckArgs, session: &Session) -> Result<(), Refused> {
    unsupported(
        "ipam check",
        &[(args.kubeconfig.is_some(), "--kubeconfig")],
        "the cluster is that of margay-bgpd, which asks no Kubernetes API",
    )?;
    let request = v1::CheckIpamRequest { fix: false, addresses: true };
    let mut ipam = session.ipam().await?;
    let answer = if let Some(path) = &args.output {
        let mut resources = session.resources().await?;
        let (answer, report) =
            Report::take(version::VERSION, request, &mut resources, &mut ipam).await?;
        report.write(path)?;
        answer
    } else {
        ipam.check_ipam(request).await.map_err(Failure::from)?.into_inner()
    };
    let shown = match (args.show_all_ips, args.show_problem_ips) {
        (true, _) => Shown::All,
        (false, true) => Shown::Leaked,
        (false, false) => Shown::None,
    };
    print(&found(&answer, shown))
}

/// What a check found; finding something is no error.
fn found(answer: &v1::CheckIpamResponse, shown: Shown) -> String {
    let mut text = "Checking IPAM for inconsistencies...\n\n".to_owned();
    let wanted = |held: &&v1::HeldAddress| match shown {
        Shown::None => false,
        Shown::Leaked => held.leaked.is_some(),
        Shown::All => true,
    };
    for held in answer.addresses.iter().filter(wanted) {
        let state = if held.leaked.is_some() { "leaked" } else { "in use" };
        text += &format!("  {} {state}; {}:{}\n", held.address, held.node, held.handle);
    }
    for problem in &answer.problems {
        let place = problem.address.as_ref().or(problem.block.as_ref());
        let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
        text += &format!("  {place}{}: {}\n", problem.kind, problem.detail);
    }
    if !answer.problems.is_empty() {
        text.push('\n');
    }
    text + &format!("Check complete; found {} problems.\n", answer.problems.len())
}

async fn release(args: &ReleaseArgs, session: &Session) -> Result<(), Refused> {
    if !args.from_report.is_empty() {
        let care = if args.force { Care::Forced } else { Care::Full };
        let (mut resources, mut ipam) = (session.resources().await?, session.ipam().await?);
        let paths = &args.from_report;
        let done =
            report::release(paths, version::VERSION, care, &mut resources, &mut ipam).await?;
        return print(&by_report(&done));
    }
    let address = address(args.ip.as_deref().unwrap_or_default())?.to_string();
    let request = v1::ReleaseAddressesRequest {
        addresses: vec![address.clone()],
        ..v1::ReleaseAddressesRequest::default()
    };
    let answer = session.ipam().await?.release_addresses(request).await.map_err(Failure::from)?;
    if answer.into_inner().released.is_empty() {
        return Err(Refused::new(format!("IP address {address} is not assigned")));
    }
    print(&format!("Successfully released IP address {address}\n"))
}

/// What a release by reports came to.
fn by_report(done: &report::Outcome) -> String {
    let mut text = String::new();
    for address in &done.released {
        text += &format!("Successfully released IP address {address}\n");
    }
    for address in done.not_assigned.iter().chain(&done.changed) {
        text += &format!("IP address {address} is not leaked any more\n");
    }
    text + &format!("Released {} leaked IP addresses.\n", done.released.len())
}

async fn configure(args: &ConfigureArgs, session: &Session) -> Result<(), Refused> {
    unsupported(
        "ipam configure",
        &[(args.kubevirt_ip_persistence.is_some(), "--kubevirt-ip-persistence")],
        "there are no virtual machines",
    )?;
    let request = v1::ConfigureIpamRequest {
        strict_affinity: args.strictaffinity,
        auto_allocate_blocks: None,
        max_blocks_per_host: args.max_blocks_per_host,
        ip_cooldown_seconds: args.ip_cooldown_seconds,
    };
    session.ipam().await?.configure_ipam(request).await.map_err(Failure::from)?;
    let set = |name: &str, value: Option<String>| {
        value.map(|value| format!("Successfully set {name} to: {value}\n")).unwrap_or_default()
    };
    print(
        &[
            set("StrictAffinity", args.strictaffinity.map(|value| value.to_string())),
            set("MaxBlocksPerHost", args.max_blocks_per_host.map(|value| value.to_string())),
            set("IPCooldownSeconds", args.ip_cooldown_seconds.map(|value| value.to_string())),
        ]
        .concat(),
    )
}

async fn split(args: SplitArgs, session: &Session) -> Result<(), Refused> {
    let pool = args.name.or(args.cidr).unwrap_or_default();
    let request = v1::SplitPoolRequest { pool: pool.clone(), parts: args.parts };
    let answer = session.ipam().await?.split_pool(request).await.map_err(Failure::from)?;
    let parts = answer.into_inner().pools;
    let mut text = format!("Successfully split pool {pool} into {} pools:\n", parts.len());
    for part in parts {
        text += &format!("  {} {}\n", part.name, part.cidr);
    }
    print(&text)
}

fn address(text: &str) -> Result<IpAddr, Refused> {
    // The original tells this where it tells that nothing works at all.
    text.parse().map_err(|_| Refused::fatal(format!("Invalid IP address specified: {text}")))
}

fn unsupported(command: &str, options: &[(bool, &str)], instead: &str) -> Result<(), Refused> {
    match options.iter().find(|(given, _)| *given) {
        Some((_, option)) => {
            Err(Refused::new(format!("{command} {option} is not supported: {instead}")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
