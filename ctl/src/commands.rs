//! One function a command: ask, and show the answer.

mod config;
pub mod datastore;
pub mod ipam;
mod monitor;
pub mod node;
mod peers;
mod policy;
pub mod resources;
mod routes;
mod selector;
mod shell;
mod validate;
mod workload;

use margay_proto::v1::{self, WriteMode};

use crate::{
    cli::{Cli, Command, Destination, Format, Global},
    client::Client,
    error::Failure,
    output::Out,
    view::{FibRoute, Status},
};

/// Runs a command to its end.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    let options = &cli.global;
    let format = match cli.command {
        // It has forms of its own and prints by itself.
        Command::Get(_) => Format::Table,
        _ => options.output.format()?,
    };
    let out = &mut Out::stdout(options, format);
    match cli.command {
        Command::Status => status(options, out).await,
        Command::Peers(args) => peers::run(args, options, out).await,
        Command::Routes(args) => routes::run(*args, options, out).await,
        Command::Fib { destination } => fib(destination, options, out).await,
        Command::Config(command) => config::run(command, options, out).await,
        Command::Ipam(command) => ipam::run(command, options, out).await,
        Command::Node(command) => node::run(command, options, out).await,
        Command::Workload(command) => workload::run(command, options, out).await,
        Command::Policy(command) => policy::run(command, options, out).await,
        Command::Get(args) => resources::get(args, options).await,
        Command::Apply(args) => resources::write(args, WriteMode::Apply, options, out).await,
        Command::Create(args) => resources::write(args, WriteMode::Create, options, out).await,
        Command::Replace(args) => resources::write(args, WriteMode::Replace, options, out).await,
        Command::Delete(args) => resources::delete(args, options, out).await,
        Command::Patch(args) => resources::patch(args, options, out).await,
        Command::Label(args) => resources::label(args, options, out).await,
        Command::Datastore(command) => datastore::run(command, options, out).await,
        Command::Monitor { what } => monitor::run(what, options, out).await,
        Command::Selector(args) => selector::run(&args, out),
        Command::Validate(args) => validate::run(&args, out),
        Command::Completions { shell, calicoctl } => shell::completions(shell, calicoctl),
        Command::Man { dir, calicoctl } => shell::man(dir.as_deref(), calicoctl),
    }
}

async fn connect(options: &Global) -> Result<Client, Failure> {
    Client::connect(&options.socket).await
}

async fn status(options: &Global, out: &mut Out<'_>) -> Result<(), Failure> {
    let mut routing = connect(options).await?.routing();
    let answer = routing.get_status(v1::GetStatusRequest {}).await?.into_inner();
    let status = Status::from(answer);
    let policy = policy::stands(&options.policy_socket, status.node()).await;
    Ok(out.sheet(&status.with(policy))?)
}

async fn fib(
    destination: Option<Destination>,
    options: &Global,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    use v1::list_fib_request::Destination as Asked;
    let destination = destination.map(|destination| match destination {
        Destination::Prefix(prefix) => Asked::Prefix(prefix.to_string()),
        Destination::Address(address) => Asked::Address(address.to_string()),
    });
    let mut routing = connect(options).await?.routing();
    let mut stream = routing.list_fib(v1::ListFibRequest { destination }).await?.into_inner();
    let mut rows = out.rows::<FibRoute>();
    while let Some(batch) = stream.message().await? {
        for route in batch.routes {
            rows.push(&FibRoute::from(route))?;
        }
    }
    Ok(rows.finish()?)
}
