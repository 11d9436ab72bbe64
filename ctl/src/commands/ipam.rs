//! `margay ipam`.

pub mod report;

use margay_proto::v1;

use self::report::{Care, Report};
use super::connect;
use crate::calicoctl::VERSION;
use crate::{
    cli::{
        Global,
        ipam::{
            AssignArgs, CheckArgs, ConfigureArgs, IpamCommand, ReleaseArgs, ShowArgs, SplitArgs,
        },
    },
    error::Failure,
    output::Out,
    view::ipam::{
        Address, Assigned, Borrowed, ByReport, Check, Released, Setting, Settings, Shown, Split,
        Use,
    },
};

/// Assigns, releases, shows, checks, configures or splits.
pub async fn run(command: IpamCommand, options: &Global, out: &mut Out<'_>) -> Result<(), Failure> {
    match command {
        IpamCommand::Assign(args) => assign(args, options, out).await,
        IpamCommand::Show(args) => show(args, options, out).await,
        IpamCommand::Check(args) => check(args, options, out).await,
        IpamCommand::Release(args) => release(args, options, out).await,
        IpamCommand::Configure(args) => configure(&args, options, out).await,
        IpamCommand::Split(args) => split(args, options, out).await,
    }
}

async fn assign(args: AssignArgs, options: &Global, out: &mut Out<'_>) -> Result<(), Failure> {
    let nothing = args.v4.is_none() && args.v6.is_none() && args.ip.is_empty();
    let request = v1::AssignAddressesRequest {
        ipv4: args.v4.unwrap_or(u32::from(nothing)),
        ipv6: args.v6.unwrap_or(0),
        addresses: args.ip.iter().map(ToString::to_string).collect(),
        pools: args.pool,
        handle: args.handle.unwrap_or_default(),
        node: args.node.unwrap_or_default(),
        ..v1::AssignAddressesRequest::default()
    };
    let mut ipam = connect(options).await?.ipam();
    let answer = ipam.assign_addresses(request).await?.into_inner();
    let rows: Vec<_> = answer.addresses.into_iter().map(Assigned::from).collect();
    Ok(out.all(&rows)?)
}

async fn show(args: ShowArgs, options: &Global, out: &mut Out<'_>) -> Result<(), Failure> {
    let mut ipam = connect(options).await?.ipam();
    if let Some(address) = args.ip {
        let request = v1::ShowAddressRequest { address: address.to_string() };
        let answer = ipam.show_address(request).await?.into_inner();
        return Ok(out.sheet(&Address::from(answer))?);
    }
    let request = v1::ShowIpamRequest { blocks: args.show_blocks };
    let answer = ipam.show_ipam(request).await?.into_inner();
    if args.show_configuration {
        return settings(answer.settings.unwrap_or_default(), out);
    }
    if args.show_borrowed {
        let rows: Vec<_> = answer.borrowed.into_iter().map(Borrowed::from).collect();
        return Ok(out.all(&rows)?);
    }
    let rows: Vec<_> = answer.rows.into_iter().map(Use::from).collect();
    Ok(out.all(&rows)?)
}

async fn check(args: CheckArgs, options: &Global, out: &mut Out<'_>) -> Result<(), Failure> {
    let client = connect(options).await?;
    let addresses = args.show_all_ips || args.show_problem_ips || args.report.is_some();
    let request = v1::CheckIpamRequest { fix: args.fix, addresses };
    let (mut resources, mut ipam) = (client.resources(), client.ipam());
    let answer = if let Some(path) = &args.report {
        let (answer, report) = Report::take(VERSION, request, &mut resources, &mut ipam).await?;
        report.write(path)?;
        answer
    } else {
        ipam.check_ipam(request).await?.into_inner()
    };
    let shown = match (args.show_all_ips, args.show_problem_ips) {
        (true, _) => Shown::All,
        (false, true) => Shown::Leaked,
        (false, false) => Shown::None,
    };
    let check = Check::of(answer, shown);
    out.sheet(&check)?;
    if check.is_clean() { Ok(()) } else { Err(Failure::Silent { exit: 1 }) }
}

async fn release(args: ReleaseArgs, options: &Global, out: &mut Out<'_>) -> Result<(), Failure> {
    if !args.from_report.is_empty() {
        let care = if args.force { Care::Forced } else { Care::Full };
        let client = connect(options).await?;
        let (mut resources, mut ipam) = (client.resources(), client.ipam());
        let outcome =
            report::release(&args.from_report, VERSION, care, &mut resources, &mut ipam).await?;
        return Ok(out.sheet(&ByReport(outcome))?);
    }
    let request = v1::ReleaseAddressesRequest {
        addresses: args.ip.iter().map(ToString::to_string).collect(),
        handle: args.handle.unwrap_or_default(),
        ..v1::ReleaseAddressesRequest::default()
    };
    let mut ipam = connect(options).await?.ipam();
    let answer = ipam.release_addresses(request).await?.into_inner();
    Ok(out.sheet(&Released::from(answer))?)
}

async fn configure(
    args: &ConfigureArgs,
    options: &Global,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let request = v1::ConfigureIpamRequest {
        strict_affinity: args.strict_affinity,
        auto_allocate_blocks: args.auto_allocate_blocks,
        max_blocks_per_host: args.max_blocks_per_host,
        ip_cooldown_seconds: args.ip_cooldown_seconds,
    };
    let mut ipam = connect(options).await?.ipam();
    let answer = ipam.configure_ipam(request).await?.into_inner();
    settings(answer.settings.unwrap_or_default(), out)
}

async fn split(args: SplitArgs, options: &Global, out: &mut Out<'_>) -> Result<(), Failure> {
    let pool = args.name.or(args.cidr).unwrap_or_default();
    let request = v1::SplitPoolRequest { pool, parts: args.parts };
    let mut ipam = connect(options).await?.ipam();
    let answer = ipam.split_pool(request).await?.into_inner();
    let rows: Vec<_> = answer.pools.into_iter().map(Split::from).collect();
    Ok(out.all(&rows)?)
}

/// A table has a line for each, data is one object.
fn settings(settings: v1::IpamSettings, out: &mut Out<'_>) -> Result<(), Failure> {
    let settings = Settings::from(settings);
    if out.is_table() {
        let rows: Vec<Setting> = settings.rows();
        return Ok(out.all(&rows)?);
    }
    Ok(out.sheet(&settings)?)
}
